// Where a transaction is in the log, and whether a snapshot sees it.
//
// A position is an LSN as PostgreSQL writes it, "16/B374D848". It is always the *end* of a commit (or a place between
// transactions): a restart at a commit's own LSN would send that transaction again.
//
// A transaction is its top-level id in 64 bits, and a snapshot's token is what pg_current_snapshot() says:
// "xmin:xmax:ids in progress". Ids of subtransactions do not occur in either. The order of commit records in the log is not the
// order in which snapshots see transactions, so positions say nothing about visibility.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stream.h"

// ---- positions ---------------------------------------------------------------------------------

static bool
hex32(const char **at, uint32_t *ret)
{
    uint32_t v = 0;
    size_t n = 0;
    for (; n < 9; n++) {
        char c = (*at)[n];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                           : -1;
        if (digit < 0) {
            break;
        }
        v = v << 4 | (uint32_t)digit;
    }
    *at += n;
    *ret = v;
    return n >= 1 && n <= 8;
}

int
pgs_lsn_read(const char *text, uint64_t *ret, struct gw_err *err)
{
    uint32_t high, low;
    const char *at = text ? text : "";
    if (!hex32(&at, &high) || *at++ != '/' || !hex32(&at, &low) || *at) {
        return gw_err_set(err, GW_CONFIG, NULL, "\"%.100s\" is not a position in a PostgreSQL log", text ? text : "");
    }
    *ret = (uint64_t)high << 32 | low;
    return GW_OK;
}

void
pgs_lsn_text(uint64_t lsn, struct pgs_text_lsn *ret)
{
    snprintf(ret->s, sizeof ret->s, "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);
}

int
pgs_position_cmp(const char *a, const char *b, int *ret, struct gw_err *err)
{
    uint64_t x, y;
    int r = pgs_lsn_read(a, &x, err);
    r = r == GW_OK ? pgs_lsn_read(b, &y, err) : r;
    if (r == GW_OK) {
        *ret = x < y ? -1 : x > y;
    }
    return r;
}

uint64_t
pgs_xid_whole(uint64_t newest, uint32_t xid)
{
    int32_t difference = (int32_t)(xid - (uint32_t)newest);
    return newest + (uint64_t)(int64_t)difference;
}

// ---- snapshots ---------------------------------------------------------------------------------

struct snapshot {
    uint64_t xmin, xmax;
    const char *running; // "17,21": ascending, all of xmin <= id < xmax
};

static bool
number(const char **at, uint64_t *ret)
{
    const char *from = *at;
    uint64_t v = 0;
    for (; **at >= '0' && **at <= '9'; ++*at) {
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(**at - '0'), &v)) {
            return false;
        }
    }
    *ret = v;
    return *at != from;
}

// The next id of a list; false at its end.
static bool
next_running(const char **at, uint64_t *ret)
{
    if (!**at || !number(at, ret)) {
        return false;
    }
    *at += **at == ',';
    return true;
}

static int
snapshot_read(const char *token, struct snapshot *ret, struct gw_err *err)
{
    const char *at = token;
    struct snapshot s;
    bool ok = number(&at, &s.xmin) && *at++ == ':' && number(&at, &s.xmax) && *at++ == ':' && s.xmin <= s.xmax;
    s.running = at;
    uint64_t id, last = 0;
    while (ok && *at) {
        ok = number(&at, &id) && id > last && id >= s.xmin && id < s.xmax && (*at == 0 || (*at == ',' && at[1]));
        at += ok && *at == ',';
        last = id;
    }
    if (!ok) {
        return gw_err_set(err, GW_BUG, NULL, "\"%.100s\" is not a PostgreSQL snapshot", token);
    }
    *ret = s;
    return GW_OK;
}

static bool
is_running(const struct snapshot *s, uint64_t id)
{
    uint64_t x;
    for (const char *at = s->running; next_running(&at, &x);) {
        if (x >= id) {
            return x == id;
        }
    }
    return false;
}

int
pgs_tx_visible(const char *token, const char *transaction, enum gw_visible *ret, struct gw_err *err)
{
    struct snapshot s;
    uint64_t id;
    int r = snapshot_read(token, &s, err);
    const char *at = transaction;
    if (r == GW_OK && (!number(&at, &id) || *at)) {
        r = gw_err_set(err, GW_BUG, NULL, "\"%.100s\" is not a PostgreSQL transaction", transaction);
    }
    if (r == GW_OK) {
        // The stream tells only of transactions that were committed.
        bool visible = id < s.xmin || (id < s.xmax && !is_running(&s, id));
        *ret = visible ? GW_VISIBLE : GW_INVISIBLE;
    }
    return r;
}

// Every id that the first sees, the later one must see: an id that is running in the later one, or is beyond its end, has
// to be running in (or beyond the end of) the first, too. An exported snapshot can be ahead of those that are taken after
// it while its transactions wait for a synchronous standby.
int
pgs_snapshot_covers(const char *first, const char *later, bool *ret, struct gw_err *err)
{
    struct snapshot f, l;
    int r = snapshot_read(first, &f, err);
    r = r == GW_OK ? snapshot_read(later, &l, err) : r;
    if (r != GW_OK) {
        return r;
    }
    bool covers = true;
    uint64_t id;
    for (const char *at = l.running; covers && next_running(&at, &id);) {
        covers = id >= f.xmax || is_running(&f, id);
    }
    // Those from the later one's end to the first one's end: all have to be running in the first.
    for (id = l.xmax; covers && id < f.xmax; id++) {
        covers = is_running(&f, id);
    }
    *ret = covers;
    return GW_OK;
}
