// Rows as COPY text, the form in which bulk rows travel (docs/engines.md, "Rows on the bus").
//
// A row is its fields separated by tabs and ended by a newline. NULL is \N. Inside a field, backslash, tab,
// newline and carriage return are written \\ \t \n \r; every other byte stands for itself. A source writes
// just these four escapes where it writes rows itself; rows that PostgreSQL wrote may also hold \b \f \v,
// so a reader must know all seven. Fields are UTF-8 text in the canonical form of their kind.
#ifndef GW_COPYTEXT_H
#define GW_COPYTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"

// Appends the field's bytes, escaped. No allocation but the buffer's growth.
void gw_copy_put_field(struct gw_buf *out, const char *value, size_t len);
// Appends \x and hex digits as a field (so `\\x…` on the wire).
void gw_copy_put_bytes(struct gw_buf *out, const void *value, size_t len);
static inline void
gw_copy_put_null(struct gw_buf *out)
{
    gw_buf_put(out, "\\N", 2);
}

// Length of the row at p (up to and with its newline), 0 if there is no newline in the n bytes.
// A newline inside a value is always escaped, so the first newline ends the row.
size_t gw_copy_row_len(const char *p, size_t n);

struct gw_copy_field {
    const char *at; // still escaped
    size_t len;
    bool null;
};
// Splits one row (its newline may be there or not) into fields; returns how many there are, which may be
// more than max (the rest is not stored).
size_t gw_copy_split(const char *row, size_t len, struct gw_copy_field *fields, size_t max);
// Unescapes a field into out (appended). The result may hold any byte.
void gw_copy_unescape(struct gw_buf *out, const char *field, size_t len);

#endif
