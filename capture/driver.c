#include "capture/driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/capture.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mapping.h"
#include "common/policy.h"

void
gw_capture_close_source(struct capture *c)
{
    if (c->self) {
        c->ops->close(c->self);
        free(c->self);
        c->self = NULL;
    }
    c->open = false;
    free(c->token);
    c->token = NULL;
}

static int
open_source(struct capture *c, struct gw_err *err)
{
    if (c->open && c->task_version == gw_worker_task_version(c->w)) {
        return GW_OK;
    }
    gw_capture_close_source(c);
    const Gw__Endpoint *ep = gw_worker_task(c->w)->source;
    c->ops = gw_source_find(ep->engine);
    if (!c->ops) {
        return gw_err_set(err, GW_CONFIG, NULL, "source engine \"%s\" is not part of this build", ep->engine);
    }
    const char *password = NULL;
    int r = gw_worker_password(c->w, ep, &c->arena, &password, err);
    if (r != GW_OK) {
        return gw_err_wrap(err, "source password");
    }
    c->task_version = gw_worker_task_version(c->w);
    c->self = calloc(1, c->ops->state_size);
    gw_assert(c->self);
    r = c->ops->open(c->self, ep, password, err);
    if (r != GW_OK) {
        gw_capture_close_source(c);
        return gw_err_wrap(err, "source");
    }
    c->open = true;
    return GW_OK;
}

// ---- catalogue ---------------------------------------------------------------------------------

// Keeps what the selection rules include, in order of load.
static void
select_tables(const Gw__Task *task, Gw__Catalog *cat)
{
    size_t kept = 0;
    for (size_t i = 0; i < cat->n_tables; i++) {
        Gw__Table *t = cat->tables[i];
        int32_t order = 0;
        if (gw_mapping_selected(task, t->schema, t->name, t->kind, &order)) {
            t->load_order = order;
            cat->tables[kept++] = t;
        }
    }
    cat->n_tables = kept;
}

static int
stream_preflight(struct capture *c, Gw__Catalog *cat, struct gw_err *err)
{
    const Gw__Task *task = gw_worker_task(c->w);
    if (!(c->ops->caps & GW_SOURCE_STREAM)) {
        gw_err_set(err, GW_CONFIG, NULL,
                   "source engine \"%s\" has no stream of changes, which \"cdc\" and \"full-load-and-cdc\" need",
                   c->ops->name);
        gw_err_hint(err, "migration type \"full-load\" is what it can do");
        return GW_CONFIG;
    }
    return c->ops->stream_preflight(c->self, &c->arena, task, cat, err);
}

static int
do_inspect(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    Gw__Catalog *cat = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    cat->engine = gw_arena_strdup(&c->arena, c->ops->name);
    int r = c->ops->identity(c->self, &c->arena, &cat->identity, err);
    if (r == GW_OK && cmd->inspect->position) { // first: what comes meanwhile may be in both
        r = c->ops->stream_now(c->self, &c->arena, &cat->position, err);
    }
    if (r == GW_OK && cmd->inspect->describe) {
        const Gw__Task *task = gw_worker_task(c->w);
        r = c->ops->list(c->self, &c->arena, cat, err);
        if (r == GW_OK) {
            gw_mapping_unmatched(task, cat, &c->arena);
            select_tables(task, cat);
            r = c->ops->describe(c->self, &c->arena, cat, err);
        }
        if (r == GW_OK && gw_task_streams(task)) {
            r = stream_preflight(c, cat, err);
        }
    }
    reply->body_case = GW__REPLY__BODY_CATALOG;
    reply->catalog = cat;
    return r;
}

static int
do_sequences(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    Gw__Table *t = gw_pb_dup(&c->arena, cmd->sequences->table);
    Gw__Catalog *cat = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    gw_pb_add(&c->arena, cat, tables, t);
    reply->body_case = GW__REPLY__BODY_CATALOG;
    reply->catalog = cat;
    return c->ops->sequences(c->self, t, err);
}

// ---- snapshot and plan -------------------------------------------------------------------------

// A later snapshot can be older: what the stream's first one saw and this one does not, nobody would bring.
static int
check_not_before(struct capture *c, const char *first, const char *token, struct gw_err *err)
{
    bool covers = true;
    int r = first[0] && c->ops->snapshot_covers ? c->ops->snapshot_covers(first, token, &covers, err) : GW_OK;
    if (r == GW_OK && !covers) {
        r = gw_err_set(err, GW_AGAIN, NULL, "snapshot %s does not see all that %s saw", token, first);
    }
    return r;
}

static int
do_snapshot(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    Gw__SnapshotOpened *s = gw_pb_new(&c->arena, Gw__SnapshotOpened, gw__snapshot_opened__init);
    free(c->token);
    c->token = NULL;
    char *token = NULL, *handle = NULL;
    const char *join = cmd->open_snapshot->handle;
    if (join[0]) {
        (void)GW_FAULT("capture.snapshot.join");
        join = GW_FAULT("capture.snapshot.apart") ? "" : join;
    }
    int r = c->ops->snapshot_begin(c->self, &c->arena, join, &token, &handle, err);
    if (r != GW_OK) {
        return r;
    }
    // Readers that believe they share a snapshot and do not would lose or double rows.
    const char *want = cmd->open_snapshot->token;
    if (want[0] && strcmp(want, token) != 0) {
        if (GW_GUARD("capture.token")) {
            return gw_err_set(err, GW_AGAIN, NULL, "the shared snapshot is %s, not %s", token, want);
        }
        token = gw_arena_strdup(&c->arena, want); // as a reader that does not look would say
    }
    r = check_not_before(c, cmd->open_snapshot->not_before, token, err);
    if (r != GW_OK) {
        return r;
    }
    c->token = strdup(token);
    gw_assert(c->token);
    s->token = token;
    s->handle = handle;
    reply->body_case = GW__REPLY__BODY_SNAPSHOT;
    reply->snapshot = s;
    gw_info("snapshot open token=\"%s\" %s", token, cmd->open_snapshot->handle[0] ? "shared" : "new");
    return GW_OK;
}

static int
do_plan(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    const Gw__PlanTable *p = cmd->plan;
    Gw__TablePlan *plan = gw_pb_new(&c->arena, Gw__TablePlan, gw__table_plan__init);
    if (!c->token) {
        return gw_err_set(err, GW_AGAIN, GW_CODE_NO_SNAPSHOT, "no snapshot is open");
    }
    int r = c->ops->plan(c->self, &c->arena, p->table, p->rule, gw_worker_task(c->w)->chunk_bytes, p->lanes, plan, err);
    if (r != GW_OK) {
        return gw_err_wrap(err, "plan table \"%s.%s\"", p->table->source_schema, p->table->source_name);
    }
    for (size_t i = 0; i < plan->n_chunks; i++) {
        plan->chunks[i]->table_id = p->table->id;
        plan->chunks[i]->no = (uint32_t)i;
        plan->chunks[i]->generation = p->generation;
    }
    reply->body_case = GW__REPLY__BODY_PLAN;
    reply->plan = plan;
    return GW_OK;
}

// ---- the loop ----------------------------------------------------------------------------------

static const struct {
    Gw__Command__BodyCase body;
    int (*run)(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err);
} jobs[] = {
    {GW__COMMAND__BODY_INSPECT, do_inspect},
    {GW__COMMAND__BODY_OPEN_SNAPSHOT, do_snapshot},
    {GW__COMMAND__BODY_PLAN, do_plan},
    {GW__COMMAND__BODY_READ_CHUNK, gw_capture_read_chunk},
    {GW__COMMAND__BODY_SEQUENCES, do_sequences},
    {GW__COMMAND__BODY_OPEN_STREAM, gw_capture_open_stream},
    {GW__COMMAND__BODY_READ_STREAM, gw_capture_read_stream},
    {GW__COMMAND__BODY_CLOSE_STREAM, gw_capture_close_stream},
};

static int
run_job(struct capture *c, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    if (cmd->body_case == GW__COMMAND__BODY_CLOSE_SNAPSHOT) { // the only job that needs no source
        gw_capture_close_source(c);
        return GW_OK;
    }
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        if (jobs[i].body == cmd->body_case) {
            int r = open_source(c, err);
            return r != GW_OK ? r : jobs[i].run(c, cmd, reply, err);
        }
    }
    return gw_err_set(err, GW_BUG, NULL, "capture does not know command %d", (int)cmd->body_case);
}

static int
capture_run(struct gw_worker *w, struct gw_err *err)
{
    struct capture c = {.w = w};
    gw_arena_init(&c.arena);
    int r;
    for (;;) {
        const Gw__Command *cmd;
        r = gw_worker_next(w, gw_now_us() + (c.links_n ? GW_S : 3600 * GW_S), &cmd, err);
        if (r == GW_AGAIN) {
            gw_capture_tell_lost(&c);
            continue;
        }
        if (r != GW_OK) {
            break;
        }
        gw_arena_reset(&c.arena);
        struct gw_err e = {0};
        Gw__Reply reply = GW__REPLY__INIT;
        reply.job = cmd->job;
        int jr = run_job(&c, cmd, &reply, &e);
        if (jr != GW_OK) {
            reply.body_case = GW__REPLY__BODY__NOT_SET;
            gw_log_err(jr == GW_FENCED || jr == GW_AGAIN ? GW_LOG_INFO : GW_LOG_WARN, &e, "job %" PRIu64, cmd->job);
            if (jr != GW_AGAIN && jr != GW_FENCED) {
                gw_capture_close_source(&c); // source.h: after a failure only close is legal
            }
        }
        gw_worker_reply(w, &reply, &e);
    }
    gw_capture_close_source(&c);
    gw_capture_unlink_all(&c);
    gw_arena_fini(&c.arena);
    return r;
}

const struct gw_stage gw_capture_stage = {
    .id = GW__STAGE__STAGE_CAPTURE,
    .name = "capture",
    .summary = "reads a source database",
    .run = capture_run,
};
