#include "capture/driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/source.h"
#include "common/bus.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mapping.h"
#include "common/secret.h"

enum { LINKS_MAX = 16 };

struct capture {
    struct gw_worker *w;
    struct gw_arena arena; // of the job in hand
    const struct gw_source_ops *ops;
    void *self;
    bool open;
    uint64_t task_version; // that it was opened with
    char *token;           // of the open snapshot; NULL = none
    struct {
        char *endpoint;
        void *socket;
    } links[LINKS_MAX];
    size_t links_n;
};

static void
close_source(struct capture *c)
{
    if (c->self) {
        c->ops->close(c->self);
        free(c->self);
        c->self = NULL;
    }
    c->open = false;
    free(c->token);
    c->token = NULL;
}

static int
open_source(struct capture *c, struct gw_err *err)
{
    if (c->open && c->task_version == gw_worker_task_version(c->w)) {
        return GW_OK;
    }
    close_source(c);
    const Gw__Endpoint *ep = gw_worker_task(c->w)->source;
    c->ops = gw_source_find(ep->engine);
    if (!c->ops) {
        return gw_err_set(err, GW_CONFIG, NULL, "source engine \"%s\" is not part of this build", ep->engine);
    }
    const char *password = NULL;
    int r = gw_secret_resolve(ep, &c->arena, &password, err);
    if (r != GW_OK) {
        return gw_err_wrap(err, "source password");
    }
    c->task_version = gw_worker_task_version(c->w);
    c->self = calloc(1, c->ops->state_size);
    gw_assert(c->self);
    r = c->ops->open(c->self, ep, password, err);
    if (r != GW_OK) {
        close_source(c);
        return gw_err_wrap(err, "source");
    }
    c->open = true;
    return GW_OK;
}

// ---- catalogue ---------------------------------------------------------------------------------

// Keeps what the selection rules include, in order of load.
static void
select_tables(const Gw__Task *task, Gw__Catalog *cat)
{
    size_t kept = 0;
    for (size_t i = 0; i < cat->n_tables; i++) {
        Gw__Table *t = cat->tables[i];
        int32_t order = 0;
        if (gw_mapping_selected(task, t->schema, t->name, t->kind, &order)) {
            t->load_order = order;
            cat->tables[kept++] = t;
        }
    }
    cat->n_tables = kept;
}

static int
do_inspect(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    Gw__Catalog *cat = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    cat->engine = gw_arena_strdup(&c->arena, c->ops->name);
    int r = c->ops->identity(c->self, &c->arena, &cat->identity, err);
    if (r == GW_OK && cmd->inspect->describe) {
        const Gw__Task *task = gw_worker_task(c->w);
        r = c->ops->list(c->self, &c->arena, cat, err);
        if (r == GW_OK) {
            gw_mapping_unmatched(task, cat, &c->arena);
            select_tables(task, cat);
            r = c->ops->describe(c->self, &c->arena, cat, err);
        }
    }
    reply->body_case = GW__REPLY__BODY_CATALOG;
    reply->catalog = cat;
    return r;
}

static int
do_sequences(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    Gw__Table *t = gw_pb_dup(&c->arena, cmd->sequences->table);
    Gw__Catalog *cat = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    gw_pb_add(&c->arena, cat, tables, t);
    reply->body_case = GW__REPLY__BODY_CATALOG;
    reply->catalog = cat;
    return c->ops->sequences(c->self, t, err);
}

// ---- snapshot and plan -------------------------------------------------------------------------

static int
do_snapshot(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    Gw__SnapshotOpened *s = gw_pb_new(&c->arena, Gw__SnapshotOpened, gw__snapshot_opened__init);
    free(c->token);
    c->token = NULL;
    char *token = NULL, *handle = NULL;
    const char *join = cmd->open_snapshot->handle;
    if (join[0]) {
        (void)GW_FAULT("capture.snapshot.join");
        join = GW_FAULT("capture.snapshot.apart") ? "" : join;
    }
    int r = c->ops->snapshot_begin(c->self, &c->arena, join, &token, &handle, err);
    if (r != GW_OK) {
        return r;
    }
    // Readers that believe they share a snapshot and do not would lose or double rows.
    const char *want = cmd->open_snapshot->token;
    if (want[0] && strcmp(want, token) != 0) {
        if (GW_GUARD("capture.token")) {
            return gw_err_set(err, GW_AGAIN, NULL, "the shared snapshot is %s, not %s", token, want);
        }
        token = gw_arena_strdup(&c->arena, want); // as a reader that does not look would say
    }
    c->token = strdup(token);
    gw_assert(c->token);
    s->token = token;
    s->handle = handle;
    reply->body_case = GW__REPLY__BODY_SNAPSHOT;
    reply->snapshot = s;
    gw_info("snapshot open token=\"%s\" %s", token, cmd->open_snapshot->handle[0] ? "shared" : "new");
    return GW_OK;
}

static int
do_plan(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    const Gw__PlanTable *p = cmd->plan;
    Gw__TablePlan *plan = gw_pb_new(&c->arena, Gw__TablePlan, gw__table_plan__init);
    if (!c->token) {
        return gw_err_set(err, GW_AGAIN, GW_CODE_NO_SNAPSHOT, "no snapshot is open");
    }
    int r = c->ops->plan(c->self, &c->arena, p->table, p->rule, gw_worker_task(c->w)->chunk_bytes, p->lanes, plan, err);
    if (r != GW_OK) {
        return gw_err_wrap(err, "plan table \"%s.%s\"", p->table->source_schema, p->table->source_name);
    }
    for (size_t i = 0; i < plan->n_chunks; i++) {
        plan->chunks[i]->table_id = p->table->id;
        plan->chunks[i]->no = (uint32_t)i;
        plan->chunks[i]->generation = p->generation;
    }
    reply->body_case = GW__REPLY__BODY_PLAN;
    reply->plan = plan;
    return GW_OK;
}

// ---- reading a chunk ---------------------------------------------------------------------------

// One socket per transform process, kept: credit of earlier streams that still arrives is ignored.
static void *
link_to(struct capture *c, const char *endpoint, struct gw_err *err)
{
    for (size_t i = 0; i < c->links_n; i++) {
        if (strcmp(c->links[i].endpoint, endpoint) == 0) {
            return c->links[i].socket;
        }
    }
    if (c->links_n == LINKS_MAX) { // transforms that came and went: the oldest goes
        zmq_close(c->links[0].socket);
        free(c->links[0].endpoint);
        memmove(&c->links[0], &c->links[1], --c->links_n * sizeof c->links[0]);
    }
    void *s = gw_dealer_connect(gw_worker_zctx(c->w), endpoint, err);
    if (s) {
        c->links[c->links_n].socket = s;
        c->links[c->links_n].endpoint = strdup(endpoint);
        gw_assert(c->links[c->links_n].endpoint);
        c->links_n++;
    }
    return s;
}

static int
send_with_credit(struct capture *c, struct gw_sender *s, Gw__DataKind kind, uint32_t rows, zmq_msg_t *msg,
                 struct gw_err *err)
{
    for (;;) {
        int r = gw_sender_drain(s, err);
        if (r == GW_OK && s->reset) {
            r = gw_err_set(err, GW_FENCED, NULL, "the receiver gave up the stream");
        }
        if (r != GW_OK) {
            zmq_msg_close(msg);
            return r;
        }
        if (gw_sender_may_send(s, zmq_msg_size(msg))) {
            return gw_sender_send(s, kind, rows, msg, err);
        }
        zmq_pollitem_t item = {.socket = s->socket, .events = ZMQ_POLLIN};
        r = gw_worker_poll(c->w, &item, 1, gw_now_us() + 60 * GW_S, true, err);
        if (r != GW_OK && r != GW_AGAIN) {
            zmq_msg_close(msg);
            return r;
        }
    }
}

static int
send_open(struct capture *c, struct gw_sender *s, const Gw__ReadChunk *rc, struct gw_err *err)
{
    Gw__StreamOpen open = GW__STREAM_OPEN__INIT;
    open.next_endpoint = rc->apply_endpoint;
    open.table = rc->target;
    open.n_max_bytes = rc->n_max_bytes;
    open.max_bytes = rc->max_bytes;
    open.window_bytes = gw_worker_task(c->w)->window_bytes;
    zmq_msg_t msg;
    zmq_msg_init_size(&msg, gw__stream_open__get_packed_size(&open));
    gw__stream_open__pack(&open, zmq_msg_data(&msg));
    return send_with_credit(c, s, GW__DATA_KIND__DATA_OPEN, 0, &msg, err);
}

static int
send_end(struct capture *c, struct gw_sender *s, const Gw__Chunk *done, struct gw_err *err)
{
    Gw__StreamEnd end = GW__STREAM_END__INIT;
    end.rows = done->rows_read;
    end.bytes = done->bytes;
    zmq_msg_t msg;
    zmq_msg_init_size(&msg, gw__stream_end__get_packed_size(&end));
    gw__stream_end__pack(&end, zmq_msg_data(&msg));
    return send_with_credit(c, s, GW__DATA_KIND__DATA_END, 0, &msg, err);
}

// Batches go out as they are read; the buffer's memory becomes the message's.
static int
send_rows(struct capture *c, struct gw_sender *s, Gw__Chunk *done, struct gw_err *err)
{
    const Gw__Task *task = gw_worker_task(c->w);
    struct gw_buf batch;
    gw_buf_init(&batch, GW_PAYLOAD_MAX);
    int r = GW_OK;
    while (r == GW_OK) {
        uint32_t rows = 0;
        (void)gw_buf_room(&batch, task->batch_bytes + task->batch_bytes / 4);
        r = c->ops->chunk_next(c->self, &batch, task->batch_bytes, task->load->commit_rate, &rows, err);
        if ((r != GW_OK && r != GW_END) || (rows == 0 && r == GW_END)) {
            break;
        }
        if (GW_FAULT("capture.chunk.read")) {
            r = gw_err_set(err, GW_RETRY, NULL, "fault point capture.chunk.read");
            break;
        }
        done->rows_read += rows;
        done->bytes += batch.len;
        zmq_msg_t msg;
        gw_msg_take(&msg, &batch);
        int sent = send_with_credit(c, s, GW__DATA_KIND__DATA_ROWS, rows, &msg, err);
        if (sent == GW_OK && gw_worker_cancelled(c->w)) {
            sent = gw_err_set(err, GW_FENCED, NULL, "the job was taken back by the coordinator");
        }
        r = sent != GW_OK ? sent : r;
        gw_worker_progress(c->w, done->rows_read, done->bytes);
    }
    gw_buf_fini(&batch);
    return r;
}

static int
do_read(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    const Gw__ReadChunk *rc = cmd->read_chunk;
    if (!c->token || (rc->snapshot[0] && strcmp(rc->snapshot, c->token) != 0)) {
        return gw_err_set(err, GW_AGAIN, GW_CODE_NO_SNAPSHOT, "this reader is not in the snapshot of the chunk");
    }
    void *link = link_to(c, rc->transform_endpoint, err);
    if (!link) {
        return err->cls;
    }
    struct gw_sender s;
    gw_sender_init(&s, link, gw_worker_task_tag(c->w), rc->stream, rc->epoch, gw_worker_task(c->w)->window_bytes);
    Gw__Chunk *done = gw_pb_new(&c->arena, Gw__Chunk, gw__chunk__init);
    int r = send_open(c, &s, rc, err);
    if (r == GW_OK) {
        r = c->ops->chunk_begin(c->self, rc->source, rc->chunk, err);
        if (r == GW_AGAIN) { // this snapshot cannot see the table as it is stored now
            free(c->token);
            c->token = NULL;
        }
    }
    if (r == GW_OK) {
        r = send_rows(c, &s, done, err);
        if (r == GW_END) {
            if (GW_FAULT("capture.chunk.end")) {
                return gw_err_set(err, GW_RETRY, NULL, "fault point capture.chunk.end");
            }
            r = send_end(c, &s, done, err);
        } else if (r == GW_FENCED) {
            // The chunk was given up from outside: the connection is sound, the snapshot worth keeping.
            struct gw_err ignored = {0};
            if (c->ops->chunk_cancel(c->self, &ignored) != GW_OK) {
                close_source(c);
            }
        }
    }
    if (r != GW_OK) {
        return gw_err_wrap(err, "read table \"%s.%s\" chunk %u", rc->source->source_schema, rc->source->source_name,
                           rc->chunk->no);
    }
    done->table_id = rc->chunk->table_id;
    done->no = rc->chunk->no;
    done->snapshot = c->token;
    reply->body_case = GW__REPLY__BODY_CHUNK;
    reply->chunk = done;
    return GW_OK;
}

// ---- the loop ----------------------------------------------------------------------------------

static const struct {
    Gw__Command__BodyCase body;
    int (*run)(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err);
} jobs[] = {
    {GW__COMMAND__BODY_INSPECT, do_inspect},     {GW__COMMAND__BODY_OPEN_SNAPSHOT, do_snapshot},
    {GW__COMMAND__BODY_PLAN, do_plan},           {GW__COMMAND__BODY_READ_CHUNK, do_read},
    {GW__COMMAND__BODY_SEQUENCES, do_sequences},
};

static int
run_job(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        if (jobs[i].body == cmd->body_case) {
            int r = open_source(c, err);
            return r != GW_OK ? r : jobs[i].run(c, cmd, reply, err);
        }
    }
    return gw_err_set(err, GW_BUG, NULL, "capture does not know command %d", (int)cmd->body_case);
}

static int
capture_run(struct gw_worker *w, struct gw_err *err)
{
    struct capture c = {.w = w};
    gw_arena_init(&c.arena);
    int r;
    for (;;) {
        const Gw__Command *cmd;
        r = gw_worker_next(w, gw_now_us() + 3600 * GW_S, &cmd, err);
        if (r == GW_AGAIN) {
            continue;
        }
        if (r != GW_OK) {
            break;
        }
        gw_arena_reset(&c.arena);
        struct gw_err e = {0};
        Gw__Reply reply = GW__REPLY__INIT;
        reply.job = cmd->job;
        int jr = run_job(&c, cmd, &reply, &e);
        if (jr != GW_OK) {
            reply.body_case = GW__REPLY__BODY__NOT_SET;
            gw_log_err(jr == GW_FENCED || jr == GW_AGAIN ? GW_LOG_INFO : GW_LOG_WARN, &e, "job %" PRIu64, cmd->job);
            if (jr != GW_AGAIN && jr != GW_FENCED) {
                close_source(&c); // source.h: after a failure only close is legal
            }
        }
        gw_worker_reply(w, &reply, &e);
    }
    close_source(&c);
    for (size_t i = 0; i < c.links_n; i++) {
        zmq_close(c.links[i].socket);
        free(c.links[i].endpoint);
    }
    gw_arena_fini(&c.arena);
    return r;
}

const struct gw_stage gw_capture_stage = {
    .id = GW__STAGE__STAGE_CAPTURE,
    .name = "capture",
    .summary = "reads a source database",
    .run = capture_run,
};
