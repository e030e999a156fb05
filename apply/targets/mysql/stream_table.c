// What the server says of a table that changes come for: read once a connection.
#include <string.h>
#include <strings.h>

#include "stream.h"

static void
put_name(struct gw_buf *out, const char *name)
{
    gw_buf_put(out, name ? name : "", strlen(name ? name : "") + 1);
}

void
myt_stream_key(struct gw_buf *out, const Gw__Table *t)
{
    gw_buf_put(out, &t->id, sizeof t->id);
    put_name(out, t->schema);
    put_name(out, t->name);
    for (size_t i = 0; i < t->n_columns; i++) {
        put_name(out, t->columns[i]->name);
    }
}

static bool
is(const struct myt_have *h, const char *type)
{
    return strcasecmp(h->data_type, type) == 0;
}

// A string that is compared with a number makes both of them doubles: not exact, and past the key.
static enum myt_bind
compared_as(const struct myt_have *h, enum myt_bind written)
{
    static const char *const integers[] = {"tinyint", "smallint", "mediumint", "int", "bigint"};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        if (is(h, integers[i])) {
            return strstr(h->column_type, "unsigned") ? MYT_BIND_UINT : MYT_BIND_INT;
        }
    }
    return is(h, "bit")       ? MYT_BIND_UINT
           : is(h, "year")    ? MYT_BIND_INT
           : is(h, "decimal") ? MYT_BIND_DECIMAL
           : is(h, "float")   ? MYT_BIND_FLOAT
           : is(h, "double")  ? MYT_BIND_DOUBLE
                              : written;
}

int
myt_stream_table(struct myt *t, const Gw__Table *table, struct myt_target_table **ret, struct gw_err *err)
{
    struct myt_stream *s = t->stream;
    gw_buf_reset(&s->key);
    myt_stream_key(&s->key, table);
    for (struct myt_target_table *x = s->tables; x; x = x->next) {
        if (x->key_len == s->key.len && memcmp(x->key, s->key.data, s->key.len) == 0) {
            *ret = x;
            return GW_OK;
        }
    }
    if (s->tables_n >= MYT_TABLES_MAX) {
        return gw_err_set(err, GW_BUG, "", "changes to more than %d tables", MYT_TABLES_MAX);
    }
    struct myt_have *have = NULL;
    int rc = myt_read_columns(t, &s->arena, table, &have, err);
    if (rc != GW_OK) {
        return rc;
    }
    struct myt_target_table *x = gw_arena_calloc(&s->arena, 1, sizeof *x);
    x->key = gw_arena_memdup0(&s->arena, s->key.data, s->key.len);
    x->key_len = s->key.len;
    x->conv = myt_conv_make(&s->arena, gw_pb_dup(&s->arena, table), have);
    x->columns = gw_arena_calloc(&s->arena, table->n_columns + 1, sizeof *x->columns);
    for (size_t i = 0, field = 0; i < table->n_columns; i++) {
        const struct myt_have *h = myt_find_have(have, table->columns[i]);
        if (table->columns[i]->left_out) {
            continue;
        }
        struct myt_target_column *c = &x->columns[i];
        c->field = field++;
        c->there = h->name != NULL;
        if (c->there) {
            c->stamps = h->stamps;
            c->text = h->charset[0] != 0;
            c->padded = is(h, "char");
            c->json = is(h, "json") && !t->server.mariadb;
            c->write = myt_conv_is_bytes(x->conv, c->field) ? MYT_BIND_BYTES : MYT_BIND_TEXT;
            c->compare = compared_as(h, c->write);
        }
    }
    x->next = s->tables;
    s->tables = x;
    s->tables_n++;
    *ret = x;
    return GW_OK;
}
