"""What a task file can say, and what the commands answer: exit codes, reports, refusals, resumption."""

import contextlib
import json
import signal
import sqlite3
import time

import pytest

from compare.compare import assert_equal
from harness import control, shop
from harness.fixtures import built
from harness.run import DONE, STOPPED, TABLE_ERROR, UNREACHABLE, USAGE
from harness.task import selection

# Pairs in order of how many parts they exercise; a build without an engine leaves its pairs out.
SOME = [("postgresql", "mysql"), ("mysql", "postgresql"), ("sqlite", "sqlite")]
some_pairs = pytest.mark.parametrize("pair", SOME, ids="-".join)
engines = pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])


def simple(world, pair, rows=100):
    """A pair with one table `t (id, x)`."""
    source, target = world.pair(*pair)
    source.execute("CREATE TABLE t (id int PRIMARY KEY, x varchar(20))")
    source.insert("t", ["id", "x"], [[i, f"row {i}"] for i in range(rows)])
    return source, target


# ---- commands ------------------------------------------------------------------------------------


@some_pairs
def test_check_changes_nothing(world, pair):
    source, target = world.pair(*pair)
    shop.fill(source, 10)
    task = world.task(source, target)
    r = world.godwit("check", task).expect(DONE)
    assert not [f for f in r.findings if f["severity"] == "error"]
    assert target.tables() == [] and not control.has_control(target)
    said = world.godwit("check", task, json_report=False).expect(DONE)
    assert "nothing stands in the way" in said.stdout
    assert not task.state.exists()


@some_pairs
def test_tables_and_drop(world, pair):
    source, target = simple(world, pair)
    task = world.task(source, target)
    assert world.godwit("tables", task).code == USAGE  # nothing is known yet
    world.run(task).expect(DONE)

    r = world.godwit("tables", task).expect(DONE)
    t = r.table("t")
    assert t["FullLoadRows"] == 100 and t["TableState"] == "Table completed" and r.json["live"] is False
    said = world.godwit("tables", task, json_report=False).expect(DONE)
    assert " t" in said.stdout and "100" in said.stdout

    assert control.has_control(target)
    world.godwit("drop", task, "--yes").expect(DONE)
    assert not task.state.exists()
    assert target.count("t") == 100
    assert not control.has_control(target) or not target.execute(
        f"SELECT 1 FROM {control.control_table(target, 'tasks')} WHERE task = '{task.name}'"
    )
    # A run after that begins anew: tables are made by their settings.
    world.run(task.prep("DROP_AND_CREATE")).expect(DONE)
    assert_equal(source, target, tables=["t"])


@some_pairs
def test_fresh_loads_anew(world, pair):
    source, target = simple(world, pair)
    task = world.task(source, target).prep("DROP_AND_CREATE")
    world.run(task).expect(DONE)
    source.execute("INSERT INTO t VALUES (1000, 'later')")
    assert world.run(task).expect(DONE).json["already_complete"] is True
    assert target.count("t") == 100
    r = world.run(task, "--fresh").expect(DONE)
    assert r.json["already_complete"] is False
    assert_equal(source, target, tables=["t"])


def test_the_shape_of_the_json_report(world):
    source, target = simple(world, ("sqlite", "sqlite"))
    r = world.run(world.task(source, target)).expect(DONE)
    j = r.json
    for key in ("godwit", "task", "exit_code", "elapsed_ms", "failure", "phase", "ended", "already_complete", "started",
                "statistics", "tables", "findings", "findings_total", "warnings", "workers", "state_folder"):
        assert key in j, key
    for key in ("SchemaName", "TableName", "TargetSchemaName", "TargetTableName", "TableState", "FullLoadRows",
                "FullLoadErrorRows", "FullLoadStartTime", "FullLoadEndTime", "bytes", "duration_ms", "chunks",
                "chunks_done", "steps", "steps_done", "snapshots", "reason"):
        assert key in j["tables"][0], key
    for key in ("FullLoadProgressPercent", "ElapsedTimeMillis", "TablesLoaded", "TablesErrored", "rows", "bytes",
                "rows_refused", "rows_per_second", "snapshots", "one_point_in_time"):
        assert key in j["statistics"], key
    assert {"coordinator", "capture-1", "transform-1", "apply-1"} <= {w["name"] for w in j["workers"]}
    # Logs and progress are for stderr: stdout holds the report alone.
    assert json.loads(r.stdout) == j


def test_output_for_people(world):
    source, target = simple(world, ("sqlite", "sqlite"))
    r = world.godwit("run", world.task(source, target), json_report=False).expect(DONE)
    assert "100" in r.stdout and "\x1b" not in r.text
    q = world.godwit("run", world.task(source, target, name="quiet").prep("DROP_AND_CREATE"), "--quiet", json_report=False)
    assert q.expect(DONE).stdout == "" and q.stderr == ""


@pytest.mark.parametrize("workers", [1, 5])
@some_pairs
def test_any_number_of_workers(world, pair, workers):
    source, target = world.pair(*pair)
    shop.fill(source, 200)
    task = world.task(source, target).own("chunk-size-kb", 16)
    r = world.run(task, "--workers", workers).expect(DONE)
    assert len([w for w in r.json["workers"] if w["name"].startswith("apply")]) == workers
    assert_equal(source, target, tables=shop.TABLES)


# ---- table mappings ------------------------------------------------------------------------------


@some_pairs
def test_selection_and_exclusion(world, pair):
    source, target = world.pair(*pair)
    for t in ("a_one", "a_two", "b_one", "ab"):
        source.script([f"CREATE TABLE {t} (id int PRIMARY KEY)", f"INSERT INTO {t} VALUES (1)"])
    task = world.task(source, target, tables="a%")
    task.rule(selection(source.schema, "%two", "exclude", "9"))
    task.rule(selection(source.schema, "b_one", rule_id="10"))
    r = world.run(task).expect(DONE)
    assert {t["TableName"] for t in r.json["tables"]} == {"a_one", "b_one", "ab"}
    assert [t for t in target.tables()] == ["a_one", "ab", "b_one"]


def test_load_order(world):
    source, target = world.pair("sqlite", "sqlite")
    for t in ("low", "high", "mid"):
        source.script([f"CREATE TABLE {t} (id int PRIMARY KEY)", f"INSERT INTO {t} VALUES (1)"])
    task = world.task(source, target, tables=[])
    for i, (t, order) in enumerate({"low": 1, "high": 9, "mid": 5}.items()):
        task.rule(selection("main", t, rule_id=str(i + 1), **{"load-order": order}))
    r = world.run(task, "--workers", 1).expect(DONE)
    starts = sorted(r.json["tables"], key=lambda t: r.stderr.index(f'chunk durable table="main.{t["TableName"]}"'))
    assert [t["TableName"] for t in starts] == ["high", "mid", "low"]


def parallel(schema, table, **load):
    return {"rule-type": "table-settings", "rule-id": "50", "rule-name": "p",
            "object-locator": {"schema-name": schema, "table-name": table}, "parallel-load": load}


@pytest.mark.parametrize("pair", [("postgresql", "postgresql"), ("mysql", "mysql"), ("postgresql", "mysql"), ("mysql", "sqlite")],
                         ids="-".join)
def test_parallel_load_by_ranges(world, pair):
    source, target = world.pair(*pair)
    source.execute("CREATE TABLE r (id int PRIMARY KEY, grp int, x varchar(10))")
    source.insert("r", ["id", "grp", "x"], [[i, None if i % 10 == 0 else i % 100, f"x{i}"] for i in range(1, 2001)])
    # On a bound itself, between bounds, outside of all, and on a nullable column.
    for no, (columns, bounds) in enumerate([(["id"], [["500"], ["1000"], ["5000"]]), (["grp"], [["20"], ["77"]]),
                                            (["grp", "id"], [["20", "700"], ["50", "1"]])]):
        name = world.database(target.engine, prefix=f"ranges{no}")
        task = world.task(source, name).rule(parallel(source.schema, "r", type="ranges", columns=columns, boundaries=bounds))
        r = world.run(task).expect(DONE)
        assert r.table("r")["chunks"] >= len(bounds) + 1
        assert_equal(source, name, tables=["r"])


@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
@pytest.mark.parametrize("load", [{"type": "partitions-auto"}, {"type": "partitions-list", "partitions": ["p0", "p1", "p2"]},
                                  {"type": "none"}], ids=lambda x: x["type"])
def test_parallel_load_by_partitions(world, engine, load):
    source, target = world.pair(engine, engine)
    if engine == "postgresql":
        source.script(["CREATE TABLE p (id int PRIMARY KEY, x text) PARTITION BY RANGE (id)"]
                      + [f"CREATE TABLE p{i} PARTITION OF p FOR VALUES FROM ({i}000) TO ({i + 1}000)" for i in range(3)])
    else:
        source.execute("CREATE TABLE p (id int PRIMARY KEY, x text) PARTITION BY RANGE (id) ("
                       + ", ".join(f"PARTITION p{i} VALUES LESS THAN ({i + 1}000)" for i in range(3)) + ")")
    source.insert("p", ["id", "x"], [[i, f"x{i}"] for i in range(3000)])
    r = world.run(world.task(source, target).rule(parallel(source.schema, "p", **load))).expect(DONE)
    assert r.table("p")["FullLoadRows"] == 3000
    if load["type"] != "none":
        assert r.table("p")["chunks"] >= 3
    assert_equal(source, target, tables=["p"])


@some_pairs
def test_lob_columns(world, pair):
    source, target = world.pair(*pair)
    big = {"postgresql": "text", "mysql": "longtext", "sqlite": "TEXT"}[source.engine]
    source.execute(f"CREATE TABLE l (id int PRIMARY KEY, x varchar(10), body {big})")
    source.insert("l", ["id", "x", "body"], [[1, "a", "é" * 3000], [2, "b", None], [3, "c", "short"]])
    limited = world.task(source, target).setting("TargetMetadata", "LimitedSizeLobMode", True)
    limited.setting("TargetMetadata", "LobMaxSize", 2)
    r = world.run(limited).expect(DONE)
    assert r.table("l")["values_truncated"] == 1
    got = dict(target.execute("SELECT id, body FROM l"))
    # Whole characters only: 2048 bytes are 1024 of two bytes.
    assert got == {1: "é" * 1024, 2: None, 3: "short"}
    none = world.task(source, world.database(target.engine)).setting("TargetMetadata", "SupportLobs", False)
    r = world.run(none).expect(DONE)
    assert len(none.target.execute("SELECT * FROM l")[0]) == 2
    assert any("LOB" in f["message"] for f in r.findings)


@pytest.mark.parametrize("more", [{"rule-type": "transformation", "rule-action": "rename", "rule-target": "table", "value": "x"},
                                  {"rule-type": "object-mapping", "rule-action": "map-record-to-record"},
                                  {"rule-type": "validation", "rule-action": "override-validation-function"}],
                         ids=lambda x: x["rule-type"])
def test_what_is_not_done_yet_is_refused_by_the_rule_id(world, more):
    source, target = simple(world, ("sqlite", "sqlite"))
    task = world.task(source, target)
    task.rule({"rule-id": "4711", "rule-name": "later", "object-locator": {"schema-name": "%", "table-name": "%"}, **more})
    r = world.run(task).expect(USAGE)
    assert "4711" in r.stderr and more["rule-type"] in r.stderr
    assert target.tables() == []


def test_a_filter_is_refused_by_the_rule_id(world):
    source, target = simple(world, ("sqlite", "sqlite"))
    task = world.task(source, target, tables=[])
    task.rule(selection("main", "t", rule_id="4711", filters=[{"filter-type": "source", "column-name": "id",
                        "filter-conditions": [{"filter-operator": "eq", "value": "1"}]}]))
    assert "4711" in world.run(task).expect(USAGE).stderr


# ---- prep modes ----------------------------------------------------------------------------------


@some_pairs
def test_truncate_before_load_keeps_the_table(world, pair):
    source, target = simple(world, pair)
    target.execute("CREATE TABLE t (id int PRIMARY KEY, x varchar(20), extra int DEFAULT 7)")
    target.execute("INSERT INTO t VALUES (5000, 'old', 1)")
    world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD")).expect(DONE)
    assert target.count("t") == 100
    assert target.one("SELECT count(*) FROM t WHERE extra = 7") == 100
    assert_equal(source, target, tables=["t"], ignore=["extra"])


@some_pairs
def test_drop_and_create_replaces_the_table(world, pair):
    source, target = simple(world, pair)
    target.execute("CREATE TABLE t (something int)")
    target.execute("INSERT INTO t VALUES (5000)")
    world.run(world.task(source, target).prep("DROP_AND_CREATE")).expect(DONE)
    assert_equal(source, target, tables=["t"])


@some_pairs
def test_do_nothing_keeps_rows_that_are_there(world, pair):
    source, target = simple(world, pair)
    target.execute("CREATE TABLE t (id int PRIMARY KEY, x varchar(20))")
    target.execute("INSERT INTO t VALUES (5000, 'old')")
    world.run(world.task(source, target).prep("DO_NOTHING")).expect(DONE)
    assert target.count("t") == 101
    assert target.one("SELECT x FROM t WHERE id = 5000") == "old"


@some_pairs
def test_a_table_that_is_narrower_is_refused_before_anything_is_changed(world, pair):
    source, target = simple(world, pair)
    target.execute("CREATE TABLE t (id int PRIMARY KEY)")
    target.execute("INSERT INTO t VALUES (5000)")
    r = world.run(world.task(source, target).prep("TRUNCATE_BEFORE_LOAD")).expect(TABLE_ERROR, USAGE)
    assert "x" in r.text and target.execute("SELECT id FROM t") == [(5000,)]


# ---- what cannot be done -------------------------------------------------------------------------


@engines
@pytest.mark.parametrize("side", ["source", "target"])
def test_wrong_password(world, engine, side):
    if engine == "sqlite":
        pytest.skip("a file has no password")
    if not built(**{side: engine}):
        pytest.skip(f"this build has no {engine} {side}")
    db, other = world.database(engine), world.database("sqlite")
    source, target = (db, other) if side == "source" else (other, db)
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    task = world.task(source, target)
    task.body[side]["password-env"] = "WRONG_PASSWORD"
    r = world.run(task, env={"WRONG_PASSWORD": "not it"}, seconds=60).expect(USAGE, UNREACHABLE)
    assert "not it" not in r.text
    assert r.json["failure"]["message"]
    # The same command goes on once the cause is gone.
    task.body[side]["password-env"] = db.endpoint()["password-env"]
    world.run(task).expect(DONE)


@engines
@pytest.mark.parametrize("side", ["source", "target"])
def test_unknown_database(world, engine, side):
    if not built(**{side: engine}):
        pytest.skip(f"this build has no {engine} {side}")
    if engine == "sqlite" and side == "target":
        pytest.skip("a SQLite target is made")
    db, other = world.database(engine), world.database("sqlite")
    source, target = (db, other) if side == "source" else (other, db)
    source.execute("CREATE TABLE t (id int PRIMARY KEY)")
    task = world.task(source, target)
    task.body[side]["url"] = db.url.replace(db.name, "nowhere")
    r = world.run(task, seconds=60).expect(USAGE, UNREACHABLE)
    assert "nowhere" in r.stderr


@engines
def test_a_server_that_is_not_there(world, engine):
    if engine == "sqlite":
        pytest.skip("no server")
    if not built(source=engine):
        pytest.skip(f"this build has no {engine} source")
    db, target = world.database(engine), world.database("sqlite")
    task = world.task(db, target)
    task.setting("ErrorBehavior", "RecoverableErrorCount", 2)
    task.body["source"]["url"] = db.url.replace(str(db.server.port), "1")
    r = world.run(task, seconds=60).expect(UNREACHABLE)
    assert "127.0.0.1" in r.stderr or "refused" in r.stderr


@some_pairs
def test_unknown_table(world, pair):
    source, target = simple(world, pair)
    r = world.run(world.task(source, target, tables="no_such_table")).expect(USAGE)
    assert "no table" in r.stderr
    assert target.tables() == [] and not control.has_control(target)


def test_drop_does_not_forget_what_is_on_the_source(world):
    source, target = simple(world, ("sqlite", "sqlite"))
    task = world.task(source, target)
    world.run(task).expect(DONE)
    with contextlib.closing(sqlite3.connect(task.state / "coordinator.sqlite")) as db:
        # As if changes had been carried: an empty StreamStatus behind the stored status.
        db.execute("UPDATE status SET packed = CAST(packed || x'920100' AS BLOB)")
        db.commit()
    said = world.godwit("tables", task, json_report=False).expect(DONE)
    assert "stream: position not known yet; 0 transactions" in said.stdout and "inserts" in said.stdout
    r = world.godwit("drop", task, "--yes").expect(USAGE)
    assert "migration-type" in r.stderr
    assert control.has_control(target) and task.state.exists()


@pytest.mark.parametrize("kind, until, word", [
    ("full-load", "caught-up", "full-load-and-cdc"),
    ("full-load", "never", "load or caught-up"),
    ("cdc", "load", "--until caught-up"),
])
def test_an_end_that_the_task_does_not_have(world, kind, until, word):
    source, target = simple(world, ("sqlite", "sqlite"))
    task = world.task(source, target)
    task.body["migration-type"] = kind
    r = world.run(task, "--until", until, json_report=False).expect(USAGE)
    assert word in r.stderr
    assert target.tables() == []


def test_until_load_ends_a_full_load_where_it_ends_anyway(world):
    source, target = simple(world, ("sqlite", "sqlite"))
    r = world.run(world.task(source, target), "--until", "load").expect(DONE)
    assert r.json["StopReason"] == "FULL_LOAD_ONLY_FINISHED"
    assert_equal(source, target)


@pytest.mark.parametrize("change, word", [
    (lambda b: b.update({"tsak": "x"}), "task"),
    (lambda b: b["task-settings"].update({"FullLoadSetings": {}}), "FullLoadSettings"),
    (lambda b: b["task-settings"].update({"FullLoadSettings": {"TargetTablePrepMode": "DROP"}}), "DROP_AND_CREATE"),
    (lambda b: b["task-settings"].update({"FullLoadSettings": {"MaxFullLoadSubTasks": 50}}), "MaxFullLoadSubTasks"),
    (lambda b: b["table-mappings"].update({"rules": []}), "rule"),
    (lambda b: b["source"].update({"url": "oracle://x/y"}), "engine"),
    (lambda b: b["source"].update({"url": "postgresql://u:secret@h/d"}), "password"),
    (lambda b: b.update({"migration-type": "full-load-and-cdc"}), "full-load-and-cdc"),
    (lambda b: b.pop("target"), "target"),
])
def test_a_wrong_task_file(world, change, word):
    source, target = simple(world, ("sqlite", "sqlite"))
    task = world.task(source, target)
    change(task.body)
    r = world.run(task).expect(USAGE)
    assert word in r.stderr
    assert "secret" not in r.stderr
    assert r.json["exit_code"] == USAGE and r.json["failure"]["message"]


def test_a_known_setting_without_effect_is_said(world):
    source, target = simple(world, ("sqlite", "sqlite"))
    task = world.task(source, target).setting("TargetMetadata", "ParallelApplyThreads", 4)
    r = world.run(task).expect(DONE)
    assert any("ParallelApplyThreads" in w for w in r.json["warnings"])


def test_keys_in_any_case_and_a_trailing_comma(world):
    source, target = simple(world, ("sqlite", "sqlite"))
    task = world.task(source, target)
    task.save()
    text = task.path.read_text().replace('"rule-action"', '"RULE-ACTION"').replace('"include"', '"Include"')
    task.save = lambda: (task.path.write_text(text.rstrip().rstrip("}") + ",}"), task.path)[1]
    world.run(task).expect(DONE)


def test_a_file_that_is_no_json(world):
    source, target = simple(world, ("sqlite", "sqlite"))
    task = world.task(source, target)
    task.save = lambda: (task.path.write_text('{"task": "x"\n "source": 1}'), task.path)[1]
    assert "line 2" in world.run(task).expect(USAGE).stderr


def test_a_changed_mapping_is_refused(world):
    source, target = simple(world, ("sqlite", "sqlite"))
    source.execute("CREATE TABLE u (id int PRIMARY KEY)")
    task = world.task(source, target, tables="t")
    world.run(task).expect(DONE)
    task.rule(selection("main", "u", rule_id="2"))
    r = world.run(task).expect(USAGE)
    assert "--fresh" in r.text


# ---- rows that the target refuses ----------------------------------------------------------------


@pytest.mark.parametrize("pair, make, good, bad", [
    (("mysql", "postgresql"), "CREATE TABLE b (id int PRIMARY KEY, d date)",
     [[i, "2024-01-01"] for i in range(500)], [[1000, "0000-00-00"], [1001, "2024-02-00"]]),
    (("sqlite", "postgresql"), "CREATE TABLE b (id int PRIMARY KEY, d DATE)",
     [[i, "2024-01-01"] for i in range(500)], [[1000, "no date"], [1001, "2024-02-30"]]),
    (("postgresql", "mysql"), "CREATE TABLE b (id int PRIMARY KEY, d date)",
     [[i, "2024-01-01"] for i in range(500)], [[1000, "infinity"], [1001, "0044-03-15 BC"]]),
    (("sqlite", "mysql"), "CREATE TABLE b (id int PRIMARY KEY, d DATE)",
     [[i, "2024-01-01"] for i in range(500)], [[1000, "no date"], [1001, "2024-02-30"]]),
], ids=lambda x: "-".join(x) if isinstance(x, tuple) else "")
def test_refused_rows_are_named_and_the_others_arrive(world, pair, make, good, bad):
    source, target = world.pair(*pair)
    source.execute(make)
    c = source.connect()
    q = c.cursor()
    if source.engine == "mysql":
        q.execute("SET sql_mode = ''")
    mark = "?" if source.engine == "sqlite" else "%s"
    q.executemany(f"INSERT INTO b VALUES ({mark}, {mark})", good + bad)
    source.commit(c)
    c.close()
    task = world.task(source, target)
    r = world.run(task).expect(TABLE_ERROR)
    assert sorted(x[0] for x in target.execute("SELECT id FROM b")) == [x[0] for x in good]
    t = r.table("b")
    assert (t["FullLoadRows"], t["FullLoadErrorRows"]) == (500, 2)
    said = control.exceptions(target, task)
    assert len(said) == 2
    for row, (table, key, _code, reason, text) in zip(bad, sorted(said, key=lambda x: x[1])):
        assert table == "b" and str(row[0]) in key and reason and row[1][:7] in text
    # Nor are rows shown anywhere else.
    assert "2024-02-30" not in r.stderr and "no date" not in r.stdout
    # IGNORE_RECORD: asked for, so no error.
    again = world.task(source, world.database(target.engine)).setting("ErrorBehavior", "DataErrorPolicy", "IGNORE_RECORD")
    r = world.run(again).expect(DONE)
    assert r.table("b")["FullLoadErrorRows"] == 2
    # STOP_TASK and SUSPEND_TABLE.
    stop = world.task(source, world.database(target.engine)).setting("ErrorBehavior", "DataErrorPolicy", "SUSPEND_TABLE")
    r = world.run(stop).expect(TABLE_ERROR)
    assert r.table("b")["TableState"] == "Table error" and r.table("b")["reason"]


@some_pairs
def test_one_table_in_error_does_not_hold_up_the_others(world, pair):
    source, target = world.pair(*pair)
    shop.fill(source, 50)
    target.script(["CREATE TABLE stock (warehouse int)", "INSERT INTO stock VALUES (1)"])
    task = world.task(source, target)
    r = world.run(task).expect(TABLE_ERROR)
    assert r.table("stock")["TableState"] == "Table error" and r.table("stock")["reason"]
    assert_equal(source, target, tables=[t for t in shop.TABLES if t != "stock"])
    # The operator mends it, and the same command loads what is missing.
    target.execute("DROP TABLE stock")
    world.run(task).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)


# ---- stopping and going on -----------------------------------------------------------------------


@some_pairs
def test_a_signal_stops_after_draining_and_the_next_run_goes_on(world, pair):
    source, target = world.pair(*pair)
    shop.fill(source, 2000)
    task = world.task(source, target).own("chunk-size-kb", 16)
    run = world.start("run", task)
    assert run.wait_for_stderr(r"chunk durable", 60), run.stderr
    run.signal(signal.SIGTERM)
    r = run.wait(60)
    if r.code == DONE:
        pytest.skip("it was faster than the signal")
    r.expect(STOPPED)
    assert not run.children()
    durable = control.chunks(target, task)
    done = {k: v for k, v in durable.items() if v[0] == 1}
    assert done and len(done) < len(durable)
    assert all(v[0] == 1 or v[1] == 0 for v in durable.values()), "a chunk in flight was not finished"
    world.run(task).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)
    now = control.chunks(target, task)
    assert {k: now[k] for k in done} == done, "a durable chunk was loaded again"


def test_two_runs_of_one_task_at_once(world):
    source, target = world.pair("sqlite", "sqlite")
    shop.fill(source, 3000)
    task = world.task(source, target).own("chunk-size-kb", 16)
    first = world.start("run", task)
    assert first.wait_for_stderr("capture-1 started", 30)
    second = world.run(task)
    assert second.code == USAGE and "run" in second.stderr
    first.wait(120).expect(DONE)
    assert_equal(source, target, tables=shop.TABLES)


@some_pairs
def test_a_second_task_of_the_same_name_is_refused(world, pair):
    source, target = simple(world, pair)
    world.run(world.task(source, target, name="same")).expect(DONE)
    other = world.task(source, target, name="same")
    other.folder = world.folder / "elsewhere"
    # Another state folder, the same task on the same target: what the target says is right.
    r = world.run(other).expect(DONE)
    assert r.json["already_complete"] is True
    assert target.count("t") == 100


def test_processes_end_with_the_command(world):
    source, target = simple(world, ("sqlite", "sqlite"))
    run = world.start("run", world.task(source, target))
    assert run.wait_for_stderr("started", 30)
    lanes = run.children()
    run.wait(60).expect(DONE)
    time.sleep(0.2)
    from pathlib import Path

    assert not [p for p in lanes.values() if Path(f"/proc/{p}").exists()]
