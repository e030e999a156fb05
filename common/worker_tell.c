// What the work thread tells the coordinator, through the control thread.
#include "common/clock.h"
#include "common/worker_priv.h"

void
gw_worker_tell_control(struct gw_worker *w)
{
    Gw__Heartbeat b = GW__HEARTBEAT__INIT;
    b.job = w->job;
    b.rows = w->rows;
    b.bytes = w->bytes;
    b.waiting = w->waiting;
    b.task_uuid = w->task_uuid;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_HEARTBEAT;
    m.heartbeat = &b;
    (void)gw_control_send(w->pair, &m, NULL); // in-process: fails only when the control thread is gone
    w->told_us = gw_now_us();
}

void
gw_worker_progress(struct gw_worker *w, uint64_t rows, uint64_t bytes)
{
    w->rows = rows;
    w->bytes = bytes;
    w->waiting = false;
    if (gw_now_us() - w->told_us >= 200 * GW_MS) {
        gw_worker_tell_control(w);
    }
}

void
gw_worker_ready(struct gw_worker *w, uint64_t job, uint64_t epoch)
{
    gw_worker_ready_at(w, job, epoch, NULL);
}

void
gw_worker_stream_progress(struct gw_worker *w, const Gw__StreamProgress *p)
{
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_STREAM_PROGRESS;
    m.stream_progress = (Gw__StreamProgress *)(uintptr_t)p; // packed only
    (void)gw_control_send(w->pair, &m, NULL);
}

void
gw_worker_ready_at(struct gw_worker *w, uint64_t job, uint64_t epoch, Gw__Progress *progress)
{
    Gw__Ready r = GW__READY__INIT;
    r.job = job;
    r.epoch = epoch;
    r.progress = progress;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_READY;
    m.ready = &r;
    (void)gw_control_send(w->pair, &m, NULL);
}

void
gw_worker_reply(struct gw_worker *w, Gw__Reply *reply, const struct gw_err *err)
{
    Gw__Failure f;
    if (err && err->cls != GW_OK) {
        gw_failure_from_err(&f, err);
        reply->failure = &f;
    }
    if (reply->job == w->job) {
        reply->job_us = (uint64_t)(gw_now_us() - w->job_started_us);
    }
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_REPLY;
    m.reply = reply;
    (void)gw_control_send(w->pair, &m, NULL);
    reply->failure = NULL;
    w->job = 0;
    w->cancelled = false;
    w->waiting = false;
    gw_worker_tell_control(w);
}

void
gw_worker_stream_failed(struct gw_worker *w, uint64_t stream, uint64_t epoch, const struct gw_err *err)
{
    Gw__Failure f;
    gw_failure_from_err(&f, err);
    Gw__StreamFailed s = GW__STREAM_FAILED__INIT;
    s.stream = stream;
    s.epoch = epoch;
    s.failure = &f;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_STREAM_FAILED;
    m.stream_failed = &s;
    (void)gw_control_send(w->pair, &m, NULL);
}
