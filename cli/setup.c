#include "cli/setup.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/format.h"
#include "cli/term.h"
#include "common/config.h"

enum { LANES_LEAST = 2, LANES_MOST = 8 };

static void
say_warnings(const Gw__Task *task)
{
    struct gw_style style = gw_term_style(STDERR_FILENO);
    struct gw_buf out;
    gw_buf_init(&out, 1 << 20);
    for (size_t i = 0; i < task->n_warnings; i++) {
        gw_ink(&out, &style, GW_INK_YELLOW);
        gw_buf_puts(&out, "godwit: warning: ");
        gw_ink(&out, &style, GW_INK_PLAIN);
        gw_text_wrap(&out, task->warnings[i], style.width ? style.width - 1 : SIZE_MAX, 17, style.utf8);
        gw_buf_putc(&out, '\n');
    }
    if (out.len) {
        fwrite(out.data, 1, out.len, stderr);
    }
    gw_buf_fini(&out);
}

int
gw_setup_open(struct gw_setup *u, const struct gw_options *o, struct gw_err *err)
{
    memset(u, 0, sizeof *u);
    u->options = o;
    u->statedir.lock = -1;
    gw_arena_init(&u->arena);
    int r = gw_config_load(o->task_path, &u->arena, &u->task, err);
    if (r != GW_OK) {
        return r;
    }
    // The processes are started in this folder, but a relative path in a message of theirs would puzzle.
    if (!realpath(o->task_path, u->task_path)) {
        return gw_err_errno(err, errno, "find \"%s\"", o->task_path);
    }
    r = gw_statedir_locate(&u->statedir, o->state, u->task->name, err);
    if (r == GW_OK && o->loudness != GW_QUIET) {
        say_warnings(u->task);
    }
    return r;
}

void
gw_setup_close(struct gw_setup *u)
{
    if (u->runtime[0]) {
        gw_runtime_remove(u->runtime);
    }
    gw_statedir_release(&u->statedir);
    gw_arena_fini(&u->arena);
}

unsigned
gw_setup_workers(const struct gw_setup *u)
{
    unsigned n = u->options->workers;
    if (!n) {
        cpu_set_t cores;
        int have = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : LANES_LEAST;
        n = have < LANES_LEAST ? LANES_LEAST : have > LANES_MOST ? LANES_MOST : (unsigned)have;
    }
    unsigned most = u->task->load ? u->task->load->max_subtasks : 0;
    return most && n > most ? most : n;
}

void
gw_setup_session(struct gw_setup *u, const char *mode, unsigned workers, const char *state, bool publish,
                 struct gw_session_result *ret)
{
    struct gw_session_spec spec = {.mode = mode,
                                   .task_path = u->task_path,
                                   .task = u->task,
                                   .state = state,
                                   .publish = publish ? &u->statedir : NULL,
                                   .runtime = u->runtime,
                                   .listen = u->options->listen,
                                   .key = u->options->key,
                                   .plain = u->options->plain,
                                   .workers = workers,
                                   .until = u->options->until,
                                   .fresh = u->options->fresh,
                                   .reload = u->options->reload,
                                   .progress = true,
                                   .loudness = u->options->loudness};
    gw_session_run(&spec, ret);
}

struct gw_report
gw_setup_report(const struct gw_setup *u, const struct gw_session_result *r)
{
    struct gw_report report = {.task = u->task,
                               .task_path = u->options->task_path,
                               .state = u->statedir.shown[0] ? u->statedir.shown : NULL,
                               .verbose = u->options->loudness == GW_VERBOSE,
                               .style = gw_term_style(STDOUT_FILENO)};
    if (r) {
        report.status = r->status;
        report.exit_code = r->exit_code;
        report.ended = r->ended;
        report.elapsed_us = r->elapsed_us;
        report.err = &r->err;
        report.children = r->children;
        report.children_n = r->children_n;
    }
    return report;
}

int
gw_setup_failed(const struct gw_setup *u, const struct gw_err *err)
{
    gw_report_error(err);
    int code = err->cls == GW_CONFIG ? GW_EXIT_USAGE : GW_EXIT_TABLE_ERROR;
    if (u->options->json) {
        struct gw_report report = gw_setup_report(u, NULL);
        report.err = err;
        report.exit_code = code;
        (void)gw_report_print_json(gw_report_json(&report)); // the code says that it failed in any case
    }
    return code;
}

int
gw_setup_print(struct gw_buf *out, int code)
{
    bool written = !out->len || fwrite(out->data, 1, out->len, stdout) == out->len;
    if (!written || fflush(stdout) != 0) {
        fprintf(stderr, "godwit: the report could not be written to stdout\n");
        code = code ? code : GW_EXIT_TABLE_ERROR;
    }
    gw_buf_fini(out);
    return code;
}
