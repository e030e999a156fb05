// Making one finish step, unless it is there already, and recording it.
//
// DDL commits by itself, so a step is: look what is there, make what is missing, prove it, record it. A crash in between
// leaves a thing that is there and not recorded, which the next run finds. A foreign key is made without a check of the
// rows (with it, the server copies the table), which holds new rows to it at once; then the old rows are proved by a join;
// only then it is recorded.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "control.h"
#include "finish.h"

struct job {
    struct myt *t;
    const Gw__Table *table;
    const Gw__Step *step;
    uint32_t generation;
    enum myt_made made;
    struct gw_arena *a;
};

static int
not_stored(struct job *j, struct gw_err *err)
{
    return gw_err_set(err, GW_FENCED, "", "generation %u is not the stored one", j->generation);
}

static int
record(struct job *j, struct gw_err *err)
{
    struct myt *t = j->t;
    struct myt_table_row row = {0};
    int rc = myt_begin(t, err);
    rc = rc == GW_OK ? myt_table_lock(t, j->table->id, &row, err) : rc;
    if (rc == GW_OK && row.generation != j->generation) {
        rc = not_stored(j, err);
    }
    rc = rc == GW_OK
             ? myt_run(t, err,
                       "INSERT INTO $c.steps (task, table_id, generation, name, done_us)"
                       " VALUES ($l, $u, $u, $l, $u) ON DUPLICATE KEY UPDATE name = name",
                       t->task->name, MYT_U(j->table->id), MYT_U(j->generation), j->step->name, MYT_U(gw_wall_us()))
             : rc;
    rc = rc == GW_OK ? myt_commit(t, err) : rc;
    rc = rc == GW_OK ? myt_fault("apply.finish.after_step", err) : rc;
    return myt_end(t, rc);
}

static int
no_object(struct job *j, struct gw_err *err)
{
    return gw_err_set(err, GW_BUG, "", "step \"%s\" is not of table \"%s.%s\"", j->step->name,
                      myt_schema(j->t, j->table), j->table->name);
}

static void
where_table(struct job *j, struct gw_buf *b, const char *schema_col, const char *name_col)
{
    myt_where_table(b, j->t, schema_col, myt_schema(j->t, j->table), name_col, j->table->name);
}

// ---- indexes

static void
hint_duplicates(struct job *j, const Gw__Index *x, struct gw_err *err)
{
    if (strcmp(err->code, "1062") == 0) {
        MYT_BUF b;
        gw_buf_init(&b, 8192);
        for (size_t p = 0; p < x->n_parts; p++) {
            gw_buf_puts(&b, p ? ", " : "");
            gw_my_ident(&b, x->parts[p]->column);
        }
        // The server's message quotes the values, which do not belong into a report.
        gw_err_set(err, GW_DATA, "1062", "the rows are not unique in %s", b.data);
        gw_err_hint(err, "find them with: SELECT %s, COUNT(*) FROM %s GROUP BY %s HAVING COUNT(*) > 1", b.data,
                    myt_tname_dup(j->a, j->t, j->table), b.data);
    }
}

static int
alter(struct job *j, const struct gw_buf *adds, struct gw_err *err)
{
    return myt_run(j->t, err, "ALTER TABLE $i.$i $s", myt_schema(j->t, j->table), j->table->name, adds->data);
}

// One by one, so that what can be made is made; the first failure is the answer.
static int
make_singly(struct job *j, const bool *missing, struct gw_err *err)
{
    int first = GW_OK;
    for (size_t i = 0; i < j->table->n_indexes && (first == GW_OK || first == GW_DATA); i++) {
        if (!missing[i]) {
            continue;
        }
        MYT_BUF one;
        gw_buf_init(&one, MYT_SQL_MAX);
        gw_buf_puts(&one, "ADD ");
        myt_index_sql(&one, j->t, j->table, j->table->indexes[i], myt_index_object(j->a, j->table, i));
        struct gw_err why = {0};
        int rc = alter(j, &one, &why);
        if (rc != GW_OK && (first == GW_OK || rc != GW_DATA)) {
            hint_duplicates(j, j->table->indexes[i], &why);
            *err = why;
            first = rc;
        }
    }
    return first;
}

// What is missing, and the statement that makes all of it that can be made in one go. *ret_clash: the first whose name
// belongs to another index.
static int
find_missing(struct job *j, bool *missing, struct gw_buf *adds, bool *ret_alone, const char **ret_clash,
             struct gw_err *err)
{
    const Gw__Table *table = j->table;
    struct myt_have_indexes have;
    int rc = myt_read_indexes(j->t, j->a, table, &have, err);
    for (size_t i = 0; rc == GW_OK && i < table->n_indexes; i++) {
        const Gw__Index *x = table->indexes[i];
        char *name = myt_index_object(j->a, table, i);
        enum myt_index_found found = myt_find_index(j->t, j->a, table, i, j->made == MYT_MADE_OURS, &have);
        if (myt_index_refused(j->t, table, x) || found == MYT_INDEX_THERE) {
            continue;
        }
        if (found == MYT_INDEX_CLASH) {
            *ret_clash = *ret_clash ? *ret_clash : name;
            continue;
        }
        missing[i] = true;
        if (myt_index_alone(table, x)) {
            *ret_alone = true;
            continue;
        }
        gw_buf_puts(adds, adds->len ? ", ADD " : "ADD ");
        myt_index_sql(adds, j->t, table, x, name);
    }
    return rc;
}

static int
make_indexes(struct job *j, struct gw_err *err)
{
    const Gw__Table *table = j->table;
    const char *clash = NULL;
    bool alone = false, *missing = gw_arena_calloc(j->a, table->n_indexes + 1, sizeof *missing);
    MYT_BUF adds;
    gw_buf_init(&adds, MYT_SQL_MAX);
    int rc = find_missing(j, missing, &adds, &alone, &clash, err);
    if (rc == GW_OK && adds.len > 0) {
        rc = alter(j, &adds, err);
        if (rc == GW_DATA) {
            gw_err_clear(err);
            return make_singly(j, missing, err);
        }
        for (size_t i = 0; i < table->n_indexes; i++) {
            missing[i] = missing[i] && myt_index_alone(table, table->indexes[i]);
        }
    }
    rc = rc == GW_OK && alone ? make_singly(j, missing, err) : rc;
    if (rc == GW_OK && clash) {
        gw_err_set(err, GW_DATA, "", "index \"%s\" of the table on the target is another one", clash);
        gw_err_hint(err, "drop or rename it, and run the task again");
        return GW_DATA;
    }
    return rc == GW_OK ? record(j, err) : rc;
}

// ---- foreign keys and checks

static int
has_constraint(struct job *j, const char *type, bool *ret, struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    where_table(j, &where, "TABLE_SCHEMA", "TABLE_NAME");
    uint64_t n = 0;
    int rc = myt_scalar(j->t, &n, NULL, err,
                        "SELECT COUNT(*) FROM information_schema.TABLE_CONSTRAINTS WHERE $s"
                        " AND CONSTRAINT_TYPE = $l AND CONSTRAINT_NAME = $l",
                        where.data, type, j->step->object);
    *ret = n > 0;
    return rc;
}

// A key of another name, on a table that was there before, that does the work.
static int
equal_fk(struct job *j, const Gw__ForeignKey *f, bool *ret, struct gw_err *err)
{
    *ret = false;
    if (j->made == MYT_MADE_OURS) {
        return GW_OK;
    }
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    where_table(j, &where, "TABLE_SCHEMA", "TABLE_NAME");
    MYT_RES r = NULL;
    int rc = myt_query(j->t, &r, err,
                       "SELECT " MYT_FK_PAIRS " FROM information_schema.KEY_COLUMN_USAGE"
                       " WHERE $s AND REFERENCED_TABLE_SCHEMA = $l AND REFERENCED_TABLE_NAME = $l"
                       " GROUP BY CONSTRAINT_NAME",
                       where.data, myt_fk_schema(j->t, j->table, f), f->ref_table);
    for (MYSQL_ROW row; rc == GW_OK && (row = mysql_fetch_row(r));) {
        *ret = *ret || myt_same_name(myt_text(row, 0), myt_fk_pairs(j->a, f));
    }
    return rc;
}

// That the referenced table is there and was loaded.
static int
check_referenced(struct job *j, const Gw__ForeignKey *f, struct gw_err *err)
{
    const char *schema = myt_fk_schema(j->t, j->table, f);
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, j->t, "TABLE_SCHEMA", schema, "TABLE_NAME", f->ref_table);
    uint64_t there = 0, error = 0;
    int rc = myt_scalar(j->t, &there, NULL, err, "SELECT COUNT(*) FROM information_schema.TABLES WHERE $s", where.data);
    rc = rc == GW_OK ? myt_scalar(j->t, &error, NULL, err,
                                  "SELECT COUNT(*) FROM $c.tables WHERE task = $l AND target_schema = $l"
                                  " AND target_table = $l AND state = $u",
                                  j->t->task->name, schema, f->ref_table, MYT_U(GW__TABLE_STATE__STATE_ERROR))
                     : rc;
    if (rc == GW_OK && there == 0) {
        gw_err_set(err, GW_CONFIG, "", "it refers to table \"%s.%s\", which is not on the target", schema,
                   f->ref_table);
        gw_err_hint(err, "select that table too, or create it on the target and run the task again");
        return GW_CONFIG;
    }
    if (rc == GW_OK && error > 0) {
        gw_err_set(err, GW_CONFIG, "", "it refers to table \"%s.%s\", which was not loaded", schema, f->ref_table);
        gw_err_hint(err, "see why that table is in error");
        return GW_CONFIG;
    }
    return rc;
}

static int
prove_fk(struct job *j, const Gw__ForeignKey *f, bool ours, struct gw_err *err)
{
    MYT_BUF sql;
    gw_buf_init(&sql, MYT_SQL_MAX);
    myt_fk_orphans_sql(&sql, j->t, j->table, f);
    bool none = false;
    uint64_t one = 0;
    int rc = myt_scalar(j->t, &one, &none, err, "$s", sql.data);
    if (rc != GW_OK || none) {
        return rc;
    }
    if (ours) { // a key that does not hold is not left behind
        rc = myt_run(j->t, err, "ALTER TABLE $i.$i DROP FOREIGN KEY $i", myt_schema(j->t, j->table), j->table->name,
                     j->step->object);
        if (rc != GW_OK) {
            return rc;
        }
    }
    gw_err_set(err, GW_DATA, "1452", "rows refer to rows of table \"%s.%s\" that are not there",
               myt_fk_schema(j->t, j->table, f), f->ref_table);
    gw_err_hint(err, "find them with: %.*s", (int)(sql.len - strlen(" LIMIT 1")), sql.data);
    return GW_DATA;
}

static int
make_fk(struct job *j, struct gw_err *err)
{
    const Gw__ForeignKey *f = NULL;
    for (size_t i = 0; i < j->table->n_foreign_keys; i++) {
        if (strcmp(myt_fk_object(j->a, j->table, i), j->step->object) == 0) {
            f = j->table->foreign_keys[i];
        }
    }
    if (!f) {
        return no_object(j, err);
    }
    bool there = false, equal = false;
    int rc = check_referenced(j, f, err);
    rc = rc == GW_OK ? has_constraint(j, "FOREIGN KEY", &there, err) : rc;
    rc = rc == GW_OK ? equal_fk(j, f, &equal, err) : rc;
    if (rc == GW_OK && there && !equal && j->made != MYT_MADE_OURS) {
        gw_err_set(err, GW_DATA, "", "foreign key \"%s\" of the table on the target is another one", j->step->object);
        gw_err_hint(err, "drop it, and run the task again");
        return GW_DATA;
    }
    if (rc == GW_OK && !there && !equal) {
        MYT_BUF sql;
        gw_buf_init(&sql, MYT_SQL_MAX);
        myt_fk_sql(&sql, j->t, j->table, f, j->step->object);
        rc = myt_run(j->t, err, "SET SESSION foreign_key_checks = 0");
        rc = rc == GW_OK ? myt_exec(j->t, &sql, err) : rc;
        if (rc != GW_OK && err && (strcmp(err->code, "1005") == 0 || strcmp(err->code, "3780") == 0)) {
            gw_err_hint(err, "both sides need the same type, sign and collation, and the referenced columns a key");
        }
        rc = rc == GW_OK ? myt_fault("apply.finish.not_validated", err) : rc;
    }
    rc = rc == GW_OK && !f->not_validated ? prove_fk(j, f, !equal, err) : rc;
    return rc == GW_OK ? record(j, err) : rc;
}

static int
make_check(struct job *j, struct gw_err *err)
{
    const Gw__Check *c = NULL;
    for (size_t i = 0; i < j->table->n_checks; i++) {
        if (strcmp(myt_check_object(j->a, j->table, i), j->step->object) == 0) {
            c = j->table->checks[i];
        }
    }
    if (!c) {
        return no_object(j, err);
    }
    bool there = false;
    int rc = has_constraint(j, "CHECK", &there, err);
    if (rc == GW_OK && !there) {
        MYT_BUF sql;
        gw_buf_init(&sql, MYT_SQL_MAX);
        myt_check_sql(&sql, j->t, j->table, c, j->step->object);
        rc = myt_exec(j->t, &sql, err);
    }
    return rc == GW_OK ? record(j, err) : rc;
}

// ---- AUTO_INCREMENT

// The greatest of what the source would hand out next and of what is behind the last row; in a table that had rows of others
// also of what it is at. Not in ours: a refused row, or one that was rolled back, may have moved that to the end.
static int
make_sequence(struct job *j, struct gw_err *err)
{
    const Gw__Column *c = myt_column(j->table, j->step->object);
    if (!c) {
        return no_object(j, err);
    }
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    where_table(j, &where, "TABLE_SCHEMA", "TABLE_NAME");
    uint64_t counts = 0, at = 0, last = 0;
    int rc = myt_scalar(j->t, &counts, NULL, err,
                        "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE $s AND COLUMN_NAME = $l"
                        " AND EXTRA LIKE '%auto_increment%'",
                        where.data, c->name);
    if (rc != GW_OK || counts == 0) {
        return rc == GW_OK ? record(j, err) : rc;
    }
    if (!j->t->server.mariadb && j->t->server.version >= 80000) {
        rc = myt_run(j->t, err, "SET SESSION information_schema_stats_expiry = 0"); // not yesterday's figure
    }
    rc = rc == GW_OK ? myt_scalar(j->t, &at, NULL, err, "SELECT AUTO_INCREMENT FROM information_schema.TABLES WHERE $s",
                                  where.data)
                     : rc;
    rc = rc == GW_OK ? myt_scalar(j->t, &last, NULL, err,
                                  "SELECT CAST(GREATEST(COALESCE(MAX($i), 0), 0) AS UNSIGNED) FROM $i.$i", c->name,
                                  myt_schema(j->t, j->table), j->table->name)
                     : rc;
    uint64_t next = c->sequence_next > 0 ? (uint64_t)c->sequence_next : 1;
    next = last < UINT64_MAX && last + 1 > next ? last + 1 : next;
    if (rc == GW_OK && (next > at || j->made != MYT_MADE_ROWS)) {
        rc = myt_run(j->t, err, "ALTER TABLE $i.$i AUTO_INCREMENT = $u", myt_schema(j->t, j->table), j->table->name,
                     next);
    }
    return rc == GW_OK ? record(j, err) : rc;
}

static int
make_analyze(struct job *j, struct gw_err *err)
{
    int rc = myt_run(j->t, err, "ANALYZE TABLE $i.$i", myt_schema(j->t, j->table), j->table->name);
    return rc == GW_OK ? record(j, err) : rc;
}

// ---- the slot

static const struct {
    const char *kind;
    int (*make)(struct job *j, struct gw_err *err);
} makers[] = {
    {MYT_STEP_INDEXES, make_indexes},   {MYT_STEP_FK, make_fk},           {MYT_STEP_CHECK, make_check},
    {MYT_STEP_SEQUENCE, make_sequence}, {MYT_STEP_ANALYZE, make_analyze},
};

// What is stored: the generation must be ours. *ret_done: the step is recorded already.
static int
look(struct job *j, bool *ret_done, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(j->t, &r, err,
                       "SELECT t.made, EXISTS (SELECT 1 FROM $c.steps s WHERE s.task = t.task AND"
                       " s.table_id = t.table_id AND s.generation = t.generation AND s.name = $l)"
                       " FROM $c.tables t WHERE t.task = $l AND t.table_id = $u AND t.generation = $u"
                       " AND " MYT_OURS,
                       j->step->name, j->t->task->name, MYT_U(j->table->id), MYT_U(j->generation), j->t->task->name,
                       j->t->task->uuid);
    if (rc != GW_OK) {
        return rc;
    }
    MYSQL_ROW row = mysql_fetch_row(r);
    if (!row) {
        return not_stored(j, err);
    }
    j->made = (enum myt_made)myt_u64(row, 0);
    *ret_done = myt_u64(row, 1) != 0;
    return GW_OK;
}

int
myt_finish_step(void *self, const Gw__Table *table, const Gw__Step *s, uint32_t generation, struct gw_err *err)
{
    MYT_ARENA a;
    gw_arena_init(&a);
    struct gw_err local = {0};
    struct gw_err *e = err ? err : &local;
    struct job j = {.t = self, .table = table, .step = s, .generation = generation, .a = &a};
    bool done = false;
    int rc = look(&j, &done, e);
    if (rc == GW_OK && done) {
        return GW_OK;
    }
    for (size_t i = 0; rc == GW_OK && i < sizeof makers / sizeof *makers; i++) {
        if (strcmp(makers[i].kind, s->kind) == 0) {
            rc = makers[i].make(&j, e);
            done = true;
            break;
        }
    }
    if (rc == GW_OK && !done) {
        rc = gw_err_set(e, GW_BUG, "", "unknown kind of step \"%s\"", s->kind);
    }
    if (myt_end(j.t, rc) != GW_OK && rc != GW_FENCED) {
        return gw_err_wrap(e, "%s of table \"%s.%s\"", s->name, myt_schema(j.t, table), table->name);
    }
    return rc;
}
