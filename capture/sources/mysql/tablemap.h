// TABLE_MAP events: what the rows that follow are made of. Pure; the pointers lead into the event.
#ifndef GW_MYSQL_TABLEMAP_H
#define GW_MYSQL_TABLEMAP_H

#include "capture/sources/mysql/binlog.h"

// Field types as they stand in the log (MySQL include/field_types.h, MariaDB include/mysql_com.h).
enum bl_field {
    BF_DECIMAL_OLD = 0,
    BF_TINY = 1,
    BF_SHORT = 2,
    BF_LONG = 3,
    BF_FLOAT = 4,
    BF_DOUBLE = 5,
    BF_NULL = 6,
    BF_TIMESTAMP_OLD = 7,
    BF_LONGLONG = 8,
    BF_INT24 = 9,
    BF_DATE = 10,
    BF_TIME_OLD = 11,
    BF_DATETIME_OLD = 12,
    BF_YEAR = 13,
    BF_NEWDATE = 14,
    BF_VARCHAR = 15,
    BF_BIT = 16,
    BF_TIMESTAMP = 17,
    BF_DATETIME = 18,
    BF_TIME = 19,
    BF_BLOB_Z = 140,    // MariaDB, COMPRESSED
    BF_VARCHAR_Z = 141, // the same
    BF_VECTOR = 242,
    BF_JSON = 245,
    BF_NEWDECIMAL = 246,
    BF_ENUM = 247,
    BF_SET = 248,
    BF_TINY_BLOB = 249,
    BF_MEDIUM_BLOB = 250,
    BF_LONG_BLOB = 251,
    BF_BLOB = 252,
    BF_VAR_STRING = 253,
    BF_STRING = 254,
    BF_GEOMETRY = 255,
};

struct bl_column {
    uint8_t type; // ENUM and SET as such, though they are written as strings
    uint16_t
        size; // VARCHAR, STRING: greatest number of bytes; BLOB …, ENUM, SET, FLOAT, DOUBLE: bytes of the length or the value
    uint8_t precision, scale; // NEWDECIMAL; BIT: precision = bits; TIME …: scale = digits of the fraction
    // Where the log says it (binlog_row_metadata = FULL; the first two: MINIMAL):
    bool is_unsigned;
    uint32_t collation; // its number; 0 = not said
    const char *name;   // not terminated; NULL = not said
    size_t name_len;
    struct bl_bytes labels; // ENUM, SET: each with its packed length before it
    uint64_t labels_n;      // 0 = not said
};

struct bl_map {
    uint64_t table;
    const char *schema, *name; // NUL-terminated in the event
    size_t columns_n;
    bool has_signs, has_names;
    struct bl_bytes body; // behind the number of the table: the same bytes mean the same definition
};

// The number, schema and name alone: all that is needed of a table that nobody asked for.
int bl_map_head(const struct bl_format *f, const struct bl_event *e, struct bl_map *ret, struct gw_err *err);
// Its columns: at most `max`, of which ret->columns_n are filled in.
int bl_map_read(const struct bl_format *f, const struct bl_event *e, struct bl_column *columns, size_t max,
                struct bl_map *ret, struct gw_err *err);

#endif
