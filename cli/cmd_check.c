// godwit check: looks at both ends and changes nothing.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/format.h"
#include "cli/setup.h"

static const char help[] =
    "usage: godwit check TASK.json [options]\n\n"
    "Connects to both ends, reads the catalogues, and says what is missing, what will be done differently,\n"
    "and the SQL that mends it; for ongoing replication also whether the source's log can be read and every\n"
    "table's changes carried. Changes nothing, and may be run beside a live run.\n\n"
    "  --json          print the findings as JSON on stdout\n"
    "  --quiet         only errors of the command itself; the exit code tells\n"
    "  --verbose       show what every process says, and every place of a finding\n"
    "  --help          this text\n\n"
    "examples:\n"
    "  godwit check shop.json\n"
    "  godwit check shop.json --json | jq '.findings[] | select(.severity == \"error\")'\n\n"
    "exit codes: 0 nothing stands in the way, 2 something does, or bad usage or configuration,\n"
    "            3 an end cannot be reached\n";

// Nothing of a check outlives it, so its state is in the runtime folder.
static int
make_state(const struct gw_setup *u, char *state, size_t size, struct gw_err *err)
{
    char logs[256];
    snprintf(state, size, "%s/state", u->runtime);
    snprintf(logs, sizeof logs, "%s/logs", state);
    if (mkdir(state, 0700) != 0 || mkdir(logs, 0700) != 0) {
        return gw_err_errno(err, errno, "make folder \"%s\"", logs);
    }
    return GW_OK;
}

static size_t
count(const Gw__Status *s, Gw__Severity severity)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_findings; i++) {
        n += s->findings[i]->severity == severity;
    }
    return n;
}

static void
put_verdict(struct gw_buf *out, const struct gw_report *r)
{
    const Gw__Status *s = r->status;
    size_t errors = count(s, GW__SEVERITY__SEVERITY_ERROR);
    size_t warnings = count(s, GW__SEVERITY__SEVERITY_WARNING);
    size_t notes = count(s, GW__SEVERITY__SEVERITY_INFO);
    gw_text_wrap(out, s->task, SIZE_MAX, 0, r->style.utf8);
    gw_buf_puts(out, ": ");
    gw_ink(out, &r->style, r->exit_code ? GW_INK_RED : GW_INK_GREEN);
    gw_buf_puts(out, r->exit_code == GW_EXIT_DONE          ? "nothing stands in the way"
                     : r->exit_code == GW_EXIT_UNREACHABLE ? "one of the ends cannot be reached"
                     : r->exit_code == GW_EXIT_STOPPED     ? "stopped before its end"
                     : errors                              ? "cannot run as it is"
                                                           : "the check itself failed");
    gw_ink(out, &r->style, GW_INK_PLAIN);
    if (s->n_findings) {
        gw_buf_printf(out, " (%s error%s, %s warning%s, %s note%s)", gw_fmt_count(errors).s, errors == 1 ? "" : "s",
                      gw_fmt_count(warnings).s, warnings == 1 ? "" : "s", gw_fmt_count(notes).s, notes == 1 ? "" : "s");
    }
    gw_buf_putc(out, '\n');
    if (r->exit_code == GW_EXIT_DONE) {
        gw_buf_printf(out, "next: godwit run %s\n", r->task_path);
    }
}

static int
report_end(const struct gw_setup *u, struct gw_session_result *r)
{
    // An error among the findings is one, whatever the coordinator made of it.
    if (r->ended && r->exit_code <= GW_EXIT_TABLE_ERROR && count(r->status, GW__SEVERITY__SEVERITY_ERROR)) {
        r->exit_code = GW_EXIT_USAGE;
    }
    struct gw_report report = gw_setup_report(u, r);
    report.state = NULL;
    struct gw_buf out;
    gw_buf_init(&out, GW_REPORT_MAX);
    int code = r->exit_code;
    if (u->options->json) {
        if (!gw_report_print_json(gw_report_json(&report))) {
            code = code ? code : GW_EXIT_TABLE_ERROR;
        }
    } else if (r->status && u->options->loudness != GW_QUIET) {
        gw_report_findings(&out, &report, true);
        put_verdict(&out, &report);
    }
    code = gw_setup_print(&out, code);
    if (r->err.cls != GW_OK) {
        gw_report_error(&r->err);
    } else if (r->status && r->status->failure) {
        gw_report_failure(r->status->failure);
    }
    return code;
}

static int
command_check(const struct gw_options *o)
{
    static struct gw_setup setup;
    static struct gw_session_result result;
    struct gw_setup *u = &setup;
    struct gw_err err = {0};
    char state[192];
    int code;
    if (gw_setup_open(u, o, &err) != GW_OK || gw_runtime_make(u->runtime, sizeof u->runtime, &err) != GW_OK ||
        make_state(u, state, sizeof state, &err) != GW_OK) {
        code = gw_setup_failed(u, &err);
    } else {
        gw_setup_session(u, "check", 1, state, false, &result);
        code = report_end(u, &result);
        gw_session_result_fini(&result);
    }
    gw_setup_close(u);
    return code;
}

const struct gw_command gw_command_check = {
    .name = "check",
    .summary = "connect to both ends and say what is missing, with the SQL that mends it",
    .help = help,
    .options = GW_OPT_JSON | GW_OPT_LOUDNESS,
    .run = command_check,
};
