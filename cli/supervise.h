// Child processes: started, watched, started again when they die.
//
// A child gets its own process group (Ctrl-C at the terminal is for the command line alone, which then stops
// them in order), SIGTERM when its parent dies, default signals, /dev/null as input and no descriptor but
// the standard three. The owner of the supervisor blocks SIGCHLD and calls gw_supervisor_reap when it comes.
#ifndef GW_CLI_SUPERVISE_H
#define GW_CLI_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

enum { GW_CHILDREN_MAX = 3 * 49 + 1, GW_CHILD_ARGS_MAX = 24 };

struct gw_child {
    char name[32];
    char *argv[GW_CHILD_ARGS_MAX + 1]; // owned
    pid_t pid;                         // 0 = not running
    bool wanted;                       // to be started again when it dies
    uint32_t restarts;
    int64_t started_us, restart_us; // monotonic; restart_us: when it will be started again
    int64_t backoff_us;
    int status; // as wait(2) gave it last
};
struct gw_supervisor {
    struct gw_child children[GW_CHILDREN_MAX];
    size_t n;
    int output; // where the children's stderr goes; -1 = inherited
};

// How a child ended, for the owner to judge.
typedef void gw_child_ended(void *ctx, struct gw_child *c);

void gw_supervisor_init(struct gw_supervisor *s, int output);
void gw_supervisor_fini(struct gw_supervisor *s); // kills and collects what still runs
// argv: NULL-terminated, copied; argv[0] is the executable's path. Not started yet.
struct gw_child *gw_supervisor_add(struct gw_supervisor *s, const char *name, const char *const *argv);
// Starts every wanted child that is not running and whose time has come. The first failure is returned.
int gw_supervisor_start(struct gw_supervisor *s, struct gw_err *err);
// Collects children that have ended; sets when each is to be started again if it is still wanted after `ended`.
void gw_supervisor_reap(struct gw_supervisor *s, gw_child_ended *ended, void *ctx);
int64_t gw_supervisor_deadline(const struct gw_supervisor *s); // next start; INT64_MAX = none
size_t gw_supervisor_running(const struct gw_supervisor *s);
void gw_supervisor_signal(struct gw_supervisor *s, int sig); // to every child that runs
void gw_supervisor_unwant(struct gw_supervisor *s);          // no child is started again
void gw_child_signal(const struct gw_child *c, int sig);
// "ended with exit code 1", "killed by signal 9 (Killed)"
const char *gw_child_describe(const struct gw_child *c, char *out, size_t size);
int64_t gw_child_backoff(int64_t previous_us, int64_t lived_us);
// <folder of this executable>/<name>; checks that it is there.
int gw_executable_beside(const char *name, char *out, size_t size, struct gw_err *err);

#endif
