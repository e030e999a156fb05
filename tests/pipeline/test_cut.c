// Proves that values are cut only where they are too long, between characters, and that each cut is counted.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transform/driver.h"

static void
check(const char *rows, const uint64_t *max, const bool *hex, size_t n, const char *want, uint64_t cuts)
{
    struct gw_buf out;
    struct gw_err err = {0};
    uint64_t cut = 0;
    gw_buf_init(&out, 1 << 20);
    assert_int_equal(gw_cut_rows(rows, strlen(rows), max, hex, n, &out, &cut, &err), GW_OK);
    assert_string_equal(out.data, want);
    assert_int_equal(cut, cuts);
    gw_buf_fini(&out);
}

static void
cuts(void **state)
{
    (void)state;
    const uint64_t max[] = {0, 4, 2};
    const bool hex[] = {false, false, true};
    check("123456\tabc\t\\\\x01\n", max, hex, 3, "123456\tabc\t\\\\x01\n", 0);
    check("123456\tabcde\t\\\\x010203\n", max, hex, 3, "123456\tabcd\t\\\\x0102\n", 2);
    check("1\t\\N\t\\N\n2\tabcde\t\\N\n", max, hex, 3, "1\t\\N\t\\N\n2\tabcd\t\\N\n", 1);
    // Four bytes hold one euro sign (3) and no half of another.
    check("1\t\xe2\x82\xac\xe2\x82\xac\t\\N\n", max, hex, 3, "1\t\xe2\x82\xac\t\\N\n", 1);
    // Escapes count as the byte they stand for.
    check("1\ta\\tb\\n\t\\N\n", max, hex, 3, "1\ta\\tb\\n\t\\N\n", 0);
    check("1\t\\\\\\\\\\\\\\\\x\t\\N\n", max, hex, 3, "1\t\\\\\\\\\\\\\\\\\t\\N\n", 1);
}

static void
wrong_field_count(void **state)
{
    (void)state;
    const uint64_t max[] = {1, 1};
    const bool hex[] = {false, false};
    struct gw_buf out;
    struct gw_err err = {0};
    uint64_t cut = 0;
    gw_buf_init(&out, 1 << 20);
    assert_int_equal(gw_cut_rows("a\n", 2, max, hex, 2, &out, &cut, &err), GW_BUG);
    assert_int_equal(gw_cut_rows("a\tb", 3, max, hex, 2, &out, &cut, &err), GW_BUG); // not a whole row
    gw_buf_fini(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cuts), cmocka_unit_test(wrong_field_count)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
