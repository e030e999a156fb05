// Proves which of PostgreSQL's expressions are carried to other engines, and that everything else is given up.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "capture/sources/postgresql/pgs.h"

static struct gw_arena a;
static Gw__Table *table;

static void
add_column(const char *name, Gw__Kind kind)
{
    Gw__Column *c = gw_pb_new(&a, Gw__Column, gw__column__init);
    c->name = gw_arena_strdup(&a, name);
    c->type = gw_pb_new(&a, Gw__Type, gw__type__init);
    c->type->kind = kind;
    gw_pb_add(&a, table, columns, c);
}

static const struct {
    const char *native, *want; // NULL: given up
} checks[] = {
    // As pg_get_constraintdef prints them.
    {"CHECK (((status)::text = ANY ((ARRAY['new'::character varying, 'paid'::character varying])::text[])))",
     "(((status) IN ('new', 'paid')))"},
    {"CHECK ((note = ANY (ARRAY['a'::text, 'b'::text])))", "((note IN ('a', 'b')))"},
    {"CHECK ((qty <> ALL (ARRAY[1, 2, 3])))", "((qty NOT IN (1, 2, 3)))"},
    {"CHECK ((price > (0)::numeric))", "((price > (0)))"},
    {"CHECK ((ratio >= (0)::double precision))", "((ratio >= (0)))"},
    {"CHECK ((ratio >= (0.5)::double precision))", "((ratio >= (0.5)))"},
    {"CHECK ((qty > '-5'::integer))", "((qty > -5))"},
    {"CHECK (((qty - '-5'::integer) > 0))", "(((qty - -5) > 0))"},
    {"CHECK ((((qty)::numeric * price) < (1000)::numeric))", "((((qty) * price) < (1000)))"},
    {"CHECK (((qty IS NOT NULL) OR (price IS NULL)))", "(((qty IS NOT NULL) OR (price IS NULL)))"},
    {"CHECK ((NOT (qty = 1)))", "((NOT (qty = 1)))"},
    {"CHECK (active)", "(active)"},
    {"CHECK ((active = true))", "((active = true))"},
    {"CHECK (((note)::text <> ''::text))", "(((note) <> ''))"},
    {"CHECK ((note <> 'it''s'::text))", "((note <> 'it''s'))"},
    {"CHECK ((day > '2020-01-01'::date))", "((day > '2020-01-01'))"},
    {"CHECK ((at > '2020-01-01 00:00:00'::timestamp without time zone))", "((at > '2020-01-01 00:00:00'))"},
    {"CHECK ((code = 'USD'::bpchar))", "((code = 'USD'))"},
    {"CHECK (((mood)::text = 'ok'::text))", "(((mood) = 'ok'))"},
    {"CHECK ((qty > 0)) NOT VALID", "((qty > 0))"},
    {"(qty * 2)", "(qty * 2)"},
    {"qty", "qty"},
    // Calls, also of functions that are named as a column.
    {"CHECK ((length(note) > 3))", NULL},
    {"CHECK ((qty(1) > 3))", NULL},
    {"CHECK ((lower((note)::text) = 'a'::text))", NULL},
    {"CHECK ((COALESCE(qty, 0) > 0))", NULL},
    {"CHECK ((day > CURRENT_DATE))", NULL},
    // Casts that alter a value, or the order of values.
    {"CHECK (((price)::text = '1.0'::text))", NULL},
    {"CHECK (((qty)::text = '1'::text))", NULL},
    {"CHECK (((price)::integer > 0))", NULL},
    {"CHECK (((ratio)::numeric = 0.1))", NULL},
    {"CHECK (((note)::numeric > 0))", NULL},
    {"CHECK (((code)::text = 'USD'::text))", NULL}, // drops a CHAR's blanks
    {"CHECK (((at)::date = '2020-01-01'::date))", NULL},
    {"CHECK (((note)::character varying(3) = 'abc'::text))", NULL},
    {"CHECK ((note = ('abcdef'::character varying(3))::text))", NULL},
    {"CHECK ((qty > (1.5)::integer))", NULL},
    {"CHECK ((((qty = 1))::text = 'true'::text))", NULL},
    {"CHECK (((active)::integer = 1))", NULL},
    {"CHECK ((tags = '{a}'::text[]))", NULL},
    {"CHECK (((price)::text = ANY (ARRAY['1'::text])))", NULL},
    {"CHECK ((price = ANY ((ARRAY['1'::text])::numeric[])))", NULL},
    {"CHECK ((at > '2020-01-01 00:00:00+00'::timestamp with time zone))", NULL},
    {"CHECK ((at > ('2020-01-01'::text)::timestamp without time zone))", NULL},
    {"CHECK ((at > (now())::timestamp without time zone))", NULL},
    // Operators that other engines lack or read otherwise.
    {"CHECK ((qty / 2 > 3))", NULL},
    {"CHECK (((qty % 2) = 0))", NULL},
    {"CHECK (((note)::text ~ '^a'::text))", NULL},
    {"CHECK (((note)::text ~~ 'a%'::text))", NULL},
    {"CHECK (((note || 'x'::text) = 'ax'::text))", NULL},
    {"CHECK ((qty ^ 2) > 3)", NULL},
    {"CHECK ((qty IS DISTINCT FROM 3))", NULL},
    {"CHECK (((active) IS TRUE))", NULL},
    {"CHECK ((qty > ALL (ARRAY[1, 2])))", NULL},
    {"CHECK ((qty = ALL (ARRAY[1, 2])))", NULL},
    {"CHECK ((qty = ANY ('{1,2}'::integer[])))", NULL},
    {"CHECK ((qty = ANY (ARRAY[]::integer[])))", NULL},
    {"CHECK (CASE WHEN active THEN true ELSE false END)", NULL},
    {"CHECK (((note COLLATE \"C\") > 'a'::text))", NULL},
    // Words that are no columns of the table; names in quotes; backslashes; ends that are none.
    {"CHECK ((other > 3))", NULL},
    {"CHECK ((\"Qty\" > 3))", NULL},
    {"CHECK ((QTY > 3))", NULL},
    {"CHECK ((note <> E'a\\\\b'::text))", NULL},
    {"CHECK ((note <> 'a\\b'::text))", NULL},
    {"CHECK ((qty > 1e10))", NULL},
    {"CHECK ((qty > 0)) NO INHERIT", NULL},
    {"(qty > 0) NOT VALID", NULL},
    {"CHECK ((note <> 'a))", NULL},
    {"CHECK ((qty > 0)", NULL},
    {"CHECK (qty > 0))", NULL},
    {"CHECK ((qty >))", NULL},
    {"CHECK ()", NULL},
    {"CHECK", NULL},
    {"", NULL},
    {"qty = '--'::integer", NULL},
    {"qty = '--1'::integer", NULL},
    {"qty = '.'::numeric", NULL},
    {"qty = ''::integer", NULL},
    {"qty -- 1", "qty - - 1"},
    {"qty; DROP TABLE x", NULL},
};

static void
portable_checks(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        const char *got = pgs_portable(&a, table, checks[i].native);
        bool same = checks[i].want ? got && strcmp(got, checks[i].want) == 0 : !got;
        if (!same) {
            print_error("%s\n  got  %s\n  want %s\n", checks[i].native, got ? got : "nothing",
                        checks[i].want ? checks[i].want : "nothing");
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void
depth_is_bounded(void **state)
{
    (void)state;
    enum { N = 200000 };
    char *text = gw_arena_alloc(&a, 2 * N + 4);
    memset(text, '(', N);
    memcpy(text + N, "qty", 3);
    memset(text + N + 3, ')', N);
    text[2 * N + 3] = 0;
    assert_null(pgs_portable(&a, table, text));
    memset(text, '-', N);
    assert_null(pgs_portable(&a, table, text));
    for (int i = 0; i < N; i += 4) {
        memcpy(text + i, "NOT ", 4);
    }
    assert_null(pgs_portable(&a, table, text));
}

static const struct {
    const char *native;
    Gw__Kind kind;
    Gw__DefaultKind want;
    const char *text;
} defaults[] = {
#define LITERAL    GW__DEFAULT_KIND__DEFAULT_LITERAL
#define EXPRESSION GW__DEFAULT_KIND__DEFAULT_EXPRESSION
#define STAMP      GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP
#define NOTHING    GW__DEFAULT_KIND__DEFAULT_NULL
#define TEXT       GW__KIND__KIND_TEXT
#define INT        GW__KIND__KIND_INT32
#define BOOL       GW__KIND__KIND_BOOL
    {"", TEXT, GW__DEFAULT_KIND__DEFAULT_NONE, ""},
    {"'new'::character varying", GW__KIND__KIND_VARCHAR, LITERAL, "new"},
    {"'it''s'::text", TEXT, LITERAL, "it's"},
    {"''::text", TEXT, LITERAL, ""},
    {"'a::b'::text", TEXT, LITERAL, "a::b"},
    {"'(x)'::text", TEXT, LITERAL, "(x)"},
    {"0", INT, LITERAL, "0"},
    {"'-1'::integer", INT, LITERAL, "-1"},
    {"(-1)", INT, LITERAL, "-1"},
    {"(0)::smallint", GW__KIND__KIND_INT16, LITERAL, "0"},
    {"1.50", GW__KIND__KIND_NUMERIC, LITERAL, "1.50"},
    {"(0)::numeric", GW__KIND__KIND_NUMERIC, LITERAL, "0"},
    {"(1.5)::text", TEXT, LITERAL, "1.5"},
    {"true", BOOL, LITERAL, "t"},
    {"false", BOOL, LITERAL, "f"},
    {"'2020-01-01'::date", GW__KIND__KIND_DATE, LITERAL, "2020-01-01"},
    {"'{}'::jsonb", GW__KIND__KIND_JSONB, LITERAL, "{}"},
    {"now()", GW__KIND__KIND_TIMESTAMPTZ, STAMP, ""},
    {"CURRENT_TIMESTAMP", GW__KIND__KIND_TIMESTAMP, STAMP, ""},
    {"CURRENT_TIMESTAMP(3)", GW__KIND__KIND_TIMESTAMP, STAMP, ""},
    {"CURRENT_DATE", GW__KIND__KIND_DATE, GW__DEFAULT_KIND__DEFAULT_CURRENT_DATE, ""},
    {"NULL", TEXT, NOTHING, ""},
    {"NULL::character varying", TEXT, NOTHING, ""},
    // Only an equal engine can keep these.
    {"NULLIF(current_setting('x'::text), ''::text)", TEXT, EXPRESSION, ""},
    {"nextval('s'::regclass)", INT, EXPRESSION, ""},
    {"(now())::date", GW__KIND__KIND_DATE, EXPRESSION, ""},
    {"('now'::text)::date", GW__KIND__KIND_DATE, EXPRESSION, ""},
    {"(CURRENT_TIMESTAMP + '1 day'::interval)", GW__KIND__KIND_TIMESTAMP, EXPRESSION, ""},
    {"('a'::text || 'b'::text)", TEXT, EXPRESSION, ""},
    {"(1 + 2)", INT, EXPRESSION, ""},
    {"'a'::text || 'b'::text", TEXT, EXPRESSION, ""},
    {"f()", BOOL, EXPRESSION, ""},
    {"gen_random_uuid()", GW__KIND__KIND_UUID, EXPRESSION, ""},
    {"'\\x00'::bytea", GW__KIND__KIND_BLOB, EXPRESSION, ""},
    {"'{}'::text[]", GW__KIND__KIND_ARRAY, EXPRESSION, ""},
    {"'$1.00'::money", GW__KIND__KIND_OTHER, EXPRESSION, ""},
    {"1e10", GW__KIND__KIND_FLOAT64, EXPRESSION, ""},
    {"B'101'::\"bit\"", GW__KIND__KIND_BIT, EXPRESSION, ""},
    // The assignment casts, unseen.
    {"1.5", INT, EXPRESSION, ""},
    {"true", TEXT, EXPRESSION, ""},
    {"(true)::text", TEXT, EXPRESSION, ""},
    {"(1)::boolean", BOOL, EXPRESSION, ""},
    {"(5)::bit(3)", GW__KIND__KIND_BIT, EXPRESSION, ""},
};

static void
portable_defaults(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        Gw__Column *c = gw_pb_new(&a, Gw__Column, gw__column__init);
        c->type = gw_pb_new(&a, Gw__Type, gw__type__init);
        c->type->kind = defaults[i].kind;
        c->default_native = gw_arena_strdup(&a, defaults[i].native);
        pgs_default(&a, c);
        if (c->default_kind != defaults[i].want || strcmp(c->default_text, defaults[i].text) != 0) {
            print_error("%s: kind %d instead of %d, text \"%s\" instead of \"%s\"\n", defaults[i].native,
                        (int)c->default_kind, (int)defaults[i].want, c->default_text, defaults[i].text);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static int
setup(void **state)
{
    (void)state;
    gw_arena_init(&a);
    table = gw_pb_new(&a, Gw__Table, gw__table__init);
    add_column("status", GW__KIND__KIND_VARCHAR);
    add_column("note", GW__KIND__KIND_TEXT);
    add_column("code", GW__KIND__KIND_CHAR);
    add_column("mood", GW__KIND__KIND_ENUM);
    add_column("qty", GW__KIND__KIND_INT32);
    add_column("price", GW__KIND__KIND_NUMERIC);
    add_column("ratio", GW__KIND__KIND_FLOAT64);
    add_column("active", GW__KIND__KIND_BOOL);
    add_column("day", GW__KIND__KIND_DATE);
    add_column("at", GW__KIND__KIND_TIMESTAMP);
    add_column("tags", GW__KIND__KIND_ARRAY);
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
        cmocka_unit_test(portable_checks),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(portable_defaults),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
