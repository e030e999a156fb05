// Keys whose order C knows exactly as the server does: canonical values compared without asking it.
//
// A chunk's bounds are compared with the keys of changes by these rules, so they must never differ from the order in which
// the server cut the table. Kinds whose order depends on a collation, a server's version or a type's own rules are not here:
// a table that is cut by them is read in one snapshot, and no key needs to be compared.
#ifndef GW_KEY_H
#define GW_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "catalog.pb-c.h"
#include "common/change.h"
#include "plan.pb-c.h"

// Whether gw_key_cmp may be asked about values of this column of a table of that source engine.
bool gw_key_comparable(const char *engine, const Gw__Column *c);
// a <=> b, both canonical values of a comparable kind. A value that is not of the kind's form sorts somewhere, always
// at the same place.
int gw_key_cmp(Gw__Kind kind, struct gw_value a, struct gw_value b);

// Whether every chunk of the plan holds exactly the rows between its bounds, by comparable columns that every old image has:
// then its chunks may be of different snapshots while changes stream. Otherwise all must be of one.
bool gw_key_chunks_comparable(const Gw__Table *t, const Gw__TablePlan *plan);

#endif
