// The data bus: one packer and one unpacker for every message between stages, and flow control by bytes.
//
// A stream is one chunk on its way: OPEN, ROWS…, END, numbered from 0 within (stream, epoch). A sender
// (DEALER) holds a credit in bytes; it starts at the stream's window and a message may be sent only while it
// covers it, or, for a message larger than the window, when nothing is outstanding. The receiver (ROUTER)
// gives credit back as it is done with the bytes. So a hop never holds more than a window or one message.
//
// Where a link leaves the host, rows are packed (LZ4) for the way. Credit, totals and windows count unpacked bytes everywhere.
//
// A receiver refuses whatever it cannot prove to be the next message: wrong task, version, checksum or size is a
// BUG or CONFIG; a gap or a duplicate ends the stream; an old epoch, an unknown stream or task is answered by RESET.
// A socket belongs to the thread that opened it.
#ifndef GW_BUS_H
#define GW_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

#include "common/err.h"
#include "common/net.h"
#include "data.pb-c.h"

enum {
    GW_BUS_VERSION = 1,
    GW_HEADER_MAX = 128, // a packed Envelope is smaller
    GW_IDENTITY_MAX = 64,
    GW_CREDIT_STEPS = 8, // credit goes back in eighths of the window
};
// No message is larger: a row of the largest value that MySQL or PostgreSQL can hold, hex-encoded.
#define GW_PAYLOAD_MAX (UINT64_C(2) << 30)

struct gw_envelope {
    uint64_t task, epoch, stream, sequence, credit;
    uint64_t raw_size; // of the payload, unpacked
    uint32_t rows, checksum;
    Gw__DataKind kind;
    Gw__Codec codec; // of the payload as it is
};

// Packs env into out (GW_HEADER_MAX bytes); returns the length.
size_t gw_frame_encode(const struct gw_envelope *env, const void *payload, size_t payload_len, uint8_t *out);
// Unpacks and proves a message. *ret is untouched on failure. payload may be NULL with length 0.
int gw_frame_decode(const void *header, size_t header_len, const void *payload, size_t payload_len, uint64_t task,
                    struct gw_envelope *ret, struct gw_err *err);

// ---- the sending end of one stream --------------------------------------------------------------------
struct gw_sender {
    void *socket; // borrowed
    uint64_t task, stream, epoch, sequence;
    int64_t credit, window;
    bool reset; // the receiver has given the stream up
    bool packs; // what is sent leaves the host
};
void gw_sender_init(struct gw_sender *s, void *socket, uint64_t task, uint64_t stream, uint64_t epoch, uint64_t window);
// Within the credit, or alone: one message that is larger than the window, when (next to) nothing is outstanding.
bool gw_sender_may_send(const struct gw_sender *s, size_t len);
// Sends one message; takes the payload (closed or sent in any case). The caller has checked gw_sender_may_send.
int gw_sender_send(struct gw_sender *s, Gw__DataKind kind, uint32_t rows, zmq_msg_t *payload, struct gw_err *err);
// Sends a message on as it came, packed or not. The caller has checked gw_sender_may_send with env->raw_size.
int gw_sender_forward(struct gw_sender *s, const struct gw_envelope *env, zmq_msg_t *payload, struct gw_err *err);
// Takes in an envelope that came back on the socket (CREDIT, RESET); others and other streams are ignored.
void gw_sender_feedback(struct gw_sender *s, const struct gw_envelope *env);
// Reads everything that came back for this stream. For sockets that carry one stream at a time.
int gw_sender_drain(struct gw_sender *s, struct gw_err *err);

// ---- the receiving end ---------------------------------------------------------------------------------
struct gw_peer {
    uint8_t id[GW_IDENTITY_MAX];
    size_t len;
};
// One message from a ROUTER. GW_AGAIN if none is there. `payload` must be initialised; it holds the payload frame.
// A message that does not prove itself is an error; the peer is filled in all the same if there was one.
int gw_receive(void *router, uint64_t task, struct gw_peer *peer, struct gw_envelope *env, zmq_msg_t *payload,
               struct gw_err *err);
// The same, but the payload stays packed if it came so (env->codec): for those who only send it on.
int gw_receive_packed(void *router, uint64_t task, struct gw_peer *peer, struct gw_envelope *env, zmq_msg_t *payload,
                      struct gw_err *err);
// Unpacks what gw_receive_packed left packed; env says so afterwards.
int gw_payload_unpack(struct gw_envelope *env, zmq_msg_t *payload, struct gw_err *err);

struct gw_inflow {
    struct gw_peer peer;
    uint64_t task, stream, epoch, next_sequence;
    uint64_t window, owed; // consumed and not yet given back
    uint64_t rows, bytes;
};
// Starts with the OPEN message's envelope.
void gw_inflow_init(struct gw_inflow *f, const struct gw_peer *peer, uint64_t task, const struct gw_envelope *open,
                    uint64_t window);
// Proves that env is the next message of the stream, and counts it.
int
gw_inflow_accept(struct gw_inflow *f, const struct gw_peer *peer, const struct gw_envelope *env, struct gw_err *err);
// The receiver is done with that many bytes; credit goes back in steps of an eighth of the window.
void gw_inflow_consumed(struct gw_inflow *f, void *router, uint64_t bytes);
// Tells a peer that a stream is over for this receiver. The peer may be gone: nothing to be done then.
void gw_send_reset(void *router, const struct gw_peer *peer, uint64_t task, uint64_t stream, uint64_t epoch);

// ---- sockets ---------------------------------------------------------------------------------------------
// With explicit linger, high-water marks off (credit bounds them), reconnect intervals; on TCP, a link whose other end does
// not acknowledge is given up after some nine seconds. Endpoints are those of common/net.h. A process with an identity
// (common/curve.h) proves it on TCP, both ways; without one, what leaves the host is refused.
void *gw_dealer_connect(void *zctx, const char *endpoint, struct gw_err *err);
// *watch: a PAIR socket, the caller's to close before the other, where ZeroMQ tells of every handshake and every break
// (zmq_socket_monitor), from the first one on.
void *gw_dealer_connect_watched(void *zctx, const char *endpoint, void **watch, struct gw_err *err);
// Binds; *endpoint (GW_ENDPOINT_MAX bytes) gets what peers connect to: the port and, where there is one, the key filled in.
void *gw_router_bind(void *zctx, const char *bind, char *endpoint, size_t size, struct gw_err *err);
// The same for the control bus, whose small messages let ZeroMQ ask for signs of life, too. `router`: to listen on one more
// endpoint; NULL makes a socket.
void *gw_control_connect(void *zctx, const char *endpoint, struct gw_err *err);
void *gw_control_bind(void *zctx, void *router, const char *bind, char *endpoint, size_t size, struct gw_err *err);
int gw_zmq_error(struct gw_err *err, const char *what);
// A gw_buf's memory as a message without copying; the buffer is emptied and owns nothing afterwards.
struct gw_buf;
int gw_msg_take(zmq_msg_t *msg, struct gw_buf *buf);
uint64_t gw_task_tag(const char *task_uuid);

#endif
