#include "cli/watch.h"

#include <string.h>

#include "common/clock.h"

// The coordinator itself waits ten seconds for a heartbeat before it stops vouching; with that, a worker has its lease.
static const int64_t known_us = 5 * GW_S;
static const int64_t unknown_us = 20 * GW_S;     // from the start to the hello; libraries may come from a slow disk
static const int64_t coordinator_us = 20 * GW_S; // it does nothing that takes longer than a disk's worst fsync
static const int64_t step_us = 3 * GW_S;         // more than that between two looks was not seen to pass
static const int64_t often_us = 600 * GW_S;

// What has passed since `last`, as far as it counts.
static int64_t
step(int64_t *last, int64_t now)
{
    int64_t d = *last ? now - *last : 0;
    *last = now;
    return d <= step_us ? d : 0;
}

static bool
vouched(const Gw__Status *st, const struct gw_child *c)
{
    for (size_t i = 0; i < st->n_workers; i++) {
        if (st->workers[i]->pid == (uint32_t)c->pid && strcmp(st->workers[i]->name, c->name) == 0) {
            return true;
        }
    }
    return false;
}

void
gw_watch_status(struct gw_watch *w, const struct gw_supervisor *s, const struct gw_child *coordinator,
                const Gw__Status *st, int64_t now_us)
{
    int64_t passed = step(&w->status_us, now_us);
    bool another = st->started_us != w->coordinator_began_us; // it does not know anybody yet
    w->coordinator_began_us = st->started_us;
    w->coordinator_silent_us = 0;
    for (size_t i = 0; i < s->n; i++) {
        const struct gw_child *c = &s->children[i];
        if (c == coordinator) {
            continue;
        }
        if (another || w->children[i].pid != c->pid) {
            w->children[i].pid = c->pid;
            w->children[i].known = false;
            w->children[i].silent_us = 0;
        } else if (c->pid) {
            w->children[i].silent_us += passed;
        }
        if (c->pid && vouched(st, c)) {
            w->children[i].known = true;
            w->children[i].silent_us = 0;
        }
    }
}

const struct gw_child *
gw_watch_turn(struct gw_watch *w, const struct gw_supervisor *s, const struct gw_child *coordinator, int64_t now_us,
              int64_t *ret_silent_us)
{
    int64_t passed = step(&w->turn_us, now_us);
    for (size_t i = 0; i < s->n; i++) {
        const struct gw_child *c = &s->children[i];
        int64_t *silent = &w->children[i].silent_us;
        int64_t most = w->children[i].known ? known_us : unknown_us;
        if (c == coordinator) {
            silent = &w->coordinator_silent_us;
            most = coordinator_us;
            *silent = c->pid && w->children[i].pid == c->pid ? *silent + passed : 0;
            w->children[i].pid = c->pid;
        }
        if (c->pid && w->children[i].pid == c->pid && *silent >= most) {
            *ret_silent_us = *silent;
            *silent = 0;
            return c;
        }
    }
    return NULL;
}

bool
gw_watch_may_restart(struct gw_watch *w, const struct gw_supervisor *s, const struct gw_child *c, int64_t now_us)
{
    size_t i = (size_t)(c - s->children);
    unsigned n = w->children[i].hangs++;
    int64_t *oldest = &w->children[i].hung_us[n % GW_HANGS_MAX];
    bool often = n >= GW_HANGS_MAX && now_us - *oldest < often_us;
    *oldest = now_us;
    return !often;
}
