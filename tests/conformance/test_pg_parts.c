// Transactions that PostgreSQL sends while they run: what is committed arrives, whole, in order, at the commit; what was rolled back
// does not.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_stream.h"

enum { MANY = 1500, PARTS_SINCE = 140000 }; // rows of 300 bytes: far more than the server holds in this test

static const char tables[] = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text)";

static struct fixture
begin(void **state)
{
    struct fixture f = pg_start(state, tables);
    if (atoi(ask(&f, "SHOW server_version_num")) < PARTS_SINCE) {
        pg_end(&f);
        skip();
    }
    run(f.db, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I SET logical_decoding_work_mem = ''64kB''',"
              " current_database()); END $$");
    return f;
}

static void
end(struct fixture *f)
{
    run(f->db, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %%I RESET logical_decoding_work_mem', current_database());"
               " END $$");
    pg_end(f);
}

static void
set(struct fixture *f, const char *key, const char *value)
{
    Gw__Setting *s = gw_pb_new(&f->c->arena, Gw__Setting, gw__setting__init);
    s->key = gw_arena_strdup(&f->c->arena, key);
    s->value = gw_arena_strdup(&f->c->arena, value);
    gw_pb_add(&f->c->arena, f->c->task->source, settings, s);
}

// Lets the server send what there is of transactions that run: what it finds rolled back already, it does not send at all.
static void
let_it_come(struct fixture *f)
{
    pg_expect(f, "");
}

static void
insert(PGconn *db, const char *table, int from, int n)
{
    run(db, "INSERT INTO %s SELECT i, repeat(md5(i::text), 10) FROM generate_series(%d, %d) i", table, from,
        from + n - 1);
}

// How many transactions the server has sent in parts. Its figures come late, but they come.
static void
in_parts(struct fixture *f, int at_least)
{
    for (int64_t until = gw_now_us() + 20 * GW_S;;) {
        run(f->db, "SELECT pg_stat_clear_snapshot()");
        const char *n = ask(f, "SELECT stream_txns FROM pg_stat_replication_slots");
        if (n && atoi(n) >= at_least) {
            return;
        }
        assert_true(gw_now_us() < until);
    }
}

// Reads one transaction, or several, with the ids of the inserted rows in order, and nothing else but what `other` lists.
static void
expect_ids(struct fixture *f, const int *ids, size_t n)
{
    const char *p = pg_read(f);
    size_t i = 0;
    for (; *p; p = strchr(p, '\n') + 1) {
        if (*p == 'I') {
            assert_true(i < n);
            assert_int_equal(atoi(strchr(p, '(') + 1), ids[i]);
            i++;
        } else {
            assert_true(strncmp(p, "BEGIN\n", 6) == 0 || strncmp(p, "COMMIT\n", 7) == 0);
        }
    }
    assert_int_equal(i, n);
}

struct ids {
    int items[40000];
    size_t n;
};
static struct ids want;

static void
add(int from, int n)
{
    for (int i = 0; i < n; i++) {
        want.items[want.n++] = from + i;
    }
}

static void
arrives(struct fixture *f)
{
    expect_ids(f, want.items, want.n);
    want.n = 0;
}

static void
a_large_transaction(void **state)
{
    struct fixture f = begin(state);
    pg_open(&f);
    run(f.db, "BEGIN");
    insert(f.db, "t", 1, MANY);
    insert(f.other, "u", 1, 3); // overtakes it
    add(1, 3);
    arrives(&f);
    run(f.db, "COMMIT");
    add(1, MANY);
    arrives(&f);
    run(f.db, "BEGIN; UPDATE t SET v = v || 'x'; DELETE FROM t; COMMIT");
    const char *got = pg_read(&f);
    size_t updates = 0, deletes = 0;
    for (const char *p = got; *p; p = strchr(p, '\n') + 1) {
        updates += *p == 'U';
        deletes += *p == 'D';
    }
    assert_int_equal(updates, MANY);
    assert_int_equal(deletes, MANY);
    in_parts(&f, 2);
    end(&f);
}

static void
rolled_back(void **state)
{
    struct fixture f = begin(state);
    pg_open(&f);
    run(f.db, "BEGIN");
    insert(f.db, "t", 1, MANY);
    pg_expect(&f, "");
    run(f.db, "ROLLBACK");
    pg_expect(&f, "");
    run(f.db, "BEGIN; SAVEPOINT a");
    insert(f.db, "t", 1, MANY);
    let_it_come(&f);
    run(f.db, "ROLLBACK TO a");
    insert(f.db, "t", MANY + 1, 2);
    run(f.db, "COMMIT");
    add(MANY + 1, 2);
    arrives(&f);
    in_parts(&f, 2);
    end(&f);
}

// Random savepoints, released and rolled back, several deep.
static void
savepoints(void **state)
{
    struct fixture f = begin(state);
    unsigned seed = getenv("GODWIT_TEST_SEED") ? (unsigned)atoi(getenv("GODWIT_TEST_SEED")) : (unsigned)gw_now_us();
    fprintf(stderr, "GODWIT_TEST_SEED=%u\n", seed);
    pg_open(&f);
    int id = 1;
    for (int tx = 0; tx < 6; tx++) {
        size_t stack[8], depth = 0;
        run(f.db, "BEGIN");
        for (int i = 0; i < 25; i++) {
            int what = rand_r(&seed) % 6;
            if (what == 0 && depth < 8) {
                stack[depth] = want.n;
                run(f.db, "SAVEPOINT s%zu", depth++);
            } else if (what == 1 && depth) {
                depth = (size_t)rand_r(&seed) % depth;
                run(f.db, "RELEASE s%zu", depth);
            } else if (what == 2 && depth) {
                depth = (size_t)rand_r(&seed) % depth;
                run(f.db, "ROLLBACK TO s%zu; RELEASE s%zu", depth, depth);
                want.n = stack[depth];
            } else {
                int n = rand_r(&seed) % 3 ? 1 + rand_r(&seed) % 5 : 400;
                insert(f.db, "t", id, n);
                add(id, n);
                id += n;
                if (n > 5) {
                    let_it_come(&f);
                }
            }
        }
        run(f.db, "COMMIT");
        arrives(&f);
    }
    in_parts(&f, 2);
    end(&f);
}

// The server says once a transaction what a relation looks like, be it in a part that is rolled back.
static void
said_where_it_was_rolled_back(void **state)
{
    struct fixture f = begin(state);
    pg_open(&f);
    run(f.db, "BEGIN; SAVEPOINT a");
    insert(f.db, "t", 1, MANY);
    let_it_come(&f);
    run(f.db, "ROLLBACK TO a");
    insert(f.db, "t", 10000, MANY); // of the same transaction
    run(f.db, "COMMIT");
    add(10000, MANY);
    arrives(&f);
    run(f.db, "BEGIN");
    insert(f.db, "t", 20000, MANY);
    run(f.db, "SAVEPOINT a");
    insert(f.db, "u", 1, MANY);
    let_it_come(&f);
    run(f.db, "ROLLBACK TO a; COMMIT");
    add(20000, MANY);
    arrives(&f);
    insert(f.db, "u", 10000, 2); // of the next one
    add(10000, 2);
    arrives(&f);
    in_parts(&f, 2);
    end(&f);
}

static void
ddl_that_was_rolled_back(void **state)
{
    struct fixture f = begin(state);
    pg_open(&f);
    insert(f.db, "t", 1, 1);
    add(1, 1);
    arrives(&f);
    run(f.db, "BEGIN");
    insert(f.db, "t", 2, MANY);
    run(f.db, "SAVEPOINT a; ALTER TABLE t ALTER v TYPE varchar(500), ADD w int");
    insert(f.db, "t", 10000, MANY);
    let_it_come(&f);
    run(f.db, "ROLLBACK TO a");
    insert(f.db, "t", 20000, MANY);
    run(f.db, "COMMIT");
    insert(f.db, "t", 30000, 2);
    add(2, MANY);
    add(20000, MANY);
    add(30000, 2);
    arrives(&f);
    in_parts(&f, 1);
    end(&f);
}

static void
two_at_a_time(void **state)
{
    struct fixture f = begin(state);
    pg_open(&f);
    run(f.db, "BEGIN");
    run(f.other, "BEGIN");
    for (int i = 0; i < 4; i++) {
        insert(f.db, "t", 1 + i * MANY, MANY);
        insert(f.other, "t", 20000 + i * MANY, MANY);
    }
    pg_expect(&f, "");
    run(f.other, "COMMIT");
    run(f.db, "COMMIT");
    add(20000, 4 * MANY);
    add(1, 4 * MANY);
    arrives(&f);
    in_parts(&f, 2);
    end(&f);
}

// A process that dies leaves nothing that its successor needs.
static void
another_process_goes_on(void **state)
{
    struct fixture f = begin(state);
    pg_open(&f);
    run(f.db, "BEGIN");
    insert(f.db, "t", 1, MANY);
    insert(f.other, "u", 1, 2);
    add(1, 2);
    arrives(&f);
    pg_restart(&f, f.last);
    insert(f.db, "t", MANY + 1, MANY);
    pg_expect(&f, "");
    run(f.db, "COMMIT");
    add(1, 2 * MANY);
    arrives(&f);
    end(&f);
}

static int
read_to_failure(struct fixture *f)
{
    struct gw_event e;
    int r;
    do {
        r = f->c->source->stream_next(f->self, gw_now_us() + 20 * GW_S, &e, &f->c->err);
    } while (r == GW_OK);
    return r;
}

static const char incompressible[] =
    "SELECT i, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 30 + i * 0))"
    " FROM generate_series(1, 4000) i";

static void
the_limit(void **state)
{
    struct fixture f = begin(state);
    set(&f, "spill-limit-mb", "many");
    pg_describe(&f);
    char *position = NULL;
    conform_ok(f.c, f.c->source->stream_open(f.self, &f.c->arena, &f.start, &position, &f.handle, &f.c->err));
    f.start.position = f.last = position;
    pg_fails(&f, f.c->source->stream_begin(f.self, &f.start, &f.c->err), GW_CONFIG, "is not a number of megabytes");
    f.c->task->source->settings[f.c->task->source->n_settings - 1]->value = gw_arena_strdup(&f.c->arena, "1");
    pg_restart(&f, position);
    run(f.db, "BEGIN; INSERT INTO t %s; COMMIT", incompressible);
    pg_fails(&f, read_to_failure(&f), GW_CONFIG, "spill-limit-mb");
    // 0: the server keeps it.
    f.c->task->source->settings[f.c->task->source->n_settings - 1]->value = gw_arena_strdup(&f.c->arena, "0");
    pg_restart(&f, position);
    add(1, 4000);
    arrives(&f);
    end(&f);
}

static void
a_full_disk(void **state)
{
    struct fixture f = begin(state);
    pg_open(&f);
    const char *position = f.last;
    run(f.db, "BEGIN; INSERT INTO t %s; COMMIT", incompressible);
    setenv("GODWIT_FAULT", "capture.spill.full=on", 1);
    int r = read_to_failure(&f);
    unsetenv("GODWIT_FAULT");
    pg_fails(&f, r, GW_CONFIG, "No space left on device");
    pg_restart(&f, position); // with room, it goes on
    add(1, 4000);
    arrives(&f);
    end(&f);
}

static void
a_row_of_many_blocks(void **state)
{
    struct fixture f = begin(state);
    pg_open(&f);
    run(f.db, "BEGIN; INSERT INTO t VALUES (1, repeat('0123456789', 800000)); INSERT INTO t VALUES (2, 'x'); COMMIT");
    const char *got = pg_read(&f);
    const char *row = strstr(got, "I t(1,");
    assert_non_null(row);
    row += strlen("I t(1,");
    for (size_t i = 0; i < 8000000; i++) {
        assert_true(row[i] == (char)('0' + i % 10));
    }
    assert_string_equal(row + 8000000, ")\nI t(2,x)\nCOMMIT\n");
    in_parts(&f, 1);
    end(&f);
}

int
main(void)
{
    static const struct conform_test tests[] = {
        {"a large transaction", a_large_transaction},
        {"rolled back", rolled_back},
        {"savepoints", savepoints},
        {"said where it was rolled back", said_where_it_was_rolled_back},
        {"DDL that was rolled back", ddl_that_was_rolled_back},
        {"two at a time", two_at_a_time},
        {"another process goes on", another_process_goes_on},
        {"the limit", the_limit},
        {"a full disk", a_full_disk},
        {"a row of many blocks", a_row_of_many_blocks},
    };
    static const char *const engines[] = {"postgresql"};
    return conform_run("PostgreSQL's transactions in parts", tests, sizeof tests / sizeof *tests, engines, 1);
}
