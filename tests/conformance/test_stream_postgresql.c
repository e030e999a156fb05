// What a stream meets only on PostgreSQL: GENERATED ALWAYS, casts that cut in silence, types of extensions, partitions, constraints
// that wait for the end, and keys that are not there yet.
#include <stdio.h>
#include <string.h>

#include "common/db/pg/pg.h"
#include "stream_sets.h"

struct fixture {
    struct conform *c;
    PGconn *db; // the user's session
    Gw__Table *t;
};

static void
run(struct fixture *f, const char *sql)
{
    conform_ok(f->c, gw_pg_exec(f->db, &f->c->err, "%s", sql));
}

static const char *
value(struct fixture *f, const char *sql)
{
    PGresult *r = NULL;
    conform_ok(f->c, gw_pg_query(f->db, &r, sql, 0, NULL, &f->c->err));
    const char *text = gw_arena_strdup(&f->c->arena, PQntuples(r) ? PQgetvalue(r, 0, 0) : "no row");
    PQclear(r);
    return text;
}

// A table of the user's own, which the task takes as it is. `columns`: id and what else there is, as text.
static struct fixture
start(void **state, const char *ddl, const char *const *columns)
{
    struct fixture f = {.c = conform_start(state)};
    struct conform *c = f.c;
    conform_ok(c, gw_pg_connect(&f.db, c->task->target, getenv("GW_TEST_POSTGRESQL_PASSWORD"), "test", &c->err));
    run(&f, "SET client_min_messages = warning; DROP SCHEMA IF EXISTS gwown CASCADE; CREATE SCHEMA gwown");
    run(&f, "SET search_path = gwown");
    run(&f, ddl);
    c->task->load->prep_mode = GW__PREP_MODE__DO_NOTHING;
    Gw__Catalog *cat = target_catalog(c);
    f.t = cat->tables[0];
    f.t->schema = gw_arena_strdup(&c->arena, "gwown");
    f.t->name = gw_arena_strdup(&c->arena, "t");
    Gw__Column *text = f.t->columns[2];
    f.t->columns = NULL;
    f.t->source_columns = NULL;
    f.t->n_columns = f.t->n_source_columns = 0;
    for (; *columns; columns++) {
        Gw__Column *x = gw_pb_dup(&c->arena, text);
        x->name = gw_arena_strdup(&c->arena, *columns);
        gw_pb_add(&c->arena, f.t, columns, x);
        gw_pb_add(&c->arena, f.t, source_columns, x->name);
    }
    Gw__TargetState *s = conform_state(c, cat, 1);
    s->progress = gw_pb_new(&c->arena, Gw__Progress, gw__progress__init);
    s->progress->position = gw_arena_strdup(&c->arena, STREAM_START);
    conform_register(c, s);
    stream_claim(c, c->a, false);
    conform_ok(c, c->target->stream_begin(c->a, &c->err));
    return f;
}

static void
end(struct fixture *f)
{
    conform_close_target(f->c, &f->c->a);
    run(f, "DROP SCHEMA gwown CASCADE");
    f->db = gw_pg_close(f->db);
    conform_end(f->c);
}

static void
again(struct fixture *f)
{
    static int n;
    char to[32];
    snprintf(to, sizeof to, "p%d", ++n);
    stream_commit(f->c, f->c->a, to);
    conform_ok(f->c, f->c->target->stream_begin(f->c->a, &f->c->err));
}

static void
refuses(struct fixture *f, const struct gw_change_set *set, const char *code)
{
    struct gw_err err = {0};
    uint64_t n = 0;
    assert_int_equal(f->c->target->stream_apply(f->c->a, set, &n, &err), GW_DATA);
    assert_string_equal(err.code, code);
}

// An update may not name a GENERATED ALWAYS column, and the source's says what it is in every change.
static void
generated_always(void **state)
{
    static const char *const columns[] = {"id", "n", "v", NULL};
    struct fixture f = start(state,
                             "CREATE TABLE t (id int PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY UNIQUE,"
                             " v text)",
                             columns);
    struct conform *c = f.c;
    stream_apply(c, c->a, set_insert(c, f.t, NULL, "1\t10\ta\n2\t20\tb\n3\t30\tc\n"), 3);
    stream_apply(c, c->a, set_update(c, f.t, NULL, "1\n2\n", NULL, "1\t10\tA\n5\t20\tB\n"), 2);
    stream_apply(c, c->a, set_update(c, f.t, NULL, "1\n3\n9\n", NULL, "1\t10\tx\n3\t33\ty\n9\t9\tz\n"), 2); // one moves
    stream_apply(c, c->a, set_update(c, f.t, NULL, "3\n", "n", "34\n"), 1);
    stream_apply(c, c->a, set_update(c, f.t, NULL, "3\n", "n", "34\n"), 1);
    stream_apply(c, c->a, set_keyless(set_update(c, f.t, "id,n,v", "5\t20\tB\n", NULL, "5\t21\tq\n")), 1);
    refuses(&f, set_update(c, f.t, NULL, "3\n5\n", NULL, "3\t35\ty\n5\t10\ty\n"), "23505");
    stream_apply(c, c->a, set_unsure(set_insert(c, f.t, NULL, "1\t10\tagain\n7\t70\tnew\n")), 2);
    stream_apply(c, c->a, set_unsure(set_insert(c, f.t, NULL, "1\t11\tno\n")), 0); // would move: missing in the count
    again(&f);
    assert_string_equal(value(&f, "SELECT string_agg(concat_ws(',', id, n, v), ' ' ORDER BY id) FROM t"),
                        "1,10,again 3,34,y 5,21,q 7,70,new");
    assert_string_equal(value(&f, "SELECT attidentity FROM pg_attribute WHERE attrelid = 't'::regclass"
                                  " AND attname = 'n'"),
                        "a"); // as it was
    end(&f);
}

// Each of these a cast to the column's full type would cut without a word.
static void
nothing_is_cut(void **state)
{
    static const char *const columns[] = {"id", "v", "c", "d", "a", "b", NULL};
    struct fixture f = start(state,
                             "CREATE DOMAIN short AS varchar(3); CREATE DOMAIN shorter AS short;"
                             " CREATE TABLE t (id int PRIMARY KEY, v varchar(3), c char(3), d shorter, a varchar(3)[],"
                             " b bit(3))",
                             columns);
    struct conform *c = f.c;
    stream_apply(c, c->a, set_insert(c, f.t, NULL, "1\tabc\tab\tabc\t{abc,NULL,\"\"}\t101\n"), 1);
    refuses(&f, set_insert(c, f.t, NULL, "2\tabcd\tab\tabc\t{abc}\t101\n"), "22001");
    refuses(&f, set_insert(c, f.t, NULL, "2\tabc\tabcd\tabc\t{abc}\t101\n"), "22001");
    refuses(&f, set_insert(c, f.t, NULL, "2\tabc\tab\tabcd\t{abc}\t101\n"), "22001");
    refuses(&f, set_insert(c, f.t, NULL, "2\tabc\tab\tabc\t{abc,abcd}\t101\n"), "22001");
    refuses(&f, set_insert(c, f.t, NULL, "2\tabc\tab\tabc\t{abc}\t1011\n"), "22026");
    refuses(&f, set_update(c, f.t, NULL, "1\n", "v", "abcd\n"), "22001");
    refuses(&f, set_update(c, f.t, NULL, "1\n", "d", "abcd\n"), "22001");
    refuses(&f, set_unsure(set_insert(c, f.t, NULL, "1\tabcd\tab\tabc\t{abc}\t101\n")), "22001");
    refuses(&f, set_insert(c, f.t, "id,v", "2\ta\\\\b\\b\n3\tlonger\n"), "22001");
    again(&f);
    assert_string_equal(value(&f, "SELECT t::text FROM t"), "(1,abc,\"ab \",abc,\"{abc,NULL,\"\"\"\"}\",101)");
    end(&f);
}

// Rows of a set are compared with the operator of the type, wherever it lives.
static void
types_of_extensions(void **state)
{
    static const char *const columns[] = {"id", "h", NULL};
    struct fixture f = start(state,
                             "CREATE EXTENSION IF NOT EXISTS citext SCHEMA gwown;"
                             " CREATE EXTENSION IF NOT EXISTS hstore SCHEMA gwown;"
                             " CREATE TABLE t (id citext PRIMARY KEY, h hstore)",
                             columns);
    struct conform *c = f.c;
    stream_apply(c, c->a, set_insert(c, f.t, NULL, "Ab\t\"a\"=>\"1\"\ncd\t\\N\n"), 2);
    stream_apply(c, c->a, set_update(c, f.t, NULL, "AB\n", "h", "\"b\"=>NULL\n"), 1);
    stream_apply(c, c->a, set_unsure(set_insert(c, f.t, NULL, "CD\t\"c\"=>\"3\"\n")), 1);
    again(&f);
    assert_string_equal(value(&f, "SELECT string_agg(concat_ws(',', id, h), ' ' ORDER BY id) FROM t"),
                        "Ab,\"b\"=>NULL CD,\"c\"=>\"3\"");
    stream_apply(c, c->a, set_keyless(set_delete(c, f.t, "id,h", "Ab\t\"b\"=>NULL\n")), 1);
    stream_apply(c, c->a, set_delete(c, f.t, "id", "cd\n"), 1);
    again(&f);
    assert_string_equal(value(&f, "SELECT count(*) FROM t"), "0");
    end(&f);
}

// Rows of two partitions may stand in the same place.
static void
keyless_partitions(void **state)
{
    static const char *const columns[] = {"id", "v", NULL};
    struct fixture f = start(state,
                             "CREATE TABLE t (id int, v json) PARTITION BY LIST (id);"
                             " CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1);"
                             " CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2)",
                             columns);
    struct conform *c = f.c;
    f.t->n_primary_key = 0;
    stream_apply(c, c->a, set_insert(c, f.t, NULL, "1\t{\"a\": 1}\n2\t{\"a\": 1}\n1\t\\N\n"), 3);
    stream_apply(c, c->a, set_keyless(set_delete(c, f.t, "id,v", "2\t{\"a\": 1}\n")), 1);
    stream_apply(c, c->a, set_keyless(set_update(c, f.t, "id,v", "1\t{\"a\": 1}\n", NULL, "2\t[]\n")), 1);
    again(&f);
    assert_string_equal(value(&f, "SELECT string_agg(concat_ws(',', id, v), ' ' ORDER BY id) FROM t"), "1 2,[]");
    end(&f);
}

// A primary key that is made after the rows, or is made while the stream runs.
static void
key_comes_later(void **state)
{
    static const char *const columns[] = {"id", "v", NULL};
    struct fixture f = start(state, "CREATE TABLE t (id int NOT NULL, v text)", columns);
    struct conform *c = f.c;
    stream_apply(c, c->a, set_unsure(set_insert(c, f.t, NULL, "1\ta\n2\tb\n")), 2);
    stream_apply(c, c->a, set_unsure(set_insert(c, f.t, NULL, "2\tB\n3\tc\n")), 2);
    again(&f);
    run(&f, "ALTER TABLE t ADD PRIMARY KEY (id)");
    stream_apply(c, c->a, set_unsure(set_insert(c, f.t, NULL, "3\tC\n4\td\n")), 2);
    stream_apply(c, c->a, set_update(c, f.t, NULL, "1\n", "v", "A\n"), 1);
    refuses(&f, set_insert(c, f.t, NULL, "4\ttwice\n"), "23505");
    again(&f);
    assert_string_equal(value(&f, "SELECT string_agg(id || v, ' ' ORDER BY id) FROM t"), "1A 2B 3C 4d");
    end(&f);
}

// A constraint that waits for the end of the transaction is checked before the fence: the failure is about the data.
static void
deferred_constraints(void **state)
{
    static const char *const columns[] = {"id", "v", NULL};
    struct fixture f = start(state,
                             "CREATE TABLE t (id int PRIMARY KEY,"
                             " v int REFERENCES t DEFERRABLE INITIALLY DEFERRED)",
                             columns);
    struct conform *c = f.c;
    stream_claim(c, c->a, true);
    conform_ok(c, c->target->stream_begin(c->a, &c->err));
    stream_apply(c, c->a, set_insert(c, f.t, NULL, "1\t2\n"), 1);
    stream_apply(c, c->a, set_insert(c, f.t, NULL, "2\t1\n"), 1);
    again(&f);
    stream_apply(c, c->a, set_insert(c, f.t, NULL, "3\t9\n"), 1);
    Gw__StreamCounts counts = GW__STREAM_COUNTS__INIT;
    conform_is(c, c->target->stream_commit(c->a, "x", &counts, &c->err), GW_DATA);
    conform_ok(c, c->target->stream_begin(c->a, &c->err)); // the claim still holds
    stream_apply(c, c->a, set_insert(c, f.t, NULL, "4\t1\n"), 1);
    again(&f);
    assert_string_equal(value(&f, "SELECT string_agg(id || '-' || v, ' ' ORDER BY id) FROM t"), "1-2 2-1 4-1");
    end(&f);
}

// The plan that is kept must find rows by the key, though it was made while the table was small.
static void
plans_use_the_key(void **state)
{
    static const char *const columns[] = {"id", "v", NULL};
    struct fixture f = start(state, "CREATE TABLE t (id int PRIMARY KEY, v text)", columns);
    struct conform *c = f.c;
    run(&f, "ALTER TABLE t SET (autovacuum_enabled = false)"); // which would have the plan made anew
    stream_apply(c, c->a, set_insert(c, f.t, NULL, "1\ta\n"), 1);
    again(&f);
    run(&f, "ANALYZE t");
    stream_apply(c, c->a, set_update(c, f.t, NULL, "1\n", "v", "b\n"), 1);
    again(&f);
    struct gw_buf text;
    gw_buf_init(&text, 1 << 20);
    for (int i = 2; i <= 50000; i++) {
        gw_buf_printf(&text, "%d\tx\n", i);
        if (i % 1000 == 0) {
            struct gw_change_set *set = set_insert(c, f.t, NULL, text.data);
            stream_apply(c, c->a, set, set->n);
            gw_buf_reset(&text);
        }
    }
    gw_buf_fini(&text);
    for (int i = 0; i < 20; i++) {
        stream_apply(c, c->a, set_update(c, f.t, NULL, "1\n", "v", i % 2 ? "c\n" : "d\n"), 1);
    }
    again(&f);
    conform_close_target(c, &c->a); // its statistics are written when it ends
    static const char seen[] = "SELECT (n_tup_upd >= 21)::int FROM pg_stat_user_tables WHERE relname = 't'";
    for (int i = 0; i < 400 && strcmp(value(&f, seen), "1") != 0; i++) {
        run(&f, "SELECT pg_sleep(0.05)");
    }
    assert_string_equal(value(&f, seen), "1");
    assert_string_equal(value(&f, "SELECT (idx_tup_read < 20000)::int FROM pg_stat_user_indexes WHERE relname = 't'"),
                        "1");
    // The index was built by one.
    assert_string_equal(value(&f, "SELECT (seq_scan <= 1)::int FROM pg_stat_user_tables WHERE relname = 't'"), "1");
    end(&f);
}

static const struct conform_test tests[] = {
    {"generated always", generated_always},       {"nothing is cut", nothing_is_cut},
    {"types of extensions", types_of_extensions}, {"keyless partitions", keyless_partitions},
    {"a key that comes later", key_comes_later},  {"deferred constraints", deferred_constraints},
    {"plans use the key", plans_use_the_key},
};

int
main(void)
{
    static const char *const engines[] = {"postgresql"};
    return conform_run("stream on postgresql", tests, sizeof tests / sizeof *tests, engines, 1);
}
