// What the programs about PostgreSQL's stream of changes share: tables, a stream of them, and its events as text.
#ifndef GW_PG_STREAM_H
#define GW_PG_STREAM_H

#include "common/clock.h"
#include "common/db/pg/pg.h"
#include "conform.h"

#define SCHEMA "gwstream"
#define UUID   "55555555-5555-4555-8555-555555555555"

struct fixture {
    struct conform *c;
    PGconn *db, *other; // users' sessions
    void *self;
    Gw__Catalog *cat;
    struct gw_stream_start start;
    char *handle;      // of the slot's snapshot
    struct gw_buf out; // of read_until
    char *last;        // the last position that was given out
    size_t keepalives;
    bool with_xids; // transactions and positions in the text
};

void run(PGconn *c, const char *sql, ...) __attribute__((format(printf, 2, 3)));
char *ask(struct fixture *f, const char *sql, ...) __attribute__((format(printf, 2, 3))); // one value, in the arena

// Makes the schema anew, runs `sql` in it.
struct fixture pg_start(void **state, const char *sql);
void pg_end(struct fixture *f);
// Describes all tables of the schema, sorted by name: the start of a stream.
void pg_describe(struct fixture *f);
// Describe, open, begin from the slot's point.
void pg_open(struct fixture *f);
void pg_begin(struct fixture *f, const char *position);
// Another process goes on: a new instance, with the position of the last one.
void pg_restart(struct fixture *f, const char *position);

// Reads everything that was committed before this call, as text: one line an event, keepalives counted only.
//   BEGIN / I t(1,a,NULL) / U t[1,-]->(1,b,~) / D t[1,-] / T t / SUSPEND t: reason / COMMIT
// Table names without the schema; - in an old image: not given; ~ in a new one: unchanged.
const char *pg_read(struct fixture *f);
void pg_expect_at(struct fixture *f, const char *want, const char *file, int line);
#define pg_expect(f, want) pg_expect_at((f), (want), __FILE__, __LINE__)

// Fails unless the call fails with the class and its message holds the text.
void pg_fails_at(struct fixture *f, int r, int want, const char *text, const char *file, int line);
#define pg_fails(f, r, want, text) pg_fails_at((f), (r), (want), (text), __FILE__, __LINE__)

#endif
