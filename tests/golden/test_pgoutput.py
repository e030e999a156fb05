"""A server's replication messages, as the decoder reads them.

pgoutput.hex holds the bytes of one session (pgoutput-parts.hex: of transactions that are sent while they run), captured once: GODWIT_UPDATE_GOLDEN=1 captures them anew. A session of today is read, too:
but for numbers that the server hands out, it has to say the same.
"""

import os
import re
import subprocess

import pytest

from golden.test_golden import HERE, against
from golden.test_typemap import BUILD

SETUP = """
CREATE TYPE mood AS ENUM ('ok', 'so so');
CREATE TABLE plain (id int PRIMARY KEY, a varchar(20), b numeric(8,2), m mood, big text);
ALTER TABLE plain ALTER big SET STORAGE EXTERNAL;
CREATE TABLE whole (a int, "B ""c" text);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE parts (id int, r text, PRIMARY KEY (r, id)) PARTITION BY LIST (r);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE child (id int PRIMARY KEY REFERENCES plain);
CREATE PUBLICATION p FOR TABLE plain, whole, parts, child WITH (publish_via_partition_root = true);
SELECT pg_create_logical_replication_slot('s', 'pgoutput')
"""
CHANGES = r"""
INSERT INTO plain VALUES (1, '', 1.50, 'so so', repeat('x', 5000)), (2, NULL, NULL, NULL, NULL)
INSERT INTO plain VALUES (3, E'tab\tand \\ and\nline', 'NaN', 'ok', 'Zürich 🐦')
UPDATE plain SET a = 'changed' WHERE id = 1
UPDATE plain SET id = 10 WHERE id = 1
DELETE FROM plain WHERE id = 10
INSERT INTO whole VALUES (1, 'one'), (NULL, NULL)
UPDATE whole SET a = 2 WHERE a = 1
DELETE FROM whole
INSERT INTO parts VALUES (1, 'a')
UPDATE parts SET id = 2
TRUNCATE plain CASCADE
TRUNCATE whole RESTART IDENTITY
SELECT pg_logical_emit_message(false, 'godwit', 'text')
SELECT pg_logical_emit_message(true, 'other', '')
ALTER TABLE plain DROP COLUMN a, ADD COLUMN "new" timestamptz(3)
INSERT INTO plain VALUES (4, 4, 'ok', NULL, '2026-02-03 04:05:06+00')
SELECT pg_replication_origin_create('elsewhere')
SELECT pg_replication_origin_session_setup('elsewhere')
INSERT INTO whole VALUES (3, 'from elsewhere')
"""


# Rows of a kilobyte, so that few of them are more than the server holds. A rollback is told to whom a part was sent only.
PARTS = r"""
BEGIN
INSERT INTO plain (id, a, big) SELECT i, 'top', repeat('x', 9000) FROM generate_series(100, 107) i
SAVEPOINT a
INSERT INTO child SELECT i FROM generate_series(100, 101) i
UPDATE plain SET big = repeat('y', 9000), a = 'sub' WHERE id < 108
SELECT pg_logical_emit_message(true, 'within', '')
ROLLBACK TO a
INSERT INTO whole VALUES (100, 'behind')
COMMIT
BEGIN
INSERT INTO whole SELECT i, repeat('z', 9000) FROM generate_series(200, 208) i
ROLLBACK
INSERT INTO whole VALUES (300, 'small')
"""


def capture_parts(world):
    db = world.database("postgresql")
    c = db.server.connect(db.name)
    try:
        with c.cursor() as q:
            for statement in SETUP.split(";\n"):
                q.execute(statement)
            q.execute("SET timezone = 'UTC'; SET datestyle = 'ISO'; SET logical_decoding_work_mem = '64kB'")
            for statement in PARTS.strip().split("\n"):
                q.execute(statement)
            q.execute("SELECT encode(data, 'hex') FROM pg_logical_slot_get_binary_changes('s', NULL, NULL, 'proto_version', '2',"
                      " 'publication_names', 'p', 'messages', 'true', 'streaming', 'on')")
            rows = [r[0] for r in q.fetchall()]
            q.execute("SELECT pg_drop_replication_slot('s')")
            return "\n".join(rows) + "\n"
    finally:
        c.close()


def capture(world):
    db = world.database("postgresql")
    c = db.server.connect(db.name)
    try:
        with c.cursor() as q:
            for statement in SETUP.split(";\n"):
                q.execute(statement)
            q.execute("SET timezone = 'UTC'; SET datestyle = 'ISO'; SET extra_float_digits = 3")
            for statement in CHANGES.strip().split("\n"):
                q.execute(statement)
            q.execute("SELECT encode(data, 'hex') FROM pg_logical_slot_get_binary_changes('s', NULL, NULL, 'proto_version', '1',"
                      " 'publication_names', 'p', 'messages', 'true')")
            rows = [r[0] for r in q.fetchall()]
            q.execute("SELECT pg_replication_origin_session_reset()")
            q.execute("SELECT pg_replication_origin_drop('elsewhere'), pg_drop_replication_slot('s')")
            return "\n".join(rows) + "\n"
    finally:
        c.close()


def decoded(hexes):
    return subprocess.run([BUILD / "tests/pgoutput"], input=hexes, stdout=subprocess.PIPE, text=True, check=True).stdout


def without_numbers(text):
    oids = {}
    text = re.sub(r"oid=\d+", lambda m: oids.setdefault(m[0], f"oid#{len(oids)}"), text)
    text = re.sub(r"type=\d{5,}", "type=own", text)
    return re.sub(r"(xid|lsn|end|time)=\w+", r"\1=…", text)


SESSIONS = {"pgoutput": capture, "pgoutput-parts": capture_parts}
sessions = pytest.mark.parametrize("name", SESSIONS)


@sessions
def test_captured_bytes(name):
    if not os.environ.get("GODWIT_UPDATE_GOLDEN"):
        against(f"{name}.txt", decoded((HERE / f"{name}.hex").read_text()))


@sessions
def test_a_server_of_today(world, name):
    hexes = SESSIONS[name](world)
    if os.environ.get("GODWIT_UPDATE_GOLDEN"):
        (HERE / f"{name}.hex").write_text(hexes)
        against(f"{name}.txt", decoded(hexes))
    text = decoded(hexes)
    assert "error" not in text
    assert without_numbers(text) == without_numbers((HERE / f"{name}.txt").read_text())
