"""The operations of a snapshot, and its headline: worked out once, kept until something is counted or time moves on.

A snapshot is built on the event loop of the application, so the work for one is bounded: of the operations that have
changed, those are worked out anew that were longest not, and so many of them. The others are a moment older.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ..telemetry.histograms import quantiles
from ..telemetry.measures import Operation
from ..telemetry.recent import QUANTILES, Mark, Minute, Recent
from .tally import OUTCOMES, Row

__all__ = ["AT_ONCE", "Shown"]

AT_ONCE = 32
_FRESH = 1.0  # seconds for which the headline's percentiles are good enough, where there are more operations than that
_NAMES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms")

Counted: TypeAlias = Operation | Row


class _Line:
    """One operation as it was shown last."""

    __slots__ = ("count", "minute", "recent", "row", "seen", "turn")

    def __init__(self, count: Counted) -> None:
        self.count = count
        self.recent: Recent = count.remember()
        self.seen: tuple[float, ...] = ()
        self.turn = -1
        self.minute = Minute(Mark(), [], [])
        self.row: Mapping[str, Any] = {}

    def stamp(self, now: float) -> tuple[float, ...]:
        """Differs when there is something new to show: counts, or a second has passed since calls of this minute."""
        passing = math.floor(now) if self.minute.added.calls or self.minute.added.attempts else 0
        return (*self.count.stamp, passing)

    def update(self, now: float, turn: int) -> None:
        self.minute = self.recent.minute(now)
        self.seen, self.turn = self.stamp(now), turn
        self.row = _row(self.count, self.recent, self.minute)


class Shown:
    """Remembers what it has shown."""

    def __init__(self) -> None:
        self._lines: dict[int, _Line] = {}
        self._turn = 0
        self._percentiles: tuple[float, list[float | None]] = -math.inf, []

    def read(self, counted: Sequence[tuple[Counted, float]]) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
        """``headline`` and ``ops``, of all that is counted and the time on the clock of each."""
        self._turn += 1
        known = self._lines
        self._lines = lines = {id(count): known.get(id(count)) or _Line(count) for count, _ in counted}
        old = [
            (line.turn, position)
            for position, (line, (_, now)) in enumerate(zip(lines.values(), counted, strict=True))
            if line.turn < 0 or line.seen != line.stamp(now)
        ]
        if len(old) > AT_ONCE:
            old = [pair for pair in old if pair[0] < 0] + sorted(pair for pair in old if pair[0] >= 0)[:AT_ONCE]
        every = list(lines.values())
        for _, position in old:
            every[position].update(counted[position][1], self._turn)
        return self._headline(every, counted[0][1] if counted else 0.0), [line.row for line in every]

    def _headline(self, lines: Sequence[_Line], now: float) -> dict[str, Any]:
        lines = [line for line in lines if line.minute.added.calls or line.minute.added.attempts]
        total = Mark._make(map(sum, zip(*(line.minute.added for line in lines), strict=True))) if lines else Mark()
        since, percentiles = self._percentiles
        if len(lines) <= AT_ONCE or not since <= now < since + _FRESH:
            cells = [
                sum(cell) for cell in zip(*(line.recent.cells for line in lines if line.recent.cells), strict=True)
            ]
            percentiles = quantiles(cells, *QUANTILES)
            self._percentiles = now, percentiles
        return {
            "calls": total.calls,
            "effective": total.effective,
            "actual": total.actual,
            "attempts_per_call": total.attempts / total.calls if total.calls else None,
            "rate": total.calls / 60,
            **dict(zip(_NAMES, percentiles, strict=True)),
            "backoff_share": min(1.0, total.backoff / total.seconds) if total.seconds else None,
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
