// The control thread of a worker, inside: what worker.c and worker_control.c share. See worker.h.
#ifndef GW_WORKER_PRIV_H
#define GW_WORKER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "control.pb-c.h"

// Owned by the control thread from its start on.
struct gw_worker_control {
    char *name, *uuid, *endpoint; // borrowed, constant
    Gw__Stage stage;
    void *pair, *dealer;
    int signals;
    int64_t heard_us, lease_us, give_up_us;
    Gw__Heartbeat beat; // as the work thread last told
    bool lost;
    uint64_t called_back; // the job that was, and when; 0 = none
    int64_t called_back_us;
};

// Runs until the work thread sends an empty frame. arg: the struct above, its sockets open.
void *gw_worker_control_main(void *arg);

#endif
