// Applying a set, and taking it back if it fails.
#include <string.h>

#include <xxhash.h>

#include "stream.h"

// What a failed set is taken back to.
enum guard {
    GUARD_START, // it is the first of its transaction
    GUARD_MARK,  // nothing was written since the mark
    GUARD_SET,   // a savepoint of its own
};

struct run {
    const struct gw_change_set *set;
    struct myt_target_table *tab;
    enum guard guard;
    bool sent; // something may have been written, behind the savepoint if there is one
    uint64_t rows;
};

// ---- prepared statements

void
myt_statements_close(struct myt_stream *s)
{
    for (size_t i = 0; i < s->statements_n; i++) {
        mysql_stmt_close(s->statements[i]->stmt); // takes NULL
    }
    s->statements_n = s->tables_n = 0;
    s->tables = NULL;
    gw_arena_reset(&s->arena);
}

static void
put_indexes(struct gw_buf *out, const uint32_t *indexes, size_t n)
{
    uint32_t count = (uint32_t)n;
    gw_buf_put(out, &count, sizeof count);
    gw_buf_put(out, indexes, n * sizeof *indexes);
}

static int
make_statement(struct myt *t, const struct run *run, const struct gw_change_set *set, enum myt_form form, size_t rows,
               struct myt_statement **ret, struct gw_err *err)
{
    struct myt_stream *s = t->stream;
    struct myt_statement *st = gw_arena_calloc(&s->arena, 1, sizeof *st);
    st->key = gw_arena_memdup0(&s->arena, s->key.data, s->key.len);
    st->key_len = s->key.len;
    st->hash = XXH64(s->key.data, s->key.len, 0);
    st->rows = rows;
    gw_buf_reset(&s->sql);
    myt_stream_sql(t, &s->sql, set, run->tab, form, st);
    if (s->sql.overflowed) {
        return gw_err_set(err, GW_BUG, "", "statement is longer than %d bytes", MYT_SQL_MAX);
    }
    st->stmt = mysql_stmt_init(t->c);
    if (!st->stmt) {
        return gw_my_error(t->c, err, "prepare a statement");
    }
    if (mysql_stmt_prepare(st->stmt, s->sql.data, (unsigned long)s->sql.len)) {
        int rc = myt_statement_error(st->stmt, err);
        mysql_stmt_close(st->stmt);
        return rc;
    }
    s->statements[s->statements_n++] = st;
    *ret = st;
    return GW_OK;
}

static int
find_statement(struct myt *t, const struct run *run, const struct gw_change_set *set, enum myt_form form, size_t rows,
               struct myt_statement **ret, struct gw_err *err)
{
    struct myt_stream *s = t->stream;
    unsigned char what[] = {(unsigned char)form, set->keyless};
    gw_buf_reset(&s->key);
    gw_buf_put(&s->key, what, sizeof what);
    gw_buf_put(&s->key, &rows, sizeof rows);
    put_indexes(&s->key, set->columns, set->columns_n);
    put_indexes(&s->key, set->key, set->key_n);
    myt_stream_key(&s->key, set->table);
    uint64_t hash = XXH64(s->key.data, s->key.len, 0);
    for (size_t i = 0; i < s->statements_n; i++) {
        struct myt_statement *st = s->statements[i];
        if (st->hash == hash && st->key_len == s->key.len && memcmp(st->key, s->key.data, s->key.len) == 0) {
            *ret = st;
            return GW_OK;
        }
    }
    return make_statement(t, run, set, form, rows, ret, err);
}

// ---- one form of the set

// Rows of one execution: as many as the server takes at once.
static size_t
rows_at_once(const struct myt *t, const struct gw_change_set *set, enum myt_form form, size_t left)
{
    bool several = form == MYT_INSERT && set->columns_n > 0 && set->columns_n * MYT_INSERT_ROWS <= MYT_PARAMS_MAX;
    return !t->server.mariadb && several && left >= MYT_INSERT_ROWS ? MYT_INSERT_ROWS : 1;
}

static int
run_rows(struct myt *t, struct run *run, const struct gw_change_set *set, enum myt_form form, size_t from, size_t to,
         uint64_t *ret_rows, struct gw_err *err)
{
    int rc = GW_OK;
    while (rc == GW_OK && from < to) {
        struct myt_statement *st = NULL;
        size_t at_once = rows_at_once(t, set, form, to - from), stop = from;
        rc = find_statement(t, run, set, form, at_once, &st, err);
        rc = rc == GW_OK ? myt_measure(t, set, st, from, &stop, err) : rc;
        if (rc != GW_OK) {
            break;
        }
        stop = stop > to ? to : stop;
        bool bulk = t->server.mariadb && st->n_params > 0;
        if (at_once > 1 && stop - from < at_once) { // rows too long to go together
            rc = find_statement(t, run, set, form, 1, &st, err);
            at_once = 1;
        }
        stop = bulk ? stop : from + at_once;
        rc = rc == GW_OK ? myt_bind_rows(t, set, run->tab, st, from, stop, err) : rc;
        rc = rc == GW_OK ? myt_execute(t, st, stop - from, ret_rows, err) : rc;
        from = stop;
    }
    return rc;
}

// ---- rows that may be there already

// The row's own primary key as the key of an update.
static int
keys_of_rows(struct myt_stream *s, const struct gw_change_set *set, struct gw_change_set *ret, struct gw_err *err)
{
    const Gw__Table *t = set->table;
    size_t n = t->n_primary_key;
    gw_buf_reset(&s->upsert);
    char *room =
        gw_buf_room(&s->upsert, n * (set->n * sizeof(struct gw_value) + sizeof(size_t) + sizeof(uint32_t)) + 1);
    if (!room) {
        return gw_err_set(err, GW_BUG, "", "too many rows in a set");
    }
    struct gw_value *keys = (struct gw_value *)(void *)room;
    size_t *at = (size_t *)(void *)(keys + set->n * n), found = 0;
    uint32_t *key = (uint32_t *)(void *)(at + n);
    for (size_t k = 0; k < n; k++) {
        for (size_t i = 0; i < set->columns_n; i++) {
            if (strcmp(t->columns[set->columns[i]]->name, t->primary_key[k]) == 0) {
                at[found] = i;
                key[found++] = set->columns[i];
                break;
            }
        }
    }
    if (n == 0 || found != n) {
        return gw_err_set(err, GW_BUG, "", "rows that may be there already, and no primary key to find them by");
    }
    for (size_t row = 0; row < set->n; row++) {
        for (size_t k = 0; k < n; k++) {
            keys[row * n + k] = set->values[row * set->columns_n + at[k]];
        }
    }
    *ret = *set;
    ret->kind = GW__CHANGE_KIND__CHANGE_UPDATE;
    ret->key = key;
    ret->key_n = n;
    ret->keys = keys;
    return GW_OK;
}

// Row by row: updated if the key is there, inserted if not. Another unique key that is in the way is an error in both.
static int
insert_unsure(struct myt *t, struct run *run, struct gw_err *err)
{
    const struct gw_change_set *set = run->set;
    struct gw_change_set update;
    int rc = keys_of_rows(t->stream, set, &update, err);
    for (size_t row = 0; rc == GW_OK && row < set->n; row++) {
        uint64_t found = 0;
        rc = run_rows(t, run, &update, MYT_UPDATE, row, row + 1, &found, err);
        rc = rc == GW_OK && found == 0 ? run_rows(t, run, set, MYT_INSERT, row, row + 1, &found, err) : rc;
        run->rows += found;
    }
    return rc;
}

// ---- the set

static int
check_columns(struct myt *t, const struct run *run, struct gw_err *err)
{
    const struct gw_change_set *set = run->set;
    for (size_t i = 0; i < set->columns_n + set->key_n; i++) {
        uint32_t c = i < set->columns_n ? set->columns[i] : set->key[i - set->columns_n];
        if (!run->tab->columns[c].there) {
            return gw_err_set(err, GW_CONFIG, "1054", "table \"%s.%s\" has no column \"%s\" on the target",
                              myt_schema(t, set->table), set->table->name, set->table->columns[c]->name);
        }
    }
    return GW_OK;
}

static int
empty_table(struct myt *t, const struct run *run, struct gw_err *err)
{
    MYT_BUF sql;
    gw_buf_init(&sql, MYT_SQL_MAX);
    gw_buf_puts(&sql, "DELETE FROM ");
    myt_tname(&sql, t, run->set->table);
    return myt_exec(t, &sql, err);
}

static int
apply_set(struct myt *t, struct run *run, struct gw_err *err)
{
    const struct gw_change_set *set = run->set;
    int rc = myt_stream_table(t, set->table, &run->tab, err);
    rc = rc == GW_OK ? check_columns(t, run, err) : rc;
    rc = rc == GW_OK ? myt_stream_flush(t, err) : rc;
    rc = rc == GW_OK && run->guard == GUARD_SET ? myt_run(t, err, "SAVEPOINT gw_set") : rc;
    if (rc != GW_OK) {
        return rc;
    }
    run->sent = true;
    switch (set->kind) {
    case GW__CHANGE_KIND__CHANGE_TRUNCATE: return empty_table(t, run, err);
    case GW__CHANGE_KIND__CHANGE_INSERT:
        return set->unsure ? insert_unsure(t, run, err) : run_rows(t, run, set, MYT_INSERT, 0, set->n, &run->rows, err);
    case GW__CHANGE_KIND__CHANGE_UPDATE: return run_rows(t, run, set, MYT_UPDATE, 0, set->n, &run->rows, err);
    case GW__CHANGE_KIND__CHANGE_DELETE: return run_rows(t, run, set, MYT_DELETE, 0, set->n, &run->rows, err);
    default: return gw_err_set(err, GW_BUG, "", "a set of changes of kind %d", (int)set->kind);
    }
}

static int
take_back(struct myt *t, const struct run *run, struct gw_err *err)
{
    if (!run->sent) {
        return GW_OK;
    }
    switch (run->guard) {
    case GUARD_START: return myt_stream_restart(t, err);
    case GUARD_MARK: return myt_run(t, err, "ROLLBACK TO SAVEPOINT gw_mark");
    default: return myt_run(t, err, "ROLLBACK TO SAVEPOINT gw_set");
    }
}

static void
hide_values(struct myt *t, const Gw__Table *table, struct gw_err *err)
{
    char code[sizeof err->code];
    memcpy(code, err->code, sizeof code);
    gw_err_clear(err);
    gw_err_set(err, GW_DATA, code, "table \"%s.%s\" refuses a row", myt_schema(t, table), table->name);
}

int
myt_stream_apply(void *self, const struct gw_change_set *set, uint64_t *ret_rows, struct gw_err *err)
{
    struct myt *t = self;
    struct myt_stream *s = t->stream;
    gw_assert(s && s->open);
    struct run run = {.set = set};
    struct gw_err local = {0}, again = {0};
    struct gw_err *e = err ? err : &local;
    if (set->n == 0 && set->kind != GW__CHANGE_KIND__CHANGE_TRUNCATE) {
        *ret_rows = 0;
        return GW_OK;
    }
    if (s->statements_n + 4 > MYT_STATEMENTS_MAX) { // rare, and simpler than to say which one is the oldest
        myt_statements_close(s);
    }
    run.guard = s->need_begin ? GUARD_START : s->mark == MYT_MARK_SET && !s->dirty ? GUARD_MARK : GUARD_SET;
    int rc = apply_set(t, &run, e);
    if (rc == GW_OK) {
        s->dirty = true;
        *ret_rows = run.rows;
        return GW_OK;
    }
    if (rc == GW_DATA && set->n > 1 && e->message[0]) {
        hide_values(t, set->table, e);
    }
    bool back = rc == GW_DATA || rc == GW_CONFIG;
    int undone = back ? take_back(t, &run, &again) : GW_OK;
    if (undone != GW_OK) {
        *e = again;
        rc = undone;
    }
    rc = back && undone == GW_OK ? rc : myt_stream_lost(t, rc);
    gw_err_wrap(e, "%s table \"%s.%s\"",
                set->kind == GW__CHANGE_KIND__CHANGE_INSERT     ? "insert into"
                : set->kind == GW__CHANGE_KIND__CHANGE_UPDATE   ? "update"
                : set->kind == GW__CHANGE_KIND__CHANGE_TRUNCATE ? "empty"
                                                                : "delete from",
                myt_schema(t, set->table), set->table->name);
    return rc;
}
