#include "capture/sources/mysql/rows.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "capture/sources/mysql/jsonb.h"
#include "capture/sources/mysql/numtext.h"

enum { VALUE_MAX = 1 << 30 };

void
rw_scratch_init(struct rw_scratch *s, size_t values_max)
{
    gw_buf_init(&s->text, (size_t)4 * VALUE_MAX);
    s->offsets = calloc(values_max + 1, sizeof *s->offsets);
    gw_assert(s->offsets);
    s->values_max = values_max;
}

void
rw_scratch_fini(struct rw_scratch *s)
{
    gw_buf_fini(&s->text);
    free(s->offsets);
    *s = (struct rw_scratch){0};
}

// Where the next value's text goes, with room for n bytes.
static char *
room(struct rw_scratch *s, size_t n)
{
    return gw_buf_room(&s->text, n + 1);
}

static int
done(struct rw_scratch *s, const char *end)
{
    gw_buf_added(&s->text, (size_t)(end - (s->text.data + s->text.len)));
    return GW_OK;
}

static int
too_large(struct gw_err *err)
{
    return gw_err_set(err, GW_DATA, NULL, "the row is too large");
}

// ---- bytes and texts ---------------------------------------------------------------------------

static int
put_hex(struct rw_scratch *s, struct bl_bytes v, size_t pad, struct gw_err *err)
{
    static const char digits[] = "0123456789abcdef";
    size_t zeros = pad > v.left ? pad - v.left : 0;
    char *to = room(s, (v.left + zeros) * 2 + 2);
    if (!to) {
        return too_large(err);
    }
    *to++ = '\\';
    *to++ = 'x';
    for (size_t i = 0; i < v.left; i++) {
        *to++ = digits[v.at[i] >> 4];
        *to++ = digits[v.at[i] & 15];
    }
    memset(to, '0', zeros * 2);
    return done(s, to + zeros * 2);
}

static int
put_text(struct rw_scratch *s, const struct my_charset *c, struct bl_bytes v, struct gw_err *err)
{
    char *to = room(s, my_charset_room(c, v.left));
    if (!to) {
        return too_large(err);
    }
    to = my_charset_put(c, to, v.at, v.left);
    if (!to) {
        return gw_err_set(err, GW_DATA, NULL, "a text of character set %s has no Unicode form", c->name);
    }
    return done(s, to);
}

static int
put_uuid(struct rw_scratch *s, struct bl_bytes v, bool swapped, struct gw_err *err)
{
    // MariaDB keeps the parts of a version 1 … 5 in the order in which they sort: node, sequence, high, middle, low time.
    static const uint8_t order[16] = {12, 13, 14, 15, 10, 11, 8, 9, 6, 7, 0, 1, 2, 3, 4, 5};
    uint8_t b[16] = {0}; // zeros at the end are not in the log
    if (v.left > sizeof b) {
        return bl_bad(err, "uuid");
    }
    memcpy(b, v.at, v.left);
    swapped = swapped || ((b[6] & 0x80) && b[8] > 0 && b[8] < 0x80);
    char *to = room(s, 36);
    if (!to) {
        return too_large(err);
    }
    for (unsigned i = 0; i < 16; i++) {
        uint8_t x = b[swapped ? order[i] : i];
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *to++ = '-';
        }
        *to++ = "0123456789abcdef"[x >> 4];
        *to++ = "0123456789abcdef"[x & 15];
    }
    return done(s, to);
}

static int
put_inet(struct rw_scratch *s, struct bl_bytes v, bool v6, struct gw_err *err)
{
    uint8_t b[16] = {0};
    if (v.left > (v6 ? 16 : 4)) {
        return bl_bad(err, "address");
    }
    memcpy(b, v.at, v.left);
    char *to = room(s, INET6_ADDRSTRLEN);
    if (!to) {
        return too_large(err);
    }
    if (!inet_ntop(v6 ? AF_INET6 : AF_INET, b, to, INET6_ADDRSTRLEN)) {
        return bl_bad(err, "address");
    }
    return done(s, to + strlen(to));
}

// MariaDB's COMPRESSED: method in the high bits (0 = none, 8 = zlib), then bit 3 = without zlib's header, bits 0-2 =
// bytes of the length that follows, big-endian. An empty text is empty.
static int
uncompressed(struct rw_scratch *s, struct bl_bytes v, struct bl_bytes *ret, struct gw_err *err)
{
    uint64_t head;
    const uint8_t *p;
    if (v.left == 0) {
        *ret = v;
        return GW_OK;
    }
    if (!bl_uint(&v, 1, &head) || (head >> 4 != 0 && head >> 4 != 8)) {
        return bl_bad(err, "compressed value");
    }
    if (head >> 4 == 0) {
        *ret = v;
        return GW_OK;
    }
    if ((head & 7) == 0 || !bl_take(&v, (size_t)(head & 7), &p)) {
        return bl_bad(err, "compressed value");
    }
    uint64_t len = bl_be(p, (unsigned)(head & 7));
    if (len > VALUE_MAX || len > (uint64_t)v.left * 1100 + 1100) { // zlib makes at most about a thousand bytes of one
        return bl_bad(err, "compressed value");
    }
    char *to = room(s, (size_t)len);
    if (!to) {
        return too_large(err);
    }
    z_stream z = {
        .next_in = (Bytef *)(uintptr_t)v.at, .avail_in = (uInt)v.left, .next_out = (Bytef *)to, .avail_out = (uInt)len};
    if (inflateInit2(&z, head & 8 ? -MAX_WBITS : MAX_WBITS) != Z_OK) {
        return gw_err_set(err, GW_RETRY, NULL, "zlib has no memory");
    }
    int r = inflate(&z, Z_FINISH);
    (void)inflateEnd(&z);
    if (r != Z_STREAM_END || z.avail_out) {
        return bl_bad(err, "compressed value");
    }
    *ret = (struct bl_bytes){(const uint8_t *)to, (size_t)len};
    return done(s, to + len);
}

// ---- numbers -----------------------------------------------------------------------------------

// Groups of nine digits in four bytes, what is left of them in fewer; the first bit says that it is not negative.
static const uint8_t group_bytes[] = {0, 1, 1, 2, 2, 3, 3, 4, 4, 4};

static size_t
decimal_size(const struct bl_column *c)
{
    unsigned whole = (unsigned)c->precision - c->scale;
    return (whole / 9 + c->scale / 9) * 4u + group_bytes[whole % 9] + group_bytes[c->scale % 9];
}

static char *
put_group(char *to, uint32_t v, unsigned digits)
{
    for (unsigned i = digits; i > 0; i--) {
        to[i - 1] = (char)('0' + v % 10);
        v /= 10;
    }
    return to + digits;
}

enum { DECIMAL_TEXT_MAX = 72 };

static char *
put_digits(char *to, const uint8_t *bytes, unsigned n, bool short_first)
{
    while (n > 0) {
        unsigned k = short_first && n % 9 ? n % 9 : n < 9 ? n : 9;
        to = put_group(to, (uint32_t)bl_be(bytes, group_bytes[k]), k);
        bytes += group_bytes[k];
        n -= k;
    }
    return to;
}

static char *
decimal_text(char *to, const struct bl_column *c, const uint8_t *p)
{
    uint8_t b[40];
    char digits[DECIMAL_TEXT_MAX];
    unsigned whole = (unsigned)c->precision - c->scale, skip = 0;
    size_t n = decimal_size(c);
    bool negative = !(p[0] & 0x80);
    for (size_t i = 0; i < n; i++) {
        b[i] = negative ? (uint8_t)~p[i] : p[i];
    }
    b[0] ^= 0x80;
    struct bl_column before = {.precision = (uint8_t)whole};
    char *point = put_digits(digits, b, whole, true);
    put_digits(point, b + decimal_size(&before), c->scale, false);
    if (negative) {
        *to++ = '-';
    }
    while (skip + 1 < whole && digits[skip] == '0') {
        skip++;
    }
    if (whole == 0) {
        *to++ = '0';
    }
    memcpy(to, digits + skip, whole - skip);
    to += whole - skip;
    if (c->scale) {
        *to++ = '.';
        memcpy(to, point, c->scale);
        to += c->scale;
    }
    return to;
}

static int
put_decimal(struct rw_scratch *s, const struct bl_column *c, const uint8_t *p, struct gw_err *err)
{
    char *to = room(s, DECIMAL_TEXT_MAX);
    return to ? done(s, decimal_text(to, c, p)) : too_large(err);
}

bool
rw_decimal_text(struct bl_bytes v, struct gw_buf *out)
{
    uint64_t precision, scale;
    char text[DECIMAL_TEXT_MAX];
    if (!bl_uint(&v, 1, &precision) || !bl_uint(&v, 1, &scale) || precision < 1 || precision > 65 ||
        scale > precision) {
        return false;
    }
    struct bl_column c = {.precision = (uint8_t)precision, .scale = (uint8_t)scale};
    if (v.left != decimal_size(&c)) {
        return false;
    }
    gw_buf_put(out, text, (size_t)(decimal_text(text, &c, v.at) - text));
    return true;
}

static int64_t
sign_extend(uint64_t v, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(v << shift) >> shift;
}

static int
put_integer(struct rw_scratch *s, const struct rw_column *c, const uint8_t *p, unsigned bytes, struct gw_err *err)
{
    char *to = room(s, MY_NUMBER_MAX);
    if (!to) {
        return too_large(err);
    }
    uint64_t v = bl_le(p, bytes);
    return done(s, c->is_unsigned ? my_put_uint(to, v) : my_put_int(to, sign_extend(v, bytes)));
}

static int
put_real(struct rw_scratch *s, const uint8_t *p, unsigned bytes, struct gw_err *err)
{
    char *to = room(s, MY_NUMBER_MAX);
    if (!to) {
        return too_large(err);
    }
    if (bytes == 4) {
        uint32_t v = (uint32_t)bl_le(p, 4);
        float f;
        memcpy(&f, &v, 4);
        return done(s, my_put_float32(to, f));
    }
    uint64_t v = bl_le(p, 8);
    double d;
    memcpy(&d, &v, 8);
    return done(s, my_put_float64(to, d));
}

static int
put_bits(struct rw_scratch *s, const uint8_t *p, unsigned bytes, unsigned bits, struct gw_err *err)
{
    char *to = room(s, 64);
    if (!to) {
        return too_large(err);
    }
    uint64_t v = bl_be(p, bytes);
    for (unsigned i = bits; i > 0; i--) {
        *to++ = v >> (i - 1) & 1 ? '1' : '0';
    }
    return done(s, to);
}

static int
put_label(struct rw_scratch *s, const Gw__Type *t, uint64_t i, struct gw_err *err)
{
    if (i >= t->n_labels) {
        return gw_err_set(err, GW_DATA, NULL, "a value of it has no label");
    }
    size_t n = strlen(t->labels[i]);
    char *to = room(s, n);
    if (!to) {
        return too_large(err);
    }
    memcpy(to, t->labels[i], n);
    return done(s, to + n);
}

static int
put_labels(struct rw_scratch *s, const struct rw_column *c, const uint8_t *p, struct gw_err *err)
{
    uint64_t v = bl_le(p, c->log.size);
    if (c->log.type == BF_ENUM) {
        return v == 0 ? GW_OK : put_label(s, c->type, v - 1, err); // 0 = what was no label is an empty text
    }
    bool first = true;
    for (unsigned i = 0; v; i++, v >>= 1) {
        if (!(v & 1)) {
            continue;
        }
        char *to = room(s, 1);
        if (!to) {
            return too_large(err);
        }
        *to = ',';
        done(s, to + !first);
        first = false;
        int r = put_label(s, c->type, i, err);
        if (r != GW_OK) {
            return r;
        }
    }
    return GW_OK;
}

// ---- times -------------------------------------------------------------------------------------

static unsigned
fraction_bytes(unsigned scale)
{
    return (scale + 1) / 2;
}

static unsigned
fraction_usec(const uint8_t *p, unsigned scale)
{
    static const unsigned unit[] = {0, 10000, 100, 1};
    return (unsigned)bl_be(p, fraction_bytes(scale)) * unit[fraction_bytes(scale)];
}

static char *
put_datetime(char *to, const uint8_t *p, unsigned scale)
{
    uint64_t v = bl_be(p, 5) & UINT64_C(0x7fffffffff);
    unsigned day = (unsigned)(v >> 17), months = day >> 5, clock = (unsigned)v & 0x1ffff;
    to = my_put_date(to, months / 13, months % 13, day & 31);
    *to++ = ' ';
    return my_put_clock(to, clock >> 12, clock >> 6 & 63, clock & 63, fraction_usec(p + 5, scale), scale);
}

// Three bytes of clock and the fraction make one number, which is shifted so that it sorts; negative times count backwards.
static char *
put_time(char *to, const uint8_t *p, unsigned scale)
{
    static const int64_t unit[] = {0, 10000, 100, 1};
    unsigned bytes = fraction_bytes(scale);
    int64_t packed;
    if (bytes == 3) {
        packed = (int64_t)bl_be(p, 6) - INT64_C(0x800000000000);
    } else {
        int64_t clock = (int64_t)bl_be(p, 3) - 0x800000, fraction = (int64_t)bl_be(p + 3, bytes);
        if (clock < 0 && fraction) {
            clock++;
            fraction -= INT64_C(1) << 8 * bytes;
        }
        packed = clock * (1 << 24) + fraction * unit[bytes];
    }
    if (packed < 0) {
        *to++ = '-';
        packed = -packed;
    }
    unsigned clock = (unsigned)(packed >> 24), usec = (unsigned)(packed & 0xffffff);
    return my_put_clock(to, clock >> 12 & 1023, clock >> 6 & 63, clock & 63, usec, scale);
}

static char *
put_old_datetime(char *to, uint64_t v)
{
    unsigned date = (unsigned)(v / 1000000), clock = (unsigned)(v % 1000000);
    to = my_put_date(to, date / 10000 % 10000, date / 100 % 100, date % 100);
    *to++ = ' ';
    return my_put_clock(to, clock / 10000, clock / 100 % 100, clock % 100, 0, 0);
}

static char *
put_old_time(char *to, int64_t v)
{
    if (v < 0) {
        *to++ = '-';
        v = -v;
    }
    return my_put_clock(to, (unsigned)v / 10000, (unsigned)v / 100 % 100, (unsigned)v % 100, 0, 0);
}

static int
put_temporal(struct rw_scratch *s, const struct rw_column *c, const uint8_t *p, struct gw_err *err)
{
    char *to = room(s, MY_NUMBER_MAX);
    if (!to) {
        return too_large(err);
    }
    uint64_t v;
    switch (c->log.type) {
    case BF_DATE:
    case BF_NEWDATE:
        v = bl_le(p, 3);
        to = my_put_date(to, (unsigned)(v >> 9), v >> 5 & 15, v & 31);
        break;
    case BF_YEAR: to = p[0] ? my_put_uint(to, p[0] + 1900u) : (char *)memset(to, '0', 4) + 4; break;
    case BF_DATETIME: to = put_datetime(to, p, c->log.scale); break;
    case BF_TIME: to = put_time(to, p, c->log.scale); break;
    case BF_TIMESTAMP:
        to = my_put_epoch(to, (uint32_t)bl_be(p, 4), fraction_usec(p + 4, c->log.scale), c->log.scale);
        break;
    case BF_TIMESTAMP_OLD: to = my_put_epoch(to, (uint32_t)bl_le(p, 4), 0, 0); break;
    case BF_DATETIME_OLD: to = put_old_datetime(to, bl_le(p, 8)); break;
    default: to = put_old_time(to, sign_extend(bl_le(p, 3), 3)); break;
    }
    if (c->form == RW_UTC) {
        memcpy(to, "+00", 3);
        to += 3;
    }
    return done(s, to);
}

// ---- one value ---------------------------------------------------------------------------------

// The bytes of the value at the front of b.
static bool
value_bytes(const struct bl_column *c, struct bl_bytes *b, struct bl_bytes *ret)
{
    uint64_t n = 0;
    switch (c->type) {
    case BF_TINY:
    case BF_YEAR: n = 1; break;
    case BF_SHORT: n = 2; break;
    case BF_INT24:
    case BF_DATE:
    case BF_NEWDATE:
    case BF_TIME_OLD: n = 3; break;
    case BF_LONG:
    case BF_FLOAT:
    case BF_TIMESTAMP_OLD: n = 4; break;
    case BF_LONGLONG:
    case BF_DOUBLE:
    case BF_DATETIME_OLD: n = 8; break;
    case BF_TIMESTAMP: n = 4 + fraction_bytes(c->scale); break;
    case BF_DATETIME: n = 5 + fraction_bytes(c->scale); break;
    case BF_TIME: n = 3 + fraction_bytes(c->scale); break;
    case BF_NEWDECIMAL: n = decimal_size(c); break;
    case BF_BIT: n = (c->precision + 7u) / 8; break;
    case BF_ENUM:
    case BF_SET: n = c->size; break;
    case BF_STRING:
    case BF_VARCHAR:
    case BF_VARCHAR_Z:
    case BF_VAR_STRING:
        if (!bl_uint(b, c->size > 255 ? 2 : 1, &n)) {
            return false;
        }
        break;
    case BF_BLOB:
    case BF_BLOB_Z:
    case BF_TINY_BLOB:
    case BF_MEDIUM_BLOB:
    case BF_LONG_BLOB:
    case BF_GEOMETRY:
    case BF_JSON:
    case BF_VECTOR:
        if (!bl_uint(b, c->size, &n)) {
            return false;
        }
        break;
    case BF_NULL: n = 0; break;
    default: return false;
    }
    ret->left = (size_t)n;
    return bl_take(b, (size_t)n, &ret->at);
}

static int
put_value(struct rw_scratch *s, const struct rw_column *c, struct bl_bytes v, struct gw_err *err)
{
    switch (c->form) {
    case RW_TEXT: return put_text(s, c->charset, v, err);
    case RW_BYTES: return put_hex(s, v, c->pad, err);
    case RW_LABELS: return put_labels(s, c, v.at, err);
    case RW_UUID:
    case RW_UUID_SWAPPED: return put_uuid(s, v, c->form == RW_UUID_SWAPPED, err);
    case RW_INET4:
    case RW_INET6: return put_inet(s, v, c->form == RW_INET6, err);
    case RW_JSON: return jb_text(v, &s->text, err);
    case RW_UTC: return put_temporal(s, c, v.at, err);
    case RW_PLAIN: break;
    }
    switch (c->log.type) {
    case BF_TINY:
    case BF_SHORT:
    case BF_INT24:
    case BF_LONG:
    case BF_LONGLONG: return put_integer(s, c, v.at, (unsigned)v.left, err);
    case BF_FLOAT:
    case BF_DOUBLE: return put_real(s, v.at, (unsigned)v.left, err);
    case BF_NEWDECIMAL: return put_decimal(s, &c->log, v.at, err);
    case BF_BIT: return put_bits(s, v.at, (unsigned)v.left, c->log.precision, err);
    default: return put_temporal(s, c, v.at, err);
    }
}

static int
read_value(struct rw_scratch *s, const struct rw_column *c, struct bl_bytes v, struct gw_value *ret, struct gw_err *err)
{
    if (c->log.type == BF_BLOB_Z || c->log.type == BF_VARCHAR_Z) {
        int r = uncompressed(s, v, &v, err);
        if (r != GW_OK) {
            return r;
        }
        // What was unpacked lies in the scratch, which may move when the value is written behind it.
        if (v.left && (const char *)v.at >= s->text.data && (const char *)v.at < s->text.data + s->text.len) {
            size_t at = (size_t)((const char *)v.at - s->text.data);
            if (!room(s, v.left * 4 + 2)) {
                return too_large(err);
            }
            v.at = (const uint8_t *)s->text.data + at;
        } else if (c->form == RW_TEXT && c->charset->form == MY_CS_SAME) {
            *ret = (struct gw_value){(const char *)v.at, (uint32_t)v.left, GW_PRESENT};
            return GW_OK;
        }
    } else if (c->form == RW_TEXT && c->charset->form == MY_CS_SAME) {
        *ret = (struct gw_value){(const char *)v.at, (uint32_t)v.left, GW_PRESENT};
        return GW_OK;
    }
    size_t at = s->text.len;
    int r = put_value(s, c, v, err);
    if (r != GW_OK) {
        return r;
    }
    if (s->text.overflowed || s->text.len - at > UINT32_MAX - 2) {
        return too_large(err);
    }
    s->offsets[c->to] = at;
    *ret = (struct gw_value){NULL, (uint32_t)(s->text.len - at), GW_PRESENT};
    return GW_OK;
}

int
rw_read(const struct rw_column *columns, size_t n, const uint8_t *present, struct bl_bytes *rows, struct rw_scratch *s,
        struct gw_value *values, size_t values_n, struct gw_err *err)
{
    gw_assert(values_n <= s->values_max);
    struct bl_bytes b = *rows;
    size_t held = 0, k = 0;
    const uint8_t *nulls;
    for (size_t i = 0; i < n; i++) {
        held += bl_bit(present, i);
    }
    if (!bl_take(&b, (held + 7) / 8, &nulls)) {
        return bl_bad(err, "row");
    }
    gw_buf_reset(&s->text);
    for (size_t i = 0; i < values_n; i++) {
        values[i] = (struct gw_value){NULL, 0, GW_NOT_GIVEN};
        s->offsets[i] = SIZE_MAX;
    }
    for (size_t i = 0; i < n; i++) {
        const struct rw_column *c = &columns[i];
        struct bl_bytes v;
        if (!bl_bit(present, i)) {
            continue;
        }
        if (bl_bit(nulls, k++)) {
            if (c->to >= 0) {
                values[c->to].given = GW_NULL;
            }
            continue;
        }
        if (!value_bytes(&c->log, &b, &v)) {
            return bl_bad(err, "row");
        }
        int r = c->to >= 0 ? read_value(s, c, v, &values[c->to], err) : GW_OK;
        if (r != GW_OK) {
            return gw_err_wrap(err, "column \"%.*s\"", (int)c->log.name_len, c->log.name ? c->log.name : "");
        }
    }
    for (size_t i = 0; i < values_n; i++) {
        if (s->offsets[i] != SIZE_MAX) {
            values[i].data = s->text.data ? s->text.data + s->offsets[i] : "";
        }
    }
    *rows = b;
    return GW_OK;
}
