// The stream of changes: claim, transactions, and the fence at their end.
//
// The progress row moves in the transaction that writes the rows, as its last statement, and only if epoch, owner and the old
// position are the ones this session knows. A process that was presumed dead and wakes up finds another epoch there, and
// what it wrote is rolled back.
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "control.h"
#include "stream.h"

// ---- the session

static struct pgt_stream *
stream_new(void)
{
    struct pgt_stream *s = calloc(1, sizeof *s);
    gw_assert(s);
    gw_arena_init(&s->arena);
    gw_buf_init(&s->position, 1 << 20);
    gw_buf_init(&s->key, 16 << 20);
    gw_buf_init(&s->sql, PGT_SQL_MAX);
    gw_buf_init(&s->args, (size_t)1 << 30);
    gw_buf_init(&s->counts, 256 << 20);
    return s;
}

struct pgt_stream *
pgt_stream_free(struct pgt_stream *s)
{
    if (s) {
        gw_arena_fini(&s->arena);
        gw_buf_fini(&s->position);
        gw_buf_fini(&s->key);
        gw_buf_fini(&s->sql);
        gw_buf_fini(&s->args);
        gw_buf_fini(&s->counts);
        free(s->values);
        free(s->lengths);
        free(s->formats);
        free(s->types);
        free(s->sizes);
        free(s->at);
        free(s);
    }
    return NULL;
}

#define STREAM_WORK "godwit stream "
// A set is planned once, not at each execution: of one row the planning takes longer than the rest. The key is looked up
// row by row; only where no index has it, all rows are hashed once a set (PGT_HASH_ON). A plan that was made while the table
// was small may still read all of its index, set after set, so plans are made anew as the table grows (PGT_DISCARD).
#define LOCAL                                                                                                          \
    "SELECT pg_catalog.set_config('application_name', '" STREAM_WORK "' || $1, true),"                                 \
    " pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true),"                                           \
    " pg_catalog.set_config('enable_seqscan', 'off', true), pg_catalog.set_config('enable_mergejoin', 'off', true),"   \
    " pg_catalog.set_config('enable_hashjoin', 'off', true)"

// One row, or an error that undoes all: COMMIT can then travel with it.
#define FENCE                                                                                                          \
    "WITH f AS (UPDATE %s.progress SET position = $1, counts = $2, updated_us = $3"                                    \
    " WHERE task = $4 AND epoch = $5 AND position = $6 AND owner = $7 RETURNING 1)"                                    \
    " SELECT 1 / pg_catalog.count(*) FROM f"

int
pgt_stream_prepare(struct pgt *t, struct gw_err *err)
{
    static const char *const fixed[][2] = {
        {"gw_begin", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"},
        {"gw_commit", "COMMIT"},
        {"gw_mark", "SAVEPOINT gw_mark"},
        {"gw_release", "RELEASE SAVEPOINT gw_mark"},
        {"gw_set", "SAVEPOINT gw_set"},
        {"gw_unset", "RELEASE SAVEPOINT gw_set"},
        {"gw_now", "SET CONSTRAINTS ALL IMMEDIATE"},
        {PGT_DISCARD, "DISCARD PLANS"},
        {PGT_HASH_ON, "SET LOCAL enable_hashjoin = on"},
        {PGT_HASH_OFF, "SET LOCAL enable_hashjoin = off"},
    };
    static const Oid text[] = {PGT_TEXT_OID};
    static const Oid fence[] = {PGT_TEXT_OID, 17 /* bytea */, 20 /* int8 */, PGT_TEXT_OID,
                                20,           PGT_TEXT_OID,   PGT_TEXT_OID};
    struct pgt_stream *s = t->stream;
    bool open = s->open;
    s->open = false; // nothing of the transaction goes with these
    PGT_BUF sql;
    gw_buf_init(&sql, 1 << 16);
    gw_buf_printf(&sql, FENCE, t->ctl);
    int rc = pgt_pipe_open(t, err);
    for (size_t i = 0; rc == GW_OK && i < sizeof fixed / sizeof *fixed; i++) {
        rc = pgt_pipe_prepare_plain(t, fixed[i][0], fixed[i][1], 0, NULL, err);
    }
    rc = rc == GW_OK ? pgt_pipe_prepare_plain(t, "gw_local", LOCAL, 1, text, err) : rc;
    rc = rc == GW_OK ? pgt_pipe_prepare_plain(t, "gw_replica",
                                              LOCAL ", pg_catalog.set_config('session_replication_role', 'replica', "
                                                    "true)",
                                              1, text, err)
                     : rc;
    rc = rc == GW_OK ? pgt_pipe_prepare_plain(t, "gw_fence", sql.data, 7, fence, err) : rc;
    rc = rc == GW_OK ? pgt_pipe_close(t, NULL, err) : rc;
    s->open = open;
    s->prepared = rc == GW_OK;
    return rc;
}

int
pgt_stream_lost(struct pgt *t, int rc)
{
    struct pgt_stream *s = t->stream;
    if (PQstatus(t->c) == CONNECTION_OK && PQpipelineStatus(t->c) == PQ_PIPELINE_OFF) {
        pgt_rollback(t);
    }
    s->open = s->need_begin = s->need_release = s->need_mark = s->dirty = false;
    s->mark = PGT_MARK_NONE;
    return rc;
}

int
pgt_stream_flush(struct pgt *t, struct gw_err *err)
{
    const struct pgt_stream *s = t->stream;
    if (!s->need_begin && !s->need_release && !s->need_mark) {
        return GW_OK;
    }
    int rc = pgt_pipe_open(t, err);
    return rc == GW_OK ? pgt_pipe_close(t, NULL, err) : rc;
}

int
pgt_stream_undo(struct pgt *t, const char *sql, struct gw_err *err)
{
    return gw_pg_exec(t->c, err, "%s", sql);
}

int
pgt_stream_restart(struct pgt *t, struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    int rc = GW_OK;
    if (PQtransactionStatus(t->c) != PQTRANS_IDLE) {
        rc = gw_pg_exec(t->c, err, "ROLLBACK");
    }
    if (rc == GW_OK) {
        s->need_begin = true;
        s->dirty = s->need_release = s->need_mark = false;
    }
    return rc;
}

// A change of session_replication_role throws all plans of the session away, so a stream sets it once, and not in every
// transaction. Where something else has taken it back in between, the transaction sets it after all.
static int
set_role(struct pgt *t, bool replica, struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    if (s->role == replica) {
        return GW_OK;
    }
    int rc = gw_pg_exec(t->c, err, "SET session_replication_role = %s", replica ? "replica" : "origin");
    s->role = rc == GW_OK ? replica : s->role;
    return rc;
}

int
pgt_stream_leave(struct pgt *t, struct gw_err *err)
{
    return t->stream ? set_role(t, false, err) : GW_OK;
}

// ---- claim

static int
end_earlier(struct pgt *t, struct gw_err *err)
{
    PGT_RES r = NULL;
    struct gw_err why = {0};
    const char *p[] = {t->task->name, t->task->uuid};
    // As for chunks: pid and start time name the backend, and its application_name says that it is still at this.
    int rc = pgt_query(t, &r, &why, 2, p,
                       "SELECT pg_catalog.pg_terminate_backend(a.pid%2$s)"
                       " FROM %1$s.progress p JOIN pg_catalog.pg_stat_activity a"
                       " ON a.pid = p.backend AND a.backend_start = p.backend_start"
                       " AND a.application_name = '" STREAM_WORK "' || p.epoch"
                       " WHERE p.task = $1 AND a.pid <> pg_catalog.pg_backend_pid() AND " PGT_OURS("$2"),
                       t->ctl, t->version >= 140000 ? ", 10000" : "");
    if (rc != GW_OK && strcmp(why.code, "42501") == 0) {
        return GW_OK; // another role's backend: the fence holds without this
    }
    if (rc != GW_OK && err) {
        *err = why;
    }
    return rc;
}

static int
no_progress(struct pgt *t, struct gw_err *err)
{
    gw_err_set(err, GW_CONFIG, "", "task \"%s\" has no stream position on the target", t->task->name);
    gw_err_hint(err, "it was registered as a load alone: drop it and begin anew");
    return GW_CONFIG;
}

// No row of the task's: it never had one, or is another task of this name by now.
static int
not_ours(struct pgt *t, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {t->task->name};
    int rc = pgt_query(t, &r, err, 1, p, "SELECT FROM %s.progress WHERE task = $1", t->ctl);
    if (rc != GW_OK || PQntuples(r) == 0) {
        return rc == GW_OK ? no_progress(t, err) : rc;
    }
    gw_err_set(err, GW_FENCED, "", "the task of this name on the target is another one by now");
    gw_err_hint(err, PGT_OTHER_GODWIT);
    return GW_FENCED;
}

static int
take(struct pgt *t, struct gw_arena *a, Gw__Progress *ret, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {t->task->name, t->owner, t->task->uuid};
    int rc = pgt_query(t, &r, err, 3, p,
                       "UPDATE %1$s.progress p SET epoch = p.epoch + 1, owner = $2, backend = b.pid,"
                       " backend_start = b.backend_start FROM (SELECT pid, backend_start FROM"
                       " pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())) b"
                       " WHERE p.task = $1 AND " PGT_OURS("$3") " RETURNING " PGT_PROGRESS_COLUMNS,
                       t->ctl);
    if (rc == GW_OK && PQntuples(r) != 1) {
        rc = not_ours(t, err);
    }
    return rc == GW_OK ? pgt_progress_read(t, a, r, ret, err) : rc;
}

// Nobody else suspends tables from now on.
static int
suspended(struct pgt *t, struct gw_arena *a, Gw__Progress *p, struct gw_err *err)
{
    struct pgt_num state;
    const char *params[] = {t->task->name, pgt_num(&state, GW__TABLE_STATE__STATE_ERROR)};
    PGT_RES r = NULL;
    int rc = pgt_query(t, &r, err, 2, params, "SELECT table_id, reason FROM %s.tables WHERE task = $1 AND state = $2",
                       t->ctl);
    for (int i = 0; rc == GW_OK && i < PQntuples(r); i++) {
        Gw__Suspended *s = gw_pb_new(a, Gw__Suspended, gw__suspended__init);
        s->table = (uint32_t)pgt_u64(r, i, 0);
        s->reason = gw_arena_strdup(a, pgt_text(r, i, 1));
        gw_pb_add(a, p, suspended, s);
    }
    return rc;
}

int
pgt_stream_claim(void *self, struct gw_arena *a, bool in_order, Gw__Progress *ret, struct gw_err *err)
{
    struct pgt *t = self;
    t->stream = t->stream ? t->stream : stream_new();
    struct pgt_stream *s = t->stream;
    if (s->open) {
        pgt_stream_lost(t, GW_OK);
    }
    s->claimed = false;
    s->tables = NULL; // indexes may have been made since
    s->tables_n = 0;
    bool there = false;
    Gw__Progress progress;
    int rc = pgt_control_exists(t, "progress", &there, err);
    rc = rc == GW_OK && !there ? no_progress(t, err) : rc;
    rc = rc == GW_OK && !s->prepared ? pgt_stream_prepare(t, err) : rc;
    rc = rc == GW_OK ? set_role(t, t->may_replica && !in_order, err) : rc;
    rc = rc == GW_OK ? end_earlier(t, err) : rc;
    rc = rc == GW_OK ? take(t, a, &progress, err) : rc;
    rc = rc == GW_OK ? suspended(t, a, &progress, err) : rc;
    rc = rc == GW_OK ? pgt_fault("apply.stream.after_claim", err) : rc;
    if (rc != GW_OK) {
        return gw_err_wrap(err, "claim the stream of task \"%s\"", t->task->name);
    }
    s->claimed = true;
    s->in_order = in_order;
    s->replica = t->may_replica && !in_order;
    s->epoch = progress.epoch;
    gw_buf_reset(&s->position);
    gw_buf_puts(&s->position, progress.position);
    *ret = progress;
    return GW_OK;
}

// ---- transactions

int
pgt_stream_begin(void *self, struct gw_err *err)
{
    (void)err;
    struct pgt *t = self;
    struct pgt_stream *s = t->stream;
    gw_assert(s && s->claimed && !s->open);
    s->open = s->need_begin = true;
    s->need_release = s->need_mark = s->dirty = false;
    s->mark = PGT_MARK_NONE;
    return GW_OK;
}

int
pgt_stream_mark(void *self, struct gw_err *err)
{
    (void)err;
    struct pgt *t = self;
    struct pgt_stream *s = t->stream;
    gw_assert(s && s->open);
    if (s->need_begin) {
        s->mark = PGT_MARK_START;
    } else if (s->mark != PGT_MARK_SET || s->dirty) {
        s->need_release = s->mark == PGT_MARK_SET;
        s->need_mark = true;
        s->mark = PGT_MARK_SET;
    }
    s->dirty = false;
    return GW_OK;
}

int
pgt_stream_back(void *self, struct gw_err *err)
{
    struct pgt *t = self;
    struct pgt_stream *s = t->stream;
    gw_assert(s && s->open && s->mark != PGT_MARK_NONE);
    if (!s->dirty) {
        return GW_OK;
    }
    int rc = s->mark == PGT_MARK_START ? pgt_stream_restart(t, err)
                                       : pgt_stream_undo(t, "ROLLBACK TO SAVEPOINT gw_mark", err);
    s->dirty = false;
    return rc == GW_OK ? rc : pgt_stream_lost(t, gw_err_wrap(err, "take changes back"));
}

int
pgt_stream_refuse(void *self, const Gw__Table *table, const char *position, const struct gw_refused *r,
                  struct gw_err *err)
{
    struct pgt *t = self;
    gw_assert(t->stream && t->stream->open);
    int rc = pgt_stream_flush(t, err);
    rc = rc == GW_OK ? pgt_refuse(t, table, NULL, position, r, err) : rc;
    t->stream->dirty = true;
    return rc == GW_OK ? rc : pgt_stream_lost(t, rc);
}

int
pgt_stream_suspend(void *self, uint32_t table_id, const char *reason, struct gw_err *err)
{
    struct pgt *t = self;
    gw_assert(t->stream && t->stream->open);
    struct pgt_num id, state;
    const char *p[] = {t->task->name, pgt_num(&id, table_id), pgt_num(&state, GW__TABLE_STATE__STATE_ERROR), reason};
    uint64_t n = 0;
    int rc = pgt_stream_flush(t, err);
    rc = rc == GW_OK
             ? pgt_affect(t, &n, err, 4, p,
                          "UPDATE %s.tables SET state = $3, reason = $4 WHERE task = $1 AND table_id = $2", t->ctl)
             : rc;
    if (rc == GW_OK && n != 1) {
        rc = gw_err_set(err, GW_FENCED, "", "table %u of task \"%s\" is not registered", table_id, t->task->name);
    }
    t->stream->dirty = true;
    return rc == GW_OK ? rc : pgt_stream_lost(t, gw_err_wrap(err, "suspend table %u", table_id));
}

// ---- commit

static int
put_fence(struct pgt *t, const char *position, const Gw__StreamCounts *counts, struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    size_t n = gw__stream_counts__get_packed_size(counts);
    gw_buf_reset(&s->counts);
    char *room = gw_buf_room(&s->counts, n + 1);
    if (!room) {
        return gw_err_set(err, GW_BUG, "", "counts do not fit into the buffer");
    }
    gw__stream_counts__pack(counts, (uint8_t *)room);
    struct pgt_num now, epoch;
    const char *p[] = {
        position,         room,    pgt_num(&now, (uint64_t)gw_wall_us()), t->task->name, pgt_num(&epoch, s->epoch),
        s->position.data, t->owner};
    int lengths[] = {0, (int)n, 0, 0, 0, 0, 0}, formats[] = {0, 1, 0, 0, 0, 0, 0};
    return pgt_pipe_put(t, PGT_SLOT_FENCE, "gw_fence", 7, p, lengths, formats, err);
}

// Fence and COMMIT in one round trip. A constraint that waits for the end of the transaction is looked at before the fence.
static int
finish(struct pgt *t, const char *position, const Gw__StreamCounts *counts, struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    bool alone = !s->open || s->need_begin; // nothing was written: the fence is a transaction of its own
    s->need_begin = s->need_release = s->need_mark = false;
    int rc = pgt_pipe_open(t, err);
    if (rc == GW_OK && !alone && !s->replica) {
        rc = pgt_pipe_put(t, PGT_SLOT_PLAIN, "gw_now", 0, NULL, NULL, NULL, err);
    }
    rc = rc == GW_OK ? put_fence(t, position, counts, err) : rc;
    rc = rc == GW_OK ? pgt_fault("apply.stream.before_commit", err) : rc;
    if (rc == GW_OK && !alone) {
        rc = pgt_pipe_put(t, PGT_SLOT_COMMIT, "gw_commit", 0, NULL, NULL, NULL, err);
    }
    if (rc != GW_OK) {
        return pgt_pipe_give_up(t, rc);
    }
    rc = pgt_pipe_close(t, NULL, err);
    if (rc != GW_OK && s->failed == PGT_SLOT_FENCE && err && strcmp(err->code, "22012") == 0) {
        gw_err_clear(err);
        gw_err_set(err, GW_FENCED, "", "somebody else owns the stream of task \"%s\" by now", t->task->name);
        gw_err_hint(err, PGT_OTHER_GODWIT);
        return GW_FENCED;
    }
    return rc;
}

int
pgt_stream_commit(void *self, const char *position, const Gw__StreamCounts *counts, struct gw_err *err)
{
    struct pgt *t = self;
    struct pgt_stream *s = t->stream;
    gw_assert(s && s->claimed);
    struct gw_err local = {0};
    struct gw_err *e = err ? err : &local;
    int rc = pgt_fault("apply.stream.before_fence", e);
    rc = rc == GW_OK ? finish(t, position, counts, e) : rc;
    pgt_stream_lost(t, rc); // whatever is open is closed
    if (rc == GW_OK) {
        gw_buf_reset(&s->position);
        gw_buf_puts(&s->position, position);
        rc = pgt_fault("apply.stream.after_commit", e);
    }
    return rc == GW_OK || rc == GW_FENCED ? rc : gw_err_wrap(e, "commit changes");
}
