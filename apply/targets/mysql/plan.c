// The finish steps of a table: the same for the same table, always.
#include <string.h>

#include "finish.h"

struct adder {
    struct myt *t;
    struct gw_arena *a;
    const Gw__Table *table;
    Gw__Steps *out;
    struct gw_buf sql;
};

// Adds a step whose statement is in ad->sql, and empties that.
static void
add(struct adder *ad, Gw__StepPhase phase, const char *kind, const char *object, const char *name, uint64_t weight)
{
    Gw__Step *s = gw_pb_new(ad->a, Gw__Step, gw__step__init);
    s->table_id = ad->table->id;
    s->phase = phase;
    s->kind = gw_arena_strdup(ad->a, kind);
    s->object = gw_arena_strdup(ad->a, object);
    s->name = gw_arena_strdup(ad->a, name);
    s->sql = gw_arena_strdup(ad->a, ad->sql.len ? ad->sql.data : "");
    s->weight = weight;
    gw_pb_add(ad->a, ad->out, steps, s);
    gw_buf_reset(&ad->sql);
}

// All of them in one ALTER TABLE, which reads the table once.
static void
add_indexes(struct adder *ad)
{
    const Gw__Table *table = ad->table;
    size_t n = 0;
    myt_put(ad->t, &ad->sql, "ALTER TABLE $i.$i", myt_schema(ad->t, table), table->name);
    for (size_t i = 0; i < table->n_indexes; i++) {
        if (!myt_index_refused(ad->t, table, table->indexes[i])) {
            gw_buf_puts(&ad->sql, n++ ? ", ADD " : " ADD ");
            myt_index_sql(&ad->sql, ad->t, table, table->indexes[i], myt_index_object(ad->a, table, i));
        }
    }
    if (n == 0) {
        gw_buf_reset(&ad->sql);
        return;
    }
    add(ad, GW__STEP_PHASE__STEP_KEYS, MYT_STEP_INDEXES, "", "indexes", table->bytes_estimate + n);
}

static void
add_constraints(struct adder *ad)
{
    const Gw__Table *table = ad->table;
    for (size_t i = 0; i < table->n_foreign_keys; i++) {
        if (!myt_fk_refused(ad->t, table, table->foreign_keys[i])) {
            char *name = myt_fk_object(ad->a, table, i);
            myt_fk_sql(&ad->sql, ad->t, table, table->foreign_keys[i], name);
            add(ad, GW__STEP_PHASE__STEP_CONSTRAINTS, MYT_STEP_FK, name,
                gw_arena_printf(ad->a, MYT_STEP_FK " %s", name), table->bytes_estimate + 1);
        }
    }
    for (size_t i = 0; i < table->n_checks; i++) {
        if (!myt_check_refused(table, table->checks[i])) {
            char *name = myt_check_object(ad->a, table, i);
            myt_check_sql(&ad->sql, ad->t, table, table->checks[i], name);
            add(ad, GW__STEP_PHASE__STEP_CONSTRAINTS, MYT_STEP_CHECK, name,
                gw_arena_printf(ad->a, MYT_STEP_CHECK " %s", name), table->bytes_estimate + 1);
        }
    }
}

int
myt_finish_plan(void *self, struct gw_arena *a, const Gw__Table *table, Gw__Steps *ret, struct gw_err *err)
{
    (void)err;
    Gw__Steps steps;
    gw__steps__init(&steps);
    struct adder ad = {.t = self, .a = a, .table = table, .out = &steps};
    gw_buf_init(&ad.sql, MYT_SQL_MAX);
    add_indexes(&ad);
    add_constraints(&ad);
    const Gw__Column *counts = myt_auto_column(self, table);
    if (counts) {
        add(&ad, GW__STEP_PHASE__STEP_SEQUENCES, MYT_STEP_SEQUENCE, counts->name,
            gw_arena_printf(a, MYT_STEP_SEQUENCE " %s", counts->name), 1);
    }
    myt_put(self, &ad.sql, "ANALYZE TABLE $i.$i", myt_schema(self, table), table->name);
    add(&ad, GW__STEP_PHASE__STEP_SEQUENCES, MYT_STEP_ANALYZE, "", MYT_STEP_ANALYZE, 1);
    gw_buf_fini(&ad.sql);
    *ret = steps;
    return GW_OK;
}
