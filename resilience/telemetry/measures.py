"""The plain fields that metrics are counted in: everything about one operation of one pipeline.

A record is an addition to a field, so it costs a tenth of a microsecond; names, labels and text are made when somebody
reads. How many there are of anything is derived from its histogram, which therefore cannot disagree with its own count.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from operator import add
from typing import Any, TypeVar

from ..call import Attempt, Call, LimitReport
from .histograms import BOUNDS, Durations, Example, Histogram
from .recent import Mark, Recent

__all__ = ["BOUNDS", "OTHER", "OTHER_ERROR", "Example", "Histogram", "HttpKey", "Operation", "bounded"]

OTHER = "_other"
"""The operation, pipeline or key that takes in all beyond the number that are told apart."""
OTHER_ERROR = "_OTHER"
"""The same for error types, as the conventions write it."""

_MOST_ERRORS = 50
_MOST_HTTP = 500
_WAITS = tuple((f"wait.{why}", why) for why in ("backoff", "retry_after", "queue", "limiter", "pool", "connection"))
_METHOD = "http.request.method"

K = TypeVar("K", bound=Hashable)
H = TypeVar("H", bound=Histogram)
HttpKey = tuple[str, str, int, int, str]
"""Method, server address, server port, status code (0: no answer), error type ("": none)."""


class Operation:
    """What became of the calls to one operation of one pipeline, and of their attempts.

    `begun` counts calls; `ok` has the durations of those that succeeded, `others` of the rest by outcome, `failures`
    the number of the rest by (outcome, error type). `attempt_ok`, `attempt_others` and `attempts` (by kind, outcome,
    error type) are the same for attempts, `originals` the first attempts that succeeded, which `attempts` leaves out.
    `waits`: by cause. `http`: requests by `HttpKey`. `connections`: by ``"new"`` and ``"reused"``. `limits`: what the
    server said last, `limits_at` when (the event loop's time). `recent` tells of the last minute, is to be called
    when `due`, and is None as long as nobody asked for it. `ill` counts all that was not counted the short way.
    """

    __slots__ = (
        "attempt_ok", "attempt_others", "attempts", "begun", "connections", "due", "failures", "http", "ill", "limits",
        "limits_at", "ok", "op", "originals", "others", "pipeline", "recent", "waits",
    )  # fmt: skip

    def __init__(self, pipeline: str, op: str) -> None:
        self.pipeline, self.op = pipeline, op
        self.begun = self.originals = self.ill = 0
        self.ok, self.attempt_ok = Durations(), Histogram()
        self.others: dict[str, Durations] = {}
        self.attempt_others: dict[str, Histogram] = {}
        self.failures: dict[tuple[str, str], int] = {}
        self.attempts: dict[tuple[str, str, str], int] = {}
        self.waits: dict[str, Histogram] = {}
        self.http: dict[HttpKey, Histogram] = {}
        self.connections: dict[str, int] = {}
        self.limits: LimitReport | None = None
        self.limits_at = 0.0
        self.recent: Recent | None = None
        self.due = math.inf

    # -- recording: what a clean call needs is written out in `metrics`, all else is here ----------------------

    def call_failed(self, seconds: float, outcome: str, error_type: str) -> None:
        """A call ended otherwise than well."""
        self.ill += 1
        _in(self.others, outcome, Durations).record(seconds)
        key = bounded(self.failures, (outcome, error_type), (outcome, OTHER_ERROR), _MOST_ERRORS)
        self.failures[key] = self.failures.get(key, 0) + 1

    def attempt_failed(self, attempt: Attempt, seconds: float, outcome: str, error_type: str) -> None:
        """An attempt ended otherwise than well."""
        _in(self.attempt_others, outcome, Histogram).record(seconds)
        self._attempt(attempt.kind, outcome, error_type)

    def attempt_succeeded(self, attempt: Attempt) -> None:
        """An attempt that ended well and is no ordinary first one."""
        if attempt.kind == "original":
            self.originals += 1
        else:
            self._attempt(attempt.kind, "ok", "")

    def _attempt(self, kind: str, outcome: str, error_type: str) -> None:
        self.ill += 1
        other = (kind, outcome, OTHER_ERROR)
        key = bounded(self.attempts, (kind, outcome, error_type), other, 4 * _MOST_ERRORS)
        self.attempts[key] = self.attempts.get(key, 0) + 1

    def learn(self, attempt: Attempt, seconds: float, error_type: str, at: float) -> None:
        """What a transport told of its request, which took `seconds`; and what the server said `at` about its limit."""
        if attempt.limits is not None:
            self.limits, self.limits_at = attempt.limits, at
        noted = attempt.noted
        method = noted.get(_METHOD) if noted else None
        if noted is None or method is None:
            return
        address, port = str(noted.get("server.address", "")), int(noted.get("server.port", 0))
        status = int(noted.get("http.response.status_code", 0))
        key = (str(method), address, port, status, error_type)
        other = (OTHER_ERROR, OTHER, 0, 0, OTHER_ERROR if error_type else "")
        _in(self.http, bounded(self.http, key, other, _MOST_HTTP), Histogram).record(max(0.0, seconds))
        use = noted.get("connection")
        if use in ("new", "reused"):
            self.connections[use] = self.connections.get(use, 0) + 1

    def waited(self, call: Call) -> None:
        """All that a call that ended has waited for."""
        made = call.made
        for attempt in call.history or (() if made is None else (made,)):
            noted = attempt.noted
            if noted:
                for key, why in _WAITS:
                    seconds = noted.get(key)
                    if seconds:
                        _in(self.waits, why, Histogram).record(seconds)

    def turn(self, now: float) -> None:
        """A new second has begun: for `recent`, before anything is added."""
        if self.recent is not None:
            self.recent.turn(now)
            self.due = self.recent.due

    # -- reading ----------------------------------------------------------------------------------------------

    @property
    def outcomes(self) -> dict[str, int]:
        """Calls that ended, by outcome."""
        return {"ok": self.ok.count, **{outcome: found.count for outcome, found in list(self.others.items())}}

    @property
    def kinds(self) -> dict[str, int]:
        """Attempts that ended, by kind."""
        found = {"original": self.originals, "retry": 0, "hedge": 0, "probe": 0}
        for (kind, _, _), count in list(self.attempts.items()):
            found[kind] = found.get(kind, 0) + count
        return found

    def remember(self) -> Recent:
        """Keep the last minute from now on."""
        if self.recent is None:
            self.recent = Recent(self)
            self.due = self.recent.due
        return self.recent

    @property
    def stamp(self) -> tuple[float, ...]:
        """Differs when anything was counted. Costs less than to look what."""
        return self.begun, self.ok.sum, self.attempt_ok.sum, self.ill

    def mark(self) -> Mark:
        """How far it has come."""
        ok, good = self.ok.count, self.attempt_ok.count
        if not self.ill and not self.waits:
            return Mark(ok, ok, 0, 0, good, 0, good, self.ok.sum, 0.0)
        ended = {outcome: found.count for outcome, found in list(self.others.items())}
        lost = {outcome: found.count for outcome, found in list(self.attempt_others.items())}
        calls, cancelled = ok + sum(ended.values()), ended.get("cancelled", 0)
        attempts, silent = good + sum(lost.values()), lost.get("refused", 0) + lost.get("cancelled", 0)
        seconds = self.ok.sum + sum(found.sum for found in list(self.others.values()))
        backoff = sum(self.waits[why].sum for why in ("backoff", "retry_after") if why in self.waits)
        errors, bad = calls - ok - cancelled, attempts - good - silent
        return Mark(calls, ok, errors, cancelled, good, bad, attempts, seconds, backoff)

    def cells(self) -> Sequence[float]:
        """How long calls took, however they ended: the cells of a fine histogram. Not to be changed."""
        cells: Sequence[float] = self.ok.cells
        for found in list(self.others.values()):
            cells = list(map(add, cells, found.cells))
        return cells

    @property
    def active(self) -> int:
        """Calls under way."""
        return max(0, self.begun - sum(self.outcomes.values()))


def bounded(table: dict[K, Any], key: K, other: K, most: int) -> K:
    """The key itself while it has, or may still get, a place of its own in the table; else the one for all others."""
    return key if key in table or len(table) < most else other


def _in(table: dict[K, H], key: K, make: type[H]) -> H:
    found = table.get(key)
    if found is None:
        found = table[key] = make()
    return found
