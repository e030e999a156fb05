// Applying a set: its statement (prepared once a connection), its rows as arrays, and what is taken back if it fails.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
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
    struct pgt_target_table *tab;
    enum guard guard;
    bool sent; // the savepoint was sent, if there is one
    uint64_t rows;
};

// ---- prepared statements

static void
reserve(struct pgt_stream *s, size_t n)
{
    if (n <= s->params_cap) {
        return;
    }
    size_t cap = n < 64 ? 64 : n;
    s->values = realloc(s->values, cap * sizeof *s->values);
    s->lengths = realloc(s->lengths, cap * sizeof *s->lengths);
    s->formats = realloc(s->formats, cap * sizeof *s->formats);
    s->types = realloc(s->types, cap * sizeof *s->types);
    s->sizes = realloc(s->sizes, cap * sizeof *s->sizes);
    s->at = realloc(s->at, cap * sizeof *s->at);
    gw_assert(s->values && s->lengths && s->formats && s->types && s->sizes && s->at);
    for (size_t i = 0; i < cap; i++) {
        s->formats[i] = 1;
    }
    s->params_cap = cap;
}

static void
put_indexes(struct gw_buf *out, const uint32_t *indexes, size_t n)
{
    uint32_t count = (uint32_t)n;
    gw_buf_put(out, &count, sizeof count);
    gw_buf_put(out, indexes, n * sizeof *indexes);
}

// All that were prepared are given up at once: rare, and simpler than to say which one is the oldest.
static int
forget_all(struct pgt *t, struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    int rc = pgt_stream_flush(t, err);
    rc = rc == GW_OK ? gw_pg_exec(t->c, err, "DEALLOCATE ALL") : rc;
    if (rc == GW_OK) {
        s->statements_n = s->tables_n = 0;
        s->tables = NULL;
        gw_arena_reset(&s->arena);
        rc = pgt_stream_prepare(t, err);
    }
    return rc;
}

static struct pgt_statement *
make_statement(struct pgt_stream *s, const struct run *run, enum pgt_form form, bool each, uint64_t hash)
{
    struct pgt_statement *st = gw_arena_calloc(&s->arena, 1, sizeof *st);
    st->key = gw_arena_memdup0(&s->arena, s->key.data, s->key.len);
    st->key_len = s->key.len;
    st->hash = hash;
    st->each = each;
    bool insert = form == PGT_INSERT || form == PGT_UPSERT || form == PGT_UPSERT_PLAIN;
    st->n_params = (int)((insert ? 0 : run->set->key_n) + run->set->columns_n);
    snprintf(st->name, sizeof st->name, "gw%llu", (unsigned long long)++s->statement_no);
    gw_buf_reset(&s->sql);
    pgt_stream_sql(&s->sql, run->set, run->tab, form, each);
    st->sql = gw_arena_memdup0(&s->arena, s->sql.data, s->sql.len);
    s->statements[s->statements_n++] = st;
    return st;
}

static int
find_statement(struct pgt *t, const struct run *run, enum pgt_form form, bool each, struct pgt_statement **ret,
               struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    const struct gw_change_set *set = run->set;
    unsigned char what[] = {(unsigned char)form, each, set->keyless};
    gw_buf_reset(&s->key);
    gw_buf_put(&s->key, what, sizeof what);
    put_indexes(&s->key, set->columns, set->columns_n);
    put_indexes(&s->key, set->key, set->key_n);
    pgt_stream_key(&s->key, set->table);
    uint64_t hash = XXH64(s->key.data, s->key.len, 0);
    for (size_t i = 0; i < s->statements_n; i++) {
        struct pgt_statement *st = s->statements[i];
        if (st->hash == hash && st->key_len == s->key.len && memcmp(st->key, s->key.data, s->key.len) == 0) {
            *ret = st;
            return GW_OK;
        }
    }
    *ret = make_statement(s, run, form, each, hash);
    return s->sql.overflowed ? gw_err_set(err, GW_BUG, "", "statement is longer than %d bytes", PGT_SQL_MAX) : GW_OK;
}

// ---- parameters

static const struct gw_value *
value_at(const struct gw_change_set *set, size_t keys, size_t row, size_t param)
{
    return param < keys ? &set->keys[row * set->key_n + param] : &set->values[row * set->columns_n + param - keys];
}

static char *
put_int(char *to, uint32_t v)
{
    uint32_t net = htonl(v);
    memcpy(to, &net, sizeof net);
    return to + sizeof net;
}

// How many rows from `from` on make a piece of bounded size; each parameter's bytes in s->sizes. At least one.
static int
measure(struct pgt_stream *s, const struct gw_change_set *set, size_t keys, size_t params, size_t from, size_t *ret_to,
        struct gw_err *err)
{
    size_t total = 0, row = from;
    memset(s->sizes, 0, params * sizeof *s->sizes);
    for (; row < set->n && (row == from || total < PGT_PIECE_BYTES); row++) {
        for (size_t p = 0; p < params; p++) {
            const struct gw_value *v = value_at(set, keys, row, p);
            size_t len = v->given == GW_PRESENT ? v->len : 0;
            if (len > PGT_VALUE_MAX) {
                return gw_err_set(err, GW_DATA, "54000", "a value is longer than the server can hold");
            }
            s->sizes[p] += 4 + len;
            total += 4 + len;
        }
    }
    *ret_to = row;
    return GW_OK;
}

// The binary form of text[] (array_recv): dimensions, whether there are NULLs, type of the elements, number, lower bound;
// then each element's length and bytes. Rows come row by row, so all arrays grow side by side.
static int
put_arrays(struct pgt_stream *s, const struct gw_change_set *set, size_t keys, size_t params, size_t from, size_t to,
           struct gw_err *err)
{
    enum { HEAD = 20 };
    size_t total = 0;
    for (size_t p = 0; p < params; p++) {
        total += HEAD + s->sizes[p];
    }
    gw_buf_reset(&s->args);
    char *room = gw_buf_room(&s->args, total + 1);
    if (!room) {
        return gw_err_set(err, GW_DATA, "54000", "a row is longer than the server can take");
    }
    for (size_t p = 0; p < params; p++) {
        s->values[p] = room;
        s->lengths[p] = (int)(HEAD + s->sizes[p]);
        char *h = put_int(room, 1);
        h = put_int(h, 1);
        h = put_int(h, PGT_TEXT_OID);
        h = put_int(h, (uint32_t)(to - from));
        s->at[p] = put_int(h, 1);
        room += HEAD + s->sizes[p];
    }
    for (size_t row = from; row < to; row++) {
        for (size_t p = 0; p < params; p++) {
            const struct gw_value *v = value_at(set, keys, row, p);
            bool there = v->given == GW_PRESENT;
            char *at = put_int(s->at[p], there ? v->len : UINT32_MAX);
            if (there && v->len) {
                memcpy(at, v->data, v->len);
            }
            s->at[p] = at + (there ? v->len : 0);
        }
    }
    return GW_OK;
}

static int
put_one(struct pgt *t, const struct pgt_statement *st, const struct gw_change_set *set, size_t keys, size_t row,
        struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    for (size_t p = 0; p < (size_t)st->n_params; p++) {
        const struct gw_value *v = value_at(set, keys, row, p);
        if (v->given == GW_PRESENT && v->len > PGT_VALUE_MAX) {
            return gw_err_set(err, GW_DATA, "54000", "a value is longer than the server can hold");
        }
        s->values[p] = v->given == GW_PRESENT ? (v->len ? v->data : "") : NULL;
        s->lengths[p] = (int)v->len;
    }
    return pgt_pipe_put(t, PGT_SLOT_ROWS, st->name, st->n_params, s->values, s->lengths, s->formats, err);
}

// ---- one form of the set

// Rows from *at on, as far as they go in one pipeline.
static int
put_piece(struct pgt *t, struct run *run, const struct pgt_statement *st, size_t keys, size_t *at, struct gw_err *err)
{
    struct pgt_stream *s = t->stream;
    const struct gw_change_set *set = run->set;
    if (!st->each) {
        size_t to = *at, from = *at;
        int rc = measure(s, set, keys, (size_t)st->n_params, from, &to, err);
        rc = rc == GW_OK ? put_arrays(s, set, keys, (size_t)st->n_params, from, to, err) : rc;
        *at = to;
        return rc == GW_OK
                   ? pgt_pipe_put(t, PGT_SLOT_ROWS, st->name, st->n_params, s->values, s->lengths, s->formats, err)
                   : rc;
    }
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < PGT_EACH_ROWS && *at < set->n; i++, ++*at) {
        rc = put_one(t, st, set, keys, *at, err);
    }
    return rc;
}

static int
run_form(struct pgt *t, struct run *run, enum pgt_form form, bool each, bool last, uint64_t *ret_rows,
         struct gw_err *err)
{
    bool insert = form == PGT_INSERT || form == PGT_UPSERT || form == PGT_UPSERT_PLAIN;
    size_t keys = insert ? 0 : run->set->key_n;
    struct pgt_statement *st = NULL;
    int rc = find_statement(t, run, form, each, &st, err);
    for (size_t at = 0; rc == GW_OK && at < run->set->n;) {
        rc = pgt_pipe_open(t, err);
        if (rc == GW_OK && run->guard == GUARD_SET && !run->sent) {
            rc = pgt_pipe_put(t, PGT_SLOT_PLAIN, "gw_set", 0, NULL, NULL, NULL, err);
            run->sent = true;
        }
        rc = rc == GW_OK && !st->prepared ? pgt_pipe_prepare(t, st, err) : rc;
        rc = rc == GW_OK ? put_piece(t, run, st, keys, &at, err) : rc;
        if (rc == GW_OK && last && at == run->set->n && run->guard == GUARD_SET) {
            rc = pgt_pipe_put(t, PGT_SLOT_PLAIN, "gw_unset", 0, NULL, NULL, NULL, err);
        }
        rc = rc == GW_OK ? pgt_pipe_close(t, ret_rows, err) : pgt_pipe_give_up(t, rc);
    }
    return rc;
}

// ---- GENERATED ALWAYS

static int
alter_identity(struct pgt *t, const struct run *run, const char *to, struct gw_err *err)
{
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    const char *sep = "";
    gw_buf_puts(&sql, "ALTER TABLE ");
    pgt_tname(&sql, run->set->table);
    for (size_t i = 0; i < run->set->columns_n; i++) {
        if (run->tab->columns[run->set->columns[i]].identity_always) {
            gw_buf_printf(&sql, "%s ALTER COLUMN ", sep);
            pgt_ident(&sql, run->set->table->columns[run->set->columns[i]]->name);
            gw_buf_printf(&sql, " SET GENERATED %s", to);
            sep = ",";
        }
    }
    return pgt_exec(t, &sql, err);
}

// An update cannot set a GENERATED ALWAYS column, but as a rule the column does not change: such rows are updated without it.
// For those where it does, it is GENERATED BY DEFAULT for the time of the update; the transaction holds the table's lock.
static int
update_identity(struct pgt *t, struct run *run, bool each, struct gw_err *err)
{
    uint64_t moved = 0;
    int rc = run_form(t, run, PGT_UPDATE_SAME, each, false, &run->rows, err);
    if (rc == GW_OK && run->rows < run->set->n) {
        rc = run_form(t, run, PGT_COUNT_MOVED, each, false, &moved, err);
    }
    if (rc == GW_OK && moved > 0) {
        rc = alter_identity(t, run, "BY DEFAULT", err);
        rc = rc == GW_OK ? run_form(t, run, PGT_UPDATE_MOVED, each, false, &run->rows, err) : rc;
        rc = rc == GW_OK ? alter_identity(t, run, "ALWAYS", err) : rc;
    }
    return rc == GW_OK && run->guard == GUARD_SET ? gw_pg_exec(t->c, err, "RELEASE SAVEPOINT gw_set") : rc;
}

// ---- the set

static int
truncate_table(struct pgt *t, struct run *run, struct gw_err *err)
{
    int rc = pgt_stream_flush(t, err);
    run->sent = true;
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_puts(&sql, run->guard == GUARD_SET ? "SAVEPOINT gw_set; " : "");
    // A table that a foreign key points to can only be truncated together with the others: emptied it can be.
    gw_buf_puts(&sql, run->tab->referenced ? "DELETE FROM " : "TRUNCATE ");
    pgt_tname(&sql, run->set->table);
    gw_buf_puts(&sql, run->guard == GUARD_SET ? "; RELEASE SAVEPOINT gw_set" : "");
    return rc == GW_OK ? pgt_exec(t, &sql, err) : rc;
}

static int
check_columns(const struct run *run, struct gw_err *err)
{
    const struct gw_change_set *set = run->set;
    for (size_t i = 0; i < set->columns_n + set->key_n; i++) {
        uint32_t c = i < set->columns_n ? set->columns[i] : set->key[i - set->columns_n];
        if (!run->tab->columns[c].type) {
            return gw_err_set(err, GW_CONFIG, "42703", "table \"%s.%s\" has no column \"%s\" on the target",
                              pgt_schema(set->table), set->table->name, set->table->columns[c]->name);
        }
    }
    return GW_OK;
}

static int
insert_rows(struct pgt *t, struct run *run, struct gw_err *err)
{
    const struct gw_change_set *set = run->set;
    bool each = set->columns_n == 0;
    if (!set->unsure) {
        return run_form(t, run, PGT_INSERT, each, true, &run->rows, err);
    }
    if (set->table->n_primary_key == 0 || each) {
        return gw_err_set(err, GW_BUG, "", "rows that may be there already, and no primary key to find them by");
    }
    int rc = run_form(t, run, run->tab->pk ? PGT_UPSERT : PGT_UPSERT_PLAIN, false, true, &run->rows, err);
    bool only_pk = true;
    for (size_t i = 0; i < set->columns_n; i++) {
        only_pk = only_pk && run->tab->columns[set->columns[i]].in_pk;
    }
    // Of DO NOTHING the server does not count the rows that are there.
    run->rows = rc == GW_OK && run->tab->pk && only_pk ? set->n : run->rows;
    return rc;
}

static int
apply_set(struct pgt *t, struct run *run, struct gw_err *err)
{
    const struct gw_change_set *set = run->set;
    int rc = pgt_stream_table(t, set->table, &run->tab, err);
    rc = rc == GW_OK ? check_columns(run, err) : rc;
    if (rc != GW_OK) {
        return rc;
    }
    reserve(t->stream, set->key_n + set->columns_n + 1);
    switch (set->kind) {
    case GW__CHANGE_KIND__CHANGE_TRUNCATE: return truncate_table(t, run, err);
    case GW__CHANGE_KIND__CHANGE_INSERT: return insert_rows(t, run, err);
    case GW__CHANGE_KIND__CHANGE_DELETE: return run_form(t, run, PGT_DELETE, set->keyless, true, &run->rows, err);
    case GW__CHANGE_KIND__CHANGE_UPDATE:
        return pgt_set_has_identity(set, run->tab) ? update_identity(t, run, set->keyless, err)
                                                   : run_form(t, run, PGT_UPDATE, set->keyless, true, &run->rows, err);
    default: return gw_err_set(err, GW_BUG, "", "a set of changes of kind %d", (int)set->kind);
    }
}

// Takes the set back, so that the transaction is what it was before.
static int
take_back(struct pgt *t, const struct run *run, struct gw_err *err)
{
    switch (run->guard) {
    case GUARD_START: return pgt_stream_restart(t, err);
    case GUARD_MARK: return pgt_stream_undo(t, "ROLLBACK TO SAVEPOINT gw_mark", err);
    case GUARD_SET: break;
    }
    gw_assert(run->sent || PQtransactionStatus(t->c) != PQTRANS_INERROR);
    return run->sent ? pgt_stream_undo(t, "ROLLBACK TO SAVEPOINT gw_set; RELEASE SAVEPOINT gw_set", err) : GW_OK;
}

int
pgt_stream_apply(void *self, const struct gw_change_set *set, uint64_t *ret_rows, struct gw_err *err)
{
    struct pgt *t = self;
    struct pgt_stream *s = t->stream;
    gw_assert(s && s->open);
    struct run run = {.set = set};
    struct gw_err local = {0}, again = {0};
    struct gw_err *e = err ? err : &local;
    if (set->n == 0 && set->kind != GW__CHANGE_KIND__CHANGE_TRUNCATE) {
        *ret_rows = 0;
        return GW_OK;
    }
    int rc = s->statements_n + 4 > PGT_STATEMENTS_MAX ? forget_all(t, e) : GW_OK;
    run.guard = s->need_begin ? GUARD_START : s->mark == PGT_MARK_SET && !s->dirty ? GUARD_MARK : GUARD_SET;
    rc = rc == GW_OK ? apply_set(t, &run, e) : rc;
    if (rc == GW_OK) {
        s->dirty = true;
        *ret_rows = run.rows;
        return GW_OK;
    }
    if (rc == GW_DATA && set->n > 1) {
        pgt_hide_values(set->table, e);
    }
    bool back = rc == GW_DATA || rc == GW_CONFIG;
    int undone = back ? take_back(t, &run, &again) : GW_OK;
    if (undone != GW_OK) {
        *e = again;
        rc = undone;
    }
    rc = back && undone == GW_OK ? rc : pgt_stream_lost(t, rc);
    gw_err_wrap(e, "%s table \"%s.%s\"",
                set->kind == GW__CHANGE_KIND__CHANGE_INSERT     ? "insert into"
                : set->kind == GW__CHANGE_KIND__CHANGE_UPDATE   ? "update"
                : set->kind == GW__CHANGE_KIND__CHANGE_TRUNCATE ? "empty"
                                                                : "delete from",
                pgt_schema(set->table), set->table->name);
    return rc;
}
