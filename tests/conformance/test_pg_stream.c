// PostgreSQL's stream of changes: every kind of event, as the contract has it (capture/source.h).
#include <stdio.h>
#include <string.h>

#include "pg_stream.h"

static void
every_kind_of_change(void **state)
{
    struct fixture f = pg_start(state, "CREATE TABLE t (id int PRIMARY KEY, a text, b numeric(8,2));"
                                       "CREATE TABLE unseen (x int)");
    run(f.db, "INSERT INTO t VALUES (1, 'before the slot', 0)");
    pg_describe(&f);
    f.cat->n_tables = f.start.tables_n = 1;
    char *position = NULL;
    conform_ok(f.c, f.c->source->stream_open(f.self, &f.c->arena, &f.start, &position, &f.handle, &f.c->err));
    pg_begin(&f, position);
    pg_expect(&f, "");
    run(f.db, "INSERT INTO t VALUES (2, E'tab\\t and \\\\', 1.50), (3, NULL, NULL)");
    run(f.db, "INSERT INTO unseen VALUES (1)");
    run(f.db,
        "BEGIN; UPDATE t SET a = 'x' WHERE id = 1; INSERT INTO unseen VALUES (2); DELETE FROM t WHERE id = 2; COMMIT");
    pg_expect(&f, "BEGIN\nI t(2,tab\t and \\,1.50)\nI t(3,NULL,NULL)\nCOMMIT\n"
                  "BEGIN\nU t(1,x,0.00)\nD t[2,-,-]\nCOMMIT\n");
    run(f.db, "TRUNCATE t");
    run(f.db, "BEGIN; INSERT INTO t VALUES (9); ROLLBACK");
    run(f.db, "BEGIN; INSERT INTO t VALUES (4); SAVEPOINT a; INSERT INTO t VALUES (5); ROLLBACK TO a; SAVEPOINT b;"
              " INSERT INTO t VALUES (6); RELEASE b; COMMIT");
    pg_expect(&f, "BEGIN\nT t\nCOMMIT\nBEGIN\nI t(4,NULL,NULL)\nI t(6,NULL,NULL)\nCOMMIT\n");
    run(f.db, "UPDATE t SET id = 40 WHERE id = 4");
    pg_expect(&f, "BEGIN\nU t[4,-,-]->(40,NULL,NULL)\nCOMMIT\n");
    pg_end(&f);
}

static void
truncate_of_several(void **state)
{
    struct fixture f =
        pg_start(state, "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY REFERENCES a);"
                        "CREATE TABLE c (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)");
    pg_open(&f);
    run(f.db, "TRUNCATE a CASCADE");
    run(f.db, "TRUNCATE c RESTART IDENTITY");
    run(f.db, "BEGIN; INSERT INTO a VALUES (1); TRUNCATE b, c, a; INSERT INTO a VALUES (2); COMMIT");
    pg_expect(&f, "BEGIN\nT a\nT b\nCOMMIT\nBEGIN\nT c\nCOMMIT\nBEGIN\nI a(1)\nT b\nT c\nT a\nI a(2)\nCOMMIT\n");
    pg_end(&f);
}

// Old images, by identity: what is not known must not read as NULL.
static void
identities(void **state)
{
    struct fixture f =
        pg_start(state, "CREATE TABLE d (id int PRIMARY KEY, v text);"
                        "CREATE TABLE f (id int, v text); ALTER TABLE f REPLICA IDENTITY FULL;"
                        "CREATE TABLE i (id int PRIMARY KEY, u int NOT NULL, v text);"
                        "CREATE UNIQUE INDEX i_u ON i (u); ALTER TABLE i REPLICA IDENTITY USING INDEX i_u;");
    pg_describe(&f);
    assert_int_equal(f.cat->tables[0]->n_identity, 1);
    assert_string_equal(f.cat->tables[0]->identity[0], "id");
    assert_int_equal(f.cat->tables[1]->n_identity, 2);
    assert_int_equal(f.cat->tables[2]->n_identity, 1);
    assert_string_equal(f.cat->tables[2]->identity[0], "u");
    pg_open(&f);
    run(f.db,
        "INSERT INTO d VALUES (1, 'a'); INSERT INTO f VALUES (1, 'a'), (2, NULL); INSERT INTO i VALUES (1, 10, 'a')");
    pg_read(&f);
    run(f.db, "BEGIN; UPDATE d SET v = 'b'; UPDATE d SET id = 2; DELETE FROM d; COMMIT");
    pg_expect(&f, "BEGIN\nU d(1,b)\nU d[1,-]->(2,b)\nD d[2,-]\nCOMMIT\n");
    run(f.db, "BEGIN; UPDATE f SET v = 'b' WHERE id = 1; DELETE FROM f; COMMIT");
    pg_expect(&f, "BEGIN\nU f[1,a]->(1,b)\nD f[2,NULL]\nD f[1,b]\nCOMMIT\n");
    // The primary key moves without an old image; the identity's own move has one.
    run(f.db, "BEGIN; UPDATE i SET id = 2; UPDATE i SET u = 20; DELETE FROM i; COMMIT");
    pg_expect(&f, "BEGIN\nU i(2,10,a)\nU i[-,10,-]->(2,20,a)\nD i[-,20,-]\nCOMMIT\n");
    pg_end(&f);
}

static void
no_identity_is_refused(void **state)
{
    struct fixture f =
        pg_start(state, "CREATE TABLE a_nothing (id int PRIMARY KEY); ALTER TABLE a_nothing REPLICA IDENTITY NOTHING;"
                        "CREATE TABLE b_keyless (id int); CREATE TABLE c_late (id int PRIMARY KEY DEFERRABLE);"
                        "CREATE UNLOGGED TABLE d_unlogged (id int PRIMARY KEY);"
                        "CREATE TABLE e_generated (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED);"
                        "CREATE TABLE f_parts (id int, r int, PRIMARY KEY (id)) PARTITION BY RANGE (id);"
                        "CREATE TABLE f_parts_1 PARTITION OF f_parts FOR VALUES FROM (0) TO (10);"
                        "ALTER TABLE f_parts_1 REPLICA IDENTITY NOTHING; CREATE VIEW g_view AS SELECT 1 AS one");
    pg_describe(&f);
    f.c->task->target->engine = gw_arena_strdup(&f.c->arena, "mysql"); // which would need the generated values
    f.cat->tables[4]->columns[1]->left_out = false;
    f.cat->n_findings = 0;
    conform_ok(f.c, f.c->source->stream_preflight(f.self, &f.c->arena, f.c->task, f.cat, &f.c->err));
    static const char *const want[][2] = {
        {"a_nothing", "ALTER TABLE \"gwstream\".\"a_nothing\" REPLICA IDENTITY DEFAULT"},
        {"b_keyless", "ALTER TABLE \"gwstream\".\"b_keyless\" REPLICA IDENTITY FULL"},
        {"c_late", "ALTER TABLE \"gwstream\".\"c_late\" REPLICA IDENTITY FULL"},
        {"d_unlogged", "ALTER TABLE gwstream.d_unlogged SET LOGGED"},
        {"e_generated", ""},
        {"f_parts", "ALTER TABLE \"gwstream\".\"f_parts\" REPLICA IDENTITY FULL; ALTER TABLE gwstream.f_parts_1 "
                    "REPLICA IDENTITY FULL"},
        {"g_view", ""},
    };
    size_t n = 0;
    for (size_t i = 0; i < f.cat->n_findings; i++) {
        const Gw__Finding *x = f.cat->findings[i];
        if (x->severity != GW__SEVERITY__SEVERITY_ERROR) {
            continue;
        }
        assert_true(n < sizeof want / sizeof *want);
        assert_string_equal(x->table, want[n][0]);
        assert_string_equal(x->sql, want[n][1]);
        n++;
    }
    assert_int_equal(n, sizeof want / sizeof *want);
    // And nobody's UPDATE is made to fail, should it be asked for all the same.
    char *position = NULL;
    pg_fails(&f, f.c->source->stream_open(f.self, &f.c->arena, &f.start, &position, &f.handle, &f.c->err), GW_CONFIG,
             "has no replica identity");
    assert_null(ask(&f, "SELECT pubname FROM pg_publication"));
    pg_end(&f);
}

static void
unchanged_toast(void **state)
{
    struct fixture f =
        pg_start(state, "CREATE TABLE d (id int PRIMARY KEY, n int, big text);"
                        "CREATE TABLE f (id int PRIMARY KEY, n int, big text); ALTER TABLE f REPLICA IDENTITY FULL;"
                        "CREATE TABLE k (big text PRIMARY KEY, n int);"
                        "ALTER TABLE d ALTER big SET STORAGE EXTERNAL; ALTER TABLE f ALTER big SET STORAGE EXTERNAL;"
                        "ALTER TABLE k ALTER big SET STORAGE EXTERNAL");
    pg_open(&f);
    // A key of 2,100 bytes is as large as its index takes, and is stored apart.
    run(f.db, "INSERT INTO d VALUES (1, 0, repeat('x', 100000)); INSERT INTO f VALUES (1, 0, repeat('y', 100000));"
              "INSERT INTO k SELECT repeat('k', 2100), 0");
    pg_read(&f);
    run(f.db, "UPDATE d SET n = 1");
    pg_expect(&f, "BEGIN\nU d(1,1,~)\nCOMMIT\n");
    run(f.db, "UPDATE d SET id = 2"); // the value is on neither side
    pg_expect(&f, "BEGIN\nU d[1,-,-]->(2,1,~)\nCOMMIT\n");
    run(f.db, "UPDATE f SET n = 1");
    const char *got = pg_read(&f);
    assert_memory_equal(got, "BEGIN\nU f[1,0,yyy", 17);
    assert_non_null(strstr(got, "y]->(1,1,yyy")); // the old image is whole: so is the row
    assert_null(strchr(got, '~'));
    run(f.db, "UPDATE k SET n = 1"); // a key's own value is always there
    got = pg_read(&f);
    assert_memory_equal(got, "BEGIN\nU k", 9);
    assert_non_null(strstr(got, "k,1)\nCOMMIT\n"));
    assert_null(strchr(got, '~'));
    pg_end(&f);
}

static void
partitions_through_the_root(void **state)
{
    struct fixture f =
        pg_start(state, "CREATE TABLE p (id int, r text, v int, PRIMARY KEY (id, r)) PARTITION BY LIST (r);"
                        "CREATE TABLE p_a (v int, r text NOT NULL, gone int, id int NOT NULL);"
                        "ALTER TABLE p_a DROP COLUMN gone;"
                        "ALTER TABLE p ATTACH PARTITION p_a FOR VALUES IN ('a');"
                        "CREATE TABLE p_b PARTITION OF p FOR VALUES IN ('b') PARTITION BY RANGE (id);"
                        "CREATE TABLE p_b1 PARTITION OF p_b FOR VALUES FROM (0) TO (100)");
    pg_open(&f);
    assert_int_equal(f.start.tables_n, 1);
    run(f.db, "INSERT INTO p VALUES (1, 'a', 10), (2, 'b', 20)");
    run(f.db, "CREATE TABLE p_c PARTITION OF p FOR VALUES IN ('c'); INSERT INTO p VALUES (3, 'c', 30)");
    run(f.db, "UPDATE p SET v = 11 WHERE id = 1");
    run(f.db, "UPDATE p SET r = 'b' WHERE id = 1"); // moves between partitions
    run(f.db, "DELETE FROM p_b1 WHERE id = 2");
    run(f.db, "TRUNCATE p");
    pg_expect(&f, "BEGIN\nI p(1,a,10)\nI p(2,b,20)\nCOMMIT\nBEGIN\nI p(3,c,30)\nCOMMIT\nBEGIN\nU p(1,a,11)\nCOMMIT\n"
                  "BEGIN\nD p[1,a,-]\nI p(1,b,11)\nCOMMIT\nBEGIN\nD p[2,b,-]\nCOMMIT\nBEGIN\nT p\nCOMMIT\n");
    pg_end(&f);
}

// A root may promise whole old rows that a partition made later does not log.
static void
partition_that_logs_less(void **state)
{
    struct fixture f = pg_start(state, "CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);"
                                       "CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (10);"
                                       "ALTER TABLE p REPLICA IDENTITY FULL; ALTER TABLE p_1 REPLICA IDENTITY FULL");
    pg_open(&f);
    run(f.db, "CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (11, 110)");
    pg_read(&f);
    // The server marks the old row of the new partition as whole, and sends NULL for v.
    run(f.db, "DELETE FROM p WHERE id = 11");
    pg_expect(&f, "BEGIN\nD p[11,-]\nCOMMIT\n");
    run(f.db, "CREATE TABLE p_3 PARTITION OF p FOR VALUES FROM (20) TO (30); INSERT INTO p VALUES (21, 210), (22, 220);"
              "ALTER TABLE p_3 ALTER v SET NOT NULL; CREATE UNIQUE INDEX p_3_v ON p_3 (v);"
              "ALTER TABLE p_3 REPLICA IDENTITY USING INDEX p_3_v");
    pg_read(&f);
    run(f.db, "DELETE FROM p WHERE id >= 21; INSERT INTO p VALUES (5)");
    pg_expect(&f, "BEGIN\nSUSPEND p: an old row of a partition lacks column \"id\"\nCOMMIT\n");
    pg_end(&f);
}

// T1 begins first and commits last: the order is that of the commits.
static void
order_of_commits(void **state)
{
    struct fixture f = pg_start(state, "CREATE TABLE t (id int PRIMARY KEY)");
    pg_open(&f);
    run(f.other, "BEGIN; INSERT INTO t VALUES (1)");
    run(f.db, "INSERT INTO t VALUES (2)");
    pg_expect(&f, "BEGIN\nI t(2)\nCOMMIT\n");
    run(f.db, "INSERT INTO t VALUES (3)");
    run(f.other, "INSERT INTO t VALUES (10)");
    // Restarts between, from the last position: nothing is lost, nothing comes twice.
    pg_restart(&f, f.last);
    pg_expect(&f, "BEGIN\nI t(3)\nCOMMIT\n");
    conform_ok(f.c, f.c->source->stream_confirm(f.self, f.last, &f.c->err));
    pg_restart(&f, f.last);
    run(f.other, "COMMIT");
    pg_expect(&f, "BEGIN\nI t(1)\nI t(10)\nCOMMIT\n");
    pg_restart(&f, f.last);
    pg_expect(&f, "");
    pg_end(&f);
}

static void
restart_from_every_commit(void **state)
{
    enum { N = 12 };
    struct fixture f = pg_start(state, "CREATE TABLE t (id int PRIMARY KEY)");
    pg_open(&f);
    char *positions[N + 1];
    positions[0] = f.last;
    for (int i = 0; i < N; i++) {
        run(f.db, "BEGIN; INSERT INTO t VALUES (%d); INSERT INTO t VALUES (%d); COMMIT", i, 100 + i);
    }
    char *now = NULL;
    conform_ok(f.c, f.c->source->stream_now(f.self, &f.c->arena, &now, &f.c->err));
    for (int i = 0; i < N;) {
        struct gw_event e;
        conform_ok(f.c, f.c->source->stream_next(f.self, gw_now_us() + 20 * GW_S, &e, &f.c->err));
        if (e.kind == GW__CHANGE_KIND__CHANGE_COMMIT) {
            positions[++i] = gw_arena_strdup(&f.c->arena, e.position);
        }
    }
    for (int i = 0; i <= N; i++) { // forwards: where it starts is durable, and the server is told so
        char want[N * 64] = "";
        for (int k = i; k < N; k++) {
            snprintf(want + strlen(want), sizeof want - strlen(want), "BEGIN\nI t(%d)\nI t(%d)\nCOMMIT\n", k, 100 + k);
        }
        pg_restart(&f, positions[i]);
        pg_expect(&f, want);
    }
    pg_end(&f);
}

// The stream's text is that of a COPY, whatever the server's and the role's settings are.
static void
text_is_that_of_copy(void **state)
{
    static const char *const values[][2] = {
        {"bool", "true"},
        {"int8", "-9223372036854775808"},
        {"float8", "0.1::float8 + 0.2"},
        {"float4", "1e-30"},
        {"numeric", "'1e20'"},
        {"date", "'2026-02-01'"},
        {"timestamp", "'2026-02-01 10:11:12.5'"},
        {"timestamptz", "'2026-02-01 10:11:12.5+05:30'"},
        {"interval", "'1 year 2 days -03:04:05.6'"},
        {"bytea", "'\\xDEADbeef00'"},
        {"time", "'23:59:59.999999'"},
        {"timetz", "'23:59:59+02'"},
        {"uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"},
        {"jsonb", "'{\"b\":1,\"a\":[null]}'"},
        {"json", "' {\"b\":1 }'"},
        {"money", "-1234567.5"},
        {"xml", "'<a>b</a>'"},
        {"bit(5)", "B'10101'"},
        {"inet", "'10.0.0.1/8'"},
        {"timestamptz[]", "ARRAY['2026-02-01 10:11:12+00'::timestamptz]"},
        {"daterange", "'[2026-01-01,2026-02-01)'"},
        {"bpchar(5)", "'ab'"},
        {"float8[]", "ARRAY[0.1::float8+0.2, 'NaN']"},
        {"money", "'0.05'"},
        {"point", "'(0.1,0.30000000000000004)'"},
        {"text", "E'a\\\\b\\tc\\nd'"},
    };
    enum { N = sizeof values / sizeof *values };
    char table[4096] = "CREATE TABLE t (id int PRIMARY KEY", row[4096] = "INSERT INTO t VALUES (1";
    for (size_t i = 0; i < N; i++) {
        snprintf(table + strlen(table), sizeof table - strlen(table), ", c%zu %s", i, values[i][0]);
        snprintf(row + strlen(row), sizeof row - strlen(row), ", %s", values[i][1]);
    }
    strcat(table, ")");
    strcat(row, ")");
    struct fixture f = pg_start(state, table);
    pg_open(&f);
    run(f.db, "%s", row);
    struct gw_event e;
    do {
        conform_ok(f.c, f.c->source->stream_next(f.self, gw_now_us() + 20 * GW_S, &e, &f.c->err));
    } while (e.kind != GW__CHANGE_KIND__CHANGE_INSERT);
    struct gw_buf text;
    gw_buf_init(&text, 1 << 20);
    for (size_t i = 0; i <= N; i++) {
        gw_buf_puts(&text, i ? "\t" : "");
        assert_int_equal(e.after[i].given, GW_PRESENT);
        for (size_t k = 0; k < e.after[i].len; k++) {
            char c = e.after[i].data[k];
            const char *escaped = c == '\t' ? "\\t" : c == '\n' ? "\\n" : c == '\\' ? "\\\\" : NULL;
            escaped ? gw_buf_puts(&text, escaped) : gw_buf_putc(&text, c);
        }
    }
    struct rows got = {0}, want = {0};
    gw_buf_putc(&text, '\n');
    rows_add(&got, text.data, text.len);
    conform_read_back(f.c, f.cat->tables[0], &want);
    rows_equal(&got, &want);
    rows_free(&got);
    rows_free(&want);
    gw_buf_fini(&text);
    pg_end(&f);
}

int
main(void)
{
    static const struct conform_test tests[] = {
        {"every kind of change", every_kind_of_change},
        {"TRUNCATE of several tables", truncate_of_several},
        {"old images by replica identity", identities},
        {"what has no identity is refused", no_identity_is_refused},
        {"unchanged TOAST", unchanged_toast},
        {"partitions through the root", partitions_through_the_root},
        {"a partition that logs less than its root", partition_that_logs_less},
        {"the order of commits", order_of_commits},
        {"restart from every commit", restart_from_every_commit},
        {"text is that of COPY", text_is_that_of_copy},
    };
    static const char *const engines[] = {"postgresql"};
    return conform_run("PostgreSQL's stream", tests, sizeof tests / sizeof *tests, engines, 1);
}
