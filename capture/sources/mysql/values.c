// One row of the text protocol as COPY text.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "capture/sources/mysql/mysql_source.h"

// ---- what is selected --------------------------------------------------------------------------

static enum my_form
form_of(const Gw__Type *t)
{
    switch (t->kind) {
    case GW__KIND__KIND_INT8:
    case GW__KIND__KIND_INT16:
    case GW__KIND__KIND_INT24:
    case GW__KIND__KIND_INT32:
    case GW__KIND__KIND_INT64:
    case GW__KIND__KIND_NUMERIC: return strstr(t->native, "zerofill") ? MY_DIGITS : MY_PLAIN;
    case GW__KIND__KIND_FLOAT32: return MY_FLOAT32;
    case GW__KIND__KIND_FLOAT64:
    case GW__KIND__KIND_DATE:
    case GW__KIND__KIND_DURATION:
    case GW__KIND__KIND_TIMESTAMP:
    case GW__KIND__KIND_YEAR:
    case GW__KIND__KIND_UUID:
    case GW__KIND__KIND_INET: return MY_PLAIN;
    case GW__KIND__KIND_TIMESTAMPTZ: return MY_UTC;
    case GW__KIND__KIND_BIT: return MY_BITS;
    case GW__KIND__KIND_BINARY:
    case GW__KIND__KIND_VARBINARY:
    case GW__KIND__KIND_BLOB:
    case GW__KIND__KIND_GEOMETRY: return MY_BYTES;
    default: return MY_TEXT;
    }
}

struct my_column
my_value_select(struct gw_buf *sql, const Gw__Column *c)
{
    const Gw__Type *t = c->type;
    // A FLOAT, and a number with declared decimals, is written with fewer digits than it has. The product is a double
    // without a number of decimals; times one, unlike plus zero, keeps the sign of -0.
    bool rounded = t->kind == GW__KIND__KIND_FLOAT32 || (t->kind == GW__KIND__KIND_FLOAT64 && strpbrk(t->native, "(z"));
    gw_buf_puts(sql, rounded ? "(" : "");
    gw_my_ident(sql, c->name);
    gw_buf_puts(sql, rounded ? " * 1e0)" : "");
    return (struct my_column){.form = form_of(t), .bits = (uint32_t)t->length};
}

// All 256 bytes of latin1 and all characters of utf8 have a Unicode form; others may lack some.
bool
my_value_risky(const Gw__Column *c)
{
    static const char *const safe[] = {"", "utf8mb4", "utf8mb3", "utf8", "latin1", "binary"};
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++) {
        if (strcmp(c->type->charset, safe[i]) == 0) {
            return false;
        }
    }
    return form_of(c->type) == MY_TEXT;
}

void
my_value_proof(struct gw_buf *sql, const Gw__Column *c)
{
    gw_buf_puts(sql, "(CAST(CONVERT(CONVERT(");
    gw_my_ident(sql, c->name);
    gw_buf_printf(sql, " USING utf8mb4) USING %s) AS BINARY) <=> CAST(", c->type->charset);
    gw_my_ident(sql, c->name);
    gw_buf_puts(sql, " AS BINARY))");
}

// ---- one field ---------------------------------------------------------------------------------

// What stands behind the backslash for a byte; 0 = the byte stands for itself.
static const char escape_of[256] = {['\\'] = '\\', ['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r'};

static char *
put_escaped(char *to, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char e = escape_of[(unsigned char)p[i]];
        if (e) {
            *to++ = '\\';
            *to++ = e;
        } else {
            *to++ = p[i];
        }
    }
    return to;
}

// Sixteen bytes at a time while none of them needs an escape; most text has none.
static char *
put_text(char *to, const char *p, size_t n)
{
#ifdef __SSE2__
    const __m128i backslash = _mm_set1_epi8('\\'), tab = _mm_set1_epi8('\t'), newline = _mm_set1_epi8('\n'),
                  ret = _mm_set1_epi8('\r');
    while (n >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, backslash), _mm_cmpeq_epi8(v, tab)),
                                   _mm_or_si128(_mm_cmpeq_epi8(v, newline), _mm_cmpeq_epi8(v, ret)));
        if (_mm_movemask_epi8(hit)) {
            to = put_escaped(to, p, 16);
        } else {
            _mm_storeu_si128((__m128i *)(void *)to, v);
            to += 16;
        }
        p += 16;
        n -= 16;
    }
#endif
    return put_escaped(to, p, n);
}

static char *
put_plain(char *to, const char *p, size_t n)
{
    memcpy(to, p, n);
    return to + n;
}

static char *
put_digits(char *to, const char *p, size_t n)
{
    while (n > 1 && p[0] == '0' && p[1] >= '0' && p[1] <= '9') {
        p++;
        n--;
    }
    return put_plain(to, p, n);
}

static char *
put_hex(char *to, const char *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    to = put_plain(to, "\\\\x", 3);
    for (size_t i = 0; i < n; i++) {
        unsigned char b = (unsigned char)p[i];
        *to++ = digits[b >> 4];
        *to++ = digits[b & 15];
    }
    return to;
}

// The server sends the bytes, the most significant first.
static char *
put_bits(char *to, const char *p, size_t n, uint32_t bits)
{
    for (uint32_t i = bits; i > 0; i--) {
        size_t byte = (i - 1) / 8;
        unsigned char b = byte < n ? (unsigned char)p[n - 1 - byte] : 0;
        *to++ = (b >> ((i - 1) % 8)) & 1 ? '1' : '0';
    }
    return to;
}

enum { FLOAT_MAX = 24 };

static char *
put_float(char *to, const char *p)
{
    float f = strtof(p, NULL); // of a float's own double: exact
    for (int digits = 6; digits <= 9; digits++) {
        int n = snprintf(to, FLOAT_MAX, "%.*g", digits, (double)f);
        if (digits == 9 || strtof(to, NULL) == f) {
            return to + n;
        }
    }
    return to;
}

// ---- one row -----------------------------------------------------------------------------------

static inline size_t
most(const struct my_column *c, size_t n)
{
    switch (c->form) {
    case MY_PLAIN:
    case MY_DIGITS: return n;
    case MY_UTC: return n + 3;
    case MY_BYTES: return n * 2 + 3;
    case MY_BITS: return c->bits;
    case MY_FLOAT32: return FLOAT_MAX;
    case MY_TEXT: break;
    }
    return n * 2;
}

static char *
put_field(char *to, const struct my_column *c, const char *p, size_t n)
{
    switch (c->form) {
    case MY_PLAIN: return put_plain(to, p, n);
    case MY_DIGITS: return put_digits(to, p, n);
    case MY_UTC: return put_plain(put_plain(to, p, n), "+00", 3);
    case MY_BYTES: return put_hex(to, p, n);
    case MY_BITS: return put_bits(to, p, n, c->bits);
    case MY_FLOAT32: return put_float(to, p);
    case MY_TEXT: break;
    }
    return put_text(to, p, n);
}

bool
my_row_put(struct gw_buf *out, const struct my_column *columns, size_t n, MYSQL_ROW row, const unsigned long *lengths)
{
    size_t room = 1;
    for (size_t i = 0; i < n; i++) {
        room += row[i] ? most(&columns[i], lengths[i]) + 1 : 3;
    }
    char *to = gw_buf_room(out, room);
    if (!to) {
        out->overflowed = false;
        return false;
    }
    char *start = to;
    for (size_t i = 0; i < n; i++) {
        if (i) {
            *to++ = '\t';
        }
        if (row[i]) {
            to = put_field(to, &columns[i], row[i], lengths[i]);
        } else {
            *to++ = '\\';
            *to++ = 'N';
        }
    }
    *to++ = '\n';
    gw_buf_added(out, (size_t)(to - start));
    return true;
}

char *
my_value_text(struct gw_arena *a, const Gw__Column *c, const char *value, size_t len)
{
    if (form_of(c->type) == MY_BYTES) {
        char *s = gw_arena_alloc(a, len * 2 + 4);
        *put_hex(s, value, len) = 0;
        return s + 1; // the backslash once
    }
    if (memchr(value, 0, len)) {
        return NULL;
    }
    char *s = gw_arena_alloc(a, len + 4);
    struct my_column as = {.form = form_of(c->type) == MY_TEXT ? MY_PLAIN : form_of(c->type)};
    *put_field(s, &as, value, len) = 0;
    return s;
}
