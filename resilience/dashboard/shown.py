"""The operations of a snapshot, and its headline: worked out once, kept until something is counted or time moves on.

A snapshot is built on the event loop of the application, so the work for one is bounded: of the operations that have
changed, those are worked out anew that were longest not, and so many of them. The others are a moment older.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from ..telemetry.histograms import CELLS, quantiles
from ..telemetry.measures import Operation
from ..telemetry.recent import QUANTILES, Mark, Minute, Recent
from .tally import OUTCOMES, Row

__all__ = ["AT_ONCE", "Counted", "Line", "Shown"]

AT_ONCE = 25
_FRESH = 1.0  # seconds for which the headline's percentiles are good enough, where there are more operations than that
_longest_not = attrgetter("turn")
_EVERY = range(CELLS)
_NAMES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms")

Counted: TypeAlias = Operation | Row


class Line:
    """One operation as it was shown last."""

    __slots__ = ("cells", "count", "encoded", "minute", "now", "recent", "row", "seen", "turn", "where")

    def __init__(self, count: Counted) -> None:
        self.count = count
        self.recent: Recent = count.remember()
        self.seen: tuple[float, ...] = ()
        self.turn = -1
        self.now = 0.0  # on the clock of its owner
        self.minute = Minute(Mark(), [], [])
        self.row: Mapping[str, Any] = {}
        self.encoded = b""  # the row as JSON
        self.cells: Sequence[float] = ()  # the minute's histogram
        self.where: Sequence[int] = ()  # those of them that are not empty, few of many

    def stamp(self) -> tuple[float, ...]:
        """Differs when there is something new to show: counts, or a second has passed since calls of this minute."""
        passing = math.floor(self.now) if self.minute.added.calls or self.minute.added.attempts else 0
        return (*self.count.stamp, passing)

    def update(self, turn: int) -> None:
        self.minute = self.recent.minute(self.now)
        self.seen, self.turn = self.stamp(), turn
        self.row = _row(self.count, self.recent, self.minute)
        self.encoded = msgspec.json.encode(self.row)
        if self.cells is not self.recent.cells:
            self.cells = self.recent.cells
            self.where = list(compress(_EVERY, self.cells))


class Shown:
    """Remembers what it has shown."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._turn = 0
        self._percentiles: tuple[float, list[float | None]] = -math.inf, []

    def read(self, counted: Iterable[tuple[Iterable[Counted], float]]) -> tuple[dict[str, Any], list[Line]]:
        """``headline`` and what to show of ``ops``, of all that is counted and the time on the clock of each."""
        self._turn += 1
        known, lines = self._lines, {}
        for counts, now in counted:
            for count in counts:
                line = lines[id(count)] = known.get(id(count)) or Line(count)
                line.now = now
        self._lines, every, left = lines, list(lines.values()), AT_ONCE
        for line in sorted(every, key=_longest_not):
            if line.turn < 0:
                line.update(self._turn)
            elif not left:
                break
            elif line.seen != line.stamp():
                line.update(self._turn)
                left -= 1
        return self._headline(every), every

    def _headline(self, lines: Sequence[Line]) -> dict[str, Any]:
        now = lines[0].now if lines else 0.0
        lines = [line for line in lines if line.minute.added.calls or line.minute.added.attempts]
        added = Mark._make(map(sum, zip(*(line.minute.added for line in lines), strict=True))) if lines else Mark()
        since, percentiles = self._percentiles
        if len(lines) <= AT_ONCE or not since <= now < since + _FRESH:
            total = [0.0] * CELLS
            for line in lines:
                cells = line.cells
                for cell in line.where:
                    total[cell] += cells[cell]
            percentiles = quantiles(total, *QUANTILES)
            self._percentiles = now, percentiles
        return {
            "calls": added.calls,
            "effective": added.effective,
            "actual": added.actual,
            "attempts_per_call": added.attempts / added.calls if added.calls else None,
            "rate": added.calls / 60,
            **dict(zip(_NAMES, percentiles, strict=True)),
            "backoff_share": min(1.0, added.backoff / added.seconds) if added.seconds else None,
        }


def _row(count: Counted, recent: Recent, minute: Minute) -> Mapping[str, Any]:
    """Counts since the beginning; shares, percentiles and both lines of the last minute."""
    outcomes = dict.fromkeys(OUTCOMES, 0) | count.outcomes
    return {
        "pipeline": count.pipeline,
        "op": count.op,
        "calls": sum(outcomes.values()),
        "ok": outcomes["ok"],
        "effective": minute.added.effective,
        "actual": minute.added.actual,
        "attempts": dict(count.kinds),
        "outcomes": outcomes,
        **dict(zip(_NAMES, recent.percentiles, strict=True)),
        "rate": minute.rate,
        "errors": minute.errors,
    }
