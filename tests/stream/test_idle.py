"""A source that keeps its log for a task has to be let go of it, even if the task's tables are at rest."""

import signal

from harness.run import STOPPED
from stream import ledger

BEHIND = "SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots WHERE database = current_database()"


def test_the_slot_advances_while_others_write(world):
    source, target = world.pair("postgresql", "postgresql")
    other = world.database("postgresql", prefix="other")
    assert other.server is source.server
    source.script(["CREATE TABLE quiet (id int PRIMARY KEY)", "INSERT INTO quiet VALUES (1)"])
    other.script(["CREATE TABLE busy (v text)"])
    task = world.task(source, target, tables=["quiet"])
    task.body["migration-type"] = "full-load-and-cdc"
    run = world.start("run", task)
    assert run.wait_for_stderr("-> replicating", 60), run.stderr[-3000:]
    written = 40_000_000
    before = source.one("SELECT pg_current_wal_lsn()")
    other.execute("INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 40000)")
    assert source.one(f"SELECT pg_current_wal_lsn() - '{before}'") > written
    ledger.wait_for(lambda: source.one(BEHIND) < 1_000_000 or not run.running(), 60, 0.2)
    assert run.running(), run.wait(1).describe("ended by itself")
    run.signal(signal.SIGTERM)
    run.wait(60).expect(STOPPED)
