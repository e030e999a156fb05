// Canonical kinds -> MySQL types. A type must hold every value of its kind without altering one; where none does, the widest
// is taken and what does not fit is refused, row by row.
//
//   kind              type                                   remarks
//   BOOL              TINYINT(1)
//   INT8 … INT64      TINYINT … BIGINT [UNSIGNED]
//   NUMERIC(p,s)      DECIMAL(p,s)                           p <= 65, s <= 30 (MariaDB 38); else the widest there is
//   NUMERIC           DECIMAL(65,30)
//   FLOAT32, FLOAT64  FLOAT, DOUBLE                          no NaN, no infinity
//   CHAR(n)           CHAR(n), n <= 255; else as VARCHAR
//   VARCHAR(n)        VARCHAR(n), n <= 1024 (less where a row would be too long); else TEXT, MEDIUMTEXT, LONGTEXT
//                     (SQLite does not hold to n: LONGTEXT, but in a unique key, and refused beyond it)
//   TEXT              LONGTEXT; VARCHAR in a primary or foreign key
//   BINARY, VARBINARY BINARY(n), VARBINARY(n); else BLOB …   BLOB: LONGBLOB; VARBINARY in a primary or foreign key
//   DATE, TIME, YEAR  DATE, TIME(f), YEAR
//   TIMETZ, INTERVAL  VARCHAR(32), VARCHAR(96)               as the source writes them
//   TIMESTAMP(TZ)     DATETIME(f)                            with a zone: in UTC. TIMESTAMP ends in 2038
//   DURATION          TIME(f)
//   UUID              UUID on MariaDB 10.7, else CHAR(36)
//   JSON, JSONB       JSON on MariaDB (text with a check); LONGTEXT with a check on MySQL, whose JSON rounds numbers
//   BIT(n)            BIT(n), n <= 64; else VARCHAR, LONGTEXT of 0s and 1s, as VARBIT
//   ENUM              ENUM; VARCHAR where its labels do not fit
//   INET              VARCHAR(43)
//   GEOMETRY          GEOMETRY
//   the rest          LONGTEXT
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "myt.h"

enum { CHARS_MAX = 1024, BYTES_MAX = 4096, KEY_CHARS_MAX = MYT_KEY_BYTES_MAX / 4, CHAR_BYTES = 4 };

struct made {
    char text[96]; // without the labels of an ENUM
    bool labels;   // text is ENUM; they follow
    enum myt_family family;
    uint64_t key_bytes; // 0: not without a prefix
    uint64_t row_bytes;
    const char *note;
    bool severe;
};

static struct made
fixed(const char *text, enum myt_family family, uint64_t bytes)
{
    struct made m = {.family = family, .key_bytes = bytes, .row_bytes = bytes};
    snprintf(m.text, sizeof m.text, "%s", text);
    return m;
}

static struct made
lob(enum myt_family family, uint64_t bytes)
{
    const char *size = bytes == 0 || bytes > 16777215 ? "LONG" : bytes > 65535 ? "MEDIUM" : "";
    struct made m = {.family = family, .row_bytes = 12};
    snprintf(m.text, sizeof m.text, "%s%s", size, family == MYT_TEXT ? "TEXT" : "BLOB");
    return m;
}

static struct made
sized(const char *name, enum myt_family family, uint64_t n, uint64_t bytes_each)
{
    struct made m = {.family = family, .key_bytes = n * bytes_each, .row_bytes = n * bytes_each + 2};
    snprintf(m.text, sizeof m.text, "%s(%llu)", name, (unsigned long long)n);
    return m;
}

// SQLite declares sizes and does not hold values to them.
static bool
sizes_bind(const Gw__Table *t)
{
    return !t->engine || strcmp(t->engine, "sqlite") != 0;
}

static bool
in_foreign_key(const Gw__Table *t, const char *column)
{
    for (size_t i = 0; i < t->n_foreign_keys; i++) {
        for (size_t k = 0; k < t->foreign_keys[i]->n_columns; k++) {
            if (strcmp(t->foreign_keys[i]->columns[k], column) == 0) {
                return true;
            }
        }
    }
    return false;
}

// Whether a unique key holds the column, and could be made if declared sizes were held to.
static bool
in_unique_key(const Gw__Table *t, const char *column)
{
    for (size_t i = 0; i < t->n_indexes; i++) {
        const Gw__Index *ix = t->indexes[i];
        uint64_t bytes = 0;
        bool holds = false;
        for (size_t k = 0; k < ix->n_parts; k++) {
            const Gw__Column *c = myt_column(t, ix->parts[k]->column);
            bool sized = c && c->type->kind == GW__KIND__KIND_VARCHAR;
            bytes += sized ? c->type->length * CHAR_BYTES : 32;
            holds = holds || strcmp(ix->parts[k]->column, column) == 0;
        }
        if (holds && ix->is_unique && !myt_set(ix->predicate) && bytes <= MYT_KEY_BYTES_MAX) {
            return true;
        }
    }
    return false;
}

static bool
is_text(const Gw__Type *type)
{
    switch (type->kind) {
    case GW__KIND__KIND_CHAR:
    case GW__KIND__KIND_VARCHAR:
    case GW__KIND__KIND_TEXT:
    case GW__KIND__KIND_XML:
    case GW__KIND__KIND_VARBIT:
    case GW__KIND__KIND_ARRAY:
    case GW__KIND__KIND_SET:
    case GW__KIND__KIND_BLOB:
    case GW__KIND__KIND_VARBINARY:
    case GW__KIND__KIND_OTHER:
    case GW__KIND__KIND_UNKNOWN: return true;
    default: return false;
    }
}

// Bytes that a column of unknown length may have so that the key fits: what the other columns leave, in equal parts.
static uint64_t
key_share(const Gw__Table *t)
{
    uint64_t taken = 0, open = 0;
    for (size_t i = 0; i < t->n_primary_key; i++) {
        const Gw__Column *c = myt_column(t, t->primary_key[i]);
        if (c && is_text(c->type)) {
            bool known = sizes_bind(t) && c->type->length > 0 && c->type->length <= KEY_CHARS_MAX / 2 &&
                         c->type->kind != GW__KIND__KIND_TEXT;
            taken += known ? c->type->length * CHAR_BYTES : 0;
            open += known ? 0 : 1;
        } else {
            taken += 32;
        }
    }
    uint64_t left = taken < MYT_KEY_BYTES_MAX ? MYT_KEY_BYTES_MAX - taken : 0;
    return open ? left / open : left;
}

// Characters (or bytes) for a column that must be in a key; 0 = it need not.
static uint64_t
key_limit(const Gw__Table *t, const Gw__Column *c, uint64_t bytes_each)
{
    if (myt_in_pk(t, c->name)) {
        uint64_t n = key_share(t) / bytes_each;
        return n > 0 ? n : 1;
    }
    return in_foreign_key(t, c->name) ? MYT_KEY_BYTES_MAX / bytes_each : 0;
}

#define NOTE_KEY    "it is in a key and gets a bounded length: longer values are refused"
#define NOTE_UNIQUE "it is in a unique key, and its declared length holds here: longer values are refused"

static struct made
text_type(const Gw__Table *t, const Gw__Column *c, uint64_t chars, uint64_t limit)
{
    uint64_t key = key_limit(t, c, CHAR_BYTES);
    if (chars > 0 && (chars <= limit || (key > 0 && chars <= key))) {
        return sized("VARCHAR", MYT_STRING, chars, CHAR_BYTES);
    }
    if (key > 0) {
        struct made m = sized("VARCHAR", MYT_STRING, key, CHAR_BYTES);
        m.note = NOTE_KEY;
        m.severe = true;
        return m;
    }
    return lob(MYT_TEXT, chars * CHAR_BYTES);
}

static struct made
bytes_type(const Gw__Table *t, const Gw__Column *c, uint64_t n, uint64_t limit)
{
    uint64_t key = key_limit(t, c, 1);
    if (n > 0 && (n <= limit * CHAR_BYTES || (key > 0 && n <= key))) {
        return sized("VARBINARY", MYT_BYTES, n, 1);
    }
    if (key > 0) {
        struct made m = sized("VARBINARY", MYT_BYTES, key, 1);
        m.note = NOTE_KEY;
        m.severe = true;
        return m;
    }
    return lob(MYT_BLOB, n);
}

static struct made
numeric_type(const struct myt *t, const Gw__Table *table, const Gw__Type *type)
{
    int64_t p = type->precision, s = type->scale, smax = t->server.mariadb ? 38 : 30;
    struct made m = fixed("", MYT_NUMBER, 30);
    if (!sizes_bind(table) || !type->has_scale || p <= 0) {
        p = 65;
        s = 30;
        m.note = "numbers of unknown size become DECIMAL(65,30): those that do not fit are refused";
    } else {
        p = s < 0 ? p - s : p < s ? s : p; // a negative scale is whole tens; one beyond p is leading zeros
        s = s < 0 ? 0 : s;
        if (p > 65 || s > smax) {
            int64_t whole = p - s;
            s = s > smax ? smax : s;
            p = whole + s > 65 ? 65 : whole + s;
            m.note = "DECIMAL has at most 65 digits: numbers that do not fit are refused";
            m.severe = true;
        }
    }
    snprintf(m.text, sizeof m.text, "DECIMAL(%lld,%lld)", (long long)p, (long long)s);
    return m;
}

static struct made
time_type(const Gw__Table *table, const Gw__Type *type, const char *name, const char *note)
{
    uint32_t digits = sizes_bind(table) && type->has_scale && type->precision < 6 ? type->precision : 6;
    struct made m = fixed("", MYT_TIME, 8);
    m.note = note;
    snprintf(m.text, sizeof m.text, digits ? "%s(%u)" : "%s", name, digits);
    return m;
}

static struct made
enum_type(const Gw__Type *type)
{
    bool fits = type->n_labels > 0 && type->n_labels < 65535;
    uint64_t longest = 1;
    for (size_t i = 0; i < type->n_labels; i++) {
        size_t n = strlen(type->labels[i]);
        fits = fits && n > 0 && n <= 255 && type->labels[i][n - 1] != ' ';
        longest = n > longest ? n : longest;
    }
    if (!fits) {
        struct made m = longest <= KEY_CHARS_MAX ? sized("VARCHAR", MYT_STRING, longest, CHAR_BYTES) : lob(MYT_TEXT, 0);
        m.note = "an enumeration whose labels ENUM cannot hold becomes text";
        return m;
    }
    struct made m = fixed("ENUM", MYT_OTHER, 2);
    m.labels = true;
    return m;
}

static struct made
integer_type(const char *name, const Gw__Type *type, uint64_t bytes)
{
    char text[sizeof((struct made *)0)->text];
    snprintf(text, sizeof text, "%s%s", name, type->is_unsigned ? " UNSIGNED" : "");
    return fixed(text, MYT_INTEGER, bytes);
}

static struct made
uuid_type(const struct myt *t)
{
    return t->server.mariadb && t->server.version >= 100700 ? fixed("UUID", MYT_OTHER, 16)
                                                            : sized("CHAR", MYT_STRING, 36, CHAR_BYTES);
}

static struct made
with_note(struct made m, const char *note)
{
    m.note = m.note ? m.note : note;
    return m;
}

static struct made
kind_type(const struct myt *t, const Gw__Table *table, const Gw__Column *c, uint64_t limit)
{
    const Gw__Type *type = c->type;
    bool bind = sizes_bind(table);
    // A key takes a declared size even if it does not bind: what is longer is refused.
    uint64_t n = bind || key_limit(table, c, 1) ? type->length : 0;
    switch (type->kind) {
    case GW__KIND__KIND_BOOL: return fixed("TINYINT(1)", MYT_INTEGER, 1);
    case GW__KIND__KIND_INT8: return integer_type("TINYINT", type, 1);
    case GW__KIND__KIND_INT16: return integer_type("SMALLINT", type, 2);
    case GW__KIND__KIND_INT24: return integer_type("MEDIUMINT", type, 3);
    case GW__KIND__KIND_INT32: return integer_type("INT", type, 4);
    case GW__KIND__KIND_INT64: return integer_type("BIGINT", type, 8);
    case GW__KIND__KIND_NUMERIC: return numeric_type(t, table, type);
    case GW__KIND__KIND_FLOAT32: return fixed("FLOAT", MYT_NUMBER, 4);
    case GW__KIND__KIND_FLOAT64: return fixed("DOUBLE", MYT_NUMBER, 8);
    case GW__KIND__KIND_CHAR:
        return bind && n > 0 && n <= 255 && n <= limit ? sized("CHAR", MYT_STRING, n, CHAR_BYTES)
                                                       : text_type(table, c, n, limit);
    case GW__KIND__KIND_VARCHAR:
        if (n == 0 && type->length > 0 && type->length <= limit && in_unique_key(table, c->name)) {
            struct made m = sized("VARCHAR", MYT_STRING, type->length, CHAR_BYTES);
            m.note = NOTE_UNIQUE;
            m.severe = true;
            return m;
        }
        return text_type(table, c, n, limit);
    case GW__KIND__KIND_TEXT: {
        struct made m = text_type(table, c, 0, limit);
        return m.family == MYT_TEXT ? lob(MYT_TEXT, n) : m;
    }
    case GW__KIND__KIND_BINARY:
        return bind && n > 0 && n <= 255 ? sized("BINARY", MYT_BYTES, n, 1) : bytes_type(table, c, n, limit);
    case GW__KIND__KIND_VARBINARY: return bytes_type(table, c, n, limit);
    case GW__KIND__KIND_BLOB: {
        struct made m = bytes_type(table, c, 0, limit);
        return m.family == MYT_BLOB ? lob(MYT_BLOB, n) : m;
    }
    case GW__KIND__KIND_DATE: return fixed("DATE", MYT_TIME, 3);
    case GW__KIND__KIND_TIME:
    case GW__KIND__KIND_DURATION: return time_type(table, type, "TIME", NULL);
    case GW__KIND__KIND_TIMESTAMP: return time_type(table, type, "DATETIME", NULL);
    case GW__KIND__KIND_TIMESTAMPTZ:
        return time_type(table, type, "DATETIME", "a timestamp with time zone becomes DATETIME in UTC");
    case GW__KIND__KIND_TIMETZ:
        return with_note(sized("VARCHAR", MYT_STRING, 32, CHAR_BYTES), "a time with a zone becomes text");
    case GW__KIND__KIND_INTERVAL:
        return with_note(sized("VARCHAR", MYT_STRING, 96, CHAR_BYTES), "an interval becomes text");
    case GW__KIND__KIND_YEAR: return fixed("YEAR", MYT_TIME, 1);
    case GW__KIND__KIND_UUID: return uuid_type(t);
    case GW__KIND__KIND_JSON:
    case GW__KIND__KIND_JSONB: return lob(MYT_TEXT, 0); // MariaDB calls that JSON, with the check; see myt_type
    case GW__KIND__KIND_BIT:
        if (type->length > 0 && type->length <= 64) {
            return sized("BIT", MYT_BIT, type->length, 1);
        }
        return with_note(text_type(table, c, n, limit), "a string of bits becomes text");
    case GW__KIND__KIND_VARBIT: return with_note(text_type(table, c, n, limit), "a string of bits becomes text");
    case GW__KIND__KIND_ENUM: return enum_type(type);
    case GW__KIND__KIND_INET: return with_note(sized("VARCHAR", MYT_STRING, 43, CHAR_BYTES), "an address becomes text");
    case GW__KIND__KIND_GEOMETRY: {
        struct made m = fixed("GEOMETRY", MYT_OTHER, 0);
        m.row_bytes = 12;
        return m;
    }
    case GW__KIND__KIND_XML: return text_type(table, c, 0, limit);
    case GW__KIND__KIND_ARRAY:
        return with_note(text_type(table, c, 0, limit), "an array becomes text, as the source writes it");
    default:
        return with_note(text_type(table, c, 0, limit),
                         "a type without a counterpart becomes text, as the source writes it");
    }
}

// A row without its LOBs has at most 65,535 bytes: where the VARCHARs would exceed that, the long ones become TEXT.
static struct made
make(const struct myt *t, const Gw__Table *table, const Gw__Column *c)
{
    static const uint64_t limits[] = {CHARS_MAX, 255, 63, 15};
    for (size_t i = 0; i + 1 < sizeof limits / sizeof *limits; i++) {
        uint64_t sum = table->n_columns / 8 + 64;
        for (size_t k = 0; k < table->n_columns; k++) {
            sum += kind_type(t, table, table->columns[k], limits[i]).row_bytes;
        }
        if (sum <= MYT_ROW_BYTES_MAX) {
            return kind_type(t, table, c, limits[i]);
        }
    }
    return kind_type(t, table, c, limits[3]);
}

// ---- native types

static const struct {
    const char *name;
    enum myt_family family;
    uint64_t bytes;
} natives[] = {
    {"tinyint", MYT_INTEGER, 1}, {"smallint", MYT_INTEGER, 2}, {"mediumint", MYT_INTEGER, 3},
    {"int", MYT_INTEGER, 4},     {"integer", MYT_INTEGER, 4},  {"bigint", MYT_INTEGER, 8},
    {"decimal", MYT_NUMBER, 30}, {"numeric", MYT_NUMBER, 30},  {"float", MYT_NUMBER, 4},
    {"double", MYT_NUMBER, 8},   {"char", MYT_STRING, 0},      {"varchar", MYT_STRING, 0},
    {"tinytext", MYT_TEXT, 0},   {"text", MYT_TEXT, 0},        {"mediumtext", MYT_TEXT, 0},
    {"longtext", MYT_TEXT, 0},   {"binary", MYT_BYTES, 0},     {"varbinary", MYT_BYTES, 0},
    {"tinyblob", MYT_BLOB, 0},   {"blob", MYT_BLOB, 0},        {"mediumblob", MYT_BLOB, 0},
    {"longblob", MYT_BLOB, 0},   {"date", MYT_TIME, 3},        {"time", MYT_TIME, 6},
    {"datetime", MYT_TIME, 8},   {"timestamp", MYT_TIME, 7},   {"year", MYT_TIME, 1},
    {"bit", MYT_BIT, 8},         {"json", MYT_TEXT, 0},
};

static struct made
native_type(const Gw__Column *c)
{
    struct made m = {.family = MYT_OTHER, .key_bytes = 16};
    for (size_t i = 0; i < sizeof natives / sizeof *natives; i++) {
        if (myt_word(c->type->native, natives[i].name)) {
            m.family = natives[i].family;
            m.key_bytes = natives[i].bytes;
        }
    }
    const char *open = strchr(c->type->native, '(');
    uint64_t n = open ? strtoull(open + 1, NULL, 10) : 1;
    if (m.family == MYT_STRING) {
        bool narrow = myt_set(c->type->charset) && strncasecmp(c->type->charset, "utf8", 4) != 0;
        m.key_bytes = n * (narrow ? 1 : strcasecmp(c->type->charset, "utf8mb4") == 0 ? 4 : 3);
    } else if (m.family == MYT_BYTES) {
        m.key_bytes = n;
    }
    return m;
}

// Whether this server, which need not be of the source's make, has the type and means the same by it.
static bool
known_here(const struct myt *t, const Gw__Type *type)
{
    static const struct {
        const char *name;
        unsigned long mariadb, mysql; // since; 0 = it has none
    } late[] = {{"uuid", 100700, 0}, {"inet4", 101000, 0}, {"inet6", 100500, 0}, {"vector", 110700, 90000}};
    for (size_t i = 0; i < sizeof late / sizeof *late; i++) {
        unsigned long since = t->server.mariadb ? late[i].mariadb : late[i].mysql;
        if (myt_word(type->native, late[i].name)) {
            return since && t->server.version >= since;
        }
    }
    // MariaDB's JSON is a text with a character set; MySQL's rounds its numbers and drops doubled keys.
    return t->server.mariadb || !myt_word(type->native, "json") || !myt_set(type->charset);
}

bool
myt_type_native(const struct myt *t, const Gw__Table *table, const Gw__Column *c)
{
    return myt_native(table) && myt_set(c->type->native) && known_here(t, c->type);
}

static void
put_native(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__Column *c)
{
    bool collection = t->server.mariadb && myt_word(c->type->native, "geomcollection"); // MySQL's short name
    gw_buf_puts(sql, collection ? "geometrycollection" : c->type->native);
    enum myt_family f = native_type(c).family;
    bool lettered =
        f == MYT_STRING || f == MYT_TEXT || myt_word(c->type->native, "enum") || myt_word(c->type->native, "set");
    if (!lettered || myt_word(c->type->native, "json") || strcasestr(c->type->native, " COLLATE ")) {
        return;
    }
    char of_table[128];
    if (myt_options_collation(table->native_options, of_table, sizeof of_table) &&
        strcasecmp(of_table, c->type->collation) == 0) {
        return; // MySQL remembers what was said of a column, even if it is what the table says
    }
    if (myt_set(c->type->charset) && !strcasestr(c->type->native, "CHARACTER SET")) {
        gw_buf_printf(sql, " CHARACTER SET %s", myt_charset(t, c->type->charset));
    }
    if (myt_set(c->type->collation)) {
        gw_buf_printf(sql, " COLLATE %s", myt_collation(t, c->type->collation));
    }
}

// ---- what the others ask

void
myt_type(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__Column *c)
{
    if (myt_type_native(t, table, c)) {
        put_native(sql, t, table, c);
        return;
    }
    bool json = c->type->kind == GW__KIND__KIND_JSON || c->type->kind == GW__KIND__KIND_JSONB;
    struct made m = make(t, table, c);
    gw_buf_puts(sql, json && t->server.mariadb ? "JSON" : m.text);
    for (size_t i = 0; m.labels && i < c->type->n_labels; i++) {
        gw_buf_puts(sql, i ? "," : "(");
        gw_my_literal(sql, c->type->labels[i], strlen(c->type->labels[i]));
    }
    gw_buf_puts(sql, m.labels ? ")" : "");
}

const char *
myt_type_note(const struct myt *t, const Gw__Table *table, const Gw__Column *c, bool *ret_severe)
{
    if (myt_type_native(t, table, c)) {
        return NULL;
    }
    struct made m = make(t, table, c);
    bool other = myt_native(table) && myt_set(c->type->native);
    *ret_severe = m.severe || other;
    return other ? "this server does not have the type as the source has it, and another holds its values" : m.note;
}

uint64_t
myt_page_bytes(const struct myt *t, const Gw__Table *table)
{
    uint64_t sum = 18 + (table->n_columns + 7) / 8; // record header, transaction id, roll pointer; a bit for each NULL
    for (size_t i = 0; i < table->n_columns; i++) {
        const Gw__Column *c = table->columns[i];
        struct made m = kind_type(t, table, c, CHARS_MAX);
        bool fixed_size = m.family == MYT_INTEGER || m.family == MYT_NUMBER || m.family == MYT_TIME;
        sum += fixed_size ? m.row_bytes : 0;
    }
    return sum;
}

enum myt_family
myt_type_family(const struct myt *t, const Gw__Table *table, const Gw__Column *c)
{
    return myt_type_native(t, table, c) ? native_type(c).family : make(t, table, c).family;
}

uint64_t
myt_key_bytes(const struct myt *t, const Gw__Table *table, const Gw__Column *c)
{
    return myt_type_native(t, table, c) ? native_type(c).key_bytes : make(t, table, c).key_bytes;
}
