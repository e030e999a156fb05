// godwit drop: removes what a task left behind.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/format.h"
#include "cli/setup.h"
#include "cli/term.h"
#include "common/policy.h"

static const char help[] =
    "usage: godwit drop TASK.json [options]\n\n"
    "Removes what the task left beside the data: its control rows on the target and its state folder, and with\n"
    "ongoing replication first what it made on the source (PostgreSQL: the replication slot, for which the\n"
    "source keeps its log, and the publication). The tables that were loaded stay. A run after that begins\n"
    "anew. The task file must still name the migration-type that the task ran with.\n\n"
    "  --state DIR     where the state lives (default: ./godwit-state/<task>)\n"
    "  --yes           do not ask\n"
    "  --json          print a report as JSON on stdout\n"
    "  --quiet, --verbose\n"
    "  --help          this text\n\n"
    "examples:\n"
    "  godwit drop shop.json\n"
    "  godwit drop shop.json --yes --quiet\n\n"
    "exit codes: 0 dropped, 2 bad usage or configuration, 3 an end cannot be reached, 4 not confirmed, or\n"
    "            stopped by a signal\n";

static bool
confirmed(const struct gw_setup *u)
{
    if (u->options->yes || !isatty(STDIN_FILENO)) {
        return true;
    }
    struct gw_style style = gw_term_style(STDERR_FILENO);
    struct gw_buf out;
    gw_buf_init(&out, 1 << 16);
    gw_buf_puts(&out, "This removes the control rows of task \"");
    gw_text_wrap(&out, u->task->name, SIZE_MAX, 0, style.utf8);
    gw_buf_puts(&out, "\" on ");
    gw_text_wrap(&out, u->task->target->url, SIZE_MAX, 0, style.utf8);
    const char *left = gw_report_left_on_source(u->task);
    if (left) {
        gw_buf_printf(&out, ",\n%s that it has on ", left);
        gw_text_wrap(&out, u->task->source->url, SIZE_MAX, 0, style.utf8);
    }
    gw_buf_puts(&out, "\nand the state folder ");
    gw_text_wrap(&out, u->statedir.shown, SIZE_MAX, 0, style.utf8);
    gw_buf_puts(&out, ". Loaded tables stay. Go on? [y/N] ");
    fwrite(out.data, 1, out.len, stderr);
    gw_buf_fini(&out);
    char answer[16] = "";
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

// What a stream has on its source is removed by a task that has one. Changed to a load alone, the task would leave a slot
// behind, for which the source keeps its log until its disk is full.
static int
check_stream(struct gw_setup *u, struct gw_err *err)
{
    const Gw__Status *last = NULL;
    int64_t at_us;
    struct gw_err ignored = {0}; // no status is no obstacle
    if (gw_task_streams(u->task) || !gw_statedir_exists(&u->statedir) ||
        gw_statedir_read_status(&u->statedir, &u->arena, &last, &at_us, &ignored) != GW_OK || !last->stream) {
        return GW_OK;
    }
    gw_err_set(err, GW_CONFIG, NULL, "task \"%s\" ran with ongoing replication, and its file now says \"%s\"",
               u->task->name, u->task->migration_type);
    gw_err_hint(err, "put \"migration-type\" back: only then is removed what it has on the source");
    return GW_CONFIG;
}

// The state goes only once the target is clean: it is what tells one task of a name from another.
static int
remove_state(struct gw_setup *u, struct gw_err *err)
{
    bool kept = false;
    int r = gw_statedir_remove(&u->statedir, &kept, err);
    if (r == GW_OK && kept && u->options->loudness != GW_QUIET) {
        fprintf(stderr, "godwit: \"%s\" stays: there are files in it that are not godwit's\n", u->statedir.shown);
    }
    return r;
}

static int
drop(struct gw_setup *u)
{
    static struct gw_session_result result;
    struct gw_err err = {0};
    gw_setup_session(u, "drop", 1, u->statedir.path, true, &result);
    int code = result.exit_code;
    if (code == GW_EXIT_DONE && remove_state(u, &err) != GW_OK) {
        result.err = err;
        code = result.exit_code = GW_EXIT_TABLE_ERROR;
    }
    struct gw_report report = gw_setup_report(u, &result);
    report.state = code == GW_EXIT_DONE ? NULL : report.state;
    struct gw_buf out;
    gw_buf_init(&out, GW_REPORT_MAX);
    if (u->options->json) {
        code = gw_report_print_json(gw_report_json(&report)) || code ? code : GW_EXIT_TABLE_ERROR;
    } else if (u->options->loudness != GW_QUIET && code == GW_EXIT_DONE) {
        gw_text_wrap(&out, u->task->name, SIZE_MAX, 0, report.style.utf8);
        const char *left = gw_report_left_on_source(u->task);
        gw_buf_printf(&out, ": dropped%s%s%s; the tables that were loaded stay\n", left ? ", and with it " : "",
                      left ? left : "", left ? " on the source" : "");
    }
    code = gw_setup_print(&out, code);
    if (result.err.cls != GW_OK) {
        gw_report_error(&result.err);
    } else if (result.status && result.status->failure) {
        gw_report_failure(result.status->failure);
    }
    gw_session_result_fini(&result);
    return code;
}

static int
command_drop(const struct gw_options *o)
{
    static struct gw_setup setup;
    struct gw_setup *u = &setup;
    struct gw_err err = {0};
    int code;
    if (gw_setup_open(u, o, &err) != GW_OK || check_stream(u, &err) != GW_OK) {
        code = gw_setup_failed(u, &err);
    } else if (!confirmed(u)) {
        fprintf(stderr, "godwit: nothing was dropped\n");
        code = GW_EXIT_STOPPED;
    } else if (gw_statedir_acquire(&u->statedir, &err) != GW_OK ||
               gw_runtime_make(u->runtime, sizeof u->runtime, &err) != GW_OK) {
        code = gw_setup_failed(u, &err);
    } else {
        code = drop(u);
    }
    gw_setup_close(u);
    return code;
}

const struct gw_command gw_command_drop = {
    .name = "drop",
    .summary = "remove what the task left behind: control rows, slot, state; loaded tables stay",
    .help = help,
    .options = GW_OPT_STATE | GW_OPT_YES | GW_OPT_JSON | GW_OPT_LOUDNESS,
    .run = command_drop,
};
