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

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "catalog.pb-c.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/change.h"
#include "common/err.h"
#include "plan.pb-c.h"
#include "task.pb-c.h"

enum { GW_SOURCE_VERSION = 1 };

enum gw_source_caps {
    GW_SOURCE_SHARED_SNAPSHOT = 1, // snapshot_begin honours a handle of another session
    GW_SOURCE_SPLITS = 2,          // plan can cut a table into several chunks
    GW_SOURCE_STREAM = 4,          // has the stream_ slots
};

// What a stream is started with. Everything is borrowed until close.
struct gw_stream_start {
    const Gw__Task *task;
    const char *task_uuid;
    Gw__Table *const *tables; // as they are read: a tuple has the columns with left_out false, in order
    size_t tables_n;
    Gw__Table *const *others; // the task's, by name: suspended, so their changes are not to be told
    size_t others_n;
    const char *position; // after which the stream goes on
};

// What one transaction has made of a table's definition.
struct gw_altered {
    const Gw__Table *from; // as the stream was started with; NULL = it was created, and the task's rules select it
    // As describe would say it at the end of that transaction, with Column.was, fill and altered_at; NULL = dropped. A table that
    // was created is loaded: it is described as it is now, and altered_at is a position of now, read before.
    const Gw__Table *to;
    const char *refused; // why the table cannot be carried any further: it is to be suspended; NULL = it can
    const char *what;    // for people: the server's kind of statement, or what differs
};

// One thing that happened, as stream_next tells it. All pointers live until the next call on the instance.
struct gw_event {
    Gw__ChangeKind kind;
    uint32_t table; // index into gw_stream_start.tables
    // Of the table's columns that travel. `before` of an update is there where the key may have changed or the whole old
    // row is known; of a delete always. NOT_GIVEN: unchanged (after), unknown (before).
    const struct gw_value *before, *after;
    const char *position;             // COMMIT, KEEPALIVE: a restart from here repeats nothing before it
    const char *transaction;          // BEGIN: names it for tx_visible, for headers and for people
    const char *text;                 // SUSPEND: why
    int64_t commit_us;                // BEGIN, COMMIT: source's wall clock since 1970
    const struct gw_altered *altered; // ALTERED: what a transaction did to definitions, all of it
    size_t altered_n;
};

enum gw_visible { GW_INVISIBLE, GW_VISIBLE, GW_UNSURE };

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

    // ---- the stream of changes (caps: GW_SOURCE_STREAM) --------------------------------------------------

    // Appends what speaks against a stream of these (described) tables: ERROR without a table for the server (log level,
    // privilege, no free slot, filters of the log …), with one for a table (no usable identity, unlogged …), each with
    // the SQL that mends it. Changes nothing. Runs after describe, which has filled in Table.identity.
    int (*stream_preflight)(void *self, struct gw_arena *a, const Gw__Task *task, Gw__Catalog *cat, struct gw_err *err);
    // Makes what the stream needs (slot, publication, …) for a task that has no progress yet; what an earlier attempt of
    // the same task has left is removed first. *ret_position: where the stream will start. *ret_handle: a snapshot at exactly that
    // point for snapshot_begin, valid until the next stream_ call on this instance or its close; empty = none:
    // snapshots that are taken from now on are at that point or later.
    int (*stream_open)(void *self, struct gw_arena *a, const struct gw_stream_start *start, char **ret_position,
                       char **ret_handle, struct gw_err *err);
    // Proves that the stream can go on from start->position: the server is the same, its log and slot are still there, nothing
    // was skipped (confirmed position <= ours <= the log's end). CONFIG, with what happened and the way on, if not. Repairs
    // nothing but what is its own and lossless (a publication that lacks nothing but a table …).
    int (*stream_check)(void *self, const struct gw_stream_start *start, struct gw_err *err);
    // Removes what stream_open made. Legal, and OK, where there is nothing.
    int (*stream_close)(void *self, const struct gw_stream_start *start, struct gw_err *err);
    // Position behind which nothing lies that was committed before this call. Legal while the stream runs.
    int (*stream_now)(void *self, struct gw_arena *a, char **ret_position, struct gw_err *err);
    // Runs stream_check and starts the stream after start->position. The instance's session for reading chunks stays usable.
    int (*stream_begin)(void *self, const struct gw_stream_start *start, struct gw_err *err);
    // The next event: transactions whole, in commit order, only of the tables of the start. GW_AGAIN: nothing until
    // deadline_us (gw_now_us clock). KEEPALIVE now and then when there is nothing of interest: the log has moved on.
    // A transaction that alters definitions: ALTERED, once the engine has read it to its end; none of its rows count, and only
    // close is legal then. The stream is begun again before it, with the new definitions. Transactions up to a table's altered_at
    // are read by name: a column's own, or what it was; without a column it is NOT_GIVEN, and what has no column is left out.
    // What cannot be told exactly (values that were rewritten, names exchanged, another primary key …): SUSPEND, once, before the
    // first change that cannot be read.
    int (*stream_next)(void *self, int64_t deadline_us, struct gw_event *ret, struct gw_err *err);
    // A descriptor that becomes readable when stream_next may have more; -1: call stream_next with a short deadline.
    int (*stream_fd)(void *self);
    // Everything up to `position` is durable on the target (NULL: nothing new): the source may forget its log up to there.
    // Also keeps the connection alive; called at least every few seconds, while waiting for credit too. Does not block.
    int (*stream_confirm)(void *self, const char *position, struct gw_err *err);
    // How many bytes of log the source keeps because of this stream; 0 = unknown. *ret_left: so many more may be written before it
    // keeps them no longer; UINT64_MAX = no such bound is known. Legal while the stream runs; not often.
    int (*stream_kept)(void *self, uint64_t *ret_bytes, uint64_t *ret_left, struct gw_err *err);

    // Positions are the engine's own text. *ret < 0, 0, > 0. CONFIG where they cannot be compared (other server).
    int (*position_cmp)(const char *a, const char *b, int *ret, struct gw_err *err);
    // Whether a transaction (as BEGIN names it) is visible in a snapshot (its token). UNSURE: its rows may be there.
    int (*tx_visible)(const char *token, const char *transaction, enum gw_visible *ret, struct gw_err *err);
    // Whether everything that snapshot `first` sees is seen by `later`, too (a later snapshot can be older). false: retake.
    int (*snapshot_covers)(const char *first, const char *later, bool *ret, struct gw_err *err);
};

// Generated by CMake from the folders under capture/sources/; ends with NULL.
extern const struct gw_source_ops *const gw_sources[];
const struct gw_source_ops *gw_source_find(const char *name); // NULL if there is none

#endif
