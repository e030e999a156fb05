// What is made after the rows. Each step and its record are one transaction.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "apply/targets/sqlite/sqlite_target.h"
#include "common/fault.h"

enum { SQL_MAX = 1024 * 1024 };

static Gw__Step *
add_step(struct gw_arena *a, Gw__Steps *steps, const Gw__Table *table, Gw__StepPhase phase, const char *kind,
         const char *object)
{
    Gw__Step *s = gw_pb_new(a, Gw__Step, gw__step__init);
    s->table_id = table->id;
    s->phase = phase;
    s->kind = gw_arena_strdup(a, kind);
    s->object = gw_arena_strdup(a, object);
    s->name = gw_arena_printf(a, "%s %s", kind, object);
    s->weight = table->rows_estimate;
    gw_pb_add(a, steps, steps, s);
    return s;
}

// Does the table have a UNIQUE constraint over just these columns out of its CREATE text?
static int
constraint_exists(struct lite_target *t, const Gw__Table *table, const Gw__Index *ix, bool *ret, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(t->db, &q, err,
                           "SELECT l.seq, x.seqno, x.name, (SELECT count(*) FROM pragma_index_info(l.name))"
                           " FROM pragma_index_list(?1) l, pragma_index_info(l.name) x"
                           " WHERE l.origin = 'u' ORDER BY l.seq, x.seqno",
                           "t", table->name);
    bool found = false;
    size_t same = 0;
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        size_t i = (size_t)sqlite3_column_int(q, 1);
        const char *name = (const char *)sqlite3_column_text(q, 2);
        same = i == 0 ? 0 : same;
        same += name && i < ix->n_parts && strcasecmp(name, ix->parts[i]->column) == 0;
        found = found || (same == ix->n_parts && (size_t)sqlite3_column_int(q, 3) == same);
    }
    sqlite3_finalize(q);
    if (rc == GW_END) {
        *ret = found;
        rc = GW_OK;
    }
    return rc;
}

static void
put_index(struct gw_buf *sql, const Gw__Table *table, const Gw__Index *ix, const char *name)
{
    gw_buf_printf(sql, "CREATE %sINDEX ", ix->is_unique ? "UNIQUE " : "");
    gw_lite_ident(sql, name);
    gw_buf_puts(sql, " ON ");
    gw_lite_ident(sql, table->name);
    for (size_t i = 0; i < ix->n_parts; i++) {
        const Gw__IndexPart *p = ix->parts[i];
        gw_buf_puts(sql, i ? ", " : " (");
        if (p->column[0]) {
            gw_lite_ident(sql, p->column);
        } else {
            gw_buf_puts(sql, p->expression);
        }
        if (p->collation[0] && strcmp(table->engine, "sqlite") == 0) {
            gw_buf_puts(sql, " COLLATE ");
            gw_lite_ident(sql, p->collation);
        }
        gw_buf_puts(sql, p->descending ? " DESC" : "");
    }
    gw_buf_putc(sql, ')');
    if (ix->predicate[0]) {
        gw_buf_printf(sql, " WHERE %s", ix->predicate);
    }
}

int
lite_finish_plan(void *self, struct gw_arena *a, const Gw__Table *table, Gw__Steps *ret, struct gw_err *err)
{
    struct lite_target *t = self;
    Gw__Steps steps;
    gw__steps__init(&steps);
    struct gw_buf sql;
    gw_buf_init(&sql, SQL_MAX);
    int rc = lite_task_there(t, err);
    for (size_t i = 0; i < table->n_indexes && rc == GW_OK; i++) {
        const Gw__Index *ix = table->indexes[i];
        bool there = false;
        rc = ix->is_constraint ? constraint_exists(t, table, ix, &there, err) : GW_OK;
        if (rc != GW_OK || there || lite_index_refused(table, ix)) {
            continue;
        }
        const char *name = lite_index_name(a, table, ix);
        Gw__Step *s = add_step(a, &steps, table, GW__STEP_PHASE__STEP_KEYS, ix->is_unique ? "unique" : "index", name);
        gw_buf_reset(&sql);
        put_index(&sql, table, ix, name);
        s->sql = gw_arena_strdup(a, sql.data);
    }
    if (rc == GW_OK && table->n_foreign_keys) {
        // The keys are in CREATE TABLE, and were not looked at while rows came in any order.
        Gw__Step *s = add_step(a, &steps, table, GW__STEP_PHASE__STEP_CONSTRAINTS, "foreign key", table->name);
        gw_buf_reset(&sql);
        gw_buf_puts(&sql, "PRAGMA foreign_key_check(");
        gw_lite_ident(&sql, table->name);
        gw_buf_putc(&sql, ')');
        s->sql = gw_arena_strdup(a, sql.data);
    }
    for (size_t i = 0; i < table->n_columns && rc == GW_OK; i++) {
        const Gw__Column *c = table->columns[i];
        if (lite_is_rowid(table, c) && c->identity != GW__IDENTITY__IDENTITY_NONE) {
            add_step(a, &steps, table, GW__STEP_PHASE__STEP_SEQUENCES, "sequence", c->name);
        }
    }
    gw_buf_fini(&sql);
    if (rc == GW_OK) {
        *ret = steps;
    }
    return rc;
}

static int
check_foreign_keys(struct lite_target *t, const Gw__Table *table, const Gw__Step *s, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    uint64_t n = 0;
    char parent[256] = "";
    int rc = gw_lite_query(t->db, &q, err, s->sql, "");
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        if (n++ == 0) {
            snprintf(parent, sizeof parent, "%s", (const char *)sqlite3_column_text(q, 2));
        }
    }
    sqlite3_finalize(q);
    if (rc == GW_END && n) {
        return gw_err_set(err, GW_DATA, "CONSTRAINT",
                          "%llu rows of \"%s\" have no parent; the first of them none in \"%s\"", (unsigned long long)n,
                          table->name, parent);
    }
    return rc == GW_END ? GW_OK : rc;
}

// AUTOINCREMENT goes on behind the greatest number that the source has handed out or that is in the table.
static int
set_sequence(struct lite_target *t, const Gw__Table *table, const Gw__Step *s, struct gw_err *err)
{
    int64_t last = 0, autoincrement = 0;
    for (size_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i]->name, s->object) == 0) {
            last = table->columns[i]->sequence_next > 0 ? table->columns[i]->sequence_next - 1 : 0;
        }
    }
    int is_auto = 0;
    int rc = sqlite3_table_column_metadata(t->db, "main", table->name, s->object, NULL, NULL, NULL, NULL, &is_auto);
    if (rc != SQLITE_OK) {
        return gw_lite_error(t->db, rc, err, "look at column \"%s\"", s->object);
    }
    autoincrement = is_auto;
    if (!autoincrement) {
        return GW_OK; // the next number is the greatest rowid and one, by itself
    }
    struct gw_buf sql;
    gw_buf_init(&sql, SQL_MAX);
    gw_buf_puts(&sql, "SELECT max(");
    gw_lite_ident(&sql, s->object);
    gw_buf_puts(&sql, ") FROM ");
    gw_lite_ident(&sql, table->name);
    int64_t greatest = 0;
    rc = gw_lite_int(t->db, &greatest, 0, err, sql.data);
    gw_buf_fini(&sql);
    last = greatest > last ? greatest : last;
    if (rc == GW_OK) {
        rc = gw_lite_run(t->db, err, "UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1", "ti", table->name,
                         last);
    }
    if (rc == GW_OK && sqlite3_changes(t->db) == 0) {
        rc = gw_lite_run(t->db, err, "INSERT INTO sqlite_sequence VALUES (?1, ?2)", "ti", table->name, last);
    }
    return rc;
}

static int
make(struct lite_target *t, const Gw__Table *table, const Gw__Step *s, struct gw_err *err)
{
    if (s->phase == GW__STEP_PHASE__STEP_CONSTRAINTS) {
        return check_foreign_keys(t, table, s, err);
    }
    if (s->phase == GW__STEP_PHASE__STEP_SEQUENCES) {
        return set_sequence(t, table, s, err);
    }
    // An index of this name on another table is not the one: CREATE INDEX then says that the name is taken.
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(t->db, &q, err,
                           "SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?1 COLLATE NOCASE"
                           " AND tbl_name = ?2 COLLATE NOCASE",
                           "tt", s->object, table->name);
    rc = rc == GW_OK ? gw_lite_step(q, err) : rc;
    sqlite3_finalize(q);
    return rc == GW_END ? gw_lite_exec(t->db, err, s->sql) : rc;
}

static int
step(struct lite_target *t, const Gw__Table *table, const Gw__Step *s, uint32_t generation, struct gw_err *err)
{
    int64_t stored = 0, state = 0;
    int rc = lite_stored(t, table->id, &stored, &state, err);
    if (rc == GW_END || (rc == GW_OK && stored != (int64_t)generation)) {
        return gw_err_set(err, GW_FENCED, NULL, "generation %u is not the table's present one", generation);
    }
    rc = rc == GW_OK ? make(t, table, s, err) : rc;
    if (rc == GW_OK) {
        rc = gw_lite_run(t->db, err, lite_sql(t, "INSERT OR IGNORE INTO $steps VALUES (?1, ?2, ?3, ?4)"), "tiit",
                         t->task->name, (int64_t)table->id, (int64_t)generation, s->name);
    }
    return rc;
}

int
lite_finish_step(void *self, const Gw__Table *table, const Gw__Step *s, uint32_t generation, struct gw_err *err)
{
    struct lite_target *t = self;
    int rc = lite_task_there(t, err);
    rc = rc == GW_OK ? lite_tx_begin(t, err) : rc;
    if (rc == GW_OK) {
        rc = lite_tx_end(t, step(t, table, s, generation, err), err);
    }
    if (rc == GW_OK && GW_FAULT("apply.finish.after_step")) {
        rc = gw_err_set(err, GW_RETRY, NULL, "fault apply.finish.after_step");
    }
    return rc == GW_OK ? GW_OK : gw_err_wrap(err, "make %s", s->name);
}
