#include "cli/client.h"

#include <stdio.h>
#include <zmq.h>

#include "common/bus.h"
#include "common/clock.h"
#include "common/worker.h"

static const int64_t answer_us = 2 * GW_S;

int
gw_client_open(struct gw_client *c, void *zctx, const char *endpoint, struct gw_err *err)
{
    *c = (struct gw_client){.zctx = zctx};
    snprintf(c->endpoint, sizeof c->endpoint, "%s", endpoint);
    gw_arena_init(&c->arenas[0]);
    gw_arena_init(&c->arenas[1]);
    c->socket = gw_dealer_connect(zctx, endpoint, err);
    return c->socket ? GW_OK : (int)err->cls;
}

void
gw_client_close(struct gw_client *c)
{
    if (!c->zctx) {
        return;
    }
    if (c->socket) {
        zmq_close(c->socket);
    }
    gw_arena_fini(&c->arenas[0]);
    gw_arena_fini(&c->arenas[1]);
    *c = (struct gw_client){0};
}

int
gw_client_ask(struct gw_client *c, struct gw_err *err)
{
    int64_t now = gw_now_us();
    if (c->asked && now - c->asked_us < answer_us) {
        return GW_OK;
    }
    if (c->asked) {
        zmq_close(c->socket);
        c->asked = false;
        c->socket = gw_dealer_connect(c->zctx, c->endpoint, err);
        if (!c->socket) {
            return err->cls;
        }
    }
    Gw__StatusRequest request = GW__STATUS_REQUEST__INIT;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_STATUS_REQUEST;
    m.status_request = &request;
    int r = gw_control_send(c->socket, &m, err);
    c->asked = r == GW_OK;
    c->asked_us = now;
    return r;
}

int
gw_client_receive(struct gw_client *c, struct gw_err *err)
{
    bool fresh = false;
    for (;;) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        if (zmq_msg_recv(&msg, c->socket, ZMQ_DONTWAIT) < 0) {
            int why = zmq_errno();
            zmq_msg_close(&msg);
            if (why == EAGAIN || why == EINTR) {
                return fresh ? GW_OK : GW_AGAIN;
            }
            return gw_zmq_error(err, "receive a status");
        }
        struct gw_arena *a = &c->arenas[!c->current];
        gw_arena_reset(a);
        const Gw__Control *m = gw_control_unpack(a, zmq_msg_data(&msg), zmq_msg_size(&msg));
        // Anything else (the bus is shared with workers) is not for us.
        if (m && m->body_case == GW__CONTROL__BODY_STATUS) {
            c->current = !c->current;
            c->status = m->status;
            c->status_size = zmq_msg_size(&msg);
            c->heard_us = gw_now_us();
            c->asked = false;
            fresh = true;
        }
        zmq_msg_close(&msg);
    }
}

int
gw_client_stop(struct gw_client *c, struct gw_err *err)
{
    Gw__Stop stop = GW__STOP__INIT;
    stop.drain = true;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_STOP;
    m.stop = &stop;
    return gw_control_send(c->socket, &m, err);
}

int
gw_client_wait(struct gw_client *c, int64_t deadline_us, struct gw_err *err)
{
    for (;;) {
        int r = gw_client_ask(c, err);
        r = r == GW_OK ? gw_client_receive(c, err) : r;
        if (r != GW_AGAIN || gw_now_us() >= deadline_us) {
            return r;
        }
        zmq_pollitem_t item = {.socket = c->socket, .events = ZMQ_POLLIN};
        if (zmq_poll(&item, 1, gw_deadline_ms(deadline_us)) < 0 && zmq_errno() != EINTR) {
            return gw_zmq_error(err, "wait for a status");
        }
    }
}
