"""Tables, types and indexes that are on the target already: another definition is said before a row is moved, or obeyed."""

import pytest

from compare.compare import assert_equal
from harness.database import SQLiteDatabase
from harness.run import DONE, TABLE_ERROR, USAGE
from traps import hold

engines = pytest.mark.parametrize("engine", hold.ENGINES)
servers = pytest.mark.parametrize("engine", ["postgresql", "mysql"])


def nothing_loaded(r, target, table="t"):
    """A refusal before the load has changed nothing."""
    assert r.code in (TABLE_ERROR, USAGE), r.describe("not refused")
    assert target.count(table) == 0


# ---- generated columns


GENERATED = {
    "postgresql": "g int GENERATED ALWAYS AS (a * 2) STORED",
    "mysql": "g int GENERATED ALWAYS AS (a * 2) STORED",
    "sqlite": "g int GENERATED ALWAYS AS (a * 2) STORED",
}


@engines
@pytest.mark.parametrize("prep", ["TRUNCATE_BEFORE_LOAD", "DO_NOTHING"])
def test_generated_at_the_source_and_plain_on_the_target(world, engine, prep):
    """The column does not travel, since the target computes it; the existing table's plain column would stay empty."""
    source, target = world.pair(engine, engine)
    source.execute(f"CREATE TABLE t (id int PRIMARY KEY, a int, {GENERATED[engine]})")
    source.insert("t", ["id", "a"], [[i, i] for i in range(1, 11)])
    target.execute("CREATE TABLE t (id int PRIMARY KEY, a int, g int)")
    r = world.run(world.task(source, target).prep(prep))
    hold.equal_or_refused(r, source, target, "generated|compute", tables=["t"])


@engines
def test_plain_at_the_source_and_generated_on_the_target(world, engine):
    """The target computes another value than the source holds."""
    source, target = world.pair(engine, engine)
    source.execute("CREATE TABLE t (id int PRIMARY KEY, a int, g int)")
    source.insert("t", ["id", "a", "g"], [[i, i, -1] for i in range(1, 11)])
    target.execute(f"CREATE TABLE t (id int PRIMARY KEY, a int, {GENERATED[engine]})")
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD"))
    hold.equal_or_refused(r, source, target, "generated|compute", tables=["t"])


@engines
def test_generated_on_both_sides_by_another_expression(world, engine):
    source, target = world.pair(engine, engine)
    source.execute(f"CREATE TABLE t (id int PRIMARY KEY, a int, {GENERATED[engine]})")
    source.insert("t", ["id", "a"], [[i, i] for i in range(1, 11)])
    target.execute("CREATE TABLE t (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 3) STORED)")
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD"))
    if r.code == DONE and target.one("SELECT g FROM t WHERE id = 1") != 2:
        hold.finding(r, "generated|expression|comput", table="t")
    else:
        hold.equal_or_refused(r, source, target, "generated|compute|expression", tables=["t"])


@engines
def test_generated_on_both_sides_by_the_same_expression(world, engine):
    """Written otherwise, and nothing to say."""
    source, target = world.pair(engine, engine)
    source.execute(f"CREATE TABLE t (id int PRIMARY KEY, a int, {GENERATED[engine]})")
    source.insert("t", ["id", "a"], [[i, i] for i in range(1, 11)])
    target.execute("CREATE TABLE t (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS ((A*2)) STORED)")
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD")).expect(DONE)
    assert_equal(source, target, tables=["t"])
    assert not [f for f in hold.findings(r, "t") if "generated" in f["message"]], r.describe("a finding about nothing")


@pytest.mark.parametrize("pair", [("mysql", "mysql"), ("mysqld", "mysqld"), ("mysql", "mysqld"), ("mysqld", "mysql")], ids="-".join)
def test_generated_on_two_servers_by_the_same_expression(world, pair):
    """The servers write quotes, parentheses and character sets in ways of their own."""
    source, target = world.pair(*pair)
    ddl = ("CREATE TABLE t (id int PRIMARY KEY, a varchar(20), g varchar(60) GENERATED ALWAYS AS"
           " (concat(a, 'it''s', {}(a), 'x')) STORED)")
    source.execute(ddl.format("lower"))
    source.insert("t", ["id", "a"], [[i, f"A{i}"] for i in range(1, 11)])
    target.execute(ddl.format("lower"))
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD")).expect(DONE)
    assert_equal(source, target, tables=["t"])
    assert not [f for f in hold.findings(r, "t") if "generated" in f["message"]], r.describe("a finding about nothing")
    target.script(["DROP TABLE t", ddl.format("upper")])
    hold.finding(world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD")), "generated", table="t")


# ---- types


# source's type and value, the target's type. The server would round, cut, fold or unescape on the way in.
NARROWER = {
    "postgresql": [("text", "repeat('n', 70)", "name"), ("text", "'1.26'", "numeric(5,1)"), ("text", "'xyz'", '"char"'),
                   ("text", "'2024-01-01 10:00:00'", "date"), ("text", "'ab     '", "varchar(3)"), ("text", r"E'a\\101'", "bytea"),
                   ("text", "'  7 '", "int"), ("text", "'YES'", "boolean"), ("text", "' {\"b\":1,\"a\":2,\"a\":3}'", "jsonb"),
                   ("text", "'1.50'", "float8"), ("text", "'10:00:00.6'", "time(0)"), ("text", "'1 mon 30 days'", "interval"),
                   ("varchar(20)", "'ab     '", "varchar(3)"), ("varchar(20)", "'ab  '", "char(10)"), ("numeric", "1.005", "numeric(5,1)"),
                   ("numeric", "0.1234567890123456789", "float8"), ("float8", "0.1", "real"), ("float8", "1.5", "int"),
                   ("timestamp", "'2024-01-01 00:00:00.6'", "timestamp(0)"), ("timestamp", "'2024-01-01 10:00:00'", "date"),
                   ("timestamptz", "'2024-01-01 10:00:00+00'", "timestamp"), ("timestamptz", "'2024-01-01 10:00:00.6+00'", "timestamptz(0)"),
                   ("bigint", "16777217", "real"), ("bigint", "9007199254740993", "float8"), ("int", "2", "boolean"), ("int", "70000", "smallint"),
                   ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "char(40)"), ("int[]", "'{1,2}'", "smallint[]"),
                   ("numeric[]", "'{1.25}'", "numeric(3,1)[]"), ("interval", "'1 day 3:04:05.678'", "interval(0)"),
                   ("interval", "'1 day 3:04:05'", "interval hour"), ("bit(8)", "'10101010'", "bit(4)"), ("bit varying", "'10101010'", "bit(12)"),
                   ("json", "'{\"b\":1, \"b\":2}'", "jsonb"), ("inet", "'10.1.2.3/8'", "cidr"), ("money", "'12.34'", "int"),
                   ("text", "'x'", "citext"), ("bytea", "'\\x00ff'", "text"), ("date", "'2024-01-01'", "timestamptz")],
    "mysql": [("varchar(20)", "'t'", "tinyint"), ("int", "300", "tinyint"), ("varchar(20)", "'abcdef'", "varchar(3)"), ("int", "-1", "int unsigned"),
              ("varchar(20)", "'ab   '", "varchar(3)"), ("varchar(20)", "'ab  '", "char(10)"), ("decimal(10,4)", "1.2345", "decimal(10,1)"),
              ("double", "0.1", "float"), ("double", "1.5", "int"), ("datetime(6)", "'2024-01-01 00:00:00.6'", "datetime"),
              ("datetime", "'2024-01-01 10:00:00'", "date"), ("datetime", "'1900-01-01 10:00:00'", "timestamp NULL"),
              ("bigint", "16777217", "float"), ("varchar(20)", "'x'", "enum('a','b')"), ("varchar(20)", "'a,z'", "set('a','b')"),
              ("varchar(20)", "'é'", "varchar(20) CHARACTER SET latin1"), ("varchar(20)", "'😀'", "varchar(20) CHARACTER SET utf8mb3"),
              ("varchar(20)", "'Ł'", "varchar(20) CHARACTER SET latin1"), ("text", "REPEAT('x', 300)", "tinytext"), ("time(6)", "'10:00:00.6'", "time"),
              ("int", "1800", "year"), ("bit(8)", "b'10101010'", "bit(4)"), ("varbinary(20)", "x'00ff'", "varchar(20)"),
              ("enum('a','b')", "'b'", "enum('b','a')"), ("set('a','b')", "'a,b'", "set('b','a')"), ("int", "2", "bit(1)"),
              ("varchar(20)", "'2024-01-01'", "date"), ("varbinary(20)", "x'00ff'", "binary(10)"), ("json", "'{\"a\": 1}'", "varchar(5)"),
              ("varchar(20)", "NULL", "varchar(20) NOT NULL"), ("int", "NULL", "int NOT NULL"), ("datetime", "NULL", "timestamp NOT NULL")],
    "sqlite": [("TEXT", "'1.50'", "REAL"), ("TEXT", "'007'", "INTEGER"), ("TEXT", "'007'", "NUMERIC"), ("REAL", "5.0", "TEXT"), ("INTEGER", "5", "TEXT"),
               ("REAL", "5.0", "INTEGER"), ("REAL", "5.5", "INTEGER"), ("BLOB", "x'3030'", "INTEGER"), ("TEXT", "'1e3'", "INTEGER"),
               ("TEXT", "' 5 '", "NUMERIC"), ("INTEGER", "9007199254740993", "REAL"), ("TEXT", "NULL", "TEXT NOT NULL")],
}


@engines
def test_a_narrower_type_alters_nothing(world, engine):
    """Whatever type the existing column has: the value arrives as it is, or its row is refused, or its table."""
    source, target = world.pair(engine, engine)
    tables = {}
    if engine == "postgresql":
        target.execute("CREATE EXTENSION IF NOT EXISTS citext")
    for i, (kind, value, have) in enumerate(NARROWER[engine]):
        t = f"t{i}"
        source.script([f"CREATE TABLE {t} (id int PRIMARY KEY, v {kind})", f"INSERT INTO {t} VALUES (1, {value})"])
        target.execute(f"CREATE TABLE {t} (id int PRIMARY KEY, v {have})")
        tables[t] = f"{kind} {value} into {have}"
    task = world.task(source, target).prep("TRUNCATE_BEFORE_LOAD")
    r = world.run(task)
    refused = {f["table"] for f in r.findings if f["severity"] == "error"}
    warned = {f["table"]: f["message"] for f in r.findings if f["severity"] == "warning"}
    silent = []
    for t, what in tables.items():
        if t in refused:
            assert target.count(t) == 0
            continue
        got = target.execute(f"SELECT v FROM {t}")
        want = source.execute(f"SELECT v FROM {t}")
        as_text = {"postgresql": "CAST(v AS text)", "mysql": "CONCAT(CAST(v AS char), '')", "sqlite": "typeof(v) || quote(v)"}[engine]
        same = got == want and target.execute(f"SELECT {as_text} FROM {t}") == source.execute(f"SELECT {as_text} FROM {t}")
        if not got:
            assert r.code == TABLE_ERROR and (r.table(t)["FullLoadErrorRows"] == 1 or r.table(t)["reason"]), f"{what}: lost"
        elif not same and t not in warned:
            silent.append(f"{what}: {want} became {got}")
    assert not silent, "\n".join(silent)


# ---- types of the user's


@pytest.mark.parametrize("kind, there, here, value", [
    ("DOMAIN", "AS numeric(10,4)", "AS numeric(10,1)", "1.2345"),
    ("DOMAIN", "AS varchar(10)", "AS varchar(3)", "'ab      '"),
    ("DOMAIN", "AS int CHECK (VALUE > 0)", "AS int CHECK (VALUE > 100)", "5"),
    ("TYPE", "AS ENUM ('a', 'b', 'c')", "AS ENUM ('c', 'b', 'a')", "'b'"),
    ("TYPE", "AS ENUM ('a', 'b', 'c')", "AS ENUM ('a', 'b')", "'a'"),
    ("TYPE", "AS (x numeric, y int)", "AS (x numeric(5,1), y int)", "'(1.25,3)'"),
    ("TYPE", "AS (x int, y int)", "AS (y int, x int)", "'(1,3)'"),
], ids=["domain-scale", "domain-length", "domain-check", "enum-order", "enum-labels", "composite-scale", "composite-order"])
def test_a_type_of_the_same_name_that_is_another(world, kind, there, here, value):
    """A domain of a smaller scale rounds; an enumeration in another order sorts otherwise. The name says nothing."""
    source, target = world.pair("postgresql", "postgresql")
    source.script([f"CREATE {kind} amt {there}", "CREATE TABLE t (id int PRIMARY KEY, a amt)", f"INSERT INTO t VALUES (1, {value})"])
    target.execute(f"CREATE {kind} amt {here}")
    task = world.task(source, target)
    r = world.run(task).expect(TABLE_ERROR, USAGE)
    hold.finding(r, "type .*amt.*another", severity=("error",))
    assert "t" not in target.tables() or target.count("t") == 0
    # The same on both sides is no reason to refuse.
    target.script(["DROP TABLE IF EXISTS t", f"DROP {kind} amt", f"CREATE {kind} amt {there}"])
    world.run(task, "--fresh").expect(DONE)
    assert_equal(source, target, tables=["t"])


def test_collations_of_the_user(world):
    """A collation that the target lacks is made there, or is a finding before the load; one of another definition is said."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
                   "CREATE TABLE t (k text COLLATE nd PRIMARY KEY)", "INSERT INTO t VALUES ('a'), ('b')"])
    r = world.run(world.task(source, target))
    if r.code == DONE:
        assert_equal(source, target, tables=["t"])
        with pytest.raises(Exception):
            target.execute("INSERT INTO t VALUES ('A')")
    else:
        hold.finding(r, "collation", severity=("error",))
    other = world.database("postgresql", prefix="other")
    other.execute("CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2', deterministic = true)")
    r = world.run(world.task(source, other))
    if r.code == DONE:
        hold.finding(r, "collation")
    else:
        hold.refused(r, "collation")
    # The same on both sides is no reason to refuse.
    same = world.database("postgresql", prefix="same")
    same.execute("CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    world.run(world.task(source, same)).expect(DONE)


# ---- keys, indexes, sequences


def test_a_default_that_takes_from_a_sequence_that_no_column_owns(world):
    """The table's own sequence goes on behind the loaded rows, whatever it is called and whoever owns it."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE t (id serial PRIMARY KEY, v text)", "INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 100)"])
    target.script(["CREATE SEQUENCE my_seq", "CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('my_seq'), v text)"])
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD")).expect(DONE)
    assert_equal(source, target, tables=["t"])
    if target.one("SELECT last_value FROM my_seq") < 100:
        hold.finding(r, "my_seq|sequence", table="t")
    else:
        target.execute("INSERT INTO t (v) VALUES ('next')")
        assert target.one("SELECT max(id) FROM t") == 101


@servers
@pytest.mark.parametrize("what", ["index", "unique", "primary-key"])
def test_an_index_of_the_same_name_that_is_another(world, engine, what):
    """What has the right name counts as made only if it is the same: otherwise a unique key would be missing unnoticed."""
    source, target = world.pair(engine, engine)
    source.script(["CREATE TABLE t (id int PRIMARY KEY, u int, v varchar(20))", "CREATE UNIQUE INDEX t_u ON t (u)", "CREATE INDEX t_v ON t (v)"])
    source.insert("t", ["id", "u", "v"], [[i, i, "x"] for i in range(10)])
    key = "PRIMARY KEY (v, id)" if what == "primary-key" else "PRIMARY KEY (id)"
    target.execute(f"CREATE TABLE t (id int NOT NULL, u int, v varchar(20) NOT NULL, {key})")
    if what == "unique":
        target.execute("CREATE INDEX t_u ON t (u)")
    elif what == "index":
        target.execute("CREATE INDEX t_v ON t (u)")
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD"))
    assert target.count("t") == 10 or r.code != DONE
    if r.code == DONE:
        with_key = unique_columns(target)
        assert ("u",) in with_key or [f for f in hold.findings(r, "t") if "t_u" in f["object"] + f["message"]], r.describe("t_u is missing")
        assert ("id",) in with_key or [f for f in hold.findings(r, "t") if "key" in f["message"]], r.describe("the primary key is another")
        if what == "index":
            assert has_index(target, "v") or [f for f in hold.findings(r, "t") if "t_v" in f["object"] + f["message"]], r.describe("t_v is missing")
    else:
        hold.refused(r, "index|key")


def unique_columns(db):
    if db.engine == "postgresql":
        rows = db.execute("SELECT array_to_string(ARRAY(SELECT a.attname FROM unnest(i.indkey) WITH ORDINALITY k(n, o) JOIN pg_attribute a"
                          " ON a.attrelid = i.indrelid AND a.attnum = k.n ORDER BY o), ',') FROM pg_index i"
                          " WHERE indrelid = 't'::regclass AND indisunique")
    else:
        rows = db.execute("SELECT GROUP_CONCAT(column_name ORDER BY seq_in_index) FROM information_schema.statistics"
                          f" WHERE table_schema = '{db.name}' AND table_name = 't' AND non_unique = 0 GROUP BY index_name")
    return {tuple(r[0].split(",")) for r in rows}


def has_index(db, column):
    if db.engine == "postgresql":
        return any(f"({column})" in r[0] for r in db.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 't'"))
    return bool(db.execute("SELECT 1 FROM information_schema.statistics"
                           f" WHERE table_schema = '{db.name}' AND table_name = 't' AND column_name = '{column}' AND seq_in_index = 1"))


# ---- constraints and triggers that are there


def test_constraints_that_are_not_checked_while_rows_come_in(world):
    """In replica mode the target's foreign keys and deferrable keys look at nothing and count as proven afterwards."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE p (id int PRIMARY KEY)", "CREATE TABLE c (id int PRIMARY KEY, pid int, u int)",
                   "INSERT INTO p VALUES (1), (2)", "INSERT INTO c VALUES (1, 1, 5), (2, 99, 5)"])
    target.script(["CREATE TABLE p (id int PRIMARY KEY)",
                   "CREATE TABLE c (id int PRIMARY KEY, pid int REFERENCES p, u int, UNIQUE (u) DEFERRABLE INITIALLY DEFERRED)"])
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD"))
    if r.code == DONE and target.count("c") == 2:
        hold.finding(r, "c_pid_fkey", table="c")
        hold.finding(r, "c_u_key", table="c")


def test_foreign_keys_that_are_there_mysql(world):
    """With foreign_key_checks off, rows without a parent stay, and no later check finds them."""
    source, target = world.pair("mysql", "mysql")
    source.script(["CREATE TABLE p (id int PRIMARY KEY)", "CREATE TABLE c (id int PRIMARY KEY, pid int)",
                   "INSERT INTO p VALUES (1), (2)", "INSERT INTO c VALUES (1, 1), (2, 99)"])
    target.script(["CREATE TABLE p (id int PRIMARY KEY)", "CREATE TABLE c (id int PRIMARY KEY, pid int, CONSTRAINT fk FOREIGN KEY (pid) REFERENCES p (id))"])
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD"))
    if target.count("c") == 2:
        hold.finding(r, "fk|foreign key", table="c")
    else:
        assert r.code == TABLE_ERROR


def test_a_foreign_key_of_the_same_name_that_is_another_mysql(world):
    """It is not the source's key, whose rows would count as proven by it."""
    source, target = world.pair("mysql", "mysql")
    source.script(["CREATE TABLE p (id int PRIMARY KEY)",
                   "CREATE TABLE c (id int PRIMARY KEY, pid int, qid int, KEY kp (pid), KEY kq (qid), CONSTRAINT fk FOREIGN KEY (pid) REFERENCES p (id))",
                   "INSERT INTO p VALUES (1), (2)", "INSERT INTO c VALUES (1, 1, 1), (2, 2, 99)"])
    target.script(["CREATE TABLE p (id int PRIMARY KEY)",
                   "CREATE TABLE c (id int PRIMARY KEY, pid int, qid int, KEY kp (pid), KEY kq (qid), CONSTRAINT fk FOREIGN KEY (qid) REFERENCES p (id))"])
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD"))
    hold.refused(r, "foreign key .*fk.* another")
    hold.finding(r, "fk", table="c")


def test_a_table_without_its_primary_key_mysql(world):
    source, target = world.pair("mysql", "mysql")
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1), (2, 2)"])
    target.execute("CREATE TABLE t (id int NOT NULL, v int)")
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD")).expect(DONE)
    f = hold.finding(r, "no primary key", table="t")
    target.execute(f["sql"])
    assert ("id",) in unique_columns(target)


TRIGGERS = {
    "postgresql": ["CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.v = 'altered'; RETURN NEW; END$$",
                   "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", "ALTER TABLE t ENABLE ALWAYS TRIGGER g"],
    "mysql": ["CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 'altered'"],
    "sqlite": ["CREATE TRIGGER g AFTER INSERT ON t BEGIN UPDATE t SET v = 'altered' WHERE id = NEW.id; END"],
}


@engines
def test_a_trigger_that_alters_rows(world, engine):
    source, target = world.pair(engine, engine)
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v varchar(20))", "INSERT INTO t VALUES (1, 'x'), (2, 'y')"])
    target.script(["CREATE TABLE t (id int PRIMARY KEY, v varchar(20))", *TRIGGERS[engine]])
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD"))
    if r.code == DONE and target.one("SELECT v FROM t WHERE id = 1") != "x":
        hold.finding(r, "trigger", table="t")
    else:
        hold.equal_or_refused(r, source, target, "trigger", tables=["t"])


def test_a_trigger_that_drops_rows(world):
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i"])
    target.script(["CREATE TABLE t (id int PRIMARY KEY, v text)",
                   "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN CASE WHEN NEW.id % 2 = 0 THEN NEW END; END$$",
                   "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()", "ALTER TABLE t ENABLE ALWAYS TRIGGER g"])
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD"))
    hold.equal_or_refused(r, source, target, "trigger|rows", tables=["t"])


def test_a_rule_that_drops_rows(world):
    """Row security and rewrite rules of an existing table."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i"])
    target.script(["CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE RULE r AS ON INSERT TO t DO INSTEAD NOTHING"])
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD"))
    hold.equal_or_refused(r, source, target, "rule|rows", tables=["t"])


# ---- rows that are there


@engines
def test_keyless_rows_that_are_there(world, engine):
    """With DO_NOTHING a new load puts all rows beside the old ones. That is said, with the setting that would not."""
    source, target = world.pair(engine, engine)
    source.execute("CREATE TABLE t (id int, v varchar(20))")
    source.insert("t", ["id", "v"], [[i, "x"] for i in range(100)])
    task = world.task(source, target).prep("DO_NOTHING")
    world.run(task).expect(DONE)
    r = world.run(task, "--fresh")
    if r.code == DONE and target.count("t") == 200:
        f = hold.finding(r, "rows", table="t")
        assert "TargetTablePrepMode" in f["message"] + f["action"]
    else:
        hold.equal_or_refused(r, source, target, "rows", tables=["t"])


@engines
def test_the_advice_of_a_failed_run_loses_nothing(world, engine):
    """A report must not advise what doubles rows: after a failure the same command goes on."""
    source, target = world.pair(engine, engine)
    source.script(["CREATE TABLE t (id int, v varchar(20))", "CREATE TABLE u (id int, v varchar(20))"])
    source.insert("t", ["id", "v"], [[i, "x"] for i in range(100)])
    source.insert("u", ["id", "v"], [[i, "much too long"] for i in range(10)])
    target.execute("CREATE TABLE u (id int, v varchar(3) CHECK (length(v) < 4))")
    task = world.task(source, target)
    r = world.godwit("run", task, json_report=False)
    assert r.code == TABLE_ERROR
    advice = r.stdout[r.stdout.find("next:"):]
    assert "--fresh" not in advice or "TargetTablePrepMode" in advice or "DROP_AND_CREATE" in advice
    target.script(["DROP TABLE u", "CREATE TABLE u (id int, v varchar(20))"])
    again = world.run(task)
    assert target.count("t") == 100, "the loaded table was loaded twice"
    assert again.code in (DONE, TABLE_ERROR)
    if again.code == DONE:
        assert_equal(source, target, tables=["t", "u"])


# ---- the table itself


@engines
@pytest.mark.parametrize("prep", ["DROP_AND_CREATE", "TRUNCATE_BEFORE_LOAD", "DO_NOTHING"])
def test_a_table_is_not_loaded_into_itself(world, engine, prep):
    """Source and target are one database, whatever way it is reached; the table would be emptied before it is read."""
    source = world.database(engine)
    source.execute("CREATE TABLE t (id int, v varchar(20))")
    source.insert("t", ["id", "v"], [[i, "x"] for i in range(100)])
    again = object.__new__(type(source))
    again.__dict__.update(source.__dict__)
    if engine == "sqlite":
        link = source.path.with_name("link.sqlite")
        link.symlink_to(source.path)
        again = SQLiteDatabase(link)
    for other_way in (False, True):
        task = world.task(source, again).prep(prep)
        if other_way and engine != "sqlite":
            task.body["target"]["url"] = source.url.replace("127.0.0.1", "localhost") if engine == "postgresql" else source.url + "?charset=utf8mb4"
            if engine == "mysql":
                task.body["target"]["url"] = source.url.replace("mysql://", "mariadb://")
        elif engine == "sqlite" and not other_way:
            task.body["target"] = source.endpoint()
        r = world.run(task)
        hold.refused(r, "itself|same")
        assert source.count("t") == 100


def test_the_same_database_and_another_schema(world):
    """That is no table into itself."""
    db = world.database("postgresql")
    db.script(["CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i"])
    world.run(world.task(db, db, target_schema="copy").prep("DROP_AND_CREATE")).expect(DONE)
    assert db.count("t") == 100 and db.one("SELECT count(*) FROM copy.t") == 100
