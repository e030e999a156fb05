// Tables and columns as the system catalogues describe them
// (https://www.postgresql.org/docs/15/catalogs.html). One query an aspect, for all tables at once.
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "pgs.h"

// ---- the tables at hand ------------------------------------------------------------------------

static int
by_oid(const void *x, const void *y)
{
    const struct pgs_rel *a = x, *b = y;
    return a->oid < b->oid ? -1 : a->oid > b->oid;
}

Gw__Table *
pgs_rel_find(const struct pgs_rels *rels, uint64_t oid)
{
    struct pgs_rel key = {oid, NULL}, *found = bsearch(&key, rels->items, rels->n, sizeof key, by_oid);
    return found ? found->t : NULL;
}

static int
by_name(const void *x, const void *y)
{
    const Gw__Table *a = *(Gw__Table *const *)x, *b = *(Gw__Table *const *)y;
    int r = strcmp(a->schema, b->schema);
    return r ? r : strcmp(a->name, b->name);
}

Gw__Column *
pgs_column(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcmp(t->columns[i]->name, name) == 0) {
            return t->columns[i];
        }
    }
    return NULL;
}

void
pgs_find(struct gw_arena *a, Gw__Catalog *cat, const Gw__Table *t, Gw__Severity severity, const char *object,
         const char *message, const char *action, const char *sql)
{
    Gw__Finding *f = gw_pb_new(a, Gw__Finding, gw__finding__init);
    f->severity = severity;
    if (t) {
        f->schema = t->schema;
        f->table = t->name;
    }
    f->object = gw_arena_strdup(a, object);
    f->message = gw_arena_strdup(a, message);
    f->action = gw_arena_strdup(a, action);
    f->sql = gw_arena_strdup(a, sql);
    gw_pb_add(a, cat, findings, f);
}

// ---- tables ------------------------------------------------------------------------------------

struct table_row {
    uint64_t oid;
    bool readable, secured;
    int triggers, policies;
    const char *unreadable, *user, *children;
};

static void
check_access(struct gw_arena *a, Gw__Catalog *cat, const Gw__Table *t, const struct table_row *row)
{
    PGS_BUF name, user;
    gw_buf_init(&name, 4096);
    gw_buf_init(&user, 4096);
    gw_pg_qname(&name, t->schema, t->name);
    gw_pg_ident(&user, row->user);
    if (!row->readable) {
        pgs_find(a, cat, t, GW__SEVERITY__SEVERITY_ERROR, "", gw_arena_printf(a, "user %s may not read it", user.data),
                 "grant the privilege, or leave the table out",
                 gw_arena_printf(a, "GRANT SELECT ON %s TO %s", name.data, user.data));
    } else if (row->secured) {
        pgs_find(a, cat, t, GW__SEVERITY__SEVERITY_ERROR, "",
                 gw_arena_printf(a, "row security hides rows from user %s", user.data),
                 "let the user see all rows, or leave the table out",
                 gw_arena_printf(a, "ALTER ROLE %s BYPASSRLS", user.data));
    }
    if (row->unreadable[0]) {
        pgs_find(a, cat, t, GW__SEVERITY__SEVERITY_ERROR, "",
                 gw_arena_printf(a, "user %s may not read its partitions %s", user.data, row->unreadable),
                 "grant the privilege on each partition, or leave the table out",
                 gw_arena_printf(a, "GRANT SELECT ON %s TO %s", row->unreadable, user.data));
    }
    if (row->children[0]) {
        pgs_find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, "",
                 gw_arena_printf(a, "tables inherit from it: %s", row->children),
                 "they are tables of their own on the target: select them too, their rows do not come with this one",
                 "");
    }
    if (row->triggers) {
        pgs_find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, "", gw_arena_printf(a, "%d triggers", row->triggers),
                 "triggers are not carried over", "");
    }
    if (row->policies) {
        pgs_find(a, cat, t, GW__SEVERITY__SEVERITY_WARNING, "",
                 gw_arena_printf(a, "%d row security policies", row->policies), "policies are not carried over", "");
    }
}

static void
fill_table(struct gw_arena *a, const PGresult *r, int i, Gw__Table *t)
{
    t->source_schema = t->schema;
    t->source_name = t->name;
    t->engine = gw_arena_strdup(a, "postgresql");
    t->transactional = true;
    t->comment = pgs_dup(a, r, i, 3);
    t->partition_by = pgs_dup(a, r, i, 4);
    const char *options = pgs_text(r, i, 5);
    t->storage = gw_arena_printf(a, "%s:%s", pgs_text(r, i, 0), pgs_text(r, i, 14));
    t->columns_hash = pgs_dup(a, r, i, 15);
    t->native_options = gw_arena_printf(a, "%s%s%s%s", pgs_text(r, i, 6)[0] == 'u' ? "UNLOGGED " : "",
                                        options[0] ? "WITH (" : "", options, options[0] ? ")" : "");
}

static int
describe_tables(struct pgs *s, struct gw_arena *a, Gw__Catalog *cat, struct pgs_rels *rels, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_query(
        s, &r, err,
        "SELECT c.oid, n.nspname, c.relname, coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), ''),"
        " CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) ELSE '' END,"
        " CASE WHEN c.relkind = 'r' THEN coalesce(pg_catalog.array_to_string(c.reloptions, ', '), '') ELSE '' END,"
        " c.relpersistence,"
        // Locking needs the privilege on the whole table, and partitions are read one by one.
        " pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT'),"
        " pg_catalog.row_security_active(c.oid),"
        " (SELECT pg_catalog.count(*) FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal),"
        " (SELECT pg_catalog.count(*) FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),"
        " CASE WHEN c.relkind = 'p' THEN (SELECT coalesce(pg_catalog.string_agg(p.relid::pg_catalog.text, ', '"
        " ORDER BY p.relid::pg_catalog.text), '') FROM pg_catalog.pg_partition_tree(c.oid) p"
        " WHERE NOT pg_catalog.has_table_privilege(p.relid, 'SELECT')) ELSE '' END, current_user,"
        " CASE WHEN c.relkind = 'r' THEN (SELECT coalesce(pg_catalog.string_agg(h.inhrelid::pg_catalog.regclass::"
        "pg_catalog.text, ', ' ORDER BY h.inhrelid), '') FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid)"
        " ELSE '' END,"
        // What an ALTER TABLE that writes all rows anew changes.
        " CASE c.relkind WHEN 'r' THEN pg_catalog.pg_relation_filenode(c.oid)::pg_catalog.text WHEN 'p' THEN"
        " (SELECT coalesce(pg_catalog.string_agg(pg_catalog.pg_relation_filenode(p.relid)::pg_catalog.text, ','"
        " ORDER BY p.relid), '') FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf) ELSE '' END,"
        " coalesce(" PGS_COLUMNS_HASH(
            "c.oid") ", '')"
                     " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                     " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> "
                     "'t'"
                     " AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema' ORDER BY c.oid");
    if (rc != GW_OK) {
        return rc;
    }
    Gw__Table **sorted = gw_arena_alloc(a, (cat->n_tables + 1) * sizeof *sorted);
    memcpy(sorted, cat->tables, cat->n_tables * sizeof *sorted);
    qsort(sorted, cat->n_tables, sizeof *sorted, by_name);
    PGS_BUF oids;
    gw_buf_init(&oids, PGS_SQL_MAX);
    for (int i = 0; i < PQntuples(r); i++) {
        Gw__Table key = GW__TABLE__INIT, *key_p = &key;
        key.schema = PQgetvalue(r, i, 1);
        key.name = PQgetvalue(r, i, 2);
        Gw__Table **found = bsearch(&key_p, sorted, cat->n_tables, sizeof *sorted, by_name);
        if (!found) {
            continue;
        }
        fill_table(a, r, i, *found);
        struct table_row row = {pgs_u64(r, i, 0),  pgs_true(r, i, 7),  pgs_true(r, i, 8),  pgs_int(r, i, 9),
                                pgs_int(r, i, 10), pgs_text(r, i, 11), pgs_text(r, i, 12), pgs_text(r, i, 13)};
        check_access(a, cat, *found, &row);
        *(struct pgs_rel *)gw_arena_push(a, &rels->items, &rels->n, sizeof *rels->items) =
            (struct pgs_rel){row.oid, *found};
        gw_buf_printf(&oids, "%s%llu", oids.len ? "," : "", (unsigned long long)row.oid);
    }
    rels->oids = gw_arena_printf(a, "'{%s}'::pg_catalog.oid[]", oids.len ? oids.data : "");
    return GW_OK;
}

// ---- the definition, in short ------------------------------------------------------------------

static void
hash_columns(XXH3_state_t *h, const PGresult *r)
{
    for (int i = 0; i < PQnfields(r); i++) {
        const char *name = PQfname(r, i);
        uint32_t facts[] = {PQftable(r, i), (uint32_t)PQftablecol(r, i), PQftype(r, i), (uint32_t)PQfmod(r, i)};
        XXH3_64bits_update(h, name, strlen(name) + 1);
        XXH3_64bits_update(h, facts, sizeof facts);
    }
}

// Two statements in one round trip; the second gives the table's number, those of its partitions, and what columns are
// generated (as the snapshot has it: a column that was generated then holds generated values then).
static int
ask_definition(struct pgs *s, const char *schema, const char *name, XXH3_state_t *h, struct gw_err *err)
{
    PGS_BUF q, lit, sql;
    gw_buf_init(&q, 4096);
    gw_buf_init(&lit, 8192);
    gw_buf_init(&sql, 64 * 1024);
    gw_pg_qname(&q, schema, name);
    gw_pg_literal(&lit, q.data);
    gw_buf_printf(&sql,
                  "SELECT * FROM %s WHERE false; SELECT %s::pg_catalog.regclass::pg_catalog.oid,"
                  " (SELECT coalesce(pg_catalog.string_agg(p.relid::pg_catalog.oid::pg_catalog.text, ','"
                  " ORDER BY p.relid::pg_catalog.oid), '') FROM pg_catalog.pg_partition_tree(%s) p),"
                  " (SELECT coalesce(pg_catalog.string_agg(a.attnum::pg_catalog.text || pg_catalog.pg_get_expr(d.adbin,"
                  " d.adrelid), ',' ORDER BY a.attnum), '') FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attrdef d"
                  " ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attgenerated <> ''"
                  " AND a.attrelid = %s::pg_catalog.regclass)",
                  q.data, lit.data, lit.data, lit.data);
    int rc = PQsendQuery(s->c, sql.data) ? GW_OK : gw_pg_error(s->c, NULL, err, "describe %s", q.data);
    PGresult *r;
    for (int n = 0; rc != GW_RETRY && (r = PQgetResult(s->c)); n++) {
        if (PQresultStatus(r) != PGRES_TUPLES_OK) {
            rc = rc == GW_OK ? gw_pg_error(s->c, r, err, "describe %s", q.data) : rc;
        } else if (n == 0) {
            hash_columns(h, r);
        } else {
            for (int i = 0; i < PQnfields(r); i++) {
                XXH3_64bits_update(h, pgs_text(r, 0, i), strlen(pgs_text(r, 0, i)) + 1);
            }
        }
        PQclear(r);
    }
    return rc;
}

int
pgs_fingerprint(struct pgs *s, struct gw_arena *a, const char *schema, const char *name, char **ret, struct gw_err *err)
{
    XXH3_state_t *h = XXH3_createState();
    gw_assert(h);
    XXH3_64bits_reset(h);
    int rc = ask_definition(s, schema, name, h, err);
    if (rc == GW_OK) {
        *ret = gw_arena_printf(a, "%016llx", (unsigned long long)XXH3_64bits_digest(h));
    }
    XXH3_freeState(h);
    return rc;
}

static int
describe_fingerprints(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, Gw__Catalog *cat,
                      struct gw_err *err)
{
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < rels->n; i++) {
        Gw__Table *t = rels->items[i].t;
        struct gw_err cause = {0};
        rc = pgs_fingerprint(s, a, t->schema, t->name, &t->fingerprint, &cause);
        if (rc == GW_CONFIG) { // no privilege, a view over a table that is gone …: this table, not the task
            pgs_find(a, cat, t, GW__SEVERITY__SEVERITY_ERROR, "", cause.message, "mend it, or leave it out", "");
            t->fingerprint = gw_arena_strdup(a, "-");
            rc = GW_OK;
        } else if (rc != GW_OK) {
            *err = cause;
        }
    }
    return rc;
}

// ---- columns -----------------------------------------------------------------------------------

// The type under up to two domains, and the element of an array; all further ones are KIND_OTHER.
static const char columns_sql[] =
    "SELECT a.attrelid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,"
    " a.attgenerated, coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), ''),"
    " coalesce(pg_catalog.col_description(a.attrelid, a.attnum), ''),"
    " CASE WHEN a.attcollation <> t.typcollation AND l.oid IS NOT NULL THEN"
    " pg_catalog.quote_ident(ln.nspname) || '.' || pg_catalog.quote_ident(l.collname) ELSE '' END,"
    " kn.nspname, k.typname, k.typtype,"
    " CASE WHEN t.typtype = 'd' AND b.typtype = 'd' THEN b.typtypmod WHEN t.typtype = 'd' THEN t.typtypmod"
    " ELSE a.atttypmod END,"
    " (SELECT coalesce(pg_catalog.string_agg(e.enumlabel, E'\\x1f' ORDER BY e.enumsortorder), '')"
    " FROM pg_catalog.pg_enum e WHERE e.enumtypid = k.oid),"
    " coalesce(en.nspname, ''), coalesce(e.typname, ''), coalesce(e.typtype, ' '),"
    " (SELECT coalesce(pg_catalog.string_agg(x.enumlabel, E'\\x1f' ORDER BY x.enumsortorder), '')"
    " FROM pg_catalog.pg_enum x WHERE x.enumtypid = e.oid),"
    " coalesce(tn.nspname, ''), a.attnum, a.atthasmissing, "
    "coalesce((a.attmissingval::pg_catalog.text::pg_catalog.text[])[1], '')"
    " FROM pg_catalog.pg_attribute a"
    " JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
    " JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace"
    " LEFT JOIN pg_catalog.pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype"
    " JOIN pg_catalog.pg_type k ON k.oid = CASE WHEN b.typtype = 'd' THEN b.typbasetype WHEN t.typtype = 'd'"
    " THEN b.oid ELSE t.oid END"
    " JOIN pg_catalog.pg_namespace kn ON kn.oid = k.typnamespace"
    " LEFT JOIN pg_catalog.pg_type e ON e.oid = k.typelem AND k.typcategory = 'A'"
    " LEFT JOIN pg_catalog.pg_namespace en ON en.oid = e.typnamespace"
    " LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
    " LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation"
    " LEFT JOIN pg_catalog.pg_namespace ln ON ln.oid = l.collnamespace"
    " WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum";

static void
fill_type(struct gw_arena *a, const PGresult *r, int i, Gw__Type *t)
{
    struct pgs_type p = {
        .schema = pgs_text(r, i, 9),
        .name = pgs_text(r, i, 10),
        .typtype = pgs_text(r, i, 11),
        .typmod = pgs_int(r, i, 12),
        .labels = pgs_text(r, i, 13),
        .elem_schema = pgs_text(r, i, 14),
        .elem_name = pgs_text(r, i, 15),
        .elem_typtype = pgs_text(r, i, 16),
        .elem_labels = pgs_text(r, i, 17),
    };
    pgs_type_map(a, &p, t);
    t->native = pgs_dup(a, r, i, 2);
    t->collation = pgs_dup(a, r, i, 8);
    t->type_schema = strcmp(pgs_text(r, i, 18), "pg_catalog") == 0 ? t->type_schema : pgs_dup(a, r, i, 18);
}

static void
fill_column(struct gw_arena *a, const PGresult *r, int i, const Gw__Table *t, Gw__Column *c)
{
    c->name = pgs_dup(a, r, i, 1);
    c->type = gw_pb_new(a, Gw__Type, gw__type__init);
    fill_type(a, r, i, c->type);
    c->not_null = pgs_true(r, i, 3);
    char identity = pgs_text(r, i, 4)[0];
    c->identity = identity == 'a'   ? GW__IDENTITY__IDENTITY_ALWAYS
                  : identity == 'd' ? GW__IDENTITY__IDENTITY_BY_DEFAULT
                                    : GW__IDENTITY__IDENTITY_NONE;
    // The rows of a view are values, whatever computed them.
    if (pgs_text(r, i, 5)[0] && t->kind != GW__TABLE_KIND__TABLE_VIEW) {
        c->generated = pgs_dup(a, r, i, 6);
        c->generated_stored = pgs_text(r, i, 5)[0] == 's';
    } else {
        c->default_native = pgs_dup(a, r, i, 6);
        pgs_default(a, c);
    }
    c->comment = pgs_dup(a, r, i, 7);
    c->is_lob = pgs_type_is_lob(c->type);
    c->number = (uint32_t)pgs_int(r, i, 19);
    c->has_fill = pgs_true(r, i, 20); // a constant that ADD COLUMN gave to the rows that were there
    c->fill = pgs_dup(a, r, i, 21);
}

static int
describe_columns(struct pgs *s, struct gw_arena *a, const struct pgs_rels *rels, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_query(s, &r, err, columns_sql, rels->oids);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__Table *t = pgs_rel_find(rels, pgs_u64(r, i, 0));
        if (t) {
            Gw__Column *c = gw_pb_new(a, Gw__Column, gw__column__init);
            fill_column(a, r, i, t, c);
            gw_pb_add(a, t, columns, c);
        }
    }
    for (size_t i = 0; rc == GW_OK && i < rels->n; i++) {
        Gw__Table *t = rels->items[i].t;
        for (size_t k = 0; k < t->n_columns; k++) {
            char *portable = t->columns[k]->generated[0] ? pgs_portable(a, t, t->columns[k]->generated) : NULL;
            if (portable) {
                t->columns[k]->generated_portable = portable;
            }
        }
    }
    return rc;
}

// ---- all of it ---------------------------------------------------------------------------------

int
pgs_describe(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err)
{
    struct pgs *s = self;
    struct pgs_rels rels = {0};
    PGS_RES r = NULL;
    int rc = pgs_query(s, &r, err, "SELECT pg_catalog.version()");
    if (rc == GW_OK) {
        cat->server_version = pgs_dup(a, r, 0, 0);
        rc = describe_tables(s, a, cat, &rels, err);
    }
    rc = rc == GW_OK ? describe_fingerprints(s, a, &rels, cat, err) : rc;
    rc = rc == GW_OK ? describe_columns(s, a, &rels, err) : rc;
    rc = rc == GW_OK ? pgs_describe_objects(s, a, &rels, cat, err) : rc;
    rc = rc == GW_OK ? pgs_describe_identity(s, a, &rels, err) : rc;
    if (rc != GW_OK) {
        return gw_err_wrap(err, "describe the source's tables");
    }
    for (size_t i = 0; i < cat->n_tables; i++) {
        Gw__Table *t = cat->tables[i];
        if (!t->fingerprint[0]) {
            t->source_schema = t->schema;
            t->source_name = t->name;
            pgs_find(a, cat, t, GW__SEVERITY__SEVERITY_ERROR, "", "the table is gone", "leave it out", "");
        }
    }
    return GW_OK;
}
