// The transform stage: maps catalogues, and carries streams from capture to apply.
//
// It does no database I/O. A stream that no rule touches goes through as it came: the message is moved, not
// copied. Any number of streams share one process; each has its own credit on both sides, so that a slow
// apply holds up only its own stream.
#ifndef GW_TRANSFORM_DRIVER_H
#define GW_TRANSFORM_DRIVER_H

#include "common/buf.h"
#include "common/worker.h"

extern const struct gw_stage gw_transform_stage;

// map.c: what the target's tables will be called and which columns they get, in the arena. `src` stays as it is.
// Clashes of names are ERROR findings.
int
gw_map_catalog(const Gw__Task *task, const Gw__Catalog *src, struct gw_arena *a, Gw__Catalog **ret, struct gw_err *err);

// cut.c: how many bytes of a value stay if max are allowed (hex: of what it stands for), at a character boundary.
size_t gw_cut_value(const char *value, size_t len, uint64_t max, bool is_hex);
// Whether the column's canonical values are hex.
bool gw_is_hex(const Gw__Column *c);
// Shortens values of a batch of rows to max_bytes (per column, 0 = leave), at a character boundary;
// *cut counts the shortened values. Rows are COPY text.
int gw_cut_rows(const char *rows, size_t len, const uint64_t *max_bytes, const bool *is_hex, size_t n,
                struct gw_buf *out, uint64_t *cut, struct gw_err *err);

#endif
