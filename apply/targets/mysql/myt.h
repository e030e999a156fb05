// The MySQL and MariaDB target, inside: what its files share.
//
//   session.c    open, close, the slots
//   query.c      statements, transactions, user locks
//   control.c    the control tables: their DDL, whether they are there, a table's row
//   state.c      the task, tables, chunks and steps in them: reading, registering, dropping
//   set.c        moving a table's state; the end of the task
//   names.c      identifiers: 64 characters, names made up for indexes and keys
//   types.c      canonical kinds -> MySQL types, as a data table
//   native.c     texts of an equal engine, where the two servers differ
//   ddl.c        CREATE TABLE
//   prepare.c    making and clearing a table for a generation
//   claim.c      chunks: claim and fence
//   load.c       chunks: rows through LOAD DATA LOCAL, commit
//   convert.c    COPY text -> LOAD DATA text, and refusing what the server would alter in silence
//   utf8.c       whether text is UTF-8
//   refuse.c     refused rows
//   objects.c    indexes, keys, checks: their names and statements
//   plan.c       the finish steps of a table
//   finish.c     making one;  indexes.c  what a table has of them already
//   preflight.c, server.c, existing.c, columns.c  findings
//   stream*.c    changes: see stream.h
//
// DDL commits implicitly here. So nothing that must be one transaction may hold DDL, and whoever empties or makes a table
// holds a user lock (GET_LOCK) for it from the first look to the last effect: the lock belongs to the connection on which
// the statements go out, so a process that sleeps with the lock keeps others out, and one whose connection was ended can
// send nothing more.
//
// One connection per instance; `task` and `owner` are the driver's. Everything that lives as long as the
// instance is in `arena`; what belongs to the open load is in `load.arena`.
#ifndef GW_TARGET_MYT_H
#define GW_TARGET_MYT_H

#include "apply/target.h"
#include "common/buf.h"
#include "common/db/my/my.h"

enum {
    MYT_NAME_MAX = 64, // characters
    MYT_SQL_MAX = 64 * 1024 * 1024,
    MYT_COLUMNS_MAX = 1017,    // InnoDB
    MYT_KEY_BYTES_MAX = 3072,  // InnoDB, DYNAMIC rows and pages of 16 KB
    MYT_PAGE_BYTES_MAX = 8126, // of a row in a page of 16 KB
    MYT_ROW_BYTES_MAX = 65535,
    MYT_LOCK_NAME = 48,
};

// Values of `state` in <control>.chunks.
enum { MYT_CHUNK_OPEN = 0, MYT_CHUNK_DONE = 1 };

// `made` in <control>.tables: what was found when the table was first prepared.
enum myt_made {
    MYT_MADE_NOT = 0,   // not prepared yet
    MYT_MADE_OURS = 1,  // this task created it
    MYT_MADE_EMPTY = 2, // it was there, without a row
    MYT_MADE_ROWS = 3,  // it was there, with rows that stay
};

struct myt_conv;
struct myt_stream;
struct myt_load {
    bool open, careful;
    uint32_t table_id, no, generation;
    uint64_t epoch;
    uint64_t rows_loaded;     // taken by the server in this transaction
    uint32_t rows_pending;    // in `pending`, converted, not sent
    char lock[MYT_LOCK_NAME]; // of the claim; "" = none is held
    struct gw_arena arena;
    Gw__Table *table; // a copy
    char *statement;  // LOAD DATA …
    struct myt_conv *conv;
    struct gw_buf pending;
};

struct myt {
    const Gw__Task *task;
    const char *owner;
    MYSQL *c;
    struct gw_my_server server;
    bool opened;     // arenas are initialised
    bool fold_names; // lower_case_table_names is not 0
    char *control;   // name of the control database
    char *ctl;       // the same, quoted
    char *database;  // of the url
    struct gw_arena arena;
    struct myt_load load;
    struct myt_stream *stream; // from the first claim on
};

// ---- query.c

static inline void
myt_free_result(MYSQL_RES **r)
{
    mysql_free_result(*r); // takes NULL
}
#define MYT_RES __attribute__((cleanup(myt_free_result))) MYSQL_RES *
#define MYT_BUF __attribute__((cleanup(gw_buf_fini))) struct gw_buf
static inline void
myt_arena_fini(struct gw_arena *a)
{
    gw_arena_fini(a);
}
#define MYT_ARENA __attribute__((cleanup(myt_arena_fini))) struct gw_arena

// Statements are written with marks instead of values; each takes the next argument:
//   $l  const char *  a literal (NULL: NULL)         $i  const char *  an identifier
//   $u  uint64_t      a number: wrap it in MYT_U     $d  int64_t       a signed number
//   $s  const char *  SQL as it is                   $c  no argument: the control database, quoted
#define MYT_U(x) ((uint64_t)(x))
void myt_put(const struct myt *t, struct gw_buf *sql, const char *fmt, ...);
void myt_vput(const struct myt *t, struct gw_buf *sql, const char *fmt, va_list ap);
// *ret is freed first: it may hold an earlier result.
int myt_query(struct myt *t, MYSQL_RES **ret, struct gw_err *err, const char *fmt, ...);
int myt_run(struct myt *t, struct gw_err *err, const char *fmt, ...);
// The same, for its count of rows (found, not changed).
int myt_affect(struct myt *t, uint64_t *ret_rows, struct gw_err *err, const char *fmt, ...);
int myt_exec(struct myt *t, const struct gw_buf *sql, struct gw_err *err);
// The first row's first column; *ret_null where there is no row, or NULL in it.
int myt_scalar(struct myt *t, uint64_t *ret, bool *ret_null, struct gw_err *err, const char *fmt, ...);
// A row's text and numbers; NULL reads as "" and 0.
static inline const char *
myt_text(MYSQL_ROW row, unsigned col)
{
    return row[col] ? row[col] : "";
}
uint64_t myt_u64(MYSQL_ROW row, unsigned col);

int myt_begin(struct myt *t, struct gw_err *err);
int myt_commit(struct myt *t, struct gw_err *err);
// Ends a transaction after a failure; the first error stays, so nothing is returned.
void myt_rollback(struct myt *t);
// `rc`, after a roll-back if it is a failure.
int myt_end(struct myt *t, int rc);
// GW_FAULT's outcome as an error.
int myt_fault(const char *name, struct gw_err *err);

// User locks. The name is a hash of what it is about (task, table, and for a chunk its generation, number + 1 and epoch), so that
// it always fits.
void myt_lock_name(char ret[MYT_LOCK_NAME], const struct myt *t, const char *task, uint64_t a, uint64_t b, uint64_t c,
                   uint64_t d);
// Waits `seconds`; *ret says whether it is held now.
int myt_lock(struct myt *t, const char *name, unsigned seconds, bool *ret, struct gw_err *err);
void myt_unlock(struct myt *t, const char *name);
// Ends the connection that holds the lock, if it is not ours, and waits until it is gone. `backend`: only if it is that
// connection (0: whichever). A lack of privilege is no failure: the fence holds without this.
int myt_end_holder(struct myt *t, const char *name, uint64_t backend, struct gw_err *err);

// ---- names.c

static inline bool
myt_set(const char *s)
{
    return s && *s;
}
bool myt_too_long(const char *name);
const char *myt_schema(const struct myt *t, const Gw__Table *table); // the url's database where the source has none
void myt_tname(struct gw_buf *sql, const struct myt *t, const Gw__Table *table);
char *myt_tname_dup(struct gw_arena *a, const struct myt *t, const Gw__Table *table);
void myt_idents(struct gw_buf *sql, size_t n, char *const *names);  // `a`, `b`
bool myt_native(const Gw__Table *t);                                // described by an equal engine
const Gw__Column *myt_column(const Gw__Table *t, const char *name); // NULL
bool myt_same_name(const char *a, const char *b);                   // columns and indexes: case does not count
bool myt_in_pk(const Gw__Table *t, const char *column);
// A name of at most 64 characters: longer ones end in a hash of the whole.
char *myt_fit(struct gw_arena *a, const char *name);
// A name for a constraint, unique in the database as far as the source's names are unique in the table.
char *myt_table_name(struct gw_arena *a, const Gw__Table *t, const char *name);
// Conditions on information_schema columns for a table: `<schema> = '…' AND <name> = '…'`, exactly.
void myt_where_table(struct gw_buf *sql, const struct myt *t, const char *schema_col, const char *schema,
                     const char *name_col, const char *name);
bool myt_word(const char *text, const char *word); // text begins with the word (any case)

// ---- types.c

// Appends the column's type, with character set and collation. Native where the table comes from an equal engine.
void myt_type(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__Column *c);
// Whether that is the source's own type, as this server has it too.
bool myt_type_native(const struct myt *t, const Gw__Table *table, const Gw__Column *c);
// What the type map says about the column in words; NULL if there is nothing to say. *ret_severe: a warning.
const char *myt_type_note(const struct myt *t, const Gw__Table *table, const Gw__Column *c, bool *ret_severe);
enum myt_family { MYT_NUMBER, MYT_INTEGER, MYT_STRING, MYT_TEXT, MYT_BYTES, MYT_BLOB, MYT_TIME, MYT_BIT, MYT_OTHER };
enum myt_family myt_type_family(const struct myt *t, const Gw__Table *table, const Gw__Column *c);
// Bytes that the column takes in a key; 0 = it cannot be in one without a prefix length.
// What the columns of fixed size need in InnoDB's page, whatever else the row holds.
uint64_t myt_page_bytes(const struct myt *t, const Gw__Table *table);
uint64_t myt_key_bytes(const struct myt *t, const Gw__Table *table, const Gw__Column *c);
const char *myt_default_collation(const struct myt *t); // of tables that come from other engines: binary, no padding

// ---- native.c

// The collation as this server knows it: its own name, or the nearest one.
const char *myt_collation(const struct myt *t, const char *name);
const char *myt_charset(const struct myt *t, const char *name);
// The collation that the options name; false if they name none.
bool myt_options_collation(const char *options, char *ret, size_t size);
// Appends an equal engine's table options with names of collations mapped and the storage engine InnoDB.
void myt_put_options(struct gw_buf *sql, const struct myt *t, const char *options);
bool myt_options_other_engine(const char *options, char *ret, size_t size);

// ---- ddl.c

// `name` type … as in CREATE TABLE.
void myt_column_sql(struct gw_buf *sql, struct myt *t, const Gw__Table *table, const Gw__Column *c);
// Whether every value of a type can be in a column of another, unaltered; both as the server writes them.
bool myt_type_fits(const char *need, const char *have, const char **ret_why);
void myt_create_table(struct gw_buf *sql, struct myt *t, const Gw__Table *table);
// The column that gets AUTO_INCREMENT: the first that counts and can; NULL.
const Gw__Column *myt_auto_column(const struct myt *t, const Gw__Table *table);
// Whether a key must be made with the table for the AUTO_INCREMENT column.
bool myt_auto_needs_key(const struct myt *t, const Gw__Table *table);
// Why the column's default is not carried over; NULL if it is, or if there is none.
const char *myt_default_refused(const struct myt *t, const Gw__Table *table, const Gw__Column *c);

// ---- the slots

int myt_state_load(void *self, struct gw_arena *a, bool with_plan, Gw__TargetState *ret, struct gw_err *err);
int myt_state_register(void *self, const Gw__TargetState *state, struct gw_err *err);
int myt_state_set(void *self, const Gw__SetTable *set, struct gw_err *err);
int myt_alter(void *self, struct gw_arena *a, const Gw__Table *from, const Gw__Table *to, struct gw_err *err);
int myt_state_define(void *self, uint32_t table_id, const Gw__TablePlan *plan, struct gw_err *err);
int myt_state_complete(void *self, int64_t completed_us, struct gw_err *err);
int myt_state_drop(void *self, struct gw_err *err);
int myt_prepare(void *self, const Gw__Table *t, uint32_t generation, struct gw_err *err);
int myt_load_begin(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__Chunk *c, bool careful,
                   uint64_t *ret_epoch, Gw__Chunk *done, struct gw_err *err);
int myt_load_write(void *self, const char *rows, size_t len, uint32_t nrows, struct gw_err *err);
int myt_refuse(struct myt *t, const Gw__Table *table, const uint64_t *chunk, const char *position,
               const struct gw_refused *r, struct gw_err *err);
int myt_load_refuse(void *self, const struct gw_refused *r, struct gw_err *err);
int myt_load_commit(void *self, const struct gw_target_counts *counts, const char *snapshot, struct gw_err *err);
int myt_load_abort(void *self, struct gw_err *err);
int myt_finish_plan(void *self, struct gw_arena *a, const Gw__Table *t, Gw__Steps *ret, struct gw_err *err);
int myt_finish_step(void *self, const Gw__Table *t, const Gw__Step *s, uint32_t generation, struct gw_err *err);
int myt_preflight(void *self, struct gw_arena *a, const Gw__Catalog *cat, bool resuming, Gw__Catalog *findings,
                  struct gw_err *err);

struct myt_stream *myt_stream_free(struct myt_stream *s); // takes NULL; returns NULL
int myt_stream_claim(void *self, struct gw_arena *a, bool in_order, Gw__Progress *ret, struct gw_err *err);
int myt_stream_begin(void *self, struct gw_err *err);
int myt_stream_apply(void *self, const struct gw_change_set *set, uint64_t *ret_rows, struct gw_err *err);
int myt_stream_mark(void *self, struct gw_err *err);
int myt_stream_back(void *self, struct gw_err *err);
int
myt_stream_refuse(void *self, const Gw__Table *t, const char *position, const struct gw_refused *r, struct gw_err *err);
int myt_stream_suspend(void *self, uint32_t table_id, const char *reason, struct gw_err *err);
int myt_stream_commit(void *self, const char *position, const Gw__StreamCounts *counts, struct gw_err *err);
// How long a statement waits for a lock, as settings of a session.
#define MYT_LOCK_WAIT "innodb_lock_wait_timeout = 120, lock_wait_timeout = 120"

// ---- claim.c

int myt_claim(struct myt *t, struct gw_arena *a, const Gw__Chunk *c, uint64_t *ret_epoch, Gw__Chunk *done,
              struct gw_err *err);
// The last statements of the chunk's transaction; FENCED if the chunk is not ours any more.
int myt_fence(struct myt *t, const struct gw_target_counts *n, const char *snapshot, struct gw_err *err);
// Ends the connections of all loads of the table (NULL: of the task) that have not committed.
int myt_end_loads(struct myt *t, const uint32_t *table_id, struct gw_err *err);

// ---- utf8.c

// Length of the character at p (n > 0 bytes), 0 if there is none.
size_t myt_utf8_len(const unsigned char *p, size_t n);
bool myt_utf8_valid(const char *text, size_t len);

// ---- convert.c

// What the conversion knows of a column of the table as it is on the target.
struct myt_have {
    const char *name, *data_type, *column_type, *charset; // charset "" = none
    unsigned fraction;                                    // digits of a second
    bool counts, not_null;                                // AUTO_INCREMENT
    bool stamps;                                          // ON UPDATE CURRENT_TIMESTAMP
};
// The columns of the table on the target, in the arena; ends with a nameless one. CONFIG if the table is not there.
int
myt_read_columns(struct myt *t, struct gw_arena *a, const Gw__Table *table, struct myt_have **ret, struct gw_err *err);
// The column of that name; the nameless one if there is none.
const struct myt_have *myt_find_have(const struct myt_have *have, const Gw__Column *c);
// GW_OK if all of the last statement's warnings are known to be harmless; otherwise DATA, with the first that says why in
// code and text.
int myt_judge_warnings(struct myt *t, unsigned long warnings, char code[16], char text[512], struct gw_err *err);
// NULL-terminated by name == NULL; `have` is read during the call only. In the arena.
struct myt_conv *myt_conv_make(struct gw_arena *a, const Gw__Table *t, const struct myt_have *have);
// Whether LOAD DATA must read the column into a variable and convert its character set.
bool myt_conv_by_variable(const struct myt_have *h);
// Appends the rows as LOAD DATA text. DATA: a value that the server would alter, or cannot hold; `out` then has its old
// length. With `values` false the message does not quote it.
int myt_convert(const struct myt_conv *v, struct gw_buf *out, const char *rows, size_t len, bool values,
                struct gw_err *err);

// The same for one value that is not escaped: appends what a parameter of a statement is to hold (bytes, or text in
// UTF-8). `field` counts the columns that are in the rows. A refused value leaves `out` as it may.
int myt_convert_value(const struct myt_conv *v, size_t field, struct gw_buf *out, const char *at, size_t len, bool null,
                      bool values, struct gw_err *err);
bool myt_conv_is_bytes(const struct myt_conv *v, size_t field); // the parameter is bytes, not text

// ---- plan.c, objects.c

// NULL if the index, key or check can be made here; otherwise why it is left out.
const char *myt_index_refused(const struct myt *t, const Gw__Table *table, const Gw__Index *i);
const char *myt_check_refused(const Gw__Table *t, const Gw__Check *c);
const char *myt_fk_refused(const struct myt *t, const Gw__Table *table, const Gw__ForeignKey *k);
char *myt_index_object(struct gw_arena *a, const Gw__Table *t, size_t i);
// The definition behind ADD.
void
myt_index_sql(struct gw_buf *sql, const struct myt *t, const Gw__Table *table, const Gw__Index *i, const char *name);
// Prefix length of a part that needs one on this server; 0 = the whole column.
uint32_t myt_part_prefix(const struct myt *t, const Gw__Table *table, const Gw__Index *i, size_t part);

// ---- preflight.c

struct myt_findings {
    struct gw_arena *a;
    Gw__Catalog *out;
};
void myt_find(struct myt_findings *f, Gw__Severity severity, const Gw__Table *t, const char *object, const char *action,
              const char *sql, const char *fmt, ...) __attribute__((format(printf, 7, 8)));
// ---- server.c
int myt_preflight_server(struct myt *t, struct myt_findings *f, const Gw__Catalog *cat, struct gw_err *err);
// ---- existing.c: a table of that name is there already
int myt_preflight_existing(struct myt *t, struct myt_findings *f, const Gw__Catalog *cat, const Gw__Table *table,
                           bool resuming, struct gw_err *err);
// ---- columns.c
int myt_preflight_columns(struct myt *t, struct myt_findings *f, const Gw__Table *table, struct gw_err *err);
// ---- indexes.c
int myt_preflight_indexes(struct myt *t, struct myt_findings *f, const Gw__Table *table, struct gw_err *err);

#endif
