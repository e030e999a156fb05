// Definitions that change under the stream.
//
// A capture's run ends before the transaction that changes a definition, and says what the tables are behind it. What lies
// before is brought to its end; then, table by table, the new definition is mapped, the target is altered, and the plan
// that says so is written. All of it may be repeated: until the plan is durable, the next run ends at the same place. Then the
// state is read anew from the target, and the stream goes on with the definitions that are in force there.
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/policy.h"
#include "coordinator/co.h"

enum { STUCK_MAX = 20 };

// ---- the orders --------------------------------------------------------------------------------

void
co_alter_take(struct co *co, const Gw__StreamDone *done)
{
    struct alter *al = &co->alter;
    uint32_t stuck = al->orders_n && strcmp(al->position, done->position) == 0 ? al->stuck + 1 : 0;
    gw_arena_reset(&al->arena);
    *al = (struct alter){.arena = al->arena, .orders_n = al->orders_n + 1, .stuck = stuck};
    snprintf(al->position, sizeof al->position, "%s", done->position);
    if (stuck > STUCK_MAX) {
        struct gw_err e = {0};
        gw_err_set(&e, GW_BUG, NULL, "the stream meets a change of definitions behind %s again and again",
                   done->position);
        co_fail(co, 1, &e);
        return;
    }
    al->orders = gw_pb_dup(&al->arena, done);
    for (size_t i = 0; i < done->n_altered; i++) {
        const Gw__Altered *x = done->altered[i];
        gw_info("definition changes table=\"%s.%s\": %s", x->to ? x->to->source_schema : "",
                x->to ? x->to->source_name : "", x->what);
    }
}

static const Gw__Table *
in_catalog(const Gw__Catalog *cat, const struct table *t)
{
    for (size_t i = 0; i < cat->n_tables; i++) {
        if (strcmp(cat->tables[i]->source_schema, co_schema(t)) == 0 &&
            strcmp(cat->tables[i]->source_name, co_name(t)) == 0) {
            return cat->tables[i];
        }
    }
    return NULL;
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

// What the check of the stream has against a table, or NULL.
static const Gw__Finding *
objection(const Gw__Catalog *cat, const struct table *t)
{
    for (size_t i = 0; i < cat->n_findings; i++) {
        const Gw__Finding *f = cat->findings[i];
        if (f->severity == GW__SEVERITY__SEVERITY_ERROR && strcmp(f->schema, co_schema(t)) == 0 &&
            strcmp(f->table, co_name(t)) == 0) {
            return f;
        }
    }
    return NULL;
}

bool
co_alter_reload(struct co *co, const Gw__Catalog *now)
{
    struct alter *al = &co->alter;
    gw_arena_reset(&al->arena);
    *al = (struct alter){.arena = al->arena, .reload = true, .orders_n = al->orders_n};
    Gw__StreamDone *orders = gw_pb_new(&al->arena, Gw__StreamDone, gw__stream_done__init);
    for (size_t i = 0; i < co->tables_n; i++) {
        const struct table *t = &co->tables[i];
        bool wanted = t->state == T_ERROR && (co->reload || is_again(co, t));
        const Gw__Table *is = wanted ? in_catalog(now, t) : NULL;
        const Gw__Finding *f = is ? objection(now, t) : NULL;
        if (!is || f) {
            if (wanted) {
                gw_warn("table \"%s.%s\" stays suspended: %s", co_schema(t), co_name(t),
                        f ? f->message : "it is not on the source");
            }
            continue;
        }
        Gw__Altered *x = gw_pb_new(&al->arena, Gw__Altered, gw__altered__init);
        x->table = t->plan->source->id;
        x->to = gw_pb_dup(&al->arena, is);
        x->to->altered_at = gw_arena_strdup(&al->arena, now->position);
        x->what = gw_arena_strdup(&al->arena, "to be loaded anew");
        for (size_t k = 0; k < x->to->n_columns; k++) {
            x->to->columns[k]->was = x->to->columns[k]->name;
        }
        gw_pb_add(&al->arena, orders, altered, x);
    }
    al->orders = orders->n_altered ? orders : NULL;
    co->met = co->met && !al->orders;
    return al->orders != NULL;
}

bool
co_alter_waits(const struct co *co)
{
    return co->alter.orders != NULL;
}

// Brings what was committed before the change to its end; true if all of it is durable.
bool
co_alter_drain(struct co *co)
{
    if (!co->stream.id && strcmp(co->progress->position, co->alter.orders->position) == 0) {
        return true;
    }
    (void)co_stream_tick(co, RUN_TO_CHANGE);
    return false;
}

static struct table *
table_of(struct co *co, uint32_t id)
{
    for (size_t i = 0; id && i < co->tables_n; i++) {
        if (co->tables[i].plan->source->id == id) {
            return &co->tables[i];
        }
    }
    return NULL;
}

// Numbers are not given twice: counts of a table that is gone stay under its own.
static uint32_t
new_id(const struct co *co)
{
    uint32_t id = 0;
    for (size_t i = 0; i < co->tables_n; i++) {
        id = co->tables[i].plan->source->id > id ? co->tables[i].plan->source->id : id;
    }
    const Gw__StreamCounts *counts = co->stream.counts ? co->stream.counts : co->progress->counts;
    for (size_t i = 0; counts && i < counts->n_tables; i++) {
        id = counts->tables[i]->table > id ? counts->tables[i]->table : id;
    }
    for (size_t i = 0; i < co->alter.at; i++) { // made by an earlier order
        const Gw__Table *to = co->alter.orders->altered[i]->to;
        id = to && to->id > id ? to->id : id;
    }
    return id + 1;
}

static void
next_order(struct co *co)
{
    struct alter *al = &co->alter;
    al->at++;
    al->step = ALTER_BEGIN;
    al->target = NULL;
    al->plan = NULL;
    al->failures = 0;
    al->retry_us = 0;
    co->moves++;
}

static void
suspend(struct co *co, struct table *t, const struct gw_err *why)
{
    co_table_error(co, t, why);
    co->exit_code = 1;
}

// ---- one step ----------------------------------------------------------------------------------

// A new table that the target cannot have is part of the task, and suspended: so it is told until somebody does something.
static void
refuse(struct co *co, struct gw_err *e)
{
    struct alter *al = &co->alter;
    const Gw__Altered *x = al->orders->altered[al->at];
    struct table *t = table_of(co, x->table);
    if (!e->hint[0]) {
        gw_err_hint(e, "make the change on the target by hand and load the table anew, or leave it out of the task");
    }
    if (t && al->reload) {
        gw_log_err(GW_LOG_ERROR, e, "table \"%s.%s\" stays suspended", co_schema(t), co_name(t));
        t->reason = t->plan->reason = gw_arena_strdup(&co->arena, e->message);
        co_table_set(co, t, T_MARK_ERROR);
        next_order(co);
        return;
    }
    if (t) {
        suspend(co, t, e);
        next_order(co);
        return;
    }
    gw_log_err(GW_LOG_ERROR, e, "new table \"%s.%s\" cannot be carried", x->to->source_schema, x->to->source_name);
    co->exit_code = 1;
    al->plan->state = GW__TABLE_STATE__STATE_ERROR;
    al->plan->reason = gw_arena_strdup(&al->arena, e->message);
    al->step = ALTER_DEFINE;
}

// True if the step is to be done again, or something else came of the failure.
static bool
step_failed(struct co *co, struct gw_err *e)
{
    struct alter *al = &co->alter;
    al->busy = false;
    if (!co_running(co)) {
        return true;
    }
    switch (e->cls) {
    case GW_OK: return false;
    case GW_AGAIN: return true;
    case GW_RETRY:
        if (strcmp(e->code, GW_CODE_LOST) != 0) {
            (void)co_recoverable(co, e, ++al->failures, &al->retry_us);
        }
        return true;
    case GW_FENCED:
        al->retry_us = gw_now_us() + gw_retry_pause_us(co->task->errors, ++al->failures);
        co_doubt(co, e);
        return true;
    case GW_CONFIG:
    case GW_DATA:
        if (al->step == ALTER_DEFINE) {
            co_fail(co, 2, e);
        } else {
            refuse(co, e);
        }
        return true;
    default: co_fail(co, 1, e); return true;
    }
}

// What the columns were called on the target.
static void
map_was(struct gw_arena *a, const Gw__Table *from, Gw__Table *to)
{
    for (size_t i = 0; i < to->n_columns; i++) {
        Gw__Column *c = to->columns[i];
        const char *was = "";
        for (size_t k = 0; from && c->was[0] && k < from->n_source_columns; k++) {
            was = strcmp(from->source_columns[k], c->was) == 0 ? from->columns[k]->name : was;
        }
        c->was = gw_arena_strdup(a, was);
    }
}

// Whether the target's columns are the same ones.
static bool
same_columns(struct gw_arena *a, const Gw__Table *x, const Gw__Table *y)
{
    bool same = x->n_columns == y->n_columns && strcmp(x->schema, y->schema) == 0 && strcmp(x->name, y->name) == 0;
    for (size_t i = 0; same && i < x->n_columns; i++) {
        Gw__Column c[] = {*x->columns[i], *y->columns[i]};
        uint8_t *bytes[2];
        size_t n[2];
        for (int k = 0; k < 2; k++) { // without what is no definition
            c[k].was = c[k].fill = (char *)protobuf_c_empty_string;
            c[k].has_fill = false;
            c[k].number = 0;
            c[k].sequence_next = 0;
            n[k] = gw__column__get_packed_size(&c[k]);
            bytes[k] = gw_arena_alloc(a, n[k] + 1);
            gw__column__pack(&c[k], bytes[k]);
        }
        same = n[0] == n[1] && memcmp(bytes[0], bytes[1], n[0]) == 0;
    }
    return same;
}

static Gw__TablePlan *
new_plan(struct co *co, const struct table *t, Gw__Table *source, Gw__Table *target)
{
    Gw__TablePlan *p = gw_pb_new(&co->alter.arena, Gw__TablePlan, gw__table_plan__init);
    p->source = source;
    p->target = target;
    p->state = t ? t->plan->state : GW__TABLE_STATE__STATE_COMPLETED;
    p->generation = t ? t->plan->generation : 1;
    p->one_snapshot = t && t->plan->one_snapshot;
    p->ddls = t ? t->plan->ddls + 1 : 1;
    if (co->alter.reload || !t) { // a new one is loaded, too: it has rows by now
        p->state = GW__TABLE_STATE__STATE_BEFORE_LOAD;
        co->met = false;
    }
    return p;
}

static void
mapped(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    struct alter *al = &co->alter;
    Gw__Altered *x = al->orders->altered[al->at];
    const struct table *t = table_of(co, x->table);
    const Gw__Catalog *cat = reply && reply->body_case == GW__REPLY__BODY_CATALOG ? reply->catalog : NULL;
    if (e->cls == GW_OK && (!cat || !cat->n_tables)) {
        gw_err_set(e, GW_BUG, NULL, "transform did not map a table");
    }
    if (step_failed(co, e)) {
        return;
    }
    x->to->id = t ? t->plan->source->id : new_id(co);
    al->target = gw_pb_dup(&al->arena, cat->tables[cat->n_tables - 1]);
    al->target->id = x->to->id;
    map_was(&al->arena, t ? t->plan->target : NULL, al->target);
    al->plan = new_plan(co, t, x->to, al->target);
    if (x->refused[0]) {
        gw_err_set(e, GW_CONFIG, NULL, "%s", x->refused);
        refuse(co, e);
        return;
    }
    // A table that is made anew need not be altered before.
    bool anew = al->reload && (co->task->load->prep_mode == GW__PREP_MODE__DROP_AND_CREATE ||
                               same_columns(&al->arena, t->plan->target, al->target));
    al->step = anew || !t ? ALTER_DEFINE : ALTER_TARGET;
    for (size_t i = 0; i < cat->n_findings; i++) {
        const Gw__Finding *f = cat->findings[i];
        if (f->severity == GW__SEVERITY__SEVERITY_ERROR) {
            gw_err_set(e, GW_CONFIG, NULL, "%s", f->message);
            refuse(co, e);
            return;
        }
    }
}

// All tables, as names must not clash and foreign keys follow them; the one in question is the last.
static bool
send_map(struct co *co, struct worker *w, const Gw__Altered *x)
{
    struct gw_arena a;
    gw_arena_init(&a);
    Gw__Catalog *cat = gw_pb_new(&a, Gw__Catalog, gw__catalog__init);
    for (size_t i = 0; i < co->tables_n; i++) {
        if (co->tables[i].plan->source->id != x->table) {
            gw_pb_add(&a, cat, tables, co->tables[i].plan->source);
        }
    }
    gw_pb_add(&a, cat, tables, x->to);
    Gw__MapCatalog map = GW__MAP_CATALOG__INIT;
    map.catalog = cat;
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_MAP;
    cmd.map = &map;
    co_send(co, w, &cmd, mapped, NULL, "maps %s.%s", x->to->source_schema, x->to->source_name);
    gw_arena_fini(&a);
    return true;
}

static void
altered(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    (void)reply;
    if (!step_failed(co, e)) {
        co->alter.step = ALTER_DEFINE;
    }
}

static bool
send_alter(struct co *co, struct worker *w, const struct table *t)
{
    Gw__AlterTable alter = GW__ALTER_TABLE__INIT;
    alter.from = t->plan->target;
    alter.to = co->alter.target;
    const Gw__Table *name = alter.to ? alter.to : alter.from;
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_ALTER;
    cmd.alter = &alter;
    co_send(co, w, &cmd, altered, NULL, "alters %s.%s", name->source_schema, name->source_name);
    return true;
}

static void
defined(struct co *co, struct worker *w, void *ctx, const Gw__Reply *reply, struct gw_err *e)
{
    (void)w;
    (void)ctx;
    (void)reply;
    const Gw__Altered *x = co->alter.orders->altered[co->alter.at];
    if (!step_failed(co, e)) {
        gw_info("definition is in force on the target table=\"%s.%s\": %s", x->to ? x->to->source_schema : "",
                x->to ? x->to->source_name : "", x->what);
        next_order(co);
    }
}

static bool
send_define(struct co *co, struct worker *w, const Gw__Altered *x)
{
    Gw__DefineTable define = GW__DEFINE_TABLE__INIT;
    define.plan = co->alter.plan;
    define.table_id = define.plan ? define.plan->source->id : x->table;
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.body_case = GW__COMMAND__BODY_DEFINE;
    cmd.define = &define;
    co_send(co, w, &cmd, defined, NULL, "records a definition");
    return true;
}

// ---- what the task says to it ------------------------------------------------------------------

static bool
is_known(const struct co *co, const Gw__Table *to)
{
    for (size_t i = 0; i < co->tables_n; i++) {
        if (strcmp(co_schema(&co->tables[i]), to->source_schema) == 0 &&
            strcmp(co_name(&co->tables[i]), to->source_name) == 0) {
            return true;
        }
    }
    return false;
}

static const Gw__Column *
column(const Gw__Table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        if (strcmp(t->columns[i]->name, name) == 0) {
            return t->columns[i];
        }
    }
    return NULL;
}

// Which chunk a change falls into is told by the columns that they were cut by.
static bool
chunks_fit(const struct table *t, const Gw__Table *to)
{
    const Gw__Chunk *c = t->plan->n_chunks ? t->plan->chunks[0] : NULL;
    for (size_t i = 0; c && i < c->n_columns; i++) {
        const Gw__Column *is = column(to, c->columns[i]), *was = column(t->plan->source, c->columns[i]);
        if (!is || !was || strcmp(is->was, was->name) != 0 || is->type->kind != was->type->kind) {
            return false;
        }
    }
    return true;
}

// The first step of an order; ALTER_BEGIN if there is nothing to be done.
static enum alter_step
decide(struct co *co, const Gw__Altered *x, struct table *t)
{
    const Gw__StreamSettings *how = co->task->stream;
    struct gw_err e = {0};
    if (!t) {
        // Suspended, and made anew on the source: it stays suspended.
        return x->table || !x->to || is_known(co, x->to) ? ALTER_BEGIN : ALTER_MAP;
    }
    if (co->alter.reload) {
        return ALTER_MAP;
    }
    if (t->state == T_ERROR || t->state == T_MARK_ERROR) {
        return ALTER_BEGIN;
    }
    if (!x->to) {
        gw_warn("table \"%s.%s\" was dropped on the source: %s", co_schema(t), co_name(t),
                how->keep_dropped ? "the target's stays, as HandleSourceTableDropped says" : "so is the target's");
        return how->keep_dropped ? ALTER_DEFINE : ALTER_TARGET;
    }
    if (x->refused[0]) {
        gw_err_set(&e, GW_CONFIG, NULL, "%s", x->refused);
        gw_err_hint(&e, "load the table anew with --reload");
        suspend(co, t, &e);
        return ALTER_BEGIN;
    }
    if (how->refuse_altered) {
        gw_err_set(&e, GW_CONFIG, NULL, "its definition has changed on the source (%s)", x->what);
        gw_err_hint(&e, "HandleSourceTableAltered is false; make the change by hand and load the table anew");
        suspend(co, t, &e);
        return ALTER_BEGIN;
    }
    if (co_stream_is_mixed(co, t) && !chunks_fit(t, x->to)) {
        gw_err_set(&e, GW_CONFIG, NULL, "its key's definition has changed on the source since it was loaded (%s)",
                   x->what);
        gw_err_hint(&e, "load the table anew with --reload");
        suspend(co, t, &e);
        return ALTER_BEGIN;
    }
    return ALTER_MAP;
}

void
co_alter_tick(struct co *co)
{
    struct alter *al = &co->alter;
    co_tables_tick(co); // suspensions are recorded
    if (!co_running(co) || al->busy || al->retry_us > gw_now_us() || co_in_doubt(co)) {
        return;
    }
    if (al->at == al->orders->n_altered) {
        al->orders = NULL;
        (void)GW_FAULT("coordinator.altered");
        co_event(co, EV_ALTERS_DONE);
        return;
    }
    const Gw__Altered *x = al->orders->altered[al->at];
    struct table *t = table_of(co, x->table);
    if (al->step == ALTER_BEGIN && (al->step = decide(co, x, t)) == ALTER_BEGIN) {
        next_order(co);
        return;
    }
    struct worker *w = co_idle(co, al->step == ALTER_MAP ? GW__STAGE__STAGE_TRANSFORM : GW__STAGE__STAGE_APPLY);
    if (w) {
        al->busy = al->step == ALTER_MAP      ? send_map(co, w, x)
                   : al->step == ALTER_TARGET ? send_alter(co, w, t)
                                              : send_define(co, w, x);
    }
}
