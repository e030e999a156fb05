"""The compare tool finds every planted difference, and none where there is none."""

import subprocess
import sys

import pytest

from compare.compare import compare
from harness.database import ENV
from harness.servers import PASSWORD

KEYED = {
    "postgresql": "CREATE TABLE k (id int PRIMARY KEY, n numeric, t text, f double precision, ts timestamp, b bytea,"
    " c char(5), j json, r real, ok boolean)",
    "mysql": "CREATE TABLE k (id int PRIMARY KEY, n decimal(20,6), t text, f double, ts datetime(6), b blob,"
    " c char(5), j json, r float, ok tinyint(1))",
    "sqlite": "CREATE TABLE k (id int PRIMARY KEY, n DECIMAL_TEXT, t TEXT, f DOUBLE, ts TIMESTAMP, b BLOB,"
    " c TEXT, j JSON_TEXT, r DOUBLE, ok BOOLEAN)",
}
LOOSE = {e: "CREATE TABLE loose (a int, t varchar(20))" for e in KEYED}
COLUMNS = ["id", "n", "t", "f", "ts", "b", "c", "j", "r", "ok"]


def keyed_rows():
    return [
        [i, f"{i}.25", f"text {i}", i / 3, f"2024-02-29 12:00:00.{i:06}", bytes([0, i % 256, 255]), "ab",
         '{"a": [1, 2.50]}', 0.1, i % 2]
        for i in range(50)
    ]


def fill(db):
    db.script([KEYED[db.engine], LOOSE[db.engine]])
    rows = keyed_rows()
    if db.engine == "postgresql":
        rows = [r[:-1] + [bool(r[-1])] for r in rows]
    db.insert("k", COLUMNS, rows)
    db.insert("loose", ["a", "t"], [[1, "x"], [1, "x"], [2, None], [3, ""]])
    return db


@pytest.fixture
def ends(request, world):
    a, b = request.param
    return fill(world.database(a)), fill(world.database(b))


pairs = pytest.mark.parametrize(
    "ends",
    [("postgresql", "postgresql"), ("mysql", "mysql"), ("sqlite", "sqlite"), ("postgresql", "mysql"),
     ("mysql", "postgresql"), ("sqlite", "postgresql"), ("mysql", "sqlite"), ("postgresql", "sqlite"),
     ("sqlite", "mysql")],
    ids="-".join,
    indirect=True,
)


def results(ends):
    return {r.name: r for r in compare(*ends)}


@pairs
def test_equal_ends_are_equal(ends):
    r = results(ends)
    assert set(r) == {"k", "loose"}
    assert all(x.equal for x in r.values()), "\n".join(map(str, r.values()))
    assert (r["k"].source_rows, r["loose"].target_rows) == (50, 4)


@pairs
@pytest.mark.parametrize(
    "table, change, shown",
    [
        ("k", "DELETE FROM k WHERE id = 7", "missing"),
        ("k", "UPDATE k SET t = 'text 9' WHERE id = 8", "column t"),
        ("k", "UPDATE k SET t = NULL WHERE id = 8", "None"),
        ("k", "UPDATE k SET t = 'text 8 ' WHERE id = 8", "column t"),
        ("k", "UPDATE k SET t = 'Text 8' WHERE id = 8", "column t"),
        ("k", "UPDATE k SET n = n + 0.000001 WHERE id = 8", "column n"),
        ("k", "UPDATE k SET f = f + 4.440892098500626e-16 WHERE id = 8", "column f"),
        ("k", "UPDATE k SET ts = '2024-02-29 12:00:00.000009' WHERE id = 8", "column ts"),
        ("k", "UPDATE k SET r = 0.1000001 WHERE id = 8", "column r"),
        ("k", "UPDATE k SET j = '{\"a\": [1, 2.51]}' WHERE id = 8", "column j"),
        ("k", "UPDATE k SET j = '{\"a\": [1, \"2.5\"]}' WHERE id = 8", "column j"),
        ("k", "UPDATE k SET c = 'AB' WHERE id = 8", "column c"),
        ("k", "UPDATE k SET id = 1000 WHERE id = 8", "id=1000 (int): too many"),
        ("loose", "INSERT INTO loose VALUES (1, 'x')", "too many"),
        ("loose", "DELETE FROM loose WHERE a = 1", "missing"),
        ("loose", "UPDATE loose SET t = '' WHERE a = 2", "None"),
        ("loose", "UPDATE loose SET t = NULL WHERE a = 3", "missing"),
    ],
)
def test_a_planted_difference_is_found(ends, table, change, shown):
    target = ends[1]
    if target.engine == "sqlite" and "SET n = n" in change:
        change = "UPDATE k SET n = '8.250001' WHERE id = 8"
    target.execute(change)
    r = results(ends)
    assert not r[table].equal
    assert shown in str(r[table]), str(r[table])
    other = "loose" if table == "k" else "k"
    assert r[other].equal, str(r[other])


@pairs
def test_one_of_two_doubled_rows_counts(ends):
    ends[1].execute("DELETE FROM loose WHERE a = 1")
    ends[1].insert("loose", ["a", "t"], [[1, "x"]])
    r = results(ends)["loose"]
    assert (r.missing, r.extra) == (1, 0)


@pairs
def test_binary_values_count_byte_for_byte(ends):
    literal = "'\\x0008fe'" if ends[1].engine == "postgresql" else "X'0008fe'"
    ends[1].execute(f"UPDATE k SET b = {literal} WHERE id = 8")
    assert "column b" in str(results(ends)["k"])


@pairs
def test_a_table_or_a_column_that_is_not_there(ends):
    ends[1].execute("DROP TABLE loose")
    ends[1].execute("ALTER TABLE k ADD COLUMN more int")
    r = results(ends)
    assert "not at the target" in r["loose"].problem
    assert "more" in r["k"].problem


def test_within_one_engine_the_scale_counts(world):
    a, b = fill(world.database("postgresql")), fill(world.database("postgresql"))
    b.execute("UPDATE k SET n = 8.250 WHERE id = 8")
    assert "8.250" in str(results((a, b))["k"])


def test_special_numbers(world):
    a, b = world.database("postgresql"), world.database("postgresql")
    for db, zero in ((a, "-0"), (b, "0")):
        db.script(["CREATE TABLE f (id int primary key, x float8, n numeric)",
                   f"INSERT INTO f VALUES (1, 'NaN', 'NaN'), (2, '-Infinity', 'Infinity'), (3, 5e-324, 0), (4, '{zero}', 1)"])
    r = results((a, b))["f"]
    assert r.missing == 1 and "id=4" in str(r)


def test_the_command(world):
    a, b = fill(world.database("postgresql")), fill(world.database("mysql"))
    argv = [sys.executable, __file__.replace("test_compare.py", "compare.py"), a.url, b.url]
    env = {"PATH": "/usr/bin:/bin", ENV: PASSWORD}
    p = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True)
    assert p.returncode == 0 and "equal" in p.stdout, p.stdout
    b.execute("DELETE FROM k WHERE id = 3")
    p = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True)
    assert p.returncode == 1 and "1 missing" in p.stdout, p.stdout
