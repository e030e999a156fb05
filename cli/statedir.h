// The state folder of a task and the runtime folder of one run.
//
//   <state>/lock                held (flock) by the run that uses the folder; its pid inside
//   <state>/control             the endpoint of the live coordinator
//   <state>/coordinator.sqlite  the coordinator's own (only read here)
//   <state>/logs/<name>.log     of every process
//
// Sockets live in a folder of their own, because the path of a Unix socket is limited to 107 bytes and the
// state folder may be anywhere, on any file system.
#ifndef GW_CLI_STATEDIR_H
#define GW_CLI_STATEDIR_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "control.pb-c.h"

struct gw_statedir {
    char path[PATH_MAX];  // absolute
    char shown[PATH_MAX]; // as the user knows it
    int lock;             // -1 = not held
};

// Works out the path: given, or ./godwit-state/<task>. Touches nothing.
int gw_statedir_locate(struct gw_statedir *d, const char *given, const char *task, struct gw_err *err);
// Makes the folder (0700) with its logs, and takes the lock.
int gw_statedir_acquire(struct gw_statedir *d, struct gw_err *err);
void gw_statedir_release(struct gw_statedir *d);
bool gw_statedir_exists(const struct gw_statedir *d);
// The pid of the run that holds the lock; 0 = nobody does, -1 = somebody whose pid is not known.
int64_t gw_statedir_holder(const struct gw_statedir *d);
// Removes what godwit put there, and the folder if nothing else is in it. The lock must be held.
// *kept: something that is not godwit's is in there.
int gw_statedir_remove(struct gw_statedir *d, bool *kept, struct gw_err *err);

int gw_statedir_write_control(const struct gw_statedir *d, const char *endpoint, struct gw_err *err);
void gw_statedir_remove_control(const struct gw_statedir *d);
// NULL: there is none.
char *gw_statedir_read_control(const struct gw_statedir *d, struct gw_arena *a);
// The status that the coordinator last stored, and when. GW_END: none has been stored.
int gw_statedir_read_status(const struct gw_statedir *d, struct gw_arena *a, const Gw__Status **ret, int64_t *at_us,
                            struct gw_err *err);

// A new folder (0700) whose path leaves room for the sockets' names. size >= 108.
int gw_runtime_make(char *path, size_t size, struct gw_err *err);
// Removes the folder with the files in it (one level; `state/` below it, too).
void gw_runtime_remove(const char *path);

#endif
