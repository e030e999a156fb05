// Moving a table's state, and the end of the task.
//
// Every change is conditional on what is stored, under the row's lock.
#include <string.h>

#include "common/fault.h"
#include "common/plan.h"
#include "control.h"

// *ret: the stored chunks of the generation are these.
static int
same_plan(struct myt *t, const Gw__SetTable *set, bool *ret, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT no, plan FROM $c.chunks WHERE task = $l AND table_id = $u AND generation = $u"
                       " ORDER BY no",
                       t->task->name, MYT_U(set->table_id), MYT_U(set->generation));
    if (rc != GW_OK) {
        return rc;
    }
    bool same = mysql_num_rows(r) == set->n_chunks;
    MYT_ARENA a;
    gw_arena_init(&a);
    for (size_t i = 0; same && i < set->n_chunks; i++) {
        MYSQL_ROW row = mysql_fetch_row(r);
        Gw__Chunk plan = gw_plan_part(set->chunks[i]);
        size_t n = gw__chunk__get_packed_size(&plan);
        uint8_t *bytes = gw_arena_alloc(&a, n + 1);
        gw__chunk__pack(&plan, bytes);
        same = row && row[1] && myt_u64(row, 0) == set->chunks[i]->no && mysql_fetch_lengths(r)[1] == n &&
               memcmp(row[1], bytes, n) == 0;
        gw_arena_reset(&a);
    }
    *ret = same;
    return GW_OK;
}

// The table starts over: what the old chunks refused and made is void, what they wrote is still in the table. Whoever
// commits a chunk holds the table's row until then, as we do now: nothing becomes durable behind our back.
static int
replace_chunks(struct myt *t, const Gw__SetTable *set, struct gw_err *err)
{
    const char *task = t->task->name;
    uint64_t id = set->table_id;
    int rc = myt_run(t, err,
                     "UPDATE $c.tables t SET had_rows = had_rows OR EXISTS (SELECT 1 FROM"
                     " $c.chunks c WHERE c.task = t.task AND c.table_id = t.table_id"
                     " AND c.state = 1 AND c.rows_written > 0), one_snapshot = $u"
                     " WHERE task = $l AND table_id = $u",
                     MYT_U(set->one_snapshot), task, id);
    rc = rc == GW_OK ? myt_run(t, err, "DELETE FROM $c.chunks WHERE task = $l AND table_id = $u", task, id) : rc;
    rc = rc == GW_OK ? myt_run(t, err, "DELETE FROM $c.steps WHERE task = $l AND table_id = $u", task, id) : rc;
    rc = rc == GW_OK ? myt_run(t, err,
                               // one table only: the form with several wants a default database
                               "DELETE FROM $c.exceptions WHERE task = $l AND"
                               " (source_schema, source_table, target_schema, target_table) ="
                               " (SELECT source_schema, source_table, target_schema, target_table"
                               " FROM $c.tables WHERE task = $l AND table_id = $u)",
                               task, task, id)
                     : rc;
    return rc == GW_OK ? myt_insert_chunks(t, set->table_id, set->generation, set->n_chunks, set->chunks, err) : rc;
}

// The same order twice must not throw away what was loaded in between, and of two orders one must win. The chunks stay;
// claims that were made since are void, and their connections known to the next to come.
static int
repeat_order(struct myt *t, const Gw__SetTable *set, bool durable, struct gw_err *err)
{
    bool same = false;
    int rc = same_plan(t, set, &same, err);
    if (rc == GW_OK && (!same || durable)) {
        gw_err_set(err, GW_FENCED, "", "generation %u is planned already", set->generation);
        gw_err_hint(err, MYT_OTHER_GODWIT);
        return GW_FENCED;
    }
    return rc == GW_OK ? myt_run(t, err,
                                 "UPDATE $c.chunks SET epoch = epoch + 1 WHERE task = $l AND table_id = $u"
                                 " AND generation = $u",
                                 t->task->name, MYT_U(set->table_id), MYT_U(set->generation))
                       : rc;
}

// A server that was restored, or failed over to a replica that lagged behind, has forgotten commits that it once
// confirmed: what it holds now decides.
static int
all_durable(struct myt *t, const Gw__SetTable *set, uint32_t stored, struct gw_err *err)
{
    uint64_t open = 0;
    int rc = myt_scalar(t, &open, NULL, err,
                        "SELECT COUNT(*) FROM $c.chunks WHERE task = $l AND table_id = $u AND generation = $u"
                        " AND state <> 1",
                        t->task->name, MYT_U(set->table_id), MYT_U(set->generation));
    if (rc == GW_OK && (open > 0 || stored != set->generation || set->replace_chunks) &&
        GW_GUARD("apply.all_durable")) {
        gw_err_set(err, GW_FENCED, "", "the target has taken back chunks that were durable");
        gw_err_hint(err, "was it restored or failed over? run the task again: it loads what is missing");
        return GW_FENCED;
    }
    return rc;
}

static int
set_table(struct myt *t, const Gw__SetTable *set, struct gw_err *err)
{
    struct myt_table_row row = {0};
    int rc = myt_table_lock(t, set->table_id, &row, err);
    if (rc != GW_OK) {
        return rc;
    }
    if (row.generation > set->generation) {
        return gw_err_set(err, GW_FENCED, "", "generation %u is stored, newer than %u", row.generation,
                          set->generation);
    }
    if (set->state == GW__TABLE_STATE__STATE_LOADED || set->state == GW__TABLE_STATE__STATE_COMPLETED) {
        rc = all_durable(t, set, row.generation, err);
    }
    if (rc == GW_OK && set->replace_chunks) {
        rc = row.generation == set->generation ? repeat_order(t, set, row.durable, err) : replace_chunks(t, set, err);
    }
    return rc == GW_OK
               ? myt_run(t, err,
                         "UPDATE $c.tables SET generation = $u, state = $u, reason = $l"
                         " WHERE task = $l AND table_id = $u",
                         MYT_U(set->generation), MYT_U(set->state), set->reason, t->task->name, MYT_U(set->table_id))
               : rc;
}

int
myt_state_set(void *self, const Gw__SetTable *set, struct gw_err *err)
{
    struct myt *t = self;
    int rc = myt_begin(t, err);
    rc = rc == GW_OK ? set_table(t, set, err) : rc;
    rc = rc == GW_OK ? myt_commit(t, err) : rc;
    rc = rc == GW_OK ? myt_fault("apply.state_set.after_commit", err) : rc;
    if (myt_end(t, rc) != GW_OK) {
        return gw_err_wrap(err, "set the state of table %u", set->table_id);
    }
    return GW_OK;
}

int
myt_state_complete(void *self, int64_t completed_us, struct gw_err *err)
{
    struct myt *t = self;
    uint64_t n = 0;
    // The first completion stays: a repeated order is not a new fact.
    int rc = myt_affect(t, &n, err,
                        "UPDATE $c.tasks SET completed_us = COALESCE(completed_us, $d) WHERE task = $l"
                        " AND task_uuid = $l AND NOT EXISTS (SELECT 1 FROM $c.tables b WHERE b.task = $l"
                        " AND b.state NOT IN ($u, $u))",
                        completed_us, t->task->name, t->task->uuid, t->task->name,
                        MYT_U(GW__TABLE_STATE__STATE_COMPLETED), MYT_U(GW__TABLE_STATE__STATE_ERROR));
    if (rc == GW_OK && n != 1) {
        gw_err_set(err, GW_FENCED, "", "task \"%s\" is not complete on the target, or is gone", t->task->name);
        gw_err_hint(err, MYT_OTHER_GODWIT);
        return GW_FENCED;
    }
    return rc == GW_OK ? rc : gw_err_wrap(err, "complete task \"%s\"", t->task->name);
}
