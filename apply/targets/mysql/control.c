// The DDL of the control tables, in this one place, and whether they are there.
#include <string.h>

#include "common/fault.h"
#include "common/worker.h"
#include "control.h"

enum { DDL_LOCK_S = 5 };

#define NAME255 "varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
#define NAME64  "varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
#define BODY    "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
#define OPTIONS " ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC"

// `made` and `had_rows` are this engine's own: whether a table was there before the task (DO_NOTHING must then
// not empty it), and whether an earlier generation made rows durable in it. No foreign keys: their locks on the
// parent row would be taken in another order than ours.
// `backend` is the connection of the owner, `backend_start` the user lock that it holds while it works on the chunk.
static const struct {
    const char *name, *ddl;
} tables[] = {
    {"tasks", "CREATE TABLE IF NOT EXISTS $c.tasks ("
              " task " NAME255 " NOT NULL PRIMARY KEY,"
              " task_uuid " NAME64 " NOT NULL,"
              " mapping_hash " NAME255 " NOT NULL,"
              " source_identity " BODY " NOT NULL,"
              " source_engine " NAME64 " NOT NULL,"
              " started_us bigint NOT NULL,"
              " completed_us bigint NULL)" OPTIONS},
    {"tables", "CREATE TABLE IF NOT EXISTS $c.tables ("
               " task " NAME255 " NOT NULL,"
               " table_id bigint unsigned NOT NULL,"
               " generation bigint unsigned NOT NULL,"
               " state smallint NOT NULL,"
               " reason " BODY " NOT NULL,"
               " one_snapshot tinyint NOT NULL,"
               " source_schema " NAME255 " NOT NULL,"
               " source_table " NAME255 " NOT NULL,"
               " target_schema " NAME255 " NOT NULL,"
               " target_table " NAME255 " NOT NULL,"
               " made smallint NOT NULL DEFAULT 0,"
               " had_rows tinyint NOT NULL DEFAULT 0,"
               " plan longblob NOT NULL,"
               " PRIMARY KEY (task, table_id))" OPTIONS},
    {"chunks", "CREATE TABLE IF NOT EXISTS $c.chunks ("
               " task " NAME255 " NOT NULL,"
               " table_id bigint unsigned NOT NULL,"
               " generation bigint unsigned NOT NULL,"
               " no bigint unsigned NOT NULL,"
               " state smallint NOT NULL DEFAULT 0,"
               " epoch bigint unsigned NOT NULL DEFAULT 0,"
               " owner " NAME64 " NULL,"
               " backend bigint unsigned NULL,"
               " backend_start " NAME64 " NULL,"
               " snapshot " BODY " NULL,"
               " rows_read bigint unsigned NOT NULL DEFAULT 0,"
               " rows_written bigint unsigned NOT NULL DEFAULT 0,"
               " rows_refused bigint unsigned NOT NULL DEFAULT 0,"
               " values_truncated bigint unsigned NOT NULL DEFAULT 0,"
               " bytes bigint unsigned NOT NULL DEFAULT 0,"
               " done_us bigint NULL,"
               " plan longblob NOT NULL,"
               " PRIMARY KEY (task, table_id, generation, no))" OPTIONS},
    {"steps", "CREATE TABLE IF NOT EXISTS $c.steps ("
              " task " NAME255 " NOT NULL,"
              " table_id bigint unsigned NOT NULL,"
              " generation bigint unsigned NOT NULL,"
              " name " NAME255 " NOT NULL,"
              " done_us bigint NOT NULL,"
              " PRIMARY KEY (task, table_id, generation, name))" OPTIONS},
    {"progress", "CREATE TABLE IF NOT EXISTS $c.progress ("
                 " task " NAME255 " NOT NULL PRIMARY KEY,"
                 " position " BODY " NOT NULL,"
                 " snapshot " BODY " NOT NULL,"
                 " epoch bigint unsigned NOT NULL DEFAULT 0,"
                 " owner " NAME64 " NULL,"
                 " backend bigint unsigned NULL,"
                 " backend_start " NAME64 " NULL,"
                 " counts longblob NOT NULL,"
                 " updated_us bigint NOT NULL)" OPTIONS},
    {"exceptions", "CREATE TABLE IF NOT EXISTS $c.exceptions ("
                   " id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,"
                   " task " NAME255 " NOT NULL,"
                   " source_schema " NAME255 " NOT NULL,"
                   " source_table " NAME255 " NOT NULL,"
                   " target_schema " NAME255 " NOT NULL,"
                   " target_table " NAME255 " NOT NULL,"
                   " chunk bigint unsigned NULL,"
                   " key_text " BODY " NULL,"
                   " code " NAME64 " NULL,"
                   " reason " BODY " NULL,"
                   " row_text " BODY " NULL,"
                   " position " BODY " NULL,"
                   " at datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))" OPTIONS},
};

const char *const myt_control_tables[] = {"tasks", "tables", "chunks", "steps", "progress", "exceptions", NULL};

int
myt_control_exists(struct myt *t, const char *table, bool *ret, struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 8192);
    myt_where_table(&where, t, "TABLE_SCHEMA", t->control, "TABLE_NAME", table);
    uint64_t n = 0;
    int rc = myt_scalar(t, &n, NULL, err, "SELECT COUNT(*) FROM information_schema.TABLES WHERE $s", where.data);
    *ret = n > 0;
    return rc;
}

int
myt_schema_exists(struct myt *t, const char *schema, bool *ret, struct gw_err *err)
{
    uint64_t n = 0;
    int rc = myt_scalar(t, &n, NULL, err,
                        "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = $l AND $s = $l", schema,
                        t->fold_names ? "SCHEMA_NAME" : "BINARY SCHEMA_NAME", schema);
    *ret = n > 0;
    return rc;
}

int
myt_schema_make(struct myt *t, const char *schema, struct gw_err *err)
{
    bool there = false;
    if (!myt_set(schema)) {
        gw_err_set(err, GW_CONFIG, "", "tables without a schema need a database in the target's url");
        gw_err_hint(err, "write mysql://host/database, or set TargetSchema");
        return GW_CONFIG;
    }
    // CREATE … IF NOT EXISTS wants the privilege to create even where there is nothing to create.
    int rc = myt_schema_exists(t, schema, &there, err);
    if (rc != GW_OK || there) {
        return rc;
    }
    rc = myt_run(t, err, "CREATE DATABASE IF NOT EXISTS $i CHARACTER SET utf8mb4 COLLATE $s", schema,
                 myt_default_collation(t));
    return rc == GW_OK ? rc : gw_err_wrap(err, "create database \"%s\"", schema);
}

// An earlier version knew no stream, and made `exceptions` without a position.
static int
mend_exceptions(struct myt *t, struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 8192);
    myt_where_table(&where, t, "TABLE_SCHEMA", t->control, "TABLE_NAME", "exceptions");
    uint64_t n = 0;
    int rc =
        myt_scalar(t, &n, NULL, err,
                   "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE $s AND COLUMN_NAME = 'position'", where.data);
    rc = rc == GW_OK && n == 0 ? myt_run(t, err, "ALTER TABLE $c.exceptions ADD COLUMN position " BODY " NULL") : rc;
    return rc == GW_OK ? rc : gw_err_wrap(err, "add a column to control table \"%s.exceptions\"", t->control);
}

int
myt_control_make(struct myt *t, struct gw_err *err)
{
    int rc = myt_schema_make(t, t->control, err);
    for (size_t i = 0; rc == GW_OK && i < sizeof tables / sizeof *tables; i++) {
        bool there = false;
        rc = myt_control_exists(t, tables[i].name, &there, err);
        if (rc != GW_OK || there) {
            continue;
        }
        rc = myt_run(t, err, tables[i].ddl);
        if (rc != GW_OK) {
            gw_err_wrap(err, "create control table \"%s.%s\"", t->control, tables[i].name);
        }
    }
    return rc == GW_OK ? mend_exceptions(t, err) : rc;
}

int
myt_lock_ddl(struct myt *t, struct gw_err *err)
{
    char name[MYT_LOCK_NAME];
    bool got = false;
    myt_lock_name(name, t, "", 0, 0, 0, 0); // of no task
    int rc = myt_lock(t, name, DDL_LOCK_S, &got, err);
    if (rc == GW_OK && !got) {
        uint64_t holder = 0;
        bool none = false;
        (void)myt_scalar(t, &holder, &none, NULL, "SELECT IS_USED_LOCK($l)", name); // 0: it has just gone
        gw_err_set(err, GW_AGAIN, GW_CODE_LOCKED, "session %llu of the target makes or drops control tables",
                   (unsigned long long)holder);
        gw_err_hint(err, "if its godwit is dead: KILL %llu", (unsigned long long)holder);
        return GW_AGAIN;
    }
    return rc;
}

void
myt_unlock_ddl(struct myt *t)
{
    char name[MYT_LOCK_NAME];
    myt_lock_name(name, t, "", 0, 0, 0, 0); // of no task
    myt_unlock(t, name);
}

int
myt_table_lock(struct myt *t, uint32_t table_id, struct myt_table_row *ret, struct gw_err *err)
{
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT generation, state, made, had_rows FROM $c.tables"
                       " WHERE task = $l AND table_id = $u AND " MYT_OURS " FOR UPDATE",
                       t->task->name, MYT_U(table_id), t->task->name, t->task->uuid);
    if (rc != GW_OK) {
        return rc;
    }
    MYSQL_ROW row = mysql_fetch_row(r);
    if (!row) {
        gw_err_set(err, GW_FENCED, "", "table %u of this task \"%s\" is not registered", table_id, t->task->name);
        gw_err_hint(err, MYT_OTHER_GODWIT);
        return GW_FENCED;
    }
    struct myt_table_row x = {.generation = (uint32_t)myt_u64(row, 0),
                              .state = (Gw__TableState)myt_u64(row, 1),
                              .made = (enum myt_made)myt_u64(row, 2),
                              .had_rows = myt_u64(row, 3) != 0};
    // Under READ COMMITTED a statement of its own sees what was committed while we waited. Every fence holds a shared
    // lock on the row that we hold now, so nothing is on its way any more.
    uint64_t n = 0;
    rc = myt_scalar(t, &n, NULL, err,
                    "SELECT COUNT(*) FROM $c.chunks WHERE task = $l AND table_id = $u AND generation = $u"
                    " AND state = 1",
                    t->task->name, MYT_U(table_id), MYT_U(x.generation));
    x.durable = n > 0;
    *ret = x;
    return rc;
}

int
myt_table_write(struct myt *t, uint32_t table_id, uint32_t generation, Gw__TableState state, enum myt_made made,
                struct gw_err *err)
{
    uint64_t n = 0;
    int rc = myt_affect(t, &n, err,
                        "UPDATE $c.tables SET generation = $u, state = $u, made = $u$s"
                        " WHERE task = $l AND table_id = $u AND generation <= $u",
                        MYT_U(generation), MYT_U(state), MYT_U(made),
                        state == GW__TABLE_STATE__STATE_LOADING ? ", had_rows = 0" : "", t->task->name, MYT_U(table_id),
                        MYT_U(generation));
    if (rc == GW_OK && n != 1 && GW_GUARD("apply.generation")) {
        return gw_err_set(err, GW_FENCED, "", "a newer generation than %u is stored", generation);
    }
    return rc;
}
