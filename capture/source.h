// The contract of a source engine.
//
// An engine is one folder, capture/sources/<name>/, that defines `const struct gw_source_ops
// gw_source_<name>`; the registry is generated from the folders. What holds for every slot:
//
//   1. The driver owns threads, retries, timing, logging and progress. An engine does none of these.
//   2. One thread per instance, no slot is re-entered, an engine never calls back into the driver.
//   3. Every slot returns a gw_class and fills *err on failure. RETRY = the connection is gone or the server
//      asks to come again; the driver then closes and reopens. DATA = this table or row. CONFIG = an operator.
//   4. Outputs are untouched on failure. After any failure only `close` is legal, unless a slot says otherwise;
//      `close` copes with half-open state and with being called twice.
//   5. Catalogue messages are allocated in the caller's arena and die at its reset.
//   6. Canonical kinds and values only (proto/catalog.proto). What cannot be mapped is a finding of
//      `describe`, never a surprise at run time.
//   7. On every connection the engine sets all session settings that change text or time out (traps: dates,
//      floats, zones, row security, idle time-outs), so that the same row is the same text everywhere.
//   8. No slot blocks for longer than the server does; TCP keepalives and connect time-outs are the engine's.
#ifndef GW_SOURCE_H
#define GW_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "catalog.pb-c.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "plan.pb-c.h"
#include "task.pb-c.h"

enum { GW_SOURCE_VERSION = 1 };

enum gw_source_caps {
    GW_SOURCE_SHARED_SNAPSHOT = 1, // snapshot_begin honours a handle of another session
    GW_SOURCE_SPLITS = 2,          // plan can cut a table into several chunks
};

struct gw_source_ops {
    uint32_t version; // GW_SOURCE_VERSION
    const char *name; // "postgresql": the folder, Table.engine, Catalog.engine
    uint64_t caps;
    size_t state_size; // of self; the driver allocates it zeroed and aligned

    // Connects and proves who the server is. password may be NULL. Fails with CONFIG for wrong credentials,
    // an unknown database, an unsupported version; RETRY for an unreachable or starting server.
    int (*open)(void *self, const Gw__Endpoint *ep, const char *password, struct gw_err *err);
    void (*close)(void *self);

    // What proves that the source is the one that was left (system identifier and database; server uuid and
    // database; absolute path …). Returned in the arena.
    int (*identity)(void *self, struct gw_arena *a, char **ret, struct gw_err *err);

    // Every table and view that the user can see, outside of system schemas: only schema, name, kind and
    // estimates are filled in. Partitions are not listed, their root is. Cheap.
    int (*list)(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err);

    // Fills in everything else of the tables in `cat` (made by list, then selected by the driver), in place, and
    // appends findings: ERROR with a table for one that cannot be read (privilege, unsupported), WARNING or
    // INFO for what will be treated specially. A table that has vanished meanwhile is an ERROR finding.
    // sets schema/name = source_schema/source_name, engine, fingerprint; gives primary key, indexes, keys, checks.
    int (*describe)(void *self, struct gw_arena *a, Gw__Catalog *cat, struct gw_err *err);

    // Opens the snapshot that the following chunks of this session are read in. `handle` (may be empty): of
    // another session's snapshot, to be shared; if that is gone, fails with GW_AGAIN and may be called again
    // without. A second call ends the first snapshot. *ret_token names the point in time: two sessions with equal
    // tokens see exactly the same rows. *ret_handle is empty where it cannot be shared.
    // Without shared snapshots the token must differ unless the engine can prove that the points are equal.
    int (*snapshot_begin)(void *self, struct gw_arena *a, const char *handle, char **ret_token, char **ret_handle,
                          struct gw_err *err);

    // Cuts a table into chunks of about `chunk_bytes` (on the source), inside the session's snapshot; at least one.
    // `rule` (may be NULL): the user's parallel-load. A rule that cannot be obeyed is CONFIG, naming the rule.
    // Bounds are closed at both ends of the table: the last chunk's hi is the greatest key of the snapshot
    // (hi_inclusive). An empty table has one chunk. Sets plan->chunks (table_id, no, by, bounds,
    // bytes_estimate) and plan->one_snapshot (chunks of different snapshots must not be mixed: ctid, collated or
    // inexact keys). `lanes` = how many will read at once.
    int (*plan)(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__TableSettingsRule *rule,
                uint64_t chunk_bytes, uint32_t lanes, Gw__TablePlan *plan, struct gw_err *err);

    // Starts reading a chunk of `t` (as described) in the session's snapshot: columns with left_out false, in
    // order. First proves that the table is still what the fingerprint says and that the snapshot sees
    // its present storage (a rewritten table reads as empty under an older snapshot): otherwise GW_AGAIN if a
    // new snapshot would mend it, CONFIG if the definition has changed.
    int (*chunk_begin)(void *self, const Gw__Table *t, const Gw__Chunk *c, struct gw_err *err);
    // Appends whole rows as COPY text until `out` holds at least `want` bytes or rows_max rows were appended.
    // out->max bounds a single row. *ret_rows = rows appended by this call. GW_END with the last rows (which
    // may be none); the chunk is then closed and the server has said that it was complete.
    int (*chunk_next)(void *self, struct gw_buf *out, size_t want, uint32_t rows_max, uint32_t *ret_rows,
                      struct gw_err *err);
    // Gives up a chunk that is being read; the snapshot stays. May fail with RETRY (then close). Legal with none.
    int (*chunk_cancel)(void *self, struct gw_err *err);

    // Fills in Column.sequence_next of identity, serial and auto-increment columns, as of now.
    int (*sequences)(void *self, Gw__Table *t, struct gw_err *err);
};

// Generated by CMake from the folders under capture/sources/; ends with NULL.
extern const struct gw_source_ops *const gw_sources[];
const struct gw_source_ops *gw_source_find(const char *name); // NULL if there is none

#endif
