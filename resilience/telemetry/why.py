"""Why a call went as it did, in one sentence: what each policy did, in words, from what the spans say.

"2 resets, waited 0.9 s and 2.3 s, third attempt on a new connection won; 61 % of the time was backoff."

It reads attributes and nothing else, so that it says the same in the process that made the call and in a dashboard that
was sent its spans. The words are plain text: whoever shows them escapes them. Codes and names of classes stay as they
are, without a plural or a capital of ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .words import ENDS, NOUNS, SHARES, STALE, STOPPED, article, capital, counted, listed, noun, ordinal, span_of

__all__ = ["why"]

Attributes = Mapping[str, Any]

_CLEAN = "Answered at the first attempt."
_WORTH_SAYING = 0.2  # of the call's time
_WORTH_NAMING = 0.001  # seconds
_TROUBLE = ("retried", "hedged", "failed", "refused")
_TELLING = frozenset(
    {
        "error.type", "resilience.cache", "resilience.coalesced", "resilience.fallback", "resilience.chaos",
        "resilience.retry_stopped", "resilience.hedge_stopped", "resilience.breaker.would_refuse",
        "resilience.shed.probability", "resilience.attempts.dropped", *(f"resilience.{key}" for key in SHARES),
    }
)  # fmt: skip


def why(call: Attributes, attempts: Sequence[Attributes], seconds: float) -> str:
    """One sentence about a call that took `seconds`: its span's attributes, and those of its attempts by number."""
    if len(attempts) == 1 and _clean(call, attempts[0]):
        return _CLEAN
    decisive = _decisive(call, attempts)
    parts = [
        *_troubles(attempts, decisive),
        *_waits(attempts),
        *_asides(attempts),
        _end(call, attempts, decisive),
        *_outlook(call, attempts),
    ]
    said = [capital(", ".join(parts)), *_unknown(call), *_shares(call, seconds)]
    return f"{'; '.join(said)}."


def _clean(call: Attributes, attempt: Attributes) -> bool:
    """Whether there is nothing to tell: most kept calls, and the cheapest to find out."""
    return (
        call.get("resilience.outcome") == "ok"
        and call.get("resilience.sampling.reason") not in ("slow", *_TROUBLE)
        and attempt.get("resilience.attempt.kind", "original") == "original"
        and attempt.get("resilience.breaker.state", "closed") == "closed"
        and _TELLING.isdisjoint(attempt)
        and _TELLING.isdisjoint(call)
    )


def _decisive(call: Attributes, attempts: Sequence[Attributes]) -> Attributes | None:
    """The attempt whose error is the call's: the last of that type, since a retry may raise an earlier one."""
    error = call.get("error.type")
    return next((a for a in reversed(attempts) if error and a.get("error.type") == error), None)


def _troubles(attempts: Sequence[Attributes], decisive: Attributes | None) -> Iterator[str]:
    """What went wrong, counted; without the attempt of which the sentence's end tells."""
    found = Counter(noun(str(a["error.type"])) for a in attempts if a.get("error.type") and a is not decisive)
    if found:
        yield listed([counted(what, count) for what, count in found.items()])


def _waits(attempts: Sequence[Attributes]) -> Iterator[str]:
    """The pauses between attempts: ours, and those that the server ordered."""
    for key, words in (("resilience.wait.backoff", "waited"), ("resilience.wait.retry_after", "waited as ordered")):
        pauses = [span_of(a[key]) for a in attempts if a.get(key, 0) >= _WORTH_NAMING]
        if pauses:
            yield f"{words} {listed(pauses)}"
    again = sum(a.get("resilience.retry") == "transparent" for a in attempts)
    if again:
        often = "" if again == 1 else f" {again} times"
        yield f"sent again at once{often} because a reused connection was dead"


def _asides(attempts: Sequence[Attributes]) -> Iterator[str]:
    """What policies did beside repeating."""
    struck = dict.fromkeys(str(a["resilience.chaos"]) for a in attempts if a.get("resilience.chaos"))
    if struck:
        yield f"chaos injected {listed([article(what) for what in struck])}"
    if any(a.get("resilience.breaker.would_refuse") is True for a in attempts):
        yield "a breaker in shadow would have refused"
    if any(a.get("resilience.breaker.state") == "half-open" and not a.get("error.type") for a in attempts):
        yield "a probe of a half-open circuit"
    if any(a.get("resilience.hedge_stopped") for a in attempts):
        yield "no further hedge because the budget was spent"


def _end(call: Attributes, attempts: Sequence[Attributes], decisive: Attributes | None) -> str:
    """How it ended, and at which attempt."""
    facts = (call, *attempts)
    instead = _replaced(facts)
    if instead:
        return instead
    outcome = str(call.get("resilience.outcome", "ok"))
    if call.get("resilience.coalesced"):
        if outcome == "cancelled":
            return "cancelled by the caller while it waited for another call's flight"
        shared = "shared the flight of another call"
        return f"{shared}, which answered" if outcome == "ok" else f"{shared}, which {_failed(call, outcome)}"
    if outcome == "ok":
        return _won(call, attempts)
    if outcome == "cancelled":
        return f"cancelled by the caller {_when_cancelled(attempts)}"
    return f"{_failed(call, outcome)}{_where(attempts, decisive, outcome)}"


def _replaced(facts: Sequence[Attributes]) -> str:
    """Another answer than the target's: from memory, or of a fallback."""
    for fact in facts:
        cache, replaced = fact.get("resilience.cache"), fact.get("resilience.fallback")
        if cache:
            age = fact.get("resilience.cache.age")
            old = "" if age is None else f", {span_of(age)} old"
            return f"answered from the cache{old}{STALE.get(str(cache), '')}"
        if replaced:
            age = fact.get("resilience.fallback.age")
            what = "a fallback" if age is None else f"the last good answer, {span_of(age)} old,"
            return f"{what} stood in for {replaced}"
    return ""


def _won(call: Attributes, attempts: Sequence[Attributes]) -> str:
    if not attempts:
        return "answered without an attempt"
    winner = next((a for a in reversed(attempts) if a.get("resilience.attempt.outcome") == "ok"), attempts[-1])
    lost = sum(a.get("resilience.hedge") == "lost" for a in attempts)
    fresh = " on a new connection" if winner.get("resilience.connection") == "new" and len(attempts) > 1 else ""
    nth = ordinal(winner.get("resilience.attempt.number", 1))
    if winner.get("resilience.attempt.kind") == "hedge":
        slower = "" if not lost else ", the slower attempt was cancelled" if lost == 1 else f", {lost} slower cancelled"
        return f"a hedge ({nth} attempt){fresh} won{slower}"
    if lost:
        return f"{nth} attempt{fresh} won over {'its hedge' if lost == 1 else f'{lost} hedges'}"
    if len(attempts) > 1:
        return f"{nth} attempt{fresh} won"
    return f"answered at the {nth} attempt{_only_kept(str(call.get('resilience.sampling.reason')))}"


def _only_kept(reason: str) -> str:
    """A call that went well and is shown all the same: is something about it worth a look?"""
    if reason == "slow":
        return ", slower than usual"
    return f", a call inside it was {'not answered' if reason == 'failed' else reason}" if reason in _TROUBLE else ""


def _when_cancelled(attempts: Sequence[Attributes]) -> str:
    if not attempts:
        return "before any attempt"
    last = attempts[-1]
    nth = ordinal(last.get("resilience.attempt.number", 1))
    return f"{'during' if last.get('resilience.attempt.outcome') == 'cancelled' else 'after'} the {nth} attempt"


def _failed(call: Attributes, outcome: str) -> str:
    error = str(call.get("error.type", "an error"))
    if error in ENDS:
        return ENDS[error]
    verb = {"rejected": "rejected", "throttled": "throttled"}.get(outcome, "failed")
    named = noun(error)
    return f"{verb} with {article(named) if error in NOUNS else named}"


def _where(attempts: Sequence[Attributes], decisive: Attributes | None, outcome: str) -> str:
    if not attempts:
        return " before any attempt" if outcome == "refused" else ""
    if len(attempts) > 1:
        last = decisive or attempts[-1]
        return f" at the {ordinal(last.get('resilience.attempt.number', 1))} attempt"
    return "" if attempts[0].get("resilience.attempt.sent", True) else " before anything was sent"


def _outlook(call: Attributes, attempts: Sequence[Attributes]) -> Iterator[str]:
    """Why nothing followed, and what is not shown."""
    if call.get("error.type"):
        stopped = next((str(a["resilience.retry_stopped"]) for a in reversed(attempts) if _stopped(a)), "")
        if stopped and not (stopped == "attempts_spent" and len(attempts) == 1):
            yield f"not repeated because {STOPPED.get(stopped, stopped)}"
    dropped = int(call.get("resilience.attempts.dropped", 0))
    if dropped:
        yield f"{dropped} attempt{'s' if dropped > 1 else ''} in between not shown"


def _unknown(call: Attributes) -> Iterator[str]:
    if call.get("resilience.outcome") == "unknown" and call.get("error.type"):
        yield "whether it was executed is not known"


def _stopped(attempt: Attributes) -> bool:
    return bool(attempt.get("resilience.retry_stopped"))


def _shares(call: Attributes, seconds: float) -> Iterator[str]:
    """What took more of the time than anything else that is not the target's own, if that was much."""
    spent = {words: float(call.get(f"resilience.{key}", 0.0)) for key, words in SHARES.items()}
    words, most = max(spent.items(), key=lambda item: item[1])
    if seconds > 0 and most >= _WORTH_NAMING and most / seconds >= _WORTH_SAYING:
        yield f"{100 * min(1.0, most / seconds):.0f} % of the time was {words}"
