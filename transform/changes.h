// Changes on their way through transform: counted again against capture's tally, values cut where the task says so.
//
// A batch of which nothing is cut goes on as it came. One thread; the StreamOpen need not outlive the object.
#ifndef GW_TRANSFORM_CHANGES_H
#define GW_TRANSFORM_CHANGES_H

#include <zmq.h>

#include "common/err.h"
#include "data.pb-c.h"

struct gw_changes;

// The tables of a stream of changes.
struct gw_changes *gw_changes_new(const Gw__StreamOpen *open);
struct gw_changes *gw_changes_free(struct gw_changes *c); // takes NULL; returns NULL
// One batch: counts it, and replaces the payload where a value is cut (*cut counts them). BUG: it is malformed, or
// what came since the last tally is not what capture says it sent.
int gw_changes_pass(struct gw_changes *c, zmq_msg_t *payload, uint64_t *cut, struct gw_err *err);

#endif
