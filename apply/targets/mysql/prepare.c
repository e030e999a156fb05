// Making and clearing a table for the rows of a generation.
//
// DDL commits by itself here, so the order is held by a user lock, which belongs to the connection that sends the DDL: from
// the first look until `loading` is stored, nobody else prepares this table, and one who loses the lock has lost the
// connection too. Under it, each step committed: `clearing` with the generation and with what we are about to make (from
// then on no chunk can be committed, whatever its generation); emptying or making; `loading`. A crash anywhere is followed by
// the same from the start.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/fault.h"
#include "control.h"

enum { LOCK_S = 60 };

struct relation {
    bool there, base;
    char engine[80];
    bool referenced; // by a foreign key of another table
    bool outsider;   // of a table that is not of this task
    char who[300];
};

static Gw__PrepMode
prep_mode(const struct myt *t)
{
    return t->task->load ? t->task->load->prep_mode : GW__PREP_MODE__DO_NOTHING;
}

static int
fenced(struct myt *t, const Gw__Table *table, uint32_t generation, const char *why, struct gw_err *err)
{
    return gw_err_set(err, GW_FENCED, "", "prepare table \"%s.%s\" for generation %u: %s", myt_schema(t, table),
                      table->name, generation, why);
}

static int
find_referrer(struct myt *t, const Gw__Table *table, struct relation *rel, struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, t, "k.REFERENCED_TABLE_SCHEMA", myt_schema(t, table), "k.REFERENCED_TABLE_NAME",
                    table->name);
    MYT_RES r = NULL;
    // information_schema has a collation of its own.
    const char *same = t->fold_names ? "LOWER(x.target_schema) = LOWER(CONVERT(k.TABLE_SCHEMA USING utf8mb4))"
                                       " COLLATE utf8mb4_bin AND LOWER(x.target_table) ="
                                       " LOWER(CONVERT(k.TABLE_NAME USING utf8mb4)) COLLATE utf8mb4_bin"
                                     : "x.target_schema = CONVERT(k.TABLE_SCHEMA USING utf8mb4) COLLATE utf8mb4_bin"
                                       " AND x.target_table = CONVERT(k.TABLE_NAME USING utf8mb4) COLLATE utf8mb4_bin";
    int rc = myt_query(
        t, &r, err,
        "SELECT DISTINCT k.TABLE_SCHEMA, k.TABLE_NAME, EXISTS (SELECT 1 FROM $c.tables x WHERE"
        " x.task = $l AND $s) FROM information_schema.KEY_COLUMN_USAGE k WHERE $s AND NOT (k.TABLE_SCHEMA = $l"
        " AND k.TABLE_NAME = $l) ORDER BY 3, 1, 2",
        t->task->name, same, where.data, myt_schema(t, table), table->name);
    MYSQL_ROW row = rc == GW_OK ? mysql_fetch_row(r) : NULL;
    if (row) {
        rel->referenced = true;
        rel->outsider = myt_u64(row, 2) == 0;
        snprintf(rel->who, sizeof rel->who, "%s.%s", myt_text(row, 0), myt_text(row, 1));
    }
    return rc;
}

static int
find_relation(struct myt *t, const Gw__Table *table, struct relation *ret, struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, t, "TABLE_SCHEMA", myt_schema(t, table), "TABLE_NAME", table->name);
    MYT_RES r = NULL;
    struct relation rel = {0};
    int rc = myt_query(t, &r, err, "SELECT TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE $s", where.data);
    MYSQL_ROW row = rc == GW_OK ? mysql_fetch_row(r) : NULL;
    if (row) {
        rel.there = true;
        rel.base = strcmp(myt_text(row, 0), "BASE TABLE") == 0;
        snprintf(rel.engine, sizeof rel.engine, "%s", myt_text(row, 1));
    }
    if (rc == GW_OK) {
        rc = find_referrer(t, table, &rel, err);
    }
    *ret = rel;
    return rc;
}

// ---- emptying and making

static int
create_table(struct myt *t, const Gw__Table *table, struct gw_err *err)
{
    MYT_BUF sql;
    gw_buf_init(&sql, MYT_SQL_MAX);
    myt_create_table(&sql, t, table);
    int rc = myt_exec(t, &sql, err);
    if (rc == GW_DATA) {
        err->cls = rc = GW_CONFIG; // no row is at fault: a default that the server cannot read
    }
    return rc == GW_OK ? rc : gw_err_wrap(err, "create table \"%s.%s\"", myt_schema(t, table), table->name);
}

static int
outsider(struct myt *t, const Gw__Table *table, const struct relation *rel, const char *what, struct gw_err *err)
{
    gw_err_set(err, GW_CONFIG, "",
               "cannot %s table \"%s.%s\": a foreign key of table \"%s\", which is not part of the "
               "task, refers to it",
               what, myt_schema(t, table), table->name, rel->who);
    gw_err_hint(err, "drop that foreign key, or select table \"%s\" too", rel->who);
    return GW_CONFIG;
}

// Foreign keys of the task's own tables: those tables are made anew as well, and finish makes their keys again. A key that
// stays would hold the new table to the old one's columns.
static int
drop_references(struct myt *t, const Gw__Table *table, struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, t, "REFERENCED_TABLE_SCHEMA", myt_schema(t, table), "REFERENCED_TABLE_NAME", table->name);
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME"
                       " FROM information_schema.KEY_COLUMN_USAGE WHERE $s"
                       " AND NOT (TABLE_SCHEMA = $l AND TABLE_NAME = $l)",
                       where.data, myt_schema(t, table), table->name);
    for (MYSQL_ROW row; rc == GW_OK && (row = mysql_fetch_row(r));) {
        struct gw_err why = {0};
        rc = myt_run(t, &why, "ALTER TABLE $i.$i DROP FOREIGN KEY $i", myt_text(row, 0), myt_text(row, 1),
                     myt_text(row, 2));
        if (rc != GW_OK && (strcmp(why.code, "1091") == 0 || strcmp(why.code, "1146") == 0)) {
            rc = GW_OK; // its own table is being made anew at the same time
        } else if (rc != GW_OK) {
            *err = why;
        }
    }
    return rc;
}

static int
drop_table(struct myt *t, const Gw__Table *table, const struct relation *rel, struct gw_err *err)
{
    if (rel->outsider) {
        return outsider(t, table, rel, "drop", err);
    }
    int rc = rel->referenced ? drop_references(t, table, err) : GW_OK;
    if (rc != GW_OK) {
        return gw_err_wrap(err, "drop the foreign keys that refer to table \"%s.%s\"", myt_schema(t, table),
                           table->name);
    }
    rc = myt_run(t, err, "DROP TABLE IF EXISTS $i.$i", myt_schema(t, table), table->name);
    return rc == GW_OK ? rc : gw_err_wrap(err, "drop table \"%s.%s\"", myt_schema(t, table), table->name);
}

static int
empty_table(struct myt *t, const Gw__Table *table, const struct relation *rel, struct gw_err *err)
{
    if (rel->outsider) {
        return outsider(t, table, rel, "empty", err);
    }
    int rc = myt_run(t, err, "TRUNCATE TABLE $i.$i", myt_schema(t, table), table->name);
    return rc == GW_OK ? rc : gw_err_wrap(err, "empty table \"%s.%s\"", myt_schema(t, table), table->name);
}

static int
has_rows(struct myt *t, const Gw__Table *table, bool *ret, struct gw_err *err)
{
    uint64_t n = 0;
    int rc =
        myt_scalar(t, &n, NULL, err, "SELECT EXISTS (SELECT 1 FROM $i.$i LIMIT 1)", myt_schema(t, table), table->name);
    *ret = n != 0;
    return rc == GW_OK ? rc : gw_err_wrap(err, "read table \"%s.%s\"", myt_schema(t, table), table->name);
}

// ---- what will be done: decided before anything is changed, and stored with `clearing`

enum act { ACT_NOTHING, ACT_CREATE, ACT_DROP, ACT_EMPTY };

// DO_NOTHING on a table that is there: rows of others stay, rows of an earlier generation of ours do not.
static int
decide_keep(struct myt *t, const Gw__Table *table, struct myt_table_row *row, enum act *ret, struct gw_err *err)
{
    bool rows = false;
    int rc = has_rows(t, table, &rows, err);
    if (rc != GW_OK) {
        return rc;
    }
    *ret = ACT_NOTHING;
    if (row->made == MYT_MADE_NOT || !rows) {
        row->made = row->made == MYT_MADE_OURS ? MYT_MADE_OURS : rows ? MYT_MADE_ROWS : MYT_MADE_EMPTY;
        return GW_OK;
    }
    if (!row->had_rows) {
        return GW_OK; // what is in it was in it before
    }
    if (row->made == MYT_MADE_ROWS) {
        gw_err_set(err, GW_CONFIG, "",
                   "table \"%s.%s\" must be loaded anew, and holds both rows of the first attempt and "
                   "rows that were there before",
                   myt_schema(t, table), table->name);
        gw_err_hint(err, "empty the table by hand, or use DROP_AND_CREATE or TRUNCATE_BEFORE_LOAD");
        return GW_CONFIG;
    }
    *ret = ACT_EMPTY;
    return GW_OK;
}

static int
decide(struct myt *t, const Gw__Table *table, const struct relation *rel, struct myt_table_row *row, enum act *ret,
       struct gw_err *err)
{
    if (!rel->there) {
        row->made = MYT_MADE_OURS;
        *ret = ACT_CREATE;
        return GW_OK;
    }
    if (!rel->base) {
        gw_err_set(err, GW_CONFIG, "", "\"%s.%s\" is there already and is not a table", myt_schema(t, table),
                   table->name);
        gw_err_hint(err, "drop it, or select another TargetSchema");
        return GW_CONFIG;
    }
    if (prep_mode(t) == GW__PREP_MODE__DROP_AND_CREATE) {
        row->made = MYT_MADE_OURS;
        *ret = ACT_DROP;
        return GW_OK;
    }
    if (strcasecmp(rel->engine, "InnoDB") != 0) {
        gw_err_set(err, GW_CONFIG, "",
                   "table \"%s.%s\" is of storage engine %s: a chunk cannot be written whole or not "
                   "at all",
                   myt_schema(t, table), table->name, rel->engine);
        gw_err_hint(err, "ALTER TABLE … ENGINE=InnoDB, or use DROP_AND_CREATE");
        return GW_CONFIG;
    }
    if (prep_mode(t) == GW__PREP_MODE__TRUNCATE_BEFORE_LOAD) {
        row->made = row->made == MYT_MADE_OURS ? MYT_MADE_OURS : MYT_MADE_EMPTY;
        *ret = ACT_EMPTY;
        return GW_OK;
    }
    return decide_keep(t, table, row, ret, err);
}

static int
act(struct myt *t, const Gw__Table *table, const struct relation *rel, enum act what, struct gw_err *err)
{
    int rc;
    switch (what) {
    case ACT_CREATE: return create_table(t, table, err);
    case ACT_DROP:
        rc = drop_table(t, table, rel, err);
        rc = rc == GW_OK ? myt_fault("apply.prepare.dropped", err) : rc;
        return rc == GW_OK ? create_table(t, table, err) : rc;
    case ACT_EMPTY: return empty_table(t, table, rel, err);
    default: return GW_OK;
    }
}

// ---- the steps

static int
tx_clearing(struct myt *t, const Gw__Table *table, uint32_t generation, struct relation *rel, enum act *what,
            struct gw_err *err)
{
    struct myt_table_row row = {0};
    int rc = myt_begin(t, err);
    rc = rc == GW_OK ? myt_table_lock(t, table->id, &row, err) : rc;
    if (rc == GW_OK && row.generation > generation && GW_GUARD("apply.generation")) {
        rc = fenced(t, table, generation, "a newer generation is stored", err);
    }
    if (rc == GW_OK && row.generation == generation && row.durable) {
        rc = fenced(t, table, generation, "one of its chunks is durable", err);
    }
    // Whoever else prepares it waits for our lock, and loads cannot commit while we hold the row: what is seen stays so.
    rc = rc == GW_OK ? find_relation(t, table, rel, err) : rc;
    rc = rc == GW_OK ? decide(t, table, rel, &row, what, err) : rc;
    rc = rc == GW_OK ? myt_table_write(t, table->id, generation, GW__TABLE_STATE__STATE_CLEARING, row.made, err) : rc;
    return rc == GW_OK ? myt_commit(t, err) : rc;
}

static int
tx_loading(struct myt *t, const Gw__Table *table, uint32_t generation, struct gw_err *err)
{
    struct myt_table_row row = {0};
    int rc = myt_begin(t, err);
    rc = rc == GW_OK ? myt_table_lock(t, table->id, &row, err) : rc;
    if (rc == GW_OK && (row.generation != generation || row.state != GW__TABLE_STATE__STATE_CLEARING) &&
        GW_GUARD("apply.generation")) {
        rc = fenced(t, table, generation, "somebody else has prepared it", err);
    }
    rc = rc == GW_OK ? myt_table_write(t, table->id, generation, GW__TABLE_STATE__STATE_LOADING, row.made, err) : rc;
    return rc == GW_OK ? myt_commit(t, err) : rc;
}

static int
make_schema(struct myt *t, const Gw__Table *table, struct gw_err *err)
{
    int rc = myt_schema_make(t, myt_schema(t, table), err);
    for (size_t i = 0; rc == GW_OK && myt_native(table) && i < table->n_needs; i++) {
        rc = myt_run(t, err, "$s", table->needs[i]);
    }
    return rc;
}

static int
under_lock(struct myt *t, const Gw__Table *table, uint32_t generation, struct gw_err *err)
{
    struct relation rel = {0};
    enum act what = ACT_NOTHING;
    // Neither the truncation of a table that is referred to nor its making anew shall ask for the other table.
    int rc = myt_run(t, err, "SET SESSION foreign_key_checks = 0");
    // Loads of the table that were given up would hold its metadata lock.
    rc = rc == GW_OK ? myt_end_loads(t, &table->id, err) : rc;
    rc = rc == GW_OK ? make_schema(t, table, err) : rc;
    rc = rc == GW_OK ? tx_clearing(t, table, generation, &rel, &what, err) : rc;
    rc = rc == GW_OK ? myt_fault("apply.prepare.clearing", err) : rc;
    rc = rc == GW_OK ? act(t, table, &rel, what, err) : rc;
    rc = rc == GW_OK ? myt_fault("apply.prepare.cleared", err) : rc;
    rc = rc == GW_OK ? tx_loading(t, table, generation, err) : rc;
    rc = rc == GW_OK ? myt_fault("apply.prepare.after", err) : rc;
    return myt_end(t, rc);
}

int
myt_prepare(void *self, const Gw__Table *table, uint32_t generation, struct gw_err *err)
{
    struct myt *t = self;
    struct gw_err local = {0};
    struct gw_err *e = err ? err : &local;
    char lock[MYT_LOCK_NAME];
    bool got = false;
    myt_lock_name(lock, t, t->task->name, table->id, 0, 0, 0);
    // The coordinator has a table prepared by one at a time: who else holds the lock was given up.
    int rc = myt_end_holder(t, lock, 0, e);
    rc = rc == GW_OK ? myt_lock(t, lock, LOCK_S, &got, e) : rc;
    if (rc == GW_OK && !got) {
        rc = gw_err_set(e, GW_RETRY, "", "another session prepares the table");
    }
    if (rc == GW_OK) {
        rc = under_lock(t, table, generation, e);
        myt_unlock(t, lock);
    }
    return rc == GW_OK || rc == GW_FENCED ? rc : gw_err_wrap(e, "prepare");
}
