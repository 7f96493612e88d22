"""Pool at its edges: what a wait leaves in the records, which bound ends it, and when the old resource is closed."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextvars import ContextVar
from typing import Any

import pytest

from resilience import Deadline, Op, Pipeline, Pool, PoolExhausted, TimedOut, Timeout
from resilience.call import Call
from resilience.testing import Recorder, Script, never, virtual

# The pool stands above a timeout here, so that its own bound is what ends the wait.
pytestmark = pytest.mark.filterwarnings("ignore::resilience.errors.PipelineWarning")

OP = Op("op")
WHERE: ContextVar[str] = ContextVar("where", default="nowhere")


class Resource:
    """What is lent; `closed` counts."""

    def __init__(self, slow: float = 0.0) -> None:
        self.closed = 0
        self.slow = slow

    async def aclose(self) -> None:
        await asyncio.sleep(self.slow)
        self.closed += 1


def opens(seconds: float, made: list[Resource] | None = None, slow_close: float = 0.0) -> Any:
    """A function that opens a resource in so many seconds."""

    async def open_one() -> Resource:
        await asyncio.sleep(seconds)
        resource = Resource(slow_close)
        if made is not None:
            made.append(resource)
        return resource

    return open_one


async def nothing(*lent: Resource) -> int:
    return len(lent)


@virtual
async def test_a_wait_is_in_the_records() -> None:
    """What every pool took is added up on the attempt, and told as an event before it begins."""
    recorder = Recorder()
    pipeline = Pipeline(
        Pool(opens(2), name="one", max_wait=9), Pool(opens(3), name="two"), Timeout(60), observers=(recorder,)
    )
    await asyncio.sleep(1)
    call = Call(OP, nothing)
    assert await pipeline.send(call) == 2
    assert call.attempt.waited == 5
    assert call.attempt.notes["wait.pool"] == 5
    assert [(wait.why, wait.seconds, wait.at) for wait in recorder.waits] == [("pool", 9, 1), ("pool", None, 3)]
    again = Call(OP, nothing)
    await pipeline.send(again)
    assert again.attempt.waited == 0
    assert len(recorder.waits) == 2


@pytest.mark.parametrize(
    ("deadline", "max_wait", "ended", "seconds"),
    [
        (1, None, TimedOut, 1),
        (1, 5, TimedOut, 1),
        (5, 1, PoolExhausted, 1),
        (2, 2, PoolExhausted, 2),
        (None, 3, PoolExhausted, 3),
    ],
)
def test_the_nearer_bound_ends_the_wait(
    deadline: float | None, max_wait: float | None, ended: type[Exception], seconds: float
) -> None:
    """And says whose it was: the deadline that passed in our own queue is a refusal of ours."""

    @virtual
    async def play() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(10)
        above = () if deadline is None else (Deadline(deadline),)
        pipeline = Pipeline(*above, Pool(opens(60), name="slow", max_wait=max_wait), Timeout(100))
        with pytest.raises(ended) as caught:
            await pipeline.run(nothing, op=OP)
        assert loop.time() == pytest.approx(10 + seconds)
        if isinstance(caught.value, TimedOut):
            assert (caught.value.limit, caught.value.queued, caught.value.seconds) == ("deadline", True, seconds)
        else:
            assert f"within {max_wait} s" in str(caught.value)

    play()


@virtual
async def test_a_call_that_comes_too_late_waits_for_nothing() -> None:
    """Its deadline has passed before the pool is asked."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(5)
    pipeline = Pipeline(Pool(opens(60), name="slow"), Timeout(100))
    with pytest.raises(TimedOut) as caught:
        await pipeline.send(Call(OP, nothing, deadline=4.0))
    assert caught.value.queued
    assert loop.time() == 5


@virtual
async def test_the_old_resource_is_closed_when_its_last_holder_is_done() -> None:
    """Once, not while anybody uses it, and the change is told with its cause."""
    made: list[Resource] = []
    recorder = Recorder()
    pipeline = Pipeline(Pool(opens(0, made), name="rest"), observers=(recorder,))

    async def breaks(resource: Resource) -> None:
        await asyncio.sleep(1)
        raise ConnectionResetError

    async def stays(resource: Resource) -> int:
        await asyncio.sleep(5)
        return resource.closed

    long, longer = (asyncio.ensure_future(pipeline.run(stays, op=OP)) for _ in range(2))
    with pytest.raises(ConnectionResetError):
        await pipeline.run(breaks, op=OP)
    assert [(c.kind, c.key, c.old, c.new, c.cause) for c in recorder.changes] == [
        ("pool", "rest", "open", "renewing", "ConnectionResetError")
    ]
    assert (await long, await longer) == (0, 0)
    await asyncio.sleep(1)
    assert [resource.closed for resource in made] == [1]


@virtual
async def test_closing_waits_for_what_is_being_closed() -> None:
    """A generation that closes slowly is closed when `aclose` returns, and is not kept afterwards."""
    made: list[Resource] = []
    pipeline = Pipeline(Pool(opens(0, made, slow_close=3), name="rest"))

    async def breaks(resource: Resource) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await pipeline.run(breaks, op=OP)
    await asyncio.sleep(1)
    await pipeline.aclose()
    assert [resource.closed for resource in made] == [1]
    with pytest.raises(ConnectionResetError):
        await pipeline.run(breaks, op=OP)
    lender = pipeline.states["pool:rest"]
    assert len(lender._closing) == 1
    await asyncio.sleep(4)
    assert not lender._closing
    assert made[1].closed == 1


@virtual
async def test_a_close_that_is_cancelled_stays_cancelled() -> None:
    """It is no error of closing, and nothing to be logged and forgotten."""
    pipeline = Pipeline(Pool(opens(0, slow_close=5), name="rest"))
    await pipeline.run(nothing, op=OP)
    closing = asyncio.ensure_future(pipeline.aclose())
    await asyncio.sleep(1)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()


@virtual
async def test_opening_and_closing_know_nothing_of_who_caused_them() -> None:
    """They serve everybody, so the caller's context variables stay with the caller."""
    seen: list[str] = []

    def open_one() -> object:
        seen.append(WHERE.get())
        return object()

    async def breaks(resource: object) -> None:
        raise ConnectionResetError

    pipeline = Pipeline(Pool(open_one, name="rest", close=lambda resource: seen.append(WHERE.get())))
    WHERE.set("in a call")
    with pytest.raises(ConnectionResetError):
        await pipeline.run(breaks, op=OP)
    await asyncio.sleep(0.1)
    assert seen == ["nowhere", "nowhere"]


@virtual
async def test_a_cancelled_call_condemns_nothing() -> None:
    """Whatever `broken` would say of it: nobody asks."""
    made: list[Resource] = []
    pipeline = Pipeline(Pool(opens(0, made), name="rest", broken=lambda error: True, max_wait=0.5))
    waiting = asyncio.ensure_future(pipeline.run(Script(never), op=OP))
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.wait([waiting])
    await pipeline.run(nothing, op=OP)
    assert len(made) == 1


@virtual
async def test_an_error_that_condemned_is_gone_with_its_last_reference() -> None:
    """No frame of ours keeps it, so no garbage collection is needed."""

    class Gone(ConnectionError):
        pass

    async def breaks(resource: Resource) -> None:
        raise Gone

    pipeline = Pipeline(Pool(opens(0), name="rest"))
    gc.collect()
    gc.disable()
    try:
        try:
            await pipeline.run(breaks, op=OP)
        except Gone as error:
            left = weakref.ref(error)
        assert left() is None
    finally:
        gc.enable()
