// Every target engine with a stream against apply/target.h: what sets of changes make of the rows.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "stream_sets.h"

static struct gw_buf text; // rows that are made
static int in_order;       // of claim_and_begin

static Gw__Table *
ready(struct conform *c, Gw__Catalog *cat)
{
    Gw__Table *t = stream_ready(c, cat);
    stream_claim(c, c->a, in_order);
    conform_ok(c, c->target->stream_begin(c->a, &c->err));
    return t;
}

static int
apply(struct conform *c, const struct gw_change_set *set)
{
    uint64_t rows = 0;
    return c->target->stream_apply(c->a, set, &rows, &c->err);
}

static void
again(struct conform *c, const char *position)
{
    stream_commit(c, c->a, position);
    conform_ok(c, c->target->stream_begin(c->a, &c->err));
}

// id, small, label for n ids from 0: "<id>\t<small>\t<label><id>\n", every seventh label NULL.
static const char *
many(int n, int small, const char *label)
{
    gw_buf_reset(&text);
    for (int i = 0; i < n; i++) {
        gw_buf_printf(&text, "%d\t%d\t", i, small + i);
        if (i % 7 == 3) {
            gw_buf_puts(&text, "\\N\n");
        } else {
            gw_buf_printf(&text, "%s%d\n", label, i);
        }
    }
    return text.data ? text.data : "";
}

static const char *
ids(int n)
{
    gw_buf_reset(&text);
    for (int i = 0; i < n; i++) {
        gw_buf_printf(&text, "%d\n", i);
    }
    return text.data;
}

static void
every_kind(struct conform *c, int n)
{
    Gw__Table *t = ready(c, target_catalog(c));
    stream_apply(c, c->a, set_insert(c, t, NULL, many(n, 5, "a")), (uint64_t)n);
    again(c, "1");
    target_table_is(c, t, many(n, 5, "a"));
    const char *keys = gw_arena_strdup(&c->arena, ids(n));
    stream_apply(c, c->a, set_update(c, t, NULL, keys, NULL, many(n, 9, "b")), (uint64_t)n);
    again(c, "2");
    target_table_is(c, t, many(n, 9, "b"));
    // The same again: rows that are there count, whether they change or not.
    stream_apply(c, c->a, set_update(c, t, NULL, keys, NULL, many(n, 9, "b")), (uint64_t)n);
    again(c, "3");
    target_table_is(c, t, many(n, 9, "b"));
    stream_apply(c, c->a, set_delete(c, t, NULL, keys), (uint64_t)n);
    stream_apply(c, c->a, set_delete(c, t, NULL, keys), 0);
    stream_apply(c, c->a, set_update(c, t, NULL, keys, NULL, many(n, 9, "b")), 0);
    again(c, "4");
    target_table_is(c, t, "");
}

static void
one_row(void **state)
{
    struct conform *c = stream_start(state);
    every_kind(c, 1);
    conform_end(c);
}

static void
many_rows(void **state)
{
    struct conform *c = stream_start(state);
    every_kind(c, 10000);
    conform_end(c);
}

// Only what is given is written; what is not, stays.
static void
some_columns(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = ready(c, target_catalog(c));
    stream_apply(c, c->a, set_insert(c, t, "id,small", "1\t1\n2\t2\n3\t3\n"), 3);
    stream_apply(c, c->a, set_update(c, t, NULL, "1\n2\n", "label", "a\\tb\n\\N\n"), 2);
    stream_apply(c, c->a, set_update(c, t, NULL, "2\n3\n", "small", "22\n33\n"), 2);
    stream_apply(c, c->a, set_update(c, t, NULL, "1\n9\n", "label", "one\nnine\n"), 1); // one is missing
    stream_apply(c, c->a, set_update(c, t, NULL, "2\n9\n", "", "\n\n"), 1);             // nothing to set
    again(c, "1");
    target_table_is(c, t, "1\t1\tone\n2\t22\t\\N\n3\t33\t\\N\n");
    conform_end(c);
}

static void
keys_change(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = ready(c, target_catalog(c));
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n2\t2\tb\n3\t3\tc\n"), 3);
    stream_apply(c, c->a, set_update(c, t, NULL, "1\n2\n", "id,label", "11\ta\n12\tbb\n"), 2);
    stream_apply(c, c->a, set_update(c, t, NULL, "3\n", NULL, "1\t33\t\\N\n"), 1);
    again(c, "1");
    target_table_is(c, t, "11\t1\ta\n12\t2\tbb\n1\t33\t\\N\n");
    conform_is(c, apply(c, set_update(c, t, NULL, "11\n", "id", "12\n")), GW_DATA); // is taken
    again(c, "2");
    target_table_is(c, t, "11\t1\ta\n12\t2\tbb\n1\t33\t\\N\n");
    conform_end(c);
}

static void
truncates(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = ready(c, target_catalog(c));
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n2\t2\tb\n"), 2);
    again(c, "1");
    uint64_t n = 0;
    conform_ok(c, c->target->stream_apply(c->a, set_truncate(c, t), &n, &c->err));
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t5\tc\n"), 1);
    conform_close_target(c, &c->a); // it belongs to the transaction
    target_table_is(c, t, "1\t1\ta\n2\t2\tb\n");
    c->a = conform_open_target(c, "00000000-0000-4000-8000-0000000000a2");
    stream_claim(c, c->a, in_order);
    conform_ok(c, c->target->stream_begin(c->a, &c->err));
    stream_apply(c, c->a, set_insert(c, t, NULL, "3\t1\ta\n"), 1);
    conform_ok(c, c->target->stream_apply(c->a, set_truncate(c, t), &n, &c->err));
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t5\tc\n"), 1);
    stream_commit(c, c->a, "2");
    target_table_is(c, t, "1\t5\tc\n");
    conform_end(c);
}

// Rows that are alike: each change is to exactly one.
static void
keyless(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Catalog *cat = target_catalog(c);
    cat->tables[0]->n_primary_key = 0;
    cat->tables[0]->columns[0]->not_null = false;
    cat->tables[0]->columns[0]->identity = GW__IDENTITY__IDENTITY_NONE;
    Gw__Table *t = ready(c, cat);
    static const char all[] = "id,small,label";
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n1\t1\ta\n1\t1\ta\n\\N\t2\t\\N\n\\N\t2\t\\N\n5\t5\te\n"), 6);
    stream_apply(c, c->a, set_keyless(set_delete(c, t, all, "1\t1\ta\n")), 1);
    stream_apply(c, c->a, set_keyless(set_delete(c, t, all, "\\N\t2\t\\N\n7\t7\tg\n")), 1);
    again(c, "1");
    target_table_is(c, t, "1\t1\ta\n1\t1\ta\n\\N\t2\t\\N\n5\t5\te\n");
    stream_apply(c, c->a, set_keyless(set_update(c, t, all, "1\t1\ta\n", NULL, "1\t1\tb\n")), 1);
    stream_apply(c, c->a, set_keyless(set_update(c, t, all, "\\N\t2\t\\N\n5\t5\te\n", "id,label", "\\N\tz\n6\t\\N\n")),
                 2);
    again(c, "2");
    target_table_is(c, t, "1\t1\ta\n1\t1\tb\n\\N\t2\tz\n6\t5\t\\N\n");
    // Two that are alike in one set.
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n1\t1\ta\n"), 2);
    stream_apply(c, c->a, set_keyless(set_delete(c, t, all, "1\t1\ta\n1\t1\ta\n1\t1\tb\n")), 3);
    conform_is(c, apply(c, set_keyless(set_update(c, t, all, "6\t5\t\\N\n1\t1\ta\n", "small", "6\n\\N\n"))), GW_DATA);
    again(c, "3");
    target_table_is(c, t, "1\t1\ta\n\\N\t2\tz\n6\t5\t\\N\n");
    conform_end(c);
}

static void
unsure(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = ready(c, target_catalog(c));
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n2\t2\tb\n"), 2);
    stream_apply(c, c->a, set_unsure(set_insert(c, t, NULL, "2\t22\tnew\n3\t3\tc\n")), 2);
    stream_apply(c, c->a, set_unsure(set_insert(c, t, NULL, "2\t22\tnew\n")), 1); // equal values
    stream_apply(c, c->a, set_unsure(set_delete(c, t, NULL, "1\n9\n")), 1);
    stream_apply(c, c->a, set_unsure(set_delete(c, t, NULL, "1\n")), 0);
    again(c, "1");
    target_table_is(c, t, "2\t22\tnew\n3\t3\tc\n");
    conform_is(c, apply(c, set_unsure(set_insert(c, t, NULL, "4\t4\td\n3\t\\N\tpoison\n"))), GW_DATA);
    again(c, "2");
    target_table_is(c, t, "2\t22\tnew\n3\t3\tc\n");
    conform_end(c);
}

static Gw__Catalog *
unique_label(struct conform *c)
{
    Gw__Catalog *cat = target_catalog(c);
    Gw__Index *ix = gw_pb_new(&c->arena, Gw__Index, gw__index__init);
    ix->name = gw_arena_strdup(&c->arena, "small_label_u");
    ix->is_unique = true;
    Gw__IndexPart *part = gw_pb_new(&c->arena, Gw__IndexPart, gw__index_part__init);
    part->column = gw_arena_strdup(&c->arena, "small");
    gw_pb_add(&c->arena, ix, parts, part);
    cat->tables[0]->indexes = NULL;
    gw_pb_add(&c->arena, cat->tables[0], indexes, ix);
    return cat;
}

// Another unique key: a row that is in its way is never replaced, in one statement or two.
static void
other_unique_keys(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = ready(c, unique_label(c));
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n2\t2\tb\n3\t3\tc\n"), 3);
    conform_is(c, apply(c, set_insert(c, t, NULL, "4\t1\td\n")), GW_DATA);
    conform_is(c, apply(c, set_unsure(set_insert(c, t, NULL, "4\t1\td\n"))), GW_DATA);
    conform_is(c, apply(c, set_unsure(set_insert(c, t, NULL, "2\t1\td\n"))),
               GW_DATA); // by the key, into another's value
    again(c, "1");
    target_table_is(c, t, "1\t1\ta\n2\t2\tb\n3\t3\tc\n");
    // Handed from row to row in the order of the changes.
    stream_apply(c, c->a, set_update(c, t, NULL, "1\n", "small", "10\n"), 1);
    stream_apply(c, c->a, set_update(c, t, NULL, "2\n", "small", "1\n"), 1);
    stream_apply(c, c->a, set_update(c, t, NULL, "1\n", "small", "2\n"), 1);
    stream_apply(c, c->a, set_delete(c, t, NULL, "3\n"), 1);
    stream_apply(c, c->a, set_unsure(set_insert(c, t, NULL, "2\t3\tB\n")), 1);
    again(c, "2");
    target_table_is(c, t, "1\t2\ta\n2\t3\tB\n");
    conform_end(c);
}

// The load's values, by the stream: inserted, updated into, and found again by all of them.
static void
every_value(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = ready(c, conform_memory_catalog(c, TARGET_SEED));
    struct rows want = {0}, got = {0};
    conform_memory_rows(c, TARGET_SEED, t, &want);
    gw_buf_reset(&text);
    for (size_t i = 0; i < want.n; i++) {
        gw_buf_printf(&text, "%s\n", want.items[i]);
    }
    stream_apply(c, c->a, set_insert(c, t, NULL, text.data), want.n);
    again(c, "1");
    conform_read_back(c, t, &got);
    rows_equal(&got, &want);
    rows_free(&got);
    const struct gw_change_set *given = set_insert(c, t, NULL, text.data);
    struct gw_change_set bare = *given, by_all = *given;
    bare.columns_n = 1; // ids alone
    struct gw_value *first = gw_arena_calloc(&c->arena, given->n, sizeof *first);
    for (size_t i = 0; i < given->n; i++) {
        first[i] = given->values[i * given->columns_n];
    }
    bare.values = first;
    by_all.kind = GW__CHANGE_KIND__CHANGE_DELETE;
    by_all.key = given->columns;
    by_all.key_n = given->columns_n;
    by_all.keys = given->values;
    by_all.keyless = true;
    stream_apply(c, c->a, &by_all, given->n);
    stream_apply(c, c->a, &bare, given->n);
    struct gw_change_set fill = *given;
    fill.kind = GW__CHANGE_KIND__CHANGE_UPDATE;
    fill.key = given->columns;
    fill.key_n = 1;
    fill.keys = first;
    stream_apply(c, c->a, &fill, given->n);
    again(c, "2");
    conform_read_back(c, t, &got);
    rows_equal(&got, &want);
    rows_free(&got);
    rows_free(&want);
    conform_end(c);
}

static void
wide_table(void **state)
{
    enum { WIDTH = 1000, ROWS = 20 };
    struct conform *c = stream_start(state);
    Gw__Catalog *cat = target_catalog(c);
    Gw__Table *t = cat->tables[0];
    Gw__Column *first = t->columns[0], *like = t->columns[1];
    t->columns = NULL;
    t->source_columns = NULL;
    t->n_columns = t->n_source_columns = 0;
    gw_pb_add(&c->arena, t, columns, first);
    for (int i = 1; i < WIDTH; i++) {
        Gw__Column *x = gw_pb_dup(&c->arena, like);
        x->name = gw_arena_printf(&c->arena, "c%d", i);
        x->not_null = false;
        gw_pb_add(&c->arena, t, columns, x);
    }
    for (int i = 0; i < WIDTH; i++) {
        gw_pb_add(&c->arena, t, source_columns, t->columns[i]->name);
    }
    ready(c, cat);
    char *rows[2], *keys;
    for (int round = 0; round < 2; round++) {
        gw_buf_reset(&text);
        for (int r = 0; r < ROWS; r++) {
            gw_buf_printf(&text, "%d", r);
            for (int i = 1; i < WIDTH; i++) {
                gw_buf_printf(&text, i % 5 ? "\t%d" : "\t\\N", r * i + round);
            }
            gw_buf_puts(&text, "\n");
        }
        rows[round] = gw_arena_strdup(&c->arena, text.data);
    }
    keys = gw_arena_strdup(&c->arena, ids(ROWS));
    stream_apply(c, c->a, set_insert(c, t, NULL, rows[0]), ROWS);
    again(c, "1");
    target_table_is(c, t, rows[0]);
    stream_apply(c, c->a, set_update(c, t, NULL, keys, NULL, rows[1]), ROWS);
    again(c, "2");
    target_table_is(c, t, rows[1]);
    stream_apply(c, c->a, set_delete(c, t, NULL, keys), ROWS);
    again(c, "3");
    target_table_is(c, t, "");
    conform_end(c);
}

static void
names_are_quoted(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Catalog *cat = target_catalog(c);
    Gw__Table *t = cat->tables[0];
    t->name = gw_arena_strdup(&c->arena, "Sel\"ect `it's` \xc3\xa9");
    // 63 bytes, capitals and everything that quoting is about.
    t->columns[0]->name =
        gw_arena_strdup(&c->arena, "Id \"of\" `it's` $1 ? :x %s \\ abcdefghijklmnopqrstuvwxyzABCDEFGHI");
    t->columns[1]->name = gw_arena_strdup(&c->arena, "or\"der by");
    t->columns[2]->name = gw_arena_strdup(&c->arena, "`la'bel` %s \\");
    assert_int_equal(strlen(t->columns[0]->name), 63);
    t->primary_key[0] = t->columns[0]->name;
    ready(c, cat);
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n2\t2\tb\n"), 2);
    stream_apply(c, c->a, set_unsure(set_insert(c, t, NULL, "2\t3\tc\n")), 1);
    stream_apply(c, c->a, set_update(c, t, NULL, "1\n", NULL, "1\t1\tA\n"), 1);
    stream_apply(c, c->a, set_insert(c, t, NULL, "3\t3\tc\n"), 1);
    stream_apply(c, c->a, set_delete(c, t, NULL, "3\n"), 1);
    again(c, "1");
    target_table_is(c, t, "1\t1\tA\n2\t3\tc\n");
    uint64_t n = 0;
    conform_ok(c, c->target->stream_apply(c->a, set_truncate(c, t), &n, &c->err));
    again(c, "2");
    target_table_is(c, t, "");
    conform_end(c);
}

static void
missing_things_are_named(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Table *t = ready(c, target_catalog(c));
    stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n"), 1);
    Gw__Table *gone = gw_pb_dup(&c->arena, t);
    gone->name = gw_arena_strdup(&c->arena, "not there");
    struct gw_err err = {0};
    uint64_t n = 4711;
    assert_int_equal(c->target->stream_apply(c->a, set_insert(c, gone, NULL, "1\t1\ta\n"), &n, &err), GW_CONFIG);
    assert_non_null(strstr(err.message, "not there"));
    assert_int_equal(n, 4711); // untouched
    conform_end(c);
}

// A foreign key of child to parent on the target: kept from firing, or (in order) enforced.
static Gw__Catalog *
parent_and_child(struct conform *c)
{
    Gw__Catalog *cat = target_catalog(c);
    Gw__Table *child = gw_pb_dup(&c->arena, cat->tables[0]);
    child->id = 2;
    child->name = child->source_name = gw_arena_strdup(&c->arena, "child");
    child->n_foreign_keys = 0;
    cat->tables[1] = child;
    cat->n_tables = 2;
    Gw__ForeignKey *k = gw_pb_new(&c->arena, Gw__ForeignKey, gw__foreign_key__init);
    k->name = gw_arena_strdup(&c->arena, "child_parent");
    k->ref_schema = cat->tables[0]->schema;
    k->ref_table = cat->tables[0]->name;
    k->on_delete = gw_arena_strdup(&c->arena, "NO ACTION");
    k->on_update = k->on_delete;
    k->match = gw_arena_strdup(&c->arena, "SIMPLE");
    child->foreign_keys = NULL;
    gw_pb_add(&c->arena, k, columns, child->columns[1]->name);
    gw_pb_add(&c->arena, k, ref_columns, cat->tables[0]->columns[0]->name);
    gw_pb_add(&c->arena, child, foreign_keys, k);
    // As the load would have said it: the referencing column is of the referenced one's type.
    child->columns[1]->type = cat->tables[0]->columns[0]->type;
    return cat;
}

static void
make_constraints(struct conform *c, const Gw__Table *t)
{
    Gw__Steps steps = GW__STEPS__INIT;
    conform_ok(c, c->target->finish_plan(c->b, &c->arena, t, &steps, &c->err));
    for (size_t i = 0; i < steps.n_steps; i++) {
        if (steps.steps[i]->phase == GW__STEP_PHASE__STEP_CONSTRAINTS) {
            conform_ok(c, c->target->finish_step(c->b, t, steps.steps[i], 1, &c->err));
        }
    }
}

static void
foreign_keys(void **state)
{
    struct conform *c = stream_start(state);
    Gw__Catalog *cat = parent_and_child(c);
    for (int order = 0; order < 2; order++) {
        Gw__Table *t = stream_ready(c, cat), *child = cat->tables[1];
        make_constraints(c, child);
        stream_claim(c, c->a, order);
        conform_ok(c, c->target->stream_begin(c->a, &c->err));
        stream_apply(c, c->a, set_insert(c, t, NULL, "1\t1\ta\n"), 1);
        const struct gw_change_set *orphan = set_insert(c, child, NULL, "1\t7\tx\n");
        if (order) {
            conform_is(c, apply(c, orphan), GW_DATA);
            stream_apply(c, c->a, set_insert(c, child, NULL, "1\t1\tx\n"), 1);
            conform_is(c, apply(c, set_delete(c, t, NULL, "1\n")), GW_DATA);
            stream_apply(c, c->a, set_delete(c, child, NULL, "1\n"), 1);
            stream_apply(c, c->a, set_delete(c, t, NULL, "1\n"), 1);
            again(c, "1");
            target_table_is(c, child, "");
        } else {
            stream_apply(c, c->a, orphan, 1);
            stream_apply(c, c->a, set_insert(c, t, NULL, "7\t7\tg\n"), 1);
            uint64_t n = 0;
            conform_ok(c, c->target->stream_apply(c->a, set_truncate(c, t), &n, &c->err)); // though it is referenced
            stream_apply(c, c->a, set_insert(c, t, NULL, "7\t7\tg\n"), 1);
            again(c, "1");
            target_table_is(c, child, "1\t7\tx\n");
            target_table_is(c, t, "7\t7\tg\n");
        }
        stream_commit(c, c->a, "2");
    }
    cat->tables[0] = cat->tables[1]; // made anew, without the key that would keep the next test from the parent
    cat->n_tables = 1;
    stream_ready(c, cat);
    conform_end(c);
}

// ---- how fast ------------------------------------------------------------------------------------

static double
now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

// GW_TEST_STREAM_SECONDS: sets of a thousand rows for so long, for each kind; figures on stderr.
static void
speed(void **state)
{
    const char *seconds = getenv("GW_TEST_STREAM_SECONDS");
    if (!seconds) {
        skip();
    }
    enum { N = 1000 };
    struct conform *c = stream_start(state);
    Gw__Table *t = ready(c, target_catalog(c));
    const char *keys = gw_arena_strdup(&c->arena, ids(N));
    const struct gw_change_set *sets[] = {set_insert(c, t, NULL, many(N, 1, "label ")),
                                          set_update(c, t, NULL, keys, NULL, many(N, 7, "other ")),
                                          set_delete(c, t, NULL, keys)};
    double spent[3] = {0}, commits = 0, until = now() + atof(seconds);
    unsigned rounds = 0;
    for (; now() < until; rounds++) {
        for (int i = 0; i < 3; i++) {
            double from = now();
            stream_apply(c, c->a, sets[i], N);
            double applied = now();
            again(c, rounds % 2 ? "a" : "b");
            spent[i] += applied - from;
            commits += now() - applied;
        }
    }
    fprintf(stderr, "%s: rows/s in sets of %d: insert %.0f, update %.0f, delete %.0f; a commit %.2f ms\n", c->engine, N,
            rounds * N / spent[0], rounds * N / spent[1], rounds * N / spent[2], commits / rounds / 3 * 1e3);
    stream_apply(c, c->a, sets[0], N);
    again(c, "c");
    const struct gw_change_set *one[N];
    for (int i = 0; i < N; i++) {
        const char *key = gw_arena_printf(&c->arena, "%d\n", i);
        one[i] = set_update(c, t, NULL, key, NULL, gw_arena_printf(&c->arena, "%d\t%d\tx\n", i, i));
    }
    double from = now();
    unsigned n = 0;
    while (now() < from + atof(seconds)) {
        for (int i = 0; i < N; i++, n++) {
            stream_apply(c, c->a, one[i], 1);
        }
        again(c, n / N % 2 ? "d" : "e");
    }
    fprintf(stderr, "%s: updates in sets of one, %d to a transaction: %.0f/s\n", c->engine, N, n / (now() - from));
    stream_commit(c, c->a, "end");
    conform_end(c);
}

static const struct conform_test tests[] = {
    {"sets: one row of every kind", one_row},
    {"sets: ten thousand rows of every kind", many_rows},
    {"sets: some columns", some_columns},
    {"sets: keys change", keys_change},
    {"sets: truncate", truncates},
    {"sets: keyless", keyless},
    {"sets: unsure", unsure},
    {"sets: other unique keys", other_unique_keys},
    {"sets: every value", every_value},
    {"sets: a thousand columns", wide_table},
    {"sets: names are quoted", names_are_quoted},
    {"sets: missing things are named", missing_things_are_named},
    {"sets: foreign keys", foreign_keys},
    {"sets: speed", speed},
};

int
main(void)
{
    const char *engines[64];
    size_t n = 0;
    for (const struct gw_target_ops *const *e = gw_targets; *e && n < 64; e++) {
        engines[n++] = (*e)->name;
    }
    gw_buf_init(&text, 64 << 20);
    int failed = conform_run("target stream sets", tests, sizeof tests / sizeof *tests, engines, n);
    gw_buf_fini(&text);
    return failed;
}
