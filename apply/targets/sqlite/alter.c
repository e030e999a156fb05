// A table that changes under the stream: what is there becomes what `to` says, in one transaction.
//
// SQLite adds, drops and renames columns (https://www.sqlite.org/lang_altertable.html), and nothing else. A type is an
// affinity here, so most other types are the same one; what a column does with a missing value stays as it was made, as every
// change from the source gives all values.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "apply/targets/sqlite/sqlite_target.h"
#include "common/plan.h"

struct change {
    struct lite_target *t;
    struct gw_arena *a;
    const Gw__Table *from, *to;
    struct there {
        char *name, *type;
        bool not_null, generated;
    } * there; // the table's columns
    size_t there_n;
    bool rows;
};

static int
refused(const struct change *x, struct gw_err *err, const char *column, const char *why)
{
    gw_err_set(err, GW_CONFIG, NULL, "column \"%s\": %s", column, why);
    gw_err_hint(err, "make the change on the target's table \"%s\" by hand, then load it anew with --reload",
                x->to->name);
    return GW_CONFIG;
}

static int
run(const struct change *x, struct gw_err *err, const struct gw_buf *sql)
{
    int rc = gw_lite_exec(x->t->db, err, sql->data);
    if (rc == GW_DATA) {
        err->cls = rc = GW_CONFIG; // a rule of the table
    }
    return rc;
}

static const struct there *
find(const struct change *x, const char *name)
{
    for (size_t i = 0; i < x->there_n; i++) {
        if (strcasecmp(x->there[i].name, name) == 0) {
            return &x->there[i];
        }
    }
    return NULL;
}

static int
read_columns(struct change *x, struct gw_err *err)
{
    sqlite3_stmt *q = NULL;
    x->there_n = 0;
    x->there = NULL;
    int rc = gw_lite_query(x->t->db, &q, err, "SELECT name, type, \"notnull\", hidden > 1 FROM pragma_table_xinfo(?1)",
                           "t", x->to->name);
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        struct there *c = gw_arena_push(x->a, &x->there, &x->there_n, sizeof *x->there);
        *c = (struct there){.name = gw_lite_text(x->a, q, 0),
                            .type = gw_lite_text(x->a, q, 1),
                            .not_null = sqlite3_column_int(q, 2) != 0,
                            .generated = sqlite3_column_int(q, 3) != 0};
    }
    sqlite3_finalize(q);
    return rc == GW_END ? GW_OK : rc;
}

static void
begin_sql(struct gw_buf *sql, const char *table, const char *action)
{
    gw_buf_init(sql, 1 << 20);
    gw_buf_puts(sql, "ALTER TABLE ");
    gw_lite_ident(sql, table);
    gw_buf_printf(sql, " %s ", action);
}

static int
rename_table(struct change *x, struct gw_err *err)
{
    bool old = false, new = false;
    int rc = strcmp(x->from->name, x->to->name) == 0 ? GW_END : lite_exists(x->t, "table", x->from->name, &old, err);
    rc = rc == GW_OK ? lite_exists(x->t, "table", x->to->name, &new, err) : rc;
    if (rc == GW_OK && old && new &&strcasecmp(x->from->name, x->to->name) != 0) {
        gw_err_set(err, GW_CONFIG, NULL, "it was renamed to \"%s\", and a table of that name is on the target already",
                   x->to->name);
        return GW_CONFIG;
    }
    if (rc == GW_OK && old) {
        struct gw_buf sql;
        begin_sql(&sql, x->from->name, "RENAME TO");
        gw_lite_ident(&sql, x->to->name);
        rc = run(x, err, &sql);
        gw_buf_fini(&sql);
    }
    return rc == GW_OK || rc == GW_END ? read_columns(x, err) : rc;
}

// ---- columns -----------------------------------------------------------------------------------

static bool
is_wanted(const struct change *x, const char *name)
{
    for (size_t i = 0; i < x->to->n_columns; i++) {
        if (strcasecmp(x->to->columns[i]->name, name) == 0 || strcasecmp(x->to->columns[i]->was, name) == 0) {
            return true;
        }
    }
    return false;
}

// An indexed column cannot be dropped. Its indexes went with it on the source.
static int
drop_indexes(struct change *x, const char *column, struct gw_err *err)
{
    char **names = NULL;
    size_t n = 0;
    sqlite3_stmt *q = NULL;
    int rc = gw_lite_query(x->t->db, &q, err,
                           "SELECT l.name FROM pragma_index_list(?1) l JOIN pragma_index_info(l.name) i"
                           " WHERE l.origin = 'c' AND i.name = ?2 COLLATE NOCASE",
                           "tt", x->to->name, column);
    while (rc == GW_OK && (rc = gw_lite_step(q, err)) == GW_OK) {
        *(char **)gw_arena_push(x->a, &names, &n, sizeof *names) = gw_lite_text(x->a, q, 0);
    }
    sqlite3_finalize(q);
    rc = rc == GW_END ? GW_OK : rc;
    for (size_t i = 0; rc == GW_OK && i < n; i++) {
        struct gw_buf sql;
        gw_buf_init(&sql, 1 << 16);
        gw_buf_puts(&sql, "DROP INDEX ");
        gw_lite_ident(&sql, names[i]);
        rc = run(x, err, &sql);
        gw_buf_fini(&sql);
    }
    return rc;
}

static int
drop_columns(struct change *x, struct gw_err *err)
{
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < x->from->n_columns; i++) {
        const char *name = x->from->columns[i]->name;
        if (is_wanted(x, name) || !find(x, name)) {
            continue;
        }
        struct gw_buf sql;
        begin_sql(&sql, x->to->name, "DROP COLUMN");
        gw_lite_ident(&sql, name);
        rc = drop_indexes(x, name, err);
        rc = rc == GW_OK ? run(x, err, &sql) : rc;
        gw_buf_fini(&sql);
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
        const struct there *was = c->was[0] ? find(x, c->was) : NULL;
        if (!was || strcmp(was->name, c->name) == 0 || strcmp(c->was, c->name) == 0) {
            continue;
        }
        if (find(x, c->name) && strcasecmp(c->was, c->name) != 0) {
            return refused(x, err, c->name, "the target has a column of that name already");
        }
        struct gw_buf sql;
        begin_sql(&sql, x->to->name, "RENAME COLUMN");
        gw_lite_ident(&sql, c->was);
        gw_buf_puts(&sql, " TO ");
        gw_lite_ident(&sql, c->name);
        rc = run(x, err, &sql);
        gw_buf_fini(&sql);
        rc = rc == GW_OK ? read_columns(x, err) : rc;
    }
    return rc;
}

static int
add_column(struct change *x, const Gw__Column *c, struct gw_err *err)
{
    if (!c->left_out && x->rows && c->not_null && !c->has_fill) {
        return refused(x, err, c->name, "it may not be NULL, and no value is known for the rows that are there");
    }
    if (!c->left_out && x->rows && c->identity != GW__IDENTITY__IDENTITY_NONE) {
        return refused(x, err, c->name, "the source has numbered the rows that are there");
    }
    Gw__Column first = *c;
    if (!c->left_out) { // the rows that are there get the default
        first.default_native = (char *)(uintptr_t) "";
        first.default_kind = c->has_fill ? GW__DEFAULT_KIND__DEFAULT_LITERAL : GW__DEFAULT_KIND__DEFAULT_NONE;
        first.default_text = c->fill;
        first.not_null = c->not_null && c->has_fill; // SQLite wants a default for one that is not
    }
    struct gw_buf sql;
    begin_sql(&sql, x->to->name, "ADD COLUMN");
    lite_column_sql(&sql, x->to, &first);
    int rc = run(x, err, &sql);
    gw_buf_fini(&sql);
    return rc;
}

// https://www.sqlite.org/datatype3.html#determination_of_column_affinity
static char
affinity(const char *declared)
{
    static const struct {
        const char *part;
        char affinity;
    } rules[] = {{"INT", 'I'},  {"CHAR", 'T'}, {"CLOB", 'T'}, {"TEXT", 'T'},
                 {"BLOB", 'B'}, {"REAL", 'R'}, {"FLOA", 'R'}, {"DOUB", 'R'}};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (strcasestr(declared, rules[i].part)) {
            return rules[i].affinity;
        }
    }
    return declared[0] ? 'N' : 'B';
}

static int
check_column(struct change *x, const Gw__Column *c, const struct there *is, struct gw_err *err)
{
    struct gw_buf type;
    gw_buf_init(&type, 1 << 16);
    lite_declare(&type, x->to, c);
    int rc = GW_OK;
    if (affinity(type.data) != affinity(is->type)) {
        rc = refused(x, err, c->name,
                     gw_arena_printf(x->a, "it is %s and would be %s: SQLite cannot change that", is->type, type.data));
    } else if (is->not_null && !c->not_null) {
        rc = refused(x, err, c->name, "it may be NULL now: SQLite cannot change that");
    }
    gw_buf_fini(&type);
    return rc;
}

static int
bring_columns(struct change *x, struct gw_err *err)
{
    int rc = GW_OK;
    for (size_t i = 0; rc == GW_OK && i < x->to->n_columns; i++) {
        const Gw__Column *c = x->to->columns[i];
        const struct there *is = find(x, c->name);
        if (!is) {
            rc = add_column(x, c, err);
        } else if (!c->left_out && !is->generated) {
            rc = check_column(x, c, is, err);
        }
    }
    return rc;
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
    struct gw_buf sql;
    int64_t n = 0;
    gw_buf_init(&sql, 1 << 16);
    gw_buf_puts(&sql, "SELECT EXISTS (SELECT 1 FROM ");
    gw_lite_ident(&sql, x->to->name);
    gw_buf_putc(&sql, ')');
    int rc = gw_lite_int(x->t->db, &n, 0, err, sql.data);
    gw_buf_fini(&sql);
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
    if (rc == GW_OK && !x->there_n) {
        return gw_err_set(err, GW_CONFIG, NULL, "table \"%s\" is not on the target", x->to->name);
    }
    if (rc == GW_OK && !same_key(x->from, x->to)) {
        return refused(x, err, x->to->n_primary_key ? x->to->primary_key[0] : "", "the primary key is another one");
    }
    rc = rc == GW_OK ? has_rows(x, err) : rc;
    rc = rc == GW_OK ? drop_columns(x, err) : rc;
    rc = rc == GW_OK ? rename_columns(x, err) : rc;
    return rc == GW_OK ? bring_columns(x, err) : rc;
}

static int
drop(struct change *x, struct gw_err *err)
{
    struct gw_buf sql;
    gw_buf_init(&sql, 1 << 16);
    gw_buf_puts(&sql, "DROP TABLE IF EXISTS ");
    gw_lite_ident(&sql, x->from->name);
    int rc = run(x, err, &sql);
    gw_buf_fini(&sql);
    return rc;
}

int
lite_alter(void *self, struct gw_arena *a, const Gw__Table *from, const Gw__Table *to, struct gw_err *err)
{
    struct change x = {.t = self, .a = a, .from = from, .to = to};
    int rc = lite_begin_as_ours(x.t, err);
    return rc == GW_OK ? lite_tx_end(x.t, to ? bring(&x, err) : drop(&x, err), err) : rc;
}
