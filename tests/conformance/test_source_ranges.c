// Every source engine that can be told to read a table by ranges: with every combination of NULL and of values around
// the boundaries, each row is in exactly one range, and a row with a NULL in a range's column in the last.
#include <stdio.h>
#include <string.h>

#include "conform.h"

enum { VALUES = 6, KEYS = 3, ROWS = VALUES * VALUES * VALUES };
// Of columns small, label and born; NULL first.
static const char *const values[KEYS][VALUES] = {
    {"\\N", "-1", "1", "3", "5", "9"},
    {"\\N", "a", "b", "k", "m", "z"},
    {"\\N", "1999-12-31", "2000-01-01", "2005-05-05", "2010-01-01", "2020-02-02"},
};
static const char *const names[KEYS] = {"small", "label", "born"};

static Gw__Table *
make_table(struct conform *c)
{
    Gw__Catalog *cat = conform_memory_catalog(c, "memory://ranges?rows=0");
    Gw__Table *t = cat->tables[0];
    Gw__Column *picked[KEYS] = {t->columns[1], t->columns[8], t->columns[5]}; // small, label, born
    memcpy(t->columns + 1, picked, sizeof picked);
    picked[1]->type->kind = GW__KIND__KIND_VARCHAR; // text of any length has no ranges everywhere
    picked[1]->type->length = 20;
    t->n_columns = t->n_source_columns = 1 + KEYS;
    t->n_indexes = 0;
    t->name = gw_arena_strdup(&c->arena, "ranges");
    conform_register(c, conform_state(c, cat, 1));
    conform_ok(c, c->target->prepare(c->a, t, 1, &c->err));
    struct gw_buf text;
    gw_buf_init(&text, 1 << 20);
    for (unsigned i = 0; i < ROWS; i++) {
        gw_buf_printf(&text, "%u\t%s\t%s\t%s\n", i, values[0][i % VALUES], values[1][i / VALUES % VALUES],
                      values[2][i / VALUES / VALUES]);
    }
    conform_load(c, c->a, t, 0, text.data, text.len, ROWS);
    gw_buf_fini(&text);
    conform_close_target(c, &c->a); // a session that stays may hold a lock
    conform_close_target(c, &c->b);
    return t;
}

static const Gw__Table *
describe(struct conform *c, void *self, const Gw__Table *made)
{
    Gw__Catalog *cat = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    conform_ok(c, c->source->list(self, &c->arena, cat, &c->err));
    Gw__Table *found = NULL;
    for (size_t i = 0; i < cat->n_tables; i++) {
        bool schema = !(c->target->caps & GW_TARGET_SCHEMAS) || strcmp(cat->tables[i]->schema, made->schema) == 0;
        found = schema && strcmp(cat->tables[i]->name, made->name) == 0 ? cat->tables[i] : found;
    }
    assert_non_null(found);
    cat->tables[0] = found;
    cat->n_tables = 1;
    conform_ok(c, c->source->describe(self, &c->arena, cat, &c->err));
    found->id = 1;
    return found;
}

// `keys`: bits of the columns. Boundaries at the third and the fifth value of each, in every combination.
static Gw__TableSettingsRule *
make_rule(struct conform *c, unsigned keys)
{
    Gw__TableSettingsRule *rule = gw_pb_new(&c->arena, Gw__TableSettingsRule, gw__table_settings_rule__init);
    rule->id = gw_arena_strdup(&c->arena, "7");
    rule->parallel = GW__PARALLEL_TYPE__RANGES;
    size_t n = 0, of[KEYS];
    for (size_t i = 0; i < KEYS; i++) {
        if (keys & 1u << i) {
            of[n++] = i;
            gw_pb_add(&c->arena, rule, columns, gw_arena_strdup(&c->arena, names[i]));
        }
    }
    for (unsigned combination = 0; combination < 1u << n; combination++) {
        Gw__Boundary *b = gw_pb_new(&c->arena, Gw__Boundary, gw__boundary__init);
        for (size_t i = 0; i < n; i++) {
            bool high = combination & 1u << (n - 1 - i);
            gw_pb_add(&c->arena, b, values, gw_arena_strdup(&c->arena, values[of[i]][high ? 4 : 2]));
        }
        gw_pb_add(&c->arena, rule, boundaries, b);
    }
    return rule;
}

// The number of the range that the row belongs to. All values here sort as their bytes do, but for -1.
static size_t
range_of(const Gw__TableSettingsRule *rule, unsigned keys, unsigned id)
{
    unsigned at[KEYS] = {id % VALUES, id / VALUES % VALUES, id / VALUES / VALUES};
    for (size_t i = 0; i < KEYS; i++) {
        if (keys & 1u << i && at[i] == 0) {
            return rule->n_boundaries; // a NULL: the last
        }
    }
    for (size_t r = 0; r < rule->n_boundaries; r++) {
        int order = 0;
        size_t n = 0;
        for (size_t i = 0; i < KEYS; i++) {
            if (keys & 1u << i) {
                unsigned bound = strcmp(rule->boundaries[r]->values[n++], values[i][2]) == 0 ? 2 : 4;
                order = order ? order : at[i] < bound ? -1 : at[i] > bound;
            }
        }
        if (order <= 0) {
            return r;
        }
    }
    return rule->n_boundaries;
}

static void
check_rule(struct conform *c, void *self, const Gw__Table *t, unsigned keys)
{
    Gw__TableSettingsRule *rule = make_rule(c, keys);
    Gw__TablePlan *plan = gw_pb_new(&c->arena, Gw__TablePlan, gw__table_plan__init);
    conform_ok(c, c->source->plan(self, &c->arena, t, rule, 1 << 20, 4, plan, &c->err));
    assert_int_equal(plan->n_chunks, rule->n_boundaries + 1);
    unsigned seen[ROWS] = {0};
    for (size_t k = 0; k < plan->n_chunks; k++) {
        Gw__TablePlan one = *plan;
        Gw__Chunk *chunk = plan->chunks[k];
        struct rows rows = {0};
        one.chunks = &chunk;
        one.n_chunks = 1;
        conform_read_chunks(c, c->source, self, t, &one, 1 << 20, UINT32_MAX, &rows, NULL);
        for (size_t i = 0; i < rows.n; i++) {
            unsigned id = (unsigned)strtoul(rows.items[i], NULL, 10);
            assert_true(id < ROWS);
            seen[id]++;
            size_t want = range_of(rule, keys, id);
            if (want != k) {
                fail_msg("columns %x: row %s is in range %zu, not %zu", keys, rows.items[i], k, want);
            }
        }
        rows_free(&rows);
    }
    for (unsigned id = 0; id < ROWS; id++) {
        if (seen[id] != 1) {
            fail_msg("columns %x: row %u is in %u ranges", keys, id, seen[id]);
        }
    }
}

static void
nulls_are_in_the_last_range(void **state)
{
    struct conform *c = conform_start(state);
    if (strcmp(c->engine, "memory") == 0) { // has no such tables
        conform_end(c);
        skip();
    }
    const Gw__Table *made = make_table(c);
    void *self = conform_open_source(c);
    const Gw__Table *t = describe(c, self, made);
    char *token = NULL, *handle = NULL;
    conform_ok(c, c->source->snapshot_begin(self, &c->arena, "", &token, &handle, &c->err));
    for (unsigned keys = 1; keys < 1u << KEYS; keys++) {
        check_rule(c, self, t, keys);
    }
    conform_close_source(c, &self);
    conform_end(c);
}

static const struct conform_test tests[] = {
    {"ranges: rows with NULL are in the last", nulls_are_in_the_last_range},
};

int
main(void)
{
    const char *engines[64];
    size_t n = 0;
    for (const struct gw_source_ops *const *e = gw_sources; *e && n < 64; e++) {
        engines[n++] = (*e)->name;
    }
    return conform_run("source ranges", tests, sizeof tests / sizeof *tests, engines, n);
}
