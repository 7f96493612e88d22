"""One trace, explained: its tree, where each attempt's time went, what the call waited for, who won and why it ended.

The *critical path* is the chain of spans that the end waited for (as Jaeger has it): from the end backwards, the child
that ended last, then the one that had ended when it began. A hedge's loser is on it only until the winner began: from
then on nobody waited for it. The shares of the call's time are taken along that path, so they sum to one however many
attempts ran at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .rows import Span, epoch_ms
from .summary import Trace, error_of, number, outcome_of, text

__all__ = ["SEGMENTS", "analyse", "sentence"]

SEGMENTS = ("limiter", "queue", "pool", "connection", "dns", "connect", "tls", "first_byte", "body")
_KEYS = {
    name: f"resilience.{'wait' if name in ('limiter', 'queue', 'pool', 'connection') else 'phase'}.{name}"
    for name in SEGMENTS
}
_NETWORK = ("dns", "connect", "tls", "first_byte", "body")
_PAUSES = ("backoff", "retry_after")
_WAITS = (*_PAUSES, "limiter", "queue", "pool", "connection")


class Piece(NamedTuple):
    """A span's own part of the critical path, in nanoseconds since 1970."""

    span: Span
    begins: int
    ends: int


class Segment(NamedTuple):
    """A part of an attempt's time, in nanoseconds since 1970."""

    name: str
    begins: int
    ends: int


def analyse(trace: Trace) -> dict[str, Any]:
    """The JSON of one trace, as the dashboard's interface documents it."""
    tree = Tree(list(trace.spans.values()))
    call = trace.principal
    if call is None:
        raise ValueError(f"trace {trace.trace_id} has no span yet")
    begins = min(span.start_ns for span in tree.spans)
    ends = max(span.end_ns for span in tree.spans)
    path = critical_path(tree, call)
    why = trace.summary.why or _sentence(call, tree.attempts_of(call))
    return {
        "trace_id": trace.trace_id,
        "start": epoch_ms(begins),
        "duration_ms": (ends - begins) / 1e6,
        "summary": trace.summary.to_json(why),
        "why": why,
        "call": call.span_id,
        "cut": trace.cut,
        "shares": shares(tree, call, path),
        "critical": [
            [piece.span.span_id, (piece.begins - begins) / 1e6, (piece.ends - begins) / 1e6] for piece in path
        ],
        "spans": [_span(tree, span, begins) for span in tree.spans],
    }


def sentence(trace: Trace) -> str:
    """Why the trace's call went as it did, in words; "" for a trace without a call."""
    call = trace.principal
    if call is None or not call.is_call:
        return ""
    return _sentence(call, Tree(list(trace.spans.values())).attempts_of(call))


def _sentence(call: Span, attempts: Sequence[Span]) -> str:
    said = text(call, "resilience.why")
    if said or not call.is_call:
        return said
    try:
        from ..telemetry.why import why  # type: ignore[import-not-found,unused-ignore]

        return str(why(call.attributes, [a.attributes for a in attempts], (call.end_ns - call.start_ns) / 1e9))
    except Exception:  # attributes of a stranger may be anything
        return ""


# --------------------------------------------------------------------------------------------------------- the tree


class Tree:
    """The spans of a trace, parents before their children, whatever they claim to be children of.

    A span whose parent is not here is a root. Spans that are each other's ancestors have none; the first of them is
    made one.
    """

    def __init__(self, spans: Sequence[Span]) -> None:
        self._by_id = {span.span_id: span for span in spans}
        self.children: dict[str, list[Span]] = defaultdict(list)
        roots: list[Span] = []
        for span in sorted(spans, key=_order):
            is_root = span.parent_id not in self._by_id or span.parent_id == span.span_id
            (roots if is_root else self.children[span.parent_id]).append(span)
        self._above: dict[str, str] = {}  # a span to the one it hangs beneath, without circles
        self._call: dict[str, str] = {}  # a span to the nearest call around it
        self.spans: list[Span] = []
        for root in roots:
            self._walk(root)
        for span in sorted(spans, key=_order):
            if span.span_id not in self._above:
                self._walk(span)
        self.winners = {call.span_id: winner(self.attempts_of(call)) for call in spans if call.is_call}

    def _walk(self, root: Span) -> None:
        stack = [(root, "")]
        while stack:
            span, above = stack.pop()
            if span.span_id in self._above:
                continue  # the circle closes here
            self._above[span.span_id] = above
            parent = self._by_id.get(above)
            self._call[span.span_id] = above if parent is not None and parent.is_call else self._call.get(above, "")
            self.spans.append(span)
            stack += [(child, span.span_id) for child in reversed(self.children[span.span_id])]

    def beneath(self, span: Span) -> Iterator[Span]:
        """The children, by when they began."""
        return (child for child in self.children[span.span_id] if self._above[child.span_id] == span.span_id)

    def call_of(self, span: Span) -> str:
        """The id of the nearest call around a span."""
        return self._call[span.span_id]

    def parent_of(self, span: Span) -> str:
        """The id of the span that it hangs beneath; what it claims, if that is not here."""
        return self._above[span.span_id] or (span.parent_id if span.parent_id not in self._by_id else "")

    def ours_around(self, span: Span) -> Span | None:
        """The innermost attempt or call of ours that a span is part of: itself, or the nearest above it."""
        found: Span | None = span
        while found is not None and not found.is_attempt and not found.is_call:
            found = self._by_id.get(self._above[found.span_id])
        return found

    def attempts_of(self, call: Span) -> list[Span]:
        """The attempts of one call, by number."""
        mine = [span for span in self.beneath(call) if span.is_attempt]
        return sorted(mine, key=lambda span: (number(span, "resilience.attempt.number"), *_order(span)))


def _order(span: Span) -> tuple[int, int, str]:
    return span.start_ns, -span.end_ns, span.span_id


def is_lost(span: Span) -> bool:
    """Was it cancelled because another attempt answered first?"""
    return text(span, "resilience.hedge") == "lost"


def winner(attempts: Sequence[Span]) -> Span | None:
    """The attempt whose answer the call gave: the last that ended well and was not cancelled."""
    won = [span for span in attempts if outcome_of(span) == "ok" and not is_lost(span)]
    return won[-1] if won else None


# ------------------------------------------------------------------------------------------------- the critical path


def critical_path(tree: Tree, root: Span) -> list[Piece]:
    """What the end of `root` waited for, from its beginning on: pieces that follow each other without a gap."""
    pieces: list[Piece] = []
    todo = [(root, root.start_ns, root.end_ns)]
    while todo:
        span, low, high = todo.pop()
        at = high
        for child, ends in _last_first(tree, span, high):
            begins = max(child.start_ns, low)
            if ends > at or ends <= begins:
                continue  # it ran beside what is on the path, or outside of its parent
            if ends < at:
                pieces.append(Piece(span, ends, at))
            todo.append((child, begins, ends))
            at = begins
        if at > low:
            pieces.append(Piece(span, low, at))
    return sorted(pieces, key=lambda piece: (piece.begins, piece.ends, piece.span.span_id))


def _last_first(tree: Tree, span: Span, high: int) -> list[tuple[Span, int]]:
    """The children and until when each was waited for, the last first."""
    won = tree.winners.get(span.span_id)
    found: list[tuple[Span, int]] = []
    for child in tree.beneath(span):
        ends = min(child.end_ns, high)
        if won is not None and is_lost(child):
            ends = min(ends, won.start_ns)
        found.append((child, ends))
    return sorted(found, key=lambda item: (item[1], item[0] is won, item[0].start_ns, item[0].span_id), reverse=True)


def shares(tree: Tree, call: Span, path: Sequence[Piece]) -> dict[str, float]:
    """Parts of the call's time by what it was spent on, along the critical path; the largest first, they sum to one."""
    total = call.end_ns - call.start_ns
    if total <= 0:
        return {}
    spent: Counter[str] = Counter()
    for piece in path:
        ours = tree.ours_around(piece.span)
        if ours is not None and ours.is_attempt:
            _spend_inside(spent, ours, piece)
        else:
            _spend_between(spent, [] if ours is None else tree.attempts_of(ours), piece)
    _explain(spent, call)
    return {
        name: spent[name] / total for name in sorted(spent, key=lambda name: (-spent[name], name)) if spent[name] > 0
    }


def _spend_inside(spent: Counter[str], attempt: Span, piece: Piece) -> None:
    for segment in segments(attempt):
        overlap = min(segment.ends, piece.ends) - max(segment.begins, piece.begins)
        if overlap > 0:
            spent[_kind_of(attempt, segment.name)] += overlap


def _kind_of(attempt: Span, name: str) -> str:
    """By what a segment's time is counted: the phases of a request together, and the rest of one that has no phases."""
    if name in _NETWORK:
        return "network"
    if name == "other" and attempt.kind == "client" and not any(_KEYS[n] in attempt.attributes for n in _NETWORK):
        return "network"
    return name


def _spend_between(spent: Counter[str], attempts: Sequence[Span], piece: Piece) -> None:
    """Time of the call itself: the pause before the attempt that follows, as long as that says; the rest is `other`."""
    left = piece.ends - piece.begins
    following = next((span for span in attempts if span.start_ns == piece.ends), None)
    if following is not None:
        for name in _PAUSES:
            took = min(left, _nanoseconds(following, f"resilience.wait.{name}"))
            spent[name] += took
            left -= took
    spent["other"] += left


def _explain(spent: Counter[str], call: Span) -> None:
    """What no attempt accounts for, but the call does: a pause after the last attempt, a wait before the first."""
    for name in _WAITS:
        missing = _nanoseconds(call, f"resilience.wait.{name}") - spent[name]
        took = min(max(missing, 0), spent["other"])
        spent[name] += took
        spent["other"] -= took


# -------------------------------------------------------------------------------------------------------- one span


def segments(span: Span) -> list[Segment]:
    """An attempt's time in the order in which things happen, cut at its end; what is left is `other`."""
    found: list[Segment] = []
    at = span.start_ns
    for name in SEGMENTS:
        took = min(_nanoseconds(span, _KEYS[name]), span.end_ns - at)
        if took > 0:
            found.append(Segment(name, at, at + took))
            at += took
    if at < span.end_ns:
        found.append(Segment("other", at, span.end_ns))
    return found


def _nanoseconds(span: Span, key: str) -> int:
    seconds = number(span, key)
    return round(min(seconds, 1e9) * 1e9) if seconds > 0 else 0


def _span(tree: Tree, span: Span, zero: int) -> dict[str, Any]:
    role = "call" if span.is_call else "attempt" if span.is_attempt else "other"
    is_attempt = role == "attempt"
    call = tree.call_of(span)
    return {
        "span_id": span.span_id,
        "parent_id": tree.parent_of(span),
        "name": span.name,
        "kind": span.kind,
        "service": span.service,
        "instance": span.instance,
        "start_ms": (span.start_ns - zero) / 1e6,
        "duration_ms": (span.end_ns - span.start_ns) / 1e6,
        "status": span.status,
        "role": role,
        "call": call,
        "number": int(number(span, "resilience.attempt.number")) if is_attempt else None,
        "attempt_kind": text(span, "resilience.attempt.kind") or None,
        "outcome": outcome_of(span),
        "winner": is_attempt and tree.winners.get(call) is span,
        "lost": is_lost(span),
        "error_type": error_of(span) or None,
        "attributes": span.attributes,
        "links": [{"trace_id": trace_id, "span_id": span_id} for trace_id, span_id in span.links],
        "segments": [
            {"name": name, "start_ms": (begins - zero) / 1e6, "duration_ms": (ends - begins) / 1e6}
            for name, begins, ends in (segments(span) if is_attempt else ())
        ],
        "wait_before": _wait_before(span) if is_attempt else None,
        "stopped": text(span, "resilience.retry_stopped") or None,
    }


def _wait_before(span: Span) -> Mapping[str, Any] | None:
    """The pause before an attempt: whose it was, and its seconds."""
    pauses = {name: max(number(span, f"resilience.wait.{name}"), 0.0) for name in _PAUSES}
    why = text(span, "resilience.retry")
    if why not in (*_PAUSES, "transparent"):
        why = max(pauses, key=lambda name: pauses[name])
        if not pauses[why]:
            return None
    return {"why": why, "seconds": pauses.get(why, 0.0)}
