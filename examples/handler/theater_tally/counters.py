"""What answers `example:tally/counters`: one method for each function."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from theater.host.base import Refused
from theater_tally.permissions import Tally

LARGEST = (1 << 63) - 1


_ADD = "INSERT INTO counter VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + ?2"


class Counters:
    """The counters of one actor, in a database in the actor's own folder.

    Args:
        folder: gives the folder; it is asked only when a counter is used.
        granted: what the manifest grants.
        release: writes down what has been recorded.
    """

    def __init__(self, folder: Callable[[], Path], granted: Tally, release: Callable[[], None]) -> None:
        self._folder = folder
        self._granted = granted
        self._release = release
        self._database: sqlite3.Connection | None = None

    def add(self, name: str, amount: int) -> int:
        before = self.read(name)
        if before + amount > LARGEST:
            raise Refused(f"the counter {name} cannot hold more than {LARGEST}")
        if not before and name not in self.names() and len(self.names()) >= self._granted.most:
            raise Refused(f"there are {self._granted.most} counters, and no more are granted")
        self._release()  # The record of this call is written before the database is: it never lacks what was done.
        with self._open() as database:
            database.execute(_ADD, (name, amount))
        return before + amount

    def read(self, name: str) -> int:
        if not self._granted.grants(name):
            allowed = ", ".join(self._granted.counters) or "none"
            raise Refused(f"the counter {name!r} is not granted; allowed: {allowed}")
        row = self._open().execute("SELECT value FROM counter WHERE name = ?", (name,)).fetchone()
        return row[0] if row is not None else 0

    def names(self) -> list[str]:
        return [name for (name,) in self._open().execute("SELECT name FROM counter ORDER BY name")]

    def _open(self) -> sqlite3.Connection:
        """The database, opened when it is first needed: this object is made for every life, used or not."""
        if self._database is None:
            self._database = sqlite3.connect(self._folder() / "counters.db")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID"
            )
        return self._database
