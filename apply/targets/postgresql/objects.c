// Indexes, keys and checks: their names and their statements.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "finish.h"

bool
pgt_partitioned(const Gw__Table *t)
{
    return pgt_native(t) && pgt_set(t->partition_by);
}

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

char *
pgt_index_object(struct gw_arena *a, const Gw__Table *t, size_t i)
{
    const Gw__Index *x = t->indexes[i];
    if (pgt_set(x->name)) {
        return pgt_index_name(a, t, x->name);
    }
    char *s = gw_arena_strdup(a, "");
    for (size_t p = 0; p < x->n_parts; p++) {
        const char *column = x->parts[p]->column;
        s = gw_arena_printf(a, "%s%s%s", s, p ? "_" : "", pgt_set(column) ? column : "expr");
    }
    // The position keeps two unnamed indexes on the same columns apart.
    return pgt_make_name(a, t->name, gw_arena_printf(a, "%s_%zu", s, i + 1), x->is_unique ? "_key" : "_idx");
}

char *
pgt_fk_object(struct gw_arena *a, const Gw__Table *t, size_t i)
{
    const Gw__ForeignKey *f = t->foreign_keys[i];
    if (pgt_set(f->name)) {
        return gw_arena_strdup(a, pgt_too_long(f->name) ? pgt_make_name(a, f->name, "", "") : f->name);
    }
    return pgt_make_name(a, t->name, gw_arena_printf(a, "%s_%zu", joined(a, f->n_columns, f->columns), i + 1), "_fkey");
}

char *
pgt_check_object(struct gw_arena *a, const Gw__Table *t, size_t i)
{
    const Gw__Check *c = t->checks[i];
    if (pgt_set(c->name)) {
        return gw_arena_strdup(a, pgt_too_long(c->name) ? pgt_make_name(a, c->name, "", "") : c->name);
    }
    return pgt_make_name(a, t->name, gw_arena_printf(a, "%zu", i + 1), "_check");
}

char *
pgt_labels_object(struct gw_arena *a, const Gw__Table *t, const Gw__Column *c)
{
    return pgt_make_name(a, t->name, c->name, "_labels");
}

// ---- indexes

static void
put_part(struct gw_buf *sql, const Gw__Table *t, const Gw__IndexPart *p, bool ordered)
{
    if (pgt_set(p->expression)) {
        gw_buf_printf(sql, "(%s)", p->expression);
    } else if (p->prefix_length) {
        const Gw__Column *c = pgt_column(t, p->column);
        gw_buf_puts(sql, c && pgt_type_is_bytes(c->type) ? "(pg_catalog.substr(" : "(pg_catalog.left(");
        pgt_ident(sql, p->column);
        gw_buf_printf(sql, "%s%u))", c && pgt_type_is_bytes(c->type) ? ", 1, " : ", ", p->prefix_length);
    } else {
        pgt_ident(sql, p->column);
    }
    if (pgt_native(t)) {
        if (pgt_set(p->collation)) {
            gw_buf_printf(sql, " COLLATE %s", p->collation);
        }
        if (pgt_set(p->opclass)) {
            gw_buf_printf(sql, " %s", p->opclass);
        }
    }
    if (!ordered) {
        return;
    }
    if (p->descending) {
        gw_buf_puts(sql, " DESC");
    }
    // The default is NULLS LAST going up and NULLS FIRST going down.
    if (pgt_native(t) && p->nulls_first != p->descending) {
        gw_buf_puts(sql, p->nulls_first ? " NULLS FIRST" : " NULLS LAST");
    }
}

void
pgt_index_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Index *i, const char *name)
{
    bool native = pgt_native(t);
    if (pgt_index_exclusion(t, i)) {
        gw_buf_puts(sql, "ALTER TABLE ");
        pgt_tname(sql, t);
        gw_buf_puts(sql, " ADD CONSTRAINT ");
        pgt_ident(sql, name);
        gw_buf_printf(sql, " %s", i->native_ddl);
        return;
    }
    const char *method = native && pgt_set(i->method) ? i->method : "btree";
    gw_buf_printf(sql, "CREATE %sINDEX ", i->is_unique ? "UNIQUE " : "");
    pgt_ident(sql, name);
    gw_buf_puts(sql, " ON ");
    pgt_tname(sql, t);
    gw_buf_printf(sql, " USING %s (", method);
    for (size_t p = 0; p < i->n_parts; p++) {
        gw_buf_puts(sql, p ? ", " : "");
        put_part(sql, t, i->parts[p], strcmp(method, "btree") == 0);
    }
    gw_buf_putc(sql, ')');
    if (native && i->n_include) {
        gw_buf_puts(sql, " INCLUDE (");
        pgt_idents(sql, i->n_include, i->include);
        gw_buf_putc(sql, ')');
    }
    if (i->nulls_not_distinct) {
        gw_buf_puts(sql, " NULLS NOT DISTINCT");
    }
    if (native && pgt_word(i->native_ddl, "WITH")) {
        gw_buf_printf(sql, " %s", i->native_ddl);
    }
    if (native && pgt_set(i->predicate)) {
        gw_buf_printf(sql, " WHERE (%s)", i->predicate);
    }
}

static void
put_deferrable(struct gw_buf *sql, bool deferrable, bool deferred)
{
    if (deferrable) {
        gw_buf_puts(sql, deferred ? " DEFERRABLE INITIALLY DEFERRED" : " DEFERRABLE");
    }
}

void
pgt_pk_index_sql(struct gw_buf *sql, const Gw__Table *t, const char *name)
{
    gw_buf_puts(sql, "CREATE UNIQUE INDEX ");
    pgt_ident(sql, name);
    gw_buf_puts(sql, " ON ");
    pgt_tname(sql, t);
    gw_buf_puts(sql, " (");
    pgt_idents(sql, t->n_primary_key, t->primary_key);
    gw_buf_putc(sql, ')');
}

static void
put_add_constraint(struct gw_buf *sql, const Gw__Table *t, const char *name)
{
    gw_buf_puts(sql, "ALTER TABLE ");
    pgt_tname(sql, t);
    gw_buf_puts(sql, " ADD CONSTRAINT ");
    pgt_ident(sql, name);
}

void
pgt_pk_constraint_sql(struct gw_buf *sql, const Gw__Table *t, const char *name, bool using_index)
{
    put_add_constraint(sql, t, name);
    gw_buf_puts(sql, " PRIMARY KEY ");
    if (using_index) {
        gw_buf_puts(sql, "USING INDEX ");
        pgt_ident(sql, name);
    } else {
        gw_buf_putc(sql, '(');
        pgt_idents(sql, t->n_primary_key, t->primary_key);
        gw_buf_putc(sql, ')');
    }
}

void
pgt_constraint_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Index *i, const char *name)
{
    put_add_constraint(sql, t, name);
    if (pgt_partitioned(t)) {
        gw_buf_printf(sql, " UNIQUE %s(", i->nulls_not_distinct ? "NULLS NOT DISTINCT " : "");
        for (size_t p = 0; p < i->n_parts; p++) {
            gw_buf_puts(sql, p ? ", " : "");
            pgt_ident(sql, i->parts[p]->column);
        }
        gw_buf_putc(sql, ')');
        if (i->n_include) {
            gw_buf_puts(sql, " INCLUDE (");
            pgt_idents(sql, i->n_include, i->include);
            gw_buf_putc(sql, ')');
        }
    } else {
        gw_buf_puts(sql, " UNIQUE USING INDEX ");
        pgt_ident(sql, name);
    }
    put_deferrable(sql, i->deferrable, i->initially_deferred);
}

// ---- keys and checks

const char *
pgt_fk_schema(const Gw__Table *t, const Gw__ForeignKey *f)
{
    return pgt_set(f->ref_schema) ? f->ref_schema : pgt_schema(t);
}

void
pgt_fk_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__ForeignKey *f, const char *name)
{
    put_add_constraint(sql, t, name);
    gw_buf_puts(sql, " FOREIGN KEY (");
    pgt_idents(sql, f->n_columns, f->columns);
    gw_buf_puts(sql, ") REFERENCES ");
    pgt_qname(sql, pgt_fk_schema(t, f), f->ref_table);
    if (f->n_ref_columns) { // none: the primary key
        gw_buf_puts(sql, " (");
        pgt_idents(sql, f->n_ref_columns, f->ref_columns);
        gw_buf_putc(sql, ')');
    }
    if (pgt_word(f->match, "FULL")) {
        gw_buf_puts(sql, " MATCH FULL");
    }
    const char *const actions[][2] = {{" ON UPDATE ", f->on_update}, {" ON DELETE ", f->on_delete}};
    static const char *const known[] = {"NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"};
    for (size_t i = 0; i < 2; i++) {
        bool ok = pgt_native(t) && pgt_set(actions[i][1]); // SET NULL (column, …) there
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
            ok = ok || strcasecmp(actions[i][1], known[k]) == 0;
        }
        if (ok) {
            gw_buf_printf(sql, "%s%s", actions[i][0], actions[i][1]);
        }
    }
    put_deferrable(sql, f->deferrable, f->initially_deferred);
    // Two statements take weaker locks than one: adding is short, and validating lets other keys that refer to
    // the same table be made at the same time. A partitioned table has only the one.
    if (!pgt_partitioned(t)) {
        gw_buf_puts(sql, " NOT VALID");
    }
}

void
pgt_check_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Check *c, const char *name)
{
    const char *text = pgt_native(t) ? c->native : c->portable;
    put_add_constraint(sql, t, name);
    gw_buf_printf(sql, pgt_word(text, "CHECK") ? " %s" : " CHECK (%s)", text);
    // pg_get_constraintdef ends an unproven one like that itself.
    static const char tail[] = " NOT VALID";
    size_t n = strlen(text), m = sizeof tail - 1;
    gw_buf_puts(sql, n >= m && strcmp(text + n - m, tail) == 0 ? "" : tail);
}

void
pgt_labels_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c, const char *name)
{
    put_add_constraint(sql, t, name);
    gw_buf_puts(sql, " CHECK (");
    pgt_ident(sql, c->name);
    gw_buf_puts(sql, " IN (");
    for (size_t i = 0; i < c->type->n_labels; i++) {
        gw_buf_puts(sql, i ? ", " : "");
        gw_pg_literal(sql, c->type->labels[i]);
    }
    gw_buf_puts(sql, ")) NOT VALID");
}
