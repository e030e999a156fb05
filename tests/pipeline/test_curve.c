// Proves that a socket with keys lets in the keys that are admitted and gives nothing to anybody else; that key files
// are made once, read back, and refused when they are not what they should be; and which endpoints leave the host.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/bus.h"
#include "common/curve.h"

static struct gw_keys coordinator, worker, stranger;
static char folder[] = "/tmp/gw-keys-XXXXXX";

static const char *
path(const char *name)
{
    static char text[256];
    snprintf(text, sizeof text, "%s/%s", folder, name);
    return text;
}

static int
make_keys(void **state)
{
    (void)state;
    struct gw_err err = {0};
    if (!mkdtemp(folder) || gw_keys_make(path("a"), &err) != GW_OK || gw_keys_make(path("b"), &err) != GW_OK ||
        gw_keys_load(path("a/coordinator.key"), &coordinator, &err) != GW_OK ||
        gw_keys_load(path("a/worker.key"), &worker, &err) != GW_OK ||
        gw_keys_load(path("b/worker.key"), &stranger, &err) != GW_OK) {
        print_error("%s\n", err.message);
        return 1;
    }
    return 0;
}

static int
remove_keys(void **state)
{
    (void)state;
    static const char *const names[] = {"a/coordinator.key", "a/worker.key", "b/coordinator.key", "b/worker.key", "x"};
    gw_identity_set(NULL, false);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unlink(path(names[i]));
    }
    rmdir(path("a"));
    rmdir(path("b"));
    return rmdir(folder);
}

// ---- files -------------------------------------------------------------------------------------

static void
files_belong_together(void **state)
{
    (void)state;
    assert_true(coordinator.is_coordinator);
    assert_false(worker.is_coordinator);
    assert_string_equal(worker.coordinator, coordinator.public);
    assert_int_equal(coordinator.admitted_n, 1);
    assert_string_equal(coordinator.admitted[0], worker.public);
    assert_string_not_equal(worker.public, stranger.public);
    struct stat st;
    assert_int_equal(stat(path("a/worker.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(path("a/coordinator.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void
keys_are_never_overwritten(void **state)
{
    (void)state;
    struct gw_err err = {0};
    struct gw_keys again;
    assert_int_equal(gw_keys_make(path("a"), &err), GW_CONFIG);
    assert_non_null(strstr(err.message, "coordinator.key"));
    // One of the two is enough to refuse, and the other is not made.
    assert_int_equal(rename(path("a/coordinator.key"), "/dev/null/x"), -1);
    char aside[256];
    snprintf(aside, sizeof aside, "%s", path("x"));
    assert_int_equal(rename(path("a/coordinator.key"), aside), 0);
    assert_int_equal(gw_keys_make(path("a"), &err), GW_CONFIG);
    assert_int_equal(access(path("a/coordinator.key"), F_OK), -1);
    assert_int_equal(rename(aside, path("a/coordinator.key")), 0);
    assert_int_equal(gw_keys_load(path("a/worker.key"), &again, &err), GW_OK);
    assert_string_equal(again.public, worker.public);
}

static int
load_text(const char *text, mode_t mode, struct gw_err *err)
{
    FILE *f = fopen(path("x"), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path("x"), mode);
    struct gw_keys keys = {.admitted_n = 77};
    int r = gw_keys_load(path("x"), &keys, err);
    assert_true(r == GW_OK || keys.admitted_n == 77); // untouched on failure
    return r;
}

static void
bad_files_are_refused(void **state)
{
    (void)state;
    struct gw_err err = {0};
    char good[1024], text[4096];
    snprintf(good, sizeof good, "role worker\npublic %s\nsecret %s\ncoordinator %s\n", worker.public, worker.secret,
             coordinator.public);
    assert_int_equal(load_text(good, 0600, &err), GW_OK);
    assert_int_equal(load_text(good, 0640, &err), GW_OK);
    assert_int_equal(load_text(good, 0604, &err), GW_CONFIG); // everybody reads it
    assert_non_null(strstr(err.hint, "chmod 600"));
    snprintf(text, sizeof text, "%sadmit short\n", good);
    assert_int_equal(load_text(text, 0600, &err), GW_CONFIG);
    assert_non_null(strstr(err.message, "line 5"));
    snprintf(text, sizeof text, "%spublic %s\n", good, worker.public);
    assert_int_equal(load_text(text, 0600, &err), GW_CONFIG); // said twice
    snprintf(text, sizeof text, "role worker\npublic %s\nsecret %s\n", worker.public, worker.secret);
    assert_int_equal(load_text(text, 0600, &err), GW_CONFIG); // trusts nobody
    snprintf(text, sizeof text, "role worker\npublic %s\nsecret %s\ncoordinator %s\n", stranger.public, worker.secret,
             coordinator.public);
    assert_int_equal(load_text(text, 0600, &err), GW_CONFIG); // no pair
    assert_null(strstr(err.message, worker.secret));
    assert_int_equal(load_text("", 0600, &err), GW_CONFIG);
    assert_int_equal(load_text("hello world\n", 0600, &err), GW_CONFIG);
    memset(text, 'x', 1000);
    text[1000] = 0;
    assert_int_equal(load_text(text, 0600, &err), GW_CONFIG);
    assert_int_equal(gw_keys_load("/nonexistent", &stranger, &err), GW_CONFIG);
}

// ---- endpoints ---------------------------------------------------------------------------------

static void
endpoints(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int cls;
        bool leaves;
        const char *host, *port;
    } cases[] = {
        {"ipc:///run/x", GW_OK, false, "", ""},
        {"tcp://127.0.0.1:7750", GW_OK, false, "127.0.0.1", "7750"},
        {"tcp://127.1.2.3:*", GW_OK, false, "127.1.2.3", "*"},
        {"tcp://localhost:1", GW_OK, false, "localhost", "1"},
        {"tcp://[::1]:1", GW_OK, false, "::1", "1"},
        {"tcp://10.0.0.5:7750", GW_OK, true, "10.0.0.5", "7750"},
        {"tcp://[2001:db8::1]:7750", GW_OK, true, "2001:db8::1", "7750"},
        {"tcp://*:7750", GW_OK, true, "*", "7750"},
        {"tcp://0.0.0.0:7750", GW_OK, true, "0.0.0.0", "7750"},
        {"tcp://127.0.0.1.example.org:7750", GW_OK, true, "127.0.0.1.example.org", "7750"},
        {"tcp://localhost.example.org:7750", GW_OK, true, "localhost.example.org", "7750"},
        {"ipc://", GW_CONFIG, false, "", ""},
        {"tcp://", GW_CONFIG, false, "", ""},
        {"tcp://host", GW_CONFIG, false, "", ""},
        {"tcp://:7750", GW_CONFIG, false, "", ""},
        {"tcp://2001:db8::1:7750", GW_CONFIG, false, "", ""},
        {"tcp://host:http", GW_CONFIG, false, "", ""},
        {"tcp://host:1#short", GW_CONFIG, false, "", ""},
        {"udp://host:1", GW_CONFIG, false, "", ""},
        {"", GW_CONFIG, false, "", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gw_endpoint e = {0};
        struct gw_err err = {0};
        assert_int_equal(gw_endpoint_parse(cases[i].text, &e, &err), cases[i].cls);
        assert_true(gw_endpoint_leaves_host(&e) == cases[i].leaves);
        assert_string_equal(e.host, cases[i].host);
        assert_string_equal(e.port, cases[i].port);
    }
    char text[128];
    struct gw_endpoint e;
    snprintf(text, sizeof text, "tcp://h:1#%s", worker.public);
    assert_int_equal(gw_endpoint_parse(text, &e, NULL), GW_OK);
    assert_string_equal(e.key, worker.public);
    assert_string_equal(e.address, "tcp://h:1");
}

static void
own_addresses(void **state)
{
    (void)state;
    struct gw_endpoint e;
    char address[256];
    struct gw_err err = {0};
    assert_true(gw_net_is_own("127.0.0.1"));
    assert_false(gw_net_is_own("192.0.2.1"));
    assert_false(gw_net_is_own("some.host"));
    assert_int_equal(gw_endpoint_parse("tcp://127.0.0.1:7750", &e, &err), GW_OK);
    assert_int_equal(gw_net_address_towards(&e, address, sizeof address, &err), GW_OK);
    assert_string_equal(address, "127.0.0.1");
}

static void
what_leaves_the_host_needs_keys(void **state)
{
    (void)state;
    struct gw_err err = {0};
    void *zctx = zmq_ctx_new();
    char endpoint[GW_ENDPOINT_MAX], text[128];
    gw_identity_set(NULL, false);
    assert_null(gw_router_bind(zctx, "tcp://0.0.0.0:*", endpoint, sizeof endpoint, &err));
    assert_int_equal(err.cls, GW_CONFIG);
    assert_non_null(strstr(err.hint, "--insecure-plain-tcp"));
    assert_null(gw_dealer_connect(zctx, "tcp://192.0.2.1:7750", &err));
    assert_int_equal(err.cls, GW_CONFIG);
    // A key that is asked for cannot be proven without one.
    snprintf(text, sizeof text, "tcp://127.0.0.1:7750#%s", worker.public);
    assert_null(gw_dealer_connect(zctx, text, &err));
    // A process with keys speaks to nobody without, even where it would not be the one to show anything.
    gw_identity_set(&worker, false);
    assert_null(gw_dealer_connect(zctx, "tcp://192.0.2.1:7750", &err));
    assert_int_equal(err.cls, GW_CONFIG);
    // And it does not listen without the guard that decides who comes in.
    assert_null(gw_router_bind(zctx, "tcp://127.0.0.1:*", endpoint, sizeof endpoint, &err));
    assert_int_equal(err.cls, GW_BUG);
    gw_identity_set(NULL, true);
    void *plain = gw_router_bind(zctx, "tcp://0.0.0.0:*", endpoint, sizeof endpoint, &err);
    assert_non_null(plain);
    zmq_close(plain);
    zmq_ctx_term(zctx);
    gw_identity_set(NULL, false);
}

// ---- who is let in -----------------------------------------------------------------------------

// Sends a word and says whether the router gets it within the time.
static bool
arrives(void *router, void *dealer, int ms)
{
    assert_int_equal(zmq_send(dealer, "hello", 5, ZMQ_DONTWAIT), 5);
    zmq_pollitem_t item = {.socket = router, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, ms) != 1) {
        return false;
    }
    char id[64], word[16];
    assert_true(zmq_recv(router, id, sizeof id, 0) > 0);
    assert_int_equal(zmq_recv(router, word, sizeof word, 0), 5);
    return true;
}

static void *
dealer_as(void *zctx, const struct gw_keys *keys, const char *endpoint)
{
    struct gw_err err = {0};
    gw_identity_set(keys, false);
    void *s = gw_dealer_connect(zctx, endpoint, &err);
    assert_non_null(s);
    return s;
}

static void
only_admitted_keys_come_in(void **state)
{
    (void)state;
    struct gw_err err = {0};
    void *zctx = zmq_ctx_new(), *other = zmq_ctx_new();
    struct gw_zap *zap = gw_zap_start(zctx, &coordinator, &err);
    assert_non_null(zap);
    gw_identity_set(&coordinator, false);
    char endpoint[GW_ENDPOINT_MAX], bare[GW_ENDPOINT_MAX], local[GW_ENDPOINT_MAX], bind[256];
    // A file's permissions guard the first, keys the second: one socket has both.
    snprintf(bind, sizeof bind, "ipc://%s", path("s"));
    void *router = gw_control_bind(zctx, NULL, bind, local, sizeof local, &err);
    assert_non_null(router);
    assert_ptr_equal(gw_control_bind(zctx, router, "tcp://127.0.0.1:*", endpoint, sizeof endpoint, &err), router);
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(endpoint, "#"), endpoint);
    assert_string_equal(strchr(endpoint, '#') + 1, coordinator.public);

    void *right = dealer_as(other, &worker, endpoint);
    assert_true(arrives(router, right, 5000));
    void *own = dealer_as(other, &coordinator, endpoint);
    assert_true(arrives(router, own, 5000));
    void *file = dealer_as(other, NULL, local);
    assert_true(arrives(router, file, 5000));

    void *wrong = dealer_as(other, &stranger, endpoint);
    assert_false(arrives(router, wrong, 500));
    void *plain = dealer_as(other, NULL, bare);
    assert_false(arrives(router, plain, 500));
    // The right key in, but not the one that the client trusts: it is the client that does not speak.
    char false_server[GW_ENDPOINT_MAX];
    snprintf(false_server, sizeof false_server, "%.200s#%s", bare, stranger.coordinator);
    void *misled = dealer_as(other, &worker, false_server);
    assert_false(arrives(router, misled, 500));

    // A key that is admitted later comes in from then on.
    assert_false(gw_zap_admit(zap, "not a key"));
    assert_true(gw_zap_admit(zap, stranger.public));
    assert_true(gw_zap_admit(zap, stranger.public)); // twice is once
    void *later = dealer_as(other, &stranger, endpoint);
    assert_true(arrives(router, later, 5000));

    void *sockets[] = {right, own, file, wrong, plain, misled, later, router};
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++) {
        zmq_close(sockets[i]);
    }
    gw_zap_stop(zap);
    zmq_ctx_term(other);
    zmq_ctx_term(zctx);
    unlink(path("s"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_belong_together),
        cmocka_unit_test(keys_are_never_overwritten),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(endpoints),
        cmocka_unit_test(own_addresses),
        cmocka_unit_test(what_leaves_the_host_needs_keys),
        cmocka_unit_test(only_admitted_keys_come_in),
    };
    return cmocka_run_group_tests_name("curve", tests, make_keys, remove_keys);
}
