// godwit run: all of a task on this host.
#include <stdio.h>
#include <string.h>

#include "cli/setup.h"
#include "common/curve.h"
#include "common/policy.h"

static const char help[] =
    "usage: godwit run TASK.json [options]\n\n"
    "Moves what the task says: starts the coordinator and the workers as processes of this host, shows the\n"
    "progress, and ends with a summary. Run again, it goes on where it was; a finished load is left alone.\n"
    "With ongoing replication (migration-type full-load-and-cdc, cdc) it carries changes until it is stopped.\n"
    "With --listen, workers on other hosts may join, and leave, at any time.\n\n"
    "  --state DIR     where the state and the logs live (default: ./godwit-state/<task>)\n"
    "  --workers N     processes per stage, 1 to 49 (default: one per core, 2 to 8); MaxFullLoadSubTasks\n"
    "                  bounds it; with --listen also 0: all workers are on other hosts\n"
    "  --listen ENDPOINT  where workers on other hosts join: tcp://ADDRESS:PORT, an address of this host that\n"
    "                  they reach\n"
    "  --key FILE      the coordinator's keys, made by godwit keygen: needed with --listen off this host\n"
    "  --insecure-plain-tcp  without --key: rows and passwords can be read on the network\n"
    "  --until load    stop after the full load; with ongoing replication the changes since its beginning are\n"
    "                  carried by the next run\n"
    "  --until caught-up\n"
    "                  ongoing replication: stop when every change that was committed on the source before this\n"
    "                  run, or while it loaded, is durable on the target\n"
    "  --fresh         begin anew: forget what is durable of this task\n"
    "  --reload        ongoing replication: load suspended tables anew, as they are on the source now; the\n"
    "                  other tables' changes wait meanwhile\n"
    "  --json          print the end report as JSON on stdout\n"
    "  --quiet         no progress and no summary, only errors\n"
    "  --verbose       show what every process says, and every note on the schema\n"
    "  --help          this text\n\n"
    "examples:\n"
    "  godwit run shop.json\n"
    "  godwit run shop.json --workers 8 --state /var/lib/godwit/shop\n"
    "  godwit run shop.json --json > report.json\n"
    "  godwit run shop.json --fresh\n"
    "  godwit run shop.json --until caught-up && echo \"the target has it all\"\n"
    "  godwit run shop.json --listen tcp://10.0.0.5:7750 --key keys/coordinator.key\n\n"
    "Ctrl-C (or SIGTERM) finishes the chunks in flight, ends the stream of changes where a transaction ends,\n"
    "and stops; a second one stops at once. Nothing durable is lost either way. A source that keeps its log\n"
    "for the task goes on keeping it: run it again before its disk is full, or godwit drop it.\n\n"
    "exit codes: 0 all of it done, 1 done but some table ended in error, 2 bad usage or configuration,\n"
    "            3 an end cannot be reached, 4 stopped by a signal: the same command goes on\n";

static int
report_end(const struct gw_setup *u, const struct gw_session_result *r)
{
    struct gw_report report = gw_setup_report(u, r);
    const Gw__Failure *failure = r->status ? r->status->failure : NULL;
    struct gw_buf out;
    gw_buf_init(&out, GW_REPORT_MAX);
    int code = r->exit_code;
    if (u->options->json) {
        if (!gw_report_print_json(gw_report_json(&report))) {
            fprintf(stderr, "godwit: the report could not be written to stdout\n");
            code = code ? code : GW_EXIT_TABLE_ERROR;
        }
    } else if (r->status && u->options->loudness != GW_QUIET) {
        gw_report_run(&out, &report);
    }
    code = gw_setup_print(&out, code);
    // Last, so that it is what remains on the screen.
    if (r->err.cls != GW_OK) {
        gw_report_error(&r->err);
    } else if (failure) {
        gw_report_failure(failure);
    }
    return code;
}

// What the processes would refuse, before they are started.
static int
check_listen(const struct gw_options *o, struct gw_err *err)
{
    static struct gw_keys keys;
    struct gw_endpoint e;
    if (!o->listen) {
        return GW_OK;
    }
    int r = o->key ? gw_keys_load(o->key, &keys, err) : GW_OK;
    if (r == GW_OK && o->key && !keys.is_coordinator) {
        gw_err_set(err, GW_CONFIG, NULL, "key file \"%s\" is a worker's", o->key);
        gw_err_hint(err, "the coordinator's is coordinator.key, beside it where godwit keygen made them");
        return GW_CONFIG;
    }
    if (r == GW_OK) {
        gw_identity_set(o->key ? &keys : NULL, o->plain);
        r = gw_endpoint_parse(o->listen, &e, err);
    }
    r = r == GW_OK ? gw_identity_allows(&e, err) : r;
    if (r == GW_OK && (!e.tcp || e.any)) {
        gw_err_set(err, GW_CONFIG, NULL, "\"%s\" is not one address that other hosts reach", o->listen);
        gw_err_hint(err, "the workers of this host are told to the others by it: name one of this host's addresses");
        r = GW_CONFIG;
    }
    return r == GW_OK ? r : gw_err_wrap(err, "--listen");
}

// What the task cannot end at. A load alone does not wait for later changes, so "caught up" would promise too much.
static int
check_until(const struct gw_setup *u, struct gw_err *err)
{
    const char *until = u->options->until;
    if (!until) {
        return GW_OK;
    }
    if (strcmp(until, GW_UNTIL_CAUGHT_UP) == 0 && !gw_task_streams(u->task)) {
        gw_err_set(err, GW_CONFIG, NULL, "--until caught-up needs ongoing replication, and task \"%s\" is a full load",
                   u->task->name);
        gw_err_hint(err, "a full load ends by itself; \"migration-type\": \"full-load-and-cdc\" carries changes, too");
        return GW_CONFIG;
    }
    if (strcmp(until, GW_UNTIL_LOAD) == 0 && !gw_task_loads(u->task)) {
        gw_err_set(err, GW_CONFIG, NULL, "--until load needs a full load, and task \"%s\" carries changes alone",
                   u->task->name);
        gw_err_hint(err, "--until caught-up stops when every change that was committed before now is durable");
        return GW_CONFIG;
    }
    return GW_OK;
}

static int
check_reload(const struct gw_setup *u, struct gw_err *err)
{
    if (!u->options->reload || gw_task_streams(u->task)) {
        return GW_OK;
    }
    gw_err_set(err, GW_CONFIG, NULL, "--reload needs ongoing replication, and task \"%s\" is a full load",
               u->task->name);
    gw_err_hint(err, "a full load loads what is missing of a suspended table when it is run again");
    return GW_CONFIG;
}

static int
command_run(const struct gw_options *o)
{
    static struct gw_setup setup;
    static struct gw_session_result result;
    struct gw_setup *u = &setup;
    struct gw_err err = {0};
    int code;
    if (gw_setup_open(u, o, &err) != GW_OK || check_until(u, &err) != GW_OK || check_reload(u, &err) != GW_OK ||
        check_listen(o, &err) != GW_OK || gw_statedir_acquire(&u->statedir, &err) != GW_OK ||
        gw_runtime_make(u->runtime, sizeof u->runtime, &err) != GW_OK) {
        code = gw_setup_failed(u, &err);
    } else {
        gw_setup_session(u, "run", o->no_workers ? 0 : gw_setup_workers(u), u->statedir.path, true, &result);
        code = report_end(u, &result);
        gw_session_result_fini(&result);
    }
    gw_setup_close(u);
    return code;
}

const struct gw_command gw_command_run = {
    .name = "run",
    .summary = "move what the task says, with progress and a summary; run again, it resumes",
    .help = help,
    .options =
        GW_OPT_STATE | GW_OPT_WORKERS | GW_OPT_UNTIL | GW_OPT_FRESH | GW_OPT_JSON | GW_OPT_LOUDNESS | GW_OPT_LISTEN,
    .run = command_run,
};
