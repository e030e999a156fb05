// Proves the task's state machine: every phase is reached and left, and what the table does not allow ends the task.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "common/log.h"
// The transitions are the file's own.
#include "coordinator/fsm.c"
#include "coordinator/phases.c"
#include "coordinator/stream.c"

enum { N = sizeof transitions / sizeof *transitions };

static char dir[] = "/tmp/gw-test-XXXXXX";

static void
marked_from(enum phase from, bool seen[PHASES])
{
    seen[from] = true;
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < N; i++) {
            if (seen[transitions[i].from] && !seen[transitions[i].to]) {
                more = seen[transitions[i].to] = true;
            }
        }
    }
}

static void
every_phase_is_reached_and_ends(void **state)
{
    (void)state;
    bool seen[PHASES] = {false};
    marked_from(P_START, seen);
    for (int p = 0; p < PHASES; p++) {
        // Stopping is entered from everywhere, by EV_STOP.
        if (!seen[p] && p != P_STOPPING) {
            fail_msg("\"%s\" is never reached", phase_names[p]);
        }
        bool ends[PHASES] = {false};
        marked_from((enum phase)p, ends);
        if (!ends[P_ENDED]) {
            fail_msg("\"%s\" never ends", phase_names[p]);
        }
    }
}

static void
the_table_is_sound(void **state)
{
    (void)state;
    bool used[EVENTS] = {false};
    for (size_t i = 0; i < N; i++) {
        assert_int_not_equal(transitions[i].from, P_ENDED);
        assert_int_not_equal(transitions[i].from, transitions[i].to);
        assert_int_not_equal(transitions[i].on, EV_STOP);
        used[transitions[i].on] = true;
        for (size_t k = 0; k < i; k++) { // one outcome for one event
            assert_false(transitions[k].from == transitions[i].from && transitions[k].on == transitions[i].on);
        }
    }
    for (int e = 0; e < EVENTS; e++) {
        assert_non_null(event_names[e]);
        if (!used[e] && e != EV_STOP) {
            fail_msg("nothing comes of \"%s\"", event_names[e]);
        }
    }
    for (int p = 0; p < PHASES; p++) {
        assert_non_null(phase_names[p]);
        assert_string_equal(co_phase_name((enum phase)p), phase_names[p]);
    }
    for (int s = 0; s < T_STATES; s++) {
        assert_non_null(co_table_state_name((enum table_state)s));
    }
}

static void
every_phase_with_a_job_has_one(void **state)
{
    (void)state;
    static const enum phase jobs[] = {P_STATE,    P_CLEAR,  P_INSPECT,  P_MAP,  P_PREFLIGHT,   P_OPEN_STREAM,
                                      P_REGISTER, P_VERIFY, P_COMPLETE, P_DROP, P_CLOSE_STREAM};
    assert_int_equal(sizeof phase_jobs / sizeof *phase_jobs, sizeof jobs / sizeof *jobs);
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        size_t found = 0;
        for (size_t k = 0; k < sizeof phase_jobs / sizeof *phase_jobs; k++) {
            found += phase_jobs[k].phase == jobs[i];
        }
        assert_int_equal(found, 1);
    }
}

// A coordinator in one phase, without workers.
static struct co *
in_phase(enum phase p)
{
    struct co *co = calloc(1, sizeof *co);
    assert_non_null(co);
    gw_arena_init(&co->arena);
    co->state_dir = dir;
    co->listen = "tcp://127.0.0.1:*";
    co->phase = p;
    co->task = gw_pb_new(&co->arena, Gw__Task, gw__task__init);
    co->task->name = gw_arena_strdup(&co->arena, "t");
    co->task->errors = gw_pb_new(&co->arena, Gw__ErrorSettings, gw__error_settings__init);
    co->findings = gw_pb_new(&co->arena, Gw__Catalog, gw__catalog__init);
    struct gw_err err = {0};
    assert_int_equal(co_store_open(co, &err), GW_OK);
    return co;
}

static void
one_table(struct co *co, enum table_state s)
{
    co->tables = gw_arena_calloc(&co->arena, 1, sizeof *co->tables);
    co->tables_n = 1;
    co->tables->state = s;
    co->tables->plan = gw_pb_new(&co->arena, Gw__TablePlan, gw__table_plan__init);
    co->tables->plan->source = gw_pb_new(&co->arena, Gw__Table, gw__table__init);
    co->tables->plan->target = gw_pb_new(&co->arena, Gw__Table, gw__table__init);
    co->tables->plan->source->id = co->tables->plan->target->id = 1;
}

static void
put_away(struct co *co)
{
    co_store_close(co);
    gw_arena_fini(&co->arena);
    free(co);
}

static enum phase
meant(enum phase from, enum event on)
{
    if (on == EV_STOP) {
        return from == P_ENDED ? P_ENDED : P_STOPPING;
    }
    for (size_t i = 0; i < N; i++) {
        if (transitions[i].from == from && transitions[i].on == on) {
            return transitions[i].to;
        }
    }
    return from == P_ENDED ? P_ENDED : P_STOPPING; // a bug: stopped before damage
}

static void
every_event_in_every_phase(void **state)
{
    (void)state;
    for (int p = 0; p < PHASES; p++) {
        for (int e = 0; e < EVENTS; e++) {
            struct co *co = in_phase((enum phase)p);
            co_event(co, (enum event)e);
            enum phase want = meant((enum phase)p, (enum event)e);
            if (co->phase != want) {
                fail_msg("\"%s\" in \"%s\": now \"%s\", not \"%s\"", event_names[e], phase_names[p],
                         phase_names[co->phase], phase_names[want]);
            }
            bool legal = e == EV_STOP;
            for (size_t i = 0; i < N; i++) {
                legal = legal || ((int)transitions[i].from == p && (int)transitions[i].on == e);
            }
            bool over = p == P_STOPPING || p == P_ENDED; // nothing new is a failure then
            assert_int_equal(co->failure.cls, legal || over ? GW_OK : GW_BUG);
            assert_int_equal(co->exit_code, legal || over ? 0 : 1);
            assert_int_equal(co_running(co), co->phase != P_STOPPING && co->phase != P_ENDED);
            put_away(co);
        }
    }
}

static void
transitions_are_kept(void **state)
{
    (void)state;
    struct co *co = in_phase(P_START);
    assert_int_equal(sqlite3_exec(co->db, "DELETE FROM transitions", NULL, NULL, NULL), SQLITE_OK);
    co_event(co, EV_WORKERS);
    co_event(co, EV_NEW);
    co_event(co, EV_STOP);
    co_event(co, EV_QUIET);
    assert_int_equal(co->phase, P_ENDED);
    assert_true(co->ended_us > 0);
    sqlite3_stmt *s = NULL;
    assert_int_equal(sqlite3_prepare_v2(co->db,
                                        "SELECT count(*), group_concat(to_state, ' > ') FROM"
                                        " (SELECT to_state FROM transitions WHERE what = 'task' ORDER BY rowid)",
                                        -1, &s, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(s, 0), 4);
    assert_string_equal((const char *)sqlite3_column_text(s, 1), "reading state > describing > stopping > ended");
    sqlite3_finalize(s);
    put_away(co);
}

static void
the_first_failure_stands(void **state)
{
    (void)state;
    struct co *co = in_phase(P_LOAD);
    struct gw_err first = {0}, second = {0};
    gw_err_set(&first, GW_CONFIG, NULL, "first");
    gw_err_set(&second, GW_BUG, NULL, "second");
    co_fail(co, 2, &first);
    co_fail(co, 1, &second);
    assert_string_equal(co->failure.message, "first");
    assert_int_equal(co->exit_code, 2);
    co_tick(co); // nothing is under way
    assert_int_equal(co->phase, P_ENDED);
    put_away(co);
}

// Every end has its word, and nothing has one before its end.
static void
an_end_is_worded_as_dms_words_it(void **state)
{
    (void)state;
    static const struct {
        enum mode mode;
        enum phase phase;
        bool streams;
        enum until until;
        uint32_t exit_code;
        enum gw_class failure;
        enum table_state table;
        const char *reason;
    } cases[] = {
        {MODE_RUN, P_LOAD, false, UNTIL_STOPPED, 0, GW_OK, T_LOADING, ""},
        {MODE_RUN, P_STOPPING, true, UNTIL_STOPPED, 4, GW_OK, T_DONE, ""},
        {MODE_CHECK, P_ENDED, false, UNTIL_STOPPED, 0, GW_OK, T_UNPLANNED, ""},
        {MODE_RUN, P_ENDED, false, UNTIL_STOPPED, 0, GW_OK, T_DONE, "FULL_LOAD_ONLY_FINISHED"},
        {MODE_RUN, P_ENDED, false, UNTIL_STOPPED, 1, GW_OK, T_ERROR, "FULL_LOAD_ONLY_FINISHED"},
        {MODE_RUN, P_ENDED, false, UNTIL_STOPPED, 4, GW_OK, T_LOADING, "NORMAL"},
        {MODE_RUN, P_ENDED, true, UNTIL_STOPPED, 4, GW_OK, T_DONE, "NORMAL"},
        {MODE_RUN, P_ENDED, true, UNTIL_LOAD, 0, GW_OK, T_DONE, "STOPPED_AFTER_FULL_LOAD"},
        {MODE_RUN, P_ENDED, true, UNTIL_CAUGHT_UP, 0, GW_OK, T_DONE, "STOPPED_AFTER_CACHED_EVENTS"},
        {MODE_RUN, P_ENDED, true, UNTIL_CAUGHT_UP, 1, GW_OK, T_ERROR, "FATAL_ERROR"},
        {MODE_RUN, P_ENDED, true, UNTIL_STOPPED, 3, GW_RETRY, T_DONE, "RECOVERABLE_ERROR"},
        {MODE_RUN, P_ENDED, true, UNTIL_STOPPED, 2, GW_CONFIG, T_DONE, "FATAL_ERROR"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct co *co = in_phase(cases[i].phase);
        co->mode = cases[i].mode;
        co->streams = cases[i].streams;
        co->until = cases[i].until;
        co->exit_code = cases[i].exit_code;
        co->failure.cls = cases[i].failure;
        one_table(co, cases[i].table);
        assert_string_equal(co_status(co, &co->arena)->stop_reason, cases[i].reason);
        put_away(co);
    }
}

static Gw__StreamCounts *
counts_of(struct co *co, uint64_t captured, uint64_t applied, uint64_t errors)
{
    Gw__StreamCounts *all = gw_pb_new(&co->arena, Gw__StreamCounts, gw__stream_counts__init);
    Gw__Counts *c = gw_pb_new(&co->arena, Gw__Counts, gw__counts__init);
    c->table = 1;
    c->inserts = captured;
    c->applied_inserts = applied;
    c->errors = errors;
    gw_pb_add(&co->arena, all, tables, c);
    return all;
}

// What is told of a stream may lag behind; it never claims more than is so.
static void
a_stream_is_told_of(void **state)
{
    (void)state;
    struct co *co = in_phase(P_STREAM);
    one_table(co, T_DONE);
    assert_null(co_stream_status(co, &co->arena)); // a load alone
    co->streams = true;
    assert_null(co_stream_status(co, &co->arena)); // not opened yet
    co->progress = gw_pb_new(&co->arena, Gw__Progress, gw__progress__init);
    co->progress->position = gw_arena_strdup(&co->arena, "0/1");
    co->progress->counts = counts_of(co, 5, 7, 1); // the tally comes later than the changes
    Gw__StreamStatus *st = co_stream_status(co, &co->arena);
    assert_int_equal(st->captured, 8);
    assert_int_equal(st->applied, 7);
    assert_int_equal(st->latency_source_us, -1); // nothing has been captured since this process began
    assert_int_equal(st->latency_target_us, 0);
    assert_false(st->caught_up);

    co->stream.captured_before = 8;
    co->stream.captured = 3;
    co->stream.captured_us = gw_wall_us() - 5 * GW_S;
    co->stream.oldest_us = gw_wall_us() - 9 * GW_S;
    st = co_stream_status(co, &co->arena);
    assert_int_equal(st->captured, 11);
    assert_in_range(st->latency_source_us, 5 * GW_S, 6 * GW_S);
    assert_in_range(st->latency_target_us, 9 * GW_S, 10 * GW_S);

    co->stream.caught_up = true; // the last change is old because there is none that is newer
    assert_int_equal(co_stream_status(co, &co->arena)->latency_source_us, 0);
    co->stream.failed = true; // interrupted: from now on nobody knows
    co->stream.err.cls = GW_AGAIN;
    co->stream.id = 7;
    settle(co);
    st = co_stream_status(co, &co->arena);
    assert_false(st->caught_up);
    assert_true(st->latency_source_us > 0);
    assert_true(st->latency_target_us > 0);
    put_away(co);
}

// A slot that nobody removes keeps the source's log until its disk is full.
static void
what_a_stream_has_on_the_source_is_not_forgotten(void **state)
{
    (void)state;
    for (int streams = 0; streams < 2; streams++) {
        struct co *co = in_phase(P_STATE);
        co->fresh = true;
        co->streams = streams;
        Gw__Progress progress = GW__PROGRESS__INIT;
        Gw__TargetState known = GW__TARGET_STATE__INIT;
        known.exists = true;
        known.progress = &progress;
        Gw__Reply reply = GW__REPLY__INIT;
        reply.body_case = GW__REPLY__BODY_STATE;
        reply.state = &known;
        struct gw_err none = {0};
        state_loaded(co, NULL, NULL, &reply, &none);
        assert_int_equal(co->phase, streams ? P_CLEAR : P_STOPPING);
        assert_int_equal(co->exit_code, streams ? 0 : 2);
        put_away(co);
    }
}

static int
setup(void **state)
{
    (void)state;
    gw_log_stderr_level((enum gw_log_level)(GW_LOG_ERROR + 1));
    return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    static const char *const files[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/coordinator.sqlite%s", dir, files[i]);
        unlink(path);
    }
    return rmdir(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_phase_is_reached_and_ends),
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(every_phase_with_a_job_has_one),
        cmocka_unit_test(every_event_in_every_phase),
        cmocka_unit_test(transitions_are_kept),
        cmocka_unit_test(the_first_failure_stands),
        cmocka_unit_test(an_end_is_worded_as_dms_words_it),
        cmocka_unit_test(a_stream_is_told_of),
        cmocka_unit_test(what_a_stream_has_on_the_source_is_not_forgotten),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
