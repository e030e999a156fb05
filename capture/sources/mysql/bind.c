// Which column of the log is which column of the table, and whether they still are the same.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "capture/sources/mysql/rows.h"

// ---- what a described column looks like in the log -----------------------------------------------

// Values are read as the log describes them. A column may be wider by now than the log has it: it was altered since, and its
// definition is the later one. The other way round it is not what the task believes.
static bool
is_integer(const struct bl_column *log, Gw__Kind kind)
{
    static const uint8_t types[] = {BF_TINY, BF_SHORT, BF_INT24, BF_LONG, BF_LONGLONG}; // as the kinds, narrow to wide
    for (size_t i = 0; i < sizeof types; i++) {
        if (log->type == types[i]) {
            return i <= (size_t)(kind - GW__KIND__KIND_INT8);
        }
    }
    return false;
}

// TINYTEXT, TEXT, MEDIUMTEXT, LONGTEXT differ in how many bytes their length has.
static unsigned
blob_size(const Gw__Type *t)
{
    return t->length == 0            ? 4
           : t->length <= UINT8_MAX  ? 1
           : t->length <= UINT16_MAX ? 2
           : t->length < (1u << 24)  ? 3
                                     : 4;
}

static bool
is_varchar(const struct bl_column *log, uint64_t bytes)
{
    return (log->type == BF_VARCHAR || log->type == BF_VARCHAR_Z || log->type == BF_VAR_STRING) &&
           (log->size <= bytes || (log->type == BF_VARCHAR_Z && log->size == bytes + 1));
}

static bool
is_blob(const struct bl_column *log, unsigned size)
{
    return (log->type == BF_BLOB || log->type == BF_BLOB_Z) && log->size <= size;
}

// A MariaDB table that was made with mysql56_temporal_format=OFF holds fractions in another form, of which the log
// does not say enough.
static bool
is_time(const struct bl_column *log, uint8_t type, uint8_t old, const Gw__Type *t)
{
    return (log->type == type && log->scale == t->precision) || (log->type == old && t->precision == 0);
}

static bool
fits(const Gw__Type *t, const struct bl_column *log, const struct my_charset *charset)
{
    uint64_t bytes = t->length * (charset ? charset->bytes_max : 1);
    switch (t->kind) {
    case GW__KIND__KIND_INT8:
    case GW__KIND__KIND_INT16:
    case GW__KIND__KIND_INT24:
    case GW__KIND__KIND_INT32:
    case GW__KIND__KIND_INT64: return is_integer(log, t->kind);
    case GW__KIND__KIND_NUMERIC:
        return log->type == BF_NEWDECIMAL && log->precision == t->precision && log->scale == t->scale;
    case GW__KIND__KIND_FLOAT32: return log->type == BF_FLOAT;
    case GW__KIND__KIND_FLOAT64: return log->type == BF_DOUBLE;
    case GW__KIND__KIND_BIT: return log->type == BF_BIT && log->precision == t->length;
    case GW__KIND__KIND_CHAR:
    case GW__KIND__KIND_BINARY: return log->type == BF_STRING && log->size == bytes;
    case GW__KIND__KIND_VARCHAR: return is_varchar(log, bytes);
    case GW__KIND__KIND_VARBINARY:
        return log->type == BF_VECTOR || is_varchar(log, bytes) ||
               (t->length == 0 && log->type == BF_VARCHAR); // MariaDB's VECTOR
    case GW__KIND__KIND_TEXT:
    case GW__KIND__KIND_BLOB: return is_blob(log, blob_size(t));
    case GW__KIND__KIND_DATE: return log->type == BF_DATE || log->type == BF_NEWDATE;
    case GW__KIND__KIND_YEAR: return log->type == BF_YEAR;
    case GW__KIND__KIND_DURATION: return is_time(log, BF_TIME, BF_TIME_OLD, t);
    case GW__KIND__KIND_TIMESTAMP: return is_time(log, BF_DATETIME, BF_DATETIME_OLD, t);
    case GW__KIND__KIND_TIMESTAMPTZ: return is_time(log, BF_TIMESTAMP, BF_TIMESTAMP_OLD, t);
    case GW__KIND__KIND_ENUM: return log->type == BF_ENUM;
    case GW__KIND__KIND_SET: return log->type == BF_SET;
    case GW__KIND__KIND_JSON: return log->type == BF_JSON || is_blob(log, 4); // MariaDB: a LONGTEXT
    case GW__KIND__KIND_UUID: return log->type == BF_STRING && log->size == 16;
    case GW__KIND__KIND_INET: return log->type == BF_STRING && (log->size == 16 || log->size == 4);
    case GW__KIND__KIND_GEOMETRY: return log->type == BF_GEOMETRY;
    default: return false;
    }
}

static enum rw_form
form_of(const Gw__Type *t, const struct bl_column *log, bool uuid_swapped)
{
    switch (t->kind) {
    case GW__KIND__KIND_CHAR:
    case GW__KIND__KIND_VARCHAR:
    case GW__KIND__KIND_TEXT: return RW_TEXT;
    case GW__KIND__KIND_BINARY:
    case GW__KIND__KIND_VARBINARY:
    case GW__KIND__KIND_BLOB:
    case GW__KIND__KIND_GEOMETRY: return RW_BYTES;
    case GW__KIND__KIND_TIMESTAMPTZ: return RW_UTC;
    case GW__KIND__KIND_ENUM:
    case GW__KIND__KIND_SET: return RW_LABELS;
    case GW__KIND__KIND_JSON: return log->type == BF_JSON ? RW_JSON : RW_TEXT;
    case GW__KIND__KIND_UUID: return uuid_swapped ? RW_UUID_SWAPPED : RW_UUID;
    case GW__KIND__KIND_INET: return log->size == 16 ? RW_INET6 : RW_INET4;
    default: return RW_PLAIN;
    }
}

// ---- what the log says beyond the type ---------------------------------------------------------

static bool
same_name(const char *a, const struct bl_column *log)
{
    return strlen(a) == log->name_len && strncasecmp(a, log->name, log->name_len) == 0;
}

static bool
is_charset(const char *a, const char *b)
{
    // utf8 is how older servers write utf8mb3.
    a = strcmp(a, "utf8") == 0 ? "utf8mb3" : a;
    b = strcmp(b, "utf8") == 0 ? "utf8mb3" : b;
    return strcmp(a, b) == 0;
}

// The log has the labels in the column's character set.
static bool
same_labels(const Gw__Type *t, const struct bl_column *log, const struct my_charset *charset)
{
    struct bl_bytes b = log->labels;
    if (log->labels_n != t->n_labels) {
        return false;
    }
    char text[2048];
    for (size_t i = 0; i < t->n_labels; i++) {
        uint64_t len;
        const uint8_t *p;
        if (!bl_packed(&b, &len) || !bl_take(&b, (size_t)len, &p) ||
            my_charset_room(charset, (size_t)len) > sizeof text) {
            return false;
        }
        const char *end = my_charset_put(charset, text, p, (size_t)len);
        if (!end || strlen(t->labels[i]) != (size_t)(end - text) ||
            memcmp(text, t->labels[i], (size_t)(end - text)) != 0) {
            return false;
        }
    }
    return true;
}

bool
rw_bind(struct rw_column *ret, const Gw__Column *c, const struct bl_column *log, const struct rw_facts *facts,
        char *why, size_t why_size)
{
    static const struct my_charset utf8 = {.name = "utf8mb4", .form = MY_CS_SAME, .bytes_max = 4};
    const Gw__Type *t = c->type;
    const struct my_charset *charset = t->kind == GW__KIND__KIND_JSON ? &utf8 : facts->charset;
    const char *what = NULL;
    bool integer = t->kind >= GW__KIND__KIND_INT8 && t->kind <= GW__KIND__KIND_INT64;
    if (log->name && !same_name(c->name, log)) {
        snprintf(why, why_size, "column \"%s\" is now \"%.*s\"", c->name, (int)log->name_len, log->name);
        return false;
    }
    if (!fits(t, log, charset)) {
        what = "is of another type";
    } else if (integer && facts->has_signs && log->is_unsigned != t->is_unsigned) {
        what = log->is_unsigned ? "is unsigned now" : "is signed now";
    } else if (facts->log_charset && charset && !is_charset(facts->log_charset, charset->name)) {
        what = "has another character set";
    } else if (log->labels_n && !same_labels(t, log, charset)) {
        what = "has other labels";
    } else if (!charset && t->charset[0]) {
        what = "has a character set that cannot be converted here";
    }
    if (what) {
        snprintf(why, why_size, "column \"%s\" (%s) %s", c->name, t->native, what);
        return false;
    }
    *ret = (struct rw_column){
        .log = *log,
        .form = form_of(t, log, facts->uuid_swapped),
        .to = -1,
        .is_unsigned = t->is_unsigned,
        .pad = t->kind == GW__KIND__KIND_BINARY ? (uint32_t)t->length : 0,
        .charset = charset,
        .type = t,
    };
    ret->log.name = c->name; // the event goes, the table stays
    ret->log.name_len = strlen(c->name);
    ret->log.labels = (struct bl_bytes){0};
    return true;
}
