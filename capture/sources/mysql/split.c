// Cuts a table, or a partition, into ranges of its clustered key that hold about as many bytes each.
//
// A stretch between two keys is halved in the middle of its values, as often as the server guesses many rows in it (EXPLAIN
// descends the index at both ends, so it costs next to nothing and follows gaps and crowds). Both halves begin and end with a row, so that
// a gap belongs to neither. Where no middle can be computed, the index is walked.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/sources/mysql/mysql_source.h"

enum { PARTS_PER_CHUNK = 4, STRETCHES_MAX = 65536, DEPTH_MAX = 256 };

// Begins and ends with a row.
struct stretch {
    char **lo, **hi;
    double rows;
};
struct splitter {
    struct my_source *s;
    struct gw_arena *a;
    const struct my_split *what;
    double limit;         // rows of a stretch
    struct stretch *done; // in order
    size_t n;
};

static void
put_from(struct gw_buf *sql, const struct my_split *w, const char *hint)
{
    my_from(sql, w->t, w->partition);
    gw_buf_printf(sql, " %s INDEX (", hint);
    gw_my_ident(sql, w->key.index);
    gw_buf_putc(sql, ')');
}

// The key of the row that is `skip` rows behind the first that meets `condition`. GW_END: there is none, or it cannot be
// written as a bound.
static int
probe(struct splitter *p, const char *condition, bool last_first, uint64_t skip, char ***ret, struct gw_err *err)
{
    const struct my_key *key = &p->what->key;
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    for (size_t i = 0; i < key->n; i++) {
        gw_buf_puts(&sql, i ? ", " : "SELECT ");
        gw_my_ident(&sql, key->columns[i]->name);
    }
    put_from(&sql, p->what, "FORCE");
    gw_buf_printf(&sql, "%s%s ORDER BY ", condition[0] ? " WHERE " : "", condition);
    for (size_t i = 0; i < key->n; i++) {
        gw_buf_puts(&sql, i ? ", " : "");
        gw_my_ident(&sql, key->columns[i]->name);
        gw_buf_puts(&sql, last_first ? " DESC" : "");
    }
    gw_buf_printf(&sql, " LIMIT 1 OFFSET %llu", (unsigned long long)skip);
    int r = gw_my_query(p->s->db, &res, sql.data, err);
    if (r != GW_OK) {
        return r;
    }
    MYSQL_ROW row = mysql_fetch_row(res);
    if (!row) {
        return GW_END;
    }
    const unsigned long *lengths = mysql_fetch_lengths(res);
    char **values = gw_arena_calloc(p->a, key->n, sizeof *values);
    for (size_t i = 0; i < key->n; i++) {
        values[i] = row[i] ? my_value_text(p->a, key->columns[i], row[i], lengths[i]) : NULL;
        // The server writes ? for what has no Unicode form.
        if (!values[i] || (my_value_risky(key->columns[i]) && strchr(values[i], '?'))) {
            return GW_END;
        }
    }
    *ret = values;
    return GW_OK;
}

// "(key op a) AND (key op b)"; the first over the first `n` columns.
static void
put_between(struct gw_buf *sql, const struct my_key *key, size_t n, const char *op, char *const *a, const char *op2,
            char *const *b)
{
    gw_buf_putc(sql, '(');
    my_key_compare(sql, key->columns, n, op, a);
    gw_buf_puts(sql, ") AND (");
    my_key_compare(sql, key->columns, key->n, op2, b);
    gw_buf_putc(sql, ')');
}

static int
estimate(struct splitter *p, struct stretch *e, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_printf(&sql, "EXPLAIN %sSELECT 1", p->s->server.mariadb ? "" : "FORMAT=TRADITIONAL ");
    put_from(&sql, p->what, "USE"); // MySQL 8 does not count what it is forced to
    gw_buf_puts(&sql, " WHERE ");
    put_between(&sql, &p->what->key, p->what->key.n, ">=", e->lo, "<=", e->hi);
    int r = gw_my_query(p->s->db, &res, sql.data, err);
    if (r != GW_OK) {
        return r;
    }
    MYSQL_ROW row = mysql_fetch_row(res);
    e->rows = 1;
    for (unsigned i = 0; row && i < mysql_num_fields(res); i++) {
        const MYSQL_FIELD *f = mysql_fetch_field_direct(res, i);
        if (strcmp(f->name, "rows") == 0 && row[i]) {
            double rows = strtod(row[i], NULL);
            e->rows = rows < 1 ? 1 : rows;
        }
    }
    return GW_OK;
}

// ---- the middle of two values ------------------------------------------------------------------

static char *
middle_int(struct gw_arena *a, const char *lo, const char *hi)
{
    bool is_signed = lo[0] == '-';
    __int128 l = is_signed ? (__int128)strtoll(lo, NULL, 10) : (__int128)strtoull(lo, NULL, 10);
    __int128 h = hi[0] == '-' ? (__int128)strtoll(hi, NULL, 10) : (__int128)strtoull(hi, NULL, 10);
    if (h <= l) {
        return NULL;
    }
    __int128 m = l + (h - l) / 2 + 1; // l < m <= h
    return m < 0 ? gw_arena_printf(a, "%lld", (long long)m) : gw_arena_printf(a, "%llu", (unsigned long long)m);
}

// The digits of two strings behind what they have in common, as numbers of base `base`, and half their sum.
static size_t
middle_digits(unsigned char *ret, const char *lo, const char *hi, unsigned first, unsigned base)
{
    enum { DIGITS = 6 };
    uint64_t sum[2] = {0, 0};
    const char *const from[2] = {lo, hi};
    for (int side = 0; side < 2; side++) {
        const char *p = from[side];
        for (int i = 0; i < DIGITS; i++) {
            unsigned c = *p ? (unsigned char)*p++ : first;
            unsigned digit = c < first ? 0 : c - first >= base ? base - 1 : c - first;
            sum[side] = sum[side] * base + digit;
        }
    }
    uint64_t m = (sum[0] + sum[1]) / 2 + 1;
    for (int i = DIGITS; i-- > 0; m /= base) {
        ret[i] = (unsigned char)(first + m % base);
    }
    return DIGITS;
}

// Printable ASCII; wherever it lands in the collation's order, a row on either side of it is looked for.
static char *
middle_text(struct gw_arena *a, const char *lo, const char *hi)
{
    size_t same = 0;
    while (lo[same] && lo[same] == hi[same]) {
        same++;
    }
    while (same && ((unsigned char)lo[same] & 0xc0) == 0x80) {
        same--; // not inside of a character
    }
    unsigned char digits[8];
    size_t n = middle_digits(digits, lo + same, hi + same, ' ' + 1, 94);
    return gw_arena_printf(a, "%.*s%.*s", (int)same, lo, (int)n, (const char *)digits);
}

// \x and hex: the digits are in ASCII order, but for the gap between 9 and a.
static char *
middle_hex(struct gw_arena *a, const char *lo, const char *hi)
{
    static const char hex[] = "0123456789abcdef";
    size_t same = 2;
    while (lo[same] && lo[same] == hi[same]) {
        same++;
    }
    unsigned __int128 l = 0, h = 0;
    enum { DIGITS = 16 };
    for (int i = 0, l_on = 1, h_on = 1; i < DIGITS; i++) {
        l_on = l_on && lo[same + (size_t)i];
        h_on = h_on && hi[same + (size_t)i];
        l = l * 16 + (l_on ? (unsigned)(strchr(hex, lo[same + (size_t)i]) - hex) : 0);
        h = h * 16 + (h_on ? (unsigned)(strchr(hex, hi[same + (size_t)i]) - hex) : 0);
    }
    unsigned __int128 m = (l + h) / 2 + 1;
    size_t n = same + DIGITS + (same % 2); // whole bytes
    char *s = gw_arena_alloc(a, n + 1);
    memcpy(s, lo, same);
    memset(s + same, '0', n - same);
    for (size_t i = DIGITS; i-- > 0; m /= 16) {
        s[same + i] = hex[m % 16];
    }
    s[n] = 0;
    return s;
}

static int
middle_time(struct splitter *p, const Gw__Column *c, const char *lo, const char *hi, char **ret, struct gw_err *err)
{
    MY_RES res = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    for (int i = 0; i < 3; i++) {
        gw_buf_puts(&sql, i == 0   ? "SELECT CAST(TIMESTAMPADD(SECOND, TIMESTAMPDIFF(SECOND, "
                          : i == 1 ? ", "
                                   : ") DIV 2 + 1, ");
        my_key_literal(&sql, c, i == 1 ? hi : lo);
    }
    gw_buf_puts(&sql, ") AS CHAR)");
    int r = gw_my_query(p->s->db, &res, sql.data, err);
    MYSQL_ROW row = r == GW_OK ? mysql_fetch_row(res) : NULL;
    *ret = row && row[0] ? gw_arena_strdup(p->a, row[0]) : NULL; // NULL: a zero date
    return r;
}

static int
middle(struct splitter *p, const Gw__Column *c, const char *lo, const char *hi, char **ret, struct gw_err *err)
{
    *ret = NULL;
    switch (c->type->kind) {
    case GW__KIND__KIND_INT8:
    case GW__KIND__KIND_INT16:
    case GW__KIND__KIND_INT24:
    case GW__KIND__KIND_INT32:
    case GW__KIND__KIND_INT64: *ret = middle_int(p->a, lo, hi); break;
    case GW__KIND__KIND_CHAR:
    case GW__KIND__KIND_VARCHAR: *ret = middle_text(p->a, lo, hi); break;
    case GW__KIND__KIND_BINARY:
    case GW__KIND__KIND_VARBINARY: *ret = middle_hex(p->a, lo, hi); break;
    case GW__KIND__KIND_DATE:
    case GW__KIND__KIND_TIMESTAMP:
    case GW__KIND__KIND_TIMESTAMPTZ: return middle_time(p, c, lo, hi, ret, err);
    default: break;
    }
    return GW_OK;
}

// ---- stretches ---------------------------------------------------------------------------------

// GW_END: it has no middle that can be found.
static int
halve(struct splitter *p, const struct stretch *e, struct stretch *left, struct stretch *right, struct gw_err *err)
{
    const struct my_key *key = &p->what->key;
    size_t j = 0;
    while (j < key->n && strcmp(e->lo[j], e->hi[j]) == 0) {
        j++;
    }
    if (j == key->n) {
        return GW_END;
    }
    char **m = gw_arena_calloc(p->a, key->n, sizeof *m);
    memcpy(m, e->lo, j * sizeof *m);
    int r = middle(p, key->columns[j], e->lo[j], e->hi[j], &m[j], err);
    if (r != GW_OK || !m[j]) {
        return r != GW_OK ? r : GW_END;
    }
    *left = (struct stretch){.lo = e->lo};
    *right = (struct stretch){.hi = e->hi};
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    put_between(&sql, key, j + 1, "<", m, ">=", e->lo);
    r = probe(p, sql.data, true, 0, &left->hi, err);
    if (r == GW_OK) {
        gw_buf_reset(&sql);
        put_between(&sql, key, j + 1, ">=", m, "<=", e->hi);
        r = probe(p, sql.data, false, 0, &right->lo, err);
    }
    r = r == GW_OK ? estimate(p, left, err) : r;
    return r == GW_OK ? estimate(p, right, err) : r;
}

static void
keep(struct splitter *p, const struct stretch *e)
{
    *(struct stretch *)gw_arena_push(p->a, &p->done, &p->n, sizeof *p->done) = *e;
}

static int
walk(struct splitter *p, const struct stretch *e, struct gw_err *err)
{
    uint64_t step = (uint64_t)p->limit + 1;
    struct stretch at = {.lo = e->lo, .hi = e->hi};
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    for (size_t i = 1;; i++) {
        char **next = NULL;
        gw_buf_reset(&sql);
        put_between(&sql, &p->what->key, p->what->key.n, ">", at.lo, "<=", e->hi);
        int r = probe(p, sql.data, false, step - 1, &next, err);
        if (r != GW_OK && r != GW_END) {
            return r;
        }
        at.rows = (double)step;
        keep(p, &at);
        if (r == GW_END) {
            return GW_OK;
        }
        at.lo = next;
        step *= i % (STRETCHES_MAX / 4) == 0 ? 2 : 1; // the guess was far too low
    }
}

// Depth first, so that they come out in order.
static int
cut_up(struct splitter *p, const struct stretch *all, struct gw_err *err)
{
    struct stretch stack[DEPTH_MAX];
    size_t n = 0;
    stack[n++] = *all;
    while (n) {
        struct stretch e = stack[--n];
        if (e.rows <= p->limit || n + 2 > DEPTH_MAX || p->n >= STRETCHES_MAX) {
            keep(p, &e);
            continue;
        }
        struct stretch left, right;
        int r = halve(p, &e, &left, &right, err);
        if (r == GW_OK) {
            stack[n++] = right;
            stack[n++] = left;
        } else if (r == GW_END) {
            r = walk(p, &e, err);
        }
        if (r != GW_OK) {
            return r;
        }
    }
    return GW_OK;
}

// ---- chunks ------------------------------------------------------------------------------------

static Gw__Bound *
bound(struct splitter *p, char **values)
{
    Gw__Bound *b = gw_pb_new(p->a, Gw__Bound, gw__bound__init);
    for (size_t i = 0; i < p->what->key.n; i++) {
        gw_pb_add(p->a, b, values, values[i]);
    }
    return b;
}

static Gw__Chunk *
add_chunk(struct splitter *p, Gw__TablePlan *plan)
{
    Gw__Chunk *c = gw_pb_new(p->a, Gw__Chunk, gw__chunk__init);
    c->table_id = p->what->t->id;
    c->no = (uint32_t)plan->n_chunks;
    c->by = GW__CHUNK_BY__BY_KEY;
    c->partition = gw_arena_strdup(p->a, p->what->partition);
    for (size_t i = 0; i < p->what->key.n; i++) {
        gw_pb_add(p->a, c, columns, gw_arena_strdup(p->a, p->what->key.columns[i]->name));
    }
    gw_pb_add(p->a, plan, chunks, c);
    return c;
}

// Stretches side by side until they have a chunk's share of the rows. The ends of a key that does not compare exactly stay open: a
// bound that lost something on its way could cut off rows.
static void
pack(struct splitter *p, Gw__TablePlan *plan)
{
    double total = 0, so_far = 0, share;
    for (size_t i = 0; i < p->n; i++) {
        total += p->done[i].rows;
    }
    share = total / (double)p->what->n;
    Gw__Chunk *c = NULL;
    double begun = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (!c || so_far - begun >= share) {
            Gw__Bound *at = i > 0 || p->what->key.exact ? bound(p, p->done[i].lo) : NULL;
            if (c) {
                c->hi = at;
                c->bytes_estimate = (uint64_t)((double)p->what->bytes * (so_far - begun) / total);
            }
            c = add_chunk(p, plan);
            c->lo = at;
            begun = so_far;
        }
        so_far += p->done[i].rows;
    }
    c->bytes_estimate = (uint64_t)((double)p->what->bytes * (so_far - begun) / total);
    if (p->what->key.exact) {
        c->hi = bound(p, p->done[p->n - 1].hi);
        c->hi_inclusive = true;
    }
}

int
my_split(struct my_source *s, struct gw_arena *a, const struct my_split *what, Gw__TablePlan *plan, struct gw_err *err)
{
    if (what->key.n == 0 || what->n < 2) {
        return GW_END;
    }
    struct splitter p = {.s = s, .a = a, .what = what};
    struct stretch all = {0};
    int r = probe(&p, "", false, 0, &all.lo, err);
    r = r == GW_OK ? probe(&p, "", true, 0, &all.hi, err) : r;
    r = r == GW_OK ? estimate(&p, &all, err) : r;
    if (r != GW_OK) {
        return r;
    }
    double rows = what->rows > (uint64_t)all.rows ? (double)what->rows : all.rows;
    all.rows = rows;
    p.limit = rows / (double)(what->n * PARTS_PER_CHUNK);
    p.limit = p.limit < 1 ? 1 : p.limit;
    r = cut_up(&p, &all, err);
    if (r == GW_OK) {
        pack(&p, plan);
    }
    return r;
}
