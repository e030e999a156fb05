// godwit-coordinator: options, sockets, the loop.
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/policy.h"
#include "common/secret.h"
#include "coordinator/co.h"

static const char help[] =
    "godwit-coordinator: leads the workers of one task\n\n"
    "usage: godwit-coordinator --task FILE --state DIR --listen ENDPOINT [options]\n\n"
    "  --task FILE        the task, as for `godwit run`\n"
    "  --state DIR        where the state file lives; it is a cache and may be deleted\n"
    "  --listen ENDPOINT  control bus for workers: ipc://PATH or tcp://ADDRESS:PORT; up to four times\n"
    "  --key FILE         the coordinator's keys, made by godwit keygen: needed for workers on other hosts\n"
    "  --insecure-plain-tcp  without --key: let TCP leave this host all the same, unencrypted\n"
    "  --mode MODE        run (default), check: only look, drop: remove the task's control rows\n"
    "  --until WHEN       load: stop after the full load; caught-up: stop when every change that was committed\n"
    "                     on the source before now is durable on the target\n"
    "  --fresh            begin anew: drop what is durable of the task\n"
    "  --hold             stay after the end until told to stop\n"
    "  --log FILE         append the log there, too\n"
    "  --print-states     print the state machine as a graph for dot(1)\n\n"
    "examples:\n"
    "  godwit-coordinator --task shop.json --state /var/lib/godwit/shop --listen tcp://127.0.0.1:7750\n"
    "  godwit-coordinator --task shop.json --state /var/lib/godwit/shop \\\n"
    "    --listen tcp://10.0.0.5:7750 --key coordinator.key\n\n"
    "A password that is found here is handed to workers that find none themselves, over ipc, loopback or\n"
    "encrypted links only.\n\n"
    "exit codes: 0 all done, 1 some table ended in error, 2 bad usage or configuration,\n"
    "            3 an end cannot be reached, 4 stopped by a signal: the same command goes on\n";

enum { TICK_MS = 50 };

struct options {
    const char *task, *log, *key;
    bool plain;
};

static int
parse_options(struct co *co, struct options *o, int argc, char **argv)
{
    enum { TASK = 1, STATE, LISTEN, MODE, UNTIL, FRESH, RELOAD, HOLD, LOG, KEY, PLAIN, STATES, VERSION };
    static const struct option options[] = {
        {"task", required_argument, NULL, TASK},
        {"state", required_argument, NULL, STATE},
        {"listen", required_argument, NULL, LISTEN},
        {"mode", required_argument, NULL, MODE},
        {"until", required_argument, NULL, UNTIL},
        {"fresh", no_argument, NULL, FRESH},
        {"reload", no_argument, NULL, RELOAD},
        {"hold", no_argument, NULL, HOLD},
        {"log", required_argument, NULL, LOG},
        {"key", required_argument, NULL, KEY},
        {"insecure-plain-tcp", no_argument, NULL, PLAIN},
        {"print-states", no_argument, NULL, STATES},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, VERSION},
        {0},
    };
    static const char *const modes[] = {[MODE_RUN] = "run", [MODE_CHECK] = "check", [MODE_DROP] = "drop"};
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (c) {
        case TASK: o->task = optarg; break;
        case STATE: co->state_dir = optarg; break;
        case LISTEN:
            if (co->listen && co->also_n == LISTENS_MAX - 1) {
                fprintf(stderr, "godwit-coordinator: --listen comes %d times at the most\n", LISTENS_MAX);
                return 2;
            }
            *(co->listen ? &co->also[co->also_n++] : &co->listen) = optarg;
            break;
        case KEY: o->key = optarg; break;
        case PLAIN: o->plain = true; break;
        case UNTIL:
            if (strcmp(optarg, "load") != 0 && strcmp(optarg, "caught-up") != 0) {
                fprintf(stderr, "godwit-coordinator: --until takes load or caught-up, not \"%s\"\n", optarg);
                return 2;
            }
            co->until = optarg[0] == 'l' ? UNTIL_LOAD : UNTIL_CAUGHT_UP;
            break;
        case FRESH: co->fresh = true; break;
        case RELOAD: co->reload = true; break;
        case HOLD: co->hold = true; break;
        case LOG: o->log = optarg; break;
        case STATES: co_print_fsm(); return 0;
        case VERSION: printf("godwit-coordinator %s\n", GW_VERSION); return 0;
        case 'h': fputs(help, stdout); return 0;
        case MODE:
            co->mode = MODE_RUN;
            while (co->mode <= MODE_DROP && strcmp(modes[co->mode], optarg) != 0) {
                co->mode++;
            }
            if (co->mode > MODE_DROP) {
                fprintf(stderr, "godwit-coordinator: unknown mode \"%s\": run, check or drop\n", optarg);
                return 2;
            }
            break;
        default: return 2;
        }
    }
    if (!o->task || !co->state_dir || !co->listen || optind != argc) {
        fprintf(stderr, "godwit-coordinator: --task, --state and --listen are needed; see --help\n");
        return 2;
    }
    if (o->key && o->plain) {
        fprintf(stderr, "godwit-coordinator: --key and --insecure-plain-tcp exclude each other\n");
        return 2;
    }
    return -1;
}

// Who this process is, and which of its endpoints others reach.
static int
identify(struct co *co, const struct options *o, struct gw_err *err)
{
    static struct gw_keys keys;
    if (o->key) {
        int r = gw_keys_load(o->key, &keys, err);
        if (r == GW_OK && !keys.is_coordinator) {
            gw_err_set(err, GW_CONFIG, NULL, "key file \"%s\" is a worker's", o->key);
            gw_err_hint(err, "the coordinator's is coordinator.key, beside it where godwit keygen made them");
            r = GW_CONFIG;
        }
        if (r != GW_OK) {
            return r;
        }
    }
    gw_identity_set(o->key ? &keys : NULL, o->plain);
    for (size_t i = 0; i <= co->also_n; i++) {
        struct gw_endpoint e;
        int r = gw_endpoint_parse(i ? co->also[i - 1] : co->listen, &e, err);
        r = r == GW_OK ? gw_identity_allows(&e, err) : r;
        if (r != GW_OK) {
            return gw_err_wrap(err, "--listen");
        }
        co->remote = co->remote || gw_endpoint_leaves_host(&e);
    }
    return GW_OK;
}

static int
listen_on_all(struct co *co, struct gw_err *err)
{
    if (gw_identity()) {
        co->zap = gw_zap_start(co->zctx, gw_identity(), err);
        if (!co->zap) {
            return err->cls;
        }
    }
    for (size_t i = 0; i <= co->also_n; i++) {
        char endpoint[GW_ENDPOINT_MAX];
        void *s =
            gw_control_bind(co->zctx, co->router, i ? co->also[i - 1] : co->listen, endpoint, sizeof endpoint, err);
        if (!s) {
            return err->cls;
        }
        co->router = s;
        gw_info("task=\"%s\" listens on %.*s", co->task->name, (int)strcspn(endpoint, "#"), endpoint);
    }
    return GW_OK;
}

// What is not found here, a worker may find where it is.
static void
find_passwords(struct co *co)
{
    struct gw_err ignored = {0};
    (void)gw_secret_resolve(co->task->source, &co->arena, &co->source_password, &ignored);
    (void)gw_secret_resolve(co->task->target, &co->arena, &co->target_password, &ignored);
}

static int
start(struct co *co, const struct options *o, struct gw_err *err)
{
    int r = gw_log_open("coordinator", o->log, err);
    r = r == GW_OK ? identify(co, o, err) : r;
    if (r == GW_OK) {
        r = gw_config_load(o->task, &co->arena, &co->task, err);
    }
    if (r != GW_OK) {
        return r;
    }
    co->streams = gw_task_streams(co->task);
    co->met = !co->streams;
    if (mkdir(co->state_dir, 0700) != 0 && errno != EEXIST) {
        return gw_err_errno(err, errno, "make state folder \"%s\"", co->state_dir);
    }
    r = co_store_open(co, err);
    if (r != GW_OK) {
        return r;
    }
    // Started again within one run: the ends were there before, so they are waited for.
    char *running = co_store_get(co, &co->arena, "running");
    co->patient = running && strcmp(running, co->listen) == 0;
    co->fresh = co->fresh && !co->patient;
    gw_uuid(co->incarnation);
    gw_uuid(co->uuid);
    co->task->uuid = co->uuid; // what is in there changes when the target's word is known
    // Numbers of an earlier coordinator may still be on their way: no two may ever mean different things.
    co->next_job = co->next_stream = gw_task_tag(co->incarnation) & ~UINT64_C(0xffffffff);
    co->findings = gw_pb_new(&co->arena, Gw__Catalog, gw__catalog__init);
    co->started_us = gw_wall_us();
    co->zctx = zmq_ctx_new();
    find_passwords(co);
    return co->zctx ? listen_on_all(co, err) : gw_zmq_error(err, "start the bus");
}

static void
loop(struct co *co, int signals)
{
    pid_t parent = getppid();
    bool told = false;
    uint64_t moves = co->moves - 1;
    for (;;) {
        zmq_pollitem_t items[] = {{.socket = co->router, .events = ZMQ_POLLIN}, {.fd = signals, .events = ZMQ_POLLIN}};
        // A state that has just been left may have been what another one waited for.
        if (zmq_poll(items, 2, co->moves != moves ? 0 : TICK_MS) < 0 && zmq_errno() != EINTR) {
            return;
        }
        if (items[1].revents) {
            struct signalfd_siginfo si;
            (void)!read(signals, &si, sizeof si);
            if (co->phase == P_ENDED) {
                co->leave = true;
            } else {
                gw_info("told to stop: work in hand is finished first");
                co->exit_code = 4;
                co_event(co, EV_STOP);
            }
        }
        moves = co->moves;
        co_receive(co);
        co_tick(co);
        if (co->phase == P_ENDED && !told) {
            told = true;
            co_tell_asker(co);
            co_store_put(co, "running", "");
            co_store_status(co);
        }
        if (co->hold && getppid() != parent) {
            gw_warn("who started this process is gone: leaving");
            return; // and with it the workers, whose answers would be waited for in vain
        }
        if (co->phase == P_ENDED && (!co->hold || co->leave)) {
            return;
        }
    }
}

int
main(int argc, char **argv)
{
    static struct co co;
    struct options o = {0};
    int code = parse_options(&co, &o, argc, argv);
    if (code >= 0) {
        return code;
    }
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    gw_arena_init(&co.arena);
    gw_arena_init(&co.stream.arena);
    gw_arena_init(&co.alter.arena);
    struct gw_err err = {0};
    if (start(&co, &o, &err) != GW_OK) {
        gw_log_err(GW_LOG_ERROR, &err, "cannot start");
        return err.cls == GW_CONFIG ? 2 : 1;
    }
    loop(&co, signals);
    co_stop_workers(&co);
    co_store_close(&co);
    int linger_ms = 1000; // the workers' stop messages leave first
    zmq_setsockopt(co.router, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_close(co.router);
    gw_zap_stop(co.zap);
    zmq_ctx_term(co.zctx);
    gw_arena_fini(&co.arena);
    return (int)co.exit_code;
}
