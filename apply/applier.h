// Changes in, transactions of the target out: what the apply side does with a stream, without a bus and without a worker.
//
//   applier.c   groups of source transactions, commit, counts, tally
//   piece.c     a piece of a group: the changes in source order, and one net change per key
//   sets.c      net changes as the sets that an engine takes
//   replay.c    the same changes in source order, one by one where they are refused; error policies
//   tables.c    what makes a key, tables in the order of their foreign keys
//
// Invariants:
//   - A commit holds whole source transactions, all of them up to its position, in source order. What is in between is in one
//     transaction of the target, however large: pieces bound the memory, not the transaction.
//   - The changes of a piece are applied as net changes, or in source order; both lead to the same rows. Net changes may only be
//     refused where source order is not (unique values that are handed over): then the piece is taken back and replayed. Only
//     what is refused alone, in its turn, is an error of the row.
//   - A set that touches fewer or more rows than it names is an error like a refusal, never success.
// After any failure only gw_applier_fini is legal; the caller closes the connection, which rolls back.
// One thread. Nothing is allocated per row: a piece's memory is an arena that is reset with it.
#ifndef GW_APPLY_APPLIER_H
#define GW_APPLY_APPLIER_H

#include "apply/target.h"
#include "common/buf.h"
#include "control.pb-c.h"
#include "data.pb-c.h"

enum {
    GW_GROUP_TRANSACTIONS = 1000, // source transactions in one of the target
    GW_SET_ROWS = 4096,
    GW_PIECE_EVENTS = 1 << 20,
};
#define GW_GROUP_BYTES    (UINT64_C(16) << 20) // of changes, as they came
#define GW_SET_BYTES      (UINT64_C(4) << 20)  // of values, unless one row is larger
#define GW_QUIET_US       1000                 // nothing came for so long: nothing more is waiting
#define GW_GATHER_US      50000                // a stream that never pauses is committed all the same
#define GW_POSITION_US    1000000              // a position that moves without changes is made durable
#define GW_CODE_NO_ROW    "GW010"              // of a change whose row is not there
#define GW_CODE_MANY_ROWS "GW011"              // … is there more than once
#define GW_CODE_NO_KEY    "GW012"              // the source has not said which row

struct gw_applier_table {
    const Gw__Table *table; // as mapped
    uint32_t *columns;      // of a tuple: indexes into table->columns
    size_t n;
    uint32_t *key; // indexes into a tuple; keyless: every column that can be compared
    size_t key_n;
    bool *is_key; // of a tuple
    bool keyless;
    bool referenced; // by a foreign key: a key is changed in place, as one update
    bool suspended;  // changes are left out
    uint32_t rank;   // parents before children
    Gw__Counts counts;
    Gw__Tally came;                  // since the last tally
    uint64_t conflicts, data_errors; // in this job
    uint32_t first, last;            // entries of the piece, + 1; 0 = none
};

// A change as it came. Values are in the piece's arena.
struct gw_event {
    struct gw_applier_table *table;
    // Tuples. before: of an UPDATE and a DELETE, with the key at least; after: of an INSERT and an UPDATE.
    struct gw_value *before, *after;
    uint32_t transaction; // of the piece
    uint8_t kind;         // Gw__ChangeKind
    bool unsure, moves;   // moves: the key changes
};

// The net change of one key.
enum gw_net { GW_NET_NOTHING, GW_NET_INSERT, GW_NET_UPDATE, GW_NET_DELETE, GW_NET_REPLACE };
struct gw_entry {
    struct gw_applier_table *table;
    uint64_t hash;
    struct gw_value *key;
    struct gw_value *row; // a tuple: INSERT, UPDATE, REPLACE (delete, then insert)
    uint32_t slot, next;  // next: of the table, + 1
    uint32_t mask_next;   // of those with the same columns, + 1
    uint8_t net;
    bool owned; // `row` is no event's: it may be written to
};

struct gw_piece_transaction {
    const char *name, *position; // position: NULL until its end has come
    int64_t commit_us;
};

struct gw_piece {
    struct gw_arena arena;
    size_t bytes; // in the arena, about
    bool ordered; // to be applied in source order
    struct gw_event *events;
    size_t events_n, events_cap;
    struct gw_entry *entries;
    size_t entries_n, entries_cap;
    uint32_t *slots;                  // entry + 1, open addressing
    size_t slots_n;                   // a power of two
    struct gw_applier_table **tables; // that have entries
    size_t tables_n;
    struct gw_piece_transaction *transactions;
    size_t transactions_n, transactions_cap;
};

// The set that is being built, and its buffers.
struct gw_set {
    struct gw_applier_table *table;
    struct gw_change_set set;
    struct gw_value *values, *keys;
    size_t values_cap, keys_cap;
    uint32_t *tuple;         // columns of the set, as indexes into a tuple
    uint32_t *columns, *key; // … into table->columns
    uint32_t *key_tuple;
    uint64_t bytes;
    uint64_t rows; // touched, as the engine says
};

struct gw_applier {
    const struct gw_target_ops *ops;
    void *self;
    const Gw__ErrorSettings *errors;
    bool in_order;
    bool batch;
    int64_t quiet_us, gather_us;
    uint64_t group_transactions_max, group_bytes_max, memory_max, events_max;

    struct gw_arena arena; // of the job
    struct gw_applier_table *tables;
    size_t tables_n;
    struct gw_applier_table **by_id; // sorted
    struct gw_value *before, *after; // scratch: tuples of the change in hand
    uint64_t *mask;                  // scratch
    size_t mask_words;
    uint32_t *seen; // scratch of replay: keys of a run
    struct gw_piece piece;
    struct gw_set set;
    struct gw_buf text;

    bool in_transaction;  // of the source
    bool with_changes;    // … has some
    struct gw_buf name;   // its name
    int64_t commit_us;    // its time
    uint32_t transaction; // its number in the piece; UINT32_MAX = not in it yet
    bool begun;           // a transaction of the target
    bool dirty;           // the group holds changes
    bool moved;           // the position has
    uint64_t group_transactions, group_bytes;
    int64_t first_us, last_us; // monotonic: first change of the group, last message
    int64_t committed_us;      // monotonic: last commit
    int64_t oldest_us;         // source's commit time of the oldest change in the group; 0 = none
    struct gw_buf position;    // of the last COMMIT or KEEPALIVE
    struct gw_buf durable;     // of the last commit
    Gw__StreamCounts counts;   // as they will be durable
    Gw__StreamCounts durable_counts;
    Gw__Counts *durable_tables;
    uint64_t commits;
    Gw__Suspended **suspended; // in this job, in the order it happened
    size_t suspended_n, suspended_durable;
};

// `tables` are borrowed until fini; `progress` is what stream_claim said. CONFIG: a table cannot be applied.
int gw_applier_init(struct gw_applier *a, const struct gw_target_ops *ops, void *self, const Gw__Task *task,
                    Gw__StreamTable *const *tables, size_t n, bool in_order, const Gw__Progress *progress,
                    int64_t now_us, struct gw_err *err);
void gw_applier_fini(struct gw_applier *a);
// Takes in the payload of one message with `rows` records: all of it is applied or copied when this returns. Commits where a
// bound is reached.
int gw_applier_take(struct gw_applier *a, const void *payload, size_t len, uint32_t rows, int64_t now_us,
                    struct gw_err *err);
// Commits what is due. gw_applier_due says when that is, if nothing comes before; INT64_MAX: never.
int gw_applier_tick(struct gw_applier *a, int64_t now_us, struct gw_err *err);
int64_t gw_applier_due(const struct gw_applier *a);
// The stream has ended: commits everything. BUG inside a transaction.
int gw_applier_end(struct gw_applier *a, int64_t now_us, struct gw_err *err);

// ---- between the files of the applier ----------------------------------------------------------------

// piece.c
void gw_piece_init(struct gw_piece *p, size_t tables_n);
void gw_piece_fini(struct gw_piece *p);
void gw_piece_reset(struct gw_piece *p);
// Proves and reads the change into the scratch tuples. *ret_moves: its key changes. DATA: the row is not named.
int gw_change_read(struct gw_applier *a, struct gw_applier_table *t, const struct gw_change *c, bool *ret_moves,
                   struct gw_err *err);
// Whether the change in the scratch tuples can become part of a net change; what an update that moves needs for that is
// filled in.
bool gw_piece_can_merge(struct gw_applier *a, struct gw_applier_table *t, const struct gw_change *c, bool moves);
// Appends the change, and merges it unless the piece is an ordered one.
void gw_piece_add(struct gw_applier *a, struct gw_applier_table *t, const struct gw_change *c, bool moves,
                  uint32_t transaction);
uint64_t gw_key_hash(const struct gw_applier_table *t, const struct gw_value *tuple);
bool gw_key_equal(const struct gw_applier_table *t, const struct gw_value *a, const struct gw_value *b); // of tuples

// sets.c
// Applies the net changes. DATA: a set was refused, or touched other rows than it should have; the caller takes them back.
int gw_sets_apply(struct gw_applier *a, struct gw_err *err);
// One set by hand: columns are those of a tuple whose bit is in the mask (NULL: none); key: NULL for an INSERT.
void gw_set_begin(struct gw_applier *a, struct gw_applier_table *t, Gw__ChangeKind kind, const uint64_t *mask);
void gw_set_key(struct gw_applier *a, const struct gw_value *tuple); // keyless: the given ones of its columns
void gw_set_add(struct gw_applier *a, const struct gw_value *row, const struct gw_value *key_tuple);
int gw_set_apply(struct gw_applier *a, struct gw_err *err);
// Bits of the columns that are written: given, and not a key that stays.
void gw_row_mask(const struct gw_applier_table *t, Gw__ChangeKind kind, const struct gw_value *row, bool moves,
                 uint64_t *mask, size_t words);

// replay.c
// Applies the piece in source order. Refused rows are settled by the policies.
int gw_replay(struct gw_applier *a, struct gw_err *err);
// A change whose row is not named at all: settled like one that is refused. The piece has been flushed.
int gw_refuse_change(struct gw_applier *a, struct gw_applier_table *t, const struct gw_change *c, struct gw_err *why,
                     struct gw_err *err);
int gw_suspend(struct gw_applier *a, struct gw_applier_table *t, const char *reason, struct gw_err *err);
// Counts n events of a kind as applied.
void gw_count_applied(struct gw_applier_table *t, uint8_t kind, uint64_t n, int64_t commit_us);

// tables.c
int gw_tables_open(struct gw_applier *a, Gw__StreamTable *const *tables, size_t n, struct gw_err *err);
struct gw_applier_table *gw_tables_find(const struct gw_applier *a, uint32_t id); // NULL = none

// applier.c
int gw_applier_begin(struct gw_applier *a, struct gw_err *err); // the target's transaction, unless it is begun

#endif
