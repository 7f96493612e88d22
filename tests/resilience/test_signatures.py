"""What a caller may leave out, and what it then means: the defaults are promises, and so is the order of what is given.

A change here is a change for every user who relied on it: write it down in CHANGELOG.md.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import resilience

PROMISED = {
    "Adaptive": "quantile=0.99, factor=2.0, floor=0.5, ceiling=None, window=60.0",
    "AdaptiveLimit": "algorithm='gradient', initial=20, least=1, most=1000, queue=0, max_wait=None, order='fifo'",
    "Breaker": (
        "failure_rate=0.5, consecutive=None, window=30.0, min_calls=10, open_for=5.0, probes=1, on=None, "
        "key=None, count_window=None, slow_after=None, slow_rate=0.5, max_open_for=300.0, probe_success=1.0, "
        "probe_lease=60.0, ramp=0.0, mode='normal', forget_after=3600.0"
    ),
    "Bulkhead": "limit, queue=0, max_wait=None, order='fifo', key=None, weight='one'",
    "Cache": "ttl, most=1000, stale_while_revalidate=0.0, stale_if_error=0.0, key=None",
    "Chaos": ("rate, enabled=False, fault=None, latency=0.0, result=<not given>, behaviour=None, ops=(), after=False"),
    "Coalesce": "key=None",
    "Deadline": "seconds, per_op=<factory>",
    "Fallback": "value=<not given>, call=None, on=None, last_good=None, key=None, most=1000",
    "Hedge": "delay, extra=1, initial=1.0, least=0.01, budget=RetryBudget()",
    "Limit": "rate, key=None, per_op=<factory>",
    "Op": "name, idempotent=False, cost=1.0, priority='default'",
    "Pool": "open, *, name, close=None, broken=ConnectionError, max_wait=None",
    "RateLimit": "rate, key=None, max_wait=None, per_op=<factory>, also=()",
    "Retry": (
        "attempts=3, on=None, result=None, wait=<factory>, jitter='full', max_wait=20.0, "
        "max_retry_after=30.0, max_duration=None, throttled_wait=None, abort_on=None, budget=RetryBudget(), "
        "nested=False, resume=None"
    ),
    "RetryBudget": "ratio=0.2, per_second=10.0, window=10.0, key=None",
    "RetryQuota": "tokens=500, transient=14, throttle=5, success=1, key=None",
    "Shed": "k=2.0, k_critical=None, k_sheddable=None, window=30.0, floor=0.1, min_calls=10, priority=None",
    "Timeout": "seconds, per_op=<factory>, adaptive=None",
    "Verdict": "kind, reason='', retry_after=None, scope='op'",
}

NEEDED: dict[str, dict[str, Any]] = {
    "Bulkhead": {"limit": 1}, "Cache": {"ttl": 1}, "Chaos": {"rate": 1, "latency": 1}, "Deadline": {"seconds": 1},
    "Fallback": {"value": 1}, "Hedge": {"delay": 1}, "Limit": {"rate": "1/s"}, "Op": {"name": "x"},
    "Pool": {"open": object, "name": "x"}, "RateLimit": {"rate": "1/s"}, "Timeout": {"seconds": 1},
    "Verdict": {"kind": resilience.Kind.FAILED},
}  # fmt: skip


@pytest.mark.parametrize("name", PROMISED)
def test_the_arguments_and_their_defaults_are_as_promised(name: str) -> None:
    """By name, in this order, with these defaults; what stands after the star is given by name only."""
    made = getattr(resilience, name)
    assert worded(made) == PROMISED[name]
    given = NEEDED.get(name, {})
    one = made(**given)
    for parameter in inspect.signature(made).parameters.values():
        if parameter.name not in given and repr(parameter.default) != "<factory>":
            assert getattr(one, parameter.name) == parameter.default


def worded(made: type) -> str:
    words, named = [], False
    for parameter in inspect.signature(made).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not named:
            words.append("*")
            named = True
        default = parameter.default
        text = default.__name__ if isinstance(default, type) else repr(default)
        if default == resilience.RetryBudget():
            text = "RetryBudget()"
        words.append(parameter.name if default is parameter.empty else f"{parameter.name}={text}")
    return ", ".join(words)


@pytest.mark.parametrize("name", [name for name in PROMISED if hasattr(getattr(resilience, name), "keeps")])
def test_what_a_policy_says_of_a_reload_is_said_of_its_fields(name: str) -> None:
    """By their names, or nobody would heed it."""
    made = getattr(resilience, name)
    one = made(**NEEDED.get(name, {}))
    assert {*(one.anew or ()), *(one.partly or ())} <= {*inspect.signature(made).parameters}
