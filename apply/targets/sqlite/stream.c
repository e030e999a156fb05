// The stream of changes: claim, transactions, and the fence at their end.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "stream.h"

static struct lite_stream *
stream_new(void)
{
    struct lite_stream *s = calloc(1, sizeof *s);
    gw_assert(s);
    gw_arena_init(&s->arena);
    gw_buf_init(&s->position, 1 << 20);
    gw_buf_init(&s->key, LITE_SQL_MAX);
    gw_buf_init(&s->sql, LITE_SQL_MAX);
    gw_buf_init(&s->upsert, LITE_SQL_MAX);
    return s;
}

struct lite_stream *
lite_stream_free(struct lite_stream *s)
{
    if (s) {
        lite_statements_close(s);
        gw_arena_fini(&s->arena);
        gw_buf_fini(&s->position);
        gw_buf_fini(&s->key);
        gw_buf_fini(&s->sql);
        gw_buf_fini(&s->upsert);
        free(s);
    }
    return NULL;
}

static int
fault(const char *name, struct gw_err *err)
{
    return GW_FAULT(name) ? gw_err_set(err, GW_RETRY, NULL, "fault %s", name) : GW_OK;
}

int
lite_stream_write(struct lite_target *t, struct gw_err *err)
{
    struct lite_stream *s = t->stream;
    if (s->in_tx) {
        return GW_OK;
    }
    int rc = lite_tx_begin(t, err);
    s->in_tx = rc == GW_OK;
    return rc;
}

int
lite_stream_lost(struct lite_target *t, int rc)
{
    struct lite_stream *s = t->stream;
    // Some failures have rolled back already.
    if (s->in_tx && !sqlite3_get_autocommit(t->db)) {
        (void)gw_lite_exec(t->db, NULL, "ROLLBACK");
    }
    s->open = s->in_tx = s->marked = s->mark_at_start = false;
    return rc;
}

// ---- claim

static int
no_progress(struct lite_target *t, struct gw_err *err)
{
    gw_err_set(err, GW_CONFIG, NULL, "task \"%s\" has no stream position on the target", t->task->name);
    gw_err_hint(err, "it was registered as a load alone: drop it and begin anew");
    return GW_CONFIG;
}

static int
progress_there(struct lite_target *t, struct gw_err *err)
{
    char name[sizeof t->prefix + 16];
    bool there = false;
    snprintf(name, sizeof name, "%sprogress", t->prefix);
    int rc = lite_target_find(t, err);
    rc = rc == GW_OK && t->db ? lite_exists(t, "table", name, &there, err) : rc;
    return rc == GW_OK && !there ? no_progress(t, err) : rc;
}

// Reading needs no write lock: the owner may hold it.
static int
look_at_owner(struct lite_target *t, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(t->db, &q, err,
                           lite_sql(t, "SELECT backend, backend_start FROM $progress WHERE task = ?1"
                                       " AND backend IS NOT NULL AND " LITE_OURS("?2")),
                           "tt", t->task->name, t->task->uuid);
    if (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        lite_end_stopped(t, (const char *)sqlite3_column_text(q, 0), sqlite3_column_int64(q, 1));
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

// In a transaction.
static int
take(struct lite_target *t, struct gw_arena *a, Gw__Progress *ret, struct gw_err *err)
{
    Gw__Progress *stored = NULL;
    int rc = lite_progress_load(t, a, &stored, err);
    if (rc != GW_OK || !stored) {
        return rc == GW_OK ? no_progress(t, err) : rc;
    }
    stored->epoch++;
    *ret = *stored;
    rc = gw_lite_run(t->db, err,
                     lite_sql(t, "UPDATE $progress SET epoch = ?2, owner = ?3, backend = ?4, backend_start = ?5"
                                 " WHERE task = ?1 AND " LITE_OURS("?6")),
                     "tittit", t->task->name, (int64_t)ret->epoch, t->owner, t->backend, t->backend_start,
                     t->task->uuid);
    if (rc == GW_OK && sqlite3_changes(t->db) != 1) {
        gw_err_set(err, GW_FENCED, NULL, "the task of this name on the target is another one by now");
        gw_err_hint(err, LITE_OTHER_GODWIT);
        return GW_FENCED;
    }
    return rc;
}

// Nobody else suspends tables from now on.
static int
suspended(struct lite_target *t, struct gw_arena *a, Gw__Progress *p, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(t->db, &q, err,
                           lite_sql(t, "SELECT table_id, reason FROM $tables WHERE task = ?1 AND state = ?2"), "ti",
                           t->task->name, (int64_t)GW__TABLE_STATE__STATE_ERROR);
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        Gw__Suspended *s = gw_pb_new(a, Gw__Suspended, gw__suspended__init);
        s->table = (uint32_t)sqlite3_column_int64(q, 0);
        s->reason = gw_lite_text(a, q, 1);
        gw_pb_add(a, p, suspended, s);
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

int
lite_stream_claim(void *self, struct gw_arena *a, bool in_order, Gw__Progress *ret, struct gw_err *err)
{
    struct lite_target *t = self;
    t->stream = t->stream ? t->stream : stream_new();
    struct lite_stream *s = t->stream;
    Gw__Progress progress;
    lite_stream_lost(t, GW_OK);
    s->claimed = false;
    int rc = progress_there(t, err);
    lite_know_start(t);
    rc = rc == GW_OK ? look_at_owner(t, err) : rc;
    rc = rc == GW_OK ? gw_lite_exec(t->db, err, in_order ? "PRAGMA foreign_keys=ON" : "PRAGMA foreign_keys=OFF") : rc;
    rc = rc == GW_OK ? lite_tx_begin(t, err) : rc;
    rc = rc == GW_OK ? lite_tx_end(t, take(t, a, &progress, err), err) : rc;
    rc = rc == GW_OK ? fault("apply.stream.after_claim", err) : rc;
    if (rc != GW_OK) {
        return gw_err_wrap(err, "claim the stream of task \"%s\"", t->task->name);
    }
    rc = suspended(t, a, &progress, err);
    if (rc != GW_OK) {
        return rc;
    }
    s->claimed = true;
    s->epoch = progress.epoch;
    gw_buf_reset(&s->position);
    gw_buf_puts(&s->position, progress.position);
    *ret = progress;
    return GW_OK;
}

// ---- transactions

int
lite_stream_begin(void *self, struct gw_err *err)
{
    (void)err;
    struct lite_target *t = self;
    gw_assert(t->stream && t->stream->claimed && !t->stream->open);
    t->stream->open = true;
    return GW_OK;
}

int
lite_stream_mark(void *self, struct gw_err *err)
{
    struct lite_target *t = self;
    struct lite_stream *s = t->stream;
    gw_assert(s && s->open);
    int rc = GW_OK;
    if (s->in_tx) {
        bool move = s->marked && !s->mark_at_start;
        rc = gw_lite_exec(t->db, err, move ? "RELEASE gw_mark; SAVEPOINT gw_mark" : "SAVEPOINT gw_mark");
    }
    s->mark_at_start = !s->in_tx;
    s->marked = true;
    return rc == GW_OK ? rc : lite_stream_lost(t, rc);
}

int
lite_stream_back(void *self, struct gw_err *err)
{
    struct lite_target *t = self;
    struct lite_stream *s = t->stream;
    gw_assert(s && s->open && s->marked);
    if (!s->in_tx) {
        return GW_OK;
    }
    int rc = gw_lite_exec(t->db, err, s->mark_at_start ? "ROLLBACK" : "ROLLBACK TO gw_mark");
    s->in_tx = !s->mark_at_start;
    return rc == GW_OK ? rc : lite_stream_lost(t, gw_err_wrap(err, "take changes back"));
}

int
lite_stream_refuse(void *self, const Gw__Table *table, const char *position, const struct gw_refused *r,
                   struct gw_err *err)
{
    struct lite_target *t = self;
    gw_assert(t->stream && t->stream->open);
    int rc = lite_stream_write(t, err);
    rc = rc == GW_OK ? lite_refuse(t, table, NULL, position, r, err) : rc;
    return rc == GW_OK ? rc : lite_stream_lost(t, rc);
}

int
lite_stream_suspend(void *self, uint32_t table_id, const char *reason, struct gw_err *err)
{
    struct lite_target *t = self;
    gw_assert(t->stream && t->stream->open);
    int rc = lite_stream_write(t, err);
    rc = rc == GW_OK
             ? gw_lite_run(t->db, err,
                           lite_sql(t, "UPDATE $tables SET state = ?3, reason = ?4 WHERE task = ?1 AND table_id = ?2"),
                           "tiit", t->task->name, (int64_t)table_id, (int64_t)GW__TABLE_STATE__STATE_ERROR, reason)
             : rc;
    if (rc == GW_OK && sqlite3_changes(t->db) != 1) {
        rc = gw_err_set(err, GW_FENCED, NULL, "table %u of task \"%s\" is not registered", table_id, t->task->name);
    }
    return rc == GW_OK ? rc : lite_stream_lost(t, gw_err_wrap(err, "suspend table %u", table_id));
}

// ---- commit

static int
fence(struct lite_target *t, const char *position, const Gw__StreamCounts *counts, struct gw_err *err)
{
    struct lite_stream *s = t->stream;
    size_t n = gw__stream_counts__get_packed_size(counts);
    gw_buf_reset(&s->key);
    char *room = gw_buf_room(&s->key, n + 1);
    if (!room) {
        return gw_err_set(err, GW_BUG, NULL, "counts do not fit into the buffer");
    }
    gw__stream_counts__pack(counts, (uint8_t *)room);
    int rc = gw_lite_run(t->db, err,
                         lite_sql(t, "UPDATE $progress SET position = ?5, counts = ?6, updated_us = ?7"
                                     " WHERE task = ?1 AND epoch = ?2 AND position = ?3 AND owner = ?4"),
                         "tittt"
                         "bi",
                         t->task->name, (int64_t)s->epoch, s->position.data, t->owner, position, room, n, gw_wall_us());
    if (rc == GW_OK && sqlite3_changes(t->db) != 1) {
        gw_err_set(err, GW_FENCED, NULL, "somebody else owns the stream of task \"%s\" by now", t->task->name);
        gw_err_hint(err, LITE_OTHER_GODWIT);
        return GW_FENCED;
    }
    return rc;
}

int
lite_stream_commit(void *self, const char *position, const Gw__StreamCounts *counts, struct gw_err *err)
{
    struct lite_target *t = self;
    struct lite_stream *s = t->stream;
    gw_assert(s && s->claimed);
    int rc = lite_stream_write(t, err); // the position alone is a transaction too
    rc = rc == GW_OK ? fault("apply.stream.before_fence", err) : rc;
    rc = rc == GW_OK ? fence(t, position, counts, err) : rc;
    rc = rc == GW_OK ? fault("apply.stream.before_commit", err) : rc;
    rc = rc == GW_OK ? gw_lite_exec(t->db, err, "COMMIT") : rc;
    if (rc == GW_OK) {
        gw_buf_reset(&s->position);
        gw_buf_puts(&s->position, position);
    }
    lite_stream_lost(t, rc); // whatever is open is closed
    rc = rc == GW_OK ? fault("apply.stream.after_commit", err) : rc;
    return rc == GW_OK || rc == GW_FENCED ? rc : gw_err_wrap(err, "commit changes");
}
