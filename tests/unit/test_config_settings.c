// Proves that DMS's task settings are obeyed, or said to have no effect; none is swallowed.
#include "tests/unit/task_text.h"

#define GROUP(name, keys) SETTINGS("\"" name "\": {" keys "}")

static bool
warns(const Gw__Task *t, const char *text)
{
    for (size_t i = 0; i < t->n_warnings; i++) {
        if (strstr(t->warnings[i], text)) {
            return true;
        }
    }
    return false;
}

static void
target_metadata(void **state)
{
    (void)state;
    assert_string_equal(accepted(GROUP("TargetMetadata", "\"TargetSchema\": \"copy\""))->target_schema, "copy");
    assert_false(accepted(GROUP("targetmetadata", "\"supportlobs\": \"False\""))->lob->support_lobs);
    refused(GROUP("TargetMetadata", "\"SupportLobs\": 1"),
            "task-settings.TargetMetadata.SupportLobs: true or false is needed");
}

static void
lob_modes(void **state)
{
    (void)state;
    const Gw__Task *t = accepted(GROUP("TargetMetadata", "\"LimitedSizeLobMode\": true"));
    assert_int_equal(t->lob->max_bytes, 32 * 1024);
    assert_true(warns(t, "longer than 32 KB are cut"));
    t = accepted(GROUP("TargetMetadata", "\"LimitedSizeLobMode\": true, \"LobMaxSize\": 5, \"FullLobMode\": false"));
    assert_int_equal(t->lob->max_bytes, 5 * 1024);
    // A size that is not asked for cuts nothing.
    assert_int_equal(accepted(GROUP("TargetMetadata", "\"LobMaxSize\": 5"))->lob->max_bytes, 0);
    assert_int_equal(accepted(GROUP("TargetMetadata", "\"FullLobMode\": true, \"LobMaxSize\": 0"))->lob->max_bytes, 0);
    refused(GROUP("TargetMetadata", "\"LimitedSizeLobMode\": true, \"FullLobMode\": true"),
            "task-settings: FullLobMode and LimitedSizeLobMode contradict each other");
    refused(GROUP("TargetMetadata", "\"LimitedSizeLobMode\": true, \"LobMaxSize\": 0"), "LobMaxSize of at least 1");
    refused(GROUP("TargetMetadata", "\"LobMaxSize\": 102401"), "LobMaxSize: 102401 is out of range: 0 to 102400");
}

static void
full_load(void **state)
{
    (void)state;
    const Gw__LoadSettings *l =
        accepted(GROUP("FullLoadSettings", "\"TargetTablePrepMode\": \"truncate_before_load\","
                                           " \"CreatePkAfterFullLoad\": true, \"MaxFullLoadSubTasks\": 49,"
                                           " \"CommitRate\": 50000"))
            ->load;
    assert_int_equal(l->prep_mode, GW__PREP_MODE__TRUNCATE_BEFORE_LOAD);
    assert_int_equal(l->create_pk_after_load, GW__TRI__YES);
    assert_int_equal(l->max_subtasks, 49);
    assert_int_equal(l->commit_rate, 50000);
    l = accepted(
            GROUP("FullLoadSettings", "\"TargetTablePrepMode\": \"DROP_AND_CREATE\", \"CreatePkAfterFullLoad\": false"))
            ->load;
    assert_int_equal(l->prep_mode, GW__PREP_MODE__DROP_AND_CREATE);
    assert_int_equal(l->create_pk_after_load, GW__TRI__NO);
    refused(GROUP("FullLoadSettings", "\"TargetTablePrepMode\": \"DROP\""),
            "\"DROP\" is not one of: DO_NOTHING, DROP_AND_CREATE, TRUNCATE_BEFORE_LOAD");
    refused(GROUP("FullLoadSettings", "\"MaxFullLoadSubTasks\": 50"), "out of range: 1 to 49");
    refused(GROUP("FullLoadSettings", "\"CommitRate\": 0"), "out of range: 1 to 50000");
}

static void
errors(void **state)
{
    (void)state;
    const Gw__ErrorSettings *e =
        accepted(GROUP("ErrorBehavior",
                       "\"DataErrorPolicy\": \"IGNORE_RECORD\", \"DataTruncationErrorPolicy\": \"STOP_TASK\","
                       " \"DataErrorEscalationCount\": 7, \"DataErrorEscalationPolicy\": \"LOG_ERROR\", "
                       "\"TableErrorPolicy\": \"STOP_TASK\","
                       " \"TableErrorEscalationCount\": 8, \"TableErrorEscalationPolicy\": \"SUSPEND_TABLE\", "
                       "\"RecoverableErrorCount\": 0,"
                       " \"RecoverableErrorInterval\": 1, \"RecoverableErrorThrottling\": false, "
                       "\"RecoverableErrorThrottlingMax\": 9,"
                       " \"RecoverableErrorStopRetryAfterThrottlingMax\": true, \"FailOnNoTablesCaptured\": false,"
                       " \"FullLoadIgnoreConflicts\": false"))
            ->errors;
    assert_int_equal(e->data_error, GW__ERROR_POLICY__IGNORE_RECORD);
    assert_int_equal(e->data_truncation, GW__ERROR_POLICY__STOP_TASK);
    assert_int_equal(e->data_escalation_count, 7);
    assert_int_equal(e->data_escalation, GW__ERROR_POLICY__LOG_ERROR);
    assert_int_equal(e->table_error, GW__ERROR_POLICY__STOP_TASK);
    assert_int_equal(e->table_escalation_count, 8);
    assert_int_equal(e->table_escalation, GW__ERROR_POLICY__SUSPEND_TABLE);
    assert_int_equal(e->recoverable_count, 0);
    assert_int_equal(e->recoverable_interval_s, 1);
    assert_false(e->throttling);
    assert_int_equal(e->throttling_max_s, 9);
    assert_true(e->stop_after_throttling_max);
    assert_false(e->fail_on_no_tables);
    refused(GROUP("ErrorBehavior", "\"RecoverableErrorCount\": -2"), "out of range: -1 to");
    refused(GROUP("ErrorBehavior", "\"DataErrorPolicy\": 3"), "(not a text)");
    refused_hint(GROUP("ErrorBehavior", "\"DataErrorPolcy\": \"LOG_ERROR\""),
                 "task-settings.ErrorBehavior: unknown key", "did you mean \"DataErrorPolicy\"?");
}

static void
apply_errors(void **state)
{
    (void)state;
    const Gw__ErrorSettings *e = accepted(SETTINGS("\"ErrorBehavior\": {}"))->errors;
    assert_int_equal(e->apply_delete, GW__ERROR_POLICY__IGNORE_RECORD);
    assert_int_equal(e->apply_insert, GW__ERROR_POLICY__LOG_ERROR);
    assert_int_equal(e->apply_update, GW__ERROR_POLICY__LOG_ERROR);
    assert_int_equal(e->apply_escalation, GW__ERROR_POLICY__LOG_ERROR);
    assert_int_equal(e->apply_escalation_count, 0);
    e = accepted(GROUP("ErrorBehavior", "\"ApplyErrorDeletePolicy\": \"LOG_ERROR\", \"ApplyErrorInsertPolicy\":"
                                        " \"insert_record\", \"ApplyErrorUpdatePolicy\": \"UPDATE_RECORD\","
                                        " \"ApplyErrorEscalationPolicy\": \"STOP_TASK\","
                                        " \"ApplyErrorEscalationCount\": 5, \"ApplyErrorFailOnTruncationDdl\": true"))
            ->errors;
    assert_int_equal(e->apply_delete, GW__ERROR_POLICY__LOG_ERROR);
    assert_int_equal(e->apply_insert, GW__ERROR_POLICY__WRITE_RECORD);
    assert_int_equal(e->apply_update, GW__ERROR_POLICY__WRITE_RECORD);
    assert_int_equal(e->apply_escalation, GW__ERROR_POLICY__STOP_TASK);
    assert_int_equal(e->apply_escalation_count, 5);
    assert_true(e->fail_on_truncate);
    refused(GROUP("ErrorBehavior", "\"ApplyErrorUpdatePolicy\": \"INSERT_RECORD\""), "\"INSERT_RECORD\" is not one of");
    refused(GROUP("ErrorBehavior", "\"DataErrorPolicy\": \"UPDATE_RECORD\""), "\"UPDATE_RECORD\" is not one of");
}

static void
change_tuning(void **state)
{
    (void)state;
    const Gw__StreamSettings *s = accepted(SETTINGS("\"ChangeProcessingTuning\": {}"))->stream;
    assert_false(s->batch);
    assert_int_equal(s->commit_us, 1000000);
    const Gw__Task *t = accepted(
        SETTINGS("\"TargetMetadata\": {\"BatchApplyEnabled\": true}, \"ChangeProcessingTuning\": {\"CommitTimeout\": 2,"
                 " \"BatchApplyTimeoutMin\": 3, \"BatchApplyTimeoutMax\": 4, \"BatchApplyMemoryLimit\": 5,"
                 " \"BatchSplitSize\": 6, \"BatchApplyPreserveTransaction\": true}"));
    s = t->stream;
    assert_int_equal(t->n_warnings, 0);
    assert_true(s->batch);
    assert_int_equal(s->commit_us, 2000000);
    assert_int_equal(s->batch_min_us, 3000000);
    assert_int_equal(s->batch_max_us, 4000000);
    assert_int_equal(s->memory_bytes, 5 << 20);
    assert_int_equal(s->split_changes, 6);
    t = accepted(GROUP("ChangeProcessingTuning", "\"BatchApplyPreserveTransaction\": false, \"MemoryKeepTime\": 60"));
    assert_true(warns(t, "BatchApplyPreserveTransaction is not needed here"));
    assert_int_equal(t->n_warnings, 2);
    refused(GROUP("ChangeProcessingTuning", "\"BatchApplyTimeoutMin\": 9, \"BatchApplyTimeoutMax\": 8"),
            "BatchApplyTimeoutMin is more than BatchApplyTimeoutMax");
    refused(GROUP("ChangeProcessingTuning", "\"CommitTimeout\": 0"), "out of range: 1 to 3600");
}

static void
control_tables(void **state)
{
    (void)state;
    assert_string_equal(accepted(GROUP("ControlTablesSettings", "\"ControlSchema\": \"c\""))->control_schema, "c");
    assert_string_equal(accepted(GROUP("ControlTablesSettings", "\"ControlSchema\": \"\""))->control_schema, "godwit");
}

static void
without_effect(void **state)
{
    (void)state;
    const Gw__Task *t = accepted(SETTINGS("\"Logging\": {\"EnableLogging\": true}, \"ValidationSettings\": {},"
                                          " \"TargetMetadata\": {\"ParallelApplyThreads\": 4, \"LobChunkSize\": 64}"));
    assert_true(warns(t, "task-settings.ValidationSettings is not supported yet: it has no effect"));
    assert_true(warns(t, "task-settings.TargetMetadata.ParallelApplyThreads is not supported yet"));
    assert_true(warns(t, "LobChunkSize"));
    assert_true(warns(t, "Logging"));
    assert_int_equal(t->n_warnings, 4);
    refused_hint(SETTINGS("\"ErorBehavior\": {}"), "task-settings: unknown key \"ErorBehavior\"", "\"ErrorBehavior\"");
    refused(SETTINGS("\"ErrorBehavior\": []"), "task-settings.ErrorBehavior: an object is needed here");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(target_metadata), cmocka_unit_test(lob_modes),      cmocka_unit_test(full_load),
        cmocka_unit_test(errors),          cmocka_unit_test(apply_errors),   cmocka_unit_test(change_tuning),
        cmocka_unit_test(control_tables),  cmocka_unit_test(without_effect),
    };
    return cmocka_run_group_tests(tests, arena_setup, arena_teardown);
}
