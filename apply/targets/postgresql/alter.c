// A table that changes under the stream: what is there becomes what `to` says, in one transaction.
//
// ALTER TABLE in PostgreSQL is transactional, so either all of a change is there or nothing of it. Columns are found by
// their new name, then by what they were called before; a column that neither `from` nor `to` knows is the target's own.
#include <string.h>

#include "common/plan.h"
#include "control.h"
#include "existing.h"

struct change {
    struct pgt *t;
    struct gw_arena *a;
    const Gw__Table *from, *to;
    PGresult *there; // the table's columns, in the order of enum below
    char *relation;  // the table, quoted
    bool rows;
};

enum { NAME, TYPE, NOT_NULL, DEFAULT, GENERATED, IDENTITY };

static int
refused(const struct change *x, struct gw_err *err, const char *column, const char *why)
{
    gw_err_set(err, GW_CONFIG, "", "column \"%s\": %s", column, why);
    gw_err_hint(err, "make the change on the target's table \"%s.%s\" by hand, then load it anew with --reload",
                pgt_schema(x->to), x->to->name);
    return GW_CONFIG;
}

static int
run(const struct change *x, struct gw_err *err, const struct gw_buf *sql)
{
    int rc = pgt_exec(x->t, sql, err);
    if (rc == GW_DATA || (rc != GW_OK && err && strncmp(err->code, "2BP", 3) == 0)) {
        err->cls = rc = GW_CONFIG; // a rule of the table, or something that depends on it
        gw_err_hint(err, "make the change on the target by hand, then load the table anew with --reload");
    }
    return rc;
}

static int
find(const struct change *x, const char *name)
{
    for (int i = 0; i < PQntuples(x->there); i++) {
        if (strcmp(pgt_text(x->there, i, NAME), name) == 0) {
            return i;
        }
    }
    return -1;
}

static void
begin_sql(const struct change *x, struct gw_buf *sql, const char *action)
{
    gw_buf_init(sql, PGT_SQL_MAX);
    gw_buf_printf(sql, "ALTER TABLE %s %s ", x->relation, action);
}

// Of the table under its new name.
static int
read_columns(struct change *x, struct gw_err *err)
{
    const char *p[] = {pgt_clip(x->a, pgt_schema(x->to)), pgt_clip(x->a, x->to->name)};
    return pgt_query(x->t, &x->there, err, 2, p,
                     "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,"
                     " coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), ''), a.attgenerated, a.attidentity"
                     " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                     " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
                     " LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum"
                     " WHERE n.nspname = $1 AND c.relname = $2 ORDER BY a.attnum");
}

// ---- the table's name

static int
is_table(const struct change *x, const char *schema, const char *name, bool *ret, struct gw_err *err)
{
    const char *p[] = {schema, name};
    PGT_RES r = NULL;
    int rc = pgt_query(x->t, &r, err, 2, p,
                       "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
                       " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2)");
    *ret = rc == GW_OK && pgt_true(r, 0, 0);
    return rc;
}

static int
names_exchanged(const struct change *x, struct gw_err *err)
{
    gw_err_set(err, GW_CONFIG, "", "it was renamed to \"%s\", and a table of that name is on the target already",
               x->to->name);
    gw_err_hint(err, "rename the target's tables by hand, then load them anew with --reload");
    return GW_CONFIG;
}

static int
rename_table(struct change *x, struct gw_err *err)
{
    const char *old_schema = pgt_clip(x->a, pgt_schema(x->from)), *schema = pgt_clip(x->a, pgt_schema(x->to));
    const char *old_name = pgt_clip(x->a, x->from->name), *name = pgt_clip(x->a, x->to->name);
    x->relation = pgt_tname_dup(x->a, x->to);
    int rc = read_columns(x, err);
    bool moved = strcmp(old_schema, schema) != 0, renamed = strcmp(old_name, name) != 0, both = false;
    if (rc != GW_OK || (!moved && !renamed)) {
        return rc;
    }
    if (PQntuples(x->there) > 0) { // renamed before; or another table has that name
        rc = is_table(x, old_schema, old_name, &both, err);
        return rc == GW_OK && both ? names_exchanged(x, err) : rc;
    }
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    rc = moved ? pgt_schema_make(x->t, schema, err) : GW_OK;
    if (moved) {
        gw_buf_puts(&sql, "ALTER TABLE ");
        gw_pg_qname(&sql, old_schema, old_name);
        gw_buf_puts(&sql, " SET SCHEMA ");
        gw_pg_ident(&sql, schema);
        gw_buf_puts(&sql, "; ");
    }
    if (renamed) {
        gw_buf_puts(&sql, "ALTER TABLE ");
        gw_pg_qname(&sql, schema, old_name);
        gw_buf_puts(&sql, " RENAME TO ");
        gw_pg_ident(&sql, name);
    }
    rc = rc == GW_OK ? run(x, err, &sql) : rc;
    return rc == GW_OK ? read_columns(x, err) : rc;
}

// ---- columns

static bool
is_wanted(const struct change *x, const char *name)
{
    for (size_t i = 0; i < x->to->n_columns; i++) {
        const Gw__Column *c = x->to->columns[i];
        if (strcmp(pgt_clip(x->a, c->name), name) == 0 || strcmp(pgt_clip(x->a, c->was), name) == 0) {
            return true;
        }
    }
    return false;
}

static int
drop_columns(struct change *x, struct gw_err *err)
{
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < x->from->n_columns; i++) {
        const char *name = pgt_clip(x->a, x->from->columns[i]->name);
        if (!is_wanted(x, name) && find(x, name) >= 0) {
            PGT_BUF sql;
            begin_sql(x, &sql, "DROP COLUMN");
            gw_pg_ident(&sql, name);
            rc = run(x, err, &sql);
        }
    }
    return rc == GW_OK ? read_columns(x, err) : rc;
}

// No name was another column's: one that is taken is taken by a column of the target's own.
static int
rename_columns(struct change *x, struct gw_err *err)
{
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < x->to->n_columns; i++) {
        const Gw__Column *c = x->to->columns[i];
        const char *name = pgt_clip(x->a, c->name), *was = pgt_clip(x->a, c->was);
        if (!was[0] || strcmp(was, name) == 0 || find(x, was) < 0) {
            continue;
        }
        if (find(x, name) >= 0) {
            return refused(x, err, name, "the target has a column of that name already");
        }
        PGT_BUF sql;
        begin_sql(x, &sql, "RENAME COLUMN");
        gw_pg_ident(&sql, was);
        gw_buf_puts(&sql, " TO ");
        gw_pg_ident(&sql, name);
        rc = run(x, err, &sql);
        rc = rc == GW_OK ? read_columns(x, err) : rc;
    }
    return rc;
}

static int
add_column(struct change *x, const Gw__Column *c, struct gw_err *err)
{
    bool numbered = pgt_column_numbers(c) != PGT_NUMBERS_NONE;
    if (!c->left_out && x->rows && numbered) {
        return refused(x, err, c->name, "the source has numbered the rows that are there");
    }
    if (!c->left_out && x->rows && c->not_null && !c->has_fill) {
        return refused(x, err, c->name, "it may not be NULL, and no value is known for the rows that are there");
    }
    PGT_BUF sql;
    begin_sql(x, &sql, "ADD COLUMN");
    Gw__Column first = *c;
    if (!c->left_out &&
        !numbered) { // what the rows get that are there comes as the default, its own default behind that
        first.default_native = (char *)(uintptr_t) "";
        first.default_kind = c->has_fill ? GW__DEFAULT_KIND__DEFAULT_LITERAL : GW__DEFAULT_KIND__DEFAULT_NONE;
        first.default_text = c->fill;
    }
    pgt_column_sql(&sql, x->to, &first);
    int rc = run(x, err, &sql);
    return rc == GW_OK ? read_columns(x, err) : rc;
}

static int
change_type(struct change *x, const Gw__Column *c, int row, struct gw_err *err)
{
    PGT_BUF type, sql;
    gw_buf_init(&type, 64 * 1024);
    gw_buf_init(&sql, PGT_SQL_MAX);
    pgt_type(&type, x->to, c->type);
    const char *have = pgt_text(x->there, row, TYPE), *why = NULL;
    if (pgt_type_fit(type.data, have, &why) == PGT_FITS) {
        return GW_OK; // as it is, it holds every value
    }
    if (pgt_type_fit(have, type.data, &why) != PGT_FITS) {
        return refused(x, err, c->name, gw_arena_printf(x->a, "it is %s and would be %s: %s", have, type.data, why));
    }
    gw_buf_printf(&sql, "ALTER TABLE %s ALTER COLUMN ", x->relation);
    pgt_ident(&sql, c->name);
    gw_buf_printf(&sql, " TYPE %s", type.data);
    return run(x, err, &sql);
}

static int
change_null(struct change *x, const Gw__Column *c, int row, struct gw_err *err)
{
    if (pgt_true(x->there, row, NOT_NULL) == c->not_null) {
        return GW_OK;
    }
    PGT_BUF sql;
    begin_sql(x, &sql, "ALTER COLUMN");
    pgt_ident(&sql, c->name);
    gw_buf_printf(&sql, " %s NOT NULL", c->not_null ? "SET" : "DROP");
    return run(x, err, &sql);
}

static int
change_default(struct change *x, const Gw__Column *c, int row, struct gw_err *err)
{
    if (pgt_column_numbers(c) != PGT_NUMBERS_NONE || pgt_text(x->there, row, IDENTITY)[0]) {
        return GW_OK;
    }
    PGT_BUF text, sql;
    gw_buf_init(&text, PGT_SQL_MAX);
    begin_sql(x, &sql, "ALTER COLUMN");
    pgt_default_sql(&text, x->to, c);
    if (!text.len && !pgt_text(x->there, row, DEFAULT)[0]) {
        return GW_OK;
    }
    pgt_ident(&sql, c->name);
    gw_buf_printf(&sql, text.len ? " SET%s" : " DROP DEFAULT%s", text.len ? text.data : "");
    return run(x, err, &sql);
}

static int
bring_columns(struct change *x, struct gw_err *err)
{
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < x->to->n_columns; i++) {
        const Gw__Column *c = x->to->columns[i];
        const char *name = pgt_clip(x->a, c->name);
        rc = find(x, name) < 0 ? add_column(x, c, err) : GW_OK;
        int row = rc == GW_OK ? find(x, name) : -1;
        if (row < 0 || c->left_out || pgt_text(x->there, row, GENERATED)[0]) {
            continue; // what the target computes has no rules of the source's
        }
        rc = change_type(x, c, row, err);
        rc = rc == GW_OK ? change_null(x, c, row, err) : rc;
        rc = rc == GW_OK ? change_default(x, c, row, err) : rc;
    }
    return rc;
}

// ---- the whole

static bool
same_key(const Gw__Table *from, const Gw__Table *to)
{
    bool same = from->n_primary_key == to->n_primary_key;
    for (size_t i = 0; same && i < to->n_primary_key; i++) {
        const Gw__Column *c = pgt_column(to, to->primary_key[i]);
        same = strcmp(from->primary_key[i], c && c->was[0] ? c->was : to->primary_key[i]) == 0;
    }
    return same;
}

static int
bring(struct change *x, struct gw_err *err)
{
    const Gw__Column *reused = gw_plan_reused_name(x->from, x->to, strcmp);
    if (reused) {
        return refused(x, err, reused->name, GW_PLAN_REUSED_NAME);
    }
    int rc = rename_table(x, err);
    if (rc == GW_OK && PQntuples(x->there) == 0) {
        return gw_err_set(err, GW_CONFIG, "", "table %s is not on the target", x->relation);
    }
    if (rc == GW_OK && !same_key(x->from, x->to)) {
        return refused(x, err, x->to->n_primary_key ? x->to->primary_key[0] : "", "the primary key is another one");
    }
    PGT_RES r = NULL;
    rc = rc == GW_OK ? pgt_query(x->t, &r, err, 0, NULL, "SELECT EXISTS (SELECT FROM %s)", x->relation) : rc;
    x->rows = rc == GW_OK && pgt_true(r, 0, 0);
    rc = rc == GW_OK ? drop_columns(x, err) : rc;
    rc = rc == GW_OK ? rename_columns(x, err) : rc;
    return rc == GW_OK ? bring_columns(x, err) : rc;
}

static int
drop(struct change *x, struct gw_err *err)
{
    PGT_BUF sql;
    gw_buf_init(&sql, PGT_SQL_MAX);
    gw_buf_puts(&sql, "DROP TABLE IF EXISTS "); // never CASCADE: it would take what is not ours
    pgt_tname(&sql, x->from);
    return run(x, err, &sql);
}

// The task is still ours, and stays it until the end of the transaction.
static int
check_ours(struct pgt *t, struct gw_err *err)
{
    PGT_RES r = NULL;
    const char *p[] = {t->task->name, t->task->uuid};
    int rc =
        pgt_query(t, &r, err, 2, p, "SELECT FROM %s.tasks WHERE task = $1 AND task_uuid = $2 FOR KEY SHARE", t->ctl);
    if (rc == GW_OK && PQntuples(r) == 0) {
        gw_err_set(err, GW_FENCED, "", "task \"%s\" is gone from the target", t->task->name);
        gw_err_hint(err, PGT_OTHER_GODWIT);
        return GW_FENCED;
    }
    return rc;
}

int
pgt_alter(void *self, struct gw_arena *a, const Gw__Table *from, const Gw__Table *to, struct gw_err *err)
{
    struct change x = {.t = self, .a = a, .from = from, .to = to};
    int rc = pgt_begin(x.t, err);
    rc = rc == GW_OK ? check_ours(x.t, err) : rc;
    rc = rc == GW_OK ? (to ? bring(&x, err) : drop(&x, err)) : rc;
    rc = rc == GW_OK ? pgt_commit(x.t, err) : rc;
    PQclear(x.there);
    return pgt_end(x.t, rc);
}
