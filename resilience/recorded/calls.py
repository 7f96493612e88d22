"""Spans become calls and attempts again: what was asked, when, how long each attempt took and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ..dashboard.rows import Span
from ..dashboard.summary import error_of, number, outcome_of, text

__all__ = ["Attempt", "Call", "Recording", "recording_of"]

_ANSWERED = ("ok", "rejected")
_QUEUES = ("queue", "limiter")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt. `start` is in seconds since the recording began, `seconds` without our own queues and limiters.

    `outcome` is the verdict's word, ``refused`` or ``cancelled``; `error` the `error.type`; `kind` ``original``,
    ``retry``, ``hedge`` or ``probe``. `queued`: seconds in our own queues and limiters. `ordered`: the pause in
    seconds that the server asked for after it, None for none. `limit`: the server's own limit, as it told.
    """

    number: int
    kind: str
    start: float
    seconds: float
    outcome: str
    error: str
    sent: bool
    queued: float
    ordered: float | None
    limit: float | None
    stale: bool

    @property
    def answered(self) -> bool:
        """Did an answer end it, be it a refusal? What failed, was cut off or throttled would have taken longer."""
        return self.outcome in _ANSWERED

    @property
    def asked(self) -> bool:
        """Was the other side asked at all, and did not we ourselves refuse it?"""
        return self.outcome != "refused" and (self.sent or self.outcome != "cancelled")


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `start` is in seconds since the recording began; `weight` is how many calls it stands for."""

    op: str
    pipeline: str
    start: float
    seconds: float
    outcome: str
    error: str
    weight: float
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True)
class Recording:
    """Calls in the order in which they began; `seconds` from the first beginning to the last end.

    `sampled`: whether some calls were left out and others stand for them. `file` is where it came from.
    """

    file: str
    calls: Sequence[Call]
    seconds: float

    @property
    def sampled(self) -> bool:
        return any(call.weight != 1.0 for call in self.calls)

    @property
    def pipelines(self) -> list[str]:
        """The names of the pipelines, in alphabetical order."""
        return sorted({call.pipeline for call in self.calls})

    def of(self, pipeline: str) -> Recording:
        """The calls of one pipeline: of that name, or of an exchange's (``bybit.market`` for ``market``)."""
        own = [call for call in self.calls if call.pipeline == pipeline or call.pipeline.endswith(f".{pipeline}")]
        return Recording(self.file, own, self.seconds)

    def by_operation(self) -> dict[str, list[Call]]:
        """The calls of each operation, in alphabetical order."""
        found: dict[str, list[Call]] = {name: [] for name in sorted({call.op for call in self.calls})}
        for call in self.calls:
            found[call.op].append(call)
        return found


def recording_of(spans: Iterable[Span], file: str = "") -> Recording:
    """The calls among these spans; spans of other programs, and attempts whose call is missing, are left out."""
    calls: list[Span] = []
    beneath: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        if span.is_call:
            calls.append(span)
        elif span.is_attempt:
            beneath.setdefault((span.trace_id, span.parent_id), []).append(span)
    calls.sort(key=lambda span: (span.start_ns, span.trace_id, span.span_id))
    zero = calls[0].start_ns if calls else 0
    found = [_call(span, beneath.get((span.trace_id, span.span_id), ()), zero) for span in calls]
    last = max((span.end_ns for span in calls), default=0)
    return Recording(file, found, (last - zero) / 1e9)


def _call(span: Span, attempts: Sequence[Span], zero: int) -> Call:
    probability = number(span, "resilience.sampling.probability", 1.0)
    ordered = sorted(attempts, key=lambda each: number(each, "resilience.attempt.number"))
    return Call(
        op=text(span, "resilience.op") or span.name,
        pipeline=text(span, "resilience.pipeline"),
        start=(span.start_ns - zero) / 1e9,
        seconds=(span.end_ns - span.start_ns) / 1e9,
        outcome=outcome_of(span),
        error=error_of(span),
        weight=1.0 / probability if 0 < probability <= 1 else 1.0,
        attempts=[_attempt(each, after, zero) for each, after in zip_longest(ordered, ordered[1:])],
    )


def _attempt(span: Span, after: Span | None, zero: int) -> Attempt:
    queued = sum(max(number(span, f"resilience.wait.{queue}"), 0.0) for queue in _QUEUES)
    paused = None if after is None else after.attributes.get("resilience.wait.retry_after")
    limit = span.attributes.get("resilience.server_limit.limit")
    return Attempt(
        number=int(number(span, "resilience.attempt.number", 1)),
        kind=text(span, "resilience.attempt.kind") or "original",
        start=(span.start_ns - zero) / 1e9 + queued,
        seconds=max((span.end_ns - span.start_ns) / 1e9 - queued, 0.0),
        outcome=outcome_of(span),
        error=error_of(span),
        sent=span.attributes.get("resilience.attempt.sent") is not False,
        queued=queued,
        ordered=float(paused) if isinstance(paused, (int, float)) else None,
        limit=float(limit) if isinstance(limit, (int, float)) else None,
        stale=after is not None and text(after, "resilience.retry") == "transparent",
    )
