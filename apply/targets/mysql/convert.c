// COPY text -> LOAD DATA text.
//
// The two forms are nearly one: tabs, newlines, \N, and a backslash before \ t n r b. LOAD DATA reads \v and \f as the letters, so
// these become the bytes. The statement says CHARACTER SET binary: bytes go into a column as they are, and bytea, bits
// and booleans are decoded here. LOCAL makes LOAD DATA turn errors into warnings, which the caller counts; what the server
// alters without so much as a warning (a fraction of a second beyond the column's, a number that is taken for the
// position of an enumeration's label, a time of day in a date, a fraction in an integer) is refused here.
//
// A changed row's values come unescaped, one by one, and become parameters of a statement: the same rules, without escapes.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "myt.h"

enum op {
    OP_PLAIN,
    OP_HEX,  // \x…, into bytes
    OP_BOOL, // t, f, into 1, 0
    OP_BOOL_BIT,
    OP_INTEGER, // a number that may have a fraction, which the server would round
    OP_BITS,    // 0101, into bytes, right-aligned
    OP_DATE,    // a date, or a timestamp into a date
    OP_STAMP,   // with a date
    OP_TIME,
    OP_LABEL,
};

struct op_column {
    enum op op;
    bool zone;         // ends in +00, which is cut
    bool filled;       // the server would put a value of its own where NULL comes
    unsigned fraction; // digits of a second that the column holds
    const char *name;
    char **labels; // escaped as COPY text
    size_t n_labels;
};

struct myt_conv {
    const Gw__Table *table;
    bool any; // a column is not plain
    size_t n;
    struct op_column *columns;
};

// ---- what to do with each column

static bool
one_of(const char *word, const char *const *words)
{
    for (size_t i = 0; words[i]; i++) {
        if (strcasecmp(word, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool
is_bytes(const char *type)
{
    static const char *const words[] = {
        "binary",       "varbinary",      "tinyblob",           "blob",    "mediumblob", "longblob",
        "geometry",     "point",          "linestring",         "polygon", "multipoint", "multilinestring",
        "multipolygon", "geomcollection", "geometrycollection", "vector",  NULL};
    return one_of(type, words);
}

static bool
is_integer(const char *type)
{
    static const char *const words[] = {"tinyint", "smallint", "mediumint", "int", "bigint", NULL};
    return one_of(type, words);
}

// Whether the values are integers by the source's own typing, and so need no look.
static bool
surely_integer(const Gw__Table *t, const Gw__Type *type)
{
    bool typed = strcmp(t->engine, "postgresql") == 0 || strcmp(t->engine, "mysql") == 0;
    return typed && type->kind >= GW__KIND__KIND_INT8 && type->kind <= GW__KIND__KIND_INT64;
}

bool
myt_conv_by_variable(const struct myt_have *h)
{
    static const char *const direct[] = {"", "utf8mb4", "utf8mb3", "utf8", "binary", NULL};
    // These take a binary string for their inner form.
    static const char *const inner[] = {"json", "uuid", "inet4", "inet6", NULL};
    // A TEXT takes bytes as they are; of three-byte UTF-8 not every character fits.
    static const char *const texts[] = {"tinytext", "text", "mediumtext", "longtext", NULL};
    bool three = strncasecmp(h->charset, "utf8", 4) == 0 && strcasecmp(h->charset, "utf8mb4") != 0;
    return one_of(h->data_type, inner) || !one_of(h->charset, direct) || (three && one_of(h->data_type, texts));
}

// enum('a','it''s') -> labels, escaped as COPY text so that fields can be compared as they come.
static void
parse_labels(struct gw_arena *a, struct op_column *c, const char *type)
{
    size_t max = strlen(type) / 3 + 1;
    c->labels = gw_arena_calloc(a, max, sizeof *c->labels);
    const char *p = strchr(type, '\'');
    while (p && *p == '\'' && c->n_labels < max) {
        MYT_BUF label;
        gw_buf_init(&label, 1 << 20);
        gw_buf_puts(&label, "");
        for (p++; *p; p++) {
            if (*p == '\'' && *++p != '\'') {
                break;
            }
            // The server writes \\ \n \r \0 there with a backslash, as COPY text does.
            if (*p == '\\' && p[1]) {
                gw_buf_putc(&label, *p++);
            } else if (*p == '\t') {
                gw_buf_puts(&label, "\\t");
                continue;
            }
            gw_buf_putc(&label, *p);
        }
        c->labels[c->n_labels++] = gw_arena_memdup0(a, label.data ? label.data : "", label.len);
        p += *p == ',';
    }
}

static enum op
date_op(const char *type)
{
    static const char *const stamps[] = {"datetime", "timestamp", NULL};
    return strcasecmp(type, "date") == 0 ? OP_DATE : one_of(type, stamps) ? OP_STAMP : OP_PLAIN;
}

static void
choose(struct gw_arena *a, const Gw__Table *t, const Gw__Column *c, const struct myt_have *h, struct op_column *o)
{
    const char *type = h->data_type;
    o->op = OP_PLAIN;
    o->name = c->name;
    bool stamp = strcasecmp(type, "timestamp") == 0 && h->not_null;
    o->filled = h->counts || stamp;
    o->fraction = h->fraction;
    switch (c->type->kind) {
    case GW__KIND__KIND_BINARY:
    case GW__KIND__KIND_VARBINARY:
    case GW__KIND__KIND_BLOB:
    case GW__KIND__KIND_GEOMETRY: o->op = is_bytes(type) ? OP_HEX : OP_PLAIN; break;
    case GW__KIND__KIND_BOOL:
        o->op = is_integer(type) || strcasecmp(type, "decimal") == 0 ? OP_BOOL
                : strcasecmp(type, "bit") == 0                       ? OP_BOOL_BIT
                                                                     : OP_PLAIN;
        break;
    case GW__KIND__KIND_BIT:
    case GW__KIND__KIND_VARBIT: o->op = strcasecmp(type, "bit") == 0 ? OP_BITS : OP_PLAIN; break;
    case GW__KIND__KIND_TIMESTAMPTZ:
        o->op = date_op(type);
        o->zone = o->op != OP_PLAIN;
        break;
    case GW__KIND__KIND_TIME:
    case GW__KIND__KIND_DURATION: o->op = strcasecmp(type, "time") == 0 ? OP_TIME : OP_PLAIN; break;
    default:
        if (strcasecmp(type, "enum") == 0) {
            o->op = OP_LABEL;
            parse_labels(a, o, h->column_type);
        } else if (is_integer(type)) {
            o->op = surely_integer(t, c->type) ? OP_PLAIN : OP_INTEGER;
        } else {
            o->op = strcasecmp(type, "time") == 0 ? OP_TIME : date_op(type);
        }
    }
}

struct myt_conv *
myt_conv_make(struct gw_arena *a, const Gw__Table *t, const struct myt_have *have)
{
    struct myt_conv *v = gw_arena_calloc(a, 1, sizeof *v);
    v->table = t;
    v->columns = gw_arena_calloc(a, t->n_columns + 1, sizeof *v->columns);
    for (size_t i = 0; i < t->n_columns; i++) {
        const Gw__Column *c = t->columns[i];
        if (c->left_out) {
            continue;
        }
        struct op_column *o = &v->columns[v->n++];
        o->name = c->name;
        for (const struct myt_have *h = have; h->name; h++) {
            if (myt_same_name(h->name, c->name)) {
                choose(a, t, c, h, o);
            }
        }
        bool nulls = !c->not_null && !myt_in_pk(t, c->name);
        v->any = v->any || o->op != OP_PLAIN || (o->filled && nulls);
    }
    return v;
}

// ---- values

struct value {
    const struct myt_conv *v;
    const struct op_column *c;
    const char *at;
    size_t len;
    bool quote; // the message may show the value
    bool plain; // unescaped, and to be left so
    struct gw_err *err;
};

static int
refuse(const struct value *x, const char *why)
{
    gw_err_set(x->err, GW_DATA, "", "column \"%s\" of table \"%s\": %s", x->c->name, x->v->table->name, why);
    if (x->quote) {
        gw_err_detail(x->err, "value: %.*s", (int)(x->len > 200 ? 200 : x->len), x->at);
    }
    return GW_DATA;
}

// Copies escaped text; the escapes that LOAD DATA does not know become bytes.
static int
put_escaped(struct gw_buf *out, const char *p, size_t len, struct gw_err *err)
{
    const char *end = p + len;
    char *to = gw_buf_room(out, len);
    if (!to) {
        return gw_err_set(err, GW_BUG, "", "rows do not fit into the buffer");
    }
    char *start = to;
    for (;;) {
        const char *esc = memchr(p, '\\', (size_t)(end - p));
        size_t n = (size_t)((esc ? esc : end) - p);
        memcpy(to, p, n);
        to += n;
        if (!esc) {
            break;
        }
        if (esc + 1 == end) {
            return gw_err_set(err, GW_BUG, "", "a row ends inside an escape");
        }
        switch (esc[1]) {
        case 'v': *to++ = '\v'; break;
        case 'f': *to++ = '\f'; break;
        case '\\':
        case 't':
        case 'n':
        case 'r':
        case 'b':
        case 'N':
            *to++ = '\\';
            *to++ = esc[1];
            break;
        default: return gw_err_set(err, GW_BUG, "", "rows hold an escape that is not one: \\%c", esc[1]);
        }
        p = esc + 2;
    }
    gw_buf_added(out, (size_t)(to - start));
    return GW_OK;
}

static int
put_text(struct gw_buf *out, const struct value *x)
{
    if (!x->plain) {
        return put_escaped(out, x->at, x->len, x->err);
    }
    gw_buf_put(out, x->at, x->len);
    return GW_OK;
}

static char *
put_byte(char *to, unsigned char b, bool plain)
{
    if (plain) {
        *to++ = (char)b;
    } else if (b == '\\' || b == '\t' || b == '\n') {
        *to++ = '\\';
        *to++ = b == '\t' ? 't' : b == '\n' ? 'n' : '\\';
    } else {
        *to++ = (char)b;
    }
    return to;
}

static const signed char digits[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

static int
put_hex(struct gw_buf *out, const struct value *x)
{
    const char *prefix = x->plain ? "\\x" : "\\\\x";
    size_t head = strlen(prefix);
    if (x->len < head || memcmp(x->at, prefix, head) != 0 || (x->len - head) % 2 != 0) {
        return refuse(x, "bytes are not written as hexadecimal digits");
    }
    char *to = gw_buf_room(out, x->len);
    if (!to) {
        return gw_err_set(x->err, GW_BUG, "", "rows do not fit into the buffer");
    }
    char *start = to;
    for (size_t i = head; i < x->len; i += 2) {
        int hi = digits[(unsigned char)x->at[i]] - 1, lo = digits[(unsigned char)x->at[i + 1]] - 1;
        if (hi < 0 || lo < 0) {
            return refuse(x, "bytes are not written as hexadecimal digits");
        }
        to = put_byte(to, (unsigned char)(hi << 4 | lo), x->plain);
    }
    gw_buf_added(out, (size_t)(to - start));
    return GW_OK;
}

// The server counts a bit column's bytes from the right; too many bits are its warning.
static int
put_bits(struct gw_buf *out, const struct value *x)
{
    if (x->len > 64) {
        return refuse(x, "more than 64 bits");
    }
    uint64_t bits = 0;
    for (size_t i = 0; i < x->len; i++) {
        if (x->at[i] != '0' && x->at[i] != '1') {
            return refuse(x, "not a string of bits");
        }
        bits = bits << 1 | (x->at[i] == '1');
    }
    char text[16], *to = text;
    for (int shift = 56; shift >= 0; shift -= 8) {
        to = put_byte(to, (unsigned char)(bits >> shift & 255), x->plain);
    }
    // Leading zero bytes are dropped: a narrow column would call them too long.
    const char *from = text;
    while (from < to - 1 && *from == 0) {
        from++;
    }
    gw_buf_put(out, from, (size_t)(to - from));
    return GW_OK;
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Digits of a second beyond the column's would be cut (or rounded) without a word.
static bool
fraction_fits(const char *p, size_t len, unsigned fraction)
{
    const char *dot = memchr(p, '.', len);
    for (const char *d = dot ? dot + 1 : p + len; d < p + len && is_digit(*d); d++) {
        if ((size_t)(d - dot) > fraction && *d != '0') {
            return false;
        }
    }
    return true;
}

static int
put_date(struct gw_buf *out, const struct value *x)
{
    struct value y = *x;
    if (x->c->zone) {
        if (x->len < 3 || memcmp(x->at + x->len - 3, "+00", 3) != 0) {
            return refuse(x, "a time that the target cannot hold");
        }
        y.len -= 3;
    }
    // infinity, years beyond 9999, and years before 1 have no counterpart.
    bool shaped = y.len >= 10 && y.at[4] == '-' && y.at[7] == '-' && is_digit(y.at[y.len - 1]);
    for (size_t i = 0; shaped && i < 4; i++) {
        shaped = is_digit(y.at[i]);
    }
    if (!shaped) {
        return refuse(x, "a date that the target cannot hold");
    }
    if (y.c->op == OP_DATE && y.len > 10) {
        for (size_t i = 10; i < y.len; i++) {
            if (y.at[i] >= '1' && y.at[i] <= '9') {
                return refuse(x, "the time of day would be cut");
            }
        }
    }
    if (y.c->op == OP_STAMP && !fraction_fits(y.at, y.len, y.c->fraction)) {
        return refuse(x, "the fraction of a second would be cut");
    }
    gw_buf_put(out, y.at, y.len);
    return GW_OK;
}

// Is the value what the escaped label says?
static bool
is_label(const struct value *x, const char *label)
{
    size_t n = strlen(label), at = 0;
    if (!x->plain) {
        return n == x->len && memcmp(label, x->at, n) == 0;
    }
    for (const char *p = label; *p; p++, at++) {
        char c = *p;
        if (c == '\\' && p[1]) {
            c = *++p;
            c = c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == '0' ? 0 : c;
        }
        if (at == x->len || x->at[at] != c) {
            return false;
        }
    }
    return at == x->len;
}

static int
put_label(struct gw_buf *out, const struct value *x)
{
    for (size_t i = 0; i < x->c->n_labels; i++) {
        if (is_label(x, x->c->labels[i])) {
            return put_text(out, x);
        }
    }
    return refuse(x, "the enumeration has no such label");
}

static int
put_bool(struct gw_buf *out, const struct value *x)
{
    if (x->len != 1 || (*x->at != 't' && *x->at != 'f')) {
        return refuse(x, "neither true nor false");
    }
    bool yes = *x->at == 't';
    gw_buf_putc(out, (char)(x->c->op == OP_BOOL_BIT ? yes : yes ? '1' : '0'));
    return GW_OK;
}

static int
put_integer(struct gw_buf *out, const struct value *x)
{
    size_t i = x->len > 0 && (x->at[0] == '-' || x->at[0] == '+'), first = i;
    while (i < x->len && is_digit(x->at[i])) {
        i++;
    }
    size_t end = i;
    if (i < x->len && x->at[i] == '.') {
        for (i++; i < x->len && x->at[i] == '0'; i++) {
        }
    }
    if (end == first || i < x->len) {
        return refuse(x, "not an integer");
    }
    gw_buf_put(out, x->at, end);
    return GW_OK;
}

static int
put_value(struct gw_buf *out, const struct value *x)
{
    switch (x->c->op) {
    case OP_HEX: return put_hex(out, x);
    case OP_BOOL:
    case OP_BOOL_BIT: return put_bool(out, x);
    case OP_BITS: return put_bits(out, x);
    case OP_INTEGER: return put_integer(out, x);
    case OP_DATE:
    case OP_STAMP: return put_date(out, x);
    case OP_TIME:
        if (!fraction_fits(x->at, x->len, x->c->fraction)) {
            return refuse(x, "the fraction of a second would be cut");
        }
        return put_text(out, x);
    case OP_LABEL: return put_label(out, x);
    default: return put_text(out, x);
    }
}

static int
put_null(struct gw_buf *out, const struct value *x)
{
    if (x->c->filled) {
        return refuse(x, "the column is NOT NULL");
    }
    gw_buf_puts(out, x->plain ? "" : "\\N");
    return GW_OK;
}

// ---- rows

// Fields that are plain go in one piece with what is between them.
static int
put_rows(const struct myt_conv *v, struct gw_buf *out, const char *rows, size_t len, bool values, struct gw_err *err)
{
    const char *p = rows, *end = rows + len;
    size_t col = 0;
    int rc = GW_OK;
    while (rc == GW_OK && p < end) {
        const char *stop = p;
        while (stop < end && *stop != '\t' && *stop != '\n') {
            stop++;
        }
        if (stop == end || col >= v->n || (*stop == '\n') != (col == v->n - 1)) {
            return gw_err_set(err, GW_BUG, "", "a row does not have the %zu columns of table \"%s\"", v->n,
                              v->table->name);
        }
        struct value x = {v, &v->columns[col], p, (size_t)(stop - p), values, false, err};
        bool null = x.len == 2 && p[0] == '\\' && p[1] == 'N';
        rc = null ? put_null(out, &x) : put_value(out, &x);
        gw_buf_putc(out, *stop);
        col = *stop == '\n' ? 0 : col + 1;
        p = stop + 1;
    }
    return rc;
}

int
myt_convert(const struct myt_conv *v, struct gw_buf *out, const char *rows, size_t len, bool values, struct gw_err *err)
{
    size_t before = out->len;
    if (!myt_utf8_valid(rows, len)) { // bytes travel as digits: all of it is text
        return gw_err_set(err, GW_DATA, "", "table \"%s\": text that is not UTF-8", v->table->name);
    }
    int rc = v->any ? put_rows(v, out, rows, len, values, err) : put_escaped(out, rows, len, err);
    if (rc == GW_OK && out->overflowed) {
        rc = gw_err_set(err, GW_BUG, "", "rows do not fit into the buffer");
    }
    if (rc != GW_OK) {
        out->len = before;
        out->overflowed = false;
    }
    return rc;
}

int
myt_convert_value(const struct myt_conv *v, size_t field, struct gw_buf *out, const char *at, size_t len, bool null,
                  bool values, struct gw_err *err)
{
    struct value x = {v, &v->columns[field], at, len, values, true, err};
    if (null) {
        return put_null(out, &x);
    }
    if (!myt_utf8_valid(at, len)) {
        return refuse(&x, "text that is not UTF-8");
    }
    return put_value(out, &x);
}

bool
myt_conv_is_bytes(const struct myt_conv *v, size_t field)
{
    enum op op = v->columns[field].op;
    return op == OP_HEX || op == OP_BITS || op == OP_BOOL_BIT;
}
