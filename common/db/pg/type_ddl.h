// The statements that make a user-defined type or collation, as SQL expressions. The source writes them into Table.needs;
// the target compares them with what is there under the same name. For a printf format: percent signs are doubled.
#ifndef GW_DB_PG_TYPE_DDL_H
#define GW_DB_PG_TYPE_DDL_H

// Over pg_type t and its pg_namespace n.
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

// Over pg_collation l and its pg_namespace n. The first %s is GW_PG_COLLATION_LOCALE, the second GW_PG_COLLATION_RULES.
#define GW_PG_COLLATION_START "CREATE COLLATION IF NOT EXISTS "
#define GW_PG_COLLATION_DDL                                                                                            \
    "CASE WHEN l.collprovider = 'c' THEN"                                                                              \
    " pg_catalog.format('" GW_PG_COLLATION_START "%%I.%%I (lc_collate = %%L, lc_ctype = %%L)',"                        \
    " n.nspname, l.collname, l.collcollate, l.collctype)"                                                              \
    " ELSE pg_catalog.format('" GW_PG_COLLATION_START                                                                  \
    "%%I.%%I (provider = %%s, locale = %%L, deterministic = %%s%%s)',"                                                 \
    " n.nspname, l.collname, CASE l.collprovider WHEN 'b' THEN 'builtin' ELSE 'icu' END, %s,"                          \
    " l.collisdeterministic::pg_catalog.text, coalesce(', rules = ' || pg_catalog.quote_literal(%s), '')) END"
// The column with the locale has had three names.
#define GW_PG_COLLATION_LOCALE(version)                                                                                \
    ((version) >= 170000   ? "coalesce(l.colllocale, l.collcollate)"                                                   \
     : (version) >= 150000 ? "coalesce(l.colliculocale, l.collcollate)"                                                \
                           : "l.collcollate")
#define GW_PG_COLLATION_RULES(version) ((version) >= 160000 ? "l.collicurules" : "NULL::pg_catalog.text")

#endif
