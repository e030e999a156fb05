"""Load, then changes, end to end: every committed change once, in order, whatever dies; the target equals the source."""

import os
import random
import signal
import time

import pytest

from compare.compare import assert_equal
from harness.run import DONE, STOPPED, TABLE_ERROR
from stream import ledger
from traps import hold

PAIRS = [(s, t) for s in ("postgresql", "mysql") for t in ("postgresql", "mysql", "sqlite")]
pairs = pytest.mark.parametrize("pair", PAIRS, ids="-".join)
SECONDS = float(os.environ.get("GODWIT_TEST_KILL_SECONDS", "8"))


def task_of(world, source, target, kind="full-load-and-cdc"):
    task = world.task(source, target, tables=list(ledger.TABLES))
    task.body["migration-type"] = kind
    return task.own("chunk-size-kb", 16).own("batch-kb", 16)


def caught_up(world, task, *options, seconds=120, **kw):
    return world.run(task, "--until", "caught-up", *options, seconds=seconds, **kw).expect(DONE)


def check(world, source, target, task):
    caught_up(world, task)
    assert_equal(source, target, tables=ledger.TABLES)


@pairs
def test_load_then_changes(world, pair):
    source, target = world.pair(*pair)
    ledger.fill(source)
    task = task_of(world, source, target)
    world.run(task, "--until", "load").expect(DONE)
    ledger.write(source, 400)
    check(world, source, target, task)
    # The second run has nothing to do.
    check(world, source, target, task)
    ledger.write(source, 50)
    check(world, source, target, task)


@pairs
def test_writes_go_on_during_the_load_and_after_it(world, pair):
    source, target = world.pair(*pair)
    ledger.fill(source, 2000)
    task = task_of(world, source, target)
    writer = ledger.Writer(source)
    writer.start()
    run = world.start("run", task)
    assert run.wait_for_stderr("-> replicating", 60), run.stderr[-3000:]
    time.sleep(1)
    writer.stop()
    run.signal(signal.SIGTERM)
    run.wait(60).expect(STOPPED)
    check(world, source, target, task)


OPEN = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%%'",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx x JOIN information_schema.processlist p"
             " ON p.id = x.trx_mysql_thread_id WHERE p.db = database()",
}
ALONE = {"postgresql": "SET lock_timeout = '2s'", "mysql": "SET lock_wait_timeout = 2"}


@pytest.mark.parametrize("pair", [("postgresql", "postgresql"), ("mysql", "mysql")], ids="-".join)
def test_the_source_is_let_go_when_the_rows_are_read(world, pair):
    """A reader that sat on in its snapshot would keep TRUNCATE and ALTER waiting, and old rows from being cleaned up."""
    source, target = world.pair(*pair)
    ledger.fill(source)
    task = task_of(world, source, target)
    run = world.start("run", task)
    assert run.wait_for_stderr("-> replicating", 60), run.stderr[-3000:]
    c = source.connect()
    cursor = c.cursor()
    ledger.wait_for(lambda: source.one(OPEN[pair[0]]) == 0 or not run.running(), 10, 0.05)
    cursor.execute(ALONE[pair[0]])
    for table in ledger.TABLES:
        cursor.execute(f"ALTER TABLE {table} {'SET (fillfactor = 90)' if pair[0] == 'postgresql' else 'COMMENT = ' + repr('x')}")
        source.commit(c)
    c.close()
    run.signal(signal.SIGTERM)
    run.wait(60).expect(STOPPED)
    check(world, source, target, task)


@pairs
def test_random_kills(world, pair):
    """kill -9 of any worker or the coordinator, at any moment of load and stream, under writes."""
    source, target = world.pair(*pair)
    ledger.fill(source, 800)
    task = task_of(world, source, target)
    writer = ledger.Writer(source, pause=0.002)
    rnd = random.Random(writer.seed + 1)
    writer.start()
    run = world.start("run", task)
    end = time.monotonic() + SECONDS
    kills = 0
    while time.monotonic() < end and run.running():
        time.sleep(rnd.uniform(0.1, 0.8))
        lanes = run.children()
        if lanes:
            try:
                os.kill(lanes[rnd.choice(sorted(lanes))], signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                pass
    assert run.running(), run.wait(1).describe("ended by itself")
    writer.stop()
    run.kill_all()
    print(f"{kills} kills, {writer.transactions} transactions")
    check(world, source, target, task)


@pairs
def test_every_reader_dies_in_the_middle_of_the_load(world, pair):
    """The snapshot is lost with them: the rest is read in another one, and each change is applied where it was not seen."""
    source, target = world.pair(*pair)
    ledger.fill(source, 3000)
    task = task_of(world, source, target)
    writer = ledger.Writer(source)
    writer.start()
    run = world.start("run", task)
    for at in (4, 12):
        ledger.wait_for(lambda: run.stderr.count("chunk durable") >= at or not run.running(), 60, 0.005)
        for name, pid in run.children().items():
            if name.startswith("capture"):
                os.kill(pid, signal.SIGKILL)
    assert run.wait_for_stderr("-> replicating", 60), run.stderr[-3000:]
    time.sleep(0.5)
    writer.stop()
    run.signal(signal.SIGTERM)
    r = run.wait(60).expect(STOPPED)
    assert r.json["statistics"]["snapshots"] > 1
    check(world, source, target, task)


@pytest.mark.parametrize("pair", [("postgresql", "mysql"), ("mysql", "postgresql")], ids="-".join)
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_server_crashes_and_comes_back(world, pair, side):
    source, target = world.pair(*pair, durable=True)
    ledger.fill(source)
    task = task_of(world, source, target)
    run = world.start("run", task)
    assert run.wait_for_stderr("-> replicating", 60), run.stderr[-3000:]
    writer = ledger.Writer(source, pause=0.002)
    writer.start()
    time.sleep(1)
    server = (source if side == "source" else target).server
    if side == "source":
        writer.stop()
    server.crash()
    time.sleep(0.5)
    server.start()
    if side == "target":
        time.sleep(0.5)
        writer.stop()
    ledger.write(source, 50)
    time.sleep(1)
    assert run.running(), run.wait(1).describe("ended by itself")
    run.signal(signal.SIGTERM)
    run.wait(60).expect(STOPPED)
    check(world, source, target, task)


@pairs
def test_the_state_folder_is_lost(world, pair):
    source, target = world.pair(*pair)
    ledger.fill(source)
    task = task_of(world, source, target)
    world.run(task, "--until", "load").expect(DONE)
    ledger.write(source, 100)
    import shutil

    shutil.rmtree(task.state)
    check(world, source, target, task)


@pairs
def test_drop_leaves_nothing_behind(world, pair):
    source, target = world.pair(*pair)
    ledger.fill(source, 50)
    task = task_of(world, source, target)
    caught_up(world, task)
    world.godwit("drop", task, "--yes", json_report=False).expect(DONE)
    if source.engine == "postgresql":
        assert source.execute("SELECT slot_name FROM pg_replication_slots WHERE database = %s", [source.name]) == []
        assert source.execute("SELECT pubname FROM pg_publication") == []
    assert_equal(source, target, tables=ledger.TABLES)


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_changes_alone(world, engine):
    """Migration type cdc: the rows are there already, only what is committed from now on is carried."""
    source, target = world.pair(engine, engine)
    ledger.fill(source, 50)
    loaded = task_of(world, source, target, "full-load")
    world.run(loaded).expect(DONE)
    task = task_of(world, source, target, "cdc")
    caught_up(world, task)
    ledger.write(source, 100)
    check(world, source, target, task)


@pytest.mark.parametrize("pair", [("postgresql", "postgresql"), ("mysql", "mysql")], ids="-".join)
def test_a_table_is_emptied_between_two_of_its_chunks(world, pair):
    """A reader keeps no lock from chunk to chunk: whoever waits for it keeps everybody else waiting, other readers among them."""
    source, target = world.pair(*pair)
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v varchar(2000))",
                   "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
                   " SELECT i, repeat('x', 1500) FROM n", "ANALYZE t" if pair[0] == "postgresql" else "ANALYZE TABLE t"])
    task = world.task(source, target, tables="t").own("chunk-size-kb", 64)
    task.body["migration-type"] = "full-load-and-cdc"
    run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@3", "--until", "caught-up")
    assert target.count("t") > 0
    hold.change(source, "TRUNCATE TABLE t", "INSERT INTO t VALUES (5, 'afterwards')")
    hold.go_on(stopped)
    # Which chunk was read before and which behind it, a TRUNCATE cannot be told: the table is loaded anew.
    r = run.wait(60).expect(DONE)
    assert "truncated while" in r.stderr
    assert target.execute("SELECT id, v FROM t") == [(5, "afterwards")]


@pytest.mark.parametrize("pair", [("postgresql", "postgresql"), ("mysql", "mysql")], ids="-".join)
def test_a_suspended_table_is_loaded_anew(world, pair):
    source, target = world.pair(*pair)
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v varchar(20))", "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
                   "CREATE TABLE u (id int PRIMARY KEY)", "INSERT INTO u VALUES (1)"])
    task = world.task(source, target).setting("ErrorBehavior", "ApplyErrorUpdatePolicy", "SUSPEND_TABLE")
    task.body["migration-type"] = "full-load-and-cdc"
    world.run(task, "--until", "load").expect(DONE)
    target.execute("DELETE FROM t WHERE id = 2")
    source.execute("UPDATE t SET v = 'c' WHERE id = 2")
    source.execute("INSERT INTO u VALUES (2)")
    said = world.run(task, "--until", "caught-up", json_report=False).expect(TABLE_ERROR)
    assert f"godwit run {task.path} --reload" in said.stdout
    source.execute("INSERT INTO t VALUES (3, 'd')")
    world.run(task, "--until", "caught-up").expect(TABLE_ERROR)
    world.run(task, "--reload", "--until", "caught-up").expect(DONE)
    assert_equal(source, target, tables=["t", "u"])
    source.execute("INSERT INTO t VALUES (4, 'e')")
    world.run(task, "--reload", "--until", "caught-up").expect(DONE)  # nothing is suspended any more
    assert_equal(source, target, tables=["t", "u"])
