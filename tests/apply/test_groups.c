// Proves which changes are committed together and when; that what was sent is what came; that positions never run ahead.
#include "tests/apply/changes.h"

static struct fixture f;

static int
setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof f);
    fixture_init(&f);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    fixture_fini(&f);
    return 0;
}

static void
tick(int64_t us)
{
    f.now_us += us;
    assert_int_equal(gw_applier_tick(&f.applier, f.now_us, &f.err), GW_OK);
}

static void
transactions(int from, int n)
{
    for (int i = from; i < from + n; i++) {
        char script[128];
        snprintf(script, sizeof script, "begin\ninsert pair %d 1 x\ncommit %d", i, i);
        feed(&f, script);
    }
}

static void
quiet_stream(void **state)
{
    (void)state;
    transactions(1, 3);
    assert_int_equal(f.applier.commits, 0);
    assert_int_equal(gw_applier_due(&f.applier), f.now_us + GW_QUIET_US);
    assert_true(f.applier.oldest_us > 0);
    tick(GW_QUIET_US - 1);
    assert_int_equal(f.applier.commits, 0);
    tick(1);
    assert_int_equal(f.applier.commits, 1);
    assert_string_equal(f.applier.durable.data, "3");
    assert_int_equal(f.applier.oldest_us, 0);
    assert_int_equal(f.applier.durable_counts.transactions, 3);
    assert_int_equal(f.applier.durable_counts.commit_us, 1700000000000000);
    assert_int_equal(counts_of(&f, PAIR)->last_us, 1700000000000000);
    assert_int_equal(gw_applier_due(&f.applier), INT64_MAX);
}

// No pause, few changes: by age.
static void
steady_stream(void **state)
{
    (void)state;
    int64_t begun = f.now_us;
    for (int i = 1; f.applier.commits == 0; i++) {
        assert_true(i < 1000);
        f.now_us += GW_QUIET_US / 2;
        transactions(i, 1);
    }
    assert_in_range(f.now_us - begun, GW_GATHER_US, GW_GATHER_US + GW_QUIET_US);
}

static void
bound_by_transactions(void **state)
{
    (void)state;
    transactions(1, GW_GROUP_TRANSACTIONS - 1);
    assert_int_equal(f.applier.commits, 0);
    transactions(GW_GROUP_TRANSACTIONS, 1);
    assert_int_equal(f.applier.commits, 1);
    assert_string_equal(f.applier.durable.data, "1000");
}

static void
bound_by_bytes(void **state)
{
    (void)state;
    f.applier.group_bytes_max = 100;
    transactions(1, 10);
    assert_in_range(f.applier.commits, 1, 9);
}

static void
nothing_in_the_middle_of_a_transaction(void **state)
{
    (void)state;
    f.applier.group_bytes_max = 10;
    f.applier.memory_max = 1;
    trace_reset(&f);
    feed(&f, "begin\ninsert pair 1 1 x\ncommit 1\nbegin\ninsert pair 2 1 x");
    assert_int_equal(f.applier.commits, 1);
    assert_int_equal(gw_applier_due(&f.applier), INT64_MAX);
    tick(10 * GW_GATHER_US);
    assert_int_equal(f.applier.commits, 1);
    assert_string_equal(f.applier.durable.data, "1");
    // Larger than a piece: all of it in one transaction of the target, in many sets.
    for (int i = 0; i < 50; i++) {
        char script[64];
        snprintf(script, sizeof script, "insert pair 3 %d x", i);
        feed(&f, script);
    }
    assert_int_equal(trace_count(&f, "commit"), 1);
    assert_int_equal(trace_count(&f, "begin"), 2);
    assert_true(trace_count(&f, "insert pair") > 50);
    assert_int_equal(gw_applier_end(&f.applier, f.now_us, &f.err), GW_BUG);
    fixture_stop(&f); // the process dies here
    fixture_start(&f);
    assert_string_equal(f.progress.position, "1");
    table_is(&f, PAIR, "1 1 x");
}

static void
keepalives_move_the_position(void **state)
{
    (void)state;
    feed(&f, "keepalive 5");
    assert_int_equal(f.applier.commits, 0);
    tick(GW_POSITION_US - 1);
    assert_int_equal(f.applier.commits, 0);
    feed(&f, "keepalive 6");
    tick(1);
    assert_int_equal(f.applier.commits, 1);
    assert_string_equal(f.applier.durable.data, "6");
    // With changes before it: no further than they are.
    trace_reset(&f);
    feed(&f, "begin\ninsert pair 1 1 x\ncommit 7\nkeepalive 8");
    tick(GW_QUIET_US);
    assert_string_equal(f.applier.durable.data, "8");
    assert_int_equal(trace_count(&f, "commit"), 1);
    // A transaction of which nothing is left moves the position, too, and is in no hurry.
    feed(&f, "begin\ncommit 9");
    tick(GW_QUIET_US);
    assert_string_equal(f.applier.durable.data, "8");
    settle_all(&f);
    assert_string_equal(f.applier.durable.data, "9");
}

static void
batches_are_waited_for(void **state)
{
    (void)state;
    Gw__StreamSettings *s = f.task->stream = gw_pb_new(&f.arena, Gw__StreamSettings, gw__stream_settings__init);
    s->batch = true;
    s->batch_min_us = 2000000;
    s->batch_max_us = 5000000;
    fixture_stop(&f);
    fixture_start(&f);
    transactions(1, GW_GROUP_TRANSACTIONS + 1);
    tick(1999999);
    assert_int_equal(f.applier.commits, 0);
    tick(1);
    assert_int_equal(f.applier.commits, 1);
}

static void
counts_go_on(void **state)
{
    (void)state;
    transactions(1, 3);
    settle_all(&f);
    fixture_stop(&f);
    fixture_start(&f);
    transactions(4, 2);
    settle_all(&f);
    assert_int_equal(counts_of(&f, PAIR)->inserts, 5);
    assert_int_equal(counts_of(&f, PAIR)->applied_inserts, 5);
    assert_int_equal(f.applier.durable_counts.transactions, 5);
}

static void
tally(void **state)
{
    (void)state;
    feed(&f,
         "begin\ninsert pair 1 1 x\nupdate pair 1 1 y\ndelete pair 1 1 ~\ntruncate pair\ncommit 1\ntally pair 1 1 1 1\n"
         "begin\ninsert pair 1 1 x\ncommit 2\ntally pair 1 0 0 0");
    static const struct {
        const char *script, *says;
    } wrong[] = {
        {"begin\ninsert pair 2 2 x\ncommit 3\ntally pair 2 0 0 0", "\"pair\": 2 inserts were sent, but 1 came"},
        {"tally pair 0 1 0 0", "\"pair\": 1 updates were sent, but 0 came"},
        {"begin\ndelete pair 2 2 x\ncommit 3\ntally pair 0 0 0 0", "\"pair\": 0 deletes were sent, but 1 came"},
        {"begin\ntruncate pair\ncommit 3\ntally pair 0 0 0 2", "\"pair\": 2 truncates were sent, but 1 came"},
        {"begin\ninsert parent 1 a x\ncommit 3\ntally pair 0 0 0 0", "\"parent\": 0 inserts were sent, but 1 came"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        fixture_stop(&f);
        fixture_start(&f);
        assert_int_equal(feed_only(&f, wrong[i].script), GW_BUG);
        if (!strstr(f.err.message, wrong[i].says)) {
            fail_msg("%s", f.err.message);
        }
    }
}

static void
what_is_out_of_place(void **state)
{
    (void)state;
    static const char *const scripts[] = {
        "insert pair 1 1 x",         "commit 1",       "begin\nbegin", "begin\nkeepalive 1",
        "begin\ntally pair 0 0 0 0", "begin\ncommit ",
    };
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        fixture_stop(&f);
        fixture_start(&f);
        assert_int_equal(feed_only(&f, scripts[i]), GW_BUG);
        assert_int_equal(f.applier.commits, 0);
    }
}

// Two jobs at once: the one that was presumed dead changes nothing any more.
static void
fenced(void **state)
{
    (void)state;
    transactions(1, 1);
    settle_all(&f);
    transactions(2, 1);
    struct fixture late = f;
    memset(&f.target, 0, sizeof f.target);
    f.open = false;
    fixture_start(&f);
    assert_string_equal(f.progress.position, "1");
    late.applier.self = &late.target;
    assert_int_equal(gw_applier_end(&late.applier, late.now_us, &late.err), GW_FENCED);
    transactions(2, 1);
    settle_all(&f);
    table_is(&f, PAIR, "1 1 x | 2 1 x");
    gw_applier_fini(&late.applier);
    fixture_close(&late);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(quiet_stream),
        TEST(steady_stream),
        TEST(bound_by_transactions),
        TEST(bound_by_bytes),
        TEST(nothing_in_the_middle_of_a_transaction),
        TEST(keepalives_move_the_position),
        TEST(batches_are_waited_for),
        TEST(counts_go_on),
        TEST(tally),
        TEST(what_is_out_of_place),
        TEST(fenced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
