// The contract of a target engine.
//
// An engine is one folder, apply/targets/<name>/, that defines `const struct gw_target_ops
// gw_target_<name>`; the registry is generated from the folders. The general rules are those of
// capture/source.h (1–8). In addition:
//
//   9. Progress is written in the transaction that writes the rows: the chunk's row in `<control>.chunks`.
//      Control tables live in schema `control_schema` (a database on MySQL; a table-name prefix `godwit_` on SQLite):
//        tasks       task (pk), task_uuid, mapping_hash, source_identity, source_engine, started_us, completed_us
//        tables      (task, table_id) pk, generation, state, reason, one_snapshot, plan (packed TablePlan without
//                    chunks), source/target names in clear for people
//        chunks      (task, table_id, generation, no) pk, state (0 open, 1 done), epoch, owner, backend, backend_start, snapshot,
//                    rows_read, rows_written, rows_refused, values_truncated, bytes, done_us, plan (packed Chunk)
//        steps       (task, table_id, generation, name) pk: finish steps that are durable
//        progress    task pk, position, snapshot, epoch, owner, backend, backend_start, counts (packed StreamCounts), updated_us
//        exceptions  id, task, source_schema, source_table, target_schema, target_table, chunk, key_text, code, reason, row_text, at
//  10. The engine sets durable commits (synchronous_commit=on; SQLite synchronous=FULL), an explicit SQL mode,
//      READ COMMITTED, and time-outs on every connection.
//  11. Names and literals reach SQL through the engine's one quoting function.
//  12. Every slot that writes is safe to repeat after a crash at any point of it.
//  13. Every slot that changes what is durable of the task looks, in its transaction, at the stored task_uuid: FENCED if
//      it is not task->uuid, which is read anew each time. A task of the same name that was begun anew is another task.
//      (state_register says CONFIG; state_load and state_drop take what is there.)
//  14. An engine that gets Table.engine equal to its own kind builds from the native texts; otherwise from the kinds.
#ifndef GW_TARGET_H
#define GW_TARGET_H

#include <stddef.h>
#include <stdint.h>

#include "catalog.pb-c.h"
#include "common/arena.h"
#include "common/change.h"
#include "common/err.h"
#include "plan.pb-c.h"
#include "task.pb-c.h"

enum { GW_TARGET_VERSION = 1 };

enum gw_target_caps {
    GW_TARGET_SCHEMAS = 1, // tables live in schemas (or databases); otherwise Table.schema is ignored
    GW_TARGET_STREAM = 2,  // has the stream_ slots
};

struct gw_target_counts {
    uint64_t rows_read, rows_written, rows_refused, values_truncated, bytes;
};

struct gw_refused {
    const char *row; // COPY text of the one row
    size_t len;
    const struct gw_err *why;
};

// Changes of one kind to one table, each to another key; values are canonical text. Borrowed for the call.
struct gw_change_set {
    const Gw__Table *table;  // as mapped
    Gw__ChangeKind kind;     // INSERT, UPDATE, DELETE, TRUNCATE (n = 0)
    size_t n;                // rows
    const uint32_t *columns; // INSERT, UPDATE: what is given, as indexes into table->columns
    size_t columns_n;
    const struct gw_value *values; // n × columns_n, row by row; never NOT_GIVEN
    const uint32_t *key;           // UPDATE, DELETE: what identifies a row
    size_t key_n;
    const struct gw_value *keys; // n × key_n: the old key
    // The table has no key: `key` is every column that can be compared, equal means IS NOT DISTINCT FROM, and each change
    // is to exactly one of the rows that are alike.
    bool keyless;
    // INSERT: update the row if it is there (by the primary key alone). DELETE: no complaint if it is not there.
    bool unsure;
};

struct gw_target_ops {
    uint32_t version; // GW_TARGET_VERSION
    const char *name; // "postgresql": the folder
    uint64_t caps;
    size_t state_size;

    // Connects; writes nothing. `task` and `owner` (uuid of this process) are used in the control tables; borrowed until close.
    int (*open)(void *self, const Gw__Task *task, const char *owner, const char *password, struct gw_err *err);
    void (*close)(void *self);

    // What this target will do with the mapped tables, without changing anything: each type or object without a
    // counterpart, name too long, clash of names, missing privilege, existing table that does not fit the
    // prep mode, and (ERROR, without a table) whatever makes the whole task impossible. `resuming`: tables of the task may exist.
    int (*preflight)(void *self, struct gw_arena *a, const Gw__Catalog *cat, bool resuming, Gw__Catalog *findings,
                     struct gw_err *err);

    // What is durable of the task. ret->exists is false where the control tables or the task are not there.
    // Creates nothing. with_plan: tables and chunks too.
    int (*state_load)(void *self, struct gw_arena *a, bool with_plan, Gw__TargetState *ret, struct gw_err *err);
    // Makes the control tables where missing, and writes task, tables and chunks in one transaction. If the task
    // is there already with the same uuid: nothing to do. With another uuid: CONFIG.
    int (*state_register)(void *self, const Gw__TargetState *state, struct gw_err *err);
    // Sets a table's state, reason and generation if the stored generation is not newer (FENCED otherwise). With
    // replace_chunks: all its chunk rows are replaced by `chunks` in the same transaction (a table that starts over);
    // the stored generation must then be older, or its chunks the very same plan without a durable one (an order that
    // is repeated): FENCED otherwise. LOADED and COMPLETED: FENCED if a chunk of the generation is open.
    int (*state_set)(void *self, const Gw__SetTable *set, struct gw_err *err);
    // FENCED if a table is neither COMPLETED nor in ERROR.
    int (*state_complete)(void *self, int64_t completed_us, struct gw_err *err);
    // What is stored of a table of a task with a stream, and its names, become `plan`; a table that is new gets a row. Its chunks
    // stay: they are what was loaded; but before a load there are none, whatever there was. NULL: the table leaves the
    // task, its row goes.
    int (*state_define)(void *self, uint32_t table_id, const Gw__TablePlan *plan, struct gw_err *err);
    // Removes all of the task's control rows, and the control tables and schema with the last task.
    // The migrated tables stay. Ends the backends that still work on its chunks, as load_begin would. What somebody else
    // holds is waited for a moment only: GW_AGAIN with GW_CODE_LOCKED and a message that says who.
    int (*state_drop)(void *self, struct gw_err *err);

    // Makes the table ready for rows of `generation`, as task->load->prep_mode says: schema, types, table, primary
    // key (before the rows if the user says so or the engine wants it). Order, each committed: state CLEARING
    // with this generation, emptying, state LOADING. Repeatable until a chunk of the generation is durable;
    // FENCED if the stored generation is newer, or if it is LOADING with a durable chunk.
    int (*prepare)(void *self, const Gw__Table *t, uint32_t generation, struct gw_err *err);

    // Claims the chunk: ends the backend of an earlier owner if it still lives, then epoch+1 and owner in a
    // transaction of its own; begins the transaction for its rows. GW_END if the chunk is durable already: *done is
    // then filled in from the stored row. FENCED if the generation is not the stored one, or the stored plan of the
    // chunk (common/plan.h) is not this one.
    // careful: load_write must be atomic per call (savepoint), see there.
    int (*load_begin)(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__Chunk *c, bool careful,
                      uint64_t *ret_epoch, Gw__Chunk *done, struct gw_err *err);
    // Writes `nrows` whole rows of COPY text. May defer errors to a later call or to load_commit. GW_DATA: a row
    // is refused. Not careful: the transaction is lost, only load_abort is legal. Careful: nothing of *this
    // call's* rows is in the transaction, everything before is, and the transaction goes on: the driver
    // halves the span until it knows the rows. No error is deferred then. A value that the server would
    // alter to make it fit is refused like any other.
    int (*load_write)(void *self, const char *rows, size_t len, uint32_t nrows, struct gw_err *err);
    // Careful mode: records a refused row in `exceptions`, in the chunk's transaction.
    int (*load_refuse)(void *self, const struct gw_refused *r, struct gw_err *err);
    // Last statement: the chunk's row to done with the counts, if generation, epoch and owner are still ours
    // and it is not done; then COMMIT. FENCED otherwise, with nothing written. A commit whose answer was lost
    // is RETRY: the next load_begin finds out.
    int (*load_commit)(void *self, const struct gw_target_counts *counts, const char *snapshot, struct gw_err *err);
    int (*load_abort)(void *self, struct gw_err *err); // legal with no load open

    // What is made after the rows: primary key if it was left for now, indexes, unique constraints (KEYS), foreign keys and checks
    // (CONSTRAINTS), sequences and AUTO_INCREMENT (SEQUENCES; from Column.sequence_next and max+1, whichever is greater).
    // Only steps for objects that preflight did not report as dropped. Same table, same steps, same names, always.
    int (*finish_plan)(void *self, struct gw_arena *a, const Gw__Table *t, Gw__Steps *ret, struct gw_err *err);
    // Makes it unless it is there already, and records it in `steps`. DATA: the rows do not allow it.
    int (*finish_step)(void *self, const Gw__Table *t, const Gw__Step *s, uint32_t generation, struct gw_err *err);

    // Makes of the table that is there the one that `to` says; both as mapped, to's columns with `was` in the target's names. A new
    // column gets its `fill` in the rows that are there. to NULL: drops the table, if it is there. Neither a load nor a stream is
    // open. Compares with what is there, and is repeated after a crash. Columns that only the target has stay. CONFIG, with the
    // reason: what would not keep every value (narrower types, names of other columns, another primary key).
    int (*alter)(void *self, struct gw_arena *a, const Gw__Table *from, const Gw__Table *to, struct gw_err *err);

    // ---- the stream of changes (caps: GW_TARGET_STREAM) --------------------------------------------------
    // state_register writes state->progress where it is set (position, snapshot, epoch 0); state_load reads it; state_drop
    // removes it.

    // Claims the stream: ends the backend of an earlier owner if it still lives, then epoch + 1 and owner, committed. *ret (in
    // the arena): what is durable, with the tables that are suspended. CONFIG if the task has no progress row. in_order: see
    // control.proto, ApplyStream: the target's foreign keys are enforced; otherwise they and its triggers are kept from firing
    // where the privilege allows.
    int (*stream_claim)(void *self, struct gw_arena *a, bool in_order, Gw__Progress *ret, struct gw_err *err);
    // Opens a transaction.
    int (*stream_begin)(void *self, struct gw_err *err);
    // Applies a set. *ret_rows = rows that were there (inserted, matched by an update, deleted), which the driver
    // compares with n. GW_DATA: refused (which row of several, the driver finds by halving; with one row alone the error
    // has the server's words, otherwise only its code); nothing of this set is in the transaction, everything before is.
    // CONFIG: the same, for a reason that concerns the table. Any other failure closes the transaction. A value that the server
    // would alter is refused like any other.
    int (*stream_apply)(void *self, const struct gw_change_set *set, uint64_t *ret_rows, struct gw_err *err);
    // Marks a point in the transaction (one at a time: a second call moves it), and takes back everything after it.
    int (*stream_mark)(void *self, struct gw_err *err);
    int (*stream_back)(void *self, struct gw_err *err);
    // Records a change that could not be applied in `exceptions`, in the transaction: row = COPY text of what was to be
    // written (after, else before).
    int (*stream_refuse)(void *self, const Gw__Table *t, const char *position, const struct gw_refused *r,
                         struct gw_err *err);
    // Suspends a table in the transaction: tables.state = ERROR with this reason.
    int (*stream_suspend)(void *self, uint32_t table_id, const char *reason, struct gw_err *err);
    // Last statement: the progress row to `position` and `counts`, if epoch, owner and the old position are the ones that
    // this session knows; then COMMIT. FENCED otherwise, with nothing written. A commit whose answer was lost is RETRY:
    // the next claim finds out. GW_DATA: a constraint that waits for the end of the transaction refuses it; all of it is
    // rolled back, and the claim holds. Also legal without stream_begin: moves the position alone.
    int (*stream_commit)(void *self, const char *position, const Gw__StreamCounts *counts, struct gw_err *err);
};

// Generated by CMake from the folders under apply/targets/; ends with NULL.
extern const struct gw_target_ops *const gw_targets[];
const struct gw_target_ops *gw_target_find(const char *name);

#endif
