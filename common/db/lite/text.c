// Text in and out of SQLite: quoting, affinities, numbers.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/db/lite/lite.h"

void
gw_lite_ident(struct gw_buf *sql, const char *name)
{
    gw_buf_putc(sql, '"');
    for (const char *p = name; *p; p++) {
        if (*p == '"') {
            gw_buf_putc(sql, '"');
        }
        gw_buf_putc(sql, *p);
    }
    gw_buf_putc(sql, '"');
}

void
gw_lite_literal(struct gw_buf *sql, const char *text, size_t len)
{
    if (memchr(text, 0, len)) {
        // The parser ends at a NUL byte, even inside quotes.
        gw_buf_puts(sql, "CAST(X'");
        for (size_t i = 0; i < len; i++) {
            gw_buf_printf(sql, "%02x", (unsigned char)text[i]);
        }
        gw_buf_puts(sql, "' AS TEXT)");
        return;
    }
    gw_buf_putc(sql, '\'');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\'') {
            gw_buf_putc(sql, '\'');
        }
        gw_buf_putc(sql, text[i]);
    }
    gw_buf_putc(sql, '\'');
}

enum gw_lite_affinity
gw_lite_affinity(const char *declared)
{
    // In this order: CHARINT is an integer.
    static const struct {
        const char *part;
        enum gw_lite_affinity affinity;
    } rules[] = {
        {"INT", GW_LITE_INTEGER}, {"CHAR", GW_LITE_TEXT}, {"CLOB", GW_LITE_TEXT}, {"TEXT", GW_LITE_TEXT},
        {"BLOB", GW_LITE_BLOB},   {"REAL", GW_LITE_REAL}, {"FLOA", GW_LITE_REAL}, {"DOUB", GW_LITE_REAL},
    };
    // ANY of a strict table keeps every value as it is; elsewhere it would be NUMERIC, which the source
    // tells apart by the table (docs/engines-sqlite.md).
    if (!declared[0]) {
        return GW_LITE_BLOB;
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (strcasestr(declared, rules[i].part)) {
            return rules[i].affinity;
        }
    }
    return GW_LITE_NUMERIC;
}

bool
gw_lite_parse_int(const char *p, size_t n, int64_t *ret)
{
    bool negative = n && p[0] == '-';
    const char *at = p + negative, *end = p + n;
    if (at == end || end - at > 19 || (*at == '0' && (end - at > 1 || negative))) {
        return false;
    }
    uint64_t v = 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9') {
            return false;
        }
        v = v * 10 + (uint64_t)(*at - '0'); // 19 digits fit 64 bits
    }
    if (v > (uint64_t)INT64_MAX + negative) {
        return false;
    }
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool
gw_lite_parse_real(const char *p, size_t n, double *ret)
{
    // Only what a decimal number is made of: strtod also reads hex, names and leading blanks.
    char small[64], *text = small;
    for (size_t i = 0; i < n; i++) {
        if (!p[i] || !strchr("+-.0123456789eE", p[i])) {
            return false;
        }
    }
    if (n == 0) {
        return false;
    }
    if (n >= sizeof small && !(text = malloc(n + 1))) {
        return false;
    }
    memcpy(text, p, n);
    text[n] = 0;
    char *end = NULL;
    double v = strtod(text, &end); // every process here runs in the C locale
    bool ok = end == text + n && isfinite(v);
    if (text != small) {
        free(text);
    }
    if (ok) {
        *ret = v;
    }
    return ok;
}

size_t
gw_lite_format_real(double v, char *buf)
{
    if (isinf(v)) {
        return (size_t)snprintf(buf, 32, "%s", v < 0 ? "-Infinity" : "Infinity");
    }
    // 17 digits always read back to the same double; most need 15 or 16.
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(buf, 32, "%.*g", digits, v);
        if (strtod(buf, NULL) == v) {
            break;
        }
    }
    if (!strpbrk(buf, ".e")) {
        n += snprintf(buf + n, 32 - (size_t)n, ".0");
    }
    return (size_t)n;
}
