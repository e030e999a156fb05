// Proves that the command line is read as its help says, and that what is not understood is refused by name.
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/options.h"

enum { ARGS_MAX = 8 };

static bool
parse(struct gw_options *o, const struct gw_command *c, const char *const *words)
{
    char *argv[ARGS_MAX + 2] = {(char *)(uintptr_t)c->name}; // read only
    int argc = 1;
    for (; *words; words++) {
        assert_true(argc <= ARGS_MAX);
        argv[argc++] = (char *)(uintptr_t)*words;
    }
    return gw_options_parse(o, c, argc, argv);
}
#define PARSE(o, c, ...) parse(o, c, (const char *const[]){__VA_ARGS__, NULL})

static void
until(void **state)
{
    (void)state;
    struct gw_options o;
    assert_true(PARSE(&o, &gw_command_run, "t.json"));
    assert_null(o.until);
    assert_true(PARSE(&o, &gw_command_run, "t.json", "--until", "load"));
    assert_string_equal(o.until, GW_UNTIL_LOAD);
    assert_true(PARSE(&o, &gw_command_run, "--until=caught-up", "t.json"));
    assert_string_equal(o.until, GW_UNTIL_CAUGHT_UP);
    assert_false(PARSE(&o, &gw_command_run, "t.json", "--until", "caught_up"));
    assert_false(PARSE(&o, &gw_command_run, "t.json", "--until", ""));
    assert_false(PARSE(&o, &gw_command_run, "t.json", "--until"));
    assert_false(PARSE(&o, &gw_command_tables, "t.json", "--until", "load"));
    assert_false(PARSE(&o, &gw_command_drop, "t.json", "--until", "load"));
}

static void
everything_else(void **state)
{
    (void)state;
    struct gw_options o;
    assert_true(PARSE(&o, &gw_command_run, "--workers", "8", "--state=d", "--fresh", "--json", "--quiet", "t.json"));
    assert_int_equal(o.workers, 8);
    assert_string_equal(o.state, "d");
    assert_string_equal(o.task_path, "t.json");
    assert_true(o.fresh && o.json);
    assert_int_equal(o.loudness, GW_QUIET);
    assert_true(PARSE(&o, &gw_command_run, "--", "--fresh"));
    assert_string_equal(o.task_path, "--fresh");
    assert_true(PARSE(&o, &gw_command_run, "-h") && o.help);
    static const char *const wrong[] = {"--workers=0", "--workers=50", "--workers=x",
                                        "--state=",    "--fresh=1",    "--unti"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(PARSE(&o, &gw_command_run, "t.json", wrong[i]));
    }
    assert_false(PARSE(&o, &gw_command_run, "--fresh"));          // no task
    assert_false(PARSE(&o, &gw_command_run, "a.json", "b.json")); // two
    assert_false(PARSE(&o, &gw_command_check, "t.json", "--yes"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(until),
        cmocka_unit_test(everything_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
