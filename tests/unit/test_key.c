// Keys compared in C: the order is the servers'.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "common/key.h"

static struct gw_value
text(const char *s)
{
    return (struct gw_value){s, (uint32_t)strlen(s), GW_PRESENT};
}

// Every pair of an ascending list, both ways.
static void
assert_ascending(Gw__Kind kind, const char *const *values)
{
    for (size_t i = 0; values[i]; i++) {
        for (size_t k = 0; values[k]; k++) {
            int want = (i > k) - (i < k);
            if (gw_key_cmp(kind, text(values[i]), text(values[k])) != want) {
                fail_msg("%s <=> %s is not %d", values[i], values[k], want);
            }
        }
    }
}

static void
test_order(void **state)
{
    (void)state;
    assert_ascending(GW__KIND__KIND_INT64, (const char *[]){"-9223372036854775808", "-10", "-9", "0", "1", "9", "10",
                                                            "9223372036854775807", "18446744073709551615", NULL});
    assert_ascending(GW__KIND__KIND_DATE, (const char *[]){"-infinity", "4713-01-01 BC", "0001-12-31 BC", "0001-01-01",
                                                           "1999-12-31", "2024-00-10", "2024-01-31", "2024-02-01",
                                                           "9999-12-31", "12024-01-01", "infinity", NULL});
    // MySQL has no years before Christ, but days that are none.
    assert_ascending(GW__KIND__KIND_DATE,
                     (const char *[]){"0000-00-00", "2023-12-31", "2024-00-10", "2024-01-00", NULL});
    assert_ascending(GW__KIND__KIND_TIMESTAMP,
                     (const char *[]){"-infinity", "0044-03-15 12:00:00 BC", "2024-01-31 23:59:59.999999",
                                      "2024-02-01 00:00:00", "2024-02-01 00:00:00.000001", "2024-02-01 00:00:00.1",
                                      "2024-02-01 00:00:01", "infinity", NULL});
    assert_ascending(GW__KIND__KIND_TIMESTAMPTZ, (const char *[]){"0044-03-15 12:00:00+00 BC", "2024-02-01 00:00:00+00",
                                                                  "2024-02-01 00:00:00.5+00", NULL});
    assert_ascending(GW__KIND__KIND_VARBINARY,
                     (const char *[]){"\\x", "\\x00", "\\x0000", "\\x09", "\\x0a", "\\xff", NULL});
    assert_ascending(GW__KIND__KIND_UUID,
                     (const char *[]){"00000000-0000-0000-0000-000000000000", "9fffffff-0000-0000-0000-000000000000",
                                      "a0000000-0000-0000-0000-000000000000", NULL});
}

static void
test_equal_forms(void **state)
{
    (void)state;
    assert_int_equal(gw_key_cmp(GW__KIND__KIND_INT32, text("-0"), text("0")), 0);
    assert_int_equal(gw_key_cmp(GW__KIND__KIND_INT32, text("007"), text("7")), 0);
    assert_int_equal(
        gw_key_cmp(GW__KIND__KIND_TIMESTAMP, text("2024-01-01 00:00:00.500000"), text("2024-01-01 00:00:00.5")), 0);
}

// What must never be compared here: its order is the server's own.
static void
test_comparable(void **state)
{
    (void)state;
    Gw__Type type = GW__TYPE__INIT;
    Gw__Column c = GW__COLUMN__INIT;
    c.type = &type;
    type.kind = GW__KIND__KIND_VARCHAR;
    assert_false(gw_key_comparable("postgresql", &c));
    type.kind = GW__KIND__KIND_NUMERIC;
    assert_false(gw_key_comparable("mysql", &c));
    type.kind = GW__KIND__KIND_UUID;
    assert_true(gw_key_comparable("postgresql", &c));
    assert_false(gw_key_comparable("mysql", &c));
    type.kind = GW__KIND__KIND_INT64;
    assert_true(gw_key_comparable("mysql", &c));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_equal_forms),
        cmocka_unit_test(test_comparable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
