"""`resilience top --once`: how everything stands, printed once, as text or as one JSON document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from .client import Client
from .rows import FAILURES, OPERATIONS, Line, Titles, failures, headline, operations
from .states import STATES, states

__all__ = ["FAILED", "fetch", "once", "text"]

FAILED = "-outcome:ok -outcome:cancelled"
"""The filter for calls that went wrong."""
_GAP = 2
_MOST_ROWS = 20


def once(url: str, token: str | None, as_json: bool, width: int = 100) -> str:
    """Everything, as text of lines that are at most `width` cells wide. Raises `Unreachable` and `ConfigError`."""
    found = asyncio.run(fetch(url, token))
    return json.dumps(found, indent=2) if as_json else text(found, width)


async def fetch(url: str, token: str | None) -> dict[str, Any]:
    """``snapshot`` and ``failures``, as the dashboard has them."""
    async with Client(url, token) as client:
        return {"snapshot": await client.snapshot(), "failures": await client.calls(FAILED, _MOST_ROWS)}


def text(found: dict[str, Any], width: int = 100) -> str:
    """The same lines that the live view shows."""
    snapshot = found["snapshot"]
    parts = [
        headline(snapshot),
        *_table(OPERATIONS, operations(snapshot), width),
        *_table(STATES, states(snapshot), width),
        *_table(FAILURES, failures(found["failures"], snapshot.get("at")), width),
    ]
    return "\n".join(line.rstrip() for line in parts)


def _table(titles: Titles, lines: Sequence[Line], width: int) -> Iterator[str]:
    """Columns as wide as they need and may. Nothing for a table without lines."""
    if not lines:
        return
    wide = titles.widths(lines, width, _GAP)
    yield ""
    for row in (titles.names, *(line.cells for line in lines)):
        yield (" " * _GAP).join(_cell(cell, wide[at], at in titles.right) for at, cell in enumerate(row))


def _cell(text: str, width: int, right: bool) -> str:
    if cell_len(text) > width:
        return set_cell_size(text, width - 1) + "…"
    pad = " " * (width - cell_len(text))
    return pad + text if right else text + pad
