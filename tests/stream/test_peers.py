"""Each of these was a bug of a known tool. Numbers: 1 a late commit, 3 a log that is another one, 7 a tail that grows, 9 values that the log
leaves out, 10 one poisoned table, 13 columns that move. Elsewhere: kills at every step (crash/test_points.py), the snapshot's holder
(test_stream.py), unique values handed on (ledger.py), idle tables (test_idle.py), large transactions (test_memory.py), links of
10 ms (bench/streams.py)."""

import signal

import pytest

from compare.compare import assert_equal
from harness.run import DONE, STOPPED, TABLE_ERROR, USAGE
from stream import ledger
from traps import hold

PAIRS = [(s, t) for s in ("postgresql", "mysql") for t in ("postgresql", "mysql", "sqlite")]
pairs = pytest.mark.parametrize("pair", PAIRS, ids="-".join)
SAME = pytest.mark.parametrize("pair", [("postgresql", "postgresql"), ("mysql", "mysql")], ids="-".join)


def task_of(world, source, target, **kw):
    task = world.task(source, target, **kw)
    task.body["migration-type"] = "full-load-and-cdc"
    return task


def manual(db):
    c = db.connect()
    if db.engine == "postgresql":
        c.autocommit = False
    else:
        c.autocommit(False)
    return c


@pairs
def test_1_a_transaction_that_begins_first_and_commits_last(world, pair):
    source, target = world.pair(*pair)
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v varchar(20))", "INSERT INTO t VALUES (1, 'a')"])
    c = manual(source)
    c.cursor().execute("INSERT INTO t VALUES (100, 'early')")
    c.cursor().execute("UPDATE t SET v = 'late' WHERE id = 1")
    task = task_of(world, source, target)
    if pair[0] == "mysql":  # PostgreSQL's slot waits for transactions that were there before it
        world.run(task, "--until", "load").expect(DONE)
    else:
        run = world.start("run", task)
        ledger.wait_for(lambda: source.one("SELECT count(*) FROM pg_replication_slots") or not run.running(), 30)
        c.commit()
        c = manual(source)
        c.cursor().execute("INSERT INTO t VALUES (101, 'early')")
        assert run.wait_for_stderr("-> replicating", 60), run.stderr[-3000:]
        run.kill_all()
    for i in range(3):  # others come and go, and so does the run
        source.execute(f"INSERT INTO t VALUES ({i + 10}, 'between')")
        world.run(task, "--until", "caught-up").expect(DONE)
    c.commit()
    source.execute("INSERT INTO t VALUES (20, 'behind')")
    world.run(task, "--until", "caught-up").expect(DONE)
    assert_equal(source, target, tables=["t"])
    c.close()


@pytest.mark.parametrize("how", ["dropped", "made anew"])
def test_3_the_slot_is_another_one(world, how):
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)"])
    task = task_of(world, source, target)
    world.run(task, "--until", "load").expect(DONE)
    slot = source.one("SELECT slot_name FROM pg_replication_slots")
    source.execute("INSERT INTO t VALUES (2)")
    source.execute(f"SELECT pg_drop_replication_slot('{slot}')")
    if how == "made anew":
        source.execute("INSERT INTO t VALUES (3)")
        source.execute(f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
    source.execute("INSERT INTO t VALUES (4)")
    r = world.run(task, "--until", "caught-up").expect(USAGE)
    assert slot in r.stderr and "--fresh" in r.stderr
    assert target.count("t") == 1  # nothing was skipped
    task.prep("TRUNCATE_BEFORE_LOAD")
    world.run(task, "--fresh", "--until", "caught-up").expect(DONE)
    assert_equal(source, target, tables=["t"])


@pytest.mark.parametrize("how", ["RESET MASTER", "purged"])
def test_3_the_log_is_another_one(world, how):
    source, target = world.pair("mysql", "mysql")
    source.script(["CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)"])
    task = task_of(world, source, target)
    world.run(task, "--until", "load").expect(DONE)
    source.execute("INSERT INTO t VALUES (2)")
    if how == "RESET MASTER":
        source.execute("RESET MASTER")
    else:
        for _ in range(3):
            source.execute("FLUSH BINARY LOGS")
        last = source.execute("SHOW MASTER STATUS")[0][0]
        ledger.wait_for(lambda: source.execute(f"PURGE BINARY LOGS TO '{last}'") is None or len(source.execute("SHOW BINARY LOGS")) == 1, 30)
    source.execute("INSERT INTO t VALUES (3)")
    r = world.run(task, "--until", "caught-up").expect(USAGE)
    assert "mysql-bin" in r.stderr and "--fresh" in r.stderr, r.stderr
    assert target.count("t") == 1


@SAME
def test_7_rows_at_the_tail_while_it_is_loaded(world, pair):
    """The last chunk ends where the plan saw the end: what comes behind is the stream's."""
    source, target = world.pair(*pair)
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v varchar(2000))"])
    source.insert("t", ["id", "v"], [(i, "x" * 1000) for i in range(500)])
    source.execute("ANALYZE t" if pair[0] == "postgresql" else "ANALYZE TABLE t")
    task = task_of(world, source, target).own("chunk-size-kb", 64)
    run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@1", "--until", "caught-up")
    source.insert("t", ["id", "v"], [(i, "y" * 1000) for i in range(1000, 6000)])
    hold.go_on(stopped)
    r = run.wait(60).expect(DONE)
    assert r.json["tables"][0]["FullLoadRows"] == 500
    assert_equal(source, target, tables=["t"])


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
@pytest.mark.parametrize("target_engine", ["postgresql", "mysql", "sqlite"])
def test_9_values_that_the_log_leaves_out(world, target_engine, identity):
    """A wide value that did not change is not in PostgreSQL's log, whatever else changed in its row."""
    source, target = world.pair("postgresql", target_engine)
    source.script(["CREATE TABLE t (id int PRIMARY KEY, wide text, n int)", f"ALTER TABLE t REPLICA IDENTITY {identity}",
                   "ALTER TABLE t ALTER wide SET STORAGE EXTERNAL",
                   "INSERT INTO t SELECT i, repeat(chr(96 + i), 9000), i FROM generate_series(1, 5) i"])
    task = task_of(world, source, target).setting("ErrorBehavior", "ApplyErrorUpdatePolicy", "LOG_ERROR")
    world.run(task, "--until", "load").expect(DONE)
    source.script(["UPDATE t SET n = 10 WHERE id = 1", "UPDATE t SET id = 20 WHERE id = 2", "UPDATE t SET id = 30, n = 3 WHERE id = 3",
                   "BEGIN", "UPDATE t SET id = 40 WHERE id = 4", "UPDATE t SET n = 44 WHERE id = 40", "UPDATE t SET id = 4 WHERE id = 40", "COMMIT"])
    world.run(task, "--until", "caught-up").expect(DONE)
    assert_equal(source, target, tables=["t"])
    # A row that is missing cannot be made of what the log has: it is said, and not half made.
    target.execute("DELETE FROM t WHERE id = 5")
    source.execute("UPDATE t SET n = 50 WHERE id = 5")
    r = world.run(task, "--until", "caught-up")
    assert r.json["stream"]["refused"] == 1
    assert target.execute("SELECT wide FROM t WHERE id = 5") in ([], [("e" * 9000,)])


@SAME
def test_10_one_poisoned_table(world, pair):
    source, target = world.pair(*pair)
    source.script(["CREATE TABLE bad (id int PRIMARY KEY, v int)", "INSERT INTO bad VALUES (1, 1)",
                   "CREATE TABLE good (id int PRIMARY KEY)", "INSERT INTO good VALUES (1)"])
    task = task_of(world, source, target).setting("ErrorBehavior", "DataErrorPolicy", "SUSPEND_TABLE")
    world.run(task, "--until", "load").expect(DONE)
    target.execute("ALTER TABLE bad ADD CONSTRAINT poison CHECK (v < 100)")
    run = world.start("run", task)
    assert run.wait_for_stderr("-> replicating", 60), run.stderr[-3000:]
    for i in range(2, 40):
        source.execute(f"INSERT INTO bad VALUES ({i}, {i * 10})")
        source.execute(f"INSERT INTO good VALUES ({i})")
    ledger.wait_for(lambda: target.count("good") == 39 or not run.running(), 20)
    run.signal(signal.SIGTERM)
    run.wait(60).expect(STOPPED, TABLE_ERROR)
    assert_equal(source, target, tables=["good"])


@pairs
def test_13_columns_move_between_transactions(world, pair):
    source, target = world.pair(*pair)
    source.script(["CREATE TABLE t (id int PRIMARY KEY, a int)", "INSERT INTO t VALUES (1, 1)"])
    task = task_of(world, source, target)
    world.run(task, "--until", "load").expect(DONE)
    source.execute("INSERT INTO t VALUES (2, 2)")
    source.execute("ALTER TABLE t ADD COLUMN c varchar(10)" + (" FIRST" if pair[0] == "mysql" else ""))
    source.execute("INSERT INTO t (id, a, c) VALUES (3, 3, 'c')")
    source.execute("ALTER TABLE t ALTER c TYPE varchar(50)" if pair[0] == "postgresql" else "ALTER TABLE t MODIFY c varchar(50)")
    source.execute("INSERT INTO t (id, a, c) VALUES (4, 4, 'a text of more than ten')")
    world.run(task, "--until", "caught-up").expect(DONE)
    assert sorted(target.execute("SELECT id, a, c FROM t")) == sorted(source.execute("SELECT id, a, c FROM t"))
