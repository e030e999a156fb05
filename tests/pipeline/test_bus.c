// Proves that a message is believed only if it is the next one, whole, of this task; and that a sender never
// has more on its way than the window, but for one message that is larger than it.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/bus.h"

static const uint64_t task = 0x1234567890abcdef;

static size_t
encode(const struct gw_envelope *env, const char *payload, uint8_t *out)
{
    return gw_frame_encode(env, payload, payload ? strlen(payload) : 0, out);
}

static void
round_trip(void **state)
{
    (void)state;
    struct gw_envelope in = {
        .task = task, .epoch = 7, .stream = UINT64_MAX, .sequence = 3, .kind = GW__DATA_KIND__DATA_ROWS, .rows = 2};
    uint8_t header[GW_HEADER_MAX];
    size_t len = encode(&in, "a\nb\n", header);
    struct gw_envelope out;
    struct gw_err err = {0};
    assert_int_equal(gw_frame_decode(header, len, "a\nb\n", 4, task, &out, &err), GW_OK);
    assert_int_equal(out.stream, UINT64_MAX);
    assert_int_equal(out.epoch, 7);
    assert_int_equal(out.sequence, 3);
    assert_int_equal(out.rows, 2);
    assert_int_equal(out.raw_size, 4);
}

static void
damage_is_found(void **state)
{
    (void)state;
    struct gw_envelope in = {.task = task, .epoch = 1, .stream = 1, .kind = GW__DATA_KIND__DATA_ROWS, .rows = 1};
    uint8_t header[GW_HEADER_MAX];
    size_t len = encode(&in, "row\n", header);
    struct gw_envelope out = {.stream = 42};
    struct gw_err err = {0};
    assert_int_equal(gw_frame_decode(header, len, "rox\n", 4, task, &out, &err), GW_RETRY);
    assert_int_equal(gw_frame_decode(header, len, "row", 3, task, &out, &err), GW_RETRY);
    assert_int_equal(gw_frame_decode(header, len, "row\n", 4, task + 1, &out, &err), GW_CONFIG);
    assert_int_equal(gw_frame_decode(header, GW_HEADER_MAX + 1, "row\n", 4, task, &out, &err), GW_BUG);
    assert_int_equal(out.stream, 42); // untouched on failure
    // Every single bit of the payload is covered.
    char payload[] = "row\n";
    for (size_t bit = 0; bit < 32; bit++) {
        payload[bit / 8] ^= (char)(1 << (bit % 8));
        assert_int_equal(gw_frame_decode(header, len, payload, 4, task, &out, &err), GW_RETRY);
        payload[bit / 8] ^= (char)(1 << (bit % 8));
    }
}

static void
gaps_and_strangers(void **state)
{
    (void)state;
    struct gw_envelope env = {.task = task, .epoch = 1, .stream = 9, .kind = GW__DATA_KIND__DATA_OPEN};
    struct gw_peer peer = {.id = "one", .len = 3}, other = {.id = "two", .len = 3};
    struct gw_inflow f;
    struct gw_err err = {0};
    gw_inflow_init(&f, &peer, task, &env, 1000);
    env.kind = GW__DATA_KIND__DATA_ROWS;
    env.sequence = 1;
    env.rows = 5;
    env.raw_size = 50;
    assert_int_equal(gw_inflow_accept(&f, &peer, &env, &err), GW_OK);
    assert_int_equal(gw_inflow_accept(&f, &peer, &env, &err), GW_RETRY); // a duplicate
    env.sequence = 3;
    assert_int_equal(gw_inflow_accept(&f, &peer, &env, &err), GW_RETRY); // a gap
    env.sequence = 2;
    assert_int_equal(gw_inflow_accept(&f, &other, &env, &err), GW_RETRY);
    assert_int_equal(gw_inflow_accept(&f, &peer, &env, &err), GW_OK);
    assert_int_equal(f.rows, 10);
    assert_int_equal(f.bytes, 100);
}

struct pair {
    void *zctx, *router, *dealer;
};

static struct pair
open_pair(void)
{
    struct gw_err err = {0};
    struct pair p = {.zctx = zmq_ctx_new()};
    char endpoint[256];
    p.router = gw_router_bind(p.zctx, "tcp://127.0.0.1:*", endpoint, sizeof endpoint, &err);
    assert_non_null(p.router);
    p.dealer = gw_dealer_connect(p.zctx, endpoint, &err);
    assert_non_null(p.dealer);
    return p;
}

static void
close_pair(struct pair *p)
{
    zmq_close(p->dealer);
    zmq_close(p->router);
    zmq_ctx_term(p->zctx);
}

static void
wait_readable(void *socket)
{
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    assert_int_equal(zmq_poll(&item, 1, 10000), 1);
}

static void
send_bytes(struct gw_sender *s, Gw__DataKind kind, size_t n)
{
    zmq_msg_t msg;
    struct gw_err err = {0};
    zmq_msg_init_size(&msg, n);
    memset(zmq_msg_data(&msg), 'x', n);
    assert_int_equal(gw_sender_send(s, kind, 1, &msg, &err), GW_OK);
}

static struct gw_envelope
receive(struct pair *p, struct gw_peer *peer)
{
    struct gw_envelope env;
    struct gw_err err = {0};
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    wait_readable(p->router);
    assert_int_equal(gw_receive(p->router, task, peer, &env, &msg, &err), GW_OK);
    zmq_msg_close(&msg);
    return env;
}

static void
credit_bounds_what_is_under_way(void **state)
{
    (void)state;
    struct pair p = open_pair();
    struct gw_sender s;
    struct gw_err err = {0};
    gw_sender_init(&s, p.dealer, task, 1, 1, 1000);
    assert_true(gw_sender_may_send(&s, 5000)); // nothing is outstanding: one oversized message may go
    send_bytes(&s, GW__DATA_KIND__DATA_OPEN, 100);
    assert_true(gw_sender_may_send(&s, 5000)); // so little may be consumed and held back: it would wait for ever
    assert_true(gw_sender_may_send(&s, 900));
    send_bytes(&s, GW__DATA_KIND__DATA_ROWS, 900);
    assert_false(gw_sender_may_send(&s, 5000));
    assert_false(gw_sender_may_send(&s, 1));

    struct gw_peer peer;
    struct gw_inflow f;
    struct gw_envelope env = receive(&p, &peer);
    gw_inflow_init(&f, &peer, task, &env, 1000);
    env = receive(&p, &peer);
    assert_int_equal(gw_inflow_accept(&f, &peer, &env, &err), GW_OK);
    gw_inflow_consumed(&f, p.router, env.raw_size);
    wait_readable(p.dealer);
    assert_int_equal(gw_sender_drain(&s, &err), GW_OK);
    assert_int_equal(s.credit, 1000); // the OPEN message's bytes came back, too
    assert_false(s.reset);
    gw_send_reset(p.router, &peer, task, 1, 2); // of another epoch: not ours
    gw_send_reset(p.router, &peer, task, 1, 1);
    while (!s.reset) {
        wait_readable(p.dealer);
        assert_int_equal(gw_sender_drain(&s, &err), GW_OK);
    }
    close_pair(&p);
}

static void
malformed_messages_do_not_desynchronise(void **state)
{
    (void)state;
    struct pair p = open_pair();
    struct gw_peer peer;
    struct gw_envelope env;
    struct gw_err err = {0};
    zmq_send(p.dealer, "junk", 4, 0);        // one frame
    zmq_send(p.dealer, "a", 1, ZMQ_SNDMORE); // four frames
    zmq_send(p.dealer, "b", 1, ZMQ_SNDMORE);
    zmq_send(p.dealer, "c", 1, 0);
    struct gw_sender s;
    gw_sender_init(&s, p.dealer, task, 1, 1, 1000);
    send_bytes(&s, GW__DATA_KIND__DATA_OPEN, 10);
    int bad = 0, r;
    do {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        wait_readable(p.router);
        r = gw_receive(p.router, task, &peer, &env, &msg, &err);
        zmq_msg_close(&msg);
        bad += r != GW_OK;
    } while (r != GW_OK);
    assert_int_equal(bad, 2);
    assert_int_equal(env.kind, GW__DATA_KIND__DATA_OPEN);
    close_pair(&p);
}

// What a test of the whole makes happen on the way: it is noticed at the next hop.
static void
losses_on_the_way(void **state)
{
    (void)state;
    struct pair p = open_pair();
    struct gw_sender s;
    struct gw_peer peer;
    struct gw_inflow f;
    struct gw_err err = {0};
    gw_sender_init(&s, p.dealer, task, 1, 1, 1000);
    send_bytes(&s, GW__DATA_KIND__DATA_OPEN, 10);
    struct gw_envelope env = receive(&p, &peer);
    gw_inflow_init(&f, &peer, task, &env, 1000);
#ifndef GW_NO_FAULTS
    setenv("GODWIT_FAULT", "bus.drop=error@1", 1);
    send_bytes(&s, GW__DATA_KIND__DATA_ROWS, 10);
    send_bytes(&s, GW__DATA_KIND__DATA_ROWS, 10);
    env = receive(&p, &peer);
    assert_int_equal(gw_inflow_accept(&f, &peer, &env, &err), GW_RETRY);
    assert_int_equal(f.rows, 0);
    setenv("GODWIT_FAULT", "bus.corrupt=on", 1);
    send_bytes(&s, GW__DATA_KIND__DATA_ROWS, 10);
    unsetenv("GODWIT_FAULT");
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    wait_readable(p.router);
    assert_int_equal(gw_receive(p.router, task, &peer, &env, &msg, &err), GW_RETRY);
    zmq_msg_close(&msg);
    assert_int_equal(s.credit, 960); // what never arrived is not given back
#endif
    close_pair(&p);
}

static void
a_peer_that_is_gone(void **state)
{
    (void)state;
    struct pair p = open_pair();
    struct gw_peer stranger = {.id = "nobody", .len = 6};
    gw_send_reset(p.router, &stranger, task, 1, 1); // nothing to be done, and nothing breaks
    struct gw_envelope env;
    struct gw_err err = {0};
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    assert_int_equal(gw_receive(p.router, task, &stranger, &env, &msg, &err), GW_AGAIN);
    zmq_msg_close(&msg);
    close_pair(&p);
}

static void
addresses_that_are_none(void **state)
{
    (void)state;
    void *zctx = zmq_ctx_new();
    char endpoint[256];
    struct gw_err err = {0};
    assert_null(gw_router_bind(zctx, "tcp://nowhere", endpoint, sizeof endpoint, &err));
    assert_int_equal(err.cls, GW_CONFIG);
    assert_non_null(strstr(err.message, "endpoint \"tcp://nowhere\" has no port"));
    assert_null(gw_dealer_connect(zctx, "smtp://h", &err));
    assert_int_equal(err.cls, GW_CONFIG);
    assert_non_null(strstr(err.message, "endpoint \"smtp://h\""));
    zmq_ctx_term(zctx);
}

static void
a_buffer_becomes_a_message(void **state)
{
    (void)state;
    struct gw_buf b;
    zmq_msg_t msg;
    gw_buf_init(&b, 100);
    for (int round = 0; round < 2; round++) {
        gw_buf_puts(&b, "rows\n");
        const char *memory = b.data;
        assert_int_equal(gw_msg_take(&msg, &b), GW_OK);
        assert_ptr_equal(zmq_msg_data(&msg), memory); // not a copy
        assert_int_equal(zmq_msg_size(&msg), 5);
        assert_null(b.data);
        assert_int_equal(b.max, 100);
        zmq_msg_close(&msg);
    }
    assert_non_null(gw_buf_room(&b, 10)); // memory, but nothing in it
    assert_int_equal(gw_msg_take(&msg, &b), GW_OK);
    assert_int_equal(zmq_msg_size(&msg), 0);
    zmq_msg_close(&msg);
}

static void
tasks_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(gw_task_tag("a"), gw_task_tag("a"));
    assert_int_not_equal(gw_task_tag("a"), gw_task_tag("b"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(gaps_and_strangers),
        cmocka_unit_test(credit_bounds_what_is_under_way),
        cmocka_unit_test(malformed_messages_do_not_desynchronise),
        cmocka_unit_test(losses_on_the_way),
        cmocka_unit_test(a_peer_that_is_gone),
        cmocka_unit_test(addresses_that_are_none),
        cmocka_unit_test(a_buffer_becomes_a_message),
        cmocka_unit_test(tasks_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
