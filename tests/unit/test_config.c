// Proves that a task file is either understood whole, with every default filled in, or refused at the right place.
#include <unistd.h>

#include "tests/unit/task_text.h"

static void
defaults(void **state)
{
    (void)state;
    const Gw__Task *t = accepted(TASK_WITH(""));
    assert_string_equal(t->name, "t");
    assert_string_equal(t->migration_type, "full-load");
    assert_string_equal(t->control_schema, "godwit");
    assert_string_equal(t->target_schema, "");
    assert_string_equal(t->source->engine, "sqlite");
    assert_string_equal(t->source->database, "a.db");
    assert_int_equal(t->load->prep_mode, GW__PREP_MODE__DO_NOTHING);
    assert_int_equal(t->load->create_pk_after_load, GW__TRI__UNSET);
    assert_int_equal(t->load->max_subtasks, 8);
    assert_int_equal(t->load->commit_rate, 10000);
    assert_true(t->lob->support_lobs);
    assert_int_equal(t->lob->max_bytes, 0); // nothing is cut unless the file says so
    assert_int_equal(t->errors->data_error, GW__ERROR_POLICY__LOG_ERROR);
    assert_int_equal(t->errors->data_truncation, GW__ERROR_POLICY__LOG_ERROR);
    assert_int_equal(t->errors->data_escalation_count, 0);
    assert_int_equal(t->errors->data_escalation, GW__ERROR_POLICY__SUSPEND_TABLE);
    assert_int_equal(t->errors->table_error, GW__ERROR_POLICY__SUSPEND_TABLE);
    assert_int_equal(t->errors->table_escalation, GW__ERROR_POLICY__STOP_TASK);
    assert_int_equal(t->errors->recoverable_count, -1);
    assert_int_equal(t->errors->recoverable_interval_s, 5);
    assert_true(t->errors->throttling);
    assert_int_equal(t->errors->throttling_max_s, 1800);
    assert_false(t->errors->stop_after_throttling_max);
    assert_true(t->errors->fail_on_no_tables);
    assert_int_equal(t->chunk_bytes, 32 << 20);
    assert_int_equal(t->window_bytes, 4 << 20);
    assert_int_equal(t->batch_bytes, 256 << 10);
    assert_int_equal(t->n_warnings, 0);
    assert_int_equal(strlen(t->mapping_hash), 16);
}

static void
malformed_json_is_placed(void **state)
{
    (void)state;
    refused("", "t.json: line 1, column 0: ");
    refused("{\n  \"task\" \"t\"\n}", "t.json: line 2, column 12: ':' expected");
    refused("{\n  \"task\": \"t\"\n  \"source\": {}\n}", "t.json: line 3, column 10: '}' expected");
    refused("{\"task\": \"t", "t.json: line 1, column ");
    refused("[1,,]", "t.json: line 1, column ");
    refused("[,]", "unexpected token");
    refused("{,}", "string or '}' expected");
    refused("{\"a\":,}", "unexpected token");
    refused("{\"task\": \"\xff\"}", "unable to decode byte 0xff");
    refused("{\"task\": \"t\"} x", "end of file expected");
    refused("{\"task\": \"t\", \"task\": \"u\"}", "duplicate object key");
    refused("{\"task\": 99999999999999999999}", "too big integer");
    refused("[]", "an object is needed here");
}

static void
no_text_of_a_broken_file_is_shown(void **state)
{
    (void)state;
    static const char *const files[] = {
        "{\"source\": {\"url\" \"postgresql://u:hunter2@h/d\"}}",
        "{\"source\": {\"password\": \"a\" \"hunter2\"}}",
        "{\"hunter2\"}",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        Gw__Task *t = NULL;
        struct gw_err err = {0};
        assert_int_equal(gw_config_parse("f", files[i], strlen(files[i]), &a, &t, &err), GW_CONFIG);
        assert_null(strstr(err.message, "hunter2"));
        assert_non_null(strstr(err.message, "line 1, column"));
    }
}

static void
written_by_hand(void **state)
{
    (void)state;
    // Trailing commas, also over lines and behind texts that hold brackets; keys in any case.
    accepted(TASK_WITH(",\n"));
    accepted("{\"Task\": \"t\", \"SOURCE\": {\"URL\": \"sqlite:a,]\\\"}.db\", \n}, " TARGET ","
             " \"Table-Mappings\": {\"rules\": [" ONE_RULE " , \t\r\n ],},}");
    accepted(TASK_WITH(", \"settings\": {}"));
    // Names may be numbers, and numbers texts.
    assert_string_equal(accepted("{\"task\": 7, " SOURCE ", " TARGET ", " MAPPINGS "}")->name, "7");
    assert_int_equal(accepted(TASK_WITH(", \"settings\": {\"chunk-size-mb\": \"3\"}"))->chunk_bytes, 3 << 20);
}

static void
unknown_and_missing_keys(void **state)
{
    (void)state;
    refused_hint(TASK_WITH(", \"task-setings\": {}"), "t.json: unknown key \"task-setings\"",
                 "did you mean \"task-settings\"?");
    refused_hint(TASK_WITH(", \"settings\": {\"window_mb\": 1}"), "settings: unknown key \"window_mb\"",
                 "did you mean \"window-mb\"?");
    // Nothing is near: no guess.
    Gw__Task *t = NULL;
    struct gw_err err = {0};
    const char *text = TASK_WITH(", \"0123456789\": 1");
    assert_int_equal(gw_config_parse("f", text, strlen(text), &a, &t, &err), GW_CONFIG);
    assert_string_equal(err.hint, "");
    refused(TASK_WITH(", \"TASK\": \"u\""), "key \"task\" is there twice");
    refused("{" SOURCE ", " TARGET ", " MAPPINGS "}", "key \"task\" is missing");
    refused("{\"task\": \"t\", " TARGET ", " MAPPINGS "}", "key \"source\" is missing");
    refused("{\"task\": \"t\", " SOURCE ", " MAPPINGS "}", "key \"target\" is missing");
    refused("{\"task\": \"t\", " SOURCE ", " TARGET "}", "key \"table-mappings\" is missing");
    refused("{\"task\": \"t\", \"source\": {}, " TARGET ", " MAPPINGS "}", "source: key \"url\" is missing");
    refused("{\"task\": \"t\", \"source\": \"x\", " TARGET ", " MAPPINGS "}", "source: an object is needed here");
}

static void
names_and_types(void **state)
{
    (void)state;
    refused("{\"task\": \"\"}", "task: a task's name is 1 to 64");
    refused("{\"task\": \"a b\"}", "task: a task's name is 1 to 64");
    refused("{\"task\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", "1 to 64");
    refused("{\"task\": null}", "task: a text is needed here");
    refused("{\"task\": \"a\\u0000b\"}", "NUL");
    accepted(TASK_WITH(", \"migration-type\": \"Full-Load\""));
    accepted(TASK_WITH(", \"migration-type\": \"full-load-and-cdc\""));
    accepted(TASK_WITH(", \"migration-type\": \"CDC\", \"cdc-start-position\": \"0/16B3748\""));
    refused(TASK_WITH(", \"cdc-start-position\": \"0/16B3748\""),
            "cdc-start-position goes with migration-type \"cdc\"");
    refused(TASK_WITH(", \"migration-type\": \"copy\""), "\"copy\" is not one of: full-load, full-load-and-cdc, cdc");
}

static const char *
with_source(const char *source)
{
    return gw_arena_printf(&a, "{\"task\": \"t\", \"source\": {%s}, " TARGET ", %s}", source, MAPPINGS);
}

static void
passwords_are_refused_and_not_shown(void **state)
{
    (void)state;
    static const char *const sources[] = {
        "\"url\": \"postgresql://u:hunter2@h/d\"",
        "\"url\": \"postgresql://u@h/d?password=hunter2\"",
        "\"url\": \"postgresql://u@h/d?pass%77ord=hunter2\"",
        "\"url\": \"postgresql://u@h/d?sslpassword=hunter2\"",
        "\"url\": \"mysql://u:1/hunter2@h/d\"",
        "\"url\": \"mysql://u:hunter2/x@h/d\"",
        "\"url\": \"mysql://u@h/d\", \"password\": \"hunter2\"",
        "\"url\": \"mysql://u@h/d\", \"settings\": {\"Password\": \"hunter2\"}",
    };
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        Gw__Task *t = NULL;
        struct gw_err err = {0};
        const char *text = with_source(sources[i]);
        if (gw_config_parse("t.json", text, strlen(text), &a, &t, &err) != GW_CONFIG) {
            fail_msg("accepted: %s", sources[i]);
        }
        assert_null(strstr(err.message, "hunter2"));
        assert_null(strstr(err.hint, "hunter2"));
        assert_null(strstr(err.detail, "hunter2"));
        assert_non_null(strstr(err.message, "source."));
    }
    refused_hint(with_source(sources[0]), "source.url: url holds a password", "password-env");
    refused_hint(with_source(sources[6]), "source.password: a task file holds no password", "password-file");
}

static void
endpoints(void **state)
{
    (void)state;
    const Gw__Task *t =
        accepted(with_source("\"url\": \"mysql://u@h:3307/d\", \"password-env\": \"P\", \"settings\":"
                             " {\"MaxRate\": 0.1, \"On\": true, \"Off\": false, \"N\": 5, \"s\": \"x\"}"));
    assert_string_equal(t->source->engine, "mysql");
    assert_int_equal(t->source->port, 3307);
    assert_string_equal(t->source->password_env, "P");
    assert_int_equal(t->source->n_settings, 5);
    static const char *const want[][2] = {{"maxrate", "0.1"}, {"on", "true"}, {"off", "false"}, {"n", "5"}, {"s", "x"}};
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(t->source->settings[i]->key, want[i][0]);
        assert_string_equal(t->source->settings[i]->value, want[i][1]);
    }
    refused(with_source("\"url\": \"mysql://h/d\", \"password-env\": \"P\", \"password-file\": \"f\""),
            "source: password-env and password-file contradict each other");
    refused(with_source("\"url\": \"mysql://h/d\", \"settings\": {\"x\": []}"),
            "source.settings.x: a text is needed here");
    refused(with_source("\"url\": \"mysql://h/d\", \"settings\": 5"), "source.settings: an object is needed here");
    refused(with_source("\"url\": 5"), "source.url: url names no known engine");
    refused(with_source("\"url\": \"oracle://h/d\""), "source.url: url names no known engine");
    refused(with_source("\"url\": \"sqlite:b.db\""), "source and target are the same file, \"b.db\"");
    refused(
        "{\"task\": \"t\", \"source\": {\"url\": \"mysql://h/d\"}, \"target\": {\"url\": \"mysql://h/d\"}, " MAPPINGS
        "}",
        "source and target are the same database, mysql://h/d");
}

static void
own_settings(void **state)
{
    (void)state;
    const Gw__Task *t =
        accepted(TASK_WITH(", \"settings\": {\"chunk-size-kb\": 8, \"window-mb\": 64, \"batch-kb\": 4096}"));
    assert_int_equal(t->chunk_bytes, 8 << 10);
    assert_int_equal(t->window_bytes, 64 << 20);
    assert_int_equal(t->batch_bytes, 4 << 20);
    assert_true(accepted(TASK_WITH(", \"settings\": {\"chunk-size-mb\": 16384}"))->chunk_bytes == UINT64_C(16) << 30);
    refused(TASK_WITH(", \"settings\": {\"chunk-size-mb\": 0}"),
            "settings.chunk-size-mb: 0 is out of range: 1 to 16384");
    refused(TASK_WITH(", \"settings\": {\"chunk-size-mb\": 16385}"), "out of range");
    refused(TASK_WITH(", \"settings\": {\"window-mb\": 1.5}"), "settings.window-mb: a whole number is needed here");
    refused(TASK_WITH(", \"settings\": {\"window-mb\": \"2x\"}"), "a whole number is needed here");
    refused(TASK_WITH(", \"settings\": {\"window-mb\": \"\"}"), "a whole number is needed here");
    refused(TASK_WITH(", \"settings\": {\"window-mb\": \"99999999999999999999\"}"), "a whole number is needed here");
    refused(TASK_WITH(", \"settings\": {\"window-mb\": 1, \"batch-kb\": 2048}"), "batch-kb is larger than window-mb");
}

static void
json_in_a_text(void **state)
{
    (void)state;
    const Gw__Task *t = accepted("{\"task\": \"t\", " SOURCE ", " TARGET ", \"table-mappings\": \"{\\\"rules\\\": ["
                                 "{\\\"rule-type\\\": \\\"selection\\\", \\\"rule-id\\\": 1, \\\"rule-action\\\":"
                                 " \\\"include\\\", \\\"object-locator\\\": {\\\"schema-name\\\": \\\"s\\\","
                                 " \\\"table-name\\\": \\\"t\\\"}},]}\", \"task-settings\":"
                                 " \"{\\\"TargetMetadata\\\": {\\\"TargetSchema\\\": \\\"x\\\"}}\"}");
    assert_string_equal(t->selection[0]->schema, "s");
    assert_string_equal(t->target_schema, "x");
    refused(TASK_WITH(", \"task-settings\": \"{\\n 5}\""), "t.json: task-settings: line 2, column 2: ");
    refused(TASK_WITH(", \"task-settings\": \"[]\""), "task-settings: an object is needed here");
    refused(TASK_WITH(", \"task-settings\": \"\""), "task-settings: line 1");
}

static const char *
hash_of(const char *text)
{
    return accepted(text)->mapping_hash;
}

#define RULE(name, id, order, table)                                                                                   \
    "{\"rule-type\": \"selection\", \"rule-id\": \"" id "\", \"rule-name\": \"" name "\", \"load-order\": " order      \
    ", \"rule-action\": \"include\", \"object-locator\": {\"schema-name\": \"s\", \"table-name\": \"" table "\"}}"

static void
mapping_hash(void **state)
{
    (void)state;
    const char *base = hash_of(TASK_OF_RULES(RULE("n", "1", "0", "t")));
    assert_string_equal(base, hash_of(TASK_OF_RULES(RULE("n", "1", "0", "t"))));
    // What may change between two runs of a task …
    assert_string_equal(base, hash_of(TASK_OF_RULES(RULE("other", "9", "5", "t"))));
    assert_string_equal(
        base,
        hash_of("{\"task\": \"u\", \"source\": {\"url\": \"sqlite:a.db\", \"settings\": {\"x\": 1}}," TARGET
                ", \"table-mappings\": {\"rules\": [" RULE(
                    "n", "1", "0", "t") "]},"
                                        " \"settings\": {\"chunk-size-mb\": 1}, \"task-settings\": {\"ErrorBehavior\":"
                                        " {\"DataErrorPolicy\": \"STOP_TASK\"}, \"FullLoadSettings\":"
                                        " {\"MaxFullLoadSubTasks\": 2}}}"));
    // … and what decides what lands where.
    assert_string_not_equal(base, hash_of(TASK_OF_RULES(RULE("n", "1", "0", "u"))));
    assert_string_not_equal(base, hash_of(TASK_OF_RULES(RULE("n", "1", "0", "t") "," RULE("n", "2", "0", "u"))));
    static const char *const rest[] = {
        SOURCE ", \"target\": {\"url\": \"sqlite:c.db\"}",
        SOURCE ", \"target\": {\"url\": \"mysql://h/b.db\"}",
        "\"source\": {\"url\": \"sqlite:x.db\"}, " TARGET,
        SOURCE ", " TARGET ", \"task-settings\": {\"TargetMetadata\": {\"TargetSchema\": \"x\"}}",
        SOURCE ", " TARGET ", \"task-settings\": {\"TargetMetadata\": {\"SupportLobs\": false}}",
        SOURCE ", " TARGET ", \"task-settings\": {\"TargetMetadata\": {\"LimitedSizeLobMode\": true}}",
    };
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        assert_string_not_equal(
            base, hash_of(gw_arena_printf(&a, "{\"task\": \"t\", %s, \"table-mappings\": {\"rules\": [%s]}}", rest[i],
                                          RULE("n", "1", "0", "t"))));
    }
}

static void
files(void **state)
{
    (void)state;
    Gw__Task *t = NULL;
    struct gw_err err = {0};
    assert_int_equal(gw_config_load("/nonexistent/t.json", &a, &t, &err), GW_CONFIG);
    assert_non_null(strstr(err.message, "open task file \"/nonexistent/t.json\": No such file"));
    assert_int_equal(gw_config_load("/", &a, &t, &err), GW_CONFIG);
    assert_non_null(strstr(err.message, "is a folder"));
    assert_int_equal(gw_config_load("/dev/zero", &a, &t, &err), GW_CONFIG);
    assert_non_null(strstr(err.message, "is larger than 16 MB"));
    assert_int_equal(gw_config_load("/dev/null", &a, &t, &err), GW_CONFIG);
    assert_null(t);
    char path[] = "/tmp/gw-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(write(fd, TASK_WITH(""), strlen(TASK_WITH(""))) > 0);
    close(fd);
    assert_int_equal(gw_config_load(path, &a, &t, &err), GW_OK);
    assert_string_equal(t->name, "t");
    unlink(path);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(malformed_json_is_placed),
        cmocka_unit_test(no_text_of_a_broken_file_is_shown),
        cmocka_unit_test(written_by_hand),
        cmocka_unit_test(unknown_and_missing_keys),
        cmocka_unit_test(names_and_types),
        cmocka_unit_test(passwords_are_refused_and_not_shown),
        cmocka_unit_test(endpoints),
        cmocka_unit_test(own_settings),
        cmocka_unit_test(json_in_a_text),
        cmocka_unit_test(mapping_hash),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
