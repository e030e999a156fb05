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


def _fields(data):
    """(number, value) of a protobuf message: numbers, and the bytes of what has a length."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        assert key & 7 in (0, 2), f"wire type {key & 7}"
        value = varint()
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        yield key >> 3, value


class Plan:
    """A Chunk of proto/plan.proto, as far as it says what rows are in it."""

    BY = ("whole", "ctid", "key", "partition", "range")

    def __init__(self, data):
        self.by, self.partition, self.columns, self.lo, self.hi = "whole", "", [], None, None
        self.hi_inclusive = self.with_nulls = False
        for number, value in _fields(bytes(data)):
            if number == 3:
                self.by = self.BY[value]
            elif number == 5:
                self.partition = value.decode()
            elif number == 6:
                self.columns.append(value.decode())
            elif number in (7, 8):
                bound = tuple(v.decode() for n, v in _fields(value) if n == 1)
                setattr(self, "lo" if number == 7 else "hi", bound)
            elif number == 9:
                self.hi_inclusive = bool(value)
            elif number == 10:
                self.with_nulls = bool(value)

    def __str__(self):
        def text(bound):
            return "(" + ", ".join(bound) + ")"

        out = self.by + (f" {self.partition}" if self.partition else "") + (f" of {text(self.columns)}" if self.columns else "")
        after, upto = (">", "<=") if self.by == "range" else (">=", "<=" if self.hi_inclusive else "<")
        out += (f" {after} {text(self.lo)}" if self.lo else "") + (f" {upto} {text(self.hi)}" if self.hi else "")
        return out + (" with nulls" if self.with_nulls else "")


def plans(db, task):
    """table -> [(Plan, rows_written)] of the present generation, in order."""
    c, t = control_table(db, "chunks"), control_table(db, "tables")
    rows = db.execute(
        f"SELECT t.source_table, c.plan, c.rows_written FROM {c} c JOIN {t} t"
        f" ON t.task = c.task AND t.table_id = c.table_id AND t.generation = c.generation WHERE c.task = '{task.name}'"
        " ORDER BY t.source_table, c.no"
    )
    out = {}
    for table, plan, written in rows:
        out.setdefault(str(table), []).append((Plan(plan), int(written)))
    return out


def exceptions(db, task):
    rows = db.execute(
        f"SELECT source_table, key_text, code, reason, row_text FROM {control_table(db, 'exceptions')}"
        f" WHERE task = '{task.name}' ORDER BY id"
    )
    return [tuple(None if v is None else v.decode() if isinstance(v, bytes) else str(v) for v in r) for r in rows]
