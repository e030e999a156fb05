// What people are told: the status message for the command line, and what is kept of it.
#include <string.h>

#include "common/clock.h"
#include "coordinator/co.h"

static char *
borrow(const char *s)
{
    return (char *)(uintptr_t)(s ? s : ""); // packed only, never written
}

void
co_add_findings(struct co *co, const Gw__Catalog *cat)
{
    const Gw__Catalog *mine = gw_pb_dup(&co->arena, cat);
    for (size_t i = 0; i < mine->n_findings; i++) {
        gw_pb_add(&co->arena, co->findings, findings, mine->findings[i]);
    }
}

// Why it ended, as DMS words it. Tables in error are told by their states.
static const char *
stop_reason(const struct co *co)
{
    if (co->phase != P_ENDED || co->mode != MODE_RUN) {
        return "";
    }
    if (co->failure.cls != GW_OK) {
        return co->failure.cls == GW_RETRY ? "RECOVERABLE_ERROR" : "FATAL_ERROR";
    }
    if (co->exit_code == 4) {
        return "NORMAL";
    }
    if (!co->streams) {
        return "FULL_LOAD_ONLY_FINISHED";
    }
    if (co->until == UNTIL_LOAD) {
        return "STOPPED_AFTER_FULL_LOAD";
    }
    bool carries = false;
    for (size_t i = 0; i < co->tables_n; i++) {
        carries = carries || co->tables[i].state == T_DONE;
    }
    return carries ? "STOPPED_AFTER_CACHED_EVENTS" : "FATAL_ERROR"; // the latter: every table is suspended
}

// As DMS words a table's state. A table that has its rows stays completed while changes are carried to it.
static const char *
dms_state(const struct table *t)
{
    switch (t->state) {
    case T_ERROR:
    case T_MARK_ERROR: return "Table error";
    case T_DONE: return "Table completed";
    case T_UNPLANNED:
    case T_PLANNED: return "Before load";
    case T_RESTART:
    case T_REPLACE: return "Table is being reloaded";
    default: return "Full load";
    }
}

static void
count_snapshots(const struct table *t, struct gw_arena *a, Gw__TableStatus *ts, char ***seen, size_t *seen_n)
{
    const char *last = NULL;
    char **mine = NULL;
    size_t n = 0;
    for (size_t i = 0; i < t->plan->n_chunks; i++) {
        const Gw__Chunk *c = t->plan->chunks[i];
        if (!c->done || (last && strcmp(last, c->snapshot) == 0)) {
            continue;
        }
        last = c->snapshot;
        bool known = false, known_all = false;
        for (size_t k = 0; k < n && !known; k++) {
            known = strcmp(mine[k], last) == 0;
        }
        for (size_t k = 0; k < *seen_n && !known_all; k++) {
            known_all = strcmp((*seen)[k], last) == 0;
        }
        if (!known) {
            *(char **)gw_arena_push(a, &mine, &n, sizeof *mine) = c->snapshot;
        }
        if (!known_all) {
            *(char **)gw_arena_push(a, seen, seen_n, sizeof **seen) = c->snapshot;
        }
    }
    ts->snapshots = (uint32_t)n;
}

static Gw__TableStatus *
table_status(struct co *co, const struct table *t, struct gw_arena *a)
{
    Gw__TableStatus *ts = gw_pb_new(a, Gw__TableStatus, gw__table_status__init);
    ts->id = t->plan->source->id;
    ts->schema = t->plan->source->source_schema;
    ts->name = t->plan->source->source_name;
    ts->target_schema = t->plan->target->schema;
    ts->target_name = t->plan->target->name;
    ts->state = borrow(dms_state(t));
    ts->rows = t->rows;
    ts->bytes = t->bytes;
    ts->rows_estimate = t->plan->source->rows_estimate;
    ts->bytes_estimate = t->plan->source->bytes_estimate;
    ts->rows_refused = t->refused;
    ts->values_truncated = t->truncated;
    ts->chunks = (uint32_t)t->plan->n_chunks;
    ts->chunks_done = t->done;
    ts->started_us = t->started_us;
    ts->ended_us = t->ended_us;
    ts->reason = borrow(t->reason);
    for (size_t i = 0; t->flying && i < FLIGHTS_MAX; i++) {
        const struct flight *f = &co->flights[i];
        if (f->used && f->table == t && f->apply_job) {
            ts->rows_in_flight += f->apply->rows;
            ts->bytes_in_flight += f->apply->bytes;
        }
    }
    const Gw__StreamCounts *counts = co->stream.counts ? co->stream.counts : co->progress ? co->progress->counts : NULL;
    for (size_t i = 0; counts && i < counts->n_tables; i++) {
        if (counts->tables[i]->table == ts->id) {
            ts->counts = counts->tables[i];
        }
    }
    if (t->plan->ddls) { // captured and applied in one step
        Gw__Counts *c = gw_pb_new(a, Gw__Counts, gw__counts__init);
        *c = ts->counts ? *ts->counts : *c;
        c->table = ts->id;
        c->ddls = c->applied_ddls = t->plan->ddls;
        ts->counts = c;
    }
    for (size_t i = 0; t->steps && i < t->steps->n_steps; i++) {
        ts->steps++;
        ts->steps_done += t->steps_rt[i].done;
    }
    return ts;
}

Gw__Status *
co_status(struct co *co, struct gw_arena *a)
{
    Gw__Status *s = gw_pb_new(a, Gw__Status, gw__status__init);
    s->task = co->task->name;
    s->phase = borrow(co_phase_name(co->phase));
    s->ended = co->phase == P_ENDED;
    s->exit_code = co->exit_code;
    if (co->failure.cls != GW_OK) {
        s->failure = gw_arena_alloc(a, sizeof *s->failure);
        gw_failure_from_err(s->failure, &co->failure);
    }
    char **seen = NULL;
    size_t seen_n = 0;
    for (size_t i = 0; i < co->tables_n; i++) {
        Gw__TableStatus *ts = table_status(co, &co->tables[i], a);
        count_snapshots(&co->tables[i], a, ts, &seen, &seen_n);
        gw_pb_add(a, s, tables, ts);
    }
    s->snapshots = (uint32_t)seen_n;
    s->findings = co->findings->findings;
    s->n_findings = co->findings->n_findings;
    s->findings_total = (uint32_t)co->findings->n_findings;
    for (size_t i = 0; i < co->workers_n; i++) {
        struct worker *w = &co->workers[i];
        Gw__WorkerStatus *ws = gw_pb_new(a, Gw__WorkerStatus, gw__worker_status__init);
        ws->name = w->name;
        ws->pid = w->alive ? w->pid : 0;
        ws->host = w->host;
        ws->doing = w->doing;
        ws->restarts = w->restarts;
        gw_pb_add(a, s, workers, ws);
    }
    s->started_us = co->started_us;
    s->now_us = gw_wall_us();
    s->ended_us = co->ended_us;
    s->already_complete = co->already_complete;
    s->warnings = co->task->warnings;
    s->n_warnings = co->task->n_warnings;
    s->waiting_for = co->waiting_for;
    s->stream = co_stream_status(co, a);
    s->stop_reason = borrow(stop_reason(co));
    s->load_us = (uint64_t)(co->load_to_us > co->load_from_us ? co->load_to_us - co->load_from_us : 0);
    return s;
}
