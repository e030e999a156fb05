// The SQLite source: one file of the engine's parts, in reading order:
//   sqlite.c    open, close, identity, list, the table of slots
//   describe.c  columns, keys, indexes from the pragma functions and the CREATE text
//   types.c     declared type -> canonical kind
//   snapshot.c  the read transaction and the name of its point in time
//   plan.c      key ranges of about equal bytes
//   read.c      a chunk's rows;  values.c  one value as canonical text
#ifndef GW_SQLITE_SOURCE_H
#define GW_SQLITE_SOURCE_H

#include <limits.h>

#include "capture/source.h"
#include "common/copytext.h"
#include "common/db/lite/ddl.h"
#include "common/db/lite/lite.h"

struct lite_source {
    sqlite3 *db;
    char path[PATH_MAX];
    char *text_types; // setting text-types; owned
    bool in_snapshot;

    // The chunk that is being read.
    sqlite3_stmt *rows;
    bool row_held;               // the statement stands on a row that did not fit the last buffer
    struct lite_column *columns; // grows to the widest table
    size_t columns_n, columns_cap;
};

struct lite_column {
    Gw__Kind kind;
    bool is_unsigned;
    bool keeps_text; // TEXT affinity: a number in it is text
};

// Fills in kind, length, precision, scale, native. `text_types` may be NULL.
void lite_type_map(struct gw_arena *a, const char *declared, const char *text_types, Gw__Type *ret);

int lite_describe(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err);
// The table's present definition as a short text; "" if there is no such table.
int lite_fingerprint(struct lite_source *s, struct gw_arena *a, const char *table, char **ret, struct gw_err *err);
bool lite_is_rowid_alias(const Gw__Table *t, const char *column);
// The name under which the rowid can be read; NULL if there is none.
const char *lite_rowid_name(const Gw__Table *t);

// Rows and bytes of one row, guessed from statistics, the span of rowids and a sample; 0 = unknown.
int lite_estimate(struct lite_source *s, const char *table, const char *rowid, uint64_t *ret_rows,
                  uint64_t *ret_row_bytes, struct gw_err *err);

int lite_snapshot_begin(void *self, struct gw_arena *a, const char *handle, char **ret_token, char **ret_handle,
                        struct gw_err *err);
void lite_snapshot_end(struct lite_source *s);

int lite_plan(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule,
              uint64_t chunk_bytes, uint32_t lanes, Gw__TablePlan *plan, struct gw_err *err);

int lite_chunk_begin(void *self, const Gw__Table *t, const Gw__Chunk *c, struct gw_err *err);
int
lite_chunk_next(void *self, struct gw_buf *out, size_t want, uint32_t rows_max, uint32_t *ret_rows, struct gw_err *err);
int lite_chunk_cancel(void *self, struct gw_err *err);
void lite_chunk_end(struct lite_source *s);

// Appends column i of the current row as a field.
void lite_value_put(struct gw_buf *out, sqlite3_stmt *s, int i, const struct lite_column *c);

#endif
