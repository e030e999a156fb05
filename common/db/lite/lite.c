#include "common/db/lite/lite.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CACHE_KIB = 32 * 1024, SQL_MAX = 16 * 1024 * 1024 };

// By primary result code; https://www.sqlite.org/rescode.html
static const struct {
    int rc;
    const char *name;
    enum gw_class cls;
} codes[] = {
    {SQLITE_ERROR, "ERROR", GW_CONFIG},
    {SQLITE_INTERNAL, "INTERNAL", GW_BUG},
    {SQLITE_PERM, "PERM", GW_CONFIG},
    {SQLITE_ABORT, "ABORT", GW_RETRY},
    {SQLITE_BUSY, "BUSY", GW_RETRY},
    {SQLITE_LOCKED, "LOCKED", GW_RETRY},
    {SQLITE_NOMEM, "NOMEM", GW_RETRY},
    {SQLITE_READONLY, "READONLY", GW_CONFIG},
    {SQLITE_INTERRUPT, "INTERRUPT", GW_RETRY},
    {SQLITE_IOERR, "IOERR", GW_RETRY},
    {SQLITE_CORRUPT, "CORRUPT", GW_CONFIG},
    {SQLITE_FULL, "FULL", GW_RETRY}, // like a full disk of a server: space may come back
    {SQLITE_CANTOPEN, "CANTOPEN", GW_CONFIG},
    {SQLITE_PROTOCOL, "PROTOCOL", GW_RETRY},
    {SQLITE_SCHEMA, "SCHEMA", GW_RETRY},
    {SQLITE_TOOBIG, "TOOBIG", GW_DATA},
    {SQLITE_CONSTRAINT, "CONSTRAINT", GW_DATA},
    {SQLITE_MISMATCH, "MISMATCH", GW_DATA},
    {SQLITE_MISUSE, "MISUSE", GW_BUG},
    {SQLITE_AUTH, "AUTH", GW_CONFIG},
    {SQLITE_RANGE, "RANGE", GW_BUG},
    {SQLITE_NOTADB, "NOTADB", GW_CONFIG},
};

enum gw_class
gw_lite_classify(int rc)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i].rc == (rc & 0xff)) {
            return codes[i].cls;
        }
    }
    return GW_CONFIG;
}

int
gw_lite_error(sqlite3 *c, int rc, struct gw_err *err, const char *what, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, what);
    vsnprintf(text, sizeof text, what, ap);
    va_end(ap);
    const char *name = "ERROR";
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i].rc == (rc & 0xff)) {
            name = codes[i].name;
        }
    }
    int full = c && (sqlite3_errcode(c) & 0xff) == (rc & 0xff) ? sqlite3_extended_errcode(c) : rc;
    if (full == SQLITE_CONSTRAINT_UNIQUE || full == SQLITE_CONSTRAINT_PRIMARYKEY || full == SQLITE_CONSTRAINT_ROWID) {
        name = "UNIQUE"; // common/policy.h asks for it
    }
    const char *why = c && (sqlite3_errcode(c) & 0xff) == (rc & 0xff) ? sqlite3_errmsg(c) : sqlite3_errstr(rc);
    int cls = gw_err_set(err, gw_lite_classify(rc), name, "%s: %s", text, why);
    if ((rc & 0xff) == SQLITE_BUSY) {
        gw_err_hint(err, "another process holds a lock on the file");
    }
    return cls;
}

int
gw_lite_path(const Gw__Endpoint *ep, char *ret, size_t size, struct gw_err *err)
{
    const char *given = ep->database;
    if (!given[0] || strcmp(given, ":memory:") == 0) {
        return gw_err_set(err, GW_CONFIG, NULL, "url \"%s\" names no database file", ep->url);
    }
    // The folder is resolved, then the name appended: the file itself may not exist yet.
    char whole[PATH_MAX];
    if (realpath(given, whole) == NULL) {
        if (errno != ENOENT) {
            return gw_err_errno(err, errno, "open database \"%s\"", given);
        }
        const char *slash = strrchr(given, '/');
        char folder[PATH_MAX];
        snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - given + 1) : 1, slash ? given : ".");
        char real[PATH_MAX];
        if (realpath(folder, real) == NULL) {
            return gw_err_errno(err, errno, "open folder of database \"%s\"", given);
        }
        const char *name = slash ? slash + 1 : given;
        int n = snprintf(whole, sizeof whole, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
        if (n < 0 || (size_t)n >= sizeof whole || !name[0]) {
            return gw_err_set(err, GW_CONFIG, NULL, "path \"%s\" cannot be a file", given);
        }
    }
    if (strlen(whole) >= size) {
        return gw_err_set(err, GW_CONFIG, NULL, "path \"%s\" is too long", given);
    }
    memcpy(ret, whole, strlen(whole) + 1);
    return GW_OK;
}

static int
configure(sqlite3 *c, unsigned flags, int busy_ms, struct gw_err *err)
{
    sqlite3_extended_result_codes(c, 1);
    sqlite3_busy_timeout(c, busy_ms);
    // The schema of a file is input from outside: it runs no extension and is not believed to be well formed.
    sqlite3_db_config(c, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(c, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(c, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    if (flags & GW_LITE_READER) {
        sqlite3_db_config(c, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    }
    char sql[160];
    snprintf(sql, sizeof sql, "PRAGMA cache_size=-%d; PRAGMA temp_store=FILE; PRAGMA query_only=%s", (int)CACHE_KIB,
             flags & GW_LITE_READER ? "ON" : "OFF");
    int rc = gw_lite_exec(c, err, sql);
    int64_t encoding_is_utf8 = 0;
    if (rc == GW_OK) {
        // The first read of the file: is it a database, and may it be read?
        rc = gw_lite_int(c, &encoding_is_utf8, 0, err, "SELECT count(*) FROM sqlite_schema");
    }
    return rc;
}

int
gw_lite_open(sqlite3 **ret, const char *path, unsigned flags, int busy_ms, struct gw_err *err)
{
    // Readers open for writing too, where the file allows it: only such a connection can roll back a hot journal and
    // join a write-ahead log. query_only keeps them from writing anything else.
    int mode = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
               (flags & GW_LITE_CREATE ? SQLITE_OPEN_CREATE : 0);
    sqlite3 *c = NULL;
    int rc = sqlite3_open_v2(path, &c, mode, NULL);
    if (rc != SQLITE_OK) {
        rc = gw_lite_error(c, rc, err, "open database \"%s\"", path);
        sqlite3_close(c);
        return rc;
    }
    rc = configure(c, flags, busy_ms, err);
    if (rc != GW_OK) {
        gw_err_wrap(err, "open database \"%s\"", path);
        sqlite3_close(c);
        return rc;
    }
    *ret = c;
    return GW_OK;
}

sqlite3 *
gw_lite_close(sqlite3 *c)
{
    // v2: a statement that was forgotten does not keep the lock on the file alive for ever.
    sqlite3_close_v2(c);
    return NULL;
}

const char *
gw_lite_setting(const Gw__Endpoint *ep, const char *key)
{
    for (size_t i = 0; i < ep->n_settings; i++) {
        if (strcmp(ep->settings[i]->key, key) == 0) {
            return ep->settings[i]->value;
        }
    }
    for (size_t i = 0; i < ep->n_params; i++) {
        if (strcasecmp(ep->params[i]->key, key) == 0) {
            return ep->params[i]->value;
        }
    }
    return NULL;
}

static int
prepare_bind(sqlite3 *c, sqlite3_stmt **ret, struct gw_err *err, const char *sql, const char *types, va_list ap)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(c, sql, -1, &s, NULL);
    if (rc != SQLITE_OK) {
        return gw_lite_error(c, rc, err, "prepare statement");
    }
    for (int i = 1; *types && rc == SQLITE_OK; types++, i++) {
        if (*types == 'i') {
            rc = sqlite3_bind_int64(s, i, va_arg(ap, int64_t));
        } else if (*types == 't') {
            rc = sqlite3_bind_text(s, i, va_arg(ap, const char *), -1, SQLITE_STATIC);
        } else {
            gw_assert(*types == 'b');
            const void *p = va_arg(ap, const void *);
            rc = sqlite3_bind_blob64(s, i, p, va_arg(ap, size_t), SQLITE_STATIC);
        }
    }
    if (rc != SQLITE_OK) {
        rc = gw_lite_error(c, rc, err, "bind parameters");
        sqlite3_finalize(s);
        return rc;
    }
    *ret = s;
    return GW_OK;
}

int
gw_lite_query(sqlite3 *c, sqlite3_stmt **ret, struct gw_err *err, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    int rc = prepare_bind(c, ret, err, sql, types, ap);
    va_end(ap);
    return rc;
}

int
gw_lite_step(sqlite3_stmt *s, struct gw_err *err)
{
    int rc = sqlite3_step(s);
    if (rc == SQLITE_ROW) {
        return GW_OK;
    }
    if (rc == SQLITE_DONE) {
        return GW_END;
    }
    return gw_lite_error(sqlite3_db_handle(s), rc, err, "run statement");
}

int
gw_lite_run(sqlite3 *c, struct gw_err *err, const char *sql, const char *types, ...)
{
    sqlite3_stmt *s = NULL;
    va_list ap;
    va_start(ap, types);
    int rc = prepare_bind(c, &s, err, sql, types, ap);
    va_end(ap);
    while (rc == GW_OK) {
        rc = gw_lite_step(s, err);
    }
    sqlite3_finalize(s);
    return rc == GW_END ? GW_OK : rc;
}

int
gw_lite_exec(sqlite3 *c, struct gw_err *err, const char *sql)
{
    int rc = sqlite3_exec(c, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? GW_OK : gw_lite_error(c, rc, err, "run statement");
}

int
gw_lite_int(sqlite3 *c, int64_t *ret, int64_t none, struct gw_err *err, const char *sql)
{
    sqlite3_stmt *s = NULL;
    int rc = gw_lite_query(c, &s, err, sql, "");
    if (rc != GW_OK) {
        return rc;
    }
    rc = gw_lite_step(s, err);
    if (rc == GW_OK || rc == GW_END) {
        bool some = rc == GW_OK && sqlite3_column_type(s, 0) != SQLITE_NULL;
        *ret = some ? sqlite3_column_int64(s, 0) : none;
        rc = GW_OK;
    }
    sqlite3_finalize(s);
    return rc;
}

char *
gw_lite_text(struct gw_arena *a, sqlite3_stmt *s, int column)
{
    const void *p = sqlite3_column_text(s, column);
    return gw_arena_memdup0(a, p ? p : "", p ? (size_t)sqlite3_column_bytes(s, column) : 0);
}
