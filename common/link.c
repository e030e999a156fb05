#include "common/link.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/bus.h"
#include "common/clock.h"
#include "common/worker.h"

static const int64_t come_up_us = 10 * GW_S; // to connect, over and over

int
gw_link_open(struct gw_link *l, void *zctx, const char *endpoint, struct gw_err *err)
{
    void *watch = NULL;
    void *socket = gw_dealer_connect_watched(zctx, endpoint, &watch, err);
    if (!socket) {
        return err->cls;
    }
    *l = (struct gw_link){.endpoint = strdup(endpoint), .socket = socket, .watch = watch, .changed_us = gw_now_us()};
    gw_assert(l->endpoint);
    return GW_OK;
}

void
gw_link_close(struct gw_link *l)
{
    zmq_socket_monitor(l->socket, NULL, 0);
    zmq_close(l->watch);
    zmq_close(l->socket);
    free(l->endpoint);
    *l = (struct gw_link){0};
}

void
gw_link_look(struct gw_link *l)
{
    // An event is two frames: its number and a value, then the address.
    for (;;) {
        uint8_t head[6];
        char address[8];
        uint16_t event;
        if (zmq_recv(l->watch, head, sizeof head, ZMQ_DONTWAIT) != sizeof head) {
            return;
        }
        (void)zmq_recv(l->watch, address, sizeof address, ZMQ_DONTWAIT);
        memcpy(&event, head, sizeof event);
        l->breaks += event == ZMQ_EVENT_DISCONNECTED;
        l->up = event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
        l->changed_us = gw_now_us();
    }
}

int
gw_link_check(const struct gw_link *l, unsigned breaks, struct gw_err *err)
{
    int shown = (int)strcspn(l->endpoint, "#");
    if (l->breaks != breaks) {
        return gw_err_set(err, GW_FENCED, GW_CODE_LINK, "the connection to %.*s broke", shown, l->endpoint);
    }
    if (!l->up && gw_now_us() - l->changed_us > come_up_us) {
        return gw_err_set(err, GW_FENCED, GW_CODE_LINK, "no connection to %.*s within %" PRId64 " s", shown,
                          l->endpoint, come_up_us / GW_S);
    }
    return GW_OK;
}

void
gw_link_ended(struct gw_link *l, uint64_t stream, uint64_t epoch, unsigned breaks)
{
    unsigned at = l->ended_next++ % GW_LINK_ENDED_MAX;
    l->ended[at].stream = stream;
    l->ended[at].epoch = epoch;
    l->ended[at].breaks = breaks;
}

bool
gw_link_take_lost(struct gw_link *l, uint64_t *stream, uint64_t *epoch, struct gw_err *err)
{
    for (size_t i = 0; i < GW_LINK_ENDED_MAX; i++) {
        if (l->ended[i].stream && gw_link_check(l, l->ended[i].breaks, err) != GW_OK) {
            *stream = l->ended[i].stream;
            *epoch = l->ended[i].epoch;
            l->ended[i].stream = 0;
            return true;
        }
    }
    return false;
}
