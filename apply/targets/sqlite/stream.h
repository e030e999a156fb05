// The stream's slots, inside: stream.c (claim, transactions, fence) and stream_set.c (sets).
//
// A file has one writer at a time, so BEGIN IMMEDIATE waits for the first statement that writes. Rows go one by one through
// prepared statements: a statement costs no round trip here.
#ifndef GW_SQLITE_TARGET_STREAM_H
#define GW_SQLITE_TARGET_STREAM_H

#include "apply/targets/sqlite/sqlite_target.h"

enum { LITE_STATEMENTS_MAX = 500, LITE_SQL_MAX = 16 * 1024 * 1024 };

enum lite_change { LITE_INSERT, LITE_UPDATE, LITE_DELETE };

struct lite_param {
    struct lite_field_form form;
    bool key;     // of set->keys, otherwise of set->values
    size_t index; // in there
};

struct lite_statement {
    const void *key;
    size_t key_len;
    uint64_t hash;
    sqlite3_stmt *stmt;
    size_t n_params;
    struct lite_param *params;
};

struct lite_stream {
    struct gw_arena arena; // statements
    bool claimed;
    uint64_t epoch;
    struct gw_buf position; // the durable one

    bool open, in_tx;
    bool marked; // there is a savepoint, or the transaction has not begun and it will be its start
    bool mark_at_start;

    struct lite_statement *statements[LITE_STATEMENTS_MAX];
    size_t statements_n;
    struct gw_buf key, sql, upsert;
};

// Begins the transaction if it has not begun.
int lite_stream_write(struct lite_target *t, struct gw_err *err);
// Rolls back and closes the transaction; returns rc.
int lite_stream_lost(struct lite_target *t, int rc);
void lite_statements_close(struct lite_stream *s);

#endif
