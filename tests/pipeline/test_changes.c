// Changes through transform: counted against capture's tally, untouched where nothing is cut, shortened where the task says so.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/arena.h"
#include "common/bus.h"
#include "common/change.h"
#include "transform/changes.h"

static struct gw_arena arena;

static Gw__StreamOpen *
stream_open(uint64_t max_text)
{
    Gw__StreamOpen *o = gw_pb_new(&arena, Gw__StreamOpen, gw__stream_open__init);
    Gw__StreamTable *st = gw_pb_new(&arena, Gw__StreamTable, gw__stream_table__init);
    st->source = gw_pb_new(&arena, Gw__Table, gw__table__init);
    st->source->id = 3;
    st->source->source_name = gw_arena_strdup(&arena, "notes");
    for (int i = 0; i < 2; i++) {
        Gw__Column *c = gw_pb_new(&arena, Gw__Column, gw__column__init);
        c->type = gw_pb_new(&arena, Gw__Type, gw__type__init);
        c->type->kind = i ? GW__KIND__KIND_TEXT : GW__KIND__KIND_INT32;
        gw_pb_add(&arena, st->source, columns, c);
        gw_pb_add(&arena, st, max_bytes, i ? max_text : 0);
    }
    gw_pb_add(&arena, o, tables, st);
    return o;
}

static void
put_row(struct gw_buf *b, Gw__ChangeKind kind, const char *text)
{
    struct gw_value v[] = {{"1", 1, GW_PRESENT}, {text, (uint32_t)strlen(text), GW_PRESENT}};
    bool gone = kind == GW__CHANGE_KIND__CHANGE_DELETE;
    gw_change_put_row(b, kind, 3, false, gone ? v : NULL, gone ? NULL : v, 2);
}

static void
put_tally(struct gw_buf *b, uint64_t inserts, uint64_t updates, uint64_t deletes)
{
    Gw__Tally t = GW__TALLY__INIT;
    t.table = 3;
    t.inserts = inserts;
    t.updates = updates;
    t.deletes = deletes;
    gw_change_put_tally(b, &t, 1);
}

static int
pass(struct gw_changes *c, struct gw_buf *b, zmq_msg_t *msg, uint64_t *cut, struct gw_err *err)
{
    zmq_msg_init_size(msg, b->len);
    memcpy(zmq_msg_data(msg), b->data, b->len);
    return gw_changes_pass(c, msg, cut, err);
}

static void
untouched(void **state)
{
    (void)state;
    struct gw_changes *c = gw_changes_new(stream_open(100));
    struct gw_buf b;
    gw_buf_init(&b, 1 << 20);
    gw_change_put_begin(&b, "7", 1);
    put_row(&b, GW__CHANGE_KIND__CHANGE_INSERT, "short");
    put_row(&b, GW__CHANGE_KIND__CHANGE_DELETE, "short");
    gw_change_put_commit(&b, "8", 2);
    put_tally(&b, 1, 0, 1);
    uint64_t cut = 0;
    struct gw_err err = {0};
    zmq_msg_t msg;
    assert_int_equal(pass(c, &b, &msg, &cut, &err), GW_OK);
    assert_int_equal(cut, 0);
    assert_int_equal(zmq_msg_size(&msg), b.len);
    assert_memory_equal(zmq_msg_data(&msg), b.data, b.len);
    zmq_msg_close(&msg);
    gw_buf_fini(&b);
    gw_changes_free(c);
}

static void
cut_to_size(void **state)
{
    (void)state;
    struct gw_changes *c = gw_changes_new(stream_open(4));
    struct gw_buf b;
    gw_buf_init(&b, 1 << 20);
    put_row(&b, GW__CHANGE_KIND__CHANGE_UPDATE, "a\xe2\x82\xac\xe2\x82\xac");
    put_row(&b, GW__CHANGE_KIND__CHANGE_INSERT, "abcd");
    gw_change_put_commit(&b, "8", 2);
    uint64_t cut = 0;
    struct gw_err err = {0};
    zmq_msg_t msg;
    assert_int_equal(pass(c, &b, &msg, &cut, &err), GW_OK);
    assert_int_equal(cut, 1);
    struct gw_change_reader r;
    struct gw_change change;
    struct gw_value v[2];
    gw_change_reader_init(&r, zmq_msg_data(&msg), zmq_msg_size(&msg));
    assert_int_equal(gw_change_next(&r, &change, &err), GW_OK);
    assert_int_equal(change.kind, GW__CHANGE_KIND__CHANGE_UPDATE);
    assert_int_equal(gw_tuple_read(change.after, v, 2, &err), GW_OK);
    assert_int_equal(v[1].len, 4);
    assert_int_equal(gw_change_next(&r, &change, &err), GW_OK);
    assert_int_equal(gw_change_next(&r, &change, &err), GW_OK);
    assert_int_equal(change.kind, GW__CHANGE_KIND__CHANGE_COMMIT);
    assert_int_equal(gw_change_next(&r, &change, &err), GW_END);
    zmq_msg_close(&msg);
    gw_buf_fini(&b);
    gw_changes_free(c);
}

// One more or one less than was sent, of any kind: said, with both numbers.
static void
conservation(void **state)
{
    (void)state;
    static const struct {
        uint64_t inserts, updates, deletes;
        const char *says;
    } cases[] = {{2, 1, 1, "capture sent 2 inserts of table \"notes\", 1 came"},
                 {1, 0, 1, "capture sent 0 updates of table \"notes\", 1 came"},
                 {1, 1, 2, "capture sent 2 deletes of table \"notes\", 1 came"},
                 {1, 1, 1, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gw_changes *c = gw_changes_new(stream_open(0));
        struct gw_buf b;
        gw_buf_init(&b, 1 << 20);
        put_row(&b, GW__CHANGE_KIND__CHANGE_INSERT, "x");
        put_row(&b, GW__CHANGE_KIND__CHANGE_UPDATE, "x");
        put_row(&b, GW__CHANGE_KIND__CHANGE_DELETE, "x");
        put_tally(&b, cases[i].inserts, cases[i].updates, cases[i].deletes);
        uint64_t cut = 0;
        struct gw_err err = {0};
        zmq_msg_t msg;
        assert_int_equal(pass(c, &b, &msg, &cut, &err), cases[i].says ? GW_BUG : GW_OK);
        if (cases[i].says) {
            assert_non_null(strstr(err.message, cases[i].says));
        }
        zmq_msg_close(&msg);
        gw_buf_fini(&b);
        gw_changes_free(c);
    }
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(untouched), cmocka_unit_test(cut_to_size),
                                       cmocka_unit_test(conservation)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
