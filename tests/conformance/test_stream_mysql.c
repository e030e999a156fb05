// What a stream meets only on MySQL and MariaDB: values that the server alters with no more than a warning, columns that it
// stamps by itself, collations, comparisons that are not exact.
#include <stdio.h>
#include <string.h>

#include "common/db/my/my.h"
#include "stream_sets.h"

struct fixture {
    struct conform *c;
    MYSQL *db; // the user's session
    Gw__Table *t;
};

static void
run(struct fixture *f, const char *sql)
{
    conform_ok(f->c, gw_my_exec(f->db, &f->c->err, "%s", sql));
}

static const char *
value(struct fixture *f, const char *sql)
{
    MYSQL_RES *r = NULL;
    conform_ok(f->c, gw_my_query(f->db, &r, sql, &f->c->err));
    MYSQL_ROW row = mysql_fetch_row(r);
    const char *text = gw_arena_strdup(&f->c->arena, row && row[0] ? row[0] : "no row");
    mysql_free_result(r);
    return text;
}

// A table of the user's own, which the task takes as it is.
static struct fixture
start(void **state, const char *ddl, const char *const *columns)
{
    struct fixture f = {.c = conform_start(state)};
    struct conform *c = f.c;
    struct gw_my_server server;
    conform_ok(c, gw_my_connect(&f.db, c->task->target, getenv("GW_TEST_MYSQL_PASSWORD"),
                                "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION", 0, &server, &c->err));
    run(&f, "DROP DATABASE IF EXISTS gwown");
    run(&f, "CREATE DATABASE gwown CHARACTER SET utf8mb4");
    run(&f, "USE gwown");
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
    run(f, "DROP DATABASE gwown");
    f->db = gw_my_close(f->db);
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
refuses(struct fixture *f, const struct gw_change_set *set)
{
    uint64_t n = 0;
    conform_is(f->c, f->c->target->stream_apply(f->c->a, set, &n, &f->c->err), GW_DATA);
}

// A decimal that is rounded is no more than a note, of whichever row of the set.
static void
nothing_is_altered(void **state)
{
    static const char *const columns[] = {"id", "d", "v", "i", "at", "e", NULL};
    struct fixture f = start(state,
                             "CREATE TABLE t (id int PRIMARY KEY, d decimal(5,2), v varchar(3), i tinyint,"
                             " at datetime(3), e enum('1','2','b'))",
                             columns);
    struct conform *c = f.c;
    stream_apply(c, c->a,
                 set_insert(c, f.t, NULL, "1\t1.50\tabc\t5\t2024-01-01 00:00:00.123\tb\n0\t\\N\t\\N\t\\N\t\\N\t\\N\n"),
                 2);
    refuses(&f, set_insert(c, f.t, "id,d", "2\t1.234\n3\t1.23\n4\t1.24\n")); // the first
    refuses(&f, set_insert(c, f.t, "id,d", "2\t1.24\n3\t1.23\n4\t1.234\n")); // the last
    refuses(&f, set_insert(c, f.t, "id,d", "2\t1.24\n3\t1.234\n4\t1.23\n"));
    refuses(&f, set_update(c, f.t, NULL, "1\n0\n", "d", "9.999\n1.11\n"));
    refuses(&f, set_unsure(set_insert(c, f.t, "id,d", "1\t9.999\n")));
    refuses(&f, set_insert(c, f.t, "id,v", "2\tabcd\n"));
    refuses(&f, set_insert(c, f.t, "id,v", "2\tab \xc3\x28\n"));
    refuses(&f, set_insert(c, f.t, "id,i", "2\t128\n"));
    refuses(&f, set_insert(c, f.t, "id,i", "2\t1.5\n"));
    refuses(&f, set_insert(c, f.t, "id,at", "2\t2024-01-01 00:00:00.1234\n"));
    refuses(&f, set_insert(c, f.t, "id,at", "2\tinfinity\n"));
    refuses(&f, set_insert(c, f.t, "id,e", "2\t3\n"));
    again(&f);
    assert_string_equal(value(&f, "SELECT GROUP_CONCAT(CONCAT_WS(',', id, d, v, i, at, e) ORDER BY id SEPARATOR ' / ')"
                                  " FROM t"),
                        "0 / 1,1.50,abc,5,2024-01-01 00:00:00.123,b");
    end(&f);
}

static void
stamps_stay(void **state)
{
    static const char *const columns[] = {"id", "v", "at", NULL};
    struct fixture f = start(state,
                             "CREATE TABLE t (id int PRIMARY KEY, v int, at timestamp NULL DEFAULT NULL"
                             " ON UPDATE CURRENT_TIMESTAMP)",
                             columns);
    struct conform *c = f.c;
    stream_apply(c, c->a, set_insert(c, f.t, NULL, "1\t1\t2001-01-01 00:00:00\n2\t2\t\\N\n"), 2);
    stream_apply(c, c->a, set_update(c, f.t, NULL, "1\n2\n", "v", "10\n20\n"), 2);
    again(&f);
    assert_string_equal(value(&f, "SELECT GROUP_CONCAT(CONCAT_WS(',', id, v, at) ORDER BY id SEPARATOR ' / ') FROM t"),
                        "1,10,2001-01-01 00:00:00 / 2,20");
    end(&f);
}

// As doubles these numbers would be one; as text of a _ci column these words.
static void
comparisons_are_exact(void **state)
{
    static const char *const columns[] = {"id", "d", "w", NULL};
    struct fixture f = start(state,
                             "CREATE TABLE t (id bigint unsigned, d decimal(30,5), w varchar(10) COLLATE"
                             " utf8mb4_general_ci)",
                             columns);
    struct conform *c = f.c;
    static const char all[] = "id,d,w";
    f.t->n_primary_key = 0;
    stream_apply(c, c->a,
                 set_insert(c, f.t, NULL,
                            "18446744073709551614\t1234567890123456789012345.00001\ta\n"
                            "18446744073709551615\t1234567890123456789012345.00001\ta\n"
                            "18446744073709551615\t1234567890123456789012345.00002\ta\n"
                            "18446744073709551615\t1234567890123456789012345.00002\tA\n"
                            "18446744073709551615\t1234567890123456789012345.00002\ta \n"),
                 5);
    stream_apply(c, c->a,
                 set_keyless(set_delete(c, f.t, all,
                                        "18446744073709551615\t1234567890123456789012345.00002\tA\n"
                                        "18446744073709551615\t1234567890123456789012345.00001\ta\n"
                                        "18446744073709551615\t1234567890123456789012345.00002\ta \n")),
                 3);
    stream_apply(c, c->a, set_keyless(set_delete(c, f.t, all, "18446744073709551613\t\\N\ta\n")), 0);
    again(&f);
    assert_string_equal(value(&f, "SELECT GROUP_CONCAT(CONCAT_WS(',', id, d, w) ORDER BY id SEPARATOR ' / ') FROM t"),
                        "18446744073709551614,1234567890123456789012345.00001,a / "
                        "18446744073709551615,1234567890123456789012345.00002,a");
    end(&f);
}

// Rows that are larger together than max_allowed_packet, and one that is alone.
static void
large_rows(void **state)
{
    enum { PACKET = 8 << 20, BIG = 3 << 20, ROWS = 8 };
    static const char *const columns[] = {"id", "v", NULL};
    struct fixture f = start(state, "CREATE TABLE t (id int PRIMARY KEY, v longtext)", columns);
    struct conform *c = f.c;
    const char *before = value(&f, "SELECT @@GLOBAL.max_allowed_packet");
    run(&f, "SET GLOBAL max_allowed_packet = 8388608"); // of sessions to come
    conform_close_target(c, &c->a);
    c->a = conform_open_target(c, "00000000-0000-4000-8000-0000000000a2");
    run(&f, gw_arena_printf(&c->arena, "SET GLOBAL max_allowed_packet = %s", before));
    stream_claim(c, c->a, false);
    conform_ok(c, c->target->stream_begin(c->a, &c->err));
    struct gw_buf text;
    gw_buf_init(&text, 1 << 30);
    for (int i = 0; i < ROWS; i++) {
        gw_buf_printf(&text, "%d\t", i);
        memset(gw_buf_room(&text, BIG), 'x', BIG);
        gw_buf_added(&text, BIG);
        gw_buf_putc(&text, '\n');
    }
    stream_apply(c, c->a, set_insert(c, f.t, NULL, text.data), ROWS);
    gw_buf_reset(&text);
    gw_buf_puts(&text, "99\t");
    memset(gw_buf_room(&text, PACKET), 'y', PACKET);
    gw_buf_added(&text, PACKET);
    gw_buf_putc(&text, '\n');
    refuses(&f, set_insert(c, f.t, NULL, text.data));
    gw_buf_fini(&text);
    again(&f);
    assert_string_equal(value(&f, "SELECT CONCAT(COUNT(*), ' ', SUM(LENGTH(v))) FROM t"), "8 25165824");
    end(&f);
}

static const struct conform_test tests[] = {
    {"nothing is altered", nothing_is_altered},
    {"stamps stay", stamps_stay},
    {"comparisons are exact", comparisons_are_exact},
    {"large rows", large_rows},
};

int
main(void)
{
    static const char *const engines[] = {"mysql"};
    return conform_run("stream on mysql", tests, sizeof tests / sizeof *tests, engines, 1);
}
