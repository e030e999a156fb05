// The stream's slots, inside.
//
//   stream.c        claim, begin, mark, back, refuse, suspend, commit
//   stream_table.c  what the server says of a table that changes come for, and how its columns are compared
//   stream_sql.c    the statement of a set
//   stream_bind.c   its rows as parameters
//   stream_set.c    applying one
//
// MariaDB takes one statement and the values of many rows (COM_STMT_BULK_EXECUTE) and runs it row by row, in order, in one
// round trip. MySQL does not: several rows an INSERT there, and one row an UPDATE or DELETE. Neither REPLACE nor ON
// DUPLICATE KEY is ever used: through another unique key they hit another row.
//
// Nothing is sent before it must be: START TRANSACTION and SAVEPOINT wait for the first statement that needs them. TRUNCATE would
// commit, so a table is emptied by DELETE.
#ifndef GW_TARGET_MYT_STREAM_H
#define GW_TARGET_MYT_STREAM_H

#include "myt.h"

enum {
    MYT_STATEMENTS_MAX = 200, // prepared ones: the server's max_prepared_stmt_count is for all its sessions
    MYT_TABLES_MAX = 20000,
    MYT_PIECE_BYTES = 8 << 20, // of values in one execution, if max_allowed_packet lets us
    MYT_PIECE_VALUES = 1 << 19,
    MYT_INSERT_ROWS = 100,        // in one INSERT on MySQL
    MYT_PARAMS_MAX = 65535,       // of a prepared statement
    MYT_PACKET_SPARE = 64 * 1024, // of max_allowed_packet, for what is around the values
};

// How a value is bound. What is only written is text or bytes, as in a load; what is compared has the column's own type, so
// that the comparison is exact and can use the key.
enum myt_bind {
    MYT_BIND_TEXT,
    MYT_BIND_BYTES,
    MYT_BIND_INT,
    MYT_BIND_UINT,
    MYT_BIND_FLOAT,
    MYT_BIND_DOUBLE,
    MYT_BIND_DECIMAL
};

struct myt_target_column {
    bool there;   // the target has it
    bool stamps;  // ON UPDATE CURRENT_TIMESTAMP
    bool text;    // has a character set
    bool padded;  // CHAR: never ends in blanks when it is read
    bool json;    // MySQL's JSON
    size_t field; // in conv
    enum myt_bind write, compare;
};

struct myt_target_table {
    struct myt_target_table *next;
    const void *key;
    size_t key_len;
    struct myt_conv *conv;
    struct myt_target_column *columns; // as table->columns
};

struct myt_param {
    uint32_t column;
    bool key;     // of set->keys, otherwise of set->values
    size_t index; // in there
    bool trim;    // of the blanks at its end
    enum myt_bind bind;
};

struct myt_statement {
    const void *key;
    size_t key_len;
    uint64_t hash;
    MYSQL_STMT *stmt;
    size_t rows;     // in one execution
    size_t n_params; // of one row
    struct myt_param *params;
};

enum myt_form { MYT_INSERT, MYT_UPDATE, MYT_DELETE };
enum myt_mark { MYT_MARK_NONE, MYT_MARK_START, MYT_MARK_SET };

struct myt_stream {
    struct gw_arena arena; // tables and statements
    bool claimed;
    uint64_t epoch, packet; // max_allowed_packet
    struct gw_buf position; // the durable one
    char lock[MYT_LOCK_NAME];

    // The transaction; see the PostgreSQL target's, which is the same.
    bool open, need_begin, need_mark, dirty;
    enum myt_mark mark;

    struct myt_target_table *tables;
    size_t tables_n;
    struct myt_statement *statements[MYT_STATEMENTS_MAX];
    size_t statements_n;
    struct gw_buf key, sql, args, upsert;

    // Of the rows that are being bound: one of each for every value, parameter by parameter.
    size_t values_cap, binds_cap;
    MYSQL_BIND *binds;
    void **at;
    unsigned long *lengths;
    char *indicators;
    union myt_number {
        long long i;
        double d;
        float f;
    } * numbers;
    float *floats; // a FLOAT's array is packed
};

// ---- stream.c

// Closes every prepared statement, and forgets what is known of tables.
void myt_statements_close(struct myt_stream *s);
// Sends what waits for the next statement.
int myt_stream_flush(struct myt *t, struct gw_err *err);
// After a failure that the transaction does not survive: it is rolled back and closed. Returns rc.
int myt_stream_lost(struct myt *t, int rc);
// Back to before the transaction's first statement.
int myt_stream_restart(struct myt *t, struct gw_err *err);

// ---- stream_table.c

void myt_stream_key(struct gw_buf *out, const Gw__Table *t);
int myt_stream_table(struct myt *t, const Gw__Table *table, struct myt_target_table **ret, struct gw_err *err);

// ---- stream_sql.c

// The statement for `rows` rows at once (INSERT; otherwise 1); ret gets its parameters, in the arena.
void myt_stream_sql(struct myt *t, struct gw_buf *sql, const struct gw_change_set *set,
                    const struct myt_target_table *tab, enum myt_form form, struct myt_statement *ret);

// ---- stream_bind.c

// How many rows from `from` on go in one execution. At least one.
int myt_measure(struct myt *t, const struct gw_change_set *set, const struct myt_statement *st, size_t from,
                size_t *ret_to, struct gw_err *err);
// Converts them and binds them.
int myt_bind_rows(struct myt *t, const struct gw_change_set *set, const struct myt_target_table *tab,
                  struct myt_statement *st, size_t from, size_t to, struct gw_err *err);
int myt_statement_error(MYSQL_STMT *stmt, struct gw_err *err);
// Executes what is bound. *ret_rows grows by the rows that were found.
int myt_execute(struct myt *t, struct myt_statement *st, size_t rows, uint64_t *ret_rows, struct gw_err *err);

#endif
