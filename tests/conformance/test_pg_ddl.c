// Definitions that change under the stream: what is told of them, what rows of before and behind read as then, and what is refused.
#include <stdio.h>
#include <string.h>

#include "pg_stream.h"

struct ddl {
    const char *table, *sql, *change;
    const char *altered; // what is told of it; NULL: nothing
    const char *row;     // the change, as it reads then; NULL: it is not carried any further
};
#define ALTERS(table_, sql_, change_, altered_, row_)                                                                  \
    {                                                                                                                  \
        .table = table_, .sql = sql_, .change = change_, .altered = altered_, .row = row_                              \
    }
#define GOES_ON(table_, sql_, row_)                                                                                    \
    {                                                                                                                  \
        .table = table_, .sql = sql_, .change = U, .row = row_                                                         \
    }
#define T      "CREATE TABLE t (id int PRIMARY KEY, a varchar(10) DEFAULT 'x', b int)"
#define L      "CREATE TABLE t (id int PRIMARY KEY, big text, b int)"
#define PLACES ": names were exchanged on the source, or a column was dropped and made anew"
#define U      "UPDATE t SET b = 2"

// The task's rules include all tables of the test.
static struct fixture
start(void **state, const char *sql)
{
    struct fixture f = pg_start(state, sql);
    Gw__SelectionRule *all = gw_pb_new(&f.c->arena, Gw__SelectionRule, gw__selection_rule__init);
    all->schema = gw_arena_strdup(&f.c->arena, "gwstream%");
    all->table = gw_arena_strdup(&f.c->arena, "%");
    gw_pb_add(&f.c->arena, f.c->task, selection, all);
    return f;
}

static void
expect(struct fixture *f, const struct ddl *d)
{
    char want[512];
    snprintf(want, sizeof want, "BEGIN\n%sI z_other(1)\n%sCOMMIT\nBEGIN\nI z_other(2)\nCOMMIT\n", d->row, d->row);
    pg_expect(f, want);
}

// Two tables change in one transaction after the DDL.
static void
check(void **state, const struct ddl *d)
{
    fprintf(stderr, "%s\n", d->sql);
    struct fixture f = start(state, d->table);
    run(f.db, "CREATE TABLE z_other (id int PRIMARY KEY)");
    pg_open(&f);
    run(f.db, "INSERT INTO t (id) VALUES (1)");
    assert_non_null(strstr(pg_read(&f), "I t(1"));
    const char *from = f.last;
    run(f.db, "%s", d->sql);
    run(f.db, "BEGIN; %s; INSERT INTO z_other VALUES (1); %s; COMMIT", d->change, d->change);
    run(f.db, "INSERT INTO z_other VALUES (2)");
    if (!d->altered) {
        expect(&f, d);
        // Another process that starts before the change sees the same, although the catalogue is another by now.
        pg_restart(&f, from);
        expect(&f, d);
    } else {
        char want[512];
        snprintf(want, sizeof want, "ALTERED t -> %s\n", d->altered);
        pg_expect(&f, want);
        // Before it, by the new definition: rows of then; then rows of now.
        pg_restart(&f, from);
        if (d->row) {
            expect(&f, d);
            run(f.db, "INSERT INTO z_other VALUES (3)");
            pg_expect(&f, "BEGIN\nI z_other(3)\nCOMMIT\n");
        }
    }
    run(f.db, "DROP SCHEMA IF EXISTS gwstream2 CASCADE");
    pg_end(&f);
}

static void
alters(void **state)
{
    static const struct ddl all[] = {
        ALTERS(T, "ALTER TABLE t ADD COLUMN c numeric(5,1) DEFAULT 1", U, "t(id, a, b, c<+1.0)", "U t(1,x,2,1.0)\n"),
        ALTERS(T, "ALTER TABLE t ADD COLUMN c int; ALTER TABLE t ALTER c SET DEFAULT 5", U, "t(id, a, b, c<)",
               "U t(1,x,2,NULL)\n"),
        ALTERS(T, "ALTER TABLE t ADD COLUMN c int DEFAULT 3; ALTER TABLE t ALTER c DROP DEFAULT", U,
               "t(id, a, b, c<+3)", "U t(1,x,2,3)\n"),
        ALTERS(T, "ALTER TABLE t DROP COLUMN a", U, "t(id, b)", "U t(1,2)\n"),
        ALTERS(T, "ALTER TABLE t RENAME COLUMN a TO aa", U, "t(id, aa<a, b)", "U t(1,x,2)\n"),
        ALTERS(T, "ALTER TABLE t ALTER a TYPE varchar(20)", U, "t(id, a, b)", "U t(1,x,2)\n"),
        ALTERS(T, "ALTER TABLE t RENAME TO t_renamed", "UPDATE t_renamed SET b = 2", "t_renamed(id, a, b)",
               "U t_renamed(1,x,2)\n"),
        ALTERS(T, "CREATE SCHEMA gwstream2; ALTER TABLE t SET SCHEMA gwstream2", "UPDATE gwstream2.t SET b = 2",
               "t(id, a, b)", "U t(1,x,2)\n"),
        ALTERS(T "; CREATE TYPE mood AS ENUM ('ok')", "ALTER TABLE t ADD COLUMN m mood DEFAULT 'ok'", U,
               "t(id, a, b, m<+ok)", "U t(1,x,2,ok)\n"),
        // What the log and the catalogue do not tell.
        ALTERS(T, "ALTER TABLE t ALTER b TYPE text USING b * 2", "UPDATE t SET b = '2'",
               "column \"b\" was integer and is text now on the source: column \"b\" was integer and is text, and its "
               "values"
               " were written anew",
               NULL),
        ALTERS(T, "ALTER TABLE t ADD COLUMN c float8 DEFAULT random()", U,
               "column \"c\" (double precision) was added on the source: column \"c\" was added, and the table's rows"
               " were written anew",
               NULL),
        ALTERS(L, "ALTER TABLE t RENAME id TO x; ALTER TABLE t RENAME b TO id; ALTER TABLE t RENAME x TO b",
               "UPDATE t SET big = 'x'",
               "its columns changed places at \"big\"" PLACES ": the name of column \"b\" is another column's now",
               NULL),
        ALTERS(T, "ALTER TABLE t DROP COLUMN a, ADD COLUMN a varchar(10)", U,
               "its columns changed places at \"a\"" PLACES ": the name of column \"a\" is another column's now", NULL),
        ALTERS("CREATE TABLE t (id int PRIMARY KEY, b int NOT NULL DEFAULT 1)",
               "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b)",
               "INSERT INTO t VALUES (5, (SELECT max(b) FROM t) + 1)",
               "column \"id\" is no longer part of the table's replica identity: the primary key is another one", NULL),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        check(state, &all[i]);
    }
}

// A transaction that has rows of both shapes, and more than one change; what is rolled back is none.
static void
within_a_transaction(void **state)
{
    struct fixture f = start(state, T);
    pg_open(&f);
    run(f.db, "INSERT INTO t VALUES (1)");
    pg_expect(&f, "BEGIN\nI t(1,x,NULL)\nCOMMIT\n");
    const char *from = f.last;
    run(f.db,
        "BEGIN; INSERT INTO t VALUES (2); ALTER TABLE t ADD COLUMN c int DEFAULT 7; INSERT INTO t VALUES (3);"
        "ALTER TABLE t DROP COLUMN b; UPDATE t SET c = 8 WHERE id = 2; SAVEPOINT s; ALTER TABLE t ADD COLUMN d int;"
        "INSERT INTO t VALUES (4, 'd', 4, 4); ROLLBACK TO s; INSERT INTO t VALUES (5, 'e', 5); COMMIT");
    pg_expect(&f, "BEGIN\nI t(2,x,NULL)\nALTERED t -> t(id, a, c<+7)\n");
    pg_restart(&f, from);
    pg_expect(&f, "BEGIN\nI t(2,x,7)\nI t(3,x,7)\nU t(2,x,8)\nI t(5,e,5)\nCOMMIT\n");
    run(f.db, "INSERT INTO t VALUES (6)");
    pg_expect(&f, "BEGIN\nI t(6,x,7)\nCOMMIT\n");
    pg_end(&f);
}

static void
goes_on(void **state)
{
    static const struct ddl all[] = {
        GOES_ON(T,
                "CREATE INDEX ON t (b); ALTER TABLE t ALTER a SET DEFAULT 'y', ADD CHECK (b < 10); ANALYZE t;"
                "COMMENT ON TABLE t IS 'x'",
                "U t(1,x,2)\n"),
        GOES_ON(T, "ALTER TABLE t ADD COLUMN c int; ALTER TABLE t DROP COLUMN c", "U t(1,x,2)\n"),
        GOES_ON("CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id + 1) STORED, b int)", "ANALYZE t",
                "U t(1,2)\n"),
        GOES_ON("CREATE TABLE t (id int PRIMARY KEY, gone int, b int); ALTER TABLE t DROP COLUMN gone", "VACUUM FULL t",
                "U t(1,2)\n"),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        check(state, &all[i]);
    }
}

// Where LOBs are left out, a column that is one, or comes as one, is missed by nobody.
static void
lobs_left_out(void **state)
{
    struct fixture f = start(state, "CREATE TABLE t (id int PRIMARY KEY, b int, big text)");
    f.c->task->lob->support_lobs = false;
    pg_open(&f);
    f.cat->tables[0]->n_columns = 2; // as the mapping does it
    pg_restart(&f, f.last);
    run(f.db, "INSERT INTO t VALUES (1, 2, 'big')");
    pg_expect(&f, "BEGIN\nI t(1,2)\nCOMMIT\n");
    run(f.db, "ALTER TABLE t ADD COLUMN j jsonb; INSERT INTO t VALUES (2, 3, 'big', '{}')");
    pg_expect(&f, "BEGIN\nI t(2,3)\nCOMMIT\n");
    pg_restart(&f, f.last); // the definition is another one all the same
    pg_expect(&f, "ALTERED t -> t(id, b, big<, j<)\n");
    pg_end(&f);
}

// While nobody reads: the table is gone, and another takes its name.
static void
dropped_while_away(void **state)
{
    struct fixture f = start(state, T "; CREATE TABLE z_other (id int PRIMARY KEY)");
    pg_open(&f);
    const char *from = f.last;
    run(f.db, "INSERT INTO t VALUES (1)");
    run(f.db, "DROP TABLE t");
    run(f.db, "INSERT INTO z_other VALUES (1)");
    pg_restart(&f, from);
    pg_expect(&f, "ALTERED t -> ()\n");
    run(f.db, T "; INSERT INTO t VALUES (2)");
    pg_restart(&f, from);
    pg_expect(&f, "ALTERED t -> ()\nALTERED  -> t(id<, a<, b<)\n");
    pg_end(&f);
}

// Two tables exchange their names: by name, each would take the other's rows.
static void
names_exchanged(void **state)
{
    struct fixture f = start(state, T "; CREATE TABLE u (LIKE t INCLUDING ALL)");
    pg_open(&f);
    run(f.db, "INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)");
    pg_read(&f);
    run(f.db, "ALTER TABLE t RENAME TO v; ALTER TABLE u RENAME TO t; ALTER TABLE v RENAME TO u");
    run(f.db, "BEGIN; INSERT INTO t VALUES (3); INSERT INTO u VALUES (3); COMMIT");
    pg_expect(&f, "ALTERED t -> u(id, a, b)\nALTERED u -> t(id, a, b)\n");
    pg_end(&f);
}

// A type by another name is another type; a column whose type is gone altogether can be told, too.
static void
types_of_ones_own(void **state)
{
    struct fixture f = start(state, "CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN word AS text CHECK (value <> '');"
                                    "CREATE TYPE pair AS (a int, b text);"
                                    "CREATE TABLE t (id int PRIMARY KEY, m mood, w word, p pair, ms mood[])");
    pg_open(&f);
    run(f.db, "INSERT INTO t VALUES (1, 'ok', 'w', ROW(1, 'x y'), '{ok}')");
    pg_expect(&f, "BEGIN\nI t(1,ok,w,(1,\"x y\"),{ok})\nCOMMIT\n");
    run(f.db, "ALTER TYPE mood ADD VALUE 'new'");
    run(f.db, "INSERT INTO t VALUES (2, 'new')");
    pg_expect(&f, "BEGIN\nI t(2,new,NULL,NULL,NULL)\nCOMMIT\n");
    const char *from = f.last;
    run(f.db, "INSERT INTO t VALUES (3)");
    run(f.db, "ALTER TABLE t DROP COLUMN p; DROP TYPE pair");
    // The catalogue of today no longer knows the type of yesterday's rows.
    pg_restart(&f, from);
    pg_expect(&f, "ALTERED t -> t(id, m, w, ms)\n");
    pg_restart(&f, from);
    pg_expect(&f, "BEGIN\nI t(3,NULL,NULL,NULL)\nCOMMIT\n");
    pg_end(&f);
}

int
main(void)
{
    static const struct conform_test tests[] = {
        {"what is altered, and what is refused", alters},
        {"changes within a transaction", within_a_transaction},
        {"what can be read goes on", goes_on},
        {"LOBs that are left out", lobs_left_out},
        {"a table is dropped while nobody reads", dropped_while_away},
        {"two tables exchange their names", names_exchanged},
        {"types of one's own", types_of_ones_own},
    };
    static const char *const engines[] = {"postgresql"};
    return conform_run("definitions under PostgreSQL's stream", tests, sizeof tests / sizeof *tests, engines, 1);
}
