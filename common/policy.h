// What a refused row costs, and how long a try that failed is waited for: ErrorBehavior of the task.
#ifndef GW_POLICY_H
#define GW_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "task.pb-c.h"

// By the server's code: DataTruncationErrorPolicy for a value that is too long (SQLSTATE 22001, MySQL 1406),
// DataErrorPolicy for all others.
Gw__ErrorPolicy gw_row_policy(const Gw__ErrorSettings *e, const char *code);
// A unique value that is there already.
bool gw_is_duplicate(const char *code);

// Whether changes are to be carried, and whether there is a full load before them.
bool gw_task_streams(const Gw__Task *task);
bool gw_task_loads(const Gw__Task *task);

// The pause before the next try, after `failures` (1, 2 …) of the same thing in a row. Quick tries first: most
// interruptions are over in a moment. From RecoverableErrorInterval on the pause stays, or with
// RecoverableErrorThrottling doubles on up to RecoverableErrorThrottlingMax (which never shortens the interval).
int64_t gw_retry_pause_us(const Gw__ErrorSettings *e, uint32_t failures);
// RecoverableErrorStopRetryAfterThrottlingMax: the longest pause has been waited for, and the try behind it has failed.
bool gw_retry_exhausted(const Gw__ErrorSettings *e, uint32_t failures);

#endif
