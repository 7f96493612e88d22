"""`resilience top --once`: how everything stands, printed once, as text or as one JSON document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from .client import Client
from .rows import FAILURES, OPERATIONS, STATES, Line, failures, headline, operations, states

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
        *_table(OPERATIONS, operations(snapshot), width, right=range(1, 8)),
        *_table(STATES, states(snapshot), width),
        *_table(FAILURES, failures(found["failures"], snapshot.get("at")), width, right=(0, 3)),
    ]
    return "\n".join(line.rstrip() for line in parts)


def _table(titles: Sequence[str], lines: Sequence[Line], width: int, right: Sequence[int] = ()) -> Iterator[str]:
    """Columns as wide as they need, the last one cut to the width. Nothing for a table without lines."""
    if not lines:
        return
    rows = [titles, *(line.cells for line in lines)]
    wide = [max(cell_len(row[column]) for row in rows) for column in range(len(titles))]
    yield ""
    for row in rows:
        cells = []
        for column, cell in enumerate(row):
            pad = " " * (wide[column] - cell_len(cell))
            cells.append(pad + cell if column in right else cell + pad)
        line = (" " * _GAP).join(cells).rstrip()
        yield line if cell_len(line) <= width else set_cell_size(line, width - 1) + "…"
