// Every source engine against capture/source.h. A server's tables are filled through the target engine of the same
// name: what is read back must be, row for row, the text that was written.
#include <stdio.h>
#include <string.h>

#include "common/copytext.h"
#include "common/worker.h"
#include "conform.h"

#define SEED "memory://conform?tables=3&rows=3000,0,1"
enum { ROWS = 3000, CHUNK_BYTES = 100 * 1000, ROW_MAX = 64 << 20 };

// Three tables with 3000, no and one rows, described by the engine under test.
struct fixture {
    struct conform *c;
    const struct gw_source_ops *ops;
    void *self;
    Gw__Catalog *cat;
    struct rows want; // of the first table
};

static void
fill(struct conform *c)
{
    Gw__Catalog *cat = conform_memory_catalog(c, SEED);
    conform_register(c, conform_state(c, cat, 1));
    for (size_t i = 0; i < cat->n_tables; i++) {
        Gw__Table *t = cat->tables[i];
        struct rows rows = {0};
        struct gw_buf text;
        gw_buf_init(&text, ROW_MAX);
        conform_memory_rows(c, SEED, t, &rows);
        for (size_t k = 0; k < rows.n; k++) {
            gw_buf_printf(&text, "%s\n", rows.items[k]);
        }
        conform_ok(c, c->target->prepare(c->a, t, 1, &c->err));
        conform_load(c, c->a, t, 0, text.data, text.len, (uint32_t)rows.n);
        gw_buf_fini(&text);
        rows_free(&rows);
        Gw__Steps steps = GW__STEPS__INIT;
        conform_ok(c, c->target->finish_plan(c->a, &c->arena, t, &steps, &c->err));
        for (size_t k = 0; k < steps.n_steps; k++) {
            conform_ok(c, c->target->finish_step(c->a, t, steps.steps[k], 1, &c->err));
        }
    }
    conform_close_target(c, &c->a);
    conform_close_target(c, &c->b);
}

static const Gw__Table *
table_of(const struct fixture *f, const char *name)
{
    for (size_t i = 0; i < f->cat->n_tables; i++) {
        if (strcmp(f->cat->tables[i]->source_name, name) == 0) {
            return f->cat->tables[i];
        }
    }
    fail_msg("no table %s", name);
    return NULL;
}

static struct fixture
start(void **state)
{
    struct fixture f = {.c = conform_start(state)};
    struct conform *c = f.c;
    bool memory = strcmp(c->engine, "memory") == 0; // has its tables, and no target that it could read
    if (!memory) {
        assert_non_null(c->target); // nobody else can fill its tables
        fill(c);
    }
    f.ops = c->source;
    f.self = conform_open_source(c);
    f.cat = gw_pb_new(&c->arena, Gw__Catalog, gw__catalog__init);
    conform_ok(c, f.ops->list(f.self, &c->arena, f.cat, &c->err));
    size_t kept = 0;
    for (size_t i = 0; i < f.cat->n_tables; i++) { // as the driver selects
        Gw__Table *t = f.cat->tables[i];
        bool schema = memory || !(c->target->caps & GW_TARGET_SCHEMAS) || strcmp(t->schema, "gwconf") == 0;
        if (schema && t->name[0] == 't' && strlen(t->name) == 2) {
            f.cat->tables[kept++] = t;
        }
    }
    f.cat->n_tables = kept;
    assert_int_equal(kept, 3);
    conform_ok(c, f.ops->describe(f.self, &c->arena, f.cat, &c->err));
    for (size_t i = 0; i < kept; i++) {
        f.cat->tables[i]->id = (uint32_t)i + 1;
    }
    conform_memory_rows(c, SEED, conform_memory_catalog(c, SEED)->tables[0], &f.want);
    assert_int_equal(f.want.n, ROWS);
    return f;
}

static void
end(struct fixture *f)
{
    conform_close_source(f->c, &f->self);
    rows_free(&f->want);
    conform_end(f->c);
}

static char *
snapshot(struct fixture *f)
{
    char *token = NULL, *handle = NULL;
    conform_ok(f->c, f->ops->snapshot_begin(f->self, &f->c->arena, "", &token, &handle, &f->c->err));
    assert_non_null(token);
    assert_non_null(handle);
    assert_true(token[0] != 0);
    return handle;
}

static Gw__TablePlan *
plan(struct fixture *f, const Gw__Table *t, const Gw__TableSettingsRule *rule, uint64_t chunk_bytes)
{
    Gw__TablePlan *p = gw_pb_new(&f->c->arena, Gw__TablePlan, gw__table_plan__init);
    conform_ok(f->c, f->ops->plan(f->self, &f->c->arena, t, rule, chunk_bytes, 4, p, &f->c->err));
    assert_true(p->n_chunks > 0);
    for (size_t i = 0; i < p->n_chunks; i++) {
        assert_int_equal(p->chunks[i]->no, i);
    }
    return p;
}

// The chunks hold every row once: as text, and as a sum.
static void
covers(struct fixture *f, const Gw__Table *t, const Gw__TablePlan *p)
{
    struct rows got = {0};
    size_t *counts = calloc(p->n_chunks, sizeof *counts), sum = 0;
    assert_non_null(counts);
    conform_read_chunks(f->c, f->ops, f->self, t, p, 10000, 1000, &got, counts);
    for (size_t i = 0; i < p->n_chunks; i++) {
        sum += counts[i];
    }
    assert_int_equal(sum, ROWS);
    rows_equal(&got, &f->want);
    rows_free(&got);
    free(counts);
}

// ---- catalogue ---------------------------------------------------------------------------------

static void
close_is_harmless(void **state)
{
    struct fixture f = start(state);
    void *never = calloc(1, f.ops->state_size);
    assert_non_null(never);
    f.ops->close(never); // never opened
    f.ops->close(never);
    Gw__Endpoint nowhere = *f.c->task->source;
    Gw__Setting odd = GW__SETTING__INIT, *params[] = {&odd};
    odd.key = gw_arena_strdup(&f.c->arena, "rows");
    odd.value = gw_arena_strdup(&f.c->arena, "many");
    nowhere.host = gw_arena_strdup(&f.c->arena, "127.0.0.1");
    nowhere.port = 1;
    nowhere.params = params;
    nowhere.n_params = strcmp(f.c->engine, "memory") == 0;
    nowhere.database = gw_arena_strdup(&f.c->arena, "/nonexistent/folder/file");
    conform_either(f.c, f.ops->open(never, &nowhere, NULL, &f.c->err), GW_CONFIG, GW_RETRY);
    f.ops->close(never); // half open
    f.ops->close(never);
    free(never);
    snapshot(&f);
    const Gw__Table *t = table_of(&f, "t1");
    conform_ok(f.c, f.ops->chunk_begin(f.self, t, plan(&f, t, NULL, CHUNK_BYTES)->chunks[0], &f.c->err));
    f.ops->close(f.self); // in a snapshot, in a chunk
    f.ops->close(f.self);
    end(&f);
}

static void
describes(void **state)
{
    struct fixture f = start(state);
    char *one = NULL, *two = NULL;
    conform_ok(f.c, f.ops->identity(f.self, &f.c->arena, &one, &f.c->err));
    assert_true(one[0] != 0);
    conform_close_source(f.c, &f.self);
    f.self = conform_open_source(f.c);
    conform_ok(f.c, f.ops->identity(f.self, &f.c->arena, &two, &f.c->err));
    assert_string_equal(one, two);
    for (size_t i = 0; i < f.cat->n_findings; i++) {
        assert_true(f.cat->findings[i]->severity != GW__SEVERITY__SEVERITY_ERROR);
    }
    for (size_t i = 0; i < 3; i++) {
        const Gw__Table *t = f.cat->tables[i];
        assert_string_equal(t->engine, f.c->engine);
        assert_string_equal(t->name, t->source_name);
        assert_string_equal(t->schema[0] ? t->schema : t->source_schema, t->source_schema);
        assert_true(t->fingerprint[0] != 0);
        assert_int_equal(t->n_columns, 10);
        assert_int_equal(t->n_primary_key, 1);
        assert_string_equal(t->primary_key[0], "id");
        assert_int_equal(t->n_indexes, 1);
        assert_string_equal(t->indexes[0]->parts[0]->column, "born");
        for (size_t k = 0; k < t->n_columns; k++) {
            assert_true(t->columns[k]->type->kind != GW__KIND__KIND_UNKNOWN);
        }
    }
    // A table that is not there is said, not failed on.
    Gw__Catalog *cat = gw_pb_new(&f.c->arena, Gw__Catalog, gw__catalog__init);
    Gw__Table *gone = gw_pb_new(&f.c->arena, Gw__Table, gw__table__init);
    gone->schema = f.cat->tables[0]->schema;
    gone->name = gw_arena_strdup(&f.c->arena, "t77");
    gw_pb_add(&f.c->arena, cat, tables, gone);
    conform_ok(f.c, f.ops->describe(f.self, &f.c->arena, cat, &f.c->err));
    assert_int_equal(cat->n_findings, 1);
    assert_int_equal(cat->findings[0]->severity, GW__SEVERITY__SEVERITY_ERROR);
    assert_string_equal(cat->findings[0]->table, "t77");
    end(&f);
}

static void
sequences_go_on(void **state)
{
    struct fixture f = start(state);
    Gw__Table *t = gw_pb_dup(&f.c->arena, table_of(&f, "t1"));
    conform_ok(f.c, f.ops->sequences(f.self, t, &f.c->err));
    if (t->columns[0]->identity != GW__IDENTITY__IDENTITY_NONE) {
        assert_true(t->columns[0]->sequence_next > ROWS);
    }
    end(&f);
}

// ---- snapshot ----------------------------------------------------------------------------------

static void
snapshots_are_named(void **state)
{
    struct fixture f = start(state);
    char *handle = snapshot(&f), *token = NULL, *other_token = NULL, *other_handle = NULL, *untouched = NULL;
    handle = snapshot(&f); // ends the first
    bool shared = f.ops->caps & GW_SOURCE_SHARED_SNAPSHOT;
    assert_int_equal(shared, handle[0] != 0);
    void *other = conform_open_source(f.c);
    conform_is(f.c, f.ops->snapshot_begin(other, &f.c->arena, "00000003-0000001B-1", &untouched, &untouched, &f.c->err),
               GW_AGAIN);
    assert_null(untouched);
    conform_ok(f.c, f.ops->snapshot_begin(other, &f.c->arena, "", &other_token, &other_handle, &f.c->err));
    assert_true(other_token[0] != 0);
    if (shared) {
        conform_ok(f.c, f.ops->snapshot_begin(f.self, &f.c->arena, "", &token, &handle, &f.c->err));
        conform_ok(f.c, f.ops->snapshot_begin(other, &f.c->arena, handle, &other_token, &other_handle, &f.c->err));
        assert_string_equal(token, other_token);
        assert_true(other_handle[0] != 0); // every reader hands it on
    }
    conform_close_source(f.c, &other);
    end(&f);
}

// Rows that come after the snapshot are not seen (or cannot come while it lasts).
static void
snapshots_stand_still(void **state)
{
    struct fixture f = start(state);
    struct conform *c = f.c;
    const Gw__Table *t = table_of(&f, "t1");
    snapshot(&f);
    Gw__TablePlan *p = plan(&f, t, NULL, CHUNK_BYTES);
    if (c->target && strcmp(c->engine, "memory") != 0) {
        c->task->name = gw_arena_strdup(&c->arena, "another");
        c->task->load->prep_mode = GW__PREP_MODE__DO_NOTHING;
        Gw__Catalog *cat = conform_memory_catalog(c, "memory://more?rows=1");
        cat->tables[0]->n_indexes = 0;
        Gw__TargetState *s = conform_state(c, cat, 1);
        uint64_t epoch = 0;
        Gw__Chunk done = GW__CHUNK__INIT;
        struct gw_target_counts n = {.rows_read = 1, .rows_written = 1};
        static const char row[] = "9999999\t1\t1.0000\t0.125\tt\t2001-01-01\t2001-01-01 00:00:00.000001\t"
                                  "00000000-0000-4000-8000-000000000001\tlate\t\\\\x00\n";
        c->a = conform_open_target(c, "00000000-0000-4000-8000-00000000000a");
        int r = c->target->state_drop(c->a, &c->err); // of a run that failed
        r = r == GW_OK ? c->target->state_register(c->a, s, &c->err) : r;
        r = r == GW_OK ? c->target->prepare(c->a, cat->tables[0], 1, &c->err) : r;
        r = r == GW_OK ? c->target->load_begin(c->a, &c->arena, cat->tables[0], s->tables[0]->chunks[0], false, &epoch,
                                               &done, &c->err)
                       : r;
        r = r == GW_OK ? c->target->load_write(c->a, row, sizeof row - 1, 1, &c->err) : r;
        r = r == GW_OK ? c->target->load_commit(c->a, &n, "s", &c->err) : r;
        // The file is locked as long as it is read: RETRY, and AGAIN where it is said who holds it.
        conform_either(c, r == GW_AGAIN && strcmp(c->err.code, GW_CODE_LOCKED) == 0 ? GW_RETRY : r, GW_OK, GW_RETRY);
        conform_close_target(c, &c->a);
    }
    covers(&f, t, p);
    conform_close_source(c, &f.self);
    if (c->target && strcmp(c->engine, "memory") != 0) {
        void *again = conform_open_target(c, "00000000-0000-4000-8000-00000000000c");
        conform_ok(c, c->target->state_drop(again, &c->err));
        conform_close_target(c, &again);
        c->task->name = gw_arena_strdup(&c->arena, "conform's \"task\"");
    }
    end(&f);
}

// ---- plan --------------------------------------------------------------------------------------

static void
plan_covers_every_row_once(void **state)
{
    struct fixture f = start(state);
    const Gw__Table *t = table_of(&f, "t1");
    snapshot(&f);
    static const uint64_t sizes[] = {1, 20 * 1000, CHUNK_BYTES, UINT64_C(1) << 40};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        Gw__TablePlan *p = plan(&f, t, NULL, sizes[i]);
        if (f.ops->caps & GW_SOURCE_SPLITS && sizes[i] <= CHUNK_BYTES) {
            assert_true(p->n_chunks > 1);
        }
        for (size_t k = 0; k < p->n_chunks && p->chunks[k]->by == GW__CHUNK_BY__BY_KEY; k++) {
            // Closed at both ends of the table, and each goes on where the last has ended.
            const Gw__Chunk *c = p->chunks[k];
            assert_non_null(c->hi);
            assert_int_equal(c->hi_inclusive, k + 1 == p->n_chunks);
            if (k) {
                assert_string_equal(c->lo->values[0], p->chunks[k - 1]->hi->values[0]);
            } else if (c->lo) {
                assert_string_equal(c->lo->values[0], "1");
            }
            if (c->hi_inclusive) {
                assert_string_equal(c->hi->values[0], "3000");
            }
        }
        if (p->n_chunks < 200) {
            covers(&f, t, p);
        }
    }
    end(&f);
}

static void
rules_are_obeyed(void **state)
{
    struct fixture f = start(state);
    const Gw__Table *t = table_of(&f, "t1");
    snapshot(&f);
    Gw__TableSettingsRule whole = GW__TABLE_SETTINGS_RULE__INIT, ranges = GW__TABLE_SETTINGS_RULE__INIT;
    whole.parallel = GW__PARALLEL_TYPE__PARALLEL_NONE;
    Gw__TablePlan *p = plan(&f, t, &whole, 1000);
    assert_int_equal(p->n_chunks, 1);
    covers(&f, t, p);
    ranges.id = gw_arena_strdup(&f.c->arena, "rule 7");
    ranges.parallel = GW__PARALLEL_TYPE__RANGES;
    gw_pb_add(&f.c->arena, &ranges, columns, gw_arena_strdup(&f.c->arena, "id"));
    static const char *const at[] = {"10", "1000", "2999", "5000"};
    static const size_t rows[] = {10, 990, 1999, 1, 0}; // lower bounds belong to the range below
    for (size_t i = 0; i < 4; i++) {
        Gw__Boundary *b = gw_pb_new(&f.c->arena, Gw__Boundary, gw__boundary__init);
        gw_pb_add(&f.c->arena, b, values, gw_arena_strdup(&f.c->arena, at[i]));
        gw_pb_add(&f.c->arena, &ranges, boundaries, b);
    }
    p = plan(&f, t, &ranges, 1000);
    assert_int_equal(p->n_chunks, 5);
    size_t counts[5];
    struct rows got = {0};
    conform_read_chunks(f.c, f.ops, f.self, t, p, 10000, 1000, &got, counts);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(counts[i], rows[i]);
    }
    rows_equal(&got, &f.want);
    rows_free(&got);
    ranges.columns[0] = gw_arena_strdup(&f.c->arena, "no such column");
    Gw__TablePlan none = GW__TABLE_PLAN__INIT;
    int r = f.ops->plan(f.self, &f.c->arena, t, &ranges, 1000, 1, &none, &f.c->err);
    assert_non_null(strstr(f.c->err.message, "rule 7"));
    conform_is(f.c, r, GW_CONFIG);
    assert_int_equal(none.n_chunks, 0);
    end(&f);
}

static void
small_tables(void **state)
{
    struct fixture f = start(state);
    snapshot(&f);
    static const char *const names[] = {"t2", "t3"}; // no row, one row
    for (size_t i = 0; i < 2; i++) {
        const Gw__Table *t = table_of(&f, names[i]);
        struct rows got = {0};
        Gw__TablePlan *p = plan(&f, t, NULL, CHUNK_BYTES);
        assert_int_equal(p->n_chunks, 1);
        conform_read_chunks(f.c, f.ops, f.self, t, p, 10000, 1000, &got, NULL);
        assert_int_equal(got.n, i);
        rows_free(&got);
    }
    end(&f);
}

// ---- chunks ------------------------------------------------------------------------------------

static void
next_keeps_its_limits(void **state)
{
    struct fixture f = start(state);
    const Gw__Table *t = table_of(&f, "t1");
    snapshot(&f);
    Gw__TablePlan *p = plan(&f, t, NULL, UINT64_C(1) << 40);
    static const struct {
        size_t want;
        uint32_t rows_max;
    } limits[] = {{1, 1}, {1 << 30, 1}, {1, 100}, {5000, 7}, {5000, UINT32_MAX}, {1 << 30, UINT32_MAX}};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rows got = {0};
        conform_read_chunks(f.c, f.ops, f.self, t, p, limits[i].want, limits[i].rows_max, &got, NULL);
        rows_equal(&got, &f.want);
        rows_free(&got);
    }
    // What is in the buffer already stays.
    struct gw_buf out;
    gw_buf_init(&out, ROW_MAX);
    gw_buf_puts(&out, "kept\n");
    uint32_t rows = 0;
    conform_ok(f.c, f.ops->chunk_begin(f.self, t, p->chunks[0], &f.c->err));
    conform_ok(f.c, f.ops->chunk_next(f.self, &out, out.len + 1, 1, &rows, &f.c->err));
    assert_int_equal(rows, 1);
    assert_memory_equal(out.data, "kept\n", 5);
    assert_true(out.len > 5);
    gw_buf_fini(&out);
    end(&f);
}

static void
cancel_keeps_the_snapshot(void **state)
{
    struct fixture f = start(state);
    const Gw__Table *t = table_of(&f, "t1");
    snapshot(&f);
    Gw__TablePlan *p = plan(&f, t, NULL, CHUNK_BYTES);
    conform_ok(f.c, f.ops->chunk_cancel(f.self, &f.c->err)); // with none
    struct gw_buf out;
    gw_buf_init(&out, ROW_MAX);
    for (int i = 0; i < 3; i++) {
        uint32_t rows = 0;
        conform_ok(f.c, f.ops->chunk_begin(f.self, t, p->chunks[i % (int)p->n_chunks], &f.c->err));
        if (i) {
            conform_ok(f.c, f.ops->chunk_next(f.self, &out, 1, 1, &rows, &f.c->err));
        }
        conform_ok(f.c, f.ops->chunk_cancel(f.self, &f.c->err));
        conform_ok(f.c, f.ops->chunk_cancel(f.self, &f.c->err));
    }
    gw_buf_fini(&out);
    covers(&f, t, p);
    end(&f);
}

static void
changed_table_is_refused(void **state)
{
    struct fixture f = start(state);
    Gw__Table *t = gw_pb_dup(&f.c->arena, table_of(&f, "t1"));
    snapshot(&f);
    Gw__TablePlan *p = plan(&f, t, NULL, CHUNK_BYTES);
    t->fingerprint = gw_arena_strdup(&f.c->arena, "other");
    conform_is(f.c, f.ops->chunk_begin(f.self, t, p->chunks[0], &f.c->err), GW_CONFIG);
    end(&f); // only close is legal now
}

static void
row_larger_than_the_buffer(void **state)
{
    struct fixture f = start(state);
    const Gw__Table *t = table_of(&f, "t1");
    snapshot(&f);
    Gw__TablePlan *p = plan(&f, t, NULL, CHUNK_BYTES);
    struct gw_buf out;
    gw_buf_init(&out, 10);
    uint32_t rows = 77;
    conform_ok(f.c, f.ops->chunk_begin(f.self, t, p->chunks[0], &f.c->err));
    conform_either(f.c, f.ops->chunk_next(f.self, &out, 1, 1, &rows, &f.c->err), GW_DATA, GW_CONFIG);
    assert_int_equal(rows, 77);
    assert_int_equal(out.len, 0);
    gw_buf_fini(&out);
    end(&f);
}

// Where a buffer ends behind other rows, the row that did not fit comes next, or the call fails; it is never lost.
static void
buffer_that_fills_up(void **state)
{
    struct fixture f = start(state);
    const Gw__Table *t = table_of(&f, "t1");
    snapshot(&f);
    Gw__TablePlan *p = plan(&f, t, NULL, UINT64_C(1) << 40);
    struct gw_buf out;
    gw_buf_init(&out, 1500);
    struct rows got = {0};
    uint32_t rows = 0;
    conform_ok(f.c, f.ops->chunk_begin(f.self, t, p->chunks[0], &f.c->err));
    int r = GW_OK;
    while (r == GW_OK) {
        r = f.ops->chunk_next(f.self, &out, 1 << 20, UINT32_MAX, &rows, &f.c->err);
        rows_add(&got, out.data ? out.data : "", out.len);
        gw_buf_reset(&out);
    }
    conform_spell_bools(t, &got, 0);
    if (r == GW_END && p->n_chunks == 1) {
        rows_equal(&got, &f.want);
    } else if (r != GW_END) {
        conform_either(f.c, r, GW_DATA, GW_CONFIG);
    }
    rows_free(&got);
    gw_buf_fini(&out);
    end(&f);
}

static void
left_out_columns(void **state)
{
    struct fixture f = start(state);
    Gw__Table *t = gw_pb_dup(&f.c->arena, table_of(&f, "t1"));
    snapshot(&f);
    Gw__TablePlan *p = plan(&f, t, NULL, UINT64_C(1) << 40);
    for (size_t i = 1; i < t->n_columns; i++) {
        t->columns[i]->left_out = i != 4;
    }
    struct rows got = {0};
    conform_read_chunks(f.c, f.ops, f.self, t, p, 10000, 1000, &got, NULL);
    assert_int_equal(got.n, ROWS);
    for (size_t i = 0; i < got.n; i++) {
        struct gw_copy_field fields[4];
        assert_int_equal(gw_copy_split(got.items[i], strlen(got.items[i]), fields, 4), 2);
        assert_true(fields[1].null || (fields[1].len == 1 && strchr("tf", fields[1].at[0])));
    }
    rows_free(&got);
    end(&f);
}

static const struct conform_test tests[] = {
    {"close is harmless", close_is_harmless},
    {"describes its tables", describes},
    {"sequences go on", sequences_go_on},
    {"snapshots are named", snapshots_are_named},
    {"snapshots stand still", snapshots_stand_still},
    {"plan covers every row once", plan_covers_every_row_once},
    {"plan obeys rules", rules_are_obeyed},
    {"plan: tables with no and one row", small_tables},
    {"chunk: next keeps its limits", next_keeps_its_limits},
    {"chunk: cancel keeps the snapshot", cancel_keeps_the_snapshot},
    {"chunk: a changed table is refused", changed_table_is_refused},
    {"chunk: a row larger than the buffer", row_larger_than_the_buffer},
    {"chunk: a buffer that fills up", buffer_that_fills_up},
    {"chunk: columns that are left out", left_out_columns},
};

int
main(void)
{
    const char *engines[64];
    size_t n = 0;
    for (const struct gw_source_ops *const *e = gw_sources; *e && n < 64; e++) {
        engines[n++] = (*e)->name;
        if ((*e)->version != GW_SOURCE_VERSION) {
            return 1;
        }
    }
    return conform_run("source", tests, sizeof tests / sizeof *tests, engines, n);
}
