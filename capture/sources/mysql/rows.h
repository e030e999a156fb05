// Rows of the log as canonical values (proto/catalog.proto), the very text that the chunk reader gives for the same row.
//
// Pure, and without an allocation per row: a value points into the event where its bytes are its text, else into the scratch
// buffer, which grows to the largest row. Values live until the next row is read with the same scratch.
#ifndef GW_MYSQL_ROWS_H
#define GW_MYSQL_ROWS_H

#include "capture/sources/mysql/charset.h"
#include "capture/sources/mysql/tablemap.h"
#include "catalog.pb-c.h"
#include "common/change.h"

enum rw_form {
    RW_PLAIN,  // by its type: numbers, times
    RW_TEXT,   // in a character set
    RW_BYTES,  // \x and hex
    RW_LABELS, // ENUM, SET
    RW_UTC,
    RW_UUID,
    RW_UUID_SWAPPED, // MariaDB before 10.11.5
    RW_INET4,
    RW_INET6,
    RW_JSON, // MySQL's binary form
};
// How one column of the log becomes a value.
struct rw_column {
    struct bl_column log; // what is used of it: type, size, precision, scale
    enum rw_form form;
    int32_t to; // which of the values; -1 = it does not travel
    bool is_unsigned;
    uint32_t pad; // BINARY: its length; zeros at the end are not in the log
    const struct my_charset *charset;
    const Gw__Type *type; // ENUM, SET: labels
};

struct rw_scratch {
    struct gw_buf text;
    size_t *offsets; // of values_max: where in `text` a value begins, SIZE_MAX = it is elsewhere
    size_t values_max;
};
void rw_scratch_init(struct rw_scratch *s, size_t values_max);
void rw_scratch_fini(struct rw_scratch *s);

// Reads one image. `present`: which columns it holds. values[0 … values_n) are filled in: GW_NOT_GIVEN where the image has not
// the column. GW_BUG: no row. GW_DATA: a value has no canonical form (the column and the reason are in *err).
int rw_read(const struct rw_column *columns, size_t n, const uint8_t *present, struct bl_bytes *rows,
            struct rw_scratch *s, struct gw_value *values, size_t values_n, struct gw_err *err);

// precision, scale, then the number as DECIMAL holds it; appended. False: it is none.
bool rw_decimal_text(struct bl_bytes v, struct gw_buf *out);

// Makes the column from what the table was described as and what the log says. False: they do not fit; `why` says how.
struct rw_facts {
    const struct my_charset *charset; // of the described column
    const char *log_charset;          // its name, of the log's collation; NULL = not known
    bool has_signs;                   // the log says what is unsigned
    bool uuid_swapped;
};
bool rw_bind(struct rw_column *ret, const Gw__Column *c, const struct bl_column *log, const struct rw_facts *facts,
             char *why, size_t why_size);

#endif
