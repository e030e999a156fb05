// The stream of changes: claim, transactions, and the fence at their end.
//
// The progress row moves in the transaction that writes the rows, as its last statement, and only if epoch, owner and the old
// position are the ones this session knows. A process that was presumed dead and wakes up finds another epoch there, and
// what it wrote is rolled back.
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "control.h"
#include "stream.h"

static struct myt_stream *
stream_new(void)
{
    struct myt_stream *s = calloc(1, sizeof *s);
    gw_assert(s);
    gw_arena_init(&s->arena);
    gw_buf_init(&s->position, 1 << 20);
    gw_buf_init(&s->key, 16 << 20);
    gw_buf_init(&s->sql, MYT_SQL_MAX);
    gw_buf_init(&s->args, (size_t)5 << 30); // one value of 4 GB; a piece of a set is far below
    gw_buf_init(&s->upsert, (size_t)1 << 30);
    return s;
}

struct myt_stream *
myt_stream_free(struct myt_stream *s)
{
    if (s) {
        myt_statements_close(s);
        gw_arena_fini(&s->arena);
        gw_buf_fini(&s->position);
        gw_buf_fini(&s->key);
        gw_buf_fini(&s->sql);
        gw_buf_fini(&s->args);
        gw_buf_fini(&s->upsert);
        free(s->binds);
        free(s->at);
        free(s->lengths);
        free(s->indicators);
        free(s->numbers);
        free(s->floats);
        free(s);
    }
    return NULL;
}

int
myt_stream_lost(struct myt *t, int rc)
{
    struct myt_stream *s = t->stream;
    if (s->open && !s->need_begin) {
        myt_rollback(t);
    }
    s->open = s->need_begin = s->need_mark = s->dirty = false;
    s->mark = MYT_MARK_NONE;
    return rc;
}

int
myt_stream_flush(struct myt *t, struct gw_err *err)
{
    struct myt_stream *s = t->stream;
    int rc = GW_OK;
    if (s->need_begin) {
        s->need_begin = false;
        rc = myt_begin(t, err);
    }
    if (rc == GW_OK && s->need_mark) {
        s->need_mark = false;
        rc = myt_run(t, err, "SAVEPOINT gw_mark"); // one of that name is moved
    }
    return rc;
}

int
myt_stream_restart(struct myt *t, struct gw_err *err)
{
    struct myt_stream *s = t->stream;
    int rc = myt_run(t, err, "ROLLBACK");
    if (rc == GW_OK) {
        s->need_begin = true;
        s->dirty = s->need_mark = false;
    }
    return rc;
}

// ---- claim

static int
no_progress(struct myt *t, struct gw_err *err)
{
    gw_err_set(err, GW_CONFIG, "", "task \"%s\" has no stream position on the target", t->task->name);
    gw_err_hint(err, "it was registered as a load alone: drop it and begin anew");
    return GW_CONFIG;
}

// A name that no chunk has: their numbers are of 32 bits.
static void
stream_lock_name(char ret[MYT_LOCK_NAME], const struct myt *t, uint64_t epoch)
{
    myt_lock_name(ret, t, t->task->name, UINT64_MAX, 0, 0, epoch);
}

// Ends the connection of an earlier owner, so that its locks are gone and its transaction decided. Read without a lock: the
// earlier owner may hold it.
static int
end_earlier(struct myt *t, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(
        t, &r, err,
        "SELECT backend, backend_start FROM $c.progress WHERE task = $l AND backend IS NOT NULL AND " MYT_OURS,
        t->task->name, t->task->name, t->task->uuid);
    MYSQL_ROW row = rc == GW_OK ? mysql_fetch_row(r) : NULL;
    return row ? myt_end_holder(t, myt_text(row, 1), myt_u64(row, 0), err) : rc;
}

// In a transaction.
static int
take(struct myt *t, struct gw_arena *a, Gw__Progress *ret, struct gw_err *err)
{
    struct myt_stream *s = t->stream;
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err, "SELECT " MYT_PROGRESS_COLUMNS " FROM $c.progress WHERE task = $l FOR UPDATE",
                       t->task->name);
    MYSQL_ROW row = rc == GW_OK ? mysql_fetch_row(r) : NULL;
    if (rc != GW_OK || !row) {
        return rc == GW_OK ? no_progress(t, err) : rc;
    }
    uint64_t ours = 0;
    rc = myt_scalar(t, &ours, NULL, err, "SELECT " MYT_OURS, t->task->name, t->task->uuid);
    if (rc == GW_OK && !ours) {
        gw_err_set(err, GW_FENCED, "", "the task of this name on the target is another one by now");
        gw_err_hint(err, MYT_OTHER_GODWIT);
        return GW_FENCED;
    }
    if (rc != GW_OK) {
        return rc;
    }
    rc = myt_progress_read(t, a, r, row, ret, err);
    ret->epoch++;
    bool got = false;
    stream_lock_name(s->lock, t, ret->epoch);
    rc = rc == GW_OK ? myt_lock(t, s->lock, 0, &got, err) : rc;
    if (rc == GW_OK && !got) {
        // We hold the row, so it is nobody who claims: the lock is of this epoch in a life before the target was restored.
        rc = myt_end_holder(t, s->lock, 0, err);
        rc = rc == GW_OK ? myt_lock(t, s->lock, 0, &got, err) : rc;
    }
    if (rc == GW_OK && !got) {
        rc = gw_err_set(err, GW_FENCED, "", "the stream of task \"%s\" is being claimed by another session",
                        t->task->name);
    }
    return rc == GW_OK ? myt_run(t, err,
                                 "UPDATE $c.progress SET epoch = $u, owner = $l, backend = CONNECTION_ID(),"
                                 " backend_start = $l WHERE task = $l",
                                 ret->epoch, t->owner, s->lock, t->task->name)
                       : rc;
}

// Nobody else suspends tables from now on.
static int
suspended(struct myt *t, struct gw_arena *a, Gw__Progress *p, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err, "SELECT table_id, reason FROM $c.tables WHERE task = $l AND state = $u",
                       t->task->name, MYT_U(GW__TABLE_STATE__STATE_ERROR));
    for (MYSQL_ROW row; rc == GW_OK && (row = mysql_fetch_row(r));) {
        Gw__Suspended *s = gw_pb_new(a, Gw__Suspended, gw__suspended__init);
        s->table = (uint32_t)myt_u64(row, 0);
        s->reason = gw_arena_strdup(a, myt_text(row, 1));
        gw_pb_add(a, p, suspended, s);
    }
    return rc;
}

int
myt_stream_claim(void *self, struct gw_arena *a, bool in_order, Gw__Progress *ret, struct gw_err *err)
{
    struct myt *t = self;
    struct gw_err local = {0};
    struct gw_err *e = err ? err : &local;
    t->stream = t->stream ? t->stream : stream_new();
    struct myt_stream *s = t->stream;
    myt_stream_lost(t, GW_OK);
    myt_unlock(t, s->lock);
    s->lock[0] = 0;
    s->claimed = false;
    s->bulk = t->server.mariadb && !GW_FAULT("apply.stream.no_bulk"); // so that a test can take MySQL's way
    bool there = false;
    Gw__Progress progress;
    int rc = myt_control_exists(t, "progress", &there, e);
    rc = rc == GW_OK && !there ? no_progress(t, e) : rc;
    rc = rc == GW_OK ? myt_scalar(t, &s->packet, NULL, e, "SELECT @@max_allowed_packet") : rc;
    rc = rc == GW_OK ? myt_run(t, e, "SET SESSION foreign_key_checks = $u", MYT_U(in_order)) : rc;
    rc = rc == GW_OK ? end_earlier(t, e) : rc;
    rc = rc == GW_OK ? myt_begin(t, e) : rc;
    rc = rc == GW_OK ? take(t, a, &progress, e) : rc;
    rc = rc == GW_OK ? suspended(t, a, &progress, e) : rc;
    rc = rc == GW_OK ? myt_commit(t, e) : rc;
    rc = rc == GW_OK ? myt_fault("apply.stream.after_claim", e) : rc;
    if (myt_end(t, rc) != GW_OK) {
        return gw_err_wrap(e, "claim the stream of task \"%s\"", t->task->name);
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
myt_stream_begin(void *self, struct gw_err *err)
{
    (void)err;
    struct myt *t = self;
    struct myt_stream *s = t->stream;
    gw_assert(s && s->claimed && !s->open);
    s->open = s->need_begin = true;
    s->need_mark = s->dirty = false;
    s->mark = MYT_MARK_NONE;
    return GW_OK;
}

int
myt_stream_mark(void *self, struct gw_err *err)
{
    (void)err;
    struct myt *t = self;
    struct myt_stream *s = t->stream;
    gw_assert(s && s->open);
    if (s->need_begin) {
        s->mark = MYT_MARK_START;
    } else if (s->mark != MYT_MARK_SET || s->dirty) {
        s->need_mark = true;
        s->mark = MYT_MARK_SET;
    }
    s->dirty = false;
    return GW_OK;
}

int
myt_stream_back(void *self, struct gw_err *err)
{
    struct myt *t = self;
    struct myt_stream *s = t->stream;
    gw_assert(s && s->open && s->mark != MYT_MARK_NONE);
    if (!s->dirty) {
        return GW_OK;
    }
    int rc = s->mark == MYT_MARK_START ? myt_stream_restart(t, err) : myt_run(t, err, "ROLLBACK TO SAVEPOINT gw_mark");
    s->dirty = false;
    return rc == GW_OK ? rc : myt_stream_lost(t, gw_err_wrap(err, "take changes back"));
}

int
myt_stream_refuse(void *self, const Gw__Table *table, const char *position, const struct gw_refused *r,
                  struct gw_err *err)
{
    struct myt *t = self;
    gw_assert(t->stream && t->stream->open);
    int rc = myt_stream_flush(t, err);
    rc = rc == GW_OK ? myt_refuse(t, table, NULL, position, r, err) : rc;
    t->stream->dirty = true;
    return rc == GW_OK ? rc : myt_stream_lost(t, rc);
}

int
myt_stream_suspend(void *self, uint32_t table_id, const char *reason, struct gw_err *err)
{
    struct myt *t = self;
    gw_assert(t->stream && t->stream->open);
    uint64_t n = 0;
    int rc = myt_stream_flush(t, err);
    rc = rc == GW_OK
             ? myt_affect(t, &n, err, "UPDATE $c.tables SET state = $u, reason = $l WHERE task = $l AND table_id = $u",
                          MYT_U(GW__TABLE_STATE__STATE_ERROR), reason, t->task->name, MYT_U(table_id))
             : rc;
    if (rc == GW_OK && n != 1) {
        rc = gw_err_set(err, GW_FENCED, "", "table %u of task \"%s\" is not registered", table_id, t->task->name);
    }
    t->stream->dirty = true;
    return rc == GW_OK ? rc : myt_stream_lost(t, gw_err_wrap(err, "suspend table %u", table_id));
}

// ---- commit

static int
fence(struct myt *t, const char *position, const Gw__StreamCounts *counts, struct gw_err *err)
{
    const struct myt_stream *s = t->stream;
    MYT_BUF blob;
    gw_buf_init(&blob, MYT_SQL_MAX);
    myt_put_message(&blob, counts);
    if (blob.overflowed) {
        return gw_err_set(err, GW_BUG, "", "counts do not fit into the buffer");
    }
    uint64_t rows = 0;
    int rc = myt_affect(t, &rows, err,
                        "UPDATE $c.progress SET position = $l, counts = $s, updated_us = $u"
                        " WHERE task = $l AND epoch = $u AND position = $l AND owner = $l",
                        position, blob.data, MYT_U(gw_wall_us()), t->task->name, s->epoch, s->position.data, t->owner);
    if (rc == GW_OK && rows != 1) {
        gw_err_set(err, GW_FENCED, "", "somebody else owns the stream of task \"%s\" by now", t->task->name);
        gw_err_hint(err, MYT_OTHER_GODWIT);
        return GW_FENCED;
    }
    return rc;
}

int
myt_stream_commit(void *self, const char *position, const Gw__StreamCounts *counts, struct gw_err *err)
{
    struct myt *t = self;
    struct myt_stream *s = t->stream;
    gw_assert(s && s->claimed);
    struct gw_err local = {0};
    struct gw_err *e = err ? err : &local;
    bool alone = !s->open || s->need_begin; // nothing was written: the fence is a transaction of its own
    // So that a commit is one, and not two, even where it is alone and something fails behind the fence.
    int rc = alone ? myt_begin(t, e) : GW_OK;
    rc = rc == GW_OK ? myt_fault("apply.stream.before_fence", e) : rc;
    rc = rc == GW_OK ? fence(t, position, counts, e) : rc;
    rc = rc == GW_OK ? myt_fault("apply.stream.before_commit", e) : rc;
    rc = rc == GW_OK ? myt_commit(t, e) : rc;
    if (rc == GW_OK) {
        s->need_begin = true; // there is nothing to roll back
        gw_buf_reset(&s->position);
        gw_buf_puts(&s->position, position);
    } else {
        s->open = true;
        s->need_begin = false;
    }
    myt_stream_lost(t, rc); // whatever is open is closed
    rc = rc == GW_OK ? myt_fault("apply.stream.after_commit", e) : rc;
    return rc == GW_OK || rc == GW_FENCED ? rc : gw_err_wrap(e, "commit changes");
}
