// A stream of changes in capture, inside: stream.c (the job: sending, waiting, ending) and events.c (what becomes of an event).
#ifndef GW_CAPTURE_STREAM_H
#define GW_CAPTURE_STREAM_H

#include "capture/capture.h"
#include "capture/filter.h"

struct stable {
    uint32_t id;
    size_t columns;
    size_t *key, key_n; // the primary key, as indexes into a tuple; none where old rows are needed whole
    bool suspended;
    Gw__Tally sent;   // since the last tally
    Gw__Counts total; // of this job
};

struct stream {
    struct capture *c;
    const Gw__ReadStream *job;
    struct gw_stream_start start;
    struct gw_sender out;
    struct gw_filter *filter;
    struct stable *tables;
    struct gw_buf batch;
    uint32_t batch_n;
    uint64_t records, bytes;    // sent, for the end
    uint64_t untold;            // rows since the last tally
    bool in_transaction, begun; // begun: its BEGIN has been packed
    char *transaction;
    int64_t transaction_us;
    char *position;       // of the last transaction's end
    bool position_due;    // nothing that was packed tells it
    char *until;          // end there; NULL = go on
    Gw__StreamDone *done; // the reply, in the driver's arena
    bool ending, caught_up;
    int64_t commit_us, looked_us, told_us, kept_at_us;
    uint64_t kept, events;
    uint64_t kept_warned; // how much log was kept when that was last said
    bool end_warned;
};

// stream.c
// One record more has been packed: sends the batch when it is full.
int gw_stream_packed(struct stream *s, struct gw_err *err);
// What was sent since the last time, per table, so that everyone behind can count it again.
int gw_stream_tally(struct stream *s, struct gw_err *err);
void gw_stream_set_text(char **at, const char *text);

// events.c
int gw_stream_take(struct stream *s, const struct gw_event *ev, struct gw_err *err);
// Whether the stream is past where it shall end.
int gw_stream_passed_until(struct stream *s, struct gw_err *err);

#endif
