// Proves what is said of ongoing replication: at the end of a run, by `godwit tables`, and as JSON for programs.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/report.h"
#include "statuses.h"

static struct gw_arena a;
static struct gw_buf b;

static Gw__Task *
task(const char *type, const char *engine)
{
    Gw__Task *t = gw_pb_new(&a, Gw__Task, gw__task__init);
    t->name = said("shop");
    t->migration_type = said(type);
    t->control_schema = said("ctl");
    t->source = gw_pb_new(&a, Gw__Endpoint, gw__endpoint__init);
    t->source->engine = said(engine);
    return t;
}

static struct gw_report
ended(Gw__Status *s, const char *reason, int exit_code)
{
    s->ended = true;
    s->phase = said("ended");
    s->stop_reason = said(reason);
    s->ended_us = s->now_us;
    return (struct gw_report){.status = s,
                              .task = task("full-load-and-cdc", "postgresql"),
                              .task_path = "shop.json",
                              .exit_code = exit_code,
                              .ended = true,
                              .elapsed_us = 723 * GW_S};
}

static Gw__Status *
without_errors(void)
{
    Gw__Status *s = status_streaming(&a);
    s->n_tables = 2;
    s->stream->caught_up = true;
    s->stream->latency_source_us = s->stream->latency_target_us = 0;
    s->stream->applied = 52710;
    return s;
}

static const char *
run_text(const struct gw_report *r)
{
    gw_buf_reset(&b);
    gw_report_run(&b, r);
    return b.data;
}

static void
caught_up(void **state)
{
    (void)state;
    struct gw_report r = ended(without_errors(), "STOPPED_AFTER_CACHED_EVENTS", GW_EXIT_DONE);
    assert_string_equal(
        run_text(&r),
        "table             state                 rows  inserts  updates  deletes  ddls  refused"
        "              last change\n"
        "public.orders     Table completed  1,000,000   40,000   10,000    2,000     0        0  2026-01-02 03:04:03 "
        "UTC\n"
        "public.customers  Table completed     20,000       10      700        0     0        0  2026-01-02 03:04:03 "
        "UTC\n"
        "shop: caught up; 2 of 2 tables replicated\n"
        "1,020,000 rows, 102 MB loaded\n"
        "stream: position 0/1A2B3C4; 1,234 transactions, 52,710 changes applied (40,010 inserts, 10,700 updates, 2,000"
        " deletes)\n"
        "latency at the end: source 0.0s, target 0.0s; caught up; the source keeps 1.20 GB of its log\n"
        "next: godwit run shop.json carries the changes since\n"
        "meanwhile: the task's replication slot makes the source keep its log, until the task goes on or is dropped:"
        " godwit drop shop.json\n");
}

static void
stopped(void **state)
{
    (void)state;
    struct gw_report r = ended(without_errors(), "NORMAL", GW_EXIT_STOPPED);
    const char *text = run_text(&r);
    assert_non_null(strstr(text, "shop: stopped; 2 of 2 tables replicated\n"));
    assert_non_null(strstr(text, "next: the same command goes on where this one stopped: godwit run shop.json\n"));
    // In the middle of the load it is another thing.
    Gw__Status *s = without_errors();
    s->tables[1]->state = said("Full load");
    s->snapshots = 3;
    r = ended(s, "NORMAL", GW_EXIT_STOPPED);
    text = run_text(&r);
    assert_non_null(strstr(text, "shop: stopped before its end; 1 of 2 tables completed\n"));
    assert_non_null(strstr(text, "snapshots: 3; the stream of changes will bring them to one point in time\n"));
    // Killed at once: there is no last word of the coordinator.
    r = ended(without_errors(), "", GW_EXIT_STOPPED);
    r.ended = false;
    text = run_text(&r);
    assert_non_null(strstr(text, "shop: stopped; "));
    assert_non_null(strstr(text, "\nlatency: source"));
}

static void
after_the_load(void **state)
{
    (void)state;
    Gw__Status *s = without_errors();
    s->stream->applied = s->stream->transactions = s->stream->log_kept_bytes = 0;
    s->stream->caught_up = false;
    s->stream->latency_source_us = -1;
    struct gw_report r = ended(s, "STOPPED_AFTER_FULL_LOAD", GW_EXIT_DONE);
    r.task = task("full-load-and-cdc", "mysql");
    const char *text = run_text(&r);
    assert_non_null(strstr(text, "shop: loaded; the stream of changes is still to come; 2 of 2 tables"));
    assert_non_null(strstr(text, "stream: position 0/1A2B3C4; 0 transactions, 0 changes applied\n"
                                 "latency at the end: source unknown, target 0.0s\n"
                                 "next: godwit run shop.json carries the changes since\n"
                                 "meanwhile: the source must keep its binary log from that position on"));
}

// A suspended table is not mended by the same command: saying so would cost rows.
static void
suspended(void **state)
{
    (void)state;
    Gw__Status *s = status_streaming(&a);
    s->tables[0]->counts->errors = 87;
    struct gw_report r = ended(s, "STOPPED_AFTER_CACHED_EVENTS", GW_EXIT_TABLE_ERROR);
    const char *text = run_text(&r);
    assert_non_null(strstr(text, "shop: caught up, with errors; 2 of 3 tables replicated, 1 suspended\n"));
    assert_non_null(strstr(text, "    why: the table was altered; reload it\n"));
    assert_non_null(strstr(text, "87 changes were refused by the target: see ctl.exceptions there\n"));
    assert_non_null(strstr(text, "godwit run shop.json --reload\n"));
    assert_non_null(strstr(text, "\nthe others go on with godwit run shop.json\n"));
    assert_null(strstr(text, "tries those tables again"));
}

static void
a_load_alone_is_as_it_was(void **state)
{
    (void)state;
    Gw__Status *s = status_new(&a, "ended");
    status_table(&a, s, "orders", "Table completed", 6000);
    struct gw_report r = ended(s, "FULL_LOAD_ONLY_FINISHED", GW_EXIT_DONE);
    r.task = task("full-load", "postgresql");
    assert_string_equal(run_text(&r), "table          state             rows   bytes  duration  rows/s  refused\n"
                                      "public.orders  Table completed  6,000  600 kB    1m 00s     100        0\n"
                                      "shop: complete; 1 of 1 tables completed\n"
                                      "6,000 rows, 600 kB in 12m 03s\n"
                                      "snapshots: 1; all rows are of one point in time\n");
}

static void
columns_give_way(void **state)
{
    (void)state;
    Gw__Status *s = status_streaming(&a);
    s->tables[0]->counts->inserts += 5; // not durable yet
    struct gw_report r = {.status = s, .task = task("cdc", "postgresql"), .task_path = "shop.json"};
    bool had_last = true;
    for (size_t width = 200; width > 60; width--) {
        r.style.width = width;
        gw_buf_reset(&b);
        gw_report_tables(&b, &r, false);
        size_t line = strcspn(b.data, "\n");
        assert_true(line <= width || width < 78);
        assert_non_null(strstr(b.data, "inserts"));
        assert_non_null(strstr(b.data, "deletes"));
        assert_non_null(strstr(b.data, "refused"));
        assert_non_null(strstr(b.data, "40,000 of 40,005"));
        assert_null(strstr(b.data, "  rows  ")); // there was no load
        bool last = strstr(b.data, "last change") != NULL;
        assert_true(last ? had_last : width < 150); // once it has given way it does not come back
        had_last = last;
    }
}

static const char *
string_at(json_t *j, const char *key)
{
    return json_string_value(json_object_get(j, key));
}

static json_int_t
integer_at(json_t *j, const char *key)
{
    assert_true(json_is_integer(json_object_get(j, key)));
    return json_integer_value(json_object_get(j, key));
}

static void
for_programs(void **state)
{
    (void)state;
    Gw__Status *s = status_streaming(&a);
    Gw__Counts *c = s->tables[0]->counts;
    c->inserts = 40005;
    c->truncates = c->applied_truncates = 1;
    c->ddls = 2;
    c->applied_ddls = 1;
    c->errors = 3;
    c->skipped = 9;
    status_table(&a, s, "quiet", "Table completed", 1);
    struct gw_report r = ended(s, "NORMAL", GW_EXIT_STOPPED);
    json_t *j = gw_report_json(&r);
    assert_string_equal(string_at(j, "StopReason"), "NORMAL");
    json_t *t = json_array_get(json_object_get(j, "tables"), 0);
    static const struct {
        const char *key;
        json_int_t n;
    } figures[] = {
        {"Inserts", 40005},        {"Updates", 10000},        {"Deletes", 2000},     {"Ddls", 3},
        {"AppliedInserts", 40000}, {"AppliedUpdates", 10000}, {"AppliedDdls", 2},    {"AppliedDeletes", 2000},
        {"FullLoadRows", 1000000}, {"changes_refused", 3},    {"changes_skipped", 9}};
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        assert_int_equal(integer_at(t, figures[i].key), figures[i].n);
    }
    assert_string_equal(string_at(t, "LastUpdateTime"), "2026-01-02T03:04:03.678Z");
    assert_string_equal(string_at(t, "TableState"), "Table completed");
    t = json_array_get(json_object_get(j, "tables"), 2);
    assert_string_equal(string_at(t, "TableState"), "Table error");
    assert_string_equal(string_at(t, "reason"), "the table was altered; reload it");
    t = json_array_get(json_object_get(j, "tables"), 3); // nothing has come for it
    assert_int_equal(integer_at(t, "Inserts"), 0);
    assert_true(json_is_null(json_object_get(t, "LastUpdateTime")));
    json_t *stream = json_object_get(j, "stream"), *statistics = json_object_get(j, "statistics");
    assert_string_equal(string_at(stream, "position"), "0/1A2B3C4");
    assert_int_equal(integer_at(stream, "transactions"), 1234);
    assert_int_equal(integer_at(stream, "refused"), 3);
    assert_int_equal(integer_at(stream, "latency_target_ms"), 1200);
    assert_int_equal(integer_at(stream, "log_kept_bytes"), 1200000000);
    assert_int_equal(integer_at(statistics, "CDCLatencyTarget"), 1);
    assert_int_equal(integer_at(statistics, "CDCLatencySource"), 0);
    json_decref(j);

    s->stream->latency_source_us = -1;
    s->stop_reason = said("");
    j = gw_report_json(&r);
    assert_true(json_is_null(json_object_get(json_object_get(j, "statistics"), "CDCLatencySource")));
    assert_true(json_is_null(json_object_get(json_object_get(j, "stream"), "latency_source_ms")));
    assert_true(json_is_null(json_object_get(j, "StopReason")));
    json_decref(j);
    s->stream = NULL;
    j = gw_report_json(&r);
    assert_true(json_is_null(json_object_get(j, "stream")));
    json_decref(j);
}

static void
what_is_on_the_source(void **state)
{
    (void)state;
    assert_non_null(gw_report_left_on_source(task("cdc", "postgresql")));
    assert_non_null(gw_report_left_on_source(task("full-load-and-cdc", "postgresql")));
    assert_null(gw_report_left_on_source(task("full-load", "postgresql")));
    assert_null(gw_report_left_on_source(task("cdc", "mysql")));
}

static int
setup(void **state)
{
    (void)state;
    gw_arena_init(&a);
    gw_buf_init(&b, 1 << 20);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    gw_buf_fini(&b);
    gw_arena_fini(&a);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(caught_up, setup, teardown),
        cmocka_unit_test_setup_teardown(stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(after_the_load, setup, teardown),
        cmocka_unit_test_setup_teardown(suspended, setup, teardown),
        cmocka_unit_test_setup_teardown(a_load_alone_is_as_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(columns_give_way, setup, teardown),
        cmocka_unit_test_setup_teardown(for_programs, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_on_the_source, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
