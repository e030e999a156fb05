// The control tables: what is durable of the task (target.h, rule 9).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply/targets/sqlite/sqlite_target.h"
#include "common/clock.h"
#include "common/plan.h"
#include "common/worker.h"

enum { DROP_BUSY_MS = 2000 }; // a drop that has to wait says so

static const char *const control_tables[] = {
    "CREATE TABLE IF NOT EXISTS $tasks (task TEXT PRIMARY KEY, task_uuid TEXT NOT NULL,"
    " mapping_hash TEXT NOT NULL, source_identity TEXT NOT NULL, source_engine TEXT NOT NULL,"
    " started_us INTEGER NOT NULL, completed_us INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS $tables (task TEXT NOT NULL, table_id INTEGER NOT NULL,"
    " generation INTEGER NOT NULL, state INTEGER NOT NULL, reason TEXT NOT NULL,"
    " one_snapshot INTEGER NOT NULL, plan BLOB NOT NULL, source_schema TEXT NOT NULL,"
    " source_table TEXT NOT NULL, target_schema TEXT NOT NULL, target_table TEXT NOT NULL,"
    " PRIMARY KEY (task, table_id))",
    "CREATE TABLE IF NOT EXISTS $chunks (task TEXT NOT NULL, table_id INTEGER NOT NULL,"
    " generation INTEGER NOT NULL, no INTEGER NOT NULL, state INTEGER NOT NULL DEFAULT 0,"
    " epoch INTEGER NOT NULL DEFAULT 0, owner TEXT, backend TEXT, backend_start INTEGER,"
    " snapshot TEXT NOT NULL DEFAULT '', rows_read INTEGER NOT NULL DEFAULT 0,"
    " rows_written INTEGER NOT NULL DEFAULT 0, rows_refused INTEGER NOT NULL DEFAULT 0,"
    " values_truncated INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,"
    " done_us INTEGER, plan BLOB NOT NULL, PRIMARY KEY (task, table_id, generation, no))",
    "CREATE TABLE IF NOT EXISTS $steps (task TEXT NOT NULL, table_id INTEGER NOT NULL,"
    " generation INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY (task, table_id, generation, name))",
    "CREATE TABLE IF NOT EXISTS $progress (task TEXT PRIMARY KEY, position TEXT NOT NULL,"
    " snapshot TEXT NOT NULL, epoch INTEGER NOT NULL DEFAULT 0, owner TEXT, backend TEXT, backend_start INTEGER,"
    " counts BLOB NOT NULL, updated_us INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS $exceptions (id INTEGER PRIMARY KEY AUTOINCREMENT, task TEXT NOT NULL,"
    " source_schema TEXT NOT NULL, source_table TEXT NOT NULL, target_schema TEXT NOT NULL,"
    " target_table TEXT NOT NULL, chunk INTEGER, key_text TEXT, code TEXT NOT NULL,"
    " reason TEXT NOT NULL, row_text TEXT, position TEXT, at TEXT NOT NULL)",
};
enum { CONTROL_TABLES = sizeof control_tables / sizeof *control_tables };

// ---- reading -----------------------------------------------------------------------------------

Gw__Chunk *
lite_chunk_read(struct gw_arena *a, sqlite3_stmt *s, int at)
{
    Gw__Chunk *c = gw__chunk__unpack(gw_arena_pb(a), (size_t)sqlite3_column_bytes(s, at), sqlite3_column_blob(s, at));
    if (!c) {
        return NULL;
    }
    c->generation = (uint32_t)sqlite3_column_int64(s, at + 1);
    c->done = sqlite3_column_int(s, at + 2) == 1;
    c->epoch = (uint64_t)sqlite3_column_int64(s, at + 3);
    c->snapshot = gw_lite_text(a, s, at + 4);
    c->rows_read = (uint64_t)sqlite3_column_int64(s, at + 5);
    c->rows_written = (uint64_t)sqlite3_column_int64(s, at + 6);
    c->rows_refused = (uint64_t)sqlite3_column_int64(s, at + 7);
    c->values_truncated = (uint64_t)sqlite3_column_int64(s, at + 8);
    c->bytes = (uint64_t)sqlite3_column_int64(s, at + 9);
    return c;
}

bool
lite_is_plan(struct gw_arena *a, sqlite3_stmt *s, int at, const Gw__Chunk *c)
{
    Gw__Chunk plan = gw_plan_part(c);
    size_t n = gw__chunk__get_packed_size(&plan);
    uint8_t *bytes = gw_arena_alloc(a, n + 1);
    gw__chunk__pack(&plan, bytes);
    // An empty blob may come as NULL.
    return (size_t)sqlite3_column_bytes(s, at) == n && (n == 0 || memcmp(sqlite3_column_blob(s, at), bytes, n) == 0);
}

int
lite_damaged(struct lite_target *t, struct gw_err *err)
{
    return gw_err_set(err, GW_CONFIG, NULL, "control tables \"%s*\" hold a plan that cannot be read", t->prefix);
}

static int
load_chunks(struct lite_target *t, struct gw_arena *a, Gw__TablePlan *p, uint32_t id, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(t->db, &q, err,
                           lite_sql(t, "SELECT " LITE_CHUNK_COLUMNS " FROM $chunks WHERE task = ?1"
                                       " AND table_id = ?2 AND generation = ?3 ORDER BY no"),
                           "tii", t->task->name, (int64_t)id, (int64_t)p->generation);
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        Gw__Chunk *c = lite_chunk_read(a, q, 0);
        if (!c) {
            rc = lite_damaged(t, err);
            break;
        }
        gw_pb_add(a, p, chunks, c);
    }
    sqlite3_finalize(q);
    q = NULL;
    if (rc == GW_END) {
        rc = gw_lite_query(t->db, &q, err,
                           lite_sql(t, "SELECT name FROM $steps WHERE task = ?1 AND table_id = ?2"
                                       " AND generation = ?3 AND name NOT LIKE 'prepared:%'"
                                       " ORDER BY name"),
                           "tii", t->task->name, (int64_t)id, (int64_t)p->generation);
    }
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        gw_pb_add(a, p, steps_done, gw_lite_text(a, q, 0));
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

static int
load_tables(struct lite_target *t, struct gw_arena *a, Gw__TargetState *ret, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(t->db, &q, err,
                           lite_sql(t, "SELECT plan, generation, state, reason, one_snapshot, table_id"
                                       " FROM $tables WHERE task = ?1 ORDER BY table_id"),
                           "t", t->task->name);
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        Gw__TablePlan *p =
            gw__table_plan__unpack(gw_arena_pb(a), (size_t)sqlite3_column_bytes(q, 0), sqlite3_column_blob(q, 0));
        if (!p) {
            rc = lite_damaged(t, err);
            break;
        }
        p->generation = (uint32_t)sqlite3_column_int64(q, 1);
        p->state = (Gw__TableState)sqlite3_column_int(q, 2);
        p->reason = gw_lite_text(a, q, 3);
        p->one_snapshot = sqlite3_column_int(q, 4) != 0;
        rc = load_chunks(t, a, p, (uint32_t)sqlite3_column_int64(q, 5), err);
        gw_pb_add(a, ret, tables, p);
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

int
lite_progress_load(struct lite_target *t, struct gw_arena *a, Gw__Progress **ret, struct gw_err *err)
{
    char name[sizeof t->prefix + 16];
    bool there = false;
    snprintf(name, sizeof name, "%sprogress", t->prefix);
    int rc = lite_exists(t, "table", name, &there, err); // an earlier version knew none
    if (rc != GW_OK || !there) {
        return rc;
    }
    sqlite3_stmt *q = NULL;
    rc = gw_lite_query(t->db, &q, err,
                       lite_sql(t, "SELECT position, snapshot, epoch, counts, updated_us FROM $progress"
                                   " WHERE task = ?1"),
                       "t", t->task->name);
    if (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        Gw__Progress *p = gw_pb_new(a, Gw__Progress, gw__progress__init);
        p->position = gw_lite_text(a, q, 0);
        p->snapshot = gw_lite_text(a, q, 1);
        p->epoch = (uint64_t)sqlite3_column_int64(q, 2);
        // An empty blob may come as NULL.
        p->counts =
            gw__stream_counts__unpack(gw_arena_pb(a), (size_t)sqlite3_column_bytes(q, 3), sqlite3_column_blob(q, 3));
        p->updated_us = sqlite3_column_int64(q, 4);
        rc = p->counts ? GW_OK : lite_damaged(t, err);
        *ret = p;
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

static int
load_task(struct lite_target *t, struct gw_arena *a, bool with_plan, Gw__TargetState *ret, struct gw_err *err)
{
    char name[sizeof t->prefix + 8];
    bool there = false;
    snprintf(name, sizeof name, "%stasks", t->prefix);
    int rc = lite_exists(t, "table", name, &there, err);
    if (rc != GW_OK || !there) {
        return rc;
    }
    sqlite3_stmt *q = NULL;
    rc = gw_lite_query(t->db, &q, err,
                       lite_sql(t, "SELECT task_uuid, mapping_hash, source_identity, source_engine,"
                                   " started_us, completed_us FROM $tasks WHERE task = ?1"),
                       "t", t->task->name);
    if (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        ret->exists = true;
        ret->task = gw_arena_strdup(a, t->task->name);
        ret->task_uuid = gw_lite_text(a, q, 0);
        ret->mapping_hash = gw_lite_text(a, q, 1);
        ret->source_identity = gw_lite_text(a, q, 2);
        ret->source_engine = gw_lite_text(a, q, 3);
        ret->started_us = sqlite3_column_int64(q, 4);
        ret->completed_us = sqlite3_column_int64(q, 5);
        ret->completed = ret->completed_us != 0;
        rc = lite_progress_load(t, a, &ret->progress, err);
        rc = rc == GW_OK && with_plan ? load_tables(t, a, ret, err) : rc;
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

int
lite_state_load(void *self, struct gw_arena *a, bool with_plan, Gw__TargetState *ret, struct gw_err *err)
{
    struct lite_target *t = self;
    Gw__TargetState state;
    gw__target_state__init(&state);
    int rc = lite_target_find(t, err);
    if (rc != GW_OK || !t->db) {
        *ret = rc == GW_OK ? state : *ret;
        return rc;
    }
    // One transaction: tables and chunks of one point in time, and an older one of the two never.
    rc = gw_lite_exec(t->db, err, "BEGIN DEFERRED");
    if (rc == GW_OK) {
        rc = lite_tx_end(t, load_task(t, a, with_plan, &state, err), err);
    }
    if (rc != GW_OK) {
        return gw_err_wrap(err, "read state of task \"%s\"", t->task->name);
    }
    *ret = state;
    return GW_OK;
}

int
lite_stored(struct lite_target *t, uint32_t table_id, int64_t *ret_generation, int64_t *ret_state, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(t->db, &q, err,
                           lite_sql(t, "SELECT generation, state FROM $tables WHERE task = ?1"
                                       " AND table_id = ?2 AND " LITE_OURS("?3")),
                           "tit", t->task->name, (int64_t)table_id, t->task->uuid);
    if (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        *ret_generation = sqlite3_column_int64(q, 0);
        *ret_state = sqlite3_column_int64(q, 1);
    }
    sqlite3_finalize(q);
    return rc;
}

// ---- writing -----------------------------------------------------------------------------------

// Packed into memory of the caller's arena.
size_t
lite_pack(struct gw_arena *a, const ProtobufCMessage *m, uint8_t **ret)
{
    size_t n = protobuf_c_message_get_packed_size(m);
    *ret = gw_arena_alloc(a, n + 1);
    return protobuf_c_message_pack(m, *ret);
}

int
lite_insert_chunks(struct lite_target *t, uint32_t table_id, uint32_t generation, Gw__Chunk *const *chunks, size_t n,
                   struct gw_err *err)
{
    struct gw_arena a;
    gw_arena_init(&a);
    int rc = GW_OK;
    for (size_t i = 0; i < n && rc == GW_OK; i++) {
        uint8_t *bytes = NULL;
        Gw__Chunk plan = gw_plan_part(chunks[i]);
        size_t len = lite_pack(&a, &plan.base, &bytes);
        rc = gw_lite_run(t->db, err,
                         lite_sql(t, "INSERT INTO $chunks (task, table_id, generation, no, plan)"
                                     " VALUES (?1, ?2, ?3, ?4, ?5)"),
                         "tiiib", t->task->name, (int64_t)table_id, (int64_t)generation, (int64_t)chunks[i]->no, bytes,
                         len);
        gw_arena_reset(&a);
    }
    gw_arena_fini(&a);
    return rc;
}

int
lite_insert_table(struct lite_target *t, const Gw__TablePlan *p, struct gw_err *err)
{
    Gw__TablePlan bare = *p;
    bare.n_chunks = 0;
    bare.n_steps_done = 0;
    struct gw_arena a;
    gw_arena_init(&a);
    uint8_t *bytes = NULL;
    size_t len = lite_pack(&a, &bare.base, &bytes);
    const Gw__Table *to = p->target;
    int rc =
        gw_lite_run(t->db, err,
                    lite_sql(t, "INSERT INTO $tables VALUES"
                                " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"),
                    "tiiitibtttt", t->task->name, (int64_t)to->id, (int64_t)p->generation, (int64_t)p->state, p->reason,
                    (int64_t)p->one_snapshot, bytes, len, to->source_schema, to->source_name, to->schema, to->name);
    gw_arena_fini(&a);
    if (rc == GW_OK) {
        rc = lite_insert_chunks(t, to->id, p->generation, p->chunks, p->n_chunks, err);
    }
    return rc;
}

// An earlier version knew no stream: its `exceptions` have no position, and always a chunk.
static int
mend_exceptions(struct lite_target *t, struct gw_err *err)
{
    char sql[256];
    int64_t there = 0;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM pragma_table_info('%sexceptions') WHERE name = 'position'",
             t->prefix);
    int rc = gw_lite_int(t->db, &there, 0, err, sql);
    if (rc != GW_OK || there) {
        return rc;
    }
    rc = gw_lite_exec(t->db, err, lite_sql(t, "ALTER TABLE $exceptions RENAME TO $earlier"));
    rc = rc == GW_OK ? gw_lite_exec(t->db, err, lite_sql(t, control_tables[CONTROL_TABLES - 1])) : rc;
    rc = rc == GW_OK ? gw_lite_exec(t->db, err,
                                    lite_sql(t, "INSERT INTO $exceptions (id, task, source_schema, source_table,"
                                                " target_schema, target_table, chunk, key_text, code, reason,"
                                                " row_text, at) SELECT id, task, source_schema, source_table,"
                                                " target_schema, target_table, chunk, key_text, code, reason,"
                                                " row_text, at FROM $earlier; DROP TABLE $earlier"))
                     : rc;
    return rc;
}

static int
insert_progress(struct lite_target *t, const Gw__Progress *p, struct gw_err *err)
{
    struct gw_arena a;
    gw_arena_init(&a);
    uint8_t *bytes = NULL;
    const Gw__StreamCounts none = GW__STREAM_COUNTS__INIT;
    size_t len = lite_pack(&a, p->counts ? &p->counts->base : &none.base, &bytes);
    int rc = gw_lite_run(t->db, err,
                         lite_sql(t, "INSERT INTO $progress (task, position, snapshot, counts, updated_us)"
                                     " VALUES (?1, ?2, ?3, ?4, ?5)"),
                         "tttbi", t->task->name, p->position, p->snapshot, bytes, len, gw_wall_us());
    gw_arena_fini(&a);
    return rc;
}

static int
register_all(struct lite_target *t, const Gw__TargetState *state, struct gw_err *err)
{
    int rc = GW_OK;
    for (size_t i = 0; i < CONTROL_TABLES && rc == GW_OK; i++) {
        rc = gw_lite_exec(t->db, err, lite_sql(t, control_tables[i]));
    }
    rc = rc == GW_OK ? mend_exceptions(t, err) : rc;
    sqlite3_stmt *q = NULL;
    if (rc == GW_OK) {
        rc = gw_lite_query(t->db, &q, err, lite_sql(t, "SELECT task_uuid FROM $tasks WHERE task = ?1"), "t",
                           t->task->name);
    }
    rc = rc == GW_OK ? gw_lite_step(q, err) : rc;
    bool ours = rc == GW_OK && strcmp((const char *)sqlite3_column_text(q, 0), state->task_uuid) == 0;
    sqlite3_finalize(q);
    if (rc == GW_OK) { // it is there
        if (!ours) {
            gw_err_set(err, GW_CONFIG, NULL, "task \"%s\" is on the target already, begun by somebody else",
                       t->task->name);
            gw_err_hint(err, "give this task another name, or remove the other with `godwit drop`");
        }
        return ours ? GW_OK : GW_CONFIG;
    }
    if (rc != GW_END) {
        return rc;
    }
    rc = gw_lite_run(t->db, err, lite_sql(t, "INSERT INTO $tasks VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)"), "ttttti",
                     t->task->name, state->task_uuid, state->mapping_hash, state->source_identity, state->source_engine,
                     state->started_us);
    for (size_t i = 0; i < state->n_tables && rc == GW_OK; i++) {
        rc = lite_insert_table(t, state->tables[i], err);
    }
    return rc == GW_OK && state->progress ? insert_progress(t, state->progress, err) : rc;
}

int
lite_state_register(void *self, const Gw__TargetState *state, struct gw_err *err)
{
    struct lite_target *t = self;
    int rc = lite_target_ready(t, err);
    rc = rc == GW_OK ? lite_tx_begin(t, err) : rc;
    if (rc == GW_OK) {
        rc = lite_tx_end(t, register_all(t, state, err), err);
    }
    return rc == GW_OK ? GW_OK : gw_err_wrap(err, "register task \"%s\"", t->task->name);
}

// A slot that needs the task to be there: without a file or control tables, somebody has dropped it.
int
lite_begin_on_task(struct lite_target *t, struct gw_err *err)
{
    int rc = lite_task_there(t, err);
    rc = rc == GW_OK ? lite_tx_begin(t, err) : rc;
    if (rc == GW_OK) { // again, now that nobody else can write
        rc = lite_task_there(t, err);
        rc = rc == GW_OK ? rc : lite_tx_end(t, rc, err);
    }
    return rc;
}

int
lite_begin_as_ours(struct lite_target *t, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc = lite_begin_on_task(t, err);
    if (rc != GW_OK) {
        return rc;
    }
    rc = gw_lite_query(t->db, &q, err, lite_sql(t, "SELECT 1 WHERE " LITE_OURS("?2")), "tt", t->task->name,
                       t->task->uuid);
    rc = rc == GW_OK ? gw_lite_step(q, err) : rc;
    sqlite3_finalize(q);
    if (rc == GW_END) {
        rc = gw_err_set(err, GW_FENCED, NULL, "task \"%s\" is gone from the target", t->task->name);
        gw_err_hint(err, LITE_OTHER_GODWIT);
    }
    return rc == GW_OK ? rc : lite_tx_end(t, rc, err);
}

static int
drop_all(struct lite_target *t, struct gw_err *err)
{
    static const char *const names[] = {"exceptions", "progress", "steps", "chunks", "tables", "tasks"};
    // An earlier version made no `progress`.
    int rc = gw_lite_exec(t->db, err, lite_sql(t, control_tables[CONTROL_TABLES - 2]));
    for (size_t i = 0; i < sizeof names / sizeof *names && rc == GW_OK; i++) {
        char sql[128];
        snprintf(sql, sizeof sql, "DELETE FROM $%s WHERE task = ?1", names[i]);
        rc = gw_lite_run(t->db, err, lite_sql(t, sql), "t", t->task->name);
    }
    int64_t left = 1;
    if (rc == GW_OK) {
        rc = gw_lite_int(t->db, &left, 0, err, lite_sql(t, "SELECT count(*) FROM $tasks"));
    }
    for (size_t i = 0; i < sizeof names / sizeof *names && rc == GW_OK && left == 0; i++) {
        char sql[128];
        snprintf(sql, sizeof sql, "DROP TABLE $%s", names[i]);
        rc = gw_lite_exec(t->db, err, lite_sql(t, sql));
    }
    return rc;
}

int
lite_state_drop(void *self, struct gw_err *err)
{
    struct lite_target *t = self;
    struct gw_err why = {0};
    char owner[32] = "";
    int rc = lite_task_there(t, &why);
    if (rc == GW_OK) {
        sqlite3_busy_timeout(t->db, DROP_BUSY_MS);
        rc = lite_end_stopped_owners(t, owner, sizeof owner, &why);
    }
    rc = rc == GW_OK ? lite_begin_on_task(t, &why) : rc;
    if (rc == GW_FENCED) {
        return GW_OK; // dropped before
    }
    if (rc == GW_OK) {
        rc = lite_tx_end(t, drop_all(t, &why), &why);
    }
    if (t->db) {
        sqlite3_busy_timeout(t->db, t->busy_ms);
    }
    if (strncmp(why.code, "BUSY", 4) == 0) {
        gw_err_clear(&why);
        rc = gw_err_set(&why, GW_AGAIN, GW_CODE_LOCKED, "another process%s%s holds a lock on \"%s\"",
                        owner[0] ? ", perhaps the task's loader " : "", owner, t->path);
        gw_err_hint(&why, "see who has it open: fuser -v FILE");
    }
    if (rc != GW_OK && err) {
        *err = why;
    }
    return rc;
}
