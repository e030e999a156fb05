// Every target engine with a stream against apply/target.h: progress, fences, transactions, refusals.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stream_sets.h"

#define BAD "9\t\\N\tpoison\n" // see target_catalog

static int
apply(struct conform *c, void *self, const struct gw_change_set *set)
{
    uint64_t rows = 0;
    return c->target->stream_apply(self, set, &rows, &c->err);
}

static int
commit(struct conform *c, void *self, const char *position)
{
    Gw__StreamCounts counts = GW__STREAM_COUNTS__INIT;
    return c->target->stream_commit(self, position, &counts, &c->err);
}

// ---- progress ------------------------------------------------------------------------------------

static void
progress_is_registered(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Catalog *cat = target_catalog(c);
    target_ready(c, cat, 1); // a load alone
    assert_null(stream_stored(c));
    Gw__Progress none = GW__PROGRESS__INIT;
    conform_is(c, c->target->stream_claim(c->a, &c->arena, false, &none, &c->err), GW_CONFIG);
    stream_ready(c, cat);
    const Gw__Progress *p = stream_stored(c);
    assert_non_null(p);
    assert_string_equal(p->position, STREAM_START);
    assert_string_equal(p->snapshot, "it's a \"snapshot\"");
    assert_int_equal(p->epoch, 0);
    p = stream_claim(c, c->a, false);
    assert_string_equal(p->position, STREAM_START);
    assert_string_equal(p->snapshot, "it's a \"snapshot\"");
    assert_int_equal(p->epoch, 1);
    assert_int_equal(stream_claim(c, c->b, false)->epoch, 2);
    assert_int_equal(stream_stored(c)->epoch, 2);
    conform_close_target(c, &c->a); // it may have been ended by the claim
    conform_ok(c, c->target->state_drop(c->b, &c->err));
    assert_null(stream_stored(c));
    conform_is(c, c->target->stream_claim(c->b, &c->arena, false, &none, &c->err), GW_CONFIG);
    conform_end(c);
}

static void
counts_survive(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = stream_ready(c, target_catalog(c));
    stream_claim(c, c->a, false);
    Gw__Counts one = GW__COUNTS__INIT, *list[] = {&one};
    Gw__StreamCounts counts = GW__STREAM_COUNTS__INIT;
    one.table = t->id;
    one.inserts = one.applied_inserts = 7;
    one.errors = 3;
    counts.tables = list;
    counts.n_tables = 1;
    counts.transactions = UINT64_MAX;
    counts.commit_us = 1700000000123456;
    conform_ok(c, c->target->stream_begin(c->a, &c->err));
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n"), 1);
    conform_ok(c, c->target->stream_commit(c->a, "it's 'here' \\ \xc3\xa9", &counts, &c->err));
    for (int i = 0; i < 2; i++) {
        const Gw__Progress *p = i ? stream_claim(c, c->b, false) : stream_stored(c);
        assert_string_equal(p->position, "it's 'here' \\ \xc3\xa9");
        assert_true(p->updated_us > 1700000000000000);
        assert_int_equal(p->counts->transactions, UINT64_MAX);
        assert_int_equal(p->counts->commit_us, 1700000000123456);
        assert_int_equal(p->counts->n_tables, 1);
        assert_int_equal(p->counts->tables[0]->applied_inserts, 7);
        assert_int_equal(p->counts->tables[0]->errors, 3);
    }
    // The position alone, without a transaction, and with an empty one.
    stream_commit(c, c->b, "1/2");
    assert_string_equal(stream_stored(c)->position, "1/2");
    conform_ok(c, c->target->stream_begin(c->b, &c->err));
    stream_commit(c, c->b, "1/3");
    assert_string_equal(stream_stored(c)->position, "1/3");
    conform_end(c);
}

// ---- fences --------------------------------------------------------------------------------------

static void
second_claim_fences_the_first(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = stream_ready(c, target_catalog(c));
    stream_claim(c, c->a, false);
    conform_ok(c, c->target->stream_begin(c->a, &c->err));
    stream_claim(c, c->b, false);
    // The first may have lost its connection, or find out at the end.
    int r = apply(c, c->a, set_insert(c, t, NULL, "9\t1\tz\n"));
    r = r == GW_OK ? commit(c, c->a, "0/9") : r;
    conform_either(c, r, GW_FENCED, GW_RETRY);
    conform_close_target(c, &c->a);
    target_table_is(c, t, "");
    assert_string_equal(stream_stored(c)->position, STREAM_START);
    stream_once(c, c->b, set_insert(c, t, NULL, "1\t1\tb\n"), 1, "0/2");
    target_table_is(c, t, "1\t1\tb\n");
    assert_string_equal(stream_stored(c)->position, "0/2");
    conform_end(c);
}

// The second claim while the first has rows in its transaction: it does not wait for them.
static void
claim_ends_the_first(void **state)
{
    struct conform *c = stream_start(state);
    if (strcmp(c->engine, "sqlite") ==
        0) { // a writer that runs keeps the file; one that is stopped is ended: see zombie
        conform_end(c);
        skip();
    }
    Gw__Table *t = stream_ready(c, target_catalog(c));
    stream_claim(c, c->a, false);
    conform_ok(c, c->target->stream_begin(c->a, &c->err));
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\tz\n"), 1);
    stream_claim(c, c->b, false);
    stream_once(c, c->b, set_insert(c, t, NULL, "1\t1\tb\n"), 1, "0/2");
    conform_either(c, commit(c, c->a, "0/9"), GW_FENCED, GW_RETRY);
    conform_close_target(c, &c->a);
    target_table_is(c, t, "1\t1\tb\n");
    conform_end(c);
}

// Epoch, owner and old position each count alone.
static void
stale_position_is_fenced(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = stream_ready(c, target_catalog(c));
    stream_claim(c, c->a, false);
    stream_once(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n"), 1, "0/2");
    // Somebody puts the old row back, as a restore of the target would: the epoch is ours, the position is not.
    Gw__TargetState *s = conform_state(c, target_catalog(c), 1);
    s->progress = gw_pb_new(&c->arena, Gw__Progress, gw__progress__init);
    s->progress->position = gw_arena_strdup(&c->arena, STREAM_START);
    conform_ok(c, c->target->state_drop(c->b, &c->err));
    conform_ok(c, c->target->state_register(c->b, s, &c->err));
    conform_is(c, commit(c, c->a, "0/3"), GW_FENCED); // nobody has claimed it yet
    stream_claim(c, c->b, false);                     // epoch 1 again, another owner; it may end the other's connection
    conform_either(c, commit(c, c->a, "0/3"), GW_FENCED, GW_RETRY);
    conform_ok(c, c->target->stream_begin(c->a, &c->err));
    int r = apply(c, c->a, set_insert(c, t, NULL, "2\t2\tb\n"));
    conform_either(c, r == GW_OK ? commit(c, c->a, "0/3") : r, GW_FENCED, GW_RETRY);
    void *same = conform_open_target(c, "00000000-0000-4000-8000-00000000000b"); // the owner's own, an epoch later
    stream_claim(c, same, false);
    conform_either(c, commit(c, c->b, "0/3"), GW_FENCED, GW_RETRY);
    conform_close_target(c, &c->b);
    c->b = conform_open_target(c, "00000000-0000-4000-8000-0000000000bb");
    stream_commit(c, same, "0/4");
    assert_string_equal(stream_stored(c)->position, "0/4");
    target_table_is(c, t, "1\t1\ta\n");
    conform_close_target(c, &same);
    conform_end(c);
}

static const char *
password_of(const struct conform *c)
{
    return getenv(strcmp(c->engine, "mysql") == 0 ? "GW_TEST_MYSQL_PASSWORD" : "GW_TEST_POSTGRESQL_PASSWORD");
}

// In a child: one transaction, stopped in its middle.
static void
zombie_child(struct conform *c, const Gw__Table *t, bool with_rows)
{
    struct gw_err err = {0};
    Gw__Progress p = GW__PROGRESS__INIT;
    uint64_t n = 0;
    struct gw_change_set *set = set_insert(c, t, NULL, "1\t1\tz\n");
    void *self = calloc(1, c->target->state_size);
    int r = c->target->open(self, c->task, "00000000-0000-4000-8000-00000000dead", password_of(c), &err);
    r = r == GW_OK ? c->target->stream_claim(self, &c->arena, false, &p, &err) : r;
    r = r == GW_OK ? c->target->stream_begin(self, &err) : r;
    r = r == GW_OK && with_rows ? c->target->stream_apply(self, set, &n, &err) : r;
    if (r != GW_OK) {
        fprintf(stderr, "zombie: %s\n", err.message);
        _exit(99);
    }
    raise(SIGSTOP);
    r = with_rows ? r : c->target->stream_apply(self, set, &n, &err);
    Gw__StreamCounts counts = GW__STREAM_COUNTS__INIT;
    r = r == GW_OK ? c->target->stream_commit(self, "0/9", &counts, &err) : r;
    _exit(r);
}

static void
zombie(struct conform *c, const Gw__Table *t, bool with_rows)
{
    conform_close_target(c, &c->a); // connections do not survive a fork in both
    conform_close_target(c, &c->b);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        zombie_child(c, t, with_rows);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    c->b = conform_open_target(c, "00000000-0000-4000-8000-00000000000b");
    assert_int_equal(stream_claim(c, c->b, false)->epoch, 2);
    stream_once(c, c->b, set_insert(c, t, NULL, "1\t1\tb\n"), 1, "0/2");
    kill(pid, SIGCONT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    bool ended = WIFSIGNALED(status) || WEXITSTATUS(status) == GW_FENCED || WEXITSTATUS(status) == GW_RETRY;
    // It may also find that the key is taken by now.
    if (!ended && WEXITSTATUS(status) != GW_DATA) {
        fail_msg("the zombie ended with %d", WEXITSTATUS(status));
    }
    target_table_is(c, t, "1\t1\tb\n");
    assert_string_equal(stream_stored(c)->position, "0/2");
}

static void
zombie_before_its_rows(void **state)
{
    struct conform *c = stream_start(state);
    zombie(c, stream_ready(c, target_catalog(c)), false);
    conform_end(c);
}

static void
zombie_with_rows(void **state)
{
    struct conform *c = stream_start(state);
    zombie(c, stream_ready(c, target_catalog(c)), true);
    conform_end(c);
}

// One transaction as the driver makes it: claim, rows unless they are there, commit.
static int
stream_alone(struct conform *c, const Gw__Table *t, unsigned no, const char *owner)
{
    struct gw_err err = {0};
    Gw__Progress p = GW__PROGRESS__INIT;
    Gw__StreamCounts counts = GW__STREAM_COUNTS__INIT;
    char row[64], to[32];
    uint64_t n = 0;
    snprintf(row, sizeof row, "%u\t1\tx\n", no);
    snprintf(to, sizeof to, "1/%u", no);
    void *self = calloc(1, c->target->state_size);
    int r = c->target->open(self, c->task, owner, password_of(c), &err);
    r = r == GW_OK ? c->target->stream_claim(self, &c->arena, false, &p, &err) : r;
    if (r == GW_OK && strcmp(p.position, to) == 0) {
        r = GW_END;
    }
    r = r == GW_OK ? c->target->stream_begin(self, &err) : r;
    r = r == GW_OK ? c->target->stream_apply(self, set_insert(c, t, NULL, row), &n, &err) : r;
    r = r == GW_OK ? c->target->stream_commit(self, to, &counts, &err) : r;
    if (r != GW_OK && r != GW_END) {
        fprintf(stderr, "transaction %u: %s %s\n", no, gw_class_name((enum gw_class)r), err.message);
    }
    c->target->close(self);
    free(self);
    return r;
}

// Killed at every point between two effects: the next to come makes it once, or finds that it was made.
static void
killed_workers(void **state)
{
#ifdef GW_NO_FAULTS
    (void)state;
    skip();
#else
    static const char *const points[] = {"apply.stream.after_claim", "apply.stream.before_fence",
                                         "apply.stream.before_commit", "apply.stream.after_commit"};
    struct conform *c = stream_start(state);
    Gw__Table *t = stream_ready(c, target_catalog(c));
    conform_close_target(c, &c->a);
    conform_close_target(c, &c->b);
    for (unsigned i = 0; i < 4; i++) {
        char fault[128];
        snprintf(fault, sizeof fault, "%s=kill@1", points[i]);
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            setenv("GODWIT_FAULT", fault, 1);
            _exit(stream_alone(c, t, i, "00000000-0000-4000-8000-00000000dead"));
        }
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status)); // the point is there
        int r = stream_alone(c, t, i, "00000000-0000-4000-8000-00000000000a");
        conform_is(c, r, i == 3 ? GW_END : GW_OK);
    }
    c->b = conform_open_target(c, "00000000-0000-4000-8000-00000000000b");
    target_table_is(c, t, "0\t1\tx\n1\t1\tx\n2\t1\tx\n3\t1\tx\n");
    conform_end(c);
#endif
}

// ---- transactions --------------------------------------------------------------------------------

static void
closing_takes_all_back(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = stream_ready(c, target_catalog(c));
    stream_claim(c, c->a, false);
    conform_ok(c, c->target->stream_begin(c->a, &c->err));
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n"), 1);
    conform_close_target(c, &c->a);
    target_table_is(c, t, "");
    assert_string_equal(stream_stored(c)->position, STREAM_START);
    // A claim with a transaction open takes it back too.
    stream_claim(c, c->b, false);
    conform_ok(c, c->target->stream_begin(c->b, &c->err));
    stream_apply(c, c->b, set_insert(c, t, NULL, "1\t1\ta\n"), 1);
    stream_claim(c, c->b, false);
    stream_once(c, c->b, set_insert(c, t, NULL, "1\t1\tb\n"), 1, "0/2");
    target_table_is(c, t, "1\t1\tb\n");
    conform_end(c);
}

static void
marks(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = stream_ready(c, target_catalog(c));
    const struct gw_target_ops *o = c->target;
    stream_claim(c, c->a, false);
    conform_ok(c, o->stream_begin(c->a, &c->err));
    conform_ok(c, o->stream_mark(c->a, &c->err));
    conform_ok(c, o->stream_back(c->a, &c->err)); // nothing to take back
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\tx\n"), 1);
    stream_apply(c, c->a, set_insert(c, t, NULL, "2\t1\tx\n"), 1);
    conform_ok(c, o->stream_back(c->a, &c->err));
    conform_ok(c, o->stream_back(c->a, &c->err));
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n"), 1);
    conform_ok(c, o->stream_mark(c->a, &c->err));
    stream_apply(c, c->a, set_insert(c, t, NULL, "2\t1\tx\n"), 1);
    conform_ok(c, o->stream_back(c->a, &c->err));
    stream_apply(c, c->a, set_insert(c, t, NULL, "2\t2\tb\n"), 1);
    conform_ok(c, o->stream_back(c->a, &c->err)); // the mark is still there
    stream_apply(c, c->a, set_insert(c, t, NULL, "2\t2\tc\n"), 1);
    conform_ok(c, o->stream_mark(c->a, &c->err)); // moved
    conform_ok(c, o->stream_mark(c->a, &c->err));
    stream_apply(c, c->a, set_update(c, t, NULL, "1\n", "label", "changed\n"), 1);
    conform_ok(c, o->stream_suspend(c->a, t->id, "no", &c->err));
    conform_ok(c, o->stream_back(c->a, &c->err));
    conform_ok(c, o->stream_mark(c->a, &c->err));
    stream_apply(c, c->a, set_insert(c, t, NULL, "3\t3\td\n"), 1);
    stream_commit(c, c->a, "0/2");
    target_table_is(c, t, "1\t1\ta\n2\t2\tc\n3\t3\td\n");
    assert_int_not_equal(target_stored(c)->tables[0]->state, GW__TABLE_STATE__STATE_ERROR);
    stream_once(c, c->a, set_delete(c, t, NULL, "3\n"), 1, "0/3"); // no mark is left of the last one
    target_table_is(c, t, "1\t1\ta\n2\t2\tc\n");
    conform_end(c);
}

// A refused set leaves nothing of itself and everything before, wherever it stands.
static void
refused_set_leaves_the_rest(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = stream_ready(c, target_catalog(c));
    const struct gw_target_ops *o = c->target;
    stream_claim(c, c->a, false);
    const struct gw_change_set *bad = set_insert(c, t, NULL, "7\t7\tg\n" BAD "8\t8\th\n");
    conform_ok(c, o->stream_begin(c->a, &c->err));
    conform_is(c, apply(c, c->a, bad), GW_DATA); // first
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n"), 1);
    conform_is(c, apply(c, c->a, bad), GW_DATA); // behind another
    conform_is(c, apply(c, c->a, bad), GW_DATA);
    conform_ok(c, o->stream_mark(c->a, &c->err));
    conform_is(c, apply(c, c->a, bad), GW_DATA); // behind a mark
    stream_apply(c, c->a, set_insert(c, t, NULL, "2\t2\tb\n"), 1);
    conform_is(c, apply(c, c->a, bad), GW_DATA); // behind a mark and a set
    conform_is(c, apply(c, c->a, set_update(c, t, NULL, "1\n2\n", "small", "5\n\\N\n")), GW_DATA);
    stream_apply(c, c->a, set_insert(c, t, NULL, "3\t3\tc\n"), 1);
    conform_is(c, apply(c, c->a, set_insert(c, t, NULL, "3\t3\ttwice\n")), GW_DATA); // a key that is there
    stream_commit(c, c->a, "0/2");
    target_table_is(c, t, "1\t1\ta\n2\t2\tb\n3\t3\tc\n");
    conform_ok(c, o->stream_begin(c->a, &c->err));
    stream_apply(c, c->a, set_insert(c, t, NULL, "4\t4\td\n"), 1);
    conform_is(c, apply(c, c->a, bad), GW_DATA);
    stream_commit(c, c->a, "0/3");
    target_table_is(c, t, "1\t1\ta\n2\t2\tb\n3\t3\tc\n4\t4\td\n");
    conform_end(c);
}

static size_t
control_rows(struct conform *c, const char *table, struct rows *got)
{
    Gw__Table control = GW__TABLE__INIT;
    bool schemas = c->target->caps & GW_TARGET_SCHEMAS;
    control.schema = gw_arena_strdup(&c->arena, "gwconform");
    control.name = gw_arena_printf(&c->arena, "%s%s", schemas ? "" : "gwconform_", table);
    conform_read_back(c, &control, got);
    return got->n;
}

static void
refused_rows_are_recorded(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = stream_ready(c, target_catalog(c));
    const struct gw_target_ops *o = c->target;
    struct gw_err why = {0};
    struct gw_refused refused = {.row = BAD, .len = sizeof BAD - 1, .why = &why};
    struct rows got = {0};
    uint64_t n = 0;
    stream_claim(c, c->a, false);
    conform_ok(c, o->stream_begin(c->a, &c->err));
    assert_int_equal(o->stream_apply(c->a, set_insert(c, t, NULL, BAD), &n, &why), GW_DATA);
    assert_true(why.message[0]);
    assert_true(why.code[0]);
    conform_ok(c, o->stream_mark(c->a, &c->err));
    conform_ok(c, o->stream_refuse(c->a, t, "void", &refused, &c->err));
    conform_ok(c, o->stream_back(c->a, &c->err)); // it belongs to the transaction
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n"), 1);
    conform_ok(c, o->stream_refuse(c->a, t, "0/7'A", &refused, &c->err));
    conform_ok(c, o->stream_suspend(c->a, t->id, "it's \"bad\"", &c->err));
    conform_is(c, o->stream_commit(c->a, "0/8", &(Gw__StreamCounts)GW__STREAM_COUNTS__INIT, &c->err), GW_OK);
    assert_int_equal(control_rows(c, "exceptions", &got), 1);
    assert_non_null(strstr(got.items[0], "0/7'A"));
    assert_non_null(strstr(got.items[0], "id=9"));
    assert_non_null(strstr(got.items[0], "poison"));
    assert_null(strstr(got.items[0], "void"));
    rows_free(&got);
    const Gw__TablePlan *p = target_stored(c)->tables[0];
    assert_int_equal(p->state, GW__TABLE_STATE__STATE_ERROR);
    assert_string_equal(p->reason, "it's \"bad\"");
    target_table_is(c, t, "1\t1\ta\n");
    conform_ok(c, o->stream_begin(c->a, &c->err));
    conform_is(c, o->stream_suspend(c->a, 4711, "unknown", &c->err), GW_FENCED);
    conform_end(c);
}

static const struct conform_test tests[] = {
    {"progress: registered, claimed, dropped", progress_is_registered},
    {"progress: counts survive", counts_survive},
    {"fence: second claim fences the first", second_claim_fences_the_first},
    {"fence: a claim ends the first", claim_ends_the_first},
    {"fence: stale position, other owner, old epoch", stale_position_is_fenced},
    {"fence: zombie before its rows", zombie_before_its_rows},
    {"fence: zombie with rows", zombie_with_rows},
    {"killed: at every point", killed_workers},
    {"transaction: closing takes all back", closing_takes_all_back},
    {"transaction: marks", marks},
    {"refused: a set leaves the rest", refused_set_leaves_the_rest},
    {"refused: rows are recorded, a table suspended", refused_rows_are_recorded},
};

int
main(void)
{
    const char *engines[64];
    size_t n = 0;
    for (const struct gw_target_ops *const *e = gw_targets; *e && n < 64; e++) {
        engines[n++] = (*e)->name;
    }
    return conform_run("target stream", tests, sizeof tests / sizeof *tests, engines, n);
}
