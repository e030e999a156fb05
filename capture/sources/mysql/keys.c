// The key that a table is cut by, and conditions over it.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "capture/sources/mysql/mysql_source.h"

void
my_from(struct gw_buf *sql, const Gw__Table *t, const char *partition)
{
    gw_buf_puts(sql, " FROM ");
    gw_my_qname(sql, t->source_schema, t->source_name);
    if (partition && partition[0]) {
        gw_buf_puts(sql, " PARTITION (");
        gw_my_ident(sql, partition);
        gw_buf_putc(sql, ')');
    }
}

// Is the order of the column's values one that bounds can be written in?
static bool
can_cut(const Gw__Column *c)
{
    switch (c->type->kind) {
    case GW__KIND__KIND_INT8:
    case GW__KIND__KIND_INT16:
    case GW__KIND__KIND_INT24:
    case GW__KIND__KIND_INT32:
    case GW__KIND__KIND_INT64:
    case GW__KIND__KIND_NUMERIC:
    case GW__KIND__KIND_DATE:
    case GW__KIND__KIND_TIMESTAMP:
    case GW__KIND__KIND_TIMESTAMPTZ:
    case GW__KIND__KIND_DURATION:
    case GW__KIND__KIND_UUID:
    case GW__KIND__KIND_BINARY:
    case GW__KIND__KIND_VARBINARY:
    case GW__KIND__KIND_CHAR:
    case GW__KIND__KIND_VARCHAR: return c->not_null && strcmp(c->type->native, "vector") != 0;
    default: return false;
    }
}

// Text compares exactly under a collation by code points only.
static bool
is_exact(const Gw__Column *c)
{
    bool text = c->type->kind == GW__KIND__KIND_CHAR || c->type->kind == GW__KIND__KIND_VARCHAR;
    return !text || strstr(c->type->collation, "_bin") || strcmp(c->type->collation, "binary") == 0;
}

static struct my_key
longest(struct gw_arena *a, const Gw__Table *t, const char *index, char *const *names, size_t n)
{
    struct my_key key = {.index = index, .exact = true};
    key.columns = gw_arena_calloc(a, n + 1, sizeof *key.columns);
    for (size_t i = 0; i < n; i++) {
        const Gw__Column *c = my_column_of(t, names[i]);
        if (!c || !can_cut(c)) {
            break; // rows that are equal in the columns before it stay together
        }
        key.columns[key.n++] = c;
        key.exact = key.exact && is_exact(c);
    }
    return key;
}

// A primary key over the beginnings of values is no order of the values.
static bool
has_prefix(const Gw__Index *ix)
{
    for (size_t i = 0; i < ix->n_parts; i++) {
        if (ix->parts[i]->prefix_length || ix->parts[i]->expression[0]) {
            return true;
        }
    }
    return false;
}

struct my_key
my_key_choose(struct gw_arena *a, const Gw__Table *t)
{
    struct my_key none = {0};
    if (t->kind == GW__TABLE_KIND__TABLE_VIEW || !t->transactional) {
        return none;
    }
    if (t->n_primary_key) {
        return longest(a, t, "PRIMARY", t->primary_key, t->n_primary_key);
    }
    // Without one, InnoDB keeps the rows in the order of the first unique key that is NOT NULL.
    for (size_t i = 0; i < t->n_indexes; i++) {
        const Gw__Index *ix = t->indexes[i];
        char **names = gw_arena_calloc(a, ix->n_parts + 1, sizeof *names);
        bool usable = ix->is_unique && !has_prefix(ix);
        for (size_t k = 0; k < ix->n_parts && usable; k++) {
            names[k] = ix->parts[k]->column;
            const Gw__Column *c = my_column_of(t, names[k]);
            usable = c && c->not_null;
        }
        if (usable) {
            return longest(a, t, ix->name, names, ix->n_parts);
        }
    }
    return none;
}

// ---- conditions --------------------------------------------------------------------------------

void
my_key_literal(struct gw_buf *sql, const Gw__Column *c, const char *value)
{
    size_t n = strlen(value);
    switch (c->type->kind) {
    case GW__KIND__KIND_INT8:
    case GW__KIND__KIND_INT16:
    case GW__KIND__KIND_INT24:
    case GW__KIND__KIND_INT32:
    case GW__KIND__KIND_INT64:
    case GW__KIND__KIND_NUMERIC:
        // Bare, so that it compares as a number; what is not one is quoted, and harmless.
        if (n && strspn(value, "+-.0123456789") == n) {
            gw_buf_puts(sql, value);
            return;
        }
        break;
    case GW__KIND__KIND_BINARY:
    case GW__KIND__KIND_VARBINARY:
        if (n >= 2 && value[0] == '\\' && value[1] == 'x' && strspn(value + 2, "0123456789abcdefABCDEF") == n - 2) {
            gw_buf_printf(sql, "x'%s'", value + 2);
            return;
        }
        break;
    case GW__KIND__KIND_TIMESTAMPTZ:
        if (n > 3 && strcmp(value + n - 3, "+00") == 0) {
            n -= 3; // the session is in UTC
        }
        break;
    default: break;
    }
    gw_my_literal(sql, value, n);
}

static void
put_one(struct gw_buf *sql, const Gw__Column *c, const char *op, const char *value)
{
    gw_my_ident(sql, c->name);
    gw_buf_printf(sql, " %s ", op);
    my_key_literal(sql, c, value);
}

// (a, b, c) >= (1, 2, 3) is a > 1 OR (a = 1 AND (b > 2 OR (b = 2 AND c >= 3))): the optimizer makes index ranges of the second
// form only.
void
my_key_compare(struct gw_buf *sql, const Gw__Column *const *columns, size_t n, const char *op, char *const *values)
{
    const char strict[2] = {op[0], 0};
    for (size_t i = 0; i < n; i++) {
        bool last = i + 1 == n;
        put_one(sql, columns[i], last ? op : strict, values[i]);
        if (!last) {
            gw_buf_puts(sql, " OR (");
            put_one(sql, columns[i], "=", values[i]);
            gw_buf_puts(sql, " AND (");
        }
    }
    for (size_t i = 1; i < n; i++) {
        gw_buf_puts(sql, "))");
    }
}
