#include "capture/sources/mysql/jsonb.h"

#include <string.h>

#include "capture/sources/mysql/numtext.h"
#include "capture/sources/mysql/rows.h"

// MySQL allows 100 levels.
enum { DEPTH_MAX = 110 };

enum {
    SMALL_OBJECT = 0,
    LARGE_OBJECT = 1,
    SMALL_ARRAY = 2,
    LARGE_ARRAY = 3,
    LITERAL = 4,
    INT16 = 5,
    UINT16 = 6,
    INT32 = 7,
    UINT32 = 8,
    INT64 = 9,
    UINT64 = 10,
    DOUBLE = 11,
    STRING = 12,
    OPAQUE = 15,
};

static bool value(uint8_t type, struct bl_bytes v, struct gw_buf *out, unsigned depth);

static char
short_escape(uint8_t c)
{
    switch (c) {
    case '\b': return 'b';
    case '\t': return 't';
    case '\n': return 'n';
    case '\f': return 'f';
    case '\r': return 'r';
    case '"':
    case '\\': return (char)c;
    default: return 0;
    }
}

static void
put_string(struct gw_buf *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    gw_buf_putc(out, '"');
    for (size_t i = 0; i < n; i++) {
        char e = short_escape(p[i]);
        if (e) {
            gw_buf_put(out, (char[]){'\\', e}, 2);
        } else if (p[i] < 0x20) {
            gw_buf_put(out, (char[]){'\\', 'u', '0', '0', digits[p[i] >> 4], digits[p[i] & 15]}, 6);
        } else {
            gw_buf_putc(out, (char)p[i]);
        }
    }
    gw_buf_putc(out, '"');
}

// Seven bits a byte, the lowest first.
static bool
length(struct bl_bytes *b, uint64_t *ret)
{
    uint64_t v = 0, byte;
    for (unsigned i = 0; i < 5; i++) {
        if (!bl_uint(b, 1, &byte)) {
            return false;
        }
        v |= (byte & 0x7f) << 7 * i;
        if (!(byte & 0x80)) {
            *ret = v;
            return v <= UINT32_MAX;
        }
    }
    return false;
}

// ---- scalars -----------------------------------------------------------------------------------

static bool
literal(uint64_t v, struct gw_buf *out)
{
    static const char *const texts[] = {"null", "true", "false"};
    if (v > 2) {
        return false;
    }
    gw_buf_puts(out, texts[v]);
    return true;
}

static bool
number(uint8_t type, struct bl_bytes v, struct gw_buf *out)
{
    static const uint8_t sizes[] = {
        [INT16] = 2, [UINT16] = 2, [INT32] = 4, [UINT32] = 4, [INT64] = 8, [UINT64] = 8, [DOUBLE] = 8};
    char text[MY_NUMBER_MAX * 2], *end;
    uint64_t u;
    unsigned size = sizes[type];
    if (!bl_uint(&v, size, &u)) {
        return false;
    }
    if (type == DOUBLE) {
        double d;
        memcpy(&d, &u, sizeof d);
        end = my_put_float64_within(text, d, 24);
        if (!memchr(text, '.', (size_t)(end - text)) && !memchr(text, 'e', (size_t)(end - text))) {
            *end++ = '.';
            *end++ = '0';
        }
    } else if (type == UINT16 || type == UINT32 || type == UINT64) {
        end = my_put_uint(text, u);
    } else {
        unsigned shift = 64 - 8 * size;
        end = my_put_int(text, (int64_t)(u << shift) >> shift);
    }
    gw_buf_put(out, text, (size_t)(end - text));
    return true;
}

static void
base64(struct gw_buf *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0);
        // The server breaks the line after 76 characters, and a line break in a string is \n.
        if (i && i % 57 == 0) {
            gw_buf_puts(out, "\\n");
        }
        char four[] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=',
                       i + 2 < n ? digits[v & 63] : '='};
        gw_buf_put(out, four, sizeof four);
    }
}

// The packed form of times: 24 bits of microseconds, 17 of clock, then days and months; of TIME the same without a date.
static bool
temporal(uint8_t type, struct bl_bytes v, struct gw_buf *out)
{
    char text[MY_NUMBER_MAX * 2], *to = text;
    uint64_t u;
    if (!bl_uint(&v, 8, &u)) {
        return false;
    }
    int64_t packed = (int64_t)u;
    *to++ = '"';
    if (packed < 0) {
        *to++ = '-';
        packed = packed == INT64_MIN ? INT64_MAX : -packed;
    }
    unsigned usec = (unsigned)(packed & 0xffffff);
    uint64_t whole = (uint64_t)packed >> 24;
    if (type == BF_TIME_OLD || type == BF_TIME) {
        to = my_put_clock(to, whole >> 12 & 1023, whole >> 6 & 63, whole & 63, usec, 6);
    } else {
        unsigned clock = (unsigned)whole & 0x1ffff, day = (unsigned)(whole >> 17), months = day >> 5;
        to = my_put_date(to, months / 13 % 10000, months % 13, day & 31);
        if (type != BF_DATE && type != BF_NEWDATE) {
            *to++ = ' ';
            to = my_put_clock(to, clock >> 12, clock >> 6 & 63, clock & 63, usec, 6);
        }
    }
    *to++ = '"';
    gw_buf_put(out, text, (size_t)(to - text));
    return true;
}

static bool
opaque(struct bl_bytes v, struct gw_buf *out)
{
    uint64_t type, n;
    const uint8_t *p;
    if (!bl_uint(&v, 1, &type) || !length(&v, &n) || !bl_take(&v, (size_t)n, &p)) {
        return false;
    }
    struct bl_bytes inside = {p, (size_t)n};
    switch (type) {
    case BF_NEWDECIMAL: return rw_decimal_text(inside, out);
    case BF_DATE:
    case BF_NEWDATE:
    case BF_TIME_OLD:
    case BF_TIME:
    case BF_TIMESTAMP_OLD:
    case BF_TIMESTAMP:
    case BF_DATETIME_OLD:
    case BF_DATETIME: return temporal((uint8_t)type, inside, out);
    default: break;
    }
    gw_buf_printf(out, "\"base64:type%u:", (unsigned)type);
    base64(out, p, (size_t)n);
    gw_buf_putc(out, '"');
    return true;
}

// ---- arrays and objects ------------------------------------------------------------------------

static bool
is_inline(uint8_t type, bool large)
{
    return type == LITERAL || type == INT16 || type == UINT16 || (large && (type == INT32 || type == UINT32));
}

// A number of members, the size in bytes, for each key (of objects) an offset and a length, for each value a type and an
// offset or the value itself. Small: numbers of two bytes; large: of four.
static bool
container(uint8_t type, struct bl_bytes v, struct gw_buf *out, unsigned depth)
{
    bool large = type == LARGE_OBJECT || type == LARGE_ARRAY, object = type <= LARGE_OBJECT;
    unsigned w = large ? 4 : 2;
    struct bl_bytes whole = v;
    uint64_t n, size;
    if (depth > DEPTH_MAX || !bl_uint(&v, w, &n) || !bl_uint(&v, w, &size) || size > whole.left ||
        n * (object ? w + 2 + 1 + w : 1 + w) > v.left) {
        return false;
    }
    const uint8_t *keys = v.at, *values = v.at + (object ? n * (w + 2) : 0);
    gw_buf_putc(out, object ? '{' : '[');
    for (uint64_t i = 0; i < n; i++) {
        if (i) {
            gw_buf_puts(out, ", ");
        }
        if (object) {
            uint64_t at = bl_le(keys + i * (w + 2), w), len = bl_le(keys + i * (w + 2) + w, 2);
            if (at > size || len > size - at) {
                return false;
            }
            put_string(out, whole.at + at, (size_t)len);
            gw_buf_puts(out, ": ");
        }
        const uint8_t *entry = values + i * (1 + w);
        struct bl_bytes inside = {entry + 1, w};
        if (!is_inline(entry[0], large)) {
            uint64_t at = bl_le(entry + 1, w);
            if (at > size) {
                return false;
            }
            inside = (struct bl_bytes){whole.at + at, (size_t)(size - at)};
        }
        if (!value(entry[0], inside, out, depth + 1) || out->overflowed) {
            return false;
        }
    }
    gw_buf_putc(out, object ? '}' : ']');
    return true;
}

static bool
value(uint8_t type, struct bl_bytes v, struct gw_buf *out, unsigned depth)
{
    uint64_t n;
    const uint8_t *p;
    switch (type) {
    case SMALL_OBJECT:
    case LARGE_OBJECT:
    case SMALL_ARRAY:
    case LARGE_ARRAY: return container(type, v, out, depth);
    case LITERAL: return bl_uint(&v, 1, &n) && literal(n, out);
    case INT16:
    case UINT16:
    case INT32:
    case UINT32:
    case INT64:
    case UINT64:
    case DOUBLE: return number(type, v, out);
    case STRING:
        if (!length(&v, &n) || !bl_take(&v, (size_t)n, &p)) {
            return false;
        }
        put_string(out, p, (size_t)n);
        return true;
    case OPAQUE: return opaque(v, out);
    default: return false;
    }
}

int
jb_text(struct bl_bytes v, struct gw_buf *out, struct gw_err *err)
{
    uint64_t type;
    if (v.left == 0) { // what an invalid value was made into
        gw_buf_puts(out, "null");
        return GW_OK;
    }
    if (!bl_uint(&v, 1, &type) || !value((uint8_t)type, v, out, 0)) {
        return bl_bad(err, "JSON document");
    }
    return GW_OK;
}
