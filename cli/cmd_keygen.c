// godwit keygen: the keys by which processes on different hosts know each other.
#include <stdio.h>
#include <string.h>

#include "cli/options.h"
#include "cli/report.h"
#include "common/curve.h"

static const char help[] =
    "usage: godwit keygen DIR\n\n"
    "Makes the keys by which a coordinator and workers on other hosts know each other, and with which they encrypt\n"
    "what they send. Two files, for their owner only; nothing is ever overwritten.\n\n"
    "  DIR/coordinator.key   the coordinator's keys, and who may join: stays on the coordinator's host\n"
    "  DIR/worker.key        the workers' keys, and whom to trust: is copied to every host with workers\n\n"
    "  --help          this text\n\n"
    "examples:\n"
    "  godwit keygen keys\n"
    "  godwit run shop.json --listen tcp://10.0.0.5:7750 --key keys/coordinator.key\n"
    "  scp keys/worker.key host2: && ssh host2 godwit-apply --coordinator tcp://10.0.0.5:7750 --key worker.key\n\n"
    "Whoever has worker.key can join and read what is moved; whoever has coordinator.key can lead the workers. To\n"
    "take a key back, make new ones and start every process anew with them.\n\n"
    "exit codes: 0 made, 2 bad usage, or the files cannot be made\n";

static int
command_keygen(const struct gw_options *o)
{
    struct gw_err err = {0};
    if (gw_keys_make(o->task_path, &err) != GW_OK) {
        gw_report_error(&err);
        return GW_EXIT_USAGE;
    }
    size_t len = strlen(o->task_path);
    const char *slash = len && o->task_path[len - 1] == '/' ? "" : "/";
    printf("%s%scoordinator.key  stays on the coordinator's host\n"
           "%s%sworker.key       goes to every host with workers\n",
           o->task_path, slash, o->task_path, slash);
    return fflush(stdout) == 0 ? GW_EXIT_DONE : GW_EXIT_TABLE_ERROR;
}

const struct gw_command gw_command_keygen = {
    .name = "keygen",
    .summary = "make the keys for workers on other hosts",
    .help = help,
    .operand = "a folder for the keys",
    .run = command_keygen,
};
