// The statement of a set.
//
// All rows of a set travel as one array of text a column, put side by side by unnest; a row of a table without a key
// travels alone, as one text a column. Each value is cast to its column's type WITHOUT the type's modifier: a cast to
// varchar(3) is an explicit one and cuts in silence, where the assignment to the column raises, as COPY does.
#include <string.h>

#include "stream.h"

struct builder {
    struct gw_buf *sql;
    const struct gw_change_set *set;
    const struct pgt_target_table *tab;
    bool each;
    size_t keys; // parameters before the values
};

static const struct pgt_target_column *
value_column(const struct builder *b, size_t i)
{
    return &b->tab->columns[b->set->columns[i]];
}

static const char *
name_of(const struct builder *b, uint32_t column)
{
    return b->set->table->columns[column]->name;
}

bool
pgt_set_has_identity(const struct gw_change_set *set, const struct pgt_target_table *tab)
{
    for (size_t i = 0; tab->identity && i < set->columns_n; i++) {
        if (tab->columns[set->columns[i]].identity_always) {
            return true;
        }
    }
    return false;
}

// ---- parts

static void
put_value(const struct builder *b, size_t i)
{
    if (b->each) {
        gw_buf_printf(b->sql, "$%zu::%s", b->keys + i + 1, value_column(b, i)->type);
    } else {
        gw_buf_printf(b->sql, "v.v%zu::%s", i, value_column(b, i)->type);
    }
}

static void
put_key(const struct builder *b, size_t i)
{
    const char *type = b->tab->columns[b->set->key[i]].type;
    if (b->each) {
        gw_buf_printf(b->sql, "$%zu::%s", i + 1, type);
    } else {
        gw_buf_printf(b->sql, "v.k%zu::%s", i, type);
    }
}

// FROM behind which v.k0 …, v.v0 … are the set's rows.
static void
put_rows(const struct builder *b)
{
    size_t n = b->keys + b->set->columns_n;
    gw_buf_puts(b->sql, "unnest(");
    for (size_t i = 0; i < n; i++) {
        gw_buf_printf(b->sql, "%s$%zu", i ? ", " : "", i + 1);
    }
    gw_buf_puts(b->sql, ") AS v(");
    for (size_t i = 0; i < n; i++) {
        bool key = i < b->keys;
        gw_buf_printf(b->sql, "%s%c%zu", i ? ", " : "", key ? 'k' : 'v', key ? i : i - b->keys);
    }
    gw_buf_putc(b->sql, ')');
}

// t.column = value, or (keyless) IS NOT DISTINCT FROM it; spelled out where the operator is an extension's.
static void
put_equals(const struct builder *b, uint32_t column, void (*put)(const struct builder *, size_t), size_t i)
{
    const struct pgt_target_column *c = &b->tab->columns[column];
    const char *text = c->by_text ? "::pg_catalog.text" : "";
    bool spelled = b->set->keyless && c->equals && !c->by_text;
    gw_buf_puts(b->sql, spelled ? "(t." : "t.");
    pgt_ident(b->sql, name_of(b, column));
    gw_buf_puts(b->sql, text);
    if (c->equals && !c->by_text) {
        gw_buf_puts(b->sql, " OPERATOR(");
        gw_pg_ident(b->sql, c->equals);
        gw_buf_puts(b->sql, ".=) ");
    } else {
        gw_buf_puts(b->sql, b->set->keyless ? " IS NOT DISTINCT FROM " : " = ");
    }
    put(b, i);
    gw_buf_puts(b->sql, text);
    if (spelled) {
        gw_buf_puts(b->sql, " OR (t.");
        pgt_ident(b->sql, name_of(b, column));
        gw_buf_puts(b->sql, " IS NULL AND ");
        put(b, i);
        gw_buf_puts(b->sql, " IS NULL))");
    }
}

static void
put_where_key(const struct builder *b)
{
    for (size_t i = 0; i < b->set->key_n; i++) {
        gw_buf_puts(b->sql, i ? " AND " : "");
        put_equals(b, b->set->key[i], put_key, i);
    }
}

// The primary key against the row's own values.
static void
put_where_pk(const struct builder *b)
{
    const Gw__Table *t = b->set->table;
    const char *sep = "";
    for (size_t i = 0; i < b->set->columns_n; i++) {
        for (size_t k = 0; k < t->n_primary_key; k++) {
            if (strcmp(t->primary_key[k], name_of(b, b->set->columns[i])) == 0) {
                gw_buf_puts(b->sql, sep);
                put_equals(b, b->set->columns[i], put_value, i);
                sep = " AND ";
            }
        }
    }
}

static void
put_names(const struct builder *b)
{
    for (size_t i = 0; i < b->set->columns_n; i++) {
        gw_buf_puts(b->sql, i ? ", " : "");
        pgt_ident(b->sql, name_of(b, b->set->columns[i]));
    }
}

static void
put_values(const struct builder *b)
{
    for (size_t i = 0; i < b->set->columns_n; i++) {
        gw_buf_puts(b->sql, i ? ", " : "");
        put_value(b, i);
    }
}

// column = value, without the GENERATED ALWAYS ones unless asked for. `excluded`: what ON CONFLICT could not insert.
// Returns how many there are.
static size_t
put_assignments(const struct builder *b, bool identity, bool excluded)
{
    size_t n = 0;
    for (size_t i = 0; i < b->set->columns_n; i++) {
        if (value_column(b, i)->identity_always && !identity) {
            continue;
        }
        gw_buf_puts(b->sql, n++ ? ", " : "");
        pgt_ident(b->sql, name_of(b, b->set->columns[i]));
        gw_buf_puts(b->sql, " = ");
        if (excluded) {
            gw_buf_puts(b->sql, "EXCLUDED.");
            pgt_ident(b->sql, name_of(b, b->set->columns[i]));
        } else {
            put_value(b, i);
        }
    }
    return n;
}

// The GENERATED ALWAYS columns keep their values (or, moved: one does not).
static void
put_where_identity(const struct builder *b, bool moved)
{
    const char *sep = moved ? " AND (" : " AND ";
    for (size_t i = 0; i < b->set->columns_n; i++) {
        if (value_column(b, i)->identity_always) {
            gw_buf_puts(b->sql, sep);
            gw_buf_puts(b->sql, "t.");
            pgt_ident(b->sql, name_of(b, b->set->columns[i]));
            gw_buf_puts(b->sql, moved ? " <> " : " = ");
            put_value(b, i);
            sep = moved ? " OR " : " AND ";
        }
    }
    gw_buf_puts(b->sql, moved ? ")" : "");
}

// ---- statements

static void
put_insert(const struct builder *b)
{
    gw_buf_puts(b->sql, "INSERT INTO ");
    pgt_tname(b->sql, b->set->table);
    gw_buf_puts(b->sql, " AS t (");
    put_names(b);
    gw_buf_puts(b->sql, b->tab->identity ? ") OVERRIDING SYSTEM VALUE SELECT " : ") SELECT ");
    put_values(b);
    gw_buf_puts(b->sql, " FROM ");
}

static bool
has_more_than_pk(const struct builder *b)
{
    for (size_t i = 0; i < b->set->columns_n; i++) {
        if (!value_column(b, i)->in_pk) {
            return true;
        }
    }
    return false;
}

// A row that is there takes the new values. One whose GENERATED ALWAYS column (outside the key) would change is left,
// and so missing in the count.
static void
put_upsert(const struct builder *b)
{
    const Gw__Table *t = b->set->table;
    put_insert(b);
    put_rows(b);
    gw_buf_puts(b->sql, " ON CONFLICT (");
    pgt_idents(b->sql, t->n_primary_key, t->primary_key);
    gw_buf_puts(b->sql, ") DO ");
    size_t before = b->sql->len;
    gw_buf_puts(b->sql, "UPDATE SET ");
    if (!has_more_than_pk(b) || put_assignments(b, false, true) == 0) {
        b->sql->len = before;
        gw_buf_puts(b->sql, "NOTHING");
        return;
    }
    const char *sep = " WHERE ";
    for (size_t i = 0; i < b->set->columns_n; i++) {
        if (value_column(b, i)->identity_always && !value_column(b, i)->in_pk) {
            gw_buf_puts(b->sql, sep);
            gw_buf_puts(b->sql, "t.");
            pgt_ident(b->sql, name_of(b, b->set->columns[i]));
            gw_buf_puts(b->sql, " = EXCLUDED.");
            pgt_ident(b->sql, name_of(b, b->set->columns[i]));
            sep = " AND ";
        }
    }
}

// Without a primary key there is nothing to conflict with: what is there is updated, the rest inserted. Both parts see the
// table as it was before the statement.
static void
put_upsert_plain(const struct builder *b)
{
    gw_buf_puts(b->sql, "WITH v AS MATERIALIZED (SELECT * FROM ");
    put_rows(b);
    gw_buf_puts(b->sql, "), u AS (UPDATE ");
    pgt_tname(b->sql, b->set->table);
    gw_buf_puts(b->sql, " AS t SET ");
    (void)put_assignments(b, false, false);
    gw_buf_puts(b->sql, " FROM v WHERE ");
    put_where_pk(b);
    if (pgt_set_has_identity(b->set, b->tab)) {
        put_where_identity(b, false);
    }
    gw_buf_puts(b->sql, " RETURNING 1), i AS (");
    put_insert(b);
    gw_buf_puts(b->sql, "v WHERE NOT EXISTS (SELECT FROM ");
    pgt_tname(b->sql, b->set->table);
    gw_buf_puts(b->sql, " AS t WHERE ");
    put_where_pk(b);
    gw_buf_puts(b->sql, ") RETURNING 1) SELECT 1 FROM u UNION ALL SELECT 1 FROM i");
}

// One of the rows that are alike. A row of a partitioned table is found by its partition too.
static void
put_where_one(const struct builder *b, bool same, bool moved)
{
    const char *at = b->tab->partitioned ? "t.tableoid, t.ctid" : "t.ctid";
    gw_buf_printf(b->sql, " WHERE (%s) = (SELECT %s FROM ", at, at);
    pgt_tname(b->sql, b->set->table);
    gw_buf_puts(b->sql, " AS t WHERE ");
    put_where_key(b);
    if (same || moved) {
        put_where_identity(b, moved);
    }
    gw_buf_puts(b->sql, " LIMIT 1)");
}

static void
put_where(const struct builder *b, bool same, bool moved)
{
    if (b->each) {
        put_where_one(b, same, moved);
        return;
    }
    gw_buf_puts(b->sql, " WHERE ");
    put_where_key(b);
    if (same || moved) {
        put_where_identity(b, moved);
    }
}

static void
put_count(const struct builder *b, bool moved)
{
    gw_buf_puts(b->sql, "SELECT FROM ");
    pgt_tname(b->sql, b->set->table);
    gw_buf_puts(b->sql, " AS t");
    if (!b->each) {
        gw_buf_puts(b->sql, ", ");
        put_rows(b);
    }
    put_where(b, !moved && pgt_set_has_identity(b->set, b->tab), moved);
}

static void
put_update(const struct builder *b, enum pgt_form form)
{
    bool moved = form == PGT_UPDATE_MOVED;
    size_t start = b->sql->len;
    gw_buf_puts(b->sql, "UPDATE ");
    pgt_tname(b->sql, b->set->table);
    gw_buf_puts(b->sql, " AS t SET ");
    if (put_assignments(b, moved, false) == 0) {
        b->sql->len = start; // nothing to write: whether the rows are there
        put_count(b, false);
        return;
    }
    if (!b->each) {
        gw_buf_puts(b->sql, " FROM ");
        put_rows(b);
    }
    put_where(b, form == PGT_UPDATE_SAME, moved);
}

void
pgt_stream_sql(struct gw_buf *sql, const struct gw_change_set *set, const struct pgt_target_table *tab,
               enum pgt_form form, bool each)
{
    bool insert = form == PGT_INSERT || form == PGT_UPSERT || form == PGT_UPSERT_PLAIN;
    struct builder b = {.sql = sql, .set = set, .tab = tab, .each = each, .keys = insert ? 0 : set->key_n};
    switch (form) {
    case PGT_INSERT:
        put_insert(&b);
        put_rows(&b);
        break;
    case PGT_UPSERT: put_upsert(&b); break;
    case PGT_UPSERT_PLAIN: put_upsert_plain(&b); break;
    case PGT_UPDATE:
    case PGT_UPDATE_SAME:
    case PGT_UPDATE_MOVED: put_update(&b, form); break;
    case PGT_COUNT_MOVED: put_count(&b, true); break;
    case PGT_DELETE:
        gw_buf_puts(sql, "DELETE FROM ");
        pgt_tname(sql, set->table);
        gw_buf_puts(sql, " AS t");
        if (!each) {
            gw_buf_puts(sql, " USING ");
            put_rows(&b);
        }
        put_where(&b, false, false);
        break;
    }
}
