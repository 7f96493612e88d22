"""Breaker at its edges: the three ways through a circuit count alike, and an observer reads who opened it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from resilience import Breaker, Bulkhead, CircuitOpen, Op, Pipeline, Retry, RetryBudget
from resilience.call import Call, Handler, takes_call
from resilience.kit import Kit
from resilience.testing import Recorder, Script, after, never, virtual

READ = Op("read", idempotent=True)


class Stop(BaseException):
    """Ends the program, and no call."""


class Around:
    """An observer that stands around calls, and makes no record of them."""

    def __call__(self, event: Any, /) -> None:
        pass

    def around_call(self, next: Handler, kit: Kit, /) -> Handler:
        return next

    def around_attempt(self, next: Handler, kit: Kit, /) -> Handler:
        return next


def through(way: str, **rules: Any) -> Pipeline:
    """A breaker with one circuit, with circuits by key, or observed."""
    key, observers = ("host" if way == "keyed" else None), ((Around(),) if way == "observed" else ())
    return Pipeline(Breaker(key=key, **rules), observers=observers)


def standing(pipeline: Pipeline) -> dict[str, Any]:
    row: dict[str, Any] = pipeline.status()["breaker"]["default"]
    return row


def link(recorder: Recorder, call: int) -> Any:
    return recorder.calls[call].call.attempt.link


WAYS = pytest.mark.parametrize("way", ["one", "keyed", "observed"])


# -- the window, each way -------------------------------------------------------------------------------------------


@WAYS
@virtual
async def test_a_success_at_the_end_of_a_bucket_belongs_to_the_next(way: str) -> None:
    """A result counts for nine tenths of the window at the least."""
    pipeline = through(way, window=10)
    await asyncio.sleep(100)
    await pipeline.run(Script("ok"), op=READ)
    await asyncio.sleep(1)
    await pipeline.run(Script("ok"), op=READ)
    await asyncio.sleep(8.9)
    assert standing(pipeline)["calls"] == 2
    await asyncio.sleep(0.6)
    assert standing(pipeline)["calls"] == 1
    await asyncio.sleep(0.6)
    assert standing(pipeline)["calls"] == 0


@WAYS
@virtual
async def test_successes_of_one_tick_all_count(way: str) -> None:
    """Though the first of them begins the bucket."""
    pipeline = through(way, window=10)
    await asyncio.sleep(100)
    for _ in range(20):
        await pipeline.run(Script("ok"), op=READ)
    assert standing(pipeline)["calls"] == 20


@WAYS
@virtual
async def test_a_success_ends_a_row_of_failures(way: str) -> None:
    """Two in a row are two with nothing in between."""
    pipeline = through(way, failure_rate=None, consecutive=2)
    script = Script(OSError(), "ok", OSError(), OSError())
    states = []
    for _ in range(4):
        with suppress(OSError):
            await pipeline.run(script, op=READ)
        states.append(standing(pipeline)["state"])
    assert states == ["closed"] * 3 + ["open"]


@WAYS
@virtual
async def test_a_cancelled_call_counts_neither_way(way: str) -> None:
    """Nor does it hold a place afterwards."""
    pipeline = through(way)
    task = asyncio.ensure_future(pipeline.run(Script(never), op=READ))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    assert standing(pipeline)["calls"] == 0
    assert pipeline.states["breaker"]["default"].idle


@virtual
async def test_an_exit_in_a_predicate_is_an_exit(caplog: pytest.LogCaptureFixture) -> None:
    """It is not read as a predicate that failed."""

    def exits(error: Exception) -> bool:
        raise Stop

    with pytest.raises(Stop):
        await Pipeline(Breaker(on=exits)).run(Script(OSError()), op=READ)
    assert caplog.text == ""


# -- what an observer reads -------------------------------------------------------------------------------------------


@virtual
async def test_the_state_is_noted_beside_other_notes() -> None:
    """An attempt that had waited before has notes already."""
    recorder = Recorder()
    pipeline = Pipeline(Bulkhead(1, queue=1), Breaker(), observers=(recorder,))
    await asyncio.gather(*(pipeline.run(Script(after(1, "ok")), op=READ) for _ in range(2)))
    for ended in recorder.calls:
        assert ended.call.attempt.notes["breaker.state"] == "closed"
    assert recorder.calls[1].call.attempt.notes["wait.queue"] == 1.0


@virtual
async def test_what_an_open_circuit_decides_refers_to_the_call_that_opened_it() -> None:
    """Refusals and probes do; what the circuit admits after it has closed does not."""
    recorder = Recorder()
    rules = Breaker(failure_rate=None, consecutive=2, open_for=10, ramp=10)
    pipeline = Pipeline(rules, observers=(recorder,))
    script = Script(OSError(), OSError(), "probe", "well")
    for pause in (0, 0, 0, 30, 0):
        await asyncio.sleep(pause)
        with suppress(OSError, CircuitOpen):
            await pipeline.run(script, op=READ)
    sick, opener, refused, probe, well = (ended.call.attempt for ended in recorder.calls)
    assert script.count == 4
    assert opener.marked is not None
    assert refused.link == probe.link == ("opened_by", opener.marked)
    assert well.notes["breaker.state"] == "closed"
    assert sick.link is opener.link is well.link is sick.marked is None


@virtual
async def test_what_a_circuit_that_was_opened_by_hand_decides_refers_to_nobody() -> None:
    """Not even to the call that had opened it before."""
    recorder = Recorder()
    pipeline = Pipeline(Breaker(failure_rate=None, consecutive=1), observers=(recorder,))
    with suppress(OSError):
        await pipeline.run(Script(OSError()), op=READ)
    circuit = pipeline.states["breaker"]["default"]
    assert circuit.opened_by is recorder.calls[0].call.attempt.marked
    circuit.close()
    circuit.open()
    with suppress(CircuitOpen):
        await pipeline.run(Script(), op=READ)
    assert link(recorder, 1) is None


# -- a reused connection that was reset ------------------------------------------------------------------------------


@virtual
async def test_a_stale_connection_counts_as_nothing_where_the_budget_refuses_another_attempt() -> None:
    """An idle connection was closed: that tells as little of the target if nobody asks again. What follows counts."""

    @takes_call
    async def target(call: Call, stale: bool) -> None:
        call.attempt.sent = True
        call.attempt.stale = stale
        raise ConnectionResetError

    budget = RetryBudget(ratio=0, per_second=0)
    pipeline = Pipeline(Retry(attempts=3, wait=0, budget=budget), Breaker())
    for stale, calls in ((True, 0), (False, 1)):
        with pytest.raises(ConnectionResetError) as caught:
            await pipeline.run(target, stale, op=READ)
        assert "not retried: budget_spent" in caught.value.__notes__
        assert standing(pipeline)["calls"] == calls
