"""Throw-away PostgreSQL, MariaDB and MySQL servers: loopback only, or on the address of a host of harness/network.py, in a
temporary folder, ended by their own pid.

A server dies with the process that started it (PR_SET_PDEATHSIG), so that nothing outlives an interrupted run.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PASSWORD = "s3cret pass%word"
USER = "gw"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(what, seconds, ready, alive=lambda: True):
    """Polls ready() until it is true; never longer than `seconds`, and no longer than alive()."""
    end = time.monotonic() + seconds
    while True:
        got = ready()
        if got:
            return got
        if not alive():
            raise RuntimeError(f"{what}: the process has ended")
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def run_checked(argv, **kw):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    if p.returncode:
        raise RuntimeError(f"{argv[0]} ended with {p.returncode}:\n{p.stdout[-4000:]}")
    return p.stdout


class Server:
    """What both kinds have in common. `folder` is the server's own."""

    engine = ""
    stop_signal = signal.SIGTERM

    def __init__(self, folder, host=None):
        self.folder = Path(folder)
        self.host = host  # of a Network; tests reach the server over its Unix socket then
        self.address = host.address if host else "127.0.0.1"
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.log_path = self.folder / "server.log"
        self.process = None
        self.made = False
        self.count = 0

    def command(self):
        raise NotImplementedError

    def make(self):
        raise NotImplementedError

    def answers(self):
        raise NotImplementedError

    def start(self):
        if not self.made:
            self.make()
            self.made = True
        with open(self.log_path, "ab") as log:
            # A session of its own: a terminal's Ctrl-C is for pytest, which then stops the server in order.
            self.process = subprocess.Popen(
                self.host.command(self.command()) if self.host else self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        try:
            wait_until(f"{self.engine} on port {self.port}", 60, self.answers, self.running)
        except Exception as e:
            self.stop()
            raise RuntimeError(f"{e}\n{self.log_tail()}") from e
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, sig=None, seconds=30):
        if not self.running():
            return
        self.process.send_signal(sig or self.stop_signal)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def crash(self):
        """The server ends without a checkpoint, as in a crash."""
        raise NotImplementedError

    def restart(self):
        self.stop()
        self.start()

    def log_tail(self, n=3000):
        try:
            return self.log_path.read_text(errors="replace")[-n:]
        except FileNotFoundError:
            return ""

    def new_name(self, prefix):
        self.count += 1
        return f"{prefix}_{self.count}"


def pg_bin():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[4]))
    if not found:
        raise RuntimeError("PostgreSQL is not installed: deploy/install-deps --test")
    return found[-1].parent


class PostgreSQL(Server):
    engine = "postgresql"
    stop_signal = signal.SIGINT  # fast: sessions are ended

    def __init__(self, folder, durable=False, settings=None, host=None):
        super().__init__(folder, host)
        self.bin = pg_bin()
        self.data = self.folder / "data"
        self.durable = durable
        self.settings = settings or {}

    def as_user(self):
        # The server refuses to run as root.
        argv = ["setpriv", "--pdeathsig", "INT"]
        if os.geteuid() == 0:
            argv += ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        return argv

    def make(self):
        if os.geteuid() == 0:
            pw = pwd.getpwnam("postgres")
            os.chown(self.folder, pw.pw_uid, pw.pw_gid)
        pwfile = self.folder / "pw"
        pwfile.write_text(PASSWORD)
        pwfile.chmod(0o644)
        run_checked(
            self.as_user()
            + [self.bin / "initdb", "-D", self.data, "-U", USER, "--pwfile", pwfile, "--auth-local=trust"]
            + ["--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"],
            cwd="/",
        )
        if self.host:
            with open(self.data / "pg_hba.conf", "a") as f:
                f.write("host all all 10.77.0.0/24 scram-sha-256\n")

    def command(self):
        settings = {
            "listen_addresses": self.address,
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "on" if self.durable else "off",
            "max_connections": 200,
            "shared_buffers": "128MB",
            "max_wal_size": "2GB",
            # Streams of changes.
            "wal_level": "logical",
            "max_replication_slots": 40,
            "max_wal_senders": 40,
            "max_prepared_transactions": 10,
            "log_min_messages": "warning",
            "log_statement": "none",
            # Sessions of tests have settings of their own; the product's must not depend on these.
            "timezone": "Asia/Kolkata",
            "datestyle": "SQL, DMY",
            "extra_float_digits": 0,
            "bytea_output": "escape",
            "intervalstyle": "sql_standard",
        }
        settings.update(self.settings)
        argv = self.as_user() + [self.bin / "postgres", "-D", self.data]
        for k, v in settings.items():
            argv += ["-c", f"{k}={v}"]
        return [str(a) for a in argv]

    def crash(self):
        self.stop(signal.SIGQUIT)  # immediate

    def connect(self, database="postgres", **kw):
        import psycopg2

        c = psycopg2.connect(
            host=str(self.folder) if self.host else self.address, port=self.port, user=USER, password=PASSWORD,
            dbname=database, connect_timeout=10, **kw
        )
        c.autocommit = True
        return c

    def answers(self):
        import psycopg2

        try:
            self.connect().close()
            return True
        except psycopg2.OperationalError:
            return False

    def backends(self, database, application=None):
        """Pids of the server processes that serve `database`."""
        c = self.connect()
        try:
            with c.cursor() as q:
                q.execute(
                    "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
                    " AND pid <> pg_backend_pid()",
                    [database],
                )
                return [r[0] for r in q.fetchall()]
        finally:
            c.close()


class MariaDB(Server):
    engine = "mysql"

    def __init__(self, folder, durable=False, settings=None, host=None):
        super().__init__(folder, host)
        self.data = self.folder / "data"
        self.socket = self.folder / "s"
        self.durable = durable
        self.settings = settings or {}

    def make(self):
        if not shutil.which("mariadbd"):
            raise RuntimeError("MariaDB is not installed: deploy/install-deps --test")
        argv = ["mariadb-install-db", "--no-defaults", f"--datadir={self.data}", "--skip-test-db"]
        argv += ["--auth-root-authentication-method=normal", f"--tmpdir={self.tmpdir()}"] + self.user()
        run_checked(argv, cwd=self.folder)

    def tmpdir(self):
        folder = self.folder / "tmp"
        folder.mkdir(exist_ok=True)
        return folder

    def user(self):
        return ["--user=root"] if os.geteuid() == 0 else []

    def command(self):
        settings = {
            "datadir": self.data,
            "socket": self.socket,
            "pid-file": self.folder / "pid",
            "tmpdir": self.tmpdir(),  # a server that starts clears its own of what others may be using
            "port": self.port,
            "bind-address": self.address,
            "skip-networking": 0,
            "local-infile": 1,
            "skip-name-resolve": 1,
            "innodb-flush-log-at-trx-commit": 1 if self.durable else 0,
            "innodb-buffer-pool-size": "128M",
            "innodb-log-file-size": "64M",
            "max-allowed-packet": "64M",
            "character-set-server": "utf8mb4",
            "max-connections": 200,
            # What a stream of changes needs.
            "server-id": 1,
            "log-bin": "mysql-bin",
            "binlog-format": "ROW",
            "binlog-row-image": "FULL",
            "binlog-row-metadata": "FULL",
            # The product's sessions must not depend on the server's defaults.
            "default-time-zone": "+05:30",
            "sql-mode": "",
        }
        settings.update(self.settings)
        argv = ["setpriv", "--pdeathsig", "TERM", shutil.which("mariadbd"), "--no-defaults"] + self.user()
        return [str(a) for a in argv] + [f"--{k}={v}" for k, v in settings.items()]

    def crash(self):
        self.stop(signal.SIGKILL)

    def connect(self, database=None, user=USER, password=PASSWORD, **kw):
        import pymysql

        kw.setdefault("charset", "utf8mb4")
        kw.setdefault("autocommit", True)
        if self.host:
            kw["unix_socket"] = str(self.socket)
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=user, password=password, database=database, connect_timeout=10, **kw
        )

    def connect_root(self):
        import pymysql

        return pymysql.connect(unix_socket=str(self.socket), user="root", autocommit=True)

    def answers(self):
        import pymysql

        try:
            c = self.connect_root()
        except pymysql.err.MySQLError:
            return False
        with c.cursor() as q:
            for whence in ("localhost", "10.77.0.%%") if self.host else ("127.0.0.1",):
                q.execute(f"CREATE USER IF NOT EXISTS {USER}@'{whence}' IDENTIFIED BY %s", [PASSWORD])
                q.execute(f"GRANT ALL ON *.* TO {USER}@'{whence.replace('%%', '%')}' WITH GRANT OPTION")
        c.close()
        return True

    def connections(self, database):
        c = self.connect_root()
        with c.cursor() as q:
            q.execute("SELECT id FROM information_schema.processlist WHERE db = %s", [database])
            ids = [r[0] for r in q.fetchall()]
        c.close()
        return ids


def mysqld_folder():
    """Where get-mysql has put a MySQL server; None if it has not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("GW_TEST_MYSQL") or cache / "godwit/mysql")
    return folder if (folder / "mysqld").exists() else None


class MySQL(MariaDB):
    """The other server of the mysql engine. Optional: tests/harness/get-mysql puts it into a folder."""

    def __init__(self, folder, **kw):
        super().__init__(folder, **kw)
        self.program = mysqld_folder()

    def base(self):
        # An older glibc would not run it, and its files are not where it was built for.
        usr = self.program / "root/usr"
        argv = ["setpriv", "--pdeathsig", "TERM", self.program / "mysqld", "--no-defaults", f"--basedir={usr}", *self.user()]
        return argv + [f"--lc-messages-dir={usr}/share/mysql", f"--character-sets-dir={usr}/share/mysql/charsets",
                       f"--plugin-dir={usr}/lib/mysql/plugin", f"--datadir={self.data}", f"--tmpdir={self.tmpdir()}",
                       "--secure-file-priv="]

    def make(self):
        run_checked([str(a) for a in self.base() + ["--initialize-insecure"]], cwd=self.folder)

    def command(self):
        settings = {
            "socket": self.socket,
            "pid-file": self.folder / "pid",
            "port": self.port,
            "bind-address": "127.0.0.1",
            "mysqlx": 0,
            "local-infile": 1,
            "innodb-flush-log-at-trx-commit": 1 if self.durable else 0,
            "innodb-buffer-pool-size": "128M",
            "innodb-redo-log-capacity": "128M",
            "max-allowed-packet": "64M",
            "max-connections": 200,
            "default-time-zone": "+05:30",
            "sql-mode": "",
        }
        settings.update(self.settings)
        return [str(a) for a in self.base()] + [f"--{k}={v}" for k, v in settings.items()]

    def connect(self, database=None, user=USER, password=PASSWORD, **kw):
        import pymysql

        # A password of caching_sha2 goes over TLS, as the product's does, or over a socket.
        kw.setdefault("charset", "utf8mb4")
        kw.setdefault("autocommit", True)
        return pymysql.connect(unix_socket=str(self.socket), user=user, password=password, database=database, **kw)

    def answers(self):
        if not super().answers():
            return False
        c = self.connect_root()
        with c.cursor() as q:
            q.execute(f"CREATE USER IF NOT EXISTS {USER}@localhost IDENTIFIED BY %s", [PASSWORD])
            q.execute(f"GRANT ALL ON *.* TO {USER}@localhost WITH GRANT OPTION")
        c.close()
        return True
