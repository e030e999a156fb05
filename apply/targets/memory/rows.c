// The rows of a table as a stream of changes sees them: found by their keys, unique where the table says so.
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "apply/targets/memory/memory_target.h"
#include "common/copytext.h"

enum { BUCKETS_MIN = 64 };

size_t
memory_rows_column(const Gw__Table *table, const char *name)
{
    size_t at = 0;
    for (size_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i]->name, name) == 0) {
            return table->columns[i]->left_out ? SIZE_MAX : at;
        }
        at += !table->columns[i]->left_out;
    }
    return SIZE_MAX;
}

// ---- indexes -----------------------------------------------------------------------------------

static uint64_t
hash_values(const struct memory_index *x, const struct gw_value *values)
{
    uint64_t h = x->n;
    for (size_t i = 0; i < x->n; i++) {
        const struct gw_value *v = &values[x->columns[i]];
        h = (h ^ (v->given == GW_PRESENT ? XXH3_64bits(v->data, v->len) : 1)) * UINT64_C(0x9E3779B97F4A7C15);
        h ^= h >> 29;
    }
    return h;
}

static bool
same_value(const struct gw_value *a, const struct gw_value *b)
{
    return a->given == b->given &&
           (a->given != GW_PRESENT || (a->len == b->len && memcmp(a->data, b->data, a->len) == 0));
}

static bool
index_holds(const struct memory_index *x, const struct gw_value *values)
{
    for (size_t i = 0; i < x->n; i++) {
        if (values[x->columns[i]].given != GW_PRESENT && !x->nulls_equal) {
            return false; // NULL differs from everything
        }
    }
    return true;
}

static void
index_link(struct memory_index *x, const struct memory_rows *r, uint32_t row)
{
    if (index_holds(x, r->rows[row].values)) {
        uint32_t *head = &x->buckets[hash_values(x, r->rows[row].values) & x->mask];
        x->next[row] = *head;
        *head = row + 1;
    }
}

static void
index_unlink(struct memory_index *x, const struct memory_rows *r, uint32_t row)
{
    if (index_holds(x, r->rows[row].values)) {
        uint32_t *at = &x->buckets[hash_values(x, r->rows[row].values) & x->mask];
        while (*at != row + 1) {
            at = &x->next[*at - 1];
        }
        *at = x->next[row];
    }
}

static void
grow(struct memory_rows *r)
{
    r->cap = r->cap ? 2 * r->cap : BUCKETS_MIN;
    r->rows = realloc(r->rows, r->cap * sizeof *r->rows);
    gw_assert(r->rows);
    for (size_t i = 0; i < r->indexes_n; i++) {
        struct memory_index *x = &r->indexes[i];
        free(x->buckets);
        x->buckets = calloc(r->cap, sizeof *x->buckets);
        x->next = realloc(x->next, r->cap * sizeof *x->next);
        gw_assert(x->buckets && x->next);
        x->mask = r->cap - 1;
        for (uint32_t row = 0; row < r->n; row++) {
            if (r->rows[row].live) {
                index_link(x, r, row);
            }
        }
    }
}

static void
add_index(struct memory_rows *r, struct gw_arena *a, char *const *names, size_t n, bool nulls_equal)
{
    struct memory_index *x = &r->indexes[r->indexes_n];
    *x = (struct memory_index){.n = n, .unique = true, .nulls_equal = nulls_equal};
    x->columns = gw_arena_alloc(a, n * sizeof *x->columns);
    for (size_t i = 0; i < n; i++) {
        size_t at = memory_rows_column(r->table, names[i]);
        if (at == SIZE_MAX) {
            return; // over a column that is not in the rows
        }
        x->columns[i] = (uint32_t)at;
    }
    r->indexes_n += n > 0;
}

static void
add_unique(struct memory_rows *r, struct gw_arena *a, const Gw__Index *index)
{
    if (!index->is_unique || index->predicate[0]) {
        return;
    }
    char **names = gw_arena_alloc(a, index->n_parts * sizeof *names);
    for (size_t i = 0; i < index->n_parts; i++) {
        names[i] = index->parts[i]->column;
        if (!names[i][0] || index->parts[i]->prefix_length) {
            return;
        }
    }
    add_index(r, a, names, index->n_parts, index->nulls_not_distinct);
}

void
memory_rows_open(struct memory_target *t)
{
    struct memory_stream *s = &t->stream;
    const Gw__TargetState *state = t->log.state;
    s->tables_n = state->n_tables;
    s->tables = gw_arena_calloc(&s->arena, state->n_tables, sizeof *s->tables);
    for (size_t i = 0; i < s->tables_n; i++) {
        struct memory_rows *r = &s->tables[i];
        r->table = state->tables[i]->target;
        r->generation = state->tables[i]->generation;
        for (size_t k = 0; k < r->table->n_columns; k++) {
            r->columns_n += !r->table->columns[k]->left_out;
        }
        r->indexes = gw_arena_calloc(&s->arena, r->table->n_indexes + 1, sizeof *r->indexes);
        add_index(r, &s->arena, r->table->primary_key, r->table->n_primary_key, true);
        for (size_t k = 0; k < r->table->n_indexes; k++) {
            add_unique(r, &s->arena, r->table->indexes[k]);
        }
        grow(r);
    }
}

void
memory_rows_close(struct memory_target *t)
{
    for (size_t i = 0; i < t->stream.tables_n; i++) {
        struct memory_rows *r = &t->stream.tables[i];
        for (size_t k = 0; k < r->indexes_n; k++) {
            free(r->indexes[k].buckets);
            free(r->indexes[k].next);
        }
        free(r->rows);
    }
    t->stream.tables = NULL;
    t->stream.tables_n = 0;
}

struct memory_rows *
memory_rows_find(struct memory_target *t, uint32_t table_id)
{
    for (size_t i = 0; i < t->stream.tables_n; i++) {
        if (t->stream.tables[i].table->id == table_id) {
            return &t->stream.tables[i];
        }
    }
    return NULL;
}

// ---- rows --------------------------------------------------------------------------------------

uint32_t
memory_rows_add(struct memory_rows *r, struct gw_value *values)
{
    if (r->n == r->cap) {
        grow(r);
    }
    uint32_t row = (uint32_t)r->n++;
    r->rows[row] = (struct memory_row){.values = values};
    memory_rows_put_back(r, row);
    return row;
}

void
memory_rows_put_back(struct memory_rows *r, uint32_t row)
{
    r->rows[row].live = true;
    r->live++;
    for (size_t i = 0; i < r->indexes_n; i++) {
        index_link(&r->indexes[i], r, row);
    }
}

void
memory_rows_take(struct memory_rows *r, uint32_t row)
{
    for (size_t i = 0; i < r->indexes_n; i++) {
        index_unlink(&r->indexes[i], r, row);
    }
    r->rows[row].live = false;
    r->live--;
}

static bool
row_matches(const struct memory_row *row, const uint32_t *columns, size_t n, const struct gw_value *values)
{
    for (size_t i = 0; i < n; i++) {
        if (!same_value(&row->values[columns[i]], &values[i])) {
            return false;
        }
    }
    return row->live;
}

// Through an index over just these columns: at most one row.
static bool
match_index(const struct memory_rows *r, const uint32_t *columns, size_t n, const struct gw_value *values,
            uint32_t *ret)
{
    for (size_t i = 0; i < r->indexes_n; i++) {
        const struct memory_index *x = &r->indexes[i];
        if (x->n != n || !x->nulls_equal || memcmp(x->columns, columns, n * sizeof *columns) != 0) {
            continue;
        }
        uint64_t h = n;
        for (size_t k = 0; k < n; k++) {
            h = (h ^ (values[k].given == GW_PRESENT ? XXH3_64bits(values[k].data, values[k].len) : 1)) *
                UINT64_C(0x9E3779B97F4A7C15);
            h ^= h >> 29;
        }
        *ret = UINT32_MAX;
        for (uint32_t at = x->buckets[h & x->mask]; at && *ret == UINT32_MAX; at = x->next[at - 1]) {
            *ret = row_matches(&r->rows[at - 1], columns, n, values) ? at - 1 : UINT32_MAX;
        }
        return true;
    }
    return false;
}

uint32_t
memory_rows_match(const struct memory_rows *r, const uint32_t *columns, size_t n, const struct gw_value *values,
                  uint32_t after)
{
    uint32_t found;
    if (match_index(r, columns, n, values, &found)) {
        return after == UINT32_MAX ? found : UINT32_MAX;
    }
    for (size_t row = after == UINT32_MAX ? 0 : (size_t)after + 1; row < r->n; row++) {
        if (row_matches(&r->rows[row], columns, n, values)) {
            return (uint32_t)row;
        }
    }
    return UINT32_MAX;
}

uint32_t
memory_rows_clash(const struct memory_rows *r, const struct gw_value *values, size_t *ret_index)
{
    for (size_t i = 0; i < r->indexes_n; i++) {
        const struct memory_index *x = &r->indexes[i];
        if (!index_holds(x, values)) {
            continue;
        }
        for (uint32_t at = x->buckets[hash_values(x, values) & x->mask]; at; at = x->next[at - 1]) {
            bool same = true;
            for (size_t k = 0; same && k < x->n; k++) {
                same = same_value(&r->rows[at - 1].values[x->columns[k]], &values[x->columns[k]]);
            }
            if (same) {
                *ret_index = i;
                return at - 1;
            }
        }
    }
    return UINT32_MAX;
}

void
memory_rows_text(const struct memory_rows *r, uint32_t row, struct gw_buf *out)
{
    for (size_t i = 0; i < r->columns_n; i++) {
        const struct gw_value *v = &r->rows[row].values[i];
        if (i) {
            gw_buf_putc(out, '\t');
        }
        if (v->given == GW_PRESENT) {
            gw_copy_put_field(out, v->data, v->len);
        } else {
            gw_copy_put_null(out);
        }
    }
    gw_buf_putc(out, '\n');
}

int
memory_rows_replay(struct memory_target *t, struct memory_rows *r, bool came, const char *row, size_t len,
                   struct gw_err *err)
{
    struct gw_arena *a = &t->stream.arena;
    struct gw_value *values = gw_arena_alloc(a, r->columns_n * sizeof *values);
    struct gw_copy_field *fields = gw_arena_alloc(a, r->columns_n * sizeof *fields);
    uint32_t *columns = gw_arena_alloc(a, r->columns_n * sizeof *columns);
    size_t n = gw_copy_split(row, len, fields, r->columns_n);
    if (n != r->columns_n && !(r->columns_n == 0 && n == 1)) {
        return gw_err_set(err, GW_CONFIG, NULL, "a row of \"%s\" has %zu fields, not %zu", r->table->name, n,
                          r->columns_n);
    }
    for (size_t i = 0; i < r->columns_n; i++) {
        columns[i] = (uint32_t)i;
        gw_buf_reset(&t->stream.text);
        gw_copy_unescape(&t->stream.text, fields[i].at, fields[i].len);
        values[i] = (struct gw_value){.given = GW_NULL};
        if (!fields[i].null) {
            values[i] = (struct gw_value){gw_arena_memdup0(a, t->stream.text.data, t->stream.text.len),
                                          (uint32_t)t->stream.text.len, GW_PRESENT};
        }
    }
    if (came) {
        memory_rows_add(r, values);
        return GW_OK;
    }
    uint32_t at = UINT32_MAX;
    if (r->indexes_n && r->indexes[0].nulls_equal) {
        struct gw_value *key = gw_arena_alloc(a, r->indexes[0].n * sizeof *key);
        for (size_t i = 0; i < r->indexes[0].n; i++) {
            key[i] = values[r->indexes[0].columns[i]];
        }
        at = memory_rows_match(r, r->indexes[0].columns, r->indexes[0].n, key, UINT32_MAX);
    }
    if (at == UINT32_MAX || !row_matches(&r->rows[at], columns, r->columns_n, values)) {
        at = memory_rows_match(r, columns, r->columns_n, values, UINT32_MAX);
    }
    if (at == UINT32_MAX) {
        return gw_err_set(err, GW_CONFIG, NULL, "a row that left \"%s\" was not there", r->table->name);
    }
    memory_rows_take(r, at);
    return GW_OK;
}
