"""Two commands, or two hosts, work on one task: one of them at most is right, and it is the one that ends well."""

import contextlib
import re
import time

import pytest

from compare.compare import assert_equal
from harness import control
from harness.run import DONE, USAGE
from harness.task import Task
from traps import hold
from traps.test_plan import keyed, keyless

servers = pytest.mark.parametrize("engine", ["postgresql", "mysql"])
shapes = pytest.mark.parametrize("shape", [keyless, keyed], ids=["keyless", "keyed"])


def hosts(world, source, target, *kb):
    """The same task on several hosts: state folders of their own, and chunks of other sizes."""
    tasks = []
    for i, size in enumerate(kb):
        t = Task(world.folder / f"host{i}", source, target, tables="t", name="shared").prep("DROP_AND_CREATE")
        tasks.append(t.own("chunk-size-kb", size))
    return tasks


def claim(engine, shape, n):
    """The fault point at the n-th claim; a table without a key is one chunk on MySQL."""
    return f"apply.after_claim=stop@{1 if engine == 'mysql' and shape is keyless else n}"


def settle(world, runs, tasks, source, target):
    """Whoever says "complete" must be right; and in the end one run is."""
    results = [r.wait(90) for r in runs]
    if any(r.code == DONE for r in results):
        assert_equal(source, target, tables=["t"])
    for r in results:
        if r.code != DONE:
            assert r.code in (1, 2, 3) and hold.said(r).strip(), r.describe("a silent end")
    for t in tasks:
        r = world.run(t)
        if r.code == DONE:
            break
    assert r.code == DONE, r.describe("nobody could end it")
    assert_equal(source, target, tables=["t"])
    assert all(c[0] == 1 for c in control.chunks(target, tasks[0]).values())


@servers
@shapes
def test_both_go_on_with_a_killed_task(world, engine, shape):
    """Both read the same state, both make a plan of their own with the same generation and chunk numbers."""
    source, target = shape(world, engine)
    first, a, b = hosts(world, source, target, 64, 64, 32)
    run, _ = hold.start_stopping(world, first, claim(engine, shape, 2), once=world.folder / "once")
    run.kill_all()
    # Both have read the state, and wait for the source.
    with hold.exclusive(source, "t") as lock:
        runs = [world.start("run", t, "--workers", 1, env={"GODWIT_FAULT": claim(engine, shape, 2)}) for t in (a, b)]
        for r in runs:
            assert r.wait_for_stderr("-> (loading|verifying|planning)", 20) or not r.running()
        if shape is keyless and engine == "postgresql":  # it starts over, and plans
            lock.waited_for(runs[0])
        lock.release()
    for r in runs:
        try:
            hold.wait_for_stop(r)
        except (TimeoutError, RuntimeError):
            pass  # it ended, or has nothing to claim
    for r in runs:
        hold.go_on(hold.stopped_children(r))
    settle(world, runs, (a, b), source, target)


@servers
@shapes
def test_both_begin_a_new_task(world, engine, shape):
    source, target = shape(world, engine)
    a, b = hosts(world, source, target, 64, 32)
    with hold.exclusive(source, "t") as lock:
        runs = [world.start("run", t, "--workers", 1, env={"GODWIT_FAULT": claim(engine, shape, 2)}) for t in (a, b)]
        for r in runs:
            assert r.wait_for_stderr("-> describing", 20)
        lock.waited_for(runs[0])
        lock.release()
    for r in runs:
        try:
            hold.wait_for_stop(r)
        except (TimeoutError, RuntimeError):
            pass
    for r in runs:
        hold.go_on(hold.stopped_children(r))
    settle(world, runs, (a, b), source, target)


@pytest.mark.parametrize("engine, shape, fresh", [
    pytest.param("postgresql", keyless, True, id="postgresql-keyless-fresh"),
    pytest.param("postgresql", keyed, True, id="postgresql-keyed-fresh"),
    pytest.param("postgresql", keyless, False, id="postgresql-keyless-resume"),
    pytest.param("postgresql", keyed, False, id="postgresql-keyed-resume"),
    pytest.param("mysql", keyed, True, id="mysql-keyed-fresh"),
    pytest.param("mysql", keyed, False, id="mysql-keyed-resume"),
])
def test_a_host_that_hung_wakes_up(world, engine, shape, fresh):
    """A hangs with all its processes, and an operator runs the task elsewhere, with --fresh or without. Then A wakes up, and
    claims chunks by numbers that mean other rows by now."""
    source, target = shape(world, engine)
    a, b = hosts(world, source, target, 64, 32)
    first, _ = hold.start_stopping(world, a, claim(engine, shape, 3), once=world.folder / "once_a")
    frozen = hold.freeze(first)
    second = world.start("run", b, "--workers", 1, *(["--fresh"] if fresh else []), env={
        "GODWIT_FAULT": claim(engine, shape, 3), "GODWIT_FAULT_ONCE": str(world.folder)})
    try:
        hold.wait_for_stop(second)
    except (TimeoutError, RuntimeError):
        pass  # refused: the other one's session is there
    hold.send(frozen, hold.signal.SIGCONT)
    time.sleep(2)  # A does what it has in mind
    hold.go_on(hold.stopped_children(second))
    settle(world, [first, second], (b, a), source, target)


@pytest.mark.parametrize("what", ["fresh", "completed", "dropped"])
@pytest.mark.parametrize("engine", hold.ENGINES)
def test_a_superseded_run_knows_it_at_once(world, engine, what):
    """The first reply that is fenced is enough: it asks whose task this is, says so, and ends."""
    source, target = keyed(world, engine)
    a, b = hosts(world, source, target, 64, 32)
    first, _ = hold.start_stopping(world, a, claim(engine, keyed, 3), once=world.folder / "once_a")
    frozen = hold.freeze(first)
    if what == "fresh":
        second, _ = hold.start_stopping(world, b, claim(engine, keyed, 3), "--fresh", once=world.folder / "once_b")
    elif what == "completed":
        world.run(b, "--fresh").expect(DONE)
    else:
        world.godwit("drop", b, "--yes").expect(DONE)
    hold.send(frozen, hold.signal.SIGCONT)
    late = first.wait(12).expect(USAGE)
    words = {"fresh": "begun task .* anew", "completed": "begun task .* anew", "dropped": "dropped task"}[what]
    assert re.search(f"another godwit has {words}", late.json["failure"]["message"]), late.describe("who has it?")
    assert late.json["failure"]["hint"]
    again = [line for line in late.stderr.splitlines() if "chunk again" in line and "class=fenced" in line]
    assert len(again) <= 1, "\n".join(again)
    if what == "fresh":
        hold.go_on(hold.stopped_children(second))
        second.wait(60).expect(DONE)
    if what != "dropped":
        assert_equal(source, target, tables=["t"])


@pytest.mark.parametrize("engine", ["postgresql"])
def test_a_host_wakes_up_behind_the_end(world, engine):
    """The other host has ended the task, and dropped the task's records; the late one must change nothing."""
    source, target = keyless(world, engine)
    a, b = hosts(world, source, target, 64, 32)
    first, _ = hold.start_stopping(world, a, claim(engine, keyless, 2), once=world.folder / "once_a")
    frozen = hold.freeze(first)
    r = world.run(b, "--fresh", seconds=100)
    hold.send(frozen, hold.signal.SIGCONT)
    late = first.wait(90)
    if r.code == DONE or late.code == DONE:
        assert_equal(source, target, tables=["t"])
    settle(world, [], (b, a), source, target)


@shapes
@pytest.mark.parametrize("engine", hold.ENGINES)
def test_fresh_does_not_wait_for_a_loader_that_hangs(world, engine, shape):
    """Its transaction holds rows of the control tables and of the table. Whoever begins anew ends it, as a claim would."""
    source, target = shape(world, engine)
    a, b = hosts(world, source, target, 64, 32)
    first, _ = hold.start_stopping(world, a, "apply.before_commit=stop@1", once=world.folder / "once_a")
    frozen = hold.freeze(first)
    world.run(b, "--fresh", seconds=25).expect(DONE)
    assert_equal(source, target, tables=["t"])
    hold.send(frozen, hold.signal.SIGCONT)
    late = first.wait(40)
    assert late.code != DONE and "another godwit has" in hold.said(late), late.describe("who has it?")
    assert_equal(source, target, tables=["t"])


HOLDS = {"postgresql": "SELECT * FROM godwit.tasks FOR UPDATE", "mysql": "SELECT * FROM godwit.tasks FOR UPDATE",
         "sqlite": "UPDATE godwit_tasks SET started_us = started_us"}


@pytest.mark.parametrize("engine", hold.ENGINES)
def test_fresh_says_for_whom_it_waits(world, engine):
    """A session that is not the task's own holds its records: an administrator's, or a tool's."""
    source, target = keyed(world, engine)
    (task,) = hosts(world, source, target, 64)
    world.run(task).expect(DONE)
    with holder(target) as (lock, name):
        run = world.start("run", task, "--fresh")
        assert run.wait_for_stderr(f"waits: .*{name}", 20), run.stderr[-2000:]
        lock.release()
    run.wait(60).expect(DONE)
    assert_equal(source, target, tables=["t"])


@pytest.mark.slow
def test_fresh_does_not_wait_for_ever(world):
    source, target = keyed(world, "postgresql")
    (task,) = hosts(world, source, target, 64)
    world.run(task).expect(DONE)
    with holder(target) as (_, name):
        r = world.run(task, "--fresh", seconds=90).expect(USAGE)
    assert re.search(f"given up after 6. s: .*{name}", r.json["failure"]["message"]), r.describe("for whom?")
    assert "pg_terminate_backend" in r.json["failure"]["hint"]


@contextlib.contextmanager
def holder(db):
    """A transaction that holds the task's record, and how a message may name it."""
    begin = {"postgresql": [], "mysql": ["START TRANSACTION"], "sqlite": ["BEGIN IMMEDIATE"]}[db.engine]
    with hold.Lock(db, *begin, HOLDS[db.engine]) as lock:
        who = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}.get(db.engine)
        q = lock.c.cursor()
        q.execute(who or "SELECT 1")
        yield lock, f"session {q.fetchone()[0]}" if who else "another process"


@servers
@shapes
def test_a_host_hangs_with_its_rows_written(world, engine, shape):
    """Its transaction holds locks: the other host waits for it, and one of the two outcomes is in force, never both."""
    source, target = shape(world, engine)
    a, b = hosts(world, source, target, 64, 32)
    first, _ = hold.start_stopping(world, a, "apply.before_commit=stop@1", once=world.folder / "once_a")
    frozen = hold.freeze(first)
    second = world.start("run", b, "--workers", 1, "--fresh")
    assert second.wait_for_stderr("-> clearing", 20)
    time.sleep(1)
    hold.send(frozen, hold.signal.SIGCONT)
    settle(world, [first, second], (b, a), source, target)
