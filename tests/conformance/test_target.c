// Every target engine against apply/target.h: state, prepare, finish.
#include <string.h>

#include "target_table.h"

// ---- state -------------------------------------------------------------------------------------

static void
close_is_harmless(void **state)
{
    struct conform *c = conform_start(state);
    void *never = calloc(1, c->target->state_size);
    assert_non_null(never);
    c->target->close(never); // never opened
    c->target->close(never);
    Gw__Task broken = *c->task;
    Gw__Endpoint nowhere = *c->task->target;
    nowhere.host = gw_arena_strdup(&c->arena, "127.0.0.1");
    nowhere.port = 1;
    nowhere.n_params = 0;
    nowhere.database = gw_arena_strdup(&c->arena, "/nonexistent/folder/file");
    broken.target = &nowhere;
    conform_either(c, c->target->open(never, &broken, "x", NULL, &c->err), GW_CONFIG, GW_RETRY);
    c->target->close(never); // half open
    c->target->close(never);
    free(never);
    Gw__Table *t = target_ready(c, target_catalog(c), 1);
    target_begin(c, c->a, t, target_chunk_of(c, t, 1, 0), false);
    conform_ok(c, c->target->load_write(c->a, "1\t1\ta\n", 6, 1, &c->err));
    c->target->close(c->a); // with a load open: rolls back
    c->target->close(c->a);
    assert_false(target_stored_chunk(c, t, 0)->done);
    target_table_is(c, t, "");
    conform_end(c);
}

static void
state_round_trip(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Catalog *cat = conform_memory_catalog(c, "memory://x?tables=2&rows=5");
    conform_ok(c, c->target->state_drop(c->a, &c->err)); // legal with nothing there
    assert_false(target_stored(c)->exists);
    Gw__TargetState *s = conform_state(c, cat, 3);
    s->tables[1]->one_snapshot = true;
    s->tables[1]->chunks[2]->by = GW__CHUNK_BY__BY_KEY;
    gw_pb_add(&c->arena, s->tables[1]->chunks[2], columns, gw_arena_strdup(&c->arena, "i\"d'"));
    conform_ok(c, c->target->state_register(c->a, s, &c->err));
    conform_ok(c, c->target->state_register(c->a, s, &c->err)); // the same again
    conform_ok(c, c->target->state_register(c->b, s, &c->err)); // and by somebody else
    for (int with_plan = 0; with_plan < 2; with_plan++) {
        Gw__TargetState *got = gw_pb_new(&c->arena, Gw__TargetState, gw__target_state__init);
        conform_ok(c, c->target->state_load(c->b, &c->arena, with_plan, got, &c->err));
        assert_true(got->exists);
        assert_false(got->completed);
        assert_string_equal(got->task_uuid, s->task_uuid);
        assert_string_equal(got->mapping_hash, s->mapping_hash);
        assert_string_equal(got->source_identity, s->source_identity);
        assert_string_equal(got->source_engine, s->source_engine);
        assert_int_equal(got->started_us, s->started_us);
        if (!with_plan) {
            continue;
        }
        assert_int_equal(got->n_tables, 2);
        for (size_t i = 0; i < 2; i++) {
            const Gw__TablePlan *p = got->tables[i];
            assert_int_equal(p->target->id, cat->tables[i]->id);
            assert_string_equal(p->target->name, cat->tables[i]->name);
            assert_string_equal(p->source->source_name, cat->tables[i]->source_name);
            assert_int_equal(p->target->n_columns, cat->tables[i]->n_columns);
            assert_int_equal(p->generation, 1);
            assert_int_equal(p->state, GW__TABLE_STATE__STATE_BEFORE_LOAD);
            assert_int_equal(p->one_snapshot, i == 1);
            assert_int_equal(p->n_chunks, 3);
            for (uint32_t k = 0; k < 3; k++) {
                assert_int_equal(p->chunks[k]->no, k);
                assert_int_equal(p->chunks[k]->bytes_estimate, CONFORM_ESTIMATE + k);
                assert_int_equal(p->chunks[k]->generation, 1);
                assert_false(p->chunks[k]->done);
            }
        }
        assert_string_equal(got->tables[1]->chunks[2]->columns[0], "i\"d'");
    }
    s->task_uuid = gw_arena_strdup(&c->arena, "22222222-2222-4222-8222-222222222222");
    conform_is(c, c->target->state_register(c->b, s, &c->err), GW_CONFIG);
    conform_end(c);
}

static void
state_is_set(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 2);
    Gw__SetTable set = GW__SET_TABLE__INIT;
    set.table_id = t->id;
    set.generation = 1;
    set.state = GW__TABLE_STATE__STATE_ERROR;
    set.reason = gw_arena_strdup(&c->arena, "it's \"wrong\"");
    conform_ok(c, c->target->state_set(c->a, &set, &c->err));
    conform_ok(c, c->target->state_set(c->a, &set, &c->err));
    const Gw__TablePlan *p = target_stored(c)->tables[0];
    assert_int_equal(p->state, GW__TABLE_STATE__STATE_ERROR);
    assert_string_equal(p->reason, set.reason);
    assert_int_equal(p->n_chunks, 2);
    set.generation = 3; // starts over
    set.state = GW__TABLE_STATE__STATE_BEFORE_LOAD;
    set.reason = gw_arena_strdup(&c->arena, "");
    set.replace_chunks = set.one_snapshot = true;
    for (uint32_t i = 0; i < 5; i++) {
        gw_pb_add(&c->arena, &set, chunks, target_chunk_of(c, t, 3, i));
    }
    conform_ok(c, c->target->state_set(c->a, &set, &c->err));
    conform_ok(c, c->target->state_set(c->a, &set, &c->err));
    p = target_stored(c)->tables[0];
    assert_int_equal(p->generation, 3);
    assert_int_equal(p->n_chunks, 5);
    assert_true(p->one_snapshot);
    set.generation = 2;
    conform_is(c, c->target->state_set(c->a, &set, &c->err), GW_FENCED);
    conform_end(c);
}

// Moves the table to a state without another plan.
static void
set_state(struct conform *c, const Gw__Table *t, uint32_t generation, Gw__TableState to, int want)
{
    Gw__SetTable set = GW__SET_TABLE__INIT;
    set.table_id = t->id;
    set.generation = generation;
    set.state = to;
    conform_is(c, c->target->state_set(c->a, &set, &c->err), want);
}

static void
completed_and_dropped(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 1);
    conform_load(c, c->a, t, 0, "1\t1\ta\n", 6, 1);
    set_state(c, t, 1, GW__TABLE_STATE__STATE_COMPLETED, GW_OK);
    conform_ok(c, c->target->state_complete(c->a, 1700000009000001, &c->err));
    conform_ok(c, c->target->state_complete(c->a, 1700000009000001, &c->err));
    Gw__TargetState *s = target_stored(c);
    assert_true(s->completed);
    assert_int_equal(s->completed_us, 1700000009000001);
    conform_ok(c, c->target->state_drop(c->b, &c->err));
    conform_ok(c, c->target->state_drop(c->b, &c->err));
    assert_false(target_stored(c)->exists);
    target_table_is(c, t, "1\t1\ta\n"); // the migrated table stays
    uint64_t epoch = 77;
    Gw__Chunk done = GW__CHUNK__INIT;
    int r = c->target->load_begin(c->a, &c->arena, t, target_chunk_of(c, t, 1, 0), false, &epoch, &done, &c->err);
    conform_either(c, r, GW_FENCED, GW_CONFIG); // there may be no table left to look into
    assert_int_equal(epoch, 77);
    conform_end(c);
}

static void
preflight_changes_nothing(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Catalog *cat = conform_memory_catalog(c, TARGET_SEED),
                *found = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    conform_ok(c, c->target->state_drop(c->a, &c->err));
    conform_ok(c, c->target->preflight(c->a, &c->arena, cat, false, found, &c->err));
    for (size_t i = 0; i < found->n_findings; i++) {
        if (found->findings[i]->severity == GW__SEVERITY__SEVERITY_ERROR) {
            fail_msg("%s: %s", found->findings[i]->object, found->findings[i]->message);
        }
    }
    assert_false(target_stored(c)->exists);
    Gw__Table *twin = gw_pb_dup(&c->arena, cat->tables[0]); // two tables of one name
    twin->id = 99;
    gw_pb_add(&c->arena, cat, tables, twin);
    conform_ok(c, c->target->preflight(c->a, &c->arena, cat, false, found, &c->err));
    bool said = false;
    for (size_t i = 0; i < found->n_findings; i++) {
        said = said || found->findings[i]->severity == GW__SEVERITY__SEVERITY_ERROR;
    }
    assert_true(said);
    conform_end(c);
}

// ---- prepare -----------------------------------------------------------------------------------

static void
prepare_repeats(void **state)
{
    static const Gw__PrepMode modes[] = {GW__PREP_MODE__DO_NOTHING, GW__PREP_MODE__DROP_AND_CREATE,
                                         GW__PREP_MODE__TRUNCATE_BEFORE_LOAD};
    for (size_t m = 0; m < 3; m++) {
        void *engine = *state;
        struct conform *c = conform_start(&engine);
        *state = c->engine ? (void *)(uintptr_t)c->engine : NULL;
        Gw__Table *t = target_ready(c, target_catalog(c), 1); // DROP_AND_CREATE: whatever was there is gone
        conform_load(c, c->a, t, 0, "7\t1\told\n", 8, 1);
        conform_is(c, c->target->prepare(c->b, t, 1, &c->err), GW_FENCED); // a chunk is durable
        target_table_is(c, t, "7\t1\told\n");
        conform_ok(c, c->target->state_drop(c->a, &c->err));
        c->task->load->prep_mode = modes[m];
        c->task->uuid = gw_arena_strdup(&c->arena, "33333333-3333-4333-8333-333333333333");
        Gw__TargetState *s = conform_state(c, target_catalog(c), 1);
        conform_ok(c, c->target->state_register(c->a, s, &c->err));
        for (int i = 0; i < 3; i++) {
            conform_ok(c, c->target->prepare(i == 1 ? c->b : c->a, t, 1, &c->err));
        }
        assert_int_equal(target_stored(c)->tables[0]->state, GW__TABLE_STATE__STATE_LOADING);
        conform_load(c, c->a, t, 0, "1\t1\ta\n", 6, 1);
        if (strcmp(c->engine, "memory") != 0) { // whose state does not say what other tasks left behind
            target_table_is(c, t, m == 0 ? "7\t1\told\n1\t1\ta\n" : "1\t1\ta\n");
        }
        conform_is(c, c->target->prepare(c->b, t, 1, &c->err), GW_FENCED);
        conform_end(c);
    }
}

static void
generations_are_fenced(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 1);
    target_begin(c, c->a, t, target_chunk_of(c, t, 1, 0), false);
    Gw__SetTable set = GW__SET_TABLE__INIT;
    set.table_id = t->id;
    set.generation = 2;
    set.replace_chunks = true;
    set.reason = gw_arena_strdup(&c->arena, "");
    gw_pb_add(&c->arena, &set, chunks, target_chunk_of(c, t, 2, 0));
    conform_ok(c, c->target->state_set(c->b, &set, &c->err));
    struct gw_target_counts n = {0};
    conform_either(c, c->target->load_commit(c->a, &n, "s", &c->err), GW_FENCED, GW_RETRY);
    conform_close_target(c, &c->a);
    c->a = conform_open_target(c, "00000000-0000-4000-8000-0000000000a2");
    conform_is(c, c->target->prepare(c->a, t, 1, &c->err), GW_FENCED);
    conform_close_target(c, &c->a);
    c->a = conform_open_target(c, "00000000-0000-4000-8000-0000000000a3");
    conform_ok(c, c->target->prepare(c->a, t, 2, &c->err));
    uint64_t epoch = 77;
    Gw__Chunk done = GW__CHUNK__INIT;
    conform_is(c, c->target->load_begin(c->a, &c->arena, t, target_chunk_of(c, t, 1, 0), false, &epoch, &done, &c->err),
               GW_FENCED);
    assert_int_equal(epoch, 77); // untouched
    conform_close_target(c, &c->a);
    c->a = conform_open_target(c, "00000000-0000-4000-8000-0000000000a4");
    target_begin(c, c->a, t, target_chunk_of(c, t, 2, 0), false);
    conform_ok(c, c->target->load_commit(c->a, &n, "s", &c->err));
    target_table_is(c, t, "");
    conform_end(c);
}

// ---- finish, names -----------------------------------------------------------------------------

static void
steps_repeat(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, conform_memory_catalog(c, TARGET_SEED), 1);
    conform_load(c, c->a, t, 0, "", 0, 0);
    t->columns[0]->sequence_next = 41;
    Gw__Steps one = GW__STEPS__INIT, two = GW__STEPS__INIT;
    conform_ok(c, c->target->finish_plan(c->a, &c->arena, t, &one, &c->err));
    assert_true(one.n_steps > 0);
    for (int round = 0; round < 2; round++) {
        for (Gw__StepPhase phase = GW__STEP_PHASE__STEP_KEYS; phase <= GW__STEP_PHASE__STEP_SEQUENCES; phase++) {
            for (size_t i = 0; i < one.n_steps; i++) {
                if (one.steps[i]->phase == phase) {
                    conform_ok(c, c->target->finish_step(round ? c->b : c->a, t, one.steps[i], 1, &c->err));
                }
            }
        }
    }
    conform_ok(c, c->target->finish_plan(c->b, &c->arena, t, &two, &c->err));
    assert_int_equal(one.n_steps, two.n_steps); // same table, same steps, same names, always
    const Gw__TablePlan *p = target_stored(c)->tables[0];
    assert_int_equal(p->n_steps_done, one.n_steps);
    for (size_t i = 0; i < one.n_steps; i++) {
        assert_string_equal(one.steps[i]->name, two.steps[i]->name);
        size_t found = 0;
        for (size_t k = 0; k < p->n_steps_done; k++) {
            found += strcmp(p->steps_done[k], one.steps[i]->name) == 0;
        }
        assert_int_equal(found, 1);
    }
    conform_is(c, c->target->finish_step(c->a, t, one.steps[0], 9, &c->err), GW_FENCED);
    conform_end(c);
}

static void
names_are_quoted(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Catalog *cat = target_catalog(c);
    Gw__Table *t = cat->tables[0];
    if (strcmp(c->engine, "memory") != 0) { // whose files this test's reader looks for without escapes
        t->name = gw_arena_strdup(&c->arena, "Sel\"ect `it's` \xc3\xa9");
    }
    t->columns[1]->name = gw_arena_strdup(&c->arena, "or\"der by");
    t->columns[2]->name = gw_arena_strdup(&c->arena, "`la'bel` %s \\");
    target_ready(c, cat, 1);
    conform_load(c, c->a, t, 0, "1\t1\ta\n", 6, 1);
    target_table_is(c, t, "1\t1\ta\n");
    Gw__Steps steps = GW__STEPS__INIT;
    conform_ok(c, c->target->finish_plan(c->a, &c->arena, t, &steps, &c->err));
    for (size_t i = 0; i < steps.n_steps; i++) {
        conform_ok(c, c->target->finish_step(c->a, t, steps.steps[i], 1, &c->err));
    }
    conform_end(c);
}

static const struct conform_test tests[] = {
    {"close is harmless", close_is_harmless},
    {"state: round trip", state_round_trip},
    {"state: set", state_is_set},
    {"state: completed and dropped", completed_and_dropped},
    {"preflight changes nothing", preflight_changes_nothing},
    {"prepare: repeats, in every mode", prepare_repeats},
    {"generations are fenced", generations_are_fenced},
    {"finish: steps repeat", steps_repeat},
    {"names are quoted", names_are_quoted},
};

int
main(void)
{
    const char *engines[64];
    size_t n = 0;
    for (const struct gw_target_ops *const *e = gw_targets; *e && n < 64; e++) {
        engines[n++] = (*e)->name;
        if ((*e)->version != GW_TARGET_VERSION) {
            return 1;
        }
    }
    return conform_run("target", tests, sizeof tests / sizeof *tests, engines, n);
}
