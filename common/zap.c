// The thread that decides who comes in (curve.h). It shares nothing: keys reach it over a ZeroMQ pair.
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/bus.h"
#include "common/clock.h"
#include "common/curve.h"
#include "common/log.h"

static const int64_t say_again_us = 10 * GW_S;
static const char handler_name[] = "inproc://zeromq.zap.01"; // RFC 27
enum { FRAMES = 7, FRAME_MAX = 256 };

struct gw_zap {
    pthread_t thread;
    void *asks;              // the owner's end of the pair
    void *answers, *handler; // the thread's
    uint8_t admitted[GW_ADMITTED_MAX + 2][GW_KEY_BYTES];
    size_t admitted_n;
    int64_t said_us;
    unsigned unsaid;
};

// A request: version, id, domain, address, identity, mechanism, credentials. A frame that is longer than it may be
// is kept as empty, and so refused.
struct request {
    char frames[FRAMES][FRAME_MAX];
    size_t len[FRAMES];
    size_t n;
};
enum { F_VERSION, F_ID, F_DOMAIN, F_ADDRESS, F_IDENTITY, F_MECHANISM, F_KEY };

static bool
receive(void *socket, struct request *q)
{
    memset(q, 0, sizeof *q);
    int more = 1;
    while (more) {
        char spill[FRAME_MAX];
        char *into = q->n < FRAMES ? q->frames[q->n] : spill;
        int len = zmq_recv(socket, into, FRAME_MAX - 1, 0);
        if (len < 0) {
            return false;
        }
        if (q->n < FRAMES) {
            q->len[q->n] = len < FRAME_MAX ? (size_t)len : 0;
            into[q->len[q->n]] = 0;
        }
        q->n++;
        size_t size = sizeof more;
        if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) != 0) {
            return false;
        }
    }
    return true;
}

static bool
is_admitted(const struct gw_zap *z, const uint8_t *key)
{
    for (size_t i = 0; i < z->admitted_n; i++) {
        if (memcmp(z->admitted[i], key, GW_KEY_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

// Whoever knocks all day does not fill the log.
static void
say_refused(struct gw_zap *z, const char *address)
{
    int64_t now = gw_now_us();
    if (z->said_us && now - z->said_us < say_again_us) {
        z->unsaid++;
        return;
    }
    char more[64] = "";
    if (z->unsaid) {
        snprintf(more, sizeof more, ", and %u more since the last such line", z->unsaid);
    }
    gw_warn("a connection from %s is refused: its key is not admitted%s", address, more);
    z->said_us = now;
    z->unsaid = 0;
}

static void
answer(struct gw_zap *z)
{
    struct request q;
    if (!receive(z->handler, &q)) {
        return;
    }
    bool sound = q.n == FRAMES && strcmp(q.frames[F_VERSION], "1.0") == 0;
    bool in = sound && strcmp(q.frames[F_MECHANISM], "CURVE") == 0 && q.len[F_KEY] == GW_KEY_BYTES &&
              is_admitted(z, (const uint8_t *)q.frames[F_KEY]);
    if (!in) {
        say_refused(z, sound && q.frames[F_ADDRESS][0] ? q.frames[F_ADDRESS] : "somebody");
    }
    const char *frames[] = {"1.0", q.frames[F_ID], in ? "200" : "400", in ? "" : "not admitted", "", ""};
    size_t len[] = {3, q.len[F_ID], 3, strlen(frames[3]), 0, 0};
    for (size_t i = 0; i < 6; i++) {
        // In-process: it fails only while the context ends, and then nobody waits for it.
        (void)zmq_send(z->handler, frames[i], len[i], i < 5 ? ZMQ_SNDMORE : 0);
    }
}

// From the owner: a key to be admitted, or nothing, which is the end.
static bool
take_order(struct gw_zap *z)
{
    uint8_t key[GW_KEY_BYTES];
    int len = zmq_recv(z->answers, key, sizeof key, 0);
    if (len != GW_KEY_BYTES) {
        return false;
    }
    bool room = is_admitted(z, key) || z->admitted_n < sizeof z->admitted / sizeof *z->admitted;
    if (room && !is_admitted(z, key)) {
        memcpy(z->admitted[z->admitted_n++], key, sizeof key);
    }
    return zmq_send(z->answers, room ? "1" : "0", 1, 0) >= 0;
}

static void *
zap_main(void *arg)
{
    struct gw_zap *z = arg;
    for (;;) {
        zmq_pollitem_t items[] = {{.socket = z->handler, .events = ZMQ_POLLIN},
                                  {.socket = z->answers, .events = ZMQ_POLLIN}};
        if (zmq_poll(items, 2, -1) < 0 && zmq_errno() != EINTR) {
            break; // the context ends
        }
        if (items[0].revents) {
            answer(z);
        }
        if (items[1].revents && !take_order(z)) {
            break;
        }
    }
    zmq_close(z->handler);
    zmq_close(z->answers);
    return NULL;
}

static void
admit_first(struct gw_zap *z, const char *key)
{
    uint8_t *raw = z->admitted[z->admitted_n];
    if (zmq_z85_decode(raw, key) && !is_admitted(z, raw)) {
        z->admitted_n++;
    }
}

static void *
open_end(void *zctx, int type)
{
    int none = 0;
    void *s = zmq_socket(zctx, type);
    if (s) {
        zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
    }
    return s;
}

struct gw_zap *
gw_zap_start(void *zctx, const struct gw_keys *keys, struct gw_err *err)
{
    struct gw_zap *z = calloc(1, sizeof *z);
    gw_assert(z);
    // The coordinator's own workers and the other workers connect to each other: both keys come in everywhere.
    admit_first(z, keys->public);
    admit_first(z, keys->coordinator);
    for (size_t i = 0; i < keys->admitted_n; i++) {
        admit_first(z, keys->admitted[i]);
    }
    z->asks = open_end(zctx, ZMQ_PAIR);
    z->answers = open_end(zctx, ZMQ_PAIR);
    z->handler = open_end(zctx, ZMQ_REP);
    if (!z->asks || !z->answers || !z->handler || zmq_bind(z->asks, "inproc://gw-zap") != 0 ||
        zmq_connect(z->answers, "inproc://gw-zap") != 0 || zmq_bind(z->handler, handler_name) != 0) {
        gw_zmq_error(err, "start the guard of the bus");
    } else if (pthread_create(&z->thread, NULL, zap_main, z) != 0) {
        gw_err_set(err, GW_RETRY, NULL, "start the guard of the bus: no thread");
    } else {
        return z;
    }
    void *ends[] = {z->asks, z->answers, z->handler};
    for (size_t i = 0; i < 3; i++) {
        if (ends[i]) {
            zmq_close(ends[i]);
        }
    }
    free(z);
    return NULL;
}

bool
gw_zap_runs(void *zctx)
{
    // The name is taken exactly while somebody answers there.
    void *probe = open_end(zctx, ZMQ_REP);
    bool taken = probe && zmq_bind(probe, handler_name) != 0 && zmq_errno() == EADDRINUSE;
    if (probe) {
        zmq_close(probe);
    }
    return taken;
}

bool
gw_zap_admit(struct gw_zap *z, const char *key)
{
    uint8_t raw[GW_KEY_BYTES];
    char yes = 0;
    return strlen(key) == GW_KEY_TEXT - 1 && zmq_z85_decode(raw, key) && zmq_send(z->asks, raw, sizeof raw, 0) >= 0 &&
           zmq_recv(z->asks, &yes, 1, 0) == 1 && yes == '1';
}

void
gw_zap_stop(struct gw_zap *z)
{
    if (!z) {
        return;
    }
    (void)zmq_send(z->asks, "", 0, 0); // it fails only where the context is ending: the thread sees that itself
    pthread_join(z->thread, NULL);
    zmq_close(z->asks);
    explicit_bzero(z, sizeof *z);
    free(z);
}
