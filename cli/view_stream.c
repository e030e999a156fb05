// The picture of ongoing replication: how far, how fast, how late, and which tables change.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/changes.h"
#include "cli/format.h"
#include "cli/frame.h"
#include "common/arena.h"

enum { POSITION_SHOWN = 60, W_CHANGES = 9, W_CHANGE_RATE = 11 };

static uint64_t
per_second(const struct gw_rate *r, enum gw_figure f)
{
    // Rounded up: a change now and then is not none.
    return r && r->per_s[f] >= 0.05 ? (uint64_t)(r->per_s[f] + 0.95) : 0;
}

void
gw_stream_head(const struct gw_view *v, struct gw_parts *ps)
{
    const Gw__Status *s = v->status;
    int64_t behind = gw_changes_behind(s->stream);
    gw_parts_add(ps, 0, GW_INK_BOLD, "%.60s: %.60s", s->task, s->phase);
    if (s->stream->caught_up && behind == 0) {
        gw_parts_add(ps, 1, GW_INK_GREEN, "caught up");
    } else if (behind >= 0) {
        gw_parts_add(ps, 1, GW_INK_YELLOW, "%s behind", gw_fmt_latency(behind).s);
    }
    gw_parts_add(ps, 2, GW_INK_PLAIN, "%s changes/s", gw_fmt_short(per_second(&v->progress->total, GW_APPLIED)).s);
    gw_parts_add(ps, 7, GW_INK_DIM, "%s", gw_fmt_duration(v->elapsed_us).s);
}

static void
flow_parts(const struct gw_view *v, struct gw_parts *ps)
{
    const Gw__StreamStatus *st = v->status->stream;
    const struct gw_rate *r = &v->progress->total;
    gw_parts_add(ps, 2, GW_INK_PLAIN, "captured %s (%s/s)", gw_fmt_short(st->captured).s,
                 gw_fmt_short(per_second(r, GW_CAPTURED)).s);
    gw_parts_add(ps, 1, GW_INK_PLAIN, "applied %s (%s/s)", gw_fmt_short(st->applied).s,
                 gw_fmt_short(per_second(r, GW_APPLIED)).s);
    gw_parts_add(ps, 3, GW_INK_PLAIN, "%s transactions", gw_fmt_short(st->transactions).s);
}

static void
place_parts(const struct gw_view *v, struct gw_parts *ps)
{
    const Gw__StreamStatus *st = v->status->stream;
    bool much = st->log_kept_bytes >= GW_LOG_KEPT_MUCH, too_much = st->log_kept_bytes >= gw_log_kept_too_much;
    gw_parts_add(ps, 1, GW_INK_PLAIN, "latency: source %s, target %s", gw_fmt_latency(st->latency_source_us).s,
                 gw_fmt_latency(st->latency_target_us).s);
    if (st->log_kept_bytes) {
        gw_parts_add(ps, much ? 0 : 3,
                     too_much ? GW_INK_RED
                     : much   ? GW_INK_YELLOW
                              : GW_INK_PLAIN,
                     "log kept by the source %s", gw_fmt_bytes(st->log_kept_bytes).s);
    }
    if (*st->position) {
        // A set of GTIDs may be longer than any line.
        bool cut = strlen(st->position) > POSITION_SHOWN;
        gw_parts_add(ps, 2, GW_INK_PLAIN, "position %.*s%s", POSITION_SHOWN, st->position, cut ? "~" : "");
    }
}

void
gw_stream_lines(struct gw_frame *f, size_t keep)
{
    static void (*const lines[])(const struct gw_view *v, struct gw_parts *ps) = {place_parts, flow_parts};
    for (size_t i = 0; i < sizeof lines / sizeof *lines && f->lines + keep < f->lines_max; i++) {
        struct gw_parts ps = {.n = 0};
        lines[i](f->v, &ps);
        gw_text_fill(f->out, ' ', GW_FRAME_GAP);
        gw_parts_put(f->out, &ps, f->width - GW_FRAME_GAP, f->style);
        gw_frame_end_line(f);
    }
}

void
gw_stream_line(struct gw_buf *out, const struct gw_view *v, const struct gw_style *style)
{
    struct gw_parts ps = {.n = 0};
    place_parts(v, &ps);
    flow_parts(v, &ps);
    gw_buf_puts(out, "  ");
    gw_parts_put(out, &ps, style->width, style);
}

// ---- tables --------------------------------------------------------------------------------------

struct changed {
    const Gw__TableStatus *t;
    struct gw_changes c;
    uint64_t applied;
    size_t at;
};

// The most changes first: an order that moves seldom. What changes right now is told by its rate.
static int
by_changes(const void *x, const void *y)
{
    const struct changed *a = x, *b = y;
    return a->applied != b->applied ? (a->applied < b->applied) - (a->applied > b->applied)
                                    : (a->at > b->at) - (a->at < b->at);
}

static struct changed *
changed_tables(const struct gw_frame *f, struct gw_arena *a, size_t *n)
{
    const Gw__Status *s = f->v->status;
    struct changed *list = gw_arena_alloc(a, (s->n_tables + 1) * sizeof *list);
    *n = 0;
    for (size_t i = 0; i < s->n_tables; i++) {
        struct gw_changes c = gw_changes_of(s->tables[i]);
        uint64_t applied = gw_changes_applied(&c);
        if (applied && gw_progress_group(s->tables[i]) != GW_FAILED) {
            list[(*n)++] = (struct changed){.t = s->tables[i], .c = c, .applied = applied, .at = i};
        }
    }
    qsort(list, *n, sizeof *list, by_changes);
    return list;
}

struct columns {
    size_t name;
    size_t figures; // 3: by kind of change, 1: all of them together, 0: no room
    bool rate;
};

static struct columns
share_columns(size_t width, size_t longest)
{
    static const struct columns by_worth[] = {{.figures = 3, .rate = true}, {.figures = 3}, {.figures = 1}};
    longest = longest > GW_FRAME_NAME_MOST ? GW_FRAME_NAME_MOST : longest;
    for (size_t i = 0; i < sizeof by_worth / sizeof *by_worth; i++) {
        struct columns c = by_worth[i];
        size_t least = c.figures > 1 ? 20 : GW_FRAME_NAME_LEAST;
        size_t taken = GW_FRAME_GAP + c.figures * (GW_FRAME_GAP + W_CHANGES) +
                       (c.rate ? (size_t)(GW_FRAME_GAP + W_CHANGE_RATE) : 0);
        if (taken + (longest < least ? longest : least) <= width) {
            c.name = longest < width - taken ? longest : width - taken;
            return c;
        }
    }
    return (struct columns){.name = width - GW_FRAME_GAP};
}

static void
heads(struct gw_frame *f, const struct columns *c)
{
    static const char *const words[] = {"inserts", "updates", "deletes"};
    gw_text_fill(f->out, ' ', GW_FRAME_GAP);
    gw_ink(f->out, f->style, GW_INK_DIM);
    gw_text_left(f->out, "applied", c->name, f->style->utf8);
    for (size_t i = 0; i < c->figures; i++) {
        gw_frame_cell(f, c->figures > 1 ? words[i] : "changes", W_CHANGES);
    }
    if (c->rate) {
        gw_frame_cell(f, "changes/s", W_CHANGE_RATE);
    }
    gw_ink(f->out, f->style, GW_INK_PLAIN);
    gw_frame_end_line(f);
}

static void
table_line(struct gw_frame *f, const struct columns *c, const struct changed *x)
{
    gw_text_fill(f->out, ' ', GW_FRAME_GAP);
    gw_text_left(f->out, gw_view_name(&f->name, x->t->schema, x->t->name), c->name, f->style->utf8);
    for (size_t i = 0; i < c->figures; i++) {
        gw_frame_cell(f, gw_fmt_short(c->figures > 1 ? x->c.applied[i] : x->applied).s, W_CHANGES);
    }
    if (c->rate) {
        uint64_t rate = per_second(gw_progress_table(f->v->progress, x->t->id), GW_APPLIED);
        gw_frame_cell(f, rate ? gw_fmt_short(rate).s : "", W_CHANGE_RATE);
    }
    gw_frame_end_line(f);
}

void
gw_stream_tables(struct gw_frame *f, size_t keep)
{
    size_t room = f->lines_max > f->lines + keep ? f->lines_max - f->lines - keep : 0, n, longest = strlen("applied");
    struct gw_arena a;
    gw_arena_init(&a);
    struct changed *list = changed_tables(f, &a, &n);
    if (n && room >= 2) {
        room--; // the heads
        size_t show = n <= room ? n : room - 1;
        for (size_t i = 0; i < show; i++) {
            size_t w = gw_text_width(gw_view_name(&f->name, list[i].t->schema, list[i].t->name), f->style->utf8);
            longest = w > longest ? w : longest;
        }
        struct columns c = share_columns(f->width, longest);
        if (show) {
            heads(f, &c);
        }
        for (size_t i = 0; i < show; i++) {
            table_line(f, &c, &list[i]);
        }
        if (show < n) {
            struct gw_parts ps = {.n = 0};
            gw_parts_add(&ps, 0, GW_INK_DIM, "  +%s %swith changes", gw_fmt_count(n - show).s, show ? "more " : "");
            gw_frame_parts(f, &ps);
        }
    }
    gw_arena_fini(&a);
}
