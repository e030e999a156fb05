// The finish steps of a table: the same for the same table, always.
#include <string.h>
#include <strings.h>

#include "finish.h"

static bool
has_order(const Gw__Type *type)
{
    return type->kind != GW__KIND__KIND_JSON && type->kind != GW__KIND__KIND_XML;
}

const char *
pgt_index_refused(const Gw__Table *t, const Gw__Index *i)
{
    if (pgt_native(t)) {
        return NULL;
    }
    static const char *const methods[] = {"", "btree", "hash", NULL};
    bool known = false;
    for (size_t m = 0; methods[m]; m++) {
        known = known || strcasecmp(i->method, methods[m]) == 0;
    }
    if (!known) {
        return "an index method without a counterpart";
    }
    if (pgt_set(i->predicate)) {
        return "its predicate is in the source's dialect";
    }
    for (size_t p = 0; p < i->n_parts; p++) {
        if (pgt_set(i->parts[p]->expression) || !pgt_set(i->parts[p]->column)) {
            return "an expression in the source's dialect";
        }
        const Gw__Column *c = pgt_column(t, i->parts[p]->column);
        if (!c) {
            return "a column that is not migrated";
        }
        if (!has_order(c->type)) {
            return "a column whose type has no order here";
        }
    }
    return i->n_parts ? NULL : "no columns";
}

const char *
pgt_check_refused(const Gw__Table *t, const Gw__Check *c)
{
    if (pgt_native(t) ? pgt_set(c->native) : pgt_set(c->portable)) {
        return NULL;
    }
    return "its expression is in the source's dialect";
}

bool
pgt_index_exclusion(const Gw__Table *t, const Gw__Index *i)
{
    return pgt_native(t) && pgt_word(i->native_ddl, "EXCLUDE");
}

bool
pgt_index_constraint(const Gw__Table *t, const Gw__Index *i)
{
    if (!i->is_constraint || !i->is_unique || pgt_index_exclusion(t, i) || pgt_set(i->predicate)) {
        return false;
    }
    for (size_t p = 0; p < i->n_parts; p++) {
        const Gw__IndexPart *part = i->parts[p];
        // A constraint's index has plain columns in the default order.
        if (pgt_set(part->expression) || part->prefix_length || part->descending || part->nulls_first) {
            return false;
        }
    }
    return i->n_parts > 0;
}

bool
pgt_has_labels(const Gw__Table *t, const Gw__Column *c)
{
    return !pgt_native(t) && c->type->kind == GW__KIND__KIND_ENUM && c->type->n_labels > 0 && !pgt_keep_generated(t, c);
}

struct adder {
    struct gw_arena *a;
    const Gw__Table *t;
    Gw__Steps *out;
    struct gw_buf sql;
};

// Adds a step whose statement is in ad->sql, and empties that.
static void
add(struct adder *ad, Gw__StepPhase phase, const char *kind, const char *object, uint64_t weight)
{
    Gw__Step *s = gw_pb_new(ad->a, Gw__Step, gw__step__init);
    s->table_id = ad->t->id;
    s->phase = phase;
    s->kind = gw_arena_strdup(ad->a, kind);
    s->object = gw_arena_strdup(ad->a, object);
    s->name = pgt_set(object) ? gw_arena_printf(ad->a, "%s %s", kind, object) : gw_arena_strdup(ad->a, kind);
    s->sql = gw_arena_strdup(ad->a, ad->sql.len ? ad->sql.data : "");
    s->weight = weight;
    gw_pb_add(ad->a, ad->out, steps, s);
    gw_buf_reset(&ad->sql);
}

static void
add_keys(struct adder *ad, const struct pgt *t)
{
    const Gw__Table *table = ad->t;
    uint64_t bytes = table->bytes_estimate + 1;
    if (pgt_pk_after(t, table)) {
        char *name = pgt_pk_name(ad->a, table);
        pgt_pk_constraint_sql(&ad->sql, table, name, false);
        add(ad, GW__STEP_PHASE__STEP_KEYS, PGT_STEP_PK, name, bytes + 1);
    }
    for (size_t i = 0; i < table->n_indexes; i++) {
        const Gw__Index *x = table->indexes[i];
        if (pgt_index_refused(table, x)) {
            continue;
        }
        char *name = pgt_index_object(ad->a, table, i);
        bool constraint = pgt_index_constraint(table, x);
        if (!constraint || !pgt_partitioned(table)) {
            pgt_index_sql(&ad->sql, table, x, name);
        }
        if (constraint) {
            gw_buf_puts(&ad->sql, ad->sql.len ? "; " : "");
            pgt_constraint_sql(&ad->sql, table, x, name);
        }
        add(ad, GW__STEP_PHASE__STEP_KEYS, x->is_unique ? PGT_STEP_UNIQUE : PGT_STEP_INDEX, name, bytes);
    }
}

static void
add_constraints(struct adder *ad)
{
    const Gw__Table *table = ad->t;
    uint64_t bytes = table->bytes_estimate + 1;
    for (size_t i = 0; i < table->n_foreign_keys; i++) {
        char *name = pgt_fk_object(ad->a, table, i);
        pgt_fk_sql(&ad->sql, table, table->foreign_keys[i], name);
        add(ad, GW__STEP_PHASE__STEP_CONSTRAINTS, PGT_STEP_FK, name, bytes + 1);
    }
    for (size_t i = 0; i < table->n_checks; i++) {
        if (!pgt_check_refused(table, table->checks[i])) {
            char *name = pgt_check_object(ad->a, table, i);
            pgt_check_sql(&ad->sql, table, table->checks[i], name);
            add(ad, GW__STEP_PHASE__STEP_CONSTRAINTS, PGT_STEP_CHECK, name, bytes);
        }
    }
    for (size_t i = 0; i < table->n_columns; i++) {
        if (pgt_has_labels(table, table->columns[i])) {
            char *name = pgt_labels_object(ad->a, table, table->columns[i]);
            pgt_labels_sql(&ad->sql, table, table->columns[i], name);
            add(ad, GW__STEP_PHASE__STEP_CONSTRAINTS, PGT_STEP_CHECK, name, bytes);
        }
    }
}

int
pgt_finish_plan(void *self, struct gw_arena *a, const Gw__Table *table, Gw__Steps *ret, struct gw_err *err)
{
    (void)err;
    struct adder ad = {.a = a, .t = table};
    Gw__Steps steps;
    gw__steps__init(&steps);
    ad.out = &steps;
    gw_buf_init(&ad.sql, PGT_SQL_MAX);
    add_keys(&ad, self);
    add_constraints(&ad);
    for (size_t i = 0; i < table->n_columns; i++) {
        if (pgt_column_numbers(table->columns[i]) != PGT_NUMBERS_NONE) {
            add(&ad, GW__STEP_PHASE__STEP_SEQUENCES, PGT_STEP_SEQUENCE, table->columns[i]->name, 1);
        }
    }
    // Last, so that it sees the columns of expression indexes too.
    gw_buf_puts(&ad.sql, "ANALYZE ");
    pgt_tname(&ad.sql, table);
    add(&ad, GW__STEP_PHASE__STEP_SEQUENCES, PGT_STEP_ANALYZE, "", table->bytes_estimate + 1);
    gw_buf_fini(&ad.sql);
    *ret = steps;
    return GW_OK;
}
