// What belongs to tables: sequences, keys, checks, indexes, partitions, and the types that they need.
#include <string.h>

#include "common/db/pg/type_ddl.h"
#include "pgs.h"

#define SEP "E'\\x1f'"
#define ATTRS(rel, keys)                                                                                               \
    "(SELECT coalesce(pg_catalog.string_agg(a.attname, " SEP " ORDER BY k.o), '')"                                     \
    " FROM pg_catalog.unnest(" keys ") WITH ORDINALITY k(n, o)"                                                        \
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = " rel " AND a.attnum = k.n)"

// ---- sequences ---------------------------------------------------------------------------------

// Owned by the column (serial, identity), or only named by its default.
static int
describe_sequences(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, Gw__Catalog *cat, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc =
        pgs_query(s, &r, err,
                  "SELECT DISTINCT ON (x.rel, x.att) x.rel, a.attname,"
                  " pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),"
                  " q.seqstart, q.seqincrement, pg_catalog.format('%%s MINVALUE %%s MAXVALUE %%s CACHE %%s%%s', CASE "
                  "WHEN a.attidentity <> ''"
                  " THEN '' ELSE 'AS ' || pg_catalog.format_type(q.seqtypid, NULL) END, q.seqmin, q.seqmax, q.seqcache,"
                  " CASE WHEN q.seqcycle THEN ' CYCLE' ELSE '' END), a.attidentity,"
                  " pg_catalog.has_sequence_privilege(c.oid, 'SELECT'), current_user"
                  " FROM (SELECT d.refobjid, d.refobjsubid, d.objid, 0 FROM pg_catalog.pg_depend d"
                  " WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
                  " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')"
                  " AND d.refobjid = ANY (%s) AND d.refobjsubid > 0"
                  " UNION ALL SELECT f.adrelid, f.adnum, d.refobjid, 1 FROM pg_catalog.pg_attrdef f"
                  " JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass"
                  " AND d.objid = f.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
                  " WHERE f.adrelid = ANY (%s) AND pg_catalog.pg_get_expr(f.adbin, f.adrelid) LIKE 'nextval(%%') "
                  "x(rel, att, seq, pri)"
                  " JOIN pg_catalog.pg_class c ON c.oid = x.seq AND c.relkind = 'S'"
                  " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                  " JOIN pg_catalog.pg_sequence q ON q.seqrelid = c.oid"
                  " JOIN pg_catalog.pg_attribute a ON a.attrelid = x.rel AND a.attnum = x.att"
                  " ORDER BY x.rel, x.att, x.pri DESC",
                  rels->oids, rels->oids);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__Table *t = pgs_rel_find(rels, pgs_u64(r, i, 0));
        Gw__Column *c = t ? pgs_column(t, pgs_text(r, i, 1)) : NULL;
        bool identity = pgs_text(r, i, 6)[0] != 0;
        // A sequence that is owned, but that no default names any more, gives the column no numbers.
        if (!c || (!identity && strncmp(c->default_native, "nextval(", 8) != 0)) {
            continue;
        }
        if (!identity) {
            c->identity = GW__IDENTITY__IDENTITY_SERIAL;
            c->default_kind = GW__DEFAULT_KIND__DEFAULT_NONE;
            c->default_native = gw_arena_strdup(a, "");
        }
        c->sequence_name = pgs_dup(a, r, i, 2);
        c->sequence_start = pgs_i64(r, i, 3);
        c->sequence_increment = pgs_i64(r, i, 4);
        if (!pgs_true(r, i, 7)) {
            PGS_BUF user;
            gw_buf_init(&user, 4096);
            gw_pg_ident(&user, pgs_text(r, i, 8));
            pgs_find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, c->name,
                     gw_arena_printf(a, "user %s may not read sequence %s", user.data, c->sequence_name),
                     "the next number on the target is one more than the greatest that is there",
                     gw_arena_printf(a, "GRANT SELECT ON SEQUENCE %s TO %s", c->sequence_name, user.data));
        }
        const char *options = pgs_text(r, i, 5);
        c->identity_options = gw_arena_strdup(a, options + strspn(options, " "));
    }
    return rc;
}

// ---- constraints -------------------------------------------------------------------------------

static char *
action_text(struct gw_arena *a, char code)
{
    static const struct {
        char code;
        const char *text;
    } actions[] = {{'a', "NO ACTION"}, {'r', "RESTRICT"}, {'c', "CASCADE"}, {'n', "SET NULL"}, {'d', "SET DEFAULT"}};
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (actions[i].code == code) {
            return gw_arena_strdup(a, actions[i].text);
        }
    }
    return gw_arena_strdup(a, "NO ACTION");
}

static void
add_foreign_key(struct gw_arena *a, const PGresult *r, int i, Gw__Table *t)
{
    Gw__ForeignKey *f = gw_pb_new(a, Gw__ForeignKey, gw__foreign_key__init);
    f->name = pgs_dup(a, r, i, 1);
    pgs_split(a, pgs_text(r, i, 3), &f->columns, &f->n_columns);
    f->ref_schema = pgs_dup(a, r, i, 4);
    f->ref_table = pgs_dup(a, r, i, 5);
    pgs_split(a, pgs_text(r, i, 6), &f->ref_columns, &f->n_ref_columns);
    f->on_update = action_text(a, pgs_text(r, i, 7)[0]);
    f->on_delete = gw_arena_printf(a, "%s%s", action_text(a, pgs_text(r, i, 8)[0]), pgs_text(r, i, 14));
    f->match = gw_arena_strdup(a, pgs_text(r, i, 9)[0] == 'f' ? "FULL" : "SIMPLE");
    f->deferrable = pgs_true(r, i, 10);
    f->initially_deferred = pgs_true(r, i, 11);
    f->not_validated = !pgs_true(r, i, 12);
    gw_pb_add(a, t, foreign_keys, f);
}

static void
add_check(struct gw_arena *a, const PGresult *r, int i, Gw__Table *t)
{
    Gw__Check *c = gw_pb_new(a, Gw__Check, gw__check__init);
    c->name = pgs_dup(a, r, i, 1);
    c->native = pgs_dup(a, r, i, 13);
    c->not_validated = !pgs_true(r, i, 12);
    char *portable = pgs_portable(a, t, c->native);
    c->portable = portable ? portable : c->portable;
    gw_pb_add(a, t, checks, c);
}

static void
add_exclusion(struct gw_arena *a, const PGresult *r, int i, Gw__Table *t)
{
    Gw__Index *x = gw_pb_new(a, Gw__Index, gw__index__init);
    x->name = pgs_dup(a, r, i, 1);
    x->is_constraint = true;
    x->native_ddl = pgs_dup(a, r, i, 13); // "EXCLUDE USING gist (…)"
    char **columns = NULL;
    size_t n = 0;
    pgs_split(a, pgs_text(r, i, 3), &columns, &n);
    for (size_t k = 0; k < n; k++) {
        Gw__IndexPart *p = gw_pb_new(a, Gw__IndexPart, gw__index_part__init);
        p->column = columns[k];
        gw_pb_add(a, x, parts, p);
    }
    gw_pb_add(a, t, indexes, x);
}

static int
describe_constraints(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, struct gw_err *err)
{
    PGS_RES r = NULL;
    const char *set_columns =
        s->version >= 150000 ? "coalesce((SELECT ' (' || pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ')"
                               " || ')' FROM pg_catalog.unnest(c.confdelsetcols) k(n) JOIN pg_catalog.pg_attribute a"
                               " ON a.attrelid = c.conrelid AND a.attnum = k.n), '')"
                             : "''";
    int rc =
        pgs_query(s, &r, err,
                  "SELECT c.conrelid, c.conname, c.contype, " ATTRS(
                      "c.conrelid",
                      "c.conkey") ","
                                  " coalesce(fn.nspname, ''), coalesce(fc.relname, ''), " ATTRS(
                                      "c.confrelid",
                                      "c.confkey") ","
                                                   " c.confupdtype, c.confdeltype, c.confmatchtype, c.condeferrable, "
                                                   "c.condeferred, c.convalidated,"
                                                   " pg_catalog.pg_get_constraintdef(c.oid), %s"
                                                   " FROM pg_catalog.pg_constraint c"
                                                   " LEFT JOIN pg_catalog.pg_class fc ON fc.oid = c.confrelid"
                                                   " LEFT JOIN pg_catalog.pg_namespace fn ON fn.oid = fc.relnamespace"
                                                   " WHERE c.conrelid = ANY (%s) AND c.contype IN ('p', 'f', 'c', 'x') "
                                                   "AND c.conparentid = 0"
                                                   " ORDER BY c.conrelid, c.conname",
                  set_columns, rels->oids);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__Table *t = pgs_rel_find(rels, pgs_u64(r, i, 0));
        if (!t) {
            continue;
        }
        switch (pgs_text(r, i, 2)[0]) {
        case 'p':
            t->primary_key_name = pgs_dup(a, r, i, 1);
            pgs_split(a, pgs_text(r, i, 3), &t->primary_key, &t->n_primary_key);
            break;
        case 'f': add_foreign_key(a, r, i, t); break;
        case 'c': add_check(a, r, i, t); break;
        default: add_exclusion(a, r, i, t); break;
        }
    }
    return rc;
}

// ---- indexes -----------------------------------------------------------------------------------

static Gw__Index *
find_index(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_indexes; i++) {
        if (strcmp(t->indexes[i]->name, name) == 0) {
            return t->indexes[i];
        }
    }
    return NULL;
}

static int
describe_index_heads(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, Gw__Catalog *cat,
                     struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_query(s, &r, err,
                       "SELECT i.indrelid, c.relname, i.indisunique, k.oid IS NOT NULL, m.amname,"
                       " coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), ''),"
                       " coalesce('WITH (' || pg_catalog.array_to_string(c.reloptions, ', ') || ')', ''), %s,"
                       " coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), ''),"
                       " coalesce(k.condeferrable, false), coalesce(k.condeferred, false), i.indisvalid"
                       " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
                       " JOIN pg_catalog.pg_am m ON m.oid = c.relam"
                       " LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = c.oid AND k.contype = 'u'"
                       " WHERE i.indrelid = ANY (%s) AND NOT i.indisprimary AND NOT i.indisexclusion"
                       " ORDER BY i.indrelid, c.relname",
                       s->version >= 150000 ? "i.indnullsnotdistinct" : "false", rels->oids);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__Table *t = pgs_rel_find(rels, pgs_u64(r, i, 0));
        if (!t) {
            continue;
        }
        if (!pgs_true(r, i, 11)) {
            pgs_find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, pgs_text(r, i, 1),
                     "the index is not valid on the source", "it is not made", "");
            continue;
        }
        Gw__Index *x = gw_pb_new(a, Gw__Index, gw__index__init);
        x->name = pgs_dup(a, r, i, 1);
        x->is_unique = pgs_true(r, i, 2);
        x->is_constraint = pgs_true(r, i, 3);
        x->method = pgs_dup(a, r, i, 4);
        x->predicate = pgs_dup(a, r, i, 5);
        x->native_ddl = pgs_dup(a, r, i, 6);
        x->nulls_not_distinct = pgs_true(r, i, 7);
        x->comment = pgs_dup(a, r, i, 8);
        x->deferrable = pgs_true(r, i, 9);
        x->initially_deferred = pgs_true(r, i, 10);
        gw_pb_add(a, t, indexes, x);
    }
    return rc;
}

// indoption: bit 0 descending, bit 1 nulls first (src/include/catalog/pg_index.h)
static int
describe_index_parts(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_query(
        s, &r, err,
        "SELECT i.indrelid, c.relname, k.n <= i.indnkeyatts, coalesce(a.attname, ''),"
        " CASE WHEN a.attname IS NULL THEN pg_catalog.pg_get_indexdef(i.indexrelid, k.n, false) ELSE '' END,"
        " CASE WHEN k.n <= i.indnkeyatts THEN i.indoption[k.n - 1] ELSE 0 END,"
        " CASE WHEN k.n <= i.indnkeyatts AND i.indcollation[k.n - 1] <> 0"
        " AND i.indcollation[k.n - 1] <> coalesce(a.attcollation, ia.attcollation) THEN"
        " (SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(l.collname)"
        " FROM pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace"
        " WHERE l.oid = i.indcollation[k.n - 1]) ELSE '' END,"
        " CASE WHEN k.n <= i.indnkeyatts THEN (SELECT CASE WHEN o.opcdefault AND ia.attoptions IS NULL THEN '' ELSE"
        " pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(o.opcname)"
        " || coalesce('(' || pg_catalog.array_to_string(ia.attoptions, ', ') || ')', '') END"
        " FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace"
        " WHERE o.oid = i.indclass[k.n - 1]) ELSE '' END"
        " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
        " CROSS JOIN LATERAL pg_catalog.generate_series(1, i.indnatts) k(n)"
        " JOIN pg_catalog.pg_attribute ia ON ia.attrelid = i.indexrelid AND ia.attnum = k.n"
        " LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n - 1]"
        " AND i.indkey[k.n - 1] <> 0"
        " WHERE i.indrelid = ANY (%s) AND NOT i.indisprimary AND NOT i.indisexclusion"
        " ORDER BY i.indrelid, c.relname, k.n",
        rels->oids);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__Table *t = pgs_rel_find(rels, pgs_u64(r, i, 0));
        Gw__Index *x = t ? find_index(t, pgs_text(r, i, 1)) : NULL;
        if (!x) {
            continue;
        }
        if (!pgs_true(r, i, 2)) {
            gw_pb_add(a, x, include, pgs_dup(a, r, i, 3));
            continue;
        }
        Gw__IndexPart *p = gw_pb_new(a, Gw__IndexPart, gw__index_part__init);
        p->column = pgs_dup(a, r, i, 3);
        p->expression = pgs_dup(a, r, i, 4);
        int option = pgs_int(r, i, 5);
        p->descending = option & 1;
        p->nulls_first = option & 2;
        p->collation = pgs_dup(a, r, i, 6);
        p->opclass = pgs_dup(a, r, i, 7);
        gw_pb_add(a, x, parts, p);
    }
    return rc;
}

// ---- partitions --------------------------------------------------------------------------------

static int
describe_partitions(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_query(s, &r, err,
                       "SELECT root.oid, n.nspname, c.relname, pg_catalog.pg_get_expr(c.relpartbound, c.oid),"
                       " pg_catalog.pg_table_size(c.oid), coalesce(pg_catalog.pg_get_partkeydef(c.oid), ''),"
                       " CASE WHEN p.level > 1 THEN up.relname ELSE '' END, p.isleaf"
                       " FROM pg_catalog.pg_class root"
                       " CROSS JOIN LATERAL pg_catalog.pg_partition_tree(root.oid) p"
                       " JOIN pg_catalog.pg_class c ON c.oid = p.relid"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                       " LEFT JOIN pg_catalog.pg_class up ON up.oid = p.parentrelid"
                       " WHERE root.oid = ANY (%s) AND root.relkind = 'p' AND p.level > 0"
                       " ORDER BY root.oid, p.level, n.nspname, c.relname",
                       rels->oids);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__Table *t = pgs_rel_find(rels, pgs_u64(r, i, 0));
        if (!t) {
            continue;
        }
        Gw__Partition *p = gw_pb_new(a, Gw__Partition, gw__partition__init);
        p->schema = pgs_dup(a, r, i, 1);
        p->name = pgs_dup(a, r, i, 2);
        p->bound = pgs_dup(a, r, i, 3);
        p->bytes = pgs_u64(r, i, 4);
        p->partition_by = pgs_dup(a, r, i, 5);
        p->parent = pgs_dup(a, r, i, 6);
        p->is_leaf = pgs_true(r, i, 7);
        gw_pb_add(a, t, partitions, p);
    }
    return rc;
}

// ---- types and extensions ----------------------------------------------------------------------

// Collations that are not the server's own.
static int
describe_collations(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_query(s, &r, err,
                       "SELECT DISTINCT a.attrelid, n.nspname, l.collname, " GW_PG_COLLATION_DDL ","
                       " pg_catalog.format('CREATE SCHEMA IF NOT EXISTS %%I', n.nspname)"
                       " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace"
                       " WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped"
                       " AND n.nspname <> 'pg_catalog' ORDER BY 1, 2, 3",
                       GW_PG_COLLATION_LOCALE(s->version), GW_PG_COLLATION_RULES(s->version), rels->oids);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__Table *t = pgs_rel_find(rels, pgs_u64(r, i, 0));
        if (t && strcmp(pgs_text(r, i, 1), t->source_schema) != 0) {
            gw_pb_add(a, t, needs, pgs_dup(a, r, i, 4));
        }
        if (t) {
            gw_pb_add(a, t, needs, pgs_dup(a, r, i, 3));
        }
    }
    return rc;
}

// What an equal engine has to make before the table: enumerations, domains, composite and range types, the deepest
// first, and extensions that bring types. In a view's place, a table of its columns needs them, too.
static int
describe_needs(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_query(
        s, &r, err,
        "WITH RECURSIVE used(rel, typ, depth) AS ("
        "SELECT DISTINCT a.attrelid, a.atttypid, 0 FROM pg_catalog.pg_attribute a WHERE a.attrelid = ANY (%s)"
        " AND a.attnum > 0 AND NOT a.attisdropped"
        " UNION SELECT u.rel, d.typ, u.depth + 1 FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.typ"
        " CROSS JOIN LATERAL (SELECT t.typbasetype WHERE t.typtype = 'd'"
        " UNION ALL SELECT t.typelem WHERE t.typcategory = 'A' AND t.typelem <> 0"
        " UNION ALL SELECT ca.atttypid FROM pg_catalog.pg_attribute ca WHERE t.typtype = 'c' AND ca.attrelid = "
        "t.typrelid"
        " AND ca.attnum > 0 AND NOT ca.attisdropped"
        " UNION ALL SELECT g.rngsubtype FROM pg_catalog.pg_range g WHERE g.rngtypid = t.oid) d(typ) WHERE u.depth < 20)"
        " SELECT u.rel, CASE WHEN x.oid IS NOT NULL THEN"
        " pg_catalog.format('CREATE EXTENSION IF NOT EXISTS %%I%%s', x.extname,"
        " CASE WHEN xn.nspname IN ('public', 'pg_catalog') THEN '' ELSE pg_catalog.format(' SCHEMA %%I', xn.nspname) "
        "END)"
        " ELSE " GW_PG_TYPE_DDL " END,"
        " pg_catalog.max(u.depth)"
        " FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.typ"
        " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
        " LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid"
        " AND d.deptype = 'e'"
        " LEFT JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid"
        " LEFT JOIN pg_catalog.pg_namespace xn ON xn.oid = x.extnamespace"
        " WHERE n.nspname <> 'pg_catalog' GROUP BY u.rel, t.oid, n.nspname, x.oid, xn.nspname"
        " ORDER BY u.rel, max(u.depth) DESC",
        rels->oids);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__Table *t = pgs_rel_find(rels, pgs_u64(r, i, 0));
        if (t && pgs_text(r, i, 1)[0]) {
            gw_pb_add(a, t, needs, pgs_dup(a, r, i, 1));
        }
    }
    return rc;
}

int
pgs_describe_objects(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, Gw__Catalog *cat,
                     struct gw_err *err)
{
    int rc = describe_sequences(s, a, rels, cat, err);
    rc = rc == GW_OK ? describe_constraints(s, a, rels, err) : rc;
    rc = rc == GW_OK ? describe_index_heads(s, a, rels, cat, err) : rc;
    rc = rc == GW_OK ? describe_index_parts(s, a, rels, err) : rc;
    rc = rc == GW_OK ? describe_partitions(s, a, rels, err) : rc;
    rc = rc == GW_OK ? describe_collations(s, a, rels, err) : rc;
    return rc == GW_OK ? describe_needs(s, a, rels, err) : rc;
}
