// The coordinator's SQLite file. A cache: whatever is lost here is found on the target again, so a write
// that fails is logged and work goes on.
#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "coordinator/co.h"

static const char schema[] =
    "PRAGMA journal_mode=WAL;"
    "PRAGMA synchronous=NORMAL;"
    "CREATE TABLE IF NOT EXISTS kv (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS status (id INTEGER PRIMARY KEY CHECK (id = 1), at_us INTEGER NOT NULL,"
    " packed BLOB NOT NULL);"
    "CREATE TABLE IF NOT EXISTS transitions (at_us INTEGER NOT NULL, what TEXT NOT NULL, from_state TEXT"
    " NOT NULL, why TEXT NOT NULL, to_state TEXT NOT NULL);";

int
co_store_open(struct co *co, struct gw_err *err)
{
    char path[512];
    snprintf(path, sizeof path, "%s/coordinator.sqlite", co->state_dir);
    if (sqlite3_open(path, &co->db) != SQLITE_OK || sqlite3_busy_timeout(co->db, 5000) != SQLITE_OK ||
        sqlite3_exec(co->db, schema, NULL, NULL, NULL) != SQLITE_OK) {
        gw_err_set(err, GW_CONFIG, NULL, "open state \"%s\": %s", path,
                   co->db ? sqlite3_errmsg(co->db) : "out of memory");
        gw_err_hint(err, "it is only a cache: it may be deleted, and is rebuilt from the target");
        co_store_close(co);
        return err->cls;
    }
    return GW_OK;
}

void
co_store_close(struct co *co)
{
    sqlite3_close(co->db);
    co->db = NULL;
}

static sqlite3_stmt *
prepare(struct co *co, const char *sql)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(co->db, sql, -1, &s, NULL) != SQLITE_OK) {
        gw_warn("state file: %s", sqlite3_errmsg(co->db));
    }
    return s;
}

static void
run(struct co *co, sqlite3_stmt *s)
{
    if (s && sqlite3_step(s) != SQLITE_DONE) {
        gw_warn("state file: %s", sqlite3_errmsg(co->db));
    }
    sqlite3_finalize(s);
}

char *
co_store_get(struct co *co, struct gw_arena *a, const char *key)
{
    sqlite3_stmt *s = prepare(co, "SELECT value FROM kv WHERE key = ?");
    char *value = NULL;
    if (s && sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        value = gw_arena_strdup(a, (const char *)sqlite3_column_text(s, 0));
    }
    sqlite3_finalize(s);
    return value;
}

void
co_store_put(struct co *co, const char *key, const char *value)
{
    sqlite3_stmt *s = prepare(co, "INSERT INTO kv VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2");
    if (s) {
        sqlite3_bind_text(s, 1, key, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 2, value, -1, SQLITE_STATIC);
    }
    run(co, s);
}

void
co_store_transition(struct co *co, const char *what, const char *from, const char *why, const char *to)
{
    sqlite3_stmt *s = prepare(co, "INSERT INTO transitions VALUES (?, ?, ?, ?, ?)");
    if (s) {
        sqlite3_bind_int64(s, 1, gw_wall_us());
        sqlite3_bind_text(s, 2, what, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 3, from, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 4, why, -1, SQLITE_STATIC);
        sqlite3_bind_text(s, 5, to, -1, SQLITE_STATIC);
    }
    run(co, s);
}

void
co_store_status(struct co *co)
{
    struct gw_arena a;
    gw_arena_init(&a);
    Gw__Status *st = co_status(co, &a);
    size_t size = gw__status__get_packed_size(st);
    uint8_t *packed = gw_arena_alloc(&a, size + 1);
    gw__status__pack(st, packed);
    sqlite3_stmt *s = prepare(co, "INSERT INTO status VALUES (1, ?1, ?2) ON CONFLICT (id) DO UPDATE SET"
                                  " at_us = ?1, packed = ?2");
    if (s) {
        sqlite3_bind_int64(s, 1, gw_wall_us());
        sqlite3_bind_blob64(s, 2, packed, size, SQLITE_STATIC);
    }
    run(co, s);
    gw_arena_fini(&a);
    co->stored_us = gw_now_us();
}
