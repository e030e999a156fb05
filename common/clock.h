// Time. Durations and deadlines are int64 microseconds on the monotonic clock; only what people or
// databases see is wall-clock time.
#ifndef GW_CLOCK_H
#define GW_CLOCK_H

#include <stdint.h>

#define GW_MS INT64_C(1000)
#define GW_S  INT64_C(1000000)

int64_t gw_now_us(void);  // monotonic
int64_t gw_wall_us(void); // since 1970, UTC
// Milliseconds until the deadline for poll(): 0 if past, rounded up, never more than an hour.
int gw_deadline_ms(int64_t deadline_us);

#endif
