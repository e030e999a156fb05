// The life of a table, from its plan to its last constraint.
//
//   UNPLANNED -> (registered) PLANNED -> LOADING -> MARK_LOADED -> SEQUENCES_READ -> STEPS -> KEYS
//        -> [all tables] CONSTRAINTS -> [all tables] SEQUENCES -> MARK_DONE -> DONE
//   RESTART -> REPLACE -> PLANNED    chunks of a lost snapshot that must not be mixed with another
//   any -> MARK_ERROR -> ERROR       the table is suspended, the others go on
//
// Each step is one job; a transient failure is tried again with a growing pause, anything else suspends.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/key.h"
#include "common/log.h"
#include "common/mapping.h"
#include "coordinator/co.h"

static const char *const state_names[T_STATES] = {
    [T_UNPLANNED] = "unplanned",
    [T_RESTART] = "restart",
    [T_REPLACE] = "replace",
    [T_PLANNED] = "planned",
    [T_LOADING] = "loading",
    [T_MARK_LOADED] = "mark loaded",
    [T_SEQUENCES_READ] = "read sequences",
    [T_STEPS] = "list steps",
    [T_KEYS] = "keys",
    [T_CONSTRAINTS] = "constraints",
    [T_SEQUENCES] = "sequences",
    [T_MARK_DONE] = "mark done",
    [T_DONE] = "done",
    [T_MARK_ERROR] = "mark error",
    [T_ERROR] = "error",
};

const char *
co_table_state_name(enum table_state s)
{
    return state_names[s];
}

void
co_table_set(struct co *co, struct table *t, enum table_state s)
{
    char what[300];
    snprintf(what, sizeof what, "table %s.%s", co_schema(t), co_name(t));
    gw_debug("%s: %s -> %s", what, state_names[t->state], state_names[s]);
    co_store_transition(co, what, state_names[t->state], "", state_names[s]);
    t->state = s;
    co->moves++;
    t->failures = 0;
    t->retry_us = 0;
    if (s == T_DONE || s == T_ERROR) {
        t->ended_us = gw_wall_us();
    }
}

void
co_table_error(struct co *co, struct table *t, const struct gw_err *err)
{
    if (t->state == T_MARK_ERROR || t->state == T_ERROR) {
        return;
    }
    char reason[1600];
    snprintf(reason, sizeof reason, "%s%s%s%s%s%s%s%s", err->message, err->code[0] ? " [" : "", err->code,
             err->code[0] ? "]" : "", err->detail[0] ? "; " : "", err->detail, err->hint[0] ? "; hint: " : "",
             err->hint);
    t->reason = gw_arena_strdup(&co->arena, reason);
    t->plan->reason = t->reason;
    bool again = co->registered && co_take_again(co, t);
    gw_log_err(again ? GW_LOG_WARN : GW_LOG_ERROR, err, "table %s table=\"%s.%s\"",
               again ? "is to be loaded anew" : "suspended", co_schema(t), co_name(t));
    // Not yet on the target: there is no row to mark.
    co_table_set(co, t, co->registered ? T_MARK_ERROR : T_ERROR);
    t->plan->state = GW__TABLE_STATE__STATE_ERROR;
    co_flights_cancel(co, t);
    if (again) {
        return;
    }
    const Gw__ErrorSettings *e = co->task->errors;
    uint32_t errors = 0;
    for (size_t i = 0; i < co->tables_n; i++) {
        errors += co->tables[i].state == T_MARK_ERROR || co->tables[i].state == T_ERROR;
    }
    bool escalate = e->table_escalation_count && errors > e->table_escalation_count &&
                    e->table_escalation == GW__ERROR_POLICY__STOP_TASK;
    if (e->table_error == GW__ERROR_POLICY__STOP_TASK || escalate) {
        co_fail(co, 1, err);
    }
}

// ---- making tables -----------------------------------------------------------------------------

// What is selected on the source: the columns that the target's table has, in the same order and
// with the same left-out marks.
static Gw__Table *
table_to_read(struct gw_arena *a, const Gw__Table *source, const Gw__Table *target)
{
    Gw__Table *t = gw_pb_dup(a, source);
    size_t kept = 0;
    for (size_t i = 0; i < target->n_source_columns; i++) {
        for (size_t k = 0; k < t->n_columns; k++) {
            if (strcmp(t->columns[k]->name, target->source_columns[i]) == 0) {
                Gw__Column *c = t->columns[k];
                c->left_out = target->columns[i]->left_out;
                // Both are in source order, so kept <= k.
                t->columns[kept++] = c;
                break;
            }
        }
    }
    t->n_columns = kept;
    return t;
}

// A key that is cut is another key.
static bool
in_a_key(const Gw__Table *t, const char *column)
{
    for (size_t i = 0; i < t->n_primary_key; i++) {
        if (strcmp(t->primary_key[i], column) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < t->n_indexes; i++) {
        for (size_t k = 0; t->indexes[i]->is_unique && k < t->indexes[i]->n_parts; k++) {
            if (strcmp(t->indexes[i]->parts[k]->column, column) == 0) {
                return true;
            }
        }
    }
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        for (size_t k = 0; k < t->foreign_keys[i]->n_columns; k++) {
            if (strcmp(t->foreign_keys[i]->columns[k], column) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void
set_limits(struct co *co, struct table *t)
{
    uint64_t most = co->task->lob->max_bytes;
    const Gw__TableSettingsRule *rule = gw_mapping_table_settings(co->task, co_schema(t), co_name(t));
    if (rule && rule->lob_mode == GW__LOB_MODE__LOB_UNLIMITED) {
        most = 0;
    } else if (rule && rule->lob_mode == GW__LOB_MODE__LOB_LIMITED) {
        most = rule->lob_max_bytes;
    }
    t->max_bytes_n = 0;
    if (!most) {
        return;
    }
    t->max_bytes = gw_arena_calloc(&co->arena, t->read->n_columns + 1, sizeof *t->max_bytes);
    for (size_t i = 0; i < t->read->n_columns; i++) {
        const Gw__Column *c = t->read->columns[i];
        if (!c->left_out) {
            t->max_bytes[t->max_bytes_n++] = c->is_lob && !in_a_key(t->read, c->name) ? most : 0;
        }
    }
}

static void
table_init(struct co *co, struct table *t, Gw__TablePlan *plan)
{
    *t = (struct table){.plan = plan};
    t->read = table_to_read(&co->arena, plan->source, plan->target);
    set_limits(co, t);
    t->chunks = gw_arena_calloc(&co->arena, plan->n_chunks + 1, sizeof *t->chunks);
    for (size_t i = 0; i < plan->n_chunks; i++) {
        if (plan->chunks[i]->done) {
            t->chunks[i].state = CHUNK_DONE;
            t->done++;
            t->rows += plan->chunks[i]->rows_written;
            t->bytes += plan->chunks[i]->bytes;
            t->refused += plan->chunks[i]->rows_refused;
            t->truncated += plan->chunks[i]->values_truncated;
        }
    }
}

static int
by_load_order(const void *x, const void *y)
{
    const struct table *a = *(struct table *const *)x, *b = *(struct table *const *)y;
    int32_t oa = a->plan->source->load_order, ob = b->plan->source->load_order;
    return oa != ob ? (oa < ob) - (oa > ob) : (a > b) - (a < b);
}

static void
put_in_order(struct co *co)
{
    co->in_order = gw_arena_alloc(&co->arena, (co->tables_n + 1) * sizeof *co->in_order);
    for (size_t i = 0; i < co->tables_n; i++) {
        co->in_order[i] = &co->tables[i];
    }
    qsort(co->in_order, co->tables_n, sizeof *co->in_order, by_load_order);
}

void
co_tables_from_catalogs(struct co *co)
{
    co->tables_n = co->source_cat->n_tables;
    co->tables = gw_arena_calloc(&co->arena, co->tables_n + 1, sizeof *co->tables);
    for (size_t i = 0; i < co->tables_n; i++) {
        Gw__TablePlan *p = gw_pb_new(&co->arena, Gw__TablePlan, gw__table_plan__init);
        p->source = co->source_cat->tables[i];
        p->target = co->target_cat->tables[i];
        p->source->id = p->target->id = (uint32_t)i + 1;
        p->generation = 1;
        table_init(co, &co->tables[i], p);
    }
    put_in_order(co);
    // A table that cannot be loaded is known before anything is changed.
    for (size_t i = 0; co->findings && i < co->findings->n_findings; i++) {
        const Gw__Finding *f = co->findings->findings[i];
        for (size_t k = 0; f->severity == GW__SEVERITY__SEVERITY_ERROR && f->table[0] && k < co->tables_n; k++) {
            struct table *t = &co->tables[k];
            if (strcmp(co_schema(t), f->schema) == 0 && strcmp(co_name(t), f->table) == 0) {
                struct gw_err e = {0};
                gw_err_set(&e, GW_CONFIG, NULL, "%s", f->message);
                gw_err_hint(&e, "%s%s%s", f->action, f->sql[0] ? ": " : "", f->sql);
                co_table_error(co, t, &e);
            }
        }
    }
}

// Where a table goes on after everything was stopped.
static enum table_state
resume_state(const struct co *co, const struct table *t)
{
    // Changes may have passed while it was suspended: only a load from the start would make it whole.
    if (co->streams && t->plan->state == GW__TABLE_STATE__STATE_ERROR) {
        return T_ERROR;
    }
    // Chunks of two snapshots are not mixed where bounds mean other rows in each.
    bool anew = (t->plan->one_snapshot && GW_GUARD("coordinator.one_snapshot")) || !t->plan->n_chunks;
    bool complete = t->plan->n_chunks && t->done == t->plan->n_chunks;
    switch (t->plan->state) {
    case GW__TABLE_STATE__STATE_COMPLETED: return T_DONE;
    case GW__TABLE_STATE__STATE_LOADED: return T_SEQUENCES_READ;
    case GW__TABLE_STATE__STATE_LOADING:
    case GW__TABLE_STATE__STATE_ERROR:
        if (complete) {
            return T_MARK_LOADED;
        }
        if (anew) {
            return T_RESTART;
        }
        return t->done ? T_LOADING : T_PLANNED;
    default: return anew ? T_RESTART : T_PLANNED;
    }
}

static bool
is_again(const struct co *co, const struct table *t)
{
    for (uint32_t i = 0; i < co->again_n; i++) {
        if (co->again[i] == t->plan->source->id) {
            return true;
        }
    }
    return false;
}

void
co_tables_from_state(struct co *co, const Gw__TargetState *state)
{
    Gw__TargetState *mine = gw_pb_dup(&co->arena, state);
    co->tables_n = mine->n_tables;
    co->tables = gw_arena_calloc(&co->arena, co->tables_n + 1, sizeof *co->tables);
    for (size_t i = 0; i < co->tables_n; i++) {
        struct table *t = &co->tables[i];
        table_init(co, t, mine->tables[i]);
        t->state = resume_state(co, t);
        t->reason = t->state == T_ERROR ? t->plan->reason : NULL;
        if (t->state == T_ERROR && co->mode == MODE_RUN && !is_again(co, t)) {
            (void)co_take_again(co, t);
        }
        gw_info("resume table=\"%s.%s\" state=\"%s\" chunks=%u/%zu", co_schema(t), co_name(t), state_names[t->state],
                t->done, t->plan->n_chunks);
    }
    put_in_order(co);
}

Gw__TargetState *
co_register_state(struct co *co, struct gw_arena *a)
{
    Gw__TargetState *s = gw_pb_new(a, Gw__TargetState, gw__target_state__init);
    s->task = co->task->name;
    s->task_uuid = co->uuid;
    s->mapping_hash = co->task->mapping_hash;
    s->source_identity = co->source_identity;
    s->source_engine = co->task->source->engine;
    s->started_us = co->started_us;
    s->progress = co->progress;
    for (size_t i = 0; i < co->tables_n; i++) {
        gw_pb_add(a, s, tables, co->tables[i].plan);
    }
    return s;
}

// ---- one job of a table ------------------------------------------------------------------------

// What every failure of a table's own job comes to. True if there was one.
bool
co_table_failed(struct co *co, struct table *t, struct gw_err *e)
{
    t->busy = false;
    if (e->cls == GW_OK) {
        return false;
    }
    if (strcmp(e->code, GW_CODE_LOST) == 0) {
        return true; // at once, by another
    }
    switch (e->cls) {
    case GW_AGAIN: break;
    case GW_RETRY:
        if (!co->patient) {
            co_fail(co, 3, e);
        } else {
            (void)co_recoverable(co, e, ++t->failures, &t->retry_us);
        }
        break;
    case GW_BUG: co_fail(co, 1, e); break;
    case GW_FENCED:
    case GW_CONFIG:
        // Is it the table, or the task? Before the plan is durable there is no task to take, and no doubt.
        if (co->registered && t->failures++ == 0) {
            co_doubt(co, e);
            break;
        }
        co_table_error(co, t, e);
        break;
    default: co_table_error(co, t, e);
    }
    return true;
}

// The ends of a key are those of the snapshot that the plan was made in. Without a stream of changes behind the load,
// rows beyond them that a later snapshot shows belong to the first and the last chunk: nobody else brings them. Within
// the same snapshot there are none. A stream brings them, but a TRUNCATE of such rows can only be told from one of the
// chunks' rows where the chunks hold all: a table that starts over is read so.
static void
open_ends(Gw__TablePlan *p)
{
    for (size_t i = 0; i < p->n_chunks; i++) {
        Gw__Chunk *c = p->chunks[i], *before = i ? p->chunks[i - 1] : NULL;
        if (c->by != GW__CHUNK_BY__BY_KEY) {
            continue;
        }
        if (!before || before->by != GW__CHUNK_BY__BY_KEY || !before->hi) {
            c->lo = NULL;
        }
        if (c->hi_inclusive) {
            c->hi = NULL;
            c->hi_inclusive = false;
        }
    }
}

void
co_table_set_chunks(struct co *co, struct table *t, Gw__TablePlan *planned)
{
    Gw__TablePlan *p = gw_pb_dup(&co->arena, planned);
    char id[37];
    gw_uuid(id);
    for (size_t i = 0; i < p->n_chunks; i++) {
        p->chunks[i]->plan_id = gw_arena_strdup(&co->arena, id);
    }
    if ((!co->streams && GW_GUARD("coordinator.open_ends")) || (co->streams && t->state == T_RESTART)) {
        open_ends(p);
    }
    if (co->streams && (t->state == T_RESTART || !gw_key_chunks_comparable(t->read, p))) {
        p->one_snapshot = true; // which chunk a change falls into could not be told; of a TRUNCATE, which rows it took
    }
    t->plan->chunks = p->chunks;
    t->plan->n_chunks = p->n_chunks;
    t->plan->one_snapshot = p->one_snapshot;
    t->chunks = gw_arena_calloc(&co->arena, p->n_chunks + 1, sizeof *t->chunks);
    t->open_from = t->done = 0;
    t->rows = t->bytes = t->refused = t->truncated = 0;
}

static void
planned(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    struct table *t = ctx;
    if (co_table_failed(co, t, e)) {
        return;
    }
    if (reply->body_case != GW__REPLY__BODY_PLAN || !reply->plan->n_chunks) {
        gw_err_set(e, GW_BUG, NULL, "capture answered without a plan");
        co_fail(co, 1, e);
        return;
    }
    co_table_set_chunks(co, t, reply->plan);
    t->token = gw_arena_strdup(&co->arena, w->token ? w->token : "");
    if (t->state == T_RESTART) {
        t->plan->generation++;
        co_table_set(co, t, T_REPLACE);
    } else {
        co_table_set(co, t, T_PLANNED);
    }
}

static bool
send_plan(struct co *co, struct table *t)
{
    struct worker *w = NULL;
    for (size_t i = 0; i < co->workers_n && !w; i++) {
        struct worker *c = &co->workers[i];
        bool current = c->token && (!co->shared || (co->token && strcmp(co->token, c->token) == 0));
        if (co_is_idle(c) && c->stage == GW__STAGE__STAGE_CAPTURE && current) {
            w = c;
        }
    }
    if (!w) {
        return false;
    }
    Gw__PlanTable p = GW__PLAN_TABLE__INIT;
    p.table = t->read;
    // Nothing is written by a rule's absence: the pointer is only read.
    p.rule = (Gw__TableSettingsRule *)(uintptr_t)gw_mapping_table_settings(co->task, co_schema(t), co_name(t));
    p.generation = t->plan->generation + (t->state == T_RESTART);
    p.lanes = (uint32_t)co_alive(co, GW__STAGE__STAGE_CAPTURE);
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_PLAN;
    cmd.plan = &p;
    co_send(co, w, &cmd, planned, t, "plans %s.%s", co_schema(t), co_name(t));
    return true;
}

static void
state_set(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)reply;
    struct table *t = ctx;
    if (t->state == T_MARK_ERROR && e->cls != GW_OK && e->cls != GW_RETRY && e->cls != GW_AGAIN) {
        // The reason that stands is the first one; it is told in any case.
        gw_log_err(GW_LOG_WARN, e, "record the suspension of table \"%s.%s\"", co_schema(t), co_name(t));
        t->busy = false;
        co_table_set(co, t, T_ERROR);
        return;
    }
    if (co_table_failed(co, t, e)) {
        return;
    }
    switch (t->state) {
    case T_REPLACE: co_table_set(co, t, T_PLANNED); break;
    case T_MARK_LOADED: co_table_set(co, t, T_SEQUENCES_READ); break;
    case T_MARK_DONE: co_table_set(co, t, T_DONE); break;
    case T_MARK_ERROR: co_table_set(co, t, T_ERROR); break;
    default: break;
    }
}

static bool
send_state(struct co *co, struct table *t)
{
    struct worker *w = co_idle(co, GW__STAGE__STAGE_APPLY);
    if (!w) {
        return false;
    }
    static const Gw__TableState durable[T_STATES] = {
        [T_REPLACE] = GW__TABLE_STATE__STATE_BEFORE_LOAD,
        [T_MARK_LOADED] = GW__TABLE_STATE__STATE_LOADED,
        [T_MARK_DONE] = GW__TABLE_STATE__STATE_COMPLETED,
        [T_MARK_ERROR] = GW__TABLE_STATE__STATE_ERROR,
    };
    Gw__SetTable set = GW__SET_TABLE__INIT;
    set.table_id = t->plan->source->id;
    set.generation = t->plan->generation;
    set.state = durable[t->state];
    set.reason = t->state == T_MARK_ERROR ? t->reason : NULL;
    if (t->state == T_REPLACE) {
        set.replace_chunks = true;
        set.chunks = t->plan->chunks;
        set.n_chunks = t->plan->n_chunks;
        set.one_snapshot = t->plan->one_snapshot;
    }
    t->plan->state = set.state;
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_SET_TABLE;
    cmd.set_table = &set;
    co_send(co, w, &cmd, state_set, t, "records %s.%s", co_schema(t), co_name(t));
    return true;
}

static void
prepared(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)reply;
    struct table *t = ctx;
    co->preparing = false;
    // An owner that was killed may have committed a chunk behind our reading of the state: the table is ready, and the
    // chunk's next claim finds it durable. If it is another generation that is ready, the claims say so.
    if (e->cls == GW_FENCED) {
        gw_log_err(GW_LOG_INFO, e, "table=\"%s.%s\" is prepared already", co_schema(t), co_name(t));
        gw_err_clear(e);
    }
    if (!co_table_failed(co, t, e)) {
        t->plan->state = GW__TABLE_STATE__STATE_LOADING;
        co_table_set(co, t, T_LOADING);
    }
}

static bool
send_prepare(struct co *co, struct table *t)
{
    struct worker *w = co->preparing ? NULL : co_idle(co, GW__STAGE__STAGE_APPLY);
    if (!w) {
        return false;
    }
    Gw__PrepareTable p = GW__PREPARE_TABLE__INIT;
    p.table = t->plan->target;
    p.generation = t->plan->generation;
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_PREPARE;
    cmd.prepare = &p;
    co_send(co, w, &cmd, prepared, t, "prepares %s.%s", co_schema(t), co_name(t));
    co->preparing = true;
    return true;
}

static bool
has_sequences(const Gw__Table *t)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (t->columns[i]->identity != GW__IDENTITY__IDENTITY_NONE) {
            return true;
        }
    }
    return false;
}

static void
sequences_read(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    struct table *t = ctx;
    if (co_table_failed(co, t, e)) {
        return;
    }
    const Gw__Table *read =
        reply->body_case == GW__REPLY__BODY_CATALOG && reply->catalog->n_tables ? reply->catalog->tables[0] : NULL;
    for (size_t i = 0; read && i < read->n_columns; i++) {
        for (size_t k = 0; k < t->plan->target->n_source_columns; k++) {
            if (strcmp(read->columns[i]->name, t->plan->target->source_columns[k]) == 0) {
                t->plan->target->columns[k]->sequence_next = read->columns[i]->sequence_next;
            }
        }
    }
    co_table_set(co, t, T_STEPS);
}

static bool
send_sequences(struct co *co, struct table *t)
{
    if (!has_sequences(t->plan->source)) {
        co_table_set(co, t, T_STEPS);
        return false;
    }
    struct worker *w = co_idle(co, GW__STAGE__STAGE_CAPTURE);
    if (!w) {
        return false;
    }
    Gw__Sequences s = GW__SEQUENCES__INIT;
    s.table = t->read;
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_SEQUENCES;
    cmd.sequences = &s;
    co_send(co, w, &cmd, sequences_read, t, "reads sequences of %s.%s", co_schema(t), co_name(t));
    return true;
}

void
co_resync_sequences(struct co *co)
{
    co->resync = true;
    for (size_t i = 0; i < co->tables_n; i++) {
        struct table *t = &co->tables[i];
        if (t->state == T_DONE && has_sequences(t->plan->source)) {
            t->steps = NULL;
            co_table_set(co, t, T_SEQUENCES_READ);
        }
    }
}

// ---- the tick ----------------------------------------------------------------------------------

static bool (*const send_for[T_STATES])(struct co *co, struct table *t) = {
    [T_UNPLANNED] = send_plan,      [T_RESTART] = send_plan,      [T_REPLACE] = send_state,
    [T_PLANNED] = send_prepare,     [T_MARK_LOADED] = send_state, [T_SEQUENCES_READ] = send_sequences,
    [T_STEPS] = co_send_list_steps, [T_MARK_DONE] = send_state,   [T_MARK_ERROR] = send_state,
};

bool
co_tables_past(const struct co *co, enum table_state s)
{
    for (size_t i = 0; i < co->tables_n; i++) {
        if (co->tables[i].state <= s) {
            return false;
        }
    }
    return true;
}

// A table whose chunks belong to one snapshot, which nobody has any more, starts over.
static void
check_snapshot(struct co *co, struct table *t)
{
    if (!t->plan->one_snapshot || t->flying || !t->token) {
        return;
    }
    bool could_live = false;
    for (size_t i = 0; i < co->workers_n; i++) {
        const struct worker *w = &co->workers[i];
        could_live = could_live || (w->alive && w->token && strcmp(w->token, t->token) == 0);
    }
    bool current = !co->shared || !co->token || strcmp(co->token, t->token) == 0;
    if ((!could_live || !current) && t->done < t->plan->n_chunks) {
        gw_warn("table starts over: its snapshot is lost table=\"%s.%s\" chunks=%u/%zu", co_schema(t), co_name(t),
                t->done, t->plan->n_chunks);
        co_table_set(co, t, T_RESTART);
    }
}

static void
tick_table(struct co *co, struct table *t, struct worker **idle, int64_t now)
{
    if (t->state == T_LOADING) {
        check_snapshot(co, t);
        if (t->state == T_LOADING && t->done == t->plan->n_chunks && !t->flying) {
            co_table_set(co, t, T_MARK_LOADED);
        }
    }
    if (t->busy || t->retry_us > now) {
        return;
    }
    if (t->state == T_PLANNED && co->phase < P_LOAD) {
        return; // nothing is changed on the target before the plan is durable there
    }
    bool (*send)(struct co *, struct table *) = send_for[t->state];
    if (send) {
        enum table_state before = t->state;
        t->busy = send(co, t);
        if (!t->busy && t->state != before) {
            return;
        }
        *idle = co_idle(co, GW__STAGE__STAGE_APPLY);
    } else if (t->steps && (t->state == T_KEYS || (t->state == T_CONSTRAINTS && co->phase >= P_CONSTRAINTS) ||
                            (t->state == T_SEQUENCES && co->phase >= P_SEQUENCES))) {
        if (co_run_steps(co, t, idle, now)) {
            co_steps_finished(co, t);
        }
    }
}

// As many tables as there are lanes, so that these need not share one: concurrent loaders of one table wait for each
// other, most of all on InnoDB.
static void
prepare_ahead(struct co *co, int64_t now)
{
    size_t lanes = co_alive(co, GW__STAGE__STAGE_APPLY), open = 0;
    for (size_t i = 0; i < co->tables_n; i++) {
        const struct table *t = &co->tables[i];
        open += (t->state == T_LOADING && t->done < t->plan->n_chunks) || (t->state == T_PLANNED && t->busy);
    }
    for (size_t i = 0; i < co->tables_n && open < lanes && co->phase >= P_LOAD; i++) {
        struct table *t = co->in_order[i];
        if (t->state == T_PLANNED && !t->busy && t->retry_us <= now) {
            t->busy = send_prepare(co, t);
            open += t->busy;
        }
    }
}

void
co_tables_tick(struct co *co)
{
    int64_t now = gw_now_us();
    prepare_ahead(co, now);
    co_flights_tick(co); // rows first: whatever else there is to do uses what they leave idle
    struct worker *idle = co_idle(co, GW__STAGE__STAGE_APPLY);
    for (size_t i = 0; i < co->tables_n && co_running(co); i++) {
        tick_table(co, co->in_order[i], &idle, now);
    }
    co_flights_tick(co);
}
