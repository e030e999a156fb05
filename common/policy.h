// What a refused row costs: ErrorBehavior of the task.
#ifndef GW_POLICY_H
#define GW_POLICY_H

#include <stdbool.h>

#include "task.pb-c.h"

// By the server's code: DataTruncationErrorPolicy for a value that is too long (SQLSTATE 22001, MySQL 1406),
// DataErrorPolicy for all others.
Gw__ErrorPolicy gw_row_policy(const Gw__ErrorSettings *e, const char *code);
// A unique value that is there already.
bool gw_is_duplicate(const char *code);

// Whether changes are to be carried, and whether there is a full load before them.
bool gw_task_streams(const Gw__Task *task);
bool gw_task_loads(const Gw__Task *task);

#endif
