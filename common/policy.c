#include "common/policy.h"

#include <string.h>

#include "common/clock.h"

static const int64_t quick_us = 100 * GW_MS;

Gw__ErrorPolicy
gw_row_policy(const Gw__ErrorSettings *e, const char *code)
{
    bool too_long = strcmp(code, "22001") == 0 || strcmp(code, "1406") == 0;
    return too_long ? e->data_truncation : e->data_error;
}

bool
gw_task_streams(const Gw__Task *task)
{
    return strcmp(task->migration_type, "full-load") != 0;
}

bool
gw_task_loads(const Gw__Task *task)
{
    return strcmp(task->migration_type, "cdc") != 0;
}

bool
gw_is_duplicate(const char *code)
{
    // PostgreSQL's SQLSTATE, the numbers of MySQL and MariaDB, common/db/lite's name for it.
    static const char *const codes[] = {"23505", "1022", "1062", "1169", "1586", "1859", "UNIQUE"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (strcmp(code, codes[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int64_t
longest_us(const Gw__ErrorSettings *e)
{
    uint32_t s = e->recoverable_interval_s;
    return (e->throttling && e->throttling_max_s > s ? e->throttling_max_s : s) * GW_S;
}

int64_t
gw_retry_pause_us(const Gw__ErrorSettings *e, uint32_t failures)
{
    int64_t interval = e->recoverable_interval_s * GW_S, longest = longest_us(e);
    int64_t us = quick_us < interval ? quick_us : interval;
    for (uint32_t i = 1; i < failures && us < longest; i++) {
        // The interval itself is one of the steps: what comes behind it are its doubles.
        us = us < interval && us * 2 > interval ? interval : us * 2;
    }
    return us < longest ? us : longest;
}

bool
gw_retry_exhausted(const Gw__ErrorSettings *e, uint32_t failures)
{
    return e->throttling && e->stop_after_throttling_max && failures > 1 &&
           gw_retry_pause_us(e, failures - 1) >= longest_us(e);
}
