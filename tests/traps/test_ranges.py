"""Cuts through a table: each row is in exactly one chunk, whatever is NULL, however the server compares."""

import random

import pytest

from compare.compare import assert_equal
from harness.run import DONE
from traps import hold

engines = pytest.mark.parametrize("engine", hold.ENGINES)


def ranges(task, source, table, columns, boundaries):
    return task.rule({"rule-type": "table-settings", "rule-id": str(50 + len(task.body["table-mappings"]["rules"])), "rule-name": table,
                      "object-locator": {"schema-name": source.schema, "table-name": table},
                      "parallel-load": {"type": "ranges", "columns": columns, "boundaries": boundaries}})


@engines
def test_a_null_in_a_later_column(world, engine):
    """(1, NULL) is neither above nor below (1, 2): a comparison of rows is unknown there, and in no range."""
    source, target = world.pair(engine, engine)
    source.execute("CREATE TABLE t (a int, b int, v varchar(10))")
    source.insert("t", ["a", "b", "v"], [[0, 0, "x"], [1, None, "lost?"], [1, 1, "y"], [1, 7, "z"], [5, None, "n5"], [None, 1, "n"],
                                         [None, None, "nn"], [6, 6, "q"], [0, None, "0n"], [6, None, "6n"], [None, 9, "n9"]])
    task = ranges(world.task(source, target), source, "t", ["a", "b"], [["1", "2"], ["5", "5"]])
    r = world.run(task)
    hold.equal_or_refused(r, source, target, "null", tables=["t"])


@engines
def test_any_ranges_take_each_row_once(world, engine):
    """Every row with NULLs and values around every bound, for one to three columns; random, with the seed in the output."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    rnd = random.Random(seed)
    source, target = world.pair(engine, engine)
    task = world.task(source, target)
    values = [None, 0, 1, 2, 3, 4]
    tables = []
    for n in range(12):
        columns = ["a", "b", "c"][: rnd.randint(1, 3)]
        bounds = sorted(rnd.sample([[x, y, z] for x in (1, 2, 3) for y in (1, 2, 3) for z in (1, 2, 3)], rnd.randint(1, 4)))
        bounds = sorted({tuple(b[: len(columns)]) for b in bounds})
        nullable = rnd.random() < 0.8
        t = f"t{n}"
        source.execute(f"CREATE TABLE {t} (a int{'' if nullable else ' NOT NULL'}, b int, c int)")
        source.insert(t, ["a", "b", "c"], [[a, b, c] for a in (values if nullable else values[1:]) for b in values for c in values])
        ranges(task, source, t, columns, [[str(x) for x in b] for b in bounds])
        tables.append(t)
    r = world.run(task)
    if r.code == DONE:
        assert_equal(source, target, tables=tables)
        assert {t["TableName"]: t["FullLoadRows"] for t in r.json["tables"]} == {t: source.count(t) for t in tables}
    else:
        hold.refused(r, "null")


@pytest.mark.parametrize("bounds", [[["5"], ["3"]], [["3"], ["3"]], [["x"]], [["1", "2"]]], ids=["descending", "equal", "no-number", "too-many"])
@engines
def test_bounds_that_are_none(world, engine, bounds):
    """Bounds that do not ascend put a row into two ranges or none."""
    source, target = world.pair(engine, engine)
    source.execute("CREATE TABLE t (a int)")
    source.insert("t", ["a"], [[i] for i in range(10)])
    r = world.run(ranges(world.task(source, target), source, "t", ["a"], bounds))
    hold.equal_or_refused(r, source, target, "bound|ascend|number|value|invalid|range", tables=["t"])


COLLATED = {
    "postgresql": ["CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
                   'CREATE TABLE t (k text COLLATE "ci", v int)', 'CREATE TABLE u (k text COLLATE "en-x-icu", v int)'],
    "mysql": ["CREATE TABLE t (k varchar(20) COLLATE utf8mb4_general_ci, v int)", "CREATE TABLE u (k varchar(20) COLLATE utf8mb4_bin, v int)"],
    "sqlite": ["CREATE TABLE t (k TEXT COLLATE NOCASE, v int)", "CREATE TABLE u (k TEXT, v int)"],
}


@engines
def test_ranges_of_texts_follow_the_collation(world, engine):
    """'B' is above 'a' for one collation and below for another; a bound is compared as the column is, on both of its sides."""
    source, target = world.pair(engine, engine)
    source.script(COLLATED[engine])
    rows = [[k, i] for i, k in enumerate(["a", "A", "b", "B", "m", "M", "mm", "Mm", "z", "Z", "é", "E", "", " ", "m ", None, "ß", "ss", "10", "9"])]
    task = world.task(source, target)
    for t in ("t", "u"):
        source.insert(t, ["k", "v"], rows)
        ranges(task, source, t, ["k"], [["M"], ["z"]])
    r = world.run(task)
    hold.equal_or_refused(r, source, target, "collation|ascend|bound", tables=["t", "u"])


def test_keys_whose_operators_are_not_the_index_s(world):
    """citext sorts by its own operator class and would be compared as text where its operators are not in the search_path."""
    source, target = world.pair("postgresql", "postgresql")
    try:
        source.execute("CREATE EXTENSION citext")
    except Exception as e:
        pytest.skip(f"no citext: {e}")
    target.execute("CREATE EXTENSION citext")
    source.script(["CREATE TABLE t (k citext PRIMARY KEY, v text)",
                   "INSERT INTO t SELECT (CASE WHEN i % 2 = 0 THEN upper(x) ELSE x END)::citext, repeat('v', 100) FROM (SELECT i,"
                   " substr('abcdefghijklmnopqrstuvwxyz', 1 + (i % 26), 1) || md5(i::text) x FROM generate_series(1, 4000) i) y",
                   "INSERT INTO t VALUES ('A', 'first'), ('zzzzzzzzzz', 'last')", "ANALYZE t"])
    task = world.task(source, target).own("chunk-size-kb", 64)
    r = world.run(task).expect(DONE)
    assert r.table("t")["FullLoadRows"] == 4002
    assert_equal(source, target, tables=["t"])


KEYS = {
    "c": ('text COLLATE "C"', r"md5(i::text) || E'\\\t\n''""' || chr(1 + i % 300)", "i % 300 <> 0"),
    "nondeterministic": ("text COLLATE nd", "(CASE WHEN i % 2 = 0 THEN upper(md5(i::text)) ELSE md5(i::text) END)", "true"),
    "icu": ('varchar(80) COLLATE "en-x-icu"', "(CASE WHEN i % 2 = 0 THEN upper(md5(i::text)) ELSE md5(i::text) END) || chr(32 + i % 90)", "true"),
    "uuid": ("uuid", "md5(i::text)::uuid", "true"),
    "timestamptz": ("timestamptz", "'0044-03-15 12:00:00.123456+00 BC'::timestamptz + i * interval '370 days 1.7 seconds'", "true"),
    "timestamp3": ("timestamp(3)", "'2024-01-01'::timestamp + i * interval '1.337 seconds'", "true"),
    "date": ("date", "'0001-01-01 BC'::date + i * 500", "true"),
    "domain": ("posint", "i - 1000", "true"),
    "text_domain": ("word", "md5(i::text)", "true"),
    "name": ("name", "md5(i::text)", "true"),
    "bpchar": ("char(40)", "md5(i::text)", "true"),
    "varchar_blanks": ("varchar(10)", "substr(md5(i::text), 1, 7) || repeat(' ', i % 3)", "true"),
    "smallint": ("smallint", "i - 1000", "true"),
    "bigint": ("bigint", "(i - 1000) * 4611686018427387", "true"),
    "oid": ("oid", "(i::bigint * 2000000)::oid", "true"),
    "numeric": ("numeric", "(i - 1000)::numeric / 7", "true"),
    "float": ("float8", "(i - 1000) / 7.0::float8", "true"),
    "bytea": ("bytea", "decode(md5(i::text), 'hex')", "true"),
    "enum": ("mood", "NULL", "false"),
    "inet": ("inet", "'10.0.0.0'::inet + i", "true"),
    "bool": ("boolean", "NULL", "false"),
    "interval": ("interval", "i * interval '1 day 3 seconds'", "true"),
    "array": ("int[]", "ARRAY[i % 7, i]", "true"),
}


def test_every_kind_of_key(world):
    """Chunks of a key: the order of the index, of ORDER BY and of the comparison with a bound's text must be one."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE COLLATION nd (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
                   "CREATE DOMAIN posint AS int CHECK (VALUE > -100000)", 'CREATE DOMAIN word AS text COLLATE "C"',
                   "CREATE TYPE mood AS ENUM ('b', 'a')"])
    for name, (kind, expression, where) in KEYS.items():
        source.script([f"CREATE TABLE k_{name} (k {kind} PRIMARY KEY, v text)",
                       f"INSERT INTO k_{name} SELECT {expression}, repeat('v', 100) FROM generate_series(1, 1500) i WHERE {where}"
                       " ON CONFLICT DO NOTHING"])
    source.script(["INSERT INTO k_timestamptz VALUES ('infinity', 'x'), ('-infinity', 'y')", "INSERT INTO k_date VALUES ('infinity', 'x')",
                   "INSERT INTO k_float VALUES ('NaN', 'x'), ('-Infinity', 'y')", "INSERT INTO k_numeric VALUES ('NaN', 'x')",
                   "INSERT INTO k_enum VALUES ('a', 'x'), ('b', 'y')", "INSERT INTO k_bool VALUES (true, 'x'), (false, 'y')",
                   "INSERT INTO k_c VALUES ('', 'x'), ('\\.', 'y'), ('\\N', 'z')", "ANALYZE"])
    tables = [f"k_{k}" for k in KEYS]
    task = world.task(source, target).own("chunk-size-kb", 32)
    r = world.run(task).expect(DONE)
    assert_equal(source, target, tables=tables)
    assert {t["TableName"]: t["FullLoadRows"] for t in r.json["tables"]} == {t: source.count(t) for t in tables}
    assert max(t["chunks"] for t in r.json["tables"]) > 3


# HASH: MySQL 9 has no MD5() any more.
MY_KEYS = {
    "general_ci": ("varchar(80) COLLATE utf8mb4_general_ci", "IF(seq % 2, UPPER(HASH), HASH)"),
    "unicode_ci": ("varchar(80) COLLATE utf8mb4_unicode_ci", "CONCAT(CHAR(0xC3A9 USING utf8mb4), HASH)"),
    "bin": ("varchar(80) COLLATE utf8mb4_bin", "CONCAT(HASH, '\\\\', CHAR(9), CHAR(10), '''')"),
    "latin1": ("varchar(80) CHARACTER SET latin1", "CONCAT(CHAR(0xE9 USING latin1), HASH)"),
    "varbinary": ("varbinary(40)", "UNHEX(HASH)"),
    "binary": ("binary(20)", "UNHEX(HASH)"),
    "unsigned": ("bigint unsigned", "18446744073709551615 - seq * 1000000007"),
    "tinyint": ("tinyint", "CAST(seq AS signed) - 100"),
    "decimal": ("decimal(20,5)", "(CAST(seq AS signed) - 700) / 7"),
    "double": ("double", "(CAST(seq AS signed) - 700) / 7"),
    "datetime": ("datetime(3)", "TIMESTAMPADD(MICROSECOND, seq * 1337, '2024-01-01')"),
    "timestamp": ("timestamp(6) DEFAULT CURRENT_TIMESTAMP(6)", "TIMESTAMPADD(MICROSECOND, seq * 1337, '2024-01-01')"),
    "date": ("date", "ADDDATE('0999-01-01', seq * 100)"),
    "time": ("time(2)", "SEC_TO_TIME((CAST(seq AS signed) - 700) * 11.5)"),
    "year": ("year", "1901 + seq % 200"),
    "bit": ("bit(40)", "seq * 1000"),
    "enum": ("enum('z','a')", "'z'"),
    "uuid": ("uuid", "HASH"),
}


@pytest.mark.parametrize("engine", ["mysql", "mysqld"])
def test_every_kind_of_key_mysql(world, engine):
    source, target = world.pair(engine, engine)
    c = source.connect()
    q = c.cursor()
    q.execute("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
    keys = {**MY_KEYS, "0900_ai_ci": ("varchar(80) COLLATE utf8mb4_0900_ai_ci", MY_KEYS["general_ci"][1])}
    del keys["0900_ai_ci" if source.mariadb else "uuid"]
    for name, (kind, expression) in keys.items():
        expression = expression.replace("HASH", "LEFT(SHA2(seq, 256), 32)")
        q.execute(f"CREATE TABLE k_{name} (k {kind} NOT NULL PRIMARY KEY, v varchar(200))")
        q.execute(source.portable(f"INSERT IGNORE INTO k_{name} SELECT {expression}, REPEAT('v', 100) FROM seq_1_to_1500"))
        q.execute(f"ANALYZE TABLE k_{name}")
        q.fetchall()
    c.close()
    tables = [f"k_{k}" for k in keys]
    r = world.run(world.task(source, target).own("chunk-size-kb", 32)).expect(DONE)
    assert_equal(source, target, tables=tables)
    assert {t["TableName"]: t["FullLoadRows"] for t in r.json["tables"]} == {t: source.count(t) for t in tables}
    assert max(t["chunks"] for t in r.json["tables"]) > 3


LITE_KEYS = {
    "text": ("TEXT PRIMARY KEY", "printf('%08x', i * 2654435761 % 4294967296)"),
    "nocase": ("TEXT COLLATE NOCASE PRIMARY KEY", "printf(iif(i % 2, '%08x', '%08X'), i * 2654435761 % 4294967296)"),
    "rtrim": ("TEXT COLLATE RTRIM PRIMARY KEY", "printf('%d', i)"),
    "rowid": ("INTEGER PRIMARY KEY", "(i - 700) * 6148914691236"),
    "mixed": ("PRIMARY KEY", "CASE i % 4 WHEN 0 THEN i WHEN 1 THEN i + 0.5 WHEN 2 THEN 't' || i ELSE CAST('b' || i AS BLOB) END"),
    "real": ("REAL PRIMARY KEY", "(i - 700) / 7.0"),
    "with_null": ("TEXT PRIMARY KEY", "CASE WHEN i % 3 THEN printf('%d', i) END"),
}


def test_every_kind_of_key_sqlite(world):
    """A key without NOT NULL holds NULLs there, and one column values of all kinds."""
    source, target = world.pair("sqlite", "sqlite")
    for name, (kind, expression) in LITE_KEYS.items():
        for tail in ("", " WITHOUT ROWID"):
            if tail and name in ("with_null",):
                continue
            t = f"k_{name}{'_w' if tail else ''}"
            source.script([f"CREATE TABLE {t} (k {kind}, v TEXT){tail}",
                           f"WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 1500)"
                           f" INSERT OR IGNORE INTO {t} SELECT {expression}, hex(zeroblob(50)) FROM s"])
    tables = source.tables()
    r = world.run(world.task(source, target).own("chunk-size-kb", 32)).expect(DONE)
    assert_equal(source, target, tables=tables)
    assert {t["TableName"]: t["FullLoadRows"] for t in r.json["tables"]} == {t: source.count(t) for t in tables}
