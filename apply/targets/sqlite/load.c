// One chunk: claimed, written and made durable in one transaction.
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "apply/targets/sqlite/sqlite_target.h"
#include "common/clock.h"
#include "common/fault.h"

enum { SQL_MAX = 4 * 1024 * 1024 };
#define CLEARING_TEXT "1"
_Static_assert(GW__TABLE_STATE__STATE_CLEARING == 1, "CLEARING_TEXT");

// ---- an earlier owner --------------------------------------------------------------------------

// State and start time out of /proc/<pid>/stat, whose second field (the name) may hold anything but ends with the last ')'.
static bool
process_state(int pid, char *ret_state, int64_t *ret_start)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f) {
        return false;
    }
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    const char *p = strrchr(text, ')');
    long long start = 0;
    bool ok = p && sscanf(p + 1,
                          " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d"
                          " %*d %*d %lld",
                          ret_state, &start) == 2;
    *ret_start = start;
    return ok;
}

static bool
is_stopped(char state)
{
    return state == 'T' || state == 't';
}

// A process that was stopped keeps its lock on the file for ever, and with it every other writer out: it is ended. One
// that runs is let be: its transaction ends by itself, and the fence sees to it that nothing of it is kept.
void
lite_end_stopped(struct lite_target *t, const char *backend, int64_t start)
{
    const char *pid_text = strrchr(backend, ' ');
    size_t machine = pid_text ? (size_t)(pid_text - backend) : 0;
    int pid = pid_text ? (int)strtol(pid_text, NULL, 10) : 0;
    if (pid <= 1 || pid == (int)getpid() || strncmp(backend, t->backend, machine + 1) != 0) {
        return; // of another machine, container or boot, or this very process
    }
    char state = 0;
    int64_t started = 0;
    if (process_state(pid, &state, &started) && started == start && is_stopped(state) && GW_GUARD("apply.owner_kill")) {
        (void)kill(pid, SIGKILL); // it may be gone by now
    }
}

void
lite_know_start(struct lite_target *t)
{
    char state = 0;
    if (t->backend_start == 0) {
        (void)process_state((int)getpid(), &state, &t->backend_start); // 0: nobody will end us
    }
}

// Reading needs no write lock: the owner may hold it.
static int
look_at_owner(struct lite_target *t, const Gw__Chunk *c, struct gw_err *err)
{
    lite_know_start(t);
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(t->db, &q, err,
                           lite_sql(t, "SELECT backend, backend_start FROM $chunks WHERE task = ?1"
                                       " AND table_id = ?2 AND generation = ?3 AND no = ?4 AND state = 0"
                                       " AND epoch > 0"),
                           "tiii", t->task->name, (int64_t)c->table_id, (int64_t)c->generation, (int64_t)c->no);
    if (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK && sqlite3_column_text(q, 0)) {
        lite_end_stopped(t, (const char *)sqlite3_column_text(q, 0), sqlite3_column_int64(q, 1));
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

int
lite_end_stopped_owners(struct lite_target *t, char *ret_alive, size_t size, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    ret_alive[0] = 0;
    int rc = gw_lite_query(t->db, &q, err,
                           lite_sql(t, "SELECT backend, backend_start FROM $chunks WHERE task = ?1 AND state = 0"
                                       " AND epoch > 0 AND backend IS NOT NULL ORDER BY epoch"),
                           "t", t->task->name);
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        const char *backend = (const char *)sqlite3_column_text(q, 0);
        if (backend && strcmp(backend, t->backend) != 0) {
            lite_end_stopped(t, backend, sqlite3_column_int64(q, 1));
            const char *pid = strrchr(backend, ' ');
            snprintf(ret_alive, size, "%s", pid ? pid + 1 : "");
        }
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

// ---- begin -------------------------------------------------------------------------------------

static int
claim(struct lite_target *t, struct gw_arena *a, const Gw__Chunk *c, uint64_t *epoch, Gw__Chunk **done,
      struct gw_err *err)
{
    int64_t generation = 0, state = 0;
    int rc = lite_stored(t, c->table_id, &generation, &state, err);
    if (rc == GW_END ||
        (rc == GW_OK && (generation != (int64_t)c->generation || state == GW__TABLE_STATE__STATE_CLEARING))) {
        gw_err_set(err, GW_FENCED, NULL, "generation %u is not the table's present one", c->generation);
        gw_err_hint(err, LITE_OTHER_GODWIT);
        return GW_FENCED;
    }
    sqlite3_stmt *q = NULL;
    rc = rc == GW_OK ? gw_lite_query(t->db, &q, err,
                                     lite_sql(t, "SELECT " LITE_CHUNK_COLUMNS " FROM $chunks WHERE"
                                                 " task = ?1 AND table_id = ?2 AND generation = ?3"
                                                 " AND no = ?4"),
                                     "tiii", t->task->name, (int64_t)c->table_id, generation, (int64_t)c->no)
                     : rc;
    rc = rc == GW_OK ? gw_lite_step(q, err) : rc;
    bool planned = rc == GW_OK && (lite_is_plan(a, q, 0, c) || !GW_GUARD("apply.plan"));
    Gw__Chunk *stored = planned ? lite_chunk_read(a, q, 0) : NULL;
    sqlite3_finalize(q);
    if (rc == GW_END || (rc == GW_OK && !stored)) {
        gw_err_set(err, GW_FENCED, NULL, "chunk %u is not the stored plan's", c->no);
        gw_err_hint(err, LITE_OTHER_GODWIT);
        return GW_FENCED;
    }
    if (rc == GW_OK && stored->done) {
        *done = stored;
        return GW_OK;
    }
    if (rc == GW_OK) {
        *epoch = stored->epoch + 1;
        rc = gw_lite_run(t->db, err,
                         lite_sql(t, "UPDATE $chunks SET epoch = ?5, owner = ?6, backend = ?7,"
                                     " backend_start = ?8 WHERE task = ?1 AND table_id = ?2"
                                     " AND generation = ?3 AND no = ?4"),
                         "tiiiitti", t->task->name, (int64_t)c->table_id, generation, (int64_t)c->no, (int64_t)*epoch,
                         t->owner, t->backend, t->backend_start);
    }
    return rc;
}

static int
prepare_insert(struct lite_target *t, const Gw__Table *table, struct gw_err *err)
{
    if (table->n_columns > t->forms_cap) {
        free(t->forms);
        free(t->fields);
        t->forms = calloc(table->n_columns, sizeof *t->forms);
        t->fields = calloc(table->n_columns, sizeof *t->fields);
        gw_assert(t->forms && t->fields);
        t->forms_cap = table->n_columns;
    }
    struct gw_buf sql;
    gw_buf_init(&sql, SQL_MAX);
    // OR ABORT: a table that says ON CONFLICT REPLACE, IGNORE or ROLLBACK would lose rows without a word.
    gw_buf_puts(&sql, "INSERT OR ABORT INTO ");
    gw_lite_ident(&sql, table->name);
    t->forms_n = 0;
    for (size_t i = 0; i < table->n_columns; i++) {
        if (!table->columns[i]->left_out) {
            gw_buf_puts(&sql, t->forms_n ? ", " : " (");
            gw_lite_ident(&sql, table->columns[i]->name);
            t->forms[t->forms_n++] = lite_form_of(table, table->columns[i]);
        }
    }
    for (size_t i = 0; i < t->forms_n; i++) {
        gw_buf_printf(&sql, "%s?%zu", i ? ", " : ") VALUES (", i + 1);
    }
    gw_buf_puts(&sql, t->forms_n ? ")" : " DEFAULT VALUES");
    int rc = gw_lite_query(t->db, &t->insert, err, sql.data, "");
    gw_buf_fini(&sql);
    return rc;
}

int
lite_load_begin(void *self, struct gw_arena *a, const Gw__Table *table, const Gw__Chunk *c, bool careful,
                uint64_t *ret_epoch, Gw__Chunk *done, struct gw_err *err)
{
    struct lite_target *t = self;
    gw_assert(!t->loading);
    Gw__Chunk *stored = NULL;
    uint64_t epoch = 0;
    int rc = lite_task_there(t, err);
    rc = rc == GW_OK ? look_at_owner(t, c, err) : rc;
    rc = rc == GW_OK ? lite_tx_begin(t, err) : rc;
    if (rc == GW_OK) {
        rc = lite_tx_end(t, claim(t, a, c, &epoch, &stored, err), err);
    }
    if (rc == GW_OK && stored) {
        *done = *stored;
        return GW_END;
    }
    if (rc == GW_OK && GW_FAULT("apply.after_claim")) {
        rc = gw_err_set(err, GW_RETRY, NULL, "fault apply.after_claim");
    }
    // A stream may have asked for foreign keys; rows of a load come in any order.
    rc = rc == GW_OK ? gw_lite_exec(t->db, err, "PRAGMA foreign_keys=OFF") : rc;
    rc = rc == GW_OK ? prepare_insert(t, table, err) : rc;
    if (rc != GW_OK) {
        return gw_err_wrap(err, "begin chunk %u of \"%s\"", c->no, table->name);
    }
    t->loading = true;
    t->careful = careful;
    t->table = table;
    t->table_id = c->table_id;
    t->generation = c->generation;
    t->no = c->no;
    t->epoch = *ret_epoch = epoch;
    t->written = t->refused = 0;
    return GW_OK;
}

// ---- rows --------------------------------------------------------------------------------------

// The write lock is taken with the first rows: until then another worker's chunk goes on.
static int
need_tx(struct lite_target *t, struct gw_err *err)
{
    if (t->in_tx) {
        return GW_OK;
    }
    int rc = lite_tx_begin(t, err);
    t->in_tx = rc == GW_OK;
    return rc;
}

static int
write_row(struct lite_target *t, const char *row, size_t len, struct gw_err *err)
{
    size_t n = gw_copy_split(row, len, t->fields, t->forms_n);
    if (n != t->forms_n && !(t->forms_n == 0 && len == 1)) {
        return gw_err_set(err, GW_BUG, NULL, "a row has %zu fields, the table %zu", n, t->forms_n);
    }
    // Room for all that the row can become, so that what is bound does not move.
    gw_buf_reset(&t->scratch);
    if (!gw_buf_room(&t->scratch, 2 * len)) {
        return gw_err_set(err, GW_DATA, "TOOBIG", "a row of %zu bytes is too large", len);
    }
    int rc = GW_OK;
    for (size_t i = 0; i < t->forms_n && rc == GW_OK; i++) {
        rc = lite_bind_field(t->insert, (int)i + 1, &t->forms[i], &t->fields[i], &t->scratch, err);
    }
    if (rc == GW_OK) {
        rc = gw_lite_step(t->insert, err);
    }
    (void)sqlite3_reset(t->insert); // repeats the failure of the step
    return rc == GW_END ? GW_OK : rc;
}

static int
write_rows(struct lite_target *t, const char *rows, size_t len, uint32_t nrows, struct gw_err *err)
{
    int rc = GW_OK;
    for (uint32_t i = 0; i < nrows && rc == GW_OK; i++) {
        size_t n = gw_copy_row_len(rows, len);
        rc = n ? write_row(t, rows, n, err) : gw_err_set(err, GW_BUG, NULL, "rows end within a row");
        rows += n;
        len -= n;
    }
    if (rc == GW_OK && len) {
        rc = gw_err_set(err, GW_BUG, NULL, "%zu bytes behind the last row", len);
    }
    return rc;
}

int
lite_load_write(void *self, const char *rows, size_t len, uint32_t nrows, struct gw_err *err)
{
    struct lite_target *t = self;
    gw_assert(t->loading);
    int rc = need_tx(t, err);
    if (rc == GW_OK && t->careful) {
        rc = gw_lite_exec(t->db, err, "SAVEPOINT rows");
    }
    if (rc == GW_OK) {
        rc = write_rows(t, rows, len, nrows, err);
    }
    if (t->careful && t->in_tx && (rc == GW_OK || rc == GW_DATA)) {
        struct gw_err undo = {0};
        int end = gw_lite_exec(t->db, &undo,
                               rc == GW_OK || !GW_GUARD("apply.savepoint") ? "RELEASE rows"
                                                                           : "ROLLBACK TO rows; RELEASE rows");
        if (end != GW_OK) {
            *err = undo;
            rc = end;
        }
    }
    if (rc == GW_OK) {
        t->written += nrows;
        return GW_OK;
    }
    return gw_err_wrap(err, "write into \"%s\"", t->table->name);
}

int
lite_load_refuse(void *self, const struct gw_refused *r, struct gw_err *err)
{
    struct lite_target *t = self;
    gw_assert(t->loading && t->careful);
    int64_t no = t->no;
    int rc = need_tx(t, err);
    rc = rc == GW_OK ? lite_refuse(t, t->table, &no, NULL, r, err) : rc;
    t->refused += rc == GW_OK;
    return rc;
}

// ---- end ---------------------------------------------------------------------------------------

static void
load_end(struct lite_target *t)
{
    sqlite3_finalize(t->insert);
    t->insert = NULL;
    t->loading = t->in_tx = false;
    t->table = NULL;
}

static int
fence(struct lite_target *t, const struct gw_target_counts *n, const char *snapshot, struct gw_err *err)
{
    int rc = gw_lite_run(t->db, err,
                         lite_sql(t, "UPDATE $chunks SET state = 1, snapshot = ?7, rows_read = ?8,"
                                     " rows_written = ?9, rows_refused = ?10, values_truncated = ?11,"
                                     " bytes = ?12, done_us = ?13"
                                     " WHERE task = ?1 AND table_id = ?2 AND generation = ?3 AND no = ?4"
                                     " AND epoch = ?5 AND owner = ?6 AND state <> 1"
                                     " AND EXISTS (SELECT 1 FROM $tables b WHERE b.task = ?1"
                                     " AND b.table_id = ?2 AND b.generation = ?3"
                                     " AND b.state <> " CLEARING_TEXT ") AND " LITE_OURS("?14")),
                         "tiiiittiiiiiit", t->task->name, (int64_t)t->table_id, (int64_t)t->generation, (int64_t)t->no,
                         (int64_t)t->epoch, t->owner, snapshot, (int64_t)n->rows_read, (int64_t)n->rows_written,
                         (int64_t)n->rows_refused, (int64_t)n->values_truncated, (int64_t)n->bytes, gw_wall_us(),
                         t->task->uuid);
    if (rc == GW_OK && sqlite3_changes(t->db) != 1 && GW_GUARD("apply.fence")) {
        rc = gw_err_set(err, GW_FENCED, NULL, "somebody else owns the chunk now");
    }
    return rc;
}

static int
commit(struct lite_target *t, const struct gw_target_counts *n, const char *snapshot, struct gw_err *err)
{
    // Refused rows that the policy ignores are counted, but not recorded.
    if (n->rows_written != t->written || n->rows_refused < t->refused) {
        return gw_err_set(err, GW_BUG, NULL, "%llu rows were written and %llu refused, not %llu and %llu",
                          (unsigned long long)t->written, (unsigned long long)t->refused,
                          (unsigned long long)n->rows_written, (unsigned long long)n->rows_refused);
    }
    int rc = need_tx(t, err); // a chunk without rows
    if (rc == GW_OK && GW_FAULT("apply.before_fence")) {
        rc = gw_err_set(err, GW_RETRY, NULL, "fault apply.before_fence");
    }
    rc = rc == GW_OK ? fence(t, n, snapshot, err) : rc;
    if (rc == GW_OK && GW_FAULT("apply.before_commit")) {
        rc = gw_err_set(err, GW_RETRY, NULL, "fault apply.before_commit");
    }
    rc = rc == GW_OK ? gw_lite_exec(t->db, err, "COMMIT") : rc;
    if (rc == GW_OK && GW_FAULT("apply.after_commit")) {
        rc = gw_err_set(err, GW_RETRY, NULL, "fault apply.after_commit");
    }
    return rc;
}

int
lite_load_commit(void *self, const struct gw_target_counts *counts, const char *snapshot, struct gw_err *err)
{
    struct lite_target *t = self;
    gw_assert(t->loading);
    int rc = commit(t, counts, snapshot, err);
    if (rc != GW_OK) {
        gw_err_wrap(err, "commit chunk %u of \"%s\"", t->no, t->table->name);
        (void)lite_load_abort(t, NULL); // the failure of the commit is the one to tell
        return rc;
    }
    load_end(t);
    return GW_OK;
}

int
lite_load_abort(void *self, struct gw_err *err)
{
    struct lite_target *t = self;
    int rc = GW_OK;
    bool open = t->loading && t->in_tx && !sqlite3_get_autocommit(t->db);
    load_end(t);
    if (open) {
        rc = gw_lite_exec(t->db, err, "ROLLBACK");
    }
    return rc;
}
