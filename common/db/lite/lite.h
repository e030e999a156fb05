// SQLite, wrapped once for the source and the target: open with every setting fixed, errors as classes, names and
// literals quoted, small statements in one call, and what both sides must agree on: affinities and tagged values.
#ifndef GW_DB_LITE_H
#define GW_DB_LITE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "task.pb-c.h"

enum gw_lite_flags {
    GW_LITE_READER = 1, // never writes: query_only, and no checkpoint when it closes
    GW_LITE_CREATE = 2, // makes the file where there is none
};

// A value that has no canonical form in its column's kind (SQLite lets any class of value into any column) travels as
// this byte, a letter for its class, and its text: `i` integer, `r` real, `t` text, `b` hex of a blob. No UTF-8 text
// begins with the byte, so only a SQLite target reads it, and every other target refuses the row.
enum { GW_LITE_TAG = 0xff };

enum gw_lite_affinity { GW_LITE_BLOB, GW_LITE_TEXT, GW_LITE_NUMERIC, GW_LITE_INTEGER, GW_LITE_REAL };

// The absolute path of the endpoint's file (which need not exist, but its folder must). CONFIG if it cannot be one.
int gw_lite_path(const Gw__Endpoint *ep, char *ret, size_t size, struct gw_err *err);
// Opens `path` and proves that it is a database that can be read. *ret is untouched on failure.
int gw_lite_open(sqlite3 **ret, const char *path, unsigned flags, int busy_ms, struct gw_err *err);
sqlite3 *gw_lite_close(sqlite3 *c); // takes NULL; statements must be finalized; returns NULL

// Value of a setting of the endpoint (or of the url's parameters), NULL if it is not there.
const char *gw_lite_setting(const Gw__Endpoint *ep, const char *key);

// Parameters of a statement, one letter each: t text (NULL = SQL NULL), i int64_t, b pointer and size_t.
// Prepares and binds; text and blobs are borrowed until the statement is finalized.
int gw_lite_query(sqlite3 *c, sqlite3_stmt **ret, struct gw_err *err, const char *sql, const char *types, ...);
// The same, run to its end; rows are ignored.
int gw_lite_run(sqlite3 *c, struct gw_err *err, const char *sql, const char *types, ...);
// One or more statements without parameters.
int gw_lite_exec(sqlite3 *c, struct gw_err *err, const char *sql);
// GW_OK with a row, GW_END without one.
int gw_lite_step(sqlite3_stmt *s, struct gw_err *err);
// First column of the first row; `none` where there is no row or it is NULL.
int gw_lite_int(sqlite3 *c, int64_t *ret, int64_t none, struct gw_err *err, const char *sql);
// A column of the current row in the arena, never NULL.
char *gw_lite_text(struct gw_arena *a, sqlite3_stmt *s, int column);

// From sqlite3_errmsg of c (may be NULL); rc may be an extended code, code is its name ("BUSY").
int gw_lite_error(sqlite3 *c, int rc, struct gw_err *err, const char *what, ...) __attribute__((format(printf, 4, 5)));
enum gw_class gw_lite_classify(int rc);

// Appends "ident" / 'literal'. A literal with a NUL byte is written as CAST(X'…' AS TEXT).
void gw_lite_ident(struct gw_buf *sql, const char *name);
void gw_lite_literal(struct gw_buf *sql, const char *text, size_t len);

// https://www.sqlite.org/datatype3.html, "Determination Of Column Affinity"; strict tables too.
enum gw_lite_affinity gw_lite_affinity(const char *declared);
// True for `[-]digits` without leading zeros that fit 64 bits, as SQLite itself would write it.
bool gw_lite_parse_int(const char *p, size_t n, int64_t *ret);
// True if the whole text is a finite decimal number; *ret is the nearest double.
bool gw_lite_parse_real(const char *p, size_t n, double *ret);
// Shortest text that reads back to the same double; "Infinity", "-Infinity". Always with a point or an exponent.
// buf of 32 bytes; returns the length.
size_t gw_lite_format_real(double v, char *buf);

#endif
