// From the source's catalogue to the target's: names, and the columns that travel.
#include <stdlib.h>
#include <string.h>

#include "common/mapping.h"
#include "transform/driver.h"

static void
add_finding(struct gw_arena *a, Gw__Catalog *cat, Gw__Severity severity, const Gw__Table *t, const char *object,
            char *message, char *action)
{
    Gw__Finding *f = gw_pb_new(a, Gw__Finding, gw__finding__init);
    f->severity = severity;
    f->schema = t->source_schema;
    f->table = t->source_name;
    f->object = gw_arena_strdup(a, object);
    f->message = message;
    f->action = action;
    gw_pb_add(a, cat, findings, f);
}

static bool
references_column(const Gw__Index *ix, const char *name)
{
    for (size_t i = 0; i < ix->n_parts; i++) {
        if (strcmp(ix->parts[i]->column, name) == 0) {
            return true;
        }
    }
    return false;
}

// A column that is left out takes the indexes with it that need it.
static void
drop_column(struct gw_arena *a, Gw__Catalog *cat, Gw__Table *t, size_t at)
{
    const char *name = t->columns[at]->name;
    size_t kept = 0;
    for (size_t i = 0; i < t->n_indexes; i++) {
        if (references_column(t->indexes[i], name)) {
            add_finding(a, cat, GW__SEVERITY__SEVERITY_WARNING, t, t->indexes[i]->name,
                        gw_arena_printf(a, "index needs column \"%s\", which is left out", name),
                        gw_arena_strdup(a, "the index is not made"));
        } else {
            t->indexes[kept++] = t->indexes[i];
        }
    }
    t->n_indexes = kept;
    memmove(&t->columns[at], &t->columns[at + 1], (--t->n_columns - at) * sizeof *t->columns);
    memmove(&t->source_columns[at], &t->source_columns[at + 1],
            (--t->n_source_columns - at) * sizeof *t->source_columns);
}

static bool
lobs_left_out(const Gw__Task *task, const Gw__Table *t)
{
    const Gw__TableSettingsRule *rule = gw_mapping_table_settings(task, t->source_schema, t->source_name);
    if (rule && rule->lob_mode != GW__LOB_MODE__LOB_DEFAULT) {
        return rule->lob_mode == GW__LOB_MODE__LOB_NONE;
    }
    return !task->lob->support_lobs;
}

static bool
in_primary_key(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_primary_key; i++) {
        if (strcmp(t->primary_key[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void
map_columns(const Gw__Task *task, struct gw_arena *a, Gw__Catalog *cat, Gw__Table *t, const char *target_engine)
{
    bool same = strcmp(t->engine, target_engine) == 0;
    bool no_lobs = lobs_left_out(task, t);
    t->n_source_columns = 0;
    for (size_t i = 0; i < t->n_columns; i++) {
        gw_pb_add(a, t, source_columns, t->columns[i]->name);
    }
    for (size_t i = 0; i < t->n_columns;) {
        Gw__Column *c = t->columns[i];
        if (no_lobs && c->is_lob && !in_primary_key(t, c->name)) {
            add_finding(a, cat, GW__SEVERITY__SEVERITY_WARNING, t, c->name,
                        gw_arena_strdup(a, "LOB column is left out, as the LOB settings say"),
                        gw_arena_strdup(a, "neither the column nor its values are on the target"));
            drop_column(a, cat, t, i);
            continue;
        }
        if (c->generated[0]) {
            // The target computes it; across engines only where it can read the expression.
            c->left_out = same;
            if (!same) {
                add_finding(a, cat, GW__SEVERITY__SEVERITY_WARNING, t, c->name,
                            gw_arena_printf(a, "generated column (%s) has no sure counterpart", c->generated),
                            gw_arena_strdup(a, "a plain column is made and filled with the source's values"));
                c->generated = gw_arena_strdup(a, "");
            }
        }
        i++;
    }
}

// What only an equal engine has: said, and not handed to a target that would make something else of it.
static void
drop_foreign_objects(struct gw_arena *a, Gw__Catalog *cat, Gw__Table *t, const char *target_engine)
{
    if (strcmp(t->engine, target_engine) == 0) {
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < t->n_indexes; i++) {
        const Gw__Index *x = t->indexes[i];
        if (x->is_constraint && !x->is_unique) {
            add_finding(a, cat, GW__SEVERITY__SEVERITY_WARNING, t, x->name,
                        gw_arena_printf(a, "exclusion constraint (%s) has no counterpart", x->native_ddl),
                        gw_arena_strdup(a, "it is not made"));
        } else {
            t->indexes[kept++] = t->indexes[i];
        }
    }
    t->n_indexes = kept;
    if (t->n_partitions || t->partition_by[0]) {
        add_finding(a, cat, GW__SEVERITY__SEVERITY_INFO, t, "",
                    gw_arena_printf(a, "the table is partitioned (%s)", t->partition_by),
                    gw_arena_strdup(a, "one plain table is made and holds the rows of all partitions"));
    }
}

static const char *
target_schema(const Gw__Task *task, const Gw__Table *t)
{
    return task->target_schema[0] ? task->target_schema : t->schema;
}

static int
by_target_name(const void *x, const void *y)
{
    const Gw__Table *a = *(Gw__Table *const *)x, *b = *(Gw__Table *const *)y;
    int r = strcmp(a->schema, b->schema);
    return r ? r : strcmp(a->name, b->name);
}

// Two source tables that would become one target table would mix their rows.
static void
find_clashes(struct gw_arena *a, Gw__Catalog *cat)
{
    size_t n = cat->n_tables;
    Gw__Table **sorted = gw_arena_calloc(a, n + 1, sizeof *sorted);
    memcpy(sorted, cat->tables, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_target_name);
    for (size_t i = 1; i < n; i++) {
        if (by_target_name(&sorted[i - 1], &sorted[i]) == 0) {
            Gw__Finding *f = gw_pb_new(a, Gw__Finding, gw__finding__init);
            f->severity = GW__SEVERITY__SEVERITY_ERROR;
            f->message =
                gw_arena_printf(a, "source tables \"%s.%s\" and \"%s.%s\" would both become \"%s.%s\"",
                                sorted[i - 1]->source_schema, sorted[i - 1]->source_name, sorted[i]->source_schema,
                                sorted[i]->source_name, sorted[i]->schema, sorted[i]->name);
            f->action = gw_arena_strdup(a, "exclude one of them, or do not set TargetSchema");
            gw_pb_add(a, cat, findings, f);
        }
    }
}

// A foreign key follows its table's new schema; one to a table that does not travel keeps its name.
static void
map_references(const Gw__Task *task, const Gw__Catalog *src, Gw__Table *t)
{
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        Gw__ForeignKey *fk = t->foreign_keys[i];
        for (size_t k = 0; k < src->n_tables; k++) {
            const Gw__Table *ref = src->tables[k];
            if (strcmp(ref->schema, fk->ref_schema) == 0 && strcmp(ref->name, fk->ref_table) == 0) {
                // The catalogue's strings live as long as the arena's.
                fk->ref_schema = (char *)(uintptr_t)target_schema(task, ref);
                break;
            }
        }
    }
}

int
gw_map_catalog(const Gw__Task *task, const Gw__Catalog *src, struct gw_arena *a, Gw__Catalog **ret, struct gw_err *err)
{
    (void)err;
    Gw__Catalog *cat = gw_pb_dup(a, src);
    cat->n_findings = 0;
    for (size_t i = 0; i < cat->n_tables; i++) {
        Gw__Table *t = cat->tables[i];
        map_references(task, src, t);
        t->schema = gw_arena_strdup(a, target_schema(task, t));
        map_columns(task, a, cat, t, task->target->engine);
        drop_foreign_objects(a, cat, t, task->target->engine);
    }
    find_clashes(a, cat);
    *ret = cat;
    return GW_OK;
}
