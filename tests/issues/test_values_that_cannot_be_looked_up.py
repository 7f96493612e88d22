"""A list where a name was to be was a TypeError from deep inside; it is a wrong value like any other."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from resilience import (
    Adaptive,
    AdaptiveLimit,
    Breaker,
    Bulkhead,
    Cache,
    Chaos,
    Coalesce,
    ConfigError,
    Deadline,
    Fallback,
    Hedge,
    Limit,
    Pool,
    RateLimit,
    Retry,
    RetryBudget,
    RetryQuota,
    Shed,
    Timeout,
)

WHOLE: list[tuple[Any, dict[str, Any]]] = [
    (Adaptive, {}),
    (AdaptiveLimit, {}),
    (Breaker, {}),
    (Bulkhead, {"limit": 1}),
    (Cache, {"ttl": 1}),
    (Chaos, {"rate": 0.1, "latency": 1}),
    (Coalesce, {}),
    (Deadline, {"seconds": 1}),
    (Fallback, {"call": print}),
    (Hedge, {"delay": 1}),
    (Limit, {"rate": "1/s"}),
    (Pool, {"open": print, "name": "rest"}),
    (RateLimit, {"rate": "1/s"}),
    (Retry, {}),
    (RetryBudget, {}),
    (RetryQuota, {}),
    (Shed, {}),
    (Timeout, {"seconds": 1}),
]
TAKES_ANYTHING = {"nested", "result", "value"}  # truth, or what is to be answered


@pytest.mark.parametrize("value", [[1], {1}, float("nan"), b"x", -1], ids=repr)
@pytest.mark.parametrize(("kind", "given"), WHOLE, ids=[kind.__name__ for kind, _ in WHOLE])
def test_a_wrong_value_is_a_config_error(kind: Any, given: dict[str, Any], value: Any) -> None:
    """Of every field, whatever stands there."""
    for field in dataclasses.fields(kind):
        if field.name not in TAKES_ANYTHING:
            with pytest.raises(ConfigError):
                kind(**{**given, field.name: value})
