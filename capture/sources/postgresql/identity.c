// Replica identities: which columns every old image of a table holds
// (https://www.postgresql.org/docs/15/logical-replication-publication.html).
//
// A partition logs by its own identity and is told through its root: only what the root and every partition have in common can
// be relied on. A partition that is made later logs its key alone, whatever the root says: where there is a primary key, nothing
// but that is promised. A key that is deferrable is none: the server does not take it.
#include "pgs.h"

static const char identity_sql[] =
    "WITH root(oid, relkind, whole) AS (SELECT c.oid, c.relkind, c.relkind = 'r' OR NOT EXISTS (SELECT 1"
    " FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND x.indisprimary AND x.indimmediate)"
    " FROM pg_catalog.pg_class c WHERE c.oid = ANY (%s) AND c.relkind IN ('r', 'p')),"
    " member(root, rel, whole) AS (SELECT oid, oid, whole FROM root UNION SELECT r.oid, p.relid, r.whole FROM root r"
    " CROSS JOIN LATERAL pg_catalog.pg_partition_tree(r.oid) p WHERE p.isleaf AND r.relkind = 'p'),"
    " held(root, name) AS (SELECT m.root, a.attname FROM member m JOIN pg_catalog.pg_class c ON c.oid = m.rel"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " WHERE CASE WHEN c.relreplident = 'n' THEN false WHEN c.relreplident = 'f' AND m.whole THEN a.attgenerated = ''"
    " ELSE EXISTS (SELECT 1 FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND x.indisvalid AND x.indimmediate"
    " AND CASE c.relreplident WHEN 'i' THEN x.indisreplident ELSE x.indisprimary END"
    " AND a.attnum IN (SELECT k.n FROM pg_catalog.unnest(x.indkey) WITH ORDINALITY k(n, o) WHERE k.o <= x.indnkeyatts))"
    " END)"
    " SELECT h.root, h.name FROM held h JOIN pg_catalog.pg_attribute a ON a.attrelid = h.root AND a.attname = h.name"
    " GROUP BY h.root, h.name, a.attnum"
    " HAVING pg_catalog.count(*) = (SELECT pg_catalog.count(*) FROM member m WHERE m.root = h.root)"
    " ORDER BY h.root, a.attnum";

int
pgs_describe_identity(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_query(s, &r, err, identity_sql, rels->oids);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__Table *t = pgs_rel_find(rels, pgs_u64(r, i, 0));
        if (t) {
            gw_pb_add(a, t, identity, pgs_dup(a, r, i, 1));
        }
    }
    return rc;
}
