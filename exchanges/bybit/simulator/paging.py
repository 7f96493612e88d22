"""Bybit's two kinds of cursor: by symbol (lists) and by time (histories).

A cursor is text that is percent-encoded already. Whether the server wants it back as it is or encoded once more is
not documented, so both are understood: it is decoded until it no longer changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs, quote, unquote

from .catalog import Instrument
from .replies import bad_parameter

__all__ = ["decoded", "page_of_symbols", "time_cursor", "time_from"]

_MAX_LAYERS = 4


def decoded(cursor: str) -> str:
    """The cursor with every layer of percent-encoding removed."""
    for _ in range(_MAX_LAYERS):
        plain = unquote(cursor)
        if plain == cursor:
            break
        cursor = plain
    return cursor


def page_of_symbols(rows: Sequence[Instrument], size: int, cursor: str) -> tuple[list[Instrument], str]:
    """`size` instruments after `cursor` of `rows` (sorted by symbol), and the next page's cursor, "" at the end."""
    if cursor:
        last = _field(cursor, "last")
        rows = [row for row in rows if row.symbol > last]
    page = list(rows[:size])
    if len(page) == len(rows):
        return page, ""
    return page, quote(f"first={page[0].symbol}&last={page[-1].symbol}", safe="")


def time_cursor(oldest_ms: int) -> str:
    """The cursor that goes on before a row of `oldest_ms`; it counts in whole seconds, as the recorded one does."""
    return quote(f"lastid=0&lasttime={oldest_ms // 1000}", safe="")


def time_from(cursor: str) -> int:
    """The time (ms) that a cursor goes on before."""
    text = _field(cursor, "lasttime")
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise bad_parameter("cursor")
    return int(text) * 1000


def _field(cursor: str, name: str) -> str:
    found = parse_qs(decoded(cursor)).get(name)
    if not found:
        raise bad_parameter("cursor")
    return found[0]
