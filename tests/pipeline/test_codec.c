// Proves that a packed message arrives as it was, that no size is believed which the payload cannot hold, and that damage
// of any bit is found before a row is.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/bus.h"
#include "common/codec.h"

static const uint64_t task = 99;

static void
fill(zmq_msg_t *m, size_t len, bool noise)
{
    assert_int_equal(zmq_msg_init_size(m, len), 0);
    char *p = zmq_msg_data(m);
    uint32_t x = 12345;
    for (size_t i = 0; i < len; i++) {
        x = x * 1664525 + 1013904223;
        p[i] = noise ? (char)(x >> 24) : "1\tnew\t2020-02-28\n"[i % 17];
    }
}

static void
round_trip(void **state)
{
    (void)state;
    static const size_t sizes[] = {256, 257, 4096, 65537, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        zmq_msg_t m, same;
        struct gw_err err = {0};
        fill(&m, sizes[i], false);
        fill(&same, sizes[i], false);
        assert_true(gw_lz4_pack(&m));
        assert_true(zmq_msg_size(&m) < sizes[i]);
        assert_true(gw_lz4_plausible(sizes[i], zmq_msg_size(&m)));
        assert_int_equal(gw_lz4_unpack(&m, sizes[i], &err), GW_OK);
        assert_int_equal(zmq_msg_size(&m), sizes[i]);
        assert_memory_equal(zmq_msg_data(&m), zmq_msg_data(&same), sizes[i]);
        zmq_msg_close(&m);
        zmq_msg_close(&same);
    }
}

static void
what_does_not_shrink_stays(void **state)
{
    (void)state;
    zmq_msg_t m;
    fill(&m, 100, false); // too short to be worth it
    assert_false(gw_lz4_pack(&m));
    assert_int_equal(zmq_msg_size(&m), 100);
    zmq_msg_close(&m);
    fill(&m, 100000, true);
    assert_false(gw_lz4_pack(&m));
    assert_int_equal(zmq_msg_size(&m), 100000);
    zmq_msg_close(&m);
}

static void
the_most_that_a_payload_can_hold(void **state)
{
    (void)state;
    // Zeros are the best case there is; the bound is above it, and not far.
    zmq_msg_t m;
    assert_int_equal(zmq_msg_init_size(&m, 8 << 20), 0);
    memset(zmq_msg_data(&m), 0, 8 << 20);
    assert_true(gw_lz4_pack(&m));
    size_t len = zmq_msg_size(&m);
    assert_true(gw_lz4_plausible(8 << 20, len));
    assert_false(gw_lz4_plausible((8 << 20) * UINT64_C(2), len));
    assert_false(gw_lz4_plausible(UINT64_MAX, len));
    assert_false(gw_lz4_plausible(UINT64_C(3) << 30, UINT64_C(1) << 30));
    assert_false(gw_lz4_plausible(0, len));
    assert_false(gw_lz4_plausible(1000, 0));
    assert_false(gw_lz4_plausible(1000, 1000));
    zmq_msg_close(&m);
}

static void
bad_bytes(void **state)
{
    (void)state;
    struct gw_err err = {0};
    zmq_msg_t m, bent;
    fill(&m, 5000, false);
    assert_true(gw_lz4_pack(&m));
    size_t len = zmq_msg_size(&m);
    // A wrong size, however near, and a payload that is cut.
    static const size_t wrong[] = {4999, 5001, 1, 100000};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(gw_lz4_unpack(&m, wrong[i], &err), GW_RETRY);
        assert_int_equal(zmq_msg_size(&m), len); // as it was
    }
    zmq_msg_init_size(&bent, len - 1);
    memcpy(zmq_msg_data(&bent), zmq_msg_data(&m), len - 1);
    assert_int_equal(gw_lz4_unpack(&bent, 5000, &err), GW_RETRY);
    zmq_msg_close(&bent);
    // Any bit of a message: the checksum is of what was sent, so it is found before anything is unpacked.
    struct gw_envelope env = {.task = task,
                              .kind = GW__DATA_KIND__DATA_ROWS,
                              .codec = GW__CODEC__CODEC_LZ4,
                              .raw_size = 5000,
                              .rows = 1},
                       out;
    uint8_t header[GW_HEADER_MAX];
    char *p = zmq_msg_data(&m);
    size_t n = gw_frame_encode(&env, p, len, header);
    assert_int_equal(gw_frame_decode(header, n, p, len, task, &out, &err), GW_OK);
    assert_int_equal(out.raw_size, 5000);
    assert_int_equal(out.codec, GW__CODEC__CODEC_LZ4);
    for (size_t bit = 0; bit < len * 8; bit++) {
        p[bit / 8] ^= (char)(1 << (bit % 8));
        assert_int_equal(gw_frame_decode(header, n, p, len, task, &out, &err), GW_RETRY);
        p[bit / 8] ^= (char)(1 << (bit % 8));
    }
    // And where a header lies about the size: unpacking never writes more than that.
    env.raw_size = 5001;
    n = gw_frame_encode(&env, p, len, header);
    assert_int_equal(gw_frame_decode(header, n, p, len, task, &out, &err), GW_OK);
    assert_int_equal(gw_payload_unpack(&out, &m, &err), GW_RETRY);
    env.raw_size = UINT64_C(1) << 40;
    n = gw_frame_encode(&env, p, len, header);
    assert_int_equal(gw_frame_decode(header, n, p, len, task, &out, &err), GW_RETRY);
    zmq_msg_close(&m);
}

// capture packs, transform sends on as it came, apply unpacks: totals and credit count what was there before.
static void
through_a_forwarder(void **state)
{
    (void)state;
    struct gw_err err = {0};
    void *zctx = zmq_ctx_new();
    char first[GW_ENDPOINT_MAX], second[GW_ENDPOINT_MAX];
    void *middle = gw_router_bind(zctx, "tcp://127.0.0.1:*", first, sizeof first, &err);
    void *last = gw_router_bind(zctx, "tcp://127.0.0.1:*", second, sizeof second, &err);
    void *to_middle = gw_dealer_connect(zctx, first, &err), *to_last = gw_dealer_connect(zctx, second, &err);
    struct gw_sender a, b;
    gw_sender_init(&a, to_middle, task, 1, 1, 1 << 20);
    gw_sender_init(&b, to_last, task, 1, 1, 1 << 20);
    assert_false(a.packs); // it does not leave the host
    a.packs = b.packs = true;
    zmq_msg_t m, same;
    fill(&m, 50000, false);
    fill(&same, 50000, false);
    assert_int_equal(gw_sender_send(&a, GW__DATA_KIND__DATA_ROWS, 7, &m, &err), GW_OK);
    assert_int_equal(a.credit, (1 << 20) - 50000);

    struct gw_peer peer;
    struct gw_envelope env;
    zmq_pollitem_t item = {.socket = middle, .events = ZMQ_POLLIN};
    assert_int_equal(zmq_poll(&item, 1, 10000), 1);
    zmq_msg_init(&m);
    assert_int_equal(gw_receive_packed(middle, task, &peer, &env, &m, &err), GW_OK);
    assert_int_equal(env.codec, GW__CODEC__CODEC_LZ4);
    assert_int_equal(env.raw_size, 50000);
    assert_true(zmq_msg_size(&m) < 5000);
    assert_int_equal(gw_sender_forward(&b, &env, &m, &err), GW_OK);
    assert_int_equal(b.credit, (1 << 20) - 50000);

    item.socket = last;
    assert_int_equal(zmq_poll(&item, 1, 10000), 1);
    zmq_msg_init(&m);
    assert_int_equal(gw_receive(last, task, &peer, &env, &m, &err), GW_OK);
    assert_int_equal(env.codec, GW__CODEC__CODEC_RAW);
    assert_int_equal(env.rows, 7);
    assert_int_equal(zmq_msg_size(&m), 50000);
    assert_memory_equal(zmq_msg_data(&m), zmq_msg_data(&same), 50000);
    zmq_msg_close(&m);
    zmq_msg_close(&same);
    zmq_close(to_middle);
    zmq_close(to_last);
    zmq_close(middle);
    zmq_close(last);
    zmq_ctx_term(zctx);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(what_does_not_shrink_stays),
        cmocka_unit_test(the_most_that_a_payload_can_hold),
        cmocka_unit_test(bad_bytes),
        cmocka_unit_test(through_a_forwarder),
    };
    return cmocka_run_group_tests_name("codec", tests, NULL, NULL);
}
