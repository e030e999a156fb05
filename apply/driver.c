#include "apply/driver.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/bus.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"

static void
close_target(struct gw_apply *a)
{
    if (a->self) {
        a->ops->close(a->self);
        free(a->self);
        a->self = NULL;
    }
    a->open = false;
}

static int
open_target(struct gw_apply *a, struct gw_err *err)
{
    if (a->open && a->task_version == gw_worker_task_version(a->w)) {
        return GW_OK;
    }
    close_target(a);
    const Gw__Task *task = gw_worker_task(a->w);
    a->ops = gw_target_find(task->target->engine);
    if (!a->ops) {
        return gw_err_set(err, GW_CONFIG, NULL, "target engine \"%s\" is not part of this build", task->target->engine);
    }
    const char *password = NULL;
    int r = gw_worker_password(a->w, task->target, &a->arena, &password, err);
    if (r != GW_OK) {
        return gw_err_wrap(err, "target password");
    }
    a->task_version = gw_worker_task_version(a->w);
    a->self = calloc(1, a->ops->state_size);
    gw_assert(a->self);
    r = a->ops->open(a->self, task, gw_worker_uuid(a->w), password, err);
    if (r != GW_OK) {
        close_target(a);
        return gw_err_wrap(err, "target");
    }
    a->open = true;
    return GW_OK;
}

static int
do_preflight(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    Gw__Catalog *findings = gw_pb_new(&a->arena, Gw__Catalog, gw__catalog__init);
    reply->body_case = GW__REPLY__BODY_CATALOG;
    reply->catalog = findings;
    return a->ops->preflight(a->self, &a->arena, cmd->preflight->catalog, cmd->preflight->resuming, findings, err);
}

static int
do_load_state(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    Gw__TargetState *state = gw_pb_new(&a->arena, Gw__TargetState, gw__target_state__init);
    reply->body_case = GW__REPLY__BODY_STATE;
    reply->state = state;
    int r = a->ops->state_load(a->self, &a->arena, cmd->load_state->with_plan, state, err);
    return r == GW_OK ? r : gw_err_wrap(err, "read the task's state on the target");
}

static int
do_register(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    (void)reply;
    int r = a->ops->state_register(a->self, cmd->register_, err);
    return r == GW_OK ? r : gw_err_wrap(err, "write the task's plan to the target");
}

static int
do_prepare(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    (void)reply;
    const Gw__Table *t = cmd->prepare->table;
    int r = a->ops->prepare(a->self, t, cmd->prepare->generation, err);
    return r == GW_OK ? r : gw_err_wrap(err, "prepare table \"%s%s%s\"", t->schema, t->schema[0] ? "." : "", t->name);
}

static int
do_finish_plan(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    Gw__Steps *steps = gw_pb_new(&a->arena, Gw__Steps, gw__steps__init);
    reply->body_case = GW__REPLY__BODY_STEPS;
    reply->steps = steps;
    return a->ops->finish_plan(a->self, &a->arena, cmd->finish_plan->table, steps, err);
}

static int
do_finish_step(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    (void)reply;
    const Gw__FinishStep *f = cmd->finish_step;
    int r = a->ops->finish_step(a->self, f->table, f->step, f->generation, err);
    return r == GW_OK ? r : gw_err_wrap(err, "make %s", f->step->name);
}

static int
do_set_table(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    (void)reply;
    return a->ops->state_set(a->self, cmd->set_table, err);
}

static int
do_alter(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    (void)reply;
    const Gw__Table *from = cmd->alter->from, *to = cmd->alter->to, *t = to ? to : from;
    if (!a->ops->alter) {
        return gw_err_set(err, GW_CONFIG, NULL, "target engine \"%s\" cannot alter tables", a->ops->name);
    }
    int r = a->ops->alter(a->self, &a->arena, from, to, err);
    if (r == GW_OK && GW_FAULT("apply.altered")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.altered");
    }
    return r == GW_OK ? r : gw_err_wrap(err, "alter table \"%s%s%s\"", t->schema, t->schema[0] ? "." : "", t->name);
}

static int
do_define(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    (void)reply;
    if (!a->ops->state_define) {
        return gw_err_set(err, GW_CONFIG, NULL, "target engine \"%s\" keeps the definitions it began with",
                          a->ops->name);
    }
    int r = a->ops->state_define(a->self, cmd->define->table_id, cmd->define->plan, err);
    if (r == GW_OK && GW_FAULT("apply.defined")) {
        r = gw_err_set(err, GW_RETRY, NULL, "fault point apply.defined");
    }
    return r == GW_OK ? r : gw_err_wrap(err, "write the definition of table %u to the target", cmd->define->table_id);
}

static int
do_complete(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    (void)reply;
    return a->ops->state_complete(a->self, cmd->complete->completed_us, err);
}

static int
do_drop(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    (void)cmd;
    (void)reply;
    return a->ops->state_drop(a->self, err);
}

static const struct {
    Gw__Command__BodyCase body;
    int (*run)(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err);
} jobs[] = {
    {GW__COMMAND__BODY_PREFLIGHT, do_preflight},
    {GW__COMMAND__BODY_LOAD_STATE, do_load_state},
    {GW__COMMAND__BODY_REGISTER, do_register},
    {GW__COMMAND__BODY_PREPARE, do_prepare},
    {GW__COMMAND__BODY_LOAD_CHUNK, gw_apply_load},
    {GW__COMMAND__BODY_FINISH_PLAN, do_finish_plan},
    {GW__COMMAND__BODY_FINISH_STEP, do_finish_step},
    {GW__COMMAND__BODY_SET_TABLE, do_set_table},
    {GW__COMMAND__BODY_COMPLETE, do_complete},
    {GW__COMMAND__BODY_DROP, do_drop},
    {GW__COMMAND__BODY_APPLY_STREAM, gw_apply_stream},
    {GW__COMMAND__BODY_ALTER, do_alter},
    {GW__COMMAND__BODY_DEFINE, do_define},
};

static int
run_job(struct gw_apply *a, const Gw__Command *cmd, Gw__Reply *reply, struct gw_err *err)
{
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        if (jobs[i].body == cmd->body_case) {
            int r = open_target(a, err);
            return r != GW_OK ? r : jobs[i].run(a, cmd, reply, err);
        }
    }
    return gw_err_set(err, GW_BUG, NULL, "apply does not know command %d", (int)cmd->body_case);
}

// Between jobs nobody reads the data socket, and what is left there belongs to streams that are over.
static void
drop_stale_data(struct gw_worker *w)
{
    struct gw_peer peer;
    struct gw_envelope env;
    int r;
    do {
        zmq_msg_t payload;
        zmq_msg_init(&payload);
        r = gw_receive(gw_worker_router(w), gw_worker_task_tag(w), &peer, &env, &payload, NULL);
        zmq_msg_close(&payload);
    } while (r != GW_AGAIN && r != GW_RETRY);
}

static int
apply_run(struct gw_worker *w, struct gw_err *err)
{
    struct gw_apply a = {.w = w};
    gw_arena_init(&a.arena);
    int r;
    for (;;) {
        const Gw__Command *cmd;
        r = gw_worker_next(w, gw_now_us() + 3600 * GW_S, &cmd, err);
        if (r == GW_AGAIN) {
            continue;
        }
        if (r != GW_OK) {
            break;
        }
        gw_arena_reset(&a.arena);
        drop_stale_data(w);
        struct gw_err e = {0};
        Gw__Reply reply = GW__REPLY__INIT;
        reply.job = cmd->job;
        int jr = run_job(&a, cmd, &reply, &e);
        if (jr != GW_OK) {
            reply.body_case = GW__REPLY__BODY__NOT_SET;
            gw_log_err(jr == GW_FENCED || jr == GW_AGAIN ? GW_LOG_INFO : GW_LOG_WARN, &e, "job %" PRIu64, cmd->job);
            close_target(&a); // target.h: after a failure only close is legal; it rolls back
        }
        gw_worker_reply(w, &reply, &e);
    }
    close_target(&a);
    gw_arena_fini(&a.arena);
    return r;
}

const struct gw_stage gw_apply_stage = {
    .id = GW__STAGE__STAGE_APPLY,
    .name = "apply",
    .summary = "writes a target database",
    .receives = true,
    .run = apply_run,
};
