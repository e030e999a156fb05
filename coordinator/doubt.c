// Is the task still ours?
//
// Another godwit may have begun it anew, dropped or ended it while this one hung. A coordinator holds no lock: it learns
// of that from the first reply that was fenced. No new work is given out then, and the target is asked; its word counts.
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "coordinator/co.h"

static const int64_t quiet_us = 5 * GW_S; // what was just settled is not asked again

bool
co_in_doubt(const struct co *co)
{
    return co->doubt.raised;
}

void
co_doubt(struct co *co, const struct gw_err *why)
{
    if (!GW_GUARD("coordinator.doubt") || co->doubt.raised || !co_running(co) ||
        gw_now_us() < co->doubt.quiet_until_us) {
        return;
    }
    gw_log_err(GW_LOG_INFO, why, "task=\"%s\" is it still ours?", co->task->name);
    co->doubt.raised = true;
}

static const Gw__TablePlan *
stored_plan(const Gw__TargetState *s, uint32_t table_id)
{
    for (size_t i = 0; i < s->n_tables; i++) {
        if (s->tables[i]->target->id == table_id) {
            return s->tables[i];
        }
    }
    return NULL;
}

bool
co_plan_is_ours(const struct table *t, const Gw__TargetState *s)
{
    const Gw__TablePlan *mine = t->plan, *stored = stored_plan(s, mine->target->id);
    if (!stored || stored->generation > mine->generation) {
        return false;
    }
    return stored->generation < mine->generation ||
           (stored->n_chunks == mine->n_chunks &&
            (!mine->n_chunks || strcmp(stored->chunks[0]->plan_id, mine->chunks[0]->plan_id) == 0));
}

bool
co_superseded(const struct co *co, const Gw__TargetState *s, struct gw_err *err)
{
    const char *task = co->task->name;
    const char *hint = "one godwit at a time may work on a task: see who else runs it";
    if (!s->exists) {
        gw_err_set(err, GW_CONFIG, NULL, "another godwit has dropped task \"%s\" from the target", task);
    } else if (strcmp(s->task_uuid, co->uuid) != 0) {
        gw_err_set(err, GW_CONFIG, NULL, "another godwit has begun task \"%s\" anew on this target", task);
    } else if (s->completed) {
        gw_err_set(err, GW_CONFIG, NULL, "another godwit has completed task \"%s\" meanwhile", task);
        hint = "run it again: it says what was loaded";
    }
    for (size_t i = 0; err->cls == GW_OK && i < co->tables_n; i++) {
        const struct table *t = &co->tables[i];
        if (!co_plan_is_ours(t, s)) {
            gw_err_set(err, GW_CONFIG, NULL, "another godwit has planned table \"%s.%s\" of task \"%s\" anew",
                       co_schema(t), co_name(t), task);
        }
    }
    if (err->cls == GW_OK) {
        return false;
    }
    gw_err_detail(err, "this one has changed nothing since, and stops");
    gw_err_hint(err, "%s", hint);
    return true;
}

static void
settle(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    co->doubt.busy = false;
    if (!co_running(co) || strcmp(e->code, GW_CODE_LOST) == 0 || e->cls == GW_AGAIN) {
        return; // another is asked
    }
    if (e->cls == GW_RETRY) {
        (void)co_recoverable(co, e, ++co->doubt.failures, &co->doubt.retry_us);
        return;
    }
    if (e->cls == GW_OK && reply->body_case != GW__REPLY__BODY_STATE) {
        gw_err_set(e, GW_BUG, NULL, "apply answered without a state");
    }
    if (e->cls != GW_OK) {
        co_fail(co, e->cls == GW_BUG ? 1 : 2, e);
        return;
    }
    struct gw_err why = {0};
    if (co_superseded(co, reply->state, &why)) {
        co_fail(co, 2, &why);
        return;
    }
    gw_info("task=\"%s\" is still ours", co->task->name);
    co->doubt.raised = false;
    co->doubt.failures = 0;
    co->doubt.quiet_until_us = gw_now_us() + quiet_us;
}

void
co_doubt_tick(struct co *co)
{
    struct worker *w = NULL;
    if (co->doubt.raised && !co->doubt.busy && co_running(co) && co->doubt.retry_us <= gw_now_us()) {
        w = co_idle(co, GW__STAGE__STAGE_APPLY);
    }
    if (!w) {
        return;
    }
    Gw__LoadState load = GW__LOAD_STATE__INIT;
    load.with_plan = true;
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_LOAD_STATE;
    cmd.load_state = &load;
    co->doubt.busy = true;
    co_send(co, w, &cmd, settle, NULL, "asks whose task it is");
}
