"""At each fault point a process dies (or the step fails); the run finishes by itself, with equal data."""

import signal

import pytest

from compare.compare import assert_equal
from crash import points
from harness import control, shop
from harness.run import DONE, STOPPED
from stream import ledger

SAME = ["postgresql", "mysql", "sqlite"]


def test_the_list_of_points_is_that_of_the_source():
    assert set(points.in_source()) == points.listed()


def test_points_that_are_tested_elsewhere():
    for point, test in points.ELSEWHERE.items():
        assert point in (points.ROOT / "tests" / test).read_text()


@pytest.mark.parametrize("engine", SAME)
def test_the_list_of_each_target_is_that_of_its_source(engine):
    here = set(points.of_target(engine)) - set(points.ELSEWHERE)
    assert here == set(points.TARGET + points.STREAM_TARGET + points.ONLY[engine])


def cases():
    for engine in SAME:
        for p in points.ALWAYS + points.TARGET + points.ONLY[engine]:
            if p not in points.NOT_KILLED:
                yield pytest.param(engine, p, "kill@1", id=f"{engine}-{p}-kill")
            if p in ("capture.chunk.read", "apply.before_commit", "apply.after_commit", "coordinator.after_assign"):
                yield pytest.param(engine, p, "kill@5", id=f"{engine}-{p}-kill5")
            if p in points.NOT_KILLED or (engine == "postgresql" and not p.startswith("coordinator")):
                yield pytest.param(engine, p, "error@1", id=f"{engine}-{p}-error")
            if p in points.NOT_KILLED:  # the first message opens the stream, the second has rows
                yield pytest.param(engine, p, "error@2", id=f"{engine}-{p}-error2")


@pytest.mark.parametrize("engine, point, what", cases())
def test_a_load_survives(world, engine, point, what):
    source, target = world.pair(engine, engine)
    shop.fill(source, 200)
    if point.startswith("apply.prepare") and point != "apply.prepare.after":
        # Only a table that is there is emptied or dropped.
        target.script(shop.SCHEMA[engine])
        target.execute("INSERT INTO articles VALUES (-1, 'old')")
    once = world.folder / "once"
    once.mkdir()
    task = world.task(source, target).own("chunk-size-kb", 16)
    task.prep("DROP_AND_CREATE" if point == "apply.prepare.dropped" else "TRUNCATE_BEFORE_LOAD")
    env = {"GODWIT_FAULT": f"{point}={what}", "GODWIT_FAULT_ONCE": str(once)}
    r = world.run(task, env=env, seconds=90)
    fired = (once / point).exists()
    r.expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)
    if not fired and point in ("apply.finish.not_validated", "apply.prepare.shared", "apply.finish.unique_index"):
        pytest.skip("this schema does not come by the point")
    assert fired, f"{point} was not reached"
    if "kill" in what:
        assert sum(w["restarts"] for w in r.json["workers"]) >= 1
    assert all(c[0] == 1 for c in control.chunks(target, task).values())
    assert world.run(task).expect(DONE).json["already_complete"] is True


def stream_cases():
    for engine in SAME:
        for p in points.STREAM + points.STREAM_TARGET:
            yield pytest.param(engine, p, "kill@1", id=f"{engine}-{p}-kill")
            if p in ("capture.stream.batch", "apply.stream.before_commit", "apply.stream.after_commit"):
                yield pytest.param(engine, p, "kill@2", id=f"{engine}-{p}-kill2")
            if engine == "postgresql" and p not in points.ONLY_KILLED:
                yield pytest.param(engine, p, "error@1", id=f"{engine}-{p}-error")


@pytest.mark.parametrize("engine, point, what", stream_cases())
def test_a_stream_survives(world, engine, point, what):
    """Under writes, from before the load on. What is written after the death is on the target within ten seconds."""
    source, target = world.pair("postgresql" if engine == "sqlite" else engine, engine)
    ledger.fill(source, 150)
    once = world.folder / "once"
    once.mkdir()
    task = world.task(source, target, tables=list(ledger.TABLES)).own("chunk-size-kb", 16).own("batch-kb", 16)
    task.body["migration-type"] = "full-load-and-cdc"
    env = {"GODWIT_FAULT": f"{point}={what}", "GODWIT_FAULT_ONCE": str(once)}
    at_the_end = point == "capture.stream.end"
    writer = ledger.Writer(source, pause=0.005)
    writer.start()
    try:
        run = world.start("run", task, *(["--until", "caught-up"] if at_the_end else []), env=env)
        ledger.wait_for(lambda: (once / point).exists() or not run.running(), 40, 0.02)
        if not at_the_end:
            source.execute("INSERT INTO journal (kind, amount) VALUES ('afterwards', 1)")
            there = "SELECT count(*) FROM journal WHERE kind = 'afterwards'"
            assert run.wait_for_stderr("-> replicating", 40)
            ledger.wait_for(lambda: target.one(there) == 1 or not run.running(), 10)
            run.signal(signal.SIGTERM)
        r = run.wait(60).expect(DONE if at_the_end else STOPPED)
    finally:
        writer.stop()
    assert (once / point).exists(), f"{point} was not reached"
    if "kill" in what:
        assert sum(w["restarts"] for w in r.json["workers"]) >= 1
    world.run(task, "--until", "caught-up", seconds=90).expect(DONE)
    assert_equal(source, target, tables=ledger.TABLES)
