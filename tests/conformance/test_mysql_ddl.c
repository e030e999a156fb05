// The stream of changes of MySQL and MariaDB: tables that are altered, renamed, dropped, replaced.
#include <stdio.h>
#include <string.h>

#include "mysql_stream.h"

static void
definitions(void **state)
{
    static const struct {
        const char *sql, *why; // why: NULL = goes on
    } cases[] = {
        {"ALTER TABLE t ADD INDEX (v)", NULL},
        {"ALTER TABLE `t` COMMENT 'a, b', ADD UNIQUE KEY (v, id), AUTO_INCREMENT = 100", NULL},
        {"CREATE INDEX i2 ON t (v)", NULL},
        {"DROP INDEX i2 ON t", NULL},
        {"OPTIMIZE TABLE t", NULL},
        {"ANALYZE TABLE t", NULL},
        {"ALTER TABLE t FORCE", NULL},
        {"ALTER TABLE t ENGINE=InnoDB", NULL},
        {"CREATE TABLE copy SELECT * FROM t", NULL},
        {"CREATE TABLE IF NOT EXISTS t (id int)", NULL},
        {"CREATE TEMPORARY TABLE other (id int)", NULL},
        {"DROP TEMPORARY TABLE other", NULL},
        {"CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.v = NEW.v", NULL},
        {"RENAME TABLE copy TO copy2", NULL},
        {"DROP TABLE copy2", NULL},
        {"ALTER TABLE t ADD COLUMN w int", "A t -> t(id, v, w<)\n"},
        {"ALTER TABLE t WAIT 5 ADD COLUMN w int", "A t -> t(id, v, w<)\n"},
        {"ALTER TABLE t NOWAIT RENAME TO t2", "A t -> t2(id, v)\n"},
        {"ALTER TABLE t ADD w int NOT NULL FIRST, ADD COLUMN (x varchar(9) DEFAULT 'a,b', y int DEFAULT -7) ",
         "A t -> t(w<+0, id, v, x<+a,b, y<+-7)\n"},
        {"ALTER TABLE t ADD COLUMN IF NOT EXISTS w decimal(9,2) DEFAULT 1.50 COMMENT 'x' AFTER id",
         "A t -> t(id, w<+1.50, v)\n"},
        {"ALTER TABLE t MODIFY v varchar(30)", "A t -> t(id, v)\n"},
        {"ALTER TABLE t CHANGE v `w ``x` varchar(30) FIRST", "A t -> t(w `x<v, id)\n"},
        {"ALTER TABLE t RENAME COLUMN v TO w, ADD COLUMN v int", "A t -> t(id, w<v, v<)\n"},
        {"ALTER TABLE t RENAME COLUMN v TO w; ALTER TABLE t DROP COLUMN w", "A t -> t(id, w<v)\n"},
        {"ALTER TABLE t DROP v, ADD KEY (id)", "A t -> t(id)\n"},
        {"ALTER TABLE t RENAME TO t2", "A t -> t2(id, v)\n"},
        {"RENAME TABLE other TO o2, t TO t2", "A t -> t2(id, v)\n"},
        {"CREATE TABLE t3 (id int PRIMARY KEY, w int DEFAULT 3)", "A  -> t3(id<, w<)\n"},
        {"RENAME TABLE other TO t3", "A other -> t3(id)\n"},
        {"DROP TABLE t", "A t -> ()\n"},
        {"DROP /* a */ TABLE IF EXISTS `nothing`, -- b\n `gwconf_stream` . `t`", "A t -> ()\n"},
        {"DROP DATABASE gwconf_stream; CREATE DATABASE gwconf_stream; USE gwconf_stream", "A t -> ()\n"},
        // What cannot be told.
        {"ALTER TABLE t ADD COLUMN w int; ALTER TABLE t DROP COLUMN w", "column \"w\" has been altered again since"},
        {"ALTER TABLE t ADD COLUMN w datetime DEFAULT CURRENT_TIMESTAMP", "values that the log does not have"},
        {"ALTER TABLE t ADD COLUMN w int DEFAULT 5; ALTER TABLE t ALTER w SET DEFAULT 6",
         "which is not its default now"},
        {"ALTER TABLE t ADD COLUMN w datetime NOT NULL", "came without a default"},
        {"ALTER TABLE t DROP COLUMN v, ADD COLUMN v varchar(20)", "A t -> t(id, v<)\n"},
        {"ALTER TABLE t CONVERT TO CHARACTER SET latin1", "rows without a trace"},
        {"ALTER TABLE t DROP PRIMARY KEY", "rows without a trace"},
        {"ALTER TABLE t DROP INDEX IF EXISTS `PRIMARY`", "R t it was altered"},
        {"ALTER IGNORE TABLE t ADD UNIQUE (v)", "rows without a trace"},
        {"ALTER TABLE t RENAME TO gone", "do not include its new name"},
        {"CREATE TABLE n (id int PRIMARY KEY, v varchar(20)); RENAME TABLE t TO o, n TO t", "has taken its place"},
        {"CREATE OR REPLACE TABLE t (id int PRIMARY KEY, v varchar(20))", "has taken its place"},
    };
    struct log_fixture f = log_start(state);
    Gw__SelectionRule *rule = gw_pb_new(&f.c->arena, Gw__SelectionRule, gw__selection_rule__init);
    rule->schema = gw_arena_strdup(&f.c->arena, "gwconf_stream");
    rule->table = gw_arena_strdup(&f.c->arena, "t%");
    gw_pb_add(&f.c->arena, f.c->task, selection, rule);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (i == 0 || cases[i].why) {
            log_run(&f, "DROP DATABASE gwconf_stream");
            log_run(&f, "CREATE DATABASE gwconf_stream CHARACTER SET utf8mb4");
            log_run(&f, "USE gwconf_stream");
            log_run(&f, "CREATE TABLE t (id int PRIMARY KEY, v varchar(20))");
            log_run(&f, "CREATE TABLE other (id int PRIMARY KEY)");
            if (f.self) {
                conform_close_source(f.c, &f.self);
            }
            log_begin(&f);
        }
        char sql[300], *rest = sql;
        snprintf(sql, sizeof sql, "%s", cases[i].sql);
        for (char *one; (one = strsep(&rest, ";"));) {
            log_run(&f, "%s", one);
        }
        if (cases[i].why) {
            log_catch_up(&f);
            if (!f.lines.len || !strstr(f.lines.data, cases[i].why)) {
                fail_msg("after %s: %s", cases[i].sql, f.lines.len ? f.lines.data : "nothing");
            }
            log_forget(&f);
            continue;
        }
        log_run(&f, "REPLACE INTO t VALUES (%zu, 'x%zu')", i, i);
        log_catch_up(&f);
        if (!f.lines.len || !strstr(f.lines.data, "I t ") || strstr(f.lines.data, "S ")) {
            fail_msg("after %s: %s", cases[i].sql, f.lines.data);
        }
        log_forget(&f);
    }
    log_end(&f);
}

// Behind it, the log has rows of the new shape; what it had before is not looked at again.
static void
altered_and_read_again(void **state)
{
    struct log_fixture f = log_start(state);
    log_run(&f, "CREATE TABLE t (id int PRIMARY KEY, v varchar(20))");
    log_begin(&f);
    log_run(&f, "INSERT INTO t VALUES (1, 'a')");
    log_is(&f, "B\nI t 1|a\nC\n");
    const char *before = f.last;
    log_run(&f, "ALTER TABLE t ADD COLUMN w int DEFAULT 7 FIRST");
    log_run(&f, "INSERT INTO t VALUES (8, 2, 'b')");
    log_run(&f, "ALTER TABLE t RENAME COLUMN v TO name");
    log_run(&f, "UPDATE t SET name = 'c' WHERE id = 1");
    log_is(&f, "A t -> t(w<+7, id, v)\n");
    log_again(&f, before);
    log_is(&f, "B\nI t 8|2|b\nC\nA t -> t(w, id, name<v)\n");
    log_again(&f, before); // as if nothing of it was durable: the first change is old by now
    log_catch_up(&f);
    assert_non_null(strstr(f.lines.data, "U t 7|1|"));
    log_end(&f);
}

// What the table map says is enough, whatever statement it was.
static void
definitions_by_map(void **state)
{
    struct log_fixture f = log_start(state);
    log_run(&f, "CREATE TABLE t (id int PRIMARY KEY, v varchar(20), e enum('a','b'), w int)");
    log_begin(&f);
    static const char *const ddl[] = {"ADD COLUMN x int",       "CHANGE v w2 varchar(20)",
                                      "MODIFY v varchar(21)",   "MODIFY w int unsigned",
                                      "MODIFY e enum('a','c')", "MODIFY v varchar(20) CHARACTER SET latin1",
                                      "MODIFY w bigint",        "DROP COLUMN w"};
    for (size_t i = 0; i < sizeof ddl / sizeof *ddl; i++) {
        // Behind the back of the log.
        log_run(&f, "SET SESSION sql_log_bin = 0");
        log_run(&f, "ALTER TABLE t %s", ddl[i]);
        log_run(&f, "SET SESSION sql_log_bin = 1");
        log_run(&f, "INSERT INTO t (id) VALUES (%zu)", i + 100);
        assert_true(log_suspends(&f, "t", "definition has changed"));
        log_run(&f, "DROP TABLE t");
        log_run(&f, "CREATE TABLE t (id int PRIMARY KEY, v varchar(20), e enum('a','b'), w int)");
        conform_close_source(f.c, &f.self);
        log_begin(&f);
        log_run(&f, "INSERT INTO t VALUES (1, 'v', 'a', 1)");
        log_is(&f, "B\nI t 1|v|a|1\nC\n");
    }
    log_end(&f);
}

static const struct conform_test tests[] = {
    {"definitions change", definitions},
    {"a table is altered, and read again", altered_and_read_again},
    {"definitions change behind the log's back", definitions_by_map},
};

int
main(void)
{
    static const char *const engines[] = {"mysql"};
    return conform_run("mysql_ddl", tests, sizeof tests / sizeof *tests, engines, 1);
}
