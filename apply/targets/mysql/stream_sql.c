// The statement of a set, and which value goes where.
#include <string.h>

#include "stream.h"

struct builder {
    struct myt *t;
    struct gw_buf *sql;
    const struct gw_change_set *set;
    const struct myt_target_table *tab;
    struct myt_statement *st;
};

static const char *
name_of(const struct builder *b, uint32_t column)
{
    return b->set->table->columns[column]->name;
}

static void
add_param(const struct builder *b, struct myt_param p)
{
    b->st->params[b->st->n_params++] = p;
}

static void
put_value(const struct builder *b, size_t i)
{
    uint32_t column = b->set->columns[i];
    gw_buf_putc(b->sql, '?');
    add_param(b, (struct myt_param){.column = column, .index = i, .bind = b->tab->columns[column].write});
}

// Of a table without a key the text is compared byte for byte: a collation would take 'a' for 'A', and 'a' for 'a '.
static void
put_key(const struct builder *b, size_t i)
{
    uint32_t column = b->set->key[i];
    const struct myt_target_column *c = &b->tab->columns[column];
    struct myt_param p = {.column = column, .key = true, .index = i, .bind = c->compare};
    if (b->set->keyless && c->text) {
        myt_put(b->t, b->sql, "CAST(CONVERT($i USING utf8mb4) AS BINARY) <=> ?", name_of(b, column));
        p.bind = MYT_BIND_BYTES;
        p.trim = c->padded;
    } else {
        myt_put(b->t, b->sql, "$i $s $s", name_of(b, column), b->set->keyless ? "<=>" : "=",
                c->json ? "CAST(? AS JSON)" : "?");
    }
    add_param(b, p);
}

static void
put_where(const struct builder *b)
{
    for (size_t i = 0; i < b->set->key_n; i++) {
        gw_buf_puts(b->sql, i ? " AND " : " WHERE ");
        put_key(b, i);
    }
    gw_buf_puts(b->sql, b->set->keyless ? " LIMIT 1" : "");
}

static void
put_insert(const struct builder *b)
{
    gw_buf_puts(b->sql, "INSERT INTO ");
    myt_tname(b->sql, b->t, b->set->table);
    gw_buf_puts(b->sql, " (");
    for (size_t i = 0; i < b->set->columns_n; i++) {
        gw_buf_puts(b->sql, i ? ", " : "");
        gw_my_ident(b->sql, name_of(b, b->set->columns[i]));
    }
    gw_buf_puts(b->sql, ") VALUES ");
    for (size_t row = 0; row < b->st->rows; row++) {
        b->st->n_params = 0; // every row's are the same
        gw_buf_puts(b->sql, row ? ", (" : "(");
        for (size_t i = 0; i < b->set->columns_n; i++) {
            gw_buf_puts(b->sql, i ? ", " : "");
            put_value(b, i);
        }
        gw_buf_putc(b->sql, ')');
    }
}

static bool
is_given(const struct gw_change_set *set, uint32_t column)
{
    for (size_t i = 0; i < set->columns_n; i++) {
        if (set->columns[i] == column) {
            return true;
        }
    }
    return false;
}

// A column that the server would stamp with the time is set, to itself if nothing is given.
static void
put_update(const struct builder *b)
{
    const char *sep = "";
    gw_buf_puts(b->sql, "UPDATE ");
    myt_tname(b->sql, b->t, b->set->table);
    gw_buf_puts(b->sql, " SET ");
    for (size_t i = 0; i < b->set->columns_n; i++) {
        myt_put(b->t, b->sql, "$s$i = ", sep, name_of(b, b->set->columns[i]));
        put_value(b, i);
        sep = ", ";
    }
    for (uint32_t i = 0; i < b->set->table->n_columns; i++) {
        bool itself = b->tab->columns[i].stamps || (!*sep && i == b->set->key[0]);
        if (itself && !is_given(b->set, i)) {
            myt_put(b->t, b->sql, "$s$i = $i", sep, name_of(b, i), name_of(b, i));
            sep = ", ";
        }
    }
    put_where(b);
}

void
myt_stream_sql(struct myt *t, struct gw_buf *sql, const struct gw_change_set *set, const struct myt_target_table *tab,
               enum myt_form form, struct myt_statement *ret)
{
    struct builder b = {.t = t, .sql = sql, .set = set, .tab = tab, .st = ret};
    ret->params = gw_arena_calloc(&t->stream->arena, set->columns_n + set->key_n + 1, sizeof *ret->params);
    ret->n_params = 0;
    switch (form) {
    case MYT_INSERT: put_insert(&b); break;
    case MYT_UPDATE: put_update(&b); break;
    case MYT_DELETE:
        gw_buf_puts(sql, "DELETE FROM ");
        myt_tname(sql, t, set->table);
        put_where(&b);
        break;
    }
}
