// What a status says of the stream of changes, as people and DMS count it.
//
// DMS counts TRUNCATE among the DDL statements, and so does this. "Applied" is durable on the target; "captured" is told by
// capture in tallies, which come with the changes or a little later.
#ifndef GW_CLI_CHANGES_H
#define GW_CLI_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/format.h"
#include "control.pb-c.h"

enum gw_change_op { GW_INSERTS, GW_UPDATES, GW_DELETES, GW_DDLS, GW_CHANGE_OPS };

struct gw_changes {
    uint64_t captured[GW_CHANGE_OPS], applied[GW_CHANGE_OPS];
    uint64_t errors;  // recorded in the exceptions table
    uint64_t skipped; // the load had read them
    int64_t last_us;  // source's commit time of the last applied one; 0 = none
};
// Of one table; all zero where nothing has come for it.
struct gw_changes gw_changes_of(const Gw__TableStatus *t);
struct gw_changes gw_changes_all(const Gw__Status *s);
uint64_t gw_changes_applied(const struct gw_changes *c);

// How far the target is behind the source: 0 = it has caught up, -1 = unknown.
int64_t gw_changes_behind(const Gw__StreamStatus *s);
struct gw_fmt gw_fmt_latency(int64_t us); // a duration, or "unknown" for -1

// So much log is kept for the stream that somebody should know; and so much that it is urgent.
enum { GW_LOG_KEPT_MUCH = 1000 * 1000 * 1000 };
static const uint64_t gw_log_kept_too_much = UINT64_C(10) * GW_LOG_KEPT_MUCH;

#endif
