// The data bus' decoder: a header that is taken for good says again what it said, and fits its payload.
#include <string.h>

#include "common/bus.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    size_t header_len = input_byte(&in);
    uint64_t task = input_byte(&in);
    header_len = header_len < in.left ? header_len : in.left;
    const uint8_t *header = in.at, *payload = in.at + header_len;
    size_t payload_len = in.left - header_len;

    struct gw_envelope env, again;
    struct gw_err err = {0};
    if (gw_frame_decode(header, header_len, payload, payload_len, task, &env, &err) != GW_OK) {
        gw_assert(err.cls != GW_OK && err.message[0]);
    } else {
        gw_assert((env.codec != GW__CODEC__CODEC_RAW || env.raw_size == payload_len) && env.task == task);
        uint8_t out[GW_HEADER_MAX];
        size_t n = gw_frame_encode(&env, payload, payload_len, out);
        gw_assert(gw_frame_decode(out, n, payload, payload_len, task, &again, &err) == GW_OK);
        gw_assert(again.epoch == env.epoch && again.stream == env.stream && again.sequence == env.sequence &&
                  again.credit == env.credit && again.raw_size == env.raw_size && again.rows == env.rows &&
                  again.checksum == env.checksum && again.kind == env.kind && again.codec == env.codec);
        // What is packed unpacks to what its header says, or not at all.
        zmq_msg_t msg;
        zmq_msg_init_size(&msg, payload_len);
        memcpy(zmq_msg_data(&msg), payload, payload_len);
        struct gw_envelope raw = env;
        bool sound = gw_payload_unpack(&raw, &msg, &err) == GW_OK;
        gw_assert(zmq_msg_size(&msg) == (sound ? env.raw_size : payload_len));
        zmq_msg_close(&msg);
        // The end that takes credit back.
        struct gw_sender s;
        gw_sender_init(&s, NULL, task, env.stream, env.epoch, 1 << 20);
        s.credit = -(int64_t)payload_len;
        gw_sender_feedback(&s, &env);
        gw_assert(s.credit <= s.window && s.credit >= -(int64_t)payload_len);
    }
    // The same payload under a header of ours is always believed, and never when a bit of it has changed.
    struct gw_envelope mine = {.task = task, .kind = GW__DATA_KIND__DATA_ROWS, .sequence = size};
    uint8_t out[GW_HEADER_MAX];
    size_t n = gw_frame_encode(&mine, payload, payload_len, out);
    gw_assert(gw_frame_decode(out, n, payload, payload_len, task, &again, &err) == GW_OK);
    if (payload_len && payload_len < 4096) {
        uint8_t bent[4096];
        memcpy(bent, payload, payload_len);
        bent[size % payload_len] ^= (uint8_t)(1 << (size % 8));
        gw_assert(gw_frame_decode(out, n, bent, payload_len, task, &again, &err) == GW_RETRY);
    }
    return 0;
}
