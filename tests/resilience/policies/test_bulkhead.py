"""Bulkhead: places, queue, order, and no place lost whatever happens to a waiter."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import Bulkhead, BulkheadFull, ConfigError, Deadline, Pipeline, Retry, TimedOut, Timeout, within
from resilience.testing import Recorder, Script, after, never, virtual


def clock() -> float:
    return asyncio.get_running_loop().time()


def start(pipeline: Pipeline, script: Script, count: int) -> list[asyncio.Task[Any]]:
    return [asyncio.ensure_future(pipeline.run(script)) for _ in range(count)]


@virtual
async def test_no_more_than_the_limit_run_at_once() -> None:
    """The others wait in the queue and all are served."""
    script = Script(after(1, "ok"))
    pipeline = Pipeline(Bulkhead(3, queue=9))
    assert await asyncio.gather(*start(pipeline, script, 12)) == ["ok"] * 12
    assert script.most == 3
    assert clock() == 4
    assert pipeline.status()["bulkhead"] == {"limit": 3, "busy": 0, "waiting": 0, "refused": 0}


@virtual
async def test_a_full_queue_refuses_at_once() -> None:
    """Limit 1, queue 1: the third is refused, and the refusal says who and why."""
    pipeline = Pipeline(Bulkhead(1, queue=1))
    results = await asyncio.gather(*start(pipeline, Script(after(1, "ok")), 3), return_exceptions=True)
    assert results[:2] == ["ok", "ok"]
    assert isinstance(results[2], BulkheadFull)
    assert str(results[2]) == "refused by the bulkhead: 1 calls are running and 1 wait"
    assert results[2].reason == "bulkhead_full"
    assert clock() == 2


@virtual
async def test_the_queue_is_first_come_first_served() -> None:
    """A newcomer that arrives in the tick of a release does not overtake."""
    order: list[int] = []
    pipeline = Pipeline(Bulkhead(1, queue=9))

    async def one(number: int, delay: float) -> None:
        await asyncio.sleep(delay)

        async def body() -> None:
            order.append(number)
            await asyncio.sleep(1)

        await pipeline.run(body)

    await asyncio.gather(*(one(i, d) for i, d in enumerate((0, 0.1, 0.2, 1.0, 2.0))))
    assert order == [0, 1, 2, 3, 4]


@virtual
async def test_max_wait_bounds_the_queue() -> None:
    """Whoever waits too long is refused; the one behind is served in turn."""
    pipeline = Pipeline(Bulkhead(1, queue=5, max_wait=1))
    results = await asyncio.gather(*start(pipeline, Script(after(1.5, "ok")), 2), return_exceptions=True)
    assert results[0] == "ok"
    assert isinstance(results[1], BulkheadFull)
    assert "none ended within 1 s" in str(results[1])
    assert pipeline.status()["bulkhead"]["refused"] == 1
    assert await pipeline.run(Script("free again")) == "free again"


@pytest.mark.filterwarnings("ignore:timeout-above-deadline")  # so that it is the deadline that comes
@virtual
async def test_the_deadline_bounds_the_queue() -> None:
    """Past its deadline a waiter is TimedOut, not sent."""
    pipeline = Pipeline(Deadline(1), Bulkhead(1, queue=5), Timeout(60))
    busy = asyncio.ensure_future(Pipeline(Bulkhead(1)).run(Script(never)))
    holder = start(pipeline, Script(never), 1)[0]
    await asyncio.sleep(0)
    with pytest.raises(TimedOut) as caught:
        await pipeline.run(Script("late"))
    assert not caught.value.sent
    assert clock() == 1
    busy.cancel()
    await asyncio.gather(holder, busy, return_exceptions=True)


@virtual
async def test_a_cancelled_waiter_gives_its_turn_away() -> None:
    """Cancelled while waiting, and cancelled in the very tick in which the place was handed over."""
    for cancel_at in (0.5, 1.0):
        pipeline = Pipeline(Bulkhead(1, queue=5))
        first, second, third = start(pipeline, Script(after(1, "ok")), 3)
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(cancel_at, second.cancel)
        assert await first == "ok"
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await third == "ok"
        assert pipeline.status()["bulkhead"]["busy"] == 0


@virtual
async def test_errors_give_the_place_back() -> None:
    """By result, error, timeout and cancellation alike."""
    pipeline = Pipeline(Bulkhead(1), Timeout(1))
    for step in ("ok", ValueError(), never):
        await asyncio.gather(pipeline.run(Script(step)), return_exceptions=True)
        assert pipeline.status()["bulkhead"]["busy"] == 0


@virtual
async def test_the_wait_is_told_and_recorded() -> None:
    """Observers hear of the queue, and the attempt knows how long it waited."""
    recorder = Recorder()
    pipeline = Pipeline(Bulkhead(1, queue=1), observers=(recorder,))
    await asyncio.gather(*start(pipeline, Script(after(2, "ok")), 2))
    assert [(wait.why, wait.at) for wait in recorder.waits] == [("queue", 0)]
    assert [event.attempt.waited for event in recorder.attempts] == [0, 2]
    assert recorder.attempts[1].attempt.notes["wait.queue"] == 2


@virtual
async def test_a_full_bulkhead_is_not_retried() -> None:
    """Refused by us: never."""
    pipeline = Pipeline(Retry(on=Exception, attempts=5, wait=0), Bulkhead(1))
    script = Script(never)
    holder = start(pipeline, script, 1)[0]
    await asyncio.sleep(0)
    with within(5), pytest.raises(BulkheadFull):
        await pipeline.run(script)
    assert script.count == 1
    holder.cancel()
    await asyncio.gather(holder, return_exceptions=True)


@pytest.mark.parametrize(
    "make",
    [lambda: Bulkhead(0), lambda: Bulkhead(1.5), lambda: Bulkhead(1, queue=-1), lambda: Bulkhead(1, max_wait=-1)],
)  # type: ignore[arg-type]
def test_wrong_settings_are_named(make: Any) -> None:
    """Limits are whole and positive."""
    with pytest.raises(ConfigError, match="Bulkhead: "):
        make()
