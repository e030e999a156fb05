// PostgreSQL types -> canonical kinds: one row a type. What is not here travels as the server's own text
// (KIND_OTHER), which an equal engine reads back and another one stores as text.
#include <string.h>

#include "pgs.h"

enum size { NO_SIZE, CHARS, NUMERIC, FRACTION, BITS };

static const struct row {
    const char *name;
    Gw__Kind kind;
    enum size size;
    Gw__Kind unsized; // where there is no modifier
    bool is_unsigned;
} rows[] = {
    {"bool", GW__KIND__KIND_BOOL, NO_SIZE, 0, false},
    {"int2", GW__KIND__KIND_INT16, NO_SIZE, 0, false},
    {"int4", GW__KIND__KIND_INT32, NO_SIZE, 0, false},
    {"int8", GW__KIND__KIND_INT64, NO_SIZE, 0, false},
    {"oid", GW__KIND__KIND_INT32, NO_SIZE, 0, true},
    {"numeric", GW__KIND__KIND_NUMERIC, NUMERIC, GW__KIND__KIND_NUMERIC, false},
    {"float4", GW__KIND__KIND_FLOAT32, NO_SIZE, 0, false},
    {"float8", GW__KIND__KIND_FLOAT64, NO_SIZE, 0, false},
    {"bpchar", GW__KIND__KIND_CHAR, CHARS, GW__KIND__KIND_TEXT, false},
    {"varchar", GW__KIND__KIND_VARCHAR, CHARS, GW__KIND__KIND_TEXT, false},
    {"text", GW__KIND__KIND_TEXT, NO_SIZE, 0, false},
    {"citext", GW__KIND__KIND_TEXT, NO_SIZE, 0, false},
    {"name", GW__KIND__KIND_TEXT, NO_SIZE, 0, false},
    {"char", GW__KIND__KIND_TEXT, NO_SIZE, 0, false},
    {"bytea", GW__KIND__KIND_BLOB, NO_SIZE, 0, false},
    {"date", GW__KIND__KIND_DATE, NO_SIZE, 0, false},
    {"time", GW__KIND__KIND_TIME, FRACTION, GW__KIND__KIND_TIME, false},
    {"timetz", GW__KIND__KIND_TIMETZ, FRACTION, GW__KIND__KIND_TIMETZ, false},
    {"timestamp", GW__KIND__KIND_TIMESTAMP, FRACTION, GW__KIND__KIND_TIMESTAMP, false},
    {"timestamptz", GW__KIND__KIND_TIMESTAMPTZ, FRACTION, GW__KIND__KIND_TIMESTAMPTZ, false},
    {"interval", GW__KIND__KIND_INTERVAL, NO_SIZE, 0, false},
    {"uuid", GW__KIND__KIND_UUID, NO_SIZE, 0, false},
    {"json", GW__KIND__KIND_JSON, NO_SIZE, 0, false},
    {"jsonb", GW__KIND__KIND_JSONB, NO_SIZE, 0, false},
    {"xml", GW__KIND__KIND_XML, NO_SIZE, 0, false},
    {"bit", GW__KIND__KIND_BIT, BITS, GW__KIND__KIND_VARBIT, false},
    {"varbit", GW__KIND__KIND_VARBIT, BITS, GW__KIND__KIND_VARBIT, false},
    {"inet", GW__KIND__KIND_INET, NO_SIZE, 0, false},
    {"cidr", GW__KIND__KIND_INET, NO_SIZE, 0, false},
};

static const struct row *
find(const char *schema, const char *name)
{
    bool catalog = strcmp(schema, "pg_catalog") == 0, citext = strcmp(name, "citext") == 0;
    for (size_t i = 0; (catalog || citext) && i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

// src/include/catalog/pg_type.dat and each type's typmodin say how a modifier is packed.
static void
apply_size(const struct row *r, int typmod, Gw__Type *t)
{
    t->kind = typmod < 0 && r->size != NO_SIZE ? r->unsized : r->kind;
    t->is_unsigned = r->is_unsigned;
    if (typmod < 0) {
        return;
    }
    switch (r->size) {
    case CHARS: t->length = (uint64_t)(typmod - 4); break;
    case NUMERIC:
        t->precision = (uint32_t)((typmod - 4) >> 16) & 0xffff;
        t->scale = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
        t->has_scale = true;
        break;
    case FRACTION:
        t->precision = (uint32_t)typmod;
        t->has_scale = true;
        break;
    case BITS: t->length = (uint64_t)typmod; break;
    case NO_SIZE: break;
    }
}

static void
set_labels(struct gw_arena *a, const char *labels, Gw__Type *t)
{
    t->kind = GW__KIND__KIND_ENUM;
    pgs_split(a, labels, &t->labels, &t->n_labels);
}

static void
map_element(struct gw_arena *a, const struct pgs_type *p, Gw__Type *array)
{
    array->kind = GW__KIND__KIND_ARRAY;
    Gw__Type *e = array->element = gw_pb_new(a, Gw__Type, gw__type__init);
    const struct row *r = find(p->elem_schema, p->elem_name);
    if (p->elem_typtype[0] == 'e') {
        set_labels(a, p->elem_labels, e);
    } else if (r) {
        apply_size(r, p->typmod, e);
    } else {
        e->kind = GW__KIND__KIND_OTHER;
    }
}

void
pgs_type_map(struct gw_arena *a, const struct pgs_type *p, Gw__Type *ret)
{
    const struct row *r = find(p->schema, p->name);
    if (p->elem_name[0]) {
        map_element(a, p, ret);
    } else if (p->typtype[0] == 'e') {
        set_labels(a, p->labels, ret);
    } else if (r) {
        apply_size(r, p->typmod, ret);
    } else {
        ret->kind = GW__KIND__KIND_OTHER;
    }
}

bool
pgs_type_is_lob(const Gw__Type *t)
{
    static const Gw__Kind lobs[] = {GW__KIND__KIND_TEXT, GW__KIND__KIND_BLOB, GW__KIND__KIND_JSON, GW__KIND__KIND_JSONB,
                                    GW__KIND__KIND_XML};
    for (size_t i = 0; i < sizeof lobs / sizeof *lobs; i++) {
        if (t->kind == lobs[i]) {
            return t->length == 0;
        }
    }
    return false;
}
