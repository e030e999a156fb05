// Which transactions a snapshot sees, as the stream's ids and the snapshots' tokens tell, against what snapshots show.
//
// Writers with savepoints, rollbacks and prepared transactions run beside a reader that takes snapshots; afterwards every
// transaction of the stream is held against every snapshot. And what the ids are in 64 bits, and one large transaction.
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pg_stream.h"

enum { WRITERS = 6, RUN_MS = 2500, SNAPSHOTS_MAX = 2000, IDS_MAX = 1 << 20 };

static const struct gw_source_ops *
ops(void)
{
    return gw_source_find("postgresql");
}

// ---- writers -----------------------------------------------------------------------------------

static void __attribute__((format(printf, 2, 3))) do_sql(PGconn *c, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    PGresult *r = PQexec(c, text);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK) {
        fprintf(stderr, "writer: %s: %s", text, PQerrorMessage(c));
        _exit(1);
    }
    PQclear(r);
}

// Every transaction writes rows of its own number; a rolled-back part never shows.
_Noreturn static void
write_for_a_while(const Gw__Endpoint *ep, unsigned w, unsigned seed)
{
    PGconn *c = NULL;
    struct gw_err err = {0};
    if (gw_pg_connect(&c, ep, getenv("GW_TEST_POSTGRESQL_PASSWORD"), "writer", &err) != GW_OK) {
        _exit(2);
    }
    do_sql(c, "SET search_path = " SCHEMA "; SET synchronous_commit = off");
    int64_t end = gw_now_us() + RUN_MS * GW_MS;
    for (unsigned n = 0; gw_now_us() < end; n++) {
        unsigned id = w * 100000 + n;
        do_sql(c, "BEGIN");
        for (int k = rand_r(&seed) % 3; k >= 0; k--) {
            do_sql(c,
                   "SAVEPOINT s; INSERT INTO t VALUES (DEFAULT, %u); SAVEPOINT s2; INSERT INTO t VALUES (DEFAULT, %u);"
                   "ROLLBACK TO s2",
                   id, id + 50000000);
            if (rand_r(&seed) % 2) {
                do_sql(c, "RELEASE s");
            }
        }
        if (rand_r(&seed) % 8 == 0) {
            do_sql(c, "SELECT pg_sleep(0.02)"); // begins early, ends late
        }
        do_sql(c, "INSERT INTO t VALUES (DEFAULT, %u)", id);
        switch (rand_r(&seed) % 8) {
        case 0: do_sql(c, "ROLLBACK"); break;
        case 1:
            do_sql(c, "PREPARE TRANSACTION 'w%u'", w);
            do_sql(c, "%s PREPARED 'w%u'", rand_r(&seed) % 2 ? "COMMIT" : "ROLLBACK", w);
            break;
        default: do_sql(c, "COMMIT"); break;
        }
    }
    PQfinish(c);
    _exit(0);
}

// ---- snapshots ---------------------------------------------------------------------------------

struct seen {
    char *token;
    uint8_t *ids; // a bit each
};

static bool
bit(const uint8_t *bits, unsigned i)
{
    return bits[i / 8] >> (i % 8) & 1;
}

static void
read_ids(struct fixture *f, void *self, struct seen *s)
{
    struct rows rows = {0};
    Gw__TablePlan plan = GW__TABLE_PLAN__INIT;
    Gw__TableSettingsRule whole = GW__TABLE_SETTINGS_RULE__INIT;
    whole.parallel = GW__PARALLEL_TYPE__PARALLEL_NONE;
    conform_ok(f->c, ops()->plan(self, &f->c->arena, f->cat->tables[0], &whole, 1 << 30, 1, &plan, &f->c->err));
    conform_read_chunks(f->c, ops(), self, f->cat->tables[0], &plan, 1 << 20, UINT32_MAX, &rows, NULL);
    s->ids = calloc(1, IDS_MAX / 8);
    assert_non_null(s->ids);
    for (size_t i = 0; i < rows.n; i++) {
        unsigned id = (unsigned)strtoul(strchr(rows.items[i], '\t'), NULL, 10);
        assert_true(id < IDS_MAX);
        s->ids[id / 8] |= (uint8_t)(1 << id % 8);
    }
    rows_free(&rows);
}

static void
against_snapshots(void **state)
{
    const char *given = getenv("GW_TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)gw_wall_us();
    fprintf(stderr, "GW_TEST_SEED=%u\n", seed);
    struct fixture f = pg_start(state, "CREATE TABLE t (k bigserial PRIMARY KEY, id int)");
    pid_t pids[WRITERS];
    pg_describe(&f);
    for (unsigned w = 0; w < WRITERS; w++) {
        pids[w] = fork();
        if (pids[w] == 0) {
            write_for_a_while(f.c->task->source, w, seed + w);
        }
    }
    pg_open(&f); // among them
    void *reader = conform_open_source(f.c);
    static struct seen seen[SNAPSHOTS_MAX];
    size_t n = 0;
    char *handle = NULL;
    conform_ok(f.c, ops()->snapshot_begin(reader, &f.c->arena, "", &seen[0].token, &handle, &f.c->err));
    read_ids(&f, reader, &seen[n++]);
    for (int64_t end = gw_now_us() + RUN_MS * GW_MS; gw_now_us() < end && n < SNAPSHOTS_MAX; n++) {
        conform_ok(f.c, ops()->snapshot_begin(reader, &f.c->arena, "", &seen[n].token, &handle, &f.c->err));
        read_ids(&f, reader, &seen[n]);
        bool covers = false;
        conform_ok(f.c, ops()->snapshot_covers(seen[n - 1].token, seen[n].token, &covers, &f.c->err));
        assert_true(covers);
    }
    conform_close_source(f.c, &reader);
    for (unsigned w = 0; w < WRITERS; w++) {
        int status = 0;
        assert_int_equal(waitpid(pids[w], &status, 0), pids[w]);
        assert_int_equal(status, 0);
    }
    f.with_xids = true;
    size_t tests = 0, transactions = 0, seen_ones = 0;
    char xid[32] = "";
    for (const char *at = pg_read(&f); *at; at = strchr(at, '\n') + 1) {
        unsigned id = 0;
        if (sscanf(at, "BEGIN %31s", xid) == 1) {
            transactions++;
        } else if (sscanf(at, "I t(%*[0-9],%u)", &id) == 1) {
            assert_true(id < IDS_MAX);
            for (size_t i = 0; i < n; i++, tests++) {
                enum gw_visible visible = GW_UNSURE;
                conform_ok(f.c, ops()->tx_visible(seen[i].token, xid, &visible, &f.c->err));
                if ((visible == GW_VISIBLE) != bit(seen[i].ids, id)) {
                    fail_msg("transaction %s, row %u, snapshot %s: %d", xid, id, seen[i].token, visible);
                }
                seen_ones += visible == GW_VISIBLE;
            }
        }
    }
    fprintf(stderr, "%zu snapshots, %zu transactions, %zu tests, %zu visible\n", n, transactions, tests, seen_ones);
    assert_true(n > 20 && transactions > 200 && seen_ones > tests / 10 && seen_ones < tests - tests / 10);
    for (size_t i = 0; i < n; i++) {
        free(seen[i].ids);
    }
    pg_end(&f);
}

// ---- a large transaction -----------------------------------------------------------------------

static long
resident_kb(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    long size = 0, pages = 0;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &pages), 2);
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int64_t
cpu_us(const struct rusage *u)
{
    return (int64_t)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * GW_S + u->ru_utime.tv_usec + u->ru_stime.tv_usec;
}

static void
large_transaction(void **state)
{
    enum { ROWS = 200000 };
    struct fixture f = pg_start(state, "CREATE TABLE t (id int PRIMARY KEY, a text, b int)");
    pg_open(&f);
    run(f.db, "INSERT INTO t SELECT g, repeat('v', 200), g FROM generate_series(1, %d) g", ROWS);
    struct gw_event e;
    long before = resident_kb(), most = 0;
    size_t rows = 0;
    int64_t first = 0, end = gw_now_us() + 100 * GW_S;
    // A receiver that waits for credit: the server waits, too, and its log says we are alive.
    do {
        conform_ok(f.c, ops()->stream_next(f.self, end, &e, &f.c->err));
    } while (e.kind != GW__CHANGE_KIND__CHANGE_INSERT);
    for (int i = 0; i < 50; i++) {
        conform_ok(f.c, ops()->stream_confirm(f.self, NULL, &f.c->err));
        (void)usleep(2000);
    }
    most = resident_kb();
    first = gw_now_us();
    struct rusage start;
    getrusage(RUSAGE_SELF, &start);
    for (rows = 1; e.kind != GW__CHANGE_KIND__CHANGE_COMMIT;) {
        conform_ok(f.c, ops()->stream_next(f.self, end, &e, &f.c->err));
        assert_int_not_equal(e.kind, GW__CHANGE_KIND__CHANGE_KEEPALIVE); // never inside
        rows += e.kind == GW__CHANGE_KIND__CHANGE_INSERT;
        if (rows % 10000 == 0) {
            most = resident_kb() > most ? resident_kb() : most;
        }
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    fprintf(stderr, "%d rows in %lld ms, %lld ms of our own; %ld kB more\n", ROWS,
            (long long)(gw_now_us() - first) / 1000, (long long)(cpu_us(&used) - cpu_us(&start)) / 1000, most - before);
    assert_int_equal(rows, ROWS);
#ifndef __SANITIZE_ADDRESS__           // which keeps what is freed
    assert_true(most - before < 4096); // of 45 MB that went by
#endif
    pg_end(&f);
}

int
main(void)
{
    static const struct conform_test tests[] = {
        {"visibility against snapshots", against_snapshots},
        {"a large transaction", large_transaction},
    };
    static const char *const engines[] = {"postgresql"};
    return conform_run("visibility in PostgreSQL's stream", tests, sizeof tests / sizeof *tests, engines, 1);
}
