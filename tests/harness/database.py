"""One database of one engine, seen alike by the tests whatever the engine."""

import re
import sqlite3
import urllib.parse

from harness.servers import PASSWORD, USER

ENV = "GW_TEST_PASSWORD"


class Database:
    """engine, schema (as it is called in table mappings), url and the means to look into it."""

    engine = ""
    schema = ""

    def connect(self):
        raise NotImplementedError

    def execute(self, sql, args=None):
        """One statement; its rows, if it has any."""
        c = self.connect()
        try:
            q = c.cursor()
            q.execute(sql, args) if args is not None else q.execute(sql)
            rows = q.fetchall() if q.description else []
            self.commit(c)
            return [tuple(r) for r in rows]
        finally:
            c.close()

    def script(self, statements):
        """Statements one by one, on one connection."""
        c = self.connect()
        try:
            q = c.cursor()
            for s in statements:
                if s.strip():
                    q.execute(s)
            self.commit(c)
        finally:
            c.close()

    def insert(self, table, columns, rows, batch=2000):
        rows = list(rows)
        if not rows:
            return
        c = self.connect()
        mark = "?" if self.engine == "sqlite" else "%s"
        names = ", ".join(self.quote(x) for x in columns)
        try:
            q = c.cursor()
            if self.engine == "sqlite":
                q.executemany(
                    f"INSERT INTO {self.quote(table)} ({names}) VALUES ({', '.join([mark] * len(columns))})", rows
                )
            elif self.engine == "mysql":
                # Only in this form does PyMySQL send many rows in one statement.
                q.executemany(
                    f"INSERT INTO {self.quote(table)} ({names}) VALUES ({', '.join([mark] * len(columns))})", rows
                )
            else:
                from psycopg2.extras import execute_values

                execute_values(q, f"INSERT INTO {self.quote(table)} ({names}) VALUES %s", rows, page_size=batch)
            self.commit(c)
        finally:
            c.close()

    def commit(self, c):
        pass

    def one(self, sql, args=None):
        return self.execute(sql, args)[0][0]

    def count(self, table):
        return self.one(f"SELECT count(*) FROM {self.quote(table)}")

    def quote(self, name):
        return '"' + name.replace('"', '""') + '"'

    def tables(self):
        raise NotImplementedError

    def endpoint(self):
        return {"url": self.url, "password-env": ENV}

    def target_schema(self):
        return self.schema


class PostgreSQLDatabase(Database):
    engine = "postgresql"
    schema = "public"

    def __init__(self, server, name):
        self.server, self.name = server, name
        c = server.connect()
        with c.cursor() as q:
            q.execute(f"CREATE DATABASE {self.quote(name)}")
        c.close()

    @property
    def url(self):
        return f"postgresql://{USER}@{self.server.address}:{self.server.port}/{self.name}"

    def connect(self):
        c = self.server.connect(self.name)
        with c.cursor() as q:
            q.execute(
                "SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET extra_float_digits = 1;"
                " SET bytea_output = 'hex'; SET intervalstyle = 'postgres'"
            )
        return c

    def tables(self):
        return sorted(
            r[0]
            for r in self.execute(
                "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
                [self.schema],
            )
        )


class MySQLDatabase(Database):
    engine = "mysql"
    mariadb = True

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.schema = name
        c = server.connect()
        with c.cursor() as q:
            q.execute(f"CREATE DATABASE {self.quote(name)} CHARACTER SET utf8mb4")
        c.close()

    def portable(self, sql):
        """For tests that write MariaDB's SQL on connections of their own."""
        return sql

    @property
    def url(self):
        return f"mysql://{USER}@{self.server.address}:{self.server.port}/{self.name}"

    def quote(self, name):
        return "`" + name.replace("`", "``") + "`"

    def connect(self):
        c = self.server.connect(self.name)
        with c.cursor() as q:
            q.execute(
                "SET time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'"
            )
        return c

    def tables(self):
        return sorted(
            r[0]
            for r in self.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = %s AND table_type = 'BASE TABLE'",
                [self.name],
            )
        )


class MySQLServerDatabase(MySQLDatabase):
    """The same engine on a real MySQL. MariaDB's tables of numbers (seq_1_to_9) are made as they are used, in a database of their own."""

    mariadb = False

    def portable(self, sql):
        for name, first, last in set(re.findall(r"\b(seq_(\d+)_to_(\d+))\b", sql)):
            c = self.server.connect()
            with c.cursor() as q:
                q.execute("CREATE DATABASE IF NOT EXISTS numbers")
                q.execute(f"CREATE TABLE IF NOT EXISTS numbers.{name} (seq bigint PRIMARY KEY)")
                rows = [(i,) for i in range(int(first), int(last) + 1)]
                q.executemany(f"INSERT IGNORE INTO numbers.{name} VALUES (%s)", rows)
            c.close()
            sql = re.sub(rf"\b{name}\b", f"numbers.{name}", sql)
        return sql

    def execute(self, sql, args=None):
        return super().execute(self.portable(sql), args)

    def script(self, statements):
        super().script([self.portable(s) for s in statements])


class SQLiteDatabase(Database):
    engine = "sqlite"
    schema = "main"

    def __init__(self, path):
        self.path = path
        self.name = path.stem
        sqlite3.connect(path).close()

    @property
    def url(self):
        return "sqlite://" + urllib.parse.quote(str(self.path))

    def connect(self):
        c = sqlite3.connect(self.path, timeout=30)
        c.execute("PRAGMA foreign_keys = off")
        return c

    def commit(self, c):
        c.commit()

    def tables(self):
        return sorted(
            r[0]
            for r in self.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
                " AND name NOT LIKE 'godwit%'"
            )
        )

    def endpoint(self):
        return {"url": self.url}

    def target_schema(self):
        return ""


def password_environment():
    return {ENV: PASSWORD}
