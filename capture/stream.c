// The changes of a source on their way to a transform.
//
// The engine tells what happened, one event at a time; this file leaves out what the load has seen, packs the rest into
// batches, and sends them within credit. A transaction of which nothing is left is told by its position alone. Everything that
// must not stand still meanwhile (the engine's connection, confirmations, progress) is looked after at least every second.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "capture/stream.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"

enum { EVENTS_PER_LOOK = 256 };
static const int64_t tell_us = 250 * GW_MS;
static const int64_t kept_us = 5 * GW_S;
static const uint64_t kept_much = UINT64_C(10) << 30; // of log: worth a warning
enum { KEPT_LEFT_PART = 3 };                          // less is left than a third of what is kept: it ends soon

void
gw_stream_set_text(char **at, const char *text)
{
    if (*at && strcmp(*at, text) == 0) {
        return;
    }
    free(*at);
    *at = strdup(text);
    gw_assert(*at);
}

// ---- sending -----------------------------------------------------------------------------------

static void
tell_progress(struct stream *s)
{
    Gw__StreamProgress p = GW__STREAM_PROGRESS__INIT;
    Gw__StreamCounts counts = GW__STREAM_COUNTS__INIT;
    Gw__Counts *list[1024];
    size_t n = 0;
    for (size_t i = 0; i < s->start.tables_n && n < sizeof list / sizeof *list; i++) {
        const Gw__Counts *t = &s->tables[i].total;
        if (t->inserts || t->updates || t->deletes || t->truncates || t->skipped) {
            list[n++] = &s->tables[i].total;
        }
    }
    counts.tables = list;
    counts.n_tables = n;
    p.stream = s->job->stream;
    p.epoch = s->job->epoch;
    p.position = s->position;
    p.counts = &counts;
    p.commit_us = s->commit_us;
    p.log_kept_bytes = s->kept;
    p.caught_up = s->caught_up;
    gw_worker_stream_progress(s->c->w, &p);
    s->told_us = gw_now_us();
}

// Says it when much log is kept, again when it is twice as much, and when the source will soon keep it no longer.
static void
warn_of_log(struct stream *s, uint64_t left)
{
    bool ends = left < s->kept / KEPT_LEFT_PART;
    if (s->kept >= s->kept_warned * 2 && s->kept >= kept_much) {
        s->kept_warned = s->kept;
        gw_warn("the source keeps %" PRIu64
                " MB of its log for this task: the target is slower than the source, or something "
                "holds it up; the source's disk fills",
                s->kept >> 20);
    } else if (s->kept < kept_much / 2) {
        s->kept_warned = 0;
    }
    if (ends && !s->end_warned) {
        gw_warn("the source keeps %" PRIu64 " MB of its log for this task, and will keep no more than %" PRIu64
                " MB beyond that: then changes are lost, and only --fresh helps (max_slot_wal_keep_size)",
                s->kept >> 20, left >> 20);
    }
    s->end_warned = ends;
}

// Whatever must not stand still while rows are awaited or the receiver is slow.
static int
look_after(void *ctx, struct gw_err *err)
{
    struct stream *s = ctx;
    struct capture *c = s->c;
    int64_t now = gw_now_us();
    s->looked_us = now;
    char *durable = gw_worker_take_confirm(c->w, s->job->stream, s->job->epoch);
    int r = c->ops->stream_confirm(c->self, durable, err);
    free(durable);
    if (r != GW_OK) {
        return gw_err_wrap(err, "confirm what is durable");
    }
    if (gw_worker_cancelled(c->w)) {
        return gw_err_set(err, GW_FENCED, NULL, "the job was taken back by the coordinator");
    }
    s->ending = s->ending || gw_worker_end_asked(c->w);
    if (now - s->kept_at_us > kept_us) {
        s->kept_at_us = now;
        struct gw_err ignored = {0}; // only a figure for people
        uint64_t left = UINT64_MAX;
        if (c->ops->stream_kept(c->self, &s->kept, &left, &ignored) == GW_OK) {
            warn_of_log(s, left);
        }
    }
    if (now - s->told_us > tell_us) {
        tell_progress(s);
    }
    return GW_OK;
}

static int
flush(struct stream *s, struct gw_err *err)
{
    if (!s->batch_n) {
        return GW_OK;
    }
    if (s->batch.overflowed) {
        return gw_err_set(err, GW_CONFIG, NULL, "a change is larger than %" PRIu64 " MB", GW_PAYLOAD_MAX >> 20);
    }
    if (GW_FAULT("capture.stream.batch")) {
        return gw_err_set(err, GW_RETRY, NULL, "fault point capture.stream.batch");
    }
    uint32_t n = s->batch_n;
    size_t len = s->batch.len;
    zmq_msg_t msg;
    gw_msg_take(&msg, &s->batch);
    s->batch_n = 0;
    int r = gw_capture_send(s->c, &s->out, GW__DATA_KIND__DATA_CHANGES, n, &msg, look_after, s, err);
    if (r == GW_OK) {
        s->records += n;
        s->bytes += len;
        gw_worker_progress(s->c->w, s->records, s->bytes);
    }
    return r;
}

int
gw_stream_packed(struct stream *s, struct gw_err *err)
{
    s->batch_n++;
    return s->batch.len >= gw_worker_task(s->c->w)->batch_bytes ? flush(s, err) : GW_OK;
}

int
gw_stream_tally(struct stream *s, struct gw_err *err)
{
    if (!s->untold) {
        return GW_OK;
    }
    Gw__Tally *list = gw_arena_alloc(&s->c->arena, (s->start.tables_n + 1) * sizeof *list);
    size_t n = 0;
    for (size_t i = 0; i < s->start.tables_n; i++) {
        Gw__Tally *t = &s->tables[i].sent;
        if (t->inserts || t->updates || t->deletes || t->truncates) {
            list[n++] = *t;
            t->inserts = t->updates = t->deletes = t->truncates = 0;
        }
    }
    s->untold = 0;
    gw_change_put_tally(&s->batch, list, n);
    return gw_stream_packed(s, err);
}

// ---- the job -----------------------------------------------------------------------------------

static void
tell_position(struct stream *s)
{
    if (s->position_due && !s->in_transaction) {
        s->position_due = false;
        gw_change_put_keepalive(&s->batch, s->position);
        s->batch_n++;
    }
}

// The source has nothing right now: what is packed goes out, then whatever comes first is waited for.
static int
idle(struct stream *s, struct gw_err *err)
{
    int r = GW_OK;
    if (!s->in_transaction) {
        r = gw_stream_tally(s, err);
        tell_position(s);
    }
    r = r == GW_OK ? flush(s, err) : r;
    if (r != GW_OK) {
        return r;
    }
    if (!s->caught_up) {
        s->caught_up = true;
        tell_progress(s);
    }
    int fd = s->c->ops->stream_fd(s->c->self);
    zmq_pollitem_t items[] = {{.socket = s->out.socket, .events = ZMQ_POLLIN},
                              {.socket = gw_capture_watch(s->c, &s->out), .events = ZMQ_POLLIN},
                              {.fd = fd, .events = ZMQ_POLLIN}};
    r = gw_worker_poll(s->c->w, items, fd >= 0 ? 3 : 2, gw_now_us() + (fd >= 0 ? 500 : 20) * GW_MS, false, err);
    if (r != GW_OK && r != GW_AGAIN) {
        return r;
    }
    return gw_capture_check_link(s->c, &s->out, err);
}

static int
finish(struct stream *s, struct gw_err *err)
{
    int r = gw_stream_tally(s, err);
    tell_position(s);
    r = r == GW_OK ? flush(s, err) : r;
    if (r == GW_OK && GW_FAULT("capture.stream.end")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point capture.stream.end");
    }
    tell_progress(s);
    return r == GW_OK ? gw_capture_send_end(s->c, &s->out, s->records, s->bytes, err) : r;
}

// The stream stands before a transaction that alters definitions. What was sent of it is void: nobody commits it.
static int
take_altered(struct stream *s, const struct gw_event *ev)
{
    struct gw_arena *a = &s->c->arena;
    for (size_t i = 0; i < ev->altered_n; i++) {
        const struct gw_altered *from = &ev->altered[i];
        Gw__Altered *x = gw_pb_new(a, Gw__Altered, gw__altered__init);
        x->table = from->from ? from->from->id : 0;
        x->to = from->to ? gw_pb_dup(a, from->to) : NULL;
        x->what = gw_arena_strdup(a, from->what);
        x->refused = gw_arena_strdup(a, from->refused ? from->refused : "");
        gw_pb_add(a, s->done, altered, x);
    }
    gw_info("stream ends before a change of %zu definitions position=\"%s\"", ev->altered_n, s->position);
    return GW_OK;
}

static int
pump(struct stream *s, struct gw_err *err)
{
    for (;;) {
        if (++s->events % EVENTS_PER_LOOK == 0 || gw_now_us() - s->looked_us > GW_S) {
            int r = look_after(s, err);
            if (r != GW_OK) {
                return r;
            }
        }
        // A suspension may stand before everything else; a change of definitions, behind which the run must not go, too.
        if (s->ending && !s->in_transaction && (s->events > 1 || s->job->until[0])) {
            return finish(s, err);
        }
        struct gw_event ev = {0};
        int r = s->c->ops->stream_next(s->c->self, 0, &ev, err);
        if (r == GW_OK && ev.kind == GW__CHANGE_KIND__CHANGE_ALTERED) {
            return take_altered(s, &ev);
        }
        if (r == GW_OK) {
            r = gw_stream_take(s, &ev, err);
        } else if (r == GW_AGAIN) {
            r = idle(s, err);
            r = r == GW_OK ? look_after(s, err) : r;
        }
        if (r != GW_OK) {
            return r;
        }
    }
}

static void
set_key(struct stable *t, const Gw__StreamTable *st)
{
    size_t at = 0;
    t->key = calloc(st->source->n_columns + 1, sizeof *t->key);
    gw_assert(t->key);
    for (size_t i = 0; i < st->source->n_columns; i++) {
        const Gw__Column *c = st->source->columns[i];
        for (size_t k = 0; !c->left_out && k < st->source->n_primary_key; k++) {
            if (strcmp(st->source->primary_key[k], c->name) == 0) {
                t->key[t->key_n++] = at;
            }
        }
        at += !c->left_out;
    }
    t->columns = at;
    // Without the whole key, or with another one on the target, the old row is needed.
    if (t->key_n != st->source->n_primary_key || st->target->n_primary_key != t->key_n) {
        t->key_n = 0;
    }
}

static void
set_tables(struct stream *s)
{
    size_t n = s->job->n_tables;
    s->tables = calloc(n + 1, sizeof *s->tables);
    Gw__Table **list = gw_arena_calloc(&s->c->arena, n + 1, sizeof *list);
    gw_assert(s->tables);
    for (size_t i = 0; i < n; i++) {
        struct stable *t = &s->tables[i];
        list[i] = s->job->tables[i]->source;
        t->id = list[i]->id;
        gw__tally__init(&t->sent);
        gw__counts__init(&t->total);
        t->sent.table = t->total.table = t->id;
        set_key(t, s->job->tables[i]);
    }
    s->start.tables = list;
    s->start.tables_n = n;
    s->start.others = s->job->others;
    s->start.others_n = s->job->n_others;
}

static int
send_open(struct stream *s, struct gw_err *err)
{
    Gw__StreamOpen open = GW__STREAM_OPEN__INIT;
    open.next_endpoint = s->job->apply_endpoint;
    open.window_bytes = gw_worker_task(s->c->w)->window_bytes;
    open.n_tables = s->job->n_tables;
    open.tables = s->job->tables;
    return gw_capture_send_open(s->c, &s->out, &open, err);
}

static int
run(struct stream *s, struct gw_err *err)
{
    struct capture *c = s->c;
    void *link = gw_capture_link(c, s->job->transform_endpoint, err);
    if (!link) {
        return err->cls;
    }
    gw_sender_init(&s->out, link, gw_worker_task_tag(c->w), s->job->stream, s->job->epoch,
                   gw_worker_task(c->w)->window_bytes);
    int r = gw_filter_new(&s->filter, c->ops, s->job->tables, s->job->n_tables, s->job->snapshot, err);
    r = r == GW_OK ? send_open(s, err) : r;
    r = r == GW_OK ? c->ops->stream_begin(c->self, &s->start, err) : r;
    if (r == GW_OK && s->job->until_now) {
        char *now = NULL;
        r = c->ops->stream_now(c->self, &c->arena, &now, err);
        if (r == GW_OK) {
            gw_stream_set_text(&s->until, now);
        }
    } else if (s->job->until[0]) {
        gw_stream_set_text(&s->until, s->job->until);
    }
    r = r == GW_OK ? gw_stream_passed_until(s, err) : r;
    if (r != GW_OK) {
        return r;
    }
    s->ending = s->ending || gw_worker_end_asked(c->w);
    gw_info("stream begun position=\"%s\" tables=%zu%s%s", s->position, s->start.tables_n, s->until ? " until=" : "",
            s->until ? s->until : "");
    return pump(s, err);
}

static void
stream_fini(struct stream *s)
{
    gw_filter_free(s->filter);
    for (size_t i = 0; s->tables && i < s->start.tables_n; i++) {
        free(s->tables[i].key);
    }
    free(s->tables);
    free(s->transaction);
    free(s->position);
    free(s->until);
    gw_buf_fini(&s->batch);
}

static void
set_start(struct capture *c, struct gw_stream_start *start, Gw__Table *const *tables, size_t n, const char *position)
{
    start->task = gw_worker_task(c->w);
    start->task_uuid = gw_worker_task_uuid(c->w);
    start->tables = tables;
    start->tables_n = n;
    start->position = position;
}

int
gw_capture_read_stream(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    struct stream s = {.c = c, .job = cmd->read_stream};
    s.done = gw_pb_new(&c->arena, Gw__StreamDone, gw__stream_done__init);
    gw_buf_init(&s.batch, GW_PAYLOAD_MAX);
    gw_stream_set_text(&s.position, s.job->position);
    set_start(c, &s.start, NULL, 0, s.job->position);
    set_tables(&s);
    int r = run(&s, err);
    if (r == GW_OK) {
        s.done->position = gw_arena_strdup(&c->arena, s.position);
        reply->body_case = GW__REPLY__BODY_STREAM_DONE;
        reply->stream_done = s.done;
    }
    stream_fini(&s);
    // The stream is over, and with it the connection that it used; the next job opens another.
    gw_capture_close_source(c);
    return r == GW_OK ? r : gw_err_wrap(err, "read changes");
}

int
gw_capture_open_stream(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    const Gw__OpenStream *o = cmd->open_stream;
    struct gw_stream_start start;
    set_start(c, &start, o->tables, o->n_tables, o->position);
    Gw__StreamOpened *opened = gw_pb_new(&c->arena, Gw__StreamOpened, gw__stream_opened__init);
    int r;
    if (o->position[0]) {
        opened->position = o->position;
        r = c->ops->stream_check(c->self, &start, err);
    } else {
        r = c->ops->stream_open(c->self, &c->arena, &start, &opened->position, &opened->handle, err);
    }
    if (r != GW_OK) {
        return gw_err_wrap(err, o->position[0] ? "check the stream of changes" : "open the stream of changes");
    }
    gw_info("stream %s position=\"%s\"", o->position[0] ? "can go on" : "opened", opened->position);
    reply->body_case = GW__REPLY__BODY_STREAM;
    reply->stream = opened;
    return GW_OK;
}

int
gw_capture_close_stream(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    (void)reply;
    struct gw_stream_start start;
    set_start(c, &start, cmd->close_stream->tables, cmd->close_stream->n_tables, "");
    if (!(c->ops->caps & GW_SOURCE_STREAM)) {
        return GW_OK;
    }
    int r = c->ops->stream_close(c->self, &start, err);
    return r == GW_OK ? r : gw_err_wrap(err, "remove what the stream has left on the source");
}
