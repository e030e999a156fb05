// Which changes a load has seen: by the snapshot of the chunk that holds the key, and by nothing else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "capture/filter.h"

// A source whose snapshots are numbers: "5" sees transactions 1 to 5; "5?8" is not sure of 6 to 8.
static int asked;
static int
tx_visible(const char *token, const char *transaction, enum gw_visible *ret, struct gw_err *err)
{
    (void)err;
    asked++;
    char *end;
    long sure = strtol(token, &end, 10), unsure = *end == '?' ? strtol(end + 1, NULL, 10) : sure;
    long tx = strtol(transaction, NULL, 10);
    *ret = tx <= sure ? GW_VISIBLE : tx <= unsure ? GW_UNSURE : GW_INVISIBLE;
    return GW_OK;
}
static const struct gw_source_ops ops = {.tx_visible = tx_visible};

static struct gw_arena arena;

static Gw__Table *
table(void)
{
    static const struct {
        const char *name;
        Gw__Kind kind;
    } columns[] = {{"left", GW__KIND__KIND_TEXT},
                   {"note", GW__KIND__KIND_TEXT},
                   {"a", GW__KIND__KIND_INT32},
                   {"b", GW__KIND__KIND_DATE}};
    Gw__Table *t = gw_pb_new(&arena, Gw__Table, gw__table__init);
    t->engine = gw_arena_strdup(&arena, "postgresql");
    t->source_schema = t->source_name = gw_arena_strdup(&arena, "t");
    for (size_t i = 0; i < 4; i++) {
        Gw__Column *c = gw_pb_new(&arena, Gw__Column, gw__column__init);
        c->name = gw_arena_strdup(&arena, columns[i].name);
        c->type = gw_pb_new(&arena, Gw__Type, gw__type__init);
        c->type->kind = columns[i].kind;
        c->left_out = i == 0;
        gw_pb_add(&arena, t, columns, c);
    }
    return t;
}

static Gw__Bound *
bound(const char *a, const char *b)
{
    if (!a) {
        return NULL;
    }
    Gw__Bound *v = gw_pb_new(&arena, Gw__Bound, gw__bound__init);
    gw_pb_add(&arena, v, values, gw_arena_strdup(&arena, a));
    if (b) {
        gw_pb_add(&arena, v, values, gw_arena_strdup(&arena, b));
    }
    return v;
}

static void
chunk(Gw__StreamTable *st, Gw__ChunkBy by, Gw__Bound *lo, Gw__Bound *hi, bool inclusive, const char *token)
{
    Gw__Chunk *c = gw_pb_new(&arena, Gw__Chunk, gw__chunk__init);
    c->by = by;
    c->lo = lo;
    c->hi = hi;
    c->hi_inclusive = inclusive;
    c->snapshot = gw_arena_strdup(&arena, token);
    if (by == GW__CHUNK_BY__BY_KEY) {
        gw_pb_add(&arena, c, columns, gw_arena_strdup(&arena, "a"));
        if ((lo && lo->n_values == 2) || (hi && hi->n_values == 2)) {
            gw_pb_add(&arena, c, columns, gw_arena_strdup(&arena, "b"));
        }
    }
    gw_pb_add(&arena, st, chunks, c);
}

static Gw__StreamTable *
stream_table(void)
{
    Gw__StreamTable *st = gw_pb_new(&arena, Gw__StreamTable, gw__stream_table__init);
    st->source = table();
    return st;
}

static struct gw_filter *
filter(Gw__StreamTable *st)
{
    struct gw_filter *f = NULL;
    struct gw_err err = {0};
    assert_int_equal(gw_filter_new(&f, &ops, &st, 1, "first", &err), GW_OK);
    return f;
}

static struct gw_value *
row(const char *a, const char *b)
{
    static struct gw_value rows[2][3];
    static int at;
    struct gw_value *v = rows[at++ % 2];
    v[0] = (struct gw_value){.given = GW_NOT_GIVEN};
    v[1] = (struct gw_value){a, (uint32_t)strlen(a), GW_PRESENT};
    v[2] = b ? (struct gw_value){b, (uint32_t)strlen(b), GW_PRESENT} : (struct gw_value){.given = GW_NOT_GIVEN};
    return v;
}

static void
assert_insert(struct gw_filter *f, const char *a, const char *b, enum gw_visible want)
{
    struct gw_seen seen;
    struct gw_err err = {0};
    assert_int_equal(gw_filter_row(f, 0, GW__CHANGE_KIND__CHANGE_INSERT, NULL, row(a, b), &seen, &err), GW_OK);
    assert_int_equal(seen.new_row, want);
    assert_int_equal(seen.old_row, GW_INVISIBLE);
}

static void
each_key_by_its_chunk(void **state)
{
    (void)state;
    Gw__StreamTable *st = stream_table();
    // Not in the order of the keys, as they may come from a table that was planned again.
    chunk(st, GW__CHUNK_BY__BY_KEY, bound("100", NULL), bound("200", NULL), true, "9");
    chunk(st, GW__CHUNK_BY__BY_KEY, bound("9", NULL), bound("100", NULL), false, "first");
    struct gw_filter *f = filter(st);
    gw_filter_begin(f, "7");
    assert_insert(f, "9", NULL, GW_INVISIBLE); // of the stream's first snapshot
    assert_insert(f, "99", NULL, GW_INVISIBLE);
    assert_insert(f, "100", NULL, GW_VISIBLE);
    assert_insert(f, "200", NULL, GW_VISIBLE);
    assert_insert(f, "201", NULL, GW_INVISIBLE); // outside of all chunks: the stream's alone
    assert_insert(f, "8", NULL, GW_INVISIBLE);
    gw_filter_begin(f, "10");
    assert_insert(f, "150", NULL, GW_INVISIBLE);
    gw_filter_free(f);
}

static void
one_question_a_transaction(void **state)
{
    (void)state;
    Gw__StreamTable *st = stream_table();
    chunk(st, GW__CHUNK_BY__BY_KEY, bound("0", NULL), bound("100", NULL), false, "5");
    struct gw_filter *f = filter(st);
    gw_filter_begin(f, "6");
    asked = 0;
    for (int i = 0; i < 50; i++) {
        assert_insert(f, "50", NULL, GW_INVISIBLE);
    }
    assert_int_equal(asked, 1);
    gw_filter_begin(f, "5");
    assert_insert(f, "50", NULL, GW_VISIBLE);
    assert_int_equal(asked, 2);
    gw_filter_free(f);
}

static void
a_row_that_moves(void **state)
{
    (void)state;
    Gw__StreamTable *st = stream_table();
    chunk(st, GW__CHUNK_BY__BY_KEY, bound("0", NULL), bound("100", NULL), false, "5");
    chunk(st, GW__CHUNK_BY__BY_KEY, bound("100", NULL), bound("200", NULL), true, "9");
    struct gw_filter *f = filter(st);
    struct gw_seen seen;
    struct gw_err err = {0};
    gw_filter_begin(f, "7");
    struct gw_value *from = row("50", NULL), *to = row("150", NULL);
    assert_int_equal(gw_filter_row(f, 0, GW__CHANGE_KIND__CHANGE_UPDATE, from, to, &seen, &err), GW_OK);
    assert_int_equal(seen.old_row, GW_INVISIBLE); // it is still at its old place on the target
    assert_int_equal(seen.new_row, GW_VISIBLE);   // and at its new one, too
    // Without an old row its key is the new one's.
    assert_int_equal(gw_filter_row(f, 0, GW__CHANGE_KIND__CHANGE_UPDATE, NULL, to, &seen, &err), GW_OK);
    assert_int_equal(seen.old_row, GW_VISIBLE);
    assert_int_equal(gw_filter_row(f, 0, GW__CHANGE_KIND__CHANGE_DELETE, from, NULL, &seen, &err), GW_OK);
    assert_int_equal(seen.old_row, GW_INVISIBLE);
    assert_int_equal(seen.new_row, GW_INVISIBLE);
    gw_filter_free(f);
}

static void
keys_of_two_columns(void **state)
{
    (void)state;
    Gw__StreamTable *st = stream_table();
    chunk(st, GW__CHUNK_BY__BY_KEY, bound("1", "2020-01-01"), bound("5", "2021-06-01"), false, "9");
    chunk(st, GW__CHUNK_BY__BY_KEY, bound("5", "2021-06-01"), bound("9", "2022-01-01"), true, "first");
    struct gw_filter *f = filter(st);
    gw_filter_begin(f, "1");
    assert_insert(f, "5", "2021-05-31", GW_VISIBLE);
    assert_insert(f, "5", "2021-06-01", GW_INVISIBLE);
    assert_insert(f, "1", "2019-12-31", GW_INVISIBLE);
    assert_insert(f, "1", "2020-01-01", GW_VISIBLE);
    gw_filter_free(f);
}

static void
a_table_of_one_snapshot(void **state)
{
    (void)state;
    Gw__StreamTable *st = stream_table();
    st->one_snapshot = true;
    chunk(st, GW__CHUNK_BY__BY_CTID, NULL, bound("10", NULL), false, "5?8");
    chunk(st, GW__CHUNK_BY__BY_CTID, bound("10", NULL), NULL, false, "5?8");
    struct gw_filter *f = filter(st);
    enum gw_visible v;
    struct gw_err err = {0};
    gw_filter_begin(f, "5");
    assert_insert(f, "1", NULL, GW_VISIBLE);
    gw_filter_begin(f, "6");
    assert_insert(f, "1", NULL, GW_UNSURE);
    assert_int_equal(gw_filter_table(f, 0, &v, &err), GW_OK);
    assert_int_equal(v, GW_UNSURE);
    gw_filter_begin(f, "9");
    assert_int_equal(gw_filter_table(f, 0, &v, &err), GW_OK);
    assert_int_equal(v, GW_INVISIBLE);
    gw_filter_free(f);
}

static void
a_truncated_table_of_several(void **state)
{
    (void)state;
    Gw__StreamTable *st = stream_table();
    chunk(st, GW__CHUNK_BY__BY_KEY, bound("0", NULL), bound("100", NULL), false, "5");
    chunk(st, GW__CHUNK_BY__BY_KEY, bound("100", NULL), bound("200", NULL), true, "9");
    struct gw_filter *f = filter(st);
    enum gw_visible v;
    struct gw_err err = {0};
    static const struct {
        const char *tx;
        enum gw_visible want;
    } cases[] = {
        {"4", GW_UNSURE}, {"7", GW_UNSURE}, {"10", GW_INVISIBLE}}; // 4: a row 300 of before is the stream's alone
    for (size_t i = 0; i < 3; i++) {
        gw_filter_begin(f, cases[i].tx);
        assert_int_equal(gw_filter_table(f, 0, &v, &err), GW_OK);
        assert_int_equal(v, cases[i].want);
    }
    gw_filter_free(f);
}

// What cannot be told is never guessed.
static void
what_cannot_be_told(void **state)
{
    (void)state;
    struct gw_filter *f = NULL;
    struct gw_err err = {0};
    Gw__StreamTable *st = stream_table();
    chunk(st, GW__CHUNK_BY__BY_CTID, NULL, bound("10", NULL), false, "5");
    chunk(st, GW__CHUNK_BY__BY_CTID, bound("10", NULL), NULL, false, "9");
    assert_int_equal(gw_filter_new(&f, &ops, &st, 1, "first", &err), GW_BUG);
    st = stream_table();
    chunk(st, GW__CHUNK_BY__BY_KEY, bound("0", NULL), bound("100", NULL), true, "5");
    f = filter(st);
    gw_filter_begin(f, "7");
    struct gw_value *v = row("1", NULL);
    v[1].given = GW_NOT_GIVEN;
    struct gw_seen seen;
    assert_int_equal(gw_filter_row(f, 0, GW__CHANGE_KIND__CHANGE_DELETE, v, NULL, &seen, &err), GW_BUG);
    gw_filter_free(f);
}

static int
setup(void **state)
{
    (void)state;
    gw_arena_init(&arena);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    gw_arena_fini(&arena);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_by_its_chunk),   cmocka_unit_test(one_question_a_transaction),
        cmocka_unit_test(a_row_that_moves),        cmocka_unit_test(keys_of_two_columns),
        cmocka_unit_test(a_table_of_one_snapshot), cmocka_unit_test(a_truncated_table_of_several),
        cmocka_unit_test(what_cannot_be_told),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
