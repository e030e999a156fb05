// A worker's two threads, inside: worker.c (both loops, the start) and worker_tell.c (what the work thread says).
#ifndef GW_WORKER_PRIV_H
#define GW_WORKER_PRIV_H

#include "common/worker.h"

enum { QUEUE_MAX = 64, CANCELLED_MAX = 64 };

struct gw_worker {
    const struct gw_stage *stage;
    char uuid[37], name[64], coordinator[256], endpoint[256];
    void *zctx, *pair, *router;
    struct gw_arena task_arena, command_arena;
    const Gw__Task *task;
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
