#include "cli/view.h"

#include <stdio.h>
#include <string.h>

#include "cli/changes.h"
#include "cli/format.h"
#include "cli/frame.h"
#include "common/clock.h"

enum {
    BAR_MIN = 6,
    BAR_MAX = 24,
    LINE_MAX_BYTES = 8192,
    FAILED_SHOWN = 3,
};

void
gw_ink(struct gw_buf *out, const struct gw_style *style, enum gw_ink ink)
{
    static const char *const codes[] = {"\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m"};
    if (style->colour) {
        gw_buf_puts(out, codes[ink]);
    }
}

const char *
gw_view_name(struct gw_buf *out, const char *schema, const char *name)
{
    gw_buf_reset(out);
    if (schema && *schema) {
        gw_buf_puts(out, schema);
        gw_buf_putc(out, '.');
    }
    gw_buf_puts(out, name);
    return out->data ? out->data : "";
}

// ---- the frame -----------------------------------------------------------------------------------

bool
gw_frame_full(const struct gw_frame *f)
{
    return f->lines >= f->lines_max;
}

void
gw_frame_end_line(struct gw_frame *f)
{
    gw_buf_putc(f->out, '\n');
    f->lines++;
}

void
gw_frame_text(struct gw_frame *f, enum gw_ink ink, const char *text)
{
    gw_ink(f->out, f->style, ink);
    gw_text_cut(f->out, text, f->width, f->style->utf8);
    gw_ink(f->out, f->style, GW_INK_PLAIN);
    gw_frame_end_line(f);
}

void
gw_frame_cell(struct gw_frame *f, const char *text, size_t width)
{
    gw_text_fill(f->out, ' ', GW_FRAME_GAP);
    gw_text_right(f->out, text, width, f->style->utf8);
}

void
gw_frame_parts(struct gw_frame *f, struct gw_parts *ps)
{
    gw_parts_put(f->out, ps, f->width, f->style);
    gw_frame_end_line(f);
}

static void
overall_parts(const struct gw_view *v, const struct gw_totals *t, struct gw_parts *ps)
{
    const Gw__Status *s = v->status;
    // A name of a thousand characters still leaves room for the figures.
    gw_parts_add(ps, 0, GW_INK_BOLD, "%.60s: %.60s", s->task, s->phase);
    if (t->fraction >= 0 && t->fraction < 1) {
        gw_parts_add(ps, 1, GW_INK_PLAIN, "%s", gw_fmt_percent(t->fraction).s);
    }
    if (t->rows_expected > t->rows) {
        gw_parts_add(ps, 2, GW_INK_PLAIN, "%s of ~%s rows", gw_fmt_short(t->rows).s, gw_fmt_short(t->rows_expected).s);
    } else if (s->n_tables) {
        gw_parts_add(ps, 2, GW_INK_PLAIN, "%s rows", gw_fmt_short(t->rows).s);
    }
    if (s->n_tables) {
        gw_parts_add(ps, 5, GW_INK_PLAIN, "%s", gw_fmt_bytes(t->bytes).s);
    }
    const struct gw_rate *r = &v->progress->total;
    if (t->groups[GW_LOADING] && t->fraction < 1) {
        gw_parts_add(ps, 4, GW_INK_PLAIN, "%s rows/s", gw_fmt_short((uint64_t)r->per_s[GW_ROWS]).s);
        gw_parts_add(ps, 6, GW_INK_PLAIN, "%s/s", gw_fmt_bytes((uint64_t)r->per_s[GW_BYTES]).s);
        int64_t left = gw_progress_left(r, t->fraction, t->weight);
        if (left >= 0) {
            gw_parts_add(ps, 3, GW_INK_PLAIN, "%s left", gw_fmt_left(left).s);
        }
    }
    if (t->steps_done < t->steps) {
        gw_parts_add(ps, 4, GW_INK_PLAIN, "%s of %s keys and indexes", gw_fmt_count(t->steps_done).s,
                     gw_fmt_count(t->steps).s);
    }
    gw_parts_add(ps, 7, GW_INK_DIM, "%s", gw_fmt_duration(v->elapsed_us).s);
}

static void
head_parts(const struct gw_view *v, const struct gw_totals *t, struct gw_parts *ps)
{
    if (gw_progress_streams(v->status)) {
        gw_stream_head(v, ps);
    } else {
        overall_parts(v, t, ps);
    }
}

static void
overall_line(struct gw_frame *f)
{
    struct gw_parts ps = {.n = 0};
    head_parts(f->v, &f->totals, &ps);
    gw_frame_parts(f, &ps);
}

struct columns {
    size_t name, bar; // 0 = not shown
    bool rows, bytes, rate, left;
};
enum { W_PERCENT = 5, W_ROWS = 14, W_BYTES = 9, W_RATE = 13, W_LEFT = 14 };

// Shares the width out: figures are dropped from the least telling one, then name and bar get the rest.
static struct columns
share_columns(size_t width, size_t longest_name)
{
    struct columns c = {.rows = true, .bytes = true, .rate = true, .left = true};
    longest_name = longest_name > GW_FRAME_NAME_MOST ? GW_FRAME_NAME_MOST : longest_name;
    bool *const by_worth[] = {&c.bytes, &c.rate, &c.rows, &c.left, NULL};
    for (size_t i = 0;; i++) {
        size_t figures = GW_FRAME_GAP + W_PERCENT + (c.rows ? W_ROWS : 0U) + (c.bytes ? GW_FRAME_GAP + W_BYTES : 0U) +
                         (c.rate ? GW_FRAME_GAP + W_RATE : 0U) + (c.left ? GW_FRAME_GAP + W_LEFT : 0U);
        size_t wanted = GW_FRAME_GAP +
                        (longest_name < GW_FRAME_NAME_LEAST ? GW_FRAME_NAME_LEAST
                         : longest_name < 20                ? longest_name
                                                            : 20) +
                        GW_FRAME_GAP + BAR_MIN + figures;
        if (wanted <= width || !by_worth[i]) {
            size_t rest = width > GW_FRAME_GAP + figures ? width - GW_FRAME_GAP - figures : 0;
            c.name = rest > longest_name + GW_FRAME_GAP + BAR_MIN          ? longest_name
                     : rest > GW_FRAME_NAME_LEAST + GW_FRAME_GAP + BAR_MIN ? rest - GW_FRAME_GAP - BAR_MIN
                                                                           : rest;
            c.bar = rest > c.name + GW_FRAME_GAP ? rest - c.name - GW_FRAME_GAP : 0;
            c.bar = c.bar > BAR_MAX ? BAR_MAX : c.bar < BAR_MIN ? 0 : c.bar;
            return c;
        }
        *by_worth[i] = false;
    }
}

// All rows are there: what is made of them now.
static void
steps_text(const Gw__TableStatus *t, char *out, size_t size)
{
    if (t->steps) {
        snprintf(out, size, "keys and indexes %u/%u", t->steps_done, t->steps);
    } else {
        snprintf(out, size, "keys and indexes");
    }
}

static void
table_line(struct gw_frame *f, const Gw__TableStatus *t, const struct columns *c)
{
    double fraction = gw_progress_fraction(t);
    const struct gw_rate *r = gw_progress_table(f->v->progress, t->id);
    gw_text_fill(f->out, ' ', GW_FRAME_GAP);
    gw_text_left(f->out, gw_view_name(&f->name, t->schema, t->name), c->name, f->style->utf8);
    if (c->bar) {
        gw_text_fill(f->out, ' ', GW_FRAME_GAP);
        gw_ink(f->out, f->style, GW_INK_GREEN);
        gw_text_bar(f->out, fraction, c->bar, f->style->utf8);
        gw_ink(f->out, f->style, GW_INK_PLAIN);
    }
    gw_frame_cell(f, fraction < 0 ? "" : gw_fmt_percent(fraction).s, W_PERCENT);
    char text[64];
    if (c->rows) {
        snprintf(text, sizeof text, "%s rows", gw_fmt_short(t->rows + t->rows_in_flight).s);
        gw_text_right(f->out, text, W_ROWS, f->style->utf8);
    }
    if (c->bytes) {
        gw_frame_cell(f, gw_fmt_bytes(t->bytes + t->bytes_in_flight).s, W_BYTES);
    }
    if (fraction >= 1) {
        size_t room = (c->rate ? GW_FRAME_GAP + W_RATE : 0U) + (c->left ? GW_FRAME_GAP + W_LEFT : 0U);
        steps_text(t, text, sizeof text);
        if (room > GW_FRAME_GAP) {
            gw_frame_cell(f, text, room - GW_FRAME_GAP);
        }
        gw_frame_end_line(f);
        return;
    }
    if (c->rate) {
        snprintf(text, sizeof text, "%s rows/s", gw_fmt_short(r ? (uint64_t)r->per_s[GW_ROWS] : 0).s);
        gw_frame_cell(f, text, W_RATE);
    }
    int64_t left = gw_progress_left(r, fraction, gw_progress_weight(t));
    if (c->left) {
        snprintf(text, sizeof text, "%s left", gw_fmt_left(left).s);
        gw_frame_cell(f, left < 0 ? "" : text, W_LEFT);
    }
    gw_frame_end_line(f);
}

static void
active_tables(struct gw_frame *f, size_t keep)
{
    const Gw__Status *s = f->v->status;
    size_t longest = 0, active = f->totals.groups[GW_LOADING];
    size_t room = f->lines_max > f->lines + keep ? f->lines_max - f->lines - keep : 0;
    size_t show = active <= room ? active : room ? room - 1 : 0; // the last line says how many more
    size_t seen = 0;
    for (size_t i = 0; i < s->n_tables && seen < show; i++) {
        if (gw_progress_group(s->tables[i]) == GW_LOADING) {
            const char *name = gw_view_name(&f->name, s->tables[i]->schema, s->tables[i]->name);
            size_t w = gw_text_width(name, f->style->utf8);
            longest = w > longest ? w : longest;
            seen++;
        }
    }
    struct columns c = share_columns(f->width, longest);
    seen = 0;
    for (size_t i = 0; i < s->n_tables && seen < show; i++) {
        if (gw_progress_group(s->tables[i]) == GW_LOADING) {
            table_line(f, s->tables[i], &c);
            seen++;
        }
    }
    if (active > show && room) {
        struct gw_parts ps = {.n = 0};
        gw_parts_add(&ps, 0, GW_INK_DIM, "  +%s more being loaded", gw_fmt_count(active - show).s);
        gw_frame_parts(f, &ps);
    }
}

static void
failed_tables(struct gw_frame *f, size_t keep)
{
    const Gw__Status *s = f->v->status;
    size_t shown = 0;
    // The latest in the list are no more telling than the first; the summary has them all.
    for (size_t i = 0; i < s->n_tables && shown < FAILED_SHOWN; i++) {
        const Gw__TableStatus *t = s->tables[i];
        if (gw_progress_group(t) != GW_FAILED || f->lines + keep >= f->lines_max) {
            continue;
        }
        gw_view_name(&f->name, t->schema, t->name);
        gw_buf_printf(&f->name, ": %s", *t->reason ? t->reason : t->state);
        gw_text_fill(f->out, ' ', GW_FRAME_GAP);
        gw_ink(f->out, f->style, GW_INK_RED);
        gw_text_cut(f->out, f->name.data, f->width - GW_FRAME_GAP, f->style->utf8);
        gw_ink(f->out, f->style, GW_INK_PLAIN);
        gw_frame_end_line(f);
        shown++;
    }
}

static void
count_parts(const Gw__Status *s, const struct gw_totals *t, struct gw_parts *ps)
{
    // What is completed for a load is only at its beginning for a stream.
    bool streams = gw_progress_streams(s);
    const struct {
        enum gw_table_group group;
        enum gw_ink ink;
        const char *word;
    } counts[] = {{GW_QUEUED, GW_INK_PLAIN, "queued"},
                  {GW_LOADING, GW_INK_PLAIN, "loading"},
                  {GW_COMPLETED, GW_INK_GREEN, streams ? "replicating" : "completed"},
                  {GW_FAILED, GW_INK_RED, streams ? "suspended" : "in error"}};
    for (size_t i = 0; i < GW_GROUPS; i++) {
        if (t->groups[counts[i].group]) {
            gw_parts_add(ps, (int)i, counts[i].ink, "%s %s", gw_fmt_count(t->groups[counts[i].group]).s,
                         counts[i].word);
        }
    }
    struct gw_changes changes = gw_changes_all(s);
    if (changes.errors) {
        gw_parts_add(ps, 1, GW_INK_YELLOW, "%s changes refused", gw_fmt_count(changes.errors).s);
    }
    if (t->refused) {
        gw_parts_add(ps, 1, GW_INK_YELLOW, "%s rows refused", gw_fmt_count(t->refused).s);
    }
    if (t->truncated) {
        gw_parts_add(ps, 1, GW_INK_YELLOW, "%s values cut short", gw_fmt_count(t->truncated).s);
    }
}

static void
bottom_lines(struct gw_frame *f)
{
    const struct gw_view *v = f->v;
    char text[512];
    struct gw_parts ps = {.n = 0};
    if (v->status && v->status->n_tables && !gw_frame_full(f)) {
        count_parts(v->status, &f->totals, &ps);
        gw_buf_puts(f->out, "tables:  ");
        gw_parts_put(f->out, &ps, f->width > 9 ? f->width - 9 : 1, f->style);
        gw_frame_end_line(f);
    }
    if (v->silent_us && !gw_frame_full(f)) {
        snprintf(text, sizeof text, "the coordinator has not answered for %s", gw_fmt_duration(v->silent_us).s);
        gw_frame_text(f, GW_INK_YELLOW, text);
    } else if (v->status && *v->status->waiting_for && !gw_frame_full(f)) {
        snprintf(text, sizeof text, "waiting for %s", v->status->waiting_for);
        gw_frame_text(f, GW_INK_YELLOW, text);
    }
    if (v->notice && !gw_frame_full(f)) {
        gw_frame_text(f, GW_INK_YELLOW, v->notice);
    }
}

static size_t
bottom_count(const struct gw_view *v)
{
    return (v->status->n_tables ? 1U : 0U) + (v->silent_us || *v->status->waiting_for ? 1U : 0U) +
           (v->notice ? 1U : 0U);
}

size_t
gw_view_frame(struct gw_buf *out, const struct gw_view *v, const struct gw_style *style)
{
    struct gw_frame f = {.out = out,
                         .v = v,
                         .style = style,
                         // The last column stays free: terminals differ in what they do when it is written to.
                         .width = style->width > 11 ? style->width - 1 : 10,
                         .lines_max = style->height > 2 ? style->height - 1 : 1};
    gw_buf_init(&f.name, LINE_MAX_BYTES);
    if (v->status) {
        gw_progress_totals(v->status, &f.totals);
        size_t keep = bottom_count(v);
        size_t failed = f.totals.groups[GW_FAILED];
        failed = failed > FAILED_SHOWN ? FAILED_SHOWN : failed;
        overall_line(&f);
        if (v->status->stream && (gw_progress_streams(v->status) || gw_progress_carries(v->status))) {
            gw_stream_lines(&f, keep + failed);
        }
        if (gw_progress_streams(v->status)) {
            gw_stream_tables(&f, keep + failed);
        } else {
            active_tables(&f, keep + failed);
        }
        failed_tables(&f, keep);
    } else {
        gw_frame_text(&f, GW_INK_BOLD, "starting");
    }
    bottom_lines(&f);
    gw_buf_fini(&f.name);
    return f.lines;
}

void
gw_view_line(struct gw_buf *out, const struct gw_view *v)
{
    static const struct gw_style plain = {.width = 4000, .height = 2};
    struct gw_parts ps = {.n = 0};
    if (!v->status) {
        gw_buf_puts(out, "starting");
    } else {
        struct gw_totals t;
        gw_progress_totals(v->status, &t);
        head_parts(v, &t, &ps);
        gw_parts_put(out, &ps, plain.width, &plain);
        if (gw_progress_streams(v->status) || gw_progress_carries(v->status)) {
            gw_stream_line(out, v, &plain);
        }
        ps.n = 0;
        count_parts(v->status, &t, &ps);
        if (ps.n) {
            gw_buf_puts(out, "  tables: ");
            gw_parts_put(out, &ps, plain.width, &plain);
        }
        if (*v->status->waiting_for && !v->silent_us) {
            gw_buf_puts(out, "  waiting for ");
            gw_text_cut(out, v->status->waiting_for, 300, true);
        }
    }
    if (v->silent_us) {
        gw_buf_printf(out, "  the coordinator has not answered for %s", gw_fmt_duration(v->silent_us).s);
    }
}
