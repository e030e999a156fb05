// Every target engine against apply/target.h: one chunk, alone, side by side, killed, refused.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target_table.h"

// ---- loading -----------------------------------------------------------------------------------

static void
loads_every_value(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Catalog *cat = conform_memory_catalog(c, TARGET_SEED);
    Gw__Table *t = target_ready(c, cat, 2);
    struct rows want = {0}, got = {0};
    conform_memory_rows(c, TARGET_SEED, t, &want);
    struct gw_buf text;
    gw_buf_init(&text, 1 << 20);
    target_begin(c, c->a, t, target_chunk_of(c, t, 1, 1), false);
    uint32_t sizes[] = {1, 30, 9}, at = 0;
    for (size_t i = 0; i < 3; i++) {
        gw_buf_reset(&text);
        for (uint32_t k = 0; k < sizes[i]; k++, at++) {
            gw_buf_printf(&text, "%s\n", want.items[at]);
        }
        conform_ok(c, c->target->load_write(c->a, text.data, text.len, sizes[i], &c->err));
    }
    struct gw_target_counts n = {40, 40, 0, 3, 12345};
    conform_ok(c, c->target->load_commit(c->a, &n, "snap 'x'", &c->err));
    gw_buf_fini(&text);
    const Gw__Chunk *ch = target_stored_chunk(c, t, 1);
    assert_true(ch->done);
    assert_int_equal(ch->rows_read, 40);
    assert_int_equal(ch->rows_written, 40);
    assert_int_equal(ch->rows_refused, 0);
    assert_int_equal(ch->values_truncated, 3);
    assert_int_equal(ch->bytes, 12345);
    assert_string_equal(ch->snapshot, "snap 'x'");
    assert_false(target_stored_chunk(c, t, 0)->done);
    conform_read_back(c, t, &got);
    rows_equal(&got, &want);
    // Once more: it is durable.
    uint64_t epoch = 77;
    Gw__Chunk done = GW__CHUNK__INIT;
    conform_is(c, c->target->load_begin(c->b, &c->arena, t, target_chunk_of(c, t, 1, 1), false, &epoch, &done, &c->err),
               GW_END);
    assert_int_equal(done.rows_written, 40);
    assert_int_equal(done.values_truncated, 3);
    assert_int_equal(done.bytes, 12345);
    assert_string_equal(done.snapshot, "snap 'x'");
    assert_int_equal(done.epoch, ch->epoch);
    conform_load(c, c->b, t, 0, "", 0, 0); // a chunk without rows, by the same instance
    assert_true(target_stored_chunk(c, t, 0)->done);
    rows_free(&got);
    conform_read_back(c, t, &got);
    rows_equal(&got, &want);
    rows_free(&got);
    rows_free(&want);
    conform_end(c);
}

static void
abort_leaves_nothing(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 1);
    conform_ok(c, c->target->load_abort(c->a, &c->err)); // with no load open
    uint64_t first = target_begin(c, c->a, t, target_chunk_of(c, t, 1, 0), false);
    conform_ok(c, c->target->load_write(c->a, "1\t1\ta\n", 6, 1, &c->err));
    conform_ok(c, c->target->load_abort(c->a, &c->err));
    assert_false(target_stored_chunk(c, t, 0)->done);
    target_table_is(c, t, "");
    uint64_t second = target_begin(c, c->a, t, target_chunk_of(c, t, 1, 0), false);
    assert_true(second > first);
    conform_ok(c, c->target->load_write(c->a, "2\t2\tb\n", 6, 1, &c->err));
    struct gw_target_counts n = {.rows_read = 1, .rows_written = 1};
    conform_ok(c, c->target->load_commit(c->a, &n, "s", &c->err));
    assert_int_equal(target_stored_chunk(c, t, 0)->epoch, second);
    target_table_is(c, t, "2\t2\tb\n");
    conform_end(c);
}

static void
second_claim_fences_the_first(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 1);
    Gw__Chunk *ch = target_chunk_of(c, t, 1, 0);
    uint64_t first = target_begin(c, c->a, t, ch, false);
    uint64_t second = target_begin(c, c->b, t, ch, false);
    assert_true(second > first);
    struct gw_target_counts n = {.rows_read = 1, .rows_written = 1};
    conform_ok(c, c->target->load_write(c->b, "1\t1\tb\n", 6, 1, &c->err));
    conform_ok(c, c->target->load_commit(c->b, &n, "s", &c->err));
    // The first may have lost its connection, or find out at the end.
    int r = c->target->load_write(c->a, "9\t1\ta\n", 6, 1, &c->err);
    if (r == GW_OK) {
        r = c->target->load_commit(c->a, &n, "s", &c->err);
    }
    conform_either(c, r, GW_FENCED, GW_RETRY);
    conform_close_target(c, &c->a);
    target_table_is(c, t, "1\t1\tb\n");
    assert_int_equal(target_stored_chunk(c, t, 0)->epoch, second);
    conform_end(c);
}

// The epoch alone decides: the second owner has not written anything yet when the first one commits.
static void
second_claim_counts_at_once(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 1);
    Gw__Chunk *ch = target_chunk_of(c, t, 1, 0);
    target_begin(c, c->a, t, ch, false);
    uint64_t second = target_begin(c, c->b, t, ch, false);
    struct gw_target_counts n = {.rows_read = 1, .rows_written = 1};
    int r = c->target->load_write(c->a, "9\t1\ta\n", 6, 1, &c->err);
    if (r == GW_OK) {
        r = c->target->load_commit(c->a, &n, "s", &c->err);
    }
    conform_either(c, r, GW_FENCED, GW_RETRY);
    conform_close_target(c, &c->a);
    conform_ok(c, c->target->load_write(c->b, "1\t1\tb\n", 6, 1, &c->err));
    conform_ok(c, c->target->load_commit(c->b, &n, "s", &c->err));
    assert_int_equal(target_stored_chunk(c, t, 0)->epoch, second);
    target_table_is(c, t, "1\t1\tb\n");
    conform_end(c);
}

static const char *
password_of(const struct conform *c)
{
    return getenv(strcmp(c->engine, "mysql") == 0 ? "GW_TEST_MYSQL_PASSWORD" : "GW_TEST_POSTGRESQL_PASSWORD");
}

// A process that is stopped in the middle of a chunk must neither keep others from it nor write when it wakes up.
static void
zombie(struct conform *c, const Gw__Table *t, bool with_rows)
{
    Gw__Chunk *ch = target_chunk_of(c, t, 1, 0);
    conform_close_target(c, &c->a); // connections do not survive a fork in both
    conform_close_target(c, &c->b);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct gw_err err = {0};
        uint64_t epoch = 0;
        Gw__Chunk done = GW__CHUNK__INIT;
        struct gw_target_counts n = {.rows_read = 1, .rows_written = 1};
        void *self = calloc(1, c->target->state_size);
        int r = c->target->open(self, c->task, "00000000-0000-4000-8000-00000000dead", password_of(c), &err);
        r = r == GW_OK ? c->target->load_begin(self, &c->arena, t, ch, false, &epoch, &done, &err) : r;
        if (r == GW_OK && with_rows) {
            r = c->target->load_write(self, "9\t1\tz\n", 6, 1, &err);
        }
        if (r != GW_OK) {
            fprintf(stderr, "zombie: %s\n", err.message);
            _exit(99);
        }
        raise(SIGSTOP);
        if (!with_rows) {
            r = c->target->load_write(self, "9\t1\tz\n", 6, 1, &err);
        }
        r = r == GW_OK ? c->target->load_commit(self, &n, "s", &err) : r;
        _exit(r);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    c->b = conform_open_target(c, "00000000-0000-4000-8000-00000000000b");
    conform_load(c, c->b, t, 0, "1\t1\tb\n", 6, 1);
    kill(pid, SIGCONT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    // Fenced, disconnected, or ended by its successor (a lock on a file can be had in no other way).
    bool ended = WIFSIGNALED(status) || WEXITSTATUS(status) == GW_FENCED || WEXITSTATUS(status) == GW_RETRY;
    if (!ended) {
        fail_msg("the zombie ended with %d", WEXITSTATUS(status));
    }
    target_table_is(c, t, "1\t1\tb\n");
}

static void
zombie_before_its_rows(void **state)
{
    struct conform *c = conform_start(state);
    zombie(c, target_ready(c, target_catalog(c), 1), false);
    conform_end(c);
}

static void
zombie_with_rows(void **state)
{
    struct conform *c = conform_start(state);
    zombie(c, target_ready(c, target_catalog(c), 1), true);
    conform_end(c);
}

// ---- several processes -------------------------------------------------------------------------

// In a child: loads one row as chunk `no`. Ends as the driver would: closes after any failure.
static int
load_alone(struct conform *c, const Gw__Table *t, uint32_t no, const char *owner)
{
    struct gw_err err = {0};
    void *self = calloc(1, c->target->state_size);
    char row[64];
    int n = snprintf(row, sizeof row, "%u\t1\tx\n", no);
    uint64_t epoch = 0;
    Gw__Chunk done = GW__CHUNK__INIT;
    struct gw_target_counts counts = {.rows_read = 1, .rows_written = 1, .bytes = (uint64_t)n};
    int r = c->target->open(self, c->task, owner, password_of(c), &err);
    r = r == GW_OK ? c->target->load_begin(self, &c->arena, t, target_chunk_of(c, t, 1, no), false, &epoch, &done, &err)
                   : r;
    r = r == GW_OK ? c->target->load_write(self, row, (size_t)n, 1, &err) : r;
    r = r == GW_OK ? c->target->load_commit(self, &counts, "s", &err) : r;
    if (r != GW_OK && r != GW_END && r != GW_RETRY) {
        fprintf(stderr, "chunk %u: %s %s\n", no, gw_class_name((enum gw_class)r), err.message);
    }
    c->target->close(self);
    free(self);
    return r;
}

static void
workers_side_by_side(void **state)
{
    enum { WORKERS = 4, CHUNKS = 40 };
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), CHUNKS);
    conform_close_target(c, &c->a);
    conform_close_target(c, &c->b);
    fflush(NULL);
    pid_t pids[WORKERS];
    for (uint32_t w = 0; w < WORKERS; w++) {
        pids[w] = fork();
        assert_true(pids[w] >= 0);
        if (pids[w] == 0) {
            char owner[64];
            snprintf(owner, sizeof owner, "00000000-0000-4000-8000-%012u", w);
            int r = GW_OK;
            for (uint32_t no = w; no < CHUNKS && (r == GW_OK || r == GW_END); no += WORKERS) {
                do {
                    r = load_alone(c, t, no, owner);
                } while (r == GW_RETRY);
            }
            _exit(r == GW_END ? GW_OK : r);
        }
    }
    for (uint32_t w = 0; w < WORKERS; w++) {
        int status = 0;
        assert_int_equal(waitpid(pids[w], &status, 0), pids[w]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), GW_OK);
    }
    c->b = conform_open_target(c, "00000000-0000-4000-8000-00000000000b");
    struct rows got = {0}, want = {0};
    for (uint32_t no = 0; no < CHUNKS; no++) {
        char row[64];
        rows_add(&want, row, (size_t)snprintf(row, sizeof row, "%u\t1\tx\n", no));
        assert_true(target_stored_chunk(c, t, no)->done);
    }
    conform_read_back(c, t, &got);
    rows_equal(&got, &want);
    rows_free(&got);
    rows_free(&want);
    conform_end(c);
}

// Killed at every point between two effects: the next to come makes it once, or finds that it was made.
static void
killed_workers(void **state)
{
#ifdef GW_NO_FAULTS
    (void)state;
    skip();
#else
    static const char *const points[] = {"apply.after_claim", "apply.before_fence", "apply.before_commit",
                                         "apply.after_commit"};
    enum { POINTS = sizeof points / sizeof *points };
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), POINTS);
    conform_close_target(c, &c->a);
    conform_close_target(c, &c->b);
    for (uint32_t i = 0; i < POINTS; i++) {
        char fault[128];
        snprintf(fault, sizeof fault, "%s=kill@1", points[i]);
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            setenv("GODWIT_FAULT", fault, 1);
            _exit(load_alone(c, t, i, "00000000-0000-4000-8000-00000000dead"));
        }
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status)); // the point is there
        int r = load_alone(c, t, i, "00000000-0000-4000-8000-00000000000a");
        bool made = strcmp(points[i], "apply.after_commit") == 0;
        conform_is(c, r, made ? GW_END : GW_OK);
    }
    c->b = conform_open_target(c, "00000000-0000-4000-8000-00000000000b");
    target_table_is(c, t, "0\t1\tx\n1\t1\tx\n2\t1\tx\n3\t1\tx\n");
    conform_end(c);
#endif
}

// The same while a table is made ready, and its steps are made.
static void
killed_while_preparing(void **state)
{
#ifdef GW_NO_FAULTS
    (void)state;
    skip();
#else
    static const char *const points[] = {"apply.prepare.cleared", "apply.prepare.after", "apply.finish.after_step"};
    struct conform *c = conform_start(state);
    Gw__Catalog *cat = conform_memory_catalog(c, TARGET_SEED);
    Gw__Table *t = cat->tables[0];
    conform_register(c, conform_state(c, cat, 1));
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        bool finish = strstr(points[i], "finish");
        Gw__Steps steps = GW__STEPS__INIT;
        if (finish) {
            conform_load(c, c->a, t, 0, "", 0, 0);
            conform_ok(c, c->target->finish_plan(c->a, &c->arena, t, &steps, &c->err));
            assert_true(steps.n_steps > 0);
        }
        conform_close_target(c, &c->a);
        conform_close_target(c, &c->b);
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            char fault[128];
            snprintf(fault, sizeof fault, "%s=kill@1", points[i]);
            setenv("GODWIT_FAULT", fault, 1);
            void *self = calloc(1, c->target->state_size);
            int r = c->target->open(self, c->task, "00000000-0000-4000-8000-00000000dead", password_of(c), NULL);
            r = r != GW_OK ? r
                : finish   ? c->target->finish_step(self, t, steps.steps[0], 1, NULL)
                           : c->target->prepare(self, t, 1, NULL);
            _exit(r);
        }
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        c->a = conform_open_target(c, "00000000-0000-4000-8000-00000000000a");
        c->b = conform_open_target(c, "00000000-0000-4000-8000-00000000000b");
        if (finish) {
            conform_ok(c, c->target->finish_step(c->a, t, steps.steps[0], 1, &c->err));
        } else {
            conform_ok(c, c->target->prepare(c->a, t, 1, &c->err));
            assert_int_equal(target_stored(c)->tables[0]->state, GW__TABLE_STATE__STATE_LOADING);
        }
    }
    conform_end(c);
#endif
}

// ---- refused rows ------------------------------------------------------------------------------

#define BAD "3\t\\N\tpoison\n"

static void
refused_row_fails_the_chunk(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 1);
    target_begin(c, c->a, t, target_chunk_of(c, t, 1, 0), false);
    static const char text[] = "1\t1\ta\n" BAD "4\t4\td\n";
    int r = c->target->load_write(c->a, text, sizeof text - 1, 3, &c->err);
    struct gw_target_counts n = {.rows_read = 3, .rows_written = 3};
    r = r == GW_OK ? c->target->load_commit(c->a, &n, "s", &c->err) : r;
    conform_is(c, r, GW_DATA);
    (void)c->target->load_abort(c->a, &c->err);
    conform_close_target(c, &c->a);
    assert_false(target_stored_chunk(c, t, 0)->done);
    target_table_is(c, t, "");
    conform_end(c);
}

// Rows in the control table `exceptions`, as the engine keeps it.
static size_t
exceptions(struct conform *c, const Gw__Table *t)
{
    struct rows got = {0};
    Gw__Table control = GW__TABLE__INIT;
    char command[512];
    size_t n = 0;
    if (strcmp(c->engine, "memory") == 0) {
        snprintf(command, sizeof command, "cat %s/m/%s.%s/*.refused 2>/dev/null | wc -l", c->dir, t->schema, t->name);
        FILE *f = popen(command, "r");
        assert_non_null(f);
        assert_int_equal(fscanf(f, "%zu", &n), 1);
        pclose(f);
        return n;
    }
    bool schemas = c->target->caps & GW_TARGET_SCHEMAS;
    control.schema = gw_arena_strdup(&c->arena, "gwconform");
    control.name = gw_arena_strdup(&c->arena, schemas ? "exceptions" : "gwconform_exceptions");
    conform_read_back(c, &control, &got);
    n = got.n;
    rows_free(&got);
    return n;
}

static void
careful_isolates_the_row(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 1);
    target_begin(c, c->a, t, target_chunk_of(c, t, 1, 0), true);
    static const char text[] = "2\t2\tb\n" BAD;
    struct gw_err why = {0};
    conform_ok(c, c->target->load_write(c->a, "1\t1\ta\n", 6, 1, &c->err));
    // At once, and nothing of this call stays: its first row can be written again.
    conform_is(c, c->target->load_write(c->a, text, sizeof text - 1, 2, &c->err), GW_DATA);
    conform_ok(c, c->target->load_write(c->a, "2\t2\tb\n", 6, 1, &c->err));
    assert_int_equal(c->target->load_write(c->a, BAD, sizeof BAD - 1, 1, &why), GW_DATA);
    assert_true(why.message[0]);
    struct gw_refused refused = {.row = BAD, .len = sizeof BAD - 1, .why = &why};
    conform_ok(c, c->target->load_refuse(c->a, &refused, &c->err));
    conform_ok(c, c->target->load_write(c->a, "4\t4\td\n5\t5\te\n", 12, 2, &c->err));
    // A row that is refused and, by policy, not recorded: it is only counted.
    conform_is(c, c->target->load_write(c->a, BAD, sizeof BAD - 1, 1, &c->err), GW_DATA);
    struct gw_target_counts n = {.rows_read = 6, .rows_written = 4, .rows_refused = 2, .bytes = 50};
    conform_ok(c, c->target->load_commit(c->a, &n, "s", &c->err));
    assert_int_equal(target_stored_chunk(c, t, 0)->rows_refused, 2);
    target_table_is(c, t, "1\t1\ta\n2\t2\tb\n4\t4\td\n5\t5\te\n");
    assert_int_equal(exceptions(c, t), 1);
    conform_end(c);
}

static void
exceptions_belong_to_the_chunk(void **state)
{
    struct conform *c = conform_start(state);
    Gw__Table *t = target_ready(c, target_catalog(c), 1);
    struct gw_err why = {.cls = GW_DATA, .message = "because"};
    struct gw_refused refused = {.row = BAD, .len = sizeof BAD - 1, .why = &why};
    for (int i = 0; i < 2; i++) { // the first time is given up
        target_begin(c, c->a, t, target_chunk_of(c, t, 1, 0), true);
        conform_ok(c, c->target->load_refuse(c->a, &refused, &c->err));
        if (i == 0) {
            conform_ok(c, c->target->load_abort(c->a, &c->err));
        }
    }
    struct gw_target_counts n = {.rows_read = 1, .rows_refused = 1};
    conform_ok(c, c->target->load_commit(c->a, &n, "s", &c->err));
    assert_int_equal(exceptions(c, t), 1);
    Gw__SetTable set = GW__SET_TABLE__INIT; // the table starts over: they are void
    set.table_id = t->id;
    set.generation = 2;
    set.replace_chunks = true;
    set.reason = gw_arena_strdup(&c->arena, "");
    gw_pb_add(&c->arena, &set, chunks, target_chunk_of(c, t, 2, 0));
    conform_ok(c, c->target->state_set(c->a, &set, &c->err));
    conform_ok(c, c->target->prepare(c->a, t, 2, &c->err));
    assert_int_equal(exceptions(c, t), 0);
    conform_end(c);
}

static const struct conform_test tests[] = {
    {"load: every value", loads_every_value},
    {"load: abort leaves nothing", abort_leaves_nothing},
    {"load: second claim fences the first", second_claim_fences_the_first},
    {"load: second claim counts at once", second_claim_counts_at_once},
    {"load: zombie before its rows", zombie_before_its_rows},
    {"load: zombie with rows", zombie_with_rows},
    {"load: workers side by side", workers_side_by_side},
    {"killed: a worker in a chunk", killed_workers},
    {"killed: while preparing and finishing", killed_while_preparing},
    {"refused: fails the chunk", refused_row_fails_the_chunk},
    {"refused: careful isolates the row", careful_isolates_the_row},
    {"refused: exceptions belong to the chunk", exceptions_belong_to_the_chunk},
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
    return conform_run("target load", tests, sizeof tests / sizeof *tests, engines, n);
}
