// What is made after the rows: keys, constraints, sequences. One job each, as many at once as there are idle workers.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/co.h"

static void
steps_listed(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    struct table *t = ctx;
    if (co_table_failed(co, t, e)) {
        return;
    }
    if (reply->body_case != GW__REPLY__BODY_STEPS) {
        gw_err_set(e, GW_BUG, NULL, "apply answered without steps");
        co_fail(co, 1, e);
        return;
    }
    t->steps = gw_pb_dup(&co->arena, reply->steps);
    t->steps_rt = gw_arena_calloc(&co->arena, t->steps->n_steps + 1, sizeof *t->steps_rt);
    for (size_t i = 0; i < t->steps->n_steps; i++) {
        if (co->resync) { // everything else is there, whatever was done in this run
            t->steps_rt[i].done = t->steps->steps[i]->phase != GW__STEP_PHASE__STEP_SEQUENCES;
            continue;
        }
        for (size_t k = 0; k < t->plan->n_steps_done; k++) {
            t->steps_rt[i].done = t->steps_rt[i].done || strcmp(t->steps->steps[i]->name, t->plan->steps_done[k]) == 0;
        }
    }
    co_table_set(co, t, T_KEYS);
}

bool
co_send_list_steps(struct co *co, struct table *t)
{
    struct worker *w = co_idle(co, GW__STAGE__STAGE_APPLY);
    if (!w) {
        return false;
    }
    Gw__FinishPlan f = GW__FINISH_PLAN__INIT;
    f.table = t->plan->target;
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_FINISH_PLAN;
    cmd.finish_plan = &f;
    co_send(co, w, &cmd, steps_listed, t, "lists steps of %s.%s", co_schema(t), co_name(t));
    return true;
}

struct step_ctx {
    struct table *table;
    size_t step;
};

static void
step_done(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)reply;
    struct step_ctx sc = *(struct step_ctx *)ctx;
    free(ctx);
    struct table *t = sc.table;
    struct step_rt *rt = &t->steps_rt[sc.step];
    rt->busy = false;
    if (strcmp(e->code, GW_CODE_LOST) == 0 || e->cls == GW_AGAIN) {
        return;
    }
    if (e->cls == GW_RETRY) {
        (void)co_recoverable(co, e, ++rt->failures, &rt->retry_us);
        return;
    }
    if ((e->cls == GW_FENCED || e->cls == GW_CONFIG) && rt->failures++ == 0) {
        co_doubt(co, e);
        return;
    }
    rt->done = true;
    if (e->cls == GW_OK) {
        co_recovered(co);
        gw_info("made %s table=\"%s.%s\"", t->steps->steps[sc.step]->name, co_schema(t), co_name(t));
        return;
    }
    // The rows are there, this object is not. The table's other objects are still made.
    rt->done = true;
    gw_log_err(GW_LOG_ERROR, e, "table \"%s.%s\"", co_schema(t), co_name(t));
    char text[1800];
    snprintf(text, sizeof text, "%s%s%s%s%s", t->reason ? t->reason : "", t->reason ? "; " : "", e->message,
             e->detail[0] ? ": " : "", e->detail);
    t->reason = gw_arena_strdup(&co->arena, text);
}

static void
send_step(struct co *co, struct worker *w, struct table *t, size_t step)
{
    struct step_ctx *sc = malloc(sizeof *sc);
    gw_assert(sc);
    *sc = (struct step_ctx){t, step};
    Gw__FinishStep f = GW__FINISH_STEP__INIT;
    f.table = t->plan->target;
    f.step = t->steps->steps[step];
    f.generation = t->plan->generation;
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_FINISH_STEP;
    cmd.finish_step = &f;
    t->steps_rt[step].busy = true;
    co_send(co, w, &cmd, step_done, sc, "makes %s", f.step->name);
}

static const Gw__StepPhase phase_of[T_STATES] = {
    [T_KEYS] = GW__STEP_PHASE__STEP_KEYS,
    [T_CONSTRAINTS] = GW__STEP_PHASE__STEP_CONSTRAINTS,
    [T_SEQUENCES] = GW__STEP_PHASE__STEP_SEQUENCES,
};

// Rows of several snapshots may break what is unique on the source at any one time; the primary key holds, since chunks
// are cut by it.
static bool
may_run(const struct co *co, const Gw__Step *s)
{
    return !co->streams || co->met || strcmp(s->kind, "primary key") == 0;
}

bool
co_key_steps_done(const struct table *t)
{
    for (size_t i = 0; i < t->steps->n_steps; i++) {
        const Gw__Step *s = t->steps->steps[i];
        if (s->phase == GW__STEP_PHASE__STEP_KEYS && strcmp(s->kind, "primary key") == 0 && !t->steps_rt[i].done) {
            return false;
        }
    }
    return true;
}

// True when nothing of the phase is left for the table.
bool
co_run_steps(struct co *co, struct table *t, struct worker **idle, int64_t now)
{
    bool all = true;
    for (size_t i = 0; i < t->steps->n_steps; i++) {
        struct step_rt *rt = &t->steps_rt[i];
        if (t->steps->steps[i]->phase != phase_of[t->state] || rt->done) {
            continue;
        }
        all = false;
        if (!rt->busy && rt->retry_us <= now && *idle && may_run(co, t->steps->steps[i])) {
            send_step(co, *idle, t, i);
            *idle = co_idle(co, GW__STAGE__STAGE_APPLY);
        }
    }
    return all;
}

void
co_steps_finished(struct co *co, struct table *t)
{
    if (t->state != T_SEQUENCES) {
        co_table_set(co, t, t->state == T_KEYS ? T_CONSTRAINTS : T_SEQUENCES);
    } else if (t->reason) {
        struct gw_err e = {0};
        gw_err_set(&e, GW_DATA, NULL, "the rows are loaded, but not everything could be made: %s", t->reason);
        co_table_error(co, t, &e);
    } else {
        co_table_set(co, t, T_MARK_DONE);
    }
}
