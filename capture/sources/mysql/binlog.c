#include "capture/sources/mysql/binlog.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

// ---- bytes -------------------------------------------------------------------------------------

bool
bl_take(struct bl_bytes *b, size_t n, const uint8_t **ret)
{
    if (n > b->left) {
        return false;
    }
    *ret = b->at;
    b->at += n;
    b->left -= n;
    return true;
}

uint64_t
bl_le(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = bytes; i > 0; i--) {
        v = v << 8 | p[i - 1];
    }
    return v;
}

uint64_t
bl_be(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++) {
        v = v << 8 | p[i];
    }
    return v;
}

bool
bl_uint(struct bl_bytes *b, unsigned bytes, uint64_t *ret)
{
    const uint8_t *p;
    if (!bl_take(b, bytes, &p)) {
        return false;
    }
    *ret = bl_le(p, bytes);
    return true;
}

bool
bl_packed(struct bl_bytes *b, uint64_t *ret)
{
    uint64_t first;
    if (!bl_uint(b, 1, &first)) {
        return false;
    }
    if (first < 251) {
        *ret = first;
        return true;
    }
    return first != 251 && first != 255 && bl_uint(b, first == 252 ? 2 : first == 253 ? 3 : 8, ret);
}

int
bl_bad(struct gw_err *err, const char *what)
{
    gw_err_set(err, GW_BUG, NULL, "bytes of the binary log are no %s", what);
    gw_err_hint(err, "the log is damaged, or the server is newer than this program");
    return GW_BUG;
}

// ---- the event's frame -------------------------------------------------------------------------

enum { CRC = 4, FORMAT_FIXED = 2 + 50 + 4 + 1 };

static bool
crc_right(const uint8_t *p, size_t n)
{
    return crc32(crc32(0, NULL, 0), p, (uInt)(n - CRC)) == (uint32_t)bl_le(p + n - CRC, CRC);
}

// version 2, server version 50, created 4, header length 1, a length for each type, checksum algorithm 1, checksum 4.
static int
format_read(struct bl_format *f, const uint8_t *p, size_t n, struct gw_err *err)
{
    if (n < BL_HEADER + FORMAT_FIXED + 1 + CRC || p[BL_HEADER + FORMAT_FIXED - 1] != BL_HEADER ||
        bl_le(p + BL_HEADER, 2) != 4) {
        return bl_bad(err, "format description of version 4");
    }
    uint8_t algorithm = p[n - CRC - 1];
    if (algorithm > 1) {
        return gw_err_set(err, GW_CONFIG, NULL, "the binary log has checksums of an unknown kind (%u)", algorithm);
    }
    if (algorithm == 1 && !crc_right(p, n)) {
        return gw_err_set(err, GW_RETRY, NULL, "the checksum of a format description is wrong");
    }
    size_t types = n - CRC - 1 - BL_HEADER - FORMAT_FIXED;
    types = types < sizeof f->post_header - 1 ? types : sizeof f->post_header - 1;
    *f = (struct bl_format){.crc32 = algorithm == 1, .post_headers = types + 1};
    memcpy(f->post_header + 1, p + BL_HEADER + FORMAT_FIXED, types);
    return GW_OK;
}

static int
header_read(const uint8_t *p, size_t n, struct bl_event *ret, struct gw_err *err)
{
    if (n < BL_HEADER || n > BL_EVENT_MAX || bl_le(p + 9, 4) != n) {
        return bl_bad(err, "event");
    }
    *ret = (struct bl_event){
        .timestamp = (uint32_t)bl_le(p, 4),
        .type = p[4],
        .server_id = (uint32_t)bl_le(p + 5, 4),
        .size = (uint32_t)n,
        .next_pos = (uint32_t)bl_le(p + 13, 4),
        .flags = (uint16_t)bl_le(p + 17, 2),
        .body = {p + BL_HEADER, n - BL_HEADER},
    };
    return GW_OK;
}

int
bl_event_read(struct bl_format *f, const uint8_t *p, size_t n, struct bl_event *ret, struct gw_err *err)
{
    struct bl_event e;
    int r = header_read(p, n, &e, err);
    if (r != GW_OK) {
        return r;
    }
    if (e.type == BL_FORMAT) {
        r = format_read(f, p, n, err);
        if (r == GW_OK) {
            *ret = e;
        }
        return r;
    }
    if (f->crc32) {
        if (n < BL_HEADER + CRC) {
            return bl_bad(err, "event with a checksum");
        }
        if (!crc_right(p, n)) {
            return gw_err_set(err, GW_RETRY, NULL, "the checksum of an event of type %u that ends at %u is wrong",
                              e.type, e.next_pos);
        }
        e.body.left -= CRC;
    }
    *ret = e;
    return GW_OK;
}

// ---- small events ------------------------------------------------------------------------------

int
bl_rotate_read(const struct bl_event *e, struct bl_rotate *ret, struct gw_err *err)
{
    struct bl_bytes b = e->body;
    uint64_t position;
    if (!bl_uint(&b, 8, &position) || b.left == 0 || memchr(b.at, 0, b.left) || memchr(b.at, ':', b.left) ||
        memchr(b.at, ';', b.left)) {
        return bl_bad(err, "rotation");
    }
    *ret = (struct bl_rotate){.position = position, .file = (const char *)b.at, .file_len = b.left};
    return GW_OK;
}

enum { MARIA_STANDALONE = 1, MARIA_DDL = 32, MARIA_PREPARED = 64, MARIA_COMPLETED = 128 };

static bool
maria_gtid(struct bl_bytes b, struct bl_gtid *g)
{
    uint64_t domain, flags;
    if (!bl_uint(&b, 8, &g->sequence) || !bl_uint(&b, 4, &domain) || !bl_uint(&b, 1, &flags)) {
        return false;
    }
    g->domain = (uint32_t)domain;
    g->standalone = flags & MARIA_STANDALONE;
    g->ddl = flags & MARIA_DDL;
    g->prepared = flags & MARIA_PREPARED;
    g->completed = flags & MARIA_COMPLETED;
    return true;
}

// flags 1, uuid 16, number 8; then, since 5.7, type 1, last committed 8, sequence 8; since 8.0 the commit's time, 7 bytes.
static bool
mysql_gtid(struct bl_bytes b, struct bl_gtid *g)
{
    const uint8_t *uuid;
    uint64_t flags, number, type, time;
    struct bl_bytes rest;
    if (!bl_uint(&b, 1, &flags) || !bl_take(&b, 16, &uuid) || !bl_uint(&b, 8, &number)) {
        return false;
    }
    memcpy(g->uuid, uuid, 16);
    g->sequence = number;
    rest = b;
    if (bl_uint(&rest, 1, &type) && bl_take(&rest, 16, &uuid) && bl_uint(&rest, 7, &time)) {
        g->commit_us = (int64_t)(time & ~(UINT64_C(1) << 55)); // the highest bit: another time follows
    }
    return true;
}

// MySQL 8.4 writes numbers of its tagged event with the length in the low bits of the first byte: as many ones as further bytes.
static bool
serial_uint(struct bl_bytes *b, uint64_t *ret)
{
    const uint8_t *p;
    if (b->left == 0) {
        return false;
    }
    unsigned more = 0;
    while (more < 8 && (b->at[0] >> more & 1)) {
        more++;
    }
    if (!bl_take(b, more + 1, &p)) {
        return false;
    }
    *ret = more >= 8 ? bl_le(p + 1, 8) : bl_le(p, more + 1) >> (more + 1);
    return true;
}

// A signed number: the lowest bit is the sign.
static bool
serial_int(struct bl_bytes *b, int64_t *ret)
{
    uint64_t v;
    if (!serial_uint(b, &v)) {
        return false;
    }
    *ret = (int64_t)(v >> 1 ^ (UINT64_C(0) - (v & 1)));
    return true;
}

// version, size, last field that must be known; then fields: number, value. 0 flags, 1 uuid, 2 number, 3 tag, 4 and 5 logical
// times, 6 the commit's time; the rest is not needed.
static bool
tagged_gtid(struct bl_bytes b, struct bl_gtid *g)
{
    uint64_t version, size, last, field, v;
    int64_t number;
    if (!serial_uint(&b, &version) || !serial_uint(&b, &size) || !serial_uint(&b, &last)) {
        return false;
    }
    bool has_uuid = false, has_number = false;
    while (b.left && serial_uint(&b, &field) && field <= 6) {
        if (field == 0 && !serial_uint(&b, &v)) {
            return false;
        } else if (field == 1) {
            for (int i = 0; i < 16; i++) {
                if (!serial_uint(&b, &v)) {
                    return false;
                }
                g->uuid[i] = (uint8_t)v;
            }
            has_uuid = true;
        } else if (field == 2) {
            if (!serial_int(&b, &number) || number <= 0) {
                return false;
            }
            g->sequence = (uint64_t)number;
            has_number = true;
        } else if (field == 3) {
            const uint8_t *tag;
            if (!serial_uint(&b, &v) || v >= sizeof g->tag || !bl_take(&b, (size_t)v, &tag)) {
                return false;
            }
            memcpy(g->tag, tag, (size_t)v);
            g->tag[v] = 0;
        } else if (field >= 4 && field <= 5 && !serial_int(&b, &number)) {
            return false;
        } else if (field == 6) {
            if (!serial_uint(&b, &v)) {
                return false;
            }
            g->commit_us = (int64_t)v;
        }
    }
    return has_uuid && has_number;
}

int
bl_gtid_read(const struct bl_event *e, struct bl_gtid *ret, struct gw_err *err)
{
    struct bl_gtid g = {.anonymous = e->type == BL_MYSQL_ANONYMOUS, .server = e->server_id};
    bool good = e->type == BL_MARIA_GTID          ? maria_gtid(e->body, &g)
                : e->type == BL_MYSQL_GTID_TAGGED ? tagged_gtid(e->body, &g)
                                                  : mysql_gtid(e->body, &g);
    if (!good) {
        return bl_bad(err, "GTID");
    }
    *ret = g;
    return GW_OK;
}

int
bl_gtid_list_next(struct bl_bytes *b, uint32_t *left, struct bl_gtid *ret, struct gw_err *err)
{
    uint64_t v, domain, server, sequence;
    if (*left == UINT32_MAX) {
        if (!bl_uint(b, 4, &v)) {
            return bl_bad(err, "list of GTIDs");
        }
        *left = (uint32_t)v & 0x0fffffff; // four flags above
    }
    if (*left == 0) {
        return GW_END;
    }
    if (!bl_uint(b, 4, &domain) || !bl_uint(b, 4, &server) || !bl_uint(b, 8, &sequence)) {
        return bl_bad(err, "list of GTIDs");
    }
    (*left)--;
    *ret = (struct bl_gtid){.domain = (uint32_t)domain, .server = (uint32_t)server, .sequence = sequence};
    return GW_OK;
}

int
bl_xa_prepare_read(const struct bl_event *e, bool *ret_one_phase, struct gw_err *err)
{
    struct bl_bytes b = e->body;
    uint64_t one;
    if (!bl_uint(&b, 1, &one)) {
        return bl_bad(err, "XA PREPARE");
    }
    *ret_one_phase = one != 0;
    return GW_OK;
}

void
bl_incident_text(const struct bl_event *e, char *ret, size_t size)
{
    struct bl_bytes b = e->body;
    uint64_t number = 0, n = 0;
    const uint8_t *text = NULL;
    if (bl_uint(&b, 2, &number) && bl_uint(&b, 1, &n) && bl_take(&b, (size_t)n, &text) && n) {
        snprintf(ret, size, "%.*s", (int)n, (const char *)text);
    } else {
        snprintf(ret, size, "number %u", (unsigned)number);
    }
}

// ---- compressed parts --------------------------------------------------------------------------

// MariaDB: one byte (bit 7 set, three bits of the method, the number of length bytes), the length (big-endian), zlib's stream.
static int
unpack(struct bl_bytes b, struct gw_buf *to, struct bl_bytes *ret, struct gw_err *err)
{
    const uint8_t *p;
    uint64_t head;
    if (!bl_uint(&b, 1, &head) || !(head & 0x80) || (head & 7) == 0 || (head & 7) > 4) {
        return bl_bad(err, "compressed event");
    }
    if (head & 0x70) {
        return gw_err_set(err, GW_CONFIG, NULL, "an event of the binary log is compressed in an unknown way");
    }
    if (!bl_take(&b, (size_t)(head & 7), &p)) {
        return bl_bad(err, "compressed event");
    }
    uint64_t len = bl_be(p, (unsigned)(head & 7));
    // zlib makes at most about a thousand bytes of one.
    if (len > BL_EVENT_MAX || len > (uint64_t)b.left * 1100 + 1100) {
        return bl_bad(err, "compressed event");
    }
    gw_buf_reset(to);
    char *room = gw_buf_room(to, len + 1);
    uLongf got = (uLongf)len;
    if (!room || uncompress((Bytef *)room, &got, b.at, (uLong)b.left) != Z_OK || got != len) {
        return bl_bad(err, "compressed event");
    }
    gw_buf_added(to, len);
    *ret = (struct bl_bytes){(const uint8_t *)to->data, len};
    return GW_OK;
}

// ---- statements --------------------------------------------------------------------------------

// thread 4, seconds 4, schema's length 1, error 2, length of variables 2; variables, schema, NUL, statement.
int
bl_query_read(const struct bl_format *f, const struct bl_event *e, struct gw_buf *unpacked, struct bl_query *ret,
              struct gw_err *err)
{
    struct bl_bytes b = e->body;
    uint64_t thread, seconds, schema_len, error, vars_len;
    const uint8_t *skipped, *schema;
    size_t post = f->post_header[e->type] ? f->post_header[e->type] : 13;
    if (post < 13 || !bl_uint(&b, 4, &thread) || !bl_uint(&b, 4, &seconds) || !bl_uint(&b, 1, &schema_len) ||
        !bl_uint(&b, 2, &error) || !bl_uint(&b, 2, &vars_len) || !bl_take(&b, post - 13, &skipped) ||
        !bl_take(&b, (size_t)vars_len, &skipped) || !bl_take(&b, (size_t)schema_len, &schema) ||
        !bl_take(&b, 1, &skipped)) {
        return bl_bad(err, "statement");
    }
    if (e->type == BL_MARIA_QUERY_Z) {
        int r = unpack(b, unpacked, &b, err);
        if (r != GW_OK) {
            return r;
        }
    }
    *ret = (struct bl_query){(const char *)schema, (size_t)schema_len, (const char *)b.at, b.left, (uint32_t)error};
    return GW_OK;
}

// ---- rows --------------------------------------------------------------------------------------

static const struct {
    uint8_t type;
    enum bl_change change;
    bool v2, packed;
} kinds[] = {
    {BL_WRITE_V1, BL_INSERT, false, false},         {BL_UPDATE_V1, BL_UPDATE, false, false},
    {BL_DELETE_V1, BL_DELETE, false, false},        {BL_WRITE_V2, BL_INSERT, true, false},
    {BL_UPDATE_V2, BL_UPDATE, true, false},         {BL_DELETE_V2, BL_DELETE, true, false},
    {BL_MARIA_WRITE_Z_V1, BL_INSERT, false, true},  {BL_MARIA_UPDATE_Z_V1, BL_UPDATE, false, true},
    {BL_MARIA_DELETE_Z_V1, BL_DELETE, false, true}, {BL_MARIA_WRITE_Z, BL_INSERT, true, true},
    {BL_MARIA_UPDATE_Z, BL_UPDATE, true, true},     {BL_MARIA_DELETE_Z, BL_DELETE, true, true},
};
enum { KINDS = sizeof kinds / sizeof *kinds, STMT_END = 1 };

static size_t
kind_of(uint8_t type)
{
    size_t i = 0;
    while (i < KINDS && kinds[i].type != type) {
        i++;
    }
    return i;
}

bool
bl_is_rows(uint8_t type)
{
    return kind_of(type) < KINDS;
}

static bool
rows_head(const struct bl_format *f, const struct bl_event *e, bool v2, struct bl_bytes *b, struct bl_rows *ret)
{
    uint64_t flags, extra;
    const uint8_t *skipped;
    unsigned id_bytes = f->post_header[e->type] == 6 ? 4 : 6;
    if (!bl_uint(b, id_bytes, &ret->table) || !bl_uint(b, 2, &flags)) {
        return false;
    }
    ret->ends_statement = flags & STMT_END;
    // The extra data's length counts its own two bytes.
    return !v2 || (bl_uint(b, 2, &extra) && extra >= 2 && bl_take(b, (size_t)extra - 2, &skipped));
}

int
bl_rows_read(const struct bl_format *f, const struct bl_event *e, struct gw_buf *unpacked, struct bl_rows *ret,
             struct gw_err *err)
{
    size_t k = kind_of(e->type);
    struct bl_bytes b = e->body;
    struct bl_rows out = {0};
    uint64_t columns;
    const uint8_t *first = NULL, *second = NULL;
    if (k == KINDS || !rows_head(f, e, kinds[k].v2, &b, &out) || !bl_packed(&b, &columns) || columns > BL_COLUMNS_MAX ||
        !bl_take(&b, (size_t)(columns + 7) / 8, &first) ||
        (kinds[k].change == BL_UPDATE && !bl_take(&b, (size_t)(columns + 7) / 8, &second))) {
        return bl_bad(err, "rows");
    }
    out.change = kinds[k].change;
    out.columns = (size_t)columns;
    out.before = out.change == BL_INSERT ? NULL : first;
    out.after = out.change == BL_INSERT ? first : second;
    out.rows = b;
    if (kinds[k].packed && b.left) {
        int r = unpack(b, unpacked, &out.rows, err);
        if (r != GW_OK) {
            return r;
        }
    }
    *ret = out;
    return GW_OK;
}
