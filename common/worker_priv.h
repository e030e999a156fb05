// A worker's two threads, inside: worker.c (the work thread, the start), worker_control.c (the control thread), worker_tell.c
// (what the work thread says) and worker_start.c (the command line).
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
    char task_uuid[40];                     // beat.task_uuid
    bool lost;
    bool refused;         // the coordinator does not want this worker as it is set up
    uint64_t called_back; // the job that was, and when; 0 = none
    int64_t called_back_us;
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

enum { QUEUE_MAX = 64, CANCELLED_MAX = 64 };

struct gw_worker {
    const struct gw_stage *stage;
    char uuid[37], name[64];
    char endpoint[GW_ENDPOINT_MAX]; // where this stage receives; "" = it does not
    void *zctx, *pair, *router;
    struct gw_arena task_arenas[2], command_arena; // the task before this one lives on: engines still hold it
    Gw__Task *task;
    uint64_t task_version;
    struct gw_arena secret_arena;
    char *source_password, *target_password; // as the coordinator handed them over; NULL = it did not
    uint64_t tag;
    char incarnation[40];
    zmq_msg_t queue[QUEUE_MAX]; // control frames that came while a job was in hand
    size_t queued;
    uint64_t job, rows, bytes; // of the job in hand
    int64_t job_started_us, told_us;
    bool cancelled, stop, waiting;
    bool is_stream, end_asked, end_seen; // of the job in hand
    char *confirm;                       // durable position that the stage has not taken yet
    uint64_t confirm_stream, confirm_epoch;
    char task_uuid[40];
    struct {
        uint64_t stream, epoch;
    } gone[CANCELLED_MAX];
    size_t gone_n;
};

// The state of the job in hand, for the next heartbeat.
void gw_worker_tell_control(struct gw_worker *w);

#endif
