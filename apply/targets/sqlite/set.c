// Moving a table's state, and the end of the task. Every change is conditional on what is stored.
#include <string.h>

#include "apply/targets/sqlite/sqlite_target.h"
#include "common/fault.h"
#include "common/plan.h"

// *ret: the stored chunks of the generation are these, and nothing of them is durable.
static int
same_plan(struct lite_target *t, const Gw__SetTable *set, bool *ret, struct gw_err *err)
{
    struct gw_arena a;
    gw_arena_init(&a);
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(t->db, &q, err,
                           lite_sql(t, "SELECT plan, no, state FROM $chunks WHERE task = ?1"
                                       " AND table_id = ?2 AND generation = ?3 ORDER BY no"),
                           "tii", t->task->name, (int64_t)set->table_id, (int64_t)set->generation);
    size_t n = 0;
    bool same = true;
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        same = same && n < set->n_chunks && sqlite3_column_int64(q, 1) == set->chunks[n]->no &&
               sqlite3_column_int(q, 2) == 0 && lite_is_plan(&a, q, 0, set->chunks[n]);
        gw_arena_reset(&a);
        n++;
    }
    sqlite3_finalize(q);
    gw_arena_fini(&a);
    *ret = same && n == set->n_chunks;
    return rc == GW_END ? GW_OK : rc;
}

// The table starts over.
static int
replace_chunks(struct lite_target *t, const Gw__SetTable *set, struct gw_err *err)
{
    int rc =
        gw_lite_run(t->db, err, lite_sql(t, "UPDATE $tables SET one_snapshot = ?3 WHERE task = ?1 AND table_id = ?2"),
                    "tii", t->task->name, (int64_t)set->table_id, (int64_t)set->one_snapshot);
    if (rc == GW_OK) {
        rc = gw_lite_run(t->db, err, lite_sql(t, "DELETE FROM $chunks WHERE task = ?1 AND table_id = ?2"), "ti",
                         t->task->name, (int64_t)set->table_id);
    }
    if (rc == GW_OK) { // what the old chunks refused is void
        rc = gw_lite_run(t->db, err,
                         lite_sql(t, "DELETE FROM $exceptions WHERE task = ?1 AND"
                                     " (source_schema, source_table, target_schema, target_table) ="
                                     " (SELECT source_schema, source_table, target_schema, target_table"
                                     " FROM $tables WHERE task = ?1 AND table_id = ?2)"),
                         "ti", t->task->name, (int64_t)set->table_id);
    }
    return rc == GW_OK ? lite_insert_chunks(t, set->table_id, set->generation, set->chunks, set->n_chunks, err) : rc;
}

// The same order again. Its chunks stay; claims that were made since are void.
static int
repeat_order(struct lite_target *t, const Gw__SetTable *set, struct gw_err *err)
{
    bool same = false;
    int rc = same_plan(t, set, &same, err);
    if (rc == GW_OK && !same) {
        gw_err_set(err, GW_FENCED, NULL, "generation %u of table %u is planned already", set->generation,
                   set->table_id);
        gw_err_hint(err, LITE_OTHER_GODWIT);
        return GW_FENCED;
    }
    return rc == GW_OK ? gw_lite_run(t->db, err,
                                     lite_sql(t, "UPDATE $chunks SET epoch = epoch + 1 WHERE task = ?1"
                                                 " AND table_id = ?2 AND generation = ?3"),
                                     "tii", t->task->name, (int64_t)set->table_id, (int64_t)set->generation)
                       : rc;
}

// A file that was restored has forgotten commits that it once confirmed: what it holds now decides.
static int
all_durable(struct lite_target *t, const Gw__SetTable *set, int64_t stored, struct gw_err *err)
{
    int64_t there = 0;
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(t->db, &q, err,
                           lite_sql(t, "SELECT count(*) FROM $chunks WHERE task = ?1 AND table_id = ?2"
                                       " AND generation = ?3 AND state = 0"),
                           "tii", t->task->name, (int64_t)set->table_id, (int64_t)set->generation);
    if (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        there = sqlite3_column_int64(q, 0);
    }
    sqlite3_finalize(q);
    if (rc == GW_OK && (there > 0 || stored != set->generation || set->replace_chunks) &&
        GW_GUARD("apply.all_durable")) {
        gw_err_set(err, GW_FENCED, NULL, "the target has taken back chunks of table %u that were durable",
                   set->table_id);
        gw_err_hint(err, "was the file restored? run the task again: it loads what is missing");
        return GW_FENCED;
    }
    return rc;
}

static int
set_table(struct lite_target *t, const Gw__SetTable *set, struct gw_err *err)
{
    int64_t stored = 0, state = 0;
    int rc = lite_stored(t, set->table_id, &stored, &state, err);
    if (rc == GW_END || (rc == GW_OK && stored > set->generation)) {
        return gw_err_set(err, GW_FENCED, NULL, "generation %u of table %u is not the newest", set->generation,
                          set->table_id);
    }
    if (rc == GW_OK &&
        (set->state == GW__TABLE_STATE__STATE_LOADED || set->state == GW__TABLE_STATE__STATE_COMPLETED)) {
        rc = all_durable(t, set, stored, err);
    }
    if (rc == GW_OK && set->replace_chunks) {
        rc = stored == set->generation ? repeat_order(t, set, err) : replace_chunks(t, set, err);
    }
    return rc == GW_OK ? gw_lite_run(t->db, err,
                                     lite_sql(t, "UPDATE $tables SET state = ?3, reason = ?4, generation = ?5"
                                                 " WHERE task = ?1 AND table_id = ?2"),
                                     "tiiti", t->task->name, (int64_t)set->table_id, (int64_t)set->state, set->reason,
                                     (int64_t)set->generation)
                       : rc;
}

int
lite_state_set(void *self, const Gw__SetTable *set, struct gw_err *err)
{
    struct lite_target *t = self;
    int rc = lite_begin_on_task(t, err);
    return rc == GW_OK ? lite_tx_end(t, set_table(t, set, err), err) : rc;
}

int
lite_state_complete(void *self, int64_t completed_us, struct gw_err *err)
{
    struct lite_target *t = self;
    int rc = lite_begin_on_task(t, err);
    if (rc != GW_OK) {
        return rc;
    }
    // The first completion stays: a repeated order is not a new fact.
    rc = gw_lite_run(
        t->db, err,
        lite_sql(t, "UPDATE $tasks SET completed_us = CASE completed_us WHEN 0 THEN ?2 ELSE"
                    " completed_us END WHERE task = ?1 AND task_uuid = ?5 AND NOT EXISTS (SELECT 1 FROM $tables b"
                    " WHERE b.task = ?1 AND b.state NOT IN (?3, ?4))"),
        "tiiit", t->task->name, completed_us, (int64_t)GW__TABLE_STATE__STATE_COMPLETED,
        (int64_t)GW__TABLE_STATE__STATE_ERROR, t->task->uuid);
    if (rc == GW_OK && sqlite3_changes(t->db) != 1) {
        rc = gw_err_set(err, GW_FENCED, NULL, "task \"%s\" is not complete on the target, or is gone", t->task->name);
        gw_err_hint(err, LITE_OTHER_GODWIT);
    }
    return lite_tx_end(t, rc, err);
}
