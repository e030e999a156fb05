#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/targets/sqlite/sqlite_target.h"

enum { BUSY_MS = 60 * 1000, SQL_MAX = 16 * 1024 * 1024, ROW_MAX = 1 << 30 };

static void
target_close(void *self)
{
    struct lite_target *t = self;
    (void)lite_load_abort(t, NULL); // closing undoes it in any case
    t->stream = lite_stream_free(t->stream);
    t->db = gw_lite_close(t->db);
    gw_buf_fini(&t->sql);
    gw_buf_fini(&t->scratch);
    free(t->forms);
    free(t->fields);
    *t = (struct lite_target){0};
}

// What names this process on this machine, and when it started (clock ticks since boot; proc(5)).
static void
know_backend(struct lite_target *t)
{
    char boot[64] = "", space[64] = "";
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f) {
        if (!fgets(boot, sizeof boot, f)) {
            boot[0] = 0;
        }
        fclose(f);
    }
    boot[strcspn(boot, "\n")] = 0;
    ssize_t n = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    space[n > 0 ? n : 0] = 0;
    snprintf(t->backend, sizeof t->backend, "%s %s %d", boot, space, (int)getpid());
}

static int
target_open(void *self, const Gw__Task *task, const char *owner, const char *password, struct gw_err *err)
{
    (void)password; // a file has none
    struct lite_target *t = self;
    t->task = task;
    t->owner = owner;
    gw_buf_init(&t->sql, SQL_MAX);
    gw_buf_init(&t->scratch, ROW_MAX);
    const char *busy = gw_lite_setting(task->target, "busy-timeout-ms");
    long ms = busy ? strtol(busy, NULL, 10) : BUSY_MS;
    t->busy_ms = ms > 0 && ms < 3600 * 1000 ? (int)ms : BUSY_MS;
    const char *schema = task->control_schema[0] ? task->control_schema : "godwit";
    if (strlen(schema) + 2 > sizeof t->prefix) {
        return gw_err_set(err, GW_CONFIG, NULL, "control schema \"%s\" is too long", schema);
    }
    snprintf(t->prefix, sizeof t->prefix, "%s_", schema);
    know_backend(t);
    int rc = gw_lite_path(task->target, t->path, sizeof t->path, err);
    return rc == GW_OK ? lite_target_find(t, err) : rc; // made by the first slot that writes
}

int
lite_target_find(struct lite_target *t, struct gw_err *err)
{
    return access(t->path, F_OK) == 0 ? lite_target_ready(t, err) : GW_OK;
}

int
lite_task_there(struct lite_target *t, struct gw_err *err)
{
    char name[sizeof t->prefix + 8];
    bool there = false;
    snprintf(name, sizeof name, "%stasks", t->prefix);
    int rc = lite_target_find(t, err);
    rc = rc == GW_OK && t->db ? lite_exists(t, "table", name, &there, err) : rc;
    return rc != GW_OK || there
               ? rc
               : gw_err_set(err, GW_FENCED, NULL, "task \"%s\" is not on the target any more", t->task->name);
}

int
lite_target_ready(struct lite_target *t, struct gw_err *err)
{
    if (t->db) {
        return GW_OK;
    }
    sqlite3 *db = NULL;
    int rc = gw_lite_open(&db, t->path, GW_LITE_CREATE, t->busy_ms, err);
    if (rc != GW_OK) {
        return rc;
    }
    // EXTRA is FULL, and syncs the folder after the journal is deleted: a commit that was answered stays
    // (https://www.sqlite.org/pragma.html#pragma_synchronous). The journal mode is left as the file has it.
    // Keys are checked once, at the end; triggers of the target are not for rows that are copied.
    rc = gw_lite_exec(db, err, "PRAGMA synchronous=EXTRA; PRAGMA foreign_keys=OFF");
    if (rc != GW_OK) {
        gw_lite_close(db);
        return rc;
    }
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    t->db = db;
    return GW_OK;
}

const char *
lite_sql(struct lite_target *t, const char *sql)
{
    gw_buf_reset(&t->sql);
    for (const char *p = sql; *p;) {
        size_t n = strcspn(p, "$");
        gw_buf_put(&t->sql, p, n);
        p += n;
        if (*p == '$') {
            char name[sizeof t->prefix + 32];
            size_t word = strspn(p + 1, "abcdefghijklmnopqrstuvwxyz");
            snprintf(name, sizeof name, "%s%.*s", t->prefix, (int)word, p + 1);
            gw_lite_ident(&t->sql, name);
            p += 1 + word;
        }
    }
    return t->sql.data;
}

int
lite_tx_begin(struct lite_target *t, struct gw_err *err)
{
    return gw_lite_exec(t->db, err, "BEGIN IMMEDIATE");
}

int
lite_tx_end(struct lite_target *t, int rc, struct gw_err *err)
{
    if (rc == GW_OK) {
        rc = gw_lite_exec(t->db, err, "COMMIT");
        if (rc == GW_OK) {
            return GW_OK;
        }
    }
    // The first failure is the one to tell; some of them have rolled back already.
    if (!sqlite3_get_autocommit(t->db)) {
        (void)gw_lite_exec(t->db, NULL, "ROLLBACK");
    }
    return rc;
}

int
lite_exists(struct lite_target *t, const char *type, const char *name, bool *ret, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(t->db, &q, err, "SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2 COLLATE NOCASE",
                           "tt", type, name);
    rc = rc == GW_OK ? gw_lite_step(q, err) : rc;
    sqlite3_finalize(q);
    if (rc == GW_OK || rc == GW_END) {
        *ret = rc == GW_OK;
        rc = GW_OK;
    }
    return rc;
}

const struct gw_target_ops gw_target_sqlite = {
    .version = GW_TARGET_VERSION,
    .name = "sqlite",
    .caps = GW_TARGET_STREAM,
    .state_size = sizeof(struct lite_target),
    .open = target_open,
    .close = target_close,
    .preflight = lite_preflight,
    .state_load = lite_state_load,
    .state_register = lite_state_register,
    .state_set = lite_state_set,
    .alter = lite_alter,
    .state_define = lite_state_define,
    .state_complete = lite_state_complete,
    .state_drop = lite_state_drop,
    .prepare = lite_prepare,
    .load_begin = lite_load_begin,
    .load_write = lite_load_write,
    .load_refuse = lite_load_refuse,
    .load_commit = lite_load_commit,
    .load_abort = lite_load_abort,
    .finish_plan = lite_finish_plan,
    .finish_step = lite_finish_step,
    .stream_claim = lite_stream_claim,
    .stream_begin = lite_stream_begin,
    .stream_apply = lite_stream_apply,
    .stream_mark = lite_stream_mark,
    .stream_back = lite_stream_back,
    .stream_refuse = lite_stream_refuse,
    .stream_suspend = lite_stream_suspend,
    .stream_commit = lite_stream_commit,
};
