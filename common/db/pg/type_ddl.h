// The statement that makes a user-defined type, as a SQL expression over pg_type t and its pg_namespace n. The source
// writes it into Table.needs; the target compares it with what is there under the same name. For a printf format:
// percent signs are doubled.
#ifndef GW_DB_PG_TYPE_DDL_H
#define GW_DB_PG_TYPE_DDL_H

#define GW_PG_TYPE_DDL                                                                                                 \
    "CASE WHEN t.typtype = 'e' THEN pg_catalog.format('CREATE TYPE %%I.%%I AS ENUM (%%s)', n.nspname, t.typname,"      \
    " (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)"             \
    " FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid))"                                                           \
    " WHEN t.typtype = 'd' THEN pg_catalog.format('CREATE DOMAIN %%I.%%I AS %%s%%s%%s%%s', n.nspname, t.typname,"      \
    " pg_catalog.format_type(t.typbasetype, t.typtypmod), coalesce(' DEFAULT ' || t.typdefault, ''),"                  \
    " CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END,"                                                            \
    " coalesce((SELECT pg_catalog.string_agg(pg_catalog.format(' CONSTRAINT %%I %%s', k.conname,"                      \
    " pg_catalog.pg_get_constraintdef(k.oid)), '' ORDER BY k.conname) FROM pg_catalog.pg_constraint k"                 \
    " WHERE k.contypid = t.oid AND k.contype = 'c'), ''))"                                                             \
    " WHEN t.typtype = 'c' THEN pg_catalog.format('CREATE TYPE %%I.%%I AS (%%s)', n.nspname, t.typname,"               \
    " (SELECT pg_catalog.string_agg(pg_catalog.format('%%I %%s', ca.attname, pg_catalog.format_type(ca.atttypid,"      \
    " ca.atttypmod)), ', ' ORDER BY ca.attnum) FROM pg_catalog.pg_attribute ca WHERE ca.attrelid = t.typrelid"         \
    " AND ca.attnum > 0 AND NOT ca.attisdropped))"                                                                     \
    " WHEN t.typtype = 'r' THEN pg_catalog.format('CREATE TYPE %%I.%%I AS RANGE (SUBTYPE = %%s)', n.nspname, "         \
    "t.typname,"                                                                                                       \
    " (SELECT pg_catalog.format_type(g.rngsubtype, NULL) FROM pg_catalog.pg_range g WHERE g.rngtypid = t.oid)) END"

#endif
