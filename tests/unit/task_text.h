// For the tests of the task file: a whole file around the one part that a test is about.
#ifndef GW_TEST_TASK_TEXT_H
#define GW_TEST_TASK_TEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/config.h"

#define SOURCE "\"source\": {\"url\": \"sqlite:a.db\"}"
#define TARGET "\"target\": {\"url\": \"sqlite:b.db\"}"
#define ONE_RULE                                                                                                       \
    "{\"rule-type\": \"selection\", \"rule-id\": \"1\", \"rule-action\": \"include\","                                 \
    " \"object-locator\": {\"schema-name\": \"%\", \"table-name\": \"%\"}}"
#define MAPPINGS             "\"table-mappings\": {\"rules\": [" ONE_RULE "]}"
#define TASK_WITH(more)      "{\"task\": \"t\", " SOURCE ", " TARGET ", " MAPPINGS more "}"
#define TASK_OF_RULES(rules) "{\"task\": \"t\", " SOURCE ", " TARGET ", \"table-mappings\": {\"rules\": [" rules "]}}"
#define SETTINGS(text)       TASK_WITH(", \"task-settings\": {" text "}")

static struct gw_arena a;

static inline const Gw__Task *
accepted(const char *text)
{
    Gw__Task *t = NULL;
    struct gw_err err = {0};
    if (gw_config_parse("t.json", text, strlen(text), &a, &t, &err) != GW_OK) {
        fail_msg("refused: %s\n%s", err.message, text);
    }
    assert_non_null(t);
    return t;
}

// Refused as CONFIG, with `want` in the message and `hint` (unless NULL) in the hint; the task is not touched.
static inline void
refused_hint(const char *text, const char *want, const char *hint)
{
    Gw__Task *t = NULL;
    struct gw_err err = {0};
    int r = gw_config_parse("t.json", text, strlen(text), &a, &t, &err);
    if (r != GW_CONFIG || err.cls != GW_CONFIG) {
        fail_msg("class %d instead of CONFIG for %s", r, text);
    }
    assert_null(t);
    if (!strstr(err.message, want)) {
        fail_msg("\"%s\" is not in \"%s\"", want, err.message);
    }
    if (strncmp(err.message, "t.json: ", 8) != 0) {
        fail_msg("the file is not named: %s", err.message);
    }
    if (hint && !strstr(err.hint, hint)) {
        fail_msg("\"%s\" is not in the hint \"%s\"", hint, err.hint);
    }
}

static inline void
refused(const char *text, const char *want)
{
    refused_hint(text, want, NULL);
}

static inline int
arena_setup(void **state)
{
    (void)state;
    gw_arena_init(&a);
    return 0;
}

static inline int
arena_teardown(void **state)
{
    (void)state;
    gw_arena_fini(&a);
    return 0;
}

#endif
