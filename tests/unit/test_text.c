// Proves that a value comes out of COPY text as it went in, whatever bytes it holds; and the buffer under it.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/copytext.h"
#include "common/expr.h"

static void
fields(void **state)
{
    (void)state;
    static const struct {
        const char *value, *field;
    } cases[] = {
        {"", ""},
        {"abc", "abc"},
        {"\t", "\\t"},
        {"\n", "\\n"},
        {"\r", "\\r"},
        {"\\", "\\\\"},
        {"\\N", "\\\\N"},
        {"\\.", "\\\\."},
        {"a\tb\nc", "a\\tb\\nc"},
        {"\b\f\v", "\b\f\v"},
        {"é€", "é€"},
        {"\xff", "\xff"},
        {"\\\\x", "\\\\\\\\x"},
    };
    struct gw_buf b, back;
    gw_buf_init(&b, 1 << 20);
    gw_buf_init(&back, 1 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gw_buf_reset(&b);
        gw_buf_reset(&back);
        gw_copy_put_field(&b, cases[i].value, strlen(cases[i].value));
        assert_string_equal(b.data, cases[i].field);
        gw_copy_unescape(&back, b.data, b.len);
        assert_string_equal(back.data, cases[i].value);
    }
    gw_buf_fini(&b);
    gw_buf_fini(&back);
}

static void
every_byte_and_pair_returns(void **state)
{
    (void)state;
    struct gw_buf b, back;
    gw_buf_init(&b, 1 << 20);
    gw_buf_init(&back, 1 << 20);
    for (unsigned i = 0; i < 65536; i++) {
        char value[2] = {(char)(i >> 8), (char)i};
        gw_buf_reset(&b);
        gw_buf_reset(&back);
        gw_copy_put_field(&b, value, 2);
        gw_buf_putc(&b, '\t');
        gw_copy_put_null(&b);
        gw_buf_putc(&b, '\n');
        assert_int_equal(gw_copy_row_len(b.data, b.len), b.len);
        struct gw_copy_field f[2];
        assert_int_equal(gw_copy_split(b.data, b.len, f, 2), 2);
        assert_false(f[0].null); // also where the value is the two characters \N
        assert_true(f[1].null);
        gw_copy_unescape(&back, f[0].at, f[0].len);
        assert_int_equal(back.len, 2);
        assert_memory_equal(back.data, value, 2);
    }
    gw_buf_fini(&b);
    gw_buf_fini(&back);
}

static void
what_postgresql_escapes_is_read(void **state)
{
    (void)state;
    struct gw_buf b;
    gw_buf_init(&b, 100);
    const char *field = "\\b\\f\\n\\r\\t\\v\\\\\\x\\N\\";
    gw_copy_unescape(&b, field, strlen(field));
    assert_int_equal(b.len, 10);
    assert_memory_equal(b.data, "\b\f\n\r\t\v\\xN\\", 10);
    gw_buf_fini(&b);
}

static void
bytes(void **state)
{
    (void)state;
    struct gw_buf b;
    gw_buf_init(&b, 100);
    gw_copy_put_bytes(&b, "\x00\x0f\xf0\xff\t", 5);
    assert_string_equal(b.data, "\\\\x000ff0ff09");
    gw_buf_reset(&b);
    gw_copy_put_bytes(&b, "", 0);
    assert_string_equal(b.data, "\\\\x");
    gw_buf_fini(&b);
}

static void
rows(void **state)
{
    (void)state;
    assert_int_equal(gw_copy_row_len("", 0), 0);
    assert_int_equal(gw_copy_row_len(NULL, 0), 0);
    assert_int_equal(gw_copy_row_len("abc", 3), 0);
    assert_int_equal(gw_copy_row_len("a\nb\n", 4), 2);
    struct gw_copy_field f[3];
    assert_int_equal(gw_copy_split("\n", 1, f, 3), 1);
    assert_int_equal(f[0].len, 0);
    assert_false(f[0].null);
    assert_int_equal(gw_copy_split("", 0, f, 3), 1);
    assert_int_equal(gw_copy_split("a\t\t\\N", 5, f, 3), 3); // without its newline
    assert_int_equal(f[1].len, 0);
    assert_false(f[1].null);
    assert_true(f[2].null);
    assert_int_equal(gw_copy_split("\\Nx\t\\\\N\tN\n", 11, f, 3), 3); // none of them is NULL
    assert_false(f[0].null || f[1].null || f[2].null);
    assert_int_equal(gw_copy_split("a\tb\tc\td\te", 9, f, 3), 5); // more than there is room for
    assert_int_equal(f[2].at[0], 'c');
}

static void
large_fields(void **state)
{
    (void)state;
    size_t n = 3 << 20;
    char *value = malloc(n);
    assert_non_null(value);
    memset(value, 'x', n);
    value[0] = '\\';
    value[n - 1] = '\n';
    struct gw_buf b;
    gw_buf_init(&b, n + 2); // just what it takes
    gw_copy_put_field(&b, value, n);
    assert_false(b.overflowed);
    assert_int_equal(b.len, n + 2);
    assert_memory_equal(b.data + n - 1, "x\\n", 4);
    gw_buf_fini(&b);
    gw_buf_init(&b, n + 1);
    gw_copy_put_field(&b, value, n);
    assert_true(b.overflowed);
    assert_int_equal(b.len, 0);
    gw_buf_fini(&b);
    free(value);
}

// ---- the buffer

static void
growth(void **state)
{
    (void)state;
    struct gw_buf b;
    gw_buf_init(&b, 1 << 20);
    for (int i = 0; i < 100000; i++) {
        gw_buf_putc(&b, (char)('a' + i % 26));
        assert_int_equal(b.data[b.len], 0);
    }
    assert_int_equal(b.len, 100000);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(b.data[i], 'a' + i % 26);
    }
    gw_buf_reset(&b);
    gw_buf_printf(&b, "%d-%s", 7, "x");
    gw_buf_puts(&b, "y");
    gw_buf_put(&b, "\0z", 2);
    assert_int_equal(b.len, 6);
    assert_memory_equal(b.data, "7-xy\0z", 7);
    gw_buf_fini(&b);
    assert_null(b.data);
}

static void
the_ceiling(void **state)
{
    (void)state;
    struct gw_buf b;
    gw_buf_init(&b, 5);
    gw_buf_put(&b, "12345", 5); // exactly
    assert_false(b.overflowed);
    assert_string_equal(b.data, "12345");
    gw_buf_putc(&b, '6');
    assert_true(b.overflowed);
    assert_string_equal(b.data, "12345"); // whole appends only
    gw_buf_reset(&b);
    assert_false(b.overflowed);
    gw_buf_puts(&b, "123");
    gw_buf_printf(&b, "%s", "456");
    assert_true(b.overflowed);
    assert_string_equal(b.data, "123");
    assert_null(gw_buf_room(&b, SIZE_MAX));
    assert_null(gw_buf_room(&b, SIZE_MAX - 2));
    assert_non_null(gw_buf_room(&b, 2));
    gw_buf_fini(&b);
}

static void
expressions(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same, backslash;
    } cases[] = {
        {"a * 2", "a*2", true, false},
        {"(a * 2)", "`a` * 2", true, false},
        {"((A * 2))", "\"a\"*2", true, false},
        {"a * 2", "a * 3", false, false},
        {"(a + b) * c", "a + b * c", false, false},
        {"(a) * (c)", "a) * (c", false, false},
        {"((a) * (c))", "(a) * (c)", true, false},
        {"lower('A')", "LOWER('A')", true, false},
        {"lower('A')", "lower('a')", false, false},
        {"lcase(`a`)", "LOWER(a)", true, false},
        {"'lcase'", "'lower'", false, false},
        {"concat(a,_utf8mb4'it\\'s')", "concat(a, 'it\\'s')", true, true},
        {"concat(a, 'it\\'S')", "concat(a, 'it\\'s')", false, true},
        {"concat(`a`,_latin1'x')", "concat(a, 'x')", true, false},
        {"concat(a, 'it''s')", "concat(a, 'it')", false, false},
        {"'a\\'", "'a'", false, false},
        {"'a'", "a", false, false},
        {"'(' || a", "('(' || a)", true, false},
        {"ab", "a b", false, false},
        {"", "()", true, false},
        {"a", "", false, false},
        {"((", "(", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool same = gw_expr_same(cases[i].a, cases[i].b, cases[i].backslash);
        assert_int_equal(same, gw_expr_same(cases[i].b, cases[i].a, cases[i].backslash));
        if (same != cases[i].same) {
            fail_msg("%s and %s", cases[i].a, cases[i].b);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),
        cmocka_unit_test(every_byte_and_pair_returns),
        cmocka_unit_test(what_postgresql_escapes_is_read),
        cmocka_unit_test(bytes),
        cmocka_unit_test(rows),
        cmocka_unit_test(large_fields),
        cmocka_unit_test(growth),
        cmocka_unit_test(the_ceiling),
        cmocka_unit_test(expressions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
