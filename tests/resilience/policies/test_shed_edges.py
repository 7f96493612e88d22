"""Shed at its edges: when nobody is asked for a priority, the dice, and the end of a bucket."""

from __future__ import annotations

import asyncio
import random

import pytest

from resilience import Kind, Op, Pipeline, Shed, Verdict
from resilience.call import Call, Priority
from resilience.testing import Script, virtual

READ = Op("read", idempotent=True)


class Stop(BaseException):
    """Ends the program, and no call."""


def down(exc: Exception, op: Op) -> Verdict:
    return Verdict(Kind.FAILED)


async def fail(pipeline: Pipeline, times: int) -> None:
    for _ in range(times):
        with pytest.raises(OSError, match="down"):
            await pipeline.run(Script(OSError("down")), op=READ)


@virtual
async def test_in_good_times_nobody_is_asked_for_a_priority() -> None:
    """Up to `k` requests for each accepted one, and exactly so many, nothing can be refused."""
    asked: list[Call] = []

    def priority(call: Call) -> Priority:
        asked.append(call)
        return "critical"

    pipeline = Pipeline(Shed(k=2, k_sheddable=2, priority=priority), classify=down)
    await pipeline.run(Script("ok"), op=READ)
    await fail(pipeline, 2)  # before the second: two requests, one accepted
    assert asked == []
    await fail(pipeline, 1)
    assert len(asked) == 1


@virtual
async def test_an_exit_in_a_priority_is_an_exit() -> None:
    """It is not read as a priority that makes no sense."""

    def exits(call: Call) -> Priority:
        raise Stop

    pipeline = Pipeline(Shed(priority=exits), classify=down)
    await fail(pipeline, 1)
    with pytest.raises(Stop):
        await pipeline.run(Script("ok"), op=READ)


@virtual
async def test_a_call_is_refused_by_numbers_below_the_probability() -> None:
    """A die that shows the probability itself lets it through: there are numbers from 0 up to, and without, 1."""
    share = random.Random(1).random()
    pipeline = Pipeline(Shed(floor=1 - share), classify=down, seed=1)
    await fail(pipeline, 10)
    assert pipeline.status()["shed"]["refusal"]["default"] == share
    assert await pipeline.run(Script("ok"), op=READ) == "ok"


@virtual
async def test_a_success_at_the_end_of_a_bucket_belongs_to_the_next() -> None:
    """A result counts for nine tenths of the window at the least."""
    pipeline = Pipeline(Shed(window=10))
    await asyncio.sleep(100)
    await pipeline.run(Script("ok"), op=READ)
    await asyncio.sleep(1)
    await pipeline.run(Script("ok"), op=READ)
    await asyncio.sleep(9.5)
    assert pipeline.status()["shed"]["accepts"] == 1
