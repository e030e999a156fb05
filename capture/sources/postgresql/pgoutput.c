#include "pgoutput.h"

#include <inttypes.h>
#include <string.h>

// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
#define PG_EPOCH_US INT64_C(946684800000000)

// ---- bytes -------------------------------------------------------------------------------------

static uint16_t
u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t
u32(const uint8_t *p)
{
    return (uint32_t)u16(p) << 16 | u16(p + 2);
}

static uint64_t
u64(const uint8_t *p)
{
    return (uint64_t)u32(p) << 32 | u32(p + 4);
}

// What is left of a message. Once `bad`, all further reads give zeros and empty texts.
struct in {
    const uint8_t *at, *end;
    bool bad;
};

static const uint8_t *
take(struct in *in, size_t n)
{
    static const uint8_t zeros[8];
    if (in->bad || (size_t)(in->end - in->at) < n) {
        in->bad = true;
        return n <= sizeof zeros ? zeros : NULL;
    }
    const uint8_t *p = in->at;
    in->at += n;
    return p;
}

static uint8_t
get8(struct in *in)
{
    return take(in, 1)[0];
}

static uint16_t
get16(struct in *in)
{
    return u16(take(in, 2));
}

static uint32_t
get32(struct in *in)
{
    return u32(take(in, 4));
}

static uint64_t
get64(struct in *in)
{
    return u64(take(in, 8));
}

static int64_t
get_time(struct in *in)
{
    return (int64_t)(get64(in) + (uint64_t)PG_EPOCH_US);
}

static const char *
get_text(struct in *in)
{
    const uint8_t *nul = in->bad ? NULL : memchr(in->at, 0, (size_t)(in->end - in->at));
    if (!nul) {
        in->bad = true;
        return "";
    }
    const char *text = (const char *)in->at;
    in->at = nul + 1;
    return text;
}

// ---- tuples ------------------------------------------------------------------------------------

static struct pgo_tuple
get_tuple(struct in *in)
{
    struct pgo_tuple t = {NULL, get16(in)};
    t.at = in->at;
    for (uint16_t i = 0; i < t.n && !in->bad; i++) {
        switch (get8(in)) {
        case 'n':
        case 'u': break;
        case 't': take(in, get32(in)); break;
        default: in->bad = true; break; // 'b', binary, is never asked for
        }
    }
    return t;
}

struct gw_value
pgo_value_next(const uint8_t **at)
{
    uint8_t kind = *(*at)++;
    if (kind != 't') {
        return (struct gw_value){.given = kind == 'u' ? GW_NOT_GIVEN : GW_NULL};
    }
    struct gw_value v = {(const char *)*at + 4, u32(*at), GW_PRESENT};
    *at += 4 + v.len;
    return v;
}

// ---- relations ---------------------------------------------------------------------------------

struct pgo_column
pgo_column_next(const uint8_t **at)
{
    struct pgo_column c = {.key = (*at)[0] & 1, .name = (const char *)*at + 1};
    *at += 1 + strlen(c.name) + 1;
    c.type = u32(*at);
    c.typmod = (int32_t)u32(*at + 4);
    *at += 8;
    return c;
}

uint32_t
pgo_relation_at(const struct pgo_message *m, uint32_t i)
{
    return u32(m->relations + (size_t)4 * i);
}

static void
get_relation(struct in *in, struct pgo_message *m)
{
    m->relation = get32(in);
    m->schema = get_text(in);
    m->name = get_text(in);
    m->identity = (char)get8(in);
    m->columns_n = get16(in);
    m->columns = in->at;
    for (uint16_t i = 0; i < m->columns_n && !in->bad; i++) {
        get8(in);
        get_text(in);
        get64(in);
    }
}

// ---- messages ----------------------------------------------------------------------------------

static void
get_old(struct in *in, struct pgo_message *m, char kind)
{
    m->old_kind = kind;
    m->old = get_tuple(in);
}

static void
get_change(struct in *in, struct pgo_message *m)
{
    m->relation = get32(in);
    char part = (char)get8(in);
    bool old = part == 'K' || part == 'O';
    if (old && m->kind != 'I') {
        get_old(in, m, part);
        part = m->kind == 'U' ? (char)get8(in) : 0;
    }
    if (m->kind == 'D') {
        in->bad = in->bad || !old;
    } else if (part == 'N') {
        m->new = get_tuple(in);
    } else {
        in->bad = true;
    }
}

static void
get_truncate(struct in *in, struct pgo_message *m)
{
    m->relations_n = get32(in);
    uint8_t flags = get8(in);
    m->cascade = flags & 1;
    m->restart = flags & 2;
    m->relations = take(in, (size_t)4 * m->relations_n);
}

static void
get_message(struct in *in, struct pgo_message *m)
{
    m->transactional = get8(in) & 1;
    m->lsn = get64(in);
    m->name = get_text(in);
    take(in, get32(in));
}

int
pgo_message_read(const void *bytes, size_t len, struct pgo_message *ret, struct gw_err *err)
{
    struct in in = {bytes, (const uint8_t *)bytes + len, false};
    struct pgo_message m = {.kind = (char)get8(&in), .schema = "", .name = ""};
    switch (m.kind) {
    case 'B':
        m.lsn = get64(&in);
        m.time_us = get_time(&in);
        m.xid = get32(&in);
        break;
    case 'C':
        get8(&in); // flags: none are defined
        m.lsn = get64(&in);
        m.end_lsn = get64(&in);
        m.time_us = get_time(&in);
        break;
    case 'O':
        m.lsn = get64(&in);
        m.name = get_text(&in);
        break;
    case 'Y':
        get32(&in);
        get_text(&in);
        m.name = get_text(&in);
        break;
    case 'R': get_relation(&in, &m); break;
    case 'I':
    case 'U':
    case 'D': get_change(&in, &m); break;
    case 'T': get_truncate(&in, &m); break;
    case 'M': get_message(&in, &m); break;
    case 'S':
        m.xid = get32(&in);
        m.first = get8(&in) & 1;
        break;
    case 'E': break;
    case 'c':
        m.xid = get32(&in);
        get8(&in); // flags: none are defined
        m.lsn = get64(&in);
        m.end_lsn = get64(&in);
        m.time_us = get_time(&in);
        break;
    case 'A':
        m.xid = get32(&in);
        m.sub = get32(&in);
        break;
    default: return gw_err_set(err, GW_BUG, NULL, "pgoutput: a message of unknown kind 0x%02x", (unsigned char)m.kind);
    }
    if (in.bad || in.at != in.end) {
        return gw_err_set(err, GW_BUG, NULL, "pgoutput: a malformed message of kind '%c', %zu bytes", m.kind, len);
    }
    *ret = m;
    return GW_OK;
}

int
pgo_part_read(const void *bytes, size_t len, struct pgo_part *ret, struct gw_err *err)
{
    struct in in = {bytes, (const uint8_t *)bytes + len, false};
    struct pgo_part p = {.kind = (char)get8(&in)};
    if (!p.kind || !strchr("IUDTRYMO", p.kind)) {
        return gw_err_set(err, GW_BUG, NULL, "pgoutput: a message of kind 0x%02x in a part of a transaction",
                          (unsigned char)p.kind);
    }
    p.xid = p.kind == 'O' ? 0 : get32(&in);
    if (in.bad || (p.kind != 'O' && p.xid == 0)) {
        return gw_err_set(err, GW_BUG, NULL,
                          "pgoutput: a malformed message of kind '%c' in a part of a transaction, "
                          "%zu bytes",
                          p.kind, len);
    }
    p.body = in.at;
    p.len = (size_t)(in.end - in.at);
    *ret = p;
    return GW_OK;
}

int
pgo_frame_read(const void *bytes, size_t len, struct pgo_frame *ret, struct gw_err *err)
{
    struct in in = {bytes, (const uint8_t *)bytes + len, false};
    struct pgo_frame f = {.kind = (char)get8(&in)};
    switch (f.kind) {
    case 'w':
        f.start = get64(&in);
        f.end = get64(&in);
        get64(&in); // the server's clock
        f.body = in.at;
        f.len = (size_t)(in.end - in.at);
        break;
    case 'k':
        f.end = get64(&in);
        get64(&in);
        f.reply = get8(&in) & 1;
        in.bad = in.bad || in.at != in.end;
        break;
    default: return gw_err_set(err, GW_BUG, NULL, "replication: a frame of unknown kind 0x%02x", (unsigned char)f.kind);
    }
    if (in.bad) {
        return gw_err_set(err, GW_BUG, NULL, "replication: a malformed frame of kind '%c', %zu bytes", f.kind, len);
    }
    *ret = f;
    return GW_OK;
}
