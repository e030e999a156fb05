// Proves that numbers, times and names read as people expect, and that no name can drive the terminal.
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/format.h"
#include "common/clock.h"

static void
numbers(void **state)
{
    (void)state;
    static const struct {
        uint64_t n;
        const char *count, *shorter, *bytes;
    } cases[] = {
        {0, "0", "0", "0 B"},
        {999, "999", "999", "999 B"},
        {1000, "1,000", "1,000", "1.00 kB"},
        {9999, "9,999", "9,999", "10.0 kB"},
        {10000, "10,000", "10.0 k", "10.0 kB"},
        {12345, "12,345", "12.3 k", "12.3 kB"},
        {99949, "99,949", "99.9 k", "99.9 kB"},
        {99950, "99,950", "100 k", "100 kB"},
        {999499, "999,499", "999 k", "999 kB"},
        {999500, "999,500", "1.00 M", "1.00 MB"},
        {1234567, "1,234,567", "1.23 M", "1.23 MB"},
        {UINT64_C(5000000000000), "5,000,000,000,000", "5.00 T", "5.00 TB"},
        {UINT64_MAX, "18,446,744,073,709,551,615", "18447 P", "18447 PB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(gw_fmt_count(cases[i].n).s, cases[i].count);
        assert_string_equal(gw_fmt_short(cases[i].n).s, cases[i].shorter);
        assert_string_equal(gw_fmt_bytes(cases[i].n).s, cases[i].bytes);
    }
}

static void
percents(void **state)
{
    (void)state;
    assert_string_equal(gw_fmt_percent(0).s, "0%");
    assert_string_equal(gw_fmt_percent(-1).s, "0%");
    assert_string_equal(gw_fmt_percent(0.5).s, "50%");
    assert_string_equal(gw_fmt_percent(0.9999).s, "99%"); // not done until it is
    assert_string_equal(gw_fmt_percent(1).s, "100%");
    assert_string_equal(gw_fmt_percent(7).s, "100%");
}

static void
times(void **state)
{
    (void)state;
    static const struct {
        int64_t us;
        const char *duration, *left;
    } cases[] = {
        {-5, "0.0s", "0s"},
        {0, "0.0s", "0s"},
        {4200 * GW_MS, "4.2s", "5s"},
        {9949 * GW_MS, "9.9s", "10s"},
        {9950 * GW_MS, "10s", "10s"},
        {42 * GW_S, "42s", "42s"},
        {59700 * GW_MS, "1m 00s", "1m 00s"},
        {83 * GW_S, "1m 23s", "1m 23s"},
        {7500 * GW_S, "2h 05m", "2h 05m"},
        {3 * 86400 * GW_S + 4 * 3600 * GW_S, "3d 04h", "3d 04h"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(gw_fmt_duration(cases[i].us).s, cases[i].duration);
        assert_string_equal(gw_fmt_left(cases[i].us).s, cases[i].left);
    }
    assert_string_equal(gw_fmt_left(INT64_MAX).s, "over 30d");
    assert_string_equal(gw_fmt_time(INT64_C(1767323045678901)).s, "2026-01-02 03:04:05 UTC");
    assert_string_equal(gw_fmt_iso(INT64_C(1767323045678901)).s, "2026-01-02T03:04:05.678Z");
}

// ---- text --------------------------------------------------------------------------------------

static struct gw_buf b;

static const char *
cut(const char *s, size_t width, bool utf8)
{
    gw_buf_reset(&b);
    gw_buf_puts(&b, "");
    size_t w = gw_text_cut(&b, s, width, utf8);
    assert_int_equal(w, gw_text_width(b.data, utf8));
    assert_true(w <= width);
    return b.data;
}

static void
columns(void **state)
{
    (void)state;
    assert_string_equal(cut("orders", 6, true), "orders");
    assert_string_equal(cut("orders", 5, true), "orde…");
    assert_string_equal(cut("orders", 5, false), "orde~");
    assert_string_equal(cut("orders", 1, true), "…");
    assert_string_equal(cut("orders", 0, true), "");
    assert_string_equal(cut("", 3, true), "");
    assert_string_equal(cut("café", 4, true), "café");
    assert_string_equal(cut("café", 4, false), "caf?");
    gw_buf_reset(&b);
    gw_text_left(&b, "ab", 4, true);
    gw_text_right(&b, "cd", 4, true);
    gw_text_left(&b, "abcdef", 3, false);
    gw_text_right(&b, "abcdef", 3, false);
    assert_string_equal(b.data, "ab    cdab~ab~");
}

static void
wide_characters(void **state)
{
    (void)state;
    if (!setlocale(LC_CTYPE, "C.UTF-8")) {
        skip();
    }
    assert_int_equal(gw_text_width("日本", true), 4);
    assert_string_equal(cut("日本語", 4, true), "日…");    // half of one does not fit
    assert_int_equal(gw_text_width("e\xcc\x81", true), 1); // a combining accent takes none
    setlocale(LC_CTYPE, "C");
}

static void
nothing_drives_the_terminal(void **state)
{
    (void)state;
    assert_string_equal(cut("a\x1b[31mb", 20, true), "a?[31mb");
    assert_string_equal(cut("a\nb\tc\rd", 20, true), "a b c d");
    assert_string_equal(cut("a\x7f\x01", 20, true), "a??");
    assert_string_equal(cut("a\xc2\x9b"
                            "31m",
                            20, true),
                        "a?31m"); // CSI as one character
    assert_string_equal(cut("a\xe2\x80\xae"
                            "b",
                            20, true),
                        "a?b");                                               // right-to-left override
    assert_string_equal(cut("a\xef\xbb\xbf", 20, true), "a?");                // a byte order mark
    assert_string_equal(cut("\xff\xc0\x80\xed\xa0\x80", 20, true), "??????"); // not UTF-8
    assert_string_equal(cut("a\xe2\x82", 20, true), "a??");                   // cut short
    for (int c = 1; c < 256; c++) {
        char s[3] = {(char)c, 'x', 0};
        const char *shown = cut(s, 10, false);
        for (const char *p = shown; *p; p++) {
            assert_in_range(*p, 0x20, 0x7e);
        }
    }
}

static void
wrapped(void **state)
{
    (void)state;
    gw_buf_reset(&b);
    gw_text_wrap(&b, "one two  three\nfour five", 15, 2, true);
    assert_string_equal(b.data, "one two three\n  four five");
    gw_buf_reset(&b);
    gw_text_wrap(&b, "aaaaaaaaaaaaaaaaaaaaaaaaaaaa b", 14, 2, true); // longer than a line: whole all the same
    assert_string_equal(b.data, "aaaaaaaaaaaaaaaaaaaaaaaaaaaa\n  b");
    gw_buf_reset(&b);
    gw_text_wrap(&b, "a b", 0, 90, true); // no room at all
    assert_string_equal(b.data, "a b");
}

static void
bars(void **state)
{
    (void)state;
    static const struct {
        double fraction;
        const char *ascii, *utf8;
    } cases[] = {{0, "....", "░░░░"}, {0.5, "##..", "██░░"}, {0.55, "##..", "██▏░"}, {1, "####", "████"},
                 {7, "####", "████"}, {-7, "....", "░░░░"},  {0.999, "###.", "███▉"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gw_buf_reset(&b);
        gw_text_bar(&b, cases[i].fraction, 4, false);
        assert_string_equal(b.data, cases[i].ascii);
        gw_buf_reset(&b);
        gw_text_bar(&b, cases[i].fraction, 4, true);
        assert_string_equal(b.data, cases[i].utf8);
    }
}

static void
valid_utf8(void **state)
{
    (void)state;
    gw_buf_reset(&b);
    gw_text_utf8(&b, "a\xff"
                     "é\xc0\xaf\xf4\x90\x80\x80\n");
    assert_string_equal(b.data, "a\xef\xbf\xbd"
                                "é\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\n");
}

static int
setup(void **state)
{
    (void)state;
    gw_buf_init(&b, 1 << 20);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    gw_buf_fini(&b);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),         cmocka_unit_test(percents),
        cmocka_unit_test(times),           cmocka_unit_test(columns),
        cmocka_unit_test(wide_characters), cmocka_unit_test(nothing_drives_the_terminal),
        cmocka_unit_test(wrapped),         cmocka_unit_test(bars),
        cmocka_unit_test(valid_utf8),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
