#include "common/clock.h"

#include <time.h>

static int64_t
read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts); // cannot fail for these clocks
    return (int64_t)ts.tv_sec * GW_S + ts.tv_nsec / 1000;
}

int64_t
gw_now_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t
gw_wall_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

int
gw_deadline_ms(int64_t deadline_us)
{
    int64_t left = deadline_us - gw_now_us();
    if (left <= 0) {
        return 0;
    }
    int64_t ms = (left + GW_MS - 1) / GW_MS;
    return ms > 3600000 ? 3600000 : (int)ms;
}
