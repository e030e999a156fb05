"""The plan that is in memory, the plan that the target holds, and the rows that neither has."""

import shutil
import signal

import pytest

from compare.compare import assert_equal
from harness import control
from harness.run import DONE, TABLE_ERROR
from traps import hold

engines = pytest.mark.parametrize("engine", hold.ENGINES)
servers = pytest.mark.parametrize("engine", ["postgresql", "mysql"])


def keyed(world, engine, rows=2000, first=1000):
    """A table of several chunks of 16 kB; keys begin at `first`, so that rows can come below and beyond."""
    source, target = world.pair(engine, engine)
    if engine == "sqlite":
        source.execute("PRAGMA journal_mode = wal")
    source.execute("CREATE TABLE t (id int PRIMARY KEY, a varchar(300))")
    source.insert("t", ["id", "a"], [[i, "x" * 250] for i in range(first, first + rows)])
    analyze(source)
    return source, target


def analyze(source):
    source.execute({"postgresql": "VACUUM ANALYZE t", "mysql": "ANALYZE TABLE t", "sqlite": "ANALYZE"}[source.engine])


def task_of(world, source, target, **kw):
    task = world.task(source, target, tables="t", **kw).prep("DROP_AND_CREATE")
    return task.own("chunk-size-kb", 64)


def more(source, *ranges):
    for r in ranges:
        source.insert("t", ["id", "a"], [[i, "new"] for i in r])


@engines
@pytest.mark.parametrize("point", ["coordinator.registered=stop@1", "apply.after_claim=stop@1"], ids=["registered", "claimed"])
def test_rows_outside_the_planned_bounds(world, engine, point):
    """A killed run's plan ends at the least and the greatest key of its snapshot. The next run reads under a new one: rows
    below and beyond are of that snapshot, and no stream brings them."""
    source, target = keyed(world, engine)
    task = task_of(world, source, target)
    run, _ = hold.start_stopping(world, task, point, once=world.folder / "once")
    run.kill_all()
    more(source, range(1, 50), range(5000, 5500))
    r = hold.loaded(world, task, source, target, tables=["t"])
    assert r.table("t")["FullLoadRows"] == source.count("t")


@engines
def test_rows_outside_the_planned_bounds_of_a_kept_plan(world, engine):
    """Some chunks are durable: the plan stays, and the last of its chunks takes what came beyond it meanwhile."""
    source, target = keyed(world, engine)
    task = task_of(world, source, target)
    run, _ = hold.start_stopping(world, task, "apply.after_claim=stop@3", once=world.folder / "once")
    run.kill_all()
    assert [c for c in control.chunks(target, task).values() if c[0] == 1], "no chunk was durable"
    more(source, range(5000, 5500))
    r = hold.loaded(world, task, source, target, tables=["t"])
    stats = r.json["statistics"]
    # SQLite starts the table over: its rows are of the second snapshot alone.
    assert stats["one_point_in_time"] is (engine == "sqlite"), "two snapshots were read"


@servers
def test_the_source_restarts_behind_the_plan(world, engine):
    """The run goes on by itself, with a new snapshot and the chunks of the old one."""
    source, target = keyed(world, engine)
    task = task_of(world, source, target)
    run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@1", once=world.folder / "once")
    more(source, range(1, 50), range(5000, 5500))
    hold.kill_lanes(run, "capture")
    hold.go_on(stopped)
    r = run.wait(60).expect(DONE)
    assert_equal(source, target, tables=["t"])
    assert r.json["statistics"]["one_point_in_time"] is (r.json["statistics"]["snapshots"] == 1)


def text_key(world):
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE t (id text PRIMARY KEY, a text)",
                   "INSERT INTO t SELECT 'k' || lpad(i::text, 8, '0'), repeat('x', 250) FROM generate_series(1, 2000) i", "VACUUM ANALYZE t"])
    return source, target


def test_rows_outside_the_planned_bounds_of_a_text_key(world):
    source, target = text_key(world)
    task = task_of(world, source, target)
    run, _ = hold.start_stopping(world, task, "apply.after_claim=stop@1", once=world.folder / "once")
    run.kill_all()
    source.script(["INSERT INTO t VALUES ('a', 'less'), ('z', 'more'), ('', 'least')"])
    hold.loaded(world, task, source, target, tables=["t"])


def keyless(world, engine, rows=3000):
    source, target = world.pair(engine, engine)
    if engine == "sqlite":
        source.execute("PRAGMA journal_mode = wal")
    source.execute("CREATE TABLE t (id int, a varchar(300))")
    source.insert("t", ["id", "a"], [[i, "x" * 250] for i in range(rows)])
    analyze(source)
    return source, target


@pytest.mark.parametrize("engine, at", [("postgresql", 1), ("postgresql", 3), ("mysql", 1), ("sqlite", 1), ("sqlite", 3)])
def test_a_keyless_table_starts_over_under_a_new_snapshot(world, engine, at):
    """Blocks hold other rows under another snapshot: chunks of two snapshots are never mixed."""
    source, target = keyless(world, engine)
    task = task_of(world, source, target)
    run, _ = hold.start_stopping(world, task, f"apply.after_claim=stop@{at}", once=world.folder / "once")
    run.kill_all()
    source.execute("DELETE FROM t WHERE id % 3 = 0")
    source.execute("UPDATE t SET a = 'moved' WHERE id % 3 = 1")
    more(source, range(9000, 9400))
    if engine == "postgresql":
        source.execute("VACUUM FULL t")
    r = hold.loaded(world, task, source, target, tables=["t"])
    assert r.table("t")["FullLoadRows"] == source.count("t")


# ---- which plan is in force


@servers
def test_a_coordinator_dies_while_it_registers(world, engine):
    """Its successor finds no task, plans anew under a new snapshot, and meets the first plan registered meanwhile: what is
    in memory must not be loaded under the stored numbers."""
    source, target = keyed(world, engine)
    task = task_of(world, source, target)
    run, stopped = hold.start_stopping(world, task, "apply.register.before_commit=stop@1", workers=2, once=world.folder / "once")
    more(source, range(1, 900), range(3500, 6000))
    hold.kill_lanes(run, "coordinator")
    hold.wait_for_count(run, "-> registering", 2)
    hold.go_on(stopped)
    run.wait(90).expect(DONE)
    assert_equal(source, target, tables=["t"])
    assert all(c[0] == 1 for c in control.chunks(target, task).values())
    assert world.run(task).expect(DONE).json["already_complete"] is True


@servers
@pytest.mark.parametrize("point", ["apply.register.before_commit", "apply.register.after_commit"])
def test_the_run_dies_while_it_registers(world, engine, point):
    source, target = keyed(world, engine)
    task = task_of(world, source, target)
    run, _ = hold.start_stopping(world, task, f"{point}=stop@1", workers=2, once=world.folder / "once")
    run.kill_all()
    more(source, range(1, 900), range(3500, 6000))
    hold.loaded(world, task, source, target, tables=["t"])


@engines
def test_the_target_goes_back(world, engine):
    """A target that failed over to a replica, or was restored, lacks its last commits. A table counts as loaded by what the
    target's chunks say, not by what the coordinator remembers."""
    source, target = keyed(world, engine)
    task = task_of(world, source, target)
    run, stopped = hold.start_stopping(world, task, "apply.after_commit=stop@3", once=world.folder / "once")
    undo_last_chunk(target, task)
    hold.go_on(stopped)
    r = run.wait(60)
    hold.equal_or_refused(r, source, target, "chunk|plan|target", tables=["t"])
    hold.loaded(world, task, source, target, tables=["t"])
    assert all(c[0] == 1 for c in control.chunks(target, task).values())


def undo_last_chunk(target, task):
    """As if the transaction of one durable chunk had never been. Chunks of a key follow each other by number."""
    chunks = sorted((no, c) for (_, no), c in control.chunks(target, task).items() if c[0] == 1)
    assert len(chunks) >= 2
    no, last = chunks[-1]
    ids = [r[0] for r in target.execute("SELECT id FROM t ORDER BY id")]
    gone = ids[sum(c[2] for _, c in chunks[:-1]):]
    assert len(gone) == last[2] > 0
    target.execute(f"DELETE FROM t WHERE id >= {gone[0]}")
    target.execute(f"UPDATE {control.control_table(target, 'chunks')} SET state = 0, rows_written = 0"
                   f" WHERE task = '{task.name}' AND no = {no}")


@engines
def test_the_target_goes_back_behind_the_end(world, engine):
    """The control rows say that a chunk is open: a table is not complete because a table row says so."""
    source, target = keyed(world, engine)
    source.execute("CREATE INDEX t_a ON t (a)")
    task = task_of(world, source, target)
    run, _ = hold.start_stopping(world, task, "apply.finish.after_step=stop@1", once=world.folder / "once")
    run.kill_all()
    undo_last_chunk(target, task)
    r = world.run(task)
    # Rows are missing that a table-level record calls loaded: whoever notices says so, or loads them.
    hold.equal_or_refused(r, source, target, "chunk|plan|loaded", tables=["t"])


@servers
@pytest.mark.parametrize("prep", ["DO_NOTHING", "TRUNCATE_BEFORE_LOAD", "DROP_AND_CREATE"])
def test_a_commit_that_comes_late(world, engine, prep):
    """A table that must start over is replaced while one of its loaders is about to commit. Those rows are neither kept
    beside the new ones nor taken for rows that were there before the task."""
    source, target = keyless(world, engine)
    task = task_of(world, source, target).prep(prep)
    run, stopped = hold.start_stopping(world, task, "apply.before_commit=stop@1", workers=3, once=world.folder / "once")
    hold.kill_lanes(run, "capture")
    # The replacement waits for the loader's rows in the control tables.
    try:
        hold.wait_until("the replacement waits", 8, lambda: waits_for_rows(target), run.running)
    except TimeoutError:
        pass  # an engine need not wait
    hold.go_on(stopped)
    r = run.wait(90)
    hold.equal_or_refused(r, source, target, "rows|generation|chunk", tables=["t"])
    if r.code == TABLE_ERROR:
        hold.loaded(world, task.prep("TRUNCATE_BEFORE_LOAD"), source, target, tables=["t"])


def waits_for_rows(db):
    if db.engine == "postgresql":
        return db.one(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{db.name}' AND wait_event_type = 'Lock'")
    return db.one("SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")


# ---- whose source it is


@servers
def test_another_source_under_the_same_address(world, engine):
    """The database was dropped and made again between two runs: the durable chunks are of rows that nobody has any more."""
    source, target = keyed(world, engine)
    task = task_of(world, source, target)
    run, _ = hold.start_stopping(world, task, "apply.after_claim=stop@3", once=world.folder / "once")
    run.kill_all()
    c = source.server.connect()
    q = c.cursor()
    q.execute(f"DROP DATABASE {source.quote(source.name)}")
    q.execute(f"CREATE DATABASE {source.quote(source.name)}")
    c.close()
    source.execute("CREATE TABLE t (id int PRIMARY KEY, a varchar(300))")
    source.insert("t", ["id", "a"], [[i, "another"] for i in range(1000, 3000)])
    r = world.run(task)
    if engine == "postgresql":
        hold.equal_or_refused(r, source, target, "source|changed|definition", tables=["t"])
    else:
        # A MySQL database has no identity: to the reader all rows have changed, and the report says what that means.
        assert r.expect(DONE).json["statistics"]["one_point_in_time"] is False
        assert target.count("t") == 2000


@engines
def test_the_state_folder_of_another_plan(world, engine):
    """The state folder was restored from before a --fresh run: the target's word counts."""
    source, target = keyed(world, engine)
    task = task_of(world, source, target)
    run, _ = hold.start_stopping(world, task, "apply.after_claim=stop@2", once=world.folder / "once")
    run.kill_all()
    shutil.copytree(task.state, world.folder / "old")
    more(source, range(1, 100))
    run, _ = hold.start_stopping(world, task, "apply.after_claim=stop@3", "--fresh", once=world.folder / "once2")
    run.kill_all()
    shutil.rmtree(task.state)
    shutil.copytree(world.folder / "old", task.state)
    r = world.run(task)
    if not hold.equal_or_refused(r, source, target, "another|other|uuid|task", tables=["t"]):
        shutil.rmtree(task.state)
        hold.loaded(world, task, source, target, tables=["t"])


@engines
def test_a_signal_while_registered(world, engine):
    """An operator's stop in the worst moment, and the same command again, with rows in between."""
    source, target = keyed(world, engine)
    task = task_of(world, source, target)
    run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@1", once=world.folder / "once")
    run.signal(signal.SIGTERM)
    hold.go_on(stopped)
    run.wait(60)
    more(source, range(1, 50), range(5000, 5100))
    r = world.run(task).expect(DONE)
    if not r.json["already_complete"]:
        assert target.count("t") >= 2000
        assert {r[0] for r in target.execute("SELECT id FROM t")} >= set(range(1000, 3000)) | set(range(5000, 5100))
