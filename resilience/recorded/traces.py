"""Reading traces from a file: the dashboard's SQLite store, or OTLP JSON (one request, or one request a line).

Nothing is written: the store may be open in a running process. A file that is neither is a `ConfigError`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from ..dashboard.otlp_json import read
from ..dashboard.rows import Span
from ..dashboard.sqlite import VERSION, unpack
from ..dashboard.wire import IngestError, Limits
from ..errors import ConfigError
from .calls import Recording, recording_of

__all__ = ["bytes_of", "head_of", "read_spans", "read_traces"]

_SQLITE = b"SQLite format 3\x00"
_MOST_BYTES = 2**30
_LIMITS = Limits(request=_MOST_BYTES, decompressed=_MOST_BYTES, json=_MOST_BYTES, spans=5_000_000, values=200_000_000)


def read_traces(path: str) -> Recording:
    """The calls in a file. Raises `ConfigError`, one line that names the file."""
    found = recording_of(read_spans(path), path)
    if not found.calls:
        raise ConfigError(f"{path}: holds no call of a pipeline; record some with the dashboard or with OTLP")
    return found


def read_spans(path: str) -> list[Span]:
    """The spans in a file. Raises `ConfigError`, one line that names the file."""
    return _of_sqlite(path) if head_of(path, len(_SQLITE)) == _SQLITE else _of_json(path)


def bytes_of(path: str) -> bytes:
    """The content of a file of at most 1 GiB. Raises `ConfigError`."""
    with _open(path) as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {_MOST_BYTES // 2**30} GiB; give a shorter piece of time")
    return content


def head_of(path: str, count: int) -> bytes:
    """The first bytes of a file. Raises `ConfigError`."""
    with _open(path) as file:
        try:
            return file.read(count)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _open(path: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _of_sqlite(path: str) -> list[Span]:
    address = f"{Path(path).resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=5.0)) as base:
            (version,) = base.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                raise ConfigError(f"{path}: its tables are of version {version}, this program reads version {VERSION}")
            return [unpack(body) for (body,) in base.execute("SELECT body FROM spans ORDER BY trace_id, span_id")]
    except (sqlite3.Error, ValueError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: is no store of the dashboard ({error})") from None


def _of_json(path: str) -> list[Span]:
    spans: list[Span] = []
    for body in _requests(path, bytes_of(path)):
        try:
            spans += read(body, _LIMITS).spans
        except IngestError as error:
            raise ConfigError(f"{path}: is neither a store of the dashboard nor OTLP JSON: {error}") from None
    return spans


def _requests(path: str, content: bytes) -> Iterator[bytes]:
    """The whole as one request, or each line as one: what a collector's file exporter writes."""
    lines = [line for line in content.split(b"\n") if line.strip()]
    if not lines:
        raise ConfigError(f"{path}: is empty")
    several = len(lines) > 1 and all(line.lstrip().startswith(b"{") and line.rstrip().endswith(b"}") for line in lines)
    yield from lines if several else (content,)
