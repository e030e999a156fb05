// "task-settings": the groups and keys of DMS, in tables. What a key does here is its setter:
// obeyed (number, flag, choice), later (a warning: not supported yet), unneeded (sizes DMS's own internals).
#include <string.h>

#include "common/config_priv.h"

// ---- setters -----------------------------------------------------------------------------------

static void *
member(void *base, const struct gw_key *k)
{
    return (char *)base + k->offset;
}

// Which message of the task a group's offsets are in; the first table entry of each group names it.
static int
set_u32(struct gw_config *c, void *base, const struct gw_key *k, json_t *v, const struct gw_json_path *at,
        struct gw_err *err)
{
    (void)c;
    long long n;
    int r = gw_json_int(v, k->min, k->max, &n, at, err);
    if (r == GW_OK) {
        *(uint32_t *)member(base, k) = (uint32_t)n;
    }
    return r;
}

// In units of the key: seconds, megabytes.
static int
set_u64(void *base, const struct gw_key *k, json_t *v, uint64_t unit, const struct gw_json_path *at, struct gw_err *err)
{
    long long n;
    int r = gw_json_int(v, k->min, k->max, &n, at, err);
    if (r == GW_OK) {
        *(uint64_t *)member(base, k) = (uint64_t)n * unit;
    }
    return r;
}

static int
set_flag(void *base, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    bool b;
    int r = gw_json_bool(v, &b, at, err);
    if (r == GW_OK) {
        *(protobuf_c_boolean *)member(base, k) = b;
    }
    return r;
}

static int
set_choice(void *base, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    int choice;
    int r = gw_json_enum(v, k->names, &choice, at, err);
    if (r == GW_OK) {
        // protobuf-c enums are ints
        memcpy(member(base, k), &choice, sizeof choice);
    }
    return r;
}

#define SETTER(name, base_expr, call)                                                                                  \
    static int name(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)   \
    {                                                                                                                  \
        struct gw_config *c = ctx;                                                                                     \
        void *base = (base_expr);                                                                                      \
        return call;                                                                                                   \
    }
SETTER(load_u32, c->task->load, set_u32(c, base, k, v, at, err))
SETTER(load_choice, c->task->load, set_choice(base, k, v, at, err))
SETTER(error_u32, c->task->errors, set_u32(c, base, k, v, at, err))
SETTER(error_flag, c->task->errors, set_flag(base, k, v, at, err))
SETTER(error_choice, c->task->errors, set_choice(base, k, v, at, err))
SETTER(lob_flag, c->task->lob, set_flag(base, k, v, at, err))
SETTER(stream_flag, c->task->stream, set_flag(base, k, v, at, err))
// The setting says what is done, the task what is not: its default is false.
static int
stream_unless(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    struct gw_config *c = ctx;
    bool b;
    int r = gw_json_bool(v, &b, at, err);
    if (r == GW_OK) {
        *(protobuf_c_boolean *)member(c->task->stream, k) = !b;
    }
    return r;
}
SETTER(stream_count, c->task->stream, set_u64(base, k, v, 1, at, err))
SETTER(stream_seconds, c->task->stream, set_u64(base, k, v, 1000000, at, err))
SETTER(stream_mb, c->task->stream, set_u64(base, k, v, 1 << 20, at, err))

static int
load_tri(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    struct gw_config *c = ctx;
    bool b;
    int r = gw_json_bool(v, &b, at, err);
    if (r == GW_OK) {
        *(Gw__Tri *)member(c->task->load, k) = b ? GW__TRI__YES : GW__TRI__NO;
    }
    return r;
}

static int
error_i32(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    struct gw_config *c = ctx;
    long long n;
    int r = gw_json_int(v, k->min, k->max, &n, at, err);
    if (r == GW_OK) {
        *(int32_t *)member(c->task->errors, k) = (int32_t)n;
    }
    return r;
}

static int
later(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    (void)v;
    (void)err;
    struct gw_config *c = ctx;
    gw_config_warn(c, "%s is not supported yet: it has no effect", gw_json_path_text(c->a, at));
    return GW_OK;
}

static int
unneeded(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    (void)v;
    (void)err;
    struct gw_config *c = ctx;
    gw_config_warn(c, "%s is not needed here: it has no effect", gw_json_path_text(c->a, at));
    return GW_OK;
}

// A batch never holds a part of a transaction.
static int
preserve(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    bool b;
    int r = gw_json_bool(v, &b, at, err);
    return r == GW_OK && !b ? unneeded(ctx, k, v, at, err) : r;
}

static int
target_schema(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct gw_config *c = ctx;
    return gw_json_string(v, c->a, &c->task->target_schema, at, err);
}

static int
control_schema(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    struct gw_config *c = ctx;
    char *s;
    int r = gw_json_string(v, c->a, &s, at, err);
    if (r == GW_OK && s[0]) {
        c->task->control_schema = s;
    }
    return r;
}

static int
lob_full(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    return gw_json_bool(v, &((struct gw_config *)ctx)->lob_full, at, err);
}

static int
lob_limited(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    return gw_json_bool(v, &((struct gw_config *)ctx)->lob_limited, at, err);
}

static int
lob_max(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    return gw_json_int(v, k->min, k->max, &((struct gw_config *)ctx)->lob_max_kb, at, err);
}

// ---- tables ------------------------------------------------------------------------------------

#define LOAD(m)   offsetof(Gw__LoadSettings, m)
#define ERRORS(m) offsetof(Gw__ErrorSettings, m)
#define STREAM(m) offsetof(Gw__StreamSettings, m)
#define LATER(k)                                                                                                       \
    {                                                                                                                  \
        k, later, 0, 0, 0, NULL, false                                                                                 \
    }
#define UNNEEDED(k)                                                                                                    \
    {                                                                                                                  \
        k, unneeded, 0, 0, 0, NULL, false                                                                              \
    }

static const char *const prep_names[] = {"DO_NOTHING", "DROP_AND_CREATE", "TRUNCATE_BEFORE_LOAD", NULL};
static const char *const policy_names[] = {"IGNORE_RECORD", "LOG_ERROR", "SUSPEND_TABLE", "STOP_TASK", NULL};

static const char *const insert_names[] = {"IGNORE_RECORD", "LOG_ERROR",     "SUSPEND_TABLE",
                                           "STOP_TASK",     "INSERT_RECORD", NULL};
static const char *const update_names[] = {"IGNORE_RECORD", "LOG_ERROR",     "SUSPEND_TABLE",
                                           "STOP_TASK",     "UPDATE_RECORD", NULL};

static const struct gw_key target_metadata[] = {
    {"TargetSchema", target_schema, 0, 0, 0, NULL, false},
    {"SupportLobs", lob_flag, offsetof(Gw__LobSettings, support_lobs), 0, 0, NULL, false},
    {"FullLobMode", lob_full, 0, 0, 0, NULL, false},
    {"LimitedSizeLobMode", lob_limited, 0, 0, 0, NULL, false},
    {"LobMaxSize", lob_max, 0, 0, 102400, NULL, false},
    UNNEEDED("LobChunkSize"),
    UNNEEDED("InlineLobMaxSize"),
    UNNEEDED("LoadMaxFileSize"),
    UNNEEDED("ParallelLoadThreads"),
    UNNEEDED("ParallelLoadBufferSize"),
    UNNEEDED("ParallelLoadQueuesPerThread"),
    {"BatchApplyEnabled", stream_flag, STREAM(batch), 0, 0, NULL, false},
    UNNEEDED("TaskRecoveryTableEnabled"),
    LATER("ParallelApplyThreads"),
    UNNEEDED("ParallelApplyBufferSize"),
    UNNEEDED("ParallelApplyQueuesPerThread"),
};

static const struct gw_key full_load[] = {
    {"TargetTablePrepMode", load_choice, LOAD(prep_mode), 0, 0, prep_names, false},
    {"CreatePkAfterFullLoad", load_tri, LOAD(create_pk_after_load), 0, 0, NULL, false},
    {"MaxFullLoadSubTasks", load_u32, LOAD(max_subtasks), 1, 49, NULL, false},
    {"CommitRate", load_u32, LOAD(commit_rate), 1, 50000, NULL, false},
    UNNEEDED("StopTaskCachedChangesApplied"), // a full load caches no changes
    UNNEEDED("StopTaskCachedChangesNotApplied"),
    UNNEEDED("TransactionConsistencyTimeout"), // the snapshot waits for nobody
};

static const struct gw_key error_behavior[] = {
    {"DataErrorPolicy", error_choice, ERRORS(data_error), 0, 0, policy_names, false},
    {"DataTruncationErrorPolicy", error_choice, ERRORS(data_truncation), 0, 0, policy_names, false},
    {"DataErrorEscalationCount", error_u32, ERRORS(data_escalation_count), 0, 1000000000, NULL, false},
    {"DataErrorEscalationPolicy", error_choice, ERRORS(data_escalation), 0, 0, policy_names, false},
    {"TableErrorPolicy", error_choice, ERRORS(table_error), 0, 0, policy_names, false},
    {"TableErrorEscalationCount", error_u32, ERRORS(table_escalation_count), 0, 1000000000, NULL, false},
    {"TableErrorEscalationPolicy", error_choice, ERRORS(table_escalation), 0, 0, policy_names, false},
    {"RecoverableErrorCount", error_i32, ERRORS(recoverable_count), -1, 1000000000, NULL, false},
    {"RecoverableErrorInterval", error_u32, ERRORS(recoverable_interval_s), 1, 86400, NULL, false},
    {"RecoverableErrorThrottling", error_flag, ERRORS(throttling), 0, 0, NULL, false},
    {"RecoverableErrorThrottlingMax", error_u32, ERRORS(throttling_max_s), 1, 86400, NULL, false},
    {"RecoverableErrorStopRetryAfterThrottlingMax", error_flag, ERRORS(stop_after_throttling_max), 0, 0, NULL, false},
    {"FailOnNoTablesCaptured", error_flag, ERRORS(fail_on_no_tables), 0, 0, NULL, false},
    LATER("FullLoadIgnoreConflicts"), // of cached changes
    LATER("DataMaskingErrorPolicy"),
    {"ApplyErrorDeletePolicy", error_choice, ERRORS(apply_delete), 0, 0, policy_names, false},
    {"ApplyErrorInsertPolicy", error_choice, ERRORS(apply_insert), 0, 0, insert_names, false},
    {"ApplyErrorUpdatePolicy", error_choice, ERRORS(apply_update), 0, 0, update_names, false},
    {"ApplyErrorEscalationPolicy", error_choice, ERRORS(apply_escalation), 0, 0, policy_names, false},
    {"ApplyErrorEscalationCount", error_u32, ERRORS(apply_escalation_count), 0, 1000000000, NULL, false},
    {"ApplyErrorFailOnTruncationDdl", error_flag, ERRORS(fail_on_truncate), 0, 0, NULL, false},
    LATER("FailOnTransactionConsistencyBreached"),
    LATER("EventErrorPolicy"),
};

static const struct gw_key change_tuning[] = {
    {"CommitTimeout", stream_seconds, STREAM(commit_us), 1, 3600, NULL, false},
    {"BatchApplyTimeoutMin", stream_seconds, STREAM(batch_min_us), 0, 3600, NULL, false},
    {"BatchApplyTimeoutMax", stream_seconds, STREAM(batch_max_us), 1, 3600, NULL, false},
    {"BatchApplyMemoryLimit", stream_mb, STREAM(memory_bytes), 1, 65536, NULL, false},
    {"BatchSplitSize", stream_count, STREAM(split_changes), 0, 1000000000, NULL, false},
    {"BatchApplyPreserveTransaction", preserve, 0, 0, 0, NULL, false},
    UNNEEDED("MinTransactionSize"), // a transaction ends when nothing more waits
    LATER("MemoryLimitTotal"),
    UNNEEDED("MemoryKeepTime"),
    UNNEEDED("StatementCacheSize"),
    LATER("RecoveryTimeout"),
};

static const struct gw_key ddl_policy[] = {
    {"HandleSourceTableDropped", stream_unless, STREAM(keep_dropped), 0, 0, NULL, false},
    {"HandleSourceTableTruncated", stream_unless, STREAM(keep_truncated), 0, 0, NULL, false},
    {"HandleSourceTableAltered", stream_unless, STREAM(refuse_altered), 0, 0, NULL, false},
};

static const struct gw_key control_tables[] = {
    {"ControlSchema", control_schema, 0, 0, 0, NULL, false},
    UNNEEDED("HistoryTimeslotInMinutes"),
    UNNEEDED("HistoryTimeslotInMinutesEnabled"),
    LATER("HistoryTableEnabled"),
    UNNEEDED("SuspendedTablesTableEnabled"),
    UNNEEDED("StatusTableEnabled"),
    UNNEEDED("FullLoadExceptionTableEnabled"),
};

static int
set_target_metadata(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    return gw_json_object(v, target_metadata, sizeof target_metadata / sizeof *target_metadata, ctx, at, err);
}

static int
set_full_load(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    return gw_json_object(v, full_load, sizeof full_load / sizeof *full_load, ctx, at, err);
}

static int
set_errors(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    return gw_json_object(v, error_behavior, sizeof error_behavior / sizeof *error_behavior, ctx, at, err);
}

static int
set_control(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    return gw_json_object(v, control_tables, sizeof control_tables / sizeof *control_tables, ctx, at, err);
}

static int
set_tuning(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    return gw_json_object(v, change_tuning, sizeof change_tuning / sizeof *change_tuning, ctx, at, err);
}

static int
set_ddl_policy(void *ctx, const struct gw_key *k, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    (void)k;
    return gw_json_object(v, ddl_policy, sizeof ddl_policy / sizeof *ddl_policy, ctx, at, err);
}

static const struct gw_key groups[] = {
    {"TargetMetadata", set_target_metadata, 0, 0, 0, NULL, false},
    {"FullLoadSettings", set_full_load, 0, 0, 0, NULL, false},
    {"ErrorBehavior", set_errors, 0, 0, 0, NULL, false},
    {"ControlTablesSettings", set_control, 0, 0, 0, NULL, false},
    UNNEEDED("Logging"),
    {"ChangeProcessingTuning", set_tuning, 0, 0, 0, NULL, false},
    {"ChangeProcessingDdlHandlingPolicy", set_ddl_policy, 0, 0, 0, NULL, false},
    LATER("ValidationSettings"),
    UNNEEDED("StreamBufferSettings"),
    LATER("CharacterSetSettings"),
    LATER("BeforeImageSettings"),
    LATER("LoopbackPreventionSettings"),
    LATER("PostProcessingRules"),
    LATER("TTSettings"),
    UNNEEDED("FailTaskWhenCleanTaskResourceFailed"),
};

int
gw_config_settings(struct gw_config *c, json_t *v, const struct gw_json_path *at, struct gw_err *err)
{
    int r = gw_json_object(v, groups, sizeof groups / sizeof *groups, c, at, err);
    if (r == GW_OK && c->lob_full && c->lob_limited) {
        return gw_json_error(at, err, "FullLobMode and LimitedSizeLobMode contradict each other");
    }
    const Gw__StreamSettings *s = c->task->stream;
    if (r == GW_OK && s->batch_min_us > s->batch_max_us) {
        return gw_json_error(at, err, "BatchApplyTimeoutMin is more than BatchApplyTimeoutMax");
    }
    // DMS truncates by default; here a value is cut only where the file says so.
    if (r == GW_OK && c->lob_limited) {
        if (c->lob_max_kb == 0) {
            return gw_json_error(at, err, "LimitedSizeLobMode needs a LobMaxSize of at least 1 (KB)");
        }
        c->task->lob->max_bytes = (uint64_t)c->lob_max_kb * 1024;
        gw_config_warn(c, "LOB values longer than %lld KB are cut, as LimitedSizeLobMode says", c->lob_max_kb);
    }
    return r;
}
