// The stream of changes of MySQL and MariaDB: every kind of change, positions and restarts, what the server does to its log.
#include <stdio.h>
#include <string.h>

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

static const struct conform_test tests[] = {
    {"changes", changes},
};

int
main(void)
{
    static const char *const engines[] = {"mysql"};
    return conform_run("mysql_stream", tests, sizeof tests / sizeof *tests, engines, 1);
}
