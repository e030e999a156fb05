// What of a chunk is plan, and what is progress; which definition may follow which.
//
// Targets store the plan part when a table is registered or starts over, and compare it when a chunk is claimed: a
// coordinator that planned the same table another time, or on another host, must not write under numbers that mean
// other rows.
#ifndef GW_PLAN_H
#define GW_PLAN_H

#include "common/err.h"
#include "plan.pb-c.h"

// A shallow copy without generation and durable fields. Packed, equal plans are equal bytes.
Gw__Chunk gw_plan_part(const Gw__Chunk *c);

// Whether `plan` may take the place of what is stored: it is the next definition, or the same order come again. FENCED otherwise:
// somebody else has gone on with the task meanwhile.
int gw_plan_follows(const Gw__TablePlan *stored, const Gw__TablePlan *plan, struct gw_err *err);

// The column of `to` whose name was another column's in `from`; NULL if there is none. What is there under that name may be
// the old column or, when a change is repeated after a crash, the new one. `compare`: as the target compares names.
const Gw__Column *
gw_plan_reused_name(const Gw__Table *from, const Gw__Table *to, int (*compare)(const char *, const char *));
#define GW_PLAN_REUSED_NAME "its name was another column's, and which of the two is there cannot be told"

#endif
