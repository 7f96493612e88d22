"""The file behind the ring: restart, retention, and trouble that costs spans and nothing else."""

from __future__ import annotations

import logging
import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from traces import call, ids, retried, span

from resilience.dashboard import sqlite
from resilience.dashboard.sqlite import File, pack, unpack
from resilience.dashboard.store import Store


def until(holds: Callable[[], object]) -> None:
    """Wait for the writer's thread; its work takes milliseconds."""
    ends = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < ends, "the writer did not come to it"
        time.sleep(0.005)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traces.sqlite"


def rows(path: Path, table: str = "spans") -> int:
    base = sqlite3.connect(path)
    try:
        return int(base.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 (a constant)
    finally:
        base.close()


def test_traces_survive_a_restart(path: Path) -> None:
    """They come back whole, and what is added meanwhile counts as newer."""
    store = Store(path=path)
    odd = span(
        7, attributes={"a": "\x00\x1b'; DROP TABLE spans; --", "b": [1, 2], "c": 1.5}, links=((ids(9), "0" * 15 + "9"),)
    )
    store.add([*retried(1), *retried(2), odd])
    store.close()
    assert store.status()["sqlite_dropped"] == 0

    again = Store(path=path)
    again.add(retried(3))
    until(lambda: len(again) == 4)
    assert {t.trace_id for t in again.traces()[:3]} == {ids(1), ids(2), ids(7)}
    assert again.traces()[-1].trace_id == ids(3)
    found = again.get(ids(7))
    assert found is not None
    assert list(found.spans.values()) == [odd]
    assert again.get(ids(1)).summary == store.get(ids(1)).summary  # type: ignore[union-attr]
    again.close()


def test_only_the_newest_come_back_and_the_ring_keeps_its_bounds(path: Path) -> None:
    """A file larger than the ring fills the ring."""
    store = Store(path=path)
    for number in range(1, 4):
        store.add(retried(number))
        until(lambda n=number: store.file and store.file.written == 3 * n)
    store.close()
    small = Store(most_traces=2, path=path)
    until(lambda: len(small) == 2)
    assert [trace.trace_id for trace in small] == [ids(2), ids(3)]
    small.close()
    assert rows(path, "traces") == 3


def test_restoring_keeps_the_bounds_of_spans_and_bytes() -> None:
    """It ends where there is no more room; an empty trace is passed over."""
    assert Store(most_spans=2).restore(retried()) is False
    full = Store(most_bytes=1)
    full.add(retried(2))
    assert full.restore(retried(1)) is False
    store = Store()
    store.add(retried()[:1])
    assert store.restore([]) is True
    assert store.restore(retried()) is True
    assert store.status()["spans"] == 3
    assert store.status()["duplicates"] == 0


def test_the_file_is_its_owners_alone(path: Path) -> None:
    """What calls were about is not everybody's business."""
    Store(path=path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_old_traces_go_whole(path: Path) -> None:
    """Retention counts from when a trace was written."""
    store = Store(path=path)
    store.add(retried(1))
    store.close()
    base = sqlite3.connect(path)
    with base:
        base.execute("UPDATE traces SET at = at - 100")
    base.close()
    file = File(path, retention=50, most_bytes=2**20)
    file.start(lambda spans: True, 10)
    file.offer(retried(2))
    file.close()
    assert (rows(path, "traces"), rows(path)) == (1, 3)


def test_the_file_keeps_its_size(path: Path) -> None:
    """The oldest traces go, and the pages are given back."""
    most = 2**20
    store = Store(path=path, most_file_bytes=most)
    text = "x" * 4_000
    for number in range(1, 1_001):
        store.add([span(number, attributes={"text": text})])
        if number % 100 == 0:
            until(lambda n=number: store.file and store.file.written == n)
    store.close()
    left = rows(path)
    assert 100 < left < most / 4_000
    assert path.stat().st_size < 2 * most
    assert store.status()["sqlite_dropped"] == 0


def test_a_full_disk_drops_and_counts_and_says_so_once(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is larger than the file may ever grow fails as on a full disk; later ones are written again."""
    monkeypatch.setattr(sqlite, "_HARD", 0.3)
    store = Store(path=path, most_file_bytes=2**21)
    with caplog.at_level(logging.WARNING, "resilience"):
        until(lambda: store.file and store.file._base is not None)
        store.add(span(1_000, n, attributes={"text": "x" * 4_000}) for n in range(1, 500))
        until(lambda: store.file and store.file.dropped)
        store.add(span(1_000, n, attributes={"text": "x" * 4_000}) for n in range(500, 900))
        until(lambda: store.file and store.file.dropped + store.file.written == 899)
        dropped = store.status()["sqlite_dropped"]
        store.add(retried(1))
        until(lambda: store.file and store.file.dropped + store.file.written == 902)
    store.close()
    assert store.status()["sqlite_dropped"] == dropped > 300
    assert rows(path) == 902 - dropped
    assert store.status()["spans"] == 902
    assert [r.message for r in caplog.records if "spans are dropped" in r.message] == [
        f"the dashboard cannot use {path}, its spans are dropped meanwhile: database or disk is full"
    ]


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4_000])
def test_a_damaged_file_is_left_alone(path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Its spans are dropped and counted, calls and the ring go on."""
    path.write_bytes(content)
    store = Store(path=path)
    store.add(retried(1))
    store.close()
    assert path.read_bytes() == content
    assert store.status()["sqlite_dropped"] == 3
    assert store.status()["spans"] == 3
    assert sum("spans are dropped" in r.message for r in caplog.records) == 1


def test_a_file_of_another_version_is_left_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A later program's tables are not touched."""
    base = sqlite3.connect(path)
    base.execute("PRAGMA user_version = 99")
    base.close()
    store = Store(path=path)
    store.add(retried(1))
    store.close()
    assert store.status()["sqlite_dropped"] == 3
    assert "its tables are of version 99, this program knows version 1" in caplog.text


def test_a_locked_file_drops_and_recovers(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process holds the lock for longer than we wait; what comes after it let go is written."""
    monkeypatch.setattr(sqlite, "_BUSY", 0.01)
    Store(path=path).close()
    store = Store(path=path)
    until(lambda: store.file and store.file._base is not None)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    store.add(retried(1))
    until(lambda: store.status()["sqlite_dropped"] == 3)
    other.execute("COMMIT")
    other.close()
    store.add(retried(2))
    store.close()
    assert store.status()["sqlite_dropped"] == 3
    assert rows(path) == 3
    assert "locked" in caplog.text


def test_a_folder_that_is_not_there_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it exists, spans are written."""
    monkeypatch.setattr(sqlite, "_AGAIN", 0.0)
    store = Store(path=tmp_path / "later" / "traces.sqlite")
    store.add(retried(1))
    until(lambda: store.status()["sqlite_dropped"] == 3)
    (tmp_path / "later").mkdir()
    store.add(retried(2))
    store.close()
    assert rows(tmp_path / "later" / "traces.sqlite") == 3


def test_the_queue_is_bounded(path: Path) -> None:
    """What finds no room is dropped and counted at once; after the end everything is."""
    file = File(path, retention=1, most_bytes=2**20)  # no thread: nothing is taken from the queue
    file.offer([call(n) for n in range(1, 20_011)])
    assert file.dropped == 10
    file.close()
    file.offer(retried())
    assert file.dropped == 13


def test_what_cannot_be_written_in_time_is_dropped(path: Path) -> None:
    """Closing waits so long and no longer."""
    file = File(path, retention=1, most_bytes=2**20)
    file.offer(retried())
    file._closing, file._ends_by = True, 0.0
    file._run(lambda spans: True, 1)
    assert (file.dropped, file.written) == (3, 0)


def test_a_row_reads_back_as_the_span() -> None:
    """Links and lists too."""
    one = span(1, 2, 3, links=((ids(4), "0" * 15 + "5"),), attributes={"list": ["a", 1, True, 0.5]})
    assert unpack(pack(one)) == one


def test_a_file_damaged_while_it_is_open_is_opened_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody put another in its place meanwhile."""
    monkeypatch.setattr(sqlite, "_AGAIN", 0.0)
    store = Store(path=path)
    until(lambda: store.file and store.file._base is not None)
    assert store.file is not None

    def damaged(batch: object) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    with monkeypatch.context() as patched:
        patched.setattr(store.file, "_write", damaged)
        store.add(retried(1))
        until(lambda: store.status()["sqlite_dropped"] == 3)
    store.add(retried(2))
    store.close()
    assert rows(path) == 3


def test_what_is_too_old_is_looked_for_now_and_then(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only when the program starts."""
    monkeypatch.setattr(sqlite, "_CLEAN_EVERY", 0.0)
    store = Store(path=path, retention=0.05)
    store.add(retried(1))
    until(lambda: store.file and store.file.written == 3)
    until(lambda: rows(path) == 0)
    store.close()
    assert len(store) == 1


def test_nothing_is_tried_again_at_once(tmp_path: Path) -> None:
    """While a file cannot be opened, spans are dropped without another look, but for the last time."""
    store = Store(path=tmp_path / "missing" / "traces.sqlite")
    store.add(retried(1))
    until(lambda: store.status()["sqlite_dropped"] == 3)
    (tmp_path / "missing").mkdir()
    store.add(retried(2))
    until(lambda: store.status()["sqlite_dropped"] == 6)
    store.add(retried(3))
    store.close()
    assert store.status()["sqlite_dropped"] in (6, 9)  # 9 if the writer took it before it heard of the end
