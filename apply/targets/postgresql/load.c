// Chunks: claim, COPY, fence.
//
// The claim is a transaction of its own: epoch + 1, our owner and backend. The rows go in a second one, whose last
// statement moves the chunk to done only if generation, epoch and owner are still what we claimed. Whoever
// was presumed dead and wakes up finds that row changed, and his rows are rolled back.
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/copytext.h"
#include "common/fault.h"
#include "common/plan.h"
#include "control.h"

enum { COPY_PIECE = 1 << 26 }; // PQputCopyData takes an int

struct claim {
    struct pgt_num id, gen, no;
    const char *key[5]; // task, table_id, generation, no, plan
};

static void
claim_init(struct claim *k, const struct pgt *t, uint32_t table_id, uint32_t generation, uint32_t no)
{
    k->key[0] = t->task->name;
    k->key[1] = pgt_num(&k->id, table_id);
    k->key[2] = pgt_num(&k->gen, generation);
    k->key[3] = pgt_num(&k->no, no);
}

#define CHUNK_KEY "task = $1 AND table_id = $2 AND generation = $3 AND no = $4"
// A chunk of another plan may have the same number.
#define SAME_PLAN  "c.plan = $5::bytea"
#define ANY_PLAN   (GW_GUARD("apply.plan") ? "" : " OR true") // the %2$s of a claim
#define CHUNK_WORK "pg_catalog.concat('godwit chunk ', c.table_id, '.', c.generation, '.', c.no, '.', c.epoch)"
// The task is still this one, the generation the stored one, and nobody is emptying the table. `n`: see PGT_OURS.
#define TABLE_OPEN(n)                                                                                                  \
    "(EXISTS (SELECT FROM %1$s.tables t WHERE t.task = $1 AND t.table_id = $2"                                         \
    " AND t.generation = $3 AND t.state <> 1) AND " PGT_OURS(n) ")"

// Class of an error while rows are being written. What PostgreSQL calls a limit or a user's exception is then
// about a row; a malformed row is ours.
int
pgt_row_error(struct pgt *t, const PGresult *r, struct gw_err *err, const char *what)
{
    int rc = gw_pg_error(t->c, r, err, "%s", what);
    const char *code = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    if (code && strcmp(code, "22P04") == 0) {
        rc = GW_BUG; // rows do not have the table's columns
    } else if (code && (strncmp(code, "54", 2) == 0 || strncmp(code, "P0", 2) == 0)) {
        rc = GW_DATA;
    }
    if (err) {
        err->cls = (enum gw_class)rc;
    }
    return rc;
}

void
pgt_hide_values(const Gw__Table *table, struct gw_err *err)
{
    char code[sizeof err->code];
    memcpy(code, err->code, sizeof code);
    gw_err_clear(err);
    gw_err_set(err, GW_DATA, code, "table \"%s.%s\" refuses a row", pgt_schema(table), table->name);
}

// Of a careful run they are for the exceptions table; of a fast run only the code is told.
static void
hide_values(const struct pgt_load *l, int rc, struct gw_err *err)
{
    if (rc == GW_DATA && !l->careful && err) {
        pgt_hide_values(l->table, err);
    }
}

// ---- claim

// Ends the backend of an earlier owner, so that its locks are gone and its rows decided.
static int
end_earlier(struct pgt *t, const struct claim *k, struct gw_err *err)
{
    PGT_RES r = NULL;
    struct gw_err why = {0};
    if (!GW_GUARD("apply.owner_kill")) {
        return GW_OK;
    }
    // A pid alone may belong to somebody else by now, and the session may have given this chunk up and work on
    // another: it says what it works on in its application_name, for the time of the transaction.
    // pg_terminate_backend waits since version 14; before, the successor's COPY waits on the locks instead.
    int rc =
        pgt_query(t, &r, &why, 5, k->key,
                  "SELECT pg_catalog.pg_terminate_backend(a.pid%s)"
                  " FROM %s.chunks c JOIN pg_catalog.pg_stat_activity a"
                  " ON a.pid = c.backend AND a.backend_start = c.backend_start"
                  " AND a.application_name = " CHUNK_WORK " WHERE c." CHUNK_KEY " AND " SAME_PLAN " AND c.state = 0"
                  " AND a.pid <> pg_catalog.pg_backend_pid()",
                  t->version >= 140000 ? ", 10000" : "", t->ctl);
    if (rc != GW_OK && strcmp(why.code, "42501") == 0) {
        return GW_OK; // another role's backend: the fence holds without this
    }
    if (rc != GW_OK && err) {
        *err = why;
    }
    return rc;
}

int
pgt_end_loads(struct pgt *t, struct gw_err *err)
{
    PGT_RES r = NULL;
    struct gw_err why = {0};
    const char *p[] = {t->task->name};
    if (!GW_GUARD("apply.owner_kill")) {
        return GW_OK;
    }
    int rc = pgt_query(t, &r, &why, 1, p,
                       "SELECT pg_catalog.pg_terminate_backend(a.pid%s)"
                       " FROM %s.chunks c JOIN pg_catalog.pg_stat_activity a"
                       " ON a.pid = c.backend AND a.backend_start = c.backend_start"
                       " AND a.application_name = " CHUNK_WORK " WHERE c.task = $1 AND c.state = 0"
                       " AND a.pid <> pg_catalog.pg_backend_pid()",
                       t->version >= 140000 ? ", 10000" : "", t->ctl);
    if (rc != GW_OK && strcmp(why.code, "42501") == 0) {
        return GW_OK; // another role's backend: it is waited for
    }
    if (rc != GW_OK && err) {
        *err = why;
    }
    return rc;
}

#define DURABLE                                                                                                        \
    "state, epoch, coalesce(snapshot, ''), rows_read, rows_written, rows_refused, bytes,"                              \
    " values_truncated"

// Why the claim found nothing to claim: durable (GW_END, with *done filled in) or fenced.
static int
not_claimed(struct pgt *t, struct gw_arena *a, const struct claim *k, const Gw__Chunk *c, Gw__Chunk *done,
            struct gw_err *err)
{
    const char *p[] = {k->key[0], k->key[1], k->key[2], k->key[3], k->key[4], t->task->uuid};
    PGT_RES r = NULL;
    int rc = pgt_query(t, &r, err, 6, p,
                       "SELECT " DURABLE ", " TABLE_OPEN("$6") " FROM %1$s.chunks c WHERE " CHUNK_KEY " AND (" SAME_PLAN
                                                               "%2$s)",
                       t->ctl, ANY_PLAN);
    if (rc != GW_OK) {
        return rc;
    }
    if (PQntuples(r) == 1 && pgt_u64(r, 0, 0) == PGT_CHUNK_DONE && pgt_true(r, 0, 8)) {
        *done = *c;
        done->done = true;
        done->epoch = pgt_u64(r, 0, 1);
        done->snapshot = gw_arena_strdup(a, pgt_text(r, 0, 2));
        done->rows_read = pgt_u64(r, 0, 3);
        done->rows_written = pgt_u64(r, 0, 4);
        done->rows_refused = pgt_u64(r, 0, 5);
        done->bytes = pgt_u64(r, 0, 6);
        done->values_truncated = pgt_u64(r, 0, 7);
        return GW_END;
    }
    gw_err_set(err, GW_FENCED, "", "chunk %u of generation %u is not the stored plan's", c->no, c->generation);
    gw_err_hint(err, "does another godwit work on the same task?");
    return GW_FENCED;
}

static int
claim(struct pgt *t, struct gw_arena *a, const Gw__Chunk *c, uint64_t *ret_epoch, Gw__Chunk *done, struct gw_err *err)
{
    struct claim k;
    claim_init(&k, t, c->table_id, c->generation, c->no);
    PGT_BUF plan;
    gw_buf_init(&plan, PGT_SQL_MAX);
    Gw__Chunk part = gw_plan_part(c);
    pgt_hex(&plan, &part);
    k.key[4] = plan.data;
    int rc = end_earlier(t, &k, err);
    if (rc != GW_OK) {
        return rc;
    }
    const char *p[] = {k.key[0], k.key[1], k.key[2], k.key[3], k.key[4], t->owner, t->task->uuid};
    PGT_RES r = NULL;
    rc = pgt_query(t, &r, err, 7, p,
                   "UPDATE %1$s.chunks c SET epoch = c.epoch + 1, owner = $6,"
                   " backend = b.pid, backend_start = b.backend_start"
                   " FROM (SELECT pid, backend_start FROM pg_catalog.pg_stat_get_activity("
                   "pg_catalog.pg_backend_pid())) b"
                   " WHERE c." CHUNK_KEY " AND c.state = 0 AND (" SAME_PLAN
                   "%2$s) AND " TABLE_OPEN("$7") " RETURNING c.epoch",
                   t->ctl, ANY_PLAN);
    if (rc != GW_OK) {
        return rc;
    }
    if (PQntuples(r) == 0) {
        return not_claimed(t, a, &k, c, done, err);
    }
    *ret_epoch = pgt_u64(r, 0, 0);
    return GW_OK;
}

// ---- rows

static char *
copy_statement(struct gw_arena *a, const Gw__Table *table)
{
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_puts(&sql, "COPY ");
    pgt_tname(&sql, table);
    size_t n = 0;
    for (size_t i = 0; i < table->n_columns; i++) {
        if (!table->columns[i]->left_out) {
            gw_buf_puts(&sql, n++ ? ", " : " (");
            pgt_ident(&sql, table->columns[i]->name);
        }
    }
    // A table without columns takes empty lines, and no list.
    gw_buf_puts(&sql, n ? ") FROM STDIN" : " FROM STDIN");
    return gw_arena_strdup(a, sql.data);
}

int
pgt_load_begin(void *self, struct gw_arena *a, const Gw__Table *table, const Gw__Chunk *c, bool careful,
               uint64_t *ret_epoch, Gw__Chunk *done, struct gw_err *err)
{
    struct pgt *t = self;
    gw_assert(!t->load.open);
    uint64_t epoch = 0;
    int rc = claim(t, a, c, &epoch, done, err);
    if (rc == GW_END) {
        return rc;
    }
    rc = rc == GW_OK ? pgt_fault("apply.after_claim", err) : rc;
    rc = rc == GW_OK ? pgt_begin(t, err) : rc;
    if (rc == GW_OK) {
        rc = gw_pg_exec(t->c, err, "SET LOCAL application_name = 'godwit chunk %u.%u.%u.%llu'", c->table_id,
                        c->generation, c->no, (unsigned long long)epoch);
    }
    // Neither triggers nor foreign keys while rows come in any order: the source has checked them.
    if (rc == GW_OK && t->may_replica) {
        rc = gw_pg_exec(t->c, err, "SET LOCAL session_replication_role = replica");
    }
    if (rc == GW_OK && careful) {
        rc = gw_pg_exec(t->c, err, "SET CONSTRAINTS ALL IMMEDIATE"); // nothing may surface at COMMIT
    }
    if (pgt_end(t, rc) != GW_OK) {
        return gw_err_wrap(err, "begin chunk %u of table \"%s.%s\"", c->no, pgt_schema(table), table->name);
    }
    struct pgt_load *l = &t->load;
    gw_arena_reset(&l->arena);
    l->table = gw_pb_dup(&l->arena, table);
    l->copy = copy_statement(&l->arena, table);
    l->table_id = c->table_id;
    l->no = c->no;
    l->generation = c->generation;
    l->epoch = epoch;
    l->careful = careful;
    l->copying = false;
    l->rows_sent = l->rows_copied = 0;
    l->open = true;
    *ret_epoch = epoch;
    return GW_OK;
}

static int
copy_open(struct pgt *t, const char *before, struct gw_err *err)
{
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_puts(&sql, before);
    gw_buf_puts(&sql, t->load.copy);
    PGT_RES r = PQexec(t->c, sql.data);
    if (PQresultStatus(r) != PGRES_COPY_IN) {
        return gw_pg_error(t->c, r, err, "copy into table \"%s.%s\"", pgt_schema(t->load.table), t->load.table->name);
    }
    t->load.copying = true;
    t->load.rows_sent = 0;
    return GW_OK;
}

static int
copy_put(struct pgt *t, const char *rows, size_t len, struct gw_err *err)
{
    while (len > 0) {
        int piece = len > COPY_PIECE ? COPY_PIECE : (int)len;
        if (PQputCopyData(t->c, rows, piece) != 1) {
            return gw_pg_error(t->c, NULL, err, "send rows of table \"%s.%s\"", pgt_schema(t->load.table),
                               t->load.table->name);
        }
        rows += piece;
        len -= (size_t)piece;
    }
    return GW_OK;
}

// Reads results until the connection is idle again.
static void
drain(struct pgt *t)
{
    for (PGresult *r; (r = PQgetResult(t->c));) {
        PQclear(r);
    }
}

// Ends the COPY and holds the server's count to ours.
static int
copy_close(struct pgt *t, struct gw_err *err)
{
    struct pgt_load *l = &t->load;
    l->copying = false;
    if (PQputCopyEnd(t->c, NULL) != 1) {
        return gw_pg_error(t->c, NULL, err, "end the copy into table \"%s.%s\"", pgt_schema(l->table), l->table->name);
    }
    PGT_RES r = PQgetResult(t->c);
    int rc = GW_OK;
    if (PQresultStatus(r) != PGRES_COMMAND_OK) {
        rc = pgt_row_error(t, r, err, "copy rows");
        hide_values(l, rc, err);
    } else if (strtoull(PQcmdTuples(r), NULL, 10) != l->rows_sent) {
        gw_err_set(err, GW_CONFIG, "", "copy into table \"%s.%s\": %llu rows sent, %s taken", pgt_schema(l->table),
                   l->table->name, (unsigned long long)l->rows_sent, PQcmdTuples(r));
        gw_err_hint(err, "a trigger of the table skips rows: disable it for the load");
        rc = GW_CONFIG;
    } else {
        l->rows_copied += l->rows_sent;
    }
    drain(t);
    return rc;
}

// One span of rows that is taken whole or not at all.
static int
write_careful(struct pgt *t, const char *rows, size_t len, uint32_t nrows, struct gw_err *err)
{
    int rc = copy_open(t, "SAVEPOINT godwit_span; ", err);
    if (rc != GW_OK) {
        return rc;
    }
    rc = copy_put(t, rows, len, err);
    t->load.rows_sent = nrows;
    rc = rc == GW_OK ? copy_close(t, err) : rc;
    if (rc == GW_OK) {
        return gw_pg_exec(t->c, err, "RELEASE SAVEPOINT godwit_span");
    }
    if (rc == GW_DATA && GW_GUARD("apply.savepoint")) {
        struct gw_err again = {0};
        int back = gw_pg_exec(t->c, &again,
                              "ROLLBACK TO SAVEPOINT godwit_span;"
                              "RELEASE SAVEPOINT godwit_span");
        if (back != GW_OK) {
            if (err) {
                *err = again;
            }
            return back;
        }
    }
    return rc;
}

int
pgt_load_write(void *self, const char *rows, size_t len, uint32_t nrows, struct gw_err *err)
{
    struct pgt *t = self;
    gw_assert(t->load.open);
    if (nrows == 0) {
        return GW_OK;
    }
    if (t->load.careful) {
        return write_careful(t, rows, len, nrows, err);
    }
    int rc = t->load.copying ? GW_OK : copy_open(t, "", err);
    rc = rc == GW_OK ? copy_put(t, rows, len, err) : rc;
    t->load.rows_sent += rc == GW_OK ? nrows : 0;
    return rc;
}

// ---- commit

static int
fence(struct pgt *t, const struct gw_target_counts *n, const char *snapshot, struct gw_err *err)
{
    struct pgt_load *l = &t->load;
    struct claim k;
    claim_init(&k, t, l->table_id, l->generation, l->no);
    struct pgt_num epoch, read, written, refused, cut, bytes, now;
    const char *p[] = {k.key[0],
                       k.key[1],
                       k.key[2],
                       k.key[3],
                       pgt_num(&epoch, l->epoch),
                       t->owner,
                       snapshot ? snapshot : "",
                       pgt_num(&read, n->rows_read),
                       pgt_num(&written, n->rows_written),
                       pgt_num(&refused, n->rows_refused),
                       pgt_num(&cut, n->values_truncated),
                       pgt_num(&bytes, n->bytes),
                       pgt_num(&now, (uint64_t)gw_wall_us()),
                       t->task->uuid};
    uint64_t rows = 0;
    int rc = pgt_affect(t, &rows, err, 14, p,
                        "UPDATE %1$s.chunks SET state = 1, snapshot = $7, rows_read = $8,"
                        " rows_written = $9, rows_refused = $10, values_truncated = $11,"
                        " bytes = $12, done_us = $13"
                        " WHERE " CHUNK_KEY " AND epoch = $5 AND owner = $6 AND state = 0 AND " TABLE_OPEN("$14"),
                        t->ctl);
    if (rc == GW_OK && rows != 1 && GW_GUARD("apply.fence")) {
        return gw_err_set(err, GW_FENCED, "", "somebody else owns chunk %u of table \"%s.%s\" by now", l->no,
                          pgt_schema(l->table), l->table->name);
    }
    return rc;
}

int
pgt_load_commit(void *self, const struct gw_target_counts *counts, const char *snapshot, struct gw_err *err)
{
    struct pgt *t = self;
    struct pgt_load *l = &t->load;
    gw_assert(l->open);
    int rc = l->copying ? copy_close(t, err) : GW_OK;
    if (rc == GW_OK && counts->rows_written != l->rows_copied) {
        rc = gw_err_set(err, GW_BUG, "", "%llu rows written, %llu counted", (unsigned long long)l->rows_copied,
                        (unsigned long long)counts->rows_written);
    }
    rc = rc == GW_OK ? pgt_fault("apply.before_fence", err) : rc;
    rc = rc == GW_OK ? fence(t, counts, snapshot, err) : rc;
    rc = rc == GW_OK ? pgt_fault("apply.before_commit", err) : rc;
    if (rc == GW_OK) {
        PGT_RES r = PQexec(t->c, "COMMIT");
        if (PQresultStatus(r) != PGRES_COMMAND_OK) {
            rc = pgt_row_error(t, r, err, "commit");
            hide_values(l, rc, err);
        } else if (strcmp(PQcmdStatus(r), "COMMIT") != 0) {
            rc = gw_err_set(err, GW_BUG, "", "commit: the server answered %s", PQcmdStatus(r));
        }
    }
    l->open = false;
    rc = rc == GW_OK ? pgt_fault("apply.after_commit", err) : rc;
    if (pgt_end(t, rc) != GW_OK && rc != GW_FENCED) {
        return gw_err_wrap(err, "chunk %u of table \"%s.%s\"", l->no, pgt_schema(l->table), l->table->name);
    }
    return rc;
}

int
pgt_load_abort(void *self, struct gw_err *err)
{
    struct pgt *t = self;
    if (!t->load.open) {
        return GW_OK;
    }
    t->load.open = false;
    if (t->load.copying) {
        t->load.copying = false;
        if (PQputCopyEnd(t->c, "given up") == 1) {
            drain(t);
        }
    }
    PGT_RES r = PQexec(t->c, "ROLLBACK");
    return PQresultStatus(r) == PGRES_COMMAND_OK ? GW_OK : gw_pg_error(t->c, r, err, "roll back");
}
