"""A server reported NaN calls left: the limiter counted that much as spent, and let nobody through for ever."""

from __future__ import annotations

import asyncio
import math

import pytest

from resilience import Op, Pipeline, RateLimit
from resilience.call import Call, LimitReport, takes_call
from resilience.testing import Script, virtual


@takes_call
async def reports(call: Call, report: LimitReport) -> None:
    call.attempt.limits = report


@pytest.mark.parametrize(
    "report", [LimitReport(10, math.nan), LimitReport(10, 3, math.nan), LimitReport(math.nan, 0), LimitReport(0, 0)]
)
@virtual
async def test_it_says_nothing(report: LimitReport) -> None:
    """The next nine go at once."""
    pipeline = Pipeline(RateLimit("10/s"))
    await pipeline.run(reports, report, op=Op("read"))
    script = Script("ok")
    await asyncio.gather(*(pipeline.run(script) for _ in range(9)))
    assert script.begun == [0] * 9
