"""How tables are cut: the chunks of a plan and the rows in them, for data and sizes that are always the same.

MySQL's plans follow the optimizer's row estimates, which differ from one day to the next; its cuts are proven by the
conformance suite and the scenarios instead.
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
