"""What a source's server, roles and settings do to a reader: fewer rows, or other texts, without an error."""

import subprocess
import time

import pytest

from compare.compare import assert_equal
from harness.run import DONE, TABLE_ERROR, UNREACHABLE, USAGE
from harness.servers import PASSWORD, USER, PostgreSQL, run_checked
from traps import hold

servers = pytest.mark.parametrize("engine", ["postgresql", "mysql"])


@pytest.fixture
def reader(world):
    """Makes a role that is no superuser, and the task that reads as it."""
    made = []

    def make(source, *grants):
        name = f"reader_{source.name}"
        made.append((source, name))
        source.script([f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'", *(g.replace("$", name) for g in grants)])
        return name

    def task(source, target, name, **kw):
        t = world.task(source, target, **kw)
        t.body["source"]["url"] = source.url.replace(f"//{USER}@", f"//{name}@")
        return t

    make.task = task
    yield make
    for source, name in made:
        source.script([f"DROP OWNED BY {name}", f"DROP ROLE {name}"])


# ---- rows that are hidden


def test_row_security(world, reader):
    """A policy cuts what COPY answers, without an error."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i",
                   "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON t USING (id % 2 = 0)"])
    name = reader(source, "GRANT SELECT ON t TO $")
    r = hold.refused(world.run(reader.task(source, target, name)), "row.security")
    hold.finding(r, "row.security", table="t", severity=("error",))
    # The owner's own superuser sees all.
    world.run(world.task(source, target, name="all")).expect(DONE)
    assert_equal(source, target, tables=["t"])


def test_row_security_that_comes_behind_the_check(world, reader):
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i"])
    name = reader(source, "GRANT SELECT ON t TO $")
    task = reader.task(source, target, name)
    run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@1", once=world.folder / "once")
    hold.change(source, "ALTER TABLE t ENABLE ROW LEVEL SECURITY", "CREATE POLICY p ON t USING (id % 2 = 0)")
    hold.go_on(stopped)
    hold.equal_or_refused(run.wait(60), source, target, "row.level security|row.security", tables=["t"])


@pytest.mark.parametrize("grants", [["GRANT SELECT ON t TO $"], ["GRANT SELECT ON t, t1 TO $"], ["GRANT SELECT (id, v) ON u TO $", "GRANT SELECT ON t, t1, t2 TO $"],
                                    []], ids=["root-only", "one-partition", "columns-only", "nothing"])
def test_privileges_that_do_not_suffice(world, reader, grants):
    """What the load will need is looked at by the check: partitions are read one by one, and a table is locked as a whole."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)", "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (50)",
                   "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (50) TO (200)", "INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i",
                   "CREATE TABLE u (id int, v text)", "INSERT INTO u VALUES (1, 'x')"])
    name = reader(source, *grants)
    task = reader.task(source, target, name, tables="u" if "columns" in str(grants) or "(id, v)" in str(grants) else "t")
    checked = world.godwit("check", task)
    loaded = world.run(task)
    if checked.code == DONE and not [f for f in checked.findings if f["severity"] == "error"]:
        assert loaded.code == DONE, loaded.describe("the check had said that nothing stands in the way")
        assert_equal(source, target, tables=[t["TableName"] for t in loaded.json["tables"]])
    else:
        hold.refused(loaded, "read|select|privilege|permission|no table|matches")


def test_a_sequence_that_may_not_be_read(world, reader):
    """A table whose rows are there must not fail over its sequence's value, and it must be said."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE t (id serial PRIMARY KEY, v text)", "CREATE INDEX t_v ON t (v)",
                   "INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 100)"])
    name = reader(source, "GRANT SELECT ON t TO $")
    r = world.run(reader.task(source, target, name))
    assert target.tables() == [] or target.count("t") in (0, 100)
    if r.code == DONE:
        assert_equal(source, target, tables=["t"])
        if not works(target):
            hold.finding(r, "sequence|t_id_seq")
    else:
        hold.refused(r, "sequence|t_id_seq")
        hold.finding(r, "sequence|t_id_seq", severity=("error",))


def works(target):
    try:
        target.execute("INSERT INTO t (v) VALUES ('next')")
        return True
    except Exception:
        return False


@pytest.mark.parametrize("value, called", [(9223372036854775807, "true"), (-9223372036854775808, "false")])
def test_a_sequence_at_its_end(world, value, called):
    """The next value of an exhausted sequence is no bigint."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE t (id bigserial PRIMARY KEY, v text)", "INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 100)",
                   "ALTER SEQUENCE t_id_seq MINVALUE -9223372036854775808", f"SELECT setval('t_id_seq', {value}, {called})"])
    world.run(world.task(source, target)).expect(DONE)
    assert_equal(source, target, tables=["t"])
    # No number that is taken, whatever comes next.
    try:
        target.execute("INSERT INTO t (v) VALUES ('next')")
    except Exception as e:
        assert "reached" in str(e)
    assert target.count("t") == target.one("SELECT count(DISTINCT id) FROM t") >= 100


# ---- settings that change texts


SETTINGS = {
    "datestyle": "'German'", "intervalstyle": "'postgres_verbose'", "timezone": "'Pacific/Apia'", "extra_float_digits": "-10",
    "bytea_output": "'escape'", "xmloption": "'content'", "search_path": "'nowhere'", "statement_timeout": "'200ms'",
    "lock_timeout": "'200ms'", "idle_in_transaction_session_timeout": "'1s'", "default_transaction_isolation": "'read committed'",
    "row_security": "off", "standard_conforming_strings": "off", "escape_string_warning": "on", "client_min_messages": "error",
    "quote_all_identifiers": "on", "lc_monetary": "'C'", "transform_null_equals": "on",
    "check_function_bodies": "on", "default_table_access_method": "heap", "client_encoding": "'LATIN1'", "work_mem": "'64kB'",
    "default_transaction_deferrable": "on", "gin_fuzzy_search_limit": "1", "synchronous_commit": "off",
}


def test_settings_of_the_database(world):
    """Defaults of a database or role hold for the product's sessions as well, unless these set their own."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["SET lc_monetary = 'C'", "SET search_path = public",
                   "CREATE TABLE t (id int PRIMARY KEY, f float8, r real, d date, ts timestamptz, i interval, b bytea, j jsonb, a text[], m money, n numeric, x text,"
                   " xm text)",
                   "INSERT INTO t SELECT i, pi() * i, pi() * i, '2024-02-01'::date + i, '2024-02-03 04:05:06.789012+00'::timestamptz + i * interval '1 hour',"
                   " i * interval '1 mon 1 day 1.5 sec', decode(md5(i::text), 'hex'), jsonb_build_object('k', i / 7.0), ARRAY['NULL', NULL, E'\\\\', '\"', ''],"
                   " (i * 1.25)::numeric::money, i / 7.0::numeric, E'\\\\é' || i, '<a/>' FROM generate_series(1, 3000) i",
                   *(f"ALTER DATABASE {source.name} SET {k} = {v}" for k, v in SETTINGS.items()),
                   *(f"ALTER DATABASE {target.name} SET {k} = {v}" for k, v in SETTINGS.items()),
                   f"ALTER DATABASE {source.name} SET default_transaction_read_only = on"])
    task = world.task(source, target).own("chunk-size-kb", 64)
    # Longer than its time-outs for idling and for statements.
    run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@3", once=world.folder / "once")
    time.sleep(1.5)
    hold.go_on(stopped)
    r = run.wait(60).expect(DONE)
    assert r.json["statistics"]["snapshots"] == 1, "a time-out of the database ended the snapshot"
    own = "SET client_encoding = 'UTF8'; SET statement_timeout = 0; SET lc_monetary = 'C'; "
    for column in ("id", "f", "r", "d", "ts", "i", "b", "j", "a", "m", "n", "x", "xm"):
        sums = f"SELECT count(*), sum(hashtextextended({column}::text, 0)::numeric), min({column}::text) FROM public.t"
        assert target.execute(own + sums) == source.execute(own + sums), column


@pytest.mark.parametrize("side", ["source", "target"])
def test_array_nulls(world, side):
    """With array_nulls = off a NULL within an array is read as the word."""
    source, target = world.pair("postgresql", "postgresql")
    db = source if side == "source" else target
    source.script(["CREATE TABLE t (id int PRIMARY KEY, a text[], n int[])",
                   "INSERT INTO t VALUES (1, ARRAY['NULL', NULL, 'null'], ARRAY[1, NULL]), (2, ARRAY[[NULL, 'a'], ['b', NULL]]::text[], NULL)",
                   f"ALTER DATABASE {db.name} SET array_nulls = off"])
    world.run(world.task(source, target)).expect(DONE)
    assert target.execute("SELECT a, n FROM t ORDER BY id") == source.execute("SELECT a, n FROM t ORDER BY id")


MY_SETTINGS = {
    "sql_mode": "'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,ORACLE'", "time_zone": "'-11:00'",
    "max_statement_time": "0.3", "tx_isolation": "'READ-UNCOMMITTED'", "sql_select_limit": "10", "lock_wait_timeout": "1",
    "character_set_client": "latin1", "character_set_results": "latin1", "character_set_connection": "latin1", "collation_connection": "latin1_swedish_ci",
    "group_concat_max_len": "10", "old_mode": "'ZERO_DATE_TIME_CAST'", "div_precision_increment": "1", "autocommit": "0", "sql_safe_updates": "1",
    "max_join_size": "10", "net_write_timeout": "2", "wait_timeout": "2", "interactive_timeout": "2",
    "idle_transaction_timeout": "1", "sql_auto_is_null": "1", "explicit_defaults_for_timestamp": "0", "foreign_key_checks": "1",
    "read_only": "0", "lc_time_names": "'de_DE'", "default_week_format": "3", "max_sort_length": "8",
}


def test_settings_of_the_server_mysql(world):
    """Global defaults, and what init_connect does to every session that is no superuser's."""
    source, target = world.pair("mysql", "mysql")
    source.script(["CREATE TABLE t (id int PRIMARY KEY, f double, r float, d date, ts timestamp(6) NULL, dt datetime(3), b varbinary(40), c char(10), x varchar(40),"
                   " e enum('a\\\\','b'), n decimal(20,8), ti time(6), z int NOT NULL DEFAULT 7)",
                   "INSERT INTO t SELECT seq, PI() * seq, PI() * seq, ADDDATE('2024-02-01', seq), TIMESTAMPADD(SECOND, seq * 3600.5, '2024-02-03 04:05:06.789012'),"
                   " TIMESTAMPADD(SECOND, seq * 3600.5, '2024-02-03'), UNHEX(MD5(seq)), CONCAT('c', seq), CONCAT('é\\\\\\'\"|', seq), 1 + seq % 2, seq / 7, SEC_TO_TIME(seq * 1.5), 0"
                   " FROM seq_1_to_3000", "ANALYZE TABLE t"])
    server = source.server
    c = server.connect_root()
    q = c.cursor()
    before = {}
    try:
        for k, v in MY_SETTINGS.items():
            q.execute("SELECT @@global." + k)
            before[k] = q.fetchone()[0]
            q.execute(f"SET GLOBAL {k} = {v}")
        q.execute("SELECT @@global.init_connect")
        before["init_connect"] = q.fetchone()[0]
        q.execute("SET GLOBAL init_connect = 'SET SESSION sql_select_limit = 3, SESSION time_zone = ''+13:00'''")
        task = world.task(source, target).own("chunk-size-kb", 64)
        run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@3", once=world.folder / "once")
        time.sleep(2.5)
        hold.go_on(stopped)
        r = run.wait(60)
    finally:
        for k, v in before.items():
            q.execute(f"SET GLOBAL {k} = %s", [v])
        c.close()
    r.expect(DONE)
    assert r.json["statistics"]["snapshots"] == 1, "a time-out of the server ended the snapshot"
    assert_equal(source, target, tables=["t"])


@pytest.mark.parametrize("setting, value", [("completion_type", "'CHAIN'"), ("completion_type", "'RELEASE'"), ("autocommit", "0")])
def test_a_server_that_chains_transactions(world, setting, value):
    """A COMMIT that begins the next transaction, or ends the session."""
    source, target = world.pair("mysql", "mysql")
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v varchar(300))", "INSERT INTO t SELECT seq, REPEAT('x', 250) FROM seq_1_to_2000"])
    c = source.server.connect_root()
    q = c.cursor()
    q.execute("SELECT @@global." + setting)
    before = q.fetchone()[0]
    try:
        q.execute(f"SET GLOBAL {setting} = {value}")
        r = world.run(world.task(source, target).own("chunk-size-kb", 64), seconds=30)
    finally:
        q.execute(f"SET GLOBAL {setting} = %s", [before])
        c.close()
    r.expect(DONE)
    assert_equal(source, target, tables=["t"])


# ---- the wrong server


def test_a_standby_as_source(world, servers, base):
    """A standby's snapshot names no running transactions: two readers cannot prove that they see the same point."""
    primary = servers.get("postgresql")
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i"])
    standby = PostgreSQL(world.folder / "standby")
    world.folder.chmod(0o755)
    subprocess.run(["chown", "postgres", str(standby.folder)], check=True)
    # pg_hba.conf has entries for replication over the loopback by password.
    run_checked([*standby.as_user(), "env", f"PGPASSWORD={PASSWORD}", primary.bin / "pg_basebackup", "-D", standby.data, "-h", "127.0.0.1", "-p", str(primary.port),
                 "-U", USER, "--checkpoint=fast", "--write-recovery-conf", "-X", "stream", "--no-sync"], cwd="/")
    standby.made = True
    try:
        standby.start()
        task = world.task(source, target)
        task.body["source"]["url"] = source.url.replace(str(primary.port), str(standby.port))
        hold.refused(world.run(task), "standby")
        assert target.tables() == []
        # And as a target, which cannot be written.
        other = world.task(source, target, name="into")
        other.body["target"]["url"] = target.url.replace(str(primary.port), str(standby.port))
        r = world.run(other)
        assert r.code in (USAGE, UNREACHABLE, TABLE_ERROR), r.describe("not refused")
        assert "standby" in hold.said(r) or "read-only" in hold.said(r) or "recovery" in hold.said(r)
    finally:
        standby.stop()


def test_tables_without_transactions(world):
    """A MyISAM table has no read view: chunks of it would be of several times. It is read whole, or said to be of no one time."""
    source, target = world.pair("mysql", "mysql")
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v varchar(300)) ENGINE=MyISAM", "INSERT INTO t SELECT seq, REPEAT('x', 250) FROM seq_1_to_3000"])
    task = world.task(source, target).own("chunk-size-kb", 64)
    run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@1", once=world.folder / "once")
    change = hold.Changing(source, "UPDATE t SET id = id + 100000 WHERE id > 1500", "DELETE FROM t WHERE id < 1000")
    change.done(1)
    hold.go_on(stopped)
    r = run.wait(60)
    assert change.done()
    hold.finding(r, "myisam|transaction|lock|time", table="t")
    if r.code == DONE:
        ids = {x[0] for x in target.execute("SELECT id FROM t")}
        old, new = set(range(1, 3001)), {x[0] for x in source.execute("SELECT id FROM t")}
        assert ids in (old, new), f"{len(ids)} rows of several times"


# ---- whose snapshot it is


def test_a_reader_that_is_in_another_snapshot(world):
    """A reader that believes to have joined the others and has not: blocks hold other rows under its snapshot. The token tells."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE t (id int, a text)", "INSERT INTO t SELECT i, repeat('x', 250) FROM generate_series(1, 3000) i",
                   "VACUUM ANALYZE t"])
    target.execute("CREATE TABLE t (id int, a text)")
    task = world.task(source, target, tables="t").prep("TRUNCATE_BEFORE_LOAD").own("chunk-size-kb", 32)
    once = world.folder / "once"
    with hold.exclusive(target, "t") as lock:  # no row is read before all readers are there
        run, stopped = hold.start_stopping(world, task, "capture.snapshot.join=stop@1,capture.snapshot.apart=error@1", workers=2, once=once)
        source.execute("DELETE FROM t WHERE id % 3 = 0")
        lock.waited_for(run)
        hold.go_on(stopped)
        hold.wait_for_count(run, "snapshot open", 2)
        lock.release()
    r = run.wait(60).expect(DONE)
    assert (once / "capture.snapshot.apart").exists(), "the reader did join"
    assert r.json["statistics"]["one_point_in_time"] is True
    assert sorted(x[0] for x in target.execute("SELECT id FROM t")) == list(range(1, 3001))
