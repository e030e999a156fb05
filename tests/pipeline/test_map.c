// Proves how names and columns get from source to target: schema settings, references, LOBs, clashes.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transform/driver.h"

static struct gw_arena a;

static Gw__Task *
make_task(const char *engine, const char *schema, bool lobs)
{
    Gw__Task *t = gw_pb_new(&a, Gw__Task, gw__task__init);
    t->source = gw_pb_new(&a, Gw__Endpoint, gw__endpoint__init);
    t->target = gw_pb_new(&a, Gw__Endpoint, gw__endpoint__init);
    t->target->engine = gw_arena_strdup(&a, engine);
    t->target_schema = gw_arena_strdup(&a, schema);
    t->lob = gw_pb_new(&a, Gw__LobSettings, gw__lob_settings__init);
    t->lob->support_lobs = lobs;
    return t;
}

static Gw__Column *
add_column(Gw__Table *t, const char *name)
{
    Gw__Column *c = gw_pb_new(&a, Gw__Column, gw__column__init);
    c->name = gw_arena_strdup(&a, name);
    c->type = gw_pb_new(&a, Gw__Type, gw__type__init);
    gw_pb_add(&a, t, columns, c);
    return c;
}

static Gw__Table *
add_table(Gw__Catalog *cat, const char *schema, const char *name)
{
    Gw__Table *t = gw_pb_new(&a, Gw__Table, gw__table__init);
    t->schema = t->source_schema = gw_arena_strdup(&a, schema);
    t->name = t->source_name = gw_arena_strdup(&a, name);
    t->engine = gw_arena_strdup(&a, "mysql");
    gw_pb_add(&a, cat, tables, t);
    add_column(t, "id");
    return t;
}

static Gw__Catalog *
map(const Gw__Task *task, const Gw__Catalog *src)
{
    Gw__Catalog *out = NULL;
    struct gw_err err = {0};
    assert_int_equal(gw_map_catalog(task, src, &a, &out, &err), GW_OK);
    return out;
}

static size_t
errors(const Gw__Catalog *cat)
{
    size_t n = 0;
    for (size_t i = 0; i < cat->n_findings; i++) {
        n += cat->findings[i]->severity == GW__SEVERITY__SEVERITY_ERROR;
    }
    return n;
}

static void
schema_and_references(void **state)
{
    (void)state;
    Gw__Catalog *src = gw_pb_new(&a, Gw__Catalog, gw__catalog__init);
    add_table(src, "shop", "customer");
    Gw__Table *order = add_table(src, "shop", "order");
    Gw__ForeignKey *fk = gw_pb_new(&a, Gw__ForeignKey, gw__foreign_key__init);
    fk->ref_schema = gw_arena_strdup(&a, "shop");
    fk->ref_table = gw_arena_strdup(&a, "customer");
    gw_pb_add(&a, order, foreign_keys, fk);
    Gw__Catalog *out = map(make_task("postgresql", "copy", true), src);
    assert_string_equal(out->tables[1]->schema, "copy");
    assert_string_equal(out->tables[1]->source_schema, "shop");
    assert_string_equal(out->tables[1]->foreign_keys[0]->ref_schema, "copy");
    assert_string_equal(src->tables[1]->foreign_keys[0]->ref_schema, "shop"); // the source's stays
}

static void
one_target_for_two_is_an_error(void **state)
{
    (void)state;
    Gw__Catalog *src = gw_pb_new(&a, Gw__Catalog, gw__catalog__init);
    add_table(src, "a", "t");
    add_table(src, "b", "t");
    assert_int_equal(errors(map(make_task("postgresql", "", true), src)), 0);
    assert_int_equal(errors(map(make_task("postgresql", "one", true), src)), 1);
}

static void
lobs_left_out(void **state)
{
    (void)state;
    Gw__Catalog *src = gw_pb_new(&a, Gw__Catalog, gw__catalog__init);
    Gw__Table *t = add_table(src, "s", "t");
    add_column(t, "doc")->is_lob = true;
    add_column(t, "last");
    Gw__Index *ix = gw_pb_new(&a, Gw__Index, gw__index__init);
    Gw__IndexPart *part = gw_pb_new(&a, Gw__IndexPart, gw__index_part__init);
    part->column = gw_arena_strdup(&a, "doc");
    gw_pb_add(&a, ix, parts, part);
    gw_pb_add(&a, t, indexes, ix);
    Gw__Catalog *out = map(make_task("mysql", "", false), src);
    assert_int_equal(out->tables[0]->n_columns, 2);
    assert_string_equal(out->tables[0]->source_columns[1], "last");
    assert_int_equal(out->tables[0]->n_indexes, 0);
    assert_int_equal(out->n_findings, 2); // the column and its index are both told
}

static void
generated_columns(void **state)
{
    (void)state;
    Gw__Catalog *src = gw_pb_new(&a, Gw__Catalog, gw__catalog__init);
    Gw__Table *t = add_table(src, "s", "t");
    add_column(t, "twice")->generated = gw_arena_strdup(&a, "id * 2");
    Gw__Catalog *same = map(make_task("mysql", "", true), src);
    assert_true(same->tables[0]->columns[1]->left_out);
    Gw__Catalog *other = map(make_task("postgresql", "", true), src);
    assert_false(other->tables[0]->columns[1]->left_out);
    assert_string_equal(other->tables[0]->columns[1]->generated, "");
    assert_int_equal(other->n_findings, 1);
}

static int
setup(void **state)
{
    (void)state;
    gw_arena_init(&a);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    gw_arena_fini(&a);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schema_and_references),
        cmocka_unit_test(one_target_for_two_is_an_error),
        cmocka_unit_test(lobs_left_out),
        cmocka_unit_test(generated_columns),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
