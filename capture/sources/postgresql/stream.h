// The stream of changes, inside: what its files share, in reading order.
//
//   pgoutput.c     bytes -> messages (pgoutput.h)
//   position.c     positions, snapshots, visibility
//   slot.c         names, sessions, the slot: made, found, dropped
//   publication.c  the publication: made, compared with the task's tables, dropped
//   relation.c     what the stream says of a table against what the task knows of it: values by column
//   alter.c        what has become of tables that are another now
//   spill.c        transactions in parts, kept on disk (spill.h)
//   parts.c        the messages of transactions in parts
//   stream.c       begin, next, confirm, now, kept
//   preflight.c    what speaks against a stream
//
// Two sessions beside the one that reads chunks, so that neither a snapshot nor an open COPY is in their way: `side` for
// statements, and `wal`, the replication connection. `wal` first makes the slot (and then stays idle: the exported snapshot lives
// as long as it does), and carries the stream once it has begun.
#ifndef GW_SOURCE_STREAM_H
#define GW_SOURCE_STREAM_H

#include "pgoutput.h"
#include "pgs.h"
#include "spill.h"

enum { PGS_NAME_MAX = 63 }; // bytes of a name, without its NUL

// ---- position.c

struct pgs_text_lsn {
    char s[24];
};
int pgs_lsn_read(const char *text, uint64_t *ret, struct gw_err *err); // CONFIG if it is none
void pgs_lsn_text(uint64_t lsn, struct pgs_text_lsn *ret);
// The stream has the lower 32 bits of a transaction's id. `newest`: the newest id that is known, of 64 bits. The server keeps
// all transactions that a slot may still ask for within 2^31 of the newest one, and `newest` is asked for often enough.
uint64_t pgs_xid_whole(uint64_t newest, uint32_t xid);

// ---- relation.c

// A table of the start.
struct pgs_streamed {
    const Gw__Table *t;
    uint32_t oid;              // as last seen; 0 = unknown
    uint16_t n;                // columns that travel
    const char **names, **was; // was: before it was altered
    const Gw__Column **columns;
    const char **natives;
    bool *identity; // of each: in every old image
    bool *not_null;
    bool *money;     // of each: its text needs to be made a number's
    uint32_t *types; // of each, as the catalogue had it at the start; 0 = not known
    int32_t *typmods;
    uint64_t altered_at; // transactions up to there are read by name, whatever they have
    bool altered;        // it is another one than the task knows
    bool suspend;        // something is wrong with it …
    bool suspended;      // … and that has been said
    char *reason;
};

// A relation of the stream: what a Relation message said.
struct pgs_relation {
    uint32_t oid;  // 0 = a free place
    int32_t table; // index into tables; -1 = none of ours
    uint16_t n;
    uint16_t cap;
    int16_t *map; // of each column of the message: which of those that travel; -1 = none
    bool by_name; // it does not fit, and is read by name: good for old transactions alone
};

struct pgs_relations {
    struct pgs_relation *items; // open addressing, a power of two
    size_t n, cap;
};

// ---- the stream

struct pgs_stream {
    struct gw_arena arena; // of the start
    PGconn *side, *wal;

    // names
    char slot[PGS_NAME_MAX + 1], publication[256], owner[PGS_NAME_MAX + 1]; // owner: the application_name of `wal`
    bool own_publication;                                                   // not named by a setting

    // the start
    const Gw__Task *task;
    struct pgs_streamed *tables;
    size_t tables_n;
    Gw__Table *const *others; // of the task, and not followed
    size_t others_n;
    struct pgs_relations relations;
    bool streaming;
    bool ended; // in error: nothing more is to be read

    // the message in hand: what events point into
    char *message;
    struct pgo_message m;
    bool held;            // not dealt with yet
    uint32_t truncate_at; // of a TRUNCATE
    struct gw_value *before, *after;
    char (*numbers)[32]; // texts of money
    size_t numbers_n;

    // the transaction in hand
    bool in_tx, told;   // BEGIN was read; was given out
    bool own_tx;        // one was given out that is none of the source's: it suspends tables
    bool altering;      // it alters a table: its rows do not count any more
    uint64_t final;     // where its commit stands
    bool trying, unfit; // a Relation message is only tried; it does not fit
    uint64_t xid_last;  // the greatest that is known: completes the 32 bits of the stream
    int64_t xid_at_us;  // when it was asked for
    char transaction[24];
    int64_t commit_us;
    struct pgs_text_lsn position;

    // transactions in parts: NULL where the server keeps them
    struct pgs_spill *spill;
    bool in_part;              // between two messages that begin and end one
    bool replaying;            // the transaction in hand is read from the spill
    struct pgo_message commit; // of it

    // definitions that have changed
    struct gw_arena altered_arena;
    struct gw_altered *altered;
    size_t altered_n;
    int64_t tables_at_us; // when the catalogue was last looked at

    // where we are
    uint64_t received, confirmed; // what the server is told
    uint64_t passed;              // nothing of interest lies before it that was not given out
    uint64_t given;               // the last position given out
    uint64_t wanted;              // somebody waits for this position
    int64_t given_us, asked_us;
};

// The stream's state, made at the first use, and its names for a task.
struct pgs_stream *pgs_stream_of(struct pgs *s);
void pgs_stream_free(struct pgs *s); // takes a half-made one, or none

// Maps the start's tables, and learns types and oids from the catalogue.
int pgs_tables_load(struct pgs *s, const struct gw_stream_start *start, struct gw_err *err);
// The number that a table had when it was described; 0 = not known.
uint32_t pgs_described_oid(const Gw__Table *t);
struct pgs_relation *pgs_relation_find(struct pgs_stream *st, uint32_t oid);
// Takes in a Relation message; a table that does not fit any more is marked to be suspended.
int pgs_relation_read(struct pgs *s, const struct pgo_message *m, struct gw_err *err);
// Fills st->before or st->after of a relation that is ours. `kind`: 'N', 'K' or 'O'. GW_AGAIN: the row cannot be relied on,
// and its table is to be suspended.
int pgs_relation_values(struct pgs_stream *st, const struct pgs_relation *rel, const struct pgo_tuple *tuple, char kind,
                        struct gw_value *ret, struct gw_err *err);
// The table is another one than the task knows: the transaction in hand ends the run.
void pgs_differs(struct pgs_stream *st, size_t table, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void pgs_suspend(struct pgs_stream *st, size_t table, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// ---- alter.c

// What has become of the tables that are `altered`, or gone, or new, by the catalogue: into st->altered. Looks no oftener than
// every few seconds unless `now`.
int pgs_altered_look(struct pgs *s, bool now, struct gw_err *err);

// ---- parts.c

// Whether the server shall send large transactions while they run, and the means for it. CONFIG: spill-limit-mb is no number.
int pgs_parts_begin(struct pgs *s, struct gw_err *err);
// Takes a message of the stream that belongs to a transaction in parts. GW_AGAIN: done; GW_OK: it is an ordinary one.
int pgs_parts_take(struct pgs *s, const void *bytes, size_t len, struct gw_err *err);
// The next message of a transaction that is read from the spill, into st->m; at last a commit.
int pgs_parts_replay(struct pgs *s, struct gw_err *err);
// The transaction in hand, from its Begin or its Stream Commit (stream.c).
int pgs_begin_read(struct pgs_stream *st, const struct pgo_message *m, struct gw_err *err);

// ---- slot.c

int pgs_names(struct pgs *s, const Gw__Task *task, const char *task_uuid, struct gw_err *err);
int pgs_side(struct pgs *s, struct gw_err *err); // connects `side` if it is not there
int pgs_wal(struct pgs *s, struct gw_err *err);  // connects `wal` anew
int pgs_side_query(struct pgs *s, PGresult **ret, struct gw_err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
int pgs_slot_free(struct pgs *s, struct gw_err *err); // ends the session of this task that still holds the slot
int pgs_slot_check(struct pgs *s, const char *position, struct gw_err *err);
const char *pgs_stream_setting(const Gw__Endpoint *ep, const char *key); // NULL = not set

// ---- publication.c

int pgs_publication_make(struct pgs *s, const struct gw_stream_start *start, struct gw_err *err);
int pgs_publication_drop(struct pgs *s, struct gw_err *err);
// CONFIG if it is not there or is not what it must be. A table that it lacks, because it was dropped or renamed, is that table's
// affair alone once the stream is under way: it is suspended with the next transaction.
enum pgs_missing { PGS_MISSING_FAILS, PGS_MISSING_PASSES, PGS_MISSING_SUSPENDS };
int
pgs_publication_check(struct pgs *s, const struct gw_stream_start *start, enum pgs_missing missing, struct gw_err *err);

// ---- slots of the engine

int pgs_stream_preflight(void *self, struct gw_arena *a, const Gw__Task *task, Gw__Catalog *cat, struct gw_err *err);
int pgs_stream_open(void *self, struct gw_arena *a, const struct gw_stream_start *start, char **ret_position,
                    char **ret_handle, struct gw_err *err);
int pgs_stream_check(void *self, const struct gw_stream_start *start, struct gw_err *err);
int pgs_stream_close(void *self, const struct gw_stream_start *start, struct gw_err *err);
int pgs_stream_now(void *self, struct gw_arena *a, char **ret_position, struct gw_err *err);
int pgs_stream_begin(void *self, const struct gw_stream_start *start, struct gw_err *err);
int pgs_stream_next(void *self, int64_t deadline_us, struct gw_event *ret, struct gw_err *err);
int pgs_stream_fd(void *self);
int pgs_stream_confirm(void *self, const char *position, struct gw_err *err);
int pgs_stream_kept(void *self, uint64_t *ret_bytes, uint64_t *ret_left, struct gw_err *err);
int pgs_position_cmp(const char *a, const char *b, int *ret, struct gw_err *err);
int pgs_tx_visible(const char *token, const char *transaction, enum gw_visible *ret, struct gw_err *err);
int pgs_snapshot_covers(const char *first, const char *later, bool *ret, struct gw_err *err);

#endif
