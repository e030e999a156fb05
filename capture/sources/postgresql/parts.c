// Transactions that the server sends in parts, while they run: kept aside, cut back, and read at their commit.
#include <stdlib.h>

#include "stream.h"

enum { LIMIT_MB = 50 * 1024, PARTS_SINCE = 140000 };

int
pgs_parts_begin(struct pgs *s, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    const char *text = pgs_stream_setting(s->ep, "spill-limit-mb");
    char *end = NULL;
    unsigned long long mb = text ? strtoull(text, &end, 10) : LIMIT_MB;
    if (text && (text[0] < '0' || text[0] > '9' || *end || mb > UINT32_MAX)) {
        return gw_err_set(err, GW_CONFIG, NULL, "source settings: spill-limit-mb \"%s\" is not a number of megabytes",
                          text);
    }
    // What an earlier run has kept is of no use: the server sends all of it again.
    pgs_spill_free(st->spill);
    st->spill = mb && s->version >= PARTS_SINCE ? pgs_spill_new((uint64_t)mb << 20) : NULL;
    st->in_part = st->replaying = false;
    return GW_OK;
}

static int
take_inside(struct pgs_stream *st, const void *bytes, size_t len, struct gw_err *err)
{
    struct pgo_part p;
    int r = pgo_part_read(bytes, len, &p, err);
    if (r != GW_OK) {
        return r;
    }
    switch (p.kind) {
    case 'I':
    case 'U':
    case 'D':
    case 'T':
    case 'R': return pgs_spill_put(st->spill, p.xid, p.kind, p.body, p.len, err);
    default: return GW_OK; // origins, types and messages say nothing that is needed
    }
}

static int
commit(struct pgs_stream *st, const struct pgo_message *m, struct gw_err *err)
{
    int r = pgs_spill_replay(st->spill, m->xid, err);
    r = r == GW_OK ? pgs_begin_read(st, m, err) : r;
    if (r == GW_AGAIN) {
        st->replaying = true;
        st->commit = *m;
        st->commit.kind = 'C';
    }
    return r;
}

int
pgs_parts_take(struct pgs *s, const void *bytes, size_t len, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    char kind = len ? *(const char *)bytes : 0;
    bool of_parts = kind == 'S' || kind == 'E' || kind == 'c' || kind == 'A';
    if (!st->in_part && !of_parts) {
        return GW_OK;
    }
    if (!st->spill || st->in_tx) {
        return gw_err_set(err, GW_BUG, NULL, "pgoutput: a transaction in parts where none is expected");
    }
    int r;
    struct pgo_message m = {0};
    if (!of_parts) {
        r = take_inside(st, bytes, len, err);
        return r == GW_OK ? GW_AGAIN : r;
    }
    r = pgo_message_read(bytes, len, &m, err);
    if (r != GW_OK) {
        return r;
    }
    switch (m.kind) {
    case 'S': r = pgs_spill_start(st->spill, m.xid, err); break;
    case 'E': r = pgs_spill_stop(st->spill, err); break;
    case 'A': r = pgs_spill_abort(st->spill, m.xid, m.sub, err); break;
    default: r = commit(st, &m, err); break;
    }
    if (r == GW_OK) {
        st->in_part = m.kind == 'S';
    }
    return r == GW_OK ? GW_AGAIN : r;
}

int
pgs_parts_replay(struct pgs *s, struct gw_err *err)
{
    struct pgs_stream *st = s->stream;
    const void *bytes;
    size_t len;
    PQfreemem(st->message);
    st->message = NULL;
    int r = pgs_spill_next(st->spill, &bytes, &len, err);
    if (r == GW_END) {
        st->replaying = false;
        st->m = st->commit;
        st->held = true;
        return GW_OK;
    }
    r = r == GW_OK ? pgo_message_read(bytes, len, &st->m, err) : r;
    st->held = r == GW_OK;
    st->truncate_at = 0;
    return r;
}
