// The tables of a stream: which values make a key, and in which order a foreign key wants them.
#include <stdlib.h>
#include <string.h>

#include "apply/applier.h"

// ---- keys --------------------------------------------------------------------------------------

static size_t
tuple_index(const Gw__Table *t, const char *name)
{
    size_t at = 0;
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcmp(t->columns[i]->name, name) == 0) {
            return t->columns[i]->left_out ? SIZE_MAX : at;
        }
        at += !t->columns[i]->left_out;
    }
    return SIZE_MAX;
}

// Whether the source gives the column's old value with every change. Without a word about that: the primary key's.
static bool
in_identity(const Gw__Table *source, const Gw__Table *target, const char *name)
{
    if (!source || source->n_identity == 0) {
        return true;
    }
    for (size_t i = 0; i < target->n_columns && i < target->n_source_columns; i++) {
        for (size_t k = 0; strcmp(target->columns[i]->name, name) == 0 && k < source->n_identity; k++) {
            if (strcmp(source->identity[k], target->source_columns[i]) == 0) {
                return true;
            }
        }
    }
    return target->n_source_columns == 0; // not mapped: nothing to compare
}

// The columns as the table's key, if the rows carry them and every old image does.
static bool
take_key(struct gw_applier_table *t, const Gw__Table *source, char *const *names, size_t n)
{
    t->key_n = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = tuple_index(t->table, names[i]);
        if (at == SIZE_MAX || !in_identity(source, t->table, names[i])) {
            return false;
        }
        t->key[t->key_n++] = (uint32_t)at;
    }
    return n > 0;
}

// A unique index over columns that are never NULL does as well, where the source identifies its rows by it.
static bool
take_index(struct gw_applier_table *t, const Gw__Table *source, const Gw__Index *index, struct gw_arena *a)
{
    if (!index->is_unique || index->predicate[0] || index->deferrable) {
        return false;
    }
    char **names = gw_arena_calloc(a, index->n_parts, sizeof *names);
    for (size_t i = 0; i < index->n_parts; i++) {
        const Gw__IndexPart *p = index->parts[i];
        names[i] = p->column;
        size_t at = p->column[0] && !p->prefix_length ? tuple_index(t->table, p->column) : SIZE_MAX;
        if (at == SIZE_MAX || !t->table->columns[t->columns[at]]->not_null) {
            return false;
        }
    }
    return source && source->n_identity && take_key(t, source, names, index->n_parts);
}

// What compares as text as it does in the column. What is inexact is left out; the other columns find the row.
static bool
comparable(const Gw__Column *c)
{
    Gw__Kind k = c->type ? c->type->kind : GW__KIND__KIND_UNKNOWN;
    return k != GW__KIND__KIND_FLOAT32 && k != GW__KIND__KIND_FLOAT64;
}

static void
take_all(struct gw_applier_table *t)
{
    t->key_n = 0;
    t->keyless = true;
    for (size_t i = 0; i < t->n; i++) {
        if (comparable(t->table->columns[t->columns[i]])) {
            t->key[t->key_n++] = (uint32_t)i;
        }
    }
    for (size_t i = 0; t->key_n == 0 && i < t->n; i++) {
        t->key[i] = (uint32_t)i;
        t->key_n = i + 1 == t->n ? t->n : 0;
    }
}

static void
open_table(struct gw_applier_table *t, const Gw__StreamTable *def, struct gw_arena *a)
{
    t->table = def->target;
    gw__counts__init(&t->counts);
    gw__tally__init(&t->came);
    t->counts.table = t->came.table = def->target->id;
    t->columns = gw_arena_calloc(a, def->target->n_columns, sizeof *t->columns);
    t->key = gw_arena_calloc(a, def->target->n_columns, sizeof *t->key);
    t->is_key = gw_arena_calloc(a, def->target->n_columns, sizeof *t->is_key);
    for (size_t i = 0; i < def->target->n_columns; i++) {
        if (!def->target->columns[i]->left_out) {
            t->columns[t->n++] = (uint32_t)i;
        }
    }
    bool keyed = take_key(t, def->source, def->target->primary_key, def->target->n_primary_key);
    for (size_t i = 0; !keyed && i < def->target->n_indexes; i++) {
        keyed = take_index(t, def->source, def->target->indexes[i], a);
    }
    if (!keyed) {
        take_all(t);
    }
    for (size_t i = 0; i < t->key_n; i++) {
        t->is_key[t->key[i]] = true;
    }
}

static int
by_id(const void *x, const void *y)
{
    uint32_t a = (*(struct gw_applier_table *const *)x)->table->id,
             b = (*(struct gw_applier_table *const *)y)->table->id;
    return a < b ? -1 : a > b;
}

struct gw_applier_table *
gw_tables_find(const struct gw_applier *a, uint32_t id)
{
    size_t lo = 0, hi = a->tables_n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        uint32_t at = a->by_id[mid]->table->id;
        if (at == id) {
            return a->by_id[mid];
        }
        *(at < id ? &lo : &hi) = at < id ? mid + 1 : mid;
    }
    return NULL;
}

// ---- order -------------------------------------------------------------------------------------

static struct gw_applier_table *
find_parent(struct gw_applier_table *tables, size_t n, const Gw__ForeignKey *fk)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(tables[i].table->name, fk->ref_table) == 0 && strcmp(tables[i].table->schema, fk->ref_schema) == 0) {
            return &tables[i];
        }
    }
    return NULL;
}

// A table is ready when all its parents have their rank; itself as a parent does not count.
static bool
ready(const struct gw_applier_table *t, struct gw_applier_table *const *parents, size_t n, const bool *ranked,
      const struct gw_applier_table *tables)
{
    for (size_t i = 0; i < n; i++) {
        if (parents[i] && parents[i] != t && !ranked[parents[i] - tables]) {
            return false;
        }
    }
    return true;
}

// Rank and referenced of every table.
static void
order_tables(struct gw_applier_table *tables, size_t n, struct gw_arena *a)
{
    struct gw_applier_table ***parents = gw_arena_calloc(a, n, sizeof *parents);
    bool *ranked = gw_arena_calloc(a, n, sizeof *ranked);
    for (size_t i = 0; i < n; i++) {
        const Gw__Table *t = tables[i].table;
        parents[i] = gw_arena_calloc(a, t->n_foreign_keys, sizeof **parents);
        for (size_t k = 0; k < t->n_foreign_keys; k++) {
            parents[i][k] = find_parent(tables, n, t->foreign_keys[k]);
            if (parents[i][k]) {
                parents[i][k]->referenced = true;
            }
        }
    }
    uint32_t rank = 0;
    while (rank < n) {
        size_t pick = n, unranked = n;
        for (size_t i = 0; i < n && pick == n; i++) {
            unranked = !ranked[i] && unranked == n ? i : unranked;
            pick = !ranked[i] && ready(&tables[i], parents[i], tables[i].table->n_foreign_keys, ranked, tables) ? i : n;
        }
        pick = pick == n ? unranked : pick; // a circle: no order is right, replay settles it
        ranked[pick] = true;
        tables[pick].rank = rank++;
    }
}

// ---- all of them -------------------------------------------------------------------------------

int
gw_tables_open(struct gw_applier *a, Gw__StreamTable *const *tables, size_t n, struct gw_err *err)
{
    a->tables_n = n;
    a->tables = gw_arena_calloc(&a->arena, n, sizeof *a->tables);
    a->by_id = gw_arena_calloc(&a->arena, n, sizeof(struct gw_applier_table *));
    for (size_t i = 0; i < n; i++) {
        open_table(&a->tables[i], tables[i], &a->arena);
        a->by_id[i] = &a->tables[i];
    }
    qsort(a->by_id, n, sizeof *a->by_id, by_id);
    for (size_t i = 1; i < n; i++) {
        if (a->by_id[i]->table->id == a->by_id[i - 1]->table->id) {
            return gw_err_set(err, GW_BUG, NULL, "table %u is twice in the stream", a->by_id[i]->table->id);
        }
    }
    order_tables(a->tables, n, &a->arena);
    return GW_OK;
}
