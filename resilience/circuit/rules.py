"""What trips a circuit, and what closes it again: the fields of `Breaker` that say so, with their arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple, TypeAlias

from .last import Last
from .window import Window

__all__ = ["Counts", "Rules"]

Counts: TypeAlias = Window | Last


class Rules(NamedTuple):
    """Fields of `Breaker`, by the same names; times in seconds, shares from 0 to 1."""

    failure_rate: float | None
    consecutive: int | None
    window: float | None
    min_calls: int
    open_for: float
    probes: int
    count_window: int | None = None
    slow_after: float | None = None
    slow_rate: float = 0.5
    probe_success: float = 1.0
    probe_lease: float = 60.0
    max_open_for: float = 300.0
    ramp: float = 0.0

    def windows(self) -> tuple[Counts, ...]:
        """New windows with nothing in them, one of time or one of count, or both in this order."""
        made: list[Counts] = []
        if self.window is not None:
            made.append(Window(self.window))
        if self.count_window is not None:
            made.append(Last(self.count_window))
        return tuple(made)

    def successes(self) -> int:
        """How many of the probes have to succeed: the fewest that are at least `probe_success` of them."""
        return next(least for least in count(1) if least / self.probes >= self.probe_success)

    def failing(self, windows: Sequence[Counts]) -> str | None:
        """Why the share of failures trips it; None if it does not. Asked after a failure."""
        rate = self.failure_rate
        if rate is not None:
            for window in windows:
                if window.calls >= min(self.min_calls, window.most) and window.sick / window.calls >= rate:
                    return f"{window.sick} of {window} failed"
        return None

    def slowing(self, windows: Sequence[Counts], under_way: int) -> str | None:
        """Why the slow calls trip it, those that are still under way among them; None if they do not."""
        for window in windows:
            calls, slow = window.calls + under_way, window.slow + under_way
            if calls >= min(self.min_calls, window.most) and slow / calls >= self.slow_rate:
                still = f" and {under_way} still under way" if under_way else ""
                return f"{window.slow} of {window}{still} were slow"
        return None
