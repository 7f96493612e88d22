"""Recorded traces, of any size, from a file of one's own: a dashboard's store, or OTLP JSON. For commands."""

from __future__ import annotations

import os
import sqlite3
import sys

from ..errors import ConfigError
from .otlp_json import read
from .rows import Span
from .sqlite import unpack
from .wire import IngestError, Limits

__all__ = ["read_spans"]

_MAGIC = b"SQLite format 3\0"
_ALL = Limits(spans=sys.maxsize, values=sys.maxsize)


def read_spans(path: str | os.PathLike[str]) -> list[Span]:
    """The spans of an SQLite store, or of OTLP JSON: one document, or one a line as collectors write them.

    Raises `ConfigError`.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            stored = file.read(len(_MAGIC)) == _MAGIC
            file.seek(0)
            return _stored(name) if stored else _written(file.read())
    except IngestError as error:
        told = str(error.args[-1])
    except (OSError, sqlite3.Error, ValueError, TypeError) as error:
        told = str(getattr(error, "strerror", None) or error)
    raise ConfigError(f"{name}: no traces can be read from it ({told}); give a dashboard's store or OTLP JSON")


def _stored(name: str) -> list[Span]:
    base = sqlite3.connect(name, timeout=5.0)
    try:
        base.execute("PRAGMA query_only = ON")
        return [unpack(body) for (body,) in base.execute("SELECT body FROM spans")]
    finally:
        base.close()


def _written(text: bytes) -> list[Span]:
    lines = text.splitlines()
    several = len(lines) > 1 and all(line.startswith(b"{") and line.rstrip().endswith(b"}") for line in lines if line)
    return [span for part in (lines if several else [text]) if part for span in read(part, _ALL).spans]
