// One task's processes on this host, from their start to their end: the loop of run, check and drop.
#ifndef GW_CLI_SESSION_H
#define GW_CLI_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/options.h"
#include "cli/statedir.h"
#include "cli/supervise.h"
#include "common/arena.h"
#include "common/err.h"
#include "control.pb-c.h"

struct gw_session_spec {
    const char *mode;      // of the coordinator: run, check, drop
    const char *task_path; // absolute
    const Gw__Task *task;
    const char *state;                 // absolute; has a folder logs/
    const struct gw_statedir *publish; // where the control endpoint is written; NULL = nowhere
    const char *runtime;               // folder for the sockets
    const char *listen, *key;          // for workers on other hosts; NULL = none
    bool plain;                        // and they may join without keys
    unsigned workers;                  // of each stage
    const char *until;                 // GW_UNTIL_…; NULL = nothing ends it early
    bool fresh, reload;
    bool progress; // show it
    enum gw_loudness loudness;
};

struct gw_session_result {
    struct gw_arena arena;
    const Gw__Status *status; // the last one, in the arena; NULL = none came
    bool ended;               // that status is the end, not where it was cut off
    int exit_code;
    struct gw_err err; // what went wrong with the processes themselves; GW_OK = nothing
    int64_t elapsed_us;
    struct gw_session_child {
        char name[32];
        uint32_t restarts;
    } children[GW_CHILDREN_MAX];
    size_t children_n;
};

// Runs it to its end. Blocks the signals it handles; they stay blocked.
void gw_session_run(const struct gw_session_spec *spec, struct gw_session_result *ret);
void gw_session_result_fini(struct gw_session_result *r);

#endif
