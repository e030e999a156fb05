// What capture, transform and apply have in common: a process with two threads.
//
// The control thread talks to the coordinator: hello, heartbeats, the lease. It answers while the work thread
// sits in a query for an hour. The work thread runs the stage, with plain blocking calls. They share nothing
// but a ZeroMQ pair. When the lease is lost (the coordinator is silent) the work thread is told to give up its
// job; if it cannot, the process ends itself: whoever is next fences it off at the target in any case. The same with a job
// that the coordinator has called back. A job that is in force is never judged by the time it takes.
#ifndef GW_WORKER_H
#define GW_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#include "common/arena.h"
#include "common/err.h"
#include "control.pb-c.h"

struct gw_worker; // of the work thread

struct gw_stage {
    Gw__Stage id;
    const char *name;    // "capture"
    const char *summary; // for --help
    bool receives;       // binds a ROUTER for data
    // The whole life of the work thread: takes commands until gw_worker_next says GW_END.
    int (*run)(struct gw_worker *w, struct gw_err *err);
};

// Parses the command line, starts the control thread, runs the stage. Returns the exit code:
// 0 told to stop, 2 usage or configuration, 1 anything else.
int gw_worker_main(int argc, char **argv, const struct gw_stage *stage);

// ---- for the stage, on the work thread -----------------------------------------------------------------
void *gw_worker_zctx(struct gw_worker *w);
void *gw_worker_router(struct gw_worker *w); // NULL where the stage does not receive
const char *gw_worker_uuid(const struct gw_worker *w);
const char *gw_worker_name(const struct gw_worker *w);
// The task as the coordinator gave it; changes only inside gw_worker_next. NULL before the first welcome. Whoever keeps a
// pointer into it lets go of it before the next job when the version is another: the task before the last is gone. The
// uuid alone changes without a new version.
const Gw__Task *gw_worker_task(const struct gw_worker *w);
uint64_t gw_worker_task_version(const struct gw_worker *w);
uint64_t gw_worker_task_tag(const struct gw_worker *w);
// The password of one of the task's ends (`ep`): as it is found on this host (common/secret.h), else as the coordinator
// handed it over. NULL: there is none, the client library's own ways apply. Lives until the arena is reset, or until
// the next gw_worker_next.
int gw_worker_password(struct gw_worker *w, const Gw__Endpoint *ep, struct gw_arena *a, const char **ret,
                       struct gw_err *err);
const char *gw_worker_task_uuid(const struct gw_worker *w);

// The next command, in the worker's arena until the next call. GW_AGAIN at the deadline, GW_END when told to stop.
int gw_worker_next(struct gw_worker *w, int64_t deadline_us, const Gw__Command **ret, struct gw_err *err);
// Waits for items (ZeroMQ poll items) or a deadline while a job is in hand. GW_OK: look at revents;
// GW_AGAIN: the deadline passed; GW_FENCED: the job is no longer ours, give it up. Commands that arrive
// meanwhile wait for gw_worker_next. `waiting`: what is waited for is data (shown to the coordinator, which
// ends a stream whose both ends wait).
int gw_worker_poll(struct gw_worker *w, zmq_pollitem_t *items, int n, int64_t deadline_us, bool waiting,
                   struct gw_err *err);
// Whether the coordinator has taken the current job back. Looks, does not wait.
bool gw_worker_cancelled(struct gw_worker *w);
// Streams that the coordinator has cancelled; for stages that carry many at a time. False if none is left.
bool gw_worker_take_cancelled_stream(struct gw_worker *w, uint64_t *stream, uint64_t *epoch);

// ---- for jobs that are streams: they go on until they are told to end
// Whether the stream shall end at its next boundary: the coordinator says so, or the process was told to stop. The first
// call of a job makes it a stream: from then on gw_worker_poll returns GW_AGAIN at once when there is something to ask for.
bool gw_worker_end_asked(struct gw_worker *w);
// What has become durable since the last call, if it is about this stream; NULL = nothing new. Returns owned.
char *gw_worker_take_confirm(struct gw_worker *w, uint64_t stream, uint64_t epoch);
void gw_worker_stream_progress(struct gw_worker *w, const Gw__StreamProgress *p);
// Ready, with what is durable of the stream.
void gw_worker_ready_at(struct gw_worker *w, uint64_t job, uint64_t epoch, Gw__Progress *progress);

void gw_worker_progress(struct gw_worker *w, uint64_t rows, uint64_t bytes);
void gw_worker_ready(struct gw_worker *w, uint64_t job, uint64_t epoch);
// Ends the job: with a body, or with a failure (err->cls != GW_OK).
void gw_worker_reply(struct gw_worker *w, Gw__Reply *reply, const struct gw_err *err);
void gw_worker_stream_failed(struct gw_worker *w, uint64_t stream, uint64_t epoch, const struct gw_err *err);

// Packs / unpacks one Control message; unpacked into the arena.
int gw_control_send(void *socket, const Gw__Control *c, struct gw_err *err);
const Gw__Control *gw_control_unpack(struct gw_arena *a, const void *data, size_t len);
void gw_failure_from_err(Gw__Failure *f, const struct gw_err *err); // borrows err's strings
void gw_failure_to_err(const Gw__Failure *f, struct gw_err *err);
void gw_uuid(char out[37]);

// Failure codes of godwit's own, which the coordinator acts on.
#define GW_CODE_NO_SNAPSHOT "GW001" // the reader has lost its snapshot; another one may still have it
#define GW_CODE_LOST        "GW002" // the worker is gone
#define GW_CODE_LINK        "GW003" // the connection to the next worker broke, or does not come about
#define GW_CODE_LOCKED      "GW004" // GW_AGAIN: somebody else holds what is needed; the message says who

#endif
