"""The cases of ongoing replication: how fast a backlog drains, and how late a change is. See bench/README.md."""

import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from harness.servers import PASSWORD, MariaDB, PostgreSQL

TARGET_PG = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "track_commit_timestamp": "on"}
TARGET_MY = {"innodb-buffer-pool-size": "1G", "innodb-log-file-size": "1G", "log-bin": "binlog", "server-id": 2,
             "binlog-format": "ROW", "log-slave-updates": "ON"}


def cpu_of(pid):
    """CPU seconds of a server: its main process, the children that live, and those that it has reaped."""
    tick = os.sysconf("SC_CLK_TCK")

    def of(p):
        f = Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
        return f[1], [int(x) for x in f[11:15]]

    total = sum(of(pid)[1])
    for p in Path("/proc").iterdir():
        if p.name.isdigit():
            try:
                parent, times = of(p.name)
            except (FileNotFoundError, ProcessLookupError):
                continue
            if parent == str(pid):
                total += sum(times)
    return total / tick


class Streams:
    """Targets of their own, so that their CPU is not the source's; and what godwit and the native ways need."""

    def __init__(self, b):
        self.b = b
        folder = Path(tempfile.mkdtemp(dir=b.tmp))
        folder.chmod(0o755)
        self.pg2 = PostgreSQL(folder / "pg2", durable=True, settings=TARGET_PG)
        self.my2 = MariaDB(folder / "my2", durable=True, settings=TARGET_MY)
        self.pg2.start()
        self.my2.start()
        c = self.my2.connect_root()
        with c.cursor() as q:
            for who in ("bench@'%'", "bench@localhost"):
                q.execute(f"CREATE USER {who} IDENTIFIED BY 'bench'")
                q.execute(f"GRANT ALL ON *.* TO {who}")
        c.close()
        self.no = 0

    def stop(self):
        self.pg2.stop()
        self.my2.stop()

    def pg2_sql(self, db, sql):
        c = self.pg2.connect(db)
        with c.cursor() as q:
            q.execute(sql)
            got = q.fetchall() if q.description else None
        c.close()
        return got

    def my2_sql(self, sql, db=None):
        c = self.my2.connect(db)
        with c.cursor() as q:
            q.execute(sql)
            got = q.fetchall()
        c.close()
        return got

    def pg_target(self, db, params=""):
        return {"url": f"postgresql://gw@/{db}?host={self.pg2.folder}&port={self.pg2.port}{params}"}

    def my_target(self, db):
        return {"url": f"mysql://bench@localhost/{db}?socket={self.my2.socket}", "password-env": "GW_BENCH_PASSWORD"}

    def fresh(self, db):
        self.pg2_sql("postgres", f'DROP DATABASE IF EXISTS "{db}" WITH (FORCE)')
        self.pg2_sql("postgres", f'CREATE DATABASE "{db}"')
        for name in (db, "godwit"):
            self.my2_sql(f"DROP DATABASE IF EXISTS `{name}`")
        self.my2_sql(f"CREATE DATABASE `{db}`")

    def task(self, source, target, schema, to):
        self.no += 1
        name = f"stream{self.no}"
        path = self.b.tmp / f"{name}.json"
        path.write_text(json.dumps({
            "task": name,
            "migration-type": "full-load-and-cdc",
            "source": source,
            "target": target,
            "table-mappings": {"rules": [{"rule-type": "selection", "rule-id": "1", "rule-name": "1", "rule-action": "include",
                                          "object-locator": {"schema-name": schema, "table-name": "%"}}]},
            "task-settings": {"TargetMetadata": {"TargetSchema": to}},
        }))
        return path

    def command(self, verb, task, *options):
        return " ".join([str(self.b.args.godwit), verb, str(task), "--state", f"{self.b.tmp}/state/{task.stem}", *options])

    def godwit(self, verb, task, *options):
        env = dict(os.environ, GW_BENCH_PASSWORD="bench")
        return self.b.sh(self.command(verb, task, *options), self.b.tmp / "godwit.log", env=env)

    def drain(self, case, name, server, go, changes):
        """go() drains the backlog and returns when the target has it all; `changes`: row changes in it."""
        before = cpu_of(server.process.pid)
        began = time.monotonic()
        usage = go()
        wall = time.monotonic() - began
        self.b.rows.setdefault((case, name), []).append({
            "wall": wall,
            "cpu": usage.ru_utime + usage.ru_stime if usage else 0,
            "rss_mb": usage.ru_maxrss / 1024 if usage else 0,
            "rows": changes,
            "target_cpu": cpu_of(server.process.pid) - before,
        })
        print(f"  {case}: {name} {wall:.1f} s, target CPU {self.b.rows[(case, name)][-1]['target_cpu']:.1f} s", flush=True)

    def drain_with_godwit(self, case, server, task, changes):
        self.drain(case, "godwit", server, lambda: self.godwit("run", task, "--until", "caught-up")[1], changes)


def wait(what, every=0.02, seconds=900):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError("a contender does not end")
        time.sleep(every)


# ---- PostgreSQL's backlog ---------------------------------------------------------------------------


def pgbench(b, db, transactions, clients=4, extra=""):
    b.shell(f"pgbench -n -c {clients} -j 2 -t {max(1, transactions // clients)} {extra} -h {b.pg.folder} -p {b.pg.port} -U gw {db}")


def pg_sum(sql, db):
    return sql(db, "SELECT (SELECT count(*) FROM pgbench_history), (SELECT sum(abalance) FROM pgbench_accounts),"
                   " (SELECT sum(tbalance) FROM pgbench_tellers)")


def stream_pg(b):
    """A backlog of pgbench's TPC-B transactions, to PostgreSQL and to MariaDB, beside PostgreSQL's own subscription."""
    n = max(100, int(200000 * b.args.scale))
    s = Streams(b)
    try:
        for _ in range(b.args.rounds):
            b.pg_fresh("bs_src")
            b.shell(f"pgbench -i -q -s 10 -h {b.pg.folder} -p {b.pg.port} -U gw bs_src")
            b.pg_sql("bs_src", "ALTER TABLE pgbench_history ADD COLUMN hid bigserial PRIMARY KEY")
            s.fresh("bs_dst")
            s.pg2_sql("postgres", "DROP DATABASE IF EXISTS bs_sub WITH (FORCE)")
            s.pg2_sql("postgres", "CREATE DATABASE bs_sub")
            to_pg = s.task(b.pg_end("bs_src"), s.pg_target("bs_dst"), "public", "public")
            to_my = s.task(b.pg_end("bs_src"), s.my_target("bs_dst"), "public", "bs_dst")
            for task in (to_pg, to_my):
                s.godwit("run", task, "--until", "load")
            b.shell(f"pg_dump -h {b.pg.folder} -p {b.pg.port} -U gw bs_src |"
                    f" psql -X -q -v ON_ERROR_STOP=1 -h {s.pg2.folder} -p {s.pg2.port} -U gw bs_sub")
            b.pg_sql("bs_src", "CREATE PUBLICATION native FOR ALL TABLES")
            b.pg_sql("bs_src", "SELECT pg_create_logical_replication_slot('native', 'pgoutput')")
            s.pg2_sql("bs_sub", f"CREATE SUBSCRIPTION native CONNECTION 'host={b.pg.folder} port={b.pg.port} user=gw dbname=bs_src'"
                                " PUBLICATION native WITH (create_slot = false, copy_data = false, enabled = false)")
            pgbench(b, "bs_src", n)
            want = pg_sum(b.pg_sql, "bs_src")
            rows = want[0][0]

            def native():
                started = pg_sum(s.pg2_sql, "bs_sub")[0][0]
                s.pg2_sql("bs_sub", "ALTER SUBSCRIPTION native ENABLE")
                wait(lambda: s.pg2_sql("bs_sub", "SELECT EXISTS (SELECT FROM pgbench_history)")[0][0] or started)
                first = time.monotonic()
                wait(lambda: s.pg2_sql("bs_sub", "SELECT count(*) FROM pgbench_history")[0][0] >= rows, 0.1)
                native.wall = time.monotonic() - first

            s.drain_with_godwit("stream-pg-pg", s.pg2, to_pg, 4 * rows)
            s.drain("stream-pg-pg", "subscription", s.pg2, native, 4 * rows)
            b.rows[("stream-pg-pg", "subscription")][-1]["wall"] = native.wall  # from its first row on
            s.drain_with_godwit("stream-pg-my", s.my2, to_my, 4 * rows)
            b.rows.setdefault(("stream-pg-my", "subscription"), []).append(b.rows[("stream-pg-pg", "subscription")][-1])
            for got in (pg_sum(s.pg2_sql, "bs_dst"), pg_sum(s.pg2_sql, "bs_sub"),
                        pg_sum(lambda db, sql: s.my2_sql(sql, db), "bs_dst")):
                if [int(x) for x in got[0]] != [int(x) for x in want[0]]:
                    raise RuntimeError(f"a contender left {got} of {want}")
            s.pg2_sql("bs_sub", "DROP SUBSCRIPTION native")
            for task in (to_pg, to_my):
                s.godwit("drop", task)
    finally:
        s.stop()


# ---- MariaDB's backlog --------------------------------------------------------------------------------


def sysbench(b, db, command, *options):
    b.shell(f"sysbench oltp_write_only --db-driver=mysql --mysql-socket={b.my.socket} --mysql-user=bench --mysql-password=bench"
            f" --mysql-db={db} --tables=2 --table-size=100000 {' '.join(options)} {command}")


def my_sum(sql, schema):
    return [(int(x[0]), int(x[1] or 0)) for t in ("sbtest1", "sbtest2") for x in sql(f"SELECT count(*), sum(k) FROM {schema}.{t}")]


def replica(b, s, dump, place, want, parallel):
    """Drains with MariaDB's own replica: its database is put back to where the backlog begins first."""
    s.my2_sql("STOP SLAVE")
    s.my2_sql("DROP DATABASE IF EXISTS bsr_src")
    s.my2_sql("CREATE DATABASE bsr_src")
    b.shell(f"mariadb --no-defaults -S {s.my2.socket} -ubench -pbench bsr_src < {dump}")
    s.my2_sql(f"SET GLOBAL slave_parallel_threads = {4 if parallel else 0}")
    s.my2_sql("SET GLOBAL slave_parallel_mode = 'optimistic'")
    s.my2_sql(f"CHANGE MASTER TO master_host = '127.0.0.1', master_port = {b.my.port}, master_user = 'bench',"
              f" master_password = 'bench', master_log_file = '{place[0]}', master_log_pos = {place[1]}, master_use_gtid = no")

    def go():
        s.my2_sql("START SLAVE")
        wait(lambda: my_sum(s.my2_sql, "bsr_src") == want, 0.1)

    return go


def stream_my(b):
    """A backlog of sysbench's write-only transactions, to MariaDB and to PostgreSQL, beside MariaDB's own replica."""
    n = max(100, int(100000 * b.args.scale))
    s = Streams(b)
    try:
        for _ in range(b.args.rounds):
            b.my_fresh("bsr_src")
            s.fresh("bs_dst")
            sysbench(b, "bsr_src", "prepare")
            to_my = s.task(b.my_end("bsr_src"), s.my_target("bs_dst"), "bsr_src", "bs_dst")
            to_pg = s.task(b.my_end("bsr_src"), s.pg_target("bs_dst"), "bsr_src", "public")
            for task in (to_my, to_pg):
                s.godwit("run", task, "--until", "load")
            dump = b.tmp / "bsr.sql"
            b.shell(f"mariadb-dump --no-defaults -S {b.my.socket} -ubench -pbench bsr_src > {dump}")
            place = b.my_sql("SHOW MASTER STATUS")[0]
            sysbench(b, "bsr_src", "run", "--threads=4", f"--events={n}", "--time=0", "--rand-type=uniform")
            want = my_sum(b.my_sql, "bsr_src")
            s.drain_with_godwit("stream-my-my", s.my2, to_my, 4 * n)
            for name, parallel in (("replica", False), ("replica, optimistic", True)):
                s.drain("stream-my-my", name, s.my2, replica(b, s, dump, place, want, parallel), 4 * n)
            s.drain_with_godwit("stream-my-pg", s.pg2, to_pg, 4 * n)
            b.rows.setdefault(("stream-my-pg", "replica"), []).append(b.rows[("stream-my-my", "replica")][-1])
            for got in (my_sum(s.my2_sql, "bs_dst"), my_sum(lambda sql: s.pg2_sql("bs_dst", sql), "public")):
                if got != want:
                    raise RuntimeError(f"a contender left {got} of {want}")
            s.my2_sql("STOP SLAVE")
            for task in (to_my, to_pg):
                s.godwit("drop", task)
    finally:
        s.stop()


# ---- how late -----------------------------------------------------------------------------------------


def stream_latency(b):
    """A thousand transactions a second, and for each: commit on the target less commit on the source, by the servers' own clocks."""
    seconds = max(5, int(30 * b.args.scale))
    s = Streams(b)
    run = None
    try:
        b.pg_sql("postgres", "ALTER SYSTEM SET track_commit_timestamp = on")
        b.pg.restart()
        b.pg_fresh("bs_src")
        s.fresh("bs_dst")
        b.pg_sql("bs_src", "CREATE TABLE t (id bigserial PRIMARY KEY, v int)")
        task = s.task(b.pg_end("bs_src"), s.pg_target("bs_dst"), "public", "public")
        s.godwit("run", task, "--until", "load")
        script = b.tmp / "insert.sql"
        script.write_text("INSERT INTO t (v) VALUES (1);\n")
        run = subprocess.Popen(s.command("run", task).split(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        b.pg_sql("bs_src", "INSERT INTO t (v) VALUES (0)")
        wait(lambda: s.pg2_sql("bs_dst", "SELECT count(*) FROM t")[0][0] == 1)
        b.shell(f"pgbench -n -c 4 -j 2 -R 1000 -T {seconds} -f {script} -h {b.pg.folder} -p {b.pg.port} -U gw bs_src")
        n = b.pg_sql("bs_src", "SELECT count(*) FROM t")[0][0]
        wait(lambda: s.pg2_sql("bs_dst", "SELECT count(*) FROM t")[0][0] == n, 0.1)
        times = "SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM t"
        at = dict(b.pg_sql("bs_src", times))
        late = sorted(float(t - at[i]) * 1000 for i, t in s.pg2_sql("bs_dst", times))
        b.figures["stream-latency"] = {"transactions": n, "p50": statistics.median(late), "p99": late[int(len(late) * 0.99)]}
        print(f"  stream-latency: {n} transactions, p50 {b.figures['stream-latency']['p50']:.0f} ms,"
              f" p99 {b.figures['stream-latency']['p99']:.0f} ms", flush=True)
        run.terminate()
        run.wait(60)
        s.godwit("drop", task)
    finally:
        if run and run.poll() is None:
            run.kill()
        s.stop()


class Delay:
    """A TCP proxy to a Unix socket that holds everything back for `ms`, both ways together: a round trip of a distant host."""

    def __init__(self, path, ms):
        script = Path(__file__).with_name("delay.py")
        self.process = subprocess.Popen(["/usr/bin/python3", str(script), str(path), str(ms)], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def stop(self):
        self.process.terminate()
        self.process.wait()


def stream_far(b):
    """Single-row transactions, with a round trip of 10 ms to the target: transactions a second."""
    n = max(1000, int(200000 * b.args.scale))
    s = Streams(b)
    delay = Delay(f"{s.pg2.folder}/.s.PGSQL.{s.pg2.port}", 10)
    try:
        for _ in range(b.args.rounds):
            b.pg_fresh("bs_src")
            s.fresh("bs_dst")
            b.pg_sql("bs_src", "CREATE TABLE t (id bigserial PRIMARY KEY, v int)")
            target = {"url": f"postgresql://gw@127.0.0.1:{delay.port}/bs_dst?sslmode=disable", "password-env": "GW_BENCH_PG"}
            task = s.task(b.pg_end("bs_src"), target, "public", "public")
            os.environ["GW_BENCH_PG"] = PASSWORD
            s.godwit("run", task, "--until", "load")
            script = b.tmp / "insert.sql"
            script.write_text("INSERT INTO t (v) VALUES (1);\n")
            pgbench(b, "bs_src", n, extra=f"-f {script}")
            s.drain("stream-far", "godwit", s.pg2, lambda: s.godwit("run", task, "--until", "caught-up")[1], n)
            s.godwit("drop", task)
    finally:
        delay.stop()
        s.stop()


def stream_source(b):
    """What a load leaves of the source: pgbench's transactions a second during one, against pgbench alone."""
    s = Streams(b)
    try:
        b.pg_fresh("bs_src")
        b.shell(f"pgbench -i -q -s {max(1, int(50 * b.args.scale))} -h {b.pg.folder} -p {b.pg.port} -U gw bs_src")
        b.pg_sql("bs_src", "ALTER TABLE pgbench_history ADD COLUMN hid bigserial PRIMARY KEY")

        def rate(seconds, until=None):
            command = f"pgbench -n -c 4 -j 2 -T {seconds} -h {b.pg.folder} -p {b.pg.port} -U gw bs_src"
            p = subprocess.Popen(command.split(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            out = p.communicate()[0]
            return next(float(x.split()[2]) for x in out.splitlines() if x.startswith("tps"))

        for _ in range(b.args.rounds):
            s.fresh("bs_dst")
            task = s.task(b.pg_end("bs_src"), s.pg_target("bs_dst"), "public", "public")
            seconds = max(4, int(10 * b.args.scale))
            alone = rate(seconds)
            load = subprocess.Popen(s.command("run", task, "--until", "load").split(), stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
            beside = rate(seconds)
            load.wait(600)
            f = b.figures.setdefault("stream-source", {"kept": []})
            f["kept"].append(beside / alone)
            print(f"  stream-source: {alone:.0f} tps alone, {beside:.0f} beside a load", flush=True)
            s.godwit("drop", task)
    finally:
        s.stop()


CASES = {"stream-pg": stream_pg, "stream-my": stream_my, "stream-latency": stream_latency, "stream-far": stream_far,
         "stream-source": stream_source}
# case, peer -> ratio of wall seconds to reach
LINES = {
    ("stream-pg-pg", "subscription"): 1.00,
    ("stream-pg-my", "subscription"): 1.00,
    ("stream-my-my", "replica"): 0.40,
    ("stream-my-pg", "replica"): 1.00,
}


def verdict(got, want, most=True):
    return f"{'≤' if most else '≥'} {want:,} {'reached' if (got <= want if most else got >= want) else 'MISSED'}"


def report(b, median):
    """Lines of the report for figures that are not a ratio of wall seconds."""
    out = []
    if ("stream-pg-pg", "subscription") in b.rows:
        got = median(b, ("stream-pg-pg", "godwit"), "target_cpu") / median(b, ("stream-pg-pg", "subscription"), "target_cpu")
        out.append(f"| stream-pg-pg | CPU of the target's server, to the subscription's | | {got:.2f} | {verdict(got, 0.5)} | | |")
    if ("stream-far", "godwit") in b.rows:
        got = b.rows[("stream-far", "godwit")][0]["rows"] / median(b, ("stream-far", "godwit"), "wall")
        out.append(f"| stream-far | transactions a second over 10 ms | | {got:,.0f} | {verdict(got, 10000, False)} | | |")
    if "stream-latency" in b.figures:
        f = b.figures["stream-latency"]
        out.append(f"| stream-latency | p50 at 1,000 a second | | {f['p50']:.0f} ms | {verdict(f['p50'], 100)} | | |")
        out.append(f"| stream-latency | p99 | | {f['p99']:.0f} ms | {verdict(f['p99'], 500)} | | |")
    if "stream-source" in b.figures:
        got = statistics.median(b.figures["stream-source"]["kept"])
        out.append(f"| stream-source | what pgbench keeps beside a load | | {got:.2f} | {verdict(got, 0.7, False)} | | |")
    return out
