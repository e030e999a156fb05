// The capture stage, inside: what its files share.
//
//   driver.c   the loop: commands, the connection's life, catalogue, snapshots, plans
//   chunk.c    one chunk on its way to a transform
//   stream.c   the changes of a source on their way to a transform; events.c: what becomes of each
//   filter.c   which changes a load has seen already
//   link.c     sockets to transforms, sending within credit
#ifndef GW_CAPTURE_CAPTURE_H
#define GW_CAPTURE_CAPTURE_H

#include "capture/source.h"
#include "common/bus.h"
#include "common/link.h"
#include "common/worker.h"

enum { LINKS_MAX = 16 };

struct capture {
    struct gw_worker *w;
    struct gw_arena arena; // of the job in hand
    const struct gw_source_ops *ops;
    void *self;
    bool open;
    uint64_t task_version; // that it was opened with
    char *token;           // of the open snapshot; NULL = none
    struct gw_link links[LINKS_MAX];
    size_t links_n;
    unsigned breaks; // of the link in use, when its stream began
};

// driver.c
void gw_capture_close_source(struct capture *c);

// link.c
// One socket per transform process, kept: credit of earlier streams that still arrives is ignored. But one that a stream
// failed on may be why it failed: the next stream gets a new one, and what is still queued there is dropped with it.
// One stream at a time. NULL on failure.
void *gw_capture_link(struct capture *c, const char *endpoint, struct gw_err *err);
// Whether the stream's connection still stands, and its receiver wants it: FENCED if not.
int gw_capture_check_link(struct capture *c, struct gw_sender *s, struct gw_err *err);
// Becomes readable when something has happened to the connection.
void *gw_capture_watch(struct capture *c, const struct gw_sender *s);
// To be called now and then, between jobs, too: tells of streams that this process is done with, and whose last messages are
// lost with their connection. The coordinator would notice that they stand still, but later.
void gw_capture_tell_lost(struct capture *c);
void gw_capture_unlink_all(struct capture *c);
// Sends when there is credit. Takes msg. While it waits, `idle` (may be NULL) is called every second: whatever else must
// not stand still. FENCED if the receiver has given the stream up, its connection broke
// or the job was taken back.
int gw_capture_send(struct capture *c, struct gw_sender *s, Gw__DataKind kind, uint32_t rows, zmq_msg_t *msg,
                    int (*idle)(void *ctx, struct gw_err *err), void *ctx, struct gw_err *err);
int gw_capture_send_open(struct capture *c, struct gw_sender *s, const Gw__StreamOpen *open, struct gw_err *err);
int gw_capture_send_end(struct capture *c, struct gw_sender *s, uint64_t rows, uint64_t bytes, struct gw_err *err);

// chunk.c, stream.c: jobs
int gw_capture_read_chunk(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err);
int gw_capture_open_stream(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err);
int gw_capture_read_stream(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err);
int gw_capture_close_stream(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err);

#endif
