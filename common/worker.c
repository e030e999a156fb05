#include "common/worker.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bus.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/worker_priv.h"

enum { QUEUE_MAX = 64, CANCELLED_MAX = 64 };

struct gw_worker {
    const struct gw_stage *stage;
    char uuid[37], name[64], coordinator[256], endpoint[256];
    void *zctx, *pair, *router;
    struct gw_arena task_arenas[2], command_arena; // the task before this one lives on: engines still hold it
    Gw__Task *task;
    uint64_t task_version;
    uint64_t tag;
    char incarnation[40];
    zmq_msg_t queue[QUEUE_MAX]; // control frames that came while a job was in hand
    size_t queued;
    uint64_t job, rows, bytes; // of the job in hand
    int64_t job_started_us, told_us;
    bool cancelled, stop, waiting;
    struct {
        uint64_t stream, epoch;
    } gone[CANCELLED_MAX];
    size_t gone_n;
};

// ---- work thread -------------------------------------------------------------------------------

void *
gw_worker_zctx(struct gw_worker *w)
{
    return w->zctx;
}

void *
gw_worker_router(struct gw_worker *w)
{
    return w->router;
}

const char *
gw_worker_uuid(const struct gw_worker *w)
{
    return w->uuid;
}

const char *
gw_worker_name(const struct gw_worker *w)
{
    return w->name;
}

const Gw__Task *
gw_worker_task(const struct gw_worker *w)
{
    return w->task;
}

uint64_t
gw_worker_task_version(const struct gw_worker *w)
{
    return w->task_version;
}

uint64_t
gw_worker_task_tag(const struct gw_worker *w)
{
    return w->tag;
}

static void
tell_control(struct gw_worker *w)
{
    Gw__Heartbeat b = GW__HEARTBEAT__INIT;
    b.job = w->job;
    b.rows = w->rows;
    b.bytes = w->bytes;
    b.waiting = w->waiting;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_HEARTBEAT;
    m.heartbeat = &b;
    (void)gw_control_send(w->pair, &m, NULL); // in-process: fails only when the control thread is gone
    w->told_us = gw_now_us();
}

void
gw_worker_progress(struct gw_worker *w, uint64_t rows, uint64_t bytes)
{
    w->rows = rows;
    w->bytes = bytes;
    w->waiting = false;
    if (gw_now_us() - w->told_us >= 200 * GW_MS) {
        tell_control(w);
    }
}

static void
note_cancel(struct gw_worker *w, const Gw__Cancel *k)
{
    if (k->job == 0 || k->job == w->job) {
        w->cancelled = true;
    }
    if (k->stream && w->gone_n < CANCELLED_MAX) {
        w->gone[w->gone_n].stream = k->stream;
        w->gone[w->gone_n++].epoch = k->epoch;
    }
    // A job that has not been started yet is not started.
    struct gw_arena a;
    gw_arena_init(&a);
    for (size_t i = 0; k->job && i < w->queued; i++) {
        const Gw__Control *m = gw_control_unpack(&a, zmq_msg_data(&w->queue[i]), zmq_msg_size(&w->queue[i]));
        if (m && m->body_case == GW__CONTROL__BODY_COMMAND && m->command->job == k->job) {
            zmq_msg_close(&w->queue[i]);
            memmove(&w->queue[i], &w->queue[i + 1], (--w->queued - i) * sizeof *w->queue);
            struct gw_err e;
            gw_err_set(&e, GW_AGAIN, NULL, "cancelled");
            Gw__Reply r = GW__REPLY__INIT;
            uint64_t in_hand = w->job;
            r.job = k->job;
            gw_worker_reply(w, &r, &e);
            w->job = in_hand;
            break;
        }
    }
    gw_arena_fini(&a);
}

// Takes in everything that the control thread has for us. Commands are queued.
static void
take_in(struct gw_worker *w)
{
    struct gw_arena a;
    gw_arena_init(&a);
    for (;;) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        if (w->queued == QUEUE_MAX || zmq_msg_recv(&msg, w->pair, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&msg);
            break;
        }
        const Gw__Control *m = gw_control_unpack(&a, zmq_msg_data(&msg), zmq_msg_size(&msg));
        gw_assert(m); // the control thread has unpacked it before
        switch (m->body_case) {
        case GW__CONTROL__BODY_CANCEL: note_cancel(w, m->cancel); break;
        case GW__CONTROL__BODY_STOP:
            w->stop = true;
            w->cancelled = w->cancelled || !m->stop->drain;
            break;
        case GW__CONTROL__BODY_WELCOME:
            // Another coordinator took over: it counts on nothing that the one before it has started.
            if (w->incarnation[0] && strcmp(w->incarnation, m->welcome->incarnation) != 0) {
                w->cancelled = w->job != 0;
                while (w->queued) {
                    zmq_msg_close(&w->queue[--w->queued]);
                }
            }
            snprintf(w->incarnation, sizeof w->incarnation, "%s", m->welcome->incarnation);
            w->queue[w->queued++] = msg;
            continue;
        default: w->queue[w->queued++] = msg; continue;
        }
        zmq_msg_close(&msg);
    }
    gw_arena_fini(&a);
}

bool
gw_worker_cancelled(struct gw_worker *w)
{
    take_in(w);
    return w->cancelled;
}

bool
gw_worker_take_cancelled_stream(struct gw_worker *w, uint64_t *stream, uint64_t *epoch)
{
    if (!w->gone_n) {
        return false;
    }
    w->gone_n--;
    *stream = w->gone[w->gone_n].stream;
    *epoch = w->gone[w->gone_n].epoch;
    return true;
}

int
gw_worker_poll(struct gw_worker *w, zmq_pollitem_t *items, int n, int64_t deadline_us, bool waiting, struct gw_err *err)
{
    enum { ITEMS_MAX = 256 };
    zmq_pollitem_t all[ITEMS_MAX + 1];
    gw_assert(n <= ITEMS_MAX);
    int64_t wait_from = gw_now_us();
    for (;;) {
        take_in(w);
        if (w->cancelled && w->job) {
            return gw_err_set(err, GW_FENCED, NULL, "the job was taken back by the coordinator");
        }
        if (w->job == 0 && (w->queued || w->gone_n || w->stop)) {
            return GW_AGAIN; // idle, and there is something to be done
        }
        memcpy(all, items, (size_t)n * sizeof *items);
        all[n] = (zmq_pollitem_t){.socket = w->pair, .events = ZMQ_POLLIN};
        // Saying that we wait is worth a message only once the wait is long.
        int64_t until = deadline_us;
        int64_t say_at = wait_from + GW_S;
        bool say = waiting && !w->waiting && say_at < until;
        if (say) {
            until = say_at;
        }
        int r = zmq_poll(all, n + 1, gw_deadline_ms(until));
        if (r < 0 && zmq_errno() != EINTR) {
            return gw_zmq_error(err, "wait");
        }
        memcpy(items, all, (size_t)n * sizeof *items);
        for (int i = 0; i < n && r > 0; i++) {
            if (items[i].revents) {
                return GW_OK;
            }
        }
        int64_t now = gw_now_us();
        if (now >= deadline_us) {
            return GW_AGAIN;
        }
        if (say && now >= say_at) {
            w->waiting = true;
            tell_control(w);
        }
    }
}

static bool
same_but_for_uuid(const Gw__Task *a, const Gw__Task *b)
{
    Gw__Task x = *a, y = *b;
    static char none[] = "";
    x.uuid = y.uuid = none;
    size_t n = gw__task__get_packed_size(&x);
    if (n != gw__task__get_packed_size(&y)) {
        return false;
    }
    uint8_t *bytes = malloc(2 * n + 1);
    gw_assert(bytes);
    gw__task__pack(&x, bytes);
    gw__task__pack(&y, bytes + n);
    bool same = memcmp(bytes, bytes + n, n) == 0;
    free(bytes);
    return same;
}

// Each hello is answered with the task, and an engine that is open points into it. It is replaced only by another one.
static void
take_welcome(struct gw_worker *w, const Gw__Welcome *welcome)
{
    struct gw_arena *a = &w->task_arenas[w->task_version % 2];
    if (!w->task || !same_but_for_uuid(w->task, welcome->task)) {
        a = &w->task_arenas[++w->task_version % 2];
        gw_arena_reset(a);
        w->task = gw_pb_dup(a, welcome->task);
    } else if (strcmp(w->task->uuid, welcome->task->uuid) != 0) {
        w->task->uuid = gw_arena_strdup(a, welcome->task->uuid);
    }
    w->tag = gw_task_tag(welcome->task_uuid);
}

int
gw_worker_next(struct gw_worker *w, int64_t deadline_us, const Gw__Command **ret, struct gw_err *err)
{
    w->job = 0;
    w->cancelled = false;
    w->waiting = false;
    for (;;) {
        take_in(w);
        if (w->stop) {
            return GW_END;
        }
        while (w->queued) {
            gw_arena_reset(&w->command_arena);
            zmq_msg_t msg = w->queue[0];
            memmove(&w->queue[0], &w->queue[1], --w->queued * sizeof *w->queue);
            const Gw__Control *m = gw_control_unpack(&w->command_arena, zmq_msg_data(&msg), zmq_msg_size(&msg));
            zmq_msg_close(&msg);
            gw_assert(m);
            if (m->body_case == GW__CONTROL__BODY_WELCOME) {
                take_welcome(w, m->welcome);
            } else if (m->body_case == GW__CONTROL__BODY_COMMAND && w->task) {
                w->job = m->command->job;
                w->rows = w->bytes = 0;
                w->cancelled = false;
                w->job_started_us = gw_now_us();
                tell_control(w);
                *ret = m->command;
                return GW_OK;
            }
        }
        zmq_pollitem_t item = {.socket = w->pair, .events = ZMQ_POLLIN};
        int ms = gw_deadline_ms(deadline_us);
        if (ms == 0) {
            return GW_AGAIN;
        }
        if (zmq_poll(&item, 1, ms) < 0 && zmq_errno() != EINTR) {
            return gw_zmq_error(err, "wait for a command");
        }
    }
}

void
gw_worker_ready(struct gw_worker *w, uint64_t job, uint64_t epoch)
{
    Gw__Ready r = GW__READY__INIT;
    r.job = job;
    r.epoch = epoch;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_READY;
    m.ready = &r;
    (void)gw_control_send(w->pair, &m, NULL);
}

void
gw_worker_reply(struct gw_worker *w, Gw__Reply *reply, const struct gw_err *err)
{
    Gw__Failure f;
    if (err && err->cls != GW_OK) {
        gw_failure_from_err(&f, err);
        reply->failure = &f;
    }
    if (reply->job == w->job) {
        reply->job_us = (uint64_t)(gw_now_us() - w->job_started_us);
    }
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_REPLY;
    m.reply = reply;
    (void)gw_control_send(w->pair, &m, NULL);
    reply->failure = NULL;
    w->job = 0;
    w->cancelled = false;
    w->waiting = false;
    tell_control(w);
}

void
gw_worker_stream_failed(struct gw_worker *w, uint64_t stream, uint64_t epoch, const struct gw_err *err)
{
    Gw__Failure f;
    gw_failure_from_err(&f, err);
    Gw__StreamFailed s = GW__STREAM_FAILED__INIT;
    s.stream = stream;
    s.epoch = epoch;
    s.failure = &f;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_STREAM_FAILED;
    m.stream_failed = &s;
    (void)gw_control_send(w->pair, &m, NULL);
}

// ---- start -------------------------------------------------------------------------------------

static void
print_help(const struct gw_stage *s)
{
    printf("godwit-%s: %s\n\n"
           "usage: godwit-%s --coordinator ENDPOINT [--name NAME] [--log FILE]\n\n"
           "  --coordinator ENDPOINT  the coordinator's control bus: ipc://PATH or tcp://127.0.0.1:PORT\n"
           "  --name NAME             unique among the workers (default: %s-<pid>); a newcomer of the\n"
           "                          same name replaces the one before it\n"
           "  --log FILE              append the log there, too\n"
           "  --version               print the version\n\n"
           "example: godwit-%s --coordinator tcp://127.0.0.1:7750 --name %s-1\n\n"
           "Everything else comes from the coordinator. It may be killed and started again at any time.\n"
           "exit codes: 0 told to stop, 2 bad usage or configuration, 1 any other failure\n",
           s->name, s->summary, s->name, s->name, s->name, s->name);
}

// Plain TCP carries rows in the clear: only loopback may have it.
static bool
endpoint_allowed(const char *e)
{
    return strncmp(e, "ipc://", 6) == 0 || strncmp(e, "tcp://127.", 10) == 0 ||
           strncmp(e, "tcp://localhost:", 16) == 0 || strncmp(e, "tcp://[::1]:", 12) == 0;
}

// Data is received beside the control endpoint: in the same folder, or on a free loopback port.
static int
bind_data(struct gw_worker *w, struct gw_err *err)
{
    char bind[300];
    const char *slash = strrchr(w->coordinator, '/');
    if (strncmp(w->coordinator, "ipc://", 6) == 0) {
        // The pid keeps a successor off the socket of one that is not quite dead.
        snprintf(bind, sizeof bind, "%.*s/%s.%d", (int)(slash - w->coordinator), w->coordinator, w->name,
                 (int)getpid());
    } else {
        snprintf(bind, sizeof bind, "tcp://127.0.0.1:*");
    }
    w->router = gw_router_bind(w->zctx, bind, w->endpoint, sizeof w->endpoint, err);
    return w->router ? GW_OK : (int)err->cls;
}

static int
parse_options(struct gw_worker *w, int argc, char **argv, const char **log_path)
{
    static const struct option options[] = {
        {"coordinator", required_argument, NULL, 'c'}, {"name", required_argument, NULL, 'n'},
        {"log", required_argument, NULL, 'l'},         {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},           {0},
    };
    snprintf(w->name, sizeof w->name, "%s-%d", w->stage->name, (int)getpid());
    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 'c': snprintf(w->coordinator, sizeof w->coordinator, "%s", optarg); break;
        case 'n': snprintf(w->name, sizeof w->name, "%s", optarg); break;
        case 'l': *log_path = optarg; break;
        case 'h': print_help(w->stage); return 0;
        case 'v': printf("godwit-%s %s\n", w->stage->name, GW_VERSION); return 0;
        default: return 2;
        }
    }
    if (!w->coordinator[0] || optind != argc) {
        fprintf(stderr, "godwit-%s: --coordinator ENDPOINT is needed; see --help\n", w->stage->name);
        return 2;
    }
    if (!endpoint_allowed(w->coordinator)) {
        fprintf(stderr, "godwit-%s: plain TCP is for this host only: \"%s\" is not ipc:// and not loopback\n",
                w->stage->name, w->coordinator);
        return 2;
    }
    return -1;
}

static int
start(struct gw_worker *w, struct gw_worker_control *c, pthread_t *thread, struct gw_err *err)
{
    w->zctx = zmq_ctx_new();
    if (!w->zctx) {
        return gw_zmq_error(err, "start the bus");
    }
    w->pair = zmq_socket(w->zctx, ZMQ_PAIR);
    c->pair = zmq_socket(w->zctx, ZMQ_PAIR);
    int none = 0;
    zmq_setsockopt(w->pair, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(c->pair, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(w->pair, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(c->pair, ZMQ_LINGER, &none, sizeof none);
    if (zmq_bind(c->pair, "inproc://work") != 0 || zmq_connect(w->pair, "inproc://work") != 0) {
        return gw_zmq_error(err, "connect the threads");
    }
    c->dealer = gw_dealer_connect(w->zctx, w->coordinator, err);
    if (!c->dealer) {
        return err->cls;
    }
    if (w->stage->receives && bind_data(w, err) != GW_OK) {
        return err->cls;
    }
    c->stage = w->stage->id;
    c->name = w->name;
    c->uuid = w->uuid;
    c->endpoint = w->endpoint;
    gw__heartbeat__init(&c->beat);
    c->beat.uuid = w->uuid;
    if (pthread_create(thread, NULL, gw_worker_control_main, c) != 0) {
        return gw_err_set(err, GW_RETRY, NULL, "start the control thread");
    }
    return GW_OK;
}

int
gw_worker_main(int argc, char **argv, const struct gw_stage *stage)
{
    static struct gw_worker worker;
    static struct gw_worker_control control;
    struct gw_worker *w = &worker;
    struct gw_err err = {0};
    const char *log_path = NULL;
    w->stage = stage;
    int code = parse_options(w, argc, argv, &log_path);
    if (code >= 0) {
        return code;
    }
    // Row batches come and go by the thousand: keep them on the heap instead of mapping each.
    mallopt(M_MMAP_THRESHOLD, 8 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
    mallopt(M_ARENA_MAX, 2);
    // Waking up must not throw the database server off its core for each packet: it fills the socket meanwhile.
    (void)sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0}); // without it, only slower
    umask(077);                                                         // socket files and logs are for the owner only
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    control.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    gw_uuid(w->uuid);
    gw_arena_init(&w->task_arenas[0]);
    gw_arena_init(&w->task_arenas[1]);
    gw_arena_init(&w->command_arena);
    pthread_t thread;
    if (gw_log_open(w->name, log_path, &err) != GW_OK || start(w, &control, &thread, &err) != GW_OK) {
        gw_log_err(GW_LOG_ERROR, &err, "cannot start");
        return err.cls == GW_CONFIG ? 2 : 1;
    }
    gw_info("started pid=%d", (int)getpid());
    int r = stage->run(w, &err);
    if (r != GW_OK && r != GW_END) {
        gw_log_err(GW_LOG_ERROR, &err, "ended");
    }
    (void)zmq_send(w->pair, "", 0, 0); // the control thread leaves
    pthread_join(thread, NULL);
    gw_info("stopped");
    return r == GW_OK || r == GW_END ? 0 : r == GW_CONFIG ? 2 : 1;
}
