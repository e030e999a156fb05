"""Memory does not grow with what a transaction, or a row, is large: no process beyond 256 MB, whatever stands still."""

import os
import signal
import threading
from pathlib import Path

import pytest

from harness.run import STOPPED
from stream import ledger

MB = int(os.environ.get("GODWIT_TEST_LARGE_MB", "300"))  # of the source's transaction
MOST_MB = 256
ROW = 3000
PAIRS = [(s, t) for s in ("postgresql", "mysql") for t in ("postgresql", "mysql", "sqlite")]
pairs = pytest.mark.parametrize("pair", PAIRS, ids="-".join)


def peak_mb(pid):
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    except OSError:
        pass
    return 0


class Peaks(threading.Thread):
    """The most that each process of a run has ever held."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.run_, self.peaks, self.halt = run, {}, threading.Event()

    def run(self):
        while not self.halt.wait(0.2):
            for name, pid in {**self.run_.children(), "godwit": self.run_.pid}.items():
                self.peaks[name] = max(self.peaks.get(name, 0), peak_mb(pid))


def start(world, pair):
    source, target = world.pair(*pair)
    for end in (source, target):
        if end.engine == "mysql":  # a row of 64 MB does not fit into the default; sessions that begin later have it
            end.execute("SET GLOBAL max_allowed_packet = 268435456")
    source.script(["CREATE TABLE large (id int PRIMARY KEY, v text)" if pair[0] == "postgresql"
                   else "CREATE TABLE large (id int PRIMARY KEY, v longtext)"])
    source.insert("large", ["id", "v"], [(0, "there")])
    task = world.task(source, target, tables=["large"])
    task.body["migration-type"] = "full-load-and-cdc"
    run = world.start("run", task)
    assert run.wait_for_stderr("-> replicating", 60), run.stderr[-3000:]
    watch = Peaks(run)
    watch.start()
    return source, target, run, watch


def finish(source, target, run, watch, rows):
    def there():
        try:
            return target.count("large") == rows
        except Exception:  # SQLite's file may be locked for a moment
            return False

    ledger.wait_for(lambda: there() or not run.running(), 30 + MB / 5, 0.5)
    watch.halt.set()
    assert run.running(), run.wait(1).describe("ended by itself")
    run.signal(signal.SIGTERM)
    run.wait(60).expect(STOPPED)
    print(watch.peaks)
    assert target.count("large") == rows
    assert source.one("SELECT sum(length(v)) FROM large") == target.one("SELECT sum(length(v)) FROM large")
    assert max(watch.peaks.values()) <= MOST_MB, watch.peaks


@pairs
def test_a_large_transaction(world, pair):
    source, target, run, watch = start(world, pair)
    rows = MB * 1024 * 1024 // ROW
    if pair[0] == "postgresql":
        source.execute(f"INSERT INTO large SELECT i, repeat(md5(i::text), {ROW // 32}) FROM generate_series(1, {rows}) i")
    else:
        source.execute(f"INSERT INTO large SELECT seq, repeat(md5(seq), {ROW // 32}) FROM seq_1_to_{rows}")
    finish(source, target, run, watch, rows + 1)


@pairs
def test_a_row_of_64_mb(world, pair):
    source, target, run, watch = start(world, pair)
    source.execute("INSERT INTO large VALUES (1, repeat('0123456789abcdef', 4 * 1024 * 1024 - 64))")
    finish(source, target, run, watch, 2)
