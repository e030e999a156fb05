// A table that changes under the stream: what is there becomes what `to` says.
//
// Each ALTER TABLE commits by itself, so all that can be in one statement is in one: names, columns and types change together or
// not at all. Behind it come the defaults of new columns, whose first default was the value of the rows that were there. All
// of it compares with the columns that are there, and may be repeated.
#include <string.h>
#include <strings.h>

#include "common/plan.h"
#include "control.h"

struct change {
    struct myt *t;
    struct gw_arena *a;
    const Gw__Table *from, *to;
    MYSQL_RES *there; // the table's columns: name, type, whether NULL is allowed, what generates it
    struct gw_buf sql;
    size_t clauses;
    bool rows;
};

enum { NAME, TYPE, NULLABLE, GENERATED };

static int
refused(const struct change *x, struct gw_err *err, const char *column, const char *why)
{
    gw_err_set(err, GW_CONFIG, "", "column \"%s\": %s", column, why);
    gw_err_hint(err, "make the change on the target's table \"%s.%s\" by hand, then load it anew with --reload",
                myt_schema(x->t, x->to), x->to->name);
    return GW_CONFIG;
}

static int
run(struct change *x, struct gw_err *err)
{
    int rc = x->clauses ? myt_exec(x->t, &x->sql, err) : GW_OK;
    if (rc == GW_DATA) {
        err->cls = rc = GW_CONFIG; // a rule of the table
        gw_err_hint(err, "make the change on the target by hand, then load the table anew with --reload");
    }
    return rc;
}

static void
begin_sql(struct change *x)
{
    gw_buf_reset(&x->sql);
    gw_buf_puts(&x->sql, "ALTER TABLE ");
    myt_tname(&x->sql, x->t, x->to);
    x->clauses = 0;
}

static void
clause(struct change *x, const char *words)
{
    gw_buf_printf(&x->sql, "%s %s ", x->clauses++ ? "," : "", words);
}

static MYSQL_ROW
find(const struct change *x, const char *name)
{
    mysql_data_seek(x->there, 0);
    for (MYSQL_ROW row; name[0] && (row = mysql_fetch_row(x->there));) {
        if (myt_same_name(myt_text(row, NAME), name)) {
            return row;
        }
    }
    return NULL;
}

static int
read_columns(struct change *x, struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, x->t, "TABLE_SCHEMA", myt_schema(x->t, x->to), "TABLE_NAME", x->to->name);
    return myt_query(x->t, &x->there, err,
                     "SELECT COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, GENERATION_EXPRESSION"
                     " FROM information_schema.COLUMNS WHERE $s ORDER BY ORDINAL_POSITION",
                     where.data);
}

// ---- the table's name --------------------------------------------------------------------------

static int
is_table(struct change *x, const Gw__Table *t, bool *ret, struct gw_err *err)
{
    MYT_BUF where;
    gw_buf_init(&where, 16384);
    myt_where_table(&where, x->t, "TABLE_SCHEMA", myt_schema(x->t, t), "TABLE_NAME", t->name);
    uint64_t n = 0;
    int rc = myt_scalar(x->t, &n, NULL, err, "SELECT COUNT(*) FROM information_schema.TABLES WHERE $s", where.data);
    *ret = n > 0;
    return rc;
}

static int
rename_table(struct change *x, struct gw_err *err)
{
    bool old = false, new = false;
    bool same =
        strcmp(x->from->name, x->to->name) == 0 && strcmp(myt_schema(x->t, x->from), myt_schema(x->t, x->to)) == 0;
    int rc = same ? GW_OK : is_table(x, x->from, &old, err);
    rc = rc == GW_OK && !same ? is_table(x, x->to, &new, err) : rc;
    if (rc == GW_OK && old && new) {
        gw_err_set(err, GW_CONFIG, "", "it was renamed to \"%s\", and a table of that name is on the target already",
                   x->to->name);
        gw_err_hint(err, "rename the target's tables by hand, then load them anew with --reload");
        return GW_CONFIG;
    }
    if (rc == GW_OK && old) {
        MYT_BUF sql;
        gw_buf_init(&sql, MYT_SQL_MAX);
        gw_buf_puts(&sql, "RENAME TABLE ");
        myt_tname(&sql, x->t, x->from);
        gw_buf_puts(&sql, " TO ");
        myt_tname(&sql, x->t, x->to);
        rc = myt_exec(x->t, &sql, err);
    }
    return rc == GW_OK ? read_columns(x, err) : rc;
}

// ---- columns -----------------------------------------------------------------------------------

static bool
is_wanted(const struct change *x, const char *name)
{
    for (size_t i = 0; i < x->to->n_columns; i++) {
        const Gw__Column *c = x->to->columns[i];
        if (myt_same_name(c->name, name) || (c->was[0] && myt_same_name(c->was, name))) {
            return true;
        }
    }
    return false;
}

static void
drop_columns(struct change *x)
{
    for (size_t i = 0; i < x->from->n_columns; i++) {
        const char *name = x->from->columns[i]->name;
        if (!is_wanted(x, name) && find(x, name)) {
            clause(x, "DROP COLUMN");
            gw_my_ident(&x->sql, name);
        }
    }
}

static int
add_column(struct change *x, const Gw__Column *c, struct gw_err *err)
{
    bool counts = myt_auto_column(x->t, x->to) == c;
    if (!c->left_out && x->rows && counts) {
        return refused(x, err, c->name, "the source has numbered the rows that are there");
    }
    if (!c->left_out && x->rows && c->not_null && !c->has_fill) {
        return refused(x, err, c->name, "it may not be NULL, and no value is known for the rows that are there");
    }
    Gw__Column first = *c;
    if (!c->left_out && !counts) { // what the rows get that are there comes as the default, its own default behind that
        first.default_native = (char *)(uintptr_t) "";
        first.default_kind = c->has_fill ? GW__DEFAULT_KIND__DEFAULT_LITERAL : GW__DEFAULT_KIND__DEFAULT_NONE;
        first.default_text = c->fill;
    }
    const char *why = c->has_fill && !c->left_out ? myt_default_refused(x->t, x->to, &first) : NULL;
    if (why) {
        return refused(x, err, c->name, gw_arena_printf(x->a, "the value of the rows that are there is %s", why));
    }
    clause(x, "ADD COLUMN");
    myt_column_sql(&x->sql, x->t, x->to, &first);
    return GW_OK;
}

// A column that is there, under its name or the one that it had.
static int
change_column(struct change *x, const Gw__Column *c, MYSQL_ROW row, struct gw_err *err)
{
    MYT_BUF type;
    gw_buf_init(&type, 1 << 20);
    myt_type(&type, x->t, x->to, c);
    const char *have = myt_text(row, TYPE), *why = NULL;
    bool renamed = strcmp(myt_text(row, NAME), c->name) != 0;
    bool not_null = c->not_null || myt_in_pk(x->to, c->name) || myt_auto_column(x->t, x->to) == c;
    bool fits = myt_type_fits(type.data, have, &why);
    if (!fits && !myt_type_fits(have, type.data, &why)) {
        return refused(x, err, c->name,
                       gw_arena_printf(x->a, "it is %s and would be %s: %s", have, type.data, why ? why : ""));
    }
    if (fits && !renamed && (strcmp(myt_text(row, NULLABLE), "NO") == 0) == not_null) {
        return GW_OK;
    }
    clause(x, "CHANGE COLUMN");
    gw_my_ident(&x->sql, myt_text(row, NAME));
    gw_buf_putc(&x->sql, ' ');
    myt_column_sql(&x->sql, x->t, x->to, c);
    return GW_OK;
}

static int
bring_columns(struct change *x, struct gw_err *err)
{
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < x->to->n_columns; i++) {
        const Gw__Column *c = x->to->columns[i];
        MYSQL_ROW row = find(x, c->name);
        MYSQL_ROW was = c->was[0] && !myt_same_name(c->was, c->name) ? find(x, c->was) : NULL;
        if (row && was) {
            return refused(x, err, c->name, "the target has a column of that name already");
        }
        row = row ? row : was;
        if (!row) {
            rc = add_column(x, c, err);
        } else if (!c->left_out && !myt_text(row, GENERATED)[0]) {
            rc = change_column(x, c, row, err);
        }
    }
    return rc;
}

// The default of its own, where the first one was only for the rows that were there.
static void
set_defaults(struct change *x)
{
    for (size_t i = 0; i < x->to->n_columns; i++) {
        const Gw__Column *c = x->to->columns[i];
        bool own = c->default_kind == GW__DEFAULT_KIND__DEFAULT_LITERAL && c->has_fill &&
                   strcmp(c->default_text, c->fill) == 0;
        if (!c->left_out && !c->was[0] && !own && myt_auto_column(x->t, x->to) != c) {
            clause(x, "MODIFY COLUMN");
            myt_column_sql(&x->sql, x->t, x->to, c);
        }
    }
}

// ---- the whole ---------------------------------------------------------------------------------

static const Gw__Column *
column(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcmp(t->columns[i]->name, name) == 0) {
            return t->columns[i];
        }
    }
    return NULL;
}

static bool
same_key(const Gw__Table *from, const Gw__Table *to)
{
    bool same = from->n_primary_key == to->n_primary_key;
    for (size_t i = 0; same && i < to->n_primary_key; i++) {
        const Gw__Column *c = column(to, to->primary_key[i]);
        same = strcmp(from->primary_key[i], c && c->was[0] ? c->was : to->primary_key[i]) == 0;
    }
    return same;
}

static int
has_rows(struct change *x, struct gw_err *err)
{
    MYT_BUF name;
    gw_buf_init(&name, 4096);
    myt_tname(&name, x->t, x->to);
    uint64_t n = 0;
    int rc = myt_scalar(x->t, &n, NULL, err, "SELECT EXISTS (SELECT 1 FROM $s)", name.data);
    x->rows = n != 0;
    return rc;
}

static int
bring(struct change *x, struct gw_err *err)
{
    const Gw__Column *reused = gw_plan_reused_name(x->from, x->to, strcasecmp);
    if (reused) {
        return refused(x, err, reused->name, GW_PLAN_REUSED_NAME);
    }
    int rc = rename_table(x, err);
    if (rc == GW_OK && mysql_num_rows(x->there) == 0) {
        return gw_err_set(err, GW_CONFIG, "", "table \"%s\" is not on the target", x->to->name);
    }
    if (rc == GW_OK && !same_key(x->from, x->to)) {
        return refused(x, err, x->to->n_primary_key ? x->to->primary_key[0] : "", "the primary key is another one");
    }
    rc = rc == GW_OK ? has_rows(x, err) : rc;
    begin_sql(x);
    if (rc == GW_OK) {
        drop_columns(x);
        rc = bring_columns(x, err);
    }
    rc = rc == GW_OK ? run(x, err) : rc;
    begin_sql(x);
    set_defaults(x);
    return rc == GW_OK ? run(x, err) : rc;
}

static int
drop(struct change *x, struct gw_err *err)
{
    gw_buf_puts(&x->sql, "DROP TABLE IF EXISTS ");
    myt_tname(&x->sql, x->t, x->from);
    x->clauses = 1;
    return run(x, err);
}

int
myt_alter(void *self, struct gw_arena *a, const Gw__Table *from, const Gw__Table *to, struct gw_err *err)
{
    struct change x = {.t = self, .a = a, .from = from, .to = to};
    gw_buf_init(&x.sql, MYT_SQL_MAX);
    uint64_t ours = 0;
    int rc = myt_scalar(x.t, &ours, NULL, err, "SELECT " MYT_OURS, x.t->task->name, x.t->task->uuid);
    if (rc == GW_OK && !ours) {
        rc = gw_err_set(err, GW_FENCED, "", "task \"%s\" is gone from the target", x.t->task->name);
        gw_err_hint(err, MYT_OTHER_GODWIT);
    }
    rc = rc == GW_OK ? (to ? bring(&x, err) : drop(&x, err)) : rc;
    mysql_free_result(x.there);
    gw_buf_fini(&x.sql);
    return rc;
}
