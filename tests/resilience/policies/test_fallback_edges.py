"""Fallback at its edges: what no predicate can ask it to replace, and what an observer reads of an answer it keeps."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from resilience import ConfigError, Fallback, Op, Pipeline
from resilience.testing import Recorder, Script, never, virtual

READ = Op("read", idempotent=True)


def test_half_a_key_cannot_be_kept() -> None:
    """It keeps the answers of a whole number of keys."""
    with pytest.raises(ConfigError, match=r"Fallback: most is 1.5"):
        Fallback("instead", most=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("last_good", [None, 60.0])
@virtual
async def test_a_cancellation_is_not_replaced_whatever_the_predicate_says(last_good: float | None) -> None:
    """It is no error of the call, so nobody is asked."""
    asked: list[Exception] = []

    def every(error: Exception) -> bool:
        asked.append(error)
        return True

    pipeline = Pipeline(Fallback("instead", on=every, last_good=last_good))
    task = asyncio.ensure_future(pipeline.run(Script(never), op=READ))
    await asyncio.sleep(1)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert asked == []


@virtual
async def test_a_last_good_answer_refers_to_the_call_that_got_it() -> None:
    """Where somebody observes; a value from elsewhere refers to nobody."""
    recorder = Recorder()
    pipeline = Pipeline(Fallback("instead", last_good=60), observers=(recorder,))
    script = Script("good", OSError())
    outcomes: list[Any] = []
    for pause in (0, 60, 60):
        await asyncio.sleep(pause)
        outcomes.append(await pipeline.run(script, op=READ))
    assert outcomes == ["good", "good", "instead"]
    filled, replaced, other = (ended.call.attempt for ended in recorder.calls)
    assert filled.marked is not None
    assert replaced.link == ("filled_by", filled.marked)
    assert filled.link is other.link is None


@virtual
async def test_an_answer_that_was_kept_while_nobody_looked_refers_to_nobody() -> None:
    """Its call had no record for others to refer to."""
    recorder = Recorder()
    pipeline = Pipeline(Fallback(last_good=60))
    script = Script("good", OSError())
    await pipeline.run(script, op=READ)
    pipeline.observe(recorder)
    assert await pipeline.run(script, op=READ) == "good"
    assert recorder.calls[0].call.attempt.link is None
