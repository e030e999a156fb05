#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "capture/sources/sqlite/sqlite_source.h"

enum { BUSY_MS = 30 * 1000, SAMPLE_ROWS = 64, SAMPLE_BYTES_MAX = 1024 * 1024 };

static void
source_close(void *self)
{
    struct lite_source *s = self;
    lite_chunk_end(s);
    lite_snapshot_end(s);
    s->db = gw_lite_close(s->db);
    free(s->columns);
    free(s->text_types);
    *s = (struct lite_source){0};
}

static int
source_open(void *self, const Gw__Endpoint *ep, const char *password, struct gw_err *err)
{
    (void)password; // a file has none
    struct lite_source *s = self;
    int rc = gw_lite_path(ep, s->path, sizeof s->path, err);
    if (rc != GW_OK) {
        return rc;
    }
    if (access(s->path, R_OK) != 0) {
        return gw_err_set(err, GW_CONFIG, "CANTOPEN",
                          "database \"%s\" cannot be read: no such file, or "
                          "no permission",
                          s->path);
    }
    const char *types = gw_lite_setting(ep, "text-types");
    if (types) {
        s->text_types = strdup(types);
        gw_assert(s->text_types);
    }
    return gw_lite_open(&s->db, s->path, GW_LITE_READER, BUSY_MS, err);
}

static int
source_identity(void *self, struct gw_arena *a, char **ret, struct gw_err *err)
{
    struct lite_source *s = self;
    // Not schema_version and user_version: the first changes with VACUUM, the second with the application.
    int64_t app = 0;
    int rc = gw_lite_int(s->db, &app, 0, err, "PRAGMA application_id");
    if (rc == GW_OK) {
        *ret = gw_arena_printf(a, "sqlite:%s#%08x", s->path, (unsigned)(uint32_t)app);
    }
    return rc;
}

// Average bytes of a few rows from the table's start; 0 if it is empty.
static int
sample(struct lite_source *s, const char *table, uint64_t *ret, struct gw_err *err)
{
    struct gw_buf sql;
    gw_buf_init(&sql, 64 * 1024);
    gw_buf_puts(&sql, "SELECT * FROM ");
    gw_lite_ident(&sql, table);
    gw_buf_printf(&sql, " LIMIT %d", (int)SAMPLE_ROWS);
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(s->db, &q, err, sql.data, "");
    uint64_t rows = 0, bytes = 0;
    while (rc == GW_OK && bytes < SAMPLE_BYTES_MAX && (rc = gw_lite_step(q, err)) == GW_OK) {
        rows++;
        for (int i = 0; i < sqlite3_column_count(q); i++) {
            bytes += (uint64_t)sqlite3_column_bytes(q, i) + 1;
        }
    }
    sqlite3_finalize(q);
    gw_buf_fini(&sql);
    if (rc == GW_OK || rc == GW_END) {
        *ret = rows ? bytes / rows : 0;
        rc = GW_OK;
    }
    return rc;
}

// ANALYZE's count of rows, 0 if there is none. https://www.sqlite.org/fileformat2.html#stat1tab
static uint64_t
analyzed(struct lite_source *s, const char *table)
{
    sqlite3_stmt *q = NULL;
    uint64_t rows = 0;
    // Not an error: without ANALYZE there is no such table.
    if (gw_lite_query(s->db, &q, NULL,
                      "SELECT max(CAST(stat AS INTEGER)) FROM sqlite_stat1"
                      " WHERE tbl = ?1",
                      "t", table) == GW_OK &&
        gw_lite_step(q, NULL) == GW_OK) {
        rows = (uint64_t)sqlite3_column_int64(q, 0);
    }
    sqlite3_finalize(q);
    return rows;
}

int
lite_estimate(struct lite_source *s, const char *table, const char *rowid, uint64_t *ret_rows, uint64_t *ret_row_bytes,
              struct gw_err *err)
{
    int64_t pages = 0, page = 0;
    uint64_t row_bytes = 0, rows = 0;
    int rc = gw_lite_int(s->db, &pages, 0, err, "PRAGMA page_count");
    if (rc == GW_OK) {
        rc = gw_lite_int(s->db, &page, 0, err, "PRAGMA page_size");
    }
    if (rc == GW_OK) {
        rc = sample(s, table, &row_bytes, err);
    }
    if (rc != GW_OK) {
        return rc;
    }
    if (row_bytes) {
        rows = analyzed(s, table);
        uint64_t fit = (uint64_t)pages * (uint64_t)page / row_bytes + 1;
        if (rows == 0 && rowid) {
            struct gw_buf sql;
            gw_buf_init(&sql, 64 * 1024);
            // Two descents of the tree each; max(x)-min(x) in one would read all of it.
            gw_buf_printf(&sql, "SELECT CAST((SELECT max(%s) FROM ", rowid);
            gw_lite_ident(&sql, table);
            gw_buf_printf(&sql, ") - (SELECT min(%s) FROM ", rowid);
            gw_lite_ident(&sql, table);
            gw_buf_puts(&sql, ") AS REAL) + 1");
            sqlite3_stmt *q = NULL;
            rc = gw_lite_query(s->db, &q, err, sql.data, "");
            gw_buf_fini(&sql);
            if (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
                double span = sqlite3_column_double(q, 0);
                rows = span < (double)fit ? (uint64_t)span : fit;
            }
            sqlite3_finalize(q);
        } else if (rows == 0) {
            rows = fit;
        }
        rows = rows < fit ? rows : fit;
    }
    if (rc == GW_OK) {
        *ret_rows = rows;
        *ret_row_bytes = row_bytes;
    }
    return rc;
}

static int
list_estimate(struct lite_source *s, Gw__Table *t, bool has_rowid, struct gw_err *err)
{
    uint64_t rows = 0, row_bytes = 0;
    int rc = lite_estimate(s, t->name, has_rowid ? "_rowid_" : NULL, &rows, &row_bytes, err);
    if (rc == GW_CONFIG || rc == GW_DATA) {
        return GW_OK; // describe says what is wrong with it
    }
    t->rows_estimate = rows;
    t->bytes_estimate = rows * row_bytes;
    return rc;
}

static int
source_list(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err)
{
    struct lite_source *s = self;
    sqlite3_stmt *q = NULL;
    // Shadow tables belong to a virtual one. The five names are a target's control tables.
    int rc = gw_lite_query(s->db, &q, err,
                           "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main'"
                           " AND type IN ('table', 'view', 'virtual')"
                           " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
                           " AND name NOT IN ('godwit_tasks', 'godwit_tables', 'godwit_chunks',"
                           " 'godwit_steps', 'godwit_exceptions') ORDER BY name",
                           "");
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        Gw__Table *t = gw_pb_new(a, Gw__Table, gw__table__init);
        const char *type = gw_lite_text(a, q, 1);
        t->name = t->source_name = gw_lite_text(a, q, 0);
        t->schema = gw_arena_strdup(a, "");
        t->source_schema = gw_arena_strdup(a, "main");
        t->kind = type[0] == 't'                     ? GW__TABLE_KIND__TABLE_PLAIN
                  : type[1] == 'i' && type[2] == 'e' ? GW__TABLE_KIND__TABLE_VIEW
                                                     : GW__TABLE_KIND__TABLE_FOREIGN;
        if (t->kind == GW__TABLE_KIND__TABLE_PLAIN) {
            rc = list_estimate(s, t, sqlite3_column_int(q, 2) == 0, err);
        }
        gw_pb_add(a, cat, tables, t);
    }
    sqlite3_finalize(q);
    if (rc == GW_END) {
        cat->engine = gw_arena_strdup(a, "sqlite");
        cat->server_version = gw_arena_strdup(a, sqlite3_libversion());
        rc = source_identity(self, a, &cat->identity, err);
    }
    return rc;
}

static int
source_sequences(void *self, Gw__Table *t, struct gw_err *err)
{
    struct lite_source *s = self;
    for (size_t i = 0; i < t->n_columns; i++) {
        Gw__Column *c = t->columns[i];
        if (c->identity != GW__IDENTITY__IDENTITY_AUTO) {
            continue;
        }
        // An AUTOINCREMENT never hands out a value again, even of deleted rows; a plain rowid is max + 1.
        int64_t next = 0, given = 0;
        struct gw_buf sql;
        gw_buf_init(&sql, 64 * 1024);
        gw_buf_puts(&sql, "SELECT max(");
        gw_lite_ident(&sql, t->n_primary_key == 1 ? t->primary_key[0] : c->name);
        gw_buf_puts(&sql, ") FROM ");
        gw_lite_ident(&sql, t->source_name);
        int rc = gw_lite_int(s->db, &next, 0, err, sql.data);
        gw_buf_fini(&sql);
        if (rc == GW_OK && strcmp(c->identity_options, "AUTOINCREMENT") == 0) {
            sqlite3_stmt *q = NULL;
            rc = gw_lite_query(s->db, &q, err, "SELECT seq FROM sqlite_sequence WHERE name = ?1", "t", t->source_name);
            if (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
                given = sqlite3_column_int64(q, 0);
            }
            rc = rc == GW_END ? GW_OK : rc;
            sqlite3_finalize(q);
        }
        if (rc != GW_OK) {
            return gw_err_wrap(err, "read next value of \"%s\"", t->source_name);
        }
        next = next > given ? next : given;
        c->sequence_next = next < 0 ? 1 : next == INT64_MAX ? next : next + 1;
    }
    return GW_OK;
}

const struct gw_source_ops gw_source_sqlite = {
    .version = GW_SOURCE_VERSION,
    .name = "sqlite",
    .caps = GW_SOURCE_SPLITS,
    .state_size = sizeof(struct lite_source),
    .open = source_open,
    .close = source_close,
    .identity = source_identity,
    .list = source_list,
    .describe = lite_describe,
    .snapshot_begin = lite_snapshot_begin,
    .plan = lite_plan,
    .chunk_begin = lite_chunk_begin,
    .chunk_next = lite_chunk_next,
    .chunk_cancel = lite_chunk_cancel,
    .sequences = source_sequences,
};
