"""Definitions that change between what was planned and what is read."""

import pytest

from compare.compare import assert_equal
from harness.run import DONE
from traps import hold

SERVERS = ("postgresql", "mysql")


def by_letters(world, engine, rows=400):
    """A table whose columns hold their own name's letter, so that a value in a wrong column shows."""
    source, target = world.pair(engine, engine)
    source.execute("CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b varchar(20), x int)")
    source.insert("t", ["id", "a", "b", "x"], [[i, f"a{i}", f"b{i}", i] for i in range(rows)])
    return source, target


def meanwhile(world, task, source, *ddl, kill=None, then=()):
    """Runs the task; behind the snapshot and before the first row is read, the source's definition changes."""
    run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@1", once=world.folder / "once")
    hold.change(source, *ddl, *then)
    if kill:
        hold.kill_lanes(run, kill)
    hold.go_on(stopped)
    return run.wait(60)


SWAPS = {
    "postgresql": {
        "swapped": ["BEGIN", "ALTER TABLE t RENAME a TO z", "ALTER TABLE t RENAME b TO a", "ALTER TABLE t RENAME z TO b", "COMMIT"],
        "made_anew": ["BEGIN", "ALTER TABLE t DROP COLUMN a", "ALTER TABLE t ADD COLUMN a varchar(20)", "COMMIT"],
        "made_anew_with_default": ["BEGIN", "ALTER TABLE t DROP COLUMN a",
                                   "ALTER TABLE t ADD COLUMN a varchar(20) NOT NULL DEFAULT 'zz'", "COMMIT"],
        "added": ["ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 5"],
        "dropped": ["ALTER TABLE t DROP COLUMN b"],
    },
    "mysql": {
        "swapped": ["ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a"],
        "made_anew": ["ALTER TABLE t DROP COLUMN a, ADD COLUMN a varchar(20) AFTER id, ALGORITHM=COPY"],
        "made_anew_instantly": ["ALTER TABLE t DROP COLUMN a, ALGORITHM=INSTANT",
                                "ALTER TABLE t ADD COLUMN a varchar(20) DEFAULT 'zz' AFTER id, ALGORITHM=INSTANT"],
        "added": ["ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 5, ALGORITHM=INSTANT"],
        "dropped": ["ALTER TABLE t DROP COLUMN b"],
    },
    "sqlite": {
        "swapped": ["ALTER TABLE t RENAME COLUMN a TO z", "ALTER TABLE t RENAME COLUMN b TO a", "ALTER TABLE t RENAME COLUMN z TO b"],
        "made_anew": ["ALTER TABLE t DROP COLUMN a", "ALTER TABLE t ADD COLUMN a varchar(20)"],
        "dropped": ["ALTER TABLE t DROP COLUMN b"],
    },
}


@pytest.mark.parametrize("engine, how", [(e, h) for e in SWAPS for h in SWAPS[e]])
@pytest.mark.parametrize("kill", [None, "capture"], ids=["same-snapshot", "new-snapshot"])
def test_a_name_that_means_another_column(world, engine, how, kill):
    """A reader under an old snapshot finds columns by today's names: values would arrive in the wrong column, or as NULL.

    The rows of the snapshot must arrive as they were, or the table is refused; a new run then loads today's rows.
    """
    source, target = by_letters(world, engine)
    task = world.task(source, target).prep("DROP_AND_CREATE")
    before = source.execute("SELECT id, a, b, x FROM t ORDER BY id")
    if engine == "sqlite":
        # Only behind a log can a writer pass a reader.
        source.execute("PRAGMA journal_mode = wal")
    # So that old values under new names are the rows of no time at all.
    r = meanwhile(world, task, source, *SWAPS[engine][how], kill=kill, then=["UPDATE t SET x = x + 1"])
    if r.code == DONE:
        if target.execute("SELECT id, a, b, x FROM t ORDER BY id") != before:
            assert_equal(source, target, tables=["t"])
    else:
        hold.refused(r, "changed|definition|unknown column|no such column|does not exist")
    world.run(task, "--fresh").expect(DONE)
    assert_equal(source, target, tables=["t"])


REWRITES = {
    "type": ["ALTER TABLE t ALTER COLUMN x TYPE bigint"],
    "volatile_default": ["ALTER TABLE t ADD COLUMN r float8 DEFAULT random()"],
    "truncate": ["TRUNCATE t", "INSERT INTO t SELECT i, 'a' || i, 'n' || i, i FROM generate_series(1, 9) i"],
    "vacuum_full": ["VACUUM FULL t"],
    "cluster": ["CLUSTER t USING t_pkey"],
    "made_anew": ["BEGIN", "DROP TABLE t", "CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b varchar(20), x int)",
                  "INSERT INTO t SELECT i, 'n' || i, 'm' || i, i FROM generate_series(1, 50) i", "COMMIT"],
    "replaced_by_name": ["BEGIN", "ALTER TABLE t RENAME TO old", "CREATE TABLE t (LIKE old INCLUDING ALL)", "INSERT INTO t SELECT * FROM old",
                         "COMMIT"],
}


@pytest.mark.parametrize("how, keyed", [(h, k) for h in REWRITES for k in (True, False) if k or h != "cluster"],
                         ids=lambda x: x if isinstance(x, str) else "key" if x else "no-key")
def test_a_rewritten_table_reads_as_empty(world, how, keyed):
    """Under a snapshot that is older than the rewrite the new storage has no visible row, and no error says so."""
    source, target = by_letters(world, "postgresql")
    if not keyed:
        source.execute("ALTER TABLE t DROP CONSTRAINT t_pkey")
    before = source.execute("SELECT id, a, b, x FROM t ORDER BY id")
    task = world.task(source, target).prep("DROP_AND_CREATE")
    r = meanwhile(world, task, source, *REWRITES[how])
    if r.code != DONE or target.execute("SELECT id, a, b, x FROM t ORDER BY id") != before:
        hold.equal_or_refused(r, source, target, "changed|definition|rewritten|made after|gone", tables=["t"])
    world.run(task, "--fresh").expect(DONE)
    assert_equal(source, target, tables=["t"])


MY_REWRITES = {
    "type": ["ALTER TABLE t MODIFY x bigint"],
    "truncate": ["TRUNCATE t", "INSERT INTO t SELECT seq, 'a', 'n', seq FROM seq_1_to_9"],
    "rebuilt": ["ALTER TABLE t FORCE"],
    "optimize": ["OPTIMIZE TABLE t"],
    "made_anew": ["DROP TABLE t", "CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b varchar(20), x int)",
                  "INSERT INTO t SELECT seq, 'n', 'm', seq FROM seq_1_to_50"],
    "exchanged": ["CREATE TABLE n LIKE t", "INSERT INTO n SELECT seq, 'n', 'm', seq FROM seq_1_to_50", "RENAME TABLE t TO o, n TO t"],
}


@pytest.mark.parametrize("how", MY_REWRITES)
@pytest.mark.parametrize("engine", ["mysql", "mysqld"])
def test_a_table_that_is_newer_than_the_read_view(world, engine, how):
    """InnoDB refuses some such reads and answers others from the new table: never rows of neither time, never none."""
    source, target = by_letters(world, engine)
    before = source.execute("SELECT id, a, b, x FROM t ORDER BY id")
    task = world.task(source, target, tables="t").prep("DROP_AND_CREATE")
    r = meanwhile(world, task, source, *MY_REWRITES[how])
    if r.code != DONE or target.execute("SELECT id, a, b, x FROM t ORDER BY id") != before:
        hold.equal_or_refused(r, source, target, "changed|definition|gone|1412", tables=["t"])
    world.run(task, "--fresh").expect(DONE)
    assert_equal(source, target, tables=["t"])


def views(world, source, target):
    task = world.task(source, target, tables=[]).prep("DROP_AND_CREATE")
    return task.rule({"rule-type": "selection", "rule-id": "1", "rule-name": "v", "rule-action": "include",
                      "object-locator": {"schema-name": source.schema, "table-name": "v", "table-type": "all"}})


VIEW_DDL = {
    "base_rewritten": ["ALTER TABLE base.t ALTER COLUMN x TYPE bigint"],
    "base_truncated": ["TRUNCATE base.t"],
    "base_column_renamed": ["ALTER TABLE base.t RENAME a TO b"],
    "replaced": ["CREATE OR REPLACE VIEW v AS SELECT id, upper(a) AS a FROM base.t WHERE id % 2 = 0"],
    "made_anew": ["BEGIN", "DROP VIEW v", "CREATE VIEW v AS SELECT id, a FROM base.t WHERE id % 2 = 0", "COMMIT"],
}


@pytest.mark.parametrize("how", VIEW_DDL)
@pytest.mark.parametrize("depth", [1, 2], ids=["view", "view-over-view"])
def test_a_view_is_as_old_as_its_tables(world, how, depth):
    """A view whose base table was rewritten reads as empty, too; one that was replaced answers with its new query."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE SCHEMA base", "CREATE TABLE base.t (id int PRIMARY KEY, a text, x int)",
                   "INSERT INTO base.t SELECT i, 'a' || i, i FROM generate_series(1, 300) i"])
    if depth == 2:
        source.script(["CREATE VIEW base.w AS SELECT * FROM (SELECT id, a FROM base.t) q", "CREATE VIEW v AS SELECT id, a FROM base.w"])
        if how == "base_rewritten":
            source.execute("DROP VIEW base.w CASCADE")
            source.script(["CREATE VIEW base.w AS SELECT id, a FROM base.t", "CREATE VIEW v AS SELECT id, a FROM base.w"])
    else:
        source.execute("CREATE VIEW v AS SELECT id, a FROM base.t")
    before = source.execute("SELECT id, a FROM v ORDER BY id")
    task = views(world, source, target)
    r = meanwhile(world, task, source, *VIEW_DDL[how], then=["UPDATE base.t SET id = id + 1000"])
    got = target.execute("SELECT id, a FROM v ORDER BY id") if r.code == DONE else None
    if got is None:
        hold.refused(r, "changed|definition|rewritten|gone")
    else:
        # As it was at the snapshot; or, of a new snapshot, as it is.
        assert got in (before, source.execute("SELECT id, a FROM v ORDER BY id")), f"{len(got)} rows of neither time"
    world.run(task, "--fresh").expect(DONE)
    assert target.execute("SELECT id, a FROM v ORDER BY id") == source.execute("SELECT id, a FROM v ORDER BY id")


def test_a_view_that_was_not_replaced_after_all(world):
    """A replacement that was rolled back leaves its mark on the catalogue's row; the snapshot is as good as it was."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE SCHEMA base", "CREATE TABLE base.t (id int PRIMARY KEY, a text)",
                   "INSERT INTO base.t SELECT i, 'a' || i FROM generate_series(1, 300) i", "CREATE VIEW v AS SELECT id, a FROM base.t"])
    before = source.execute("SELECT id, a FROM v ORDER BY id")
    r = meanwhile(world, views(world, source, target), source, "BEGIN", "CREATE OR REPLACE VIEW v AS SELECT id, upper(a) AS a FROM base.t",
                  "ROLLBACK", then=["UPDATE base.t SET id = id + 1000"]).expect(DONE)
    assert target.execute("SELECT id, a FROM v ORDER BY id") == before
    assert r.json["statistics"]["one_point_in_time"]


def test_a_function_that_a_view_calls_is_replaced(world):
    """A function is looked up when it is called, whatever the snapshot."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE SCHEMA base", "CREATE TABLE base.t (id int PRIMARY KEY, a text)",
                   "CREATE FUNCTION base.f(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT $1 || '1'$$",
                   "INSERT INTO base.t SELECT i, 'a' || i FROM generate_series(1, 300) i",
                   "CREATE VIEW base.w AS SELECT id, base.f(a) AS a FROM base.t", "CREATE VIEW v AS SELECT id, a FROM base.w"])
    before = source.execute("SELECT id, a FROM v ORDER BY id")
    r = meanwhile(world, views(world, source, target), source,
                  "CREATE OR REPLACE FUNCTION base.f(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT $1 || '2'$$",
                  then=["UPDATE base.t SET id = id + 1000"]).expect(DONE)
    assert target.execute("SELECT id, a FROM v ORDER BY id") in (before, source.execute("SELECT id, a FROM v ORDER BY id"))
    assert r.code == DONE


def test_a_materialized_view_is_refreshed(world):
    """A refresh swaps the storage: chunks of two contents must not be mixed."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE SCHEMA base", "CREATE TABLE base.t (id int, a text)",
                   "INSERT INTO base.t SELECT i, repeat('x', 400) FROM generate_series(1, 2000) i",
                   "CREATE MATERIALIZED VIEW v AS SELECT * FROM base.t", "VACUUM ANALYZE v"])
    task = views(world, source, target).own("chunk-size-kb", 128)
    run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@3", once=world.folder / "once")
    source.script(["DELETE FROM base.t WHERE id % 2 = 0", "UPDATE base.t SET a = 'new'"])
    change = hold.Changing(source, "REFRESH MATERIALIZED VIEW v")
    change.done(1)  # unless it must wait for the reader
    before = [(i, "x" * 400) for i in range(1, 2001)]
    hold.go_on(stopped)
    r = run.wait(60)
    assert change.done()
    rows = source.execute("SELECT id, a FROM v ORDER BY id")
    if r.code == DONE:
        assert target.execute("SELECT id, a FROM v ORDER BY id") in (before, rows), "rows of two contents"
    else:
        hold.refused(r, "rewritten|changed|refresh")
    world.run(task, "--fresh").expect(DONE)
    assert target.execute("SELECT id, a FROM v ORDER BY id") == rows


# ---- partitions


def partitioned(world, engine):
    source, target = world.pair(engine, engine)
    if engine == "postgresql":
        source.script(["CREATE TABLE t (id int PRIMARY KEY, a text) PARTITION BY RANGE (id)",
                       "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100)",
                       "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (100) TO (200)"])
    else:
        source.execute("CREATE TABLE t (id int PRIMARY KEY, a text) PARTITION BY RANGE (id)"
                       " (PARTITION t1 VALUES LESS THAN (100), PARTITION t2 VALUES LESS THAN (200))")
    source.insert("t", ["id", "a"], [[i, "x"] for i in range(200)])
    target.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
    return source, target


BY_PARTITION = {"rule-type": "table-settings", "rule-id": "50", "rule-name": "p", "parallel-load": {"type": "partitions-auto"}}


def by_partition(task, source, yes):
    if yes:
        task.rule({**BY_PARTITION, "object-locator": {"schema-name": source.schema, "table-name": "t"}})
    return task


NEW_PARTITION = {
    "postgresql": ["CREATE TABLE t3 PARTITION OF t FOR VALUES FROM (200) TO (300)"],
    "mysql": ["ALTER TABLE t ADD PARTITION (PARTITION t3 VALUES LESS THAN (300))"],
}


@pytest.mark.parametrize("engine", SERVERS)
@pytest.mark.parametrize("auto", [True, False], ids=["partitions-auto", "plain"])
def test_a_partition_made_before_the_plan(world, engine, auto):
    """Partitions were described; one more is made and filled before the snapshot. Its rows are of that snapshot."""
    source, target = partitioned(world, engine)
    task = by_partition(world.task(source, target, tables="t").prep("DO_NOTHING"), source, auto)
    with hold.exclusive(target, "t") as lock:
        run = world.start("run", task)
        lock.waited_for(run)  # the check looks whether the table has rows
        source.script(NEW_PARTITION[engine])
        source.insert("t", ["id", "a"], [[i, "y"] for i in range(200, 250)])
        lock.release()
    r = run.wait(60)
    hold.equal_or_refused(r, source, target, "changed|definition|partition", tables=["t"])
    world.run(task.prep("TRUNCATE_BEFORE_LOAD"), "--fresh").expect(DONE)
    assert_equal(source, target, tables=["t"])


CHANGES = {
    "detached": ["ALTER TABLE t DETACH PARTITION t2", "UPDATE t2 SET a = 'not of t any more'"],
    "dropped": ["DROP TABLE t2"],
    "split": ["BEGIN", "ALTER TABLE t DETACH PARTITION t2", "CREATE TABLE t2a PARTITION OF t FOR VALUES FROM (100) TO (150)",
              "CREATE TABLE t2b PARTITION OF t FOR VALUES FROM (150) TO (200)", "INSERT INTO t SELECT * FROM t2", "COMMIT"],
    "made": ["CREATE TABLE t3 PARTITION OF t FOR VALUES FROM (200) TO (300)", "INSERT INTO t SELECT i, 'y' FROM generate_series(200, 250) i"],
    "attached": ["CREATE TABLE t3 (id int PRIMARY KEY, a text)", "INSERT INTO t3 SELECT i, 'y' FROM generate_series(200, 250) i",
                 "ALTER TABLE t ATTACH PARTITION t3 FOR VALUES FROM (200) TO (300)"],
}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("kill", ["capture", "all"])
def test_partitions_change_between_two_snapshots(world, how, kill):
    """The rest of a load is read under a new snapshot: of today's partitions, not of those that were described."""
    source, target = partitioned(world, "postgresql")
    task = world.task(source, target, tables="t").prep("DROP_AND_CREATE")
    if kill == "capture":
        r = meanwhile(world, task, source, *CHANGES[how], kill=kill)
    else:
        run, _ = hold.start_stopping(world, task, "apply.after_claim=stop@1", once=world.folder / "once")
        hold.change(source, *CHANGES[how])
        run.kill_all()
        r = world.run(task)
    hold.equal_or_refused(r, source, target, "changed|definition|partition|no such|does not exist", tables=["t"])
    world.run(task, "--fresh").expect(DONE)
    assert_equal(source, target, tables=["t"])


MY_CHANGES = {
    "dropped": ["ALTER TABLE t DROP PARTITION t2"],
    "made": ["ALTER TABLE t ADD PARTITION (PARTITION t3 VALUES LESS THAN (300))", "INSERT INTO t SELECT seq, 'y' FROM seq_200_to_250"],
    "reorganized": ["ALTER TABLE t REORGANIZE PARTITION t1, t2 INTO (PARTITION t1 VALUES LESS THAN (50), PARTITION t2 VALUES LESS THAN (200))"],
    "exchanged": ["CREATE TABLE n (id int PRIMARY KEY, a text)", "INSERT INTO n SELECT seq, 'n' FROM seq_100_to_120",
                  "ALTER TABLE t EXCHANGE PARTITION t2 WITH TABLE n"],
    "removed": ["ALTER TABLE t REMOVE PARTITIONING"],
}


@pytest.mark.parametrize("how", MY_CHANGES)
@pytest.mark.parametrize("kill", ["none", "capture", "all"])
def test_mysql_partitions_change_while_they_are_loaded(world, how, kill):
    """Partition names are looked up anew for each chunk: bounds and contents may be others than the plan's."""
    source, target = partitioned(world, "mysql")
    task = by_partition(world.task(source, target, tables="t").prep("TRUNCATE_BEFORE_LOAD"), source, True)
    before = source.execute("SELECT id, a FROM t ORDER BY id")
    if kill == "all":
        run, _ = hold.start_stopping(world, task, "apply.after_claim=stop@2", once=world.folder / "once")
        hold.change(source, *MY_CHANGES[how])
        run.kill_all()
        r = world.run(task)
    else:
        run, stopped = hold.start_stopping(world, task, "apply.after_claim=stop@2", once=world.folder / "once")
        hold.change(source, *MY_CHANGES[how])
        if kill == "capture":
            hold.kill_lanes(run, "capture")
        hold.go_on(stopped)
        r = run.wait(60)
    if r.code != DONE or target.execute("SELECT id, a FROM t ORDER BY id") != before:
        # Two contents are two points in time, and said to be; rows may be of the chunk's own snapshot.
        if r.code == DONE and not r.json["statistics"]["one_point_in_time"]:
            now = dict(source.execute("SELECT id, a FROM t"))
            old = dict(before)
            for key, value in target.execute("SELECT id, a FROM t"):
                assert value in (old.get(key), now.get(key))
            gone = {k for k in now if old.get(k) == now[k]} - {k for k, _ in target.execute("SELECT id, a FROM t")}
            assert not gone, f"rows that were there all the time are missing: {sorted(gone)[:5]}"
        else:
            hold.equal_or_refused(r, source, target, "changed|definition|partition|1412", tables=["t"])
    world.run(task, "--fresh").expect(DONE)
    assert_equal(source, target, tables=["t"])


def test_tables_that_inherit(world):
    """Rows of inheritance children are part of what `SELECT … FROM parent` answers; they do not travel with the parent."""
    source, target = world.pair("postgresql", "postgresql")
    source.script(["CREATE TABLE par (id int, a text)", "CREATE TABLE child () INHERITS (par)", "INSERT INTO par VALUES (0, 'p')",
                   "INSERT INTO child SELECT i, 'x' FROM generate_series(1, 100) i"])
    task = world.task(source, target, tables="par")
    r = world.godwit("check", task)
    hold.finding(r, "inherit.*child", table="par")
    # All of them selected: each row once.
    both = world.database("postgresql", prefix="both")
    world.run(world.task(source, both)).expect(DONE)
    assert (both.one("SELECT count(*) FROM ONLY par"), both.count("child")) == (1, 100)


GENERATED = {
    "postgresql": ["ALTER TABLE t ALTER COLUMN g DROP EXPRESSION", "UPDATE t SET g = -1"],
    "mysql": ["ALTER TABLE t MODIFY g int", "UPDATE t SET g = -1"],
}


@pytest.mark.parametrize("engine", SERVERS)
def test_a_generated_column_becomes_plain_between_two_runs(world, engine):
    """The target computes the column; since the source's holds values of its own, these would not arrive."""
    source, target = world.pair(engine, engine)
    source.execute("CREATE TABLE t (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) STORED)")
    source.insert("t", ["id", "a"], [[i, i] for i in range(300)])
    task = world.task(source, target).prep("DROP_AND_CREATE")
    run, _ = hold.start_stopping(world, task, "apply.after_claim=stop@1", once=world.folder / "once")
    run.kill_all()
    source.script(GENERATED[engine])
    r = world.run(task)
    hold.equal_or_refused(r, source, target, "changed|definition|generated", tables=["t"])
    world.run(task, "--fresh").expect(DONE)
    assert_equal(source, target, tables=["t"])
