"""At each fault point a process dies (or the step fails); the run finishes by itself, with equal data."""

import pytest

from compare.compare import assert_equal
from crash import points
from harness import control, shop
from harness.run import DONE

SAME = ["postgresql", "mysql", "sqlite"]


def test_the_list_of_points_is_that_of_the_source():
    assert set(points.in_source()) == points.listed()


def test_points_that_are_tested_elsewhere():
    for point, test in points.ELSEWHERE.items():
        assert point in (points.ROOT / "tests" / test).read_text()


@pytest.mark.parametrize("engine", SAME)
def test_the_list_of_each_target_is_that_of_its_source(engine):
    assert set(points.of_target(engine)) == set(points.TARGET + points.ONLY[engine])


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
