// Canonical kinds -> PostgreSQL types: one row a kind. docs/engines-postgresql-target.md gives the reasons in
// full. A type must hold every value of its kind without altering one: where PostgreSQL would round,
// pad or cut in silence, a wider type is taken.
#include <string.h>

#include "pgt.h"

enum size {
    SIZE_NONE,
    SIZE_LENGTH,   // (n) characters or bits; without the size where it is unknown or too large
    SIZE_NUMERIC,  // (p, s)
    SIZE_FRACTION, // (p) behind the first word: timestamp(3) with time zone
};

struct type_row {
    Gw__Kind kind;
    const char *name, *unsigned_name; // NULL: the same
    enum size size;
    const char *unsized; // what is taken where the size is unknown or beyond max
    uint64_t max;
    const char *tail; // behind the size
    const char *note;
};

static const struct type_row rows[] = {
    {GW__KIND__KIND_BOOL, "boolean", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_INT8, "smallint", "smallint", SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_INT16, "smallint", "integer", SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_INT24, "integer", "integer", SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_INT32, "integer", "bigint", SIZE_NONE, NULL, 0, "", NULL},
    // 18446744073709551615 does not fit into bigint.
    {GW__KIND__KIND_INT64, "bigint", "numeric(20,0)", SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_NUMERIC, "numeric", NULL, SIZE_NUMERIC, "numeric", 1000, "", NULL},
    {GW__KIND__KIND_FLOAT32, "real", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_FLOAT64, "double precision", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_CHAR, "character", NULL, SIZE_LENGTH, "text", 10485760, "", NULL},
    {GW__KIND__KIND_VARCHAR, "character varying", NULL, SIZE_LENGTH, "text", 10485760, "", NULL},
    {GW__KIND__KIND_TEXT, "text", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_BINARY, "bytea", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_VARBINARY, "bytea", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_BLOB, "bytea", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_DATE, "date", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_TIME, "time", NULL, SIZE_FRACTION, NULL, 6, " without time zone", NULL},
    {GW__KIND__KIND_TIMETZ, "time", NULL, SIZE_FRACTION, NULL, 6, " with time zone", NULL},
    {GW__KIND__KIND_TIMESTAMP, "timestamp", NULL, SIZE_FRACTION, NULL, 6, " without time zone", NULL},
    {GW__KIND__KIND_TIMESTAMPTZ, "timestamp", NULL, SIZE_FRACTION, NULL, 6, " with time zone", NULL},
    // A MySQL TIME goes to ±838:59:59; a time of day cannot hold that.
    {GW__KIND__KIND_DURATION, "interval", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_INTERVAL, "interval", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_YEAR, "integer", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_UUID, "uuid", NULL, SIZE_NONE, NULL, 0, "", NULL},
    // jsonb would drop duplicate keys, white space and the order of keys, and refuses \u0000.
    {GW__KIND__KIND_JSON, "json", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_JSONB, "jsonb", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_XML, "xml", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_BIT, "bit", NULL, SIZE_LENGTH, "bit varying", 83886080, "", NULL},
    {GW__KIND__KIND_VARBIT, "bit varying", NULL, SIZE_LENGTH, "bit varying", 83886080, "", NULL},
    {GW__KIND__KIND_ENUM, "text", NULL, SIZE_NONE, NULL, 0, "",
     "an enumeration becomes text with a check of its labels, made after the rows"},
    {GW__KIND__KIND_SET, "text", NULL, SIZE_NONE, NULL, 0, "", "a set becomes text: its labels joined by commas"},
    {GW__KIND__KIND_INET, "inet", NULL, SIZE_NONE, NULL, 0, "", NULL},
    {GW__KIND__KIND_GEOMETRY, "bytea", NULL, SIZE_NONE, NULL, 0, "",
     "geometry becomes bytea: four bytes of SRID, little-endian, then WKB"},
    {GW__KIND__KIND_OTHER, "text", NULL, SIZE_NONE, NULL, 0, "",
     "a type without a counterpart becomes text, as the source writes it"},
    {GW__KIND__KIND_UNKNOWN, "text", NULL, SIZE_NONE, NULL, 0, "",
     "an unknown type becomes text, as the source writes it"},
};

static const struct type_row *
row_of(Gw__Kind kind)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].kind == kind) {
            return &rows[i];
        }
    }
    return &rows[sizeof rows / sizeof *rows - 1];
}

// SQLite declares sizes and does not hold values to them: a numeric(10,2) may hold 1.005, which PostgreSQL
// would round, and a varchar(3) 'abc   ', whose blanks it would cut.
static bool
sizes_bind(const Gw__Table *t)
{
    return !t->engine || strcmp(t->engine, "sqlite") != 0;
}

static void
put_sized(struct gw_buf *sql, const Gw__Table *t, const Gw__Type *type, const struct type_row *r)
{
    bool bind = sizes_bind(t);
    switch (r->size) {
    case SIZE_LENGTH:
        if (bind && type->length > 0 && type->length <= r->max) {
            gw_buf_printf(sql, "%s(%llu)", r->name, (unsigned long long)type->length);
        } else {
            gw_buf_puts(sql, r->unsized);
        }
        break;
    case SIZE_NUMERIC:
        // A negative scale, or one beyond the precision, is for 15 and later only; numeric holds both.
        if (bind && type->has_scale && type->precision > 0 && type->precision <= r->max && type->scale >= 0 &&
            (uint32_t)type->scale <= type->precision) {
            gw_buf_printf(sql, "%s(%u,%d)", r->name, type->precision, type->scale);
        } else {
            gw_buf_puts(sql, r->unsized);
        }
        break;
    case SIZE_FRACTION:
        gw_buf_puts(sql, r->name);
        if (bind && type->has_scale && type->precision < r->max) {
            gw_buf_printf(sql, "(%u)", type->precision);
        }
        break;
    case SIZE_NONE: gw_buf_puts(sql, type->is_unsigned && r->unsigned_name ? r->unsigned_name : r->name); break;
    }
    gw_buf_puts(sql, r->tail);
}

void
pgt_type(struct gw_buf *sql, const Gw__Table *t, const Gw__Type *type)
{
    if (pgt_native(t) && pgt_set(type->native)) {
        gw_buf_puts(sql, type->native);
        return;
    }
    if (type->kind == GW__KIND__KIND_ARRAY) {
        if (type->element) {
            pgt_type(sql, t, type->element);
            gw_buf_puts(sql, "[]");
        } else {
            gw_buf_puts(sql, "text");
        }
        return;
    }
    put_sized(sql, t, type, row_of(type->kind));
}

const char *
pgt_type_note(const Gw__Table *t, const Gw__Type *type)
{
    if (pgt_native(t) || type->kind == GW__KIND__KIND_ARRAY) {
        return NULL;
    }
    return row_of(type->kind)->note;
}

bool
pgt_type_is_bytes(const Gw__Type *type)
{
    return strcmp(row_of(type->kind)->name, "bytea") == 0;
}

bool
pgt_type_is_integer(const Gw__Type *type)
{
    const struct type_row *r = row_of(type->kind);
    const char *name = type->is_unsigned && r->unsigned_name ? r->unsigned_name : r->name;
    return strcmp(name, "smallint") == 0 || strcmp(name, "integer") == 0 || strcmp(name, "bigint") == 0;
}
