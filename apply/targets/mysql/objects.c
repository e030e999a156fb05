// Indexes, keys and checks: their names, whether they can be made, and their statements.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "finish.h"

enum { TEXT_PREFIX = 191, BLOB_PREFIX = 255 };

// "a_b_c" of the columns.
static char *
joined(struct gw_arena *a, size_t n, char *const *names)
{
    char *s = gw_arena_strdup(a, "");
    for (size_t i = 0; i < n; i++) {
        s = gw_arena_printf(a, "%s%s%s", s, i ? "_" : "", names[i]);
    }
    return s;
}

// Index names belong to their table here.
char *
myt_index_object(struct gw_arena *a, const Gw__Table *t, size_t i)
{
    const Gw__Index *x = t->indexes[i];
    if (myt_set(x->name)) {
        return myt_fit(a, x->name);
    }
    char *s = gw_arena_strdup(a, t->name);
    for (size_t p = 0; p < x->n_parts; p++) {
        s = gw_arena_printf(a, "%s_%s", s, myt_set(x->parts[p]->column) ? x->parts[p]->column : "expr");
    }
    // The position keeps two unnamed indexes on the same columns apart.
    return myt_fit(a, gw_arena_printf(a, "%s_%zu_%s", s, i + 1, x->is_unique ? "key" : "idx"));
}

char *
myt_fk_object(struct gw_arena *a, const Gw__Table *t, size_t i)
{
    const Gw__ForeignKey *f = t->foreign_keys[i];
    if (myt_set(f->name)) {
        return myt_table_name(a, t, f->name);
    }
    return myt_fit(a, gw_arena_printf(a, "%s_%s_%zu_fkey", t->name, joined(a, f->n_columns, f->columns), i + 1));
}

char *
myt_check_object(struct gw_arena *a, const Gw__Table *t, size_t i)
{
    const Gw__Check *c = t->checks[i];
    return myt_set(c->name) ? myt_table_name(a, t, c->name)
                            : myt_fit(a, gw_arena_printf(a, "%s_%zu_check", t->name, i + 1));
}

// ---- indexes

static bool
is_method(const Gw__Index *i, const char *name)
{
    return strcasecmp(i->method, name) == 0;
}

static bool
is_fulltext(const Gw__Table *t, const Gw__Index *i)
{
    return myt_native(t) && is_method(i, "fulltext");
}

static bool
is_spatial(const Gw__Table *t, const Gw__Index *i)
{
    return myt_native(t) && (is_method(i, "spatial") || is_method(i, "rtree"));
}

bool
myt_index_alone(const Gw__Table *t, const Gw__Index *i)
{
    return is_fulltext(t, i) || is_spatial(t, i);
}

static uint64_t
whole_key(const struct myt *t, const Gw__Table *table, const Gw__Index *i)
{
    uint64_t sum = 0;
    for (size_t p = 0; p < i->n_parts; p++) {
        const Gw__Column *c = myt_column(table, i->parts[p]->column);
        sum += c ? myt_key_bytes(t, table, c) : 0;
    }
    return sum;
}

uint32_t
myt_part_prefix(const struct myt *t, const Gw__Table *table, const Gw__Index *i, size_t part)
{
    const Gw__IndexPart *p = i->parts[part];
    const Gw__Column *c = myt_column(table, p->column);
    if (p->prefix_length || !c || myt_native(table)) {
        return p->prefix_length;
    }
    enum myt_family f = myt_type_family(t, table, c);
    uint64_t share = MYT_KEY_BYTES_MAX / (i->n_parts ? i->n_parts : 1);
    if (f == MYT_TEXT) {
        return (uint32_t)(share / 4 < TEXT_PREFIX ? share / 4 : TEXT_PREFIX);
    }
    if (f == MYT_BLOB) {
        return (uint32_t)(share < BLOB_PREFIX ? share : BLOB_PREFIX);
    }
    bool sized = f == MYT_STRING || f == MYT_BYTES;
    if (sized && whole_key(t, table, i) > MYT_KEY_BYTES_MAX && myt_key_bytes(t, table, c) > share) {
        return (uint32_t)(f == MYT_STRING ? share / 4 : share);
    }
    return 0;
}

static const char *
column_refused(const struct myt *t, const Gw__Table *table, const Gw__Index *i, size_t part)
{
    const Gw__Column *c = myt_column(table, i->parts[part]->column);
    if (!c) {
        return "a column that is not migrated";
    }
    switch (c->type->kind) {
    case GW__KIND__KIND_JSON:
    case GW__KIND__KIND_JSONB:
    case GW__KIND__KIND_XML:
    case GW__KIND__KIND_ARRAY:
    case GW__KIND__KIND_GEOMETRY: return "a column whose type has no order here";
    default: break;
    }
    if (i->is_unique && !i->parts[part]->prefix_length && myt_part_prefix(t, table, i, part)) {
        return "a unique key cannot hold text of any length";
    }
    return NULL;
}

const char *
myt_index_refused(const struct myt *t, const Gw__Table *table, const Gw__Index *i)
{
    if (i->n_parts == 0) {
        return "no columns";
    }
    if (myt_native(table)) {
        for (size_t p = 0; p < i->n_parts; p++) {
            bool expression = !myt_set(i->parts[p]->column);
            if (expression && (t->server.mariadb || t->server.version < 80013)) {
                return "an expression, which this server cannot index";
            }
            if (!expression && !myt_column(table, i->parts[p]->column)) {
                return "a column that is not migrated";
            }
        }
        return NULL;
    }
    if (myt_set(i->method) && !is_method(i, "btree") && !is_method(i, "hash")) {
        return "an index method without a counterpart";
    }
    if (myt_set(i->predicate)) {
        return "it covers only some of the rows, which no index does here";
    }
    const char *why = NULL;
    for (size_t p = 0; p < i->n_parts && !why; p++) {
        bool plain = !myt_set(i->parts[p]->expression) && myt_set(i->parts[p]->column);
        why = plain ? column_refused(t, table, i, p) : "an expression in the source's dialect";
    }
    return why;
}

void
myt_index_sql(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__Index *i, const char *name)
{
    bool alone = myt_index_alone(table, i);
    myt_put(t, sql, "$sKEY $i (",
            is_fulltext(table, i)  ? "FULLTEXT "
            : is_spatial(table, i) ? "SPATIAL "
            : i->is_unique         ? "UNIQUE "
                                   : "",
            name);
    for (size_t p = 0; p < i->n_parts; p++) {
        const Gw__IndexPart *part = i->parts[p];
        gw_buf_puts(sql, p ? ", " : "");
        if (myt_set(part->column)) {
            gw_my_ident(sql, part->column);
            uint32_t prefix = alone ? 0 : myt_part_prefix(t, table, i, p);
            if (prefix) {
                gw_buf_printf(sql, "(%u)", prefix);
            }
        } else {
            gw_buf_printf(sql, part->expression[0] == '(' ? "%s" : "(%s)", part->expression);
        }
        gw_buf_puts(sql, part->descending && !alone ? " DESC" : "");
    }
    gw_buf_putc(sql, ')');
    if (myt_native(table) && myt_set(i->native_ddl)) {
        gw_buf_printf(sql, " %s", i->native_ddl);
    }
    if (myt_set(i->comment)) {
        myt_put(t, sql, " COMMENT $l", i->comment);
    }
}

// ---- foreign keys

const char *
myt_fk_schema(const struct myt *t, const Gw__Table *table, const Gw__ForeignKey *f)
{
    return myt_set(f->ref_schema) ? f->ref_schema : myt_schema(t, table);
}

const char *
myt_fk_refused(const struct myt *t, const Gw__Table *table, const Gw__ForeignKey *k)
{
    if (strcasecmp(k->on_delete, "SET DEFAULT") == 0 || strcasecmp(k->on_update, "SET DEFAULT") == 0) {
        return "InnoDB has no SET DEFAULT";
    }
    if (myt_native(table) && myt_set(table->partition_by) && t->server.version > 0) {
        return "a partitioned table has no foreign keys here";
    }
    for (size_t i = 0; i < k->n_columns; i++) {
        if (!myt_column(table, k->columns[i])) {
            return "a column that is not migrated";
        }
    }
    return k->n_columns > 0 && k->n_columns == k->n_ref_columns ? NULL : "its columns are not known";
}

char *
myt_fk_pairs(struct gw_arena *a, const Gw__ForeignKey *f)
{
    char *s = gw_arena_strdup(a, "");
    for (size_t i = 0; i < f->n_columns; i++) {
        s = gw_arena_printf(a, "%s%s%s`%s", s, i ? "`" : "", f->columns[i], f->ref_columns[i]);
    }
    return s;
}

static void
put_action(struct gw_buf *sql, const char *on, const char *action)
{
    static const char *const known[] = {"RESTRICT", "CASCADE", "SET NULL", "NO ACTION", NULL};
    for (size_t i = 0; known[i]; i++) {
        if (strcasecmp(action, known[i]) == 0) {
            gw_buf_printf(sql, " ON %s %s", on, known[i]);
        }
    }
}

void
myt_fk_sql(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__ForeignKey *f, const char *name)
{
    myt_put(t, sql, "ALTER TABLE $i.$i ADD CONSTRAINT $i FOREIGN KEY (", myt_schema(t, table), table->name, name);
    myt_idents(sql, f->n_columns, f->columns);
    myt_put(t, sql, ") REFERENCES $i.$i (", myt_fk_schema(t, table, f), f->ref_table);
    myt_idents(sql, f->n_ref_columns, f->ref_columns);
    gw_buf_putc(sql, ')');
    put_action(sql, "DELETE", f->on_delete);
    put_action(sql, "UPDATE", f->on_update);
}

void
myt_fk_orphans_sql(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__ForeignKey *f)
{
    myt_put(t, sql, "SELECT 1 FROM $i.$i c LEFT JOIN $i.$i p ON ", myt_schema(t, table), table->name,
            myt_fk_schema(t, table, f), f->ref_table);
    for (size_t i = 0; i < f->n_columns; i++) {
        myt_put(t, sql, "$sc.$i = p.$i", i ? " AND " : "", f->columns[i], f->ref_columns[i]);
    }
    myt_put(t, sql, " WHERE p.$i IS NULL", f->ref_columns[0]);
    for (size_t i = 0; i < f->n_columns; i++) {
        myt_put(t, sql, " AND c.$i IS NOT NULL", f->columns[i]);
    }
    gw_buf_puts(sql, " LIMIT 1");
}

// ---- checks

const char *
myt_check_refused(const Gw__Table *t, const Gw__Check *c)
{
    if (myt_native(t) ? myt_set(c->native) : myt_set(c->portable)) {
        return NULL;
    }
    return "its expression is in the source's dialect";
}

void
myt_check_sql(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__Check *c, const char *name)
{
    myt_put(t, sql, "ALTER TABLE $i.$i ADD CONSTRAINT $i CHECK ($s)", myt_schema(t, table), table->name, name,
            myt_native(table) ? c->native : c->portable);
}
