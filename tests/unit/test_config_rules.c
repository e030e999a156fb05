// Proves that table mappings are obeyed or refused by the rule's id, never half understood.
#include "tests/unit/task_text.h"

#define LOCATOR          "\"object-locator\": {\"schema-name\": \"s\", \"table-name\": \"t\"}"
#define HEAD(type, id)   "\"rule-type\": \"" type "\", \"rule-id\": \"" id "\""
#define SELECT(id, more) "{" HEAD("selection", id) ", \"rule-action\": \"include\", " LOCATOR more "}"
#define TABLE(more)      TASK_OF_RULES(SELECT("1", "") ", {" HEAD("table-settings", "2") ", " LOCATOR more "}")
#define PARALLEL(more)   TABLE(", \"parallel-load\": {" more "}")
#define LOB(more)        TABLE(", \"lob-settings\": {" more "}")
#define AT               "table-mappings.rules[1].parallel-load: "

static void
a_selection_rule(void **state)
{
    (void)state;
    const Gw__SelectionRule *r =
        accepted(TASK_OF_RULES(
                     "{\"RULE-TYPE\": \"Selection\", \"Rule-Id\": 12, \"rule-name\": \"n\", \"rule-action\": "
                     "\"EXPLICIT\", \"filters\": [],"
                     " \"load-order\": \"-3\", \"object-locator\": {\"Schema-Name\": \"s%\", \"table-name\": \"t_\","
                     " \"table-type\": \"all\"}}"))
            ->selection[0];
    assert_string_equal(r->id, "12");
    assert_string_equal(r->name, "n");
    assert_string_equal(r->schema, "s%");
    assert_string_equal(r->table, "t_");
    assert_int_equal(r->action, GW__RULE_ACTION__EXPLICIT);
    assert_int_equal(r->type, GW__TABLE_TYPE__TYPE_ALL);
    assert_int_equal(r->load_order, -3);
    r = accepted(TASK_OF_RULES(SELECT("1", "")))->selection[0];
    assert_int_equal(r->type, GW__TABLE_TYPE__TYPE_TABLE);
    assert_int_equal(r->action, GW__RULE_ACTION__INCLUDE);
    assert_string_equal(r->name, "");
}

static void
malformed_rules(void **state)
{
    (void)state;
    refused(TASK_OF_RULES("5"), "table-mappings.rules[0]: a rule is an object");
    refused(TASK_OF_RULES("{\"rule-id\": \"1\"}"), "rules[0]: key \"rule-type\" is missing");
    refused(TASK_OF_RULES("{\"rule-type\": \"selection\"}"), "rules[0]: key \"rule-id\" is missing");
    refused(TASK_OF_RULES("{" HEAD("selection", "1") "}"), "is missing");
    refused(TASK_OF_RULES("{" HEAD("selection", "1") ", " LOCATOR "}"), "key \"rule-action\" is missing");
    refused(TASK_OF_RULES("{" HEAD("selection", "1") ", \"rule-action\": \"include\"}"),
            "key \"object-locator\" is missing");
    refused(TASK_OF_RULES("{" HEAD("selection", "1") ", \"rule-action\": \"include\", \"object-locator\":"
                                                     " {\"schema-name\": \"s\"}}"),
            "rules[0].object-locator: key \"table-name\" is missing");
    refused(TASK_OF_RULES("{" HEAD("selection", "1") ", \"rule-action\": \"take\", " LOCATOR "}"),
            "rules[0].rule-action: \"take\" is not one of: include, exclude, explicit");
    refused(TASK_OF_RULES("{" HEAD("select", "1") "}"),
            "rule-type: \"select\" is not one of: selection, table-settings");
    refused(TASK_OF_RULES(SELECT("1", "") "," SELECT("1", "")), "rules[1]: rule-id 1 is there twice");
    refused(TASK_OF_RULES(SELECT("1", ", \"load-order\": 3000000000")), "load-order: 3000000000 is out of range");
    refused_hint(TASK_OF_RULES(SELECT("1", ", \"load-oder\": 3")), "rules[0]: unknown key \"load-oder\"",
                 "\"load-order\"");
    refused("{\"task\": \"t\", " SOURCE ", " TARGET ", \"table-mappings\": {}}",
            "table-mappings: key \"rules\" is missing");
    refused("{\"task\": \"t\", " SOURCE ", " TARGET ", \"table-mappings\": {\"rules\": {}}}",
            "a list of at most 10000");
    refused("{\"task\": \"t\", " SOURCE ", " TARGET ", \"table-mappings\": []}", "table-mappings: an object is needed");
}

static void
what_cannot_be_done_is_refused_by_id(void **state)
{
    (void)state;
    static const char *const types[] = {"transformation", "object-mapping", "validation"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const char *text = gw_arena_printf(
            &a,
            "{\"task\": \"t\", " SOURCE ", " TARGET ", \"table-mappings\": {\"rules\": [%s, {\"rule-type\": \"%s\","
            " \"rule-id\": \"77\", \"rule-action\": \"rename\", \"rule-target\": \"table\"}]}}",
            SELECT("1", ""), types[i]);
        const char *want = gw_arena_printf(&a, "rules[1]: rule 77: rule-type \"%s\" is not supported yet", types[i]);
        refused_hint(text, want, "take the rule out");
    }
    refused(TASK_OF_RULES(SELECT("5", ", \"filters\": [{\"filter-type\": \"source\"}]")),
            "rules[0].filters: rule 5 has filters, which are not supported yet");
    refused(TASK_OF_RULES(SELECT("5", ", \"filters\": {}")), "rule 5 has filters");
}

static void
rules_against_each_other(void **state)
{
    (void)state;
#define EXCLUDE(id) "{" HEAD("selection", id) ", \"rule-action\": \"exclude\", " LOCATOR "}"
    refused(TASK_OF_RULES(SELECT("1", "") "," EXCLUDE("2")),
            "table-mappings: rules 1 and 2 contradict each other: one includes and one excludes \"s.t\"");
    refused(TASK_OF_RULES(EXCLUDE("8") "," SELECT("9", "")), "rules 8 and 9 contradict");
    refused(TASK_OF_RULES(EXCLUDE("1")), "no selection rule includes a table");
    refused(TASK_OF_RULES(""), "no selection rule includes a table");
    // Another kind of object of the same name is another object; a repeated include is harmless.
    accepted(TASK_OF_RULES(SELECT("1", "") ", {" HEAD(
        "selection", "2") ", \"rule-action\": \"exclude\", \"object-locator\":"
                          " {\"schema-name\": \"s\", \"table-name\": \"t\", \"table-type\": \"view\"}}"));
    accepted(TASK_OF_RULES(SELECT("1", "") "," SELECT("2", "")));
}

static void
parallel_load(void **state)
{
    (void)state;
    const Gw__TableSettingsRule *r =
        accepted(
            PARALLEL("\"type\": \"ranges\", \"columns\": [\"a\", \"b\"], \"boundaries\": [[1, \"x\"], [0.1, 2.50],],"))
            ->table_settings[0];
    assert_string_equal(r->id, "2");
    assert_int_equal(r->parallel, GW__PARALLEL_TYPE__RANGES);
    assert_int_equal(r->n_columns, 2);
    assert_int_equal(r->n_boundaries, 2);
    assert_string_equal(r->boundaries[0]->values[0], "1");
    assert_string_equal(r->boundaries[0]->values[1], "x");
    assert_string_equal(r->boundaries[1]->values[0], "0.1");
    assert_string_equal(r->boundaries[1]->values[1], "2.5");
    r = accepted(
            PARALLEL("\"type\": \"Partitions-List\", \"partitions\": [\"p1\", \"p2\", \"p3\", \"p4\", \"p5\", \"p6\"]"))
            ->table_settings[0];
    assert_int_equal(r->parallel, GW__PARALLEL_TYPE__PARTITIONS_LIST);
    assert_int_equal(r->n_partitions, 6);
    assert_string_equal(r->partitions[5], "p6");
    r = accepted(PARALLEL("\"type\": \"none\""))->table_settings[0];
    assert_int_equal(r->parallel, GW__PARALLEL_TYPE__PARALLEL_NONE);
    r = accepted(PARALLEL("\"type\": \"partitions-auto\", \"number-of-partitions\": 4"))->table_settings[0];
    assert_int_equal(r->number_of_partitions, 4);
}

static void
parallel_load_refused(void **state)
{
    (void)state;
    refused(PARALLEL(""), AT "key \"type\" is missing");
    refused(PARALLEL("\"type\": \"ranges\""), AT "ranges needs \"columns\" and \"boundaries\"");
    refused(PARALLEL("\"type\": \"ranges\", \"columns\": [\"a\"]"), "ranges needs");
    refused(PARALLEL("\"type\": \"partitions-list\""), AT "partitions-list needs \"partitions\"");
    refused(PARALLEL("\"type\": \"none\", \"columns\": [\"a\"]"), "belong to type ranges");
    refused(PARALLEL("\"type\": \"ranges\", \"columns\": [\"a\"], \"boundaries\": [[1]], \"partitions\": [\"p\"]"),
            "belongs to type partitions-list");
    refused(PARALLEL("\"type\": \"ranges\", \"columns\": [\"a\"], \"boundaries\": [[1], [1, 2]]"),
            "boundary 1 has 2 values for 1 columns");
    refused(PARALLEL("\"type\": \"ranges\", \"columns\": \"a\", \"boundaries\": [[1]]"),
            "columns: a list is needed here");
    refused(PARALLEL("\"type\": \"ranges\", \"columns\": [\"a\"], \"boundaries\": [1]"),
            "boundaries[0]: a list is needed here");
    refused(PARALLEL("\"type\": \"ranges\", \"columns\": [\"a\"], \"boundaries\": 1"),
            "a list of lists is needed here");
    refused(PARALLEL("\"type\": \"ranges\", \"columns\": [\"a\"], \"boundaries\": [[null]]"),
            "boundaries[0][0]: a text is needed here");
    refused(PARALLEL("\"type\": \"partitions-auto\", \"number-of-partitions\": 100001"), "out of range");
}

static void
lobs(void **state)
{
    (void)state;
    const Gw__TableSettingsRule *r =
        accepted(LOB("\"mode\": \"limited\", \"bulk-max-size\": \"64\""))->table_settings[0];
    assert_int_equal(r->lob_mode, GW__LOB_MODE__LOB_LIMITED);
    assert_int_equal(r->lob_max_bytes, 65536);
    assert_int_equal(accepted(LOB("\"mode\": \"none\""))->table_settings[0]->lob_mode, GW__LOB_MODE__LOB_NONE);
    assert_int_equal(accepted(LOB("\"mode\": \"unlimited\""))->table_settings[0]->lob_mode,
                     GW__LOB_MODE__LOB_UNLIMITED);
    refused(LOB("\"mode\": \"limited\""), "lob-settings: mode limited needs \"bulk-max-size\" (KB)");
    refused(LOB("\"mode\": \"short\""), "\"short\" is not one of: default, limited, unlimited, none");
    // Whatever decides how much of a value arrives is in the hash.
    assert_string_not_equal(accepted(LOB("\"mode\": \"none\""))->mapping_hash,
                            accepted(LOB("\"mode\": \"unlimited\""))->mapping_hash);
    assert_string_not_equal(accepted(LOB("\"mode\": \"limited\", \"bulk-max-size\": 1"))->mapping_hash,
                            accepted(LOB("\"mode\": \"limited\", \"bulk-max-size\": 2"))->mapping_hash);
}

static void
many_rules(void **state)
{
    (void)state;
    struct gw_buf b;
    gw_buf_init(&b, 16 << 20);
    gw_buf_puts(&b, "{\"task\": \"t\", " SOURCE ", " TARGET ", \"table-mappings\": {\"rules\": [");
    for (int i = 0; i < 1000; i++) {
        gw_buf_printf(
            &b,
            "{\"rule-type\": \"selection\", \"rule-id\": %d, \"rule-action\": \"include\", \"object-locator\":"
            " {\"schema-name\": \"s\", \"table-name\": \"t%d\"}},",
            i, i);
    }
    gw_buf_puts(&b, "]}}");
    const Gw__Task *t = accepted(b.data);
    assert_int_equal(t->n_selection, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_string_equal(t->selection[i]->table, gw_arena_printf(&a, "t%d", i));
    }
    gw_buf_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_selection_rule),
        cmocka_unit_test(malformed_rules),
        cmocka_unit_test(what_cannot_be_done_is_refused_by_id),
        cmocka_unit_test(rules_against_each_other),
        cmocka_unit_test(parallel_load),
        cmocka_unit_test(parallel_load_refused),
        cmocka_unit_test(lobs),
        cmocka_unit_test(many_rules),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
