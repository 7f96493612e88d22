"""Coalesce at its edges: a flight that ends as none should, the end of a deadline, and what an observer reads."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import Coalesce, Op, Pipeline, ResilienceError, Retry, TimedOut, within
from resilience.call import Call, takes_call
from resilience.testing import Recorder, Script, after, never, virtual

READ = Op("read", idempotent=True)


def start(pipeline: Pipeline, target: Any) -> asyncio.Task[Any]:
    return asyncio.ensure_future(pipeline.run(target, op=READ))


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# -- a flight that somebody else cancels -----------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [True, False])
@virtual
async def test_after_a_flight_that_was_cancelled_from_outside_the_next_begins_anew(begun: bool) -> None:
    """Nobody may join what has ended."""
    pipeline = Pipeline(Coalesce())
    script = Script(*[never] * begun, "next")
    waiting = start(pipeline, script)
    await turns(5 if begun else 1)
    (flight,) = pipeline.states["coalesce"].tasks
    flight.cancel()
    with pytest.raises(ResilienceError, match="cancelled by nobody who waits for it"):
        await waiting
    assert await pipeline.run(script, op=READ) == "next"
    assert pipeline.status()["coalesce"]["flights"] == 2


@virtual
async def test_who_is_cancelled_together_with_the_flight_takes_no_news_away() -> None:
    """The other callers are told that it is over."""
    pipeline = Pipeline(Coalesce())
    script = Script(never)
    leaver, stayer = (start(pipeline, script) for _ in range(2))
    await turns()
    (flight,) = pipeline.states["coalesce"].tasks
    flight.cancel()
    await asyncio.sleep(0)  # it has ended, and who waits for it has not heard
    leaver.cancel()
    await asyncio.wait([leaver, stayer])
    assert leaver.cancelled()
    assert type(stayer.exception()) is ResilienceError


# -- deadlines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "kept"), [(2, True), (3, False)])
@virtual
async def test_an_outcome_gets_four_turns_of_the_loop_to_come_through(more: int, kept: bool) -> None:
    """After the tick of the deadline. In the first what it waited for wakes it; in the fourth it is too late."""

    async def slow() -> str:
        await asyncio.sleep(1)
        await turns(more)
        return "just in time"

    with within(1):
        task = start(Pipeline(Coalesce()), slow)
    await asyncio.wait([task])
    assert (task.exception() is None) is kept


@virtual
async def test_a_deadline_says_that_something_was_sent_if_any_attempt_sent_something() -> None:
    """Be it an earlier one than that which was running."""

    @takes_call
    async def target(call: Call) -> None:
        if call.attempt.number == 1:
            call.attempt.sent = True
            raise OSError
        await asyncio.sleep(10)

    with pytest.raises(TimedOut) as caught, within(1):
        await Pipeline(Coalesce(), Retry(wait=0)).run(target, op=READ)
    assert caught.value.sent


@virtual
async def test_a_deadline_that_had_passed_is_called_a_deadline() -> None:
    """Of a call that has joined nobody."""
    with pytest.raises(TimedOut) as caught, within(0):
        await Pipeline(Coalesce()).run(Script("never"), op=READ)
    assert (caught.value.reason, caught.value.seconds, caught.value.sent) == ("deadline_exceeded", None, False)


# -- what an observer reads --------------------------------------------------------------------------------------------


@virtual
async def test_who_came_along_refers_to_the_flights_call() -> None:
    """Each follower to the first attempt of it; the first caller to nobody."""
    recorder = Recorder()
    pipeline = Pipeline(Coalesce(), observers=(recorder,))
    script = Script(after(1, "answer"))
    await asyncio.gather(*(pipeline.run(script, op=READ) for _ in range(3)))
    assert script.count == 1
    first, *others = (started.call.attempts[0] for started in recorder.calls)
    assert first.marked is not None
    assert first.link is None
    assert [other.link for other in others] == [("coalesced", first.marked)] * 2
