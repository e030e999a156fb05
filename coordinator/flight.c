// A chunk on its way: an apply claims it, a capture reads it, a transform carries it.
//
// A flight lands when the apply says that the chunk is durable; what the capture says after that does not
// matter. If any of the three fails or goes, the other two are called back, and once nobody holds a part of it
// any more, the chunk is open again. The failure that decides is the first that is not an echo of another.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/policy.h"
#include "coordinator/co.h"

static const int64_t stall_us = 20 * GW_S;
static const int64_t fenced_us = GW_S; // for another session to end what it does with the same chunk
enum { KILLS_MAX = 8, FENCED_MAX = 30 };

static struct chunk_rt *
rt_of(const struct flight *f)
{
    return &f->table->chunks[f->chunk];
}

// ---- the end of a flight -----------------------------------------------------------------------

static void
landed(struct co *co, struct flight *f)
{
    f->table->flying--;
    f->used = false;
    co->flights_n--;
    if (f->capture && strcmp(f->capture->uuid, f->capture_uuid) == 0) {
        f->capture->reserved = false;
    }
}

static void
refused_rows(struct co *co, struct table *t)
{
    const Gw__ErrorSettings *e = co->task->errors;
    if (e->data_escalation_count && t->refused > e->data_escalation_count &&
        e->data_escalation != GW__ERROR_POLICY__LOG_ERROR && e->data_escalation != GW__ERROR_POLICY__IGNORE_RECORD) {
        struct gw_err err = {0};
        gw_err_set(&err, GW_DATA, NULL, "%" PRIu64 " rows were refused, more than DataErrorEscalationCount %u",
                   t->refused, e->data_escalation_count);
        if (e->data_escalation == GW__ERROR_POLICY__STOP_TASK) {
            co_fail(co, 1, &err);
        } else {
            co_table_error(co, t, &err);
        }
    }
}

static void
chunk_durable(struct co *co, struct flight *f, const Gw__Chunk *c)
{
    struct table *t = f->table;
    Gw__Chunk *mine = t->plan->chunks[f->chunk];
    f->durable = true;
    mine->done = true;
    mine->epoch = c->epoch;
    mine->rows_read = c->rows_read;
    mine->rows_written = c->rows_written;
    mine->rows_refused = c->rows_refused;
    mine->bytes = c->bytes;
    mine->values_truncated = c->values_truncated;
    mine->snapshot = gw_arena_strdup(&co->arena, c->snapshot);
    rt_of(f)->state = CHUNK_DONE;
    t->done++;
    t->rows += c->rows_written;
    t->bytes += c->bytes;
    t->refused += c->rows_refused;
    t->truncated += c->values_truncated;
    co_recovered(co);
    co->load_to_us = gw_wall_us();
    gw_info("chunk durable table=\"%s.%s\" chunk=%u epoch=%" PRIu64 " rows=%" PRIu64 " refused=%" PRIu64
            " bytes=%" PRIu64 " worker=%s host=%s",
            t->plan->source->source_schema, t->plan->source->source_name, f->chunk, c->epoch, c->rows_written,
            c->rows_refused, c->bytes, f->apply->name, f->apply->host);
    refused_rows(co, t);
}

static void
reopen(struct co *co, struct flight *f)
{
    struct table *t = f->table;
    struct chunk_rt *rt = rt_of(f);
    struct gw_err *e = &f->err;
    rt->state = CHUNK_OPEN;
    if (f->chunk < t->open_from) {
        t->open_from = f->chunk;
    }
    rt->retry_us = gw_now_us();
    if (!co_running(co) || t->state != T_LOADING) {
        return;
    }
    gw_log_err(GW_LOG_INFO, e, "chunk again table=\"%s.%s\" chunk=%u", t->plan->source->source_schema,
               t->plan->source->source_name, f->chunk);
    if (f->lost) {
        if (++rt->kills >= KILLS_MAX) {
            gw_err_wrap(e, "chunk %u has cost %u workers their lives", f->chunk, rt->kills);
            co_table_error(co, t, e);
        }
        return; // another worker takes it at once
    }
    switch (e->cls) {
    case GW_AGAIN: return;
    case GW_DATA:
        if (!rt->careful) {
            rt->careful = true; // row by row where it must be
            return;
        }
        if (gw_row_policy(co->task->errors, e->code) == GW__ERROR_POLICY__STOP_TASK) {
            co_fail(co, 1, e);
            return;
        }
        co_table_error(co, t, e);
        return;
    case GW_FENCED:
        if (strcmp(e->code, GW_CODE_LINK) == 0) { // nobody else owns it
            rt->retry_us += gw_retry_pause_us(co->task->errors, ++rt->failures);
            return;
        }
        if (++rt->failures > FENCED_MAX) {
            gw_err_hint(e, "does another godwit work on the same task?");
            co_table_error(co, t, e);
        }
        rt->retry_us += fenced_us;
        co_doubt(co, e);
        return;
    case GW_RETRY: (void)co_recoverable(co, e, ++rt->failures, &rt->retry_us); return;
    case GW_BUG: co_fail(co, 1, e); return;
    default:
        if (rt->failures++ == 0) { // control tables that are gone look like a mistake of ours
            co_doubt(co, e);
            return;
        }
        co_table_error(co, t, e);
    }
}

static void
settle(struct co *co, struct flight *f)
{
    if (!f->used || f->apply_job || f->capture_job) {
        return;
    }
    if (!f->durable && !f->failed) {
        return; // apply is not ready yet
    }
    landed(co, f);
    if (!f->durable) {
        reopen(co, f);
    }
}

// ---- failures ----------------------------------------------------------------------------------

// An echo: the job was called back, or the other end gave up. Its cause is told by somebody else.
static bool
is_echo(const struct gw_err *e)
{
    return e->cls == GW_FENCED || e->cls == GW_AGAIN;
}

static void
flight_failed(struct co *co, struct flight *f, const struct gw_err *e)
{
    bool first = !f->failed;
    if (first || (is_echo(&f->err) && !is_echo(e))) {
        f->err = *e;
        f->lost = strcmp(e->code, GW_CODE_LOST) == 0;
    }
    f->failed = true;
    if (!first) {
        return;
    }
    if (f->apply_job) {
        co_cancel(co, f->apply, f->apply_job, 0, 0);
    }
    if (f->capture_job) {
        co_cancel(co, f->capture, f->capture_job, 0, 0);
    }
    if (f->transform && f->epoch) {
        co_cancel(co, f->transform, 0, f->stream, f->epoch);
    }
}

static void
apply_done(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    struct flight *f = ctx;
    f->apply_job = 0;
    if (e->cls == GW_OK && reply->body_case == GW__REPLY__BODY_CHUNK) {
        chunk_durable(co, f, reply->chunk);
        if (f->capture_job && !f->epoch) {
            co_cancel(co, f->capture, f->capture_job, 0, 0);
        }
    } else {
        if (e->cls == GW_OK) {
            gw_err_set(e, GW_BUG, NULL, "apply answered a load without a chunk");
        }
        flight_failed(co, f, e);
    }
    settle(co, f);
}

static void
capture_done(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)reply;
    struct flight *f = ctx;
    f->capture_job = 0;
    w->reserved = false;
    f->capture = NULL;
    f->capture_done = e->cls == GW_OK;
    if (strcmp(e->code, GW_CODE_LINK) == 0) {
        co_route_failed(co, w, f->transform);
    }
    if (e->cls != GW_OK && !f->durable) {
        // The snapshot cannot see this table as it is stored now: nobody else who is in it can, either.
        if (e->cls == GW_AGAIN && strcmp(e->code, GW_CODE_NO_SNAPSHOT) != 0) {
            free(co->token);
            co->token = NULL;
        }
        flight_failed(co, f, e);
    }
    settle(co, f);
}

void
co_flight_stream_failed(struct co *co, struct worker *w, const Gw__StreamFailed *sf)
{
    for (size_t i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *f = &co->flights[i];
        if (f->used && !f->durable && f->stream == sf->stream && f->epoch == sf->epoch) {
            struct gw_err e = {0};
            gw_failure_to_err(sf->failure, &e);
            if (strcmp(e.code, GW_CODE_LINK) == 0) {
                co_route_failed(co, w, w == f->transform ? f->apply : f->transform);
            }
            flight_failed(co, f, &e);
            settle(co, f);
        }
    }
}

void
co_flight_transform_lost(struct co *co, const struct worker *w)
{
    struct gw_err e = {0};
    gw_err_set(&e, GW_RETRY, GW_CODE_LOST, "worker \"%s\" is gone", w->name);
    for (size_t i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *f = &co->flights[i];
        if (f->used && f->transform == w && !f->durable) {
            flight_failed(co, f, &e);
            settle(co, f);
        }
    }
}

void
co_flights_cancel(struct co *co, const struct table *t)
{
    struct gw_err e = {0};
    gw_err_set(&e, GW_AGAIN, NULL, "called back");
    for (size_t i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *f = &co->flights[i];
        if (f->used && !f->durable && (!t || f->table == t)) {
            flight_failed(co, f, &e);
            settle(co, f);
        }
    }
}

// Messages can be lost with a connection. Both ends then wait for each other, and nobody else would notice.
static void
check_stalls(struct co *co)
{
    int64_t now = gw_now_us();
    for (size_t i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *f = &co->flights[i];
        if (!f->used || f->failed || f->durable || !f->apply_job || !f->apply->waiting) {
            continue;
        }
        bool sender_idle =
            f->capture_done || (f->capture_job && f->capture->waiting && now - f->capture->moved_us > stall_us);
        if (sender_idle && now - f->apply->moved_us > stall_us) {
            struct gw_err e = {0};
            gw_err_set(&e, GW_RETRY, NULL, "stream %" PRIu64 " from %s over %s to %s stands still", f->stream,
                       f->capture ? f->capture->name : "a worker that is done", f->transform->name, f->apply->name);
            // Which of the two links it is, nobody has noticed.
            co_route_failed(co, f->transform, f->apply);
            if (f->capture) {
                co_route_failed(co, f->capture, f->transform);
            }
            flight_failed(co, f, &e);
            settle(co, f);
        }
    }
}

// ---- the start of a flight ---------------------------------------------------------------------

void
co_flight_ready(struct co *co, uint64_t job, uint64_t epoch)
{
    for (size_t i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *f = &co->flights[i];
        if (!f->used || f->apply_job != job || f->failed) {
            continue;
        }
        f->epoch = epoch;
        if (!f->capture || !f->capture->alive || f->capture->job || strcmp(f->capture->uuid, f->capture_uuid) != 0 ||
            !f->transform->alive || strcmp(f->transform->uuid, f->transform_uuid) != 0) {
            struct gw_err e = {0};
            gw_err_set(&e, GW_RETRY, GW_CODE_LOST, "a worker went before the chunk was begun");
            flight_failed(co, f, &e);
            return;
        }
        struct table *t = f->table;
        Gw__ReadChunk rc = GW__READ_CHUNK__INIT;
        rc.source = t->read;
        rc.target = t->plan->target;
        rc.chunk = t->plan->chunks[f->chunk];
        rc.stream = f->stream;
        rc.epoch = epoch;
        rc.transform_endpoint = f->transform->endpoint;
        rc.apply_endpoint = f->apply->endpoint;
        rc.snapshot = rc.chunk->snapshot; // what apply will record
        rc.n_max_bytes = t->max_bytes_n;
        rc.max_bytes = t->max_bytes;
        Gw__Command cmd = GW__COMMAND__INIT;
        cmd.body_case = GW__COMMAND__BODY_READ_CHUNK;
        cmd.read_chunk = &rc;
        f->capture_job = co_send(co, f->capture, &cmd, capture_done, f, "reads %s.%s chunk %u",
                                 t->plan->source->source_schema, t->plan->source->source_name, f->chunk);
        return;
    }
}

static struct worker *
pick_capture(struct co *co, const struct table *t, const struct worker *transform)
{
    struct worker *best = NULL;
    for (size_t i = 0; i < co->workers_n; i++) {
        struct worker *w = &co->workers[i];
        if (co_is_idle(w) && w->stage == GW__STAGE__STAGE_CAPTURE && w->token &&
            (!t->plan->one_snapshot || !t->token || strcmp(t->token, w->token) == 0) &&
            (!co->shared || !co->token || strcmp(co->token, w->token) == 0) &&
            (!best || co_route_dislike(co, w, transform) < co_route_dislike(co, best, transform))) {
            best = w;
        }
    }
    return best;
}

// The next chunk of a table, or -1.
static int64_t
open_chunk(struct table *t, int64_t now)
{
    for (size_t i = t->open_from; i < t->plan->n_chunks; i++) {
        if (t->chunks[i].state == CHUNK_OPEN && t->chunks[i].retry_us <= now) {
            return (int64_t)i;
        }
        if (i == t->open_from && t->chunks[i].state != CHUNK_OPEN) {
            t->open_from++;
        }
    }
    return -1;
}

// Higher load-order first; then the table with the fewest chunks in flight (writers of one table hinder each
// other, most of all on InnoDB); then the one with most left to do.
static bool
better(const struct table *a, const struct table *b)
{
    int32_t oa = a->plan->source->load_order, ob = b->plan->source->load_order;
    if (oa != ob) {
        return oa > ob;
    }
    if (a->flying != b->flying) {
        return a->flying < b->flying;
    }
    return a->plan->n_chunks - a->done > b->plan->n_chunks - b->done;
}

static void
take_off(struct co *co, struct table *t, uint32_t chunk, struct worker *apply, struct worker *capture,
         struct worker *transform)
{
    struct flight *f = NULL;
    for (size_t i = 0; i < FLIGHTS_MAX && !f; i++) {
        f = co->flights[i].used ? NULL : &co->flights[i];
    }
    gw_assert(f);
    *f = (struct flight){.used = true,
                         .table = t,
                         .chunk = chunk,
                         .apply = apply,
                         .capture = capture,
                         .transform = transform,
                         .stream = ++co->next_stream};
    snprintf(f->capture_uuid, sizeof f->capture_uuid, "%s", capture->uuid);
    snprintf(f->transform_uuid, sizeof f->transform_uuid, "%s", transform->uuid);
    co->flights_n++;
    t->flying++;
    t->chunks[chunk].state = CHUNK_FLYING;
    capture->reserved = true;
    Gw__Chunk *c = t->plan->chunks[chunk];
    c->snapshot = gw_arena_strdup(&co->arena, capture->token);
    Gw__LoadChunk lc = GW__LOAD_CHUNK__INIT;
    lc.table = t->plan->target;
    lc.chunk = c;
    lc.stream = f->stream;
    lc.careful = t->chunks[chunk].careful;
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_LOAD_CHUNK;
    cmd.load_chunk = &lc;
    if (!t->started_us) {
        t->started_us = gw_wall_us();
    }
    if (!co->load_from_us) {
        co->load_from_us = gw_wall_us();
    }
    f->apply_job = co_send(co, apply, &cmd, apply_done, f, "loads %s.%s chunk %u", t->plan->source->source_schema,
                           t->plan->source->source_name, chunk);
}

void
co_flights_tick(struct co *co)
{
    check_stalls(co);
    while (co_running(co) && co->flights_n < co->task->load->max_subtasks) {
        struct worker *apply = co_idle(co, GW__STAGE__STAGE_APPLY);
        struct worker *transform = apply ? co_pick_transform(co, apply) : NULL;
        if (!apply || !transform) {
            return;
        }
        struct table *best = NULL;
        int64_t now = gw_now_us();
        for (size_t i = 0; i < co->tables_n; i++) {
            struct table *t = &co->tables[i];
            if (t->state == T_LOADING && (!best || better(t, best)) && open_chunk(t, now) >= 0 &&
                pick_capture(co, t, transform)) {
                best = t;
            }
        }
        if (!best) {
            return;
        }
        take_off(co, best, (uint32_t)open_chunk(best, now), apply, pick_capture(co, best, transform), transform);
        if (GW_FAULT("coordinator.after_assign")) {
            return;
        }
    }
}
