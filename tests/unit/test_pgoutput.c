// The decoder of replication messages: frames, and that nothing shorter or longer than a message is taken for one. And what
// positions, transactions' ids and snapshots mean. (tests/golden reads what servers really send.)
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture/sources/postgresql/stream.h"

#define BYTES(text) (text), sizeof(text) - 1

static const struct {
    const char *bytes;
    size_t len;
} messages[] = {
    {BYTES("B\0\0\0\1\2\3\4\5\0\0\0\0\0\0\0\0\0\0\1\1")},
    {BYTES("C\0\0\0\0\1\2\3\4\5\0\0\0\1\2\3\4\6\0\0\0\0\0\0\0\0")},
    {BYTES("O\0\0\0\0\0\0\0\1name\0")},
    {BYTES("Y\0\0\0\1public\0mood\0")},
    {BYTES("R\0\0\0\7public\0t\0d\0\2\1id\0\0\0\0\x17\xff\xff\xff\xff\0v\0\0\0\0\x19\xff\xff\xff\xff")},
    {BYTES("I\0\0\0\7N\0\2t\0\0\0\1"
           "5n")},
    {BYTES("U\0\0\0\7N\0\2t\0\0\0\1"
           "5u")},
    {BYTES("U\0\0\0\7K\0\2t\0\0\0\1"
           "4nN\0\2t\0\0\0\1"
           "5t\0\0\0\0")},
    {BYTES("U\0\0\0\7O\0\1t\0\0\0\1"
           "4N\0\1t\0\0\0\1"
           "5")},
    {BYTES("D\0\0\0\7K\0\2t\0\0\0\1"
           "5n")},
    {BYTES("D\0\0\0\7O\0\0")},
    {BYTES("T\0\0\0\2\3\0\0\0\7\0\0\0\x8")},
    {BYTES("M\1\0\0\0\1\0\0\0\2prefix\0\0\0\0\3abc")},
};

// Memory of exactly that size, so that a sanitizer sees every byte too many.
static int
read_exactly(const char *bytes, size_t len, struct pgo_message *m, uint8_t **copy)
{
    *copy = malloc(len + !len);
    assert_non_null(*copy);
    memcpy(*copy, bytes, len);
    struct gw_err err = {0};
    int r = pgo_message_read(*copy, len, m, &err);
    assert_true(r == GW_OK || (r == GW_BUG && err.message[0]));
    return r;
}

static void
whole_messages_only(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        struct pgo_message m;
        uint8_t *copy;
        assert_int_equal(read_exactly(messages[i].bytes, messages[i].len, &m, &copy), GW_OK);
        assert_int_equal(m.kind, messages[i].bytes[0]);
        free(copy);
        for (size_t n = 0; n < messages[i].len; n++) {
            assert_int_equal(read_exactly(messages[i].bytes, n, &m, &copy), GW_BUG);
            free(copy);
        }
        char longer[128];
        memcpy(longer, messages[i].bytes, messages[i].len);
        longer[messages[i].len] = 0;
        assert_int_equal(read_exactly(longer, messages[i].len + 1, &m, &copy), GW_BUG);
        free(copy);
    }
}

static void
sizes_are_not_believed(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {BYTES("I\0\0\0\7N\xff\xfft\0\0\0\1"
               "5")},
        {BYTES("I\0\0\0\7N\0\1t\xff\xff\xff\xff"
               "5")},
        {BYTES("I\0\0\0\7N\0\1t\x7f\xff\xff\xff"
               "5")},
        {BYTES("I\0\0\0\7N\0\1b\0\0\0\1"
               "5")},
        {BYTES("I\0\0\0\7K\0\1t\0\0\0\1"
               "5")},
        {BYTES("D\0\0\0\7N\0\1t\0\0\0\1"
               "5")},
        {BYTES("U\0\0\0\7K\0\1nK\0\1n")},
        {BYTES("T\xff\xff\xff\xff\0\0\0\0\7")},
        {BYTES("T\x40\0\0\1\0\0\0\0\7")},
        {BYTES("R\0\0\0\7public\0t\0d\xff\xff\1id\0\0\0\0\x17\xff\xff\xff\xff")},
        {BYTES("M\0\0\0\0\0\0\0\0\0p\0\xff\xff\xff\xff")},
        {BYTES("Z\0")},
        {BYTES("\0")},
        {BYTES("S\0\0\0\1")},
        {BYTES("A\0\0\0\1\0\0\0")},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pgo_message m = {.kind = '!'};
        uint8_t *copy;
        assert_int_equal(read_exactly(bad[i].bytes, bad[i].len, &m, &copy), GW_BUG);
        assert_int_equal(m.kind, '!'); // untouched
        free(copy);
    }
}

static void
values(void **state)
{
    (void)state;
    struct pgo_message m;
    struct gw_err err = {0};
    assert_int_equal(pgo_message_read(messages[7].bytes, messages[7].len, &m, &err), GW_OK);
    assert_int_equal(m.relation, 7);
    assert_int_equal(m.old_kind, 'K');
    const uint8_t *at = m.old.at;
    struct gw_value v = pgo_value_next(&at);
    assert_int_equal(v.given, GW_PRESENT);
    assert_int_equal(v.len, 1);
    assert_memory_equal(v.data, "4", 1);
    assert_int_equal(pgo_value_next(&at).given, GW_NULL);
    at = m.new.at;
    assert_int_equal(pgo_value_next(&at).data[0], '5');
    v = pgo_value_next(&at);
    assert_int_equal(v.given, GW_PRESENT); // an empty text is not NULL
    assert_int_equal(v.len, 0);
    assert_int_equal(pgo_message_read(messages[0].bytes, messages[0].len, &m, &err), GW_OK);
    assert_int_equal(m.time_us, INT64_C(946684800000000)); // 2000-01-01
    assert_int_equal(m.xid, 257);
}

static void
frames(void **state)
{
    (void)state;
    struct pgo_frame f;
    struct gw_err err = {0};
    assert_int_equal(pgo_frame_read(BYTES("w\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0body"), &f, &err), GW_OK);
    assert_int_equal(f.start, 1);
    assert_int_equal(f.end, 2);
    assert_int_equal(f.len, 4);
    assert_memory_equal(f.body, "body", 4);
    assert_int_equal(pgo_frame_read(BYTES("k\0\0\0\1\0\0\0\2\0\0\0\0\0\0\0\0\1"), &f, &err), GW_OK);
    assert_int_equal(f.end, UINT64_C(0x100000002));
    assert_true(f.reply);
    assert_int_equal(pgo_frame_read(BYTES("k\0\0\0\1\0\0\0\2\0\0\0\0\0\0\0\0"), &f, &err), GW_BUG);
    assert_int_equal(pgo_frame_read(BYTES("k\0\0\0\1\0\0\0\2\0\0\0\0\0\0\0\0\1\1"), &f, &err), GW_BUG);
    assert_int_equal(pgo_frame_read(BYTES("w\0\0\0\0\0\0\0\1"), &f, &err), GW_BUG);
    assert_int_equal(pgo_frame_read(BYTES("x"), &f, &err), GW_BUG);
    assert_int_equal(pgo_frame_read("", 0, &f, &err), GW_BUG);
}

static void
positions(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int want;
    } pairs[] = {
        {"0/1", "0/2", -1}, {"0/A", "0/a", 0}, {"1/0", "0/FFFFFFFF", 1}, {"10/0", "9/0", 1}, {"0/0A", "0/A", 0}};
    struct gw_err err = {0};
    int r = 9;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_int_equal(pgs_position_cmp(pairs[i].a, pairs[i].b, &r, &err), GW_OK);
        assert_int_equal(r, pairs[i].want);
    }
    static const char *const bad[] = {"",    "/",     "0/",           "/0", "0", "0/0 ", " 0/0", "0/123456789",
                                      "0/g", "0/0/0", "mysql-bin.1:4"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(pgs_position_cmp("0/0", bad[i], &r, &err), GW_CONFIG);
    }
    struct pgs_text_lsn text;
    pgs_lsn_text(UINT64_C(0x16b374d848), &text);
    assert_string_equal(text.s, "16/B374D848");
}

static void
ids_of_64_bits(void **state)
{
    (void)state;
    static const struct {
        uint64_t newest;
        uint32_t xid;
        uint64_t want;
    } all[] = {
        {1000, 999, 999},
        {1000, 1001, 1001},
        {UINT64_C(0x100000005), 0xfffffff0, 0xfffffff0},            // began before the wrap
        {UINT64_C(0xfffffff0), 4, UINT64_C(0x100000004)},           // begins after it
        {UINT64_C(0x500000000), 0x80000001, UINT64_C(0x480000001)}, // as old as can be
        {UINT64_C(0x5ffffffff), 0x7ffffffe, UINT64_C(0x67ffffffe)},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_int_equal(pgs_xid_whole(all[i].newest, all[i].xid), all[i].want);
    }
}

static void
visibility(void **state)
{
    (void)state;
    static const struct {
        const char *token, *xid;
        enum gw_visible want;
    } all[] = {
        {"10:20:10,15", "9", GW_VISIBLE},
        {"10:20:10,15", "10", GW_INVISIBLE},
        {"10:20:10,15", "11", GW_VISIBLE},
        {"10:20:10,15", "15", GW_INVISIBLE},
        {"10:20:10,15", "19", GW_VISIBLE},
        {"10:20:10,15", "20", GW_INVISIBLE},
        {"10:10:", "9", GW_VISIBLE},
        {"10:10:", "10", GW_INVISIBLE},
        {"10:10:", "4294967305", GW_INVISIBLE}, // the same lower 32 bits as 9
        {"4294967306:4294967306:", "9", GW_VISIBLE},
    };
    enum gw_visible v;
    struct gw_err err = {0};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        assert_int_equal(pgs_tx_visible(all[i].token, all[i].xid, &v, &err), GW_OK);
        assert_int_equal(v, all[i].want);
    }
    static const char *const bad[] = {"",
                                      "10",
                                      "10:20",
                                      "20:10:",
                                      "10:20:9",
                                      "10:20:20",
                                      "10:20:11,11",
                                      "10:20:12,11",
                                      "10:20:11,",
                                      "10:20:,11",
                                      "a:b:",
                                      "10:20:x",
                                      "99999999999999999999:1:"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(pgs_tx_visible(bad[i], "1", &v, &err), GW_BUG);
    }
    assert_int_equal(pgs_tx_visible("10:20:", "", &v, &err), GW_BUG);
    assert_int_equal(pgs_tx_visible("10:20:", "1x", &v, &err), GW_BUG);
}

// Against the definition, over every pair of small snapshots.
static void
covering(void **state)
{
    (void)state;
    enum { IDS = 5 };
    char tokens[3 * 64][64];
    size_t n = 0;
    for (unsigned xmax = 1; xmax <= IDS; xmax++) {
        for (unsigned running = 0; running < 1u << xmax; running++) {
            char list[64] = "";
            unsigned xmin = xmax;
            for (unsigned id = xmax; id-- > 0;) {
                xmin = running >> id & 1 ? id : xmin;
            }
            for (unsigned id = 0; id < xmax; id++) {
                if (running >> id & 1) {
                    snprintf(list + strlen(list), sizeof list - strlen(list), "%s%u", list[0] ? "," : "", id + 1);
                }
            }
            snprintf(tokens[n++], sizeof *tokens, "%u:%u:%s", xmin + 1, xmax + 1, list);
        }
    }
    struct gw_err err = {0};
    for (size_t a = 0; a < n; a++) {
        for (size_t b = 0; b < n; b++) {
            bool want = true, got;
            for (unsigned id = 1; id <= IDS + 1; id++) {
                char xid[8];
                enum gw_visible in_a, in_b;
                snprintf(xid, sizeof xid, "%u", id);
                assert_int_equal(pgs_tx_visible(tokens[a], xid, &in_a, &err), GW_OK);
                assert_int_equal(pgs_tx_visible(tokens[b], xid, &in_b, &err), GW_OK);
                want = want && (in_a == GW_INVISIBLE || in_b == GW_VISIBLE);
            }
            assert_int_equal(pgs_snapshot_covers(tokens[a], tokens[b], &got, &err), GW_OK);
            if (got != want) {
                fail_msg("%s and then %s: %d", tokens[a], tokens[b], got);
            }
        }
    }
    bool covers;
    assert_int_equal(pgs_snapshot_covers("1:2:", "nonsense", &covers, &err), GW_BUG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_messages_only),
        cmocka_unit_test(sizes_are_not_believed),
        cmocka_unit_test(values),
        cmocka_unit_test(frames),
        cmocka_unit_test(positions),
        cmocka_unit_test(ids_of_64_bits),
        cmocka_unit_test(visibility),
        cmocka_unit_test(covering),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
