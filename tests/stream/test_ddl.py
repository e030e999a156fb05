"""Definitions that change under the stream: in commit order against the rows, across engines, whatever dies meanwhile."""

import signal

import pytest

from compare.compare import assert_equal
from harness.run import DONE, STOPPED, TABLE_ERROR
from stream import ledger
from traps import hold

PAIRS = [(s, t) for s in ("postgresql", "mysql") for t in ("postgresql", "mysql", "sqlite")]
pairs = pytest.mark.parametrize("pair", PAIRS, ids="-".join)
SAME = pytest.mark.parametrize("pair", [("postgresql", "postgresql"), ("mysql", "mysql")], ids="-".join)


def begin(world, pair, tables="%", name="t1"):
    """A table with rows, and the task that has loaded it."""
    source, target = world.pair(*pair)
    source.script(["CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b int)",
                   "INSERT INTO t VALUES (1, 'one', 10), (2, 'two', 20), (3, NULL, NULL)",
                   "CREATE TABLE other (id int PRIMARY KEY, v int)", "INSERT INTO other VALUES (1, 1)"])
    task = world.task(source, target, tables=tables, name=name)
    task.body["migration-type"] = "full-load-and-cdc"
    world.run(task, "--until", "load").expect(DONE)
    return source, target, task


def catch_up(world, task, code=DONE, **kw):
    return world.run(task, "--until", "caught-up", **kw).expect(code)


def columns(db, table):
    if db.engine == "sqlite":
        return [r[1] for r in db.execute(f"SELECT * FROM pragma_table_info('{table}')")]
    return [r[0] for r in db.execute("SELECT column_name FROM information_schema.columns WHERE table_name = '" + table + "' AND table_schema = "
                                     + ("current_schema()" if db.engine == "postgresql" else "database()") + " ORDER BY ordinal_position")]


def type_change(engine, column, kind):
    return f"ALTER TABLE t ALTER {column} TYPE {kind}" if engine == "postgresql" else f"ALTER TABLE t MODIFY {column} {kind}"


@pairs
def test_columns_come_and_go(world, pair):
    source, target, task = begin(world, pair)
    for step in ["INSERT INTO t VALUES (4, 'four', 40)", "ALTER TABLE t ADD COLUMN c int DEFAULT 7", "INSERT INTO t VALUES (5, 'five', 50, 500)",
                 "UPDATE t SET c = 8 WHERE id = 1", "ALTER TABLE t RENAME COLUMN a TO name", "UPDATE t SET name = 'ONE' WHERE id = 1",
                 "INSERT INTO t (id, name) VALUES (6, 'six')", "ALTER TABLE t DROP COLUMN b", "DELETE FROM t WHERE id = 2",
                 "INSERT INTO t VALUES (7, 'seven', 70)"]:
        source.execute(step)
        catch_up(world, task)
        assert_equal(source, target, tables=["t", "other"])
    assert columns(target, "t") == columns(source, "t") == ["id", "name", "c"]


@pairs
def test_many_changes_while_nobody_looks(world, pair):
    """The log holds rows of each shape."""
    source, target, task = begin(world, pair)
    source.script(["INSERT INTO t VALUES (4, 'four', 40)", "ALTER TABLE t ADD COLUMN c int", "INSERT INTO t VALUES (5, 'five', 50, 500)",
                   "ALTER TABLE t ADD COLUMN d varchar(10)", "INSERT INTO t VALUES (6, 'six', 60, 600, 'd6')",
                   "UPDATE t SET a = 'ONE', d = 'd1' WHERE id = 1", "DELETE FROM t WHERE id = 2", "INSERT INTO other VALUES (2, 2)"])
    catch_up(world, task)
    assert_equal(source, target, tables=["t", "other"])
    assert columns(target, "t") == ["id", "a", "b", "c", "d"]


@pairs
def test_a_longer_text(world, pair):
    source, target, task = begin(world, pair)
    source.execute(type_change(source.engine, "a", "varchar(200)"))
    source.execute("INSERT INTO t VALUES (4, '" + "x" * 150 + "', 40)")
    catch_up(world, task)
    assert_equal(source, target, tables=["t"])


def test_rows_before_and_behind_in_one_transaction(world):
    for target_engine in ("postgresql", "mysql", "sqlite"):
        source, target, task = begin(world, ("postgresql", target_engine), name=f"t_{target_engine}")
        source.script(["BEGIN", "INSERT INTO t VALUES (4, 'four', 40)", "UPDATE t SET b = 11 WHERE id = 1",
                       "ALTER TABLE t ADD COLUMN c int DEFAULT 7", "INSERT INTO t VALUES (5, 'five', 50, 500)", "ALTER TABLE t DROP COLUMN b",
                       "UPDATE t SET a = 'TWO' WHERE id = 2", "INSERT INTO t VALUES (6, 'six', 600)", "COMMIT",
                       "BEGIN", "SAVEPOINT s", "ALTER TABLE t ADD COLUMN gone int", "INSERT INTO t VALUES (9, 'nine', 900, 9)",
                       "ROLLBACK TO SAVEPOINT s", "INSERT INTO t VALUES (7, 'seven', 700)", "COMMIT"])
        catch_up(world, task)
        assert_equal(source, target, tables=["t", "other"])
        assert columns(target, "t") == ["id", "a", "c"]


@pairs
def test_tables_come_and_go(world, pair):
    source, target, task = begin(world, pair)
    source.script(["CREATE TABLE fresh (id int PRIMARY KEY, v varchar(20))", "INSERT INTO fresh VALUES (1, 'a'), (2, 'b')",
                   "UPDATE fresh SET v = 'c' WHERE id = 2", "INSERT INTO t VALUES (4, 'four', 40)"])
    catch_up(world, task)
    assert_equal(source, target, tables=["t", "other", "fresh"])
    source.script(["ALTER TABLE fresh RENAME TO renamed", "INSERT INTO renamed VALUES (3, 'd')"])
    catch_up(world, task)
    assert_equal(source, target, tables=["t", "other", "renamed"])
    assert "fresh" not in target.tables()
    source.script(["DROP TABLE renamed", "INSERT INTO t VALUES (5, 'five', 50)"])
    catch_up(world, task)
    assert "renamed" not in target.tables()
    # A name that was there before is another table.
    source.script(["CREATE TABLE renamed (id int PRIMARY KEY, other_shape int)", "INSERT INTO renamed VALUES (1, 1)"])
    catch_up(world, task)
    assert_equal(source, target, tables=["t", "other", "renamed"])


@SAME
def test_what_cannot_be_carried_suspends_the_table_alone(world, pair):
    source, target, task = begin(world, pair)
    source.script(["ALTER TABLE t ALTER b TYPE text USING (b * 2)::text" if pair[0] == "postgresql" else "ALTER TABLE t MODIFY b varchar(20)",
                   "UPDATE t SET a = 'ONE' WHERE id = 1", "INSERT INTO other VALUES (2, 2)"])
    r = catch_up(world, task, TABLE_ERROR)
    state = {t["TableName"]: t for t in r.json["tables"]}
    assert "b" in state["t"]["reason"] and not state["other"]["reason"]
    assert_equal(source, target, tables=["other"])
    source.execute("INSERT INTO other VALUES (3, 3)")
    catch_up(world, task, TABLE_ERROR)
    assert_equal(source, target, tables=["other"])


@SAME
def test_the_policies(world, pair):
    source, target, task = begin(world, pair)
    for key in ("HandleSourceTableDropped", "HandleSourceTableTruncated", "HandleSourceTableAltered"):
        task.setting("ChangeProcessingDdlHandlingPolicy", key, False)
    source.execute("TRUNCATE TABLE other")
    source.execute("INSERT INTO other VALUES (2, 2)")
    catch_up(world, task)
    assert sorted(target.execute("SELECT id FROM other")) == [(1,), (2,)]
    source.execute("DROP TABLE other")
    source.execute("INSERT INTO t VALUES (4, 'four', 40)")
    catch_up(world, task)
    assert sorted(target.execute("SELECT id FROM other")) == [(1,), (2,)] and target.count("t") == 4
    source.execute("ALTER TABLE t ADD COLUMN c int")
    source.execute("INSERT INTO t VALUES (5, 'five', 50, 500)")
    r = catch_up(world, task, TABLE_ERROR)
    assert "HandleSourceTableAltered" in r.stderr and target.count("t") == 4


@pytest.mark.parametrize("point", ["apply.altered", "apply.defined", "coordinator.altered"])
@pairs
def test_a_death_at_any_step_of_a_change(world, pair, point):
    source, target, task = begin(world, pair)
    once = world.folder / "once"
    once.mkdir()
    source.script(["INSERT INTO t VALUES (4, 'four', 40)", "ALTER TABLE t ADD COLUMN c int DEFAULT 7", "INSERT INTO t VALUES (5, 'five', 50, 500)",
                   "ALTER TABLE t RENAME COLUMN a TO name", "UPDATE t SET name = 'ONE' WHERE id = 1"])
    catch_up(world, task, env={"GODWIT_FAULT": f"{point}=kill@1", "GODWIT_FAULT_ONCE": str(once)})
    assert (once / point).exists(), f"{point} was not reached"
    assert_equal(source, target, tables=["t", "other"])
    assert columns(target, "t") == ["id", "name", "b", "c"]


def patiently(db, statement):
    """The writer takes the same rows in another order."""
    for _ in range(50):
        try:
            return db.execute(statement)
        except Exception as e:
            if "eadlock" not in str(e) and "Lock wait" not in str(e):
                raise
    raise AssertionError("a deadlock each time")


@SAME
def test_changes_under_load(world, pair):
    """Definitions change while rows are written, and the whole run is killed now and then."""
    source, target = world.pair(*pair)
    ledger.fill(source)
    task = world.task(source, target, tables=list(ledger.TABLES))
    task.body["migration-type"] = "full-load-and-cdc"
    writer = ledger.Writer(source, pause=0.002)
    writer.start()
    try:
        for i in range(4):
            run = world.start("run", task)
            assert run.wait_for_stderr("-> replicating", 60), run.stderr[-3000:]
            source.execute(f"ALTER TABLE accounts ADD COLUMN extra_{i} int DEFAULT {i}")
            patiently(source, f"UPDATE accounts SET extra_{i} = {i} + 100 WHERE id % 3 = {i % 3}")
            if i % 2:
                assert run.wait_for_stderr("-> altering", 30), run.stderr[-3000:]
                run.kill_all()
            else:
                ledger.wait_for(lambda: f"extra_{i}" in columns(target, "accounts") or not run.running(), 30)
                run.signal(signal.SIGTERM)
                run.wait(60).expect(STOPPED)
    finally:
        writer.stop()
    catch_up(world, task)
    assert_equal(source, target, tables=ledger.TABLES)


@SAME
def test_a_table_is_altered_while_it_is_loaded(world, pair):
    """Its chunks are of another definition: it is loaded anew, without being asked."""
    source, target = world.pair(*pair)
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v varchar(2000))"])
    source.insert("t", ["id", "v"], [(i, "x" * 1000) for i in range(500)])
    source.execute("ANALYZE t" if pair[0] == "postgresql" else "ANALYZE TABLE t")
    task = world.task(source, target).own("chunk-size-kb", 64)
    task.body["migration-type"] = "full-load-and-cdc"
    run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@3", "--until", "caught-up")
    hold.change(source, "ALTER TABLE t ADD COLUMN w int DEFAULT 5", "INSERT INTO t (id, w) VALUES (1000, 6)")
    hold.go_on(stopped)
    run.wait(60).expect(DONE)
    assert_equal(source, target, tables=["t"])
