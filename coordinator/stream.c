// The changes on their way, through one worker of each stage.
//
// An apply claims the stream and says what is durable; from there a capture reads, through a transform. The apply's durable
// position is told to the capture, which lets the source forget its log up to there. If any of the three fails or goes, the
// others are called back, and once nobody holds a part of it any more it begins again, from what is durable then.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/change.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/policy.h"
#include "coordinator/co.h"

// ---- what the stages are told --------------------------------------------------------------------

static bool
is_suspended(const struct table *t)
{
    return t->state == T_ERROR || t->state == T_MARK_ERROR;
}

// Whether a chunk was read at another point than the one that the stream begins behind.
bool
co_stream_is_mixed(const struct co *co, const struct table *t)
{
    for (size_t i = 0; i < t->plan->n_chunks; i++) {
        const Gw__Chunk *c = t->plan->chunks[i];
        if (!co->progress->snapshot[0] || strcmp(c->snapshot, co->progress->snapshot) != 0) {
            return true;
        }
    }
    return false;
}

bool
co_stream_mixed(const struct co *co)
{
    for (size_t i = 0; i < co->tables_n; i++) {
        if (!is_suspended(&co->tables[i]) && co_stream_is_mixed(co, &co->tables[i])) {
            return true;
        }
    }
    return false;
}

// Those that are not suspended.
static Gw__StreamTable **
stream_tables(struct co *co, struct gw_arena *a, bool for_capture, size_t *n)
{
    Gw__StreamTable **list = gw_arena_calloc(a, co->tables_n + 1, sizeof *list);
    *n = 0;
    for (size_t i = 0; i < co->tables_n; i++) {
        struct table *t = &co->tables[i];
        if (is_suspended(t)) {
            continue;
        }
        Gw__StreamTable *st = list[(*n)++] = gw_pb_new(a, Gw__StreamTable, gw__stream_table__init);
        st->source = t->read;
        st->target = t->plan->target;
        st->max_bytes = t->max_bytes;
        st->n_max_bytes = t->max_bytes_n;
        if (for_capture && co_stream_is_mixed(co, t)) {
            st->one_snapshot = t->plan->one_snapshot;
            st->chunks = t->plan->chunks;
            st->n_chunks = t->plan->n_chunks;
        }
    }
    return list;
}

static Gw__Table **
suspended_tables(const struct co *co, struct gw_arena *a, size_t *n)
{
    Gw__Table **list = gw_arena_calloc(a, co->tables_n + 1, sizeof *list);
    *n = 0;
    for (size_t i = 0; i < co->tables_n; i++) {
        if (is_suspended(&co->tables[i])) {
            Gw__Table *t = list[(*n)++] = gw_pb_new(a, Gw__Table, gw__table__init);
            t->source_schema = co->tables[i].plan->source->source_schema;
            t->source_name = co->tables[i].plan->source->source_name;
        }
    }
    return list;
}

// MariaDB's log does not hold what its foreign keys do to other rows: the target's own keys must do the same.
static bool
cascades_not_logged(const struct co *co)
{
    for (size_t i = 0; i < co->tables_n; i++) {
        const Gw__Table *t = co->tables[i].plan->source;
        for (size_t k = 0; strcmp(t->engine, "mysql") == 0 && k < t->n_foreign_keys; k++) {
            const char *d = t->foreign_keys[k]->on_delete, *u = t->foreign_keys[k]->on_update;
            if (strncmp(d, "CASCADE", 7) == 0 || strncmp(d, "SET", 3) == 0 || strncmp(u, "CASCADE", 7) == 0 ||
                strncmp(u, "SET", 3) == 0) {
                return true;
            }
        }
    }
    return false;
}

// ---- the end of a run ----------------------------------------------------------------------------

static void
settle(struct co *co)
{
    struct stream *s = &co->stream;
    if (s->apply_job || s->capture_job || !s->id) {
        return;
    }
    s->id = 0;
    if (!s->failed) {
        s->ended = true;
        s->failures = 0;
        s->oldest_us = 0; // all that was sent is durable
        return;
    }
    s->caught_up = false;
    struct gw_err *e = &s->err;
    if (!co_running(co) || (co_alter_waits(co) && e->cls == GW_AGAIN)) {
        return;
    }
    gw_log_err(GW_LOG_INFO, e, "the stream begins again");
    s->retry_us = gw_now_us();
    if (s->lost) {
        return; // at once, with others
    }
    switch (e->cls) {
    case GW_RETRY: (void)co_recoverable(co, e, ++s->failures, &s->retry_us); return;
    case GW_FENCED:
        if (strcmp(e->code, GW_CODE_LINK) != 0) {
            co_doubt(co, e);
        }
        // fall through
    case GW_AGAIN: s->retry_us += gw_retry_pause_us(co->task->errors, ++s->failures); return;
    case GW_CONFIG: // control tables that are gone look like a mistake of ours
        if (s->failures++ == 0) {
            co_doubt(co, e);
            return;
        }
        co_fail(co, 2, e);
        return;
    default: co_fail(co, 1, e);
    }
}

static bool
is_echo(const struct gw_err *e)
{
    return e->cls == GW_FENCED || e->cls == GW_AGAIN;
}

static void
stream_failed(struct co *co, const struct gw_err *e)
{
    struct stream *s = &co->stream;
    bool first = !s->failed;
    if (first || (is_echo(&s->err) && !is_echo(e))) {
        s->err = *e;
        s->lost = strcmp(e->code, GW_CODE_LOST) == 0;
    }
    s->failed = true;
    if (!first) {
        return;
    }
    if (s->apply_job) {
        co_cancel(co, s->apply, s->apply_job, 0, 0);
    }
    if (s->capture_job) {
        co_cancel(co, s->capture, s->capture_job, 0, 0);
    }
    if (s->epoch) {
        co_cancel(co, s->transform, 0, s->id, s->epoch);
    }
}

static void
apply_done(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    co->stream.apply_job = 0;
    if (e->cls != GW_OK) {
        stream_failed(co, e);
    } else if (reply->body_case == GW__REPLY__BODY_STREAM_DONE) {
        co->progress->position = gw_arena_strdup(&co->arena, reply->stream_done->position);
    }
    settle(co);
}

static void
capture_done(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)ctx;
    co->stream.capture_job = 0;
    w->reserved = false;
    co_forget_snapshot(w); // its connection was the stream's
    if (strcmp(e->code, GW_CODE_LINK) == 0) {
        co_route_failed(co, w, co->stream.transform);
    }
    if (e->cls == GW_OK && reply->body_case == GW__REPLY__BODY_STREAM_DONE && reply->stream_done->n_altered) {
        co_alter_take(co, reply->stream_done);
        gw_err_set(e, GW_AGAIN, NULL, "definitions have changed on the source");
    }
    if (e->cls != GW_OK) {
        stream_failed(co, e);
    }
    settle(co);
}

void
co_stream_failed(struct co *co, struct worker *w, const Gw__StreamFailed *f)
{
    struct stream *s = &co->stream;
    if (s->id && s->id == f->stream && s->epoch == f->epoch) {
        struct gw_err e = {0};
        gw_failure_to_err(f->failure, &e);
        if (strcmp(e.code, GW_CODE_LINK) == 0) {
            co_route_failed(co, w, w == s->transform ? s->apply : s->transform);
        }
        stream_failed(co, &e);
    }
}

void
co_stream_transform_lost(struct co *co, const struct worker *w)
{
    if (co->stream.id && co->stream.transform == w) {
        struct gw_err e = {0};
        gw_err_set(&e, GW_RETRY, GW_CODE_LOST, "worker \"%s\" is gone", w->name);
        stream_failed(co, &e);
    }
}

void
co_stream_cancel(struct co *co)
{
    if (co->stream.id) {
        struct gw_err e = {0};
        gw_err_set(&e, GW_AGAIN, NULL, "called back");
        stream_failed(co, &e);
    }
}

void
co_stream_end(struct co *co)
{
    struct stream *s = &co->stream;
    if (!s->id || s->failed) {
        return;
    }
    if (!s->capture_job) { // not begun: there is nothing to be finished
        co_stream_cancel(co);
        return;
    }
    Gw__EndStream end = GW__END_STREAM__INIT;
    end.job = s->capture_job;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_END_STREAM;
    m.end_stream = &end;
    co_tell(co, s->capture, &m);
}

// ---- the start of a run --------------------------------------------------------------------------

// Changes that are durable, or were recorded as refused. What was captured is told by tallies, which may come later.
static uint64_t
settled_changes(const Gw__StreamCounts *counts)
{
    uint64_t n = 0;
    for (size_t i = 0; counts && i < counts->n_tables; i++) {
        const Gw__Counts *c = counts->tables[i];
        uint64_t captured = c->inserts + c->updates + c->deletes + c->truncates;
        uint64_t applied = c->applied_inserts + c->applied_updates + c->applied_deletes + c->applied_truncates;
        n += captured > applied + c->errors ? captured : applied + c->errors;
    }
    return n;
}

static void suspended(struct co *co, const Gw__Suspended *sus);

void
co_stream_ready(struct co *co, uint64_t job, uint64_t epoch, const Gw__Progress *progress)
{
    struct stream *s = &co->stream;
    if (!s->id || s->apply_job != job || s->failed || !progress) {
        return;
    }
    for (size_t i = 0; i < progress->n_suspended; i++) {
        suspended(co, progress->suspended[i]);
    }
    s->epoch = epoch;
    s->captured_before = settled_changes(progress->counts);
    if (!s->capture->alive || s->capture->job || strcmp(s->capture->uuid, s->capture_uuid) != 0 ||
        !s->transform->alive || strcmp(s->transform->uuid, s->transform_uuid) != 0) {
        struct gw_err e = {0};
        gw_err_set(&e, GW_RETRY, GW_CODE_LOST, "a worker went before the stream was begun");
        stream_failed(co, &e);
        return;
    }
    struct gw_arena a;
    gw_arena_init(&a);
    Gw__ReadStream rs = GW__READ_STREAM__INIT;
    rs.tables = stream_tables(co, &a, true, &rs.n_tables);
    rs.others = suspended_tables(co, &a, &rs.n_others);
    rs.position = progress->position;
    rs.snapshot = co->progress->snapshot;
    rs.stream = s->id;
    rs.epoch = epoch;
    rs.transform_endpoint = s->transform->endpoint;
    rs.apply_endpoint = s->apply->endpoint;
    rs.until_now = s->until == RUN_TO_NOW;
    if (s->until == RUN_TO_CHANGE) {
        rs.until = co->alter.orders->position;
    }
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_READ_STREAM;
    cmd.read_stream = &rs;
    s->capture_job = co_send(co, s->capture, &cmd, capture_done, NULL, "reads changes");
    gw_arena_fini(&a);
}

static void
begin(struct co *co, struct worker *apply, struct worker *capture, struct worker *transform, enum run_until until)
{
    struct stream *s = &co->stream;
    s->apply = apply;
    s->capture = capture;
    s->transform = transform;
    s->id = ++co->next_stream;
    s->epoch = 0;
    s->until = until;
    s->failed = s->lost = s->ended = false;
    s->err = (struct gw_err){0};
    s->captured = 0;
    s->caught_up = false;
    snprintf(s->capture_uuid, sizeof s->capture_uuid, "%s", capture->uuid);
    snprintf(s->transform_uuid, sizeof s->transform_uuid, "%s", transform->uuid);
    capture->reserved = true;
    struct gw_arena a;
    gw_arena_init(&a);
    Gw__ApplyStream as = GW__APPLY_STREAM__INIT;
    as.tables = stream_tables(co, &a, false, &as.n_tables);
    as.stream = s->id;
    as.in_order = cascades_not_logged(co);
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_APPLY_STREAM;
    cmd.apply_stream = &as;
    s->apply_job = co_send(co, apply, &cmd, apply_done, NULL, "applies changes");
    gw_arena_fini(&a);
}

bool
co_stream_tick(struct co *co, enum run_until until)
{
    struct stream *s = &co->stream;
    if (s->id) {
        return false;
    }
    if (s->ended) {
        s->ended = false;
        if (s->until == until) {
            return true;
        }
    }
    if (s->retry_us > gw_now_us() || co_in_doubt(co)) {
        return false;
    }
    struct worker *apply, *transform, *capture;
    if (co_pick_for_stream(co, &apply, &transform, &capture)) {
        begin(co, apply, capture, transform, until);
        (void)GW_FAULT("coordinator.stream_assigned");
    }
    return false;
}

// ---- how far it is -------------------------------------------------------------------------------

static void
confirm(struct co *co, const char *position)
{
    struct stream *s = &co->stream;
    if (!s->capture_job || (s->confirmed && strcmp(s->confirmed, position) == 0)) {
        return;
    }
    free(s->confirmed);
    s->confirmed = strdup(position);
    gw_assert(s->confirmed);
    Gw__Confirm c = GW__CONFIRM__INIT;
    c.stream = s->id;
    c.epoch = s->epoch;
    c.position = s->confirmed;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_CONFIRM;
    m.confirm = &c;
    co_tell(co, s->capture, &m);
}

bool
co_take_again(struct co *co, const struct table *t)
{
    bool mends = strstr(t->reason, GW_READ_APART) || strstr(t->reason, GW_DEFINITION_MOVED);
    if (!mends || !co->streams || co->agains >= AGAINS_MAX || co->again_n == AGAIN_MAX || !gw_task_loads(co->task)) {
        return false;
    }
    co->again[co->again_n++] = t->plan->source->id;
    return true;
}

static void
suspended(struct co *co, const Gw__Suspended *sus)
{
    for (size_t i = 0; i < co->tables_n; i++) {
        struct table *t = &co->tables[i];
        if (t->plan->source->id == sus->table && !is_suspended(t)) {
            t->reason = gw_arena_strdup(&co->arena, sus->reason);
            t->plan->reason = t->reason;
            t->plan->state = GW__TABLE_STATE__STATE_ERROR;
            // Rows of several snapshots and a change that fits none of them: the load can be done again, and is.
            if (co_take_again(co, t)) {
                gw_warn("table is loaded anew table=\"%s.%s\": %s", co_schema(t), co_name(t), t->reason);
                co_table_set(co, t, T_ERROR);
                continue;
            }
            gw_log(GW_LOG_ERROR, "table suspended table=\"%s.%s\": %s", co_schema(t), co_name(t), t->reason);
            co_table_set(co, t, T_ERROR); // durable already
            if (co_running(co)) {         // else the first reason stands
                co->exit_code = 1;
            }
        }
    }
}

static void
applied(struct co *co, const Gw__StreamProgress *p)
{
    struct stream *s = &co->stream;
    if (strcmp(co->progress->position, p->position) != 0) {
        free(s->position);
        s->position = strdup(p->position);
        gw_assert(s->position);
        co->progress->position = s->position;
        s->failures = 0;
        co_recovered(co);
    }
    s->oldest_us = p->oldest_us;
    if (p->counts) {
        gw_arena_reset(&s->arena);
        s->counts = gw_pb_dup(&s->arena, p->counts);
    }
    for (size_t i = 0; i < p->n_suspended; i++) {
        suspended(co, p->suspended[i]);
    }
    confirm(co, p->position);
}

void
co_stream_progress(struct co *co, struct worker *w, const Gw__StreamProgress *p)
{
    struct stream *s = &co->stream;
    if (!s->id || p->stream != s->id || p->epoch != s->epoch) {
        return;
    }
    if (w == s->apply) {
        applied(co, p);
    } else if (w == s->capture) {
        s->captured = 0;
        for (size_t i = 0; p->counts && i < p->counts->n_tables; i++) {
            const Gw__Counts *c = p->counts->tables[i];
            s->captured += c->inserts + c->updates + c->deletes + c->truncates;
        }
        s->captured_us = p->commit_us;
        s->log_kept_bytes = p->log_kept_bytes;
        s->caught_up = p->caught_up;
    }
}

// The two clocks are of different hosts.
static int64_t
since(int64_t then_us, int64_t now_us)
{
    return now_us > then_us ? now_us - then_us : 0;
}

Gw__StreamStatus *
co_stream_status(const struct co *co, struct gw_arena *a)
{
    const struct stream *s = &co->stream;
    if (!co->streams || !co->progress) {
        return NULL;
    }
    Gw__StreamStatus *st = gw_pb_new(a, Gw__StreamStatus, gw__stream_status__init);
    int64_t now = co->ended_us ? co->ended_us : gw_wall_us();
    st->position = co->progress->position;
    // After an end these are what they were then; while it is interrupted, the source moves on.
    st->caught_up = s->caught_up;
    st->latency_source_us = s->caught_up ? 0 : s->captured_us ? since(s->captured_us, now) : -1;
    st->latency_target_us = s->oldest_us ? since(s->oldest_us, now) : 0;
    st->log_kept_bytes = s->log_kept_bytes;
    const Gw__StreamCounts *counts = s->counts ? s->counts : co->progress->counts;
    uint64_t settled = settled_changes(counts);
    st->captured = s->captured_before + s->captured;
    st->captured = st->captured > settled ? st->captured : settled; // before a job has begun
    st->transactions = counts ? counts->transactions : 0;
    for (size_t i = 0; counts && i < counts->n_tables; i++) {
        const Gw__Counts *c = counts->tables[i];
        st->applied += c->applied_inserts + c->applied_updates + c->applied_deletes + c->applied_truncates;
    }
    return st;
}
