"""The two ends of a comparison: columns with their kinds, and rows as text, read so that the driver alters nothing."""

from compare import values as v


class Column:
    def __init__(self, name, kind, declared):
        self.name, self.kind, self.declared = name, kind, declared


class End:
    engine = ""

    def tables(self):
        raise NotImplementedError

    def columns(self, table):
        raise NotImplementedError

    def primary_key(self, table):
        raise NotImplementedError

    def rows(self, table, columns):
        """Tuples of None, str and bytes, in any order."""
        raise NotImplementedError


class PostgreSQLEnd(End):
    engine = "postgresql"
    kinds = {
        "boolean": v.BOOL, "smallint": v.INT, "integer": v.INT, "bigint": v.INT, "numeric": v.NUMERIC, "money": v.NUMERIC,
        "real": v.FLOAT32, "double precision": v.FLOAT64, "character": v.CHAR, "bytea": v.BYTES, "date": v.DATE,
        "time": v.TIME, "timestamp": v.TIMESTAMP, "interval": v.DURATION, "uuid": v.UUID, "json": v.JSON,
        "jsonb": v.JSON, "inet": v.INET, "bit": v.BIT, "bit varying": v.BIT,
    }

    def __init__(self, db, schema=None):
        self.db, self.schema = db, schema or "public"

    def tables(self):
        return [
            r[0]
            for r in self.db.execute(
                "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1",
                [self.schema],
            )
        ]

    def columns(self, table):
        rows = self.db.execute(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
            " JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            [self.schema, table],
        )
        return [Column(n, self._kind(t), t) for n, t in rows]

    def _kind(self, declared):
        if declared.endswith("[]"):
            return v.TEXT
        base = declared.split("(")[0].strip()
        if declared.startswith("timestamp"):
            return v.TIMESTAMPTZ if declared.endswith("with time zone") else v.TIMESTAMP
        if declared.startswith("time"):
            return v.TEXT if declared.endswith("with time zone") else v.TIME
        return self.kinds.get(base, v.TEXT)

    def primary_key(self, table):
        return [
            r[0]
            for r in self.db.execute(
                "SELECT a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
                " JOIN pg_namespace n ON n.oid = c.relnamespace"
                " JOIN unnest(i.indkey) WITH ORDINALITY k(attnum, no) ON true"
                " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum"
                " WHERE n.nspname = %s AND c.relname = %s AND i.indisprimary ORDER BY k.no",
                [self.schema, table],
            )
        ]

    def rows(self, table, columns):
        q = self.db.quote
        # The text of money depends on the locale; its number does not.
        parts = [f"{q(c.name)}::numeric::text" if c.declared == "money" else f"{q(c.name)}::text" for c in columns]
        conn = self.db.connect()
        try:
            with conn.cursor() as s:
                # RLS or a view would be another table; a sequential read of all of it is meant.
                s.execute("SET row_security = off")
                conn.autocommit = False
            with conn.cursor("compare") as s:
                s.itersize = 20000
                s.execute(f"SELECT {', '.join(parts) or '1'} FROM {q(self.schema)}.{q(table)}")
                yield from s
        finally:
            conn.close()


class MySQLEnd(End):
    engine = "mysql"
    kinds = {
        "tinyint": v.INT, "smallint": v.INT, "mediumint": v.INT, "int": v.INT, "bigint": v.INT, "decimal": v.NUMERIC,
        "float": v.FLOAT32, "double": v.FLOAT64, "char": v.CHAR, "binary": v.BYTES, "varbinary": v.BYTES,
        "tinyblob": v.BYTES, "blob": v.BYTES, "mediumblob": v.BYTES, "longblob": v.BYTES, "date": v.DATE,
        "time": v.DURATION, "datetime": v.TIMESTAMP, "timestamp": v.TIMESTAMPTZ, "json": v.JSON, "bit": v.BIT,
        "year": v.INT, "uuid": v.UUID, "inet6": v.INET, "inet4": v.INET, "vector": v.BYTES,
    }
    geometry = {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
                "geometrycollection", "geomcollection"}

    def __init__(self, db, schema=None):
        self.db, self.schema = db, schema or db.name

    def tables(self):
        return [
            r[0]
            for r in self.db.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE'"
                " ORDER BY 1",
                [self.schema],
            )
        ]

    def columns(self, table):
        # To MariaDB, JSON is a text with a check.
        is_json = (
            "EXISTS (SELECT 1 FROM information_schema.check_constraints k"
            "   WHERE k.constraint_schema = c.table_schema AND k.table_name = c.table_name"
            "   AND k.check_clause = concat('json_valid(`', c.column_name, '`)'))"
        )
        rows = self.db.execute(
            f"SELECT column_name, data_type, column_type, {is_json if self.db.mariadb else 'false'}"
            " FROM information_schema.columns c WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
            [self.schema, table],
        )
        out = []
        for name, data, declared, is_json in rows:
            kind = v.JSON if is_json else v.BYTES if data in self.geometry else self.kinds.get(data, v.TEXT)
            out.append(Column(name, kind, data if data in self.geometry else declared))
        return out

    def primary_key(self, table):
        return [
            r[0]
            for r in self.db.execute(
                "SELECT column_name FROM information_schema.statistics WHERE table_schema = %s AND table_name = %s"
                " AND index_name = 'PRIMARY' ORDER BY seq_in_index",
                [self.schema, table],
            )
        ]

    def rows(self, table, columns):
        import pymysql.cursors

        q = self.db.quote
        parts = []
        for c in columns:
            name = q(c.name)
            if c.kind == v.BYTES:
                # The column as it is: HEX() of a geometry is its stored bytes, SRID and WKB.
                parts.append(f"concat('\\\\x', lower(hex({name})))")
            elif c.kind == v.BIT:
                parts.append(f"lpad(bin({name} + 0), {c.declared[4:-1]}, '0')")
            elif c.kind == v.FLOAT32:
                parts.append(f"cast(cast({name} AS double) AS char)")  # FLOAT's own text has six digits
            else:
                parts.append(f"cast({name} AS char character set utf8mb4)")
        conn = self.db.connect()
        try:
            with conn.cursor(pymysql.cursors.SSCursor) as s:
                s.execute("SET SESSION net_write_timeout = 600")
                # CHAR keeps its blanks on neither end; PAD_CHAR_TO_FULL_LENGTH would invent them.
                s.execute(f"SELECT {', '.join(parts) or '1'} FROM {q(self.schema)}.{q(table)}")
                yield from s
        finally:
            conn.close()


class SQLiteEnd(End):
    engine = "sqlite"
    kinds = {
        "BOOLEAN": v.BOOL, "BOOL": v.BOOL, "DECIMAL": v.NUMERIC, "NUMERIC": v.NUMERIC, "DECIMAL_TEXT": v.NUMERIC,
        "UBIG_BLOB": v.INT, "DATE": v.DATE, "TIME": v.TIME, "DATETIME": v.TIMESTAMP, "TIMESTAMP": v.TIMESTAMP,
        "TIMESTAMPTZ": v.TIMESTAMPTZ, "DURATION_TEXT": v.DURATION, "YEAR": v.INT, "UUID": v.UUID, "JSON": v.JSON,
        "JSON_TEXT": v.JSON, "BIT_TEXT": v.BIT, "VARBIT_TEXT": v.BIT, "FLOAT": v.FLOAT64, "DOUBLE": v.FLOAT64,
        "REAL": v.FLOAT64, "CHAR": v.TEXT,
    }

    def __init__(self, db, schema=None):
        self.db = db

    def tables(self):
        return self.db.tables()

    def columns(self, table):
        out = []
        for name, declared in self.db.execute("SELECT name, type FROM pragma_table_xinfo(?) WHERE hidden <> 1", [table]):
            base = declared.split("(")[0].strip().upper()
            kind = self.kinds.get(base)
            if kind is None:
                kind = v.INT if "INT" in base else v.BYTES if "BLOB" in base or "BINARY" in base else v.TEXT
            out.append(Column(name, kind, declared))
        return out

    def primary_key(self, table):
        return [r[0] for r in self.db.execute("SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", [table])]

    def rows(self, table, columns):
        conn = self.db.connect()
        conn.text_factory = bytes  # text need not be UTF-8
        try:
            names = ", ".join(f"typeof({self.db.quote(c.name)}), {self.db.quote(c.name)}" for c in columns)
            for row in conn.execute(f"SELECT {names or 1} FROM {self.db.quote(table)}"):
                yield tuple(self._text(*row[i : i + 2]) for i in range(0, len(row), 2))
        finally:
            conn.close()

    def _text(self, storage, x):
        if storage == b"blob":
            return "\\x" + x.hex()
        return x if x is None or isinstance(x, bytes) else repr(x)


def end_of(db, schema=None):
    return {"postgresql": PostgreSQLEnd, "mysql": MySQLEnd, "sqlite": SQLiteEnd}[db.engine](db, schema)
