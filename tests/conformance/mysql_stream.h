// What the programs about MySQL's stream share: a session of the user's, the described tables, and changes as lines of text.
#ifndef GW_MYSQL_STREAM_TEST_H
#define GW_MYSQL_STREAM_TEST_H

#include "common/db/my/my.h"
#include "conform.h"

#define SDB "gwconf_stream"

struct log_fixture {
    struct conform *c;
    MYSQL *db; // the user's session
    bool mariadb;
    void *self;
    Gw__Catalog *cat;
    struct gw_stream_start start;
    struct gw_buf lines; // what happened: B, I t 1|x, U t 1|x > 1|y, D t 1|x, T t, S t why, C; no keepalives
    char **positions;    // of each COMMIT
    size_t *ends;        // lines.len behind it
    char **transactions; // of each BEGIN
    size_t commits, begins, cap;
    struct rows *copies; // where inserted rows go, as COPY text; may be NULL
    char *last;          // the last position that was told
};
struct log_fixture log_start(void **state);
void log_end(struct log_fixture *f);
// Ends and skips the test where the server is not the one.
void log_needs(struct log_fixture *f, bool mariadb);
void log_run(struct log_fixture *f, const char *sql, ...) __attribute__((format(printf, 2, 3)));
// Describes the tables of SDB, opens the stream (log_begin: and begins it).
void log_open(struct log_fixture *f);
void log_begin(struct log_fixture *f);
// Begins again after `position`, in another instance; what was collected is forgotten.
void log_again(struct log_fixture *f, const char *position);
int log_try_again(struct log_fixture *f, const char *position);
// Collects until the stream is past what was committed before the call.
void log_catch_up(struct log_fixture *f);
// The same, until stream_next fails; returns how.
struct gw_err log_until_failure(struct log_fixture *f);
void log_forget(struct log_fixture *f);
// Whether the table is suspended, once and with that reason, after what was committed before the call.
bool log_suspends(struct log_fixture *f, const char *table, const char *why);
// Fails unless the lines are these; then forgets them.
void log_is(struct log_fixture *f, const char *want);
uint32_t log_table(const struct log_fixture *f, const char *name); // index

#endif
