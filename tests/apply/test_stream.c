// Proves the job of a stream over the bus: claimed, told, taken in, ended at a boundary; larger than its window; taken back.
// The worker is played: what it would tell the coordinator is noted, and each wait sends what the script still holds.
#include "apply/driver.h"
#include "common/bus.h"
#include "common/clock.h"
#include "tests/apply/changes.h"

static const uint64_t tag = 0x77;
enum { STREAM = 5 };

static struct fixture f;

// What transform sends, and what the worker was told.
static struct {
    void *zctx, *router, *dealer;
    struct gw_sender sender;
    struct gw_buf messages[512];
    uint32_t records[512];
    size_t n, sent;
    uint64_t rows, bytes, wrong; // wrong: added to the total that the end tells
    bool opened, end, ended, cancel_at_end;
    bool cancelled;
    uint64_t ready_epoch;
    char ready_position[32], told_position[32];
    size_t told;
    int64_t oldest_us;
} w;

// ---- the worker --------------------------------------------------------------------------------

void *
gw_worker_router(struct gw_worker *x)
{
    (void)x;
    return w.router;
}

const Gw__Task *
gw_worker_task(const struct gw_worker *x)
{
    (void)x;
    return f.task;
}

uint64_t
gw_worker_task_tag(const struct gw_worker *x)
{
    (void)x;
    return tag;
}

bool
gw_worker_cancelled(struct gw_worker *x)
{
    (void)x;
    return w.cancelled;
}

void
gw_worker_progress(struct gw_worker *x, uint64_t rows, uint64_t bytes)
{
    (void)x;
    (void)rows;
    (void)bytes;
}

void
gw_worker_ready_at(struct gw_worker *x, uint64_t job, uint64_t epoch, Gw__Progress *p)
{
    (void)x;
    assert_int_equal(job, 3);
    assert_int_equal(epoch, p->epoch);
    w.ready_epoch = p->epoch;
    snprintf(w.ready_position, sizeof w.ready_position, "%s", p->position);
    gw_sender_init(&w.sender, w.dealer, tag, STREAM, p->epoch, f.task->window_bytes);
}

void
gw_worker_stream_progress(struct gw_worker *x, const Gw__StreamProgress *p)
{
    (void)x;
    assert_int_equal(p->stream, STREAM);
    assert_int_equal(p->epoch, w.ready_epoch);
    snprintf(w.told_position, sizeof w.told_position, "%s", p->position);
    w.told++;
    w.oldest_us = p->oldest_us;
}

static void
send_message(Gw__DataKind kind, uint32_t rows, const void *data, size_t len)
{
    zmq_msg_t msg;
    zmq_msg_init_size(&msg, len);
    memcpy(zmq_msg_data(&msg), data, len);
    assert_int_equal(gw_sender_send(&w.sender, kind, rows, &msg, &f.err), GW_OK);
}

static void
send_end(void)
{
    Gw__StreamEnd end = GW__STREAM_END__INIT;
    uint8_t packed[64];
    end.rows = w.rows + w.wrong;
    end.bytes = w.bytes;
    send_message(GW__DATA_KIND__DATA_END, 0, packed, gw__stream_end__pack(&end, packed));
    w.ended = true;
}

// Sends what the credit allows. Whether anything went.
static bool
send_some(void)
{
    bool any = false;
    if (!w.opened) {
        send_message(GW__DATA_KIND__DATA_OPEN, 0, "", 0);
        w.opened = any = true;
    }
    assert_int_equal(gw_sender_drain(&w.sender, &f.err), GW_OK);
    while (w.sent < w.n && gw_sender_may_send(&w.sender, w.messages[w.sent].len)) {
        const struct gw_buf *b = &w.messages[w.sent];
        send_message(GW__DATA_KIND__DATA_CHANGES, w.records[w.sent], b->data, b->len);
        w.rows += w.records[w.sent++];
        w.bytes += b->len;
        any = true;
    }
    if (w.sent == w.n && w.end && !w.ended) {
        send_end();
        any = true;
    }
    return any;
}

int
gw_worker_poll(struct gw_worker *x, zmq_pollitem_t *items, int n, int64_t deadline_us, bool waiting, struct gw_err *err)
{
    (void)x;
    (void)waiting;
    bool any = send_some();
    if (!any && w.sent == w.n && deadline_us > gw_now_us() + GW_S) {
        // Nothing is left to be done: all is committed. An operator takes the job back, or the stream ends now.
        w.cancelled = w.cancel_at_end;
        w.end = !w.cancel_at_end;
        if (w.cancelled) {
            return gw_err_set(err, GW_FENCED, NULL, "the job was taken back by the coordinator");
        }
        return GW_AGAIN;
    }
    int ms = gw_deadline_ms(deadline_us < gw_now_us() + 5 * GW_S ? deadline_us : gw_now_us() + 5 * GW_S);
    int got = zmq_poll(items, n, any ? 1000 : ms);
    assert_true(got >= 0);
    return got ? GW_OK : GW_AGAIN;
}

// ---- running -----------------------------------------------------------------------------------

static int
setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof f);
    memset(&w, 0, sizeof w);
    fixture_init(&f);
    f.task->window_bytes = 64 << 10;
    gw_applier_fini(&f.applier); // the job makes its own
    f.open = false;
    char endpoint[256];
    w.zctx = zmq_ctx_new();
    w.router = gw_router_bind(w.zctx, "tcp://127.0.0.1:*", endpoint, sizeof endpoint, &f.err);
    w.dealer = gw_dealer_connect(w.zctx, endpoint, &f.err);
    assert_non_null(w.dealer);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < w.n; i++) {
        gw_buf_fini(&w.messages[i]);
    }
    zmq_close(w.dealer);
    zmq_close(w.router);
    zmq_ctx_term(w.zctx);
    fixture_fini(&f);
    return 0;
}

static void
message(const char *script)
{
    gw_buf_init(&w.messages[w.n], SIZE_MAX / 2);
    w.records[w.n] = script_encode(script, &w.messages[w.n]);
    w.n++;
}

static int
run_job(char *position, size_t size)
{
    extern const struct gw_target_ops gw_target_memory;
    struct gw_apply a = {.ops = &gw_target_memory, .self = &f.target, .open = true};
    Gw__Command cmd = GW__COMMAND__INIT;
    Gw__ApplyStream job = GW__APPLY_STREAM__INIT;
    Gw__Reply reply = GW__REPLY__INIT;
    cmd.job = 3;
    cmd.body_case = GW__COMMAND__BODY_APPLY_STREAM;
    cmd.apply_stream = &job;
    job.tables = f.tables;
    job.n_tables = TABLES;
    job.stream = STREAM;
    gw_arena_init(&a.arena);
    gw_err_clear(&f.err);
    int r = gw_apply_stream(&a, &cmd, &reply, &f.err);
    if (r != GW_OK) {
        print_message("%s\n", f.err.message);
    }
    snprintf(position, size, "%s", r == GW_OK ? reply.stream_done->position : "");
    gw_arena_fini(&a.arena);
    return r;
}

static void
from_claim_to_end(void **state)
{
    (void)state;
    char position[32];
    w.end = true;
    message("begin\ninsert pair 1 1 x\ncommit 1");
    message("begin\ninsert pair 2 2 x\n");
    message("commit 2\ntally pair 2 0 0 0\nkeepalive 3");
    assert_int_equal(run_job(position, sizeof position), GW_OK);
    assert_string_equal(w.ready_position, "0");
    assert_int_equal(w.ready_epoch, 2); // the fixture's own claim was the first
    assert_string_equal(position, "3");
    assert_string_equal(w.told_position, "3");
    assert_int_equal(w.oldest_us, 0);
    table_is(&f, PAIR, "1 1 x | 2 2 x");
}

// Credit flows back as changes are taken in, not as they become durable: or this would wait for ever.
static void
larger_than_the_window(void **state)
{
    (void)state;
    char position[32], script[16384];
    message("begin");
    for (int i = 0; i < 200; i++) {
        script[0] = 0;
        for (int k = 0; k < 100; k++) {
            size_t at = strlen(script);
            snprintf(script + at, sizeof script - at, "insert pair %d %d %0100d\n", i, k, k);
        }
        message(script);
    }
    message("commit 7");
    w.end = true;
    trace_reset(&f);
    assert_int_equal(run_job(position, sizeof position), GW_OK);
    assert_string_equal(position, "7");
    assert_int_equal(trace_count(&f, "begin"), 1);
    assert_int_equal(trace_count(&f, "commit"), 1);
    assert_int_equal(memory_rows_find(&f.target, PAIR)->live, 20000);
}

// Without an end: what has come is durable soon, and the coordinator knows.
static void
quiet_stream_is_committed(void **state)
{
    (void)state;
    char position[32];
    w.cancel_at_end = true;
    message("begin\ninsert pair 1 1 x\ncommit 1");
    assert_int_equal(run_job(position, sizeof position), GW_FENCED);
    assert_string_equal(w.told_position, "1");
    assert_int_equal(w.oldest_us, 0);
    assert_true(w.told >= 1 && w.told < 5);
    table_is(&f, PAIR, "1 1 x");
}

static void
end_that_does_not_add_up(void **state)
{
    (void)state;
    char position[32];
    w.end = true;
    w.wrong = 1;
    message("begin\ninsert pair 1 1 x\ncommit 1");
    assert_int_equal(run_job(position, sizeof position), GW_RETRY);
    assert_non_null(strstr(f.err.message, "4 changes"));
    assert_int_equal(trace_count(&f, "commit 1"), 0);
}

static void
end_inside_a_transaction(void **state)
{
    (void)state;
    char position[32];
    w.end = true;
    message("begin\ninsert pair 1 1 x");
    assert_int_equal(run_job(position, sizeof position), GW_BUG);
    assert_int_equal(trace_count(&f, "commit"), 0);
}

static void
message_that_is_not_whole(void **state)
{
    (void)state;
    char position[32];
    w.end = true;
    message("begin\ninsert pair 1 1 x\ncommit 1");
    w.messages[0].len--;
    assert_int_equal(run_job(position, sizeof position), GW_BUG);
    assert_int_equal(trace_count(&f, "commit"), 0);
}

static void
steady_stream_is_committed_in_time(void **state)
{
    (void)state;
    // Messages without a pause: groups end by their count.
    char position[32], script[256];
    for (int i = 0; i < 500; i++) {
        snprintf(script, sizeof script,
                 "begin\ninsert pair %d 1 x\ncommit %d\nbegin\ninsert pair %d 2 x\ncommit %d\n"
                 "begin\ninsert pair %d 3 x\ncommit %d",
                 i, 3 * i + 1, i, 3 * i + 2, i, 3 * i + 3);
        message(script);
    }
    w.end = true;
    trace_reset(&f);
    assert_int_equal(run_job(position, sizeof position), GW_OK);
    assert_string_equal(position, "1500");
    assert_true(trace_count(&f, "commit") >= 2);
    assert_int_equal(memory_rows_find(&f.target, PAIR)->live, 1500);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(from_claim_to_end),
        TEST(larger_than_the_window),
        TEST(quiet_stream_is_committed),
        TEST(end_that_does_not_add_up),
        TEST(end_inside_a_transaction),
        TEST(message_that_is_not_whole),
        TEST(steady_stream_is_committed_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
