// A table's definition takes the place of the one that is stored, under the lock of its row.
#include "common/plan.h"
#include "control.h"

// *ret: the stored plan, NULL if there is none. FENCED if the task is not ours any more.
static int
stored(struct myt *t, struct gw_arena *a, uint32_t table_id, Gw__TablePlan **ret, struct gw_err *err)
{
    MYT_RES r = NULL;
    uint64_t ours = 0;
    int rc = myt_scalar(t, &ours, NULL, err, "SELECT " MYT_OURS, t->task->name, t->task->uuid);
    if (rc == GW_OK && !ours) {
        gw_err_set(err, GW_FENCED, "", "task \"%s\" is gone from the target", t->task->name);
        gw_err_hint(err, MYT_OTHER_GODWIT);
        return GW_FENCED;
    }
    rc = rc == GW_OK ? myt_query(t, &r, err, "SELECT plan FROM $c.tables WHERE task = $l AND table_id = $u FOR UPDATE",
                                 t->task->name, MYT_U(table_id))
                     : rc;
    MYSQL_ROW row = rc == GW_OK ? mysql_fetch_row(r) : NULL;
    if (row) {
        *ret = myt_message(a, &gw__table_plan__descriptor, r, row, 0);
        rc = *ret ? GW_OK : myt_bad_blob(t, "tables", err);
    }
    return rc;
}

// What was loaded, and all of it.
enum { LOADED = 2, ALL = 3 };

static int
forget(struct myt *t, uint32_t table_id, size_t what, struct gw_err *err)
{
    static const char *const tables[ALL] = {"steps", "chunks", "tables"};
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < what; i++) {
        rc = myt_run(t, err, "DELETE FROM $c.$s WHERE task = $l AND table_id = $u", tables[i], t->task->name,
                     MYT_U(table_id));
    }
    return rc;
}

static int
replace(struct myt *t, const Gw__TablePlan *plan, struct gw_err *err)
{
    Gw__TablePlan bare = *plan;
    bare.n_chunks = bare.n_steps_done = 0;
    MYT_BUF sql;
    gw_buf_init(&sql, MYT_SQL_MAX);
    myt_put(t, &sql,
            "UPDATE $c.tables SET state = $u, reason = $l, source_schema = $l, source_table = $l, target_schema = $l,"
            " target_table = $l, had_rows = had_rows OR $u, plan = ",
            MYT_U(plan->state), plan->reason, plan->source->source_schema, plan->source->source_name,
            myt_schema(t, plan->target), plan->target->name, MYT_U(plan->state == GW__TABLE_STATE__STATE_BEFORE_LOAD));
    myt_put_message(&sql, &bare);
    myt_put(t, &sql, " WHERE task = $l AND table_id = $u", t->task->name, MYT_U(plan->source->id));
    return myt_exec(t, &sql, err);
}

static int
define(struct myt *t, uint32_t table_id, const Gw__TablePlan *plan, struct gw_err *err)
{
    MYT_ARENA a;
    gw_arena_init(&a);
    Gw__TablePlan *there = NULL;
    int rc = stored(t, &a, table_id, &there, err);
    if (rc != GW_OK) {
        return rc;
    }
    if (!plan) {
        return forget(t, table_id, ALL, err);
    }
    if (!there) {
        return myt_insert_table(t, plan, err);
    }
    rc = gw_plan_follows(there, plan, err);
    bool anew = plan->state == GW__TABLE_STATE__STATE_BEFORE_LOAD;
    rc = rc == GW_OK && anew ? forget(t, table_id, LOADED, err) : rc;
    return rc == GW_OK ? replace(t, plan, err) : rc;
}

int
myt_state_define(void *self, uint32_t table_id, const Gw__TablePlan *plan, struct gw_err *err)
{
    struct myt *t = self;
    int rc = myt_begin(t, err);
    rc = rc == GW_OK ? define(t, table_id, plan, err) : rc;
    rc = rc == GW_OK ? myt_commit(t, err) : rc;
    return myt_end(t, rc);
}
