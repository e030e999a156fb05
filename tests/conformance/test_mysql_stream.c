// The stream of changes of MySQL and MariaDB: every kind of change, positions and restarts, what the server does to its log.
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "mysql_stream.h"

static void
changes(void **state)
{
    struct log_fixture f = log_start(state);
    log_run(&f, "CREATE TABLE t (id int PRIMARY KEY, v varchar(20))");
    log_run(&f, "CREATE TABLE other (id int PRIMARY KEY)");
    log_begin(&f);
    log_run(&f, "INSERT INTO t VALUES (1, 'one'), (2, NULL)");
    log_run(&f, "UPDATE t SET v = 'zwei' WHERE id = 2");
    log_run(&f, "UPDATE t SET id = 3 WHERE id = 1");
    log_run(&f, "DELETE FROM t WHERE id = 3");
    log_is(&f, "B\nI t 1|one\nI t 2|\\N\nC\n"
               "B\nU t 2|\\N > 2|zwei\nC\n"
               "B\nU t 1|one > 3|one\nC\n"
               "B\nD t 3|one\nC\n");
    log_run(&f, "BEGIN");
    log_run(&f, "INSERT INTO t VALUES (10, 'a')");
    log_run(&f, "INSERT INTO other VALUES (10)");
    log_run(&f, "SAVEPOINT s");
    log_run(&f, "INSERT INTO t VALUES (11, 'b')");
    log_run(&f, "ROLLBACK TO s");
    log_run(&f, "DELETE FROM t WHERE id = 10");
    log_run(&f, "COMMIT");
    log_run(&f, "BEGIN");
    log_run(&f, "INSERT INTO t VALUES (12, 'c')");
    log_run(&f, "ROLLBACK");
    log_is(&f, "B\nI t 10|a\nI other 10\nD t 10|a\nC\n");
    log_run(&f, "INSERT INTO t VALUES (20, 'x')");
    log_run(&f, "UPDATE t, other SET t.v = 'y', other.id = 21 WHERE t.id = 20 AND other.id = 10");
    log_run(&f, "REPLACE INTO t VALUES (20, 'z')");
    log_run(&f, "INSERT INTO t VALUES (20, 'w') ON DUPLICATE KEY UPDATE v = 'v'");
    log_is(&f, "B\nI t 20|x\nC\n"
               "B\nU t 20|x > 20|y\nU other 10 > 21\nC\n"
               "B\nU t 20|y > 20|z\nC\n"
               "B\nU t 20|z > 20|v\nC\n");
    log_end(&f);
}

// ---- positions ---------------------------------------------------------------------------------

// A workload with every way in which the log can be cut: statements of several rows, several statements, other tables, files.
static void
workload(struct log_fixture *f, int n)
{
    for (int i = 0; i < n; i++) {
        switch (i % 8) {
        case 0: log_run(f, "INSERT INTO t VALUES (%d, 'a'), (%d, 'b')", 10 * i, 10 * i + 1); break;
        case 1: log_run(f, "UPDATE t SET v = 'c' WHERE id >= %d", 10 * (i - 1)); break;
        case 2:
            log_run(f, "BEGIN");
            log_run(f, "INSERT INTO t VALUES (%d, 'd')", 10 * i);
            log_run(f, "INSERT INTO other VALUES (%d)", i);
            log_run(f, "DELETE FROM t WHERE id = %d", 10 * i);
            log_run(f, "COMMIT");
            break;
        case 3: log_run(f, "INSERT INTO apart.t VALUES (%d)", i); break;
        case 4: log_run(f, "CREATE TABLE apart.x%d (id int)", i); break;
        case 5: log_run(f, "FLUSH BINARY LOGS"); break;
        case 6: log_run(f, "TRUNCATE TABLE other"); break;
        default: log_run(f, "DELETE FROM t WHERE id = %d", 10 * (i - 7)); break;
        }
    }
}

static void
two_tables(struct log_fixture *f)
{
    log_run(f, "CREATE TABLE t (id int PRIMARY KEY, v varchar(20))");
    log_run(f, "CREATE TABLE other (id int PRIMARY KEY)");
    log_run(f, "CREATE OR REPLACE DATABASE apart");
    log_run(f, "CREATE TABLE apart.t (id int)");
}

static void
restarts(void **state)
{
    struct log_fixture f = log_start(state);
    struct conform *c = f.c;
    two_tables(&f);
    log_begin(&f);
    const char *begin = f.start.position;
    workload(&f, 32);
    log_catch_up(&f);
    char *all = gw_arena_memdup0(&c->arena, f.lines.data, f.lines.len);
    size_t n = f.commits, ends[64];
    char *positions[64];
    assert_in_range(n, 16, 60);
    for (size_t i = 0; i < n; i++) {
        ends[i] = f.ends[i];
        positions[i] = f.positions[i];
        int order = 0;
        conform_ok(c, c->source->position_cmp(i ? positions[i - 1] : begin, positions[i], &order, &c->err));
        assert_true(order < 0);
    }
    for (size_t i = 0; i < n; i++) {
        log_again(&f, positions[i]);
        log_catch_up(&f);
        assert_string_equal(f.lines.len ? f.lines.data : "", all + ends[i]);
    }
    log_again(&f, begin);
    log_is(&f, all);
    log_run(&f, "DROP DATABASE apart");
    log_end(&f);
}

// What is of no interest moves the position all the same, and each position that is told is one to go on from.
static void
uninteresting(void **state)
{
    struct log_fixture f = log_start(state);
    two_tables(&f);
    log_begin(&f);
    for (int i = 0; i < 20; i++) {
        log_run(&f, "INSERT INTO apart.t VALUES (%d)", i);
        if (i % 7 == 0) {
            log_run(&f, "FLUSH BINARY LOGS");
        }
        log_is(&f, "");
        log_again(&f, f.last);
    }
    uint64_t kept = 0, left = 0;
    conform_ok(f.c, f.c->source->stream_kept(f.self, &kept, &left, &f.c->err));
    assert_true(kept < 1000);
    log_run(&f, "INSERT INTO t VALUES (1, REPEAT('x', 10))");
    conform_ok(f.c, f.c->source->stream_kept(f.self, &kept, &left, &f.c->err));
    assert_in_range(kept, 100, 2000);
    log_is(&f, "B\nI t 1|xxxxxxxxxx\nC\n");
    log_run(&f, "DROP DATABASE apart");
    log_end(&f);
}

static void
refused(struct log_fixture *f, const char *position, const char *why)
{
    int r = log_try_again(f, position);
    struct gw_err err = f->c->err;
    conform_is(f->c, r, GW_CONFIG);
    if (!strstr(err.message, why)) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, why);
    }
    fprintf(stderr, "    %s\n", err.message);
    assert_true(err.hint[0] || strstr(err.message, "no position"));
}

// A server keeps the files that somebody is reading, and needs a while to see that nobody does.
static void
end_readers(struct log_fixture *f)
{
    log_run(f, "BEGIN NOT ATOMIC FOR x IN (SELECT id FROM information_schema.processlist WHERE command = 'Binlog Dump')"
               " DO EXECUTE IMMEDIATE CONCAT('KILL ', x.id); END FOR;"
               " WHILE (SELECT COUNT(*) FROM information_schema.processlist WHERE command = 'Binlog Dump') > 0"
               " DO DO SLEEP(0.05); END WHILE; END");
}

// A file goes only when InnoDB has no more need of it after a crash, which may take it a while.
static void
purge(struct log_fixture *f, const char *gone, const char *to)
{
    struct conform *c = f->c;
    int64_t patience = gw_now_us() + 20 * GW_S;
    for (bool there = true; there;) {
        MYSQL_RES *res = NULL;
        log_run(f, "PURGE BINARY LOGS TO '%.*s'", (int)strcspn(to, ":"), to);
        conform_ok(c, gw_my_query(f->db, &res, "SHOW BINARY LOGS", &c->err));
        there = false;
        for (MYSQL_ROW row; (row = mysql_fetch_row(res));) {
            there = there || strncmp(row[0], gone, strlen(row[0])) == 0;
        }
        mysql_free_result(res);
        assert_true(gw_now_us() < patience);
        log_run(f, "DO SLEEP(0.05)");
    }
}

static void
log_is_gone(void **state)
{
    struct log_fixture f = log_start(state);
    struct conform *c = f.c;
    two_tables(&f);
    log_begin(&f);
    log_run(&f, "INSERT INTO t VALUES (1, 'a')");
    log_is(&f, "B\nI t 1|a\nC\n");
    char *position = f.last;
    // Another server, another place of the same server, no position at all.
    char *other = gw_arena_strdup(&c->arena, position);
    char *hash = strstr(other, "server=") + 7;
    hash[0] = hash[0] == '0' ? '1' : '0';
    refused(&f, other, "another server");
    int order = 0;
    conform_is(c, c->source->position_cmp(position, other, &order, &c->err), GW_CONFIG);
    refused(&f, "nonsense", "no position");
    char *middle = gw_arena_strdup(&c->arena, position);
    char *semicolon = strchr(middle, ';');
    semicolon[-1] = semicolon[-1] == '0' ? '1' : (char)(semicolon[-1] - 1);
    refused(&f, middle, "");
    // Purged.
    log_run(&f, "FLUSH BINARY LOGS");
    log_run(&f, "FLUSH BINARY LOGS");
    char *now = NULL;
    log_again(&f, position);
    conform_ok(c, c->source->stream_now(f.self, &c->arena, &now, &c->err));
    conform_close_source(c, &f.self);
    end_readers(&f);
    purge(&f, position, now);
    refused(&f, position, "purged");
    // RESET MASTER: the file may be there again, and even long enough.
    log_again(&f, now);
    log_run(&f, "INSERT INTO t VALUES (2, 'a')");
    log_is(&f, "B\nI t 2|a\nC\n");
    position = f.last;
    conform_close_source(c, &f.self);
    end_readers(&f);
    log_run(&f, "RESET MASTER");
    refused(&f, position, "");
    conform_close_source(c, &f.self);
    while (true) {
        log_run(&f, "FLUSH BINARY LOGS");
        log_run(&f, "INSERT INTO t VALUES (3, 'a')");
        log_run(&f, "DELETE FROM t WHERE id = 3");
        log_run(&f, "INSERT INTO t VALUES (3, 'a')");
        log_run(&f, "DELETE FROM t WHERE id = 3");
        f.self = conform_open_source(c);
        conform_ok(c, c->source->stream_now(f.self, &c->arena, &now, &c->err));
        conform_ok(c, c->source->position_cmp(now, position, &order, &c->err));
        conform_close_source(c, &f.self);
        if (order > 0) {
            break;
        }
    }
    refused(&f, position, "");
    log_run(&f, "DROP DATABASE apart");
    log_end(&f);
}

static void
log_is_written_otherwise(void **state)
{
    static const char *const settings[] = {"binlog_checksum = NONE",        "log_bin_compress = ON",
                                           "binlog_checksum = CRC32",       "binlog_row_metadata = NO_LOG",
                                           "binlog_row_metadata = MINIMAL", "log_bin_compress = OFF",
                                           "binlog_row_metadata = FULL"};
    struct log_fixture f = log_start(state);
    log_run(&f, "CREATE TABLE t (id int PRIMARY KEY, v text, u int unsigned)");
    log_run(&f, "SET GLOBAL log_bin_compress_min_len = 20");
    log_begin(&f);
    for (int i = 0; i < (int)(sizeof settings / sizeof *settings); i++) {
        log_run(&f, "SET GLOBAL %s", settings[i]);
        log_run(&f, "FLUSH BINARY LOGS");
        log_run(&f, "INSERT INTO t VALUES (%d, REPEAT('x', 40), 4294967295)", i);
        log_run(&f, "UPDATE t SET v = REPEAT('y', 40) WHERE id = %d", i);
        log_run(&f, "TRUNCATE TABLE t /* %s */", "a comment that makes it long enough to be compressed");
        char want[1000], x[41], y[41];
        memset(x, 'x', 40);
        memset(y, 'y', 40);
        x[40] = y[40] = 0;
        snprintf(want, sizeof want,
                 "B\nI t %d|%s|4294967295\nC\nB\nU t %d|%s|4294967295 > %d|%s|4294967295\nC\nB\nT t \nC\n", i, x, i, x,
                 i, y);
        log_is(&f, want);
        log_again(&f, f.last);
    }
    log_run(&f, "SET GLOBAL log_bin_compress_min_len = 256");
    log_end(&f);
}

static void
unreadable_changes(void **state)
{
    struct log_fixture f = log_start(state);
    log_run(&f, "CREATE TABLE t (id int PRIMARY KEY, v varchar(20) DEFAULT 'x', w int)");
    log_run(&f, "CREATE TABLE u LIKE t");
    log_begin(&f);
    log_run(&f, "SET SESSION binlog_row_image = MINIMAL");
    log_run(&f, "INSERT INTO u VALUES (1, 'a', 5)");
    log_run(&f, "UPDATE u SET w = 6");
    log_run(&f, "DELETE FROM u");
    log_is(&f, "B\nI u 1|a|5\nC\nB\nU u 1|?|? > ?|?|6\nC\nB\nD u 1|?|?\nC\n");
    log_run(&f, "INSERT INTO u (id) VALUES (1)");
    assert_true(log_suspends(&f, "u", "lacks columns"));
    log_run(&f, "SET SESSION binlog_row_image = FULL");
    log_run(&f, "INSERT INTO t VALUES (1, 'a', 1)");
    log_is(&f, "B\nI t 1|a|1\nC\n");
    // The rows of a prepared transaction.
    log_run(&f, "XA START 'x'");
    log_run(&f, "INSERT INTO t VALUES (2, 'b', 2)");
    log_run(&f, "XA END 'x'");
    log_run(&f, "XA PREPARE 'x'");
    log_run(&f, "XA COMMIT 'x'");
    assert_true(log_suspends(&f, "t", "XA"));
    conform_close_source(f.c, &f.self);
    log_begin(&f);
    log_run(&f, "XA START 'y'");
    log_run(&f, "INSERT INTO t VALUES (3, 'b', 2)");
    log_run(&f, "XA END 'y'");
    log_run(&f, "XA COMMIT 'y' ONE PHASE");
    log_is(&f, "B\nI t 3|b|2\nC\n");
    // Statements.
    log_run(&f, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    log_run(&f, "SET SESSION binlog_format = STATEMENT");
    log_run(&f, "UPDATE t SET w = w + 1");
    log_run(&f, "SET SESSION binlog_format = ROW");
    log_catch_up(&f);
    assert_non_null(strstr(f.lines.data, "S t a change in its schema is logged as a statement"));
    assert_non_null(strstr(f.lines.data, "S u a change in its schema is logged as a statement"));
    log_end(&f);
}

// ---- size, and who else reads -------------------------------------------------------------------

static long
resident_kb(void)
{
    char line[200];
    long kb = 0;
    FILE *s = fopen("/proc/self/status", "r");
    assert_non_null(s);
    while (fgets(line, sizeof line, s)) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kb = strtol(line + 6, NULL, 10);
        }
    }
    fclose(s);
    return kb;
}

static void
large_transaction(void **state)
{
    enum { ROWS = 200000 };
    struct log_fixture f = log_start(state);
    struct conform *c = f.c;
    log_run(&f, "CREATE TABLE t (id int PRIMARY KEY, v varchar(200))");
    log_begin(&f);
    log_run(&f, "INSERT INTO t SELECT seq, REPEAT('x', 200) FROM seq_1_to_%d", ROWS);
    long before = resident_kb();
    struct gw_event e = {0};
    size_t rows = 0;
    while (e.kind != GW__CHANGE_KIND__CHANGE_COMMIT) {
        int r = c->source->stream_next(f.self, gw_now_us() + 20 * GW_S, &e, &c->err);
        conform_ok(c, r);
        rows += e.kind == GW__CHANGE_KIND__CHANGE_INSERT;
    }
    assert_int_equal(rows, ROWS);
    assert_in_range(resident_kb() - before, 0, 8 << 10);
    f.last = gw_arena_strdup(&c->arena, e.position);
    log_end(&f);
}

// An event of more than one packet of 16 MB.
static void
large_row(void **state)
{
    struct log_fixture f = log_start(state);
    struct rows got = {0};
    log_run(&f, "CREATE TABLE t (id int PRIMARY KEY, v longtext)");
    log_begin(&f);
    f.copies = &got;
    log_run(&f, "INSERT INTO t VALUES (1, REPEAT('0123456789abcdef', 1100000))");
    log_run(&f, "INSERT INTO t VALUES (2, 'small')");
    log_catch_up(&f);
    assert_int_equal(got.n, 2);
    assert_int_equal(strlen(got.items[0]) + strlen(got.items[1]), 1100000 * 16 + 2 + 7);
    rows_free(&got);
    log_end(&f);
}

static void
somebody_else_reads(void **state)
{
    struct log_fixture f = log_start(state);
    struct conform *c = f.c;
    log_run(&f, "CREATE TABLE t (id int PRIMARY KEY)");
    log_begin(&f);
    log_run(&f, "INSERT INTO t VALUES (1)");
    log_is(&f, "B\nI t 1\nC\n");
    void *other = conform_open_source(c);
    conform_ok(c, c->source->stream_begin(other, &f.start, &c->err));
    log_run(&f, "INSERT INTO t VALUES (2)");
    struct gw_err err = log_until_failure(&f);
    assert_int_equal(err.cls, GW_CONFIG);
    assert_non_null(strstr(err.message, "server id"));
    assert_true(err.hint[0]);
    conform_close_source(c, &other);
    // Killed: to be begun again.
    log_again(&f, f.start.position);
    log_is(&f, "B\nI t 1\nC\nB\nI t 2\nC\n");
    end_readers(&f);
    assert_int_equal(log_until_failure(&f).cls, GW_RETRY);
    log_end(&f);
}

// ---- snapshots ---------------------------------------------------------------------------------

enum { WRITERS = 3, SNAPSHOTS = 40 };

// Writes transactions of a few rows until it is told to stop; each row's id is of one transaction only.
static void
writer(struct log_fixture *f, int who, int stop)
{
    struct conform *c = f->c;
    struct gw_my_server server;
    MYSQL *db = NULL;
    struct pollfd p = {.fd = stop, .events = POLLIN};
    if (gw_my_connect(&db, c->task->source, getenv("GW_TEST_MYSQL_PASSWORD"), "", 0, &server, &c->err) != GW_OK) {
        _exit(1);
    }
    bool good = gw_my_exec(db, &c->err, "USE " SDB) == GW_OK;
    for (int i = 0; good && poll(&p, 1, 0) == 0; i++) {
        int id = who * 10000000 + i * 10;
        good = gw_my_exec(db, &c->err, "BEGIN") == GW_OK &&
               gw_my_exec(db, &c->err, "INSERT INTO t VALUES (%d)", id) == GW_OK &&
               (i % 3 || gw_my_exec(db, &c->err, "INSERT INTO apart.t VALUES (%d)", id) == GW_OK) &&
               gw_my_exec(db, &c->err, "INSERT INTO t VALUES (%d)", id + 1) == GW_OK &&
               gw_my_exec(db, &c->err, i % 10 == 9 ? "ROLLBACK" : "COMMIT") == GW_OK;
    }
    _exit(good ? 0 : 1);
}

static void
take_snapshots(struct log_fixture *f, char **tokens, struct rows *seen)
{
    struct conform *c = f->c;
    char *handle = NULL;
    void *reader = conform_open_source(c);
    for (int i = 0; i < SNAPSHOTS; i++) {
        Gw__TablePlan *p = gw_pb_new(&c->arena, Gw__TablePlan, gw__table_plan__init);
        conform_ok(c, c->source->snapshot_begin(reader, &c->arena, "", &tokens[i], &handle, &c->err));
        conform_ok(c, c->source->plan(reader, &c->arena, f->cat->tables[0], NULL, 64 << 20, 1, p, &c->err));
        conform_read_chunks(c, c->source, reader, f->cat->tables[0], p, 1 << 20, UINT32_MAX, &seen[i], NULL);
        bool covers = false;
        conform_ok(c, c->source->snapshot_covers(tokens[i ? i - 1 : 0], tokens[i], &covers, &c->err));
        assert_true(covers);
    }
    conform_close_source(c, &reader);
}

static int
by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
visibility(void **state)
{
    struct log_fixture f = log_start(state);
    struct conform *c = f.c;
    int stop[2];
    pid_t pids[WRITERS];
    char *tokens[SNAPSHOTS];
    static struct rows seen[SNAPSHOTS];
    two_tables(&f);
    log_run(&f, "DROP TABLE t, other");
    log_run(&f, "CREATE TABLE t (id int PRIMARY KEY)");
    log_begin(&f);
    assert_int_equal(pipe(stop), 0);
    for (int i = 0; i < WRITERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            close(stop[1]);
            writer(&f, i + 1, stop[0]);
        }
    }
    take_snapshots(&f, tokens, seen);
    close(stop[1]);
    for (int i = 0; i < WRITERS; i++) {
        int status = 0;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    close(stop[0]);
    log_catch_up(&f);
    size_t tested = 0, visible = 0;
    for (int i = 0; i < SNAPSHOTS; i++) {
        qsort(seen[i].items, seen[i].n, sizeof *seen[i].items, by_text);
    }
    // Each transaction's first row is there, or it is not, and its name must say which.
    const char *line = f.lines.data;
    for (size_t k = 0; k < f.begins; k++) {
        const char *row = strstr(line, "I t ") + 4;
        char id[32], *key = id;
        snprintf(id, sizeof id, "%.*s\n", (int)strcspn(row, "\n"), row);
        line = f.lines.data + f.ends[k];
        for (int i = 0; i < SNAPSHOTS; i++) {
            enum gw_visible is = GW_UNSURE;
            id[strcspn(id, "\n")] = 0;
            bool there = bsearch(&key, seen[i].items, seen[i].n, sizeof key, by_text);
            conform_ok(c, c->source->tx_visible(tokens[i], f.transactions[k], &is, &c->err));
            if (is != (there ? GW_VISIBLE : GW_INVISIBLE)) {
                fail_msg("%s is %d in %s, and its row is %s", f.transactions[k], is, tokens[i],
                         there ? "there" : "not there");
            }
            tested++;
            visible += there;
        }
    }
    fprintf(stderr, "%zu transactions, %zu of %zu visible\n", f.begins, visible, tested);
    assert_true(visible > 0 && visible < tested);
    for (int i = 0; i < SNAPSHOTS; i++) {
        rows_free(&seen[i]);
    }
    log_run(&f, "DROP DATABASE apart");
    log_end(&f);
}

static const struct conform_test tests[] = {
    {"changes", changes},
    {"restart from every commit", restarts},
    {"what is of no interest", uninteresting},
    {"the log is gone", log_is_gone},
    {"the log is written otherwise", log_is_written_otherwise},
    {"changes that cannot be read", unreadable_changes},
    {"a large transaction", large_transaction},
    {"a large row", large_row},
    {"somebody else reads", somebody_else_reads},
    {"what a snapshot sees", visibility},
};

int
main(void)
{
    static const char *const engines[] = {"mysql"};
    return conform_run("mysql_stream", tests, sizeof tests / sizeof *tests, engines, 1);
}
