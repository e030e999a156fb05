// Changes as bytes: what a DATA_CHANGES payload holds (proto/change.proto), written and read in place.
//
// A writer appends to a gw_buf; a reader walks over a payload and hands out pointers into it, which live as long as
// the payload does. Neither allocates. What comes from outside is believed only as far as its sizes have been checked: a
// malformed batch is GW_BUG, never a read beyond its end.
#ifndef GW_CHANGE_H
#define GW_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "change.pb-c.h"
#include "common/buf.h"
#include "common/err.h"

// In the reason of a suspension, what is mended by another load: it came of the load's several snapshots; the table was altered
// while it was loaded.
#define GW_READ_APART       "while the load was read at different times"
#define GW_DEFINITION_MOVED "its definition has changed since the task began"

enum gw_given { GW_NULL, GW_NOT_GIVEN, GW_PRESENT };

// One value of a row: canonical text, unescaped, not NUL-terminated. Borrowed.
struct gw_value {
    const char *data;
    uint32_t len;
    enum gw_given given;
};

struct gw_bytes {
    const char *data; // NULL = the field is not there
    size_t len;
};

// One change; all pointers are into the payload.
struct gw_change {
    Gw__ChangeKind kind;
    uint32_t table;
    bool unsure;
    int64_t commit_us;
    struct gw_bytes before, after; // tuples
    struct gw_bytes position, transaction, text;
    struct gw_bytes tally;  // the whole record, for gw_change_tally
    struct gw_bytes record; // the whole change as it stands in the batch, to be copied as it is
};

// ---- writing: each call appends one record -------------------------------------------------------
// before and after may be NULL; both have n values.
void gw_change_put_row(struct gw_buf *out, Gw__ChangeKind kind, uint32_t table, bool unsure,
                       const struct gw_value *before, const struct gw_value *after, size_t n);
void gw_change_put_begin(struct gw_buf *out, const char *transaction, int64_t commit_us);
void gw_change_put_commit(struct gw_buf *out, const char *position, int64_t commit_us);
void gw_change_put_keepalive(struct gw_buf *out, const char *position);
void gw_change_put_truncate(struct gw_buf *out, uint32_t table);
void gw_change_put_suspend(struct gw_buf *out, uint32_t table, const char *reason);
void gw_change_put_tally(struct gw_buf *out, const Gw__Tally *tally, size_t n);
// A record that was read, unchanged.
void gw_change_put_record(struct gw_buf *out, struct gw_bytes record);

// ---- reading ---------------------------------------------------------------------------------------
struct gw_change_reader {
    const uint8_t *at, *end;
};
void gw_change_reader_init(struct gw_change_reader *r, const void *payload, size_t len);
// GW_OK: *ret holds the next one; GW_END: there is none; GW_BUG: malformed.
int gw_change_next(struct gw_change_reader *r, struct gw_change *ret, struct gw_err *err);
// The values of a tuple; it must hold exactly n. A field that is not there reads as n times GW_NOT_GIVEN.
int gw_tuple_read(struct gw_bytes tuple, struct gw_value *ret, size_t n, struct gw_err *err);
// The tally of a CHANGE_TALLY, one table a call: GW_OK, GW_END, GW_BUG. *at starts as NULL.
int gw_change_tally(const struct gw_change *c, const uint8_t **at, Gw__Tally *ret, struct gw_err *err);

#endif
