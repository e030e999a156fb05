// LZ4 of one message's payload: for links that leave the host, where the network is slower than the processor.
#ifndef GW_CODEC_H
#define GW_CODEC_H

#include <stdbool.h>
#include <stdint.h>
#include <zmq.h>

#include "common/err.h"

// Replaces the payload by its packed form. False, and the payload as it was, where that would not be worth it.
bool gw_lz4_pack(zmq_msg_t *payload);
// Whether a payload of that length can hold that many bytes. To be asked before memory is taken for them.
bool gw_lz4_plausible(uint64_t raw_size, uint64_t packed_len);
// Replaces the payload by its unpacked form, which is exactly raw_size bytes; otherwise RETRY, and the payload as it was.
int gw_lz4_unpack(zmq_msg_t *payload, uint64_t raw_size, struct gw_err *err);

#endif
