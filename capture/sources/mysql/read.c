// The rows of a chunk.
//
// A transaction keeps the metadata lock of every table that it has read, and a DDL statement that waits for one blocks everybody
// behind it. So each chunk runs inside a savepoint, and going back to it gives the lock up while the read view stays (on MariaDB
// with a binary log only if the session may turn its own logging off). While the lock is held the definition cannot change:
// it is taken first, then the definition is compared, then the rows are read.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/change.h"
#include "capture/sources/mysql/mysql_source.h"

enum { INTERRUPTED = 1317 };

void
my_chunk_end(struct my_source *s)
{
    mysql_free_result(s->rows);
    s->rows = NULL;
    s->held = NULL;
}

static int
release(struct my_source *s, struct gw_err *err)
{
    return gw_my_exec(s->db, err, "ROLLBACK TO SAVEPOINT gw");
}

// ---- begin -------------------------------------------------------------------------------------

static const Gw__Column **
chunk_columns(struct gw_arena *a, const Gw__Table *t, const Gw__Chunk *c)
{
    const Gw__Column **cols = gw_arena_calloc(a, c->n_columns + 1, sizeof *cols);
    for (size_t i = 0; i < c->n_columns; i++) {
        cols[i] = my_column_of(t, c->columns[i]);
        if (!cols[i]) {
            return NULL;
        }
    }
    return cols;
}

// A row-wise comparison is NULL for some rows with a NULL, and not for others: (1, NULL) < (2, 0). Such rows belong to
// the one range that takes NULLs, whatever else is in them. Columns that are NOT NULL are not asked: a zero date there
// would say that it is NULL.
static void
put_nulls(struct gw_buf *sql, const Gw__Chunk *c, const Gw__Column *const *cols)
{
    for (size_t i = 0; i < c->n_columns; i++) {
        if (!cols[i]->not_null) {
            gw_buf_puts(sql, c->with_nulls ? " OR " : " AND ");
            gw_my_ident(sql, cols[i]->name);
            gw_buf_puts(sql, c->with_nulls ? " IS NULL" : " IS NOT NULL");
        }
    }
}

// lo <= key < hi, or for the user's ranges lo < key <= hi as DMS has them.
static void
put_condition(struct gw_buf *sql, const Gw__Chunk *c, const Gw__Column *const *cols)
{
    bool range = c->by == GW__CHUNK_BY__BY_RANGE;
    if (!c->lo && !c->hi) {
        return;
    }
    gw_buf_puts(sql, " WHERE (");
    if (c->lo) {
        gw_buf_putc(sql, '(');
        my_key_compare(sql, cols, c->n_columns, range ? ">" : ">=", c->lo->values);
        gw_buf_putc(sql, ')');
    }
    if (c->hi) {
        gw_buf_puts(sql, c->lo ? " AND (" : "(");
        my_key_compare(sql, cols, c->n_columns, range || c->hi_inclusive ? "<=" : "<", c->hi->values);
        gw_buf_putc(sql, ')');
    }
    gw_buf_putc(sql, ')');
    if (range) {
        put_nulls(sql, c, cols);
    }
}

static int
bounds_fit(const Gw__Chunk *c, struct gw_err *err)
{
    if ((c->lo && c->lo->n_values != c->n_columns) || (c->hi && c->hi->n_values != c->n_columns)) {
        return gw_err_set(err, GW_BUG, NULL, "chunk %u has bounds of another number of columns", c->no);
    }
    return GW_OK;
}

static void
put_select(struct my_source *s, struct gw_buf *sql, const Gw__Table *t)
{
    if (t->n_columns > s->columns_cap) {
        struct my_column *grown = realloc(s->columns, t->n_columns * sizeof *grown);
        gw_assert(grown);
        s->columns = grown;
        s->columns_cap = t->n_columns;
    }
    s->columns_n = 0;
    s->proves_text = false;
    gw_buf_puts(sql, "SELECT ");
    for (size_t i = 0; i < t->n_columns; i++) {
        if (!t->columns[i]->left_out) {
            gw_buf_puts(sql, s->columns_n ? ", " : "");
            s->columns[s->columns_n++] = my_value_select(sql, t->columns[i]);
        }
    }
    for (size_t i = 0; i < t->n_columns; i++) {
        if (!t->columns[i]->left_out && my_value_risky(t->columns[i])) {
            gw_buf_puts(sql, s->proves_text ? " AND " : ", ");
            my_value_proof(sql, t->columns[i]);
            s->proves_text = true;
        }
    }
    gw_buf_puts(sql, s->columns_n ? "" : "NULL");
}

static int
start_rows(struct my_source *s, struct gw_arena *a, const Gw__Table *t, const Gw__Chunk *c, struct gw_err *err)
{
    int r = bounds_fit(c, err);
    const Gw__Column **cols = chunk_columns(a, t, c);
    if (r == GW_OK && !cols) {
        r = gw_err_set(err, GW_CONFIG, NULL, "a column of the chunk's bounds is gone");
    }
    if (r != GW_OK) {
        return r;
    }
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    put_select(s, &sql, t);
    my_from(&sql, t, c->partition);
    if (c->by == GW__CHUNK_BY__BY_KEY) {
        struct my_key key = my_key_choose(a, t);
        if (key.n) { // otherwise a large chunk might be read as the whole table, and filtered
            gw_buf_puts(&sql, " FORCE INDEX (");
            gw_my_ident(&sql, key.index);
            gw_buf_putc(&sql, ')');
        }
    }
    put_condition(&sql, c, cols);
    if (sql.overflowed) {
        return gw_err_set(err, GW_CONFIG, NULL, "the statement is too long");
    }
    if (mysql_real_query(s->db, sql.data, (unsigned long)sql.len) != 0) {
        return gw_my_error(s->db, err, "read");
    }
    s->rows = mysql_use_result(s->db);
    if (!s->rows) {
        return gw_my_error(s->db, err, "read");
    }
    // That a table was written anew behind the snapshot, the server says with the first row.
    s->held = mysql_fetch_row(s->rows);
    if (!s->held && mysql_errno(s->db) != 0) {
        r = gw_my_error(s->db, err, "read");
        my_chunk_end(s);
    }
    return r;
}

// `was` and `now`: fingerprints, of the definition and of when it was made. A column that was dropped and added again
// leaves the definition as it was, and where the server does that at once, an older snapshot sees the column empty.
// (A table that was written anew it refuses itself, with 1412.)
static int
compare(const struct my_source *s, const char *was, const char *now, struct gw_err *err)
{
    const char *at = strchr(now, '@');
    size_t n = at ? (size_t)(at - now) : strlen(now);
    if (strncmp(was, now, n + (at != NULL)) != 0) {
        gw_err_set(err, GW_CONFIG, NULL, GW_DEFINITION_MOVED);
        gw_err_hint(err, "reload the table");
        return GW_CONFIG;
    }
    if (strcmp(was, now) != 0 && strtoull(at + 1, NULL, 10) >= s->snapshot_at) {
        return gw_err_set(err, GW_AGAIN, NULL, "it was altered after the snapshot");
    }
    return GW_OK;
}

// Takes the metadata lock, then proves that the definition is the one that was described.
static int
prove(struct my_source *s, struct gw_arena *a, const Gw__Table *t, struct gw_err *err)
{
    MY_RES none = NULL;
    MY_BUF sql;
    gw_buf_init(&sql, MY_SQL_MAX);
    gw_buf_puts(&sql, "SELECT 1");
    my_from(&sql, t, "");
    gw_buf_puts(&sql, " LIMIT 0");
    char *now = NULL;
    int r = gw_my_query(s->db, &none, sql.data, err);
    r = r == GW_OK ? my_fingerprint(s, a, t, &now, NULL, err) : r;
    return r == GW_OK ? compare(s, t->fingerprint, now, err) : r;
}

int
my_chunk_begin(void *self, const Gw__Table *t, const Gw__Chunk *c, struct gw_err *err)
{
    struct my_source *s = self;
    gw_assert(s->in_snapshot && !s->rows);
    struct gw_arena scratch;
    gw_arena_init(&scratch);
    int r = gw_my_exec(s->db, err, "SAVEPOINT gw");
    r = r == GW_OK ? prove(s, &scratch, t, err) : r;
    r = r == GW_OK ? start_rows(s, &scratch, t, c, err) : r;
    gw_arena_fini(&scratch);
    if (r != GW_OK) {
        gw_err_wrap(err, "read table \"%s.%s\"", t->source_schema, t->source_name);
    }
    if (r == GW_AGAIN) { // the session goes on, with another snapshot
        my_snapshot_end(s);
    }
    return r;
}

// ---- next --------------------------------------------------------------------------------------

static int
end_of_rows(struct my_source *s, struct gw_err *err)
{
    int r = mysql_errno(s->db) != 0 ? gw_my_error(s->db, err, "read") : GW_OK;
    my_chunk_end(s);
    if (r == GW_AGAIN) { // a later partition, or another table of a view: rows are on their way already
        r = GW_RETRY;
        if (err) {
            err->cls = GW_RETRY;
        }
    }
    if (r != GW_OK) {
        return r;
    }
    r = release(s, err);
    return r == GW_OK ? GW_END : r;
}

static int
text_lost(struct gw_err *err)
{
    gw_err_set(err, GW_DATA, NULL,
               "a text holds characters that have no Unicode form: the server would write ? for them");
    gw_err_hint(err, "convert the column to utf8mb4 or to a binary type");
    return GW_DATA;
}

int
my_chunk_next(void *self, struct gw_buf *out, size_t want, uint32_t rows_max, uint32_t *ret_rows, struct gw_err *err)
{
    struct my_source *s = self;
    gw_assert(s->rows);
    size_t start = out->len;
    uint32_t rows = 0;
    int r = GW_OK;
    while (out->len < want && rows < rows_max) {
        MYSQL_ROW row = s->held ? s->held : mysql_fetch_row(s->rows);
        s->held = NULL;
        if (!row) {
            r = end_of_rows(s, err);
            break;
        }
        const unsigned long *lengths = mysql_fetch_lengths(s->rows);
        if (s->proves_text && (!row[s->columns_n] || row[s->columns_n][0] != '1')) {
            r = text_lost(err);
            break;
        }
        if (!my_row_put(out, s->columns, s->columns_n, row, lengths)) {
            // Behind other rows it may merely be the buffer's end.
            if (out->len > 0) {
                s->held = row;
                break;
            }
            r = gw_err_set(err, GW_DATA, NULL, "a row is larger than %zu bytes", out->max);
            break;
        }
        rows++;
    }
    if (r != GW_OK && r != GW_END) {
        out->len = start;
        return r;
    }
    *ret_rows = rows;
    return r;
}

// ---- cancel ------------------------------------------------------------------------------------

// From another connection: the rest of a chunk may be the rest of a very large table.
static int
kill_query(struct my_source *s, struct gw_err *err)
{
    MYSQL *other = NULL;
    struct gw_my_server server;
    int r = gw_my_connect(&other, s->ep, s->password, "", 0, &server, err);
    if (r == GW_OK) {
        r = gw_my_exec(other, err, "KILL QUERY %lu", mysql_thread_id(s->db));
        gw_my_close(other);
    }
    return r;
}

int
my_chunk_cancel(void *self, struct gw_err *err)
{
    struct my_source *s = self;
    if (!s->rows) {
        return GW_OK;
    }
    int r = kill_query(s, err);
    if (r != GW_OK) {
        err->cls = GW_RETRY;
        return GW_RETRY;
    }
    my_chunk_end(s); // reads what was on its way
    // The order may have come after the last row: then it hits the next statement.
    struct gw_err late = {0};
    r = gw_my_exec(s->db, &late, "DO 0");
    if (r != GW_OK && mysql_errno(s->db) != INTERRUPTED) {
        *err = late;
        return r;
    }
    return release(s, err);
}
