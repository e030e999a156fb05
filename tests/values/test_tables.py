"""Tables that are awkward in themselves: their names, their keys, their width, the size of a value."""

import pytest

from compare.compare import compare
from harness.fixtures import every_pair, pair_ids
from harness.run import DONE, USAGE

PAIRS = pytest.mark.parametrize("pair", every_pair(), ids=pair_ids)


def moved(world, source, target, tables, chunk_kb=None):
    task = world.task(source, target)
    if chunk_kb:
        task.own("chunk-size-kb", chunk_kb)
    r = world.run(task).expect(DONE)
    wrong = [str(x) for x in compare(source, target, tables=tables) if not x.equal]
    assert not wrong, "\n".join(wrong)
    return r


# 63 bytes is the longest name of PostgreSQL, 64 characters that of MySQL.
NAMES = [
    'Quo"ted',
    "it's",
    "with space",
    "CamelCase",
    "dot.ted",
    "back\\slash",
    "back`tick",
    "per cent",
    "semi;colon--",
    "select",
    "über_Größe_表",
    "n" * 63,
]


@PAIRS
def test_names_of_tables_and_columns(world, pair):
    source, target = world.pair(*pair)
    for name in NAMES:
        column = "c_" + name[:60]
        source.execute(
            f"CREATE TABLE {source.quote(name)} ({source.quote('I d')} int PRIMARY KEY, {source.quote(column)} varchar(20))"
        )
        source.insert(name, ["I d", column], [(i, f"{i}") for i in range(5)])
    moved(world, source, target, NAMES)


@PAIRS
def test_kinds_of_keys(world, pair):
    source, target = world.pair(*pair)
    text = "varchar(40) collate utf8mb4_bin" if source.engine == "mysql" else "varchar(40)"
    source.script(
        [
            f"CREATE TABLE composite (a int, b {text}, v int, PRIMARY KEY (a, b))",
            f"CREATE TABLE by_text (k {text} PRIMARY KEY, v int)",
            "CREATE TABLE by_gaps (k bigint PRIMARY KEY, v int)",
            "CREATE TABLE keyless (a int, b varchar(40))",
            "CREATE TABLE no_rows (a int PRIMARY KEY)",
            "CREATE TABLE one_row (a int PRIMARY KEY)",
            "INSERT INTO one_row VALUES (7)",
        ]
    )
    n = 6000
    source.insert("composite", ["a", "b", "v"], [(i % 7, f"k {i} é", i) for i in range(n)])
    source.insert("by_text", ["k", "v"], [(f"{i * 7919 % 104729:x} z", i) for i in range(n)])
    edges = [-(2**63), -(2**63) + 1, 2**63 - 1, 2**63 - 2]
    source.insert("by_gaps", ["k", "v"], [(k, 0) for k in edges] + [(i * i * i - 10**9, i) for i in range(n)])
    # Rows that are there twice must arrive twice.
    source.insert("keyless", ["a", "b"], [(i // 2, None if i % 5 == 0 else f"v{i // 2}") for i in range(n)])
    tables = ["composite", "by_text", "by_gaps", "keyless", "no_rows", "one_row"]
    r = moved(world, source, target, tables, chunk_kb=32)
    assert {t["TableName"]: t["FullLoadRows"] for t in r.json["tables"]}["by_gaps"] == n + len(edges)


@PAIRS
def test_a_thousand_columns(world, pair):
    source, target = world.pair(*pair)
    names = [f"c{i}" for i in range(999)]
    source.execute("CREATE TABLE wide (id int PRIMARY KEY, " + ", ".join(f"{x} int" for x in names) + ")")
    rows = [[i] + [None if (i + k) % 3 == 0 else i * 1000 + k for k in range(999)] for i in range(20)]
    source.insert("wide", ["id"] + names, rows, batch=5)
    if pair == ("sqlite", "mysql"):  # any INTEGER of SQLite may need 64 bits, and a row of InnoDB has 8,126 bytes at most
        got = world.run(world.task(source, target)).expect(USAGE)
        assert "in a page of InnoDB" in got.text
        return
    world.run(world.task(source, target)).expect(DONE)
    wrong = [str(x) for x in compare(source, target, tables=["wide"]) if not x.equal]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("pair", [("postgresql", "postgresql"), ("sqlite", "postgresql"), ("postgresql", "sqlite")], ids=pair_ids)
def test_a_value_of_100_mb(world, pair):
    source, target = world.pair(*pair)
    size = 100 << 20
    source.execute("CREATE TABLE big (id int PRIMARY KEY, v text)")
    fill = "repeat('0123456789abcde' || chr(9), {})" if source.engine == "postgresql" else "replace(hex(zeroblob({})), '00', '0123456789abcde' || char(9))"
    source.execute(f"INSERT INTO big VALUES (1, {fill.format(size // 16)}), (2, 'small'), (3, NULL)")
    world.run(world.task(source, target)).expect(DONE)
    sums = "SELECT id, length(v), substr(v, length(v) - 40) FROM big ORDER BY id"
    assert source.execute(sums) == target.execute(sums)
    assert target.one("SELECT length(v) FROM big WHERE id = 1") == size
    if source.engine == target.engine:
        assert source.one("SELECT md5(v) FROM big WHERE id = 1") == target.one("SELECT md5(v) FROM big WHERE id = 1")


# What the server allows in one packet bounds a value there: 64 MB in these tests, 16 MB by default.
@pytest.mark.parametrize("pair", [("mysql", "mysql"), ("mysql", "postgresql"), ("postgresql", "mysql")], ids=pair_ids)
def test_a_value_of_24_mb(world, pair):
    source, target = world.pair(*pair)
    kind = "longtext" if source.engine == "mysql" else "text"
    source.execute(f"CREATE TABLE big (id int PRIMARY KEY, v {kind})")
    source.execute(f"INSERT INTO big VALUES (1, repeat('0123456789 abcd\n', {(24 << 20) // 16})), (2, 'small'), (3, NULL)")
    world.run(world.task(source, target)).expect(DONE)
    sums = "SELECT id, md5(v) FROM big ORDER BY id"
    assert source.execute(sums) == target.execute(sums)
