"""How many requests a call becomes on average, if a share of all requests fails.

Two ways of failing, because policies answer them differently: at once, with an error that may be repeated, which is
what retries multiply; and by silence, which is what hedges multiply and deadlines cut short. Requests fail
independently of one another, which flatters the numbers between 0 and 100 %: real outages come in lumps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..descriptor import kind_of
from ..retrying.budget import RetryBudget, RetryQuota
from .latency import Terms
from .nested import attempts_over
from .sends import send_times
from .timeline import played

__all__ = ["SHARES", "Load", "load"]

SHARES = (0.0, 0.1, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Load:
    """Requests per call, where `share` of the requests fail: `errors` at once, `silence` without an answer.

    `budgeted` is the larger of the two within the budgets, where there are many calls a second; `shed` the same after
    what a shed keeps back. `opens`: whether a breaker would open, so that next to nothing is sent.
    """

    share: float
    errors: float
    silence: float
    budgeted: float
    shed: float
    opens: bool


def load(policies: Sequence[Any], terms: Terms) -> list[Load]:
    """The expected load at each of `SHARES`."""
    most = len(send_times(policies, terms))
    steps, whole = played(policies, terms)
    silent = sum(step.kind in ("attempt", "hedge") for step in steps) if whole else most
    return [_at(share, policies, terms, most, silent) for share in SHARES]


def _at(share: float, policies: Sequence[Any], terms: Terms, most: int, silent: int) -> Load:
    errors = min(_expected(policies, terms, share, slow=False)[0], float(most))
    silence = min(_expected(policies, terms, share, slow=True)[0], float(max(silent, 1)))
    plain = max(errors, silence)
    budgeted = _budgeted(policies, plain, share)
    return Load(share, errors, silence, budgeted, budgeted * _let_through(policies, share), _opens(policies, share))


def _expected(policies: Sequence[Any], terms: Terms, share: float, *, slow: bool) -> tuple[float, float]:
    """Requests on average, and the share of what lies here that fails."""
    if not policies:
        return 1.0, share
    policy, rest = policies[0], policies[1:]
    sends, fails = _expected(rest, terms, share, slow=slow)
    kind = kind_of(policy)
    again = policy.on is not None or terms.op.idempotent or not slow if kind == "retry" else slow
    repeats = 1
    if kind == "retry" and again:
        repeats = attempts_over(policy, rest)
    elif kind == "hedge" and again and terms.op.idempotent:
        repeats = 1 + policy.extra
    if fails >= 1.0:
        return sends * repeats, 1.0
    return sends * (1.0 - fails**repeats) / (1.0 - fails), fails**repeats


def _budgeted(policies: Sequence[Any], sends: float, share: float) -> float:
    """Requests per call that the budgets let through for long; `sends` is what is wanted."""
    repeating = [policy for policy in policies if kind_of(policy) == "hedge" or getattr(policy, "attempts", 1) > 1]
    budgets = dict.fromkeys(policy.budget for policy in repeating)  # equal ones are one
    if None in budgets:
        return sends
    return min(sends, 1.0 + sum(_extras(budget, sends, share) for budget in budgets))


def _extras(budget: RetryBudget | RetryQuota, sends: float, share: float) -> float:
    if isinstance(budget, RetryBudget):
        return budget.ratio
    extra = sends - 1.0
    spent = budget.transient * extra * share  # an extra request that succeeds brings its cost back
    earned = budget.success * (1.0 - share)
    return extra if spent <= earned else extra * earned / spent


def _let_through(policies: Sequence[Any], share: float) -> float:
    """The share of what is wanted that a shed does not keep back: nothing is kept back up to `k` for each accepted."""
    shares = [
        1.0 if policy.k * (1.0 - share) >= 1.0 else policy.floor for policy in policies if kind_of(policy) == "shed"
    ]
    return math.prod(shares)


def _opens(policies: Sequence[Any], share: float) -> bool:
    def trips(policy: Any) -> bool:
        by_rate = policy.failure_rate is not None and share >= policy.failure_rate
        return policy.mode in ("normal", "forced_open") and (
            by_rate or (policy.consecutive is not None and share >= 1.0)
        )

    return any(kind_of(policy) == "breaker" and trips(policy) for policy in policies)
