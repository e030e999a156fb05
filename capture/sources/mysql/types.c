// Native types -> canonical kinds, and defaults.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "capture/sources/mysql/mysql_source.h"

enum facts {
    NONE = 0,
    LENGTH = 1,   // in characters, or bytes of a binary type
    DECIMALS = 2, // precision and scale
    FRACTION = 4, // digits of seconds
    BITS = 8,
    OCTETS = 16,
    CHARSET = 32,
    LABELS = 64,
};

// TINYINT(1) is not a boolean: it may hold anything from -128 to 127.
static const struct {
    const char *name;
    Gw__Kind kind;
    unsigned facts;
} rows[] = {
    {"tinyint", GW__KIND__KIND_INT8, NONE},
    {"smallint", GW__KIND__KIND_INT16, NONE},
    {"mediumint", GW__KIND__KIND_INT24, NONE},
    {"int", GW__KIND__KIND_INT32, NONE},
    {"bigint", GW__KIND__KIND_INT64, NONE},
    {"decimal", GW__KIND__KIND_NUMERIC, DECIMALS},
    {"float", GW__KIND__KIND_FLOAT32, NONE},
    {"double", GW__KIND__KIND_FLOAT64, NONE},
    {"bit", GW__KIND__KIND_BIT, BITS},
    {"char", GW__KIND__KIND_CHAR, LENGTH | CHARSET},
    {"varchar", GW__KIND__KIND_VARCHAR, LENGTH | CHARSET},
    {"tinytext", GW__KIND__KIND_TEXT, OCTETS | CHARSET},
    {"text", GW__KIND__KIND_TEXT, OCTETS | CHARSET},
    {"mediumtext", GW__KIND__KIND_TEXT, OCTETS | CHARSET},
    {"longtext", GW__KIND__KIND_TEXT, CHARSET},
    {"binary", GW__KIND__KIND_BINARY, LENGTH},
    {"varbinary", GW__KIND__KIND_VARBINARY, LENGTH},
    {"tinyblob", GW__KIND__KIND_BLOB, OCTETS},
    {"blob", GW__KIND__KIND_BLOB, OCTETS},
    {"mediumblob", GW__KIND__KIND_BLOB, OCTETS},
    {"longblob", GW__KIND__KIND_BLOB, NONE},
    {"date", GW__KIND__KIND_DATE, NONE},
    {"time", GW__KIND__KIND_DURATION, FRACTION},
    {"datetime", GW__KIND__KIND_TIMESTAMP, FRACTION},
    {"timestamp", GW__KIND__KIND_TIMESTAMPTZ, FRACTION},
    {"year", GW__KIND__KIND_YEAR, NONE},
    {"enum", GW__KIND__KIND_ENUM, CHARSET | LABELS},
    {"set", GW__KIND__KIND_SET, CHARSET | LABELS},
    {"json", GW__KIND__KIND_JSON, NONE},
    {"uuid", GW__KIND__KIND_UUID, NONE},
    {"inet4", GW__KIND__KIND_INET, NONE},
    {"inet6", GW__KIND__KIND_INET, NONE},
    {"vector", GW__KIND__KIND_VARBINARY, NONE}, // its floats, as stored
    {"geometry", GW__KIND__KIND_GEOMETRY, NONE},
    {"point", GW__KIND__KIND_GEOMETRY, NONE},
    {"linestring", GW__KIND__KIND_GEOMETRY, NONE},
    {"polygon", GW__KIND__KIND_GEOMETRY, NONE},
    {"multipoint", GW__KIND__KIND_GEOMETRY, NONE},
    {"multilinestring", GW__KIND__KIND_GEOMETRY, NONE},
    {"multipolygon", GW__KIND__KIND_GEOMETRY, NONE},
    {"geometrycollection", GW__KIND__KIND_GEOMETRY, NONE},
    {"geomcollection", GW__KIND__KIND_GEOMETRY, NONE},
};

static void
add_labels(struct gw_arena *a, const char *column_type, Gw__Type *ret)
{
    const char *p = strchr(column_type, '(');
    char *label;
    while (p && (*p == '(' || *p == ',')) {
        p++;
        label = my_ddl_string(a, &p);
        if (!label) {
            return;
        }
        gw_pb_add(a, ret, labels, label);
    }
}

void
my_type_map(struct gw_arena *a, const struct my_type_facts *f, Gw__Type *ret)
{
    unsigned facts = CHARSET;
    ret->kind = GW__KIND__KIND_OTHER;
    ret->native = gw_arena_strdup(a, f->column_type);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcasecmp(rows[i].name, f->data_type) == 0) {
            ret->kind = rows[i].kind;
            facts = rows[i].facts;
        }
    }
    const char *behind = strrchr(f->column_type, ')');
    behind = behind ? behind : f->column_type;
    bool number = ret->kind >= GW__KIND__KIND_INT8 && ret->kind <= GW__KIND__KIND_FLOAT64;
    ret->is_unsigned = number && strstr(behind, "unsigned");
    if (facts & LENGTH) {
        ret->length = f->length;
    }
    if (facts & OCTETS) {
        ret->length = f->octets;
    }
    if (facts & BITS) {
        ret->length = f->precision;
    }
    if (facts & DECIMALS) {
        ret->precision = f->precision;
        ret->scale = f->scale;
        ret->has_scale = true;
    }
    if (facts & FRACTION) {
        ret->precision = f->fraction;
        ret->has_scale = true;
    }
    if (facts & CHARSET) {
        ret->charset = gw_arena_strdup(a, f->charset);
        ret->collation = gw_arena_strdup(a, f->collation);
    }
    if (facts & LABELS) {
        add_labels(a, f->column_type, ret);
    }
}

bool
my_type_is_lob(const Gw__Type *t)
{
    switch (t->kind) {
    case GW__KIND__KIND_TEXT: return t->length == 0 || t->length > 65535; // MEDIUMTEXT, LONGTEXT
    case GW__KIND__KIND_BLOB: return t->length == 0 || t->length >= 65535;
    case GW__KIND__KIND_JSON:
    case GW__KIND__KIND_GEOMETRY: return true;
    default: return false;
    }
}

// ---- defaults ----------------------------------------------------------------------------------

static bool
is_number(const char *s)
{
    char *end = NULL;
    (void)strtod(s, &end);
    return *s && !isspace((unsigned char)*s) && end && *end == 0 && strspn(s, "+-.0123456789eE") == strlen(s);
}

static bool
is_now(const char *s)
{
    return strncasecmp(s, "current_timestamp", 17) == 0 || strncasecmp(s, "now(", 4) == 0;
}

// b'101' as n bits.
static char *
bits_of(struct gw_arena *a, const char *text, uint64_t n)
{
    size_t digits = strspn(text, "01");
    char *s = gw_arena_alloc(a, n + digits + 1);
    size_t pad = digits < n ? n - digits : 0;
    memset(s, '0', pad);
    memcpy(s + pad, text + (digits > n ? digits - n : 0), digits > n ? n : digits);
    s[n] = 0;
    return s;
}

static bool
is_binary(const Gw__Type *t)
{
    return t->kind == GW__KIND__KIND_BINARY || t->kind == GW__KIND__KIND_VARBINARY || t->kind == GW__KIND__KIND_BLOB;
}

static char *
hex_of(struct gw_arena *a, const char *bytes, size_t n)
{
    char *s = gw_arena_alloc(a, n * 2 + 3);
    memcpy(s, "\\x", 3);
    for (size_t i = 0; i < n; i++) {
        snprintf(s + 2 + i * 2, 3, "%02x", (unsigned char)bytes[i]);
    }
    return s;
}

// A literal's value in the canonical form of the column's kind.
static char *
canonical(struct gw_arena *a, const Gw__Type *t, const char *text)
{
    switch (t->kind) {
    case GW__KIND__KIND_BIT: return bits_of(a, text, t->length);
    case GW__KIND__KIND_TIMESTAMPTZ: return gw_arena_printf(a, "%s+00", text);
    case GW__KIND__KIND_INT8:
    case GW__KIND__KIND_INT16:
    case GW__KIND__KIND_INT24:
    case GW__KIND__KIND_INT32:
    case GW__KIND__KIND_INT64:
        while (text[0] == '0' && text[1]) {
            text++; // ZEROFILL
        }
        return gw_arena_strdup(a, text);
    default: return gw_arena_strdup(a, text);
    }
}

static void
set_literal(struct gw_arena *a, Gw__Column *c, const char *value)
{
    c->default_kind = GW__DEFAULT_KIND__DEFAULT_LITERAL;
    c->default_text = canonical(a, c->type, value);
}

// 'text' or 0x616263 of a binary column. MariaDB writes ? for a byte that is no UTF-8, so that a ? says nothing.
static bool
default_binary(struct gw_arena *a, const struct gw_my_server *server, Gw__Column *c, const char *p)
{
    size_t n = 0;
    p = my_ddl_skip(p);
    if (p[0] == '0' && p[1] == 'x') {
        n = strspn(p + 2, "0123456789abcdefABCDEF");
        c->default_native = gw_arena_memdup0(a, p, n + 2);
        c->default_text = gw_arena_printf(a, "\\x%.*s", (int)n, p + 2);
        for (char *q = c->default_text + 2; *q; q++) {
            *q = (char)tolower((unsigned char)*q);
        }
    } else {
        char *bytes = my_ddl_bytes(a, &p, &n);
        if (!bytes || (server->mariadb && memchr(bytes, '?', n))) {
            return false;
        }
        c->default_text = hex_of(a, bytes, n);
        c->default_native = gw_arena_printf(a, "x'%s'", c->default_text + 2);
    }
    c->default_kind = GW__DEFAULT_KIND__DEFAULT_LITERAL;
    return true;
}

// MariaDB writes the default as SQL: 'text', 5, NULL, current_timestamp(), uuid().
static void
default_mariadb(struct gw_arena *a, Gw__Column *c, const char *text)
{
    const char *p = text;
    size_t len = 0;
    char *value = my_ddl_bytes(a, &p, &len);
    c->default_native = gw_arena_strdup(a, text);
    if (value && strlen(value) == len && !*my_ddl_skip(p)) {
        set_literal(a, c, value);
    } else if ((text[0] | 32) == 'b' && text[1] == '\'') {
        set_literal(a, c, text + 2);
    } else if (is_number(text)) {
        set_literal(a, c, text);
    } else if (is_now(text)) {
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP;
    } else if (strcasecmp(text, "curdate()") == 0) {
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_CURRENT_DATE;
    } else {
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_EXPRESSION;
        c->default_native = gw_arena_printf(a, value ? "%s" : "(%s)", text);
    }
}

// MySQL writes a literal bare, and marks what is not one.
static void
default_mysql(struct gw_arena *a, Gw__Column *c, const char *text, bool computed, const char *item)
{
    bool temporal = c->type->kind == GW__KIND__KIND_TIMESTAMP || c->type->kind == GW__KIND__KIND_TIMESTAMPTZ;
    if ((computed || temporal) && is_now(text)) {
        c->default_kind = GW__DEFAULT_KIND__DEFAULT_CURRENT_TIMESTAMP;
        c->default_native = gw_arena_strdup(a, text);
    } else if (computed) {
        char *expression = my_ddl_expression(a, item, "DEFAULT");
        bool today = strcasecmp(text, "curdate()") == 0;
        c->default_kind = today ? GW__DEFAULT_KIND__DEFAULT_CURRENT_DATE : GW__DEFAULT_KIND__DEFAULT_EXPRESSION;
        c->default_native = gw_arena_printf(a, "(%s)", expression[0] ? expression : text);
    } else if (c->type->kind == GW__KIND__KIND_BIT && (text[0] | 32) == 'b' && text[1] == '\'') {
        c->default_native = gw_arena_strdup(a, text);
        set_literal(a, c, text + 2);
    } else {
        MY_BUF native;
        gw_buf_init(&native, MY_SQL_MAX);
        gw_my_literal(&native, text, strlen(text));
        c->default_native = gw_arena_strdup(a, native.data);
        set_literal(a, c, text);
    }
}

bool
my_default(struct gw_arena *a, const struct gw_my_server *server, Gw__Column *c, const char *text, const char *extra,
           const char *item)
{
    c->on_update_now = strcasestr(extra, "on update current_timestamp") != NULL;
    if (!text || c->generated[0] || c->identity == GW__IDENTITY__IDENTITY_AUTO ||
        (server->mariadb && strcasecmp(text, "NULL") == 0)) {
        return true;
    }
    bool computed = strcasestr(extra, "DEFAULT_GENERATED") != NULL;
    const char *literal = my_ddl_word(item, "DEFAULT");
    if (is_binary(c->type) && !computed && literal && strspn(my_ddl_skip(literal), "'0")) {
        return default_binary(a, server, c, literal);
    }
    if (server->mariadb) {
        default_mariadb(a, c, text);
    } else {
        default_mysql(a, c, text, computed, item);
    }
    return true;
}
