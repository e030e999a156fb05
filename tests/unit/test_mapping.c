// Proves which tables a rule means.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/mapping.h"

static struct gw_arena a;

static void
patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool match;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"%", "", true},
        {"%", "anything", true},
        {"%%", "x", true},
        {"abc", "abc", true},
        {"abc", "abd", false},
        {"abc", "ab", false},
        {"ab", "abc", false},
        {"ABC", "abc", false},
        {"_", "a", true},
        {"_", "", false},
        {"_", "ab", false},
        {"a_c", "abc", true},
        {"a%c", "ac", true},
        {"a%c", "abbbc", true},
        {"a%c", "abbb", false},
        {"%a", "bca", true},
        {"%a%", "bab", true},
        {"%ab", "aab", true},
        {"%aab", "aaaab", true},
        {"a%b%c", "a1b2b3c", true},
        {"a%b%c", "acb", false},
        {"%_", "", false},
        {"%_", "x", true},
        {"_%_", "x", false},
        {"_%_", "xy", true},
        {"_", "é", true},
        {"_", "€", true},
        {"_", "\xf0\x9f\x90\xa6", true},
        {"__", "é", false},
        {"%_€", "a€", true},
        {"é%", "éa", true},
        {"_", "\xff", true},
        {"%.log", "a.log", true},
        {"a.b", "axb", false},
        {"[a]", "a", false},
        {"\\%", "\\x", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (gw_pattern_match(cases[i].pattern, cases[i].text) != cases[i].match) {
            fail_msg("\"%s\" against \"%s\"", cases[i].pattern, cases[i].text);
        }
    }
}

// The obvious way, to hold the fast one against.
static bool
slow_match(const char *p, const char *t)
{
    if (!*p) {
        return !*t;
    }
    if (*p == '%') {
        return slow_match(p + 1, t) || (*t && slow_match(p, t + 1));
    }
    return *t && (*p == '_' || *p == *t) && slow_match(p + 1, t + 1);
}

static void
patterns_agree_with_the_definition(void **state)
{
    (void)state;
    static const char letters[] = "ab%_";
    for (unsigned i = 0; i < 4096; i++) { // all patterns of six
        char p[7] = {0};
        for (unsigned k = 0; k < 6; k++) {
            p[k] = letters[i >> (2 * k) & 3];
        }
        for (unsigned j = 0; j < 128; j++) {
            char t[8] = {0};
            for (unsigned k = 0; k < 1 + j % 7; k++) {
                t[k] = j >> k & 1 ? 'a' : 'b';
            }
            if (gw_pattern_match(p, t) != slow_match(p, t)) {
                fail_msg("\"%s\" against \"%s\"", p, t);
            }
        }
    }
}

static Gw__SelectionRule *
add_rule(Gw__Task *t, Gw__RuleAction action, const char *schema, const char *table)
{
    Gw__SelectionRule *r = gw_pb_new(&a, Gw__SelectionRule, gw__selection_rule__init);
    r->id = gw_arena_printf(&a, "%zu", t->n_selection + 1);
    r->action = action;
    r->schema = gw_arena_strdup(&a, schema);
    r->table = gw_arena_strdup(&a, table);
    gw_pb_add(&a, t, selection, r);
    return r;
}

static bool
selected(const Gw__Task *t, const char *schema, const char *table)
{
    int32_t order = 0;
    return gw_mapping_selected(t, schema, table, GW__TABLE_KIND__TABLE_PLAIN, &order);
}

static void
selection(void **state)
{
    (void)state;
    Gw__Task *t = gw_pb_new(&a, Gw__Task, gw__task__init);
    assert_false(selected(t, "s", "t"));
    add_rule(t, GW__RULE_ACTION__EXCLUDE, "s", "tmp%"); // whatever its place
    add_rule(t, GW__RULE_ACTION__INCLUDE, "s", "%");
    add_rule(t, GW__RULE_ACTION__EXPLICIT, "x", "100%_");
    assert_true(selected(t, "s", "t"));
    assert_false(selected(t, "s", "tmp1"));
    assert_false(selected(t, "S", "t"));
    assert_true(selected(t, "x", "100%_")); // a name, not a pattern
    assert_false(selected(t, "x", "100ab"));
}

static void
kinds(void **state)
{
    (void)state;
    Gw__Task *t = gw_pb_new(&a, Gw__Task, gw__task__init);
    Gw__SelectionRule *r = add_rule(t, GW__RULE_ACTION__INCLUDE, "s", "%");
    int32_t order = 0;
    static const struct {
        Gw__TableType type;
        bool table, view;
    } cases[] = {{GW__TABLE_TYPE__TYPE_TABLE, true, false},
                 {GW__TABLE_TYPE__TYPE_VIEW, false, true},
                 {GW__TABLE_TYPE__TYPE_ALL, true, true}};
    for (size_t i = 0; i < 3; i++) {
        r->type = cases[i].type;
        assert_int_equal(gw_mapping_selected(t, "s", "t", GW__TABLE_KIND__TABLE_PLAIN, &order), cases[i].table);
        assert_int_equal(gw_mapping_selected(t, "s", "t", GW__TABLE_KIND__TABLE_PARTITIONED, &order), cases[i].table);
        assert_int_equal(gw_mapping_selected(t, "s", "t", GW__TABLE_KIND__TABLE_VIEW, &order), cases[i].view);
    }
}

static void
load_order(void **state)
{
    (void)state;
    Gw__Task *t = gw_pb_new(&a, Gw__Task, gw__task__init);
    add_rule(t, GW__RULE_ACTION__INCLUDE, "s", "%")->load_order = -5;
    int32_t order = 42;
    assert_true(gw_mapping_selected(t, "s", "t", GW__TABLE_KIND__TABLE_PLAIN, &order));
    assert_int_equal(order, -5);
    add_rule(t, GW__RULE_ACTION__INCLUDE, "s", "t")->load_order = 9;
    add_rule(t, GW__RULE_ACTION__INCLUDE, "s", "t%")->load_order = 3;
    assert_true(gw_mapping_selected(t, "s", "t", GW__TABLE_KIND__TABLE_PLAIN, &order));
    assert_int_equal(order, 9);
    order = 42;
    assert_false(gw_mapping_selected(t, "z", "t", GW__TABLE_KIND__TABLE_PLAIN, &order));
    assert_int_equal(order, 42);
}

static void
sqlite_has_no_schemas(void **state)
{
    (void)state;
    Gw__Task *t = gw_pb_new(&a, Gw__Task, gw__task__init);
    Gw__SelectionRule *r = add_rule(t, GW__RULE_ACTION__INCLUDE, "main", "%");
    assert_true(selected(t, "", "t"));
    r->schema = gw_arena_strdup(&a, "%");
    assert_true(selected(t, "", "t"));
    r->schema = gw_arena_strdup(&a, "");
    assert_true(selected(t, "", "t"));
    r->schema = gw_arena_strdup(&a, "public");
    assert_false(selected(t, "", "t"));
    r->action = GW__RULE_ACTION__EXPLICIT;
    r->schema = gw_arena_strdup(&a, "main");
    r->table = gw_arena_strdup(&a, "t");
    assert_true(selected(t, "", "t"));
}

static void
add_settings(Gw__Task *t, const char *id, const char *schema, const char *table)
{
    Gw__TableSettingsRule *r = gw_pb_new(&a, Gw__TableSettingsRule, gw__table_settings_rule__init);
    r->id = gw_arena_strdup(&a, id);
    r->schema = gw_arena_strdup(&a, schema);
    r->table = gw_arena_strdup(&a, table);
    gw_pb_add(&a, t, table_settings, r);
}

static void
the_most_specific_settings(void **state)
{
    (void)state;
    Gw__Task *t = gw_pb_new(&a, Gw__Task, gw__task__init);
    assert_null(gw_mapping_table_settings(t, "s", "t"));
    add_settings(t, "name", "s", "orders");
    add_settings(t, "all", "%", "%");
    add_settings(t, "prefix", "s", "ord%");
    add_settings(t, "longer", "s", "order%");
    add_settings(t, "later", "s", "%order");
    assert_string_equal(gw_mapping_table_settings(t, "s", "orders")->id, "name");
    assert_string_equal(gw_mapping_table_settings(t, "s", "order")->id, "later");
    assert_string_equal(gw_mapping_table_settings(t, "s", "order_lines")->id, "longer");
    assert_string_equal(gw_mapping_table_settings(t, "s", "ordinal")->id, "prefix");
    assert_string_equal(gw_mapping_table_settings(t, "x", "orders")->id, "all");
}

static void
rules_that_match_nothing(void **state)
{
    (void)state;
    Gw__Catalog *cat = gw_pb_new(&a, Gw__Catalog, gw__catalog__init);
    Gw__Table *table = gw_pb_new(&a, Gw__Table, gw__table__init);
    table->schema = gw_arena_strdup(&a, "s");
    table->name = gw_arena_strdup(&a, "t");
    gw_pb_add(&a, cat, tables, table);
    Gw__Task *t = gw_pb_new(&a, Gw__Task, gw__task__init);
    add_rule(t, GW__RULE_ACTION__INCLUDE, "s", "t");         // 1: is there
    add_rule(t, GW__RULE_ACTION__INCLUDE, "s", "my_orders"); // 2: a name in spite of its `_`
    add_rule(t, GW__RULE_ACTION__INCLUDE, "s", "z%");        // 3
    add_rule(t, GW__RULE_ACTION__EXCLUDE, "s", "y");         // 4
    add_rule(t, GW__RULE_ACTION__EXPLICIT, "s", "50%");      // 5
    gw_mapping_unmatched(t, cat, &a);
    assert_int_equal(cat->n_findings, 4);
    static const struct {
        const char *object;
        Gw__Severity severity;
    } want[] = {{"rule 2", GW__SEVERITY__SEVERITY_ERROR},
                {"rule 3", GW__SEVERITY__SEVERITY_WARNING},
                {"rule 4", GW__SEVERITY__SEVERITY_WARNING},
                {"rule 5", GW__SEVERITY__SEVERITY_ERROR}};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(cat->findings[i]->object, want[i].object);
        assert_int_equal(cat->findings[i]->severity, want[i].severity);
        assert_string_equal(cat->findings[i]->table, ""); // of the task, not of a table
    }
    assert_non_null(strstr(cat->findings[0]->message, "table \"s.my_orders\" of selection rule 2"));
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
        cmocka_unit_test(patterns),
        cmocka_unit_test(patterns_agree_with_the_definition),
        cmocka_unit_test(selection),
        cmocka_unit_test(kinds),
        cmocka_unit_test(load_order),
        cmocka_unit_test(sqlite_has_no_schemas),
        cmocka_unit_test(the_most_specific_settings),
        cmocka_unit_test(rules_that_match_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
