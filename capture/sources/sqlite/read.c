#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/change.h"
#include "capture/sources/sqlite/sqlite_source.h"

enum { SQL_MAX = 4 * 1024 * 1024 };

void
lite_chunk_end(struct lite_source *s)
{
    sqlite3_finalize(s->rows);
    s->rows = NULL;
    s->row_held = false;
}

static void
put_columns(struct gw_buf *sql, char *const *names, size_t n)
{
    gw_buf_putc(sql, '(');
    for (size_t i = 0; i < n; i++) {
        gw_buf_puts(sql, i ? ", " : "");
        gw_lite_ident(sql, names[i]);
    }
    gw_buf_putc(sql, ')');
}

// "(a, b) <= (?1, ?2)": the columns' affinities and collations apply to the parameters.
static void
put_compare(struct gw_buf *sql, const Gw__Chunk *c, const char *op, int first)
{
    put_columns(sql, c->columns, c->n_columns);
    gw_buf_printf(sql, " %s (", op);
    for (size_t i = 0; i < c->n_columns; i++) {
        gw_buf_printf(sql, "%s?%d", i ? ", " : "", first + (int)i);
    }
    gw_buf_putc(sql, ')');
}

// A row-wise comparison is NULL for some rows with a NULL, and not for others: (1, NULL) < (2, 0). Such rows belong to
// the one range that takes NULLs, whatever else is in them. A primary key is no promise that there are none.
static void
put_nulls(struct gw_buf *sql, const Gw__Chunk *c)
{
    for (size_t i = 0; i < c->n_columns; i++) {
        gw_buf_puts(sql, c->with_nulls ? " OR " : " AND ");
        gw_lite_ident(sql, c->columns[i]);
        gw_buf_puts(sql, c->with_nulls ? " IS NULL" : " IS NOT NULL");
    }
}

// lo <= key < hi, or for the user's ranges lo < key <= hi as DMS has them.
static void
put_where(struct gw_buf *sql, const Gw__Chunk *c)
{
    int n = (int)c->n_columns;
    bool range = c->by == GW__CHUNK_BY__BY_RANGE;
    bool key = c->by == GW__CHUNK_BY__BY_KEY || c->by == GW__CHUNK_BY__BY_CTID;
    if (!(range || key) || (!c->lo && !c->hi)) {
        return;
    }
    gw_buf_puts(sql, " WHERE (");
    if (c->lo) {
        put_compare(sql, c, range ? ">" : ">=", 1);
    }
    if (c->hi) {
        gw_buf_puts(sql, c->lo ? " AND " : "");
        put_compare(sql, c, range || c->hi_inclusive ? "<=" : "<", 1 + n);
    }
    gw_buf_putc(sql, ')');
    if (range) {
        put_nulls(sql, c);
    }
}

static int
bind_bound(struct lite_source *s, const Gw__Table *t, const Gw__Chunk *c, const Gw__Bound *b, int first,
           struct gw_err *err)
{
    for (size_t i = 0; b && i < b->n_values; i++) {
        const char *v = b->values[i];
        int64_t whole;
        // A rowid compares as a number whatever it is compared with; a text would be greater than all.
        bool is_int = c->by != GW__CHUNK_BY__BY_RANGE && gw_lite_parse_int(v, strlen(v), &whole);
        int rc = is_int ? sqlite3_bind_int64(s->rows, first + (int)i, whole)
                        : sqlite3_bind_text(s->rows, first + (int)i, v, -1, SQLITE_TRANSIENT);
        if (rc != SQLITE_OK) {
            return gw_lite_error(s->db, rc, err, "bind bounds of \"%s\"", t->source_name);
        }
    }
    return GW_OK;
}

static int
prepare_rows(struct lite_source *s, const Gw__Table *t, const Gw__Chunk *c, struct gw_err *err)
{
    struct gw_buf sql;
    gw_buf_init(&sql, SQL_MAX);
    gw_buf_puts(&sql, "SELECT ");
    s->columns_n = 0;
    if (t->n_columns > s->columns_cap) {
        struct lite_column *grown = realloc(s->columns, t->n_columns * sizeof *grown);
        gw_assert(grown);
        s->columns = grown;
        s->columns_cap = t->n_columns;
    }
    for (size_t i = 0; i < t->n_columns; i++) {
        const Gw__Column *col = t->columns[i];
        if (!col->left_out) {
            gw_buf_puts(&sql, s->columns_n ? ", " : "");
            gw_lite_ident(&sql, col->name);
            s->columns[s->columns_n++] =
                (struct lite_column){.kind = col->type->kind,
                                     .is_unsigned = col->type->is_unsigned,
                                     .keeps_text = gw_lite_affinity(col->type->native) == GW_LITE_TEXT};
        }
    }
    gw_buf_puts(&sql, s->columns_n ? " FROM " : "NULL FROM ");
    gw_lite_ident(&sql, t->source_name);
    put_where(&sql, c);
    int rc = gw_lite_query(s->db, &s->rows, err, sql.data, "");
    gw_buf_fini(&sql);
    if (rc == GW_OK) {
        rc = bind_bound(s, t, c, c->lo, 1, err);
    }
    if (rc == GW_OK) {
        rc = bind_bound(s, t, c, c->hi, 1 + (int)c->n_columns, err);
    }
    return rc;
}

int
lite_chunk_begin(void *self, const Gw__Table *t, const Gw__Chunk *c, struct gw_err *err)
{
    struct lite_source *s = self;
    gw_assert(s->in_snapshot && !s->rows);
    // The schema is part of the snapshot: what it says now holds until the snapshot ends.
    struct gw_arena scratch;
    gw_arena_init(&scratch);
    char *now = NULL;
    int rc = lite_fingerprint(s, &scratch, t->source_name, &now, err);
    if (rc == GW_OK && strcmp(now, t->fingerprint) != 0) {
        rc = gw_err_set(err, GW_CONFIG, NULL, "%s", now[0] ? GW_DEFINITION_MOVED : "it is gone");
        gw_err_hint(err, "reload the table");
    }
    gw_arena_fini(&scratch);
    if (rc == GW_OK) {
        rc = prepare_rows(s, t, c, err);
    }
    if (rc != GW_OK) {
        lite_chunk_end(s);
        return gw_err_wrap(err, "read table \"%s\"", t->source_name);
    }
    return GW_OK;
}

static void
put_row(struct lite_source *s, struct gw_buf *out)
{
    for (size_t i = 0; i < s->columns_n; i++) {
        if (i) {
            gw_buf_putc(out, '\t');
        }
        lite_value_put(out, s->rows, (int)i, &s->columns[i]);
    }
    gw_buf_putc(out, '\n');
}

int
lite_chunk_next(void *self, struct gw_buf *out, size_t want, uint32_t rows_max, uint32_t *ret_rows, struct gw_err *err)
{
    struct lite_source *s = self;
    gw_assert(s->rows);
    size_t start = out->len;
    uint32_t rows = 0;
    int rc = GW_OK;
    while (out->len < want && rows < rows_max) {
        rc = s->row_held ? GW_OK : gw_lite_step(s->rows, err);
        s->row_held = false;
        if (rc != GW_OK) {
            break;
        }
        size_t row = out->len;
        put_row(s, out);
        if (out->overflowed) {
            out->len = row;
            out->overflowed = false;
            // Behind other rows it may merely be the buffer's end.
            if (row > 0) {
                s->row_held = true;
                break;
            }
            rc = gw_err_set(err, GW_DATA, NULL, "a row is larger than %zu bytes", out->max);
            break;
        }
        rows++;
    }
    if (rc != GW_OK && rc != GW_END) {
        out->len = start;
        return rc;
    }
    if (rc == GW_END) {
        lite_chunk_end(s);
    }
    *ret_rows = rows;
    return rc;
}

int
lite_chunk_cancel(void *self, struct gw_err *err)
{
    (void)err; // a statement that is finalized cannot fail
    lite_chunk_end(self);
    return GW_OK;
}
