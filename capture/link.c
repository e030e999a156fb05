// Sockets to transforms, and sending on them within the receiver's credit.
#include <string.h>

#include "capture/capture.h"
#include "common/clock.h"

static void
drop_link(struct capture *c, size_t at)
{
    gw_link_close(&c->links[at]);
    memmove(&c->links[at], &c->links[at + 1], (--c->links_n - at) * sizeof c->links[0]);
}

static struct gw_link *
link_of(struct capture *c, const void *socket)
{
    for (size_t i = 0; i < c->links_n; i++) {
        if (c->links[i].socket == socket) {
            return &c->links[i];
        }
    }
    gw_assert_failed("every stream has its link", __FILE__, __LINE__);
}

void
gw_capture_tell_lost(struct capture *c)
{
    for (size_t i = 0; i < c->links_n; i++) {
        uint64_t stream, epoch;
        struct gw_err err = {0};
        gw_link_look(&c->links[i]);
        while (gw_link_take_lost(&c->links[i], &stream, &epoch, &err)) {
            c->links[i].suspect = true;
            gw_worker_stream_failed(c->w, stream, epoch, &err);
        }
    }
}

void *
gw_capture_link(struct capture *c, const char *endpoint, struct gw_err *err)
{
    gw_capture_tell_lost(c);
    for (size_t i = 0; i < c->links_n;) {
        struct gw_link *l = &c->links[i];
        bool wanted = strcmp(l->endpoint, endpoint) == 0;
        if (wanted && !l->suspect && gw_link_check(l, l->breaks, NULL) == GW_OK) {
            c->breaks = l->breaks;
            return l->socket;
        }
        if (wanted) {
            drop_link(c, i);
        } else {
            i++;
        }
    }
    if (c->links_n == LINKS_MAX) { // transforms that came and went: the oldest goes
        drop_link(c, 0);
    }
    struct gw_link *l = &c->links[c->links_n];
    if (gw_link_open(l, gw_worker_zctx(c->w), endpoint, err) != GW_OK) {
        return NULL;
    }
    c->links_n++;
    c->breaks = 0;
    return l->socket;
}

void
gw_capture_unlink_all(struct capture *c)
{
    while (c->links_n) {
        drop_link(c, c->links_n - 1);
    }
}

void *
gw_capture_watch(struct capture *c, const struct gw_sender *s)
{
    return link_of(c, s->socket)->watch;
}

int
gw_capture_check_link(struct capture *c, struct gw_sender *s, struct gw_err *err)
{
    struct gw_link *l = link_of(c, s->socket);
    int r = gw_sender_drain(s, err);
    if (r == GW_OK && s->reset) {
        r = gw_err_set(err, GW_FENCED, NULL, "the receiver gave up the stream");
    }
    gw_link_look(l);
    r = r == GW_OK ? gw_link_check(l, c->breaks, err) : r;
    l->suspect = l->suspect || r != GW_OK;
    return r;
}

int
gw_capture_send(struct capture *c, struct gw_sender *s, Gw__DataKind kind, uint32_t rows, zmq_msg_t *msg,
                int (*idle)(void *ctx, struct gw_err *err), void *ctx, struct gw_err *err)
{
    int r = GW_OK;
    while (r == GW_OK) {
        r = gw_capture_check_link(c, s, err);
        if (r != GW_OK) {
            break;
        }
        if (gw_sender_may_send(s, zmq_msg_size(msg))) {
            return gw_sender_send(s, kind, rows, msg, err);
        }
        zmq_pollitem_t items[] = {{.socket = s->socket, .events = ZMQ_POLLIN},
                                  {.socket = gw_capture_watch(c, s), .events = ZMQ_POLLIN}};
        r = gw_worker_poll(c->w, items, 2, gw_now_us() + GW_S, true, err);
        r = r == GW_AGAIN ? GW_OK : r;
        r = r == GW_OK && idle ? idle(ctx, err) : r;
        gw_capture_tell_lost(c); // of streams before this one
    }
    link_of(c, s->socket)->suspect = true;
    zmq_msg_close(msg);
    return r;
}

int
gw_capture_send_open(struct capture *c, struct gw_sender *s, const Gw__StreamOpen *open, struct gw_err *err)
{
    zmq_msg_t msg;
    zmq_msg_init_size(&msg, gw__stream_open__get_packed_size(open));
    gw__stream_open__pack(open, zmq_msg_data(&msg));
    return gw_capture_send(c, s, GW__DATA_KIND__DATA_OPEN, 0, &msg, NULL, NULL, err);
}

int
gw_capture_send_end(struct capture *c, struct gw_sender *s, uint64_t rows, uint64_t bytes, struct gw_err *err)
{
    Gw__StreamEnd end = GW__STREAM_END__INIT;
    end.rows = rows;
    end.bytes = bytes;
    zmq_msg_t msg;
    zmq_msg_init_size(&msg, gw__stream_end__get_packed_size(&end));
    gw__stream_end__pack(&end, zmq_msg_data(&msg));
    int r = gw_capture_send(c, s, GW__DATA_KIND__DATA_END, 0, &msg, NULL, NULL, err);
    if (r == GW_OK) {
        gw_link_ended(link_of(c, s->socket), s->stream, s->epoch, c->breaks);
    }
    return r;
}
