// The memory target: a folder of plain files that several apply processes share and that outlives them. The smallest
// target there is, for tests of crashes and of the contract without a server.
//
//   memory://name?dir=/path&refuse=text      refuse: rows that contain it (as COPY text) are refused
//
//   <dir>/<schema>.<table>/columns           names of the rows' columns, separated by tabs
//   <dir>/<schema>.<table>/<task uuid>.<generation>.<no>.<epoch>          rows of a chunk, COPY text
//   <dir>/<schema>.<table>/<task uuid>.<generation>.<no>.<epoch>.refused  code, reason, row, separated by tabs
//   <dir>/.<control schema>/<task>/<n>       the task's log: packed Gw__Commands, numbered from 1
//
// Loads take no lock, so nothing waits for a process that was stopped (only register and drop exclude each other).
// The state of a task is its log, folded. To commit is to link(2) the next number: whoever finds it taken reads
// what came meanwhile and checks again whether its own record is still legal. A record, once there, is never
// changed or taken away, so that one who wakes up late cannot but see that it was overtaken. A chunk's rows are
// files, and count if the log says that their epoch is done: the record is synced after the rows and is the
// transaction. Whatever was never committed is rubbish that the next claim, the next generation or the end of the
// task removes.   log.c   the log: read, legal, append     state.c, load.c   slots     files.c   files and folders
#ifndef GW_MEMORY_TARGET_H
#define GW_MEMORY_TARGET_H

#include <stdio.h>

#include "apply/target.h"
#include "common/buf.h"
#include "control.pb-c.h"

enum { MEMORY_PATH = 3072 };
// In Command.job of a PrepareTable record: the second of the two, which says that the table is ready. 0: it is being cleared.
enum { MEMORY_PREPARED = 1 };

struct memory_log {
    int dir;    // of the task's log folder; stays with this very folder, whatever is put in its place. -1 = none
    uint64_t n; // records read
    bool dropped;
    struct gw_arena arena;
    Gw__TargetState *state; // folded; NULL = no log
};

struct memory_target {
    const Gw__Task *task; // borrowed
    const char *owner;    // borrowed
    bool open;
    char dir[1024], control[MEMORY_PATH],
        path[MEMORY_PATH]; // of the target, its control folder, the task's log
    char refuse[128];
    struct memory_log log;

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

// files.c
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
