"""Every source with every target: all rows arrive, the schema with them, and a second run has nothing to do."""

import re
import subprocess

import pytest

from compare.compare import assert_equal, compare
from harness import shop
from harness.fixtures import every_pair, pair_ids
from harness.run import DONE

all_pairs = pytest.mark.parametrize("pair", every_pair(mysqld=True), ids=pair_ids)


@all_pairs
def test_load(world, pair):
    source, target = world.pair(*pair)
    counts = shop.fill(source)
    task = world.task(source, target)
    # Small chunks, so that a table of this size has several.
    task.own("chunk-size-kb", 64)

    first = world.run(task).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)

    # The report counts what is there.
    report = first.json
    assert {t["TableName"]: t["FullLoadRows"] for t in report["tables"]} == counts
    assert {t["TableState"] for t in report["tables"]} == {"Table completed"}
    assert report["exit_code"] == 0 and report["failure"] is None and report["ended"] is True
    assert report["statistics"]["rows"] == sum(counts.values())
    assert report["statistics"]["FullLoadProgressPercent"] == 100
    assert report["statistics"]["rows_refused"] == 0

    # Run again: nothing to do, and nothing is done.
    second = world.run(task).expect(DONE)
    assert second.json["already_complete"] is True
    assert_equal(source, target, tables=shop.TABLES)
    said = world.godwit("run", task, json_report=False).expect(DONE)
    assert "already complete" in said.stdout

    # New rows get new keys: sequences and auto-increment go on behind the loaded rows.
    target.execute("INSERT INTO customers (email, name) VALUES ('new@example.org', 'new')")
    assert target.one("SELECT id FROM customers WHERE email = 'new@example.org'") == counts["customers"] + 1
    target.execute(
        "INSERT INTO orders (customer_id, state, total, placed) VALUES (1, 'new2', 1, '2024-01-01 00:00:00')"
    )
    assert target.one("SELECT id FROM orders WHERE state = 'new2'") == 1000 + counts["orders"]

    # Unique keys, foreign keys and NOT NULL are there and hold.
    if not any(f["object"] == "customers_email_key" and "not made" in f["action"] for f in first.findings):
        with pytest.raises(Exception):
            target.execute("INSERT INTO customers (email, name) VALUES ('user1@example.org', 'twice')")
    else:
        assert pair[0] == "sqlite" and target.engine == "mysql"  # a text of any length has no unique key there; the findings say so
    with pytest.raises(Exception):
        target.execute("INSERT INTO stock (warehouse, sku, amount) VALUES ('W0', 0, 1)")
    with pytest.raises(Exception):
        target.execute("INSERT INTO customers (email, name) VALUES ('x@example.org', NULL)")
    if target.engine != "sqlite":
        with pytest.raises(Exception):
            target.execute("INSERT INTO orders (customer_id, state, total, placed) VALUES (-1, 'x', 1, '2024-01-01')")
    else:
        assert "customers" in str(target.execute("SELECT * FROM pragma_foreign_key_list('orders')"))


def shape(db):
    """The schema in the engine's own words, one line an object, in an order of its own."""
    if db.engine == "sqlite":
        return sorted(
            re.sub(r"\s+", " ", r[0].replace(chr(34), ""))
            for r in db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'godwit%'"
                                " AND tbl_name NOT LIKE 'godwit%' AND name NOT LIKE 'sqlite%'")
        )
    if db.engine == "mysql":
        out = []
        for t in db.tables():
            lines = db.execute(f"SHOW CREATE TABLE {db.quote(t)}")[0][1].splitlines()
            # To InnoDB, NO ACTION and nothing at all are one.
            lines = [re.sub(r" ON (UPDATE|DELETE) NO ACTION", "", x) for x in lines]
            out += sorted(f"{t}: {x.strip().rstrip(',')}" for x in lines)
        return out
    dump = subprocess.run(
        [str(db.server.bin / "pg_dump"), "--schema-only", "--no-owner", "--no-privileges", "--schema", "public",
         "-h", str(db.server.folder), "-p", str(db.server.port), "-U", "gw", db.name],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout
    dump = re.sub(r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\.*)$", "", dump, flags=re.M)
    return sorted(re.sub(r"\s+", " ", s).strip() for s in dump.split(";") if s.strip())


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "mysqld", "sqlite"])
def test_the_same_engine_gets_the_same_schema(world, engine):
    source, target = world.pair(engine, engine)
    shop.fill(source, 10)
    if engine == "postgresql":
        source.script(PG_MORE)
    if engine == "mysql":
        source.script(MY_MORE)
    world.run(world.task(source, target)).expect(DONE)
    assert_equal(source, target)
    assert shape(target) == shape(source)


PG_MORE = [
    "CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'happy')",
    "CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100)",
    """CREATE TABLE rich (
        id serial PRIMARY KEY, feeling mood DEFAULT 'happy', share percent, tags text[] DEFAULT '{}',
        twice int GENERATED ALWAYS AS (id * 2) STORED, doc jsonb, made timestamptz DEFAULT now(), span int4range,
        EXCLUDE USING gist (span WITH &&))""",
    "COMMENT ON TABLE rich IS 'a comment; with ''quotes'''",
    "COMMENT ON COLUMN rich.doc IS 'another'",
    "CREATE INDEX rich_doc ON rich USING gin (doc)",
    "CREATE INDEX rich_part ON rich (lower(tags[1]) DESC NULLS LAST) WHERE share > 10",
    "CREATE UNIQUE INDEX rich_incl ON rich (id) INCLUDE (share)",
    """CREATE TABLE parent (a int, b int, PRIMARY KEY (a, b))""",
    """CREATE TABLE child (id int PRIMARY KEY, a int, b int,
        FOREIGN KEY (a, b) REFERENCES parent (a, b) MATCH FULL ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED)""",
    "INSERT INTO rich (feeling, share, tags, doc, span) VALUES ('it''s ok', 50, '{a,\"b c\",NULL}', '{\"x\": 1}', '[1,5)'),"
    " (NULL, NULL, NULL, NULL, NULL)",
    "INSERT INTO parent VALUES (1, 2)",
    "INSERT INTO child VALUES (1, 1, 2), (2, NULL, NULL)",
    """CREATE TABLE measures (at date NOT NULL, site int NOT NULL, v real, PRIMARY KEY (at, site)) PARTITION BY RANGE (at)""",
    "CREATE TABLE measures_2023 PARTITION OF measures FOR VALUES FROM ('2023-01-01') TO ('2024-01-01')",
    "CREATE TABLE measures_2024 PARTITION OF measures FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')"
    " PARTITION BY HASH (site)",
    "CREATE TABLE measures_2024_0 PARTITION OF measures_2024 FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
    "CREATE TABLE measures_2024_1 PARTITION OF measures_2024 FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    "CREATE TABLE measures_rest PARTITION OF measures DEFAULT",
    "INSERT INTO measures SELECT '2023-06-01'::date + i, i, i / 3.0 FROM generate_series(1, 1000) i",
]

MY_MORE = [
    """CREATE TABLE rich (
        id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, feeling enum('sad','it''s ok','happy') DEFAULT 'happy',
        flags set('a','b','c') NOT NULL DEFAULT 'a,c', doc json, twice int GENERATED ALWAYS AS (id2 * 2) STORED,
        id2 int DEFAULT 5, made timestamp(3) NOT NULL DEFAULT current_timestamp(3) ON UPDATE current_timestamp(3),
        big bigint unsigned, body text, place point NOT NULL, KEY rich_body (body(20)), SPATIAL KEY rich_place (place),
        FULLTEXT KEY rich_text (body)) COMMENT='a comment; with ''quotes'''""",
    "INSERT INTO rich (feeling, flags, doc, big, body, place) VALUES ('it''s ok', 'b', '{\"x\": 1}', 18446744073709551615,"
    " 'long text', ST_GeomFromText('POINT(1 2)', 4326)), (NULL, '', NULL, NULL, NULL, ST_GeomFromText('POINT(3 4)'))",
    """CREATE TABLE measures (at date NOT NULL, site int NOT NULL, v float, PRIMARY KEY (at, site))
        PARTITION BY RANGE (year(at)) (PARTITION p2023 VALUES LESS THAN (2024), PARTITION p2024 VALUES LESS THAN (2025),
        PARTITION rest VALUES LESS THAN MAXVALUE)""",
    "INSERT INTO measures SELECT '2023-06-01' + INTERVAL seq DAY, seq, seq / 3 FROM seq_1_to_1000",
]
