// What of a chunk is plan, and what is progress.
//
// Targets store the plan part when a table is registered or starts over, and compare it when a chunk is claimed: a
// coordinator that planned the same table another time, or on another host, must not write under numbers that mean
// other rows.
#ifndef GW_PLAN_H
#define GW_PLAN_H

#include "plan.pb-c.h"

// A shallow copy without generation and durable fields. Packed, equal plans are equal bytes.
Gw__Chunk gw_plan_part(const Gw__Chunk *c);

#endif
