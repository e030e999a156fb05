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
