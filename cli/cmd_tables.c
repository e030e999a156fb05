// godwit tables: the table statistics of a task, live or as they were last stored.
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "cli/client.h"
#include "cli/format.h"
#include "cli/setup.h"
#include "common/clock.h"

static const char help[] =
    "usage: godwit tables TASK.json [options]\n\n"
    "Shows for every table what AWS DMS calls table statistics: its state, the rows that are durable on the\n"
    "target, the rows refused; with ongoing replication also the changes applied (of those captured, where that\n"
    "is more), and above them position and latency. Asks the live run if there is one, else shows what was last\n"
    "stored. A table in error has been suspended: why stands below it.\n\n"
    "  --state DIR     where the state lives (default: ./godwit-state/<task>)\n"
    "  --json          print it as JSON on stdout, with the keys of DMS's table statistics\n"
    "  --help          this text\n\n"
    "examples:\n"
    "  godwit tables shop.json\n"
    "  watch -n 2 godwit tables shop.json\n"
    "  godwit tables shop.json --json | jq '.tables[] | select(.TableState == \"Table error\")'\n"
    "  godwit tables shop.json --json | jq '.statistics.CDCLatencyTarget'\n\n"
    "exit codes: 0 shown, 2 nothing is known of this task, or bad usage or configuration\n";

static const int64_t answer_us = GW_S;

// Where the answer came from.
struct answer {
    const Gw__Status *status;
    bool live;
    int64_t at_us; // wall clock
};

static bool
ask_live(const struct gw_setup *u, struct gw_arena *a, struct answer *ret)
{
    char *endpoint = gw_statedir_read_control(&u->statedir, a);
    void *zctx = endpoint ? zmq_ctx_new() : NULL;
    if (!zctx) {
        return false;
    }
    struct gw_client client = {0};
    struct gw_err err = {0};
    bool got = gw_client_open(&client, zctx, endpoint, &err) == GW_OK &&
               gw_client_wait(&client, gw_now_us() + answer_us, &err) == GW_OK;
    if (got) {
        ret->status = gw_pb_dup(a, client.status);
        ret->live = true;
        ret->at_us = client.status->now_us;
    }
    gw_client_close(&client);
    zmq_ctx_term(zctx);
    return got;
}

static int
find_answer(struct gw_setup *u, struct answer *ret, struct gw_err *err)
{
    if (!gw_statedir_exists(&u->statedir)) {
        gw_err_set(err, GW_CONFIG, NULL, "nothing is known of task \"%s\": there is no folder \"%s\"", u->task->name,
                   u->statedir.shown);
        gw_err_hint(err, "godwit run %s makes it; if its state is elsewhere, say so with --state",
                    u->options->task_path);
        return GW_CONFIG;
    }
    if (gw_statedir_holder(&u->statedir) != 0 && ask_live(u, &u->arena, ret)) {
        return GW_OK;
    }
    int r = gw_statedir_read_status(&u->statedir, &u->arena, &ret->status, &ret->at_us, err);
    if (r == GW_END) {
        gw_err_set(err, GW_CONFIG, NULL, "nothing is known of task \"%s\" yet: \"%s\" holds no status", u->task->name,
                   u->statedir.shown);
        gw_err_hint(err, "godwit run %s starts it", u->options->task_path);
        return GW_CONFIG;
    }
    return r;
}

// Worth a line once there is more than one host.
static void
put_hosts(struct gw_buf *out, const struct gw_report *r, const Gw__Status *s)
{
    size_t hosts = 0;
    struct gw_buf line;
    gw_buf_init(&line, 1 << 16);
    for (size_t i = 0; i < s->n_workers; i++) {
        bool seen = !s->workers[i]->pid;
        for (size_t k = 0; k < i && !seen; k++) {
            seen = s->workers[k]->pid && strcmp(s->workers[k]->host, s->workers[i]->host) == 0;
        }
        if (seen) {
            continue;
        }
        size_t here = 0, busy = 0;
        for (size_t k = i; k < s->n_workers; k++) {
            bool same = s->workers[k]->pid && strcmp(s->workers[k]->host, s->workers[i]->host) == 0;
            here += same;
            busy += same && s->workers[k]->doing[0];
        }
        gw_buf_puts(&line, hosts++ ? ", " : "workers: ");
        gw_text_wrap(&line, s->workers[i]->host, SIZE_MAX, 0, r->style.utf8);
        gw_buf_printf(&line, " %zu (%zu busy)", here, busy);
    }
    if (hosts > 1) {
        gw_buf_put(out, line.data, line.len);
        gw_buf_putc(out, '\n');
    }
    gw_buf_fini(&line);
}

static void
put_heading(struct gw_buf *out, const struct gw_setup *u, const struct gw_report *r, const struct answer *a)
{
    struct gw_totals t;
    gw_progress_totals(a->status, &t);
    gw_ink(out, &r->style, GW_INK_BOLD);
    gw_text_wrap(out, a->status->task, SIZE_MAX, 0, r->style.utf8);
    gw_ink(out, &r->style, GW_INK_PLAIN);
    gw_buf_printf(out, ": %s", a->status->phase);
    if (a->live) {
        gw_buf_puts(out, ", live");
    } else {
        gw_buf_printf(out, ", as of %s", gw_fmt_time(a->at_us).s);
        int64_t pid = gw_statedir_holder(&u->statedir);
        if (pid) {
            gw_buf_puts(out, "; a run is live, but its coordinator does not answer right now");
        } else if (!a->status->ended) {
            gw_buf_puts(out, "; no run is live");
        }
    }
    static const char *const words[GW_GROUPS] = {"queued", "loading", "completed", "in error"};
    const char *before = "; tables: ";
    for (size_t i = 0; i < GW_GROUPS; i++) {
        if (t.groups[i]) {
            gw_buf_printf(out, "%s%s %s", before, gw_fmt_count(t.groups[i]).s, words[i]);
            before = ", ";
        }
    }
    gw_buf_putc(out, '\n');
    gw_report_stream(out, r);
    if (*a->status->waiting_for && a->live) {
        gw_buf_puts(out, "waiting: ");
        gw_text_wrap(out, a->status->waiting_for, SIZE_MAX, 0, r->style.utf8);
        gw_buf_putc(out, '\n');
    }
    if (a->live) {
        put_hosts(out, r, a->status);
    }
}

static int
report(struct gw_setup *u, const struct answer *a)
{
    struct gw_report r = gw_setup_report(u, NULL);
    r.status = a->status;
    r.ended = a->status->ended;
    int64_t end = a->status->ended_us ? a->status->ended_us : a->at_us;
    r.elapsed_us = end > a->status->started_us ? end - a->status->started_us : 0;
    struct gw_buf out;
    gw_buf_init(&out, GW_REPORT_MAX);
    if (u->options->json) {
        r.exit_code = (int)a->status->exit_code; // of the run, as far as it has come
        json_t *j = gw_report_json(&r);
        (void)json_object_set_new(j, "live", json_boolean(a->live));
        return gw_report_print_json(j) ? GW_EXIT_DONE : GW_EXIT_TABLE_ERROR;
    }
    put_heading(&out, u, &r, a);
    gw_report_tables(&out, &r, false);
    return gw_setup_print(&out, GW_EXIT_DONE);
}

static int
command_tables(const struct gw_options *o)
{
    static struct gw_setup setup;
    struct gw_setup *u = &setup;
    struct gw_err err = {0};
    struct answer answer = {0};
    int code;
    if (gw_setup_open(u, o, &err) != GW_OK || find_answer(u, &answer, &err) != GW_OK) {
        code = gw_setup_failed(u, &err);
    } else {
        code = report(u, &answer);
    }
    gw_setup_close(u);
    return code;
}

const struct gw_command gw_command_tables = {
    .name = "tables",
    .summary = "the state and the statistics of every table, of a live run or of the last one",
    .help = help,
    .options = GW_OPT_STATE | GW_OPT_JSON,
    .run = command_tables,
};
