"""A process that hangs for ever is no better than one that died: the load completes by itself. One that works for long is let be."""

import os
import signal

import pytest

from compare.compare import assert_equal
from harness import shop
from harness.run import DONE
from traps import hold

POINTS = {"capture": "capture.chunk.read=stop@3", "transform": "transform.forward=stop@3", "apply": "apply.before_commit=stop@3",
          "coordinator": "coordinator.after_assign=stop@3"}
# The lease, the next heartbeat, the restart, and what a slow machine adds.
SECONDS = 45


def restarts(r):
    return {w["name"]: w["restarts"] for w in r.json["workers"] if w["restarts"]}


@pytest.mark.parametrize("engine, stage", [("postgresql", s) for s in POINTS] + [("mysql", "apply"), ("sqlite", "apply"), ("mysql", "capture")])
def test_a_load_completes_with_a_process_stopped_for_ever(world, engine, stage):
    """With one worker a stage, nobody else can take the work."""
    source, target = world.pair(engine, engine)
    shop.fill(source, 300)
    task = world.task(source, target).own("chunk-size-kb", 16)
    run, stopped = hold.start_stopping(world, task, POINTS[stage], once=world.folder / "once")
    assert [n.split("-")[0] for n in stopped] == [stage]
    r = run.wait(SECONDS).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)
    assert set(restarts(r)) == set(stopped), r.describe("who was restarted?")
    assert "does not answer: it is ended" in r.stderr


@pytest.mark.parametrize("stage", ["coordinator", "apply-1"])
def test_stopped_before_it_has_said_a_word(world, stage):
    source, target = world.pair("sqlite", "sqlite")
    shop.fill(source, 20)
    run = world.start("run", world.task(source, target), "--workers", 1)
    pid = hold.wait_until("its process", 10, lambda: run.children().get(stage), run.running)
    os.kill(pid, signal.SIGSTOP)
    run.wait(SECONDS).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_a_worker_in_a_long_query_is_let_be(world, engine):
    """It waits for somebody's lock for longer than any lease; its control thread answers."""
    source, target = world.pair(engine, engine)
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    source.execute("INSERT INTO t VALUES (1)")
    target.execute("CREATE TABLE t (id int PRIMARY KEY)")
    task = world.task(source, target, tables="t").prep("TRUNCATE_BEFORE_LOAD")
    with hold.exclusive(target, "t") as lock:
        run = world.start("run", task, "--workers", 1)
        lock.waited_for(run)
        assert not run.wait_for_stderr("does not answer|is gone", 25)
        assert run.running()
        lock.release()
    r = run.wait(60).expect(DONE)
    assert_equal(source, target, tables=["t"])
    assert not restarts(r)


def test_nobody_is_ended_because_the_host_slept(world):
    """All of a run stops for longer than every lease, and goes on as if nothing had been."""
    source, target = world.pair("postgresql", "postgresql")
    shop.fill(source, 300)
    task = world.task(source, target).own("chunk-size-kb", 16)
    run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@3", once=world.folder / "once")
    frozen = hold.freeze(run)
    assert not run.wait_for_stderr("does not answer", 22)
    hold.send(frozen, signal.SIGCONT)
    r = run.wait(60).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)
    assert not restarts(r), r.describe("who was restarted?")
    assert stopped
