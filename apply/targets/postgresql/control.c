// The DDL of the control tables, in this one place, and whether they are there.
#include <string.h>

#include "control.h"

// `made` and `had_rows` are this engine's own: whether a table was there before the task (DO_NOTHING must then
// not empty it), and whether an earlier generation made rows durable in it.
// A count is a bigint: no table has more rows than that.
static const char *const ddl[] = {
    "CREATE TABLE IF NOT EXISTS %1$s.tasks ("
    " task text PRIMARY KEY,"
    " task_uuid text NOT NULL,"
    " mapping_hash text NOT NULL,"
    " source_identity text NOT NULL,"
    " source_engine text NOT NULL,"
    " started_us bigint NOT NULL,"
    " completed_us bigint)",

    "CREATE TABLE IF NOT EXISTS %1$s.tables ("
    " task text NOT NULL REFERENCES %1$s.tasks ON DELETE CASCADE,"
    " table_id bigint NOT NULL,"
    " generation bigint NOT NULL,"
    " state smallint NOT NULL,"
    " reason text NOT NULL,"
    " one_snapshot boolean NOT NULL,"
    " source_schema text NOT NULL,"
    " source_table text NOT NULL,"
    " target_schema text NOT NULL,"
    " target_table text NOT NULL,"
    " made smallint NOT NULL DEFAULT 0,"
    " had_rows boolean NOT NULL DEFAULT false,"
    " plan bytea NOT NULL,"
    " PRIMARY KEY (task, table_id))",

    "CREATE TABLE IF NOT EXISTS %1$s.chunks ("
    " task text NOT NULL REFERENCES %1$s.tasks ON DELETE CASCADE,"
    " table_id bigint NOT NULL,"
    " generation bigint NOT NULL,"
    " no bigint NOT NULL,"
    " state smallint NOT NULL DEFAULT 0,"
    " epoch bigint NOT NULL DEFAULT 0,"
    " owner text,"
    " backend integer,"
    " backend_start timestamptz,"
    " snapshot text,"
    " rows_read bigint NOT NULL DEFAULT 0,"
    " rows_written bigint NOT NULL DEFAULT 0,"
    " rows_refused bigint NOT NULL DEFAULT 0,"
    " values_truncated bigint NOT NULL DEFAULT 0,"
    " bytes bigint NOT NULL DEFAULT 0,"
    " done_us bigint,"
    " plan bytea NOT NULL,"
    " PRIMARY KEY (task, table_id, generation, no)) WITH (fillfactor = 70)",

    "CREATE TABLE IF NOT EXISTS %1$s.steps ("
    " task text NOT NULL REFERENCES %1$s.tasks ON DELETE CASCADE,"
    " table_id bigint NOT NULL,"
    " generation bigint NOT NULL,"
    " name text NOT NULL,"
    " done_us bigint NOT NULL,"
    " PRIMARY KEY (task, table_id, generation, name))",

    // One row a task, moved by every transaction: room for its versions on the page.
    "CREATE TABLE IF NOT EXISTS %1$s.progress ("
    " task text PRIMARY KEY REFERENCES %1$s.tasks ON DELETE CASCADE,"
    " position text NOT NULL,"
    " snapshot text NOT NULL,"
    " epoch bigint NOT NULL DEFAULT 0,"
    " owner text,"
    " backend integer,"
    " backend_start timestamptz,"
    " counts bytea NOT NULL,"
    " updated_us bigint NOT NULL) WITH (fillfactor = 10)",

    "CREATE TABLE IF NOT EXISTS %1$s.exceptions ("
    " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " task text NOT NULL,"
    " source_schema text NOT NULL,"
    " source_table text NOT NULL,"
    " target_schema text NOT NULL,"
    " target_table text NOT NULL,"
    " chunk bigint,"
    " key_text text,"
    " code text,"
    " reason text,"
    " row_text text,"
    " position text,"
    " at timestamptz NOT NULL DEFAULT clock_timestamp())",
};

const char *const pgt_control_tables[] = {"tasks", "tables", "chunks", "steps", "progress", "exceptions", NULL};

int
pgt_control_exists(struct pgt *t, const char *table, bool *ret, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {t->control, table};
    // The catalogue, not to_regclass: a schema that may not be used must not look like one that is missing.
    int rc = pgt_query(t, &r, err, 2, p,
                       "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                       " WHERE n.nspname = $1 AND c.relname = $2)");
    if (rc == GW_OK) {
        *ret = pgt_true(r, 0, 0);
    }
    return rc;
}

int
pgt_schema_exists(struct pgt *t, const char *schema, bool *ret, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {schema};
    int rc = pgt_query(t, &r, err, 1, p, "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)");
    if (rc == GW_OK) {
        *ret = pgt_true(r, 0, 0);
    }
    return rc;
}

int
pgt_schema_make(struct pgt *t, const char *schema, struct gw_err *err)
{
    bool there = false;
    // CREATE SCHEMA IF NOT EXISTS wants the privilege to create even where there is nothing to create.
    int rc = pgt_schema_exists(t, schema, &there, err);
    if (rc != GW_OK || there) {
        return rc;
    }
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_puts(&sql, "CREATE SCHEMA ");
    gw_pg_ident(&sql, schema);
    rc = pgt_exec(t, &sql, err);
    return rc == GW_OK ? rc : gw_err_wrap(err, "create schema \"%s\"", schema);
}

// An earlier version knew no stream, and made `exceptions` without a position.
static int
mend_exceptions(struct pgt *t, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {t->control};
    int rc = pgt_query(t, &r, err, 1, p,
                       "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a"
                       " JOIN pg_catalog.pg_class c ON c.oid = a.attrelid"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                       " WHERE n.nspname = $1 AND c.relname = 'exceptions' AND a.attname = 'position'"
                       " AND NOT a.attisdropped)");
    if (rc == GW_OK && !pgt_true(r, 0, 0)) {
        rc = gw_pg_exec(t->c, err, "ALTER TABLE %s.exceptions ADD COLUMN IF NOT EXISTS position text", t->ctl);
    }
    return rc == GW_OK ? rc : gw_err_wrap(err, "add a column to control table \"%s.exceptions\"", t->control);
}

int
pgt_control_make(struct pgt *t, struct gw_err *err)
{
    int rc = pgt_schema_make(t, t->control, err);
    for (size_t i = 0; rc == GW_OK && i < sizeof ddl / sizeof *ddl; i++) {
        bool there = false;
        rc = pgt_control_exists(t, pgt_control_tables[i], &there, err);
        if (rc != GW_OK || there) {
            continue;
        }
        PGT_BUF sql;
        gw_buf_init(&sql, PGT_SQL_MAX);
        // Not a format of the compiler's knowledge: the schema's quoted name is put in for each %1$s.
        for (const char *p = ddl[i], *at; *p; p = at + strlen("%1$s")) {
            at = strstr(p, "%1$s");
            gw_buf_put(&sql, p, at ? (size_t)(at - p) : strlen(p));
            if (!at) {
                break;
            }
            gw_buf_puts(&sql, t->ctl);
        }
        rc = pgt_exec(t, &sql, err);
        if (rc != GW_OK) {
            gw_err_wrap(err, "create control table \"%s.%s\"", t->control, pgt_control_tables[i]);
        }
    }
    return rc == GW_OK ? mend_exceptions(t, err) : rc;
}

int
pgt_lock_ddl(struct pgt *t, struct gw_err *err)
{
    // One maker at a time of what tables share (schemas, types, control tables): CREATE … IF NOT EXISTS
    // of two sessions at once fails with a unique violation in the catalogue. Released with the transaction.
    return gw_pg_exec(t->c, err, "SELECT pg_catalog.pg_advisory_xact_lock(%d, %d)", PGT_LOCK_SPACE, PGT_LOCK_DDL);
}
