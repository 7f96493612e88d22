"""How many attempts pay: those that succeed often enough to be worth their load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..estimates import share
from ..recorded import Attempt, Call
from .proposal import Proposal

__all__ = ["Tally", "attempts_for", "tally"]

PAYS = 0.10
"""An attempt pays if at least one in ten of its kind ends a call well."""
_LOST = 0.001  # calls that fail after the last attempt: below this share one more is not worth a line
_FEWEST = 30


@dataclass(frozen=True, slots=True)
class Tally:
    """Of the attempts with one number: how many there were (`seen`, by weight `made`), and how many an answer ended."""

    number: int
    seen: int
    made: float
    answered: float


def _counted(call: Call) -> list[Attempt]:
    """The attempts that a retry counts.

    Not hedges, which are not sent because one failed; nor those on a connection that was stale, which are sent again in
    secret and count as one with what follows.
    """
    return [
        attempt
        for attempt in call.attempts
        if attempt.kind != "hedge" and not attempt.stale and attempt.outcome not in ("refused", "cancelled")
    ]


def tally(calls: Sequence[Call]) -> list[Tally]:
    """The attempts by number, as a retry counts them."""
    counts: dict[int, list[float]] = {}
    for call in calls:
        for number, attempt in enumerate(_counted(call), 1):
            count = counts.setdefault(number, [0, 0.0, 0.0])
            count[0] += 1
            count[1] += call.weight
            count[2] += call.weight * attempt.answered
    return [Tally(number, int(seen), made, answered) for number, (seen, made, answered) in sorted(counts.items())]


def attempts_for(
    calls: Sequence[Call], now: int, confidence: float, slowest: float | None, deadline: float | None
) -> Proposal:
    """How many attempts, where there are `now`. `slowest`: the longest timeout of an attempt, under a `deadline`."""
    counts = tally(calls)
    total = sum(call.weight for call in calls)
    told = [
        f"attempt {t.number} was made {t.seen} times ({t.made / total:.2%} of calls) and answered in "
        f"{t.answered / t.made:.0%}"
        for t in counts[1:]
    ]

    def say(evidence: str, value: int | None = None) -> Proposal:
        text = None if value is None else str(value)
        said = f"{'; '.join(told)}. " if told else ""
        return Proposal("retry", ("attempts",), "", str(now), text, said[:1].upper() + said[1:] + evidence)

    if not told:
        return say("No call was retried: nothing can be said.")
    for count in counts[1:now]:
        if count.seen < _FEWEST:
            return say(f"Attempt {count.number} was made fewer than {_FEWEST} times: too few to judge by.")
        pays = share(count.answered / count.made * count.seen, count.seen, confidence)
        if pays.high < PAYS:
            return say(
                f"Attempt {count.number} is answered in {pays.high:.1%} at most, and pays from {PAYS:.0%} on.",
                count.number - 1,
            )
    if len(counts) < now:
        return say("Every attempt that was made pays.")
    ended = [call for call in calls if call.outcome in ("failed", "unknown") and len(_counted(call)) >= now]
    lost = sum(call.weight for call in ended)
    return say(*_one_more(lost / total, counts[now - 1], now, confidence, slowest, deadline))


def _one_more(
    lost: float, last: Tally, now: int, confidence: float, slowest: float | None, deadline: float | None
) -> tuple[str, int | None]:
    """Whether an attempt more than there are now would pay, and that number if so."""
    pays = share(last.answered / last.made * last.seen, last.seen, confidence)
    if lost < _LOST or pays.low < PAYS or last.seen < _FEWEST:
        return f"Every attempt pays, and {lost:.2%} of calls fail after the last: one more is not needed.", None
    if slowest is not None and deadline is not None and slowest * (now + 1) > deadline:
        return (
            f"One more would pay ({lost:.2%} of calls fail after the last), but {now + 1} attempts of "
            f"{slowest:g} s do not fit into the deadline of {deadline:g} s; shorten the timeouts first."
        ), None
    return (
        f"{lost:.2%} of calls fail after attempt {now}, which is still answered in {pays.low:.0%} at least: one "
        f"more would save about {lost * pays.value:.2%} of calls."
    ), now + 1
