// A table's definition takes the place of the one that is stored.
#include <stdio.h>

#include "apply/targets/sqlite/sqlite_target.h"
#include "common/plan.h"

static int
stored(struct lite_target *t, struct gw_arena *a, uint32_t table_id, Gw__TablePlan **ret, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(t->db, &q, err, lite_sql(t, "SELECT plan FROM $tables WHERE task = ?1 AND table_id = ?2"),
                           "ti", t->task->name, (int64_t)table_id);
    if (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        *ret = gw__table_plan__unpack(gw_arena_pb(a), (size_t)sqlite3_column_bytes(q, 0), sqlite3_column_blob(q, 0));
        rc = *ret ? GW_OK : lite_damaged(t, err);
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

// What was loaded, and all of it.
enum { LOADED = 2, ALL = 3 };

static int
forget(struct lite_target *t, uint32_t table_id, size_t what, struct gw_err *err)
{
    static const char *const tables[ALL] = {"steps", "chunks", "tables"};
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < what; i++) {
        char sql[128];
        snprintf(sql, sizeof sql, "DELETE FROM $%s WHERE task = ?1 AND table_id = ?2%s", tables[i],
                 i == 0 && what == LOADED ? " AND name NOT LIKE 'prepared:%'" : ""); // whose rows were there before
        rc = gw_lite_run(t->db, err, lite_sql(t, sql), "ti", t->task->name, (int64_t)table_id);
    }
    return rc;
}

static int
replace(struct lite_target *t, struct gw_arena *a, const Gw__TablePlan *plan, struct gw_err *err)
{
    Gw__TablePlan bare = *plan;
    bare.n_chunks = bare.n_steps_done = 0;
    uint8_t *bytes = NULL;
    size_t len = lite_pack(a, &bare.base, &bytes);
    return gw_lite_run(t->db, err,
                       lite_sql(t, "UPDATE $tables SET state = ?3, reason = ?4, plan = ?5, source_schema = ?6,"
                                   " source_table = ?7, target_schema = ?8, target_table = ?9"
                                   " WHERE task = ?1 AND table_id = ?2"),
                       "tiitbtttt", t->task->name, (int64_t)plan->source->id, (int64_t)plan->state, plan->reason, bytes,
                       len, plan->source->source_schema, plan->source->source_name, plan->target->schema,
                       plan->target->name);
}

static int
define(struct lite_target *t, struct gw_arena *a, uint32_t table_id, const Gw__TablePlan *plan, struct gw_err *err)
{
    Gw__TablePlan *there = NULL;
    int rc = stored(t, a, table_id, &there, err);
    if (rc != GW_OK) {
        return rc;
    }
    if (!plan) {
        return forget(t, table_id, ALL, err);
    }
    if (!there) {
        return lite_insert_table(t, plan, err);
    }
    rc = gw_plan_follows(there, plan, err);
    bool anew = plan->state == GW__TABLE_STATE__STATE_BEFORE_LOAD;
    rc = rc == GW_OK && anew ? forget(t, table_id, LOADED, err) : rc;
    return rc == GW_OK ? replace(t, a, plan, err) : rc;
}

int
lite_state_define(void *self, uint32_t table_id, const Gw__TablePlan *plan, struct gw_err *err)
{
    struct lite_target *t = self;
    struct gw_arena a;
    gw_arena_init(&a);
    int rc = lite_begin_as_ours(t, err);
    rc = rc == GW_OK ? lite_tx_end(t, define(t, &a, table_id, plan, err), err) : rc;
    gw_arena_fini(&a);
    return rc;
}
