"""What the overview shows of the calls of one pipeline, and what changed there lately.

Calls are counted once, by the `Metrics` that observe the pipeline anyway; a tally only reads them, and keeps the last
changes of state. A `Row` is the same for calls of other processes, counted from their spans.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..call import Handler
from ..events import StateChanged
from ..telemetry.histograms import CELLS, FINE
from ..telemetry.measures import Operation
from ..telemetry.recent import Mark, Recent

if TYPE_CHECKING:
    from ..kit import Kit
    from ..pipeline import Pipeline
    from ..telemetry.metrics import Metrics


__all__ = ["KINDS", "OUTCOMES", "Row", "Tally"]

OUTCOMES = ("ok", "rejected", "throttled", "failed", "unknown", "refused", "cancelled")
KINDS = ("original", "retry", "hedge", "probe")
_MOST_HISTORIES = 1_024
_HISTORY = 20


class Row:
    """One operation of a pipeline elsewhere. Its times are on a clock of its owner's, in seconds.

    `calls` and what ended them, `attempts` by kind, how many of those that went out were answered well (`good`) and
    not (`bad`), the seconds in calls and in backoff. Numbers are weighted, for they come from a sample.
    """

    __slots__ = ("attempts", "backoff", "bad", "buckets", "calls", "errors", "good", "kinds", "ok", "op", "outcomes",
                 "pipeline", "recent", "seconds")  # fmt: skip

    def __init__(self, pipeline: str, op: str) -> None:
        self.pipeline, self.op = pipeline, op
        self.calls: float = 0
        self.errors: float = 0  # calls that ended neither well nor by the caller's own wish
        self.outcomes: dict[str, float] = dict.fromkeys(OUTCOMES, 0)
        self.kinds: dict[str, float] = dict.fromkeys(KINDS, 0)  # of attempts
        self.good: float = 0
        self.bad: float = 0
        self.seconds = self.backoff = 0.0
        self.buckets: list[float] = [0] * CELLS
        self.recent = Recent(self)

    def turn_if_due(self, now: float) -> None:
        """In a new second, before anything is added."""
        if now >= self.recent.due:
            self.recent.turn(now)

    def ended(self, now: float, seconds: float, outcome: str = "ok", weight: float = 1) -> None:
        """A call ended after so many seconds."""
        self.turn_if_due(now)
        self.calls += weight
        self.seconds += seconds * weight
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + weight
        if outcome not in ("ok", "cancelled"):
            self.errors += weight
        self.buckets[bisect_left(FINE, seconds)] += weight

    def remember(self) -> Recent:
        """Its last minute."""
        return self.recent

    @property
    def stamp(self) -> tuple[float, ...]:
        """Differs when anything was counted."""
        return (self.calls,)

    def mark(self) -> Mark:
        """How far it has come."""
        outcomes, attempts = self.outcomes, sum(self.kinds.values())
        return Mark(
            self.calls, outcomes["ok"], self.errors, outcomes["cancelled"], self.good, self.bad, attempts, self.seconds,
            self.backoff,
        )  # fmt: skip

    def cells(self) -> list[float]:
        """How long calls took."""
        return self.buckets


class Tally:
    """Reads what `metrics` count of one pipeline, and remembers what changed there.

    It stands around the pipeline's calls so as not to be told of each of them, and adds nothing to any.
    """

    def __init__(self, pipeline: Pipeline, metrics: Metrics) -> None:
        self.pipeline = pipeline
        self.metrics = metrics
        self.now: Callable[[], float] = time.monotonic
        self.version = 0  # of what changed besides counts
        self.history: dict[tuple[str, str], deque[dict[str, Any]]] = {}
        metrics.remember()

    @property
    def operations(self) -> list[Operation]:
        """What is counted, also of other pipelines of the same name."""
        return self.metrics.of(self.pipeline.name)

    def __call__(self, event: Any) -> None:
        """Changes only."""
        if type(event) is StateChanged:
            self.changed(event.kind, event.key, event.old, event.new, event.cause)

    def changed(self, kind: str, key: str, old: str, new: str, cause: str) -> None:
        """Remember the last few changes of each thing."""
        ring = self.history.get((kind, key))
        if ring is None:
            if len(self.history) >= _MOST_HISTORIES:
                del self.history[next(iter(self.history))]
            ring = self.history[kind, key] = deque(maxlen=_HISTORY)
        ring.append({"at": time.time() * 1000, "old": old, "new": new, "cause": cause})
        self.version += 1

    def around_call(self, next: Handler, kit: Kit) -> Handler:
        self.now = kit.now
        return next

    def around_attempt(self, next: Handler, kit: Kit) -> Handler:
        return next
