"""A decorator of somebody else's between two policies was dropped, and the policies beneath it applied twice.

`functools.wraps` copies a function's attributes, among them the mark by which stacked policies found each other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from resilience import Bulkhead, Retry, Timeout
from resilience.testing import virtual


def counted(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        wrapper.count += 1  # type: ignore[attr-defined]
        return await fn(*args, **kwargs)

    wrapper.count = 0  # type: ignore[attr-defined]
    return wrapper


@virtual
async def test_it_stays_in_its_place() -> None:
    """Called once an attempt; what lies beneath is a pipeline of its own."""
    tries = 0

    async def fetch() -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError
        return tries

    between = counted(Bulkhead(1)(Timeout(1)(fetch)))
    guarded = Retry(on=OSError, wait=0)(between)
    assert await guarded() == 2
    assert between.count == 2  # type: ignore[attr-defined]
    assert [type(policy).__name__ for policy in guarded.pipeline.policies] == ["Retry"]  # type: ignore[attr-defined]
