// The control thread: hello, heartbeats, the lease. It answers while the work thread sits in a query for an hour.
#include "common/worker_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

#include "common/bus.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/worker.h"

static const int64_t heartbeat_us = 500 * GW_MS;
static const int64_t lease_default_us = 15 * GW_S;
static const int64_t reopen_us = 10 * GW_S; // silence after which a new connection is made
static const int64_t say_first_us = 10 * GW_S, say_most_us = 3600 * GW_S;
enum { GIVE_BACK_LEASES = 4 }; // a job that was called back is worth nothing any more, whatever it is in the middle of

static void
send_hello(struct gw_worker_control *c)
{
    char host[256] = "";
    (void)gethostname(host, sizeof host - 1);
    Gw__Hello h = GW__HELLO__INIT;
    h.stage = c->stage;
    h.name = c->name;
    h.uuid = c->uuid;
    h.pid = (uint32_t)getpid();
    h.host = host;
    h.data_endpoint = c->endpoint;
    if (gw_identity()) {
        h.key = (char *)(uintptr_t)gw_identity()->public; // packed only, never written
    }
    h.protocol = GW_BUS_VERSION;
    h.job = c->beat.job;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_HELLO;
    m.hello = &h;
    // A coordinator that is away is tried again with the next heartbeat.
    (void)gw_control_send(c->dealer, &m, NULL);
}

static void
send_heartbeat(struct gw_worker_control *c)
{
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_HEARTBEAT;
    m.heartbeat = &c->beat;
    (void)gw_control_send(c->dealer, &m, NULL);
}

// In order, or by a failure that the process survived: either way its work is given to others at once.
static void
send_goodbye(struct gw_worker_control *c)
{
    Gw__Goodbye bye = GW__GOODBYE__INIT;
    bye.uuid = c->uuid;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_GOODBYE;
    m.goodbye = &bye;
    (void)gw_control_send(c->dealer, &m, NULL);
}

static void
send_stop_to_work(struct gw_worker_control *c, bool drain)
{
    Gw__Stop s = GW__STOP__INIT;
    s.drain = drain;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_STOP;
    m.stop = &s;
    (void)gw_control_send(c->pair, &m, NULL);
}

static void
send_cancel_to_work(struct gw_worker_control *c)
{
    Gw__Cancel k = GW__CANCEL__INIT; // job 0: whatever is in hand
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_CANCEL;
    m.cancel = &k;
    (void)gw_control_send(c->pair, &m, NULL);
}

// The coordinator will not have this worker, however often it asks: an operator must act.
static void
be_refused(struct gw_worker_control *c, const Gw__Refused *m)
{
    struct gw_err why = {0};
    if (m->failure) {
        gw_failure_to_err(m->failure, &why);
    }
    gw_log_err(GW_LOG_ERROR, &why, "the coordinator refuses this worker");
    c->refused = true;
    send_stop_to_work(c, false);
}

static void
take_terms(struct gw_worker_control *c, const Gw__Welcome *m)
{
    if (m->lease_ms) {
        c->lease_us = m->lease_ms * GW_MS;
    }
    for (size_t i = 0; c->zap && i < m->n_admitted; i++) {
        if (!gw_zap_admit(c->zap, m->admitted[i])) {
            gw_warn("a key that the coordinator admits is malformed, or one too many");
        }
    }
}

static void
note_heard(struct gw_worker_control *c)
{
    c->heard_us = gw_now_us();
    c->lost = false;
    if (c->say_step_us > say_first_us) {
        gw_info("the coordinator answers again");
    }
    c->say_us = c->heard_us + say_first_us;
    c->say_step_us = say_first_us;
    c->reopen_us = c->heard_us + reopen_us;
}

// A frame from the coordinator. Everything that is about work goes to the work thread as it is.
static void
from_coordinator(struct gw_worker_control *c, zmq_msg_t *msg)
{
    struct gw_arena a;
    gw_arena_init(&a);
    const Gw__Control *m = gw_control_unpack(&a, zmq_msg_data(msg), zmq_msg_size(msg));
    note_heard(c);
    if (!m) {
        gw_warn("malformed control message of %zu bytes is dropped", zmq_msg_size(msg));
    } else if (m->body_case == GW__CONTROL__BODY_WHO) {
        send_hello(c);
    } else if (m->body_case == GW__CONTROL__BODY_REFUSED) {
        be_refused(c, m->refused);
    } else if (m->body_case != GW__CONTROL__BODY__NOT_SET) {
        if (m->body_case == GW__CONTROL__BODY_WELCOME) {
            take_terms(c, m->welcome);
        }
        if (m->body_case == GW__CONTROL__BODY_CANCEL && m->cancel->job && m->cancel->job != c->called_back &&
            !m->cancel->at_leisure) {
            c->called_back = m->cancel->job;
            c->called_back_us = c->heard_us;
        }
        zmq_msg_t copy;
        zmq_msg_init(&copy);
        zmq_msg_copy(&copy, msg);
        (void)zmq_msg_send(&copy, c->pair, ZMQ_DONTWAIT);
        zmq_msg_close(&copy);
    }
    gw_arena_fini(&a);
}

// A frame from the work thread: its state for the next heartbeat, or something for the coordinator.
static bool
from_work(struct gw_worker_control *c, zmq_msg_t *msg)
{
    if (zmq_msg_size(msg) == 0) {
        return false; // the work thread has ended
    }
    struct gw_arena a;
    gw_arena_init(&a);
    const Gw__Control *m = gw_control_unpack(&a, zmq_msg_data(msg), zmq_msg_size(msg));
    gw_assert(m);
    if (m->body_case == GW__CONTROL__BODY_HEARTBEAT) {
        c->beat.job = m->heartbeat->job;
        c->beat.rows = m->heartbeat->rows;
        c->beat.bytes = m->heartbeat->bytes;
        c->beat.waiting = m->heartbeat->waiting;
        if (strcmp(c->task_uuid, m->heartbeat->task_uuid) != 0) { // somebody waits for that
            snprintf(c->task_uuid, sizeof c->task_uuid, "%s", m->heartbeat->task_uuid);
            send_heartbeat(c);
        }
    } else {
        zmq_msg_t copy;
        zmq_msg_init(&copy);
        zmq_msg_copy(&copy, msg);
        (void)zmq_msg_send(&copy, c->dealer, ZMQ_DONTWAIT);
        zmq_msg_close(&copy);
    }
    gw_arena_fini(&a);
    return true;
}

static void
check_lease(struct gw_worker_control *c)
{
    int64_t now = gw_now_us();
    if (!c->lost && now - c->heard_us > c->lease_us) {
        c->lost = true;
        c->give_up_us = now + c->lease_us;
        if (c->beat.job) {
            gw_warn("coordinator is silent: giving up job %" PRIu64, c->beat.job);
        }
        send_cancel_to_work(c);
    }
    if (c->beat.job && c->beat.job == c->called_back && now - c->called_back_us > GIVE_BACK_LEASES * c->lease_us &&
        GW_GUARD("worker.give_back")) {
        gw_log(GW_LOG_ERROR, "job %" PRIu64 " was called back and does not end: ending this process", c->beat.job);
        _exit(1);
    }
    if (c->lost && c->beat.job && now > c->give_up_us) {
        gw_log(GW_LOG_ERROR, "job %" PRIu64 " cannot be given up: ending this process", c->beat.job);
        _exit(1);
    }
}

// A coordinator that is silent may be away, or this connection may be one that ZeroMQ does not mend by itself: it ends
// one for good when keys do not match, which the next coordinator's may.
static void
check_silence(struct gw_worker_control *c)
{
    int64_t now = gw_now_us();
    if (now < c->reopen_us) {
        return;
    }
    struct gw_err err = {0};
    void *again = gw_control_connect(c->zctx, c->coordinator, &err);
    if (again) {
        zmq_close(c->dealer);
        c->dealer = again;
    }
    c->reopen_us = now + reopen_us;
    if (now >= c->say_us) {
        gw_warn("no word from the coordinator at %.*s for %" PRId64 " s: is it running%s?",
                (int)strcspn(c->coordinator, "#"), c->coordinator, (now - c->heard_us) / GW_S,
                gw_identity() ? ", with the key file that belongs to this one" : "");
        c->say_step_us = c->say_step_us * 2 < say_most_us ? c->say_step_us * 2 : say_most_us;
        c->say_us = now + c->say_step_us;
    }
}

static bool
drain_socket(struct gw_worker_control *c, void *socket)
{
    for (;;) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        if (zmq_msg_recv(&msg, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&msg);
            return true;
        }
        bool go_on = true;
        if (socket == c->pair) {
            go_on = from_work(c, &msg);
        } else {
            from_coordinator(c, &msg);
        }
        zmq_msg_close(&msg);
        if (!go_on) {
            return false;
        }
    }
}

void *
gw_worker_control_main(void *arg)
{
    struct gw_worker_control *c = arg;
    note_heard(c);
    c->lease_us = lease_default_us;
    int64_t next_us = 0;
    for (;;) {
        int64_t now = gw_now_us();
        if (now >= next_us) {
            send_heartbeat(c);
            next_us = now + heartbeat_us;
            check_lease(c);
            check_silence(c);
        }
        zmq_pollitem_t items[] = {{.socket = c->dealer, .events = ZMQ_POLLIN},
                                  {.socket = c->pair, .events = ZMQ_POLLIN},
                                  {.fd = c->signals, .events = ZMQ_POLLIN}};
        if (zmq_poll(items, 3, gw_deadline_ms(next_us)) < 0 && zmq_errno() != EINTR) {
            break;
        }
        if (items[2].revents) {
            struct signalfd_siginfo si;
            (void)!read(c->signals, &si, sizeof si);
            send_stop_to_work(c, true);
        }
        drain_socket(c, c->dealer);
        if (!drain_socket(c, c->pair)) {
            break;
        }
    }
    send_goodbye(c);
    // What was said last must still leave.
    int linger_ms = 500;
    zmq_setsockopt(c->dealer, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_close(c->dealer);
    zmq_close(c->pair);
    return NULL;
}
