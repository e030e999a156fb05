// Every target engine against apply/target.h: whose plan is it? Two coordinators on one task, an order that is repeated, a
// target that has forgotten what it once confirmed.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target_table.h"

#define ROW "1\t1\ta\n"
enum { ROW_LEN = sizeof ROW - 1 };
static const struct gw_target_counts one_row = {.rows_read = 1, .rows_written = 1};

static const char *const owners[] = {"00000000-0000-4000-8000-0000000000c1", "00000000-0000-4000-8000-0000000000c2",
                                     "00000000-0000-4000-8000-0000000000c3"};

// After a failure only close is legal.
static void
reopen(struct conform *c, void **self, size_t owner)
{
    conform_close_target(c, self);
    *self = conform_open_target(c, owners[owner]);
}

static void
is_fenced(struct conform *c, const Gw__Table *t, const Gw__Chunk *ch)
{
    uint64_t epoch = 77;
    Gw__Chunk done = GW__CHUNK__INIT;
    struct gw_err err = {0};
    assert_int_equal(c->target->load_begin(c->a, &c->arena, t, ch, false, &epoch, &done, &err), GW_FENCED);
    assert_int_equal(epoch, 77);
    assert_non_null(strstr(err.message, "is not the stored plan's"));
    assert_true(err.hint[0]);
    reopen(c, &c->a, 0);
}

static Gw__Bound *
bound(struct conform *c, const char *value)
{
    Gw__Bound *b = gw_pb_new(&c->arena, Gw__Bound, gw__bound__init);
    gw_pb_add(&c->arena, b, values, gw_arena_strdup(&c->arena, value));
    return b;
}

// Chunks that are not the stored ones, each in one thing: of another plan, with another bound, size, order.
static void
all_others_are_fenced(struct conform *c, const Gw__Table *t, const Gw__Chunk *stored)
{
    Gw__Chunk *other[6];
    for (size_t i = 0; i < 6; i++) {
        other[i] = gw_pb_dup(&c->arena, stored);
        other[i]->generation = 1;
    }
    other[0]->plan_id = gw_arena_strdup(&c->arena, "55555555-5555-4555-8555-555555555555");
    other[1]->plan_id = gw_arena_strdup(&c->arena, "");
    other[2]->hi = bound(c, "50");
    other[3]->lo = bound(c, "7");
    other[4]->bytes_estimate++;
    other[5]->with_nulls = !other[5]->with_nulls;
    for (size_t i = 0; i < 6; i++) {
        is_fenced(c, t, other[i]);
    }
}

static void
claim_compares_the_plan(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Catalog *cat = target_catalog(c);
    Gw__Table *t = cat->tables[0];
    Gw__TargetState *s = conform_state(c, cat, 2);
    Gw__Chunk *first = s->tables[0]->chunks[0];
    first->lo = bound(c, "1");
    first->hi = bound(c, "5\x01'\\");
    // What is durable is for the target to say, not for the one who registers.
    first->done = true;
    first->rows_written = 9;
    first->epoch = 5;
    first->snapshot = gw_arena_strdup(&c->arena, "never");
    conform_register(c, s);
    conform_ok(c, c->target->prepare(c->a, t, 1, &c->err));
    const Gw__Chunk *stored = target_stored_chunk(c, t, 0);
    assert_false(stored->done);
    assert_int_equal(stored->rows_written, 0);
    assert_int_equal(stored->generation, 1);
    assert_string_equal(stored->snapshot, "");
    assert_string_equal(stored->plan_id, CONFORM_PLAN);
    all_others_are_fenced(c, t, stored);

    // Whoever holds the right plan is not disturbed by all that.
    Gw__Chunk *mine = gw_pb_dup(&c->arena, stored);
    mine->snapshot = gw_arena_strdup(&c->arena, "any"); // neither these belong to the plan
    mine->epoch = 99;
    uint64_t epoch = target_begin(c, c->b, t, mine, false);
    all_others_are_fenced(c, t, stored);
    conform_ok(c, c->target->load_write(c->b, ROW, ROW_LEN, 1, &c->err));
    conform_ok(c, c->target->load_commit(c->b, &one_row, "s", &c->err));

    // A durable chunk of another plan is not this one's end.
    all_others_are_fenced(c, t, stored);
    Gw__Chunk done = GW__CHUNK__INIT;
    uint64_t again = 77;
    conform_is(c, c->target->load_begin(c->a, &c->arena, t, mine, false, &again, &done, &c->err), GW_END);
    assert_int_equal(done.epoch, epoch);
    assert_int_equal(done.rows_written, 1);
    target_table_is(c, t, ROW);
    conform_end(c);
}

// A table that starts over in generation `generation`, with a plan that `cut` makes different from others.
static Gw__SetTable *
order(struct conform *c, const Gw__Table *t, uint32_t generation, uint32_t chunks, const char *cut)
{
    Gw__SetTable *set = gw_pb_new(&c->arena, Gw__SetTable, gw__set_table__init);
    set->table_id = t->id;
    set->generation = generation;
    set->replace_chunks = true;
    for (uint32_t i = 0; i < chunks; i++) {
        Gw__Chunk *ch = target_chunk_of(c, t, generation, i);
        ch->hi = bound(c, cut);
        gw_pb_add(&c->arena, set, chunks, ch);
    }
    return set;
}

static void
of_two_orders_one_wins(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 1);
    Gw__SetTable *ours = order(c, t, 2, 3, "10");
    conform_ok(c, c->target->state_set(c->a, ours, &c->err));
    Gw__SetTable *theirs[] = {order(c, t, 2, 3, "11"), order(c, t, 2, 2, "10"), order(c, t, 2, 4, "10"),
                              order(c, t, 2, 0, "10"), order(c, t, 1, 3, "10")};
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) {
        conform_is(c, c->target->state_set(c->b, theirs[i], &c->err), GW_FENCED);
        reopen(c, &c->b, 1);
    }
    const Gw__TablePlan *p = target_stored(c)->tables[0];
    assert_int_equal(p->n_chunks, 3);
    assert_string_equal(p->chunks[2]->hi->values[0], "10");
    conform_ok(c, c->target->prepare(c->a, t, 2, &c->err));
    is_fenced(c, t, theirs[0]->chunks[1]);

    // The order again: its answer may have been lost. Whatever was claimed since is void.
    target_begin(c, c->a, t, ours->chunks[1], false);
    conform_ok(c, c->target->state_set(c->b, ours, &c->err));
    assert_int_equal(target_stored(c)->tables[0]->n_chunks, 3);
    int r = c->target->load_write(c->a, ROW, ROW_LEN, 1, &c->err);
    r = r == GW_OK ? c->target->load_commit(c->a, &one_row, "s", &c->err) : r;
    conform_either(c, r, GW_FENCED, GW_RETRY);
    reopen(c, &c->a, 0);
    conform_ok(c, c->target->prepare(c->b, t, 2, &c->err));
    target_begin(c, c->a, t, ours->chunks[1], false);
    conform_ok(c, c->target->load_write(c->a, ROW, ROW_LEN, 1, &c->err));
    conform_ok(c, c->target->load_commit(c->a, &one_row, "s", &c->err));

    // And not any more once something is durable.
    conform_is(c, c->target->state_set(c->b, ours, &c->err), GW_FENCED);
    reopen(c, &c->b, 1);
    assert_true(target_stored_chunk(c, t, 1)->done);
    target_table_is(c, t, ROW);
    conform_end(c);
}

// Two claims of one chunk, with the order repeated between them: the earlier must not commit as the later.
static void
repeated_order_voids_claims(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 1);
    Gw__SetTable *ours = order(c, t, 2, 1, "10");
    conform_ok(c, c->target->state_set(c->a, ours, &c->err));
    conform_ok(c, c->target->prepare(c->a, t, 2, &c->err));
    target_begin(c, c->a, t, ours->chunks[0], false);
    if (strcmp(c->engine, "sqlite") != 0) { // whose write lock would keep the order out
        conform_ok(c, c->target->load_write(c->a, "9\t9\told\n", 8, 1, &c->err));
    }
    void *third = conform_open_target(c, owners[2]);
    conform_ok(c, c->target->state_set(third, ours, &c->err));
    target_begin(c, c->b, t, ours->chunks[0], false);
    int r = strcmp(c->engine, "sqlite") == 0 ? c->target->load_write(c->a, "9\t9\told\n", 8, 1, &c->err) : GW_OK;
    r = r == GW_OK ? c->target->load_commit(c->a, &one_row, "s", &c->err) : r;
    conform_either(c, r, GW_FENCED, GW_RETRY);
    conform_close_target(c, &c->a);
    conform_ok(c, c->target->load_write(c->b, ROW, ROW_LEN, 1, &c->err));
    conform_ok(c, c->target->load_commit(c->b, &one_row, "s", &c->err));
    conform_close_target(c, &third);
    target_table_is(c, t, ROW);
    conform_end(c);
}

static void
move_to(struct conform *c, const Gw__Table *t, uint32_t generation, Gw__TableState to, int want)
{
    Gw__SetTable set = GW__SET_TABLE__INIT;
    set.table_id = t->id;
    set.generation = generation;
    set.state = to;
    struct gw_err err = {0};
    assert_int_equal(c->target->state_set(c->a, &set, &err), want);
    if (want != GW_OK) {
        assert_true(err.hint[0]);
        reopen(c, &c->a, 0);
    }
}

static void
complete(struct conform *c, int want)
{
    conform_is(c, c->target->state_complete(c->a, 1700000009000001, &c->err), want);
    if (want != GW_OK) {
        reopen(c, &c->a, 0);
        assert_false(target_stored(c)->completed);
    }
}

static void
loaded_is_what_the_target_holds(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Catalog *cat = target_catalog(c);
    Gw__Table *second = gw_pb_dup(&c->arena, cat->tables[0]);
    second->id = cat->tables[0]->id + 1;
    second->name = gw_arena_strdup(&c->arena, "small2");
    second->source_name = gw_arena_strdup(&c->arena, "small2");
    gw_pb_add(&c->arena, cat, tables, second);
    Gw__Table *t = target_ready(c, cat, 2);
    complete(c, GW_FENCED);
    move_to(c, t, 1, GW__TABLE_STATE__STATE_LOADED, GW_FENCED);
    move_to(c, t, 1, GW__TABLE_STATE__STATE_COMPLETED, GW_FENCED);
    conform_load(c, c->a, t, 0, ROW, ROW_LEN, 1);
    move_to(c, t, 1, GW__TABLE_STATE__STATE_LOADED, GW_FENCED); // the second chunk is open
    conform_load(c, c->a, t, 1, "2\t2\tb\n", 6, 1);
    // A generation that the target has never heard of, or does not know any more.
    move_to(c, t, 2, GW__TABLE_STATE__STATE_LOADED, GW_FENCED);
    move_to(c, t, 1, GW__TABLE_STATE__STATE_LOADED, GW_OK);
    assert_int_equal(target_stored(c)->tables[0]->state, GW__TABLE_STATE__STATE_LOADED);
    complete(c, GW_FENCED);
    move_to(c, t, 1, GW__TABLE_STATE__STATE_COMPLETED, GW_OK);
    move_to(c, t, 1, GW__TABLE_STATE__STATE_COMPLETED, GW_OK);
    complete(c, GW_FENCED);                                     // the other table
    move_to(c, second, 1, GW__TABLE_STATE__STATE_ERROR, GW_OK); // whatever is open
    complete(c, GW_OK);
    complete(c, GW_OK);
    assert_true(target_stored(c)->completed);
    conform_end(c);
}

// A loader that commits while its table starts over: its row is known to be of this task, and goes with the others.
static void
late_loader_is_not_kept(void **state)
{
#ifdef GW_NO_FAULTS
    (void)state;
    skip();
#else
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 1); // makes it anew, empty
    conform_ok(c, c->target->state_drop(c->a, &c->err));
    c->task->load->prep_mode = GW__PREP_MODE__DO_NOTHING; // keeps rows of others
    conform_ok(c, c->target->state_register(c->a, conform_state(c, target_catalog(c), 1), &c->err));
    conform_ok(c, c->target->prepare(c->a, t, 1, &c->err));
    conform_close_target(c, &c->a); // connections do not survive a fork in both
    conform_close_target(c, &c->b);
    const char *password =
        getenv(strcmp(c->engine, "mysql") == 0 ? "GW_TEST_MYSQL_PASSWORD" : "GW_TEST_POSTGRESQL_PASSWORD");
    pid_t pids[2];
    Gw__SetTable *set = order(c, t, 2, 1, "10");
    for (int i = 0; i < 2; i++) {
        fflush(NULL);
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            struct gw_err err = {0};
            uint64_t epoch = 0;
            Gw__Chunk done = GW__CHUNK__INIT;
            void *self = calloc(1, c->target->state_size);
            setenv("GODWIT_FAULT", "apply.before_commit=stop@1", 1);
            int r = c->target->open(self, c->task, owners[i], password, &err);
            if (i == 0 && r == GW_OK) {
                r = c->target->load_begin(self, &c->arena, t, target_chunk_of(c, t, 1, 0), false, &epoch, &done, &err);
                r = r == GW_OK ? c->target->load_write(self, "9\t9\told\n", 8, 1, &err) : r;
                r = r == GW_OK ? c->target->load_commit(self, &one_row, "s", &err) : r;
            } else if (r == GW_OK) {
                r = c->target->state_set(self, set, &err);
            }
            c->target->close(self);
            _exit(r);
        }
        int status = 0;
        if (i == 0) { // between the fence and the commit
            assert_int_equal(waitpid(pids[0], &status, WUNTRACED), pids[0]);
            assert_true(WIFSTOPPED(status));
        }
    }
    usleep(300 * 1000); // gives the order the time to run into the loader's lock; right in any order
    kill(pids[0], SIGCONT);
    int status[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(waitpid(pids[i], &status[i], 0), pids[i]);
        assert_true(WIFEXITED(status[i]));
    }
    c->a = conform_open_target(c, owners[0]);
    c->b = conform_open_target(c, owners[1]);
    if (WEXITSTATUS(status[1]) != GW_OK) {
        conform_ok(c, c->target->state_set(c->b, set, &c->err));
    }
    if (WEXITSTATUS(status[0]) != GW_OK) {
        conform_either(c, WEXITSTATUS(status[0]), GW_FENCED, GW_RETRY);
    }
    conform_ok(c, c->target->prepare(c->a, t, 2, &c->err));
    target_table_is(c, t, "");
    target_begin(c, c->a, t, set->chunks[0], false);
    conform_ok(c, c->target->load_write(c->a, ROW, ROW_LEN, 1, &c->err));
    conform_ok(c, c->target->load_commit(c->a, &one_row, "s", &c->err));
    target_table_is(c, t, ROW);
    conform_end(c);
#endif
}

// Another host has begun a task of the same name anew, with the very same plan, while we hung. Whatever we have in mind
// belongs to a task that is no more.
static void
another_task_of_the_name_is_fenced(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Catalog *cat = target_catalog(c);
    Gw__Table *t = target_ready(c, cat, 2);
    target_begin(c, c->a, t, target_chunk_of(c, t, 1, 0), false);
    conform_ok(c, c->target->load_write(c->a, ROW, ROW_LEN, 1, &c->err));
    conform_ok(c, c->target->load_abort(c->a, &c->err));
    Gw__TargetState *theirs = conform_state(c, cat, 2);
    theirs->task_uuid = gw_arena_strdup(&c->arena, "99999999-9999-4999-8999-999999999999");
    conform_ok(c, c->target->state_drop(c->b, &c->err));
    conform_ok(c, c->target->state_register(c->b, theirs, &c->err));
    c->task->uuid = theirs->task_uuid; // read anew each time: no engine keeps a copy
    conform_ok(c, c->target->prepare(c->b, t, 1, &c->err));
    uint64_t epoch = target_begin(c, c->b, t, target_chunk_of(c, t, 1, 0), false);
    conform_ok(c, c->target->load_abort(c->b, &c->err));

    c->task->uuid = gw_arena_strdup(&c->arena, CONFORM_TASK);
    Gw__Chunk done = GW__CHUNK__INIT;
    conform_is(c, c->target->load_begin(c->a, &c->arena, t, target_chunk_of(c, t, 1, 0), false, &epoch, &done, &c->err),
               GW_FENCED);
    reopen(c, &c->a, 0);
    conform_is(c, c->target->prepare(c->a, t, 1, &c->err), GW_FENCED);
    reopen(c, &c->a, 0);
    Gw__SetTable set = GW__SET_TABLE__INIT;
    set.table_id = t->id;
    set.generation = 1;
    set.state = GW__TABLE_STATE__STATE_ERROR;
    set.reason = gw_arena_strdup(&c->arena, "");
    conform_is(c, c->target->state_set(c->a, &set, &c->err), GW_FENCED);
    reopen(c, &c->a, 0);
    conform_is(c, c->target->state_set(c->a, order(c, t, 2, 3, "10"), &c->err), GW_FENCED);
    reopen(c, &c->a, 0);
    Gw__Steps steps = GW__STEPS__INIT;
    conform_ok(c, c->target->finish_plan(c->a, &c->arena, t, &steps, &c->err));
    for (size_t i = 0; i < steps.n_steps; i++) {
        conform_is(c, c->target->finish_step(c->a, t, steps.steps[i], 1, &c->err), GW_FENCED);
        reopen(c, &c->a, 0);
    }
    const Gw__TargetState *s = target_stored(c);
    assert_string_equal(s->task_uuid, theirs->task_uuid);
    assert_int_equal(s->tables[0]->state, GW__TABLE_STATE__STATE_LOADING);
    assert_int_equal(s->tables[0]->generation, 1);
    assert_int_equal(s->tables[0]->n_steps_done, 0);
    assert_int_equal(target_stored_chunk(c, t, 0)->epoch, epoch);

    // To the other task nothing has happened. It ends; we still do not end it once more.
    c->task->uuid = theirs->task_uuid;
    for (uint32_t i = 0; i < 2; i++) {
        conform_load(c, c->b, t, i, i ? "" : ROW, i ? 0 : ROW_LEN, i ? 0 : 1);
    }
    set.state = GW__TABLE_STATE__STATE_COMPLETED;
    conform_ok(c, c->target->state_set(c->b, &set, &c->err));
    c->task->uuid = gw_arena_strdup(&c->arena, CONFORM_TASK);
    conform_is(c, c->target->state_complete(c->a, 1, &c->err), GW_FENCED);
    reopen(c, &c->a, 0);
    assert_false(target_stored(c)->completed);
    target_table_is(c, t, ROW);
    conform_end(c);
}

// The same, but behind the claim: our rows are written, and only the last statement is left.
static void
another_task_behind_the_claim(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 1);
    target_begin(c, c->a, t, target_chunk_of(c, t, 1, 0), false);
    c->task->uuid = gw_arena_strdup(&c->arena, "99999999-9999-4999-8999-999999999999");
    int r = c->target->load_write(c->a, ROW, ROW_LEN, 1, &c->err);
    r = r == GW_OK ? c->target->load_commit(c->a, &one_row, "s", &c->err) : r;
    conform_is(c, r, GW_FENCED);
    reopen(c, &c->a, 0);
    assert_false(target_stored_chunk(c, t, 0)->done);
    target_table_is(c, t, "");
    conform_end(c);
}

static const struct conform_test tests[] = {
    {"plan: another task of the name is fenced", another_task_of_the_name_is_fenced},
    {"plan: another task behind the claim", another_task_behind_the_claim},
    {"plan: a claim compares it", claim_compares_the_plan},
    {"plan: of two orders one wins", of_two_orders_one_wins},
    {"plan: a repeated order voids claims", repeated_order_voids_claims},
    {"plan: loaded is what the target holds", loaded_is_what_the_target_holds},
    {"plan: a late loader's rows are not kept", late_loader_is_not_kept},
};

int
main(void)
{
    const char *engines[64];
    size_t n = 0;
    for (const struct gw_target_ops *const *e = gw_targets; *e && n < 64; e++) {
        engines[n++] = (*e)->name;
    }
    return conform_run("target plan", tests, sizeof tests / sizeof *tests, engines, n);
}
