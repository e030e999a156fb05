// Indexes and keys that a table has, and whether they do the work of those that it is to have. A name says nothing: a plain
// index that is called like a unique one would leave the rows unheld.
#include <string.h>
#include <strings.h>

#include "finish.h"

// `columns`: "`a`b(10)`?" for a, the first ten of b, and an expression.
static void
add_part(struct gw_arena *a, struct myt_have_index *x, MYSQL_ROW row)
{
    const char *column = row[3] ? myt_text(row, 3) : "?";
    const char *prefix = row[4] && !x->alone ? gw_arena_printf(a, "(%s)", myt_text(row, 4)) : "";
    x->columns = gw_arena_printf(a, "%s`%s%s", x->columns, column, prefix);
}

int
myt_read_indexes(struct myt *t, struct gw_arena *a, const Gw__Table *table, struct myt_have_indexes *ret,
                 struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, t, "TABLE_SCHEMA", myt_schema(t, table), "TABLE_NAME", table->name);
    MYT_RES r = NULL;
    int rc = myt_query(t, &r, err,
                       "SELECT INDEX_NAME, NON_UNIQUE, INDEX_TYPE, COLUMN_NAME, SUB_PART"
                       " FROM information_schema.STATISTICS WHERE $s ORDER BY INDEX_NAME, SEQ_IN_INDEX",
                       where.data);
    if (rc != GW_OK) {
        return rc;
    }
    struct myt_have_indexes have = {0};
    for (MYSQL_ROW row; (row = mysql_fetch_row(r));) {
        struct myt_have_index *x = have.n ? &have.items[have.n - 1] : NULL;
        if (!x || strcmp(x->name, myt_text(row, 0)) != 0) {
            const char *type = myt_text(row, 2);
            x = gw_arena_push(a, &have.items, &have.n, sizeof *have.items);
            *x =
                (struct myt_have_index){.name = gw_arena_strdup(a, myt_text(row, 0)),
                                        .columns = "",
                                        .unique = myt_u64(row, 1) == 0,
                                        .alone = strcasecmp(type, "FULLTEXT") == 0 || strcasecmp(type, "SPATIAL") == 0};
        }
        add_part(a, x, row);
    }
    *ret = have;
    return GW_OK;
}

static const char *
wanted(const struct myt *t, struct gw_arena *a, const Gw__Table *table, const Gw__Index *x)
{
    const char *columns = "";
    for (size_t p = 0; p < x->n_parts; p++) {
        const char *column = myt_set(x->parts[p]->column) ? x->parts[p]->column : "?";
        uint32_t n = myt_index_alone(table, x) ? 0 : myt_part_prefix(t, table, x, p);
        columns = gw_arena_printf(a, n ? "%s`%s(%u)" : "%s`%s", columns, column, n);
    }
    return columns;
}

enum myt_index_found
myt_find_index(const struct myt *t, struct gw_arena *a, const Gw__Table *table, size_t i, bool ours,
               const struct myt_have_indexes *have)
{
    const Gw__Index *x = table->indexes[i];
    const char *name = myt_index_object(a, table, i), *columns = wanted(t, a, table, x);
    bool alone = myt_index_alone(table, x), expression = strchr(columns, '?') != NULL;
    enum myt_index_found found = MYT_INDEX_MISSING;
    for (size_t k = 0; k < have->n; k++) {
        const struct myt_have_index *h = &have->items[k];
        bool named = myt_same_name(h->name, name);
        bool equal = h->alone == alone && (h->unique || !x->is_unique) && myt_same_name(h->columns, columns);
        if (named && (ours || equal)) {
            return MYT_INDEX_THERE;
        }
        if (equal && !alone && !expression && !ours) {
            return MYT_INDEX_THERE;
        }
        found = named ? MYT_INDEX_CLASH : found;
    }
    return found;
}

// ---- of a table that was there before the task

static int
check_primary_key(struct myt *t, struct myt_findings *f, const Gw__Table *table, const struct myt_have_indexes *have)
{
    const struct myt_have_index *pk = NULL;
    for (size_t i = 0; i < have->n; i++) {
        pk = strcasecmp(have->items[i].name, "PRIMARY") == 0 ? &have->items[i] : pk;
    }
    const char *columns = "";
    for (size_t i = 0; i < table->n_primary_key; i++) {
        columns = gw_arena_printf(f->a, "%s`%s", columns, table->primary_key[i]);
    }
    if (!*columns || (pk && myt_same_name(pk->columns, columns))) {
        return GW_OK;
    }
    MYT_BUF sql;
    gw_buf_init(&sql, MYT_SQL_MAX);
    myt_put(t, &sql,
            pk ? "ALTER TABLE $i.$i DROP PRIMARY KEY, ADD PRIMARY KEY (" : "ALTER TABLE $i.$i ADD PRIMARY KEY (",
            myt_schema(t, table), table->name);
    myt_idents(&sql, table->n_primary_key, table->primary_key);
    gw_buf_putc(&sql, ')');
    myt_find(f, pk ? GW__SEVERITY__SEVERITY_ERROR : GW__SEVERITY__SEVERITY_WARNING, table, "PRIMARY",
             "make it the same, or use DROP_AND_CREATE", sql.data,
             pk ? "the table on the target has a primary key of other columns"
                : "the table on the target has no primary key: it does not hold rows to the source's");
    return GW_OK;
}

int
myt_preflight_indexes(struct myt *t, struct myt_findings *f, const Gw__Table *table, struct gw_err *err)
{
    struct myt_have_indexes have;
    int rc = myt_read_indexes(t, f->a, table, &have, err);
    if (rc != GW_OK) {
        return rc;
    }
    for (size_t i = 0; i < table->n_indexes; i++) {
        const Gw__Index *x = table->indexes[i];
        if (myt_index_refused(t, table, x) || myt_find_index(t, f->a, table, i, false, &have) != MYT_INDEX_CLASH) {
            continue;
        }
        const char *name = myt_index_object(f->a, table, i);
        MYT_BUF sql;
        gw_buf_init(&sql, 8192);
        myt_put(t, &sql, "ALTER TABLE $i.$i DROP INDEX $i", myt_schema(t, table), table->name, name);
        myt_find(f, GW__SEVERITY__SEVERITY_ERROR, table, name, "drop or rename it, or use DROP_AND_CREATE", sql.data,
                 "index \"%s\" of the table on the target is another one: of other columns, or not unique", name);
    }
    return check_primary_key(t, f, table, &have);
}
