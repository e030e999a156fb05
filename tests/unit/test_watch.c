// Proves who counts as hung: nobody that the coordinator vouches for, nobody because this process or the coordinator slept.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cli/watch.h"
#include "common/clock.h"

static struct gw_supervisor s;
static struct gw_watch w;
static int64_t now;
static Gw__WorkerStatus worker[2];
static Gw__WorkerStatus *workers[2] = {&worker[0], &worker[1]};
static Gw__Status status;
static const struct gw_child *const coordinator = &s.children[0];

static int
setup(void **state)
{
    (void)state;
    static char names[][16] = {"coordinator", "capture-1", "apply-1"};
    memset(&s, 0, sizeof s);
    memset(&w, 0, sizeof w);
    gw__status__init(&status);
    status.started_us = 1;
    status.workers = workers;
    status.n_workers = 2;
    now = 1000 * GW_S;
    for (int i = 0; i < 3; i++) {
        snprintf(s.children[s.n].name, sizeof s.children[0].name, "%s", names[i]);
        s.children[s.n++].pid = 100 + i;
        if (i) {
            gw__worker_status__init(&worker[i - 1]);
            worker[i - 1].name = names[i];
            worker[i - 1].pid = (uint32_t)(100 + i);
        }
    }
    return 0;
}

// Seconds pass, with a status each or without; the first child that hangs, or NULL.
static const struct gw_child *
pass(int seconds, bool with_status)
{
    for (int i = 0; i < seconds; i++) {
        now += GW_S;
        if (with_status) {
            gw_watch_status(&w, &s, coordinator, &status, now);
        }
        int64_t silent = 0;
        const struct gw_child *c = gw_watch_turn(&w, &s, coordinator, now, &silent);
        if (c) {
            assert_true(silent > 0);
            return c;
        }
    }
    return NULL;
}

static void
who_is_vouched_for_may_take_for_ever(void **state)
{
    (void)state;
    assert_null(pass(100000, true));
}

static void
a_worker_that_nobody_vouches_for_hangs(void **state)
{
    (void)state;
    assert_null(pass(10, true));
    worker[1].pid = 0; // silent for ten seconds, says the coordinator
    assert_null(pass(4, true));
    assert_ptr_equal(pass(1, true), &s.children[2]);
    assert_null(pass(1, true)); // once: it is being killed
    s.children[2].pid = 200;    // and started again
    assert_null(pass(15, true));
    worker[1].pid = 200;
    assert_null(pass(1000, true));
    // Another host's worker of the same name does not vouch for ours.
    worker[1].pid = 999;
    assert_ptr_equal(pass(10, true), &s.children[2]);
}

static void
a_worker_that_never_says_hello_hangs(void **state)
{
    (void)state;
    status.n_workers = 1;
    assert_null(pass(20, true));
    assert_ptr_equal(pass(1, true), &s.children[2]);
}

static void
a_silent_coordinator_hangs_and_nobody_else(void **state)
{
    (void)state;
    assert_null(pass(10, true));
    assert_null(pass(18, false));
    assert_ptr_equal(pass(1, false), &s.children[0]);
    s.children[0].pid = 300; // the next one knows nobody yet
    status.started_us = 2;
    status.n_workers = 0;
    assert_null(pass(19, true));
    status.n_workers = 2;
    assert_null(pass(1000, true));
    // One that answers now and then is slow, not hung; and nobody vouched meanwhile, but nobody could.
    for (int i = 0; i < 100; i++) {
        assert_null(pass(15, false));
        assert_null(pass(1, true));
    }
}

static void
a_process_that_is_not_there_does_not_hang(void **state)
{
    (void)state;
    assert_null(pass(10, true));
    s.children[0].pid = s.children[2].pid = 0;
    assert_null(pass(1000, false));
    worker[1].pid = 0;
    assert_null(pass(1000, true));
}

static void
nobody_hangs_because_we_slept(void **state)
{
    (void)state;
    assert_null(pass(10, true));
    worker[1].pid = 0;
    for (int i = 0; i < 100; i++) {
        now += 3600 * GW_S;
        assert_null(pass(1, false));
        now += 3600 * GW_S;
        assert_null(pass(1, i % 2 == 0));
        worker[1].pid = 102;
        assert_null(pass(1, true));
        worker[1].pid = 0;
    }
}

static void
who_hangs_too_often_is_not_started_again(void **state)
{
    (void)state;
    const struct gw_child *c = &s.children[2];
    for (int i = 0; i < 100; i++) { // once in a while, it may
        now += 125 * GW_S;
        assert_true(gw_watch_may_restart(&w, &s, c, now));
    }
    for (int i = 0; i < 100 && gw_watch_may_restart(&w, &s, c, now); i++) {
        assert_true(i < GW_HANGS_MAX);
        now += 20 * GW_S;
    }
    assert_false(gw_watch_may_restart(&w, &s, c, now));
    assert_true(gw_watch_may_restart(&w, &s, &s.children[1], now)); // each for itself
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(who_is_vouched_for_may_take_for_ever, setup),
        cmocka_unit_test_setup(a_worker_that_nobody_vouches_for_hangs, setup),
        cmocka_unit_test_setup(a_worker_that_never_says_hello_hangs, setup),
        cmocka_unit_test_setup(a_silent_coordinator_hangs_and_nobody_else, setup),
        cmocka_unit_test_setup(a_process_that_is_not_there_does_not_hang, setup),
        cmocka_unit_test_setup(nobody_hangs_because_we_slept, setup),
        cmocka_unit_test_setup(who_hangs_too_often_is_not_started_again, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
