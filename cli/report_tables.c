// The table of tables: what `godwit tables` shows, and a run at its end.
#include <stdio.h>
#include <string.h>

#include "cli/changes.h"
#include "cli/format.h"
#include "cli/progress.h"
#include "cli/report.h"
#include "common/clock.h"
#include "common/policy.h"

enum { TABLES_ON_TERMINAL = 60, GAP = 2, NAME_LEAST = 20 };

static int64_t
table_duration(const Gw__Status *s, const Gw__TableStatus *t)
{
    int64_t end = t->ended_us ? t->ended_us : s->ended_us ? s->ended_us : s->now_us;
    return t->started_us && end > t->started_us ? end - t->started_us : 0;
}

// "shop.orders", and where it went if that is called otherwise.
static void
table_title(struct gw_buf *out, const Gw__TableStatus *t)
{
    struct gw_buf target;
    gw_buf_init(&target, 4096);
    gw_view_name(out, t->schema, t->name);
    gw_view_name(&target, t->target_schema, t->target_name);
    if (*t->target_name &&
        (strcmp(t->name, t->target_name) != 0 || (*t->target_schema && strcmp(t->schema, t->target_schema) != 0))) {
        gw_buf_printf(out, " -> %s", target.data);
    }
    gw_buf_fini(&target);
}

enum column {
    COL_STATE,
    COL_ROWS,
    COL_BYTES,
    COL_DURATION,
    COL_RATE,
    COL_INSERTS,
    COL_UPDATES,
    COL_DELETES,
    COL_DDLS,
    COL_REFUSED,
    COL_LAST,
    COLS,
};
enum { OF_LOAD = 1, OF_STREAM = 2, OF_BOTH = 3 };
static const struct {
    const char *head;
    unsigned tasks; // that have it
    int gives_way;  // where the window is narrow: the highest first, 0 never
} columns[COLS] = {
    [COL_STATE] = {"state", OF_BOTH, 0},        [COL_ROWS] = {"rows", OF_BOTH, 1},
    [COL_BYTES] = {"bytes", OF_LOAD, 4},        [COL_DURATION] = {"duration", OF_LOAD, 2},
    [COL_RATE] = {"rows/s", OF_LOAD, 3},        [COL_INSERTS] = {"inserts", OF_STREAM, 0},
    [COL_UPDATES] = {"updates", OF_STREAM, 0},  [COL_DELETES] = {"deletes", OF_STREAM, 0},
    [COL_DDLS] = {"ddls", OF_STREAM, 2},        [COL_REFUSED] = {"refused", OF_BOTH, 0},
    [COL_LAST] = {"last change", OF_STREAM, 3},
};
struct row {
    struct gw_fmt cells[COLS];
};

// What is durable on the target; where more was captured: of how many.
static struct gw_fmt
changes_cell(const struct gw_changes *c, enum gw_change_op op)
{
    struct gw_fmt f = gw_fmt_count(c->applied[op]);
    if (c->captured[op] > c->applied[op]) {
        snprintf(f.s, sizeof f.s, "%s of %s", gw_fmt_count(c->applied[op]).s, gw_fmt_count(c->captured[op]).s);
    }
    return f;
}

static void
fill_row(struct row *row, const Gw__Status *s, const Gw__TableStatus *t)
{
    int64_t us = table_duration(s, t);
    struct gw_changes c = gw_changes_of(t);
    memset(row, 0, sizeof *row);
    snprintf(row->cells[COL_STATE].s, GW_FMT_SIZE, "%.40s", t->state);
    row->cells[COL_ROWS] = gw_fmt_count(t->rows);
    row->cells[COL_BYTES] = gw_fmt_bytes(t->bytes);
    if (us) {
        row->cells[COL_DURATION] = gw_fmt_duration(us);
        row->cells[COL_RATE] = gw_fmt_short((uint64_t)((double)t->rows * 1e6 / (double)us));
    }
    row->cells[COL_INSERTS] = changes_cell(&c, GW_INSERTS);
    row->cells[COL_UPDATES] = changes_cell(&c, GW_UPDATES);
    row->cells[COL_DELETES] = changes_cell(&c, GW_DELETES);
    row->cells[COL_DDLS] = changes_cell(&c, GW_DDLS);
    row->cells[COL_REFUSED] = gw_fmt_count(t->rows_refused + c.errors);
    if (c.last_us) {
        row->cells[COL_LAST] = gw_fmt_time(c.last_us);
    }
}

// Whether table i is listed: on a terminal a few dozen are, and whatever needs attention.
static bool
listed(const struct gw_report *r, size_t i, bool summary)
{
    const Gw__TableStatus *t = r->status->tables[i];
    return !summary || !r->style.width || i < TABLES_ON_TERMINAL || gw_progress_group(t) == GW_FAILED ||
           t->rows_refused || t->values_truncated || (t->counts && t->counts->errors);
}

struct layout {
    size_t name, cols[COLS]; // 0 = not shown
};

static bool
shown(const struct gw_report *r, enum column c)
{
    unsigned task = r->status->stream ? OF_STREAM : OF_LOAD;
    if (c == COL_ROWS && r->task && !gw_task_loads(r->task)) {
        return false; // the rows were there
    }
    return columns[c].tasks & task;
}

static size_t
figures_width(const struct layout *l)
{
    size_t w = 0;
    for (size_t c = 0; c < COLS; c++) {
        w += l->cols[c] ? GAP + l->cols[c] : 0;
    }
    return w;
}

// Names are cut before columns give way, but not to nothing.
static void
fit(struct layout *l, size_t width)
{
    size_t least = l->name < NAME_LEAST ? l->name : NAME_LEAST;
    while (figures_width(l) + least > width) {
        size_t worst = COL_STATE;
        for (size_t c = 0; c < COLS; c++) {
            bool worse = l->cols[c] && columns[c].gives_way > (l->cols[worst] ? columns[worst].gives_way : 0);
            worst = worse ? c : worst;
        }
        if (!columns[worst].gives_way) {
            break; // what is left is needed: the terminal wraps it
        }
        l->cols[worst] = 0;
    }
    size_t figures = figures_width(l);
    if (l->name + figures > width) {
        l->name = width > figures + least ? width - figures : least;
    }
}

static struct layout
measure(const struct gw_report *r, bool summary, struct gw_buf *name)
{
    struct layout l = {.name = strlen("table")};
    for (size_t c = 0; c < COLS; c++) {
        l.cols[c] = shown(r, (enum column)c) ? strlen(columns[c].head) : 0;
    }
    for (size_t i = 0; i < r->status->n_tables; i++) {
        if (!listed(r, i, summary)) {
            continue;
        }
        struct row row;
        fill_row(&row, r->status, r->status->tables[i]);
        for (size_t c = 0; c < COLS; c++) {
            size_t w = strlen(row.cells[c].s);
            l.cols[c] = l.cols[c] && w > l.cols[c] ? w : l.cols[c];
        }
        gw_buf_reset(name);
        table_title(name, r->status->tables[i]);
        size_t w = gw_text_width(name->data, r->style.utf8);
        l.name = w > l.name ? w : l.name;
    }
    if (r->style.width) {
        fit(&l, r->style.width);
    }
    return l;
}

static void
put_row(struct gw_buf *out, const struct gw_report *r, const struct layout *l, const char *name, const struct row *row)
{
    gw_text_left(out, name, l->name, r->style.utf8);
    for (size_t c = 0; c < COLS; c++) {
        if (!l->cols[c]) {
            continue;
        }
        gw_text_fill(out, ' ', GAP);
        if (c == COL_STATE) {
            gw_text_left(out, row->cells[c].s, l->cols[c], r->style.utf8);
        } else {
            gw_text_right(out, row->cells[c].s, l->cols[c], r->style.utf8);
        }
    }
}

void
gw_report_tables(struct gw_buf *out, const struct gw_report *r, bool summary)
{
    const Gw__Status *s = r->status;
    struct gw_buf name;
    size_t left_out = 0;
    if (!s->n_tables) {
        return;
    }
    gw_buf_init(&name, 1 << 14);
    struct layout l = measure(r, summary, &name);
    struct row head;
    for (size_t c = 0; c < COLS; c++) {
        snprintf(head.cells[c].s, GW_FMT_SIZE, "%s", columns[c].head);
    }
    gw_ink(out, &r->style, GW_INK_BOLD);
    put_row(out, r, &l, "table", &head);
    gw_ink(out, &r->style, GW_INK_PLAIN);
    gw_buf_putc(out, '\n');
    for (size_t i = 0; i < s->n_tables; i++) {
        const Gw__TableStatus *t = s->tables[i];
        if (!listed(r, i, summary)) {
            left_out++;
            continue;
        }
        bool failed = gw_progress_group(t) == GW_FAILED;
        struct row row;
        fill_row(&row, s, t);
        gw_buf_reset(&name);
        table_title(&name, t);
        gw_ink(out, &r->style, failed ? GW_INK_RED : GW_INK_PLAIN);
        put_row(out, r, &l, name.data, &row);
        gw_ink(out, &r->style, GW_INK_PLAIN);
        gw_buf_putc(out, '\n');
        if (*t->reason) {
            gw_report_indented(out, r, failed ? "why: " : "note: ", t->reason, 4);
        }
    }
    if (left_out) {
        gw_buf_printf(out, "and %s more; all of them: godwit tables %s\n", gw_fmt_count(left_out).s, r->task_path);
    }
    gw_buf_fini(&name);
}
