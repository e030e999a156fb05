#include "cli/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/format.h"
#include "cli/term.h"
#include "common/clock.h"
#include "common/policy.h"
#include "common/worker.h"

// ---- errors --------------------------------------------------------------------------------------

void
gw_report_error(const struct gw_err *err)
{
    struct gw_buf out;
    struct gw_style style = gw_term_style(STDERR_FILENO);
    size_t width = style.width ? style.width - 1 : SIZE_MAX;
    gw_buf_init(&out, 1 << 16);
    gw_ink(&out, &style, GW_INK_RED);
    gw_buf_puts(&out, "godwit: ");
    gw_ink(&out, &style, GW_INK_PLAIN);
    gw_text_wrap(&out, err->message, SIZE_MAX, 0, style.utf8);
    if (err->code[0]) {
        gw_buf_printf(&out, " [%s]", err->code);
    }
    gw_buf_putc(&out, '\n');
    if (err->detail[0]) {
        gw_buf_puts(&out, "detail: ");
        gw_text_wrap(&out, err->detail, width, 8, style.utf8);
        gw_buf_putc(&out, '\n');
    }
    if (err->hint[0]) {
        gw_buf_puts(&out, "hint: ");
        gw_text_wrap(&out, err->hint, width, 6, style.utf8);
        gw_buf_putc(&out, '\n');
    }
    fwrite(out.data, 1, out.len, stderr);
    gw_buf_fini(&out);
}

void
gw_report_failure(const Gw__Failure *f)
{
    struct gw_err err = {0};
    gw_failure_to_err(f, &err);
    gw_report_error(&err);
}

void
gw_report_indented(struct gw_buf *out, const struct gw_report *r, const char *label, const char *text, size_t by)
{
    gw_text_fill(out, ' ', by);
    gw_buf_puts(out, label);
    gw_text_wrap(out, text, r->style.width ? r->style.width - 1 : SIZE_MAX, by + strlen(label), r->style.utf8);
    gw_buf_putc(out, '\n');
}

// ---- findings ------------------------------------------------------------------------------------

static const struct {
    const char *word, *plural;
    enum gw_ink ink;
} severities[] = {
    [GW__SEVERITY__SEVERITY_INFO] = {"note", "notes", GW_INK_DIM},
    [GW__SEVERITY__SEVERITY_WARNING] = {"warning", "warnings", GW_INK_YELLOW},
    [GW__SEVERITY__SEVERITY_ERROR] = {"error", "errors", GW_INK_RED},
};
enum { PLACES_SHOWN = 3 };

static bool
same_finding(const Gw__Finding *a, const Gw__Finding *b)
{
    return a->severity == b->severity && strcmp(a->message, b->message) == 0 && strcmp(a->action, b->action) == 0 &&
           strcmp(a->sql, b->sql) == 0;
}

static void
finding_place(struct gw_buf *out, const Gw__Finding *f)
{
    if (*f->table || *f->schema) {
        gw_buf_puts(out, f->schema);
        gw_buf_puts(out, *f->schema && *f->table ? "." : "");
        gw_buf_puts(out, f->table);
    }
    if (*f->object) {
        gw_buf_printf(out, "%s%s", out->len ? " " : "", f->object);
    }
}

// Where one finding was made: the first few places by name.
static void
finding_places(struct gw_buf *out, const struct gw_report *r, size_t first, bool *told)
{
    const Gw__Status *s = r->status;
    const Gw__Finding *f = s->findings[first];
    struct gw_buf place;
    size_t places = 0, shown = r->verbose ? SIZE_MAX : PLACES_SHOWN;
    gw_buf_init(&place, 1 << 14);
    for (size_t i = first; i < s->n_findings; i++) {
        if (told[i] || !same_finding(s->findings[i], f)) {
            continue;
        }
        told[i] = true;
        gw_buf_reset(&place);
        finding_place(&place, s->findings[i]);
        if (place.len && places++ < shown) {
            gw_buf_puts(out, places > 1 ? ", " : "");
            gw_buf_puts(out, place.data);
        }
    }
    if (places > shown) {
        gw_buf_printf(out, " and %s more", gw_fmt_count(places - shown).s);
    }
    gw_buf_puts(out, places ? ": " : "");
    gw_buf_puts(out, f->message);
    gw_buf_fini(&place);
}

static void
put_findings_of(struct gw_buf *out, const struct gw_report *r, Gw__Severity severity, bool *told)
{
    const Gw__Status *s = r->status;
    struct gw_buf text;
    gw_buf_init(&text, 1 << 20);
    for (size_t i = 0; i < s->n_findings; i++) {
        const Gw__Finding *f = s->findings[i];
        if (f->severity != severity || told[i]) {
            continue;
        }
        gw_buf_reset(&text);
        finding_places(&text, r, i, told);
        gw_ink(out, &r->style, severities[severity].ink);
        gw_buf_puts(out, severities[severity].word);
        gw_ink(out, &r->style, GW_INK_PLAIN);
        gw_buf_putc(out, ' ');
        size_t indent = strlen(severities[severity].word) + 1;
        gw_text_wrap(out, text.data ? text.data : "", r->style.width ? r->style.width - 1 : SIZE_MAX, indent,
                     r->style.utf8);
        gw_buf_putc(out, '\n');
        if (*f->action) {
            bool to_do = severity == GW__SEVERITY__SEVERITY_ERROR;
            gw_report_indented(out, r, to_do ? "to do: " : "instead: ", f->action, 4);
        }
        if (*f->sql) {
            // Unwrapped, so that it can be copied.
            gw_buf_puts(out, "    sql: ");
            gw_text_wrap(out, f->sql, SIZE_MAX, 9, r->style.utf8);
            gw_buf_putc(out, '\n');
        }
    }
    gw_buf_fini(&text);
}

void
gw_report_findings(struct gw_buf *out, const struct gw_report *r, bool all)
{
    const Gw__Status *s = r->status;
    size_t notes = 0;
    for (size_t i = 0; i < s->n_findings; i++) {
        notes += s->findings[i]->severity == GW__SEVERITY__SEVERITY_INFO;
    }
    struct gw_arena a;
    gw_arena_init(&a);
    bool *told = gw_arena_calloc(&a, s->n_findings + 1, sizeof *told);
    put_findings_of(out, r, GW__SEVERITY__SEVERITY_ERROR, told);
    put_findings_of(out, r, GW__SEVERITY__SEVERITY_WARNING, told);
    if (all) {
        put_findings_of(out, r, GW__SEVERITY__SEVERITY_INFO, told);
    } else if (notes) {
        gw_buf_printf(out, "%s %s on what is done differently without loss: godwit check %s\n", gw_fmt_count(notes).s,
                      notes == 1 ? "note" : "notes", r->task_path);
    }
    gw_arena_fini(&a);
    if (s->findings_total > s->n_findings) {
        gw_buf_printf(out, "and %s more findings\n", gw_fmt_count(s->findings_total - s->n_findings).s);
    }
}

// ---- the end of a run ----------------------------------------------------------------------------

static void
put_snapshots(struct gw_buf *out, const Gw__Status *s)
{
    if (s->stream) {
        // Once the load is done the stream has passed them all: the target is of the stream's position.
        if (s->snapshots > 1 && !gw_progress_streams(s)) {
            gw_buf_printf(out, "snapshots: %" PRIu32 "; the stream of changes will bring them to one point in time\n",
                          s->snapshots);
        }
    } else if (s->snapshots == 1) {
        gw_buf_puts(out, "snapshots: 1; all rows are of one point in time\n");
    } else if (s->snapshots > 1) {
        gw_buf_printf(out, "snapshots: %" PRIu32 ", not one point in time", s->snapshots);
        gw_buf_puts(out, ": rows written meanwhile may be seen in one table and not in another\n");
    }
}

static void
put_totals(struct gw_buf *out, const struct gw_report *r, const struct gw_totals *t)
{
    const Gw__Status *s = r->status;
    if (!r->task || gw_task_loads(r->task)) {
        gw_buf_printf(out, "%s rows, %s", gw_fmt_count(t->rows_durable).s, gw_fmt_bytes(t->bytes_durable).s);
        if (s->stream) {
            gw_buf_puts(out, " loaded"); // in an earlier run, perhaps
        } else {
            gw_buf_printf(out, " in %s", gw_fmt_duration(r->elapsed_us).s);
        }
        if (s->load_us) {
            gw_buf_printf(out, "; rows alone %s, %s rows/s, %s/s", gw_fmt_duration((int64_t)s->load_us).s,
                          gw_fmt_short((uint64_t)((double)t->rows_durable * 1e6 / (double)s->load_us)).s,
                          gw_fmt_bytes((uint64_t)((double)t->bytes_durable * 1e6 / (double)s->load_us)).s);
        }
        gw_buf_putc(out, '\n');
    }
    put_snapshots(out, s);
    gw_report_stream(out, r);
    if (t->refused) {
        gw_buf_printf(out, "%s rows were refused by the target: see %s.exceptions there\n", gw_fmt_count(t->refused).s,
                      gw_report_control_schema(r));
    }
    if (t->truncated) {
        gw_buf_printf(out, "%s values were cut to LobMaxSize\n", gw_fmt_count(t->truncated).s);
    }
}

static uint32_t
restarts_in_all(const struct gw_report *r)
{
    uint32_t n = 0;
    for (size_t i = 0; i < r->children_n; i++) {
        n += r->children[i].restarts;
    }
    return n;
}

static const char *
verdict(const struct gw_report *r, enum gw_ink *ink)
{
    static const struct {
        enum gw_ink ink;
        const char *text;
    } verdicts[] = {
        [GW_EXIT_DONE] = {GW_INK_GREEN, "complete"},
        [GW_EXIT_TABLE_ERROR] = {GW_INK_RED, "ended with errors"},
        [GW_EXIT_USAGE] = {GW_INK_RED, "cannot run as it is set up"},
        [GW_EXIT_UNREACHABLE] = {GW_INK_RED, "one of the ends cannot be reached"},
        [GW_EXIT_STOPPED] = {GW_INK_YELLOW, "stopped before its end"},
    };
    bool known = r->exit_code >= 0 && (size_t)r->exit_code < sizeof verdicts / sizeof *verdicts;
    *ink = known ? verdicts[r->exit_code].ink : GW_INK_RED;
    const char *streams = r->status->stream ? gw_report_stream_verdict(r) : NULL;
    return streams ? streams : known ? verdicts[r->exit_code].text : "ended";
}

static void
put_verdict(struct gw_buf *out, const struct gw_report *r, const struct gw_totals *t)
{
    enum gw_ink ink;
    const char *text = verdict(r, &ink);
    bool streams = gw_progress_streams(r->status);
    gw_ink(out, &r->style, ink);
    gw_text_wrap(out, r->status->task, SIZE_MAX, 0, r->style.utf8);
    gw_buf_printf(out, ": %s", text);
    gw_ink(out, &r->style, GW_INK_PLAIN);
    if (r->status->n_tables) {
        gw_buf_printf(out, "; %s of %s tables %s", gw_fmt_count(t->groups[GW_COMPLETED]).s,
                      gw_fmt_count(r->status->n_tables).s, streams ? "replicated" : "completed");
    }
    if (t->groups[GW_FAILED]) {
        gw_buf_printf(out, ", %s %s", gw_fmt_count(t->groups[GW_FAILED]).s, streams ? "suspended" : "in error");
    }
    gw_buf_putc(out, '\n');
}

static void
put_next(struct gw_buf *out, const struct gw_report *r, const struct gw_totals *t)
{
    if (r->status->stream) {
        gw_report_stream_next(out, r, t);
    } else if (r->exit_code == GW_EXIT_STOPPED) {
        gw_buf_printf(out, "next: the same command goes on where this one stopped: godwit run %s\n", r->task_path);
    } else if (t->groups[GW_FAILED]) {
        gw_buf_puts(out, "next: mend what is said above under each table in error; then the same command tries "
                         "those tables again\n");
    } else if (r->exit_code == GW_EXIT_UNREACHABLE || r->exit_code == GW_EXIT_TABLE_ERROR) {
        gw_buf_puts(out, "next: the same command goes on from what is durable on the target\n");
    }
    uint32_t restarts = restarts_in_all(r);
    if (restarts) {
        gw_buf_printf(out, "processes that died and were started again: %" PRIu32 "\n", restarts);
    }
    if (r->state && (r->exit_code != GW_EXIT_DONE || restarts)) {
        gw_buf_printf(out, "logs: %s/logs\n", r->state);
    }
}

void
gw_report_run(struct gw_buf *out, const struct gw_report *r)
{
    const Gw__Status *s = r->status;
    if (s->already_complete) {
        gw_text_wrap(out, s->task, SIZE_MAX, 0, r->style.utf8);
        gw_buf_printf(out, ": already complete since %s: nothing to do\n", gw_fmt_time(s->ended_us).s);
        gw_buf_printf(out, "next: godwit tables %s shows what was loaded; --fresh loads it anew\n", r->task_path);
        return;
    }
    struct gw_totals t;
    gw_progress_totals(s, &t);
    gw_report_findings(out, r, r->verbose);
    if (out->len) {
        gw_buf_putc(out, '\n');
    }
    gw_report_tables(out, r, true);
    put_verdict(out, r, &t);
    if (s->n_tables) {
        put_totals(out, r, &t);
    }
    put_next(out, r, &t);
}
