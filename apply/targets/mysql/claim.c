// Chunks: claim and fence.
//
// The claim is a transaction of its own: epoch + 1, our owner and connection. From then on we hold a user lock whose name is
// made of the chunk and its epoch: it shows that the connection lives and works on just this chunk, and whoever comes next
// ends it. The rows go in a second transaction, whose last statement moves the chunk to done only if generation, epoch and
// owner are still what we claimed.
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/plan.h"
#include "control.h"

#define CHUNK_KEY "task = $l AND table_id = $u AND generation = $u AND no = $u"

static void
chunk_lock_name(char ret[MYT_LOCK_NAME], const struct myt *t, uint32_t table_id, uint32_t generation, uint32_t no,
                uint64_t epoch)
{
    // By the uuid: a session that hangs on a task that is no more must not keep its successor from the same numbers.
    myt_lock_name(ret, t, t->task->uuid, table_id, generation, (uint64_t)no + 1, epoch);
}

// Ends the connection of an earlier owner, so that its locks are gone and its rows decided. Read without a lock: the
// earlier owner may hold it.
static int
end_earlier(struct myt *t, const Gw__Chunk *c, const char *plan, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT backend, backend_start FROM $c.chunks WHERE " CHUNK_KEY
                       " AND plan = $s AND state = 0 AND backend IS NOT NULL",
                       t->task->name, MYT_U(c->table_id), MYT_U(c->generation), MYT_U(c->no), plan);
    MYSQL_ROW row = rc == GW_OK ? mysql_fetch_row(r) : NULL;
    return row ? myt_end_holder(t, myt_text(row, 1), myt_u64(row, 0), err) : rc;
}

int
myt_end_loads(struct myt *t, const uint32_t *table_id, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT backend, backend_start FROM $c.chunks WHERE task = $l AND ($u OR table_id = $u)"
                       " AND state = 0 AND backend IS NOT NULL",
                       t->task->name, MYT_U(table_id == NULL), MYT_U(table_id ? *table_id : 0));
    for (MYSQL_ROW row; rc == GW_OK && (row = mysql_fetch_row(r));) {
        rc = myt_end_holder(t, myt_text(row, 1), myt_u64(row, 0), err);
    }
    return rc;
}

// The task is still this one, the stored generation is ours, and nobody is emptying the table. The shared lock stays until the end of the
// transaction: whoever wants to empty the table waits for us, or we see that he has begun.
static int
table_open(struct myt *t, uint32_t table_id, uint32_t generation, bool *ret, struct gw_err *err)
{
    uint64_t n = 0;
    int rc = myt_scalar(t, &n, NULL, err,
                        "SELECT 1 FROM $c.tables WHERE task = $l AND table_id = $u AND generation = $u"
                        " AND state <> $u AND " MYT_OURS " LOCK IN SHARE MODE",
                        t->task->name, MYT_U(table_id), MYT_U(generation), MYT_U(GW__TABLE_STATE__STATE_CLEARING),
                        t->task->name, t->task->uuid);
    *ret = n == 1;
    return rc;
}

static void
fill_done(struct gw_arena *a, const Gw__Chunk *c, MYSQL_ROW row, Gw__Chunk *done)
{
    *done = *c;
    done->done = true;
    done->epoch = myt_u64(row, 1);
    done->snapshot = gw_arena_strdup(a, myt_text(row, 2));
    done->rows_read = myt_u64(row, 3);
    done->rows_written = myt_u64(row, 4);
    done->rows_refused = myt_u64(row, 5);
    done->bytes = myt_u64(row, 6);
    done->values_truncated = myt_u64(row, 7);
}

// In a transaction. GW_END: the chunk is durable.
static int
take(struct myt *t, struct gw_arena *a, const Gw__Chunk *c, const char *plan, uint64_t *ret_epoch, Gw__Chunk *done,
     struct gw_err *err)
{
    bool open = false;
    int rc = table_open(t, c->table_id, c->generation, &open, err);
    if (rc != GW_OK) {
        return rc;
    }
    MYT_RES r = NULL;
    rc = myt_query(t, &r, err,
                   "SELECT state, epoch, snapshot, rows_read, rows_written, rows_refused, bytes,"
                   " values_truncated, plan = $s FROM $c.chunks WHERE " CHUNK_KEY " FOR UPDATE",
                   plan, t->task->name, MYT_U(c->table_id), MYT_U(c->generation), MYT_U(c->no));
    if (rc != GW_OK) {
        return rc;
    }
    MYSQL_ROW row = mysql_fetch_row(r);
    if (!open || !row || (myt_u64(row, 8) != 1 && GW_GUARD("apply.plan"))) {
        gw_err_set(err, GW_FENCED, "", "chunk %u of generation %u is not the stored plan's", c->no, c->generation);
        gw_err_hint(err, MYT_OTHER_GODWIT);
        return GW_FENCED;
    }
    if (myt_u64(row, 0) == MYT_CHUNK_DONE) {
        fill_done(a, c, row, done);
        return GW_END;
    }
    *ret_epoch = myt_u64(row, 1) + 1;
    bool got = false;
    chunk_lock_name(t->load.lock, t, c->table_id, c->generation, c->no, *ret_epoch);
    rc = myt_lock(t, t->load.lock, 0, &got, err);
    if (rc == GW_OK && !got) {
        rc = gw_err_set(err, GW_FENCED, "", "chunk %u is being claimed by another session", c->no);
    }
    return rc == GW_OK ? myt_run(t, err,
                                 "UPDATE $c.chunks SET epoch = $u, owner = $l, backend = CONNECTION_ID(),"
                                 " backend_start = $l WHERE " CHUNK_KEY,
                                 *ret_epoch, t->owner, t->load.lock, t->task->name, MYT_U(c->table_id),
                                 MYT_U(c->generation), MYT_U(c->no))
                       : rc;
}

int
myt_claim(struct myt *t, struct gw_arena *a, const Gw__Chunk *c, uint64_t *ret_epoch, Gw__Chunk *done,
          struct gw_err *err)
{
    t->load.lock[0] = 0;
    MYT_BUF plan; // a chunk of another plan may have the same number
    gw_buf_init(&plan, MYT_SQL_MAX);
    Gw__Chunk part = gw_plan_part(c);
    myt_put_message(&plan, &part);
    int rc = end_earlier(t, c, plan.data, err);
    rc = rc == GW_OK ? myt_begin(t, err) : rc;
    rc = rc == GW_OK ? take(t, a, c, plan.data, ret_epoch, done, err) : rc;
    rc = rc == GW_OK ? myt_commit(t, err) : rc;
    return myt_end(t, rc);
}

int
myt_fence(struct myt *t, const struct gw_target_counts *n, const char *snapshot, struct gw_err *err)
{
    const struct myt_load *l = &t->load;
    bool open = false;
    uint64_t rows = 0;
    int rc = table_open(t, l->table_id, l->generation, &open, err);
    if (rc == GW_OK && open) {
        rc = myt_affect(t, &rows, err,
                        "UPDATE $c.chunks SET state = 1, snapshot = $l, rows_read = $u, rows_written = $u,"
                        " rows_refused = $u, values_truncated = $u, bytes = $u, done_us = $u"
                        " WHERE " CHUNK_KEY " AND epoch = $u AND owner = $l AND state = 0",
                        snapshot ? snapshot : "", n->rows_read, n->rows_written, n->rows_refused, n->values_truncated,
                        n->bytes, MYT_U(gw_wall_us()), t->task->name, MYT_U(l->table_id), MYT_U(l->generation),
                        MYT_U(l->no), l->epoch, t->owner);
    }
    if (rc == GW_OK && rows != 1 && GW_GUARD("apply.fence")) {
        return gw_err_set(err, GW_FENCED, "", "somebody else owns chunk %u of table \"%s.%s\" by now", l->no,
                          myt_schema(t, l->table), l->table->name);
    }
    return rc;
}
