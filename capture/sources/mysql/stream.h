// The stream of changes: what its parts share.
//   stream.c         the slots: open, check, begin, next, …; where the stream stands
//   stream_events.c  one event of the log after the other becomes changes
//   alter.c          what DDL makes of the tables
//   stream_tables.c  which table is which, what its columns are in the log, character sets
//   dump.c           the connection;  binlog.c, tablemap.c, rows.c, jsonb.c, gtid.c, statement.c: pure parts
//   preflight.c      what speaks against a stream
#ifndef GW_MYSQL_STREAM_H
#define GW_MYSQL_STREAM_H

#include "capture/sources/mysql/dump.h"
#include "capture/sources/mysql/gtid.h"
#include "capture/sources/mysql/mysql_source.h"
#include "capture/sources/mysql/position.h"
#include "capture/sources/mysql/rows.h"
#include "capture/sources/mysql/statement.h"

// ---- character sets of the server ----------------------------------------------------------------

struct my_sets {
    struct my_charset *items; // those that the tables use
    size_t n;
    struct my_collation {
        uint32_t id;
        char charset[33];
    } * collations; // all of the server's, by id
    size_t collations_n;
};
int my_sets_load(struct my_source *s, Gw__Table *const *tables, size_t n, struct my_sets *ret, struct gw_err *err);
void my_sets_fini(struct my_sets *sets);

// ---- tables ------------------------------------------------------------------------------------

enum pending { PENDING_NOTHING, PENDING_TRUNCATE, PENDING_SUSPEND };
struct stream_table {
    const Gw__Table *t;
    size_t values_n;   // columns that travel
    struct gw_buf map; // the bytes of the table map that `columns` were made from
    struct rw_column *columns;
    size_t columns_n;
    struct my_place altered_at; // what the log says of it up to there is old; file "": nothing
    bool suspended;
    enum pending pending;
    char why[400];
};
struct stream_tables {
    struct stream_table *items; // as in gw_stream_start
    size_t n;
    uint32_t *sorted; // by schema and name
    bool fold;        // names are compared without case
    size_t values_max;
    struct bl_column *scratch; // of a table map
    struct my_sets sets;
    bool uuid_swapped;
    size_t pending_n;
};
int
my_tables_init(struct my_source *s, struct stream_tables *ts, const struct gw_stream_start *start, struct gw_err *err);
void my_tables_fini(struct stream_tables *ts);
int32_t my_tables_find(const struct stream_tables *ts, const char *schema, const char *name); // -1: not ours
// Makes the columns from a table map, if it is another than the last one. The table is suspended if it does not fit; if the event
// is old, its rows are to be skipped instead: who altered the table afterwards had waited for them, so they were read by the load.
int my_tables_bind(struct stream_tables *ts, uint32_t i, const struct bl_format *f, const struct bl_event *e, bool old,
                   bool *ret_skip, struct gw_err *err);
void
my_tables_suspend(struct stream_tables *ts, uint32_t i, const char *why, ...) __attribute__((format(printf, 3, 4)));

// ---- the stream --------------------------------------------------------------------------------

struct my_stream {
    const struct gw_stream_start *start;
    struct my_dump dump;
    struct bl_format format;
    struct stream_tables tables;
    bool mariadb;
    char server[9];

    struct my_place at;   // behind the last event that was read
    struct my_place idle; // behind the last transaction, or what stands between two
    struct my_gtids gtids;
    bool gtids_known;

    // The transaction that is being read.
    bool in_tx;
    bool begun;      // BEGIN was handed out
    bool standalone; // the next statement is all of it
    bool awaits;     // MySQL: its first statement says whether there are more
    bool prepared;   // its rows take effect at an XA COMMIT
    bool ended;      // COMMIT is to be handed out
    struct my_place tx_at;
    struct bl_gtid gtid;
    int64_t commit_us;

    struct my_map_id {
        uint64_t id;
        int32_t table;
    } * maps; // of the statement that is being read
    size_t maps_n, maps_cap;

    struct bl_payload *payload;
    struct gw_buf unpacked_payload, unpacked;
    struct bl_rows rows; // what is left of an event of rows
    int32_t rows_of;     // its table; -1 = none
    struct rw_scratch scratch[2];
    struct gw_value *values[2];

    // definitions that have changed: told as soon as their transaction has ended
    struct my_source *source;
    struct gw_arena altered_arena;
    struct gw_altered *altered;
    size_t altered_n;

    struct gw_buf position, transaction;
    int64_t told_us; // when a position was handed out last
    struct my_place told;
};

// What DDL has made of a table of the stream, or of one that the task's rules include, goes into st->altered (alter.c).
int my_altered_known(struct my_stream *st, uint32_t i, enum st_effect effect, const struct st_statement *s,
                     const struct bl_query *q, struct gw_err *err);
int my_altered_new(struct my_stream *st, const struct st_statement *s, const struct bl_query *q, struct gw_err *err);
// Hands out what is next, reading events as far as there are any. GW_AGAIN: nothing until the deadline.
int my_stream_event(struct my_stream *st, int64_t deadline_us, struct gw_event *ret, struct gw_err *err);
// "file:byte;server=…;gtid=…" of where the stream stands between transactions.
void my_stream_put_position(struct my_stream *st, struct gw_buf *out);

struct my_log_end {
    struct my_place at;
    char *gtids; // MySQL: what was executed
};
// CONFIG: there is no log, or the user may not ask.
int my_log_end(struct my_source *s, struct gw_arena *a, struct my_log_end *ret, struct gw_err *err);
// Without blanks and line breaks, as positions are written.
char *my_gtids_tidy(struct gw_arena *a, const char *gtids, bool mariadb);
uint32_t my_server_id(const Gw__Task *task, const char *task_uuid);

#endif
