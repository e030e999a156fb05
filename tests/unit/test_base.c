// Proves the ground that all processes stand on: memory, errors, checksums, passwords, control messages, fault points.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bus.h"
#include "common/clock.h"
#include "common/crc32c.h"
#include "common/fault.h"
#include "common/secret.h"
#include "common/worker.h"

static struct gw_arena a;

// ---- arena -------------------------------------------------------------------------------------

static void
allocations_are_apart_and_aligned(void **state)
{
    (void)state;
    struct gw_arena own;
    gw_arena_init(&own);
    for (int round = 0; round < 3; round++) {
        char *last = NULL;
        size_t last_size = 0;
        for (size_t size = 0; size < 3000; size += 7) {
            char *p = gw_arena_alloc(&own, size);
            assert_int_equal((uintptr_t)p % 16, 0);
            memset(p, (int)(size & 0x7f), size);
            for (size_t i = 0; i < last_size; i++) {
                assert_int_equal(last[i], (char)(last_size & 0x7f));
            }
            last = p;
            last_size = size;
        }
        char *big = gw_arena_calloc(&own, 3, 1 << 20); // larger than a block
        assert_int_equal(big[0] | big[(3 << 20) - 1], 0);
        gw_arena_reset(&own);
    }
    gw_arena_fini(&own);
    gw_arena_fini(&own); // harmless
}

static void
copies(void **state)
{
    (void)state;
    assert_null(gw_arena_strdup(&a, NULL));
    assert_string_equal(gw_arena_strdup(&a, "x"), "x");
    const char *d = gw_arena_memdup0(&a, "ab\0c", 4);
    assert_memory_equal(d, "ab\0c", 5);
    char *large = gw_arena_printf(&a, "%0100000d", 7); // larger than a block
    assert_int_equal(strlen(large), 100000);
    assert_int_equal(large[99999], '7');
}

static void
pushes(void **state)
{
    (void)state;
    Gw__SelectionRule **rules = NULL;
    uint64_t *numbers = NULL;
    protobuf_c_boolean *flags = NULL;
    size_t n = 0, m = 0, k = 0;
    for (uint64_t i = 0; i < 1000; i++) {
        *(Gw__SelectionRule **)gw_arena_push(&a, &rules, &n, sizeof *rules) = (Gw__SelectionRule *)(uintptr_t)(i * 16);
        *(uint64_t *)gw_arena_push(&a, &numbers, &m, sizeof *numbers) = i * i;
        *(protobuf_c_boolean *)gw_arena_push(&a, &flags, &k, sizeof *flags) = i % 3 == 0;
    }
    assert_int_equal(n, 1000);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_ptr_equal(rules[i], (void *)(uintptr_t)(i * 16));
        assert_int_equal(numbers[i], i * i);
        assert_int_equal(flags[i], i % 3 == 0);
    }
}

static void
messages_are_copied_deep(void **state)
{
    (void)state;
    assert_null(gw_pb_dup(&a, NULL));
    struct gw_arena first;
    gw_arena_init(&first);
    Gw__Catalog *cat = gw_pb_new(&first, Gw__Catalog, gw__catalog__init);
    Gw__Table *t = gw_pb_new(&first, Gw__Table, gw__table__init);
    t->name = gw_arena_strdup(&first, "n");
    gw_pb_add(&first, cat, tables, t);
    const Gw__Catalog *copy = gw_pb_dup(&a, cat);
    gw_arena_fini(&first);
    assert_string_equal(copy->tables[0]->name, "n");
    Gw__Catalog empty = GW__CATALOG__INIT; // packs to nothing
    assert_int_equal(((Gw__Catalog *)gw_pb_dup(&a, &empty))->n_tables, 0);
}

// ---- errors ------------------------------------------------------------------------------------

static void
errors_are_set_and_wrapped(void **state)
{
    (void)state;
    struct gw_err e = {0};
    assert_int_equal(gw_err_set(&e, GW_DATA, "22001", "value %d", 5), GW_DATA);
    assert_string_equal(e.code, "22001");
    assert_string_equal(e.message, "value 5");
    gw_err_detail(&e, "d %s", "x");
    gw_err_hint(&e, "h");
    assert_int_equal(gw_err_wrap(&e, "table %s", "t"), GW_DATA);
    assert_string_equal(e.message, "table t: value 5");
    assert_string_equal(e.detail, "d x");
    assert_string_equal(e.hint, "h");
    // From its own text; what was said of an earlier failure does not stay.
    assert_int_equal(gw_err_set(&e, GW_BUG, e.code, "%s!", e.message), GW_BUG);
    assert_string_equal(e.message, "table t: value 5!");
    assert_string_equal(e.code, "22001");
    assert_string_equal(e.detail, "");
    assert_string_equal(e.hint, "");
    assert_int_equal(gw_err_set(&e, GW_RETRY, "a code that is too long", "m"), GW_RETRY);
    assert_string_equal(e.code, "a code that is ");
    gw_err_clear(&e);
    assert_int_equal(e.cls, GW_OK);
    assert_string_equal(e.message, "");
}

static void
errors_without_a_place(void **state)
{
    (void)state;
    assert_int_equal(gw_err_set(NULL, GW_FENCED, NULL, "x"), GW_FENCED);
    gw_err_wrap(NULL, "x");
    gw_err_detail(NULL, "x");
    gw_err_hint(NULL, "x");
    gw_err_clear(NULL);
}

static void
long_errors_are_cut(void **state)
{
    (void)state;
    struct gw_err e = {0};
    gw_err_set(&e, GW_DATA, NULL, "%02000d", 1);
    assert_int_equal(strlen(e.message), sizeof e.message - 1);
    gw_err_wrap(&e, "front");
    assert_int_equal(strlen(e.message), sizeof e.message - 1);
    assert_memory_equal(e.message, "front: 000", 10);
    gw_err_wrap(&e, "%02000d", 2);
    assert_int_equal(strlen(e.message), sizeof e.message - 1);
}

static void
errors_of_the_system(void **state)
{
    (void)state;
    struct gw_err e = {0};
    assert_int_equal(gw_err_errno(&e, ENOENT, "open \"%s\"", "f"), GW_CONFIG);
    assert_string_equal(e.message, "open \"f\": No such file or directory");
    assert_string_equal(e.code, "ENOENT");
    assert_int_equal(gw_err_errno(&e, ECONNRESET, "read"), GW_RETRY);
    assert_string_equal(e.code, "ECONNRESET");
    assert_int_equal(gw_err_errno(&e, 99999, "x"), GW_RETRY);
    assert_string_equal(e.code, "");
    assert_string_equal(gw_class_name(GW_FENCED), "fenced");
    assert_string_equal(gw_class_name((enum gw_class)77), "unknown");
}

static void
failures_travel(void **state)
{
    (void)state;
    struct gw_err e = {0}, back = {0};
    gw_err_set(&e, GW_DATA, "23505", "m %%s %%n");
    gw_err_detail(&e, "d");
    gw_err_hint(&e, "h");
    Gw__Failure f;
    gw_failure_from_err(&f, &e);
    gw_failure_to_err(gw_pb_dup(&a, &f), &back);
    assert_memory_equal(&e, &back, sizeof e);
    f.cls = 1000; // of another version
    gw_failure_to_err(&f, &back);
    assert_int_equal(back.cls, GW_BUG);
}

// ---- checksums ---------------------------------------------------------------------------------

static void
checksums(void **state)
{
    (void)state;
    // RFC 3720, B.4
    unsigned char text[48] = {0};
    assert_int_equal(gw_crc32c(text, 32), 0x8a9136aa);
    memset(text, 0xff, 32);
    assert_int_equal(gw_crc32c(text, 32), 0x62a8ab43);
    for (unsigned i = 0; i < 32; i++) {
        text[i] = (unsigned char)i;
    }
    assert_int_equal(gw_crc32c(text, 32), 0x46dd794e);
    assert_int_equal(gw_crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(gw_crc32c("", 0), 0);
    // Both ways agree at every length and alignment.
    static unsigned char data[300];
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof data; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (unsigned char)(x >> 24);
    }
    for (size_t at = 0; at < 8; at++) {
        for (size_t n = 0; n + at <= sizeof data; n++) {
            assert_int_equal(gw_crc32c(data + at, n), gw_crc32c_portable(data + at, n));
        }
    }
}

// ---- passwords ---------------------------------------------------------------------------------

static char *
file_of(const void *bytes, size_t n)
{
    char *path = gw_arena_strdup(&a, "/tmp/gw-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
    return path;
}

static int
resolve_file(const char *path, const char **ret, struct gw_err *err)
{
    Gw__Endpoint ep = GW__ENDPOINT__INIT;
    ep.password_file = gw_arena_strdup(&a, path);
    return gw_secret_resolve(&ep, &a, ret, err);
}

static void
passwords_from_files(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *want; // NULL: refused
    } cases[] = {
        {"secret\n", 7, "secret"}, {"secret", 6, "secret"}, {"s \r\n", 4, "s "}, {"a\nb\n", 4, "a\nb"}, {"", 0, ""},
        {"a\0b", 3, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = file_of(cases[i].bytes, cases[i].n);
        const char *got = NULL;
        struct gw_err err = {0};
        assert_int_equal(resolve_file(path, &got, &err), cases[i].want ? GW_OK : GW_CONFIG);
        if (cases[i].want) {
            assert_string_equal(got, cases[i].want);
        }
        unlink(path);
    }
    char large[4097];
    memset(large, 'x', sizeof large);
    char *path = file_of(large, sizeof large);
    const char *got = NULL;
    struct gw_err err = {0};
    assert_int_equal(resolve_file(path, &got, &err), GW_CONFIG);
    assert_null(strstr(err.message, "xxx"));
    unlink(path);
    assert_int_equal(resolve_file("/nonexistent", &got, &err), GW_CONFIG);
    assert_non_null(strstr(err.message, "read password file \"/nonexistent\""));
    assert_int_equal(resolve_file("/", &got, &err), GW_CONFIG);
    assert_null(got);
}

static void
passwords_from_the_environment(void **state)
{
    (void)state;
    Gw__Endpoint ep = GW__ENDPOINT__INIT;
    const char *got = "x";
    struct gw_err err = {0};
    assert_int_equal(gw_secret_resolve(&ep, &a, &got, &err), GW_OK);
    assert_null(got);
    ep.password_env = gw_arena_strdup(&a, "GW_TEST_SECRET");
    unsetenv("GW_TEST_SECRET");
    assert_int_equal(gw_secret_resolve(&ep, &a, &got, &err), GW_CONFIG);
    assert_non_null(strstr(err.message, "\"GW_TEST_SECRET\" (password-env) is not set"));
    setenv("GW_TEST_SECRET", "hunter2", 1);
    assert_int_equal(gw_secret_resolve(&ep, &a, &got, &err), GW_OK);
    assert_string_equal(got, "hunter2");
    unsetenv("GW_TEST_SECRET");
}

// ---- control messages --------------------------------------------------------------------------

static void
control_messages(void **state)
{
    (void)state;
    void *zctx = zmq_ctx_new();
    void *one = zmq_socket(zctx, ZMQ_PAIR), *two = zmq_socket(zctx, ZMQ_PAIR);
    assert_int_equal(zmq_bind(one, "inproc://control"), 0);
    assert_int_equal(zmq_connect(two, "inproc://control"), 0);
    Gw__Control c = GW__CONTROL__INIT;
    Gw__Cancel cancel = GW__CANCEL__INIT;
    cancel.job = 7;
    cancel.why = gw_arena_strdup(&a, "because");
    c.body_case = GW__CONTROL__BODY_CANCEL;
    c.cancel = &cancel;
    struct gw_err err = {0};
    assert_int_equal(gw_control_send(one, &c, &err), GW_OK);
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    assert_true(zmq_msg_recv(&msg, two, 0) > 0);
    const Gw__Control *got = gw_control_unpack(&a, zmq_msg_data(&msg), zmq_msg_size(&msg));
    zmq_msg_close(&msg);
    assert_non_null(got);
    assert_int_equal(got->body_case, GW__CONTROL__BODY_CANCEL);
    assert_int_equal(got->cancel->job, 7);
    assert_string_equal(got->cancel->why, "because");
    zmq_close(one);
    zmq_close(two);
    zmq_ctx_term(zctx);
}

static void
malformed_control_messages(void **state)
{
    (void)state;
    assert_null(gw_control_unpack(&a, "\xff\xff\xff", 3));
    assert_null(gw_control_unpack(&a, "\x0a\x7f", 2)); // a body that is longer than the message
    const Gw__Control *empty = gw_control_unpack(&a, "", 0);
    assert_non_null(empty);
    assert_int_equal(empty->body_case, GW__CONTROL__BODY__NOT_SET);
}

static void
a_version_is_named(void **state)
{
    (void)state;
    uint8_t header[GW_HEADER_MAX];
    struct gw_envelope env = {.task = 1, .kind = GW__DATA_KIND__DATA_END};
    size_t len = gw_frame_encode(&env, NULL, 0, header);
    assert_int_equal(header[0], 8); // field 1, the version
    header[1] = GW_BUS_VERSION + 1;
    struct gw_err err = {0};
    assert_int_equal(gw_frame_decode(header, len, NULL, 0, 1, &env, &err), GW_CONFIG);
    assert_non_null(strstr(err.message, "protocol version 2, this is 1"));
    assert_non_null(strstr(err.hint, "same version of godwit"));
}

static void
credit_is_never_more_than_the_window(void **state)
{
    (void)state;
    struct gw_sender s;
    gw_sender_init(&s, NULL, 1, 2, 3, 1000);
    static const uint64_t gifts[] = {0, 1, 999, 1000, 1001, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof gifts / sizeof *gifts; i++) {
        struct gw_envelope env = {.stream = 2, .epoch = 3, .kind = GW__DATA_KIND__DATA_CREDIT, .credit = gifts[i]};
        s.credit = -5000; // after a message larger than the window
        gw_sender_feedback(&s, &env);
        assert_int_equal(s.credit, gifts[i] < 6000 ? -5000 + (int64_t)gifts[i] : 1000);
    }
}

static void
uuids(void **state)
{
    (void)state;
    char one[37], two[37];
    gw_uuid(one);
    gw_uuid(two);
    assert_string_not_equal(one, two);
    assert_int_equal(strlen(one), 36);
    assert_int_equal(one[14], '4');
    assert_non_null(strchr("89ab", one[19]));
    assert_int_equal(one[8] + one[13] + one[18] + one[23], 4 * '-');
}

// ---- fault points, time ------------------------------------------------------------------------

static void
fault_points(void **state)
{
    (void)state;
    unsetenv("GODWIT_FAULT");
    assert_false(GW_FAULT("a.b"));
    setenv("GODWIT_FAULT", "x.y=error@3,a.b=on,a.bc=error", 1);
    assert_true(GW_FAULT("a.b"));
    assert_true(GW_FAULT("a.b"));
    assert_false(GW_FAULT("a"));
    assert_false(GW_FAULT("x.y"));
    assert_false(GW_FAULT("x.y"));
    assert_true(GW_FAULT("x.y"));
    assert_false(GW_FAULT("x.y"));
    assert_true(GW_FAULT("a.bc")); // the first time, where no number is given
    assert_false(GW_FAULT("a.bc"));
    char dir[] = "/tmp/gw-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    setenv("GODWIT_FAULT_ONCE", dir, 1);
    setenv("GODWIT_FAULT", ",,,once=error,,twice=error@2", 1);
    assert_true(GW_FAULT("once"));
    assert_false(GW_FAULT("twice"));
    assert_true(GW_FAULT("twice"));
    char path[64];
    snprintf(path, sizeof path, "%s/once", dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/twice", dir);
    assert_int_equal(unlink(path), 0);
    rmdir(dir);
    unsetenv("GODWIT_FAULT");
    unsetenv("GODWIT_FAULT_ONCE");
}

static void
deadlines(void **state)
{
    (void)state;
    int64_t now = gw_now_us();
    assert_int_equal(gw_deadline_ms(now - GW_S), 0);
    assert_int_equal(gw_deadline_ms(0), 0);
    assert_in_range(gw_deadline_ms(gw_now_us() + 1), 0, 1); // rounded up: no busy waiting
    assert_in_range(gw_deadline_ms(gw_now_us() + 10 * GW_S), 9000, 10000);
    assert_int_equal(gw_deadline_ms(INT64_MAX), 3600 * 1000);
    assert_true(gw_wall_us() > INT64_C(1700000000) * GW_S);
}

static int
setup(void **state)
{
    (void)state;
    gw_arena_init(&a);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    gw_arena_fini(&a);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_apart_and_aligned),
        cmocka_unit_test(copies),
        cmocka_unit_test(pushes),
        cmocka_unit_test(messages_are_copied_deep),
        cmocka_unit_test(errors_are_set_and_wrapped),
        cmocka_unit_test(errors_without_a_place),
        cmocka_unit_test(long_errors_are_cut),
        cmocka_unit_test(errors_of_the_system),
        cmocka_unit_test(failures_travel),
        cmocka_unit_test(checksums),
        cmocka_unit_test(passwords_from_files),
        cmocka_unit_test(passwords_from_the_environment),
        cmocka_unit_test(control_messages),
        cmocka_unit_test(malformed_control_messages),
        cmocka_unit_test(a_version_is_named),
        cmocka_unit_test(credit_is_never_more_than_the_window),
        cmocka_unit_test(uuids),
        cmocka_unit_test(fault_points),
        cmocka_unit_test(deadlines),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
