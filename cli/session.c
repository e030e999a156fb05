#include "cli/session.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "cli/client.h"
#include "cli/format.h"
#include "cli/relay.h"
#include "cli/term.h"
#include "cli/watch.h"
#include "common/clock.h"
#include "common/fault.h"
#include "common/net.h"

static const int64_t ask_terminal_us = 250 * GW_MS, ask_plain_us = GW_S;
static const int64_t draw_us = 250 * GW_MS, line_us = 10 * GW_S;
static const int64_t leave_us = 10 * GW_S;   // for children to end by themselves
static const int64_t silent_us = 5 * GW_S;   // of the coordinator, before it is mentioned
static const int64_t twice_us = 500 * GW_MS; // timeout(1) and some shells signal twice in a row
enum { STATUS_LARGE = 1 << 18 };

struct session {
    const struct gw_session_spec *spec;
    struct gw_session_result *result;
    struct gw_supervisor children;
    struct gw_child *coordinator;
    struct gw_watch watch;
    struct gw_client client;
    struct gw_relay relay;
    struct gw_term term;
    struct gw_progress progress;
    void *zctx;
    int signals;
    bool stopping; // the first signal came
    bool ending;   // nothing more is started; children are on their way out
    bool draw_soon;
    char notice[160];
    int64_t started_us, stopping_us, kill_us, ask_next_us, draw_next_us;
};

static void __attribute__((format(printf, 2, 3))) say(struct session *s, const char *fmt, ...)
{
    if (s->spec->loudness == GW_QUIET || !s->relay.show) {
        return;
    }
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text - 1, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text - 1 ? (size_t)n : sizeof text - 2;
    text[len++] = '\n';
    gw_term_above(&s->term, text, len);
    s->draw_soon = true;
}

// ---- starting ------------------------------------------------------------------------------------

// argv has room for GW_CHILD_ARGS_MAX and ends with NULL. value NULL: the option takes none.
static void
add_arguments(const char **argv, const char *option, const char *value)
{
    size_t n = 0;
    while (argv[n]) {
        n++;
    }
    gw_assert(n + 2 <= GW_CHILD_ARGS_MAX);
    argv[n] = option;
    argv[n + 1] = value;
    argv[n + (value ? 2 : 1)] = NULL;
}

static void
add_network(const struct session *s, const char **argv)
{
    if (s->spec->key) {
        add_arguments(argv, "--key", s->spec->key);
    } else if (s->spec->plain) {
        add_arguments(argv, "--insecure-plain-tcp", NULL);
    }
}

// The workers of this host reach the coordinator over a Unix socket, as ever. But they receive where workers of other hosts
// reach them.
static void
add_worker_network(const struct session *s, bool receives, char *address, size_t size, const char **argv)
{
    struct gw_endpoint e;
    if (!s->spec->listen || gw_endpoint_parse(s->spec->listen, &e, NULL) != GW_OK) {
        return;
    }
    add_network(s, argv);
    if (receives) {
        snprintf(address, size, strchr(e.host, ':') ? "[%s]" : "%s", e.host);
        add_arguments(argv, "--data-address", address);
    }
}

static int
add_coordinator(struct session *s, const char *endpoint, struct gw_err *err)
{
    char exe[PATH_MAX], log[PATH_MAX];
    if (gw_executable_beside("godwit-coordinator", exe, sizeof exe, err) != GW_OK) {
        return err->cls;
    }
    snprintf(log, sizeof log, "%s/logs/coordinator.log", s->spec->state);
    const char *argv[GW_CHILD_ARGS_MAX + 1] = {
        exe,      "--task", s->spec->task_path, "--state", s->spec->state, "--listen",
        endpoint, "--mode", s->spec->mode,      "--hold",  "--log",        log,
        NULL,
    };
    if (s->spec->fresh) {
        add_arguments(argv, "--fresh", NULL);
    }
    if (s->spec->reload) {
        add_arguments(argv, "--reload", NULL);
    }
    if (s->spec->until) {
        add_arguments(argv, "--until", s->spec->until);
    }
    if (s->spec->listen) {
        add_arguments(argv, "--listen", s->spec->listen);
        add_network(s, argv);
    }
    s->coordinator = gw_supervisor_add(&s->children, "coordinator", argv);
    return GW_OK;
}

static int
add_workers(struct session *s, const char *endpoint, struct gw_err *err)
{
    static const char *const stages[] = {"capture", "transform", "apply"};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        char exe[PATH_MAX], log[PATH_MAX], name[32];
        snprintf(name, sizeof name, "godwit-%s", stages[i]);
        if (gw_executable_beside(name, exe, sizeof exe, err) != GW_OK) {
            return err->cls;
        }
        for (unsigned n = 1; n <= s->spec->workers; n++) {
            snprintf(name, sizeof name, "%s-%u", stages[i], n);
            snprintf(log, sizeof log, "%s/logs/%s.log", s->spec->state, name);
            char address[300];
            const char *argv[GW_CHILD_ARGS_MAX + 1] = {exe, "--coordinator", endpoint, "--name", name, "--log", log};
            add_worker_network(s, i > 0, address, sizeof address, argv); // a capture receives nothing
            gw_supervisor_add(&s->children, name, argv);
        }
    }
    return GW_OK;
}

static int
watch_signals(struct session *s, struct gw_err *err)
{
    sigset_t set;
    sigemptyset(&set);
    static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGWINCH};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        sigaddset(&set, ours[i]);
    }
    // Before ZeroMQ starts its threads, which inherit the mask.
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals >= 0 ? GW_OK : gw_err_errno(err, errno, "watch for signals");
}

// Where the children's stderr goes. Beside a terminal's lines it must pass through here; a log file takes all.
static int
open_relay(struct session *s, struct gw_err *err)
{
    bool is_run = strcmp(s->spec->mode, "run") == 0;
    bool verbose = s->spec->loudness == GW_VERBOSE;
    memset(&s->relay, 0, sizeof s->relay);
    s->relay.read_fd = s->relay.write_fd = -1;
    s->relay.show = true;
    if (s->spec->loudness != GW_QUIET && !isatty(STDERR_FILENO) && (is_run || verbose)) {
        return GW_OK; // inherited
    }
    enum gw_log_level least = verbose ? GW_LOG_DEBUG : s->spec->loudness == GW_QUIET ? GW_LOG_ERROR : GW_LOG_WARN;
    // check and drop end with the cause in their report; before that, workers would say it three times.
    return gw_relay_open(&s->relay, least, is_run || verbose, err);
}

static int
open_session(struct session *s, struct gw_err *err)
{
    char endpoint[256];
    snprintf(endpoint, sizeof endpoint, "ipc://%s/control", s->spec->runtime);
    if (watch_signals(s, err) != GW_OK || open_relay(s, err) != GW_OK) {
        return err->cls;
    }
    gw_supervisor_init(&s->children, s->relay.write_fd);
    if (add_coordinator(s, endpoint, err) != GW_OK || add_workers(s, endpoint, err) != GW_OK) {
        return err->cls;
    }
    s->zctx = zmq_ctx_new();
    if (!s->zctx) {
        return gw_err_set(err, GW_RETRY, NULL, "start the bus: %s", zmq_strerror(zmq_errno()));
    }
    if (gw_client_open(&s->client, s->zctx, endpoint, err) != GW_OK) {
        return err->cls;
    }
    return s->spec->publish ? gw_statedir_write_control(s->spec->publish, endpoint, err) : GW_OK;
}

static void
close_session(struct session *s)
{
    gw_supervisor_fini(&s->children);
    if (s->spec->publish) {
        gw_statedir_remove_control(s->spec->publish);
    }
    gw_relay_read(&s->relay, &s->term);
    if (!s->relay.show && !(s->result->status && s->result->status->failure) && s->result->exit_code != GW_EXIT_DONE) {
        gw_relay_tell(&s->relay, &s->term);
    }
    gw_relay_close(&s->relay);
    gw_client_close(&s->client);
    if (s->zctx) {
        zmq_ctx_term(s->zctx);
    }
    if (s->signals >= 0) {
        close(s->signals);
    }
    gw_progress_fini(&s->progress);
    gw_term_close(&s->term);
}

// ---- ending --------------------------------------------------------------------------------------

// Nothing is started any more; what still runs has ten seconds.
static void
begin_ending(struct session *s, int exit_code)
{
    if (s->ending) {
        return;
    }
    s->ending = true;
    s->result->exit_code = exit_code;
    s->kill_us = gw_now_us() + leave_us;
    gw_supervisor_unwant(&s->children);
}

static void
keep_status(struct session *s)
{
    if (s->client.status) {
        gw_arena_reset(&s->result->arena);
        s->result->status = gw_pb_dup(&s->result->arena, s->client.status);
    }
}

static void
fail(struct session *s, int exit_code, const struct gw_err *err)
{
    if (!s->ending) {
        s->result->err = *err;
    }
    begin_ending(s, exit_code);
    gw_supervisor_signal(&s->children, SIGTERM);
}

static void
child_ended(void *ctx, struct gw_child *c)
{
    struct session *s = ctx;
    char how[96];
    gw_child_describe(c, how, sizeof how);
    if (s->ending || (s->stopping && c != s->coordinator)) {
        if (c == s->coordinator) {
            gw_supervisor_signal(&s->children, SIGTERM); // nobody else will tell them
        }
        return;
    }
    if (s->stopping) {
        // With the coordinator gone, nothing can be finished in order. What is durable stays so.
        begin_ending(s, GW_EXIT_STOPPED);
        gw_supervisor_signal(&s->children, SIGTERM);
    } else if (WIFEXITED(c->status) && WEXITSTATUS(c->status) == GW_EXIT_USAGE) {
        struct gw_err e = {0};
        gw_err_set(&e, GW_CONFIG, NULL, "%s cannot work as it is set up", c->name);
        gw_err_hint(&e, "its last words are above and in %s/logs/%s.log", s->spec->state, c->name);
        fail(s, GW_EXIT_USAGE, &e);
    } else {
        say(s, "godwit: %s %s; it is started again", c->name, how);
    }
}

static size_t
chunks_in_flight(const Gw__Status *status)
{
    size_t n = 0;
    for (size_t i = 0; status && i < status->n_workers; i++) {
        n += strncmp(status->workers[i]->doing, "loads ", 6) == 0;
    }
    return n;
}

static void
on_stop_signal(struct session *s)
{
    int64_t now = gw_now_us();
    if (s->stopping || s->ending) {
        if (now - s->stopping_us < twice_us) {
            return;
        }
        begin_ending(s, GW_EXIT_STOPPED);
        s->kill_us = INT64_MAX;
        gw_supervisor_signal(&s->children, SIGKILL);
        return;
    }
    s->stopping = true;
    s->stopping_us = now;
    for (size_t i = 0; i < s->children.n; i++) {
        s->children.children[i].wanted = false;
    }
    if (!s->coordinator->pid) {
        begin_ending(s, GW_EXIT_STOPPED);
        gw_supervisor_signal(&s->children, SIGTERM);
        return;
    }
    gw_child_signal(s->coordinator, SIGTERM);
    size_t n = chunks_in_flight(s->client.status);
    if (gw_progress_carries(s->client.status)) {
        snprintf(s->notice, sizeof s->notice,
                 "stopping: ending the stream where a transaction ends; press again to stop at once");
    } else if (n) {
        snprintf(s->notice, sizeof s->notice, "stopping: finishing %zu chunk%s in flight; press again to stop at once",
                 n, n == 1 ? "" : "s");
    } else {
        snprintf(s->notice, sizeof s->notice, "stopping; press again to stop at once");
    }
    if (!s->term.live) {
        say(s, "godwit: %s", s->notice);
    }
    s->draw_soon = true;
}

static void
on_status(struct session *s)
{
    const Gw__Status *st = s->client.status;
    gw_progress_update(&s->progress, st, gw_now_us());
    gw_watch_status(&s->watch, &s->children, s->coordinator, st, gw_now_us());
    if (st->ended && !s->ending) {
        keep_status(s);
        s->result->ended = true;
        begin_ending(s, (int)st->exit_code);
        struct gw_err ignored = {0};
        // If it does not arrive, the ten seconds end it.
        (void)gw_client_stop(&s->client, &ignored);
    }
}

// ---- the loop ------------------------------------------------------------------------------------

static void
read_signals(struct session *s)
{
    struct signalfd_siginfo si;
    bool child = false;
    while (read(s->signals, &si, sizeof si) == (ssize_t)sizeof si) {
        switch (si.ssi_signo) {
        case SIGCHLD: child = true; break;
        case SIGWINCH:
            gw_term_resized(&s->term);
            s->draw_soon = true;
            break;
        default: on_stop_signal(s); break;
        }
    }
    if (child) {
        gw_supervisor_reap(&s->children, child_ended, s);
    }
}

static void
show(struct session *s, int64_t now)
{
    bool live = s->term.live;
    if (!s->spec->progress || s->spec->loudness == GW_QUIET || (now < s->draw_next_us && !(live && s->draw_soon))) {
        return;
    }
    // The coordinator's first answer may take a moment; from then on silence is worth a word.
    int64_t heard_us = s->client.heard_us ? s->client.heard_us : s->started_us;
    struct gw_view v = {.status = s->client.status,
                        .progress = &s->progress,
                        .elapsed_us = now - s->started_us,
                        .silent_us = !s->ending && now - heard_us > silent_us ? now - heard_us : 0,
                        .notice = s->notice[0] ? s->notice : NULL};
    if (live) {
        gw_term_draw(&s->term, &v);
    } else if (s->draw_next_us) {
        struct gw_buf line;
        gw_buf_init(&line, 1 << 16);
        gw_buf_puts(&line, "godwit: ");
        gw_view_line(&line, &v);
        gw_buf_putc(&line, '\n');
        gw_term_above(&s->term, line.data, line.len);
        gw_buf_fini(&line);
    }
    s->draw_soon = false;
    s->draw_next_us = now + (live ? draw_us : line_us);
}

static void
ask(struct session *s, int64_t now)
{
    if (s->ending || now < s->ask_next_us) {
        return;
    }
    struct gw_err err = {0};
    if (gw_client_ask(&s->client, &err) != GW_OK) {
        fail(s, GW_EXIT_TABLE_ERROR, &err);
    }
    bool often = s->term.live && s->client.status_size < STATUS_LARGE;
    // Until the first answer, and in check and drop, which take no longer than a moment.
    often = often || !s->client.status || strcmp(s->spec->mode, "run") != 0;
    s->ask_next_us = now + (often ? ask_terminal_us : ask_plain_us);
}

static int64_t
next_deadline(const struct session *s)
{
    int64_t at = s->ending ? s->kill_us : s->ask_next_us;
    int64_t start = gw_supervisor_deadline(&s->children);
    at = start < at ? start : at;
    bool shows = s->spec->progress && s->spec->loudness != GW_QUIET;
    return shows && s->draw_next_us < at ? s->draw_next_us : at;
}

static void
start_children(struct session *s)
{
    struct gw_err err = {0};
    if (s->ending || gw_supervisor_start(&s->children, &err) == GW_OK) {
        return;
    }
    if (err.cls == GW_CONFIG) {
        fail(s, GW_EXIT_USAGE, &err); // not there, not executable: trying again does not help
    } else {
        say(s, "godwit: %s; it is tried again", err.message);
    }
}

// Children that hang. While the coordinator stops in order it sees to the workers itself.
static void
end_hung(struct session *s, int64_t now)
{
    int64_t silent_for_us = 0;
    const struct gw_child *c = gw_watch_turn(&s->watch, &s->children, s->coordinator, now, &silent_for_us);
    if (!c || s->ending || (s->stopping && c != s->coordinator) || !GW_GUARD("cli.watch")) {
        return;
    }
    if (!s->stopping && !gw_watch_may_restart(&s->watch, &s->children, c, now)) {
        struct gw_err e = {0};
        gw_err_set(&e, GW_CONFIG, NULL, "%s has hung again and again, and starting it anew is no cure", c->name);
        gw_err_hint(&e, "see what it was at in %s/logs/%s.log and coordinator.log; the same command goes on",
                    s->spec->state, c->name);
        fail(s, GW_EXIT_TABLE_ERROR, &e);
        return;
    }
    say(s, "godwit: %s, process %d, does not answer: it is ended", c->name, (int)c->pid);
    gw_child_signal(c, SIGKILL); // a process that is stopped dies of it, too
}

static void
turn(struct session *s)
{
    int64_t now = gw_now_us();
    start_children(s);
    end_hung(s, now);
    ask(s, now);
    if (s->ending && now >= s->kill_us) {
        s->kill_us = INT64_MAX;
        gw_supervisor_signal(&s->children, SIGKILL);
    }
    show(s, now);
    zmq_pollitem_t items[] = {{.fd = s->signals, .events = ZMQ_POLLIN},
                              {.socket = s->client.socket, .events = ZMQ_POLLIN},
                              {.fd = s->relay.read_fd, .events = ZMQ_POLLIN}};
    int n = s->relay.read_fd >= 0 ? 3 : 2;
    if (zmq_poll(items, n, gw_deadline_ms(next_deadline(s))) < 0 && zmq_errno() != EINTR) {
        struct gw_err err = {0};
        gw_err_set(&err, GW_BUG, NULL, "wait: %s", zmq_strerror(zmq_errno()));
        fail(s, GW_EXIT_TABLE_ERROR, &err);
    }
    // What the children say comes before what their end means.
    gw_relay_read(&s->relay, &s->term);
    read_signals(s);
    struct gw_err err = {0};
    if (gw_client_receive(&s->client, &err) == GW_OK) {
        on_status(s);
    }
}

static void
finish(struct session *s)
{
    struct gw_session_result *r = s->result;
    if (!r->status) {
        keep_status(s);
    }
    for (size_t i = 0; i < s->children.n; i++) {
        struct gw_session_child *c = &r->children[r->children_n++];
        snprintf(c->name, sizeof c->name, "%s", s->children.children[i].name);
        c->restarts = s->children.children[i].restarts;
    }
    s->notice[0] = 0;
    if (s->term.live) {
        gw_term_clear(&s->term); // the summary says it all
    } else if (s->draw_next_us) {
        s->draw_next_us = 1; // the last line
        show(s, gw_now_us());
    }
}

void
gw_session_run(const struct gw_session_spec *spec, struct gw_session_result *ret)
{
    static struct session session; // large, and only one at a time
    struct session *s = &session;
    memset(s, 0, sizeof *s);
    memset(ret, 0, sizeof *ret);
    gw_arena_init(&ret->arena);
    s->spec = spec;
    s->result = ret;
    s->signals = -1;
    s->started_us = gw_now_us();
    gw_term_open(&s->term, STDERR_FILENO);
    s->term.live = s->term.live && spec->progress;
    gw_progress_init(&s->progress);
    if (open_session(s, &ret->err) != GW_OK) {
        ret->exit_code = ret->err.cls == GW_CONFIG ? GW_EXIT_USAGE : GW_EXIT_TABLE_ERROR;
    } else {
        while (!s->ending || gw_supervisor_running(&s->children)) {
            turn(s);
        }
        finish(s);
    }
    ret->elapsed_us = gw_now_us() - s->started_us;
    close_session(s);
}

void
gw_session_result_fini(struct gw_session_result *r)
{
    gw_arena_fini(&r->arena);
}
