"""kill -9 of anything, and of everything, at any moment: nothing is lost, nothing is doubled, nothing durable is redone."""

import os
import random
import signal
import time

import pytest

from compare.compare import assert_equal
from harness import control, shop
from harness.run import DONE, UNREACHABLE
from traps import hold

PAIRS = [("postgresql", "postgresql"), ("mysql", "mysql"), ("postgresql", "mysql"), ("mysql", "postgresql"),
         ("sqlite", "postgresql"), ("sqlite", "sqlite")]
pairs = pytest.mark.parametrize("pair", PAIRS, ids="-".join)
SECONDS = float(os.environ.get("GODWIT_TEST_KILL_SECONDS", "8"))


def task_of(world, source, target):
    return world.task(source, target).own("chunk-size-kb", 16).own("batch-kb", 4)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def end_a_session(rnd, db):
    """A server-side process or connection of the load goes, as an administrator or the OOM killer would have it."""
    if db.engine == "postgresql":
        pids = db.server.backends(db.name)
        if pids:
            c = db.server.connect()
            with c.cursor() as q:
                q.execute("SELECT pg_terminate_backend(%s)", [rnd.choice(pids)])
            c.close()
    elif db.engine == "mysql":
        ids = db.server.connections(db.name)
        if ids:
            c = db.server.connect_root()
            with c.cursor() as q:
                try:
                    q.execute(f"KILL CONNECTION {rnd.choice(ids)}")
                except Exception:
                    pass  # it was faster
            c.close()


@pairs
def test_random_kills(world, pair):
    source, target = world.pair(*pair)
    shop.fill(source, 3000)
    seed = int(os.environ.get("GODWIT_TEST_SEED", random.randrange(10**6)))
    print(f"GODWIT_TEST_SEED={seed}")
    rnd = random.Random(seed)
    task = task_of(world, source, target)
    run = world.start("run", task)
    end = time.monotonic() + SECONDS
    kills = 0
    while time.monotonic() < end and run.running():
        time.sleep(rnd.uniform(0.05, 0.6))
        lanes = run.children()
        what = rnd.random()
        if what < 0.15:
            kill(lanes.get("coordinator", 0) or 2**22)
        elif what < 0.35:
            end_a_session(rnd, rnd.choice([source, target]))
        elif lanes:
            name = rnd.choice([n for n in lanes if n != "coordinator"] or ["coordinator"])
            kill(lanes[name])
        kills += 1
    r = run.wait(150).expect(DONE)
    print(f"{kills} kills, {r.seconds:.1f} s, {r.json['statistics']['snapshots']} snapshots")
    assert_equal(source, target, tables=shop.TABLES)
    assert {t["TableName"]: t["FullLoadRows"] for t in r.json["tables"]} == {t: source.count(t) for t in shop.TABLES}


@pairs
def test_the_whole_run_is_killed_and_the_next_one_goes_on(world, pair):
    source, target = world.pair(*pair)
    shop.fill(source, 3000)
    task = task_of(world, source, target)
    keyed = {"customers", "orders"}  # integer keys: their chunks are kept under another snapshot
    kept = 0
    for at in (3, 30, 80):
        run = world.start("run", task)
        end = time.monotonic() + 60
        while run.stderr.count("chunk durable") < at and run.running() and time.monotonic() < end:
            time.sleep(0.005)
        run.kill_all()
        if not control.has_control(target):
            continue
        before = control.chunks(target, task)
        done = {k: v for k, v in before.items() if v[0] == 1 and k[0] in keyed}
        if run.process.returncode == 0:
            break
        again = world.start("run", task)
        again.wait_for_stderr(r"phase: .* -> loading|already", 60)
        time.sleep(0.3)
        again.kill_all()
        now = control.chunks(target, task)
        # Durable chunks keep their epoch and their count: nobody loaded them again.
        assert {k: now.get(k) for k in done} == done
        kept += len(done)
    r = world.run(task).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)
    end_state = control.chunks(target, task)
    assert all(v[0] == 1 for v in end_state.values())
    assert kept > 0, "no kill came in the middle"
    assert r.json["already_complete"] or r.json["statistics"]["rows"] == sum(source.count(t) for t in shop.TABLES)


@pairs
def test_only_the_command_is_killed(world, pair):
    """Its processes end by themselves, and the next run may start at once."""
    source, target = world.pair(*pair)
    shop.fill(source, 1500)
    task = task_of(world, source, target)
    run = world.start("run", task)
    assert run.wait_for_stderr("chunk durable", 60)
    lanes = run.children()
    kill(run.pid)
    run.process.wait(10)
    world.run(task).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)
    end = time.monotonic() + 25
    left = [p for p in lanes.values() if os.path.exists(f"/proc/{p}")]
    while left and time.monotonic() < end:
        time.sleep(0.1)
        left = [p for p in left if os.path.exists(f"/proc/{p}")]
    assert not left


@pytest.mark.parametrize("pair", [("postgresql", "postgresql"), ("postgresql", "mysql"), ("mysql", "postgresql"),
                                  ("mysql", "mysql")], ids="-".join)
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_server_crashes_and_comes_back(world, pair, side):
    source, target = world.pair(*pair, durable=True)
    shop.fill(source, 2000)
    task = task_of(world, source, target)
    run = world.start("run", task)
    assert run.wait_for_stderr("(chunk durable.*\n.*){5}", 60)
    server = (source if side == "source" else target).server
    server.crash()
    time.sleep(1)
    server.start()
    r = run.wait(150).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)
    stats = r.json["statistics"]
    assert stats["one_point_in_time"] == (stats["snapshots"] == 1)


def test_a_server_that_does_not_come_back(world):
    """RecoverableErrorStopRetryAfterThrottlingMax: pauses of 0.1, 0.2, 0.4, 0.8, 1 and 2 s, one more try, and the task stops."""
    source, target = world.pair("sqlite", "postgresql", durable=True)
    shop.fill(source, 300)
    task = task_of(world, source, target).setting("ErrorBehavior", "RecoverableErrorThrottlingMax", 2)
    task.setting("ErrorBehavior", "RecoverableErrorStopRetryAfterThrottlingMax", True)
    run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@3", once=world.folder / "once")
    target.server.crash()
    hold.go_on(stopped)
    r = run.wait(40).expect(UNREACHABLE)
    target.server.start()
    assert "RecoverableErrorThrottlingMax" in r.json["failure"]["message"], r.describe("why did it stop?")
    assert r.seconds > 4
    world.run(task).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)


@pytest.mark.parametrize("point", ["apply.after_claim", "apply.before_fence", "apply.before_commit"])
@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
def test_a_worker_that_was_presumed_dead_wakes_up(world, engine, point):
    """SIGSTOP in the middle of a chunk; another worker loads the chunk; then the first wakes up. It must change nothing."""
    source, target = world.pair(engine, engine)
    shop.fill(source, 300)
    once = world.folder / "once"
    once.mkdir()
    task = task_of(world, source, target)
    run = world.start("run", task, env={"GODWIT_FAULT": f"{point}=stop@2", "GODWIT_FAULT_ONCE": str(once)})
    lanes = {}
    end = time.monotonic() + 30
    while not (once / point).exists() and run.running() and time.monotonic() < end:
        lanes = run.children() or lanes
        time.sleep(0.02)
    assert (once / point).exists(), "the point was not reached"
    assert run.wait_for_stderr("is gone: no heartbeat", 40), "the coordinator did not notice"
    if engine != "sqlite":  # there, a claim is part of the transaction that is rolled back with it
        assert run.wait_for_stderr("chunk durable.*epoch=2", 30), "no chunk was claimed again"
    for name, pid in {**lanes, **run.children()}.items():
        if name.startswith("apply"):
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
    run.wait(90).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)


@pairs
def test_the_state_folder_is_lost(world, pair):
    source, target = world.pair(*pair)
    shop.fill(source, 1500)
    task = task_of(world, source, target)
    run = world.start("run", task)
    assert run.wait_for_stderr("(chunk durable.*\n.*){5}", 60)
    run.kill_all()
    before = {k: v for k, v in control.chunks(target, task).items() if v[0] == 1 and k[0] in ("customers", "orders")}
    import shutil

    shutil.rmtree(task.state)
    world.run(task).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)
    now = control.chunks(target, task)
    assert {k: now[k] for k in before} == before
