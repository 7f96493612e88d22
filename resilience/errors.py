"""The errors that are ours. Everything else that a call raises is an attempt's own error, never a wrapper.

Two families matter to a caller: `Refused` (we said no before anything was sent, so nothing can have happened) and
`TimedOut` (nobody answered in time; whether something happened depends on `TimedOut.sent`).
`CircuitOpen`, the one refusal missing here, stands beside the breaker: it derives from aiobreaker's error.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BudgetSpent",
    "BulkheadFull",
    "ConfigError",
    "LoadShed",
    "PipelineWarning",
    "PoolExhausted",
    "RateLimited",
    "Refused",
    "ResilienceError",
    "TimedOut",
]


class ResilienceError(Exception):
    """The root of every error that this framework raises itself."""


class ConfigError(ResilienceError, ValueError):
    """A policy, a pipeline or a file that cannot work. The text says where, what was found and what is allowed."""


class PipelineWarning(UserWarning):
    """An order of policies that cannot work as it reads. The text begins with the name of the rule.

    To silence one rule: ``warnings.filterwarnings("ignore", "breaker-outside-retry", PipelineWarning)``.
    """


class Refused(ResilienceError):
    """A policy said no before anything was sent.

    `policy` is who refused (``"breaker"``), `reason` the low-cardinality cause that spans and metrics carry
    (``"circuit_open"``), `retry_after` the seconds until asking again makes sense, None where nobody can tell. Built
    from fields, and worded only when somebody reads it: a refusal has to stay cheap.
    """

    policy = "policy"
    reason = "refused"

    def __init__(self, what: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.retry_after = retry_after

    def __str__(self) -> str:
        later = "" if self.retry_after is None else f"; try again in {self.retry_after:.3g} s"
        return f"refused by the {self.policy}: {self.what or self.reason}{later}"


class BulkheadFull(Refused):
    """As many calls as the bulkhead admits are running, and its queue is full or the wait was too long."""

    policy = "bulkhead"
    reason = "bulkhead_full"


class RateLimited(Refused):
    """The limiter has waited as long as it may; sending now would break the rate."""

    policy = "rate limit"
    reason = "rate_limited"


class LoadShed(Refused):
    """Lately the target accepted too few of our calls, so this one was held back, by chance and by its priority."""

    policy = "shed"
    reason = "load_shed"


class PoolExhausted(Refused):
    """The pool could not lend a resource within `max_wait`."""

    policy = "pool"
    reason = "pool_timeout"


class BudgetSpent(Refused):
    """The budget for extra requests (retries and hedges) is spent."""

    policy = "budget"
    reason = "budget_spent"


class TimedOut(ResilienceError, TimeoutError):
    """No answer in time. A built-in `TimeoutError` too, so that code which catches that one keeps working.

    `seconds` is the time that was granted, `limit` says whose it was (``"timeout"`` or ``"deadline"``), and `sent`
    whether a byte may have left: True makes the outcome UNKNOWN, False makes it FAILED. `queued`: the time passed in
    our own queue or before we began, which says nothing about the target, as a refusal of ours.
    """

    def __init__(
        self, seconds: float | None, *, limit: str = "timeout", sent: bool = False, queued: bool = False
    ) -> None:
        super().__init__(seconds)  # nothing more: two arguments of an `OSError` are its errno and its text
        self.queued = queued
        self.seconds = seconds
        self.limit = limit
        self.sent = sent

    @property
    def reason(self) -> str:
        """The low-cardinality cause: ``"timeout"`` or ``"deadline_exceeded"``."""
        return "timeout" if self.limit == "timeout" else "deadline_exceeded"

    def __str__(self) -> str:
        after = "" if self.seconds is None else f" after {self.seconds:.3g} s"
        unsure = "; it may have been executed" if self.sent else "; nothing was sent"
        return f"{'timed out' if self.limit == 'timeout' else 'deadline exceeded'}{after}{unsure}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _timed_out, (self.seconds, self.limit, self.sent, self.queued)


def _timed_out(seconds: float | None, limit: str, sent: bool, queued: bool) -> TimedOut:
    return TimedOut(seconds, limit=limit, sent=sent, queued=queued)
