#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/changes.h"
#include "common/clock.h"
#include "common/err.h"

static const double window_us = 10 * 1e6;
enum { CHUNKS_TO_TRUST = 4 };

enum gw_table_group
gw_progress_group(const Gw__TableStatus *t)
{
    static const struct {
        const char *state;
        enum gw_table_group group;
    } words[] = {
        {"before load", GW_QUEUED},     {"table completed", GW_COMPLETED},   {"table error", GW_FAILED},
        {"table cancelled", GW_FAILED}, {"table does not exist", GW_FAILED},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(t->state, words[i].state) == 0) {
            return words[i].group;
        }
    }
    return GW_LOADING;
}

bool
gw_progress_carries(const Gw__Status *s)
{
    return s && s->stream && (strcmp(s->phase, "replicating") == 0 || strcmp(s->phase, "meeting") == 0);
}

bool
gw_progress_streams(const Gw__Status *s)
{
    for (size_t i = 0; i < s->n_tables; i++) {
        enum gw_table_group g = gw_progress_group(s->tables[i]);
        if (g == GW_QUEUED || g == GW_LOADING) {
            return false;
        }
    }
    return s->stream && s->n_tables;
}

uint64_t
gw_progress_rows_expected(const Gw__TableStatus *t)
{
    uint64_t now = t->rows + t->rows_in_flight, expected = t->rows_estimate;
    if (t->chunks && t->chunks_done == t->chunks) {
        return t->rows;
    }
    if (t->chunks_done >= CHUNKS_TO_TRUST) {
        expected = (uint64_t)((double)t->rows / t->chunks_done * t->chunks);
    }
    return expected > now ? expected : expected ? now : 0;
}

double
gw_progress_fraction(const Gw__TableStatus *t)
{
    if (gw_progress_group(t) == GW_COMPLETED || (t->chunks && t->chunks_done == t->chunks)) {
        return 1;
    }
    if (gw_progress_group(t) == GW_QUEUED) {
        return 0;
    }
    uint64_t expected = gw_progress_rows_expected(t);
    if (!expected) {
        return -1;
    }
    double f = (double)(t->rows + t->rows_in_flight) / (double)expected;
    return f > 0.99 ? 0.99 : f; // a chunk is still missing, whatever the estimate says
}

double
gw_progress_weight(const Gw__TableStatus *t)
{
    if (t->bytes_estimate) {
        return (double)t->bytes_estimate;
    }
    // Without a size: rows of a hundred bytes.
    uint64_t rows = gw_progress_rows_expected(t);
    return rows ? (double)rows * 100 : 1;
}

void
gw_progress_totals(const Gw__Status *s, struct gw_totals *ret)
{
    struct gw_totals t = {0};
    bool expected_known = s->n_tables > 0;
    for (size_t i = 0; i < s->n_tables; i++) {
        const Gw__TableStatus *x = s->tables[i];
        enum gw_table_group g = gw_progress_group(x);
        t.groups[g]++;
        t.rows += x->rows + x->rows_in_flight;
        t.bytes += x->bytes + x->bytes_in_flight;
        t.rows_durable += x->rows;
        t.bytes_durable += x->bytes;
        t.refused += x->rows_refused;
        t.truncated += x->values_truncated;
        t.steps += x->steps;
        t.steps_done += x->steps_done;
        if (g == GW_FAILED) {
            continue; // nothing more is expected of it
        }
        uint64_t expected = g == GW_COMPLETED ? x->rows : gw_progress_rows_expected(x);
        expected_known = expected_known && (expected || g == GW_COMPLETED);
        t.rows_expected += expected;
        double f = gw_progress_fraction(x), w = gw_progress_weight(x);
        t.weight += w;
        t.done_weight += f > 0 ? f * w : 0;
    }
    t.rows_expected = expected_known ? t.rows_expected : 0;
    t.fraction = t.weight > 0 ? t.done_weight / t.weight : -1;
    *ret = t;
}

void
gw_progress_init(struct gw_progress *p)
{
    *p = (struct gw_progress){0};
}

void
gw_progress_fini(struct gw_progress *p)
{
    free(p->tables);
    *p = (struct gw_progress){0};
}

// What moved since the last sample, spread over the window. A figure that falls (a chunk in flight failed and
// will be read again) is no negative speed. Changes begin with a number of their own when a stream goes on: that is none
// either, so they are counted from where they are first seen.
static void
sample(struct gw_rate *r, int64_t now_us, bool streams, const double figures[GW_FIGURES])
{
    double dt = (double)(now_us - r->at_us);
    if (r->primed && dt <= 0) {
        return;
    }
    double window_share = dt / (window_us + dt);
    for (size_t i = 0; i < GW_FIGURES; i++) {
        bool known = r->primed && (i < GW_CAPTURED || r->streams);
        double moved = known && figures[i] > r->last[i] ? figures[i] - r->last[i] : 0;
        // The first interval stands alone; averaging it with the nothing before it would take minutes to mend.
        double share = r->per_s[i] > 0 ? window_share : 1;
        r->per_s[i] += known ? share * (moved / dt * 1e6 - r->per_s[i]) : 0;
        r->last[i] = figures[i];
    }
    r->primed = true;
    r->streams = streams;
    r->at_us = now_us;
}

static struct gw_rate *
rate_of(struct gw_progress *p, uint32_t id, size_t near)
{
    // Statuses list their tables in the same order each time.
    if (near < p->n && p->tables[near].id == id) {
        return &p->tables[near];
    }
    for (size_t i = 0; i < p->n; i++) {
        if (p->tables[i].id == id) {
            return &p->tables[i];
        }
    }
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        struct gw_rate *grown = realloc(p->tables, cap * sizeof *grown);
        gw_assert(grown);
        p->tables = grown;
        p->cap = cap;
    }
    p->tables[p->n] = (struct gw_rate){.id = id};
    return &p->tables[p->n++];
}

void
gw_progress_update(struct gw_progress *p, const Gw__Status *s, int64_t now_us)
{
    bool streams = s->stream != NULL;
    for (size_t i = 0; i < s->n_tables; i++) {
        const Gw__TableStatus *t = s->tables[i];
        double f = gw_progress_fraction(t);
        struct gw_changes c = gw_changes_of(t);
        sample(rate_of(p, t->id, i), now_us, streams,
               (const double[GW_FIGURES]){[GW_ROWS] = (double)(t->rows + t->rows_in_flight),
                                          [GW_BYTES] = (double)(t->bytes + t->bytes_in_flight),
                                          [GW_WEIGHT] = f > 0 ? f * gw_progress_weight(t) : 0,
                                          [GW_APPLIED] = (double)gw_changes_applied(&c)});
    }
    struct gw_totals all;
    gw_progress_totals(s, &all);
    if (s->n_tables) {
        sample(&p->total, now_us, streams,
               (const double[GW_FIGURES]){[GW_ROWS] = (double)all.rows,
                                          [GW_BYTES] = (double)all.bytes,
                                          [GW_WEIGHT] = all.done_weight,
                                          [GW_CAPTURED] = streams ? (double)s->stream->captured : 0,
                                          [GW_APPLIED] = streams ? (double)s->stream->applied : 0});
    }
}

const struct gw_rate *
gw_progress_table(const struct gw_progress *p, uint32_t id)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->tables[i].id == id) {
            return &p->tables[i];
        }
    }
    return NULL;
}

int64_t
gw_progress_left(const struct gw_rate *r, double fraction, double weight)
{
    if (!r || fraction < 0 || r->per_s[GW_WEIGHT] <= 0) {
        return -1;
    }
    double left_s = (1 - fraction) * weight / r->per_s[GW_WEIGHT];
    return left_s > 1e9 ? -1 : (int64_t)(left_s * 1e6);
}
