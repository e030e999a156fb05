#include "capture/sources/mysql/gtid.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void
my_gtids_init(struct my_gtids *g, bool mariadb)
{
    *g = (struct my_gtids){.mariadb = mariadb};
}

static void
clear(struct my_gtids *g)
{
    for (size_t i = 0; i < g->n; i++) {
        free(g->sources[i].runs);
    }
    g->n = 0;
}

void
my_gtids_fini(struct my_gtids *g)
{
    clear(g);
    free(g->sources);
    *g = (struct my_gtids){0};
}

// ---- adding ------------------------------------------------------------------------------------

static bool
is_source(const struct my_gtids *g, const struct my_gtid_source *s, const struct bl_gtid *one)
{
    return g->mariadb ? s->domain == one->domain
                      : memcmp(s->uuid, one->uuid, sizeof s->uuid) == 0 && strcmp(s->tag, one->tag) == 0;
}

static struct my_gtid_source *
find(const struct my_gtids *g, const struct bl_gtid *one)
{
    for (size_t i = 0; i < g->n; i++) {
        if (is_source(g, &g->sources[i], one)) {
            return &g->sources[i];
        }
    }
    return NULL;
}

static void *
grown(void *vec, size_t n, size_t *cap, size_t size)
{
    if (n < *cap) {
        return vec;
    }
    *cap = *cap ? *cap * 2 : 4;
    void *more = realloc(vec, *cap * size);
    gw_assert(more);
    return more;
}

static struct my_gtid_source *
find_or_make(struct my_gtids *g, const struct bl_gtid *one)
{
    struct my_gtid_source *s = find(g, one);
    if (s) {
        return s;
    }
    g->sources = grown(g->sources, g->n, &g->cap, sizeof *g->sources);
    s = &g->sources[g->n++];
    *s = (struct my_gtid_source){.domain = one->domain};
    memcpy(s->uuid, one->uuid, sizeof s->uuid);
    memcpy(s->tag, one->tag, sizeof s->tag);
    return s;
}

// Adds first … last, and joins what then touches.
static void
add_run(struct my_gtid_source *s, uint64_t first, uint64_t last)
{
    size_t i = s->runs_n;
    while (i > 0 && s->runs[i - 1].first > first) {
        i--;
    }
    if (i > 0 && s->runs[i - 1].last >= first - 1) { // nearly always: the next number
        i--;
        s->runs[i].last = last > s->runs[i].last ? last : s->runs[i].last;
    } else {
        s->runs = grown(s->runs, s->runs_n, &s->runs_cap, sizeof *s->runs);
        memmove(s->runs + i + 1, s->runs + i, (s->runs_n - i) * sizeof *s->runs);
        s->runs[i] = (struct my_gtid_run){first, last};
        s->runs_n++;
    }
    size_t k = i + 1;
    while (k < s->runs_n && s->runs[k].first - 1 <= s->runs[i].last) {
        s->runs[i].last = s->runs[k].last > s->runs[i].last ? s->runs[k].last : s->runs[i].last;
        k++;
    }
    memmove(s->runs + i + 1, s->runs + k, (s->runs_n - k) * sizeof *s->runs);
    s->runs_n -= k - i - 1;
}

void
my_gtids_add(struct my_gtids *g, const struct bl_gtid *one)
{
    if (one->anonymous || one->sequence == 0) {
        return;
    }
    struct my_gtid_source *s = find_or_make(g, one);
    if (g->mariadb) {
        s->runs_n = 0;
        s->server = one->server;
    }
    add_run(s, one->sequence, one->sequence);
}

bool
my_gtids_has(const struct my_gtids *g, const struct bl_gtid *one)
{
    const struct my_gtid_source *s = find(g, one);
    for (size_t i = 0; s && i < s->runs_n; i++) {
        if (one->sequence >= s->runs[i].first && one->sequence <= s->runs[i].last) {
            return true;
        }
    }
    return false;
}

bool
my_gtids_equal(const struct my_gtids *a, const struct my_gtids *b)
{
    if (a->n != b->n) {
        return false;
    }
    for (size_t i = 0; i < a->n; i++) {
        const struct my_gtid_source *s = &a->sources[i];
        struct bl_gtid key = {.domain = s->domain};
        memcpy(key.uuid, s->uuid, sizeof key.uuid);
        memcpy(key.tag, s->tag, sizeof key.tag);
        const struct my_gtid_source *t = find(b, &key);
        if (!t || t->server != s->server || t->runs_n != s->runs_n ||
            (s->runs_n && memcmp(t->runs, s->runs, s->runs_n * sizeof *s->runs) != 0)) {
            return false;
        }
    }
    return true;
}

// ---- text --------------------------------------------------------------------------------------

static void
put_uuid(const uint8_t uuid[16], struct gw_buf *out)
{
    for (unsigned i = 0; i < 16; i++) {
        gw_buf_printf(out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", uuid[i]);
    }
}

void
my_gtids_put(const struct my_gtids *g, struct gw_buf *out)
{
    bool first = true;
    for (size_t i = 0; i < g->n; i++) {
        const struct my_gtid_source *s = &g->sources[i];
        if (!s->runs_n) {
            continue;
        }
        gw_buf_puts(out, first ? "" : ",");
        first = false;
        if (g->mariadb) {
            gw_buf_printf(out, "%" PRIu32 "-%" PRIu32 "-%" PRIu64, s->domain, s->server, s->runs[0].last);
            continue;
        }
        put_uuid(s->uuid, out);
        gw_buf_printf(out, s->tag[0] ? ":%s" : "%s", s->tag);
        for (size_t k = 0; k < s->runs_n; k++) {
            gw_buf_printf(out, ":%" PRIu64, s->runs[k].first);
            if (s->runs[k].last > s->runs[k].first) {
                gw_buf_printf(out, "-%" PRIu64, s->runs[k].last);
            }
        }
    }
}

void
my_gtid_put(const struct bl_gtid *one, bool mariadb, struct gw_buf *out)
{
    if (mariadb) {
        gw_buf_printf(out, "%" PRIu32 "-%" PRIu32 "-%" PRIu64, one->domain, one->server, one->sequence);
        return;
    }
    put_uuid(one->uuid, out);
    gw_buf_printf(out, one->tag[0] ? ":%s" : "%s", one->tag);
    gw_buf_printf(out, ":%" PRIu64, one->sequence);
}

struct text {
    const char *at, *end;
};

static void
skip_blanks(struct text *t)
{
    while (t->at < t->end && isspace((unsigned char)*t->at)) {
        t->at++;
    }
}

static bool
take_char(struct text *t, char c)
{
    skip_blanks(t);
    if (t->at < t->end && *t->at == c) {
        t->at++;
        return true;
    }
    return false;
}

static bool
take_number(struct text *t, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;
    skip_blanks(t);
    const char *start = t->at;
    for (; t->at < t->end && isdigit((unsigned char)*t->at); t->at++) {
        unsigned d = (unsigned)(*t->at - '0');
        if (v > (max - d) / 10) {
            return false;
        }
        v = v * 10 + d;
    }
    *ret = v;
    return t->at > start;
}

static bool
take_uuid(struct text *t, uint8_t ret[16])
{
    static const char digits[] = "0123456789abcdef";
    skip_blanks(t);
    for (unsigned i = 0; i < 32; i++) {
        while (t->at < t->end && *t->at == '-') {
            t->at++;
        }
        const char *d = t->at < t->end && *t->at ? strchr(digits, tolower((unsigned char)*t->at)) : NULL;
        if (!d) {
            return false;
        }
        ret[i / 2] = (uint8_t)(i % 2 ? ret[i / 2] | (d - digits) : (d - digits) << 4);
        t->at++;
    }
    return true;
}

static bool
take_tag(struct text *t, char ret[33])
{
    size_t n = 0;
    skip_blanks(t);
    while (t->at < t->end && (isalnum((unsigned char)*t->at) || *t->at == '_')) {
        if (n >= 32) {
            return false;
        }
        ret[n++] = (char)tolower((unsigned char)*t->at++);
    }
    ret[n] = 0;
    return n > 0;
}

static bool
take_maria(struct text *t, struct bl_gtid *one)
{
    uint64_t domain, server;
    if (!take_number(t, UINT32_MAX, &domain) || !take_char(t, '-') || !take_number(t, UINT32_MAX, &server) ||
        !take_char(t, '-') || !take_number(t, UINT64_MAX, &one->sequence)) {
        return false;
    }
    one->domain = (uint32_t)domain;
    one->server = (uint32_t)server;
    return true;
}

// uuid, then runs and tags, each behind a colon; a tag holds for the runs behind it.
static bool
take_mysql(struct text *t, struct my_gtids *g)
{
    struct bl_gtid one = {0};
    uint64_t first, last;
    if (!take_uuid(t, one.uuid)) {
        return false;
    }
    while (take_char(t, ':')) {
        skip_blanks(t);
        if (t->at < t->end && !isdigit((unsigned char)*t->at)) {
            if (!take_tag(t, one.tag)) {
                return false;
            }
            continue;
        }
        if (!take_number(t, INT64_MAX, &first) || first == 0) {
            return false;
        }
        last = first;
        if (take_char(t, '-') && (!take_number(t, INT64_MAX, &last) || last < first)) {
            return false;
        }
        add_run(find_or_make(g, &one), first, last);
    }
    return true;
}

bool
my_gtids_parse(struct my_gtids *g, const char *text, size_t len)
{
    struct text t = {text, text + len};
    clear(g);
    skip_blanks(&t);
    bool good = true;
    while (good && t.at < t.end) {
        struct bl_gtid one = {0};
        if (g->mariadb) {
            good = take_maria(&t, &one);
            if (good) {
                my_gtids_add(g, &one);
            }
        } else {
            good = take_mysql(&t, g);
        }
        skip_blanks(&t);
        good = good && (t.at == t.end || take_char(&t, ','));
        skip_blanks(&t);
    }
    if (!good) {
        clear(g);
    }
    return good;
}

bool
my_gtid_parse(const char *text, size_t len, bool mariadb, struct bl_gtid *ret)
{
    struct text t = {text, text + len};
    struct bl_gtid one = {0};
    if (mariadb) {
        if (!take_maria(&t, &one) || t.at != t.end) {
            return false;
        }
    } else {
        if (!take_uuid(&t, one.uuid) || !take_char(&t, ':')) {
            return false;
        }
        if (t.at < t.end && !isdigit((unsigned char)*t.at) && (!take_tag(&t, one.tag) || !take_char(&t, ':'))) {
            return false;
        }
        if (!take_number(&t, INT64_MAX, &one.sequence) || t.at != t.end) {
            return false;
        }
    }
    *ret = one;
    return true;
}
