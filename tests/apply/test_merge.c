// Proves what changes to one key come to, in which sets they reach the target, and what keeps them apart.
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

// Applies what was there before, and then `changes` as one transaction in one piece; the trace holds only the latter.
static void
net(const char *before, const char *changes)
{
    char script[4096];
    if (before[0]) {
        snprintf(script, sizeof script, "begin\n%s\ncommit 1", before);
        feed(&f, script);
        settle_all(&f);
    }
    trace_reset(&f);
    snprintf(script, sizeof script, "begin x\n%s\ncommit 2", changes);
    feed(&f, script);
    settle_all(&f);
    assert_string_equal(f.applier.durable.data, "2");
    assert_int_equal(counts_of(&f, PARENT)->errors, 0);
}

static void
insert_then_update(void **state)
{
    (void)state;
    net("", "insert parent 1 a x\nupdate parent 1 ~ y\nupdate parent 1 b ~");
    table_is(&f, PARENT, "1 b y");
    assert_int_equal(trace_count(&f, "insert parent n=1 columns=3"), 1);
    assert_int_equal(trace_count(&f, "update"), 0);
    assert_int_equal(counts_of(&f, PARENT)->applied_inserts, 1);
    assert_int_equal(counts_of(&f, PARENT)->applied_updates, 2);
}

static void
insert_then_delete(void **state)
{
    (void)state;
    net("", "insert parent 1 a x\ndelete parent 1 ~ ~");
    table_is(&f, PARENT, "");
    assert_int_equal(trace_count(&f, "insert") + trace_count(&f, "delete"), 0);
    assert_int_equal(counts_of(&f, PARENT)->applied_deletes, 1);
    // … and once more: it never was there.
    net("", "insert parent 1 a x\ndelete parent 1 ~ ~\ninsert parent 1 b y");
    table_is(&f, PARENT, "1 b y");
    assert_int_equal(trace_count(&f, "insert parent n=1"), 1);
}

static void
delete_then_insert(void **state)
{
    (void)state;
    net("insert parent 1 a x", "delete parent 1 ~ ~\ninsert parent 1 b -");
    table_is(&f, PARENT, "1 b \\N");
    assert_int_equal(trace_count(&f, "update parent n=1 columns=2"), 1);
    assert_int_equal(trace_count(&f, "delete") + trace_count(&f, "insert"), 0);
    // What the insert leaves to the target's defaults must not be kept from the old row.
    net("", "delete parent 1 ~ ~\ninsert parent 1 c ~");
    table_is(&f, PARENT, "1 c \\N");
    assert_int_equal(trace_count(&f, "delete parent n=1"), 1);
    assert_int_equal(trace_count(&f, "insert parent n=1 columns=2"), 1);
    net("", "delete parent 1 ~ ~\ninsert parent 1 d ~\nupdate parent 1 ~ z\ndelete parent 1 ~ ~");
    table_is(&f, PARENT, "");
    assert_int_equal(trace_count(&f, "delete parent n=1"), 1);
    assert_int_equal(trace_count(&f, "insert"), 0);
}

static void
updates_merge(void **state)
{
    (void)state;
    net("insert parent 1 a x\ninsert parent 2 b y\ninsert parent 3 c z",
        "update parent 1 A ~\nupdate parent 1 ~ X\nupdate parent 2 B ~\nupdate parent 2 C ~\nupdate parent 3 ~ Z\n"
        "update parent 3 ~ -\ndelete parent 3 ~ ~");
    table_is(&f, PARENT, "1 A X | 2 C y");
    // One statement for each set of columns; the key is not written.
    assert_int_equal(trace_count(&f, "update parent n=1 columns=2"), 1);
    assert_int_equal(trace_count(&f, "update parent n=1 columns=1"), 1);
    assert_int_equal(trace_count(&f, "delete parent n=1"), 1);
    assert_int_equal(trace_count(&f, "update"), 2);
}

static void
unchanged_is_never_written(void **state)
{
    (void)state;
    net("insert parent 1 a x\ninsert parent 2 b y", "update parent 1 ~ -\nupdate parent 2 ~ q");
    table_is(&f, PARENT, "1 a \\N | 2 b q");
    assert_int_equal(trace_count(&f, "update parent n=2 columns=1"), 1);
    // Nothing but the key: still tells whether the row is there.
    net("", "update parent 1 ~ ~");
    assert_int_equal(trace_count(&f, "update parent n=1 columns=1"), 1);
    table_is(&f, PARENT, "1 a \\N | 2 b q");
}

static void
key_change(void **state)
{
    (void)state;
    net("insert pair 1 1 x", "update pair (1 1 ~) 1 2 y");
    table_is(&f, PAIR, "1 2 y");
    assert_int_equal(trace_count(&f, "delete pair n=1"), 1);
    assert_int_equal(trace_count(&f, "insert pair n=1 columns=3"), 1);
    // A part of the key that stays may be in one image alone.
    net("", "update pair (~ 2 ~) 1 3 z");
    table_is(&f, PAIR, "1 3 z");
    // Out and back, and on.
    net("", "update pair (1 3 ~) 5 5 z\nupdate pair (5 5 ~) 1 3 w\nupdate pair 1 3 v\nupdate pair (1 3 ~) 6 6 v");
    table_is(&f, PAIR, "6 6 v");
    assert_int_equal(trace_count(&f, "back"), 0);
    // A key that another row has just left.
    net("insert pair 7 7 a", "update pair (7 7 ~) 8 8 a\nupdate pair (6 6 ~) 7 7 v");
    table_is(&f, PAIR, "7 7 v | 8 8 a");
}

static void
key_change_of_an_unchanged_value(void **state)
{
    (void)state;
    // The value is only on the target: in place, between two flushes.
    net("insert pair 1 1 big\ninsert pair 9 9 n", "update pair 9 9 m\nupdate pair (1 1 ~) 2 2 ~\nupdate pair 2 2 ~");
    table_is(&f, PAIR, "2 2 big | 9 9 m");
    assert_int_equal(trace_count(&f, "update pair n=1 columns=2"), 2); // the move, and the empty one
    assert_int_equal(trace_count(&f, "insert"), 0);
    // The old image has it.
    net("", "update pair (2 2 big) 3 3 ~");
    table_is(&f, PAIR, "3 3 big | 9 9 m");
    assert_int_equal(trace_count(&f, "insert pair n=1 columns=3"), 1);
    // The piece has it.
    net("", "insert pair 4 4 new\nupdate pair (4 4 ~) 5 5 ~");
    table_is(&f, PAIR, "3 3 big | 5 5 new | 9 9 m");
    assert_int_equal(trace_count(&f, "insert pair n=1 columns=3"), 1);
    assert_int_equal(trace_count(&f, "delete"), 0);
}

static void
key_change_of_a_parent(void **state)
{
    (void)state;
    // A delete could take children with it: in place.
    net("insert parent 1 a x", "update parent (1 ~ ~) 2 a x");
    table_is(&f, PARENT, "2 a x");
    assert_int_equal(trace_count(&f, "update parent n=1 columns=3"), 1);
    assert_int_equal(trace_count(&f, "delete"), 0);
}

static void
keyless_rows(void **state)
{
    (void)state;
    net("insert keyless 1 x\ninsert keyless 1 x\ninsert keyless 1 x\ninsert keyless - y",
        "insert parent 1 a x\ninsert keyless 2 z\ninsert keyless 2 z");
    assert_int_equal(trace_count(&f, "insert keyless n=2 columns=2"), 1);
    assert_int_equal(trace_count(&f, "mark"), 1); // inserts keep nothing apart
    table_is(&f, KEYLESS, "1 x | 1 x | 1 x | 2 z | 2 z | \\N y");
    // One event is one of the rows that are alike.
    net("", "delete keyless 1 x\nupdate keyless (1 x) 1 w\ndelete keyless - y\ninsert keyless 3 3\nupdate keyless (3 "
            "3) 4 ~");
    table_is(&f, KEYLESS, "1 w | 1 x | 2 z | 2 z | 4 3");
    assert_int_equal(trace_count(&f, "keyless delete keyless n=1"), 2);
    assert_int_equal(counts_of(&f, KEYLESS)->errors, 0);
}

static void
truncate_keeps_order(void **state)
{
    (void)state;
    net("insert pair 1 1 x", "insert pair 2 2 y\ntruncate pair\ninsert pair 3 3 z\ntruncate parent");
    table_is(&f, PAIR, "3 3 z");
    assert_int_equal(counts_of(&f, PAIR)->applied_truncates, 1);
}

static void
unsure_changes(void **state)
{
    (void)state;
    net("insert pair 1 1 x\ninsert pair 2 2 y",
        "?insert pair 1 1 X\n?insert pair 3 3 z\n?delete pair 2 2 ~\n?delete pair 9 9 ~\nupdate pair 1 1 w");
    table_is(&f, PAIR, "1 1 w | 3 3 z");
    assert_int_equal(trace_count(&f, "unsure insert pair n=2"), 1);
    assert_int_equal(trace_count(&f, "unsure delete pair n=2"), 1);
    assert_int_equal(counts_of(&f, PAIR)->errors, 0);
}

static void
order_of_tables(void **state)
{
    (void)state;
    fixture_fini(&f);
    memset(&f, 0, sizeof f);
    f.foreign_keys = true;
    fixture_init(&f);
    net("", "insert parent 1 a x\ninsert child 1 1 w\ninsert parent 2 b x\ninsert child 2 2 w");
    assert_int_equal(trace_count(&f, "back"), 0);
    assert_true(strstr(f.trace.data, "insert parent n=2") < strstr(f.trace.data, "insert child n=2"));
    net("", "delete child 1 ~ ~\ndelete parent 1 ~ ~\ndelete child 2 ~ ~\ndelete parent 2 ~ ~");
    assert_int_equal(trace_count(&f, "back"), 0);
    assert_true(strstr(f.trace.data, "delete child n=2") < strstr(f.trace.data, "delete parent n=2"));
}

// Net changes meet unique values in an order that the source never had; the source's own order works.
static void
unique_hand_over(void **state)
{
    (void)state;
    net("insert parent 1 a x\ninsert parent 2 b y", "update parent 1 t ~\nupdate parent 2 a ~\nupdate parent 1 b ~");
    table_is(&f, PARENT, "1 b x | 2 a y");
    assert_int_equal(trace_count(&f, "back") > 0, 1);
    // Deletes go first: no replay for a value that a deleted row leaves.
    net("insert parent 3 c z", "delete parent 3 ~ ~\ninsert parent 4 c z");
    assert_int_equal(trace_count(&f, "back"), 0);
    table_is(&f, PARENT, "1 b x | 2 a y | 4 c z");
}

static void
in_order(void **state)
{
    (void)state;
    fixture_stop(&f);
    f.in_order = true;
    fixture_start(&f);
    net("", "insert parent 1 a x\ninsert parent 2 b x\nupdate parent 1 ~ y\nupdate parent 1 ~ z\nupdate parent 2 ~ z\n"
            "delete parent 1 ~ ~\ninsert parent 1 a q");
    table_is(&f, PARENT, "1 a q | 2 b z");
    assert_int_equal(trace_count(&f, "insert parent n=2 columns=3"), 1);
    assert_int_equal(trace_count(&f, "update parent n=1 columns=1"), 1); // the same key twice: two statements
    assert_int_equal(trace_count(&f, "update parent n=2 columns=1"), 1);
    assert_int_equal(trace_count(&f, "delete parent n=1"), 1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(insert_then_update),
        TEST(insert_then_delete),
        TEST(delete_then_insert),
        TEST(updates_merge),
        TEST(unchanged_is_never_written),
        TEST(key_change),
        TEST(key_change_of_an_unchanged_value),
        TEST(key_change_of_a_parent),
        TEST(keyless_rows),
        TEST(truncate_keeps_order),
        TEST(unsure_changes),
        TEST(order_of_tables),
        TEST(unique_hand_over),
        TEST(in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
