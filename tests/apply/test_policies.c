// Proves what becomes of a change that cannot be applied: it is found to be the one to blame, and the policy decides.
#include "common/policy.h"
#include "tests/apply/changes.h"

static struct fixture f;

static int
setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof f);
    snprintf(f.url_refuse, sizeof f.url_refuse, "poison");
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

#define ROWS "insert parent 1 a x\ninsert parent 2 b y\ninsert parent 3 c z\n"

// One transaction to its end.
static int
try(const char *changes, const char *position)
{
    char script[4096];
    snprintf(script, sizeof script, "begin tx-%s\n%s\ncommit %s", position, changes, position);
    int r = feed_only(&f, script);
    return r == GW_OK ? gw_applier_end(&f.applier, f.now_us, &f.err) : r;
}

static void
run(const char *changes, const char *position)
{
    assert_int_equal(try(changes, position), GW_OK);
    assert_string_equal(f.applier.durable.data, position);
}

static size_t
exception_has(const char *text)
{
    struct gw_buf b;
    gw_buf_init(&b, 1 << 20);
    size_t n = exceptions(&f, &b);
    if (n && !strstr(b.data, text)) {
        fail_msg("\"%s\" is not in %s", text, b.data);
    }
    gw_buf_fini(&b);
    return n;
}

static void
one_bad_row_among_many(void **state)
{
    (void)state;
    run(ROWS "insert parent 4 poison x\ninsert parent 5 e x\nupdate parent 1 ~ poison\nupdate parent 2 ~ Y", "1");
    table_is(&f, PARENT, "1 a x | 2 b Y | 3 c z | 5 e x");
    assert_int_equal(counts_of(&f, PARENT)->errors, 2);
    assert_int_equal(counts_of(&f, PARENT)->applied_inserts, 4);
    assert_int_equal(counts_of(&f, PARENT)->applied_updates, 1);
    assert_int_equal(counts_of(&f, PARENT)->inserts, 5);
    assert_int_equal(exception_has("1\tREFUSED"), 2); // … and where it was
}

static void
duplicate_is_logged(void **state)
{
    (void)state;
    run(ROWS, "1");
    run("insert parent 1 q q\ninsert parent 4 a q\ninsert parent 5 e e", "2");
    table_is(&f, PARENT, "1 a x | 2 b y | 3 c z | 5 e e");
    assert_int_equal(counts_of(&f, PARENT)->errors, 2);
    assert_int_equal(exception_has("23505"), 2);
    // Twice within one piece: the changes contradict each other, the first is right.
    run("insert parent 6 f f\ninsert parent 6 g g", "3");
    assert_int_equal(counts_of(&f, PARENT)->errors, 3);
    table_is(&f, PARENT, "1 a x | 2 b y | 3 c z | 5 e e | 6 f f");
}

static void
insert_record(void **state)
{
    (void)state;
    f.task->errors->apply_insert = GW__ERROR_POLICY__WRITE_RECORD;
    run(ROWS, "1");
    run("insert parent 1 q Q\ninsert parent 4 d d", "2");
    table_is(&f, PARENT, "1 q Q | 2 b y | 3 c z | 4 d d");
    assert_int_equal(counts_of(&f, PARENT)->errors, 0);
    assert_int_equal(counts_of(&f, PARENT)->applied_inserts, 5);
    // Another row has the unique value: that one is not overwritten.
    run("insert parent 9 b Q", "3");
    table_is(&f, PARENT, "1 q Q | 2 b y | 3 c z | 4 d d");
    assert_int_equal(counts_of(&f, PARENT)->errors, 1);
}

static void
missing_rows(void **state)
{
    (void)state;
    run(ROWS, "1");
    run("update parent 7 ~ x\ndelete parent 8 ~ ~\nupdate parent 1 ~ X\ndelete parent 2 ~ ~", "2");
    table_is(&f, PARENT, "1 a X | 3 c z");
    assert_int_equal(counts_of(&f, PARENT)->errors, 1); // what a delete wants is so
    assert_int_equal(counts_of(&f, PARENT)->applied_deletes, 2);
    assert_int_equal(exception_has(GW_CODE_NO_ROW), 1);
    f.task->errors->apply_delete = GW__ERROR_POLICY__LOG_ERROR;
    run("delete parent 8 ~ ~", "3");
    assert_int_equal(counts_of(&f, PARENT)->errors, 2);
    assert_int_equal(exception_has("id=8"), 2);
}

static void
missing_keyless_rows(void **state)
{
    (void)state;
    run("insert keyless 1 x\ninsert keyless 1 x", "1");
    run("delete keyless 1 x\ndelete keyless 1 x\ndelete keyless 1 x\nupdate keyless (2 y) 2 z", "2");
    table_is(&f, KEYLESS, "");
    assert_int_equal(counts_of(&f, KEYLESS)->errors, 1);
}

static void
update_record(void **state)
{
    (void)state;
    f.task->errors->apply_update = GW__ERROR_POLICY__WRITE_RECORD;
    run("update pair 1 1 x\nupdate pair (1 2 y) 1 2 ~\nupdate pair 1 3 ~", "1");
    table_is(&f, PAIR, "1 1 x | 1 2 y");
    assert_int_equal(counts_of(&f, PAIR)->errors, 1); // its value is nowhere
    assert_int_equal(exception_has("does not give all"), 1);
}

static void
ignore_record(void **state)
{
    (void)state;
    f.task->errors->data_error = GW__ERROR_POLICY__IGNORE_RECORD;
    run("insert parent 1 poison x\ninsert parent 2 b y", "1");
    table_is(&f, PARENT, "2 b y");
    assert_int_equal(counts_of(&f, PARENT)->errors, 1);
    assert_int_equal(exception_has(""), 0);
}

static void
suspend_table(void **state)
{
    (void)state;
    f.task->errors->data_error = GW__ERROR_POLICY__SUSPEND_TABLE;
    run(ROWS "insert parent 4 poison x\ninsert parent 5 e x\ninsert pair 1 1 x", "1");
    run("insert parent 6 f x\ninsert pair 1 2 x", "2");
    table_is(&f, PARENT, "1 a x | 2 b y | 3 c z"); // up to the one that could not be
    table_is(&f, PAIR, "1 1 x | 1 2 x");           // the others go on
    assert_int_equal(f.applier.suspended_durable, 1);
    assert_int_equal(f.applier.suspended[0]->table, PARENT);
    assert_int_equal(f.target.log.state->tables[0]->state, GW__TABLE_STATE__STATE_ERROR);
    assert_non_null(strstr(f.target.log.state->tables[0]->reason, "[REFUSED]"));
    assert_null(strstr(f.target.log.state->tables[0]->reason, "poison"));
    assert_int_equal(exception_has("poison"), 1);
    assert_int_equal(counts_of(&f, PARENT)->inserts, 6); // what came is counted all the same
    assert_int_equal(counts_of(&f, PARENT)->applied_inserts, 3);
}

static void
stop_task(void **state)
{
    (void)state;
    f.task->errors->data_error = GW__ERROR_POLICY__STOP_TASK;
    run(ROWS, "1");
    assert_int_equal(try("insert parent 4 d x\ninsert parent 5 poison x", "2"), GW_CONFIG);
    assert_non_null(strstr(f.err.message, "parent"));
    assert_non_null(strstr(f.err.hint, "policy"));
    assert_null(strstr(f.err.hint, "poison"));
    fixture_stop(&f);
    fixture_start(&f);
    table_is(&f, PARENT, "1 a x | 2 b y | 3 c z");
    assert_string_equal(f.progress.position, "1");
}

static void
escalation(void **state)
{
    (void)state;
    Gw__ErrorSettings *e = f.task->errors;
    e->apply_escalation_count = 2;
    e->apply_escalation = GW__ERROR_POLICY__SUSPEND_TABLE;
    e->data_escalation_count = 1;
    e->data_escalation = GW__ERROR_POLICY__STOP_TASK;
    // Missing deletes are ignored, and count.
    run("delete pair 1 1 ~\ndelete pair 1 2 ~\ninsert parent 1 poison x", "1");
    assert_int_equal(f.applier.suspended_n, 0);
    run("delete pair 1 3 ~", "2");
    assert_int_equal(f.applier.suspended_durable, 1);
    assert_int_equal(try("insert parent 2 poison x", "3"), GW_CONFIG);
}

static void
told_to_suspend(void **state)
{
    (void)state;
    feed(&f,
         "begin\ninsert pair 1 1 x\nsuspend pair its definition has changed\ninsert pair 1 2 x\ninsert parent 1 a x\n"
         "commit 1");
    settle_all(&f);
    table_is(&f, PAIR, "1 1 x");
    table_is(&f, PARENT, "1 a x");
    assert_int_equal(f.applier.suspended_durable, 1);
    assert_string_equal(f.target.log.state->tables[PAIR - 1]->reason, "its definition has changed");
    f.task->errors->table_error = GW__ERROR_POLICY__STOP_TASK;
    assert_int_equal(feed_only(&f, "begin\nsuspend child why not"), GW_CONFIG);
    assert_non_null(strstr(f.err.message, "why not"));
}

// The source has not said which row: nothing is guessed.
static void
row_without_a_name(void **state)
{
    (void)state;
    run("insert pair 1 1 x\ninsert keyless 1 1", "1");
    run("delete pair 1 ~ x\nupdate pair 1 ~ y\nupdate keyless 2 2\ninsert pair 2 ~ x\ninsert pair 2 2 x", "2");
    table_is(&f, PAIR, "1 1 x | 2 2 x");
    table_is(&f, KEYLESS, "1 1");
    assert_int_equal(counts_of(&f, PAIR)->errors, 3);
    assert_int_equal(counts_of(&f, KEYLESS)->errors, 1);
    assert_int_equal(exception_has(GW_CODE_NO_KEY), 4);
}

static void
truncate_may_be_refused(void **state)
{
    (void)state;
    f.task->errors->fail_on_truncate = true;
    assert_int_equal(try("truncate pair", "1"), GW_CONFIG);
}

static void
codes_of_duplicates(void **state)
{
    (void)state;
    assert_true(gw_is_duplicate("23505"));
    assert_true(gw_is_duplicate("1062"));
    assert_true(gw_is_duplicate("UNIQUE"));
    assert_false(gw_is_duplicate("23503"));
    assert_false(gw_is_duplicate("CONSTRAINT"));
    assert_false(gw_is_duplicate(""));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_bad_row_among_many),
        TEST(duplicate_is_logged),
        TEST(insert_record),
        TEST(missing_rows),
        TEST(missing_keyless_rows),
        TEST(update_record),
        TEST(ignore_record),
        TEST(suspend_table),
        TEST(stop_task),
        TEST(escalation),
        TEST(told_to_suspend),
        TEST(row_without_a_name),
        TEST(truncate_may_be_refused),
        TEST(codes_of_duplicates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
