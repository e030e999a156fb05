"""The task's control rows on the target, as an operator would read them."""


def control_table(db, table, schema="godwit"):
    if db.engine == "sqlite":
        return f'"{schema}_{table}"'
    if db.engine == "mysql":
        return f"`{schema}`.`{table}`"
    return f'"{schema}"."{table}"'


def has_control(db):
    try:
        db.execute(f"SELECT 1 FROM {control_table(db, 'tasks')}")
        return True
    except Exception:
        return False


def chunks(db, task):
    """(table, no) -> (state, epoch, rows_written) of the present generation."""
    c, t = control_table(db, "chunks"), control_table(db, "tables")
    rows = db.execute(
        f"SELECT t.source_table, c.no, c.state, c.epoch, c.rows_written FROM {c} c JOIN {t} t"
        f" ON t.task = c.task AND t.table_id = c.table_id AND t.generation = c.generation WHERE c.task = '{task.name}'"
    )
    return {(str(r[0]), int(r[1])): (int(r[2]), int(r[3]), int(r[4])) for r in rows}


def exceptions(db, task):
    rows = db.execute(
        f"SELECT source_table, key_text, code, reason, row_text FROM {control_table(db, 'exceptions')}"
        f" WHERE task = '{task.name}' ORDER BY id"
    )
    return [tuple(None if v is None else v.decode() if isinstance(v, bytes) else str(v) for v in r) for r in rows]
