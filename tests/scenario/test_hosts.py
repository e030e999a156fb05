"""Stages on different hosts: a source, a target, a coordinator and two hosts of workers, each a network namespace.

Links are cut and hosts are lost during a load of one large table; afterwards the target equals the source. A load is slowed
at the source's link where something must happen during it.
"""

import json
import os
import re
import subprocess
import time
from contextlib import contextmanager

import pytest

from compare.compare import assert_equal
from harness import network
from harness.database import MySQLDatabase, PostgreSQLDatabase, password_environment
from harness.run import BIN, DONE, STOPPED, USAGE
from harness.servers import PASSWORD, MariaDB, PostgreSQL, wait_until
from harness.task import Task

ROWS = 40000
STAGES = ("capture", "transform", "apply")
reason = network.why_not()
needs_network = pytest.mark.skipif(reason is not None, reason=reason or "")


def environment(**more):
    e = {k: v for k, v in os.environ.items() if not k.startswith(("GODWIT_", "GW_TEST_"))}
    return {**e, "GODWIT_LOG": "info", "LC_ALL": "C.UTF-8", **more}


def keygen(folder):
    subprocess.run([BIN / "godwit", "keygen", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture(scope="module")
def net(base):
    n = network.Network("source", "target", "lead", "one", "two")
    servers = []
    try:
        n.make()
        keygen(base / "keys")
        servers = [PostgreSQL(base / "hosts-pg", host=n["source"]), PostgreSQL(base / "hosts-pg2", host=n["target"]),
                   MariaDB(base / "hosts-my", host=n["target"])]
        n.keys, n.pg, n.pg_target, n.my_target = base / "keys", *servers
        n.pg.start()
        db = n.source = PostgreSQLDatabase(n.pg, "src")
        db.script(["CREATE TABLE large (id int PRIMARY KEY, word text NOT NULL, noise text NOT NULL)",
                   f"INSERT INTO large SELECT i, repeat('godwit ' || i % 7 || ' ', 30), md5(i::text) || md5((i + 1)::text)"
                   f" FROM generate_series(1, {ROWS}) i", "ANALYZE"])
        yield n
    finally:
        for s in servers:
            s.stop()
        n.remove()


class Load:
    """A task with its coordinator and workers, on the hosts of `net`."""

    def __init__(self, net, folder, target="postgresql", source=None):
        self.net, self.folder, self.source = net, folder, source or net.source
        server, cls = {"postgresql": (net.pg_target, PostgreSQLDatabase), "mysql": (net.my_target, MySQLDatabase)}[target]
        if not server.running():
            server.start()
        self.target = cls(server, server.new_name("tgt"))
        self.task = Task(folder, self.source, self.target).own("chunk-size-kb", 256).own("batch-kb", 16)
        self.endpoint = f"tcp://{net['lead'].address}:7750"
        self.coordinator = None
        self.logs = []

    def log(self, name):
        self.logs.append(self.folder / f"{name}-{len(self.logs)}.log")
        return self.logs[-1]

    def lead(self, *options, env=None):
        options = options or ("--key", self.net.keys / "coordinator.key")
        self.coordinator = self.net["lead"].start(
            [BIN / "godwit-coordinator", "--task", self.task.save(), "--state", self.task.state, "--listen", self.endpoint,
             *options], self.log("coordinator"), environment(**(password_environment() if env is None else env)))
        return self

    def work(self, host, stages=STAGES, lanes=1, key=None, options=(), env=None):
        options = options or ("--key", key or self.net.keys / "worker.key")
        return [
            self.net[host].start([BIN / f"godwit-{stage}", "--coordinator", self.endpoint, *options],
                                 self.log(f"{host}-{stage}"), environment(**(env or {})))
            for stage in stages for _ in range(lanes)
        ]

    @property
    def said(self):
        return self.coordinator.log.read_text(errors="replace")

    def durable(self):
        """Hosts that wrote chunks, one for each chunk."""
        return re.findall(r"chunk durable .* host=(\S+)", self.said)

    def wait_for(self, what, ready, seconds=30):
        try:
            return wait_until(what, seconds, ready, lambda: self.coordinator.poll() is None)
        except Exception as e:
            raise AssertionError(f"{e}\n{self.tails()}") from None

    def wait_durable(self, more):
        n = len(self.durable()) + more
        self.wait_for(f"{more} more chunks", lambda: len(self.durable()) >= n, 40)

    def wait_said(self, pattern, seconds=20):
        have = len(re.findall(pattern, self.said))
        self.wait_for(pattern, lambda: len(re.findall(pattern, self.said)) > have, seconds)

    def finish(self, seconds=60, code=DONE):
        try:
            got = self.coordinator.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not ended within {seconds} s\n{self.tails()}") from None
        assert got == code, self.tails()
        if code == DONE:
            assert_equal(self.source, self.target)

    def tails(self):
        return "\n".join(f"--- {p.name}\n{p.read_text(errors='replace')[-3000:]}" for p in self.logs)

    @contextmanager
    def slow(self, rate):
        """The source's link carries only so much."""
        source = self.net["source"]
        tc = ["tc", "-n", source.namespace, "qdisc"]
        subprocess.run([*tc, "replace", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "64k", "latency", "400ms"], check=True)
        try:
            yield
        finally:
            subprocess.run([*tc, "del", "dev", "eth0", "root"], check=True)


@pytest.fixture
def load(net, tmp_path, request):
    made = []

    def make(**kw):
        made.append(Load(net, tmp_path / f"l{len(made)}", **kw))
        made[-1].folder.mkdir()
        return made[-1]

    yield make
    for h in ("lead", "one", "two"):
        net[h].stop()
        net[h].join()
    for h in ("source", "target"):
        net[h].join()


@needs_network
@pytest.mark.parametrize("target", ["postgresql", "mysql"])
def test_workers_of_both_hosts_load(net, load, target):
    """A worker is told the coordinator's address and its key file, and nothing else: not even a password."""
    l = load(target=target).lead()
    with l.slow("64mbit"):
        l.work("one")
        l.work("two")
        # Somebody who knows the coordinator's key, but whose own is not admitted, is not let in, and that is said; nothing is
        # heard from who knows another coordinator, or has no key.
        keygen(l.folder / "other")
        other, ours = l.folder / "other/worker.key", net.keys / "worker.key"
        l.work("two", ["apply"], key=other)
        l.work("two", ["capture"], options=["--insecure-plain-tcp"])
        trust = [x for x in ours.read_text().splitlines() if x.startswith("coordinator ")]
        lines = [x for x in other.read_text().splitlines() if not x.startswith("coordinator ")]
        (l.folder / "unknown.key").write_text("\n".join(lines + trust) + "\n")
        (l.folder / "unknown.key").chmod(0o600)
        l.work("two", ["apply"], key=l.folder / "unknown.key")
        said = f"a connection from {net['two'].address} is refused: its key is not admitted"
        l.wait_for(said, lambda: said in l.said)
        l.finish()
    hosts = l.durable()
    assert {"one", "two"} == set(hosts) and min(hosts.count("one"), hosts.count("two")) >= 3, hosts
    joined = re.findall(r"worker=(\S+) host=(\S+) pid=\d+ is here", l.said)
    assert sorted(j[1] for j in joined) == ["one"] * 3 + ["two"] * 3
    for path in [p for p in l.folder.rglob("*") if p.is_file()]:
        assert PASSWORD.encode() not in path.read_bytes(), path


@needs_network
def test_every_link_is_cut_in_turn(net, load):
    l = load().lead()
    with l.slow("3mbit"):
        l.work("one")
        l.work("two")
        for host in ("source", "target"):
            # As long as TCP waits, the load does.
            l.wait_durable(2)
            net[host].cut()
            time.sleep(2)  # what is tested is what happens meanwhile
            net[host].join()
        for host in ("one", "two"):
            l.wait_durable(3)
            net[host].cut()
            l.wait_said(rf"worker=\S*{host}\S* .*is gone")
            l.wait_durable(2)  # the other goes on
            net[host].join()
            l.wait_said(rf"worker=\S+ host={host} pid=\d+ is here")
        l.wait_durable(2)
        net["lead"].cut()
        l.wait_said(r"is gone: no heartbeat")
        time.sleep(1)
        net["lead"].join()
        l.wait_durable(1)
    l.finish()
    assert {"one", "two"} == set(l.durable())


@needs_network
def test_workers_come_back_with_their_jobs_in_hand(net, load):
    """They were taken for gone, and think of themselves that they are not: what they hold is called back."""
    l = load().lead()
    with l.slow("3mbit"):
        workers = l.work("one")
        l.wait_durable(2)
        net["one"].cut()
        l.wait_for("all are gone, and have opened their connections anew", lambda: all(
            "no word from the coordinator" in w.log.read_text() for w in workers) and l.said.count("is gone: no heartbeat") == 3)
        net["one"].join()
        l.wait_durable(1)
    l.finish()


@needs_network
def test_each_host_of_workers_is_lost_in_turn(net, load):
    l = load().lead()
    with l.slow("4mbit"):
        l.work("one")
        l.work("two")
        l.wait_durable(4)
        net["one"].lose_power()
        l.wait_said(r"worker=\S*one\S* .*is gone")
        net["one"].join()
        l.work("one")  # it boots again
        l.wait_said(r"worker=\S+ host=one pid=\d+ is here")
        l.wait_durable(2)
        net["two"].lose_power()
        l.wait_durable(3)
    l.finish()


@needs_network
def test_the_coordinators_host_is_lost(net, load):
    """Its successor finds the workers waiting, and the durable chunks."""
    l = load().lead()
    with l.slow("24mbit"):
        l.work("one", lanes=2)
        l.wait_durable(6)
        net["lead"].lose_power()
        net["lead"].join()
        before = len(l.durable())
        l.lead()
        l.wait_for("the workers", lambda: len(re.findall(r" is here", l.said)) == 6)
    l.finish()
    assert len(l.durable()) <= (ROWS * 350) // (256 << 10) + 3 and before >= 6
    assert "resum" in l.said


@needs_network
def test_two_hosts_of_workers_do_not_reach_each_other(net, load):
    """The coordinator hears both. Streams between them are given up, and those within a host are preferred."""
    l = load().lead()
    with l.slow("24mbit"):
        l.work("one", ["capture", "transform"])
        l.work("two", ["capture", "transform", "apply"])
        l.work("two", ["apply"])
        l.wait_durable(6)
        net.cut_between(net["one"], net["two"])
    try:
        l.finish(30)
    finally:
        net.mend_between(net["one"], net["two"])
    # The sender found out, before the coordinator wondered.
    assert re.search(r"the connection to .* broke \[GW003\]", l.said) and "stands still" not in l.said, l.tails()


@needs_network
def test_the_host_that_carries_changes_is_cut_off(net, load):
    """The stream begins again on the other host, from what is durable; what was under way comes once."""
    source = PostgreSQLDatabase(net.pg, net.pg.new_name("src"))
    source.script(["CREATE TABLE large (id int PRIMARY KEY, n int NOT NULL)",
                   "INSERT INTO large SELECT i, 0 FROM generate_series(1, 1000) i"])
    l = load(source=source)
    l.task.body["migration-type"] = "full-load-and-cdc"
    l.lead()
    l.work("one")
    l.work("two")

    def write(n):
        source.script([f"INSERT INTO large SELECT i, {n} FROM generate_series({n * 1000 + 1}, {n * 1000 + 500}) i",
                       f"UPDATE large SET n = n + 1 WHERE id % 7 = {n}", f"DELETE FROM large WHERE id % 11 = {n}"])

    def arrived(n, seconds=40):
        l.wait_for(f"changes {n}", lambda: l.target.one(f"SELECT count(*) FROM large WHERE n = {n} AND id > {n * 1000}") > 300
                   and sorted(l.target.execute("SELECT * FROM large")) == sorted(source.execute("SELECT * FROM large")), seconds)

    l.wait_said("-> replicating")
    write(1)
    arrived(1)
    carrier = next(h for h in ("one", "two") if any(f"{h}-capture" in p.name and "stream begun" in p.read_text() for p in l.logs))
    net[carrier].cut()
    write(2)
    arrived(2)
    net[carrier].join()
    write(3)
    arrived(3)
    l.coordinator.terminate()
    assert l.coordinator.wait(30) == STOPPED, l.tails()
    assert_equal(source, l.target)
    for h in ("one", "two"):
        net[h].stop()
    slots = source.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
    assert len(slots) == 1
    source.execute("SELECT pg_drop_replication_slot(%s)", [slots[0][0]])


class Changes:
    """A table of a source of its own, followed by a task whose workers are on hosts one and two."""

    def __init__(self, net, load):
        self.net = net
        self.source = PostgreSQLDatabase(net.pg, net.pg.new_name("src"))
        self.source.script(["CREATE TABLE large (id int PRIMARY KEY, n int NOT NULL)",
                            "INSERT INTO large SELECT i, 0 FROM generate_series(1, 1000) i"])
        self.load = load(source=self.source)
        self.load.task.body["migration-type"] = "full-load-and-cdc"
        self.load.lead()
        for host in ("one", "two"):
            self.load.work(host)
        self.load.wait_said("-> replicating")
        self.n = 0

    def write(self):
        self.n += 1
        n = self.n
        self.source.script([f"INSERT INTO large SELECT i, {n} FROM generate_series({n * 1000 + 1}, {n * 1000 + 500}) i",
                            f"UPDATE large SET n = n + 1 WHERE id % 7 = {n % 7}", f"DELETE FROM large WHERE id % 11 = {n % 11}"])

    def arrived(self, seconds=40):
        self.load.wait_for(f"changes {self.n}", lambda: sorted(self.load.target.execute("SELECT * FROM large"))
                           == sorted(self.source.execute("SELECT * FROM large")), seconds)

    def carrier(self):
        """The host whose capture has begun the stream last."""
        begun = [(re.findall(r"(\S+) info \S+ stream begun", p.read_text(errors="replace"))[-1:], h) for p in self.load.logs
                 for h in ("one", "two") if p.name.startswith(f"{h}-capture")]
        return max((b[0], h) for b, h in begun if b)[1]

    def end(self):
        l = self.load
        l.coordinator.terminate()
        assert l.coordinator.wait(60) == STOPPED, l.tails()
        assert_equal(self.source, l.target)
        for h in ("one", "two"):
            self.net[h].stop()
        slots = self.source.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
        assert len(slots) == 1
        wait_until("the slot is free", 30, lambda: not self.source.one("SELECT active FROM pg_replication_slots WHERE slot_name = %s", [slots[0][0]]))
        self.source.execute("SELECT pg_drop_replication_slot(%s)", [slots[0][0]])


@needs_network
@pytest.mark.parametrize("host", ["source", "target", "lead"])
def test_a_host_that_changes_need_is_cut_off_for_a_while(net, load, host):
    """What was committed meanwhile is on the target soon after the host is back."""
    c = Changes(net, load)
    c.write()
    c.arrived()
    net[host].cut()
    time.sleep(12)  # what is tested is what happens meanwhile: everybody has given up
    net[host].join()
    c.write()
    c.arrived(25)
    c.end()


@needs_network
def test_the_host_that_carries_changes_is_lost(net, load):
    c = Changes(net, load)
    c.write()
    c.arrived()
    for _ in range(2):
        gone = c.carrier()
        net[gone].lose_power()
        c.write()
        c.arrived()
        net[gone].join()
        c.load.work(gone)
        c.load.wait_for("its workers", lambda: len(re.findall(rf"worker=\S+ host={gone} pid=\d+ is here", c.load.said)) >= 6)
    c.write()
    c.arrived()
    c.end()


@needs_network
def test_changes_over_links_that_lose_packets(net, load):
    """10 ms and one packet in a hundred lost, at both hosts of workers."""
    def spoil(h):
        return subprocess.run(["tc", "-n", net[h].namespace, "qdisc", "replace", "dev", "eth0", "root", "netem", "delay", "10ms",
                               "loss", "1%"]).returncode == 0

    if not spoil("one") or not spoil("two"):
        pytest.skip("this kernel has no netem")
    c = Changes(net, load)
    try:
        for _ in range(10):
            c.write()
        c.arrived()
    finally:
        for h in ("one", "two"):
            subprocess.run(["tc", "-n", net[h].namespace, "qdisc", "del", "dev", "eth0", "root"], check=True)
    c.end()


@needs_network
def test_rows_travel_packed(net, load):
    l = load().lead()
    before = net["one"].sent_bytes()
    l.work("one", ["capture"])
    l.work("two", ["transform", "apply"])
    l.finish()
    sent = net["one"].sent_bytes() - before
    rows = sum(int(n) for n in re.findall(r"chunk durable .* bytes=(\d+)", l.said))
    assert rows > ROWS * 300
    assert sent < rows * 0.6, f"{sent} bytes were sent for {rows} bytes of rows"


@needs_network
def test_plain_tcp_carries_rows_but_no_passwords(net, load):
    l = load().lead("--insecure-plain-tcp")
    plain = ["--insecure-plain-tcp"]
    l.work("one", options=plain)
    l.wait_for("the failure", lambda: "GW_TEST_PASSWORD" in l.said, 20)
    net["one"].stop()
    l.coordinator.wait(20)
    l = load().lead("--insecure-plain-tcp")
    l.work("one", options=plain, env=password_environment())
    l.work("two", options=plain, env=password_environment())
    l.finish()


@needs_network
def test_workers_join_and_leave_a_run(net, load):
    l = load()
    lead = net["lead"]
    report = l.folder / "report.json"
    with open(report, "wb") as out:
        run = subprocess.Popen(
            lead.command([BIN / "godwit", "run", l.task.save(), "--state", l.task.state, "--workers", "1", "--json", "--listen",
                          l.endpoint, "--key", net.keys / "coordinator.key"]), stdin=subprocess.DEVNULL, stdout=out,
            stderr=open(l.log("run"), "wb"), env=environment(**password_environment()), start_new_session=True)
    lead.processes.append(run)
    l.coordinator = run
    run.log = l.logs[-1]
    with l.slow("12mbit"):
        l.wait_durable(2)
        workers = l.work("one")
        l.wait_for("chunks of host one", lambda: "one" in l.durable())
        tables = subprocess.run([BIN / "godwit", "tables", l.task.path, "--state", l.task.state], stdout=subprocess.PIPE,
                                text=True, env=environment(), check=True).stdout
        assert re.search(r"^workers: .*lead 3 .*one 3|^workers: .*one 3 .*lead 3", tables, re.M), tables
        l.work("two")
        net["one"].stop()  # in order: their work goes to others at once
        assert [w.wait(1) for w in workers] == [0, 0, 0]
        l.wait_for("chunks of host two", lambda: "two" in l.durable())
    assert run.wait(60) == DONE, l.tails()
    assert_equal(net.source, l.target)
    assert {"lead", "one", "two"} == set(l.durable())
    assert l.said.count("is gone: it left") == 3 and "no heartbeat" not in l.said
    hosts = {w["host"] for w in json.loads(report.read_text())["workers"] if "host" in w}
    assert hosts == {"one", "two"}


@needs_network
def test_a_worker_that_others_cannot_reach_is_refused(net, load):
    l = load().lead()
    lost = l.work("one", ["apply"], options=["--key", net.keys / "worker.key", "--data-address", "127.0.0.1"])[0]
    assert lost.wait(20) == USAGE
    assert "which no other host can reach" in lost.log.read_text()
    l.work("one", options=["--key", net.keys / "worker.key"])
    l.finish()


# ---- without a network -------------------------------------------------------------------------


def refused(*argv):
    p = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), timeout=30)
    assert p.returncode == USAGE, p
    return p.stderr


def test_plain_tcp_is_refused_off_this_host(world):
    task = world.task(world.database("sqlite"), world.database("sqlite")).save()
    for program in STAGES:
        assert "--insecure-plain-tcp" in refused(BIN / f"godwit-{program}", "--coordinator", "tcp://10.77.0.1:7750")
    coordinator = [BIN / "godwit-coordinator", "--task", task, "--state", world.folder / "s", "--listen"]
    assert "--insecure-plain-tcp" in refused(*coordinator, "tcp://0.0.0.0:7750")
    assert "--insecure-plain-tcp" in refused(BIN / "godwit", "run", task, "--listen", "tcp://10.77.0.1:7750")
    keys = keygen(world.folder / "keys")
    worker, lead = keys / "worker.key", keys / "coordinator.key"
    assert "is a worker's" in refused(*coordinator, "tcp://10.77.0.1:7750", "--key", worker)
    assert "is a worker's" in refused(BIN / "godwit", "run", task, "--listen", "tcp://10.77.0.1:7750", "--key", worker)
    assert "name one of this host's addresses" in refused(BIN / "godwit", "run", task, "--listen", "tcp://*:7750", "--key", lead)
    assert "--listen" in refused(BIN / "godwit", "run", task, "--key", lead)
    assert "exclude each other" in refused(*coordinator, "tcp://10.77.0.1:1", "--key", lead, "--insecure-plain-tcp")
    lead.chmod(0o644)
    assert "chmod 600" in refused(*coordinator, "tcp://10.77.0.1:1", "--key", lead)
    assert "never overwritten" in refused(BIN / "godwit", "keygen", keys)


def test_a_run_that_listens_on_loopback(world):
    """Keys are for loopback, too, if they are there: local workers, plain; a worker that joins, with its key."""
    from harness import shop
    from harness.servers import free_port

    source, target = world.pair("sqlite", "sqlite")
    shop.fill(source, 500)
    keys = keygen(world.folder / "keys")
    task, port = world.task(source, target).own("chunk-size-kb", 16), free_port()
    run = world.start("run", task, "--workers", "0", "--listen", f"tcp://127.0.0.1:{port}", "--key", keys / "coordinator.key")
    workers = []
    try:
        for stage in STAGES:
            workers.append(subprocess.Popen(
                [BIN / f"godwit-{stage}", "--coordinator", f"tcp://127.0.0.1:{port}", "--key", keys / "worker.key"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()))
        r = run.wait(60).expect(DONE)
        assert [w.wait(20) for w in workers] == [0, 0, 0]  # told that it is over
    finally:
        for w in workers:
            w.kill()
            w.wait()
    assert_equal(source, target, tables=shop.TABLES)
    assert len(r.json["workers"]) == 4  # the coordinator, and three that joined
