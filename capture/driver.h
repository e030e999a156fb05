// The capture stage: reads catalogues and chunks through a source engine, and sends rows to transform.
//
// It owns everything that an engine does not: the connection's life, batches, credit, progress, failure
// handling. After a failure the connection is closed and with it the snapshot; the coordinator is told and
// opens another one, shared with the other readers if one of them still has it.
#ifndef GW_CAPTURE_DRIVER_H
#define GW_CAPTURE_DRIVER_H

#include "common/worker.h"

extern const struct gw_stage gw_capture_stage;

#endif
