// Definitions that change under the stream: what can no longer be read without loss suspends its table, with the reason, and
// nothing else.
#include <stdio.h>
#include <string.h>

#include "pg_stream.h"

struct ddl {
    const char *table, *sql, *change;
    const char *want;  // why it is suspended; NULL: it is not, and the change reads as `row`
    const char *later; // why, as a process tells it that starts when all is over; NULL: the same
    const char *row;
};
#define SUSPEND(table_, sql_, change_, want_, later_)                                                                  \
    {                                                                                                                  \
        .table = table_, .sql = sql_, .change = change_, .want = want_, .later = later_                                \
    }
#define GOES_ON(table_, sql_, row_)                                                                                    \
    {                                                                                                                  \
        .table = table_, .sql = sql_, .change = U, .row = row_                                                         \
    }
#define T      "CREATE TABLE t (id int PRIMARY KEY, a varchar(10) DEFAULT 'x', b int)"
#define L      "CREATE TABLE t (id int PRIMARY KEY, big text, b int)"
#define PLACES ": names were exchanged on the source, or a column was dropped and made anew"
#define U      "UPDATE t SET b = 2"

static void
expect(struct fixture *f, const struct ddl *d, const char *reason)
{
    char want[512];
    if (reason) {
        // What is seen when the stream begins is told before everything else.
        bool at_once = strstr(reason, "dropped or renamed") && !strstr(reason, "stream");
        snprintf(want, sizeof want, "BEGIN\nSUSPEND t: %s\n%sI z_other(1)\nCOMMIT\nBEGIN\nI z_other(2)\nCOMMIT\n",
                 reason, at_once ? "COMMIT\nBEGIN\n" : "");
    } else {
        snprintf(want, sizeof want, "BEGIN\n%sI z_other(1)\n%sCOMMIT\nBEGIN\nI z_other(2)\nCOMMIT\n", d->row, d->row);
    }
    pg_expect(f, want);
}

// Two tables change in one transaction after the DDL: the other one goes on.
static void
check(void **state, const struct ddl *d, bool no_lobs)
{
    fprintf(stderr, "%s\n", d->sql);
    struct fixture f = pg_start(state, d->table);
    run(f.db, "CREATE TABLE z_other (id int PRIMARY KEY)");
    f.c->task->lob->support_lobs = !no_lobs;
    pg_open(&f);
    if (no_lobs) { // as the mapping does it
        Gw__Table *t = f.cat->tables[0];
        size_t kept = 0;
        for (size_t k = 0; k < t->n_columns; k++) {
            if (!t->columns[k]->is_lob) {
                t->columns[kept++] = t->columns[k];
            }
        }
        t->n_columns = kept;
        pg_restart(&f, f.last);
    }
    run(f.db, "INSERT INTO t (id) VALUES (1)");
    assert_non_null(strstr(pg_read(&f), "I t(1"));
    const char *from = f.last;
    run(f.db, "%s", d->sql);
    run(f.db, "BEGIN; %s; INSERT INTO z_other VALUES (1); %s; COMMIT", d->change, d->change);
    run(f.db, "INSERT INTO z_other VALUES (2)");
    expect(&f, d, d->want);
    // Another process that starts before the change sees the same, although the catalogue is another by now.
    pg_restart(&f, from);
    expect(&f, d, d->later ? d->later : d->want);
    run(f.db, "DROP SCHEMA IF EXISTS gwstream2 CASCADE");
    pg_end(&f);
}

static void
suspends(void **state)
{
    static const struct ddl all[] = {
        SUSPEND(T, "ALTER TABLE t ADD COLUMN c numeric(5,1) DEFAULT 1", U,
                "column \"c\" (numeric(5,1)) was added on the source", NULL),
        SUSPEND(
            T, "ALTER TABLE t DROP COLUMN a", U,
            "column \"a\" (character varying(10)) is not in the stream: it was dropped or renamed on the source, or is "
            "generated",
            NULL),
        SUSPEND(T, "ALTER TABLE t RENAME COLUMN a TO aa", U,
                "column \"aa\" (character varying(10)) was added on the source", NULL),
        SUSPEND(T, "ALTER TABLE t ALTER a TYPE varchar(20)", U,
                "column \"a\" was character varying(10) and is character varying(20) now on the source", NULL),
        SUSPEND(T, "ALTER TABLE t ALTER b TYPE text", "UPDATE t SET b = '2'",
                "column \"b\" was integer and is text now on the source", NULL),
        SUSPEND(T, "ALTER TABLE t DROP COLUMN a, ADD COLUMN a varchar(9)", U,
                "column \"a\" was character varying(10) and is character varying(9) now on the source", NULL),
        SUSPEND(L, "ALTER TABLE t RENAME id TO x; ALTER TABLE t RENAME b TO id; ALTER TABLE t RENAME x TO b",
                "UPDATE t SET big = 'x'", "its columns changed places at \"big\"" PLACES, NULL),
        SUSPEND(T, "ALTER TABLE t DROP COLUMN a, ADD COLUMN a varchar(10)", U,
                "its columns changed places at \"a\"" PLACES, NULL),
        SUSPEND(T, "ALTER TABLE t RENAME TO t_renamed", "UPDATE t_renamed SET b = 2",
                "it was renamed to \"gwstream.t_renamed\" on the source", "it was dropped or renamed on the source"),
        SUSPEND(T, "CREATE SCHEMA gwstream2; ALTER TABLE t SET SCHEMA gwstream2", "UPDATE gwstream2.t SET b = 2",
                "it was renamed to \"gwstream2.t\" on the source", "it was dropped or renamed on the source"),
        SUSPEND("CREATE TABLE t (id int PRIMARY KEY, b int NOT NULL DEFAULT 1); CREATE UNIQUE INDEX t_b ON t (b)",
                "ALTER TABLE t REPLICA IDENTITY USING INDEX t_b", U,
                "column \"id\" is no longer part of the table's replica identity", NULL),
        SUSPEND(T "; CREATE TYPE mood AS ENUM ('ok')", "ALTER TABLE t ADD COLUMN m mood", U,
                "column \"m\" (gwstream.mood) was added on the source", NULL),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        check(state, &all[i], false);
    }
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
        GOES_ON(T, "ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (b + 1) STORED", "U t(1,x,2)\n"),
        GOES_ON("CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id + 1) STORED, b int)", "ANALYZE t",
                "U t(1,2)\n"),
        GOES_ON("CREATE TABLE t (id int PRIMARY KEY, gone int, b int); ALTER TABLE t DROP COLUMN gone", "VACUUM FULL t",
                "U t(1,2)\n"),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        check(state, &all[i], false);
    }
}

// Where LOBs are left out, a column that is one, or comes as one, is missed by nobody.
static void
lobs_left_out(void **state)
{
    static const struct ddl goes = GOES_ON(L, "ALTER TABLE t ADD COLUMN j jsonb", "U t(1,2)\n");
    static const struct ddl stops = SUSPEND(L, "ALTER TABLE t ADD COLUMN j varchar(9)", U,
                                            "column \"j\" (character varying(9)) was added on the source", NULL);
    check(state, &goes, true);
    check(state, &stops, true);
}

// While nobody reads: the table is gone, and another takes its name.
static void
dropped_while_away(void **state)
{
    struct fixture f = pg_start(state, T "; CREATE TABLE z_other (id int PRIMARY KEY)");
    pg_open(&f);
    const char *from = f.last;
    run(f.db, "INSERT INTO t VALUES (1)");
    run(f.db, "DROP TABLE t");
    run(f.db, "INSERT INTO z_other VALUES (1)");
    static const char want[] =
        "BEGIN\nSUSPEND t: it was dropped or renamed on the source\nCOMMIT\nBEGIN\nI z_other(1)\nCOMMIT\n";
    pg_restart(&f, from);
    pg_expect(&f, want);
    run(f.db, T "; INSERT INTO t VALUES (2)");
    pg_restart(&f, from);
    pg_expect(&f, "BEGIN\nSUSPEND t: it is no longer part of the publication\nCOMMIT\nBEGIN\nI z_other(1)\nCOMMIT\n");
    pg_end(&f);
}

// Two tables exchange their names: by name, each would take the other's rows.
static void
names_exchanged(void **state)
{
    struct fixture f = pg_start(state, T "; CREATE TABLE u (LIKE t INCLUDING ALL)");
    pg_open(&f);
    run(f.db, "INSERT INTO t VALUES (1); INSERT INTO u VALUES (1)");
    pg_read(&f);
    run(f.db, "ALTER TABLE t RENAME TO v; ALTER TABLE u RENAME TO t; ALTER TABLE v RENAME TO u");
    run(f.db, "BEGIN; INSERT INTO t VALUES (3); INSERT INTO u VALUES (3); COMMIT");
    pg_expect(&f, "BEGIN\nSUSPEND t: another table has taken its name on the source\n"
                  "SUSPEND u: another table has taken its name on the source\nCOMMIT\n");
    pg_end(&f);
}

// A type by another name is another type; a column whose type is gone altogether can be told, too.
static void
types_of_ones_own(void **state)
{
    struct fixture f =
        pg_start(state, "CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN word AS text CHECK (value <> '');"
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
    pg_expect(&f, "BEGIN\nSUSPEND t: column \"p\" was gwstream.pair and is ??? now on the source\nCOMMIT\n");
    pg_end(&f);
}

int
main(void)
{
    static const struct conform_test tests[] = {
        {"what cannot be read suspends its table", suspends},
        {"what can be read goes on", goes_on},
        {"LOBs that are left out", lobs_left_out},
        {"a table is dropped while nobody reads", dropped_while_away},
        {"two tables exchange their names", names_exchanged},
        {"types of one's own", types_of_ones_own},
    };
    static const char *const engines[] = {"postgresql"};
    return conform_run("definitions under PostgreSQL's stream", tests, sizeof tests / sizeof *tests, engines, 1);
}
