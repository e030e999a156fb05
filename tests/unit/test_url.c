// Proves that a url names one endpoint, or none; and never carries a password.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/url.h"

static struct gw_arena a;

static Gw__Endpoint *
parse(const char *url, struct gw_err *err)
{
    Gw__Endpoint *e = gw_pb_new(&a, Gw__Endpoint, gw__endpoint__init);
    return gw_url_parse(url, &a, e, err) == GW_OK ? e : NULL;
}

static void
accepted_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *engine, *user, *host, *database;
        uint32_t port;
    } cases[] = {
        {"postgresql://u@h:5433/d", "postgresql", "u", "h", "d", 5433},
        {"postgres://h/d", "postgresql", "", "h", "d", 0},
        {"POSTGRES://h", "postgresql", "", "h", "", 0},
        {"postgresql:///d?host=/run/pg", "postgresql", "", "", "d", 0},
        {"mysql://u%40x@h/d", "mysql", "u@x", "h", "d", 0},
        {"mariadb://a@b@h:1/d", "mysql", "a@b", "h", "d", 1},
        {"mysql://h/d%2Fe%3f%40", "mysql", "", "h", "d/e?@", 0},
        {"mysql://h/d%C3%A9", "mysql", "", "h", "dé", 0},
        {"mysql://[::1]:3306/d", "mysql", "", "::1", "d", 3306},
        {"mysql://u@[fe80::1%25eth0]/d", "mysql", "u", "fe80::1%eth0", "d", 0},
        {"mysql://h:/d", "mysql", "", "h", "d", 0},
        {"mysql://h:65535/d", "mysql", "", "h", "d", 65535},
        {"sqlite:a.db", "sqlite", "", "", "a.db", 0},
        {"sqlite:///tmp/a%20b.db", "sqlite", "", "", "/tmp/a b.db", 0},
        {"sqlite:/tmp/u:p@x.db", "sqlite", "", "", "/tmp/u:p@x.db", 0}, // a path, whatever it looks like
        {"memory://m", "memory", "", "m", "", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gw_err err = {0};
        const Gw__Endpoint *e = parse(cases[i].url, &err);
        if (!e) {
            fail_msg("%s: %s", cases[i].url, err.message);
        }
        assert_string_equal(e->engine, cases[i].engine);
        assert_string_equal(e->user, cases[i].user);
        assert_string_equal(e->host, cases[i].host);
        assert_string_equal(e->database, cases[i].database);
        assert_int_equal(e->port, cases[i].port);
        assert_string_equal(e->url, cases[i].url);
    }
}

static void
parameters(void **state)
{
    (void)state;
    struct gw_err err = {0};
    const Gw__Endpoint *e =
        parse("postgresql://h/d?sslmode=verify-full&sslrootcert=%2Fca%26b&x=&passfile=/p&a=b=c&", &err);
    assert_non_null(e);
    static const char *const want[][2] = {
        {"sslmode", "verify-full"}, {"sslrootcert", "/ca&b"}, {"x", ""}, {"passfile", "/p"}, {"a", "b=c"}};
    assert_int_equal(e->n_params, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(e->params[i]->key, want[i][0]);
        assert_string_equal(e->params[i]->value, want[i][1]);
    }
}

static void
refused_urls(void **state)
{
    (void)state;
    static const char *const urls[][2] = {
        {"", "no known engine"},
        {"h/d", "no known engine"},
        {"://h/d", "no known engine"},
        {"oracle://h/d", "no known engine"},
        {"postgresq://h/d", "no known engine"},
        {"postgresql:h/d", "malformed host"},
        {"postgresql:/h/d", "malformed host"},
        {"mysql://h:x/d", "malformed port"},
        {"mysql://h:65536/d", "malformed port"},
        {"mysql://h:-1/d", "malformed port"},
        {"mysql://h:99999999999999999999/d", "malformed port"},
        {"mysql://::1/d", "malformed port"},
        {"mysql://[::1/d", "malformed host"},
        {"mysql://[::1]x/d", "malformed host"},
        {"mysql://h%/d", "malformed host"},
        {"mysql://h%4/d", "malformed host"},
        {"mysql://h%zz/d", "malformed host"},
        {"mysql://u%00@h/d", "malformed host or user"},
        {"mysql://h/d%00e", "malformed database"},
        {"mysql://h/a@b", "malformed database"},
        {"mysql://h/d?x", "malformed parameter"},
        {"mysql://h/d?=x", "malformed parameter"},
        {"mysql://h/d?x=%0", "malformed parameter"},
        {"sqlite:", "malformed path"},
        {"sqlite://", "malformed path"},
        {"sqlite:?mode=ro", "malformed path"},
        {"sqlite:a%", "malformed path"},
        {"mysql://u:hunter2@h/d", "holds a password"},
        {"mysql://u:@h/d", "holds a password"},
        {"mysql://u:hunter2@x@h/d", "holds a password"},
        {"mysql://h/d?Password=hunter2", "holds a password"},
        {"mysql://h/d?a=b&p%61ssword=hunter2", "holds a password"},
        {"postgresql://h/d?sslpassword=hunter2", "holds a password"},
        {"sqlite:a.db?password=hunter2", "holds a password"},
        {"mysql://u:hunter2/x@h/d", "malformed"},
        {"mysql://u:1/hunter2@h/d", "malformed"},
        {"mysql://u:hunter2?x@h/d", "malformed"},
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct gw_err err = {0};
        if (parse(urls[i][0], &err)) {
            fail_msg("accepted: %s", urls[i][0]);
        }
        if (!strstr(err.message, urls[i][1])) {
            fail_msg("%s: %s", urls[i][0], err.message);
        }
        assert_int_equal(err.cls, GW_CONFIG);
        assert_null(strstr(err.message, "hunter2"));
        assert_null(strstr(err.hint, "hunter2"));
        assert_true(err.hint[0]);
    }
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
        cmocka_unit_test(accepted_urls),
        cmocka_unit_test(parameters),
        cmocka_unit_test(refused_urls),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
