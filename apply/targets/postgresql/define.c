// A table's definition takes the place of the one that is stored, under the lock of its row.
#include "common/plan.h"
#include "control.h"

// *ret: the stored plan, NULL if there is none. FENCED if the task is not ours any more.
static int
stored(struct pgt *t, struct gw_arena *a, uint32_t table_id, Gw__TablePlan **ret, struct gw_err *err)
{
    struct pgt_num id;
    const char *p[] = {t->task->name, t->task->uuid, pgt_num(&id, table_id)};
    PGT_RES r = NULL;
    int rc =
        pgt_query(t, &r, err, 2, p, "SELECT FROM %s.tasks WHERE task = $1 AND task_uuid = $2 FOR KEY SHARE", t->ctl);
    if (rc == GW_OK && PQntuples(r) == 0) {
        gw_err_set(err, GW_FENCED, "", "task \"%s\" is gone from the target", t->task->name);
        gw_err_hint(err, PGT_OTHER_GODWIT);
        return GW_FENCED;
    }
    const char *q[] = {p[0], p[2]};
    rc = rc == GW_OK ? pgt_query(t, &r, err, 2, q,
                                 "SELECT plan FROM %s.tables WHERE task = $1 AND table_id = $2 FOR UPDATE", t->ctl)
                     : rc;
    if (rc == GW_OK && PQntuples(r) == 1) {
        *ret = pgt_message(a, &gw__table_plan__descriptor, r, 0, 0);
        rc = *ret ? GW_OK : pgt_bad_blob(t, "tables", err);
    }
    return rc;
}

// What was loaded, and all of it.
enum { LOADED = 2, ALL = 3 };

static int
forget(struct pgt *t, uint32_t table_id, size_t what, struct gw_err *err)
{
    struct pgt_num id;
    const char *p[] = {t->task->name, pgt_num(&id, table_id)};
    static const char *const tables[ALL] = {"steps", "chunks", "tables"};
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < what; i++) {
        rc = pgt_affect(t, NULL, err, 2, p, "DELETE FROM %s.%s WHERE task = $1 AND table_id = $2", t->ctl, tables[i]);
    }
    return rc;
}

static int
replace(struct pgt *t, const Gw__TablePlan *plan, struct gw_err *err)
{
    Gw__TablePlan bare = *plan;
    bare.n_chunks = bare.n_steps_done = 0;
    PGT_ARENA a;
    gw_arena_init(&a);
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_printf(&sql, "UPDATE %s.tables SET state = %d, reason = ", t->ctl, (int)plan->state);
    gw_pg_literal(&sql, plan->reason);
    const struct {
        const char *column, *value;
    } names[] = {{"source_schema", plan->source->source_schema},
                 {"source_table", plan->source->source_name},
                 {"target_schema", pgt_clip(&a, pgt_schema(plan->target))},
                 {"target_table", pgt_clip(&a, plan->target->name)}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        gw_buf_printf(&sql, ", %s = ", names[i].column);
        gw_pg_literal(&sql, names[i].value);
    }
    if (plan->state == GW__TABLE_STATE__STATE_BEFORE_LOAD) {
        gw_buf_puts(&sql, ", had_rows = true");
    }
    gw_buf_puts(&sql, ", plan = ");
    pgt_put_bytes(&sql, &bare);
    gw_buf_puts(&sql, " WHERE task = ");
    gw_pg_literal(&sql, t->task->name);
    gw_buf_printf(&sql, " AND table_id = %u", plan->source->id);
    return pgt_exec(t, &sql, err);
}

static int
define(struct pgt *t, uint32_t table_id, const Gw__TablePlan *plan, struct gw_err *err)
{
    PGT_ARENA a;
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
        return pgt_insert_table(t, plan, err);
    }
    rc = gw_plan_follows(there, plan, err);
    bool anew = plan->state == GW__TABLE_STATE__STATE_BEFORE_LOAD;
    rc = rc == GW_OK && anew ? forget(t, table_id, LOADED, err) : rc;
    return rc == GW_OK ? replace(t, plan, err) : rc;
}

int
pgt_state_define(void *self, uint32_t table_id, const Gw__TablePlan *plan, struct gw_err *err)
{
    struct pgt *t = self;
    int rc = pgt_begin(t, err);
    rc = rc == GW_OK ? define(t, table_id, plan, err) : rc;
    rc = rc == GW_OK ? pgt_commit(t, err) : rc;
    return pgt_end(t, rc);
}
