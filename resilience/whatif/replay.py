"""The world of recorded traffic: the calls that were made, and attempts like those that were made about that time.

An attempt is drawn from the recorded ones of its operation nearest in time (a local bootstrap), each by its weight. So
a bad minute stays a bad minute, two runs with other dice differ as two such days would, and a candidate that makes more
attempts than were recorded still gets an answer to each.

What the recording cannot know is not made up silently: an attempt that was cut off goes on as the other answers of its
operation did that took longer (or hangs, if none did), and recorded latencies do not react to load.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate

from ..call import Op
from ..estimates import Curve, Sample
from ..lint.facts import repeatable
from ..recorded import Attempt, Call, Recording
from ..verdict import Kind, Verdict
from .dice import Dice
from .faults import HANG, SimulatedError, error_of
from .world import Answer, Arrival, Target, Trouble

__all__ = ["Replay"]

_NEAREST = 25
_COPIES, _WHEN = 1, 2  # questions to the dice about a call
_WHICH, _LONGER = 3, 4  # and about an attempt
_CUT = ("timeout", "deadline_exceeded")
_SICK = 0.5  # of the attempts in a second
_FEWEST = 5  # attempts in a second that say anything
_KINDS = {kind.value: kind for kind in Kind}


class Replay:
    """Candidates are tried on what was recorded.

    `writes` names operations that may not happen twice, beside those that are called like an order.
    """

    def __init__(self, recording: Recording, writes: Collection[str] = (), *, seconds: float | None = None) -> None:
        last = recording.calls[-1].start if recording.calls else 0.0
        self.seconds = last + 1e-9 if seconds is None else min(seconds, last + 1e-9)
        self.source = f"{len(recording.calls)} recorded calls of {recording.file}"
        self._calls = [call for call in recording.calls if call.start < self.seconds]
        names = [*recording.by_operation()]
        self._ops = {name: Op(name, idempotent=repeatable(name, writes)) for name in names}
        self._seen = {name: _Seen(calls) for name, calls in recording.by_operation().items()}
        self._rates = {
            name: sum(call.weight for call in calls) / max(recording.seconds, 1e-9)
            for name, calls in recording.by_operation().items()
        }
        self.troubles = [trouble for trouble in _troubles(recording) if trouble.begins < self.seconds]
        unknown = [name for name, seen in self._seen.items() if not seen.attempts]
        if unknown:  # nobody knows what would have become of them
            self.source += f" (without {', '.join(unknown)}, of which no attempt reached anybody)"

    def arrivals(self, dice: Dice) -> Sequence[Arrival]:
        """The recorded calls; one that stands for several comes as often, over the time in which those came."""
        found: list[Arrival] = []
        for number, call in enumerate(self._calls):
            if not self._seen[call.op].attempts:
                continue
            copies = int(call.weight + dice.throw(number, 0, _COPIES)) if call.weight != 1.0 else 1
            reach = call.weight / self._rates[call.op] if copies > 1 else 0.0
            for copy in range(copies):
                at = call.start + (dice.throw(number, copy, _WHEN) - 0.5) * reach
                found.append(Arrival(min(max(at, 0.0), self.seconds), self._ops[call.op], len(found)))
        found.sort(key=lambda arrival: arrival.at)
        return found

    def target(self, dice: Dice) -> Target:
        return _Again(self._seen, dice)


class _Seen:
    """The attempts of one operation that reached the other side, in the order of their times."""

    def __init__(self, calls: Sequence[Call]) -> None:
        weighed = [(a, call.weight) for call in calls for a in call.attempts if a.asked or _was_cut(a)]
        weighed.sort(key=lambda pair: pair[0].start)
        self.attempts = [attempt for attempt, _ in weighed]
        self.starts = [attempt.start for attempt in self.attempts]
        self.sums = [0.0, *accumulate(weight for _, weight in weighed)]
        self.curve = Curve(Sample(a.seconds, a.answered, weight) for a, weight in weighed)

    def near(self, now: float, chance: float) -> Attempt:
        """One of the nearest attempts in time, each by its weight."""
        middle = bisect_left(self.starts, now)
        low = min(max(middle - _NEAREST // 2, 0), max(len(self.attempts) - _NEAREST, 0))
        high = min(low + _NEAREST, len(self.attempts))
        wanted = self.sums[low] + chance * (self.sums[high] - self.sums[low])
        return self.attempts[min(max(bisect_right(self.sums, wanted) - 1, low), high - 1)]


class _Again:
    """The other side in one run."""

    def __init__(self, seen: dict[str, _Seen], dice: Dice) -> None:
        self._seen = seen
        self._dice = dice

    def answer(self, op: Op, now: float, call: int, attempt: int, fresh: bool) -> Answer:
        seen = self._seen[op.name]
        found = seen.near(now, self._dice.throw(call, attempt, _WHICH))
        if _was_cut(found) or (fresh and found.stale):
            return self._longer(seen.curve, 0.0 if found.stale else found.seconds, call, attempt, found.sent)
        if found.outcome == "ok":
            return Answer(found.seconds)
        kind = _KINDS.get(found.outcome, Kind.UNKNOWN)
        error = SimulatedError(Verdict(kind, found.error or found.outcome, found.ordered))
        return Answer(found.seconds, error, sent=found.sent, stale=found.stale)

    def _longer(self, curve: Curve, seconds: float, call: int, attempt: int, sent: bool) -> Answer:
        """How an attempt that was cut off after so many seconds would have gone on."""
        below = curve.within(seconds)
        when = curve.quantile(below + self._dice.throw(call, attempt, _LONGER) * (1.0 - below))
        if when is None or when <= seconds:
            return Answer(HANG, error_of("hang"), sent=sent)
        return Answer(when)


def _was_cut(attempt: Attempt) -> bool:
    """Ended by us, with nothing known of what the answer would have been."""
    return attempt.outcome == "cancelled" or attempt.error in _CUT


def _troubles(recording: Recording) -> list[Trouble]:
    """Two seconds or more, one after the other, in which half of the attempts or more failed."""
    counts: dict[int, list[float]] = {}
    for call in recording.calls:
        for attempt in call.attempts:
            if attempt.asked:
                count = counts.setdefault(int(attempt.start), [0, 0.0, 0.0])
                count[0] += 1
                count[1] += call.weight
                count[2] += call.weight * (attempt.outcome in ("failed", "unknown"))
    sick = [s for s, (seen, all_, bad) in sorted(counts.items()) if seen >= _FEWEST and bad >= _SICK * all_]
    found: list[Trouble] = []
    for second in sick:
        if found and second - found[-1].ends <= 1:  # a quiet second between belongs to it
            found[-1] = Trouble(found[-1].begins, second + 1.0)
        else:
            found.append(Trouble(float(second), second + 1.0))
    return [trouble for trouble in found if trouble.ends - trouble.begins >= 2]
