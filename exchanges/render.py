"""What `exchanges fetch` prints: one JSON document for programs, a table for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from .records import OrderBook, Record, as_json

__all__ = ["print_json", "print_table"]

_MOST_ROWS = 40
_WIDEST = 1000


def print_json(operation: str, answer: Record | Sequence[Record]) -> None:
    """Exactly one document: an object for a single record, an array for several."""
    document = as_json(answer) if isinstance(answer, Record) else [as_json(record) for record in answer]
    json.dump(document, sys.stdout, ensure_ascii=False, separators=(",", ":"))
    sys.stdout.write("\n")


def print_table(operation: str, answer: Record | Sequence[Record]) -> None:
    """A single record line by line, several as rows; long lists are cut, and the cut is said."""
    from rich.console import Console
    from rich.table import Table

    records = [answer] if isinstance(answer, Record) else list(answer)
    table = Table(title=f"{operation}, {len(records)} rows" if len(records) != 1 else operation)
    if isinstance(answer, OrderBook):
        _fill_book(table, answer)
    elif len(records) == 1:
        table.add_column("field")
        table.add_column("value", justify="right")
        for name, value in _shown(records[0]).items():
            table.add_row(name, value)
    elif records:
        for name in _shown(records[0]):
            table.add_column(name, justify="right")
        for record in records[:_MOST_ROWS]:
            table.add_row(*_shown(record).values())
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no right edge, so no name and no digit is cut off
        console.width = max(
            console.width, console.measure(table, options=console.options.update(width=_WIDEST)).maximum
        )
    console.print(table)
    if len(records) > _MOST_ROWS:
        console.print(f"... and {len(records) - _MOST_ROWS} more rows; --json prints them all")


def _fill_book(table: Any, book: OrderBook) -> None:
    for name in ("bid amount", "bid", "ask", "ask amount"):
        table.add_column(name, justify="right")
    for level in range(min(_MOST_ROWS, max(len(book.bids), len(book.asks)))):
        bid = book.bids[level] if level < len(book.bids) else ("", "")
        ask = book.asks[level] if level < len(book.asks) else ("", "")
        table.add_row(str(bid[1]), str(bid[0]), str(ask[0]), str(ask[1]))


def _shown(record: Record) -> dict[str, str]:
    plain = as_json(record)
    del plain["raw"]
    return {name: _cell(name, value) for name, value in plain.items()}


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("timestamp"):
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return str(value)
