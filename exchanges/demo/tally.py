"""What the demonstration counts: an observer of the pipelines, and the outcomes that reach the caller."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from resilience import Refused, TimedOut
from resilience.events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Event, StateChanged

from ..errors import ApiError, TransportError

__all__ = ["BAD_PAYLOADS", "Bar", "Story", "Tally", "outcome_of", "quantile"]

BAD_PAYLOADS = frozenset({"protocol", "body_cut", "body_too_large", "encoding", "unframed", "bad_payload"})
_MOST_STORIES = 5000


def outcome_of(error: Exception) -> str:
    """What an error is to the caller: ``timeout``, ``reset``, ``bad payload``, ``refused`` or ``exchange error``."""
    if isinstance(error, TimedOut):
        return "timeout"
    if isinstance(error, Refused):
        return "refused"
    if isinstance(error, TransportError):
        if error.reason in BAD_PAYLOADS:
            return "bad payload"
        if error.reason.startswith("http_"):
            return "exchange error"
        return "timeout" if "timeout" in error.reason else "reset"
    if isinstance(error, ApiError):
        return "exchange error"
    raise error


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie; 0 where there are none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(slots=True)
class Bar:
    """One attempt in a waterfall; times are in seconds on the loop's clock."""

    number: int
    kind: str
    begun: float
    ended: float = 0.0
    reason: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Story:
    """One call: its operation, when it ran, and its attempts."""

    op: str
    begun: float
    ended: float = 0.0
    bars: list[Bar] = field(default_factory=list)
    ok: bool = False


class Tally:
    """Counts per operation, and keeps the calls that were retried so that one of them can be drawn."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.succeeded: Counter[str] = Counter()
        self.retried: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.latencies: defaultdict[str, list[float]] = defaultdict(list)
        self.causes: Counter[str] = Counter()
        self.changes: list[StateChanged] = []
        self.stories: list[Story] = []
        self._running: dict[int, Story] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, AttemptStarted):
            story = self._running[id(event.call.attempts)]
            attempt = event.attempt
            story.bars.append(Bar(attempt.number, attempt.kind, event.at, notes=attempt.notes))
        elif isinstance(event, AttemptEnded):
            self._attempt_ended(event)
        elif isinstance(event, CallStarted):
            self._running[id(event.call.attempts)] = Story(event.call.op.name, event.at)
        elif isinstance(event, CallEnded):
            self._call_ended(event)
        elif isinstance(event, StateChanged):
            self.changes.append(event)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        story = self._running[id(event.call.attempts)]
        bar = next(bar for bar in story.bars if bar.number == event.attempt.number)
        bar.ended = event.at
        self.attempts[story.op] += 1
        if event.error is not None:
            reason = event.verdict.reason if event.verdict else getattr(event.error, "reason", "cancelled")
            bar.reason = reason
            self.causes[reason] += 1

    def _call_ended(self, event: CallEnded) -> None:
        story = self._running.pop(id(event.call.attempts))
        story.ended, story.ok = event.at, event.error is None
        self.calls[story.op] += 1
        self.succeeded[story.op] += story.ok
        self.latencies[story.op].append(story.ended - story.begun)
        if len(story.bars) > 1:
            self.retried[story.op] += 1
            if len(self.stories) < _MOST_STORIES:
                self.stories.append(story)

    def most_telling(self) -> Story | None:
        """The call to draw: it survived, and shows the most attempts and waits."""
        survivors = [story for story in self.stories if story.ok]
        return max(survivors, key=lambda story: (len(story.bars), story.ended - story.begun), default=None)
