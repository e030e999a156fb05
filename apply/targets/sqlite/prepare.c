// A table made ready for the rows of a generation.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "apply/targets/sqlite/sqlite_target.h"
#include "common/fault.h"

enum { SQL_MAX = 16 * 1024 * 1024 };

struct finder {
    struct lite_target *t;
    struct gw_arena *a;
    int rc;
    struct gw_err *err;
};

// A table of the task by its name on the target, out of the registered plan.
static const Gw__Table *
find_parent(void *arg, const char *name)
{
    struct finder *f = arg;
    sqlite3_stmt *q = NULL;
    const Gw__Table *found = NULL;
    int rc = gw_lite_query(f->t->db, &q, f->err,
                           lite_sql(f->t, "SELECT plan FROM $tables WHERE task = ?1"
                                          " AND target_table = ?2 COLLATE NOCASE"),
                           "tt", f->t->task->name, name);
    rc = rc == GW_OK ? gw_lite_step(q, f->err) : rc;
    if (rc == GW_OK) {
        Gw__TablePlan *p =
            gw__table_plan__unpack(gw_arena_pb(f->a), (size_t)sqlite3_column_bytes(q, 0), sqlite3_column_blob(q, 0));
        found = p ? p->target : NULL;
    } else if (rc != GW_END) {
        f->rc = rc;
    }
    sqlite3_finalize(q);
    return found;
}

// Are the file's columns the ones of the table, in any case of letters?
static int
columns_match(struct lite_target *t, const Gw__Table *table, bool *ret, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    size_t n = 0, same = 0;
    int rc = gw_lite_query(t->db, &q, err,
                           "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden <> 1"
                           " ORDER BY cid",
                           "t", table->name);
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        same += n < table->n_columns && strcmp((const char *)sqlite3_column_text(q, 0), table->columns[n]->name) == 0;
        n++;
    }
    sqlite3_finalize(q);
    if (rc == GW_END) {
        *ret = n == table->n_columns && same == n;
        rc = GW_OK;
    }
    return rc;
}

static int
create(struct lite_target *t, const Gw__Table *table, struct gw_err *err)
{
    struct gw_arena a;
    gw_arena_init(&a);
    struct finder f = {.t = t, .a = &a, .err = err};
    struct lite_parents parents = {.find = find_parent, .arg = &f};
    bool native = lite_native_text(table, &parents);
    struct gw_buf sql;
    gw_buf_init(&sql, SQL_MAX);
    lite_create_table(&sql, table, &parents, native);
    int rc = f.rc == GW_OK ? gw_lite_exec(t->db, err, sql.data) : f.rc;
    bool match = true;
    if (rc == GW_OK && native) {
        rc = columns_match(t, table, &match, err);
    }
    if (rc == GW_OK && !match) {
        // A column was left out of the task: the text does not know.
        gw_buf_reset(&sql);
        gw_buf_puts(&sql, "DROP TABLE ");
        gw_lite_ident(&sql, table->name);
        gw_buf_puts(&sql, ";");
        lite_create_table(&sql, table, &parents, false);
        rc = f.rc == GW_OK ? gw_lite_exec(t->db, err, sql.data) : f.rc;
    }
    gw_buf_fini(&sql);
    gw_arena_fini(&a);
    return rc;
}

static int
run_on_table(struct lite_target *t, const char *verb, const char *name, struct gw_err *err)
{
    struct gw_buf sql;
    gw_buf_init(&sql, 64 * 1024);
    gw_buf_printf(&sql, "%s ", verb);
    gw_lite_ident(&sql, name);
    int rc = gw_lite_exec(t->db, err, sql.data);
    gw_buf_fini(&sql);
    return rc;
}

// DO_NOTHING keeps rows that were there before the task. As long as no row of the task was durable, those are all that there
// are; afterwards it is known which ones they are only if there were none. So what was there is recorded with
// the generation that found it.
static int
prepare_kept(struct lite_target *t, const Gw__Table *table, uint32_t generation, bool exists, struct gw_err *err)
{
    int64_t first = 0, empty = 0, untouched = 0;
    sqlite3_stmt *q = NULL;
    int rc =
        gw_lite_query(t->db, &q, err,
                      lite_sql(t, "SELECT count(*) = 0, max(name = 'prepared: empty'), max(generation = ?3) FROM $steps"
                                  " WHERE task = ?1 AND table_id = ?2 AND name LIKE 'prepared:%'"),
                      "tii", t->task->name, (int64_t)table->id, (int64_t)generation);
    if (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        untouched = sqlite3_column_int(q, 2); // claim has seen that no chunk of this generation is durable
        first = sqlite3_column_int(q, 0);
        empty = sqlite3_column_int(q, 1);
    }
    sqlite3_finalize(q);
    int64_t has_rows = 0;
    if (rc == GW_OK && exists) {
        struct gw_buf sql;
        gw_buf_init(&sql, 64 * 1024);
        gw_buf_puts(&sql, "SELECT EXISTS (SELECT 1 FROM ");
        gw_lite_ident(&sql, table->name);
        gw_buf_puts(&sql, ")");
        rc = gw_lite_int(t->db, &has_rows, 0, err, sql.data);
        gw_buf_fini(&sql);
    }
    if (rc == GW_OK && !exists) {
        rc = create(t, table, err);
    } else if (rc == GW_OK && !first && empty) {
        rc = run_on_table(t, "DELETE FROM", table->name, err);
    } else if (rc == GW_OK && !first && has_rows && !untouched) {
        gw_err_set(err, GW_CONFIG, NULL, "table \"%s\" has to start over, and held rows before the task", table->name);
        gw_err_hint(err, "TargetTablePrepMode DO_NOTHING keeps them: remove the rows of this task by hand, "
                         "or choose another mode");
        return GW_CONFIG;
    }
    if (rc == GW_OK && first) {
        rc = gw_lite_run(t->db, err, lite_sql(t, "INSERT INTO $steps VALUES (?1, ?2, ?3, ?4)"), "tiit", t->task->name,
                         (int64_t)table->id, (int64_t)generation, has_rows ? "prepared: kept" : "prepared: empty");
    }
    return rc;
}

static int
make_ready(struct lite_target *t, const Gw__Table *table, uint32_t generation, struct gw_err *err)
{
    Gw__PrepMode mode = t->task->load ? t->task->load->prep_mode : GW__PREP_MODE__DO_NOTHING;
    bool exists = false;
    int rc = lite_exists(t, "table", table->name, &exists, err);
    if (rc == GW_OK && mode == GW__PREP_MODE__DO_NOTHING) {
        rc = prepare_kept(t, table, generation, exists, err);
    } else if (rc == GW_OK && mode == GW__PREP_MODE__TRUNCATE_BEFORE_LOAD && exists) {
        rc = run_on_table(t, "DELETE FROM", table->name, err);
    } else if (rc == GW_OK) {
        rc = exists ? run_on_table(t, "DROP TABLE", table->name, err) : GW_OK;
        rc = rc == GW_OK ? create(t, table, err) : rc;
    }
    if (rc == GW_OK) {
        rc = gw_lite_run(t->db, err,
                         lite_sql(t, "UPDATE $tables SET state = ?3, reason = '' WHERE task = ?1"
                                     " AND table_id = ?2 AND generation = ?4"),
                         "tiii", t->task->name, (int64_t)table->id, (int64_t)GW__TABLE_STATE__STATE_LOADING,
                         (int64_t)generation);
    }
    if (rc == GW_OK && sqlite3_changes(t->db) != 1) {
        rc = gw_err_set(err, GW_FENCED, NULL, "the table was taken over by a newer generation");
    }
    return rc;
}

// CLEARING, unless somebody is ahead: a newer generation, or rows of this one that are durable.
static int
claim(struct lite_target *t, const Gw__Table *table, uint32_t generation, struct gw_err *err)
{
    int64_t stored = 0, state = 0;
    int rc = lite_stored(t, table->id, &stored, &state, err);
    if (rc == GW_END || (rc == GW_OK && stored > (int64_t)generation && GW_GUARD("apply.generation"))) {
        return gw_err_set(err, GW_FENCED, NULL,
                          rc == GW_END ? "it is not in the task any more" : "a newer generation of it was begun");
    }
    sqlite3_stmt *q = NULL;
    rc = rc == GW_OK ? gw_lite_query(t->db, &q, err,
                                     lite_sql(t, "SELECT 1 FROM $chunks WHERE task = ?1 AND table_id = ?2"
                                                 " AND generation = ?3 AND state = 1 LIMIT 1"),
                                     "tii", t->task->name, (int64_t)table->id, (int64_t)generation)
                     : rc;
    rc = rc == GW_OK ? gw_lite_step(q, err) : rc;
    sqlite3_finalize(q);
    if (rc == GW_OK) {
        return gw_err_set(err, GW_FENCED, NULL, "rows of generation %u are durable in it", generation);
    }
    return rc == GW_END ? gw_lite_run(t->db, err,
                                      lite_sql(t, "UPDATE $tables SET state = ?3, generation = ?4 WHERE task = ?1"
                                                  " AND table_id = ?2"),
                                      "tiii", t->task->name, (int64_t)table->id,
                                      (int64_t)GW__TABLE_STATE__STATE_CLEARING, (int64_t)generation)
                        : rc;
}

int
lite_prepare(void *self, const Gw__Table *table, uint32_t generation, struct gw_err *err)
{
    struct lite_target *t = self;
    int rc = lite_task_there(t, err);
    rc = rc == GW_OK ? lite_tx_begin(t, err) : rc;
    if (rc == GW_OK) {
        rc = lite_tx_end(t, claim(t, table, generation, err), err);
    }
    if (rc == GW_OK && GW_FAULT("apply.prepare.cleared")) {
        rc = gw_err_set(err, GW_RETRY, NULL, "fault apply.prepare.cleared");
    }
    // DDL is transactional here: the table and its state LOADING are committed together.
    rc = rc == GW_OK ? lite_tx_begin(t, err) : rc;
    if (rc == GW_OK) {
        // Between the two transactions somebody else may have done the same, and loaded rows.
        rc = claim(t, table, generation, err);
        rc = rc == GW_OK ? make_ready(t, table, generation, err) : rc;
        rc = lite_tx_end(t, rc, err);
    }
    if (rc == GW_OK && GW_FAULT("apply.prepare.after")) {
        rc = gw_err_set(err, GW_RETRY, NULL, "fault apply.prepare.after");
    }
    return rc == GW_OK ? GW_OK : gw_err_wrap(err, "prepare table \"%s\"", table->name);
}
