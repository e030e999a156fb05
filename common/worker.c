#include "common/worker_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bus.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/secret.h"

// ---- for the stage ---------------------------------------------------------------------------------

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

int
gw_worker_password(struct gw_worker *w, const Gw__Endpoint *ep, struct gw_arena *a, const char **ret,
                   struct gw_err *err)
{
    const char *given = ep == w->task->source ? w->source_password : w->target_password;
    int r = gw_secret_resolve(ep, a, ret, err);
    if (r == GW_CONFIG && given) {
        *ret = given;
        gw_err_clear(err);
        return GW_OK;
    }
    return r;
}

const char *
gw_worker_task_uuid(const struct gw_worker *w)
{
    return w->task_uuid;
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
        case GW__CONTROL__BODY_CONFIRM:
            free(w->confirm);
            w->confirm = strdup(m->confirm->position);
            gw_assert(w->confirm);
            w->confirm_stream = m->confirm->stream;
            w->confirm_epoch = m->confirm->epoch;
            break;
        case GW__CONTROL__BODY_END_STREAM: w->end_asked = w->end_asked || m->end_stream->job == w->job; break;
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
gw_worker_end_asked(struct gw_worker *w)
{
    take_in(w);
    w->is_stream = true;
    w->end_seen = w->end_asked || w->stop;
    return w->end_seen;
}

char *
gw_worker_take_confirm(struct gw_worker *w, uint64_t stream, uint64_t epoch)
{
    take_in(w);
    char *position = w->confirm;
    w->confirm = NULL;
    if (position && (w->confirm_stream != stream || w->confirm_epoch != epoch)) {
        free(position); // of an earlier run of the stream
        return NULL;
    }
    return position;
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
        if (w->job && w->is_stream && (w->confirm || ((w->end_asked || w->stop) && !w->end_seen))) {
            return GW_AGAIN; // the stream is to be told
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
            gw_worker_tell_control(w);
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

static char *
keep_secret(struct gw_worker *w, char *before, const Gw__Secret *secret)
{
    if (before) {
        explicit_bzero(before, strlen(before));
    }
    return secret ? gw_arena_strdup(&w->secret_arena, secret->value) : NULL;
}

static void
take_secrets(struct gw_worker *w, const Gw__Welcome *welcome)
{
    (void)keep_secret(w, w->source_password, NULL);
    (void)keep_secret(w, w->target_password, NULL);
    gw_arena_reset(&w->secret_arena);
    w->source_password = keep_secret(w, NULL, welcome->source_password);
    w->target_password = keep_secret(w, NULL, welcome->target_password);
}

// Each hello is answered with the task, and an engine that is open points into it. It is replaced only by another one.
static void
take_welcome(struct gw_worker *w, const Gw__Welcome *welcome)
{
    take_secrets(w, welcome);
    struct gw_arena *a = &w->task_arenas[w->task_version % 2];
    if (!w->task || !same_but_for_uuid(w->task, welcome->task)) {
        a = &w->task_arenas[++w->task_version % 2];
        gw_arena_reset(a);
        w->task = gw_pb_dup(a, welcome->task);
    } else if (strcmp(w->task->uuid, welcome->task->uuid) != 0) {
        w->task->uuid = gw_arena_strdup(a, welcome->task->uuid);
    }
    w->tag = gw_task_tag(welcome->task_uuid);
    snprintf(w->task_uuid, sizeof w->task_uuid, "%s", welcome->task_uuid);
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
                gw_worker_tell_control(w);
            } else if (m->body_case == GW__CONTROL__BODY_COMMAND && w->task) {
                w->job = m->command->job;
                w->rows = w->bytes = 0;
                w->is_stream = w->end_asked = w->end_seen = false;
                free(w->confirm); // of an earlier job
                w->confirm = NULL;
                w->cancelled = false;
                w->job_started_us = gw_now_us();
                gw_worker_tell_control(w);
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

// ---- start -------------------------------------------------------------------------------------

static int
start(struct gw_worker *w, const struct gw_worker_options *o, struct gw_worker_control *c, pthread_t *thread,
      struct gw_err *err)
{
    snprintf(w->name, sizeof w->name, "%s", o->name);
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
    c->dealer = gw_control_connect(w->zctx, o->coordinator, err);
    if (!c->dealer) {
        return err->cls;
    }
    if (w->stage->receives && gw_identity()) {
        c->zap = gw_zap_start(w->zctx, gw_identity(), err);
        if (!c->zap) {
            return err->cls;
        }
    }
    if (w->stage->receives) {
        w->router = gw_worker_bind_data(w->zctx, o, w->endpoint, sizeof w->endpoint, err);
        if (!w->router) {
            return err->cls;
        }
    }
    c->name = w->name;
    c->uuid = w->uuid;
    c->endpoint = w->endpoint;
    c->stage = w->stage->id;
    c->coordinator = o->coordinator;
    c->zctx = w->zctx;
    gw__heartbeat__init(&c->beat);
    c->beat.uuid = w->uuid;
    c->beat.task_uuid = c->task_uuid;
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
    struct gw_worker_options o = {0};
    w->stage = stage;
    int code = gw_worker_options_parse(&o, stage, argc, argv);
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
    gw_arena_init(&w->secret_arena);
    gw_arena_init(&w->command_arena);
    pthread_t thread;
    (void)gw_log_open(stage->name, NULL, NULL); // until it has a name of its own
    if (gw_worker_identify(&o, stage, &err) != GW_OK || gw_log_open(o.name, o.log, &err) != GW_OK ||
        start(w, &o, &control, &thread, &err) != GW_OK) {
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
    gw_zap_stop(control.zap);
    gw_info("stopped");
    return control.refused ? 2 : r == GW_OK || r == GW_END ? 0 : r == GW_CONFIG ? 2 : 1;
}
