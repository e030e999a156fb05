#!/usr/bin/python3
"""Compares two databases row for row, whatever their engines.

    compare.py SOURCE TARGET [--tables a,b] [--ignore table.column,…] [--first N]

SOURCE and TARGET are urls as in a task file, with an optional #schema; passwords come from GW_TEST_PASSWORD.
Exit code 0: equal; 1: different; 2: usage. Every row of both ends is read; rows are matched as multisets, so that
keyless tables and doubled rows are compared exactly; where there is a primary key, differing rows are shown in pairs.
"""

import hashlib
import sys
from collections import Counter, defaultdict

if __name__ == "__main__":
    sys.path.insert(0, __file__.rsplit("/", 2)[0])

from compare.ends import end_of
from compare.values import canonical, family


class TableResult:
    def __init__(self, name):
        self.name = name
        self.source_rows = self.target_rows = 0
        self.missing = self.extra = 0  # rows, doubled ones counted
        self.differences = []  # text
        self.problem = None

    @property
    def equal(self):
        return not (self.problem or self.missing or self.extra)

    def __str__(self):
        head = f"{self.name}: {self.source_rows} rows at the source, {self.target_rows} at the target"
        if self.problem:
            return f"{self.name}: {self.problem}"
        if self.equal:
            return f"{head}, equal"
        lines = [f"{head}; {self.missing} missing, {self.extra} too many"]
        return "\n".join(lines + ["  " + d for d in self.differences])


def _columns(a, b, table, target_table, ignore):
    """Pairs of columns by name (case folded where an engine folds it), or the reason why there are none."""
    left = [c for c in a.columns(table) if c.name not in ignore]
    right = {c.name.lower(): c for c in b.columns(target_table) if c.name not in ignore}
    if not left:
        return None, "not at the source"
    if not right:
        return None, "not at the target"
    missing = [c.name for c in left if c.name.lower() not in right]
    extra = set(right) - {c.name.lower() for c in left}
    if missing or extra:
        return None, f"columns differ: missing {missing or 'none'}, too many {sorted(extra) or 'none'}"
    return [(c, right[c.name.lower()]) for c in left], None


def _canonical_rows(end, table, columns, families, exact):
    for row in end.rows(table, columns):
        yield tuple(canonical(x, f, exact) for x, f in zip(row, families))


def _digest(row):
    return hashlib.blake2b(repr([None if x is None else tuple(x) for x in row]).encode("utf-8", "surrogatepass"),
                           digest_size=16).digest()


def _describe(pairs, key, rows_a, rows_b, first):
    """First differences, in pairs where the key says which rows belong together."""
    names = [c.name for c, _ in pairs]
    at = [names.index(k) for k in key] if key and all(k in names for k in key) else None
    out = []
    if at is not None:
        by_key = defaultdict(lambda: ([], []))
        for side, rows in enumerate((rows_a, rows_b)):
            for r in rows:
                by_key[tuple(r[i] for i in at)][side].append(r)
        for k, (left, right) in by_key.items():
            label = ", ".join(f"{names[i]}={v!r}" for i, v in zip(at, k))
            if left and right:
                out += [
                    f"{label}: column {names[i]} is {right[0][i]!r}, not {left[0][i]!r}"
                    for i in range(len(names)) if left[0][i] != right[0][i]
                ] or [f"{label}: {len(left)} rows at the source, {len(right)} at the target"]
            else:
                out.append(f"{label}: " + ("missing" if left else "too many"))
    else:
        out += [f"missing: {r!r}" for r in rows_a] + [f"too many: {r!r}" for r in rows_b]
    if len(out) > first:
        out = out[:first] + [f"… and {len(out) - first} more"]
    return out


def _compare(a, b, result, target_table, ignore, first):
    table = result.name
    pairs, result.problem = _columns(a, b, table, target_table, ignore)
    if result.problem:
        return
    exact = a.engine == b.engine
    families = [family(x.kind, y.kind) for x, y in pairs]
    left, right = [x for x, _ in pairs], [y for _, y in pairs]
    counts = Counter()
    for row in _canonical_rows(a, table, left, families, exact):
        result.source_rows += 1
        counts[_digest(row)] += 1
    for row in _canonical_rows(b, target_table, right, families, exact):
        result.target_rows += 1
        counts[_digest(row)] -= 1
    wrong = {d: n for d, n in counts.items() if n}
    result.missing = sum(n for n in wrong.values() if n > 0)
    result.extra = -sum(n for n in wrong.values() if n < 0)
    if not wrong:
        return
    # Read again, for the rows themselves: a digest has none.
    rows = ([], [])
    for side, (end, name, columns) in enumerate(((a, table, left), (b, target_table, right))):
        budget = {d: abs(n) for d, n in wrong.items() if (n > 0) == (side == 0)}
        for row in _canonical_rows(end, name, columns, families, exact):
            d = _digest(row)
            if budget.get(d, 0) > 0 and len(rows[side]) < 1000:
                budget[d] -= 1
                rows[side].append(row)
    result.differences = _describe(pairs, a.primary_key(table), *rows, first)


def compare(source, target, tables=None, source_schema=None, target_schema=None, ignore=(), first=10, rename=None):
    """Databases of harness.database -> list of TableResult. ignore: names of columns, or "table.column"."""
    a, b = end_of(source, source_schema), end_of(target, target_schema)
    results = []
    for table in tables if tables is not None else a.tables():
        result = TableResult(table)
        skip = {i.split(".", 1)[1] for i in ignore if i.startswith(table + ".")} | {i for i in ignore if "." not in i}
        _compare(a, b, result, (rename or {}).get(table, table), skip, first)
        results.append(result)
    return results


def assert_equal(source, target, **kw):
    results = compare(source, target, **kw)
    wrong = [r for r in results if not r.equal]
    assert not wrong, "databases differ\n" + "\n".join(map(str, wrong))
    return {r.name: r.source_rows for r in results}


def _open(url):
    """A database of harness.database over a url, without making anything."""
    import os
    import pathlib
    import urllib.parse

    from harness import database

    url, _, schema = url.partition("#")
    u = urllib.parse.urlsplit(url)
    scheme = {"postgres": "postgresql", "mariadb": "mysql"}.get(u.scheme, u.scheme)
    name = urllib.parse.unquote(u.path)

    class Remote:
        port = u.port or {"postgresql": 5432, "mysql": 3306}.get(scheme)

        def connect(self, db=None):
            args = {"host": u.hostname, "port": self.port, "user": urllib.parse.unquote(u.username or "")}
            password = os.environ.get(database.ENV, "")
            if scheme == "postgresql":
                import psycopg2

                c = psycopg2.connect(dbname=db, password=password, **args)
                c.autocommit = True
                return c
            import pymysql

            return pymysql.connect(database=db, password=password, charset="utf8mb4", autocommit=True, **args)

    if scheme == "sqlite":
        db = database.SQLiteDatabase(pathlib.Path(name))
    else:
        cls = {"postgresql": database.PostgreSQLDatabase, "mysql": database.MySQLDatabase}[scheme]
        db = cls.__new__(cls)
        db.server, db.name = Remote(), name.lstrip("/")
        if scheme == "mysql":
            db.schema = db.name
            db.mariadb = "MariaDB" in db.one("SELECT version()")
    return db, schema or None


def main(argv):
    import argparse

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("source")
    p.add_argument("target")
    p.add_argument("--tables", help="names, separated by commas (default: every table of the source)")
    p.add_argument("--ignore", default="", help="columns, separated by commas: column or table.column")
    p.add_argument("--first", type=int, default=10, help="differences to show of each table")
    o = p.parse_args(argv)
    (a, a_schema), (b, b_schema) = _open(o.source), _open(o.target)
    results = compare(a, b, o.tables.split(",") if o.tables else None, a_schema, b_schema,
                      [i for i in o.ignore.split(",") if i], o.first)
    for r in results:
        print(r)
    return 0 if results and all(r.equal for r in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
