#include "common/policy.h"

#include <stdbool.h>
#include <string.h>

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
