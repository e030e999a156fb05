// The PostgreSQL target, inside: what its files share.
//
//   session.c    open, close, the slots, statements and transactions
//   state.c      the control tables: their DDL, the task, tables, chunks and steps in them
//   types.c      canonical kinds -> PostgreSQL types, as a data table
//   names.c      identifiers: PostgreSQL's 63 bytes, names made up for indexes
//   ddl.c        CREATE TABLE and what belongs to it
//   prepare.c    making and clearing a table for a generation
//   load.c       chunks: claim, COPY, fence
//   refuse.c     refused rows
//   plan.c       the finish steps of a table
//   finish.c     making one
//   preflight.c, existing.c, columns.c  findings
//   stream*.c    changes: see stream.h
//
// One connection per instance; `task` and `owner` are the driver's. Everything that lives as long as the
// instance is in `arena`; what belongs to the open load is in `load.arena`.
#ifndef GW_TARGET_PGT_H
#define GW_TARGET_PGT_H

#include "apply/target.h"
#include "common/buf.h"
#include "common/db/pg/pg.h"

enum {
    PGT_NAME_MAX = 63, // NAMEDATALEN - 1: the server cuts longer identifiers, in silence
    PGT_SQL_MAX = 64 * 1024 * 1024,
    PGT_COLUMNS_MAX = 1600,
    PGT_MEMORY_KB_MAX = 256 * 1024, // maintenance_work_mem of one index build, unless the user sets another
};

// Values of `state` in <control>.chunks.
enum { PGT_CHUNK_OPEN = 0, PGT_CHUNK_DONE = 1 };

// `made` in <control>.tables: what was found when the table was first prepared.
enum pgt_made {
    PGT_MADE_NOT = 0,   // not prepared yet
    PGT_MADE_OURS = 1,  // this task created it
    PGT_MADE_EMPTY = 2, // it was there, without a row
    PGT_MADE_ROWS = 3,  // it was there, with rows that stay
};

struct pgt_stream;
struct pgt_load {
    bool open, careful, copying;
    uint32_t table_id, no, generation;
    uint64_t epoch;
    uint64_t rows_sent;   // in the COPY that is open
    uint64_t rows_copied; // accepted by the server in this transaction
    struct gw_arena arena;
    Gw__Table *table; // a copy
    char *copy;       // the COPY statement
};

struct pgt {
    const Gw__Task *task;
    const char *owner;
    PGconn *c;
    bool opened;      // arenas are initialised
    char *control;    // name of the control schema
    char *ctl;        // the same, quoted
    int version;      // 150018
    bool utf8;        // the database holds UTF-8
    bool may_replica; // session_replication_role can be set
    struct gw_arena arena;
    struct pgt_load load;
    struct pgt_stream *stream; // from the first claim on
};

// ---- session.c

static inline void
pgt_clear(PGresult **r)
{
    PQclear(*r);
}
#define PGT_RES __attribute__((cleanup(pgt_clear))) PGresult *
#define PGT_BUF __attribute__((cleanup(gw_buf_fini))) struct gw_buf
static inline void
pgt_arena_fini(struct gw_arena *a)
{
    gw_arena_fini(a);
}
#define PGT_ARENA __attribute__((cleanup(pgt_arena_fini))) struct gw_arena

struct pgt_num {
    char text[24];
};
const char *pgt_num(struct pgt_num *n, uint64_t v);
uint64_t pgt_u64(const PGresult *r, int row, int col);
static inline const char *
pgt_text(const PGresult *r, int row, int col)
{
    return PQgetvalue(r, row, col);
}
static inline bool
pgt_true(const PGresult *r, int row, int col)
{
    return PQgetvalue(r, row, col)[0] == 't';
}

// gw_pg_query with a built statement. *ret is cleared first: it may hold an earlier result.
int pgt_query(struct pgt *t, PGresult **ret, struct gw_err *err, int n, const char *const *params, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
// The same, for its count of affected rows.
int pgt_affect(struct pgt *t, uint64_t *ret_rows, struct gw_err *err, int n, const char *const *params, const char *fmt,
               ...) __attribute__((format(printf, 6, 7)));
int pgt_exec(struct pgt *t, const struct gw_buf *sql, struct gw_err *err);
int pgt_begin(struct pgt *t, struct gw_err *err);
int pgt_commit(struct pgt *t, struct gw_err *err);
// Ends a transaction after a failure; the first error stays, so nothing is returned.
void pgt_rollback(struct pgt *t);
// `rc`, after a roll-back if it is a failure.
int pgt_end(struct pgt *t, int rc);
// GW_FAULT's outcome as an error.
int pgt_fault(const char *name, struct gw_err *err);
const char *pgt_setting(const struct pgt *t, const char *key); // of the target's settings; NULL

// ---- names.c

static inline bool
pgt_set(const char *s)
{
    return s && *s;
}
// The name as the server will store it: cut at 63 bytes, between characters. In the arena if it was cut.
const char *pgt_clip(struct gw_arena *a, const char *name);
bool pgt_too_long(const char *name);
const char *pgt_schema(const Gw__Table *t); // "public" where the source has none
void pgt_ident(struct gw_buf *sql, const char *name);
void pgt_qname(struct gw_buf *sql, const char *schema, const char *name);
void pgt_tname(struct gw_buf *sql, const Gw__Table *t);
void pgt_idents(struct gw_buf *sql, size_t n, char *const *names); // "a", "b"
char *pgt_tname_dup(struct gw_arena *a, const Gw__Table *t);
bool pgt_native(const Gw__Table *t);                                // described by an equal engine
const Gw__Column *pgt_column(const Gw__Table *t, const char *name); // NULL
// A name for an object of a table: base and suffix, at most 63 bytes; longer ones end in a hash of the whole.
char *pgt_make_name(struct gw_arena *a, const char *table, const char *rest, const char *suffix);
char *pgt_index_name(struct gw_arena *a, const Gw__Table *t, const char *name);
char *pgt_pk_name(struct gw_arena *a, const Gw__Table *t);
char *pgt_spare_name(struct gw_arena *a, const Gw__Table *t, const char *name);
bool pgt_word(const char *text, const char *word); // text begins with the word (any case)
// Splits a quoted or plain, perhaps qualified name ("a"."b" or a.b). schema may end up empty.
bool pgt_split_name(struct gw_arena *a, const char *text, char **schema, char **name);

// ---- types.c

// Appends the column's type. Native where the table comes from an equal engine.
void pgt_type(struct gw_buf *sql, const Gw__Table *t, const Gw__Type *type);
// What the type map says about a kind in words; NULL if there is nothing to say.
const char *pgt_type_note(const Gw__Table *t, const Gw__Type *type);
bool pgt_type_is_bytes(const Gw__Type *type);   // becomes bytea
bool pgt_type_is_integer(const Gw__Type *type); // becomes smallint, integer or bigint

// ---- ddl.c

// How the column gets its numbers on this target.
enum pgt_numbers { PGT_NUMBERS_NONE, PGT_NUMBERS_IDENTITY, PGT_NUMBERS_SEQUENCE };
enum pgt_numbers pgt_column_numbers(const Gw__Column *c);
void pgt_column_sequence(struct gw_arena *a, const Gw__Table *t, const Gw__Column *c, char **schema, char **name);
// Everything that makes the table, in order: one buffer of statements. with_pk: key before the rows.
void pgt_create_table(struct gw_buf *sql, const Gw__Table *t, bool with_pk, int version);
// "name" type … as in CREATE TABLE; " DEFAULT …", or nothing where it has none.
void pgt_column_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c);
void pgt_default_sql(struct gw_buf *sql, const Gw__Table *t, const Gw__Column *c);
int pgt_alter(void *self, struct gw_arena *a, const Gw__Table *from, const Gw__Table *to, struct gw_err *err);
bool pgt_pk_after(const struct pgt *t, const Gw__Table *table);
// Whether the column stays a generated one (it is then not in the rows).
bool pgt_keep_generated(const Gw__Table *t, const Gw__Column *c);
// Why the column's default is not carried over; NULL if it is, or if there is none.
const char *pgt_default_refused(const Gw__Table *t, const Gw__Column *c);

// ---- state.c

int pgt_control_exists(struct pgt *t, const char *table, bool *ret, struct gw_err *err);
int pgt_state_load(void *self, struct gw_arena *a, bool with_plan, Gw__TargetState *ret, struct gw_err *err);
int pgt_state_register(void *self, const Gw__TargetState *state, struct gw_err *err);
int pgt_state_set(void *self, const Gw__SetTable *set, struct gw_err *err);
int pgt_state_define(void *self, uint32_t table_id, const Gw__TablePlan *plan, struct gw_err *err);
int pgt_state_complete(void *self, int64_t completed_us, struct gw_err *err);
int pgt_state_drop(void *self, struct gw_err *err);

// ---- the other slots

int pgt_prepare(void *self, const Gw__Table *t, uint32_t generation, struct gw_err *err);
int pgt_load_begin(void *self, struct gw_arena *a, const Gw__Table *t, const Gw__Chunk *c, bool careful,
                   uint64_t *ret_epoch, Gw__Chunk *done, struct gw_err *err);
int pgt_load_write(void *self, const char *rows, size_t len, uint32_t nrows, struct gw_err *err);
// Class of an error while rows are being written.
int pgt_row_error(struct pgt *t, const PGresult *r, struct gw_err *err, const char *what);
// The server's words on a refused row quote its values, which belong in the exceptions table: where the row is not
// known yet, only the code is told.
void pgt_hide_values(const Gw__Table *table, struct gw_err *err);
int pgt_refuse(struct pgt *t, const Gw__Table *table, const char *chunk, const char *position,
               const struct gw_refused *r, struct gw_err *err);
int pgt_load_refuse(void *self, const struct gw_refused *r, struct gw_err *err);
int pgt_load_commit(void *self, const struct gw_target_counts *counts, const char *snapshot, struct gw_err *err);
int pgt_load_abort(void *self, struct gw_err *err);
int pgt_finish_plan(void *self, struct gw_arena *a, const Gw__Table *t, Gw__Steps *ret, struct gw_err *err);
int pgt_finish_step(void *self, const Gw__Table *t, const Gw__Step *s, uint32_t generation, struct gw_err *err);
int pgt_preflight(void *self, struct gw_arena *a, const Gw__Catalog *cat, bool resuming, Gw__Catalog *findings,
                  struct gw_err *err);

// ---- plan.c

// NULL if the index, check or key can be made here; otherwise why it is left out.
const char *pgt_index_refused(const Gw__Table *t, const Gw__Index *i);
const char *pgt_check_refused(const Gw__Table *t, const Gw__Check *c);
// Whether it will be a constraint, made from a unique index.
bool pgt_index_constraint(const Gw__Table *t, const Gw__Index *i);

// ---- stream.c, stream_set.c

// Before other work on the session: what a claim has set for the stream alone is taken back.
int pgt_stream_leave(struct pgt *t, struct gw_err *err);
struct pgt_stream *pgt_stream_free(struct pgt_stream *s); // takes NULL; returns NULL
int pgt_stream_claim(void *self, struct gw_arena *a, bool in_order, Gw__Progress *ret, struct gw_err *err);
int pgt_stream_begin(void *self, struct gw_err *err);
int pgt_stream_apply(void *self, const struct gw_change_set *set, uint64_t *ret_rows, struct gw_err *err);
int pgt_stream_mark(void *self, struct gw_err *err);
int pgt_stream_back(void *self, struct gw_err *err);
int
pgt_stream_refuse(void *self, const Gw__Table *t, const char *position, const struct gw_refused *r, struct gw_err *err);
int pgt_stream_suspend(void *self, uint32_t table_id, const char *reason, struct gw_err *err);
int pgt_stream_commit(void *self, const char *position, const Gw__StreamCounts *counts, struct gw_err *err);

// ---- preflight.c

struct pgt_findings {
    struct gw_arena *a;
    Gw__Catalog *out;
};
void pgt_find(struct pgt_findings *f, Gw__Severity severity, const Gw__Table *t, const char *object, const char *action,
              const char *sql, const char *fmt, ...) __attribute__((format(printf, 7, 8)));
// ---- existing.c: a table of that name is there already
int pgt_preflight_existing(struct pgt *t, struct pgt_findings *f, const Gw__Catalog *cat, const Gw__Table *table,
                           bool resuming, struct gw_err *err);

#endif
