// Proves how long a failed try is waited for: RecoverableErrorInterval, -Throttling, -ThrottlingMax, -StopRetryAfter….
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/policy.h"

static Gw__ErrorSettings
settings(uint32_t interval_s, bool throttling, uint32_t max_s, bool stop)
{
    Gw__ErrorSettings e = GW__ERROR_SETTINGS__INIT;
    e.recoverable_interval_s = interval_s;
    e.throttling = throttling;
    e.throttling_max_s = max_s;
    e.stop_after_throttling_max = stop;
    return e;
}

static void
pauses_are(const Gw__ErrorSettings *e, const int64_t *ms, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(gw_retry_pause_us(e, (uint32_t)i + 1), ms[i] * GW_MS);
    }
}

static void
without_throttling_the_interval_is_the_longest(void **state)
{
    (void)state;
    Gw__ErrorSettings e = settings(5, false, 1800, true);
    static const int64_t ms[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    pauses_are(&e, ms, sizeof ms / sizeof *ms);
    assert_int_equal(gw_retry_pause_us(&e, UINT32_MAX), 5 * GW_S);
    assert_false(gw_retry_exhausted(&e, UINT32_MAX)); // it is about throttling only
}

static void
with_throttling_it_doubles_up_to_the_maximum(void **state)
{
    (void)state;
    Gw__ErrorSettings e = settings(5, true, 60, false);
    static const int64_t ms[] = {100, 200, 400, 800, 1600, 3200, 5000, 10000, 20000, 40000, 60000, 60000};
    pauses_are(&e, ms, sizeof ms / sizeof *ms);
    assert_int_equal(gw_retry_pause_us(&e, UINT32_MAX), 60 * GW_S);
    assert_false(gw_retry_exhausted(&e, UINT32_MAX));
}

static void
a_maximum_below_the_interval_shortens_nothing(void **state)
{
    (void)state;
    Gw__ErrorSettings e = settings(5, true, 2, false);
    assert_int_equal(gw_retry_pause_us(&e, 7), 5 * GW_S);
    assert_int_equal(gw_retry_pause_us(&e, 8), 5 * GW_S);
    e = settings(86400, true, 86400, false);
    assert_int_equal(gw_retry_pause_us(&e, UINT32_MAX), 86400 * GW_S);
}

static void
the_try_behind_the_longest_pause_is_the_last(void **state)
{
    (void)state;
    Gw__ErrorSettings e = settings(1, true, 4, true);
    // 0.1 0.2 0.4 0.8 1 2 4: the eighth failure is the one behind the pause of 4 s.
    for (uint32_t failures = 0; failures <= 7; failures++) {
        assert_false(gw_retry_exhausted(&e, failures));
    }
    assert_int_equal(gw_retry_pause_us(&e, 7), 4 * GW_S);
    assert_true(gw_retry_exhausted(&e, 8));
    assert_true(gw_retry_exhausted(&e, UINT32_MAX));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_throttling_the_interval_is_the_longest),
        cmocka_unit_test(with_throttling_it_doubles_up_to_the_maximum),
        cmocka_unit_test(a_maximum_below_the_interval_shortens_nothing),
        cmocka_unit_test(the_try_behind_the_longest_pause_is_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
