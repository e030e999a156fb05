#include "common/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/buf.h"
#include "common/codec.h"
#include "common/crc32c.h"
#include "common/curve.h"
#include "common/fault.h"
#include "common/net.h"

size_t
gw_frame_encode(const struct gw_envelope *env, const void *payload, size_t payload_len, uint8_t *out)
{
    Gw__Envelope e = GW__ENVELOPE__INIT;
    e.version = GW_BUS_VERSION;
    e.task = env->task;
    e.epoch = env->epoch;
    e.stream = env->stream;
    e.sequence = env->sequence;
    e.kind = env->kind;
    e.codec = env->codec;
    e.raw_size = env->codec == GW__CODEC__CODEC_RAW ? payload_len : env->raw_size;
    e.checksum = payload_len ? gw_crc32c(payload, payload_len) : 0;
    e.rows = env->rows;
    e.credit = env->credit;
    gw_assert(gw__envelope__get_packed_size(&e) <= GW_HEADER_MAX);
    return gw__envelope__pack(&e, out);
}

// protobuf-c wants an allocator: a header needs one struct and (for unknown fields) a little more.
struct scratch {
    _Alignas(16) char bytes[1024];
    size_t used;
};

static void *
scratch_alloc(void *data, size_t size)
{
    struct scratch *s = data;
    size = (size + 15) & ~(size_t)15;
    if (size > sizeof s->bytes - s->used) {
        return NULL;
    }
    void *p = s->bytes + s->used;
    s->used += size;
    return p;
}

static void
scratch_free(void *data, void *p)
{
    (void)data;
    (void)p;
}

// Of any task.
static int
decode(const void *header, size_t header_len, const void *payload, size_t payload_len, struct gw_envelope *ret,
       struct gw_err *err)
{
    if (header_len > GW_HEADER_MAX || payload_len > GW_PAYLOAD_MAX) {
        return gw_err_set(err, GW_BUG, NULL, "data message is too large: header %zu, payload %zu bytes", header_len,
                          payload_len);
    }
    struct scratch s = {.used = 0};
    ProtobufCAllocator allocator = {scratch_alloc, scratch_free, &s};
    const Gw__Envelope *e = gw__envelope__unpack(&allocator, header_len, header);
    if (!e) {
        return gw_err_set(err, GW_BUG, NULL, "data message has a malformed header of %zu bytes", header_len);
    }
    if (e->version != GW_BUS_VERSION) {
        gw_err_set(err, GW_CONFIG, NULL, "data message has protocol version %u, this is %d", e->version,
                   GW_BUS_VERSION);
        gw_err_hint(err, "run the same version of godwit in every stage");
        return GW_CONFIG;
    }
    if (e->kind < GW__DATA_KIND__DATA_OPEN || e->kind > GW__DATA_KIND__DATA_CHANGES ||
        (e->codec != GW__CODEC__CODEC_RAW && e->codec != GW__CODEC__CODEC_LZ4)) {
        return gw_err_set(err, GW_BUG, NULL, "data message has unknown kind %d or codec %d", (int)e->kind,
                          (int)e->codec);
    }
    uint32_t crc = payload_len ? gw_crc32c(payload, payload_len) : 0;
    // A size is believed before memory is taken for it only if the payload can hold so much.
    bool fits =
        e->codec == GW__CODEC__CODEC_RAW ? e->raw_size == payload_len : gw_lz4_plausible(e->raw_size, payload_len);
    if ((!fits || e->checksum != crc) && GW_GUARD("bus.checksum")) {
        return gw_err_set(err, GW_RETRY, NULL, "data message %llu of stream %llu is damaged: checksum or size differs",
                          (unsigned long long)e->sequence, (unsigned long long)e->stream);
    }
    *ret = (struct gw_envelope){.task = e->task,
                                .epoch = e->epoch,
                                .stream = e->stream,
                                .sequence = e->sequence,
                                .credit = e->credit,
                                .raw_size = e->raw_size,
                                .rows = e->rows,
                                .checksum = e->checksum,
                                .kind = e->kind,
                                .codec = e->codec};
    return GW_OK;
}

static int
other_task(struct gw_err *err)
{
    return gw_err_set(err, GW_CONFIG, NULL, "data message belongs to another task");
}

int
gw_frame_decode(const void *header, size_t header_len, const void *payload, size_t payload_len, uint64_t task,
                struct gw_envelope *ret, struct gw_err *err)
{
    struct gw_envelope env;
    int r = decode(header, header_len, payload, payload_len, &env, err);
    if (r == GW_OK && env.task != task) {
        return other_task(err);
    }
    if (r == GW_OK) {
        *ret = env;
    }
    return r;
}

int
gw_zmq_error(struct gw_err *err, const char *what)
{
    return gw_err_set(err, GW_RETRY, NULL, "%s: %s", what, zmq_strerror(zmq_errno()));
}

// ---- sender ------------------------------------------------------------------------------------

// Whether what a socket sends to its (only) peer is seen on a network.
static bool
leaves_host(void *socket)
{
    char text[GW_ENDPOINT_MAX];
    size_t size = sizeof text;
    struct gw_endpoint e;
    return socket && zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, text, &size) == 0 &&
           gw_endpoint_parse(text, &e, NULL) == GW_OK && gw_endpoint_leaves_host(&e) && !gw_net_is_own(e.host);
}

void
gw_sender_init(struct gw_sender *s, void *socket, uint64_t task, uint64_t stream, uint64_t epoch, uint64_t window)
{
    *s = (struct gw_sender){.socket = socket,
                            .task = task,
                            .stream = stream,
                            .epoch = epoch,
                            .credit = (int64_t)window,
                            .window = (int64_t)window,
                            .packs = leaves_host(socket)};
}

bool
gw_sender_may_send(const struct gw_sender *s, size_t len)
{
    // A message that is larger than the window goes alone. "Alone" allows for what the receiver may have consumed and not
    // given back yet: waiting for that would be waiting for ever.
    return (int64_t)len <= s->credit || s->window - s->credit < s->window / GW_CREDIT_STEPS;
}

int
gw_sender_send(struct gw_sender *s, Gw__DataKind kind, uint32_t rows, zmq_msg_t *payload, struct gw_err *err)
{
    struct gw_envelope env = {.kind = kind, .rows = rows, .raw_size = zmq_msg_size(payload)};
    return gw_sender_forward(s, &env, payload, err);
}

int
gw_sender_forward(struct gw_sender *s, const struct gw_envelope *came, zmq_msg_t *payload, struct gw_err *err)
{
    struct gw_envelope env = *came;
    env.task = s->task;
    env.epoch = s->epoch;
    env.stream = s->stream;
    env.sequence = s->sequence;
    env.credit = 0;
    bool bulk = env.kind == GW__DATA_KIND__DATA_ROWS || env.kind == GW__DATA_KIND__DATA_CHANGES;
    if (s->packs && bulk && env.codec == GW__CODEC__CODEC_RAW && gw_lz4_pack(payload)) {
        env.codec = GW__CODEC__CODEC_LZ4;
    }
    size_t len = zmq_msg_size(payload);
    uint8_t header[GW_HEADER_MAX];
    size_t header_len = gw_frame_encode(&env, zmq_msg_data(payload), len, header);
    if (len && GW_FAULT("bus.corrupt")) {
        ((char *)zmq_msg_data(payload))[len / 2] ^= 1;
    }
    if (GW_FAULT("bus.drop")) {
        s->sequence++;
        s->credit -= (int64_t)env.raw_size;
        zmq_msg_close(payload);
        return GW_OK;
    }
    // Never blocks: high-water marks are off, credit bounds what is queued.
    if (zmq_send(s->socket, header, header_len, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0 ||
        zmq_msg_send(payload, s->socket, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(payload);
        return gw_zmq_error(err, "send data message");
    }
    s->sequence++;
    s->credit -= (int64_t)env.raw_size;
    return GW_OK;
}

void
gw_sender_feedback(struct gw_sender *s, const struct gw_envelope *env)
{
    if (env->stream != s->stream || env->epoch != s->epoch) {
        return; // of an earlier stream on this socket
    }
    if (env->kind == GW__DATA_KIND__DATA_CREDIT) {
        // The header has no checksum of its own: whatever number stands there, the window is never exceeded.
        uint64_t missing = (uint64_t)(s->window - s->credit);
        s->credit = env->credit < missing ? s->credit + (int64_t)env->credit : s->window;
    } else if (env->kind == GW__DATA_KIND__DATA_RESET) {
        s->reset = true;
    }
}

int
gw_sender_drain(struct gw_sender *s, struct gw_err *err)
{
    for (;;) {
        uint8_t header[GW_HEADER_MAX];
        int n = zmq_recv(s->socket, header, sizeof header, ZMQ_DONTWAIT);
        if (n < 0) {
            return zmq_errno() == EAGAIN ? GW_OK : gw_zmq_error(err, "receive credit");
        }
        struct gw_envelope env = {0};
        int r = gw_frame_decode(header, (size_t)n, NULL, 0, s->task, &env, err);
        if (r != GW_OK) {
            return r;
        }
        gw_sender_feedback(s, &env);
    }
}

// ---- receiver ----------------------------------------------------------------------------------

// Reads the frames of a message that is of no use, so that the next read starts at a message.
static void
skip_rest(void *socket)
{
    int more = 0;
    size_t size = sizeof more;
    while (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) == 0 && more) {
        char byte;
        (void)zmq_recv(socket, &byte, 1, ZMQ_DONTWAIT);
    }
}

int
gw_receive_packed(void *router, uint64_t task, struct gw_peer *peer, struct gw_envelope *env, zmq_msg_t *payload,
                  struct gw_err *err)
{
    int n = zmq_recv(router, peer->id, sizeof peer->id, ZMQ_DONTWAIT);
    if (n < 0) {
        return zmq_errno() == EAGAIN ? GW_AGAIN : gw_zmq_error(err, "receive data message");
    }
    peer->len = (size_t)n < sizeof peer->id ? (size_t)n : sizeof peer->id;
    uint8_t header[GW_HEADER_MAX];
    int header_len = zmq_recv(router, header, sizeof header, ZMQ_DONTWAIT);
    int more = 0;
    size_t size = sizeof more;
    if (header_len < 0 || header_len > (int)sizeof header || zmq_getsockopt(router, ZMQ_RCVMORE, &more, &size) != 0 ||
        !more || zmq_msg_recv(payload, router, ZMQ_DONTWAIT) < 0) {
        skip_rest(router);
        return gw_err_set(err, GW_BUG, NULL, "data message does not have three frames");
    }
    skip_rest(router);
    struct gw_envelope got;
    int r = decode(header, (size_t)header_len, zmq_msg_data(payload), zmq_msg_size(payload), &got, err);
    if (r == GW_OK && got.task != task) { // the sender must not wait for an answer for ever
        gw_send_reset(router, peer, got.task, got.stream, got.epoch);
        return other_task(err);
    }
    if (r == GW_OK) {
        *env = got;
    }
    return r;
}

int
gw_payload_unpack(struct gw_envelope *env, zmq_msg_t *payload, struct gw_err *err)
{
    int r = env->codec == GW__CODEC__CODEC_RAW ? GW_OK : gw_lz4_unpack(payload, env->raw_size, err);
    if (r == GW_OK) {
        env->codec = GW__CODEC__CODEC_RAW;
    }
    return r;
}

int
gw_receive(void *router, uint64_t task, struct gw_peer *peer, struct gw_envelope *env, zmq_msg_t *payload,
           struct gw_err *err)
{
    int r = gw_receive_packed(router, task, peer, env, payload, err);
    return r == GW_OK ? gw_payload_unpack(env, payload, err) : r;
}

void
gw_inflow_init(struct gw_inflow *f, const struct gw_peer *peer, uint64_t task, const struct gw_envelope *open,
               uint64_t window)
{
    *f = (struct gw_inflow){.peer = *peer,
                            .task = task,
                            .stream = open->stream,
                            .epoch = open->epoch,
                            .next_sequence = open->sequence + 1,
                            .window = window,
                            .owed = open->raw_size};
}

int
gw_inflow_accept(struct gw_inflow *f, const struct gw_peer *peer, const struct gw_envelope *env, struct gw_err *err)
{
    gw_assert(env->stream == f->stream && env->epoch == f->epoch);
    if (peer->len != f->peer.len || memcmp(peer->id, f->peer.id, peer->len) != 0) {
        return gw_err_set(err, GW_RETRY, NULL, "stream %llu has a second sender", (unsigned long long)f->stream);
    }
    if (env->sequence != f->next_sequence && GW_GUARD("bus.sequence")) {
        return gw_err_set(err, GW_RETRY, NULL, "stream %llu: message %llu came where %llu was due",
                          (unsigned long long)f->stream, (unsigned long long)env->sequence,
                          (unsigned long long)f->next_sequence);
    }
    f->next_sequence++;
    if (env->kind == GW__DATA_KIND__DATA_ROWS || env->kind == GW__DATA_KIND__DATA_CHANGES) {
        f->rows += env->rows;
        f->bytes += env->raw_size;
    }
    return GW_OK;
}

static void
send_back(void *router, const struct gw_peer *peer, const struct gw_envelope *env)
{
    uint8_t header[GW_HEADER_MAX];
    size_t len = gw_frame_encode(env, NULL, 0, header);
    // ROUTER_MANDATORY: a peer that is gone is an error here, and its stream is ended by the coordinator.
    if (zmq_send(router, peer->id, peer->len, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0) {
        (void)zmq_send(router, header, len, ZMQ_DONTWAIT);
    }
}

void
gw_inflow_consumed(struct gw_inflow *f, void *router, uint64_t bytes)
{
    f->owed += bytes;
    if (f->owed >= f->window / GW_CREDIT_STEPS) {
        struct gw_envelope env = {.task = f->task,
                                  .epoch = f->epoch,
                                  .stream = f->stream,
                                  .kind = GW__DATA_KIND__DATA_CREDIT,
                                  .credit = f->owed};
        send_back(router, &f->peer, &env);
        f->owed = 0;
    }
}

void
gw_send_reset(void *router, const struct gw_peer *peer, uint64_t task, uint64_t stream, uint64_t epoch)
{
    struct gw_envelope env = {.task = task, .epoch = epoch, .stream = stream, .kind = GW__DATA_KIND__DATA_RESET};
    send_back(router, peer, &env);
}

// ---- sockets -----------------------------------------------------------------------------------

static void
set_int(void *socket, int option, int value)
{
    // Options that a type of socket does not have fail, and change nothing.
    (void)zmq_setsockopt(socket, option, &value, sizeof value);
}

static void
set_common_options(void *socket)
{
    int64_t largest = (int64_t)GW_PAYLOAD_MAX;
    set_int(socket, ZMQ_LINGER, 0);
    set_int(socket, ZMQ_SNDHWM, 0);
    set_int(socket, ZMQ_RCVHWM, 0);
    set_int(socket, ZMQ_RECONNECT_IVL, 50);
    set_int(socket, ZMQ_RECONNECT_IVL_MAX, 1000);
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof largest);
    set_int(socket, ZMQ_ROUTER_MANDATORY, 1);
    set_int(socket, ZMQ_ROUTER_HANDOVER, 1);
}

// A link that is cut, or whose other host is gone, says nothing: it is found out by what is not acknowledged, and, when
// nothing is on its way, by keepalives. Both are the kernel's, so that neither a message that takes minutes nor a
// busy process is mistaken for a dead one. ZeroMQ's own heartbeats stand behind the messages that are on their way: they
// are for the control bus, where these are small, and see through proxies, too.
static void
set_tcp_options(void *socket, const struct gw_endpoint *e, bool control)
{
    set_int(socket, ZMQ_IPV6, strchr(e->host, ':') != NULL);
    set_int(socket, ZMQ_TCP_KEEPALIVE, 1);
    set_int(socket, ZMQ_TCP_KEEPALIVE_IDLE, 3);
    set_int(socket, ZMQ_TCP_KEEPALIVE_INTVL, 2);
    set_int(socket, ZMQ_TCP_KEEPALIVE_CNT, 3);
    set_int(socket, ZMQ_TCP_MAXRT, 9000);
    set_int(socket, ZMQ_CONNECT_TIMEOUT, 3000);
    set_int(socket, ZMQ_HANDSHAKE_IVL, 5000);
    set_int(socket, ZMQ_HEARTBEAT_IVL, control ? 2000 : 0);
    set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, control ? 8000 : -1);
    set_int(socket, ZMQ_HEARTBEAT_TTL, control ? 8000 : 0);
}

static int
prove_peer(void *socket, const struct gw_endpoint *e, struct gw_err *err)
{
    const struct gw_keys *keys = gw_identity();
    if (e->key[0] && keys) {
        return gw_curve_connect(socket, keys, e->key, err);
    }
    if (e->key[0] || (keys && gw_endpoint_leaves_host(e))) {
        gw_err_set(err, GW_CONFIG, NULL, "\"%s\" %s", e->address,
                   keys ? "has no key, and this process has one" : "wants a key, and this process has none");
        gw_err_hint(err, "every process of a task has --key FILE, or none has");
        return GW_CONFIG;
    }
    return gw_identity_allows(e, err);
}

// In a context, ZeroMQ names a socket's events; two that are open at once must not share a name.
static void *
open_watch(void *zctx, void *socket)
{
    static _Thread_local uint64_t count;
    char name[64];
    int none = 0;
    snprintf(name, sizeof name, "inproc://gw-watch-%p-%" PRIu64, socket, ++count);
    if (zmq_socket_monitor(socket, name, ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED) != 0) {
        return NULL;
    }
    void *watch = zmq_socket(zctx, ZMQ_PAIR);
    if (watch && (zmq_setsockopt(watch, ZMQ_LINGER, &none, sizeof none) != 0 || zmq_connect(watch, name) != 0)) {
        zmq_close(watch);
        watch = NULL;
    }
    return watch;
}

// watch NULL: nobody does.
static void *
connect_dealer(void *zctx, const char *endpoint, bool control, void **watch, struct gw_err *err)
{
    struct gw_endpoint e;
    void *s = NULL;
    if (gw_endpoint_parse(endpoint, &e, err) != GW_OK) {
        return NULL;
    }
    s = zmq_socket(zctx, ZMQ_DEALER);
    if (!s) {
        gw_zmq_error(err, "make a socket");
        return NULL;
    }
    set_common_options(s);
    int r = GW_OK;
    if (e.tcp) {
        set_tcp_options(s, &e, control);
        r = prove_peer(s, &e, err);
    }
    // Before it connects: a handshake with this host may be over before this thread goes on.
    if (r == GW_OK && watch && !(*watch = open_watch(zctx, s))) {
        r = gw_zmq_error(err, "watch a connection");
    }
    if (r == GW_OK && zmq_connect(s, e.address) != 0) {
        r = gw_err_set(err, GW_CONFIG, NULL, "connect to \"%s\": %s", e.address, zmq_strerror(zmq_errno()));
    }
    if (r != GW_OK) {
        if (watch && *watch) {
            zmq_close(*watch);
        }
        zmq_close(s);
        return NULL;
    }
    return s;
}

static int
listen_on(void *zctx, void *s, const struct gw_endpoint *e, bool control, char *endpoint, size_t size,
          struct gw_err *err)
{
    const struct gw_keys *keys = e->tcp ? gw_identity() : NULL;
    int r = gw_identity_allows(e, err);
    if (r == GW_OK && e->tcp) {
        set_tcp_options(s, e, control);
        r = keys ? gw_curve_listen(zctx, s, keys, err) : GW_OK;
    }
    if (r != GW_OK) {
        return r;
    }
    size_t len = size;
    if (zmq_bind(s, e->address) != 0 || zmq_getsockopt(s, ZMQ_LAST_ENDPOINT, endpoint, &len) != 0) {
        return gw_err_set(err, GW_CONFIG, NULL, "listen on \"%s\": %s", e->address, zmq_strerror(zmq_errno()));
    }
    if (keys) {
        len = strlen(endpoint);
        snprintf(endpoint + len, size - len, "#%s", keys->public);
    }
    return GW_OK;
}

static void *
bind_router(void *zctx, void *router, const char *bind, bool control, char *endpoint, size_t size, struct gw_err *err)
{
    struct gw_endpoint e;
    if (gw_endpoint_parse(bind, &e, err) != GW_OK) {
        return NULL;
    }
    void *s = router ? router : zmq_socket(zctx, ZMQ_ROUTER);
    if (!s) {
        gw_zmq_error(err, "make a socket");
        return NULL;
    }
    set_common_options(s);
    if (listen_on(zctx, s, &e, control, endpoint, size, err) != GW_OK) {
        if (!router) {
            zmq_close(s);
        }
        return NULL;
    }
    return s;
}

void *
gw_dealer_connect(void *zctx, const char *endpoint, struct gw_err *err)
{
    return connect_dealer(zctx, endpoint, false, NULL, err);
}

void *
gw_dealer_connect_watched(void *zctx, const char *endpoint, void **watch, struct gw_err *err)
{
    *watch = NULL;
    return connect_dealer(zctx, endpoint, false, watch, err);
}

void *
gw_router_bind(void *zctx, const char *bind, char *endpoint, size_t size, struct gw_err *err)
{
    return bind_router(zctx, NULL, bind, false, endpoint, size, err);
}

void *
gw_control_connect(void *zctx, const char *endpoint, struct gw_err *err)
{
    return connect_dealer(zctx, endpoint, true, NULL, err);
}

void *
gw_control_bind(void *zctx, void *router, const char *bind, char *endpoint, size_t size, struct gw_err *err)
{
    return bind_router(zctx, router, bind, true, endpoint, size, err);
}

static void
free_buffer(void *data, void *hint)
{
    (void)hint;
    free(data);
}

int
gw_msg_take(zmq_msg_t *msg, struct gw_buf *buf)
{
    int r = buf->len ? zmq_msg_init_data(msg, buf->data, buf->len, free_buffer, NULL) : zmq_msg_init(msg);
    gw_assert(r == 0);
    if (!buf->len) {
        free(buf->data);
    }
    gw_buf_init(buf, buf->max);
    return GW_OK;
}

uint64_t
gw_task_tag(const char *task_uuid)
{
    return XXH64(task_uuid, strlen(task_uuid), 0);
}
