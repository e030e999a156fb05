// Findings: what this target will do with the mapped tables. Reads only.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "control.h"
#include "finish.h"

void
myt_find(struct myt_findings *f, Gw__Severity severity, const Gw__Table *t, const char *object, const char *action,
         const char *sql, const char *fmt, ...)
{
    Gw__Finding *x = gw_pb_new(f->a, Gw__Finding, gw__finding__init);
    x->severity = severity;
    if (t) {
        x->schema = gw_arena_strdup(f->a, t->source_schema);
        x->table = gw_arena_strdup(f->a, t->source_name);
    }
    x->object = gw_arena_strdup(f->a, object ? object : "");
    x->action = gw_arena_strdup(f->a, action ? action : "");
    x->sql = gw_arena_strdup(f->a, sql ? sql : "");
    va_list ap;
    va_start(ap, fmt);
    x->message = gw_arena_vprintf(f->a, fmt, ap);
    va_end(ap);
    gw_pb_add(f->a, f->out, findings, x);
}

#define INFO GW__SEVERITY__SEVERITY_INFO
#define WARN GW__SEVERITY__SEVERITY_WARNING
#define ERR  GW__SEVERITY__SEVERITY_ERROR

// ---- tables

static void
check_names(struct myt_findings *f, const struct myt *t, const Gw__Table *table)
{
    const char *names[] = {myt_schema(t, table), table->name};
    for (size_t i = 0; i < 2; i++) {
        if (myt_too_long(names[i])) {
            myt_find(f, ERR, table, names[i], "give it a shorter name", NULL,
                     "%s name \"%s\" is longer than %d characters", i ? "table" : "schema", names[i], MYT_NAME_MAX);
        }
    }
    for (size_t i = 0; i < table->n_columns; i++) {
        const char *name = table->columns[i]->name;
        if (myt_too_long(name)) {
            myt_find(f, ERR, table, name, "give it a shorter name", NULL,
                     "name of column \"%s\" is longer than %d characters", name, MYT_NAME_MAX);
        }
        for (size_t k = 0; k < i; k++) {
            if (myt_same_name(name, table->columns[k]->name)) {
                myt_find(f, ERR, table, name, "rename one of them", NULL,
                         "columns \"%s\" and \"%s\" have the same name on the target: case does not count",
                         table->columns[k]->name, name);
            }
        }
    }
}

static bool
same_table(const struct myt *t, const Gw__Table *a, const char *schema, const char *name)
{
    if (t->fold_names) {
        return strcasecmp(myt_schema(t, a), schema) == 0 && strcasecmp(a->name, name) == 0;
    }
    return strcmp(myt_schema(t, a), schema) == 0 && strcmp(a->name, name) == 0;
}

static void
check_clash(struct myt_findings *f, const struct myt *t, const Gw__Catalog *cat, size_t i)
{
    const Gw__Table *table = cat->tables[i];
    for (size_t k = 0; k < i; k++) {
        const Gw__Table *o = cat->tables[k];
        if (same_table(t, o, myt_schema(t, table), table->name)) {
            myt_find(f, ERR, table, "", "select only one of them", NULL,
                     "table \"%s.%s\" has the same name on the target as \"%s.%s\"", table->source_schema,
                     table->source_name, o->source_schema, o->source_name);
        }
    }
    for (size_t k = 0; myt_control_tables[k]; k++) {
        if (same_table(t, table, t->control, myt_control_tables[k])) {
            myt_find(f, ERR, table, "", "set ControlSchema to another schema", NULL,
                     "table \"%s.%s\" is one of the control tables", t->control, table->name);
        }
    }
}

static void
check_column(struct myt_findings *f, const struct myt *t, const Gw__Table *table, const Gw__Column *c)
{
    bool severe = false;
    const char *note = myt_type_note(t, table, c, &severe);
    if (note) {
        myt_find(f, severe ? WARN : INFO, table, c->name, NULL, NULL, "column \"%s\": %s", c->name, note);
    }
    const char *why = myt_default_refused(t, table, c);
    if (why) {
        myt_find(f, WARN, table, c->name, "the column gets no default", NULL, "default of column \"%s\" is %s: %s",
                 c->name, why, myt_set(c->default_native) ? c->default_native : c->default_text);
    }
    if (c->identity != GW__IDENTITY__IDENTITY_NONE && myt_auto_column(t, table) != c) {
        myt_find(f, WARN, table, c->name, "it becomes a plain column", NULL,
                 "column \"%s\" cannot get AUTO_INCREMENT: a table has one such column here, of an integer type",
                 c->name);
    } else if (c->identity != GW__IDENTITY__IDENTITY_NONE && c->sequence_increment != 0 && c->sequence_increment != 1) {
        myt_find(f, WARN, table, c->name, "it counts by one", NULL, "column \"%s\" counts by %lld at the source",
                 c->name, (long long)c->sequence_increment);
    }
    if (myt_native(table) && myt_set(c->type->collation) &&
        strcmp(myt_collation(t, c->type->collation), c->type->collation) != 0) {
        myt_find(f, WARN, table, c->name, "compare how the two sort and what they hold to be equal", NULL,
                 "column \"%s\" gets collation %s: this server does not have %s", c->name,
                 myt_collation(t, c->type->collation), c->type->collation);
    }
    if (c->left_out && !(myt_native(table) && myt_set(c->generated)) && c->not_null &&
        c->default_kind == GW__DEFAULT_KIND__DEFAULT_NONE && c->identity == GW__IDENTITY__IDENTITY_NONE) {
        myt_find(f, ERR, table, c->name, "migrate the column too", NULL,
                 "column \"%s\" is left out of the rows, is NOT NULL and has no default", c->name);
    }
}

static void
check_primary_key(struct myt_findings *f, const struct myt *t, const Gw__Table *table)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < table->n_primary_key; i++) {
        const Gw__Column *c = myt_column(table, table->primary_key[i]);
        uint64_t n = c ? myt_key_bytes(t, table, c) : 1;
        if (n == 0) {
            myt_find(f, ERR, table, c->name, "give the column a length at the source, or leave the table out", NULL,
                     "column \"%s\" is in the primary key and has a type that cannot be in a key here", c->name);
        }
        bytes += n;
    }
    if (bytes > MYT_KEY_BYTES_MAX) {
        myt_find(f, ERR, table, "", "give its columns a shorter length at the source, or leave the table out", NULL,
                 "the primary key would be up to %llu bytes long; %d is the most", (unsigned long long)bytes,
                 MYT_KEY_BYTES_MAX);
    }
    if (table->n_primary_key == 0) {
        myt_find(f, INFO, table, "", NULL, NULL,
                 "the table has no primary key: rows are stored in the order of arrival");
    }
}

static void
check_indexes(struct myt_findings *f, const struct myt *t, const Gw__Table *table)
{
    for (size_t i = 0; i < table->n_indexes; i++) {
        const Gw__Index *x = table->indexes[i];
        const char *what = x->is_unique ? "unique index" : "index";
        const char *why = myt_index_refused(t, table, x);
        if (why) {
            myt_find(f, WARN, table, x->name, "it is not made", NULL, "%s \"%s\": %s", what, x->name, why);
            continue;
        }
        for (size_t p = 0; p < x->n_parts; p++) {
            uint32_t n = myt_part_prefix(t, table, x, p);
            if (n && !x->parts[p]->prefix_length) {
                myt_find(f, INFO, table, x->name, NULL, NULL, "%s \"%s\" covers the first %u of column \"%s\"", what,
                         x->name, n, x->parts[p]->column);
            }
        }
        if (x->n_include) {
            myt_find(f, INFO, table, x->name, "they are left out of it", NULL,
                     "%s \"%s\" has columns that are not part of the key", what, x->name);
        }
        if (x->nulls_not_distinct) {
            myt_find(f, WARN, table, x->name, "rows without a value are never equal", NULL,
                     "%s \"%s\" holds NULLs to be equal at the source", what, x->name);
        }
    }
    if (myt_auto_needs_key(t, table)) {
        myt_find(f, INFO, table, myt_auto_column(t, table)->name, NULL, NULL,
                 "column \"%s\" gets an index with the table: AUTO_INCREMENT needs one",
                 myt_auto_column(t, table)->name);
    }
}

static const Gw__Table *
in_catalog(const struct myt *t, const Gw__Catalog *cat, const char *schema, const char *name)
{
    for (size_t i = 0; i < cat->n_tables; i++) {
        if (same_table(t, cat->tables[i], schema, name)) {
            return cat->tables[i];
        }
    }
    return NULL;
}

// InnoDB wants the same type on both sides.
static void
check_fk_types(struct myt_findings *f, const struct myt *t, const Gw__Table *table, const Gw__Table *ref,
               const Gw__ForeignKey *k)
{
    for (size_t i = 0; i < k->n_columns; i++) {
        const Gw__Column *c = myt_column(table, k->columns[i]), *r = myt_column(ref, k->ref_columns[i]);
        MYT_BUF a, b;
        gw_buf_init(&a, 1 << 20);
        gw_buf_init(&b, 1 << 20);
        if (c && r) {
            myt_type(&a, t, table, c);
            myt_type(&b, t, ref, r);
            enum myt_family fc = myt_type_family(t, table, c), fr = myt_type_family(t, ref, r);
            bool lengths = fc == fr && (fc == MYT_STRING || fc == MYT_BYTES);
            if (strcmp(a.data, b.data) != 0 && !lengths) {
                myt_find(f, WARN, table, k->name, "its making will fail; give both the same type at the source", NULL,
                         "foreign key \"%s\": column \"%s\" is %s, the column that it refers to is %s", k->name,
                         c->name, a.data, b.data);
            }
        }
    }
}

static int
check_references(struct myt *t, struct myt_findings *f, const Gw__Catalog *cat, const Gw__Table *table,
                 struct gw_err *err)
{
    for (size_t i = 0; i < table->n_foreign_keys; i++) {
        const Gw__ForeignKey *k = table->foreign_keys[i];
        const char *schema = myt_fk_schema(t, table, k);
        const char *why = myt_fk_refused(t, table, k);
        if (why) {
            myt_find(f, WARN, table, k->name, "it is not made", NULL, "foreign key \"%s\": %s", k->name, why);
            continue;
        }
        if (k->deferrable) {
            myt_find(f, WARN, table, k->name, "it is checked by every statement", NULL,
                     "foreign key \"%s\" can be checked at the end of a transaction at the source", k->name);
        }
        const Gw__Table *ref = in_catalog(t, cat, schema, k->ref_table);
        if (ref) {
            check_fk_types(f, t, table, ref, k);
            continue;
        }
        MYT_BUF where;
        gw_buf_init(&where, 16384);
        myt_where_table(&where, t, "TABLE_SCHEMA", schema, "TABLE_NAME", k->ref_table);
        uint64_t there = 0;
        int rc =
            myt_scalar(t, &there, NULL, err, "SELECT COUNT(*) FROM information_schema.TABLES WHERE $s", where.data);
        if (rc != GW_OK) {
            return rc;
        }
        myt_find(f, WARN, table, k->name,
                 there ? "it is checked against the table that is on the target"
                       : "select that table too; the key cannot be made otherwise",
                 NULL, "foreign key \"%s\" refers to table \"%s.%s\", which is not part of the task", k->name, schema,
                 k->ref_table);
    }
    return GW_OK;
}

static void
check_rest(struct myt_findings *f, const struct myt *t, const Gw__Table *table)
{
    for (size_t i = 0; i < table->n_checks; i++) {
        const char *why = myt_check_refused(table, table->checks[i]);
        if (why) {
            myt_find(f, WARN, table, table->checks[i]->name, "it is not made", NULL, "check \"%s\": %s",
                     table->checks[i]->name, why);
        }
    }
    char engine[80];
    if (myt_native(table) && myt_options_other_engine(table->native_options, engine, sizeof engine)) {
        myt_find(f, WARN, table, "", "it becomes InnoDB", NULL,
                 "the table is of storage engine %s, which has no transactions to load it in", engine);
    }
    if (table->n_columns == 0 || table->n_columns > MYT_COLUMNS_MAX) {
        myt_find(f, ERR, table, "", "leave the table, or columns, out", NULL, "%zu columns: a table has 1 to %d",
                 table->n_columns, MYT_COLUMNS_MAX);
    }
    uint64_t page = myt_native(table) ? 0 : myt_page_bytes(t, table);
    if (page > MYT_PAGE_BYTES_MAX) {
        myt_find(f, ERR, table, "", "leave columns out, or make the table with narrower types before the load", NULL,
                 "a row needs %llu bytes in a page of InnoDB, which takes %d", (unsigned long long)page,
                 MYT_PAGE_BYTES_MAX);
    }
}

static int
check_table(struct myt *t, struct myt_findings *f, const Gw__Catalog *cat, size_t i, bool resuming, struct gw_err *err)
{
    const Gw__Table *table = cat->tables[i];
    if (!myt_set(myt_schema(t, table))) {
        myt_find(f, ERR, table, "", "write a database into the target's url, or set TargetSchema", NULL,
                 "the table has no schema, and the target's url names no database");
        return GW_OK;
    }
    check_names(f, t, table);
    check_clash(f, t, cat, i);
    for (size_t k = 0; k < table->n_columns; k++) {
        check_column(f, t, table, table->columns[k]);
    }
    check_primary_key(f, t, table);
    check_indexes(f, t, table);
    check_rest(f, t, table);
    int rc = check_references(t, f, cat, table, err);
    return rc == GW_OK ? myt_preflight_existing(t, f, cat, table, resuming, err) : rc;
}

int
myt_preflight(void *self, struct gw_arena *a, const Gw__Catalog *cat, bool resuming, Gw__Catalog *findings,
              struct gw_err *err)
{
    struct myt *t = self;
    struct myt_findings f = {.a = a, .out = findings};
    int rc = myt_preflight_server(t, &f, cat, err);
    for (size_t i = 0; rc == GW_OK && i < cat->n_tables; i++) {
        rc = check_table(t, &f, cat, i, resuming, err);
    }
    return rc == GW_OK ? rc : gw_err_wrap(err, "examine the target");
}
