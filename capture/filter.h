// Which changes a load has seen already.
//
// Every chunk of the load was read in a snapshot. A change is applied to a row only if its transaction was not visible in
// the snapshot of the chunk that holds the row's key; keys outside all chunks are the stream's alone. A table whose chunks
// are all of one snapshot needs no keys: the transaction decides. Where all were read in the stream's first snapshot there
// is nothing to ask: the stream begins behind it.
//
// The job's tables must outlive the filter. One thread.
#ifndef GW_CAPTURE_FILTER_H
#define GW_CAPTURE_FILTER_H

#include "capture/source.h"
#include "data.pb-c.h"

struct gw_filter;

// first: token of the stream's first snapshot; "" = there is none.
int gw_filter_new(struct gw_filter **ret, const struct gw_source_ops *ops, Gw__StreamTable *const *tables, size_t n,
                  const char *first, struct gw_err *err);
struct gw_filter *gw_filter_free(struct gw_filter *f); // takes NULL; returns NULL

// A new transaction, as the engine names it.
void gw_filter_begin(struct gw_filter *f, const char *transaction);

// What was seen of the row that the change takes away, and of the one that it brings. `before` NULL: its key is
// that of `after`. The part that is not there (before of an insert, after of a delete) says GW_INVISIBLE.
struct gw_seen {
    enum gw_visible old_row, new_row;
};
int gw_filter_row(struct gw_filter *f, uint32_t table, Gw__ChangeKind kind, const struct gw_value *before,
                  const struct gw_value *after, struct gw_seen *ret, struct gw_err *err);
// The whole table: GW_VISIBLE or GW_INVISIBLE if every chunk says the same, GW_UNSURE otherwise.
int gw_filter_table(struct gw_filter *f, uint32_t table, enum gw_visible *ret, struct gw_err *err);

#endif
