#include <stdlib.h>
#include <string.h>

#include "stream.h"

// ---- small things that all files use -----------------------------------------------------------

uint64_t
pgs_u64(const PGresult *r, int row, int col)
{
    return strtoull(PQgetvalue(r, row, col), NULL, 10);
}

int64_t
pgs_i64(const PGresult *r, int row, int col)
{
    return strtoll(PQgetvalue(r, row, col), NULL, 10);
}

int
pgs_int(const PGresult *r, int row, int col)
{
    return (int)strtol(PQgetvalue(r, row, col), NULL, 10);
}

void
pgs_split(struct gw_arena *a, const char *text, char ***ret, size_t *n)
{
    while (*text) {
        size_t len = strcspn(text, "\x1f");
        *(char **)gw_arena_push(a, ret, n, sizeof **ret) = gw_arena_memdup0(a, text, len);
        text += len + (text[len] != 0);
    }
}

int
pgs_query(struct pgs *s, PGresult **ret, struct gw_err *err, const char *fmt, ...)
{
    PGS_BUF sql;
    gw_buf_init(&sql, PGS_SQL_MAX);
    va_list ap;
    va_start(ap, fmt);
    gw_buf_vprintf(&sql, fmt, ap);
    va_end(ap);
    if (sql.overflowed) {
        return gw_err_set(err, GW_CONFIG, NULL, "a catalogue query became too long: select fewer tables");
    }
    PQclear(*ret);
    *ret = NULL;
    return gw_pg_query(s->c, ret, sql.data, 0, NULL, err);
}

// ---- open and close ----------------------------------------------------------------------------

static void
source_close(void *self)
{
    struct pgs *s = self;
    pgs_stream_free(s);
    s->c = gw_pg_close(s->c);
    gw_arena_fini(&s->arena);
    memset(s, 0, sizeof *s);
}

static int
source_open(void *self, const Gw__Endpoint *ep, const char *password, struct gw_err *err)
{
    struct pgs *s = self;
    gw_arena_init(&s->arena);
    s->ep = gw_pb_dup(&s->arena, ep);
    int r = gw_pg_connect(&s->c, ep, password, "capture", err);
    if (r != GW_OK) {
        return r;
    }
    s->version = PQserverVersion(s->c);
    if (s->version < PGS_VERSION_MIN) {
        return gw_err_set(err, GW_CONFIG, NULL, "PostgreSQL %d is too old: 12 is the oldest that can be read",
                          s->version / 10000);
    }
    PGS_RES res = NULL;
    r = pgs_query(s, &res, err, "SELECT pg_catalog.pg_is_in_recovery()");
    if (r == GW_OK && pgs_true(res, 0, 0)) {
        // pg_current_snapshot() lists no running transactions on a standby: two readers could not prove that they
        // see the same point.
        r = gw_err_set(err, GW_CONFIG, NULL, "the source server is a standby");
        gw_err_hint(err, "name the primary in the source's url");
    }
    return r;
}

static int
source_identity(void *self, struct gw_arena *a, char **ret, struct gw_err *err)
{
    struct pgs *s = self;
    PGS_RES r = NULL;
    int rc = pgs_query(s, &r, err,
                       "SELECT s.system_identifier, d.oid, d.datname FROM pg_catalog.pg_control_system() s,"
                       " pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()");
    if (rc == GW_OK) {
        *ret = gw_arena_printf(a, "postgresql:%s/%s/%s", pgs_text(r, 0, 0), pgs_text(r, 0, 1), pgs_text(r, 0, 2));
    }
    return rc;
}

// ---- list --------------------------------------------------------------------------------------

static const struct {
    char relkind;
    Gw__TableKind kind;
} kinds[] = {
    {'r', GW__TABLE_KIND__TABLE_PLAIN}, {'p', GW__TABLE_KIND__TABLE_PARTITIONED}, {'v', GW__TABLE_KIND__TABLE_VIEW},
    {'m', GW__TABLE_KIND__TABLE_VIEW},  {'f', GW__TABLE_KIND__TABLE_FOREIGN},
};

static Gw__TableKind
kind_of(char relkind)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i].relkind == relkind) {
            return kinds[i].kind;
        }
    }
    return GW__TABLE_KIND__TABLE_PLAIN;
}

// Members of extensions come with CREATE EXTENSION; temporary tables are another session's.
static int
source_list(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err)
{
    struct pgs *s = self;
    PGS_RES r = NULL;
    int rc =
        pgs_query(s, &r, err,
                  "SELECT n.nspname, c.relname, c.relkind, GREATEST(c.reltuples, 0)::pg_catalog.int8,"
                  " CASE WHEN c.relkind = 'p' THEN (SELECT coalesce(sum(pg_catalog.pg_table_size(p.relid)), 0)"
                  " FROM pg_catalog.pg_partition_tree(c.oid) p) WHEN c.relkind IN ('r', 'm')"
                  " THEN pg_catalog.pg_table_size(c.oid) ELSE 0 END"
                  " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                  " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'"
                  " AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'"
                  " AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'"
                  "::pg_catalog.regclass AND e.objid = c.oid AND e.deptype = 'e')"
                  " ORDER BY 1, 2");
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__Table *t = gw_pb_new(a, Gw__Table, gw__table__init);
        t->schema = pgs_dup(a, r, i, 0);
        t->name = pgs_dup(a, r, i, 1);
        t->kind = kind_of(pgs_text(r, i, 2)[0]);
        t->rows_estimate = pgs_u64(r, i, 3);
        t->bytes_estimate = pgs_u64(r, i, 4);
        gw_pb_add(a, cat, tables, t);
    }
    return rc;
}

// ---- sequences ---------------------------------------------------------------------------------

// One that may not be read stays unknown, as describe has said; the check keeps the transaction whole.
static int
read_sequence(struct pgs *s, Gw__Column *c, struct gw_err *err)
{
    PGS_BUF lit;
    gw_buf_init(&lit, 8192);
    gw_pg_literal(&lit, c->sequence_name);
    PGS_RES r = NULL;
    int rc = pgs_query(s, &r, err, "SELECT pg_catalog.has_sequence_privilege(%s, 'SELECT')", lit.data);
    if (rc != GW_OK || !pgs_true(r, 0, 0)) {
        return rc;
    }
    rc = pgs_query(s, &r, err, "SELECT last_value, is_called FROM %s", c->sequence_name);
    if (rc == GW_OK && PQntuples(r) == 1) {
        int64_t last = pgs_i64(r, 0, 0), next = last;
        bool used_up =
            pgs_true(r, 0, 1) && __builtin_add_overflow(last, c->sequence_increment ? c->sequence_increment : 1, &next);
        c->sequence_next = used_up ? last : next;
    }
    return rc;
}

static int
source_sequences(void *self, Gw__Table *t, struct gw_err *err)
{
    struct pgs *s = self;
    int rc = s->in_snapshot ? gw_pg_exec(s->c, err, "SAVEPOINT godwit_locks") : GW_OK;
    for (size_t i = 0; rc == GW_OK && i < t->n_columns; i++) {
        Gw__Column *c = t->columns[i];
        rc = c->sequence_name[0] ? read_sequence(s, c, err) : GW_OK;
        if (rc != GW_OK) {
            return gw_err_wrap(err, "read sequence %s", c->sequence_name);
        }
    }
    return rc == GW_OK && s->in_snapshot ? pgs_unlock(s, err) : rc;
}

const struct gw_source_ops gw_source_postgresql = {
    .version = GW_SOURCE_VERSION,
    .name = "postgresql",
    .caps = GW_SOURCE_SHARED_SNAPSHOT | GW_SOURCE_SPLITS | GW_SOURCE_STREAM,
    .state_size = sizeof(struct pgs),
    .open = source_open,
    .close = source_close,
    .identity = source_identity,
    .list = source_list,
    .describe = pgs_describe,
    .snapshot_begin = pgs_snapshot_begin,
    .plan = pgs_plan,
    .chunk_begin = pgs_chunk_begin,
    .chunk_next = pgs_chunk_next,
    .chunk_cancel = pgs_chunk_cancel,
    .sequences = source_sequences,
    .stream_preflight = pgs_stream_preflight,
    .stream_open = pgs_stream_open,
    .stream_check = pgs_stream_check,
    .stream_close = pgs_stream_close,
    .stream_now = pgs_stream_now,
    .stream_begin = pgs_stream_begin,
    .stream_next = pgs_stream_next,
    .stream_fd = pgs_stream_fd,
    .stream_confirm = pgs_stream_confirm,
    .stream_kept = pgs_stream_kept,
    .position_cmp = pgs_position_cmp,
    .tx_visible = pgs_tx_visible,
    .snapshot_covers = pgs_snapshot_covers,
};
