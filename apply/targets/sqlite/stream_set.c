// Applying a set: its prepared statement, once a row.
#include <string.h>
#include <strings.h>

#include <xxhash.h>

#include "stream.h"

// ---- statements

void
lite_statements_close(struct lite_stream *s)
{
    for (size_t i = 0; i < s->statements_n; i++) {
        sqlite3_finalize(s->statements[i]->stmt);
    }
    s->statements_n = 0;
    gw_arena_reset(&s->arena);
}

static const char *
name_of(const struct gw_change_set *set, uint32_t column)
{
    return set->table->columns[column]->name;
}

// Appends the next parameter, and notes what it is.
static void
put_param(struct gw_buf *sql, const struct gw_change_set *set, struct lite_statement *st, bool key, size_t index)
{
    uint32_t column = key ? set->key[index] : set->columns[index];
    struct lite_param *p = &st->params[st->n_params++];
    *p = (struct lite_param){lite_form_of(set->table, set->table->columns[column]), key, index};
    p->form.not_null = p->form.not_null && !key;
    gw_buf_printf(sql, "?%zu", st->n_params);
}

// The column's affinity is applied to what it is compared with, as it was to what was stored. Of a table without a key
// NULLs are equal, and a collation would take 'a' for 'A'.
static void
put_where_key(struct gw_buf *sql, const struct gw_change_set *set, struct lite_statement *st)
{
    for (size_t i = 0; i < set->key_n; i++) {
        gw_buf_puts(sql, i ? " AND " : " WHERE ");
        gw_lite_ident(sql, name_of(set, set->key[i]));
        gw_buf_puts(sql, set->keyless ? " COLLATE BINARY IS " : " = ");
        put_param(sql, set, st, true, i);
    }
}

// A name of the row number that no column has.
static const char *
rowid_name(const Gw__Table *t)
{
    static const char *const names[] = {"_rowid_", "rowid", "oid"};
    for (size_t i = 0; i < 3; i++) {
        bool taken = false;
        for (size_t k = 0; k < t->n_columns; k++) {
            taken = taken || strcasecmp(t->columns[k]->name, names[i]) == 0;
        }
        if (!taken) {
            return names[i];
        }
    }
    return NULL;
}

static int
put_where(struct gw_buf *sql, const struct gw_change_set *set, struct lite_statement *st, struct gw_err *err)
{
    if (!set->keyless) {
        put_where_key(sql, set, st);
        return GW_OK;
    }
    const char *row = rowid_name(set->table);
    if (!row) {
        return gw_err_set(err, GW_CONFIG, NULL, "table \"%s\" has no key, and columns of every name of the row number",
                          set->table->name);
    }
    gw_buf_printf(sql, " WHERE %s = (SELECT %s FROM ", row, row);
    gw_lite_ident(sql, set->table->name);
    put_where_key(sql, set, st);
    gw_buf_puts(sql, " LIMIT 1)");
    return GW_OK;
}

// OR ABORT: a table that says ON CONFLICT REPLACE, IGNORE or ROLLBACK would lose rows without a word.
static void
put_insert(struct gw_buf *sql, const struct gw_change_set *set, struct lite_statement *st)
{
    gw_buf_puts(sql, "INSERT OR ABORT INTO ");
    gw_lite_ident(sql, set->table->name);
    for (size_t i = 0; i < set->columns_n; i++) {
        gw_buf_puts(sql, i ? ", " : " (");
        gw_lite_ident(sql, name_of(set, set->columns[i]));
    }
    for (size_t i = 0; i < set->columns_n; i++) {
        gw_buf_puts(sql, i ? ", " : ") VALUES (");
        put_param(sql, set, st, false, i);
    }
    gw_buf_puts(sql, set->columns_n ? ")" : " DEFAULT VALUES");
}

static void
put_update(struct gw_buf *sql, const struct gw_change_set *set, struct lite_statement *st)
{
    gw_buf_puts(sql, "UPDATE OR ABORT ");
    gw_lite_ident(sql, set->table->name);
    gw_buf_puts(sql, " SET ");
    for (size_t i = 0; i < set->columns_n; i++) {
        gw_buf_puts(sql, i ? ", " : "");
        gw_lite_ident(sql, name_of(set, set->columns[i]));
        gw_buf_puts(sql, " = ");
        put_param(sql, set, st, false, i);
    }
    if (set->columns_n == 0) { // whether the rows are there
        gw_lite_ident(sql, name_of(set, set->key[0]));
        gw_buf_puts(sql, " = ");
        gw_lite_ident(sql, name_of(set, set->key[0]));
    }
}

static int
make_statement(struct lite_target *t, const struct gw_change_set *set, enum lite_change what,
               struct lite_statement **ret, struct gw_err *err)
{
    struct lite_stream *s = t->stream;
    struct lite_statement *st = gw_arena_calloc(&s->arena, 1, sizeof *st);
    st->key = gw_arena_memdup0(&s->arena, s->key.data, s->key.len);
    st->key_len = s->key.len;
    st->hash = XXH64(s->key.data, s->key.len, 0);
    // The names that error messages hold must outlive the set.
    struct gw_change_set lasting = *set;
    lasting.table = gw_pb_dup(&s->arena, set->table);
    st->params = gw_arena_calloc(&s->arena, set->columns_n + set->key_n + 1, sizeof *st->params);
    gw_buf_reset(&s->sql);
    int rc = GW_OK;
    switch (what) {
    case LITE_INSERT: put_insert(&s->sql, &lasting, st); break;
    case LITE_UPDATE:
        put_update(&s->sql, &lasting, st);
        rc = put_where(&s->sql, &lasting, st, err);
        break;
    case LITE_DELETE:
        gw_buf_puts(&s->sql, "DELETE FROM ");
        gw_lite_ident(&s->sql, set->table->name);
        rc = put_where(&s->sql, &lasting, st, err);
        break;
    }
    if (rc == GW_OK && s->sql.overflowed) {
        rc = gw_err_set(err, GW_BUG, NULL, "statement is longer than %d bytes", LITE_SQL_MAX);
    }
    rc = rc == GW_OK ? gw_lite_query(t->db, &st->stmt, err, s->sql.data, "") : rc;
    if (rc == GW_OK) {
        s->statements[s->statements_n++] = st;
        *ret = st;
    }
    return rc;
}

static void
put_indexes(struct gw_buf *out, const uint32_t *indexes, size_t n)
{
    uint32_t count = (uint32_t)n;
    gw_buf_put(out, &count, sizeof count);
    gw_buf_put(out, indexes, n * sizeof *indexes);
}

static int
find_statement(struct lite_target *t, const struct gw_change_set *set, enum lite_change what,
               struct lite_statement **ret, struct gw_err *err)
{
    struct lite_stream *s = t->stream;
    unsigned char head[] = {(unsigned char)what, set->keyless};
    gw_buf_reset(&s->key);
    gw_buf_put(&s->key, head, sizeof head);
    gw_buf_put(&s->key, &set->table->id, sizeof set->table->id);
    put_indexes(&s->key, set->columns, set->columns_n);
    put_indexes(&s->key, set->key, set->key_n);
    gw_buf_put(&s->key, set->table->name, strlen(set->table->name) + 1);
    for (size_t i = 0; i < set->table->n_columns; i++) {
        gw_buf_put(&s->key, name_of(set, (uint32_t)i), strlen(name_of(set, (uint32_t)i)) + 1);
    }
    uint64_t hash = XXH64(s->key.data, s->key.len, 0);
    for (size_t i = 0; i < s->statements_n; i++) {
        struct lite_statement *st = s->statements[i];
        if (st->hash == hash && st->key_len == s->key.len && memcmp(st->key, s->key.data, s->key.len) == 0) {
            *ret = st;
            return GW_OK;
        }
    }
    return make_statement(t, set, what, ret, err);
}

// ---- rows

static int
run_row(struct lite_target *t, const struct gw_change_set *set, const struct lite_statement *st, size_t row,
        uint64_t *ret_rows, struct gw_err *err)
{
    size_t bytes = 1;
    const struct gw_value *keys = set->keys ? set->keys + row * set->key_n : NULL;
    const struct gw_value *values = set->values ? set->values + row * set->columns_n : NULL;
    for (size_t i = 0; i < st->n_params; i++) {
        const struct gw_value *v = st->params[i].key ? &keys[st->params[i].index] : &values[st->params[i].index];
        bytes += v->given == GW_PRESENT ? v->len : 0;
    }
    // Room for all that the row can become, so that what is bound does not move.
    gw_buf_reset(&t->scratch);
    if (!gw_buf_room(&t->scratch, bytes)) {
        return gw_err_set(err, GW_DATA, "TOOBIG", "a row of %zu bytes is too large", bytes);
    }
    int rc = GW_OK;
    for (size_t i = 0; i < st->n_params && rc == GW_OK; i++) {
        const struct lite_param *p = &st->params[i];
        const struct gw_value *v = p->key ? &keys[p->index] : &values[p->index];
        rc = lite_bind_value(st->stmt, (int)i + 1, &p->form, v->given == GW_PRESENT ? (v->data ? v->data : "") : NULL,
                             v->len, &t->scratch, err);
    }
    rc = rc == GW_OK ? gw_lite_step(st->stmt, err) : rc;
    if (rc == GW_END) {
        *ret_rows += (uint64_t)sqlite3_changes(t->db);
    }
    (void)sqlite3_reset(st->stmt); // repeats the failure of the step
    return rc == GW_END ? GW_OK : rc;
}

static int
run_rows(struct lite_target *t, const struct gw_change_set *set, enum lite_change what, uint64_t *ret_rows,
         struct gw_err *err)
{
    struct lite_statement *st = NULL;
    int rc = find_statement(t, set, what, &st, err);
    for (size_t row = 0; rc == GW_OK && row < set->n; row++) {
        rc = run_row(t, set, st, row, ret_rows, err);
    }
    return rc;
}

// ---- rows that may be there already

// Updated by the primary key alone, inserted where it is not found. Another unique key in the way is an error in both.
static int
insert_unsure(struct lite_target *t, const struct gw_change_set *set, uint64_t *ret_rows, struct gw_err *err)
{
    struct lite_stream *s = t->stream;
    const Gw__Table *table = set->table;
    size_t n = table->n_primary_key, found = 0;
    gw_buf_reset(&s->upsert);
    char *room = gw_buf_room(&s->upsert, n * (sizeof(struct gw_value) + sizeof(size_t) + sizeof(uint32_t)) + 1);
    gw_assert(room);
    struct gw_value *keys = (struct gw_value *)(void *)room;
    size_t *at = (size_t *)(void *)(keys + n);
    uint32_t *key = (uint32_t *)(void *)(at + n);
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < set->columns_n; i++) {
            if (strcmp(name_of(set, set->columns[i]), table->primary_key[k]) == 0) {
                at[found] = i;
                key[found++] = set->columns[i];
                break;
            }
        }
    }
    if (n == 0 || found != n) {
        return gw_err_set(err, GW_BUG, NULL, "rows that may be there already, and no primary key to find them by");
    }
    struct gw_change_set one = *set;
    one.key = key;
    one.key_n = n;
    one.n = 1;
    one.keys = keys;
    struct lite_statement *update = NULL, *insert = NULL;
    int rc = find_statement(t, &one, LITE_UPDATE, &update, err);
    rc = rc == GW_OK ? find_statement(t, set, LITE_INSERT, &insert, err) : rc;
    for (size_t row = 0; rc == GW_OK && row < set->n; row++) {
        one.values = set->values + row * set->columns_n;
        for (size_t k = 0; k < n; k++) {
            keys[k] = one.values[at[k]];
        }
        uint64_t there = 0;
        rc = run_row(t, &one, update, 0, &there, err);
        rc = rc == GW_OK && there == 0 ? run_row(t, set, insert, row, &there, err) : rc;
        *ret_rows += there;
    }
    return rc;
}

// ---- the set

static int
apply_set(struct lite_target *t, const struct gw_change_set *set, uint64_t *ret_rows, struct gw_err *err)
{
    struct lite_stream *s = t->stream;
    switch (set->kind) {
    case GW__CHANGE_KIND__CHANGE_INSERT:
        return set->unsure ? insert_unsure(t, set, ret_rows, err) : run_rows(t, set, LITE_INSERT, ret_rows, err);
    case GW__CHANGE_KIND__CHANGE_UPDATE: return run_rows(t, set, LITE_UPDATE, ret_rows, err);
    case GW__CHANGE_KIND__CHANGE_DELETE: return run_rows(t, set, LITE_DELETE, ret_rows, err);
    case GW__CHANGE_KIND__CHANGE_TRUNCATE:
        gw_buf_reset(&s->sql);
        gw_buf_puts(&s->sql, "DELETE FROM ");
        gw_lite_ident(&s->sql, set->table->name);
        return gw_lite_exec(t->db, err, s->sql.data);
    default: return gw_err_set(err, GW_BUG, NULL, "a set of changes of kind %d", (int)set->kind);
    }
}

int
lite_stream_apply(void *self, const struct gw_change_set *set, uint64_t *ret_rows, struct gw_err *err)
{
    struct lite_target *t = self;
    struct lite_stream *s = t->stream;
    gw_assert(s && s->open);
    struct gw_err local = {0}, undo = {0};
    struct gw_err *e = err ? err : &local;
    uint64_t rows = 0;
    if (s->statements_n + 4 > LITE_STATEMENTS_MAX) { // rare, and simpler than to say which one is the oldest
        lite_statements_close(s);
    }
    int rc = lite_stream_write(t, e);
    rc = rc == GW_OK ? gw_lite_exec(t->db, e, "SAVEPOINT gw_set") : rc;
    if (rc != GW_OK) {
        return lite_stream_lost(t, gw_err_wrap(e, "write into \"%s\"", set->table->name));
    }
    rc = apply_set(t, set, &rows, e);
    bool kept = rc == GW_OK || ((rc == GW_DATA || rc == GW_CONFIG) && !sqlite3_get_autocommit(t->db));
    int end =
        !kept ? rc : gw_lite_exec(t->db, &undo, rc == GW_OK ? "RELEASE gw_set" : "ROLLBACK TO gw_set; RELEASE gw_set");
    if (kept && end != GW_OK) {
        *e = undo;
        rc = end;
    }
    if (rc == GW_OK) {
        *ret_rows = rows;
        return GW_OK;
    }
    gw_err_wrap(e, "write into \"%s\"", set->table->name);
    return end == GW_OK ? rc : lite_stream_lost(t, rc);
}
