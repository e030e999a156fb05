// Proves who is let to work: that a worker which others could not reach, or of another kind, is refused; that places are used
// again, so that workers may come and go for years; and that links in doubt are remembered for as long as they should be.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/co.h"

static struct co co;
static struct gw_keys keys = {.is_coordinator = true, .public = "k"};

static int
set_up(void **state)
{
    (void)state;
    memset(&co, 0, sizeof co);
    gw_arena_init(&co.arena);
    co.task = gw_pb_new(&co.arena, Gw__Task, gw__task__init);
    gw_identity_set(NULL, false);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    gw_identity_set(NULL, false);
    gw_arena_fini(&co.arena);
    return 0;
}

// Says hello; whether the coordinator counts on that process from then on. Nothing is sent: there is no socket.
static bool
hello(Gw__Stage stage, const char *name, const char *endpoint, const char *key, uint32_t protocol)
{
    static unsigned count;
    char uuid[37], text[64], where[256], who[64];
    struct gw_peer peer = {.id = "p", .len = 1};
    snprintf(text, sizeof text, "%s", name);
    snprintf(uuid, sizeof uuid, "uuid-%u", ++count);
    snprintf(where, sizeof where, "%s", endpoint);
    snprintf(who, sizeof who, "%s", key);
    Gw__Hello h = GW__HELLO__INIT;
    h.stage = stage;
    h.name = text;
    h.uuid = uuid;
    h.data_endpoint = where;
    h.protocol = protocol;
    h.key = who;
    co_take_hello(&co, &peer, "10.0.0.9", &h);
    for (size_t i = 0; i < co.workers_n; i++) {
        if (co.workers[i].alive && strcmp(co.workers[i].uuid, uuid) == 0) {
            return true;
        }
    }
    return false;
}

static void
a_worker_that_others_cannot_reach(void **state)
{
    (void)state;
    enum { V = GW_BUS_VERSION };
    Gw__Stage apply = GW__STAGE__STAGE_APPLY, capture = GW__STAGE__STAGE_CAPTURE;
    // On one host, everything goes.
    assert_true(hello(apply, "a", "ipc:///run/x", "", V));
    assert_true(hello(apply, "b", "tcp://127.0.0.1:5", "", V));
    co.remote = true;
    assert_false(hello(apply, "c", "ipc:///run/x", "", V));
    assert_false(hello(apply, "c", "tcp://127.0.0.1:5", "", V));
    assert_false(hello(apply, "c", "", "", V));
    assert_true(hello(apply, "c", "tcp://10.0.0.9:5", "", V));
    assert_true(hello(capture, "d", "", "", V)); // nobody connects to it
    // Keys: all or none.
    assert_false(hello(capture, "e", "", "key", V));
    gw_identity_set(&keys, false);
    assert_false(hello(capture, "e", "", "", V));
    assert_true(hello(capture, "e", "", "key", V));
    // Of another version, of no stage, without a name.
    assert_false(hello(capture, "f", "", "key", V + 1));
    assert_false(hello(GW__STAGE__STAGE_CLI, "f", "", "key", V));
    assert_false(hello(capture, "", "", "key", V));
    // A refused one takes nobody's place.
    assert_false(hello(apply, "c", "tcp://127.0.0.1:5", "key", V));
    assert_int_equal(co_alive(&co, apply), 3);
}

static void
places_are_used_again(void **state)
{
    (void)state;
    char name[32];
    assert_true(hello(GW__STAGE__STAGE_CAPTURE, "stays", "", "", GW_BUS_VERSION));
    struct worker *stays = &co.workers[0];
    for (unsigned i = 0; i < 3 * WORKERS_MAX; i++) {
        snprintf(name, sizeof name, "w%u", i);
        assert_true(hello(GW__STAGE__STAGE_CAPTURE, name, "", "", GW_BUS_VERSION));
        for (size_t k = 1; k < co.workers_n; k++) {
            co_worker_lost(&co, &co.workers[k], "a test");
        }
    }
    assert_true(stays->alive);
    assert_string_equal(stays->name, "stays");
    assert_true(co.workers_n <= WORKERS_MAX);
    // Not as long as the status still shows them, while there is room.
    tear_down(NULL);
    set_up(NULL);
    assert_true(hello(GW__STAGE__STAGE_CAPTURE, "one", "", "", GW_BUS_VERSION));
    co_worker_lost(&co, &co.workers[0], "a test");
    assert_true(hello(GW__STAGE__STAGE_CAPTURE, "two", "", "", GW_BUS_VERSION));
    assert_int_equal(co.workers_n, 2);
    // After that, yes; and its successor starts with nothing of it.
    co.workers[0].lost_us -= 3600 * GW_S;
    co.workers[0].restarts = 5;
    assert_true(hello(GW__STAGE__STAGE_APPLY, "three", "ipc:///x", "", GW_BUS_VERSION));
    assert_int_equal(co.workers_n, 2);
    assert_string_equal(co.workers[0].name, "three");
    assert_int_equal(co.workers[0].restarts, 0);
    // Too many that live: no.
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        snprintf(name, sizeof name, "l%u", i);
        (void)hello(GW__STAGE__STAGE_CAPTURE, name, "", "", GW_BUS_VERSION);
    }
    assert_int_equal(co.workers_n, WORKERS_MAX);
    assert_false(hello(GW__STAGE__STAGE_CAPTURE, "last", "", "", GW_BUS_VERSION));
}

static void
doubts(void **state)
{
    (void)state;
    struct worker a = {.uuid = "a"}, b = {.uuid = "b"}, c = {.uuid = "c"};
    assert_false(co_route_doubtful(&co, &a, &b));
    co_route_failed(&co, &a, &b);
    assert_true(co_route_doubtful(&co, &a, &b));
    assert_false(co_route_doubtful(&co, &b, &a)); // the other way is another link
    assert_false(co_route_doubtful(&co, &a, &c));
    // Failing again is not another doubt.
    for (int i = 0; i < 2 * BROKEN_MAX; i++) {
        co_route_failed(&co, &a, &b);
    }
    co_route_failed(&co, &a, &c);
    assert_true(co_route_doubtful(&co, &a, &b));
    co.broken[0].until_us = gw_now_us() - 1;
    assert_false(co_route_doubtful(&co, &a, &b));
    // The oldest is forgotten, not the newest refused.
    for (int i = 0; i < BROKEN_MAX; i++) {
        struct worker x = {0};
        snprintf(x.uuid, sizeof x.uuid, "x%d", i);
        co_route_failed(&co, &x, &b);
        assert_true(co_route_doubtful(&co, &x, &b));
    }
    assert_false(co_route_doubtful(&co, &a, &c));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_worker_that_others_cannot_reach, set_up, tear_down),
        cmocka_unit_test_setup_teardown(places_are_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(doubts, set_up, tear_down),
    };
    gw_log_stderr_level(GW_LOG_ERROR); // there are thousands of joins and losses
    return cmocka_run_group_tests_name("hello", tests, NULL, NULL);
}
