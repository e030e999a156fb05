// Phases that are one job for one worker: what it is told, and what comes of its answer.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/policy.h"
#include "coordinator/co.h"

static const int64_t locked_max_s = 60; // somebody else's lock is waited for

static void
fail_text(struct co *co, uint32_t exit_code, const char *message, const char *hint)
{
    struct gw_err e = {0};
    gw_err_set(&e, GW_CONFIG, NULL, "%s", message);
    gw_err_hint(&e, "%s", hint);
    co_fail(co, exit_code, &e);
}

// Somebody else holds what the job needs. It is tried again and again, said, and not for ever.
static void
locked_out(struct co *co, const struct gw_err *e)
{
    int64_t now = gw_now_us();
    if (!co->locked_us) {
        co->locked_us = now;
        gw_log_err(GW_LOG_WARN, e, "task=\"%s\" waits", co->task->name);
    }
    int64_t waited_s = (now - co->locked_us) / GW_S;
    snprintf(co->waiting_for, sizeof co->waiting_for, "%.200s; for %" PRId64 " s by now", e->message, waited_s);
    co->phase_retry_us = now + GW_S;
    if (waited_s >= locked_max_s) {
        struct gw_err why = *e;
        why.cls = GW_CONFIG;
        gw_err_wrap(&why, "given up after %" PRId64 " s", waited_s);
        co_fail(co, 2, &why);
    }
}

// True if the job failed; before anything was changed an end that cannot be reached ends the run.
static bool
phase_failed(struct co *co, struct gw_err *e)
{
    co->phase_busy = false;
    if (strcmp(e->code, GW_CODE_LOCKED) == 0) {
        locked_out(co, e);
        return true;
    }
    if (e->cls == GW_OK) {
        co->phase_failures = 0;
        return false;
    }
    if (strcmp(e->code, GW_CODE_LOST) == 0 || e->cls == GW_AGAIN) {
        return true;
    }
    if (e->cls != GW_RETRY) {
        co_fail(co, e->cls == GW_BUG ? 1 : 2, e);
    } else if (!co->patient) {
        co_fail(co, 3, e);
    } else {
        (void)co_recoverable(co, e, ++co->phase_failures, &co->phase_retry_us);
    }
    return true;
}

static void
set_uuid(struct co *co, const char *uuid)
{
    if (strcmp(co->uuid, uuid) != 0) {
        snprintf(co->uuid, sizeof co->uuid, "%s", uuid);
        co_welcome_all(co);
    }
    co_store_put(co, "task_uuid", co->uuid);
}

// Rows were refused, and the user did not say that this is no error.
bool
co_rows_missing(const struct co *co)
{
    uint64_t refused = 0;
    for (size_t i = 0; i < co->tables_n; i++) {
        refused += co->tables[i].refused;
    }
    return refused && co->task->errors->data_error != GW__ERROR_POLICY__IGNORE_RECORD;
}

// The target's word against ours. It is right, but it must speak of the same task.
static void
resume(struct co *co, const Gw__TargetState *s)
{
    char *known = co_store_get(co, &co->arena, "task_uuid");
    if (known && strcmp(known, s->task_uuid) != 0) {
        char message[256];
        snprintf(message, sizeof message, "another task named \"%s\" has this target", co->task->name);
        fail_text(co, 2, message, "give this task another name, or see `godwit drop` and --fresh");
        return;
    }
    if (strcmp(s->mapping_hash, co->task->mapping_hash) != 0) {
        fail_text(co, 2, "the task's ends or table mappings have changed since it began",
                  "put them back, or begin anew with --fresh");
        return;
    }
    if (co->streams != (s->progress != NULL)) {
        fail_text(co, 2,
                  co->streams ? "the task began as a full load: no stream of changes was opened for it"
                              : "the task began with ongoing replication",
                  "put \"migration-type\" back, or begin anew with --fresh");
        return;
    }
    co->progress = s->progress ? gw_pb_dup(&co->arena, s->progress) : NULL;
    set_uuid(co, s->task_uuid);
    co->source_identity = gw_arena_strdup(&co->arena, s->source_identity);
    co->resuming = true;
    co_tables_from_state(co, s);
    if (s->started_us) {
        co->started_us = co->mode == MODE_RUN ? co->started_us : s->started_us;
    }
    if (s->completed && co->mode == MODE_RUN) {
        co->already_complete = true;
        co->exit_code = co_rows_missing(co) ? 1 : 0;
        co->ended_us = s->completed_us;
        co_event(co, EV_FINISHED_BEFORE);
        co->ended_us = s->completed_us;
        return;
    }
    co_event(co, EV_RESUME);
}

static void
state_loaded(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    if (phase_failed(co, e)) {
        return;
    }
    bool exists = reply->body_case == GW__REPLY__BODY_STATE && reply->state->exists;
    if (exists && co->fresh && reply->state->progress && !co->streams) {
        fail_text(
            co, 2,
            "the task began with ongoing replication, and left something on the source that only such a task removes",
            "put \"migration-type\" back, and use `godwit drop` before it is changed");
    } else if (exists && co->fresh) {
        co_event(co, EV_FRESH);
    } else if (exists) {
        resume(co, reply->state);
    } else {
        char *known = co_store_get(co, &co->arena, "task_uuid");
        char fresh[37];
        gw_uuid(fresh);
        set_uuid(co, known ? known : fresh);
        co_event(co, EV_NEW);
    }
}

static void
build_load_state(struct co *co, Gw__Command *cmd, struct gw_arena *a)
{
    (void)co;
    cmd->body_case = GW__COMMAND__BODY_LOAD_STATE;
    cmd->load_state = gw_pb_new(a, Gw__LoadState, gw__load_state__init);
    cmd->load_state->with_plan = true;
}

static void
build_drop(struct co *co, Gw__Command *cmd, struct gw_arena *a)
{
    (void)co;
    cmd->body_case = GW__COMMAND__BODY_DROP;
    cmd->drop = gw_pb_new(a, Gw__DropTask, gw__drop_task__init);
}

static void
dropped(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    (void)reply;
    if (phase_failed(co, e)) {
        return;
    }
    char fresh[37];
    gw_uuid(fresh);
    set_uuid(co, fresh);
    co_event(co, co->phase == P_CLEAR ? EV_CLEARED : EV_DROPPED);
}

static void
build_inspect(struct co *co, Gw__Command *cmd, struct gw_arena *a)
{
    cmd->body_case = GW__COMMAND__BODY_INSPECT;
    cmd->inspect = gw_pb_new(a, Gw__Inspect, gw__inspect__init);
    cmd->inspect->describe = !co->resuming || co->mode == MODE_CHECK || co->reload || co->again_n;
    cmd->inspect->position = co->reload || co->again_n;
}

static void
inspected(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    if (phase_failed(co, e)) {
        return;
    }
    const Gw__Catalog *cat = reply->body_case == GW__REPLY__BODY_CATALOG ? reply->catalog : NULL;
    if (!cat) {
        fail_text(co, 1, "capture answered without a catalogue", "");
        return;
    }
    if (co->resuming && strcmp(co->source_identity, cat->identity) != 0) {
        char message[700];
        snprintf(message, sizeof message, "the source is not the one that the load began with: %.200s, then %.200s",
                 cat->identity, co->source_identity);
        fail_text(co, 2, message, "point the task at the same server, or begin anew with --fresh");
        return;
    }
    if (co->resuming && co->mode == MODE_RUN) {
        bool reload = (co->reload || co->again_n) && co_alter_reload(co, cat);
        co->reload = false;
        co->again_n = 0;
        if (reload) {
            co_event(co, EV_RELOAD);
            return;
        }
        co_event(co, co->streams ? EV_STREAMS : EV_SOUND);
        return;
    }
    co->source_cat = gw_pb_dup(&co->arena, cat);
    co->source_identity = co->source_cat->identity;
    co_add_findings(co, cat);
    if (cat->n_tables == 0 && co->task->errors->fail_on_no_tables) {
        fail_text(co, 2, "no table of the source matches the selection rules",
                  "names are case-sensitive; `%` matches any run of characters");
        return;
    }
    co_event(co, EV_INSPECTED);
}

static void
build_map(struct co *co, Gw__Command *cmd, struct gw_arena *a)
{
    cmd->body_case = GW__COMMAND__BODY_MAP;
    cmd->map = gw_pb_new(a, Gw__MapCatalog, gw__map_catalog__init);
    cmd->map->catalog = co->source_cat;
}

static void
mapped(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    if (phase_failed(co, e)) {
        return;
    }
    const Gw__Catalog *cat = reply->body_case == GW__REPLY__BODY_CATALOG ? reply->catalog : NULL;
    if (!cat || cat->n_tables != co->source_cat->n_tables) {
        fail_text(co, 1, "transform did not map every table", "");
        return;
    }
    co->target_cat = gw_pb_dup(&co->arena, cat);
    co_add_findings(co, cat);
    co_event(co, EV_MAPPED);
}

static void
build_preflight(struct co *co, Gw__Command *cmd, struct gw_arena *a)
{
    cmd->body_case = GW__COMMAND__BODY_PREFLIGHT;
    cmd->preflight = gw_pb_new(a, Gw__PreflightTarget, gw__preflight_target__init);
    cmd->preflight->catalog = co->target_cat;
    cmd->preflight->resuming = co->resuming;
}

// The first finding that makes the whole task impossible, or NULL.
static const Gw__Finding *
task_error(const struct co *co)
{
    for (size_t i = 0; i < co->findings->n_findings; i++) {
        const Gw__Finding *f = co->findings->findings[i];
        if (f->severity == GW__SEVERITY__SEVERITY_ERROR && !f->table[0]) {
            return f;
        }
    }
    return NULL;
}

static bool
every_table_in_error(const struct co *co)
{
    for (size_t i = 0; i < co->tables_n; i++) {
        if (co->tables[i].state != T_ERROR) {
            return false;
        }
    }
    return co->tables_n > 0;
}

static uint32_t
errors_found(const struct co *co)
{
    uint32_t n = 0;
    for (size_t i = 0; i < co->findings->n_findings; i++) {
        n += co->findings->findings[i]->severity == GW__SEVERITY__SEVERITY_ERROR;
    }
    return n;
}

static void
preflight_done(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    if (phase_failed(co, e)) {
        return;
    }
    if (reply->body_case == GW__REPLY__BODY_CATALOG) {
        co_add_findings(co, reply->catalog);
    }
    if (co->mode == MODE_CHECK) {
        co->exit_code = errors_found(co) ? 2 : 0;
        co_event(co, EV_CHECKED);
        return;
    }
    const Gw__Finding *f = task_error(co);
    if (f) {
        char hint[400];
        snprintf(hint, sizeof hint, "%.190s%s%.190s", f->action, f->sql[0] ? ": " : "", f->sql);
        fail_text(co, 2, f->message, hint);
        return;
    }
    co_tables_from_catalogs(co);
    if (co_running(co) && every_table_in_error(co)) {
        char message[900];
        snprintf(message, sizeof message, "none of the tables can be loaded; the first says: %.800s",
                 co->tables[0].reason);
        fail_text(co, 2, message, "nothing was changed on the target; see the findings");
        return;
    }
    if (co_running(co)) {
        co_event(co, co->streams ? EV_STREAMS : EV_SOUND);
    }
}

// ---- the stream's beginning ----------------------------------------------------------------------

static void
add_tables(const struct co *co, struct gw_arena *a, Gw__Table ***list, size_t *n)
{
    *list = gw_arena_calloc(a, co->tables_n + 1, sizeof **list);
    *n = 0;
    for (size_t i = 0; i < co->tables_n; i++) {
        if (co->tables[i].state != T_ERROR && co->tables[i].state != T_MARK_ERROR) {
            Gw__Table *read = co->tables[i].read;
            read->to_load = co->tables[i].state <= T_RESTART;
            (*list)[(*n)++] = read;
        }
    }
}

static void
build_open_stream(struct co *co, Gw__Command *cmd, struct gw_arena *a)
{
    cmd->body_case = GW__COMMAND__BODY_OPEN_STREAM;
    Gw__OpenStream *o = cmd->open_stream = gw_pb_new(a, Gw__OpenStream, gw__open_stream__init);
    add_tables(co, a, &o->tables, &o->n_tables);
    o->position = co->progress ? co->progress->position : co->task->cdc_start_position;
}

static void
stream_opened(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    if (phase_failed(co, e)) {
        return;
    }
    if (reply->body_case != GW__REPLY__BODY_STREAM) {
        fail_text(co, 1, "capture answered without a stream", "");
        return;
    }
    (void)GW_FAULT("coordinator.stream_opened");
    if (co->resuming) {
        co_event(co, EV_RESUME);
        return;
    }
    co->progress = gw_pb_new(&co->arena, Gw__Progress, gw__progress__init);
    co->progress->position = gw_arena_strdup(&co->arena, reply->stream->position);
    co->stream_handle = reply->stream->handle[0] ? gw_arena_strdup(&co->arena, reply->stream->handle) : NULL;
    if (gw_task_loads(co->task)) {
        co_event(co, EV_OPENED);
        return;
    }
    for (size_t i = 0; i < co->tables_n; i++) { // nothing to load: their rows are there
        if (co->tables[i].state != T_ERROR) {
            co->tables[i].plan->state = GW__TABLE_STATE__STATE_COMPLETED;
            co_table_set(co, &co->tables[i], T_DONE);
        }
    }
    co_event(co, EV_PLANNED);
}

static void
build_close_stream(struct co *co, Gw__Command *cmd, struct gw_arena *a)
{
    (void)co;
    cmd->body_case = GW__COMMAND__BODY_CLOSE_STREAM;
    cmd->close_stream = gw_pb_new(a, Gw__CloseStream, gw__close_stream__init);
}

static void
stream_closed(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    (void)reply;
    if (!phase_failed(co, e)) {
        co_event(co, EV_DROP);
    }
}

static void
build_register(struct co *co, Gw__Command *cmd, struct gw_arena *a)
{
    cmd->body_case = GW__COMMAND__BODY_REGISTER;
    cmd->register_ = co_register_state(co, a);
}

static void
registered(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    (void)reply;
    if (phase_failed(co, e)) {
        return;
    }
    (void)GW_FAULT("coordinator.registered");
    co_event(co, EV_REGISTERED);
}

// A coordinator may die while its plan is on its way to the target. Its successor plans anew, and finds the first
// plan registered: that one is in force, and what is in memory must not be loaded under its numbers.
static void
verified(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    if (phase_failed(co, e)) {
        return;
    }
    bool same = reply->body_case == GW__REPLY__BODY_STATE && reply->state->exists &&
                strcmp(reply->state->task_uuid, co->uuid) == 0;
    for (size_t i = 0; same && i < co->tables_n; i++) {
        same = co_plan_is_ours(&co->tables[i], reply->state);
    }
    same = same || !GW_GUARD("coordinator.verify");
    co->fresh = false; // what is there now is what this run began
    co_event(co, same ? EV_VERIFIED : EV_OTHER_PLAN);
}

static void
build_complete(struct co *co, Gw__Command *cmd, struct gw_arena *a)
{
    (void)co;
    cmd->body_case = GW__COMMAND__BODY_COMPLETE;
    cmd->complete = gw_pb_new(a, Gw__Complete, gw__complete__init);
    cmd->complete->completed_us = gw_wall_us();
}

static void
completed(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    (void)reply;
    if (!phase_failed(co, e)) {
        co_event(co, EV_COMPLETED);
    }
}

static const struct {
    enum phase phase;
    Gw__Stage stage;
    void (*build)(struct co *co, Gw__Command *cmd, struct gw_arena *a);
    job_done *done;
} phase_jobs[] = {
    {P_STATE, GW__STAGE__STAGE_APPLY, build_load_state, state_loaded},
    {P_CLEAR, GW__STAGE__STAGE_APPLY, build_drop, dropped},
    {P_DROP, GW__STAGE__STAGE_APPLY, build_drop, dropped},
    {P_INSPECT, GW__STAGE__STAGE_CAPTURE, build_inspect, inspected},
    {P_MAP, GW__STAGE__STAGE_TRANSFORM, build_map, mapped},
    {P_PREFLIGHT, GW__STAGE__STAGE_APPLY, build_preflight, preflight_done},
    {P_OPEN_STREAM, GW__STAGE__STAGE_CAPTURE, build_open_stream, stream_opened},
    {P_CLOSE_STREAM, GW__STAGE__STAGE_CAPTURE, build_close_stream, stream_closed},
    {P_REGISTER, GW__STAGE__STAGE_APPLY, build_register, registered},
    {P_VERIFY, GW__STAGE__STAGE_APPLY, build_load_state, verified},
    {P_COMPLETE, GW__STAGE__STAGE_APPLY, build_complete, completed},
};

void
co_phase_job_tick(struct co *co)
{
    if (co->phase_busy || co->phase_retry_us > gw_now_us()) {
        return;
    }
    for (size_t i = 0; i < sizeof phase_jobs / sizeof *phase_jobs; i++) {
        struct worker *w = phase_jobs[i].phase == co->phase ? co_idle(co, phase_jobs[i].stage) : NULL;
        if (w) {
            struct gw_arena a;
            gw_arena_init(&a);
            Gw__Command cmd = GW__COMMAND__INIT;
            phase_jobs[i].build(co, &cmd, &a);
            co->phase_busy = true;
            co_send(co, w, &cmd, phase_jobs[i].done, NULL, "%s", co_phase_name(co->phase));
            gw_arena_fini(&a);
            return;
        }
    }
}
