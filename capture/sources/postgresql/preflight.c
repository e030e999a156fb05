// What speaks against a stream of changes, each with the statement that mends it. Nothing is changed.
#include <string.h>

#include "stream.h"

#define ERROR   GW__SEVERITY__SEVERITY_ERROR
#define WARNING GW__SEVERITY__SEVERITY_WARNING
#define INFO    GW__SEVERITY__SEVERITY_INFO

struct look {
    struct pgs *s;
    struct gw_arena *a;
    const Gw__Task *task;
    Gw__Catalog *cat;
};

// ---- the server --------------------------------------------------------------------------------

static void
check_log(const struct look *k, const PGresult *r)
{
    if (strcmp(pgs_text(r, 0, 0), "logical") != 0) {
        pgs_find(k->a, k->cat, NULL, ERROR, "wal_level",
                 gw_arena_printf(k->a, "the source's wal_level is %s: its log holds no rows", pgs_text(r, 0, 0)),
                 "set it to logical, and restart the server", "ALTER SYSTEM SET wal_level = logical");
    }
    int slots = pgs_int(r, 0, 1), slots_used = pgs_int(r, 0, 2);
    if (slots_used >= slots) {
        pgs_find(k->a, k->cat, NULL, ERROR, "max_replication_slots",
                 gw_arena_printf(k->a, "all %d replication slots are in use", slots),
                 "drop one that nobody reads, or allow more and restart the server",
                 gw_arena_printf(k->a, "ALTER SYSTEM SET max_replication_slots = %d", slots_used + 4));
    }
    int senders = pgs_int(r, 0, 3), senders_used = pgs_int(r, 0, 4);
    if (senders_used >= senders) {
        pgs_find(k->a, k->cat, NULL, ERROR, "max_wal_senders",
                 gw_arena_printf(k->a, "all %d WAL senders are in use", senders), "allow more, and restart the server",
                 gw_arena_printf(k->a, "ALTER SYSTEM SET max_wal_senders = %d", senders_used + 4));
    }
    const char *keep = pgs_text(r, 0, 5);
    if (strcmp(keep, "-1") == 0 || !keep[0]) {
        pgs_find(k->a, k->cat, NULL, INFO, "max_slot_wal_keep_size",
                 "the source keeps its log for as long as the task has not read it, without a limit",
                 "watch the source's disk while the task stands still", "");
    } else {
        pgs_find(k->a, k->cat, NULL, INFO, "max_slot_wal_keep_size",
                 gw_arena_printf(k->a, "the source keeps at most %s of its log for the task", keep),
                 "if the task falls further behind, it has to start anew", "");
    }
}

static void
check_role(const struct look *k, const PGresult *r)
{
    PGS_BUF user, database;
    gw_buf_init(&user, 4096);
    gw_buf_init(&database, 4096);
    gw_pg_ident(&user, pgs_text(r, 0, 6));
    gw_pg_ident(&database, pgs_text(r, 0, 7));
    if (!pgs_true(r, 0, 8)) {
        pgs_find(k->a, k->cat, NULL, ERROR, "REPLICATION",
                 gw_arena_printf(k->a, "user %s may not replicate", user.data), "grant it",
                 gw_arena_printf(k->a, "ALTER ROLE %s REPLICATION", user.data));
    }
    if (!pgs_true(r, 0, 9) && !pgs_stream_setting(k->task->source, "publicationname")) {
        pgs_find(k->a, k->cat, NULL, ERROR, "CREATE",
                 gw_arena_printf(k->a, "user %s may not make a publication in database %s", user.data, database.data),
                 "grant it, or make the publication and name it by the source setting \"publicationname\"",
                 gw_arena_printf(k->a, "GRANT CREATE ON DATABASE %s TO %s", database.data, user.data));
    }
}

static int
check_server(const struct look *k, struct gw_err *err)
{
    PGS_RES r = NULL;
    int rc = pgs_side_query(
        k->s, &r, err,
        "SELECT pg_catalog.current_setting('wal_level'), pg_catalog.current_setting('max_replication_slots'),"
        " (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name <> '%s'),"
        " pg_catalog.current_setting('max_wal_senders'),"
        " (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'walsender'"
        " AND application_name NOT LIKE 'godwit stream %%'),"
        " coalesce(pg_catalog.current_setting('max_slot_wal_keep_size', true), ''), current_user, "
        "pg_catalog.current_database(),"
        " r.rolsuper OR r.rolreplication OR EXISTS (SELECT 1 FROM pg_catalog.pg_roles d WHERE d.rolname = "
        "'rds_replication'"
        " AND pg_catalog.pg_has_role(d.oid, 'MEMBER')),"
        " pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),"
        " (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(gid), ', ') FROM pg_catalog.pg_prepared_xacts)"
        " FROM pg_catalog.pg_roles r WHERE r.rolname = current_user",
        k->s->stream->slot);
    if (rc != GW_OK) {
        return rc;
    }
    check_log(k, r);
    check_role(k, r);
    if (!PQgetisnull(r, 0, 10)) {
        pgs_find(k->a, k->cat, NULL, WARNING, "prepared transactions",
                 gw_arena_printf(k->a, "the stream can begin only when these have ended: %s", pgs_text(r, 0, 10)),
                 "COMMIT PREPARED or ROLLBACK PREPARED each of them", "");
    }
    return GW_OK;
}

// The only way to know what pg_hba.conf says of a replication connection.
static int
check_connection(const struct look *k, struct gw_err *err)
{
    struct gw_err cause = {0};
    int rc = pgs_wal(k->s, &cause);
    k->s->stream->wal = gw_pg_close(k->s->stream->wal);
    if (rc == GW_CONFIG) {
        pgs_find(k->a, k->cat, NULL, ERROR, "replication connection", cause.message,
                 cause.hint[0] ? cause.hint : "allow it in pg_hba.conf", "");
        return GW_OK;
    }
    if (rc != GW_OK) {
        *err = cause;
    }
    return rc;
}

// One that the user has made and named has to hold every table.
static int
check_publication(const struct look *k, struct gw_err *err)
{
    if (k->s->stream->own_publication) {
        return GW_OK;
    }
    struct gw_stream_start start = {.task = k->task, .tables = k->cat->tables, .tables_n = k->cat->n_tables};
    struct gw_err cause = {0};
    int rc = pgs_publication_check(k->s, &start, PGS_MISSING_FAILS, &cause);
    if (rc == GW_CONFIG) {
        pgs_find(k->a, k->cat, NULL, ERROR, "publication", cause.message,
                 "make it so, or leave \"publicationname\" out", "");
        return GW_OK;
    }
    if (rc != GW_OK) {
        *err = cause;
    }
    return rc;
}

// ---- tables ------------------------------------------------------------------------------------

static void
check_identity(const struct look *k, const Gw__Table *t, const PGresult *r, int i)
{
    PGS_BUF name;
    gw_buf_init(&name, 4096);
    gw_pg_qname(&name, t->source_schema, t->source_name);
    if (t->n_identity) {
        return;
    }
    bool partitioned = t->kind == GW__TABLE_KIND__TABLE_PARTITIONED;
    const char *to = t->n_primary_key && pgs_text(r, i, 3)[0] == 'n' ? "DEFAULT" : "FULL";
    const char *leaves = pgs_text(r, i, 6);
    pgs_find(
        k->a, k->cat, t, ERROR, "",
        partitioned ? "it and its partitions have no replica identity in common: an old row could not be told"
                    : "it has no replica identity: an old row could not be told",
        "give it one (a primary key, or the whole row), or leave the table out",
        gw_arena_printf(k->a, "ALTER TABLE %s REPLICA IDENTITY %s%s%s", name.data, to, leaves[0] ? "; " : "", leaves));
}

static void
check_generated(const struct look *k, const Gw__Table *t)
{
    bool computed = k->task->target && strcmp(k->task->target->engine, "postgresql") == 0; // the target does it itself
    for (size_t i = 0; i < t->n_columns && !computed; i++) {
        const Gw__Column *c = t->columns[i];
        if (c->generated[0] && !c->left_out) {
            pgs_find(k->a, k->cat, t, ERROR, c->name,
                     "its generated values are not in the stream, and the target would need them",
                     "load the table without changes, or leave it out", "");
        }
    }
}

static void
check_table(const struct look *k, const Gw__Table *t, const PGresult *r, int i)
{
    PGS_BUF name, owner, user;
    gw_buf_init(&name, 4096);
    gw_buf_init(&owner, 4096);
    gw_buf_init(&user, 4096);
    gw_pg_qname(&name, t->source_schema, t->source_name);
    gw_pg_ident(&owner, pgs_text(r, i, 5));
    gw_pg_ident(&user, pgs_text(r, i, 7));
    if (t->kind == GW__TABLE_KIND__TABLE_VIEW || t->kind == GW__TABLE_KIND__TABLE_FOREIGN) {
        pgs_find(k->a, k->cat, t, ERROR, "", "a view or foreign table has no changes of its own",
                 "load it without changes, or leave it out", "");
        return;
    }
    bool partitioned = t->kind == GW__TABLE_KIND__TABLE_PARTITIONED;
    if (partitioned && k->s->version < 130000) {
        pgs_find(k->a, k->cat, t, ERROR, "", "partitioned tables cannot be streamed before PostgreSQL 13",
                 "leave it out", "");
        return;
    }
    if (pgs_text(r, i, 2)[0]) {
        pgs_find(k->a, k->cat, t, ERROR, "", "an unlogged table is not in the log",
                 "make it a logged one, or leave it out", pgs_text(r, i, 2));
        return;
    }
    if (!pgs_true(r, i, 4) && k->s->stream->own_publication) {
        pgs_find(
            k->a, k->cat, t, ERROR, "",
            gw_arena_printf(k->a, "only its owner may publish it, which user %s is not", user.data),
            "grant the owner's role, or make the publication and name it by the source setting \"publicationname\"",
            gw_arena_printf(k->a, "GRANT %s TO %s", owner.data, user.data));
    }
    check_identity(k, t, r, i);
    check_generated(k, t);
    if (partitioned) {
        pgs_find(k->a, k->cat, t, WARNING, "",
                 "TRUNCATE of a single partition, and ATTACH or DETACH of one that holds rows, are not in the stream",
                 "while the task runs, delete rows, or truncate the whole table; otherwise load it anew", "");
    }
}

static int
check_tables(const struct look *k, struct gw_err *err)
{
    PGS_BUF values;
    gw_buf_init(&values, PGS_SQL_MAX);
    for (size_t i = 0; i < k->cat->n_tables; i++) {
        gw_buf_printf(&values, "%s(%zu, ", i ? ", " : "", i);
        gw_pg_literal(&values, k->cat->tables[i]->source_schema);
        gw_buf_puts(&values, ", ");
        gw_pg_literal(&values, k->cat->tables[i]->source_name);
        gw_buf_putc(&values, ')');
    }
    if (k->cat->n_tables == 0) {
        return GW_OK;
    }
    PGS_RES r = NULL;
    int rc = pgs_side_query(
        k->s, &r, err,
        "SELECT t.i, c.oid, (SELECT coalesce(pg_catalog.string_agg(pg_catalog.format('ALTER TABLE %%I.%%I SET LOGGED', "
        "un.nspname,"
        " u.relname), '; '), '') FROM pg_catalog.pg_class u JOIN pg_catalog.pg_namespace un ON un.oid = u.relnamespace"
        " WHERE u.relpersistence = 'u' AND (u.oid = c.oid OR (c.relkind = 'p' AND u.oid IN (SELECT relid"
        " FROM pg_catalog.pg_partition_tree(c.oid) WHERE isleaf)))), c.relreplident,"
        " pg_catalog.pg_has_role(c.relowner, 'USAGE'), pg_catalog.pg_get_userbyid(c.relowner),"
        " CASE WHEN c.relkind = 'p' THEN (SELECT coalesce(pg_catalog.string_agg(pg_catalog.format("
        "'ALTER TABLE %%s REPLICA IDENTITY FULL', p.relid::pg_catalog.regclass), '; '), '')"
        " FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf) ELSE '' END, current_user"
        " FROM (VALUES %s) t(i, nsp, rel) JOIN pg_catalog.pg_namespace n ON n.nspname = t.nsp"
        " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.rel ORDER BY t.i",
        values.data);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        check_table(k, k->cat->tables[pgs_u64(r, i, 0)], r, i);
    }
    return rc;
}

int
pgs_stream_preflight(void *self, struct gw_arena *a, const Gw__Task *task, Gw__Catalog *cat, struct gw_err *err)
{
    struct look k = {self, a, task, cat};
    int r = pgs_names(k.s, task, NULL, err);
    r = r == GW_OK ? check_server(&k, err) : r;
    r = r == GW_OK ? check_connection(&k, err) : r;
    r = r == GW_OK ? check_tables(&k, err) : r;
    r = r == GW_OK ? check_publication(&k, err) : r;
    return r == GW_OK ? r : gw_err_wrap(err, "look at what a stream of changes needs");
}
