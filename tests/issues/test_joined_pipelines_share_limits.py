"""A pipeline that is joined with ``+`` obeys the limits, and borrows from the pools, that either half shares."""

from __future__ import annotations

from typing import Any

import pytest

from resilience import Pipeline, Pool, RateLimit, Timeout
from resilience.testing import Script, virtual


@virtual
async def test_the_limit_of_an_address_is_not_doubled() -> None:
    """Two pipelines, one address, one call in ten seconds."""
    shared: dict[str, Any] = {}
    one = Pipeline(RateLimit("1/10s", key="ip"), shared=shared, scope="bybit")
    script = Script("done")
    await one.run(script)
    await (one + Timeout(60)).run(script)
    assert script.begun == [0, pytest.approx(10, rel=0.05)]


@virtual
async def test_the_pool_is_the_same() -> None:
    """One session, opened once."""
    opened: list[object] = []
    one = Pipeline(Pool(lambda: opened.append(object()), name="rest"), shared={})
    await one.run(Script())
    await (Timeout(1) + one).run(Script())
    assert len(opened) == 1
