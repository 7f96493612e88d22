"""The rules: one small function each, pure, of the policies from the outermost to the innermost.

Every rule concerns a pair of policies and at most what stands between the two, so that a policy which joins outside or
inside cures nothing and makes no old finding read otherwise: `told` rests on that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..descriptor import kind_of

__all__ = ["RULES", "Finding", "check_order"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`rule` is its stable name; `message` says what is wrong, why, and the cure; `position` (from 0, the outermost) is
    that of the policy to move or to change.
    """

    rule: str
    message: str
    position: int


_Found: TypeAlias = Iterator[tuple[int, str]]  # the position, and the message


def _repeats(policy: Any) -> bool:
    """May one caller's call become several attempts? A retry of one attempt makes none; what a coalescing or a renewing
    cache sends is another call, whose record is its own.
    """
    repeats = getattr(policy, "repeats", False) and kind_of(policy) not in ("cache", "coalesce")
    return repeats and getattr(policy, "attempts", None) != 1


def _is_retry(policy: Any) -> bool:
    return kind_of(policy) == "retry" and _repeats(policy)


def _above(policies: Sequence[Any], outer: str, inner: Callable[[Any], bool]) -> Iterator[tuple[int, Any, Any]]:
    """Where an `outer` stands above an `inner`: its position, itself, and the nearest such beneath."""
    for position, policy in enumerate(policies):
        nearest = next(filter(inner, policies[position + 1 :]), None)
        if kind_of(policy) == outer and nearest is not None:
            yield position, policy, nearest


def _beneath(policies: Sequence[Any], inner: str, outer: Callable[[Any], bool]) -> Iterator[tuple[int, Any, Any]]:
    """Where an `inner` stands beneath an `outer`: its position, itself, and the nearest such above."""
    for position, policy in enumerate(policies):
        nearest = next(filter(outer, reversed(policies[:position])), None)
        if kind_of(policy) == inner and nearest is not None:
            yield position, policy, nearest


def _is(kind: str) -> Callable[[Any], bool]:
    return lambda policy: kind_of(policy) == kind


def _name(policy: object) -> str:
    return type(policy).__name__


def _timeout_above_deadline(policies: Sequence[Any]) -> _Found:
    for position, timeout, deadline in _beneath(policies, "timeout", _is("deadline")):
        for op in dict.fromkeys(("", *timeout.per_op, *deadline.per_op)):
            seconds, most = (policy.per_op.get(op, policy.seconds) for policy in (timeout, deadline))
            if seconds >= most:
                of = f" of {op}" if op else ""
                yield (
                    position,
                    f"the timeout{of}, {seconds:g} s, never comes: the deadline above it ends the whole call after "
                    f"{most:g} s; make the timeout so much shorter that a second attempt fits in",
                )


def _deadline_inside_retry(policies: Sequence[Any]) -> _Found:
    for position, _, outer in _beneath(policies, "deadline", _repeats):
        yield (
            position,
            f"Deadline beneath {_name(outer)} begins anew with each attempt, so nothing bounds the whole call; put it "
            f"above {_name(outer)}, and use Timeout for one attempt",
        )


def _retry_over_retry(policies: Sequence[Any]) -> _Found:
    for position, outer, inner in _above(policies, "retry", _is_retry):
        if _repeats(outer) and not outer.nested:  # which says that it is meant
            most = outer.attempts * inner.attempts
            yield (
                position,
                f"Retry above Retry: {outer.attempts} attempts of {inner.attempts} are up to {most} requests a call; "
                "keep the one that knows most",
            )


def _hedge_outside_retry(policies: Sequence[Any]) -> _Found:
    for position, hedge, retry in _above(policies, "hedge", _is_retry):
        most = (1 + hedge.extra) * retry.attempts
        yield (
            position,
            f"Hedge above Retry: every branch retries by itself, up to {most} requests a call; put Retry above Hedge",
        )


def _breaker_outside_retry(policies: Sequence[Any]) -> _Found:
    for position, _, inner in _above(policies, "breaker", _repeats):
        yield (
            position,
            f"Breaker above {_name(inner)} sees the call and not its attempts: it trips late, and does not stop the "
            f"attempts once it is open; put it beneath {_name(inner)}",
        )


def _rate_limit_outside_retry(policies: Sequence[Any]) -> _Found:
    for position, _, inner in _above(policies, "rate_limit", _repeats):
        yield (
            position,
            f"RateLimit above {_name(inner)} counts the call and not its attempts, so more is sent than the rate "
            f"allows; put it beneath {_name(inner)}",
        )


def _pool_outside_retry(policies: Sequence[Any]) -> _Found:
    for position, _, inner in _above(policies, "pool", _repeats):
        yield (
            position,
            f"Pool above {_name(inner)} lends one resource to all attempts: when it breaks, each of them gets the "
            "broken one; put the pool innermost",
        )


def _pool_outside_timeout(policies: Sequence[Any]) -> _Found:
    for position, _, _ in _above(policies, "pool", _is("timeout")):
        yield (
            position,
            "Pool above Timeout: the time does not cover the opening of the resource, which is where a dead host "
            "hangs; put the pool innermost",
        )


def _waits(policy: Any) -> str | None:
    """The name of a policy in which calls queue; None where they are let in or refused at once."""
    setting = {"bulkhead": "queue", "adaptive_limit": "queue", "rate_limit": "max_wait"}.get(kind_of(policy) or "")
    return _name(policy) if setting and getattr(policy, setting, None) != 0 else None


def _queue_inside_timeout(policies: Sequence[Any], kind: str) -> _Found:
    """A queue beneath a timeout of the same attempt; one above a retry bounds the whole call, as a deadline does."""
    for position, policy in enumerate(policies):
        if kind_of(policy) != kind or not _waits(policy):
            continue
        for outer in reversed(policies[:position]):
            if _repeats(outer):
                break
            if kind_of(outer) == "timeout":
                yield (
                    position,
                    f"{_name(policy)} beneath Timeout: waiting in our own queue is timed as if it were the request, "
                    "and counts against the target; put it above the timeout",
                )
                break


def _bulkhead_inside_timeout(policies: Sequence[Any]) -> _Found:
    yield from _queue_inside_timeout(policies, "bulkhead")
    yield from _queue_inside_timeout(policies, "adaptive_limit")


def _rate_limit_inside_timeout(policies: Sequence[Any]) -> _Found:
    yield from _queue_inside_timeout(policies, "rate_limit")


def _fallback_inside_retry(policies: Sequence[Any]) -> _Found:
    for position, _, outer in _beneath(policies, "fallback", _repeats):
        yield (
            position,
            f"Fallback beneath {_name(outer)} answers before {_name(outer)} sees an error, so nothing is ever tried "
            "again; put it outermost",
        )


def _fallback_inside_breaker(policies: Sequence[Any]) -> _Found:
    for position, _, _ in _beneath(policies, "fallback", _is("breaker")):
        yield (
            position,
            "Fallback beneath Breaker answers before Breaker sees an error, so the circuit never opens; put it "
            "outermost",
        )


def _cache_inside_retry(policies: Sequence[Any]) -> _Found:
    for position, _, outer in _beneath(policies, "cache", _repeats):
        yield (
            position,
            f"Cache beneath {_name(outer)}: a stale answer hides the error that {_name(outer)} should see, and each "
            "attempt looks again for what is not there; put it above",
        )


def _coalesce_inside_retry(policies: Sequence[Any]) -> _Found:
    for position, _, outer in _beneath(policies, "coalesce", _repeats):
        yield (
            position,
            f"Coalesce beneath {_name(outer)}: callers share one attempt and then each repeats for itself, so their "
            "requests part again; put it above",
        )


def _chaos_not_innermost(policies: Sequence[Any]) -> _Found:
    for position, _, inner in _above(policies, "chaos", lambda policy: kind_of(policy) not in ("chaos", "pool")):
        yield (
            position,
            f"Chaos above {_name(inner)}: its faults never reach {_name(inner)}, which is then not tried; put it "
            "innermost",
        )


RULES: dict[str, Callable[[Sequence[Any]], _Found]] = {
    "timeout-above-deadline": _timeout_above_deadline,
    "deadline-inside-retry": _deadline_inside_retry,
    "retry-over-retry": _retry_over_retry,
    "hedge-outside-retry": _hedge_outside_retry,
    "breaker-outside-retry": _breaker_outside_retry,
    "rate-limit-outside-retry": _rate_limit_outside_retry,
    "pool-outside-retry": _pool_outside_retry,
    "pool-outside-timeout": _pool_outside_timeout,
    "bulkhead-inside-timeout": _bulkhead_inside_timeout,
    "rate-limit-inside-timeout": _rate_limit_inside_timeout,
    "fallback-inside-retry": _fallback_inside_retry,
    "fallback-inside-breaker": _fallback_inside_breaker,
    "cache-inside-retry": _cache_inside_retry,
    "coalesce-inside-retry": _coalesce_inside_retry,
    "chaos-not-innermost": _chaos_not_innermost,
}
"""By name. Each takes the policies, outermost first, and yields what it finds."""


def check_order(policies: Sequence[Any]) -> list[Finding]:
    """What is wrong with the order of these policies, outermost first."""
    return [Finding(rule, message, position) for rule, find in RULES.items() for position, message in find(policies)]
