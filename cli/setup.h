// What every subcommand does first: read the task, find its state folder, count the workers.
#ifndef GW_CLI_SETUP_H
#define GW_CLI_SETUP_H

#include <limits.h>

#include "cli/options.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/statedir.h"

struct gw_setup {
    const struct gw_options *options;
    struct gw_arena arena;
    Gw__Task *task;
    char task_path[PATH_MAX]; // absolute
    struct gw_statedir statedir;
    char runtime[128]; // folder of the sockets; empty = none yet
};

// Reads and checks the task; says its warnings on stderr unless --quiet.
int gw_setup_open(struct gw_setup *u, const struct gw_options *o, struct gw_err *err);
void gw_setup_close(struct gw_setup *u);
// Lanes per stage: as asked for, or one per core within bounds; never more than MaxFullLoadSubTasks.
unsigned gw_setup_workers(const struct gw_setup *u);
// Runs the processes in the given mode. state: the folder they use; publish: whether `godwit tables` may find them.
void gw_setup_session(struct gw_setup *u, const char *mode, unsigned workers, const char *state, bool publish,
                      struct gw_session_result *ret);
// A report filled from a session (NULL: it never came to one).
struct gw_report gw_setup_report(const struct gw_setup *u, const struct gw_session_result *r);
// Ends a command that failed before its processes were started: the message, or JSON. Returns the exit code.
int gw_setup_failed(const struct gw_setup *u, const struct gw_err *err);
// Prints a finished text on stdout. Returns code, or what a closed stdout makes of it.
int gw_setup_print(struct gw_buf *out, int code);

#endif
