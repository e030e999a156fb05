// Changes as bytes: what is written reads back, is what protobuf's own code reads, and bad bytes are refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/change.h"

static const struct gw_value before[] = {
    {"1", 1, GW_PRESENT}, {.given = GW_NOT_GIVEN}, {.given = GW_NULL}, {"", 0, GW_PRESENT}};
static const struct gw_value after[] = {
    {"2", 1, GW_PRESENT}, {"a\tb\0c", 5, GW_PRESENT}, {.given = GW_NULL}, {.given = GW_NOT_GIVEN}};

static void
write_all(struct gw_buf *b)
{
    gw_buf_init(b, 1 << 20);
    Gw__Tally tally[2] = {GW__TALLY__INIT, GW__TALLY__INIT};
    tally[0].table = 7;
    tally[0].inserts = 300;
    tally[1].table = 8;
    tally[1].deletes = 1;
    gw_change_put_begin(b, "xid 42", 1700000000000000);
    gw_change_put_row(b, GW__CHANGE_KIND__CHANGE_UPDATE, 7, true, before, after, 4);
    gw_change_put_row(b, GW__CHANGE_KIND__CHANGE_INSERT, 300, false, NULL, after, 4);
    gw_change_put_truncate(b, 9);
    gw_change_put_commit(b, "0/16B3748", 1700000000000001);
    gw_change_put_keepalive(b, "0/16B3750");
    gw_change_put_suspend(b, 7, "why");
    gw_change_put_tally(b, tally, 2);
    assert_false(b->overflowed);
}

static void
assert_values(const struct gw_value *got, const struct gw_value *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(got[i].given, want[i].given);
        assert_int_equal(got[i].len, want[i].len);
        if (want[i].len) {
            assert_memory_equal(got[i].data, want[i].data, want[i].len);
        }
    }
}

static struct gw_change
next(struct gw_change_reader *r, Gw__ChangeKind kind)
{
    struct gw_change c;
    struct gw_err err = {0};
    assert_int_equal(gw_change_next(r, &c, &err), GW_OK);
    assert_int_equal(c.kind, kind);
    return c;
}

static void
test_round_trip(void **state)
{
    (void)state;
    struct gw_buf b;
    write_all(&b);
    struct gw_change_reader r;
    struct gw_err err = {0};
    struct gw_value v[4];
    gw_change_reader_init(&r, b.data, b.len);
    struct gw_change c = next(&r, GW__CHANGE_KIND__CHANGE_BEGIN);
    assert_int_equal(c.commit_us, 1700000000000000);
    assert_memory_equal(c.transaction.data, "xid 42", 6);
    c = next(&r, GW__CHANGE_KIND__CHANGE_UPDATE);
    assert_int_equal(c.table, 7);
    assert_true(c.unsure);
    assert_int_equal(gw_tuple_read(c.before, v, 4, &err), GW_OK);
    assert_values(v, before, 4);
    assert_int_equal(gw_tuple_read(c.after, v, 4, &err), GW_OK);
    assert_values(v, after, 4);
    assert_int_equal(gw_tuple_read(c.after, v, 3, &err), GW_BUG);
    c = next(&r, GW__CHANGE_KIND__CHANGE_INSERT);
    assert_null(c.before.data);
    assert_int_equal(c.table, 300);
    assert_int_equal(gw_tuple_read(c.before, v, 4, &err), GW_OK);
    assert_int_equal(v[3].given, GW_NOT_GIVEN);
    assert_int_equal(next(&r, GW__CHANGE_KIND__CHANGE_TRUNCATE).table, 9);
    c = next(&r, GW__CHANGE_KIND__CHANGE_COMMIT);
    assert_int_equal(c.position.len, strlen("0/16B3748"));
    (void)next(&r, GW__CHANGE_KIND__CHANGE_KEEPALIVE);
    assert_memory_equal(next(&r, GW__CHANGE_KIND__CHANGE_SUSPEND).text.data, "why", 3);
    c = next(&r, GW__CHANGE_KIND__CHANGE_TALLY);
    const uint8_t *at = NULL;
    Gw__Tally t;
    assert_int_equal(gw_change_tally(&c, &at, &t, &err), GW_OK);
    assert_int_equal(t.inserts, 300);
    assert_int_equal(gw_change_tally(&c, &at, &t, &err), GW_OK);
    assert_int_equal(t.table, 8);
    assert_int_equal(gw_change_tally(&c, &at, &t, &err), GW_END);
    assert_int_equal(gw_change_next(&r, &c, &err), GW_END);
    gw_buf_fini(&b);
}

static void
test_is_protobuf(void **state)
{
    (void)state;
    struct gw_buf b;
    write_all(&b);
    Gw__ChangeBatch *batch = gw__change_batch__unpack(NULL, b.len, (const uint8_t *)b.data);
    assert_non_null(batch);
    assert_int_equal(batch->n_changes, 8);
    assert_int_equal(batch->changes[1]->after.len, 1 + 1 + 1 + 5 + 1 + 1);
    assert_int_equal(batch->changes[7]->n_tally, 2);
    // And the other way round: the bytes are those that the generated code writes.
    assert_int_equal(gw__change_batch__get_packed_size(batch), b.len);
    uint8_t *packed = malloc(b.len);
    assert_non_null(packed);
    gw__change_batch__pack(batch, packed);
    struct gw_change_reader r;
    gw_change_reader_init(&r, packed, b.len);
    struct gw_change c;
    struct gw_err err = {0};
    size_t n = 0;
    while (gw_change_next(&r, &c, &err) == GW_OK) {
        n++;
    }
    assert_int_equal(n, 8);
    free(packed);
    gw__change_batch__free_unpacked(batch, NULL);
    gw_buf_fini(&b);
}

static void
test_record_is_copied_whole(void **state)
{
    (void)state;
    struct gw_buf b, copy;
    write_all(&b);
    gw_buf_init(&copy, 1 << 20);
    struct gw_change_reader r;
    gw_change_reader_init(&r, b.data, b.len);
    struct gw_change c;
    struct gw_err err = {0};
    while (gw_change_next(&r, &c, &err) == GW_OK) {
        gw_change_put_record(&copy, c.record);
    }
    assert_int_equal(copy.len, b.len);
    assert_memory_equal(copy.data, b.data, b.len);
    gw_buf_fini(&copy);
    gw_buf_fini(&b);
}

// Every cut, and every byte changed: refused or read, but never beyond the end (the sanitizers watch).
static void
test_bad_bytes(void **state)
{
    (void)state;
    struct gw_buf b;
    write_all(&b);
    for (size_t i = 0; i < b.len; i++) {
        for (int flip = 0; flip < 9; flip++) {
            size_t len = flip == 8 ? i : b.len;
            uint8_t *bytes = malloc(len + 1);
            assert_non_null(bytes);
            memcpy(bytes, b.data, len);
            if (flip < 8) {
                bytes[i] ^= (uint8_t)(1 << flip);
            }
            struct gw_change_reader r;
            struct gw_change c;
            struct gw_value v[4];
            struct gw_err err = {0};
            gw_change_reader_init(&r, bytes, len);
            while (gw_change_next(&r, &c, &err) == GW_OK) {
                (void)gw_tuple_read(c.before, v, 4, &err);
                (void)gw_tuple_read(c.after, v, 4, &err);
                const uint8_t *at = NULL;
                Gw__Tally t;
                while (gw_change_tally(&c, &at, &t, &err) == GW_OK) {
                }
            }
            free(bytes);
        }
    }
    gw_buf_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_is_protobuf),
        cmocka_unit_test(test_record_is_copied_whole),
        cmocka_unit_test(test_bad_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
