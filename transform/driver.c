#include "transform/driver.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/bus.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/link.h"
#include "common/log.h"
#include "transform/changes.h"

enum { ROUTES_MAX = 128, LINKS_MAX = 64 };

// A message that waits for credit. There are never more than a window's worth.
struct pending {
    struct pending *next;
    zmq_msg_t payload;
    struct gw_envelope env; // kind, rows, codec and raw size are what it goes out with
};

// A stream on its way through.
struct route {
    struct gw_inflow in;
    struct gw_sender out;
    struct pending *head, **tail;
    uint64_t *max_bytes; // NULL: rows pass as they are
    bool *is_hex;
    size_t columns;
    struct gw_changes *changes; // NULL: a chunk's rows
    uint64_t bytes_out, truncated;
    bool ended;      // END has been taken in
    unsigned breaks; // of the link out, when the stream began
};

struct transform {
    struct gw_worker *w;
    struct gw_arena arena; // of the job in hand
    struct route *routes[ROUTES_MAX];
    size_t routes_n;
    struct gw_link links[LINKS_MAX]; // suspect: a stream on it has failed, what comes next gets a new connection
    size_t links_n;
};

// ---- routes ------------------------------------------------------------------------------------

static struct gw_link *
link_of(struct transform *t, const void *socket)
{
    for (size_t i = 0; i < t->links_n; i++) {
        if (t->links[i].socket == socket) {
            return &t->links[i];
        }
    }
    return NULL;
}

static void
route_free(struct transform *t, size_t at)
{
    struct route *r = t->routes[at];
    while (r->head) {
        struct pending *p = r->head;
        r->head = p->next;
        zmq_msg_close(&p->payload);
        free(p);
    }
    gw_changes_free(r->changes);
    free(r->max_bytes);
    free(r->is_hex);
    free(r);
    t->routes[at] = t->routes[--t->routes_n];
}

// All of it was sent on.
static void
route_end(struct transform *t, size_t at)
{
    const struct route *r = t->routes[at];
    gw_link_ended(link_of(t, r->out.socket), r->in.stream, r->in.epoch, r->breaks);
    route_free(t, at);
}

static struct route *
route_find(struct transform *t, uint64_t stream, uint64_t epoch, size_t *at)
{
    for (*at = 0; *at < t->routes_n; (*at)++) {
        if (t->routes[*at]->in.stream == stream && t->routes[*at]->in.epoch == epoch) {
            return t->routes[*at];
        }
    }
    return NULL;
}

static void
fail_stream(struct transform *t, size_t at, const struct gw_err *err)
{
    struct route *r = t->routes[at];
    gw_log_err(GW_LOG_WARN, err, "stream %" PRIu64, r->in.stream);
    gw_worker_stream_failed(t->w, r->in.stream, r->in.epoch, err);
    gw_send_reset(gw_worker_router(t->w), &r->in.peer, r->in.task, r->in.stream, r->in.epoch);
    route_free(t, at);
}

static bool
link_is_used(const struct transform *t, const void *socket)
{
    for (size_t k = 0; k < t->routes_n; k++) {
        if (t->routes[k]->out.socket == socket) {
            return true;
        }
    }
    return false;
}

static void
drop_link(struct transform *t, size_t at)
{
    gw_link_close(&t->links[at]);
    t->links[at] = t->links[--t->links_n];
}

// A link whose routes are all gone may go, too.
static void
drop_idle_link(struct transform *t)
{
    for (size_t i = 0; i < t->links_n; i++) {
        if (!link_is_used(t, t->links[i].socket)) {
            drop_link(t, i);
            return;
        }
    }
}

// Links that a stream failed on go as soon as the streams that still hope for them have ended.
static void
drop_suspect_links(struct transform *t)
{
    for (size_t i = 0; i < t->links_n;) {
        if (t->links[i].suspect && !link_is_used(t, t->links[i].socket)) {
            drop_link(t, i);
        } else {
            i++;
        }
    }
}

static void *
link_to(struct transform *t, const char *endpoint, struct gw_err *err)
{
    for (size_t i = 0; i < t->links_n; i++) {
        if (!t->links[i].suspect && strcmp(t->links[i].endpoint, endpoint) == 0) {
            return t->links[i].socket;
        }
    }
    if (t->links_n == LINKS_MAX) {
        drop_idle_link(t);
    }
    if (t->links_n == LINKS_MAX) {
        gw_err_set(err, GW_RETRY, NULL, "too many apply processes at once: %d", LINKS_MAX);
        return NULL;
    }
    struct gw_link *l = &t->links[t->links_n];
    if (gw_link_open(l, gw_worker_zctx(t->w), endpoint, err) != GW_OK) {
        return NULL;
    }
    t->links_n++;
    return l->socket;
}

// Streams whose connection broke under them are lost; so are those whose connection does not come about.
static void
check_links(struct transform *t)
{
    for (size_t i = 0; i < t->links_n; i++) {
        uint64_t stream, epoch;
        struct gw_err err = {0};
        gw_link_look(&t->links[i]);
        while (gw_link_take_lost(&t->links[i], &stream, &epoch, &err)) {
            t->links[i].suspect = true;
            gw_worker_stream_failed(t->w, stream, epoch, &err);
        }
    }
    for (size_t i = 0; i < t->routes_n;) {
        struct gw_err err = {0};
        struct gw_link *l = link_of(t, t->routes[i]->out.socket);
        if (gw_link_check(l, t->routes[i]->breaks, &err) != GW_OK) {
            l->suspect = true;
            fail_stream(t, i, &err);
        } else {
            i++;
        }
    }
}

// Which columns are cut, in the order of the fields.
static void
set_limits(struct route *r, const Gw__StreamOpen *open)
{
    bool any = false;
    for (size_t i = 0; i < open->n_max_bytes; i++) {
        any = any || open->max_bytes[i];
    }
    if (!any) {
        return;
    }
    r->columns = open->n_max_bytes;
    r->max_bytes = calloc(r->columns, sizeof *r->max_bytes);
    r->is_hex = calloc(r->columns, sizeof *r->is_hex);
    gw_assert(r->max_bytes && r->is_hex);
    memcpy(r->max_bytes, open->max_bytes, r->columns * sizeof *r->max_bytes);
    for (size_t i = 0, k = 0; open->table && i < open->table->n_columns && k < r->columns; i++) {
        const Gw__Column *c = open->table->columns[i];
        if (!c->left_out) {
            r->is_hex[k++] = gw_is_hex(c);
        }
    }
}

static int
open_route(struct transform *t, const struct gw_peer *peer, const struct gw_envelope *env, zmq_msg_t *payload,
           struct route **ret, struct gw_err *err)
{
    struct gw_arena a;
    gw_arena_init(&a);
    const Gw__StreamOpen *open = NULL;
    int r = GW_OK;
    void *socket = NULL;
    if (env->codec == GW__CODEC__CODEC_RAW) { // only rows travel packed
        open = gw__stream_open__unpack(gw_arena_pb(&a), zmq_msg_size(payload), zmq_msg_data(payload));
    }
    if (!open || env->sequence != 0 || open->window_bytes == 0) {
        r = gw_err_set(err, GW_BUG, NULL, "malformed start of stream %" PRIu64, env->stream);
    } else if (t->routes_n == ROUTES_MAX) {
        r = gw_err_set(err, GW_RETRY, NULL, "too many streams at once: %d", ROUTES_MAX);
    } else if (!(socket = link_to(t, open->next_endpoint, err))) {
        r = err->cls;
    } else {
        struct route *route = calloc(1, sizeof *route);
        gw_assert(route);
        route->tail = &route->head;
        gw_inflow_init(&route->in, peer, env->task, env, open->window_bytes);
        gw_inflow_consumed(&route->in, gw_worker_router(t->w), 0); // the opening message may be a large one
        gw_sender_init(&route->out, socket, env->task, env->stream, env->epoch, open->window_bytes);
        gw_link_look(link_of(t, socket));
        route->breaks = link_of(t, socket)->breaks;
        if (open->n_tables) {
            route->changes = gw_changes_new(open);
        } else {
            set_limits(route, open);
        }
        t->routes[t->routes_n++] = route;
        *ret = route;
    }
    gw_arena_fini(&a);
    return r;
}

// ---- messages ----------------------------------------------------------------------------------

// Sends what credit allows, and gives as much back upstream.
static int
flush_route(struct transform *t, struct route *r, struct gw_err *err)
{
    while (r->head && gw_sender_may_send(&r->out, r->head->env.raw_size)) {
        struct pending *p = r->head;
        r->head = p->next;
        if (!r->head) {
            r->tail = &r->head;
        }
        size_t len = p->env.raw_size;
        int s = gw_sender_forward(&r->out, &p->env, &p->payload, err);
        free(p);
        if (s != GW_OK) {
            return s;
        }
        gw_inflow_consumed(&r->in, gw_worker_router(t->w), len);
    }
    return GW_OK;
}

static int
cut_message(struct route *r, struct gw_envelope *env, zmq_msg_t *payload, struct gw_err *err)
{
    struct gw_buf out;
    int c = gw_payload_unpack(env, payload, err);
    if (c != GW_OK) {
        return c;
    }
    gw_buf_init(&out, GW_PAYLOAD_MAX);
    c = gw_cut_rows(zmq_msg_data(payload), zmq_msg_size(payload), r->max_bytes, r->is_hex, r->columns, &out,
                    &r->truncated, err);
    if (c == GW_OK) {
        zmq_msg_close(payload);
        gw_msg_take(payload, &out);
        env->raw_size = zmq_msg_size(payload);
    }
    gw_buf_fini(&out);
    return c;
}

// The totals of what goes out, which differ from what came in where values were cut.
static int
rewrite_end(struct route *r, zmq_msg_t *payload, struct gw_err *err)
{
    Gw__StreamEnd *in = gw__stream_end__unpack(NULL, zmq_msg_size(payload), zmq_msg_data(payload));
    if (!in) {
        return gw_err_set(err, GW_BUG, NULL, "malformed end of stream");
    }
    bool same = (in->rows == r->in.rows && in->bytes == r->in.bytes) || !GW_GUARD("bus.totals");
    gw__stream_end__free_unpacked(in, NULL);
    if (!same) {
        return gw_err_set(err, GW_RETRY, NULL, "rows or bytes at the end of the stream differ from what came");
    }
    Gw__StreamEnd end = GW__STREAM_END__INIT;
    end.rows = r->in.rows;
    end.bytes = r->bytes_out;
    end.values_truncated = r->truncated;
    zmq_msg_close(payload);
    zmq_msg_init_size(payload, gw__stream_end__get_packed_size(&end));
    gw__stream_end__pack(&end, zmq_msg_data(payload));
    return GW_OK;
}

static int
forward(struct transform *t, struct route *r, const struct gw_envelope *env, zmq_msg_t *payload, struct gw_err *err)
{
    int c = GW_OK;
    struct gw_envelope out = *env;
    if (GW_FAULT("transform.forward")) {
        return gw_err_set(err, GW_RETRY, NULL, "fault point transform.forward");
    }
    if (env->kind == GW__DATA_KIND__DATA_ROWS && GW_FAULT("transform.lose")) { // a bug of ours, that is
        gw_inflow_consumed(&r->in, gw_worker_router(t->w), env->raw_size);
        return GW_OK;
    }
    if (env->kind == GW__DATA_KIND__DATA_ROWS) {
        // What no rule touches stays as it came, packed or not.
        c = r->max_bytes ? cut_message(r, &out, payload, err) : GW_OK;
        r->bytes_out += out.raw_size;
    } else {
        c = gw_payload_unpack(&out, payload, err);
    }
    if (c == GW_OK && env->kind == GW__DATA_KIND__DATA_CHANGES) {
        c = r->changes ? gw_changes_pass(r->changes, payload, &r->truncated, err) : GW_OK;
        out.raw_size = zmq_msg_size(payload);
        r->bytes_out += out.raw_size;
    } else if (c == GW_OK && env->kind == GW__DATA_KIND__DATA_END) {
        c = rewrite_end(r, payload, err);
        out.raw_size = zmq_msg_size(payload);
        r->ended = true;
    }
    if (c != GW_OK) {
        return c;
    }
    struct pending *p = malloc(sizeof *p);
    gw_assert(p);
    *p = (struct pending){.env = out};
    zmq_msg_init(&p->payload);
    zmq_msg_move(&p->payload, payload);
    // Bytes that a cut took away are consumed here; the rest when it is sent on.
    if (out.raw_size < env->raw_size) {
        gw_inflow_consumed(&r->in, gw_worker_router(t->w), env->raw_size - out.raw_size);
    }
    *r->tail = p;
    r->tail = &p->next;
    return flush_route(t, r, err);
}

static void
take_message(struct transform *t, const struct gw_peer *peer, const struct gw_envelope *env, zmq_msg_t *payload)
{
    struct gw_err err = {0};
    size_t at;
    struct route *r = route_find(t, env->stream, env->epoch, &at);
    int c = GW_OK;
    if (!r && env->kind == GW__DATA_KIND__DATA_OPEN) {
        c = open_route(t, peer, env, payload, &r, &err);
        at = t->routes_n - 1;
    } else if (r) {
        c = gw_inflow_accept(&r->in, peer, env, &err);
    } else {
        gw_send_reset(gw_worker_router(t->w), peer, env->task, env->stream, env->epoch);
        return;
    }
    if (c == GW_OK) {
        c = forward(t, r, env, payload, &err);
    }
    if (c != GW_OK && r) {
        fail_stream(t, at, &err);
    } else if (c != GW_OK) {
        gw_log_err(GW_LOG_WARN, &err, "stream %" PRIu64, env->stream);
        gw_worker_stream_failed(t->w, env->stream, env->epoch, &err);
        gw_send_reset(gw_worker_router(t->w), peer, env->task, env->stream, env->epoch);
    } else if (r->ended && !r->head) {
        route_end(t, at);
    }
}

// A message that cannot be believed names no stream for sure: the stream it belongs to will miss it.
static bool
take_data(struct transform *t)
{
    bool any = false;
    for (;;) {
        struct gw_peer peer;
        struct gw_envelope env;
        zmq_msg_t payload;
        zmq_msg_init(&payload);
        struct gw_err err = {0};
        int r = gw_receive_packed(gw_worker_router(t->w), gw_worker_task_tag(t->w), &peer, &env, &payload, &err);
        if (r == GW_OK) {
            take_message(t, &peer, &env, &payload);
        } else if (r != GW_AGAIN) {
            gw_log_err(GW_LOG_WARN, &err, "a data message is dropped");
        }
        zmq_msg_close(&payload);
        if (r == GW_AGAIN) {
            return any;
        }
        any = true;
    }
}

static void
take_credit(struct transform *t, void *socket)
{
    for (;;) {
        uint8_t header[GW_HEADER_MAX];
        int n = zmq_recv(socket, header, sizeof header, ZMQ_DONTWAIT);
        struct gw_err err = {0};
        struct gw_envelope env;
        size_t at;
        if (n < 0) {
            return;
        }
        if (gw_frame_decode(header, (size_t)n, NULL, 0, gw_worker_task_tag(t->w), &env, &err) != GW_OK) {
            gw_log_err(GW_LOG_WARN, &err, "a credit message is dropped");
            continue;
        }
        struct route *r = route_find(t, env.stream, env.epoch, &at);
        if (!r) {
            continue;
        }
        gw_sender_feedback(&r->out, &env);
        if (r->out.reset) { // the receiver reports the cause itself
            gw_send_reset(gw_worker_router(t->w), &r->in.peer, r->in.task, r->in.stream, r->in.epoch);
            route_free(t, at);
        } else if (flush_route(t, r, &err) != GW_OK) {
            fail_stream(t, at, &err);
        } else if (r->ended && !r->head) {
            route_end(t, at);
        }
    }
}

// ---- the loop ----------------------------------------------------------------------------------

static void
take_cancels(struct transform *t)
{
    uint64_t stream, epoch;
    while (gw_worker_take_cancelled_stream(t->w, &stream, &epoch)) {
        for (size_t i = 0; i < t->routes_n;) {
            struct route *r = t->routes[i];
            if (r->in.stream == stream && r->in.epoch <= epoch) {
                gw_send_reset(gw_worker_router(t->w), &r->in.peer, r->in.task, stream, r->in.epoch);
                link_of(t, r->out.socket)->suspect =
                    true; // it may be called back because nothing arrives at the other end
                route_free(t, i);
            } else {
                i++;
            }
        }
    }
}

static void
run_job(struct transform *t, const Gw__Command *cmd)
{
    struct gw_err err = {0};
    Gw__Reply reply = GW__REPLY__INIT;
    reply.job = cmd->job;
    gw_arena_reset(&t->arena);
    if (cmd->body_case == GW__COMMAND__BODY_MAP) {
        Gw__Catalog *mapped = NULL;
        if (gw_map_catalog(gw_worker_task(t->w), cmd->map->catalog, &t->arena, &mapped, &err) == GW_OK) {
            reply.body_case = GW__REPLY__BODY_CATALOG;
            reply.catalog = mapped;
        }
    } else {
        gw_err_set(&err, GW_BUG, NULL, "transform does not know command %d", (int)cmd->body_case);
    }
    gw_worker_reply(t->w, &reply, &err);
}

static int
transform_run(struct gw_worker *w, struct gw_err *err)
{
    struct transform t = {.w = w};
    gw_arena_init(&t.arena);
    int r = GW_OK;
    for (;;) {
        const Gw__Command *cmd;
        r = gw_worker_next(w, 0, &cmd, err);
        if (r == GW_OK) {
            run_job(&t, cmd);
        } else if (r != GW_AGAIN) {
            break;
        }
        take_cancels(&t);
        check_links(&t);
        drop_suspect_links(&t); // not while their sockets are being looked at
        zmq_pollitem_t items[2 * LINKS_MAX + 1];
        int n = 0;
        items[n++] = (zmq_pollitem_t){.socket = gw_worker_router(w), .events = ZMQ_POLLIN};
        for (size_t i = 0; i < t.links_n; i++) {
            items[n++] = (zmq_pollitem_t){.socket = t.links[i].socket, .events = ZMQ_POLLIN};
        }
        int links = n;
        for (size_t i = 0; i < t.links_n; i++) {
            items[n++] = (zmq_pollitem_t){.socket = t.links[i].watch, .events = ZMQ_POLLIN};
        }
        r = gw_worker_poll(w, items, n, gw_now_us() + GW_S, false, err);
        if (r == GW_OK) {
            (void)take_data(&t);
            for (int i = 1; i < links; i++) {
                if (items[i].revents) {
                    take_credit(&t, items[i].socket);
                }
            }
        } else if (r != GW_AGAIN) {
            break;
        }
    }
    while (t.routes_n) {
        route_free(&t, 0);
    }
    while (t.links_n) {
        drop_link(&t, 0);
    }
    gw_arena_fini(&t.arena);
    return r;
}

const struct gw_stage gw_transform_stage = {
    .id = GW__STAGE__STAGE_TRANSFORM,
    .name = "transform",
    .summary = "maps tables and carries rows from capture to apply",
    .receives = true,
    .run = transform_run,
};
