"""How tables are cut: the chunks of a plan and the rows in them, for data and sizes that are always the same.

Where MySQL and MariaDB cut by key, they follow the optimizer's row estimates, which differ from one release to the next: of
those plans it is proven that they are sound, and their golden file holds what depends on no estimate.
"""

import pytest

from golden.test_golden import against
from harness import control
from harness.run import DONE

TABLES = [
    ("by_int", "(id bigint PRIMARY KEY, v varchar(60))", lambda i: (i, f"value {i} " + "x" * 40)),
    ("by_gaps", "(id bigint PRIMARY KEY, v varchar(60))", lambda i: (i * i * i - 5000, f"value {i} " + "x" * 40)),
    ("by_text", "(id varchar(20) PRIMARY KEY, v varchar(60))", lambda i: (f"{i * 7919 % 104729:06x}", "y" * 50)),
    ("composite", "(id int, b int, v varchar(60), PRIMARY KEY (id, b))", lambda i: (i // 100, i % 100, "z" * 50)),
    ("keyless", "(id int, v varchar(60))", lambda i: (i // 2, "w" * 50)),
]


@pytest.mark.parametrize("engine", ["postgresql", "sqlite"])
def test_chunks(world, engine):
    source, target = world.pair(engine, "sqlite")
    for name, columns, row in TABLES:
        source.execute(f"CREATE TABLE {name} {columns}")
        rows = [row(i) for i in range(4000)]
        source.insert(name, ["id", "b", "v"] if len(rows[0]) == 3 else ["id", "v"], rows)
    source.execute("CREATE TABLE empty (id int PRIMARY KEY)")
    if engine == "postgresql":
        for name, _, _ in TABLES:
            source.execute(f"ANALYZE {name}")
    task = world.task(source, target).own("chunk-size-kb", 64)
    world.run(task).expect(DONE)
    text = ""
    for (table, no), (_, _, rows) in sorted(control.chunks(target, task).items()):
        text += f"{table} chunk {no}: {rows} rows\n"
    against(f"chunks-{engine}.txt", text)


# Whatever the server guesses: (table, columns, row, parallel-load).
DECLARED = [
    ("ranges_int", "(id int PRIMARY KEY, v varchar(60))", lambda i: (i, "x" * 50),
     {"type": "ranges", "columns": ["id"], "boundaries": [["100"], ["101"], ["3999"]]}),
    ("ranges_two", "(a int, b int, v varchar(60))", lambda i: (None if i % 10 == 0 else i // 100, i % 100, "y" * 50),
     {"type": "ranges", "columns": ["a", "b"], "boundaries": [["10", "50"], ["20", "0"]]}),
    ("ranges_date", "(id int PRIMARY KEY, d datetime(6))", lambda i: (i, f"2024-{i % 12 + 1:02d}-01 00:00:00.5"),
     {"type": "ranges", "columns": ["d"], "boundaries": [["2024-04-01 00:00:00.5"], ["2024-07-01"]]}),
    ("parts", "(id int PRIMARY KEY, v varchar(60)) PARTITION BY RANGE (id) (PARTITION p1 VALUES LESS THAN (1000),"
     " PARTITION p2 VALUES LESS THAN (1001), PARTITION rest VALUES LESS THAN MAXVALUE)", lambda i: (i, "z" * 50),
     {"type": "partitions-auto"}),
    ("listed", "(id int PRIMARY KEY, v varchar(60)) PARTITION BY HASH (id) PARTITIONS 4", lambda i: (i, "z" * 50),
     {"type": "partitions-list", "partitions": ["p1", "p3"]}),
    ("whole", "(id int PRIMARY KEY, v varchar(60))", lambda i: (i, "w" * 50), {"type": "none"}),
    ("keyless", "(id int, v varchar(60))", lambda i: (i // 2, "w" * 50), None),
]
mysqls = pytest.mark.parametrize("engine", ["mysql", "mysqld"])


@mysqls
def test_declared_chunks_of_mysql(world, engine):
    source, target = world.pair(engine, "sqlite")
    task = world.task(source, target).own("chunk-size-kb", 64)
    for no, (name, columns, row, parallel) in enumerate(DECLARED):
        source.execute(f"CREATE TABLE {name} {columns}")
        rows = [row(i) for i in range(4000)]
        source.insert(name, [c.split()[0] for c in columns.strip("(").split(",")[: len(rows[0])]], rows)
        if parallel:
            task.rule({"rule-type": "table-settings", "rule-id": str(50 + no), "rule-name": name, "parallel-load": parallel,
                       "object-locator": {"schema-name": source.schema, "table-name": name}})
    source.execute("CREATE TABLE vacant (id int PRIMARY KEY)")
    world.run(task).expect(DONE)
    text = ""
    for table, chunks in control.plans(target, task).items():
        for no, (plan, rows) in enumerate(chunks):
            text += f"{table} chunk {no}: {plan}: {rows} rows\n"
    against("chunks-mysql.txt", text)


def sound(source, table, chunks, key):
    """Contiguous, from the least key or below to the greatest or above, and every row in the chunk that it belongs to."""
    names = ", ".join(key)
    orders = [", ".join(f"{k} {way}" for k in key) for way in ("ASC", "DESC")]
    ends = [tuple(str(v) for v in source.execute(f"SELECT {names} FROM {table} ORDER BY {o} LIMIT 1")[0]) for o in orders]
    plans = [p for p, _ in chunks]
    assert all((p.by, p.columns) == ("key", list(key)) for p in plans)
    # A load without a stream behind it leaves the ends open; the source plans them closed.
    assert plans[0].lo in (None, ends[0]) and plans[-1].hi in (None, ends[1])
    assert [p.hi_inclusive for p in plans] == [False] * (len(plans) - 1) + [plans[-1].hi is not None]
    assert None not in [p.hi for p in plans[:-1]] and [p.lo for p in plans[1:]] == [p.hi for p in plans[:-1]]
    mark = "(" + ", ".join(["%s"] * len(key)) + ")"
    for plan, rows in chunks:
        where, values = ["true"], []
        for op, bound in ((">=", plan.lo), ("<=" if plan.hi_inclusive else "<", plan.hi)):
            if bound:
                where.append(f"({names}) {op} {mark}")
                values += bound
        there = source.one(f"SELECT count(*) FROM {table} WHERE {' AND '.join(where)}", values)
        assert rows == there > 0, f"{table}: {plan}: {rows} rows of {there}"
    assert sum(rows for _, rows in chunks) == source.count(table)


@mysqls
def test_chunks_of_mysql_by_key(world, engine):
    source, target = world.pair(engine, "sqlite")
    # Compared byte by byte: a key that is not has open ends.
    tables = [(n, c.replace("varchar(20) PRIMARY", "varchar(20) COLLATE utf8mb4_bin PRIMARY"), r) for n, c, r in TABLES if n != "keyless"]
    tables.append(("crowded", "(id bigint PRIMARY KEY, v varchar(60))", lambda i: (i if i < 3900 else i * 10**12, "v" * 50)))
    for name, columns, row in tables:
        source.execute(f"CREATE TABLE {name} {columns}")
        rows = [row(i) for i in range(4000)]
        source.insert(name, ["id", "b", "v"] if len(rows[0]) == 3 else ["id", "v"], rows)
        source.execute(f"ANALYZE TABLE {name}")
    task = world.task(source, target).own("chunk-size-kb", 64)
    world.run(task).expect(DONE)
    plans = control.plans(target, task)
    for name, columns, _ in tables:
        assert 3 <= len(plans[name]) <= 20, f"{name}: {len(plans[name])} chunks of 64 KB"
        sound(source, name, plans[name], ("id", "b") if name == "composite" else ("id",))
        # None is several times its share, whatever gaps the key has.
        share = 4000 / len(plans[name])
        assert max(rows for _, rows in plans[name]) < 4 * share, [rows for _, rows in plans[name]]
