// Proves that the picture of a run fits every window, and says of a stream what somebody must know.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/changes.h"
#include "cli/format.h"
#include "cli/view.h"
#include "statuses.h"

static struct gw_arena a;
static struct gw_buf b;
static struct gw_progress progress;

static const char *
frame(const Gw__Status *s, size_t width, size_t height, bool colour)
{
    struct gw_view v = {.status = s, .progress = &progress, .elapsed_us = 723 * GW_S};
    struct gw_style style = {.width = width, .height = height, .colour = colour};
    gw_buf_reset(&b);
    size_t lines = gw_view_frame(&b, &v, &style);
    size_t counted = 0, most = width > 11 ? width - 1 : 10;
    for (const char *p = b.data, *nl; (nl = strchr(p, '\n')); p = nl + 1) {
        counted++;
        if (!colour && (size_t)(nl - p) > most) {
            fail_msg("width %zu: %zu columns: %.*s", width, (size_t)(nl - p), (int)(nl - p), p);
        }
    }
    assert_int_equal(lines, counted);
    assert_in_range(lines, 1, height > 2 ? height - 1 : 1);
    return b.data;
}

static void
it_fits_every_window(void **state)
{
    (void)state;
    Gw__Status *streams = status_streaming(&a), *meets = status_streaming(&a), *loads = status_new(&a, "loading");
    streams->waiting_for = said("the source: server closed the connection");
    meets->phase = said("meeting");
    meets->tables[0]->state = said("Full load");
    status_table(&a, loads, "orders", "Full load", 1000);
    status_table(&a, loads, "a_table_whose_name_is_longer_than_any_column_that_it_may_have", "Full load", 1);
    for (size_t i = 0; i < 50; i++) {
        char *name = gw_arena_alloc(&a, 64);
        snprintf(name, 64, "t%zu_%.*s", i, (int)(i % 40), "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        status_counts(&a, status_table(&a, streams, name, "Table completed", i), i, UINT64_MAX >> (i + 2), i * i);
    }
    const Gw__Status *const all[] = {streams, meets, loads, NULL};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (size_t width = 1; width < 200; width++) {
            for (size_t height = 1; height < 30; height += height < 12 ? 1 : 6) {
                frame(all[i], width, height, false);
            }
        }
    }
}

static void
a_stream(void **state)
{
    (void)state;
    Gw__Status *s = status_streaming(&a);
    assert_string_equal(frame(s, 100, 24, false),
                        "shop: replicating  1.2s behind  0 changes/s  12m 03s\n"
                        "  latency: source 0.4s, target 1.2s  log kept by the source 1.20 GB  position 0/1A2B3C4\n"
                        "  captured 52.8 k (0/s)  applied 52.7 k (0/s)  1,234 transactions\n"
                        "  applied             inserts    updates    deletes    changes/s\n"
                        "  public.orders        40.0 k     10.0 k      2,000             \n"
                        "  public.customers         10        700          0             \n"
                        "  public.audit: the table was altered; reload it\n"
                        "tables:  2 replicating  1 suspended\n");
    // What is least needed gives way first: what is urgent stays.
    assert_string_equal(frame(s, 41, 24, false), "shop: replicating  1.2s behind\n"
                                                 "  log kept by the source 1.20 GB\n"
                                                 "  applied 52.7 k (0/s)\n"
                                                 "  applied             changes\n"
                                                 "  public.orders        52.0 k\n"
                                                 "  public.customers        710\n"
                                                 "  public.audit: the table was altered; ~\n"
                                                 "tables:  2 replicating  1 suspended\n");
}

static void
how_late_it_is(void **state)
{
    (void)state;
    static const struct {
        bool caught_up;
        int64_t source_us, target_us, behind_us;
        const char *word;
    } cases[] = {
        {true, 0, 0, 0, "caught up"},
        {true, 0, 5 * GW_S, 5 * GW_S, "5.0s behind"},      // read, and not written
        {false, 90 * GW_S, 0, 90 * GW_S, "1m 30s behind"}, // not read
        {false, 2 * GW_S, 9 * GW_S, 9 * GW_S, "9.0s behind"},
        {false, 9 * GW_S, 2 * GW_S, 9 * GW_S, "9.0s behind"},
        {false, -1, 0, -1, NULL}, // nobody knows: nothing is claimed
        {false, -1, 3 * GW_S, 3 * GW_S, "3.0s behind"},
        {false, 0, 0, 0, "0.0s behind"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Gw__Status *s = status_streaming(&a);
        s->stream->caught_up = cases[i].caught_up;
        s->stream->latency_source_us = cases[i].source_us;
        s->stream->latency_target_us = cases[i].target_us;
        assert_int_equal(gw_changes_behind(s->stream), cases[i].behind_us);
        const char *text = frame(s, 100, 24, false);
        if (cases[i].word) {
            assert_non_null(strstr(text, cases[i].word));
        } else {
            assert_null(strstr(text, "behind"));
            assert_null(strstr(text, "caught up"));
            assert_non_null(strstr(text, "source unknown"));
        }
    }
}

static void
a_log_that_grows_is_coloured(void **state)
{
    (void)state;
    Gw__Status *s = status_streaming(&a);
    assert_non_null(strstr(frame(s, 100, 24, true), "\x1b[33mlog kept by the source 1.20 GB"));
    s->stream->log_kept_bytes = UINT64_C(50000000000);
    assert_non_null(strstr(frame(s, 100, 24, true), "\x1b[31mlog kept by the source 50.0 GB"));
    s->stream->log_kept_bytes = 999;
    assert_non_null(strstr(frame(s, 100, 24, true), "\x1b[0mlog kept by the source 999 B"));
    s->stream->log_kept_bytes = 0; // unknown
    assert_null(strstr(frame(s, 100, 24, true), "log kept"));
}

// A stream that goes on has its counts from before: they are no speed.
static void
rates(void **state)
{
    (void)state;
    Gw__Status *before = status_new(&a, "reading state"), *s = status_streaming(&a);
    status_table(&a, before, "orders", "Table completed", 1000000);
    gw_progress_update(&progress, before, 1 * GW_S);
    gw_progress_update(&progress, s, 2 * GW_S);
    assert_true(progress.total.per_s[GW_APPLIED] == 0 && progress.total.per_s[GW_CAPTURED] == 0);
    assert_true(gw_progress_table(&progress, 1)->per_s[GW_APPLIED] == 0);
    s->stream->applied += 3000;
    s->stream->captured += 5000;
    s->tables[0]->counts->applied_updates += 3000;
    gw_progress_update(&progress, s, 3 * GW_S);
    const char *text = frame(s, 100, 24, false);
    assert_non_null(strstr(text, "3,000 changes/s"));
    assert_non_null(strstr(text, "captured 57.8 k (5,000/s)  applied 55.7 k (3,000/s)"));
    assert_non_null(strstr(text, "13.0 k      2,000        3,000\n"));
    s->stream->captured = 100; // begun again, from what is durable
    gw_progress_update(&progress, s, 4 * GW_S);
    assert_true(progress.total.per_s[GW_CAPTURED] > 0 && progress.total.per_s[GW_CAPTURED] < 5000);
    // A trickle is not nothing.
    for (int64_t i = 0; i < 60; i++) {
        s->stream->applied += i % 5 == 0;
        gw_progress_update(&progress, s, (5 + i) * GW_S);
    }
    assert_null(strstr(frame(s, 100, 24, false), " 0 changes/s"));
}

static void
a_line_for_a_log(void **state)
{
    (void)state;
    struct gw_view v = {.status = status_streaming(&a), .progress = &progress, .elapsed_us = 723 * GW_S};
    gw_buf_reset(&b);
    gw_view_line(&b, &v);
    assert_string_equal(
        b.data, "shop: replicating  1.2s behind  0 changes/s  12m 03s  latency: source 0.4s, target 1.2s"
                "  log kept by the source 1.20 GB  position 0/1A2B3C4  captured 52.8 k (0/s)  applied 52.7 k (0/s)"
                "  1,234 transactions  tables: 2 replicating  1 suspended");
}

static void
the_load_of_a_task_that_streams(void **state)
{
    (void)state;
    Gw__Status *s = status_streaming(&a);
    s->phase = said("loading");
    s->tables[0]->state = said("Full load");
    const char *text = frame(s, 100, 24, false);
    assert_null(strstr(text, "latency")); // the bars tell more
    assert_non_null(strstr(text, "1 loading"));
    assert_non_null(strstr(text, "1 in error"));
    s->phase = said("meeting"); // both
    text = frame(s, 100, 24, false);
    assert_non_null(strstr(text, "latency"));
    assert_non_null(strstr(text, "1 loading"));
}

static int
setup(void **state)
{
    (void)state;
    gw_arena_init(&a);
    gw_buf_init(&b, 1 << 20);
    gw_progress_init(&progress);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    gw_progress_fini(&progress);
    gw_buf_fini(&b);
    gw_arena_fini(&a);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_fits_every_window, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(how_late_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_grows_is_coloured, setup, teardown),
        cmocka_unit_test_setup_teardown(rates, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_for_a_log, setup, teardown),
        cmocka_unit_test_setup_teardown(the_load_of_a_task_that_streams, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
