// Workers: who is there, what each has in hand, and who has gone.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/policy.h"
#include "coordinator/co.h"

static const int64_t silent_us = 10 * GW_S; // a worker that says nothing for this long is gone
static const int64_t absent_us = 2 * GW_S;  // longer than any turn of the loop

// ---- sending -----------------------------------------------------------------------------------

void
co_send_to(struct co *co, const uint8_t *identity, size_t len, const Gw__Control *m)
{
    if (zmq_send(co->router, identity, len, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
        return; // gone: its lease runs out, or its successor says hello
    }
    struct gw_err err = {0};
    if (gw_control_send(co->router, m, &err) != GW_OK) {
        gw_log_err(GW_LOG_WARN, &err, "control bus");
    }
}

void
co_welcome_all(struct co *co)
{
    for (size_t i = 0; i < co->workers_n; i++) {
        if (co->workers[i].alive) {
            co_send_welcome(co, &co->workers[i]);
        }
    }
}

void
co_stop_workers(struct co *co)
{
    Gw__Stop stop = GW__STOP__INIT;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_STOP;
    m.stop = &stop;
    for (size_t i = 0; i < co->workers_n; i++) {
        if (co->workers[i].alive) {
            co_send_to(co, co->workers[i].identity, co->workers[i].identity_len, &m);
        }
    }
}

uint64_t
co_send(struct co *co, struct worker *w, Gw__Command *cmd, job_done *done, void *ctx, const char *doing, ...)
{
    gw_assert(w->alive && w->job == 0 && co->jobs_n < JOBS_MAX);
    cmd->job = ++co->next_job;
    w->job = cmd->job;
    w->rows = w->bytes = 0;
    w->moved_us = w->sent_us = gw_now_us();
    w->waiting = false;
    va_list ap;
    va_start(ap, doing);
    vsnprintf(w->doing, sizeof w->doing, doing, ap);
    va_end(ap);
    co->jobs[co->jobs_n++] = (struct job){.id = cmd->job, .worker = w, .done = done, .ctx = ctx};
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_COMMAND;
    m.command = cmd;
    co_send_to(co, w->identity, w->identity_len, &m);
    return cmd->job;
}

static void
send_cancel(struct co *co, struct worker *w, Gw__Cancel *k)
{
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_CANCEL;
    m.cancel = k;
    if (w->alive) {
        co_send_to(co, w->identity, w->identity_len, &m);
    }
}

void
co_cancel(struct co *co, struct worker *w, uint64_t job, uint64_t stream, uint64_t epoch)
{
    Gw__Cancel k = GW__CANCEL__INIT;
    k.job = job ? job : UINT64_MAX; // then only the stream is meant: 0 would be any job
    k.stream = stream;
    k.epoch = epoch;
    w->called_back = job ? job : w->called_back;
    send_cancel(co, w, &k);
}

void
co_tell(struct co *co, struct worker *w, const Gw__Control *m)
{
    if (w->alive) {
        co_send_to(co, w->identity, w->identity_len, m);
    }
}

// ---- looking -----------------------------------------------------------------------------------

bool
co_is_idle(const struct worker *w)
{
    return w->alive && w->job == 0 && w->foreign_job == 0 && !w->reserved;
}

struct worker *
co_idle(struct co *co, Gw__Stage stage)
{
    for (size_t i = 0; i < co->workers_n; i++) {
        struct worker *w = &co->workers[i];
        if (co_is_idle(w) && w->stage == stage) {
            return w;
        }
    }
    return NULL;
}

size_t
co_alive(const struct co *co, Gw__Stage stage)
{
    size_t n = 0;
    for (size_t i = 0; i < co->workers_n; i++) {
        n += co->workers[i].alive && co->workers[i].stage == stage;
    }
    return n;
}

void
co_forget_snapshot(struct worker *w)
{
    free(w->token);
    free(w->handle);
    w->token = w->handle = NULL;
}

bool
co_recoverable(struct co *co, const struct gw_err *err, uint32_t failures, int64_t *ret_us)
{
    const Gw__ErrorSettings *s = co->task->errors;
    co->recoverable++;
    int64_t pause_us = gw_retry_pause_us(s, failures);
    *ret_us = gw_now_us() + pause_us;
    if (pause_us < 10 * GW_S) {
        snprintf(co->waiting_for, sizeof co->waiting_for, "%.250s", err->message);
    } else {
        snprintf(co->waiting_for, sizeof co->waiting_for, "%.200s; next try in %" PRId64 " s", err->message,
                 pause_us / GW_S);
    }
    struct gw_err e = *err;
    if (s->recoverable_count >= 0 && co->recoverable > (uint32_t)s->recoverable_count) {
        gw_err_wrap(&e, "given up after %u recoverable errors in a row", co->recoverable);
    } else if (gw_retry_exhausted(s, failures)) {
        gw_err_wrap(&e, "given up: %u tries failed, the last after the longest pause of RecoverableErrorThrottlingMax",
                    failures);
    } else {
        return true;
    }
    co_fail(co, 3, &e);
    return false;
}

void
co_recovered(struct co *co)
{
    co->waiting_for[0] = 0;
    if (!co->recoverable) {
        return;
    }
    co->recoverable = 0;
    for (size_t i = 0; i < co->tables_n; i++) {
        struct table *t = &co->tables[i];
        t->retry_us = 0;
        t->failures = 0;
        for (size_t k = 0; k < t->plan->n_chunks; k++) {
            t->chunks[k].retry_us = 0;
            t->chunks[k].failures = 0;
        }
    }
    for (size_t i = 0; i < co->workers_n; i++) {
        co->workers[i].retry_us = 0;
    }
}

// ---- jobs --------------------------------------------------------------------------------------

static void
finish_job(struct co *co, size_t at, const Gw__Reply *reply, struct gw_err *failure)
{
    struct job job = co->jobs[at];
    co->jobs[at] = co->jobs[--co->jobs_n];
    if (job.worker->job == job.id) {
        job.worker->job = 0;
        job.worker->doing[0] = 0;
    }
    job.done(co, job.worker, job.ctx, reply, failure);
}

static void
take_reply(struct co *co, struct worker *w, const Gw__Reply *reply)
{
    for (size_t i = 0; i < co->jobs_n; i++) {
        if (co->jobs[i].id == reply->job && co->jobs[i].worker == w) {
            struct gw_err failure = {0};
            if (reply->failure) {
                gw_failure_to_err(reply->failure, &failure);
                // After a failure the connection is closed, and the snapshot with it.
                if (w->stage == GW__STAGE__STAGE_CAPTURE && failure.cls != GW_FENCED) {
                    co_forget_snapshot(w);
                }
            }
            finish_job(co, i, reply, &failure);
            return;
        }
    }
    gw_debug("reply to job %" PRIu64 " which nobody waits for", reply->job);
}

void
co_worker_lost(struct co *co, struct worker *w, const char *why)
{
    if (!w->alive) {
        return;
    }
    gw_warn("worker=%s pid=%u is gone: %s", w->name, w->pid, why);
    w->alive = false;
    w->lost_us = gw_now_us();
    w->reserved = false;
    w->restarts++;
    co_forget_snapshot(w);
    for (size_t i = 0; i < co->jobs_n;) {
        if (co->jobs[i].worker == w) {
            struct gw_err e = {0};
            gw_err_set(&e, GW_RETRY, GW_CODE_LOST, "worker \"%s\" is gone: %s", w->name, why);
            Gw__Reply none = GW__REPLY__INIT;
            finish_job(co, i, &none, &e);
            i = 0; // the list may have changed in any way
        } else {
            i++;
        }
    }
    if (w->stage == GW__STAGE__STAGE_TRANSFORM) {
        co_flight_transform_lost(co, w);
        co_stream_transform_lost(co, w);
    }
}

void
co_check_leases(struct co *co)
{
    int64_t now = gw_now_us();
    // We were stopped ourselves, or the machine slept: what was said meanwhile is still on its way to us.
    int64_t absent = co->checked_us && now - co->checked_us > absent_us ? now - co->checked_us : 0;
    co->checked_us = now;
    for (size_t i = 0; i < co->workers_n; i++) {
        struct worker *w = &co->workers[i];
        w->heard_us += absent;
        if (w->alive && now - w->heard_us > silent_us) {
            co_worker_lost(co, w, "no heartbeat for ten seconds");
        }
    }
}

// ---- receiving ---------------------------------------------------------------------------------

static struct worker *
by_uuid(struct co *co, const char *uuid)
{
    for (size_t i = 0; i < co->workers_n; i++) {
        if (co->workers[i].alive && strcmp(co->workers[i].uuid, uuid) == 0) {
            return &co->workers[i];
        }
    }
    return NULL;
}

static struct worker *
by_identity(struct co *co, const struct gw_peer *peer)
{
    for (size_t i = 0; i < co->workers_n; i++) {
        struct worker *w = &co->workers[i];
        if (w->alive && w->identity_len == peer->len && memcmp(w->identity, peer->id, peer->len) == 0) {
            return w;
        }
    }
    return NULL;
}

// A command or its reply can be lost with a connection. The worker's own messages come in order, so one that
// is at something else long after it was sent the job will never answer it.
static void
check_job(struct co *co, struct worker *w, uint64_t at_work_on)
{
    if (!w->job || at_work_on == w->job || gw_now_us() - w->sent_us < 5 * GW_S) {
        return;
    }
    for (size_t i = 0; i < co->jobs_n; i++) {
        if (co->jobs[i].id == w->job) {
            struct gw_err e = {0};
            gw_err_set(&e, GW_RETRY, GW_CODE_LOST, "worker \"%s\" does not know its job", w->name);
            Gw__Reply none = GW__REPLY__INIT;
            finish_job(co, i, &none, &e);
            return;
        }
    }
}

// A cancel can be lost with a connection, or had nobody to go to while the worker was taken for gone: whoever still has the
// job would wait for rows that nobody sends.
static void
call_back_again(struct co *co, struct worker *w, uint64_t at_work_on)
{
    Gw__Cancel k = GW__CANCEL__INIT;
    k.job = at_work_on;
    k.at_leisure = at_work_on == w->foreign_job;
    if (at_work_on && (k.at_leisure || (at_work_on == w->job && at_work_on == w->called_back))) {
        send_cancel(co, w, &k);
    }
}

static void
take_heartbeat(struct co *co, const struct gw_peer *peer, const Gw__Heartbeat *b)
{
    struct worker *w = by_uuid(co, b->uuid);
    Gw__Control m = GW__CONTROL__INIT; // an empty message says: heard
    Gw__WhoAreYou who = GW__WHO_ARE_YOU__INIT;
    if (!w || w->identity_len != peer->len || memcmp(w->identity, peer->id, peer->len) != 0) {
        m.body_case = GW__CONTROL__BODY_WHO;
        m.who = &who;
    } else {
        w->heard_us = gw_now_us();
        if (b->job == w->job && (b->rows != w->rows || b->bytes != w->bytes)) {
            w->rows = b->rows;
            w->bytes = b->bytes;
            w->moved_us = w->heard_us;
        }
        w->waiting = b->job == w->job && b->waiting;
        snprintf(w->task_uuid, sizeof w->task_uuid, "%s", b->task_uuid);
        w->foreign_job = w->foreign_job == b->job ? b->job : 0;
        check_job(co, w, b->job);
        call_back_again(co, w, b->job);
    }
    co_send_to(co, peer->id, peer->len, &m);
}

static void
answer_status(struct co *co, const struct gw_peer *peer)
{
    struct gw_arena a;
    gw_arena_init(&a);
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_STATUS;
    m.status = co_status(co, &a);
    co_send_to(co, peer->id, peer->len, &m);
    gw_arena_fini(&a);
}

void
co_tell_asker(struct co *co)
{
    if (co->asker.len) {
        answer_status(co, &co->asker);
    }
}

static void
dispatch(struct co *co, const struct gw_peer *peer, const char *address, const Gw__Control *m)
{
    struct worker *w = by_identity(co, peer);
    if (w) {
        w->heard_us = gw_now_us();
    }
    switch (m->body_case) {
    case GW__CONTROL__BODY_HELLO: co_take_hello(co, peer, address, m->hello); break;
    case GW__CONTROL__BODY_GOODBYE:
        if (w && strcmp(w->uuid, m->goodbye->uuid) == 0) {
            co_worker_lost(co, w, "it left");
        }
        break;
    case GW__CONTROL__BODY_HEARTBEAT: take_heartbeat(co, peer, m->heartbeat); break;
    case GW__CONTROL__BODY_STATUS_REQUEST:
        co->asker = *peer;
        answer_status(co, peer);
        break;
    case GW__CONTROL__BODY_STOP: co->leave = true; break;
    case GW__CONTROL__BODY_READY:
        if (w) {
            co_flight_ready(co, m->ready->job, m->ready->epoch);
            co_stream_ready(co, m->ready->job, m->ready->epoch, m->ready->progress);
        }
        break;
    case GW__CONTROL__BODY_STREAM_PROGRESS:
        if (w) {
            co_stream_progress(co, w, m->stream_progress);
        }
        break;
    case GW__CONTROL__BODY_REPLY:
        if (w) {
            take_reply(co, w, m->reply);
        }
        break;
    case GW__CONTROL__BODY_STREAM_FAILED:
        if (w) {
            co_flight_stream_failed(co, w, m->stream_failed);
            co_stream_failed(co, w, m->stream_failed);
        }
        break;
    default: gw_warn("unexpected control message %d is dropped", (int)m->body_case);
    }
}

void
co_receive(struct co *co)
{
    for (;;) {
        struct gw_peer peer;
        int n = zmq_recv(co->router, peer.id, sizeof peer.id, ZMQ_DONTWAIT);
        if (n < 0) {
            return;
        }
        peer.len = (size_t)n < sizeof peer.id ? (size_t)n : sizeof peer.id;
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        int more = 1;
        size_t size = sizeof more;
        while (more && zmq_msg_recv(&msg, co->router, ZMQ_DONTWAIT) >= 0) {
            zmq_getsockopt(co->router, ZMQ_RCVMORE, &more, &size);
        }
        struct gw_arena a;
        gw_arena_init(&a);
        const Gw__Control *m = gw_control_unpack(&a, zmq_msg_data(&msg), zmq_msg_size(&msg));
        if (m) {
            const char *address = zmq_msg_gets(&msg, "Peer-Address");
            dispatch(co, &peer, address ? address : "", m);
        } else {
            gw_warn("malformed control message of %zu bytes is dropped", zmq_msg_size(&msg));
        }
        gw_arena_fini(&a);
        zmq_msg_close(&msg);
    }
}
