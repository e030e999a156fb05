#include "common/codec.h"

#include <lz4.h>
#include <stdlib.h>

enum {
    WORTH_MIN = 256,  // shorter ones travel in one packet either way
    EXPANSION = 255,  // of LZ4's format: a byte of a run's length stands for at most so many
    EXPANSION_0 = 64, // and what a first token may add to that
};

static void
free_data(void *data, void *hint)
{
    (void)hint;
    free(data);
}

static void
replace(zmq_msg_t *payload, char *data, size_t len)
{
    zmq_msg_close(payload);
    int r = zmq_msg_init_data(payload, data, len, free_data, NULL);
    gw_assert(r == 0);
}

bool
gw_lz4_pack(zmq_msg_t *payload)
{
    size_t len = zmq_msg_size(payload);
    if (len < WORTH_MIN || len > LZ4_MAX_INPUT_SIZE) {
        return false;
    }
    // Room for seven eighths only: what does not fit is not worth unpacking.
    int room = (int)(len - len / 8);
    char *out = malloc((size_t)room);
    gw_assert(out);
    int n = LZ4_compress_default(zmq_msg_data(payload), out, (int)len, room);
    if (n <= 0) {
        free(out);
        return false;
    }
    // Until it is sent it counts with its own size.
    char *fit = realloc(out, (size_t)n);
    replace(payload, fit ? fit : out, (size_t)n);
    return true;
}

bool
gw_lz4_plausible(uint64_t raw_size, uint64_t packed_len)
{
    return raw_size > 0 && raw_size <= LZ4_MAX_INPUT_SIZE && packed_len > 0 && packed_len < raw_size &&
           raw_size <= packed_len * EXPANSION + EXPANSION_0;
}

int
gw_lz4_unpack(zmq_msg_t *payload, uint64_t raw_size, struct gw_err *err)
{
    size_t len = zmq_msg_size(payload);
    char *out = gw_lz4_plausible(raw_size, len) ? malloc(raw_size) : NULL;
    if (!out || LZ4_decompress_safe(zmq_msg_data(payload), out, (int)len, (int)raw_size) != (int)raw_size) {
        free(out);
        return gw_err_set(err, GW_RETRY, NULL, "data message of %zu packed bytes is damaged: it does not unpack", len);
    }
    replace(payload, out, raw_size);
    return GW_OK;
}
