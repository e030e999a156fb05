// Sockets to transforms, and sending on them within the receiver's credit.
#include <stdlib.h>
#include <string.h>

#include "capture/capture.h"
#include "common/clock.h"

void *
gw_capture_link(struct capture *c, const char *endpoint, struct gw_err *err)
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

void
gw_capture_unlink_all(struct capture *c)
{
    for (size_t i = 0; i < c->links_n; i++) {
        zmq_close(c->links[i].socket);
        free(c->links[i].endpoint);
    }
    c->links_n = 0;
}

int
gw_capture_send(struct capture *c, struct gw_sender *s, Gw__DataKind kind, uint32_t rows, zmq_msg_t *msg,
                int (*idle)(void *ctx, struct gw_err *err), void *ctx, struct gw_err *err)
{
    int r = GW_OK;
    while (r == GW_OK) {
        r = gw_sender_drain(s, err);
        if (r == GW_OK && s->reset) {
            r = gw_err_set(err, GW_FENCED, NULL, "the receiver gave up the stream");
        }
        if (r != GW_OK) {
            break;
        }
        if (gw_sender_may_send(s, zmq_msg_size(msg))) {
            return gw_sender_send(s, kind, rows, msg, err);
        }
        zmq_pollitem_t item = {.socket = s->socket, .events = ZMQ_POLLIN};
        r = gw_worker_poll(c->w, &item, 1, gw_now_us() + (idle ? 1 : 60) * GW_S, true, err);
        r = r == GW_AGAIN ? GW_OK : r;
        r = r == GW_OK && idle ? idle(ctx, err) : r;
    }
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
    return gw_capture_send(c, s, GW__DATA_KIND__DATA_END, 0, &msg, NULL, NULL, err);
}
