"""Exact counts of calls and attempts, with latency, in plain fields: what the overview shows of the last minute.

Everything counts up for ever; once a second, with the first call of that second, a row notes how far it had come. The
last minute is then a difference of two such marks, and a call pays for a few additions only.
"""

from __future__ import annotations

import logging
import math
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate
from operator import add, attrgetter, sub
from typing import TYPE_CHECKING, Any

from ..call import Call, Handler
from ..errors import Refused
from ..events import StateChanged, Waiting

if TYPE_CHECKING:
    from ..kit import Kit
    from ..pipeline import Pipeline

__all__ = ["KINDS", "OUTCOMES", "WAITS", "Lately", "Row", "Tally", "outcome_of", "quantiles"]

SECONDS = 60
OUTCOMES = ("ok", "rejected", "throttled", "failed", "unknown", "refused", "cancelled")
KINDS = ("original", "retry", "hedge", "probe")
WAITS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, math.inf)  # seconds: upper edges of the histogram of waits
_MOST_OPS = 512  # of one pipeline; calls of further ones are counted together
_OTHERS = "(others)"
_MOST_HISTORIES = 1_024
_HISTORY = 20
_STEPS = 8  # of the histogram, a power of two: one step is 9 %
_LEAST = -15  # 2 ** -15 s is 30 us; what is shorter counts as this
_BUCKETS = 23 * _STEPS  # up to 2 ** 8 s, four minutes
_VALUES = [2.0 ** (_LEAST + (i + 0.5) / _STEPS) * 1000 for i in range(_BUCKETS)]  # milliseconds, amid each step
_EMPTY: list[float] = [0] * _BUCKETS
_IDLE: list[float] = [0] * SECONDS
_COPY_EVERY = 10  # seconds
_CALLS, _ERRORS = attrgetter("calls"), attrgetter("errors")
_EDGES = [2.0 ** (_LEAST + (i + 1) / _STEPS) for i in range(_BUCKETS - 1)]

_log = logging.getLogger("resilience")


class Row:
    """One operation of one pipeline. Its times are on a clock of its owner's, in seconds.

    `calls` and what ended them, `attempts` by kind, how many of those that went out were answered well (`good`) and
    not (`bad`), the seconds in calls and in backoff. Numbers are weighted where they come from a sample.
    """

    __slots__ = ("_copied", "_copy_at", "_marks", "_next", "attempts", "backoff", "bad", "buckets", "calls", "errors",
                 "good", "ok", "op", "outcomes", "seconds")  # fmt: skip

    def __init__(self, op: str) -> None:
        self.op = op
        self.calls: float = 0
        self.ok: float = 0
        self.errors: float = 0  # calls that ended neither well nor by the caller's own wish
        self.outcomes: dict[str, float] = dict.fromkeys(OUTCOMES, 0)  # but for ok, which has a field of its own
        self.attempts: dict[str, float] = dict.fromkeys(KINDS, 0)
        self.good: float = 0
        self.bad: float = 0
        self.seconds = self.backoff = 0.0
        self.buckets: list[float] = [0] * _BUCKETS
        self._marks: deque[_Mark] = deque(maxlen=SECONDS)
        self._next = self._copy_at = -math.inf
        self._copied = self.buckets

    def ended(self, now: float, seconds: float, outcome: str = "ok", weight: float = 1) -> None:
        """A call ended after so many seconds."""
        self.turn_if_due(now)
        self.calls += weight
        self.seconds += seconds * weight
        if outcome == "ok":
            self.ok += weight
        else:
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + weight
            if outcome != "cancelled":
                self.errors += weight
        self.buckets[bisect_left(_EDGES, seconds)] += weight

    def turn_if_due(self, now: float) -> None:
        """In a new second, before anything is added: note how far it has come, for each second since the last time."""
        if now < self._next:
            return
        second = math.floor(now)
        missed = SECONDS if self._next == -math.inf else min(SECONDS, int(second - self._next) + 1)
        if second >= self._copy_at:  # copies of the histogram are large: one in ten seconds
            self._copy_at, self._copied = second + _COPY_EVERY, self.buckets.copy()
        self._marks.extend([_Mark(self, self._copied)] * missed)
        self._next = second + 1

    def lately(self, now: float, total: Lately) -> tuple[Lately, list[float], list[float]]:
        """What the last minute added, and calls and errors of each of its seconds; added to a `total`, too."""
        self.turn_if_due(now)
        end = _Mark(self, self.buckets)
        marks = [*self._marks, end]
        first, mine = marks[0], Lately()
        if first.calls == end.calls and first.good == end.good and first.bad == end.bad:
            return mine, _IDLE, _IDLE
        buckets = list(map(sub, end.buckets, first.buckets))
        mine.add(first, end, buckets)
        total.add(first, end, buckets)
        calls = list(map(_CALLS, marks))
        errors = list(map(_ERRORS, marks)) if mine.errors else [0] * len(marks)
        return mine, list(map(sub, calls[1:], calls)), list(map(sub, errors[1:], errors))


class _Mark:
    """How far a row had come."""

    __slots__ = ("attempts", "backoff", "bad", "buckets", "calls", "cancelled", "errors", "good", "ok", "seconds")

    def __init__(self, row: Row, buckets: list[float]) -> None:
        self.calls, self.ok, self.errors = row.calls, row.ok, row.errors
        self.cancelled = row.outcomes["cancelled"]
        self.good, self.bad, self.attempts = row.good, row.bad, sum(row.attempts.values())
        self.seconds, self.backoff = row.seconds, row.backoff
        self.buckets = buckets


class Lately:
    """What the last minute added to a row, or to several."""

    __slots__ = ("attempts", "backoff", "bad", "buckets", "calls", "cancelled", "errors", "good", "ok", "seconds")

    def __init__(self) -> None:
        self.calls: float = 0
        self.ok: float = 0
        self.errors: float = 0
        self.cancelled: float = 0
        self.good: float = 0
        self.bad: float = 0
        self.attempts: float = 0
        self.seconds = self.backoff = 0.0
        self.buckets: list[float] = _EMPTY

    def add(self, first: _Mark, last: _Mark, buckets: list[float]) -> None:
        """What lies between two marks of a row, with its histogram."""
        self.calls += last.calls - first.calls
        self.ok += last.ok - first.ok
        self.errors += last.errors - first.errors
        self.cancelled += last.cancelled - first.cancelled
        self.good += last.good - first.good
        self.bad += last.bad - first.bad
        self.attempts += last.attempts - first.attempts
        self.seconds += last.seconds - first.seconds
        self.backoff += last.backoff - first.backoff
        self.buckets = buckets if self.buckets is _EMPTY else list(map(add, self.buckets, buckets))

    @property
    def effective(self) -> float | None:
        """The share of calls that succeeded; those that their callers gave up say nothing."""
        ended = self.calls - self.cancelled
        return self.ok / ended if ended > 0 else None

    @property
    def actual(self) -> float | None:
        """The share of attempts that succeeded, of those that went out and came back."""
        answered = self.good + self.bad
        return self.good / answered if answered > 0 else None


def quantiles(buckets: Sequence[float], *which: float) -> list[float | None]:
    """Milliseconds; None where there was nothing. Each is within 5 % of a sample."""
    below = list(accumulate(buckets))
    if not below or below[-1] <= 0:
        return [None] * len(which)
    return [_VALUES[min(bisect_left(below, q * below[-1] - 1e-9), _BUCKETS - 1)] for q in which]


class Tally:
    """Counts the calls of one pipeline, standing around them, and remembers what changed.

    Whatever goes wrong in here, the call never feels it.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.rows: dict[str, Row] = {}
        self.now: Callable[[], float] = time.monotonic
        self.version = 0  # of what changed besides counts
        self.history: dict[tuple[str, str], deque[dict[str, Any]]] = {}
        self.reports: dict[str, tuple[Any, float]] = {}  # by operation: what the server said of its limit, and when
        self.waits = [0] * len(WAITS)  # of attempts, for a resource or a connection

    def __call__(self, event: Any) -> None:
        """Changes and waits; calls and attempts it sees for itself."""
        if type(event) is StateChanged:
            self.changed(event.kind, event.key, event.old, event.new, event.cause)
        elif type(event) is Waiting and event.seconds and event.why in ("backoff", "retry_after"):
            self.row(event.call.op.name).backoff += event.seconds

    def changed(self, kind: str, key: str, old: str, new: str, cause: str) -> None:
        """Remember the last few changes of each thing."""
        ring = self.history.get((kind, key))
        if ring is None:
            if len(self.history) >= _MOST_HISTORIES:
                del self.history[next(iter(self.history))]
            ring = self.history[kind, key] = deque(maxlen=_HISTORY)
        ring.append({"at": time.time() * 1000, "old": old, "new": new, "cause": cause})
        self.version += 1

    def row(self, op: str) -> Row:
        """The counts of one operation, ready to be added to."""
        rows = self.rows
        row = rows.get(op)
        if row is None:
            name = op if len(rows) < _MOST_OPS else _OTHERS
            row = rows.get(name)
            if row is None:
                row = rows[name] = Row(name)
        row.turn_if_due(self.now())
        return row

    def around_call(self, next: Handler, kit: Kit) -> Handler:
        now, judge, rows = kit.now, kit.judge, self.rows
        self.now = now

        async def run(call: Call) -> Any:
            begun = now()
            try:
                result = await next(call)
            except BaseException as error:
                try:
                    end = now()
                    self.row(call.op.name).ended(end, end - begun, outcome_of(error, judge, call))
                except Exception:
                    _log.exception("counting a call of %s failed; the call goes on", call.op.name)
                raise
            end = now()
            row = rows.get(call.op.name)
            if row is None or end >= row._next:
                row = self.row(call.op.name)
            row.calls += 1
            row.ok += 1
            row.seconds += end - begun
            row.buckets[bisect_left(_EDGES, end - begun)] += 1
            return result

        return run

    def around_attempt(self, next: Handler, kit: Kit) -> Handler:
        now, judge, rows = kit.now, kit.judge, self.rows

        async def run(call: Call) -> Any:
            try:
                result = await next(call)
            except BaseException as error:
                try:
                    self.attempt_failed(call, outcome_of(error, judge, call))
                except Exception:
                    _log.exception("counting an attempt of %s failed; the call goes on", call.op.name)
                raise
            row = rows.get(call.op.name)
            if row is None or now() >= row._next:
                row = self.row(call.op.name)
            row.good += 1
            attempt = call.made
            if attempt is None:
                row.attempts["original"] += 1
            else:
                row.attempts[attempt.kind] += 1
                if attempt.limits is not None or attempt.noted is not None:
                    self.noted(call, attempt)
            return result

        return run

    def attempt_failed(self, call: Call, outcome: str) -> None:
        """Refused and cancelled attempts say nothing about the other side."""
        row, attempt = self.row(call.op.name), call.attempt
        row.attempts[attempt.kind] = row.attempts.get(attempt.kind, 0) + 1
        if outcome not in ("refused", "cancelled"):
            row.bad += 1
        self.noted(call, attempt)

    def noted(self, call: Call, attempt: Any) -> None:
        """What an attempt learned of the server's limit, and how long it waited for a connection."""
        if attempt.limits is not None:
            self.reports[self.row(call.op.name).op] = attempt.limits, self.now()
        notes = attempt.noted
        if notes:
            waited = notes.get("wait.pool", 0.0) + notes.get("wait.connection", 0.0)
            if waited:
                self.waits[bisect_left(WAITS, waited)] += 1


def outcome_of(error: BaseException, judge: Callable[[Exception, Call], Any], call: Call) -> str:
    """The verdict's name, ``refused``, or ``cancelled``."""
    if not isinstance(error, Exception):
        return "cancelled"
    if isinstance(error, Refused):
        return "refused"
    verdict = judge(error, call)
    return "failed" if verdict is None else str(verdict.kind.value)
