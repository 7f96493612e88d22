"""A snapshot as lines of text: operations and failures. Pure functions; sorted, filtered, and clean.

A *line* has a key (what it is about), cells, a tone (`ok`, `warn`, `bad` or none) and what a filter looks into.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from rich.cells import cell_len

from .words import ago, clean, count, ms, percent

__all__ = [
    "FAILURES",
    "OPERATIONS",
    "SORTS",
    "Data",
    "Line",
    "Titles",
    "failures",
    "fitting",
    "headline",
    "make_line",
    "operations",
    "rows_of",
]


class Titles(NamedTuple):
    """The heads of a table, which columns end at the right, and which give way first, down to how many cells."""

    names: tuple[str, ...]
    right: Collection[int]
    giving: tuple[tuple[int, int], ...]

    def widths(self, lines: Iterable[Line], width: int, gap: int = 2) -> list[int]:
        """How many cells each column gets, so that all and the gaps between them are at most `width` wide."""
        rows = [self.names, *(line.cells for line in lines)]
        wide = [max(cell_len(row[column]) for row in rows) for column in range(len(self.names))]
        for column, least in self.giving:
            over = sum(wide) + gap * len(wide) - width
            wide[column] -= min(max(over, 0), max(wide[column] - least, 0))
        return wide


OPERATIONS = Titles(
    ("Operation", "Calls/s", "Calls ok", "Att. ok", "Retries", "p50", "p99", "Errors"), range(1, 8), ((0, 12),)
)
FAILURES = Titles(("Ago", "Operation", "Outcome", "Took", "Why"), (0, 3), ((4, 40), (2, 12), (1, 10), (4, 10)))

Data = Mapping[str, Any]


class Line(NamedTuple):
    """One row of a table."""

    key: str
    cells: tuple[str, ...]
    tone: str = ""
    haystack: str = ""


def make_line(key: str, cells: Iterable[object], tone: str = "", more: str = "") -> Line:
    shown = tuple(clean(cell) for cell in cells)
    return Line(key, shown, tone, " ".join((*shown, clean(more))).lower())


def fitting(lines: Iterable[Line], find: str) -> list[Line]:
    """Those that hold every word of the filter."""
    words = find.lower().split()
    return [line for line in lines if all(word in line.haystack for word in words)]


def rows_of(data: Data, name: str) -> list[Data]:
    rows = data.get(name)
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


# -- operations ----------------------------------------------------------------------------------------------------


def recent(rate: Any) -> float:
    """Calls a second: the mean of the last five whole seconds, for the present one is not over."""
    before = [each for each in rate[-6:-1] if isinstance(each, (int, float))] if isinstance(rate, list) else []
    return sum(before) / len(before) if before else 0.0


def _errors(op: Data) -> float:
    errors = op.get("errors")
    return sum(each for each in errors if isinstance(each, (int, float))) if isinstance(errors, list) else 0.0


def _kind(op: Data, kind: str) -> float:
    kinds = op.get("attempts")
    found = kinds.get(kind) if isinstance(kinds, Mapping) else None
    return found if isinstance(found, (int, float)) else 0.0


SORTS: Mapping[str, Callable[[Data], float]] = {
    "errors": _errors,
    "calls/s": lambda op: recent(op.get("rate")),
    "p99": lambda op: op.get("p99_ms") or 0.0,
    "retries": lambda op: _kind(op, "retry"),
    "name": lambda op: 0.0,
}
"""How operations may be ordered, the largest first; by name where that is equal."""


def operations(snapshot: Data, sort: str = "errors", find: str = "") -> list[Line]:
    """Every operation of every pipeline; shares, quantiles and errors are of the last minute."""
    key = SORTS[sort]
    ordered = sorted(rows_of(snapshot, "ops"), key=lambda op: (-key(op), str(op.get("op")), str(op.get("pipeline"))))
    return fitting(map(_operation, ordered), find)


def _operation(op: Data) -> Line:
    failed, name, pipeline = _errors(op), clean(op.get("op")), clean(op.get("pipeline"))
    title = f"{name} ({pipeline})" if pipeline else name  # the name first: it is what a narrow terminal has room for
    cells = (
        title, count(round(recent(op.get("rate")), 1)), percent(op.get("effective")),
        percent(op.get("actual")), count(_kind(op, "retry")), ms(op.get("p50_ms")), ms(op.get("p99_ms")), count(failed),
    )  # fmt: skip
    return make_line(f"{pipeline}/{name}", cells, "bad" if failed else "")


def headline(snapshot: Data) -> str:
    """The last minute in one line of less than 80 characters."""
    now = snapshot.get("headline")
    now = now if isinstance(now, Mapping) else {}
    return (
        f"{count(round(now.get('rate') or 0.0, 1))}/s  ok {percent(now.get('effective'))}"
        f" (attempts {percent(now.get('actual'))})  p50 {ms(now.get('p50_ms'))}  p99 {ms(now.get('p99_ms'))}"
        f"  backoff {percent(now.get('backoff_share'))}"
    )


# -- failures ------------------------------------------------------------------------------------------------------


def failures(traces: Iterable[Data], now: float | None = None, find: str = "") -> list[Line]:
    """Summaries of calls as they come (newest first); `now` in epoch milliseconds."""
    here = time.time() * 1000 if now is None else now
    return fitting((_failure(trace, here) for trace in traces), find)


def _failure(trace: Data, now: float) -> Line:
    outcome, error = clean(trace.get("outcome")), clean(trace.get("error_type"))
    said = error if error and outcome != "ok" else outcome
    why = trace.get("why") or f"{count(trace.get('attempts'))} attempts"
    cells = (ago(trace.get("start"), now), trace.get("op"), said, ms(trace.get("duration_ms")), why)
    tone = {"ok": "ok", "cancelled": "", "refused": "warn", "throttled": "warn"}.get(outcome, "bad")
    more = f"{trace.get('pipeline')} {trace.get('service')} {outcome} {trace.get('reason')}"
    return make_line(str(trace.get("trace_id")), cells, tone, more)
