"""Holds a run at a known point, changes the world meanwhile, lets it go on; and what every trap must end in."""

import contextlib
import os
import re
import signal
import threading
from pathlib import Path

from compare.compare import assert_equal
from harness.run import DONE, TABLE_ERROR, USAGE, children_of, session_of
from harness.servers import wait_until

ENGINES = ("postgresql", "mysql", "sqlite")
SECONDS = 30


# ---- processes


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def stopped_children(run):
    """{name: pid} of the run's processes that a fault point, or a test, has stopped."""
    return {name: pid for name, pid in children_of(run.pid).items() if _state(pid) == "T"}


def wait_for_stop(run):
    return wait_until("a process stopped at its fault point\n" + run.stderr[-1500:], SECONDS,
                      lambda: stopped_children(run), run.running)


def send(pids, sig):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sig)


def go_on(pids):
    send(pids.values(), signal.SIGCONT)


def freeze(run):
    """All of a run stops, as with its host."""
    pids = session_of(run.pid)
    send(pids, signal.SIGSTOP)
    return pids


def kill_lanes(run, stage):
    """kill -9 of the processes of one stage; the run starts others."""
    pids = [pid for name, pid in children_of(run.pid).items() if name.startswith(stage)]
    assert pids, f"no {stage} process"
    send(pids, signal.SIGKILL)


def start_stopping(world, task, point, *options, workers=1, once=None):
    """Starts a run that stops where `point` says ("apply.after_claim=stop@1"); returns it with the stopped processes.

    At apply.after_claim with one worker, the snapshot is taken, the plan durable and the table made, and of the claimed
    chunk no row is read yet.
    """
    env = {"GODWIT_FAULT": point}
    if once:
        once.mkdir(parents=True, exist_ok=True)
        env["GODWIT_FAULT_ONCE"] = str(once)
    run = world.start("run", task, "--workers", workers, *options, env=env)
    return run, wait_for_stop(run)


# ---- locks


class Lock:
    """A transaction of somebody else's that a run has to wait for."""

    def __init__(self, db, *statements):
        self.db = db
        self.c = db.connect()
        if db.engine == "postgresql":
            self.c.autocommit = False
        q = self.c.cursor()
        for s in statements:
            q.execute(s)
            if q.description:
                q.fetchall()

    def waited_for(self, run):
        """Returns when a session of the run waits."""
        if self.db.engine == "postgresql":
            sql = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{self.db.name}' AND wait_event_type = 'Lock'"
        else:
            # A session of the product need not be in a database.
            sql = "SELECT count(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"
        wait_until("a session that waits for the lock\n" + run.stderr[-1500:], SECONDS, lambda: self.db.one(sql), run.running)

    def release(self):
        if self.c:
            self.c.close()
            self.c = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()


def exclusive(db, table):
    return Lock(db, f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE" if db.engine == "postgresql" else f"LOCK TABLES {table} WRITE")


IMPATIENT = {"postgresql": ["SET lock_timeout = '5s'"], "mysql": ["SET lock_wait_timeout = 5"], "sqlite": []}


def change(db, *statements):
    """A change that nothing may hold up: the run must not keep others waiting while it waits itself."""
    db.script([*IMPATIENT[db.engine], *statements])


class Changing(threading.Thread):
    """A change that may have to wait for the run."""

    def __init__(self, db, *statements):
        super().__init__(daemon=True)
        self.db, self.statements = db, statements
        self.start()

    def run(self):
        self.db.script(self.statements)

    def done(self, seconds=SECONDS):
        self.join(seconds)
        return not self.is_alive()


# ---- outcomes


def said(r):
    """Everything that a report says of why."""
    out = [r.stderr]
    if r.stdout.startswith("{"):
        j = r.json
        out += [t["reason"] or "" for t in j.get("tables") or []]
        out += [f"{f['message']} {f['action']}" for f in j["findings"]]
        out += [str((j.get("failure") or {}).get("message", ""))]
    return "\n".join(out)


def refused(r, pattern):
    """Loud: an exit code, and words that say what it is."""
    r.expect(TABLE_ERROR, USAGE)
    assert re.search(pattern, said(r), re.I), r.describe(f"no word of {pattern!r}")
    return r


def equal_or_refused(r, source, target, pattern, **kw):
    """Equal data, or a refusal that says why; the third, silent way is the trap."""
    if r.code == DONE:
        assert_equal(source, target, **kw)
    else:
        refused(r, pattern)
    return r.code == DONE


def findings(r, table=None, severity=None):
    return [f for f in r.findings if (table is None or f["table"] == table) and (severity is None or f["severity"] in severity)]


def finding(r, pattern, table=None, severity=("warning", "error")):
    """The one finding that says so, before any row was moved."""
    for f in findings(r, table, severity):
        if re.search(pattern, f"{f['object']} {f['message']} {f['action']}", re.I):
            return f
    raise AssertionError(r.describe(f"no finding of {severity} that says {pattern!r}"))


def loaded(world, task, source, target, **kw):
    """The same command, without faults: it ends, and both sides are equal."""
    r = world.run(task).expect(DONE)
    assert_equal(source, target, **kw)
    return r


def wait_for_count(run, pattern, n, seconds=SECONDS):
    wait_until(f"{pattern!r} for the {n}th time\n" + run.stderr[-1500:], seconds,
               lambda: len(re.findall(pattern, run.stderr)) >= n, run.running)
