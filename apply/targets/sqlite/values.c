// One field of a row bound to a parameter. Nothing is allocated: fields without escapes are bound where they stand,
// others are unescaped into the scratch buffer, which has room for the whole row.
#include <math.h>
#include <string.h>

#include "apply/targets/sqlite/sqlite_target.h"

struct lite_field_form
lite_form_of(const Gw__Table *t, const Gw__Column *c)
{
    struct lite_field_form f = {.form = FORM_TEXT, .name = c->name};
    f.tagged = strcmp(t->engine, "sqlite") == 0;
    f.not_null = lite_is_rowid(t, c);
    switch (c->type->kind) {
    case GW__KIND__KIND_INT8:
    case GW__KIND__KIND_INT16:
    case GW__KIND__KIND_INT24:
    case GW__KIND__KIND_INT32:
    case GW__KIND__KIND_YEAR: f.form = FORM_INT; break;
    case GW__KIND__KIND_INT64: f.form = c->type->is_unsigned && !lite_is_rowid(t, c) ? FORM_UINT : FORM_INT; break;
    case GW__KIND__KIND_FLOAT32:
    case GW__KIND__KIND_FLOAT64: f.form = FORM_REAL; break;
    case GW__KIND__KIND_BOOL: f.form = FORM_BOOL; break;
    case GW__KIND__KIND_BINARY:
    case GW__KIND__KIND_VARBINARY:
    case GW__KIND__KIND_BLOB:
    case GW__KIND__KIND_GEOMETRY: f.form = FORM_BYTES; break;
    case GW__KIND__KIND_NUMERIC:
        // Between SQLite files a DECIMAL column holds integers and floats: made here, by a conversion that is exact,
        // rather than by the column's affinity.
        if (f.tagged && gw_lite_affinity(c->type->native) != GW_LITE_TEXT) {
            f.form = FORM_NUMBER;
        }
        break;
    case GW__KIND__KIND_OTHER:
        if (f.tagged) {
            f.form = FORM_ANY;
        }
        break;
    default: break;
    }
    return f;
}

static int
refused(const struct lite_field_form *f, const char *what, struct gw_err *err)
{
    return gw_err_set(err, GW_DATA, "MISMATCH", "column \"%s\": the value is not %s", f->name, what);
}

// A parameter can fail to be bound only for its size or for want of memory.
static int
bound(sqlite3_stmt *s, const struct lite_field_form *f, int rc, struct gw_err *err)
{
    return rc == SQLITE_OK ? GW_OK : gw_lite_error(sqlite3_db_handle(s), rc, err, "bind column \"%s\"", f->name);
}

static bool
equals(const char *p, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(p, word, n) == 0;
}

// Integers with leading zeros too (ZEROFILL, years).
static bool
parse_int(const char *p, size_t n, int64_t *ret)
{
    while (n > 1 && p[0] == '0') {
        p++;
        n--;
    }
    return gw_lite_parse_int(p, n, ret);
}

static int
bind_hex(sqlite3_stmt *s, int i, const struct lite_field_form *f, const char *p, size_t n, struct gw_buf *scratch,
         struct gw_err *err)
{
    static const signed char digit[256] = {
        ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
        ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
        ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16};
    char *to = n % 2 ? NULL : gw_buf_room(scratch, n / 2), *start = to;
    for (size_t k = 0; to && k < n; k += 2) {
        int hi = digit[(unsigned char)p[k]], lo = digit[(unsigned char)p[k + 1]];
        if (!hi || !lo) {
            return refused(f, "bytes", err);
        }
        *to++ = (char)((hi - 1) << 4 | (lo - 1));
    }
    if (!to) {
        return refused(f, "bytes", err);
    }
    gw_buf_added(scratch, n / 2);
    return bound(s, f, sqlite3_bind_blob64(s, i, start, n / 2, SQLITE_STATIC), err);
}

static int
bind_real(sqlite3_stmt *s, int i, const struct lite_field_form *f, const char *p, size_t n, struct gw_err *err)
{
    double v = 0;
    if (gw_lite_parse_real(p, n, &v)) {
        if (f->form == FORM_REAL && v == 0 && signbit(v)) {
            return refused(f, "one that SQLite keeps: it drops the sign of -0", err);
        }
        return bound(s, f, sqlite3_bind_double(s, i, v), err);
    }
    if (equals(p, n, "Infinity") || equals(p, n, "-Infinity")) {
        return bound(s, f, sqlite3_bind_double(s, i, p[0] == '-' ? -HUGE_VAL : HUGE_VAL), err);
    }
    if (equals(p, n, "NaN")) {
        // as a number it would be stored as NULL
        return bound(s, f, sqlite3_bind_text(s, i, "NaN", 3, SQLITE_STATIC), err);
    }
    return refused(f, "a floating-point number", err);
}

static int
bind_tagged(sqlite3_stmt *s, int i, const struct lite_field_form *f, const char *p, size_t n, struct gw_buf *scratch,
            struct gw_err *err)
{
    int64_t whole = 0;
    char cls = n >= 2 ? p[1] : 0;
    p += 2;
    n -= 2;
    if (cls == 'i' && gw_lite_parse_int(p, n, &whole)) {
        return bound(s, f, sqlite3_bind_int64(s, i, whole), err);
    } else if (cls == 'r') {
        return bind_real(s, i, f, p, n, err);
    } else if (cls == 't') {
        return bound(s, f, sqlite3_bind_text64(s, i, p, n, SQLITE_STATIC, SQLITE_UTF8), err);
    } else if (cls == 'b') {
        return bind_hex(s, i, f, p, n, scratch, err);
    }
    return refused(f, "a tagged value", err);
}

// p, n: the field without its escapes.
static int
bind_plain(sqlite3_stmt *s, int i, const struct lite_field_form *f, const char *p, size_t n, struct gw_buf *scratch,
           struct gw_err *err)
{
    int64_t whole = 0;
    double real = 0;
    switch (f->form) {
    case FORM_TEXT: break;
    case FORM_INT:
        return parse_int(p, n, &whole) ? bound(s, f, sqlite3_bind_int64(s, i, whole), err)
                                       : refused(f, "an integer of 64 bits with a sign", err);
    case FORM_UINT:
        if (parse_int(p, n, &whole)) {
            return bound(s, f, sqlite3_bind_int64(s, i, whole), err);
        }
        if (n > 20 || n < 19 || strspn(p, "0123456789") < n) {
            return refused(f, "an integer of 64 bits", err);
        }
        break;
    case FORM_REAL: return bind_real(s, i, f, p, n, err);
    case FORM_BOOL:
        return n == 1 && (p[0] == 't' || p[0] == 'f') ? bound(s, f, sqlite3_bind_int(s, i, p[0] == 't'), err)
                                                      : refused(f, "t or f", err);
    case FORM_BYTES:
        return n >= 2 && p[0] == '\\' && p[1] == 'x' ? bind_hex(s, i, f, p + 2, n - 2, scratch, err)
                                                     : refused(f, "bytes", err);
    case FORM_NUMBER:
    case FORM_ANY:
        if (gw_lite_parse_int(p, n, &whole)) {
            return bound(s, f, sqlite3_bind_int64(s, i, whole), err);
        }
        if (gw_lite_parse_real(p, n, &real)) {
            return bound(s, f, sqlite3_bind_double(s, i, real), err);
        }
        if (equals(p, n, "Infinity") || equals(p, n, "-Infinity")) {
            return bind_real(s, i, f, p, n, err);
        }
        break;
    }
    return bound(s, f, sqlite3_bind_text64(s, i, p, n, SQLITE_STATIC, SQLITE_UTF8), err);
}

int
lite_bind_value(sqlite3_stmt *s, int i, const struct lite_field_form *f, const char *p, size_t n,
                struct gw_buf *scratch, struct gw_err *err)
{
    if (!p) {
        return f->not_null ? gw_err_set(err, GW_DATA, "CONSTRAINT", "column \"%s\": the key is NULL", f->name)
                           : bound(s, f, sqlite3_bind_null(s, i), err);
    }
    bool tagged = f->tagged && n && (unsigned char)p[0] == GW_LITE_TAG;
    return tagged ? bind_tagged(s, i, f, p, n, scratch, err) : bind_plain(s, i, f, p, n, scratch, err);
}

int
lite_bind_field(sqlite3_stmt *s, int i, const struct lite_field_form *f, const struct gw_copy_field *field,
                struct gw_buf *scratch, struct gw_err *err)
{
    const char *p = field->null ? NULL : field->at;
    size_t n = field->len;
    if (p && memchr(p, '\\', n)) {
        size_t start = scratch->len;
        gw_copy_unescape(scratch, p, n);
        p = scratch->data + start;
        n = scratch->len - start;
    }
    return lite_bind_value(s, i, f, p, n, scratch, err);
}
