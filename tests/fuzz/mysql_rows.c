// COPY text into LOAD DATA text: as many rows and fields come out as go in, or a reason; a refusal leaves no half row.
#include <stdio.h>

#include "apply/targets/mysql/myt.h"
#include "tests/fuzz/fuzz.h"

enum { COLUMNS_MAX = 8, OUT_MAX = 1 << 22 };

static const struct {
    const char *data_type, *column_type;
    Gw__Kind kind;
} types[] = {
    {"longtext", "longtext", GW__KIND__KIND_TEXT},
    {"longblob", "longblob", GW__KIND__KIND_BLOB},
    {"tinyint", "tinyint(1)", GW__KIND__KIND_BOOL},
    {"bit", "bit(1)", GW__KIND__KIND_BOOL},
    {"bit", "bit(64)", GW__KIND__KIND_VARBIT},
    {"datetime", "datetime(3)", GW__KIND__KIND_TIMESTAMPTZ},
    {"datetime", "datetime(6)", GW__KIND__KIND_TIMESTAMP},
    {"date", "date", GW__KIND__KIND_TIMESTAMP},
    {"time", "time(2)", GW__KIND__KIND_DURATION},
    {"enum", "enum('a','it''s','x\\\\y')", GW__KIND__KIND_ENUM},
    {"bigint", "bigint", GW__KIND__KIND_NUMERIC},
    {"varchar", "varchar(10)", GW__KIND__KIND_VARCHAR},
};

static Gw__Table *
make_table(struct gw_arena *a, struct input *in, struct myt_have *have, size_t n)
{
    Gw__Table *t = gw_pb_new(a, Gw__Table, gw__table__init);
    t->name = gw_arena_strdup(a, "t");
    t->engine = gw_arena_strdup(a, "sqlite");
    for (size_t i = 0; i < n; i++) {
        uint8_t b = input_byte(in);
        size_t k = b % (sizeof types / sizeof *types);
        Gw__Column *c = gw_pb_new(a, Gw__Column, gw__column__init);
        c->name = gw_arena_printf(a, "c%zu", i);
        c->type = gw_pb_new(a, Gw__Type, gw__type__init);
        c->type->kind = types[k].kind;
        c->not_null = b >> 6 & 1;
        gw_pb_add(a, t, columns, c);
        have[i] = (struct myt_have){.name = c->name,
                                    .data_type = types[k].data_type,
                                    .column_type = types[k].column_type,
                                    .charset = "",
                                    .fraction = b >> 5 & 3,
                                    .counts = b >> 7 & 1};
    }
    return t;
}

// The fields of LOAD DATA text: a tab or newline without a backslash before it ends one.
static size_t
count(const char *p, size_t n, char end)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\\') {
            i++;
        } else {
            found += p[i] == end;
        }
    }
    return found;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct gw_arena a;
    gw_arena_init(&a);
    size_t n = 1 + input_byte(&in) % COLUMNS_MAX;
    struct myt_have have[COLUMNS_MAX + 1] = {0};
    Gw__Table *t = make_table(&a, &in, have, n);
    const struct myt_conv *v = myt_conv_make(&a, t, have);
    struct gw_buf out;
    gw_buf_init(&out, OUT_MAX);
    gw_buf_puts(&out, "kept");
    struct gw_err err = {0};
    const char *rows = (const char *)in.at;
    int r = myt_convert(v, &out, in.left ? rows : "", in.left, true, &err);
    if (r == GW_OK) {
        const char *got = out.data + 4;
        gw_assert(count(got, out.len - 4, '\n') == count(rows, in.left, '\n'));
        gw_assert(count(got, out.len - 4, '\t') == count(rows, in.left, '\t'));
    } else {
        gw_assert((r == GW_DATA || r == GW_BUG) && err.cls == (enum gw_class)r && err.message[0]);
        gw_assert(out.len == 4 && memcmp(out.data, "kept", 4) == 0);
    }
    gw_buf_fini(&out);
    gw_arena_fini(&a);
    return 0;
}
