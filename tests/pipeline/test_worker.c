// Proves when a worker ends itself: its work thread does not come back from a job that was called back. One that is in
// force may take for ever.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/bus.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/worker.h"

enum { LEASE_MS = 200, JOB = 4711 };

// Takes one command and never comes back from it.
static int
hang(struct gw_worker *w, struct gw_err *err)
{
    const Gw__Command *cmd;
    int r;
    while ((r = gw_worker_next(w, gw_now_us() + GW_S, &cmd, err)) == GW_AGAIN) {
    }
    while (r == GW_OK) {
        pause();
    }
    return r;
}

static const struct gw_stage stage = {.id = GW__STAGE__STAGE_APPLY, .name = "apply", .run = hang};

struct worker {
    char dir[32], endpoint[64];
    void *zctx, *router;
    pid_t pid;
    struct gw_peer peer;
    bool greeted;
    bool at_work; // its heartbeat names the job
};

static void
answer(struct worker *w, Gw__Control *m)
{
    assert_true(zmq_send(w->router, w->peer.id, w->peer.len, ZMQ_SNDMORE) >= 0);
    assert_int_equal(gw_control_send(w->router, m, NULL), GW_OK);
}

static void
order(struct worker *w)
{
    Gw__Task task = GW__TASK__INIT;
    Gw__Welcome welcome = GW__WELCOME__INIT;
    static char uuid[] = "u";
    welcome.incarnation = welcome.task_uuid = uuid;
    welcome.task = &task;
    welcome.lease_ms = LEASE_MS;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_WELCOME;
    m.welcome = &welcome;
    answer(w, &m);
    Gw__Complete complete = GW__COMPLETE__INIT;
    Gw__Command cmd = GW__COMMAND__INIT;
    cmd.job = JOB;
    cmd.body_case = GW__COMMAND__BODY_COMPLETE;
    cmd.complete = &complete;
    m.body_case = GW__CONTROL__BODY_COMMAND;
    m.command = &cmd;
    answer(w, &m);
}

static void
call_back(struct worker *w, uint64_t job)
{
    Gw__Cancel k = GW__CANCEL__INIT;
    k.job = job;
    Gw__Control m = GW__CONTROL__INIT;
    m.body_case = GW__CONTROL__BODY_CANCEL;
    m.cancel = &k;
    answer(w, &m);
}

// Answers what has come, as a coordinator does.
static void
take_in(struct worker *w)
{
    int n;
    while ((n = zmq_recv(w->router, w->peer.id, sizeof w->peer.id, ZMQ_DONTWAIT)) > 0) {
        w->peer.len = (size_t)n;
        char frame[8192];
        n = zmq_recv(w->router, frame, sizeof frame, 0);
        assert_in_range(n, 1, sizeof frame);
        struct gw_arena a;
        gw_arena_init(&a);
        const Gw__Control *m = gw_control_unpack(&a, frame, (size_t)n);
        assert_non_null(m);
        Gw__Control reply = GW__CONTROL__INIT;
        Gw__WhoAreYou who = GW__WHO_ARE_YOU__INIT;
        if (m->body_case == GW__CONTROL__BODY_HELLO) {
            w->greeted = true;
            order(w);
        } else if (m->body_case == GW__CONTROL__BODY_HEARTBEAT) {
            w->at_work = m->heartbeat->job == JOB;
            if (!w->greeted) {
                reply.body_case = GW__CONTROL__BODY_WHO;
                reply.who = &who;
            }
            answer(w, &reply);
        }
        gw_arena_fini(&a);
    }
}

// Lets time pass; true if the worker ends in it.
static bool
ends_within(struct worker *w, int64_t us, bool until_at_work)
{
    for (int64_t end = gw_now_us() + us; gw_now_us() < end && !(until_at_work && w->at_work);) {
        zmq_pollitem_t item = {.socket = w->router, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, 20);
        take_in(w);
        int status = 0;
        if (waitpid(w->pid, &status, WNOHANG) == w->pid) {
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 1);
            w->pid = 0;
            return true;
        }
    }
    return false;
}

static int
setup(void **state)
{
    static struct worker one;
    struct worker *w = *state = &one;
    *w = (struct worker){.dir = "/tmp/gw-worker-XXXXXX"};
    if (!mkdtemp(w->dir)) {
        return -1;
    }
    snprintf(w->endpoint, sizeof w->endpoint, "ipc://%s/c", w->dir);
    w->pid = fork();
    if (w->pid == 0) {
        char program[] = "worker", option[] = "--coordinator";
        char *argv[] = {program, option, w->endpoint, NULL};
        gw_log_stderr_level((enum gw_log_level)(GW_LOG_ERROR + 1));
        _exit(gw_worker_main(3, argv, &stage));
    }
    char bound[128];
    w->zctx = zmq_ctx_new();
    w->router = gw_router_bind(w->zctx, w->endpoint, bound, sizeof bound, NULL);
    return w->router ? 0 : -1;
}

static int
teardown(void **state)
{
    struct worker *w = *state;
    if (w->pid > 0) {
        kill(w->pid, SIGKILL);
        waitpid(w->pid, NULL, 0);
    }
    zmq_close(w->router);
    zmq_ctx_term(w->zctx);
    char path[64];
    snprintf(path, sizeof path, "%s/c", w->dir);
    unlink(path);
    return rmdir(w->dir);
}

static void
only_a_job_that_was_called_back_is_judged(void **state)
{
    struct worker *w = *state;
    assert_false(ends_within(w, 10 * GW_S, true));
    assert_true(w->at_work);
    assert_false(ends_within(w, 10 * LEASE_MS * GW_MS, false)); // a long query
    call_back(w, JOB + 1);
    assert_false(ends_within(w, 10 * LEASE_MS * GW_MS, false)); // not this one
    call_back(w, JOB);
    assert_false(ends_within(w, 2 * LEASE_MS * GW_MS, false));
    call_back(w, JOB); // said twice, the time is not counted anew
    assert_true(ends_within(w, 10 * GW_S, false));
}

static void
a_silent_coordinator_takes_the_job_back(void **state)
{
    struct worker *w = *state;
    assert_false(ends_within(w, 10 * GW_S, true));
    int status = 0;
    // Nobody reads, nobody answers.
    for (int64_t end = gw_now_us() + 10 * GW_S; gw_now_us() < end && w->pid;) {
        usleep(20 * 1000);
        if (waitpid(w->pid, &status, WNOHANG) == w->pid) {
            w->pid = 0;
        }
    }
    assert_int_equal(w->pid, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_a_job_that_was_called_back_is_judged, setup, teardown),
        cmocka_unit_test_setup_teardown(a_silent_coordinator_takes_the_job_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
