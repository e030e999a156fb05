// Proves that a process that dies anywhere between two durable effects costs nothing and doubles nothing: the next claim says
// where the stream goes on, and what is sent from there makes the target whole.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/apply/changes.h"

static struct fixture f;

// Transaction n: what is applied twice, or not at all, shows. Keyless rows are there once for each.
static const char *
transaction(unsigned n)
{
    return gw_arena_printf(&f.arena,
                           "begin t%u\ninsert keyless %u x\ninsert parent %u u%u x\nupdate parent %u ~ y\n"
                           "insert pair 1 %u x\ncommit %u",
                           n, n, n, n, n > 1 ? n - 1 : n, n, n);
}

enum { LAST = 5 };

// From what is durable to the end. In a child, which a fault may end.
static int
go_on(void)
{
    fixture_start(&f);
    f.applier.events_max = 2; // several pieces a transaction
    int r = GW_OK;
    for (unsigned n = (unsigned)strtoul(f.progress.position, NULL, 10) + 1; r == GW_OK && n <= LAST; n++) {
        r = feed_only(&f, transaction(n));
        r = r == GW_OK && n % 2 ? gw_applier_end(&f.applier, f.now_us, &f.err) : r;
    }
    r = r == GW_OK ? gw_applier_end(&f.applier, f.now_us, &f.err) : r;
    fixture_stop(&f);
    return r;
}

static int
in_child(const char *fault)
{
    fixture_stop(&f);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("GODWIT_FAULT", fault, 1);
        _exit(go_on());
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void
is_whole(void)
{
    fixture_start(&f);
    assert_string_equal(f.progress.position, "5");
    table_is(&f, KEYLESS, "1 x | 2 x | 3 x | 4 x | 5 x");
    table_is(&f, PARENT, "1 u1 y | 2 u2 y | 3 u3 y | 4 u4 y | 5 u5 x");
    table_is(&f, PAIR, "1 1 x | 1 2 x | 1 3 x | 1 4 x | 1 5 x");
    assert_int_equal(f.progress.counts->transactions, 5);
    settle_all(&f);
    assert_int_equal(counts_of(&f, PARENT)->applied_inserts, 5);
    assert_int_equal(counts_of(&f, PARENT)->applied_updates, 5);
    assert_int_equal(counts_of(&f, KEYLESS)->errors, 0);
}

static const char *const points[] = {
    "apply.stream.after_claim",   "apply.stream.piece",        "apply.stream.group",    "apply.stream.before_fence",
    "apply.stream.before_commit", "apply.stream.after_commit", "apply.stream.committed"};

static void
dies_at(const char *how)
{
    bool kill = strcmp(how, "kill") == 0;
    for (size_t i = kill ? 0 : 1; i < sizeof points / sizeof *points; i++) { // a claim that fails is no job at all
        for (int at = 1; at <= 2; at++) {
            char fault[128];
            snprintf(fault, sizeof fault, "%s=%s@%d", points[i], how, i == 0 ? 1 : at);
            memset(&f, 0, sizeof f);
            fixture_init(&f);
            int status = in_child(fault);
            bool hit = kill ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                            : WIFEXITED(status) && WEXITSTATUS(status) == GW_RETRY;
            if (!hit) {
                fail_msg("%s: ended with %d", fault, status);
            }
            assert_int_equal(in_child(""), 0);
            is_whole();
            fixture_fini(&f);
        }
    }
}

static void
killed_at_every_point(void **state)
{
    (void)state;
    dies_at("kill");
}

// The answer of a commit is lost, too: the next claim finds out whether it is durable.
static void
fails_at_every_point(void **state)
{
    (void)state;
    dies_at("error");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_at_every_point), cmocka_unit_test(fails_at_every_point)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
