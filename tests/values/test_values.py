"""Every type with every edge value: the same on an equal engine; on another one the same value, or refused by name.

One table a type, all types of an engine in one run. A value that another engine cannot hold must be in the exceptions (the
row alone), or its table or column must be named in the findings before the load; it may never arrive altered.
"""

import re

import pytest

from compare.compare import compare
from harness import control
from harness.fixtures import every_pair, pair_ids
from harness.run import DONE, TABLE_ERROR
from values import matrix


# What an engine's own writing refuses to repeat: {(engine, table): ids}. It must be refused by name, not lost.
REFUSED = {("mysql", "v_enum_a_b_c_it_s_x_y"): {4}}  # '' of an enum without that label: strict mode has no way to write it
# What the target's server alters whatever is sent.
# MariaDB has no negative zero (of PostgreSQL's real and double precision, of SQLite's REAL, of MySQL's double).
ALTERED = {("mysql", "v_double_precision", 7), ("mysql", "v_real", 7), ("mysql", "v_real", 6), ("mysql", "v_double", 5)}


def table_of(kind):
    return "v_" + re.sub(r"\W+", "_", kind.replace("[]", "_array")).strip("_").lower()


def fill(db):
    """{table: (type, [ids])}"""
    made = {}
    c = db.connect()
    q = c.cursor()
    if db.engine == "mysql":
        # Values that strict mode refuses exist in databases that were not always strict.
        q.execute("SET sql_mode = '', time_zone = '+00:00'")
    for s in matrix.PG_BEFORE if db.engine == "postgresql" else []:
        q.execute(s)
    for kind, values in matrix.types_of(db).items():
        table = table_of(kind)
        q.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v {kind})")
        for i, v in enumerate(values + ["NULL"], 1):
            q.execute(f"INSERT INTO {table} VALUES ({i}, {v})")
        made[table] = (kind, list(range(1, len(values) + 2)))
    db.commit(c)
    c.close()
    return made


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "mysqld", "sqlite"])
def test_an_equal_engine_keeps_every_value(world, engine):
    source, target = world.pair(engine, engine)
    made = fill(source)
    task = world.task(source, target)
    r = world.run(task)
    refused = {}
    for table, key, _code, _reason, _row in control.exceptions(target, task):
        refused.setdefault((source.engine, table), set()).add(_ids(key))
    assert refused == {k: v for k, v in REFUSED.items() if k[0] == source.engine}
    for (_, table), ids in refused.items():
        for i in ids:
            source.execute(f"DELETE FROM {table} WHERE id = {i}")
    results = compare(source, target, tables=sorted(made))
    wrong = [str(x) for x in results if not x.equal]
    reasons = [f'{t["TableName"]}: {t["reason"]}' for t in r.json["tables"] if t["reason"]]
    assert not wrong, "\n".join(wrong + reasons)
    r.expect(TABLE_ERROR if refused else DONE)


def _ids(text):
    m = re.search(r"\bid=(\d+)", text or "")
    return int(m.group(1)) if m else None


@pytest.mark.parametrize("pair", [p for p in every_pair(mysqld=True) if p[0] != p[1]], ids=pair_ids)
def test_another_engine_keeps_a_value_or_refuses_it_by_name(world, pair):
    source, target = world.pair(*pair)
    made = fill(source)
    task = world.task(source, target)
    r = world.run(task).expect(DONE, TABLE_ERROR)
    refused = {}
    for table, key, _code, _reason, _row in control.exceptions(target, task):
        refused.setdefault(table, set()).add(_ids(key))
    failed = {t["TableName"]: t["reason"] for t in r.json["tables"] if t["TableState"] == "Table error"}
    named = {f["table"] for f in r.findings if f["severity"] in ("error", "warning")}
    wrong = []
    for x in compare(source, target, tables=sorted(made), first=1000):
        kind, ids = made[x.name]
        if x.name in failed:
            assert failed[x.name], f"{x.name} failed without a reason"
            if x.name not in named and "rows are loaded" not in failed[x.name]:
                wrong.append(f"{x.name} ({kind}): in error without a finding: {failed[x.name]}")
            continue
        if x.problem:
            wrong.append(str(x))
            continue
        gone = refused.get(x.name, set())
        arrived = {int(i) for (i,) in target.execute(f"SELECT id FROM {x.name}")}
        lost = set(ids) - arrived - gone
        if lost:
            wrong.append(f"{x.name} ({kind}): rows {sorted(lost)} are neither there nor refused")
        if arrived & gone:
            wrong.append(f"{x.name} ({kind}): rows {sorted(arrived & gone)} are there and refused")
        for d in x.differences:
            m = re.match(r"id=(\d+)", d)
            if m and int(m.group(1)) in gone:
                continue
            if m and (target.engine, x.name, int(m.group(1))) in ALTERED:
                continue
            wrong.append(f"{x.name} ({kind}): {d}")
    if wrong:
        print(f"refused: {refused}")
    assert not wrong, "\n".join(wrong)
    # What was refused is counted.
    assert r.json["statistics"]["rows_refused"] == sum(len(v) for v in refused.values())
    assert r.code == (TABLE_ERROR if refused or failed else DONE)
