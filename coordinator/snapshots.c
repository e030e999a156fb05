// Which snapshot the readers are in.
//
// The first idle reader opens one; where it can be shared, every other joins it by the handle of any reader that lives,
// and proves by its token that it sees the same point. When no reader has it any more, it is lost, and the next is opened.
// When all rows are read, every reader lets go of it.
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/policy.h"
#include "coordinator/co.h"

struct snapshot_ctx {
    bool joined;
    bool first; // the one that came with the stream
    char uuid[40];
};

static void
snapshot_done(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    struct snapshot_ctx *sc = ctx;
    w->reserved = false;
    if (e->cls == GW_OK && reply->body_case == GW__REPLY__BODY_SNAPSHOT) {
        const Gw__SnapshotOpened *s = reply->snapshot;
        co_forget_snapshot(w);
        w->token = strdup(s->token);
        w->handle = strdup(s->handle);
        gw_assert(w->token && w->handle);
        co->shared = co->shared || s->handle[0];
        if (s->handle[0] && !sc->joined) {
            gw_info("snapshot token=\"%s\" is the one to join", s->token);
            free(co->token);
            co->token = strdup(s->token);
        }
        if (sc->first) { // the point that the stream begins behind
            co->progress->snapshot = gw_arena_strdup(&co->arena, s->token);
            co->stream_handle = NULL;
        }
        w->failures = 0;
    } else if (e->cls != GW_AGAIN && strcmp(e->code, GW_CODE_LOST) != 0) {
        w->failures++;
        w->retry_us = gw_now_us() + gw_retry_pause_us(co->task->errors, w->failures);
        if (e->cls != GW_RETRY) {
            co_fail(co, 2, e);
        } else if (!co->patient) {
            co_fail(co, 3, e);
        } else {
            (void)co_recoverable(co, e, w->failures, &w->retry_us);
        }
    } else if (sc->first && co->phase == P_PLAN) {
        // Nothing is durable yet that counts on it.
        gw_info("worker=%s cannot join the stream's snapshot: %s", w->name, e->message);
        co->stream_handle = NULL;
        co->progress = NULL;
        co_event(co, EV_REOPEN);
    } else if (sc->joined && e->cls == GW_AGAIN) {
        // Its holder went at the wrong moment. If nobody else has it, the next reader opens a new one.
        gw_info("worker=%s cannot join the snapshot: %s", w->name, e->message);
    }
    free(sc);
}

// A live reader that has the snapshot to join, other than w.
static struct worker *
holder(struct co *co, const struct worker *w)
{
    for (size_t i = 0; co->token && i < co->workers_n; i++) {
        struct worker *h = &co->workers[i];
        if (h != w && h->alive && h->token && strcmp(h->token, co->token) == 0 && h->handle[0]) {
            return h;
        }
    }
    return NULL;
}

static bool
someone_is_opening(const struct co *co)
{
    for (size_t i = 0; i < co->workers_n; i++) {
        if (co->workers[i].alive && co->workers[i].opening && co->workers[i].job) {
            return true;
        }
    }
    return false;
}

// Whether any table's rows are still to be read.
static bool
rows_to_read(const struct co *co)
{
    for (size_t i = 0; i < co->tables_n; i++) {
        if (co->tables[i].state <= T_LOADING) {
            return true;
        }
    }
    return false;
}

static void
snapshot_closed(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)co;
    (void)ctx;
    (void)reply;
    if (e->cls == GW_OK) {
        co_forget_snapshot(w);
        w->free_of_snapshot = true;
    }
}

// A reader that sits in its snapshot keeps the source from forgetting old rows, and others from altering or emptying tables.
static void
close_all(struct co *co)
{
    for (size_t i = 0; i < co->workers_n && co_running(co); i++) {
        struct worker *w = &co->workers[i];
        if (co_is_idle(w) && w->stage == GW__STAGE__STAGE_CAPTURE && !w->free_of_snapshot) {
            Gw__CloseSnapshot none = GW__CLOSE_SNAPSHOT__INIT;
            Gw__Command cmd = GW__COMMAND__INIT;
            cmd.body_case = GW__COMMAND__BODY_CLOSE_SNAPSHOT;
            cmd.close_snapshot = &none;
            co_send(co, w, &cmd, snapshot_closed, NULL, "closes its snapshot");
        }
    }
}

// Brings every idle reader into the current snapshot; where that is lost, the first to ask opens the next.
void
co_snapshots_tick(struct co *co)
{
    if (!rows_to_read(co)) {
        close_all(co);
        return;
    }
    for (size_t i = 0; i < co->workers_n && co_running(co); i++) {
        struct worker *w = &co->workers[i];
        bool stale = w->token && co->shared && (!co->token || strcmp(w->token, co->token) != 0);
        if (!co_is_idle(w) || w->stage != GW__STAGE__STAGE_CAPTURE || (w->token && !stale) ||
            w->retry_us > gw_now_us()) {
            continue;
        }
        struct worker *h = holder(co, w);
        if (!h && someone_is_opening(co)) {
            continue; // one at a time, so that the others can join it
        }
        Gw__OpenSnapshot open = GW__OPEN_SNAPSHOT__INIT;
        if (h) {
            open.handle = h->handle;
            open.token = h->token;
        } else if (co->stream_handle) {
            open.handle = co->stream_handle;
        } else if (co->progress) {
            open.not_before = co->progress->snapshot;
        }
        Gw__Command cmd = GW__COMMAND__INIT;
        cmd.body_case = GW__COMMAND__BODY_OPEN_SNAPSHOT;
        cmd.open_snapshot = &open;
        struct snapshot_ctx *sc = calloc(1, sizeof *sc);
        gw_assert(sc);
        sc->joined = h != NULL;
        sc->first = !h && co->stream_handle;
        co_send(co, w, &cmd, snapshot_done, sc, "opens a snapshot");
        w->opening = h == NULL;
        w->free_of_snapshot = false;
    }
}
