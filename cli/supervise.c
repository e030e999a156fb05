#include "cli/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"

static const int64_t backoff_first_us = 100 * GW_MS, backoff_most_us = 5 * GW_S;
static const int64_t lived_long_us = 30 * GW_S;

void
gw_supervisor_init(struct gw_supervisor *s, int output)
{
    memset(s, 0, sizeof *s);
    s->output = output;
}

void
gw_supervisor_fini(struct gw_supervisor *s)
{
    gw_supervisor_unwant(s);
    gw_supervisor_signal(s, SIGKILL);
    for (size_t i = 0; i < s->n; i++) {
        struct gw_child *c = &s->children[i];
        while (c->pid && waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR) {
        }
        for (char **a = c->argv; *a; a++) {
            free(*a);
        }
    }
    s->n = 0;
}

struct gw_child *
gw_supervisor_add(struct gw_supervisor *s, const char *name, const char *const *argv)
{
    gw_assert(s->n < GW_CHILDREN_MAX);
    struct gw_child *c = &s->children[s->n++];
    *c = (struct gw_child){.wanted = true};
    snprintf(c->name, sizeof c->name, "%s", name);
    for (size_t i = 0; argv[i]; i++) {
        gw_assert(i < GW_CHILD_ARGS_MAX);
        c->argv[i] = strdup(argv[i]);
        gw_assert(c->argv[i]);
    }
    return c;
}

// ---- starting ------------------------------------------------------------------------------------

// Between fork and exec: async-signal-safe calls only, as ZeroMQ's threads may have held any lock.
static _Noreturn void
become(struct gw_child *c, pid_t parent, int output, int errors)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) {
        _exit(1); // it died before we asked to be told
    }
    static const int ours[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGPIPE, SIGWINCH, SIGUSR1};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        signal(ours[i], SIG_DFL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int in = open("/dev/null", O_RDONLY);
    if (in < 0 || dup2(in, STDIN_FILENO) < 0 || (output >= 0 && dup2(output, STDERR_FILENO) < 0) ||
        // Children print nothing of their own; what a library prints must not end up in a report on stdout.
        dup2(STDERR_FILENO, STDOUT_FILENO) < 0 || close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) {
        goto failed;
    }
    execv(c->argv[0], c->argv);
failed:;
    int why = errno;
    (void)!write(errors, &why, sizeof why);
    _exit(127);
}

static int
start_child(struct gw_supervisor *s, struct gw_child *c, struct gw_err *err)
{
    // Closed by exec: whatever can be read from it is why there was none.
    int errors[2];
    if (pipe2(errors, O_CLOEXEC) != 0) {
        return gw_err_errno(err, errno, "start %s", c->name);
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        become(c, parent, s->output, errors[1]);
    }
    int why = pid < 0 ? errno : 0;
    close(errors[1]);
    if (pid > 0) {
        ssize_t n;
        do {
            n = read(errors[0], &why, sizeof why);
        } while (n < 0 && errno == EINTR);
        if (n == (ssize_t)sizeof why) {
            while (waitpid(pid, &c->status, 0) < 0 && errno == EINTR) {
            }
        } else {
            why = 0;
        }
    }
    close(errors[0]);
    if (why) {
        return gw_err_errno(err, why, "start %s, \"%s\"", c->name, c->argv[0]);
    }
    c->pid = pid;
    c->started_us = gw_now_us();
    return GW_OK;
}

int
gw_supervisor_start(struct gw_supervisor *s, struct gw_err *err)
{
    int64_t now = gw_now_us();
    int first = GW_OK;
    for (size_t i = 0; i < s->n; i++) {
        struct gw_child *c = &s->children[i];
        if (!c->wanted || c->pid || c->restart_us > now) {
            continue;
        }
        struct gw_err why = {0};
        int r = start_child(s, c, &why);
        if (r != GW_OK) {
            c->backoff_us = gw_child_backoff(c->backoff_us, 0);
            c->restart_us = now + c->backoff_us;
            if (first == GW_OK) {
                first = r;
                *err = why;
            }
        }
    }
    return first;
}

// ---- ending --------------------------------------------------------------------------------------

int64_t
gw_child_backoff(int64_t previous_us, int64_t lived_us)
{
    if (previous_us == 0 || lived_us >= lived_long_us) {
        return backoff_first_us;
    }
    return previous_us * 2 > backoff_most_us ? backoff_most_us : previous_us * 2;
}

void
gw_supervisor_reap(struct gw_supervisor *s, gw_child_ended *ended, void *ctx)
{
    for (size_t i = 0; i < s->n; i++) {
        struct gw_child *c = &s->children[i];
        if (!c->pid || waitpid(c->pid, &c->status, WNOHANG) != c->pid) {
            continue;
        }
        int64_t now = gw_now_us();
        c->pid = 0;
        c->backoff_us = gw_child_backoff(c->backoff_us, now - c->started_us);
        c->restart_us = now + c->backoff_us;
        ended(ctx, c);
        c->restarts += c->wanted;
    }
}

int64_t
gw_supervisor_deadline(const struct gw_supervisor *s)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < s->n; i++) {
        const struct gw_child *c = &s->children[i];
        if (c->wanted && !c->pid && c->restart_us < next) {
            next = c->restart_us;
        }
    }
    return next;
}

size_t
gw_supervisor_running(const struct gw_supervisor *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        n += s->children[i].pid != 0;
    }
    return n;
}

void
gw_child_signal(const struct gw_child *c, int sig)
{
    if (c->pid) {
        kill(c->pid, sig); // not collected yet, so the pid is still its own
    }
}

void
gw_supervisor_signal(struct gw_supervisor *s, int sig)
{
    for (size_t i = 0; i < s->n; i++) {
        gw_child_signal(&s->children[i], sig);
        if (sig == SIGTERM || sig == SIGKILL) {
            gw_child_signal(&s->children[i], SIGCONT); // a stopped process would never see the first
        }
    }
}

void
gw_supervisor_unwant(struct gw_supervisor *s)
{
    for (size_t i = 0; i < s->n; i++) {
        s->children[i].wanted = false;
    }
}

const char *
gw_child_describe(const struct gw_child *c, char *out, size_t size)
{
    if (WIFSIGNALED(c->status)) {
        int sig = WTERMSIG(c->status);
        const char *name = sigabbrev_np(sig);
        snprintf(out, size, "was killed by signal %d%s%s%s", sig, name ? " (SIG" : "", name ? name : "",
                 name ? ")" : "");
    } else {
        snprintf(out, size, "ended with exit code %d", WEXITSTATUS(c->status));
    }
    return out;
}

int
gw_executable_beside(const char *name, char *out, size_t size, struct gw_err *err)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0) {
        return gw_err_errno(err, errno, "find this executable's folder");
    }
    self[n] = 0;
    char *slash = strrchr(self, '/');
    gw_assert(slash);
    *slash = 0;
    int len = snprintf(out, size, "%s/%s", self, name);
    if (len < 0 || (size_t)len >= size) {
        return gw_err_set(err, GW_CONFIG, "ENAMETOOLONG", "the path of this executable is too long");
    }
    if (access(out, X_OK) != 0) {
        gw_err_errno(err, errno, "find \"%s\" beside godwit in \"%s\"", name, self);
        gw_err_hint(err, "godwit and its four processes belong in one folder: install it again");
        err->cls = GW_CONFIG;
        return GW_CONFIG;
    }
    return GW_OK;
}
