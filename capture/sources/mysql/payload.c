// MySQL's TRANSACTION_PAYLOAD.
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "capture/sources/mysql/binlog.h"

enum { FIELD_END = 0, FIELD_COMPRESSION = 2, ZSTD = 0, NONE = 255, STEP = 128 << 10 };

struct bl_payload {
    ZSTD_DStream *z; // NULL: not compressed
    ZSTD_inBuffer in;
};

struct bl_payload *
bl_payload_close(struct bl_payload *p)
{
    if (p) {
        ZSTD_freeDStream(p->z); // takes NULL
        free(p);
    }
    return NULL;
}

// Fields: a number, a length, a value; number 0 ends them, and the payload follows.
int
bl_payload_open(const struct bl_event *e, struct bl_payload **ret, struct gw_err *err)
{
    struct bl_bytes b = e->body;
    uint64_t field, len, compression = NONE;
    const uint8_t *at;
    for (;;) {
        if (!bl_packed(&b, &field)) {
            return bl_bad(err, "compressed transaction");
        }
        if (field == FIELD_END) {
            break;
        }
        if (!bl_packed(&b, &len) || len > b.left || !bl_take(&b, (size_t)len, &at)) {
            return bl_bad(err, "compressed transaction");
        }
        struct bl_bytes v = {at, (size_t)len};
        if (field == FIELD_COMPRESSION && !bl_packed(&v, &compression)) {
            return bl_bad(err, "compressed transaction");
        }
    }
    if (compression != ZSTD && compression != NONE) {
        return gw_err_set(err, GW_CONFIG, NULL, "a transaction of the binary log is compressed in an unknown way");
    }
    struct bl_payload *p = calloc(1, sizeof *p);
    gw_assert(p);
    // The event's bytes live in the connection until the next packet: this one is read to its end before.
    p->in = (ZSTD_inBuffer){b.at, b.left, 0};
    if (compression == ZSTD) {
        p->z = ZSTD_createDStream();
        gw_assert(p->z);
        (void)ZSTD_initDStream(p->z);
    }
    *ret = p;
    return GW_OK;
}

// Fills `to` up to n bytes; fewer at the end. False: the stream is damaged.
static bool
fill(struct bl_payload *p, struct gw_buf *to, size_t n)
{
    while (to->len < n) {
        size_t want = n - to->len < STEP ? n - to->len : STEP;
        char *room = gw_buf_room(to, want);
        if (!room) {
            return false;
        }
        size_t left = p->in.size - p->in.pos, got;
        if (p->z) {
            ZSTD_outBuffer out = {room, want, 0};
            size_t before = p->in.pos;
            if (ZSTD_isError(ZSTD_decompressStream(p->z, &out, &p->in))) {
                return false;
            }
            got = out.pos;
            if (got == 0 && p->in.pos == before) {
                return true;
            }
        } else {
            got = left < want ? left : want;
            if (got == 0) {
                return true;
            }
            memcpy(room, (const uint8_t *)p->in.src + p->in.pos, got);
            p->in.pos += got;
        }
        gw_buf_added(to, got);
    }
    return true;
}

int
bl_payload_next(struct bl_payload *p, struct gw_buf *unpacked, struct bl_event *ret, struct gw_err *err)
{
    static const struct bl_format plain = {0};
    struct bl_format f = plain;
    gw_buf_reset(unpacked);
    if (!fill(p, unpacked, BL_HEADER)) {
        return bl_bad(err, "compressed transaction");
    }
    if (unpacked->len == 0) {
        return GW_END;
    }
    uint64_t size = unpacked->len < BL_HEADER ? 0 : bl_le((const uint8_t *)unpacked->data + 9, 4);
    if (size < BL_HEADER || size > BL_EVENT_MAX || !fill(p, unpacked, (size_t)size) || unpacked->len != size) {
        return bl_bad(err, "compressed transaction");
    }
    if ((uint8_t)unpacked->data[4] == BL_FORMAT) {
        return bl_bad(err, "compressed transaction");
    }
    return bl_event_read(&f, (const uint8_t *)unpacked->data, (size_t)size, ret, err);
}
