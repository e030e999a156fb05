#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "capture/sources/sqlite/sqlite_source.h"

enum { KEEP_SIZES = 1, UNSIGNED = 2, MICROS = 4 };

// Declared names that say more than their affinity. Sizes of DECIMAL(p,s) are not kept: SQLite does not enforce them, and a
// server that rounds to them would alter values. The _TEXT and _BLOB names are those that a SQLite target declares.
static const struct {
    const char *name;
    Gw__Kind kind;
    int flags;
} names[] = {
    {"BOOLEAN", GW__KIND__KIND_BOOL, 0},
    {"BOOL", GW__KIND__KIND_BOOL, 0},
    {"NUMERIC", GW__KIND__KIND_NUMERIC, 0},
    {"DECIMAL", GW__KIND__KIND_NUMERIC, 0},
    {"DEC", GW__KIND__KIND_NUMERIC, 0},
    {"NUMBER", GW__KIND__KIND_NUMERIC, 0},
    {"MONEY", GW__KIND__KIND_NUMERIC, 0},
    {"CURRENCY", GW__KIND__KIND_NUMERIC, 0},
    {"DECIMAL_TEXT", GW__KIND__KIND_NUMERIC, KEEP_SIZES},
    {"UBIG_BLOB", GW__KIND__KIND_INT64, UNSIGNED},
    {"DATE", GW__KIND__KIND_DATE, 0},
    {"TIME", GW__KIND__KIND_TIME, MICROS},
    {"TIMETZ", GW__KIND__KIND_TIMETZ, MICROS},
    {"DATETIME", GW__KIND__KIND_TIMESTAMP, MICROS},
    {"TIMESTAMP", GW__KIND__KIND_TIMESTAMP, MICROS},
    {"TIMESTAMPTZ", GW__KIND__KIND_TIMESTAMPTZ, MICROS},
    {"DURATION_TEXT", GW__KIND__KIND_DURATION, MICROS},
    {"YEAR", GW__KIND__KIND_YEAR, 0},
    {"UUID", GW__KIND__KIND_UUID, 0},
    {"JSON", GW__KIND__KIND_JSON, 0},
    {"JSON_TEXT", GW__KIND__KIND_JSON, 0},
    {"BIT_TEXT", GW__KIND__KIND_BIT, KEEP_SIZES},
    {"VARBIT_TEXT", GW__KIND__KIND_VARBIT, KEEP_SIZES},
    {"BINARY", GW__KIND__KIND_BLOB, 0},
    {"VARBINARY", GW__KIND__KIND_BLOB, 0},
    {"BYTEA", GW__KIND__KIND_BLOB, 0},
    {"ANY", GW__KIND__KIND_OTHER, 0},
};

static const Gw__Kind kind_of_affinity[] = {
    [GW_LITE_BLOB] = GW__KIND__KIND_BLOB,     [GW_LITE_TEXT] = GW__KIND__KIND_TEXT,
    [GW_LITE_NUMERIC] = GW__KIND__KIND_OTHER, [GW_LITE_INTEGER] = GW__KIND__KIND_INT64,
    [GW_LITE_REAL] = GW__KIND__KIND_FLOAT64,
};

// Is `name` one of the words of the comma-separated list?
static bool
listed(const char *list, const char *name, size_t len)
{
    for (const char *p = list; p && *p;) {
        size_t n = strcspn(p, ",");
        const char *at = p;
        p += n + (p[n] == ',');
        while (n && isspace((unsigned char)*at)) {
            at++;
            n--;
        }
        while (n && isspace((unsigned char)at[n - 1])) {
            n--;
        }
        if (n == len && strncasecmp(at, name, n) == 0) {
            return true;
        }
    }
    return false;
}

static void
map_by_affinity(const char *declared, const char *sizes, Gw__Type *ret)
{
    ret->kind = declared[0] ? kind_of_affinity[gw_lite_affinity(declared)] : GW__KIND__KIND_OTHER;
    // VARCHAR(n) keeps its length, so that other engines can index it; a longer value is refused there, not cut.
    // CHAR(n) is the same: SQLite does not pad.
    unsigned long long n = sizes ? strtoull(sizes + 1, NULL, 10) : 0;
    if (ret->kind == GW__KIND__KIND_TEXT && strcasestr(declared, "CHAR") && n > 0 && n < 1 << 30) {
        ret->kind = GW__KIND__KIND_VARCHAR;
        ret->length = n;
    }
}

void
lite_type_map(struct gw_arena *a, const char *declared, const char *text_types, Gw__Type *ret)
{
    const char *sizes = strchr(declared, '(');
    size_t len = sizes ? (size_t)(sizes - declared) : strlen(declared);
    while (len && declared[len - 1] == ' ') {
        len--;
    }
    ret->native = gw_arena_strdup(a, declared);
    if (listed(text_types, len ? declared : "any", len ? len : 3)) {
        ret->kind = GW__KIND__KIND_TEXT;
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i].name) != len || strncasecmp(names[i].name, declared, len) != 0) {
            continue;
        }
        ret->kind = names[i].kind;
        ret->is_unsigned = names[i].flags & UNSIGNED;
        if (names[i].flags & MICROS) {
            ret->precision = 6;
        }
        if (names[i].flags & KEEP_SIZES && sizes) {
            char *end = NULL;
            ret->length = strtoull(sizes + 1, &end, 10);
            if (ret->kind == GW__KIND__KIND_NUMERIC) {
                ret->precision = (uint32_t)ret->length;
                ret->length = 0;
                ret->scale = *end == ',' ? (int32_t)strtol(end + 1, NULL, 10) : 0;
                ret->has_scale = true;
            }
        }
        return;
    }
    map_by_affinity(declared, sizes, ret);
}
