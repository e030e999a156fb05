#include "common/key.h"

#include <stdint.h>
#include <string.h>

bool
gw_key_comparable(const char *engine, const Gw__Column *c)
{
    switch (c->type->kind) {
    case GW__KIND__KIND_INT8:
    case GW__KIND__KIND_INT16:
    case GW__KIND__KIND_INT24:
    case GW__KIND__KIND_INT32:
    case GW__KIND__KIND_INT64:
    case GW__KIND__KIND_DATE:
    case GW__KIND__KIND_TIMESTAMP:
    case GW__KIND__KIND_TIMESTAMPTZ:
    case GW__KIND__KIND_BINARY:
    case GW__KIND__KIND_VARBINARY: return true;
    // MariaDB sorts the parts of some UUIDs in another order.
    case GW__KIND__KIND_UUID: return strcmp(engine, "postgresql") == 0;
    default: return false;
    }
}

// ---- whole numbers: digits with an optional sign, of any length --------------------------------

struct digits {
    bool negative;
    const char *at;
    size_t n;
};

static struct digits
digits_of(struct gw_value v)
{
    struct digits d = {.at = v.data, .n = v.len};
    if (d.n && (*d.at == '-' || *d.at == '+')) {
        d.negative = *d.at == '-';
        d.at++;
        d.n--;
    }
    while (d.n && *d.at == '0') {
        d.at++;
        d.n--;
    }
    d.negative = d.negative && d.n;
    return d;
}

static int
sign(int c)
{
    return (c > 0) - (c < 0);
}

static int
cmp_int(struct gw_value a, struct gw_value b)
{
    struct digits x = digits_of(a), y = digits_of(b);
    if (x.negative != y.negative) {
        return x.negative ? -1 : 1;
    }
    int c = x.n != y.n ? (x.n > y.n) - (x.n < y.n) : sign(x.n ? memcmp(x.at, y.at, x.n) : 0);
    return x.negative ? -c : c;
}

// ---- dates and times: [YYYY]Y-MM-DD[ HH:MM:SS[.ffffff]][+00][ BC], infinity, -infinity -----------

static int64_t
number(const char **at, const char *end)
{
    int64_t n = 0;
    while (*at < end && **at >= '0' && **at <= '9' && n < INT64_MAX / 10 - 9) {
        n = n * 10 + (*(*at)++ - '0');
    }
    return n;
}

static void
skip(const char **at, const char *end, char c)
{
    *at += *at < end && **at == c;
}

// Days and microseconds in one number that sorts as the instant does; months count as 32 days.
static int64_t
instant(struct gw_value v)
{
    const char *at = v.data, *end = at + v.len;
    if (v.len >= 8 && memcmp(at, "infinity", 8) == 0) {
        return INT64_MAX;
    }
    if (v.len >= 9 && memcmp(at, "-infinity", 9) == 0) {
        return INT64_MIN;
    }
    int64_t part[7] = {0}; // year, month, day, hour, minute, second, microsecond
    static const char before[7] = {0, '-', '-', ' ', ':', ':', '.'};
    for (size_t i = 0; i < 7; i++) {
        if (i && (at >= end || *at != before[i])) {
            break;
        }
        at += i > 0;
        const char *from = at;
        part[i] = number(&at, end);
        for (long digits = at - from; i == 6 && digits < 6; digits++) {
            part[i] *= 10;
        }
    }
    skip(&at, end, '+');
    (void)number(&at, end);
    skip(&at, end, ' ');
    int64_t year = end - at >= 2 && memcmp(at, "BC", 2) == 0 ? 1 - part[0] : part[0];
    int64_t day = (year * 13 + part[1]) * 32 + part[2]; // month and day may be 0 on MySQL
    return ((day * 24 + part[3]) * 60 + part[4]) * 60 * 1000000 + part[5] * 1000000 + part[6];
}

static int
cmp_bytes(struct gw_value a, struct gw_value b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = sign(n ? memcmp(a.data, b.data, n) : 0);
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

int
gw_key_cmp(Gw__Kind kind, struct gw_value a, struct gw_value b)
{
    switch (kind) {
    case GW__KIND__KIND_INT8:
    case GW__KIND__KIND_INT16:
    case GW__KIND__KIND_INT24:
    case GW__KIND__KIND_INT32:
    case GW__KIND__KIND_INT64: return cmp_int(a, b);
    case GW__KIND__KIND_DATE:
    case GW__KIND__KIND_TIMESTAMP:
    case GW__KIND__KIND_TIMESTAMPTZ: {
        int64_t x = instant(a), y = instant(b);
        return (x > y) - (x < y);
    }
    default: return cmp_bytes(a, b); // lower-case hex sorts as its bytes do
    }
}

static const Gw__Column *
column(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcmp(t->columns[i]->name, name) == 0) {
            return t->columns[i];
        }
    }
    return NULL;
}

static bool
in_identity(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_identity; i++) {
        if (strcmp(t->identity[i], name) == 0) {
            return true;
        }
    }
    return false;
}

bool
gw_key_chunks_comparable(const Gw__Table *t, const Gw__TablePlan *plan)
{
    if (plan->n_chunks == 1 && plan->chunks[0]->by != GW__CHUNK_BY__BY_KEY) {
        return true; // all of the table, of one snapshot in any case
    }
    for (size_t i = 0; i < plan->n_chunks; i++) {
        const Gw__Chunk *c = plan->chunks[i];
        if (c->by != GW__CHUNK_BY__BY_KEY || c->partition[0] || c->with_nulls) {
            return false;
        }
        for (size_t k = 0; k < c->n_columns; k++) {
            const Gw__Column *col = column(t, c->columns[k]);
            // An old image without the key does not say which chunk its row was in.
            if (!col || col->left_out || !col->not_null || !in_identity(t, col->name) ||
                !gw_key_comparable(t->engine, col)) {
                return false;
            }
        }
    }
    return true;
}
