"""Traces in a file, so that they survive a restart. A thread of its own writes them; nobody waits for it.

Whatever goes wrong with the file (full disk, locked, damaged, written by another version) costs spans, which are
counted, and one line in the log for each time the trouble begins. A damaged file is left as it is: it is not ours to
delete.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .rows import Span

__all__ = ["File"]

VERSION = 1  # of the tables
_MOST_WAITING = 20_000  # spans
_BATCH = 2_000  # spans in a transaction
_GATHER = 0.25  # seconds that a batch may grow
_BUSY = 1.0  # seconds to wait for another process's lock
_HARD = 2.0  # times the wanted size: SQLite itself lets the file grow no further
_AGAIN = 5.0  # seconds until a file that could not be opened is tried again
_CLEAN_EVERY = 30.0  # seconds
_log = logging.getLogger("resilience")

_Row = tuple[str, str, str]
_TABLES = """
CREATE TABLE traces (trace_id TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX traces_by_age ON traces (at);
CREATE TABLE spans (trace_id TEXT NOT NULL, span_id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (trace_id, span_id))
    WITHOUT ROWID;
"""


class File:
    """The file, its writer, and how long what is in it is kept: `retention` seconds, and `most_bytes` of the file."""

    def __init__(self, path: str | Path, *, retention: float, most_bytes: int) -> None:
        self.path = Path(path)
        self.retention, self.most_bytes = retention, most_bytes
        self.written = self.dropped = 0
        self._waiting: deque[Span] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._ends_by = float("inf")
        self._thread: threading.Thread | None = None
        self._in_trouble = False
        self._try_at = 0.0
        self._clean_at = time.monotonic() + _CLEAN_EVERY
        self._base: sqlite3.Connection | None = None

    # -- asked by the store -----------------------------------------------------------------------------------

    def start(self, restore: Callable[[Sequence[Span]], bool], most_traces: int) -> None:
        """Start the thread, which first gives back what the file holds: trace by trace, newest first."""
        self._thread = threading.Thread(
            target=self._run, args=(restore, most_traces), name="resilience-dashboard-store", daemon=True
        )
        self._thread.start()

    def offer(self, spans: Sequence[Span]) -> None:
        """Have these written soon; what finds no room in the queue is dropped and counted. Never raises or waits."""
        with self._changed:
            room = _MOST_WAITING - len(self._waiting) if not self._closing else 0
            self._waiting.extend(spans[: max(room, 0)])
            self.dropped += max(len(spans) - max(room, 0), 0)
            if len(self._waiting) >= _BATCH:
                self._changed.notify()

    def close(self, seconds: float = 5.0) -> None:
        """Write what waits, for so long at most; the rest counts as dropped."""
        with self._changed:
            self._closing = True
            self._ends_by = time.monotonic() + seconds
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(seconds + _BUSY + 1)

    # -- the thread -------------------------------------------------------------------------------------------

    def _run(self, restore: Callable[[Sequence[Span]], bool], most_traces: int) -> None:
        self._guarded(lambda: self._load(restore, most_traces))
        while True:
            with self._changed:
                if not self._closing and len(self._waiting) < _BATCH:
                    self._changed.wait(_GATHER)
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                last = self._closing and not self._waiting
            before = self.written
            if batch and not (time.monotonic() < self._ends_by and self._guarded(partial(self._write, batch))):
                self._drop(len(batch) - (self.written - before))
            if time.monotonic() >= self._clean_at and not self._closing:
                self._clean_at = time.monotonic() + _CLEAN_EVERY
                self._guarded(self._clean)
            if last:
                break
        self._shut()

    def _drop(self, count: int) -> None:
        with self._changed:
            self.dropped += count

    def _guarded(self, action: Callable[[], None]) -> bool:
        """Do something with the file; False, and one line in the log when the trouble begins, if it failed."""
        if self._base is None and time.monotonic() < self._try_at and not self._closing:
            return False
        try:
            if self._base is None:
                self._try_at = time.monotonic() + _AGAIN
                self._base = self._open()
            action()
        except Exception as error:  # sqlite3's, the operating system's, or a row that is not what we wrote
            if not self._in_trouble:
                self._in_trouble = True
                _log.warning("the dashboard cannot use %s, its spans are dropped meanwhile: %s", self.path, error)
            self._recover(error)
            return False
        self._in_trouble = False
        return True

    def _recover(self, error: Exception) -> None:
        """Undo what was begun. With a damaged file begin anew: it may have been replaced meanwhile."""
        try:
            if self._base is not None:
                self._base.rollback()
        except sqlite3.Error:
            self._shut()
        if type(error) is sqlite3.DatabaseError:  # not one of its kinds, such as "locked" or "full"
            self._shut()

    def _shut(self) -> None:
        base, self._base = self._base, None
        if base is not None:
            try:
                base.close()
            except sqlite3.Error:
                _log.debug("closing %s failed", self.path, exc_info=True)

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # what calls were about is not everybody's business
        base = sqlite3.connect(self.path, timeout=_BUSY)
        try:
            base.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table, or it has no effect
            base.execute("PRAGMA journal_mode = WAL")
            base.execute("PRAGMA synchronous = NORMAL")
            (version,) = base.execute("PRAGMA user_version").fetchone()
            (size,) = base.execute("PRAGMA page_size").fetchone()
            base.execute(f"PRAGMA max_page_count = {max(int(self.most_bytes * _HARD) // size, 64)}")
            base.execute(f"PRAGMA journal_size_limit = {max(self.most_bytes // 8, 2**20)}")
            if version == 0:
                base.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
            elif version != VERSION:
                raise ValueError(f"its tables are of version {version}, this program knows version {VERSION}")
        except BaseException:
            base.close()
            raise
        return base

    def _load(self, restore: Callable[[Sequence[Span]], bool], most_traces: int) -> None:
        base = self._opened()
        self._clean()  # what is too old is not to come back
        ids = base.execute("SELECT trace_id FROM traces ORDER BY at DESC LIMIT ?", (most_traces,)).fetchall()
        for (trace_id,) in ids:
            rows = base.execute("SELECT body FROM spans WHERE trace_id = ?", (trace_id,))
            if self._closing or not restore([unpack(body) for (body,) in rows]):
                return

    def _write(self, batch: Sequence[Span]) -> None:
        """In portions of a quarter of the file, so that there is room again before there is none."""
        base, now = self._opened(), time.time()
        for some in _portions([(span.trace_id, span.span_id, pack(span)) for span in batch], self.most_bytes // 4):
            with base:
                traces = [(trace_id, now) for trace_id in {row[0] for row in some}]
                base.executemany("INSERT OR IGNORE INTO traces VALUES (?, ?)", traces)
                base.executemany("INSERT OR IGNORE INTO spans VALUES (?, ?, ?)", some)
            self.written += len(some)
            if self._used() > self.most_bytes:
                self._clean()

    def _clean(self) -> None:
        """Delete whole traces: those that are too old, then the oldest until the file is a tenth below its size."""
        base = self._opened()
        self._delete("SELECT trace_id FROM traces WHERE at < ?", time.time() - self.retention)
        while self._used() > self.most_bytes * 0.9:
            (count,) = base.execute("SELECT count(*) FROM traces").fetchone()
            if not count:
                break
            self._delete("SELECT trace_id FROM traces ORDER BY at LIMIT ?", max(count // 10, 1))
        base.execute("PRAGMA incremental_vacuum").fetchall()
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _delete(self, which: str, value: float) -> None:
        """`which` is one of our two constants above, `value` its parameter."""
        base = self._opened()
        with base:
            ids = base.execute(which, (value,)).fetchall()
            base.executemany("DELETE FROM spans WHERE trace_id = ?", ids)
            base.executemany("DELETE FROM traces WHERE trace_id = ?", ids)

    def _used(self) -> int:
        base = self._opened()
        asked = ("PRAGMA page_count", "PRAGMA freelist_count", "PRAGMA page_size")
        pages, free, size = (base.execute(question).fetchone()[0] for question in asked)
        return int((pages - free) * size)

    def _opened(self) -> sqlite3.Connection:
        if self._base is None:
            raise sqlite3.OperationalError("not open")
        return self._base


def _portions(rows: Sequence[_Row], most: int) -> Iterator[list[_Row]]:
    """The rows in lists of about so many characters at most, one row at least."""
    some: list[_Row] = []
    size = 0
    for row in rows:
        if some and size + len(row[2]) > most:
            yield some
            some, size = [], 0
        some.append(row)
        size += len(row[2])
    if some:
        yield some


def pack(span: Span) -> str:
    """A span as the text of its row."""
    fields = [
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.name,
        span.kind,
        span.start_ns,
        span.end_ns,
        span.status,
    ]
    return json.dumps([*fields, span.attributes, span.links, span.service, span.instance], separators=(",", ":"))


def unpack(body: str) -> Span:
    """The span of a row's text. Raises ValueError or TypeError if it is not what `pack` made."""
    fields: list[Any] = json.loads(body)
    trace_id, span_id, parent_id, name, kind, start, end, status, attributes, links, service, instance = fields
    pairs = tuple((trace, span) for trace, span in links)
    return Span(trace_id, span_id, parent_id, name, kind, start, end, status, attributes, pairs, service, instance)
