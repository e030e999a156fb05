// A table of that name is there already: whether it fits the prep mode, and whether it can take the rows.
#include <string.h>
#include <strings.h>

#include "finish.h"

#define INFO GW__SEVERITY__SEVERITY_INFO
#define WARN GW__SEVERITY__SEVERITY_WARNING
#define ERR  GW__SEVERITY__SEVERITY_ERROR

static bool
of_task(const struct myt *t, const Gw__Catalog *cat, const char *schema, const char *name)
{
    for (size_t i = 0; i < cat->n_tables; i++) {
        if (strcmp(myt_schema(t, cat->tables[i]), schema) == 0 && strcmp(cat->tables[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

// Foreign keys of other tables that stand in the way of emptying or dropping.
static int
check_referrers(struct myt *t, struct myt_findings *f, const Gw__Catalog *cat, const Gw__Table *table, const char *what,
                struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, t, "REFERENCED_TABLE_SCHEMA", myt_schema(t, table), "REFERENCED_TABLE_NAME", table->name);
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME"
                       " FROM information_schema.KEY_COLUMN_USAGE WHERE $s ORDER BY 1, 2, 3",
                       where.data);
    for (MYSQL_ROW row; rc == GW_OK && (row = mysql_fetch_row(r));) {
        if (of_task(t, cat, myt_text(row, 0), myt_text(row, 1))) {
            continue;
        }
        MYT_BUF sql;
        gw_buf_init(&sql, 8192);
        myt_put(t, &sql, "ALTER TABLE $i.$i DROP FOREIGN KEY $i", myt_text(row, 0), myt_text(row, 1), myt_text(row, 2));
        myt_find(f, ERR, table, myt_text(row, 2), "drop the key, or select that table too", sql.data,
                 "foreign key \"%s\" of table \"%s.%s\", which is not part of the task, refers to the "
                 "table that is to be %s",
                 myt_text(row, 2), myt_text(row, 0), myt_text(row, 1), what);
    }
    return rc;
}

static int
check_triggers(struct myt *t, struct myt_findings *f, const Gw__Table *table, struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, t, "EVENT_OBJECT_SCHEMA", myt_schema(t, table), "EVENT_OBJECT_TABLE", table->name);
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT TRIGGER_NAME, ACTION_TIMING FROM information_schema.TRIGGERS WHERE $s"
                       " AND EVENT_MANIPULATION = 'INSERT'",
                       where.data);
    for (MYSQL_ROW row; rc == GW_OK && (row = mysql_fetch_row(r));) {
        bool before = strcasecmp(myt_text(row, 1), "BEFORE") == 0;
        myt_find(f, before ? ERR : WARN, table, myt_text(row, 0), "drop it for the load", NULL,
                 before ? "trigger \"%s\" fires before every row of the load and may alter it"
                        : "trigger \"%s\" fires for every row of the load",
                 myt_text(row, 0));
    }
    return rc;
}

// Whether the source has the key, too: then its making proves the rows, whatever the key is called here.
static bool
proven_later(const struct myt *t, struct gw_arena *a, const Gw__Table *table, MYSQL_ROW row)
{
    for (size_t i = 0; i < table->n_foreign_keys; i++) {
        const Gw__ForeignKey *k = table->foreign_keys[i];
        if (!myt_fk_refused(t, table, k) && !k->not_validated && myt_same_name(k->ref_table, myt_text(row, 2)) &&
            myt_same_name(myt_fk_schema(t, table, k), myt_text(row, 1)) &&
            myt_same_name(myt_fk_pairs(a, k), myt_text(row, 3))) {
            return true;
        }
    }
    return false;
}

// With foreign_key_checks off, as rows come in any order, the table's own keys are not looked at, and no later check of the
// server's finds rows without a parent.
static int
check_unproven(struct myt *t, struct myt_findings *f, const Gw__Table *table, struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, t, "TABLE_SCHEMA", myt_schema(t, table), "TABLE_NAME", table->name);
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT CONSTRAINT_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, " MYT_FK_PAIRS
                       " FROM information_schema.KEY_COLUMN_USAGE WHERE $s AND REFERENCED_TABLE_NAME IS NOT NULL"
                       " GROUP BY 1, 2, 3 ORDER BY 1",
                       where.data);
    for (MYSQL_ROW row; rc == GW_OK && (row = mysql_fetch_row(r));) {
        if (!proven_later(t, f->a, table, row)) {
            myt_find(f, WARN, table, myt_text(row, 0),
                     "drop it before the load and add it again behind it: that proves it", NULL,
                     "foreign key \"%s\" to table \"%s.%s\" is on the target already and is not checked for the rows"
                     " that are loaded",
                     myt_text(row, 0), myt_text(row, 1), myt_text(row, 2));
        }
    }
    return rc;
}

static int
check_rows(struct myt *t, struct myt_findings *f, const Gw__Table *table, struct gw_err *err)
{
    uint64_t rows = 0;
    int rc = myt_scalar(t, &rows, NULL, err, "SELECT EXISTS (SELECT 1 FROM $i.$i LIMIT 1)", myt_schema(t, table),
                        table->name);
    if (rc == GW_OK && rows) {
        myt_find(f, WARN, table, "",
                 table->n_primary_key > 0
                     ? "its rows stay, and rows with the same keys are refused"
                     : "it has no primary key: its rows stay, and all rows come beside them; set"
                       " TargetTablePrepMode to TRUNCATE_BEFORE_LOAD or DROP_AND_CREATE if that is not meant",
                 NULL, "the table on the target holds rows already");
    }
    return rc;
}

static int
check_kept(struct myt *t, struct myt_findings *f, const Gw__Table *table, const char *engine, bool empty,
           struct gw_err *err)
{
    if (strcasecmp(engine, "InnoDB") != 0) {
        MYT_BUF sql;
        gw_buf_init(&sql, 8192);
        myt_put(t, &sql, "ALTER TABLE $i.$i ENGINE=InnoDB", myt_schema(t, table), table->name);
        myt_find(f, ERR, table, "", "convert it, or use DROP_AND_CREATE", sql.data,
                 "the table on the target is of storage engine %s: a chunk could not be written whole or not at all",
                 engine);
        return GW_OK;
    }
    int rc = myt_preflight_columns(t, f, table, err);
    rc = rc == GW_OK ? myt_preflight_indexes(t, f, table, err) : rc;
    rc = rc == GW_OK ? check_unproven(t, f, table, err) : rc;
    rc = rc == GW_OK ? check_triggers(t, f, table, err) : rc;
    return rc == GW_OK && !empty ? check_rows(t, f, table, err) : rc;
}

int
myt_preflight_existing(struct myt *t, struct myt_findings *f, const Gw__Catalog *cat, const Gw__Table *table,
                       bool resuming, struct gw_err *err)
{
    if (resuming) {
        return GW_OK; // what a resumed task finds is its own work
    }
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, t, "TABLE_SCHEMA", myt_schema(t, table), "TABLE_NAME", table->name);
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err, "SELECT TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE $s", where.data);
    MYSQL_ROW row = rc == GW_OK ? mysql_fetch_row(r) : NULL;
    if (!row) {
        return rc;
    }
    if (strcmp(myt_text(row, 0), "BASE TABLE") != 0) {
        myt_find(f, ERR, table, "", "drop it, or set another TargetSchema", NULL,
                 "\"%s.%s\" is there on the target and is a %s", myt_schema(t, table), table->name, myt_text(row, 0));
        return GW_OK;
    }
    switch (t->task->load ? t->task->load->prep_mode : GW__PREP_MODE__DO_NOTHING) {
    case GW__PREP_MODE__DROP_AND_CREATE:
        myt_find(f, INFO, table, "", "it is dropped and made anew", NULL, "the table is on the target already");
        return check_referrers(t, f, cat, table, "dropped", err);
    case GW__PREP_MODE__TRUNCATE_BEFORE_LOAD:
        myt_find(f, INFO, table, "", "it is emptied; its definition stays", NULL, "the table is on the target already");
        rc = check_referrers(t, f, cat, table, "emptied", err);
        return rc == GW_OK ? check_kept(t, f, table, myt_text(row, 1), true, err) : rc;
    default: return check_kept(t, f, table, myt_text(row, 1), false, err);
    }
}
