#include "capture/sources/mysql/tablemap.h"

#include <string.h>

static bool
is_integer(uint8_t type)
{
    return type == BF_TINY || type == BF_SHORT || type == BF_INT24 || type == BF_LONG || type == BF_LONGLONG;
}

// The columns that have a bit in SIGNEDNESS: MariaDB and MySQL count all that are numbers.
static bool
has_sign(uint8_t type)
{
    return is_integer(type) || type == BF_NEWDECIMAL || type == BF_FLOAT || type == BF_DOUBLE || type == BF_YEAR;
}

static bool
is_text(uint8_t type)
{
    switch (type) {
    case BF_STRING:
    case BF_VAR_STRING:
    case BF_VARCHAR:
    case BF_VARCHAR_Z:
    case BF_TINY_BLOB:
    case BF_MEDIUM_BLOB:
    case BF_LONG_BLOB:
    case BF_BLOB:
    case BF_BLOB_Z: return true;
    default: return false;
    }
}

static bool
is_choice(uint8_t type)
{
    return type == BF_ENUM || type == BF_SET;
}

int
bl_map_head(const struct bl_format *f, const struct bl_event *e, struct bl_map *ret, struct gw_err *err)
{
    struct bl_bytes b = e->body;
    uint64_t table, flags, n, m;
    const uint8_t *schema, *name;
    unsigned id_bytes = f->post_header[BL_TABLE_MAP] == 6 ? 4 : 6;
    if (!bl_uint(&b, id_bytes, &table) || !bl_uint(&b, 2, &flags)) {
        return bl_bad(err, "table map");
    }
    struct bl_bytes body = b;
    if (!bl_uint(&b, 1, &n) || !bl_take(&b, (size_t)n + 1, &schema) || schema[n] || !bl_uint(&b, 1, &m) ||
        !bl_take(&b, (size_t)m + 1, &name) || name[m] || strlen((const char *)schema) != n ||
        strlen((const char *)name) != m) {
        return bl_bad(err, "table map");
    }
    *ret = (struct bl_map){.table = table, .schema = (const char *)schema, .name = (const char *)name, .body = body};
    return GW_OK;
}

// ---- what stands beside the types --------------------------------------------------------------

static bool
column_detail(struct bl_bytes *b, struct bl_column *c)
{
    uint64_t v = 0, w = 0;
    switch (c->type) {
    case BF_FLOAT:
    case BF_DOUBLE:
    case BF_BLOB:
    case BF_TINY_BLOB:
    case BF_MEDIUM_BLOB:
    case BF_LONG_BLOB:
    case BF_BLOB_Z:
    case BF_GEOMETRY:
    case BF_JSON:
    case BF_VECTOR:
        if (!bl_uint(b, 1, &v)) {
            return false;
        }
        c->size = (uint16_t)v;
        return c->type == BF_FLOAT ? v == 4 : c->type == BF_DOUBLE ? v == 8 : v >= 1 && v <= 4;
    case BF_TIMESTAMP:
    case BF_DATETIME:
    case BF_TIME:
        if (!bl_uint(b, 1, &v)) {
            return false;
        }
        c->scale = (uint8_t)v;
        return v <= 6;
    case BF_VARCHAR:
    case BF_VARCHAR_Z:
    case BF_VAR_STRING:
        if (!bl_uint(b, 2, &v)) {
            return false;
        }
        c->size = (uint16_t)v;
        return true;
    case BF_BIT: // bits beyond whole bytes, whole bytes
        if (!bl_uint(b, 1, &v) || !bl_uint(b, 1, &w) || v > 7 || w > 8) {
            return false;
        }
        c->precision = (uint8_t)(w * 8 + v);
        return c->precision <= 64;
    case BF_NEWDECIMAL:
        if (!bl_uint(b, 1, &v) || !bl_uint(b, 1, &w)) {
            return false;
        }
        c->precision = (uint8_t)v;
        c->scale = (uint8_t)w;
        return v >= 1 && v <= 65 && w <= v;
    case BF_ENUM:
    case BF_SET:
    case BF_STRING:
        // The real type, and a length whose bits 8 and 9 stand inverted in bits 4 and 5 of the type.
        if (!bl_uint(b, 1, &v) || !bl_uint(b, 1, &w)) {
            return false;
        }
        if ((v & 0x30) != 0x30) {
            c->size = (uint16_t)(w | ((v & 0x30) ^ 0x30) << 4);
            c->type = (uint8_t)(v | 0x30);
        } else {
            c->size = (uint16_t)w;
            c->type = (uint8_t)v;
        }
        return c->type == BF_STRING || (c->type == BF_ENUM && (w == 1 || w == 2)) ||
               (c->type == BF_SET && w >= 1 && w <= 8);
    default: return true;
    }
}

// ---- optional metadata -------------------------------------------------------------------------

enum {
    META_SIGNS = 1,
    META_CHARSET_DEFAULT = 2,
    META_CHARSETS = 3,
    META_NAMES = 4,
    META_SET_LABELS = 5,
    META_ENUM_LABELS = 6,
    META_CHOICE_CHARSET_DEFAULT = 10,
    META_CHOICE_CHARSETS = 11,
};

// A bit for each number, the first in the highest bit.
static bool
read_signs(struct bl_bytes b, struct bl_column *c, size_t n)
{
    size_t bit = 0;
    for (size_t i = 0; i < n; i++) {
        if (has_sign(c[i].type)) {
            if (bit / 8 >= b.left) {
                return false;
            }
            c[i].is_unsigned = b.at[bit / 8] >> (7 - bit % 8) & 1;
            bit++;
        }
    }
    return true;
}

// The collation of most columns, then pairs: which of them has another.
static bool
read_default_charset(struct bl_bytes b, struct bl_column *c, size_t n, bool (*counts)(uint8_t))
{
    uint64_t most, which, collation;
    if (!bl_packed(&b, &most)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (counts(c[i].type)) {
            c[i].collation = (uint32_t)most;
        }
    }
    while (b.left) {
        if (!bl_packed(&b, &which) || !bl_packed(&b, &collation)) {
            return false;
        }
        for (size_t i = 0; i < n; i++) {
            if (counts(c[i].type) && which-- == 0) {
                c[i].collation = (uint32_t)collation;
                break;
            }
        }
    }
    return true;
}

static bool
read_charsets(struct bl_bytes b, struct bl_column *c, size_t n, bool (*counts)(uint8_t))
{
    uint64_t collation;
    for (size_t i = 0; i < n && b.left; i++) {
        if (counts(c[i].type)) {
            if (!bl_packed(&b, &collation)) {
                return false;
            }
            c[i].collation = (uint32_t)collation;
        }
    }
    return true;
}

static bool
read_names(struct bl_bytes b, struct bl_column *c, size_t n)
{
    uint64_t len;
    const uint8_t *name;
    for (size_t i = 0; i < n; i++) {
        if (!bl_packed(&b, &len) || len > b.left || !bl_take(&b, (size_t)len, &name)) {
            return false;
        }
        c[i].name = (const char *)name;
        c[i].name_len = (size_t)len;
    }
    return true;
}

static bool
read_labels(struct bl_bytes b, struct bl_column *c, size_t n, uint8_t type)
{
    uint64_t labels, len;
    const uint8_t *skipped;
    for (size_t i = 0; i < n; i++) {
        if (c[i].type != type) {
            continue;
        }
        if (!bl_packed(&b, &labels)) {
            return false;
        }
        struct bl_bytes from = b;
        for (uint64_t k = 0; k < labels; k++) {
            if (!bl_packed(&b, &len) || len > b.left || !bl_take(&b, (size_t)len, &skipped)) {
                return false;
            }
        }
        c[i].labels = (struct bl_bytes){from.at, from.left - b.left};
        c[i].labels_n = labels;
    }
    return true;
}

static bool
read_optional(struct bl_bytes b, struct bl_column *c, struct bl_map *m)
{
    uint64_t what, len;
    const uint8_t *at;
    size_t n = m->columns_n;
    while (b.left) {
        if (!bl_uint(&b, 1, &what) || !bl_packed(&b, &len) || len > b.left || !bl_take(&b, (size_t)len, &at)) {
            return false;
        }
        struct bl_bytes v = {at, (size_t)len};
        bool good = true;
        switch (what) {
        case META_SIGNS: good = m->has_signs = read_signs(v, c, n); break;
        case META_CHARSET_DEFAULT: good = read_default_charset(v, c, n, is_text); break;
        case META_CHARSETS: good = read_charsets(v, c, n, is_text); break;
        case META_NAMES: good = m->has_names = read_names(v, c, n); break;
        case META_SET_LABELS: good = read_labels(v, c, n, BF_SET); break;
        case META_ENUM_LABELS: good = read_labels(v, c, n, BF_ENUM); break;
        case META_CHOICE_CHARSET_DEFAULT: good = read_default_charset(v, c, n, is_choice); break;
        case META_CHOICE_CHARSETS: good = read_charsets(v, c, n, is_choice); break;
        default: break; // geometry types, keys, visibility, sizes of vectors: not needed
        }
        if (!good) {
            return false;
        }
    }
    return true;
}

int
bl_map_read(const struct bl_format *f, const struct bl_event *e, struct bl_column *columns, size_t max,
            struct bl_map *ret, struct gw_err *err)
{
    struct bl_map m;
    int r = bl_map_head(f, e, &m, err);
    if (r != GW_OK) {
        return r;
    }
    struct bl_bytes b = m.body;
    uint64_t n, len;
    const uint8_t *types, *details, *nulls, *skipped;
    if (!bl_take(&b, strlen(m.schema) + 2 + strlen(m.name) + 2, &skipped) || !bl_packed(&b, &n) || n > max ||
        !bl_take(&b, (size_t)n, &types) || !bl_packed(&b, &len) || len > b.left ||
        !bl_take(&b, (size_t)len, &details) || !bl_take(&b, (size_t)(n + 7) / 8, &nulls)) {
        return bl_bad(err, "table map");
    }
    struct bl_bytes d = {details, (size_t)len};
    for (size_t i = 0; i < n; i++) {
        columns[i] = (struct bl_column){.type = types[i]};
        if (!column_detail(&d, &columns[i])) {
            return bl_bad(err, "table map");
        }
    }
    m.columns_n = (size_t)n;
    if (!read_optional(b, columns, &m)) {
        return bl_bad(err, "table map");
    }
    *ret = m;
    return GW_OK;
}
