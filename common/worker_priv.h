// A worker, inside: what worker.c, worker_control.c (the control thread) and worker_start.c (the command line) share.
// See worker.h.
#ifndef GW_WORKER_PRIV_H
#define GW_WORKER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "common/curve.h"
#include "common/net.h"
#include "common/worker.h"
#include "control.pb-c.h"

// Owned by the control thread from its start on.
struct gw_worker_control {
    char *name, *uuid, *endpoint; // borrowed, constant
    const char *coordinator;      // the same
    Gw__Stage stage;
    void *zctx, *pair, *dealer;
    int signals;
    struct gw_zap *zap; // NULL: nobody needs to be let in
    int64_t heard_us, lease_us, give_up_us;
    int64_t reopen_us, say_us, say_step_us; // of a coordinator that is silent
    Gw__Heartbeat beat;                     // as the work thread last told
    bool lost;
    bool refused; // the coordinator does not want this worker as it is set up
};

// Runs until the work thread sends an empty frame. arg: the struct above, its sockets open.
void *gw_worker_control_main(void *arg);

struct gw_worker_options {
    const char *endpoint, *name_given, *log, *key, *data_address; // as given
    bool plain;
    char name[64];
    char coordinator[GW_ENDPOINT_MAX]; // with its key
};
// -1: go on; else the exit code.
int gw_worker_options_parse(struct gw_worker_options *o, const struct gw_stage *stage, int argc, char **argv);
// Sets this process' identity, and fills in name and coordinator.
int gw_worker_identify(struct gw_worker_options *o, const struct gw_stage *stage, struct gw_err *err);
// A ROUTER where rows are received: as told; else beside the control endpoint, in the same folder, or on a free port of the
// address that leads to the coordinator. endpoint: what the other workers connect to.
void *
gw_worker_bind_data(void *zctx, const struct gw_worker_options *o, char *endpoint, size_t size, struct gw_err *err);

#endif
