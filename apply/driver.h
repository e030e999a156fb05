// The apply stage: writes tables, rows and control rows through a target engine.
//
// It owns everything that an engine does not: the connection's life, the order and proof of messages, credit,
// the isolation of refused rows, failure handling. Nothing here decides what is durable: the engine's
// transaction does (target.h, load_begin and load_commit).
#ifndef GW_APPLY_DRIVER_H
#define GW_APPLY_DRIVER_H

#include "apply/target.h"
#include "common/worker.h"

extern const struct gw_stage gw_apply_stage;

struct gw_apply {
    struct gw_worker *w;
    struct gw_arena arena; // of the job in hand
    const struct gw_target_ops *ops;
    void *self;
    bool open;
    uint64_t task_version; // that it was opened with
};

// load.c: one chunk from Ready to durable.
int gw_apply_load(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err);
// stream.c: a stream of changes from its claim to its end at a transaction's boundary.
int gw_apply_stream(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err);

#endif
