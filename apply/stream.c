// The job of a stream: claim it on the target, take in what transform sends, tell the coordinator how far it is.
//
// What is durable is up to the target's transactions (applier.h). When the job fails, the driver closes the connection, which
// rolls back; the next job claims the stream anew and is told by the target where it goes on.
#include <inttypes.h>
#include <string.h>

#include "apply/applier.h"
#include "apply/driver.h"
#include "common/bus.h"
#include "common/clock.h"
#include "common/fault.h"

static const int64_t busy_us = 200 * GW_MS; // between two words to the coordinator
static const int64_t idle_us = 50 * GW_MS;

struct stream {
    struct gw_apply *a;
    const Gw__ApplyStream *job;
    uint64_t epoch;
    struct gw_applier applier;
    struct gw_inflow flow;
    bool started, ended;
    uint64_t told_commits; // of the applier, when the coordinator was last told
    int64_t told_oldest_us, told_us;
};

// ---- progress ----------------------------------------------------------------------------------

static bool
has_news(const struct stream *s)
{
    return s->told_commits != s->applier.commits || s->told_oldest_us != s->applier.oldest_us;
}

static void
tell(struct stream *s, int64_t now_us)
{
    Gw__StreamProgress p = GW__STREAM_PROGRESS__INIT;
    p.stream = s->job->stream;
    p.epoch = s->epoch;
    p.position = s->applier.durable.data;
    p.counts = &s->applier.durable_counts;
    p.commit_us = s->applier.durable_counts.commit_us;
    p.oldest_us = s->applier.oldest_us;
    p.suspended = s->applier.suspended;
    p.n_suspended = s->applier.suspended_durable;
    gw_worker_stream_progress(s->a->w, &p);
    s->told_commits = s->applier.commits;
    s->told_oldest_us = s->applier.oldest_us;
    s->told_us = now_us;
}

static void
tell_if_due(struct stream *s, int64_t interval_us, int64_t now_us)
{
    if (has_news(s) && now_us - s->told_us >= interval_us) {
        tell(s, now_us);
    }
}

// ---- what comes --------------------------------------------------------------------------------

static int
take_changes(struct stream *s, const struct gw_envelope *env, zmq_msg_t *payload, struct gw_err *err)
{
    size_t len = zmq_msg_size(payload);
    int r = gw_applier_take(&s->applier, zmq_msg_data(payload), len, env->rows, gw_now_us(), err);
    if (r == GW_OK) {
        // All of it is applied or copied: a transaction may be larger than the window.
        gw_inflow_consumed(&s->flow, gw_worker_router(s->a->w), len);
        gw_worker_progress(s->a->w, s->flow.rows, s->flow.bytes);
    }
    return r;
}

static int
take_end(struct stream *s, zmq_msg_t *payload, struct gw_err *err)
{
    const Gw__StreamEnd *end =
        gw__stream_end__unpack(gw_arena_pb(&s->a->arena), zmq_msg_size(payload), zmq_msg_data(payload));
    if (!end) {
        return gw_err_set(err, GW_BUG, NULL, "malformed end of stream");
    }
    if (end->rows != s->flow.rows || end->bytes != s->flow.bytes) {
        return gw_err_set(err, GW_RETRY, NULL,
                          "stream ended with %" PRIu64 " changes and %" PRIu64 " bytes, but %" PRIu64
                          " changes and %" PRIu64 " bytes came",
                          end->rows, end->bytes, s->flow.rows, s->flow.bytes);
    }
    s->ended = true;
    return gw_applier_end(&s->applier, gw_now_us(), err);
}

static int
take_message(struct stream *s, const struct gw_peer *peer, const struct gw_envelope *env, zmq_msg_t *payload,
             struct gw_err *err)
{
    void *router = gw_worker_router(s->a->w);
    if (env->stream != s->job->stream || env->epoch != s->epoch) {
        gw_send_reset(router, peer, env->task, env->stream, env->epoch); // a stream that is over
        return GW_OK;
    }
    if (!s->started) {
        if (env->kind != GW__DATA_KIND__DATA_OPEN || env->sequence != 0) {
            return gw_err_set(err, GW_RETRY, NULL, "stream does not start with its first message");
        }
        gw_inflow_init(&s->flow, peer, gw_worker_task_tag(s->a->w), env, gw_worker_task(s->a->w)->window_bytes);
        gw_inflow_consumed(&s->flow, router, 0); // the opening message may be a large one
        s->started = true;
        return GW_OK;
    }
    int r = gw_inflow_accept(&s->flow, peer, env, err);
    if (r != GW_OK) {
        return r;
    }
    switch (env->kind) {
    case GW__DATA_KIND__DATA_CHANGES: return take_changes(s, env, payload, err);
    case GW__DATA_KIND__DATA_END: return take_end(s, payload, err);
    default: return gw_err_set(err, GW_BUG, NULL, "message of kind %d inside a stream of changes", (int)env->kind);
    }
}

// Nothing is in the socket: commits what is due and waits for more, no longer than until something is due.
static int
wait_for_more(struct stream *s, struct gw_err *err)
{
    int64_t now = gw_now_us();
    int r = gw_applier_tick(&s->applier, now, err);
    if (r != GW_OK) {
        return r;
    }
    now = gw_now_us();
    tell_if_due(s, s->applier.oldest_us ? busy_us : idle_us, now);
    int64_t until = now + 60 * GW_S, due = gw_applier_due(&s->applier);
    until = due < until ? due : until;
    if (has_news(s) && s->told_us + busy_us < until) {
        until = s->told_us + (s->applier.oldest_us ? busy_us : idle_us);
    }
    zmq_pollitem_t item = {.socket = gw_worker_router(s->a->w), .events = ZMQ_POLLIN};
    r = gw_worker_poll(s->a->w, &item, 1, until, true, err);
    return r == GW_AGAIN ? GW_OK : r;
}

static int
take_stream(struct stream *s, struct gw_err *err)
{
    void *router = gw_worker_router(s->a->w);
    while (!s->ended) {
        struct gw_peer peer;
        struct gw_envelope env;
        zmq_msg_t payload;
        zmq_msg_init(&payload);
        int r = gw_receive(router, gw_worker_task_tag(s->a->w), &peer, &env, &payload, err);
        if (r == GW_OK) {
            r = take_message(s, &peer, &env, &payload, err);
            tell_if_due(s, busy_us, gw_now_us());
        } else if (r == GW_AGAIN) {
            r = wait_for_more(s, err);
        }
        zmq_msg_close(&payload);
        if (r == GW_OK && gw_worker_cancelled(s->a->w)) {
            r = gw_err_set(err, GW_FENCED, NULL, "the job was taken back by the coordinator");
        }
        if (r != GW_OK) {
            return r;
        }
    }
    return GW_OK;
}

// ---- the job -----------------------------------------------------------------------------------

static int
run(struct stream *s, const Gw__Command *cmd, Gw__Progress *progress, struct gw_err *err)
{
    struct gw_apply *a = s->a;
    int r = gw_applier_init(&s->applier, a->ops, a->self, gw_worker_task(a->w), s->job->tables, s->job->n_tables,
                            s->job->in_order, progress, gw_now_us(), err);
    if (r == GW_OK) {
        gw_worker_ready_at(a->w, cmd->job, s->epoch, progress);
        r = take_stream(s, err);
    }
    if (r == GW_OK) {
        tell(s, gw_now_us());
    } else if (s->started) {
        gw_send_reset(gw_worker_router(a->w), &s->flow.peer, s->flow.task, s->flow.stream, s->flow.epoch);
    }
    return r;
}

int
gw_apply_stream(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    struct stream s = {.a = a, .job = cmd->apply_stream};
    if (!(a->ops->caps & GW_TARGET_STREAM)) {
        return gw_err_set(err, GW_CONFIG, NULL, "target engine \"%s\" cannot apply changes", a->ops->name);
    }
    Gw__Progress *progress = gw_pb_new(&a->arena, Gw__Progress, gw__progress__init);
    int r = a->ops->stream_claim(a->self, &a->arena, s.job->in_order, progress, err);
    if (r == GW_OK && GW_FAULT("apply.stream.after_claim")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.stream.after_claim");
    }
    if (r == GW_OK) {
        s.epoch = progress->epoch;
        r = run(&s, cmd, progress, err);
        if (r == GW_OK) {
            reply->body_case = GW__REPLY__BODY_STREAM_DONE;
            reply->stream_done = gw_pb_new(&a->arena, Gw__StreamDone, gw__stream_done__init);
            reply->stream_done->position = gw_arena_strdup(&a->arena, s.applier.durable.data);
        }
        gw_applier_fini(&s.applier);
    }
    return r == GW_OK ? r : gw_err_wrap(err, "apply the stream of changes");
}
