// The task's phases.
//
// What may follow what is one table (transitions); every change goes through co_event, is logged and kept in
// the state file. A phase is either one job for one worker (phase_jobs) or a tick over all tables.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/policy.h"
#include "coordinator/co.h"

static const char *const phase_names[PHASES] = {
    [P_START] = "starting",
    [P_STATE] = "reading state",
    [P_CLEAR] = "clearing",
    [P_INSPECT] = "describing",
    [P_MAP] = "mapping",
    [P_PREFLIGHT] = "checking",
    [P_OPEN_STREAM] = "opening stream",
    [P_PLAN] = "planning",
    [P_REGISTER] = "registering",
    [P_VERIFY] = "verifying",
    [P_LOAD] = "loading",
    [P_MEET] = "meeting",
    [P_CONSTRAINTS] = "constraints",
    [P_SEQUENCES] = "sequences",
    [P_STREAM] = "replicating",
    [P_ALTER] = "altering",
    [P_COMPLETE] = "completing",
    [P_CLOSE_STREAM] = "closing stream",
    [P_DROP] = "dropping",
    [P_STOPPING] = "stopping",
    [P_ENDED] = "ended",
};

static const char *const event_names[EVENTS] = {
    [EV_WORKERS] = "workers are here",
    [EV_NEW] = "the task is new",
    [EV_RESUME] = "the task is known",
    [EV_FINISHED_BEFORE] = "it was finished before",
    [EV_FRESH] = "it shall begin anew",
    [EV_CLEARED] = "its control rows are gone",
    [EV_INSPECTED] = "the source is described",
    [EV_MAPPED] = "names and types are mapped",
    [EV_SOUND] = "nothing speaks against it",
    [EV_STREAMS] = "changes are to follow",
    [EV_OPENED] = "the stream has its beginning",
    [EV_REOPEN] = "its snapshot is lost",
    [EV_CHECKED] = "that was all there was to check",
    [EV_PLANNED] = "every table has its chunks",
    [EV_REGISTERED] = "a plan is durable",
    [EV_VERIFIED] = "it is this one",
    [EV_OTHER_PLAN] = "it is an earlier one",
    [EV_ROWS_MIXED] = "the rows are of several points in time",
    [EV_MET] = "the stream is past all of them",
    [EV_KEYS_DONE] = "every table has its rows and keys",
    [EV_CONSTRAINTS_DONE] = "every constraint is made",
    [EV_SEQUENCES_DONE] = "every table is complete",
    [EV_LOADED] = "the load is done",
    [EV_CAUGHT_UP] = "every change up to then is durable",
    [EV_RELOAD] = "suspended tables are to be loaded anew",
    [EV_ALTERED] = "definitions have changed on the source",
    [EV_ALTERS_DONE] = "so have the target's",
    [EV_COMPLETED] = "the end is durable",
    [EV_DROP] = "the task is to be dropped",
    [EV_DROPPED] = "nothing of it is left",
    [EV_STOP] = "told to stop",
    [EV_QUIET] = "nothing is under way any more",
};

static const struct {
    enum phase from;
    enum event on;
    enum phase to;
} transitions[] = {
    {P_START, EV_WORKERS, P_STATE},
    {P_START, EV_DROP, P_DROP},
    {P_START, EV_STREAMS, P_CLOSE_STREAM},
    {P_CLOSE_STREAM, EV_DROP, P_DROP},
    {P_STATE, EV_NEW, P_INSPECT},
    {P_STATE, EV_RESUME, P_INSPECT},
    {P_STATE, EV_FINISHED_BEFORE, P_ENDED},
    {P_STATE, EV_FRESH, P_CLEAR},
    {P_CLEAR, EV_CLEARED, P_INSPECT},
    {P_INSPECT, EV_INSPECTED, P_MAP},
    {P_INSPECT, EV_SOUND, P_LOAD},
    {P_INSPECT, EV_STREAMS, P_OPEN_STREAM},
    {P_INSPECT, EV_RELOAD, P_ALTER},
    {P_MAP, EV_MAPPED, P_PREFLIGHT},
    {P_PREFLIGHT, EV_SOUND, P_PLAN},
    {P_PREFLIGHT, EV_STREAMS, P_OPEN_STREAM},
    {P_PREFLIGHT, EV_CHECKED, P_ENDED},
    {P_OPEN_STREAM, EV_OPENED, P_PLAN},
    {P_OPEN_STREAM, EV_PLANNED, P_REGISTER},
    {P_OPEN_STREAM, EV_RESUME, P_LOAD},
    {P_PLAN, EV_REOPEN, P_OPEN_STREAM},
    {P_PLAN, EV_PLANNED, P_REGISTER},
    {P_REGISTER, EV_REGISTERED, P_VERIFY},
    {P_VERIFY, EV_VERIFIED, P_LOAD},
    {P_VERIFY, EV_OTHER_PLAN, P_STATE},
    {P_LOAD, EV_ROWS_MIXED, P_MEET},
    {P_MEET, EV_MET, P_LOAD},
    {P_LOAD, EV_KEYS_DONE, P_CONSTRAINTS},
    {P_CONSTRAINTS, EV_CONSTRAINTS_DONE, P_SEQUENCES},
    {P_SEQUENCES, EV_SEQUENCES_DONE, P_COMPLETE},
    {P_SEQUENCES, EV_LOADED, P_STREAM},
    {P_STREAM, EV_CAUGHT_UP, P_SEQUENCES},
    {P_STREAM, EV_ALTERED, P_ALTER},
    {P_STREAM, EV_RELOAD, P_STATE},
    {P_SEQUENCES, EV_RELOAD, P_STATE},
    {P_MEET, EV_ALTERED, P_ALTER},
    {P_MEET, EV_RELOAD, P_STATE},
    {P_ALTER, EV_ALTERS_DONE, P_STATE},
    {P_SEQUENCES, EV_CAUGHT_UP, P_ENDED},
    {P_COMPLETE, EV_COMPLETED, P_ENDED},
    {P_DROP, EV_DROPPED, P_ENDED},
    {P_STOPPING, EV_QUIET, P_ENDED},
};

const char *
co_phase_name(enum phase p)
{
    return phase_names[p];
}

void
co_print_fsm(void)
{
    printf("digraph task {\n");
    for (size_t i = 0; i < sizeof transitions / sizeof *transitions; i++) {
        printf("  \"%s\" -> \"%s\" [label=\"%s\"];\n", phase_names[transitions[i].from], phase_names[transitions[i].to],
               event_names[transitions[i].on]);
    }
    printf("  // %s: from any phase but the last\n", event_names[EV_STOP]);
    printf("}\n");
}

static void
enter(struct co *co, enum event on, enum phase to)
{
    gw_info("task=\"%s\" phase: %s -> %s (%s)", co->task->name, phase_names[co->phase], phase_names[to],
            event_names[on]);
    co_store_transition(co, "task", phase_names[co->phase], event_names[on], phase_names[to]);
    co->phase = to;
    co->moves++;
    co->phase_busy = false;
    co->phase_failures = 0;
    co->phase_retry_us = co->locked_us = 0;
    co->waiting_for[0] = 0;
    if (to == P_ENDED) {
        co->ended_us = gw_wall_us();
    }
    if (to == P_MAP) {
        co->patient = true; // both ends were there: one that goes away now is waited for
    }
    if (to == P_LOAD && !co->registered) {
        co->patient = co->registered = true;
        co_store_put(co, "running", co->listen);
    }
    co_store_status(co);
}

void
co_event(struct co *co, enum event ev)
{
    if (ev == EV_STOP) { // the one event that is legal everywhere
        if (co->phase != P_STOPPING && co->phase != P_ENDED) {
            co->stop_until_us = gw_now_us() + 60 * GW_S;
            enter(co, ev, P_STOPPING);
            co_stream_end(co);
        }
        return;
    }
    for (size_t i = 0; i < sizeof transitions / sizeof *transitions; i++) {
        if (transitions[i].from == co->phase && transitions[i].on == ev) {
            enter(co, ev, transitions[i].to);
            return;
        }
    }
    struct gw_err e = {0};
    gw_err_set(&e, GW_BUG, NULL, "event \"%s\" cannot come in phase \"%s\"", event_names[ev], phase_names[co->phase]);
    co_fail(co, 1, &e);
}

void
co_fail(struct co *co, uint32_t exit_code, const struct gw_err *err)
{
    if (co->phase == P_STOPPING || co->phase == P_ENDED) {
        return; // the first reason stands
    }
    gw_log_err(GW_LOG_ERROR, err, "task=\"%s\" stops", co->task->name);
    co->failure = *err;
    co->exit_code = exit_code;
    co_event(co, EV_STOP);
    co_flights_cancel(co, NULL);
    co_stream_cancel(co);
}

bool
co_running(const struct co *co)
{
    return co->phase != P_STOPPING && co->phase != P_ENDED;
}

// ---- phases over all tables --------------------------------------------------------------------

static void
tick_start(struct co *co)
{
    static const struct {
        Gw__Stage stage;
        const char *name;
    } needed[] = {{GW__STAGE__STAGE_CAPTURE, "capture"},
                  {GW__STAGE__STAGE_TRANSFORM, "transform"},
                  {GW__STAGE__STAGE_APPLY, "apply"}};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (!co_alive(co, needed[i].stage)) {
            snprintf(co->waiting_for, sizeof co->waiting_for, "no %s worker is here yet", needed[i].name);
            return;
        }
    }
    co_event(co, co->mode != MODE_DROP ? EV_WORKERS : co->streams ? EV_STREAMS : EV_DROP);
}

static void
tick_plan(struct co *co)
{
    co_snapshots_tick(co);
    if (co->phase != P_PLAN) {
        return; // the stream is to be opened again
    }
    co_tables_tick(co);
    for (size_t i = 0; i < co->tables_n; i++) {
        if (co->tables[i].state == T_UNPLANNED) {
            return;
        }
    }
    if (co_running(co)) {
        co_event(co, EV_PLANNED);
    }
}

static void
reload(struct co *co)
{
    co->agains++;
    co_event(co, EV_RELOAD);
}

// After the load: were all rows told of, and is every table as it should be?
static void
conclude(struct co *co)
{
    uint32_t errors = 0;
    for (size_t i = 0; i < co->tables_n; i++) {
        errors += co->tables[i].state == T_ERROR;
    }
    co->exit_code = errors || co_rows_missing(co) ? 1 : 0;
    if (co->again_n && !co->resync) {
        reload(co);
    } else if (co->resync) {
        co_event(co, EV_CAUGHT_UP);
    } else if (co->streams && co->until != UNTIL_LOAD && errors < co->tables_n) {
        co_event(co, EV_LOADED);
    } else if (errors || co->streams) { // not complete: the same command goes on
        co_event(co, EV_STOP);
    } else {
        co_event(co, EV_SEQUENCES_DONE);
    }
}

// Rows and primary keys are there, but of several snapshots: what else must be unique may not be so yet.
static bool
rows_wait_to_meet(struct co *co)
{
    for (size_t i = 0; i < co->tables_n; i++) {
        const struct table *t = &co->tables[i];
        if (t->state < T_KEYS || (t->state == T_KEYS && !co_key_steps_done(t))) {
            return false;
        }
    }
    return true;
}

static void
tick_meet(struct co *co)
{
    co_snapshots_tick(co);
    if (co_alter_waits(co)) {
        if (co_alter_drain(co)) {
            co_event(co, EV_ALTERED);
        }
    } else if (co_stream_tick(co, RUN_TO_NOW)) {
        co->met = true;
        co->stream.caught_up = false; // the source moves on, and nobody looks
        if (co->again_n) {
            reload(co);
        } else {
            co_event(co, EV_MET);
        }
    }
}

static void
tick_stream(struct co *co)
{
    bool caught_up = co->until == UNTIL_CAUGHT_UP;
    co_snapshots_tick(co);
    co_tables_tick(co); // suspensions are recorded
    if (co_running(co) && co->again_n) {
        co_stream_end(co);
        if (!co->stream.id) {
            reload(co);
        }
    } else if (co_running(co) && co_alter_waits(co)) {
        if (co_alter_drain(co)) {
            co_event(co, EV_ALTERED);
        }
    } else if (co_running(co) && co_stream_tick(co, caught_up ? RUN_TO_NOW : RUN_ON) && caught_up) {
        co_resync_sequences(co); // no log tells how far they have been drawn from
        co_event(co, EV_CAUGHT_UP);
    }
}

static void
tick_load(struct co *co)
{
    if (co_in_doubt(co)) {
        return;
    }
    if (!co->resync) {
        co_snapshots_tick(co);
    }
    co_tables_tick(co);
    if (!co_running(co)) {
        return;
    }
    if (co->phase == P_LOAD && co->streams && !co->met && rows_wait_to_meet(co)) {
        co->met = !co_stream_mixed(co);
        if (!co->met) {
            co_event(co, EV_ROWS_MIXED);
            return;
        }
    }
    if (co->phase == P_LOAD && co_tables_past(co, T_KEYS)) {
        co_event(co, EV_KEYS_DONE);
    }
    if (co->phase == P_CONSTRAINTS && co_tables_past(co, T_CONSTRAINTS)) {
        co_event(co, EV_CONSTRAINTS_DONE);
    }
    bool settled = true;
    for (size_t i = 0; i < co->tables_n; i++) {
        settled = settled && (co->tables[i].state == T_DONE || co->tables[i].state == T_ERROR);
    }
    if (co->phase == P_SEQUENCES && settled) {
        conclude(co);
    }
}

static void
tick_stopping(struct co *co)
{
    if (co->jobs_n == 0 || gw_now_us() > co->stop_until_us) {
        co_event(co, EV_QUIET);
    }
}

void
co_tick(struct co *co)
{
    static void (*const ticks[PHASES])(struct co *) = {
        [P_START] = tick_start,
        [P_STATE] = co_phase_job_tick,
        [P_CLEAR] = co_phase_job_tick,
        [P_INSPECT] = co_phase_job_tick,
        [P_MAP] = co_phase_job_tick,
        [P_PREFLIGHT] = co_phase_job_tick,
        [P_PLAN] = tick_plan,
        [P_REGISTER] = co_phase_job_tick,
        [P_VERIFY] = co_phase_job_tick,
        [P_LOAD] = tick_load,
        [P_CONSTRAINTS] = tick_load,
        [P_SEQUENCES] = tick_load,
        [P_COMPLETE] = co_phase_job_tick,
        [P_DROP] = co_phase_job_tick,
        [P_STOPPING] = tick_stopping,
        [P_OPEN_STREAM] = co_phase_job_tick,
        [P_MEET] = tick_meet,
        [P_STREAM] = tick_stream,
        [P_ALTER] = co_alter_tick,
        [P_CLOSE_STREAM] = co_phase_job_tick,
    };
    co_check_leases(co);
    co_doubt_tick(co);
    if (ticks[co->phase]) {
        ticks[co->phase](co);
    }
    if (gw_now_us() - co->stored_us > GW_S && co->phase != P_ENDED) {
        co_store_status(co);
    }
}
