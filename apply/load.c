// One chunk: claim, take in its stream, commit it together with its progress row.
//
// Between the claim and the commit nothing is durable; whatever goes wrong in between rolls back, and
// the chunk is read again under a higher epoch.
#include <inttypes.h>
#include <string.h>

#include "apply/driver.h"
#include "common/bus.h"
#include "common/clock.h"
#include "common/copytext.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/policy.h"

struct load {
    struct gw_apply *a;
    const Gw__LoadChunk *job;
    uint64_t epoch;
    struct gw_inflow flow;
    bool started, ended;
    char *snapshot;
    struct gw_target_counts counts;
    Gw__StreamEnd *end;
};

// ---- refused rows ------------------------------------------------------------------------------

static int
refuse_row(struct load *l, const char *row, size_t len, struct gw_err *why, struct gw_err *err)
{
    Gw__ErrorPolicy policy = gw_row_policy(gw_worker_task(l->a->w)->errors, why->code);
    if (policy == GW__ERROR_POLICY__SUSPEND_TABLE || policy == GW__ERROR_POLICY__STOP_TASK) {
        *err = *why;
        return gw_err_wrap(err, "a row is refused and the policy is not to go on without it");
    }
    l->counts.rows_refused++;
    if (policy == GW__ERROR_POLICY__IGNORE_RECORD) {
        return GW_OK;
    }
    struct gw_refused refused = {.row = row, .len = len, .why = why};
    int r = l->a->ops->load_refuse(l->a->self, &refused, err);
    return r == GW_OK ? r : gw_err_wrap(err, "record a refused row");
}

// Where the upper half of the span begins: behind the newline nearest to the middle.
static size_t
split_point(const char *rows, size_t len, uint32_t nrows, uint32_t *lower)
{
    size_t at = 0;
    for (*lower = 0; *lower < nrows / 2; (*lower)++) {
        at += gw_copy_row_len(rows + at, len - at);
    }
    return at;
}

// Writes a span; where it is refused, halves it until the rows that are to blame stand alone.
static int
write_careful(struct load *l, const char *rows, size_t len, uint32_t nrows, struct gw_err *err)
{
    struct {
        const char *rows;
        size_t len;
        uint32_t nrows;
    } todo[64]; // 2^32 rows halve 32 times; each level leaves one upper half behind
    size_t n = 0;
    todo[n].rows = rows;
    todo[n].len = len;
    todo[n++].nrows = nrows;
    while (n) {
        n--;
        rows = todo[n].rows;
        len = todo[n].len;
        nrows = todo[n].nrows;
        struct gw_err why = {0};
        int r = l->a->ops->load_write(l->a->self, rows, len, nrows, &why);
        if (r == GW_OK) {
            l->counts.rows_written += nrows;
        } else if (r != GW_DATA) {
            *err = why;
            return r;
        } else if (nrows == 1) {
            r = refuse_row(l, rows, len, &why, err);
            if (r != GW_OK) {
                return r;
            }
        } else {
            uint32_t lower = 0;
            size_t at = split_point(rows, len, nrows, &lower);
            gw_assert(n + 2 <= sizeof todo / sizeof *todo);
            todo[n].rows = rows + at; // later: rows are written in their order
            todo[n].len = len - at;
            todo[n++].nrows = nrows - lower;
            todo[n].rows = rows;
            todo[n].len = at;
            todo[n++].nrows = lower;
        }
    }
    return GW_OK;
}

// ---- the stream --------------------------------------------------------------------------------

static int
take_rows(struct load *l, const struct gw_envelope *env, zmq_msg_t *payload, struct gw_err *err)
{
    const char *rows = zmq_msg_data(payload);
    size_t len = zmq_msg_size(payload);
    if (len == 0 || rows[len - 1] != '\n' || env->rows == 0) {
        return gw_err_set(err, GW_BUG, NULL, "message %" PRIu64 " does not hold whole rows", env->sequence);
    }
    int r;
    if (l->job->careful) {
        r = write_careful(l, rows, len, env->rows, err);
    } else {
        r = l->a->ops->load_write(l->a->self, rows, len, env->rows, err);
        l->counts.rows_written += env->rows;
    }
    if (r == GW_OK) {
        gw_inflow_consumed(&l->flow, gw_worker_router(l->a->w), len);
        gw_worker_progress(l->a->w, l->flow.rows, l->flow.bytes);
    }
    return r;
}

static int
take_end(struct load *l, zmq_msg_t *payload, struct gw_err *err)
{
    l->end = gw__stream_end__unpack(gw_arena_pb(&l->a->arena), zmq_msg_size(payload), zmq_msg_data(payload));
    if (!l->end) {
        return gw_err_set(err, GW_BUG, NULL, "malformed end of stream");
    }
    // The last proof that nothing was lost or came twice on the way.
    if ((l->end->rows != l->flow.rows || l->end->bytes != l->flow.bytes) && GW_GUARD("bus.totals")) {
        return gw_err_set(err, GW_RETRY, NULL,
                          "stream ended with %" PRIu64 " rows and %" PRIu64 " bytes, but %" PRIu64 " rows and %" PRIu64
                          " bytes came",
                          l->end->rows, l->end->bytes, l->flow.rows, l->flow.bytes);
    }
    l->ended = true;
    return GW_OK;
}

static int
take_message(struct load *l, const struct gw_peer *peer, const struct gw_envelope *env, zmq_msg_t *payload,
             struct gw_err *err)
{
    void *router = gw_worker_router(l->a->w);
    if (env->stream != l->job->stream || env->epoch != l->epoch) {
        gw_send_reset(router, peer, env->task, env->stream, env->epoch); // a stream that is over
        return GW_OK;
    }
    if (!l->started) {
        if (env->kind != GW__DATA_KIND__DATA_OPEN || env->sequence != 0) {
            return gw_err_set(err, GW_RETRY, NULL, "stream does not start with its first message");
        }
        gw_inflow_init(&l->flow, peer, gw_worker_task_tag(l->a->w), env, gw_worker_task(l->a->w)->window_bytes);
        gw_inflow_consumed(&l->flow, router, 0); // the opening message may be a large one
        l->started = true;
        return GW_OK;
    }
    int r = gw_inflow_accept(&l->flow, peer, env, err);
    if (r != GW_OK) {
        return r;
    }
    switch (env->kind) {
    case GW__DATA_KIND__DATA_ROWS: return take_rows(l, env, payload, err);
    case GW__DATA_KIND__DATA_END: return take_end(l, payload, err);
    default: return gw_err_set(err, GW_BUG, NULL, "message of kind %d inside a stream", (int)env->kind);
    }
}

static int
take_stream(struct load *l, struct gw_err *err)
{
    void *router = gw_worker_router(l->a->w);
    while (!l->ended) {
        struct gw_peer peer;
        struct gw_envelope env;
        zmq_msg_t payload;
        zmq_msg_init(&payload);
        int r = gw_receive(router, gw_worker_task_tag(l->a->w), &peer, &env, &payload, err);
        if (r == GW_OK) {
            r = take_message(l, &peer, &env, &payload, err);
        } else if (r == GW_AGAIN) {
            zmq_pollitem_t item = {.socket = router, .events = ZMQ_POLLIN};
            r = gw_worker_poll(l->a->w, &item, 1, gw_now_us() + 60 * GW_S, true, err);
            r = r == GW_AGAIN ? GW_OK : r;
        }
        zmq_msg_close(&payload);
        if (r == GW_OK && gw_worker_cancelled(l->a->w)) {
            r = gw_err_set(err, GW_FENCED, NULL, "the job was taken back by the coordinator");
        }
        if (r != GW_OK) {
            return r;
        }
    }
    return GW_OK;
}

// ---- the job -----------------------------------------------------------------------------------

static void
reply_chunk(struct load *l, Gw__Reply *reply, Gw__Chunk *done)
{
    done->table_id = l->job->chunk->table_id;
    done->no = l->job->chunk->no;
    done->generation = l->job->chunk->generation;
    done->done = true;
    reply->body_case = GW__REPLY__BODY_CHUNK;
    reply->chunk = done;
}

static int
commit(struct load *l, struct gw_err *err)
{
    l->counts.rows_read = l->flow.rows;
    l->counts.bytes = l->flow.bytes;
    l->counts.values_truncated = l->end->values_truncated;
    if (l->counts.rows_read != l->counts.rows_written + l->counts.rows_refused) {
        return gw_err_set(err, GW_BUG, NULL, "%" PRIu64 " rows came, %" PRIu64 " written, %" PRIu64 " refused",
                          l->counts.rows_read, l->counts.rows_written, l->counts.rows_refused);
    }
    return l->a->ops->load_commit(l->a->self, &l->counts, l->job->chunk->snapshot, err);
}

int
gw_apply_load(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    struct load l = {.a = a, .job = cmd->load_chunk};
    const Gw__Table *t = l.job->table;
    Gw__Chunk *done = gw_pb_new(&a->arena, Gw__Chunk, gw__chunk__init);
    int r = a->ops->load_begin(a->self, &a->arena, t, l.job->chunk, l.job->careful, &l.epoch, done, err);
    if (r == GW_END) { // an earlier try had committed, and its answer was lost
        reply_chunk(&l, reply, done);
        return GW_OK;
    }
    if (r == GW_OK) {
        gw_worker_ready(a->w, cmd->job, l.epoch);
        r = take_stream(&l, err);
        if (r == GW_OK) {
            r = commit(&l, err);
        }
    }
    if (r != GW_OK) { // the driver closes the connection, which rolls back
        if (l.started) {
            gw_send_reset(gw_worker_router(a->w), &l.flow.peer, l.flow.task, l.flow.stream, l.flow.epoch);
        }
        return gw_err_wrap(err, "load table \"%s%s%s\" chunk %u", t->schema, t->schema[0] ? "." : "", t->name,
                           l.job->chunk->no);
    }
    done->epoch = l.epoch;
    done->snapshot = l.job->chunk->snapshot;
    done->rows_read = l.counts.rows_read;
    done->rows_written = l.counts.rows_written;
    done->rows_refused = l.counts.rows_refused;
    done->values_truncated = l.counts.values_truncated;
    done->bytes = l.counts.bytes;
    reply_chunk(&l, reply, done);
    return GW_OK;
}
