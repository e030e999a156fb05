// Tells a child that hangs from one that works for long.
//
// The coordinator vouches for a worker by naming its pid in the status: the worker's control thread answers heartbeats,
// also while its work thread sits in a query for hours. A worker that nobody vouches for any more, and a coordinator
// that does not answer, are stopped or stuck, and would be waited for without end: they are killed and started again.
//
// Time counts only while it was seen to pass: not while this process itself was stopped, and for workers not while the
// coordinator was silent. So nobody is blamed for a machine that slept, or for somebody else's silence.
#ifndef GW_CLI_WATCH_H
#define GW_CLI_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/supervise.h"
#include "control.pb-c.h"

enum { GW_HANGS_MAX = 5 };

struct gw_watch {
    int64_t turn_us, status_us;    // monotonic, of the last call; 0 = none yet
    int64_t coordinator_silent_us; // counted
    int64_t coordinator_began_us;  // wall clock: which coordinator speaks
    struct {
        pid_t pid;         // that the figures are about
        bool known;        // this coordinator has vouched for it
        int64_t silent_us; // counted
        int64_t hung_us[GW_HANGS_MAX];
        unsigned hangs;
    } children[GW_CHILDREN_MAX]; // as in the supervisor
};

// A status has come.
void gw_watch_status(struct gw_watch *w, const struct gw_supervisor *s, const struct gw_child *coordinator,
                     const Gw__Status *st, int64_t now_us);
// Once every turn of the loop, once a second or more often. Returns a child that hangs, each only once, or NULL.
// *ret_silent_us: for how long.
const struct gw_child *gw_watch_turn(struct gw_watch *w, const struct gw_supervisor *s,
                                     const struct gw_child *coordinator, int64_t now_us, int64_t *ret_silent_us);
// Notes that the child hung. False: it has, GW_HANGS_MAX times in ten minutes, and starting it again is no cure.
bool gw_watch_may_restart(struct gw_watch *w, const struct gw_supervisor *s, const struct gw_child *c, int64_t now_us);

#endif
