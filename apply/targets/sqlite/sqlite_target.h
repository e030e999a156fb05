// The SQLite target: one file of the engine's parts, in reading order:
//   sqlite.c     open, close, transactions, the table of slots
//   state.c      control tables: what is durable of the task;  set.c  moving a table's state
//   preflight.c, existing.c  what this target will do differently, said before it is done
//   ddl.c        canonical kind -> declared type; CREATE TABLE;  prepare.c  a table made ready for rows
//   load.c       a chunk's transaction;  values.c  one field bound to a parameter
//   refuse.c     refused rows
//   finish.c     indexes, the check of foreign keys, AUTOINCREMENT
//   stream.c, stream_set.c  changes: see stream.h
//
// A file has one writer at a time. Apply workers wait for each other in BEGIN IMMEDIATE, so a chunk takes its write lock
// with its first rows and not before.
#ifndef GW_SQLITE_TARGET_H
#define GW_SQLITE_TARGET_H

#include <limits.h>

#include "apply/target.h"
#include "common/copytext.h"
#include "common/db/lite/lite.h"

struct lite_field_form;
struct lite_stream;

struct lite_target {
    const Gw__Task *task; // borrowed
    const char *owner;    // borrowed
    char path[PATH_MAX];
    sqlite3 *db; // NULL as long as the file does not exist
    int busy_ms;
    char prefix[128];  // of the control tables: "godwit_"
    char backend[160]; // this process, for whoever finds its claim: boot id, pid namespace, pid
    int64_t backend_start;
    struct gw_buf sql; // of lite_sql

    // The chunk that is being loaded.
    bool loading, in_tx, careful;
    uint32_t table_id, generation, no;
    uint64_t epoch, written, refused;
    const Gw__Table *table; // borrowed until the load ends
    sqlite3_stmt *insert;
    struct lite_field_form *forms; // one for each field of a row
    struct gw_copy_field *fields;
    size_t forms_n, forms_cap;
    struct gw_buf scratch; // unescaped fields of the row in hand

    struct lite_stream *stream; // from the first claim on
};

// Opens the file, and makes it where there is none. Legal when it is open.
int lite_target_ready(struct lite_target *t, struct gw_err *err);
// Opens the file if it is there by now: another worker may have made it. t->db stays NULL if not.
int lite_target_find(struct lite_target *t, struct gw_err *err);
// FENCED if there is no file, or no control tables in it: somebody has dropped the task.
int lite_task_there(struct lite_target *t, struct gw_err *err);
// The statement with each $name replaced by the control table's quoted name. Valid until the next call.
const char *lite_sql(struct lite_target *t, const char *sql);
int lite_tx_begin(struct lite_target *t, struct gw_err *err);
// Commits if rc is GW_OK, rolls back otherwise; returns rc or the failure of COMMIT.
int lite_tx_end(struct lite_target *t, int rc, struct gw_err *err);
// Does the file have a table (or "index") of that name?
int lite_exists(struct lite_target *t, const char *type, const char *name, bool *ret, struct gw_err *err);
// Stored generation and state; GW_END if the table is not in the task, or the task of that name is another by now.
int
lite_stored(struct lite_target *t, uint32_t table_id, int64_t *ret_generation, int64_t *ret_state, struct gw_err *err);

int lite_state_load(void *self, struct gw_arena *a, bool with_plan, Gw__TargetState *ret, struct gw_err *err);
int lite_state_register(void *self, const Gw__TargetState *state, struct gw_err *err);
int lite_state_set(void *self, const Gw__SetTable *set, struct gw_err *err);
int lite_state_define(void *self, uint32_t table_id, const Gw__TablePlan *plan, struct gw_err *err);
int lite_state_complete(void *self, int64_t completed_us, struct gw_err *err);
int lite_state_drop(void *self, struct gw_err *err);
// Of a row of `chunks` as selected by LITE_CHUNK_COLUMNS, from column `at` on.
#define LITE_CHUNK_COLUMNS                                                                                             \
    "plan, generation, state, epoch, snapshot, rows_read, rows_written, rows_refused, "                                \
    "values_truncated, bytes"
Gw__Chunk *lite_chunk_read(struct gw_arena *a, sqlite3_stmt *s, int at);
// Is the stored plan in column `at` that of the chunk, byte for byte?
bool lite_is_plan(struct gw_arena *a, sqlite3_stmt *s, int at, const Gw__Chunk *c);
// Packed into memory of the caller's arena; returns the length.
size_t lite_pack(struct gw_arena *a, const ProtobufCMessage *m, uint8_t **ret);
int lite_damaged(struct lite_target *t, struct gw_err *err);
// Inside a transaction: the row of a table, with its chunks.
int lite_insert_table(struct lite_target *t, const Gw__TablePlan *p, struct gw_err *err);
int lite_insert_chunks(struct lite_target *t, uint32_t table_id, uint32_t generation, Gw__Chunk *const *chunks,
                       size_t n, struct gw_err *err);
// A write transaction, if the task is there.
int lite_begin_on_task(struct lite_target *t, struct gw_err *err);
// The same, if the task is the one that we work for. FENCED otherwise.
int lite_begin_as_ours(struct lite_target *t, struct gw_err *err);
// Of conditions: the task is the one that we work for, not one of the same name. ?1 is its name, `n` the parameter that
// is its uuid.
#define LITE_OURS(n)      "EXISTS (SELECT 1 FROM $tasks k WHERE k.task = ?1 AND k.task_uuid = " n ")"
#define LITE_OTHER_GODWIT "does another godwit work on the same task?"

int lite_preflight(void *self, struct gw_arena *a, const Gw__Catalog *cat, bool resuming, Gw__Catalog *findings,
                   struct gw_err *err);

struct lite_report {
    struct lite_target *t;
    struct gw_arena *a;
    const Gw__Catalog *cat;
    Gw__Catalog *out;
};
// `message` is the arena's.
void lite_find(struct lite_report *r, Gw__Severity severity, const Gw__Table *t, const char *object, char *message,
               const char *action);
int lite_preflight_existing(struct lite_report *r, const Gw__Table *t, bool resuming, struct gw_err *err);

// The declared type of a column, whose affinity keeps the canonical value exact.
void lite_declare(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c);
bool lite_is_rowid(const Gw__Table *t, const Gw__Column *c); // INTEGER PRIMARY KEY
// The whole CREATE TABLE. `parents`: find a table of the task by its name on the target (NULL = none).
struct lite_parents {
    const Gw__Table *(*find)(void *arg, const char *name);
    void *arg;
};
// "name" TYPE … as in CREATE TABLE.
void lite_column_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c);
int lite_alter(void *self, struct gw_arena *a, const Gw__Table *from, const Gw__Table *to, struct gw_err *err);
void lite_create_table(struct gw_buf *sql, const Gw__Table *t, const struct lite_parents *parents, bool native);
// Can the source's own text be used, as far as the catalogue says?
bool lite_native_text(const Gw__Table *t, const struct lite_parents *parents);
bool lite_key_kept(const Gw__ForeignKey *fk, const struct lite_parents *parents);
// NULL if this target can make the index; otherwise why not.
const char *lite_index_refused(const Gw__Table *t, const Gw__Index *ix);
char *lite_index_name(struct gw_arena *a, const Gw__Table *t, const Gw__Index *ix);
const char *lite_check_text(const Gw__Table *t, const Gw__Check *c); // NULL: cannot be said here

int lite_prepare(void *self, const Gw__Table *t, uint32_t generation, struct gw_err *err);

enum lite_form { FORM_TEXT, FORM_INT, FORM_UINT, FORM_REAL, FORM_BOOL, FORM_BYTES, FORM_NUMBER, FORM_ANY };
struct lite_field_form {
    enum lite_form form;
    bool tagged;   // from a SQLite source: values may carry GW_LITE_TAG
    bool not_null; // INTEGER PRIMARY KEY: a NULL would become a number of SQLite's choice
    const char *name;
};
struct lite_field_form lite_form_of(const Gw__Table *t, const Gw__Column *c);
// Binds one field to parameter i. The scratch buffer has room for the whole row already.
int lite_bind_field(sqlite3_stmt *s, int i, const struct lite_field_form *f, const struct gw_copy_field *field,
                    struct gw_buf *scratch, struct gw_err *err);

// The same for a value without escapes; NULL is SQL's.
int lite_bind_value(sqlite3_stmt *s, int i, const struct lite_field_form *f, const char *p, size_t n,
                    struct gw_buf *scratch, struct gw_err *err);

// A process that was stopped and holds the lock on the file is ended; see load.c.
void lite_end_stopped(struct lite_target *t, const char *backend, int64_t start);
void lite_know_start(struct lite_target *t); // fills in backend_start
// Into `exceptions`, with the chunk or the position.
int lite_refuse(struct lite_target *t, const Gw__Table *table, const int64_t *chunk, const char *position,
                const struct gw_refused *r, struct gw_err *err);
// The task's progress row in the arena; NULL if it has none.
int lite_progress_load(struct lite_target *t, struct gw_arena *a, Gw__Progress **ret, struct gw_err *err);

struct lite_stream *lite_stream_free(struct lite_stream *s); // takes NULL; returns NULL
int lite_stream_claim(void *self, struct gw_arena *a, bool in_order, Gw__Progress *ret, struct gw_err *err);
int lite_stream_begin(void *self, struct gw_err *err);
int lite_stream_apply(void *self, const struct gw_change_set *set, uint64_t *ret_rows, struct gw_err *err);
int lite_stream_mark(void *self, struct gw_err *err);
int lite_stream_back(void *self, struct gw_err *err);
int lite_stream_refuse(void *self, const Gw__Table *t, const char *position, const struct gw_refused *r,
                       struct gw_err *err);
int lite_stream_suspend(void *self, uint32_t table_id, const char *reason, struct gw_err *err);
int lite_stream_commit(void *self, const char *position, const Gw__StreamCounts *counts, struct gw_err *err);

int lite_load_begin(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__Chunk *c, bool careful,
                    uint64_t *ret_epoch, Gw__Chunk *done, struct gw_err *err);
int lite_load_write(void *self, const char *rows, size_t len, uint32_t nrows, struct gw_err *err);
int lite_load_refuse(void *self, const struct gw_refused *r, struct gw_err *err);
int lite_load_commit(void *self, const struct gw_target_counts *counts, const char *snapshot, struct gw_err *err);
int lite_load_abort(void *self, struct gw_err *err);

// Ends the processes that were stopped while they load a chunk of the task on this machine. *ret_alive: the pid of the
// latest to load one, wherever it runs; empty if there is none.
int lite_end_stopped_owners(struct lite_target *t, char *ret_alive, size_t size, struct gw_err *err);

int lite_finish_plan(void *self, struct gw_arena *a, const Gw__Table *t, Gw__Steps *ret, struct gw_err *err);
int lite_finish_step(void *self, const Gw__Table *t, const Gw__Step *s, uint32_t generation, struct gw_err *err);

#endif
