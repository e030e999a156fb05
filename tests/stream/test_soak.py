"""A soak: everything at once, at random, from a seed. GODWIT_SOAK_SECONDS makes it as long as you like; in the suite it is short."""

import os
import random
import signal
import time

import pytest

from compare.compare import assert_equal
from harness.run import DONE
from stream import ledger

SECONDS = float(os.environ.get("GODWIT_SOAK_SECONDS", "60"))
SEED = int(os.environ.get("GODWIT_TEST_SEED", random.randrange(10**6)))


class Soak:
    """One source, one target, a run that is brought back whenever it is gone, and whatever can happen to them."""

    def __init__(self, world, engine):
        self.rnd = random.Random(SEED)
        self.world = world
        self.source, self.target = world.pair(engine, self.rnd.choice(["postgresql", "mysql", "sqlite"]), durable=True)
        ledger.fill(self.source, 500)
        self.task = world.task(self.source, self.target, tables=list(ledger.TABLES)).own("chunk-size-kb", 16).own("batch-kb", 16)
        self.task.body["migration-type"] = "full-load-and-cdc"
        self.run = self.writer = None
        self.columns = self.large = self.writers = 0
        self.done = {}

    def write(self):
        self.writers += 1
        self.writer = ledger.Writer(self.source, seed=SEED + self.writers, pause=0.002)
        self.writer.start()

    def go_on(self):
        if not self.run or not self.run.running():
            self.run = self.world.start("run", self.task)

    # ---- what can happen

    def kill_a_process(self):
        lanes = self.run.children()
        if lanes:
            try:
                os.kill(lanes[self.rnd.choice(sorted(lanes))], signal.SIGKILL)
            except ProcessLookupError:
                pass

    def kill_the_run(self):
        self.run.kill_all()

    def stop_the_run(self):
        self.run.signal(signal.SIGTERM)
        self.run.wait(90)

    def add_a_column(self):
        self.columns += 1
        self.patiently(f"ALTER TABLE accounts ADD COLUMN extra_{self.columns} int DEFAULT {self.columns}")

    def large_transaction(self):
        self.large += 1
        self.source.insert("scratch", ["id", "x"], [(2 * 10**9 + self.large * 20000 + i, "large") for i in range(20000)])

    def crash(self, server):
        self.writer.stop()
        server.crash()
        time.sleep(self.rnd.uniform(0, 1))
        server.start()
        self.write()

    def source_crashes(self):
        self.crash(self.source.server)

    def target_crashes(self):
        if self.target.engine != "sqlite":
            self.crash(self.target.server)

    def nothing(self):
        pass

    def patiently(self, statement):
        """The writer takes the same rows in another order."""
        for _ in range(50):
            try:
                return self.source.execute(statement)
            except Exception as e:
                if "eadlock" not in str(e) and "Lock wait" not in str(e):
                    raise
        raise AssertionError("a deadlock each time")

    def soak(self):
        often = [self.kill_a_process, self.kill_a_process, self.nothing, self.add_a_column, self.large_transaction]
        seldom = [self.kill_the_run, self.stop_the_run, self.source_crashes, self.target_crashes]
        end = time.monotonic() + SECONDS
        self.write()
        while time.monotonic() < end:
            self.go_on()
            time.sleep(self.rnd.uniform(0.2, 2))
            what = self.rnd.choice(seldom if self.rnd.random() < 0.15 else often)
            if what == self.add_a_column and self.columns == 12:
                continue
            what()
            self.done[what.__name__] = self.done.get(what.__name__, 0) + 1
        self.writer.stop()
        if self.run.running():
            self.run.kill_all()


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_soak(world, engine):
    print(f"GODWIT_TEST_SEED={SEED}")
    soak = Soak(world, engine)
    soak.soak()
    print(soak.target.engine, soak.done)
    world.run(soak.task, "--until", "caught-up", seconds=180).expect(DONE)
    assert_equal(soak.source, soak.target, tables=ledger.TABLES)
