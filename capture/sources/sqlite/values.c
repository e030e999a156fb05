// One value as canonical text: exact, or tagged (lite.h) so that no target takes it for something else.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/sources/sqlite/sqlite_source.h"

// Follows a pattern: 9 = a digit, 5 = 0 to 5, everything else itself, ' ' also T. Returns what is behind it, or NULL.
static const char *
match(const char *p, const char *end, const char *pattern)
{
    for (; *pattern; pattern++, p++) {
        if (p >= end) {
            return NULL;
        }
        bool ok = *pattern == '9'   ? *p >= '0' && *p <= '9'
                  : *pattern == '5' ? *p >= '0' && *p <= '5'
                  : *pattern == ' ' ? *p == ' ' || *p == 'T'
                                    : *p == *pattern;
        if (!ok) {
            return NULL;
        }
    }
    return p;
}

// hh:mm:ss and up to six more digits. Seven and more would be rounded by a server.
static const char *
match_time(const char *p, const char *end)
{
    const char *start = p;
    p = match(p, end, "99:59:59");
    if (!p || (start[0] - '0') * 10 + start[1] - '0' > 23) {
        return NULL;
    }
    if (p < end && *p == '.') {
        const char *digits = ++p;
        while (p < end && *p >= '0' && *p <= '9') {
            p++;
        }
        if (p == digits || p - digits > 6) {
            return NULL;
        }
    }
    return p;
}

static bool
is_time(Gw__Kind kind, const char *p, size_t n)
{
    const char *end = p + n;
    bool date = kind != GW__KIND__KIND_TIME && kind != GW__KIND__KIND_TIMETZ;
    bool zone = kind == GW__KIND__KIND_TIMETZ || kind == GW__KIND__KIND_TIMESTAMPTZ;
    if (date) {
        p = match(p, end, "9999-99-99");
        if (p && kind == GW__KIND__KIND_DATE) {
            return p == end;
        }
        p = p ? match(p, end, " ") : NULL;
    }
    p = p ? match_time(p, end) : NULL;
    if (p && zone) {
        const char *sign = p < end && (*p == '+' || *p == '-') ? p + 1 : NULL;
        p = sign ? match(sign, end, "99") : NULL;
        if (p && p < end) {
            p = match(p, end, ":59");
        }
    }
    return p == end;
}

static bool
is_uuid(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f');
        if (hyphen ? p[i] != '-' : !hex) {
            return false;
        }
    }
    return n == 36;
}

// [-]digits[.digits]
static bool
is_decimal(const char *p, size_t n)
{
    size_t digits = 0, points = 0, i = n && p[0] == '-';
    for (; i < n; i++) {
        digits += p[i] >= '0' && p[i] <= '9';
        points += p[i] == '.';
    }
    return digits && points <= 1 && digits + points + (p[0] == '-') == n && p[n - 1] != '.';
}

static bool
is_utf8(const unsigned char *p, size_t n)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < n;) {
        uint64_t eight;
        if (n - i >= 8 && (memcpy(&eight, p + i, 8), (eight & 0x8080808080808080u) == 0)) {
            i += 8;
            continue;
        }
        unsigned char c = p[i++];
        if (c < 0x80) {
            continue;
        }
        size_t more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if (c < 0xc2 || c > 0xf4 || n - i < more) {
            return false;
        }
        uint32_t v = c & (0x3fu >> more);
        for (size_t k = 0; k < more; k++) {
            if ((p[i] & 0xc0) != 0x80) {
                return false;
            }
            v = v << 6 | (p[i++] & 0x3f);
        }
        if (v < least[more] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)) {
            return false;
        }
    }
    return true;
}

static bool
only(const char *p, size_t n, const char *set)
{
    for (size_t i = 0; i < n; i++) {
        if (!p[i] || !strchr(set, p[i])) {
            return false;
        }
    }
    return n > 0;
}

static bool
is_infinity(const char *p, size_t n)
{
    return (n == 8 && memcmp(p, "Infinity", 8) == 0) || (n == 9 && memcmp(p, "-Infinity", 9) == 0);
}

static bool
is_nan(const char *p, size_t n)
{
    return n == 3 && memcmp(p, "NaN", 3) == 0;
}

// Is the text the canonical form of a value of this kind?
static bool
text_fits(const struct lite_column *c, const char *p, size_t n)
{
    int64_t whole = 0;
    double real = 0;
    switch (c->kind) {
    case GW__KIND__KIND_TEXT:
    case GW__KIND__KIND_VARCHAR:
    case GW__KIND__KIND_JSON: return is_utf8((const unsigned char *)p, n);
    case GW__KIND__KIND_OTHER:
        // Text that reads like a number would come back as one.
        return !gw_lite_parse_real(p, n, &real) && !is_infinity(p, n) && is_utf8((const unsigned char *)p, n);
    case GW__KIND__KIND_NUMERIC:
        // Elsewhere Infinity is a float.
        return is_decimal(p, n) || is_nan(p, n) || (c->keeps_text && is_infinity(p, n));
    case GW__KIND__KIND_FLOAT64: return is_nan(p, n);
    case GW__KIND__KIND_INT64:
        // The upper half of 64 bits, which SQLite's integers cannot hold.
        return c->is_unsigned && n >= 19 && n <= 20 && p[0] != '0' && only(p, n, "0123456789") &&
               !gw_lite_parse_int(p, n, &whole) && (n == 19 || memcmp(p, "18446744073709551615", 20) <= 0);
    case GW__KIND__KIND_DATE:
    case GW__KIND__KIND_TIME:
    case GW__KIND__KIND_TIMETZ:
    case GW__KIND__KIND_TIMESTAMP:
    case GW__KIND__KIND_TIMESTAMPTZ: return is_time(c->kind, p, n);
    case GW__KIND__KIND_DURATION: return only(p, n, "-0123456789:.");
    case GW__KIND__KIND_UUID: return is_uuid(p, n);
    case GW__KIND__KIND_BIT:
    case GW__KIND__KIND_VARBIT: return n == 0 || only(p, n, "01");
    default: return false;
    }
}

static void
put_tagged(struct gw_buf *out, char cls, const char *p, size_t n)
{
    gw_buf_putc(out, (char)GW_LITE_TAG);
    gw_buf_putc(out, cls);
    gw_copy_put_field(out, p, n);
}

static void
put_int(struct gw_buf *out, int64_t v, const struct lite_column *c)
{
    char text[32];
    size_t n = (size_t)snprintf(text, sizeof text, "%lld", (long long)v);
    bool fits = true;
    switch (c->kind) {
    case GW__KIND__KIND_BOOL:
        fits = v == 0 || v == 1;
        if (fits) {
            text[0] = v ? 't' : 'f';
        }
        break;
    case GW__KIND__KIND_YEAR:
        fits = v >= 0 && v <= 9999;
        if (fits) {
            n = (size_t)snprintf(text, sizeof text, "%04lld", (long long)v);
        }
        break;
    case GW__KIND__KIND_INT64: fits = !c->is_unsigned || v >= 0; break;
    case GW__KIND__KIND_FLOAT64: fits = v >= -(INT64_C(1) << 53) && v <= INT64_C(1) << 53; break;
    case GW__KIND__KIND_NUMERIC:
    case GW__KIND__KIND_OTHER:
    case GW__KIND__KIND_JSON:
    case GW__KIND__KIND_TEXT:
    case GW__KIND__KIND_VARCHAR: break;
    default: fits = false;
    }
    if (fits) {
        gw_buf_put(out, text, n);
    } else {
        put_tagged(out, 'i', text, n);
    }
}

static void
put_real(struct gw_buf *out, double v, const struct lite_column *c)
{
    char text[400];
    size_t n = gw_lite_format_real(v, text);
    bool fits = c->kind == GW__KIND__KIND_FLOAT64 || c->kind == GW__KIND__KIND_OTHER ||
                c->kind == GW__KIND__KIND_TEXT || c->kind == GW__KIND__KIND_VARCHAR ||
                c->kind == GW__KIND__KIND_NUMERIC;
    if (c->kind == GW__KIND__KIND_NUMERIC && strchr(text, 'e')) {
        // Digits without an exponent: the shortest that read back to the same double.
        int places = 0;
        do {
            n = (size_t)snprintf(text, sizeof text, "%.*f", places, v);
            places = places ? places + 1 : 1;
        } while (strtod(text, NULL) != v && places < 345 && n < sizeof text);
        fits = n < sizeof text && strtod(text, NULL) == v;
        n = fits ? n : gw_lite_format_real(v, text);
    }
    if (fits) {
        gw_buf_put(out, text, n);
    } else {
        put_tagged(out, 'r', text, n);
    }
}

static void
put_blob(struct gw_buf *out, const void *p, size_t n, const struct lite_column *c)
{
    static const char digits[] = "0123456789abcdef";
    if (c->kind == GW__KIND__KIND_BLOB) {
        gw_copy_put_bytes(out, p ? p : "", n);
        return;
    }
    put_tagged(out, 'b', "", 0);
    char *to = gw_buf_room(out, n * 2);
    for (size_t i = 0; to && i < n; i++) {
        unsigned char b = ((const unsigned char *)p)[i];
        *to++ = digits[b >> 4];
        *to++ = digits[b & 15];
    }
    if (to) {
        gw_buf_added(out, n * 2);
    }
}

void
lite_value_put(struct gw_buf *out, sqlite3_stmt *s, int i, const struct lite_column *c)
{
    switch (sqlite3_column_type(s, i)) {
    case SQLITE_NULL: gw_copy_put_null(out); break;
    case SQLITE_INTEGER: put_int(out, sqlite3_column_int64(s, i), c); break;
    case SQLITE_FLOAT: put_real(out, sqlite3_column_double(s, i), c); break;
    case SQLITE_BLOB: {
        const void *p = sqlite3_column_blob(s, i);
        size_t n = (size_t)sqlite3_column_bytes(s, i);
        gw_assert(p || n == 0);
        put_blob(out, p, n, c);
        break;
    }
    default: {
        const char *p = (const char *)sqlite3_column_text(s, i);
        size_t n = (size_t)sqlite3_column_bytes(s, i);
        gw_assert(p); // NULL would be out of memory
        if (text_fits(c, p, n)) {
            gw_copy_put_field(out, p, n);
        } else {
            put_tagged(out, 't', p, n);
        }
    }
    }
}
