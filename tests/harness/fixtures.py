"""pytest fixtures: servers once per session (each pytest-xdist worker has its own), databases and folders per test."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from harness.database import MySQLDatabase, MySQLServerDatabase, PostgreSQLDatabase, SQLiteDatabase
from harness.run import BIN, Run
from harness.servers import MariaDB, MySQL, PostgreSQL, mysqld_folder
from harness.task import Task

ENGINES = ("postgresql", "mysql", "sqlite")
# Tests say "mysql" for MariaDB, which is always there, and "mysqld" for MySQL, which is not: such a test is then skipped.
FOLDERS = {"mysqld": "mysql"}
KINDS = {
    "postgresql": (PostgreSQL, PostgreSQLDatabase),
    "mysql": (MariaDB, MySQLDatabase),
    "mysqld": (MySQL, MySQLServerDatabase),
}
if os.environ.get("GW_TEST_USE_MYSQLD"):  # for a look at what else differs: many tests write MariaDB's SQL
    KINDS["mysql"] = KINDS["mysqld"]


def built(source=None, target=None):
    """Whether the build has the engine (an engine is a folder; a build may be without one)."""
    root = Path(os.environ.get("GODWIT_SRC", Path(__file__).resolve().parents[2]))
    source, target = FOLDERS.get(source, source), FOLDERS.get(target, target)
    return (source is None or (root / "capture/sources" / source / "CMakeLists.txt").exists()) and (
        target is None or (root / "apply/targets" / target / "CMakeLists.txt").exists()
    )


@pytest.fixture(scope="session")
def base():
    """A short path, open to the servers' users: unix sockets allow 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="gwt-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Servers:
    """Starts a server when the first test asks for it."""

    def __init__(self, base):
        self.base = base
        self.all = {}

    def get(self, kind, **kw):
        name = "-".join([kind] + [f"{k}" for k, v in sorted(kw.items()) if v])
        if name not in self.all:
            self.all[name] = KINDS[kind][0](self.base / name, **kw)
        server = self.all[name]
        if not server.running():
            server.start()
        return server

    def stop(self):
        for s in self.all.values():
            s.stop()


@pytest.fixture(scope="session")
def servers(base):
    s = Servers(base)
    yield s
    s.stop()


class World:
    """What a test needs: databases, tasks and runs, and a folder for them."""

    def __init__(self, folder, servers):
        self.folder, self.servers = folder, servers
        self.databases = []
        self.runs = []

    def database(self, engine, durable=False, prefix="db"):
        if engine == "sqlite":
            db = SQLiteDatabase(self.folder / f"{prefix}_{len(self.databases)}.sqlite")
        else:
            if engine == "mysqld" and not mysqld_folder():
                pytest.skip("no MySQL server: tests/harness/get-mysql gets one")
            server = self.servers.get(engine, durable=durable)
            db = KINDS[engine][1](server, server.new_name(prefix))
        self.databases.append(db)
        return db

    def pair(self, source, target, **kw):
        if not built(source, target):
            pytest.skip(f"this build has no {source} source or no {target} target")
        return self.database(source, prefix="src", **kw), self.database(target, prefix="tgt", **kw)

    def task(self, source, target, **kw):
        return Task(self.folder, source, target, **kw)

    def start(self, command, task, *options, **kw):
        r = Run(command, task, *options, **kw)
        self.runs.append(r)
        return r

    def godwit(self, command, task, *options, seconds=120, **kw):
        return self.start(command, task, *options, **kw).wait(seconds)

    def run(self, task, *options, **kw):
        return self.godwit("run", task, *options, **kw)

    def close(self):
        for r in self.runs:
            r.sweep()
        for db in self.databases:
            try:
                if db.engine == "postgresql":
                    c = db.server.connect()
                    with c.cursor() as q:
                        q.execute(f"DROP DATABASE IF EXISTS {db.quote(db.name)} WITH (FORCE)")
                    c.close()
                elif db.engine == "mysql":
                    c = db.server.connect()
                    with c.cursor() as q:
                        q.execute(f"DROP DATABASE IF EXISTS {db.quote(db.name)}")
                        # Control rows of a MySQL target are in a database beside it.
                        q.execute("DROP DATABASE IF EXISTS godwit")
                    c.close()
            except Exception as e:  # the server may be down by the test's own hand
                print(f"cannot drop {db.name}: {e}")


@pytest.fixture
def world(base, servers, request):
    folder = Path(tempfile.mkdtemp(prefix="w-", dir=base))
    w = request.node.world = World(folder, servers)
    yield w
    w.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the logs of its runs: the folder is gone afterwards."""
    report = (yield).get_result()
    world = getattr(item, "world", None)
    if report.when == "call" and report.failed and world:
        for r in world.runs[-2:]:
            report.sections.append(("logs of " + " ".join(r.argv[1:3]), r.logs()))


@pytest.fixture(scope="session", autouse=True)
def product_is_built(request):
    needs = any("compare" not in str(i.fspath) and "lint" not in str(i.fspath) for i in request.session.items)
    if needs and not (BIN / "godwit").exists():
        pytest.exit(f"{BIN}/godwit is not there: build it first (tests/run does)", returncode=2)


def every_pair(mysqld=False):
    """Pairs of engines; with `mysqld` also those with a real MySQL on a side, or on both."""
    names = ENGINES + ("mysqld",) if mysqld else ENGINES
    return [(s, t) for s in names for t in names]


def pair_ids(pair):
    return f"{pair[0]}-{pair[1]}"
