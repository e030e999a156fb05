// The memory target: a folder of plain files that several apply processes share and that outlives them. The smallest
// target there is, for tests of crashes and of the contract without a server.
//
//   memory://name?dir=/path&refuse=text      refuse: rows that contain it (as COPY text) are refused
//                          &foreign-keys=on  a stream's statements must keep them, with NO ACTION (unique keys: always)
//
//   <dir>/<schema>.<table>/columns           names of the rows' columns, separated by tabs
//   <dir>/<schema>.<table>/<task uuid>.<generation>.<no>.<epoch>          rows of a chunk, COPY text
//   <dir>/<schema>.<table>/<task uuid>.<generation>.<no>.<epoch>.refused  code, reason, row, separated by tabs
//   <dir>/.<control schema>/<task>/<n>       the task's log: packed Gw__Commands, numbered from 1
//   <dir>/.<control schema>/<task>/changes.<epoch>.<m>     of a transaction of the stream, a line each, separated by tabs:
//       + or -, table's id, its generation, row as COPY text       a row that came, a row that went
//       !, table's id, its generation, position, code, reason, row       a change that was refused
//
// Loads take no lock, so nothing waits for a process that was stopped (only register and drop exclude each other).
// The state of a task is its log, folded. To commit is to link(2) the next number: whoever finds it taken reads
// what came meanwhile and checks again whether its own record is still legal. A record, once there, is never
// changed or taken away, so that one who wakes up late cannot but see that it was overtaken. A chunk's rows are
// files, and count if the log says that their epoch is done: the record is synced after the rows and is the
// transaction. Whatever was never committed is rubbish that the next claim, the next generation or the end of the
// task removes. A transaction of the stream is such a file, too, and counts once the record that moves the position names
// it.   log.c   the log: read, legal, append     state.c, load.c, stream.c   slots     rows.c   the rows as a stream
// sees them     files.c   files and folders
#ifndef GW_MEMORY_TARGET_H
#define GW_MEMORY_TARGET_H

#include <stdio.h>

#include "apply/target.h"
#include "common/buf.h"
#include "common/change.h"
#include "control.pb-c.h"

enum { MEMORY_PATH = 3072 };
// In Command.job of a PrepareTable record: the second of the two, which says that the table is ready. 0: it is being cleared.
enum { MEMORY_PREPARED = 1 };
// In Command.job of a Register record: it is of the stream and holds, of a TargetState, `progress` (claim: its epoch), `tables`
// (commit: those that it suspends: target.id, state, reason) and `task` (commit: the file of its changes; empty = none).
enum { MEMORY_CLAIM = 2, MEMORY_COMMIT = 3 };

struct memory_log {
    int dir;    // of the task's log folder; stays with this very folder, whatever is put in its place. -1 = none
    uint64_t n; // records read
    bool dropped;
    struct gw_arena arena;
    Gw__TargetState *state; // folded; NULL = no log
    size_t n_changes;
    char **changes; // files of the stream's transactions, in their order
};

// rows.c: a table as a stream sees it. Made by a claim from the files of its chunks and of the stream.
struct memory_index {
    uint32_t *columns; // of the tuple
    size_t n;
    bool unique, nulls_equal;
    uint32_t *buckets, *next; // row + 1; next is as long as the table's rows
    size_t mask;
};
struct memory_row {
    struct gw_value *values;
    bool live;
};
struct memory_rows {
    const Gw__Table *table; // in the log's arena
    uint32_t generation;
    size_t columns_n; // of a tuple
    struct memory_index *indexes;
    size_t indexes_n;
    struct memory_row *rows;
    size_t n, cap, live;
};
struct memory_op {
    struct memory_rows *rows;
    uint32_t row;
    bool came;
};
struct memory_stream {
    bool claimed, begun;
    uint64_t epoch, commits;
    struct gw_arena arena; // of rows and tables, until the next claim or close
    struct memory_rows *tables;
    size_t tables_n;
    struct memory_op *ops; // of the transaction; undone from the end
    size_t ops_n, ops_cap, mark;
    struct gw_buf refused; // lines
    size_t refused_mark;
    Gw__TablePlan **suspended;
    size_t suspended_n, suspended_mark;
    struct gw_buf text;   // scratch
    struct gw_buf *trace; // for tests: a line for each call of a slot. NULL = none. Borrowed
};

struct memory_target {
    const Gw__Task *task; // borrowed
    const char *owner;    // borrowed
    bool open;
    char dir[1024], control[MEMORY_PATH],
        path[MEMORY_PATH]; // of the target, its control folder, the task's log
    char refuse[128];
    bool foreign_keys;
    struct memory_log log;
    struct memory_stream stream;

    // The chunk that is being loaded.
    bool loading, careful;
    Gw__Chunk chunk;        // table_id, generation, no, epoch
    const Gw__Table *table; // borrowed until the load ends
    size_t fields;
    uint64_t written;
    char rows_path[MEMORY_PATH]; // … .refused has the suffix
    FILE *rows, *refused;        // refused is made with its first row
};

int
memory_table_path(const struct memory_target *t, const Gw__Table *table, char *ret, size_t size, struct gw_err *err);
// load.c
int memory_load_begin(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__Chunk *c, bool careful,
                      uint64_t *ret_epoch, Gw__Chunk *done, struct gw_err *err);
int memory_load_write(void *self, const char *rows, size_t len, uint32_t nrows, struct gw_err *err);
int memory_load_refuse(void *self, const struct gw_refused *r, struct gw_err *err);
int memory_load_commit(void *self, const struct gw_target_counts *counts, const char *snapshot, struct gw_err *err);
int memory_load_abort(void *self, struct gw_err *err);

// stream.c
int memory_stream_claim(void *self, struct gw_arena *a, bool in_order, Gw__Progress *ret, struct gw_err *err);
int memory_stream_begin(void *self, struct gw_err *err);
int memory_stream_apply(void *self, const struct gw_change_set *set, uint64_t *ret_rows, struct gw_err *err);
int memory_stream_mark(void *self, struct gw_err *err);
int memory_stream_back(void *self, struct gw_err *err);
int memory_stream_refuse(void *self, const Gw__Table *t, const char *position, const struct gw_refused *r,
                         struct gw_err *err);
int memory_stream_suspend(void *self, uint32_t table_id, const char *reason, struct gw_err *err);
int memory_stream_commit(void *self, const char *position, const Gw__StreamCounts *counts, struct gw_err *err);
void memory_stream_close(struct memory_target *t);

// rows.c
// Empty tables of the plan, with their unique keys.
void memory_rows_open(struct memory_target *t);
void memory_rows_close(struct memory_target *t);
struct memory_rows *memory_rows_find(struct memory_target *t, uint32_t table_id); // NULL = none
// Adds a row of COPY text, or takes away one that is equal to it. Legal whatever the keys say.
int memory_rows_replay(struct memory_target *t, struct memory_rows *rows, bool came, const char *row, size_t len,
                       struct gw_err *err);
// The first live row behind `after` (UINT32_MAX: from the start) whose columns are the values; UINT32_MAX: none.
uint32_t memory_rows_match(const struct memory_rows *rows, const uint32_t *columns, size_t n,
                           const struct gw_value *values, uint32_t after);
// A row that has the same unique key; UINT32_MAX: none. *ret_index says which key.
uint32_t memory_rows_clash(const struct memory_rows *rows, const struct gw_value *values, size_t *ret_index);
uint32_t memory_rows_add(struct memory_rows *rows, struct gw_value *values); // the values live as long as the table
void memory_rows_take(struct memory_rows *rows, uint32_t row);               // away
void memory_rows_put_back(struct memory_rows *rows, uint32_t row);
void memory_rows_text(const struct memory_rows *rows, uint32_t row, struct gw_buf *out); // appended, with a newline
// Index in a tuple of a column by name; SIZE_MAX: not one that travels.
size_t memory_rows_column(const Gw__Table *table, const char *name);

// files.c
// The whole file, in the arena, with a NUL behind.
int memory_read_file(const char *path, struct gw_arena *a, char **ret, size_t *ret_len, struct gw_err *err);
void memory_escape(struct gw_buf *out, const char *name); // all but letters, digits, - and _ as %XX
int memory_write_file(const char *path, const void *p, size_t n,
                      struct gw_err *err);                 // synced; replaces
int memory_make_dir(const char *path, struct gw_err *err); // legal if it is there
int memory_remove_dir(const char *path,
                      struct gw_err *err); // and the files in it; legal if it is not there
int memory_sync_dir(const char *path, struct gw_err *err);

// Opens the task's log as it is now and folds it; state stays NULL if there is none.
int memory_log_open(struct memory_target *t, struct gw_err *err);
void memory_log_close(struct memory_target *t);
// Makes the log with this first record. The control folder is locked.
int memory_log_create(struct memory_target *t, const Gw__Command *first, struct gw_err *err);
// Appends a record if it is legal behind all that is there (see legal), and folds it. GW_END: a claim of a chunk that is
// done. The epoch of a claim is filled in.
int memory_log_append(struct memory_target *t, Gw__Command *record, struct gw_err *err);
Gw__TablePlan *memory_log_table(const struct memory_target *t, uint32_t id); // NULL = none
Gw__Chunk *memory_log_chunk(const struct memory_target *t, uint32_t table_id, uint32_t generation, uint32_t no);

#endif
