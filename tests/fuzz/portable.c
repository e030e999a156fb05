// PostgreSQL's expressions and defaults: whatever is carried holds no comment, no statement's end and no open quote.
#include "capture/sources/postgresql/pgs.h"
#include "tests/fuzz/fuzz.h"

static const struct {
    const char *name;
    Gw__Kind kind;
} columns[] = {{"a", GW__KIND__KIND_INT32},     {"b", GW__KIND__KIND_TEXT},    {"c", GW__KIND__KIND_CHAR},
               {"d", GW__KIND__KIND_TIMESTAMP}, {"e", GW__KIND__KIND_NUMERIC}, {"f", GW__KIND__KIND_BOOL}};

static Gw__Table *
make_table(struct gw_arena *a)
{
    Gw__Table *t = gw_pb_new(a, Gw__Table, gw__table__init);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        Gw__Column *c = gw_pb_new(a, Gw__Column, gw__column__init);
        c->name = gw_arena_strdup(a, columns[i].name);
        c->type = gw_pb_new(a, Gw__Type, gw__type__init);
        c->type->kind = columns[i].kind;
        gw_pb_add(a, t, columns, c);
    }
    return t;
}

static void
check_words(const char *s)
{
    bool quoted = false;
    int depth = 0;
    for (; *s; s++) {
        if (*s == '\'') {
            quoted = !quoted;
        }
        gw_assert(*s != '\\');
        if (!quoted) {
            gw_assert(*s != ';' && *s != '"' && *s != '`' && *s != ':' && *s != '[' && *s != '/');
            gw_assert(strncmp(s, "--", 2) != 0);
            depth += (*s == '(') - (*s == ')');
            gw_assert(depth >= 0);
        }
    }
    gw_assert(!quoted && depth == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct gw_arena a;
    gw_arena_init(&a);
    Gw__Column *c = gw_pb_new(&a, Gw__Column, gw__column__init);
    c->type = gw_pb_new(&a, Gw__Type, gw__type__init);
    c->type->kind = (Gw__Kind)(input_byte(&in) % (GW__KIND__KIND_OTHER + 1));
    char *text = input_text(&in, &a);
    const char *carried = pgs_portable(&a, make_table(&a), text);
    if (carried) {
        check_words(carried);
    }
    c->default_native = text;
    pgs_default(&a, c);
    gw_assert((c->default_kind == GW__DEFAULT_KIND__DEFAULT_NONE) == !text[0]);
    gw_assert(!c->default_text[0] || c->default_kind == GW__DEFAULT_KIND__DEFAULT_LITERAL);
    gw_assert(strlen(c->default_text) <= strlen(text));
    gw_arena_fini(&a);
    return 0;
}
