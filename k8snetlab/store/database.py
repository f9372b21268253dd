"""The embedded store's SQLite file: its layout, its one transaction at a time, and what its errors mean.

The table `kv` is log and data at once: a row per write, and the state of a key at a revision is its last row up to
there (a NULL value is a deletion).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from k8snetlab.errors import StoreError

Rows: TypeAlias = list[tuple[Any, ...]]

_SCHEMA_VERSION = 1
_SCHEMA = f"""
BEGIN;
CREATE TABLE kv (revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL, lease INTEGER NOT NULL,
                 value BLOB);
CREATE INDEX kv_key ON kv (key, revision);
CREATE INDEX kv_lease ON kv (lease) WHERE lease != 0;
CREATE TABLE lease (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl INTEGER NOT NULL);
CREATE TABLE floor (revision INTEGER NOT NULL, compacted INTEGER NOT NULL);
INSERT INTO floor VALUES (1, 0);
PRAGMA user_version = {_SCHEMA_VERSION};
COMMIT;
"""


class Database:
    """The file `path` (":memory:": none). Its tables are made when it is new; no other process may open it meanwhile.

    A transaction survives the death of the process, not that of the machine (the file lies in /run). Every failure
    is a StoreError.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._closed = False
        try:
            self._db = _open(path)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def rows(self, sql: str, *arguments: Any) -> Rows:
        """All rows of a query."""
        try:
            return self._db.execute(sql, arguments).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def execute(self, sql: str, *arguments: Any) -> int:
        """The id of the row that the statement put in, if it did."""
        try:
            return self._db.execute(sql, arguments).lastrowid or 0
        except sqlite3.Error as error:
            raise self._failure(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is done inside, or nothing of it when that raises."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._closed = True
        self._db.close()

    def _failure(self, error: sqlite3.Error) -> StoreError:
        if self._closed:
            return StoreError(f"the store {self._path} was closed")
        hint = ""
        if "locked" in str(error):
            hint = "another daemon or API server has it open; end that one first"
        elif "full" in str(error):
            hint = f"make room on the file system of {self._path}"
        elif "not a database" in str(error):
            hint = "move the file away; `k8snetlab up` makes a new one"
        elif "unable to open" in str(error):
            hint = f"{Path(self._path).parent} must be a directory that this user may write to"
        return StoreError(f"store {self._path}: {error}", hint)


def _open(path: Path | str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA synchronous = OFF")  # first: making the log is a transaction of its own
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA journal_size_limit = 4000000")
        db.execute("BEGIN EXCLUSIVE")
        db.execute("COMMIT")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            db.executescript(_SCHEMA)
        elif version != _SCHEMA_VERSION:
            raise StoreError(
                f"store {path} has layout {version}, this k8snetlab reads {_SCHEMA_VERSION}",
                "take the lab down with the version that made it",
            )
    except BaseException:
        db.close()
        raise
    return db
