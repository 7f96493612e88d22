"""What a policy kept follows every setting of its successor: those too that matter only in the next trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from resilience import (
    AdaptiveLimit,
    Breaker,
    Bulkhead,
    BulkheadFull,
    Cache,
    Call,
    Chaos,
    CircuitOpen,
    Op,
    Pipeline,
    Policy,
    Pool,
    PoolExhausted,
    RateLimit,
    RateLimited,
    Shed,
)
from resilience.call import Handler
from resilience.events import Event
from resilience.kit import Kit
from resilience.policies.chaos import Fault
from resilience.reload import swap
from resilience.reload.fitting import kept
from resilience.testing import Script, after, never, virtual
from resilience.verdict import Kind, Verdict

READ = Op("read", idempotent=True)
SICK, WELL = Script(OSError()), Script("well")


def reload(pipeline: Pipeline, *policies: Any) -> list[Any]:
    """Let the pipeline become these policies. What it kept and does not need any more."""
    return swap({"a": pipeline}, {"a": Pipeline(*policies, name="a")}, {}, ())[1]


async def fails(call: Coroutine[Any, Any, Any]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (any)
        await call
    return caught.value


async def started(call: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """The call, under way or in its queue."""
    task = asyncio.create_task(call)
    await asyncio.sleep(0.001)
    return task


# -- circuits ---------------------------------------------------------------------------------------------------------


def row(pipeline: Pipeline) -> dict[str, Any]:
    found: dict[str, Any] = pipeline.status()["breaker"]["default"]
    return found


@virtual
async def test_a_circuit_that_counts_over_another_time_begins_anew_and_still_trips() -> None:
    """Nothing of the old window is left, and the circuit is not stuck in the state that counted in it."""
    pipeline = Pipeline(Breaker(consecutive=2, window=30))
    await fails(pipeline.run(SICK))
    reload(pipeline, Breaker(consecutive=2, window=60))
    assert row(pipeline)["calls"] == 0
    await fails(pipeline.run(SICK))
    assert row(pipeline)["state"] == "open"


@virtual
async def test_calls_that_were_counted_without_a_rule_for_slow_ones_were_not_slow() -> None:
    """Such a rule, when it comes, looks at the calls of its own time: those before trip nothing."""
    pipeline = Pipeline(Breaker(count_window=10, failure_rate=1, min_calls=2))
    await pipeline.run(WELL)
    await fails(pipeline.run(SICK))
    reload(pipeline, Breaker(count_window=10, failure_rate=1, min_calls=2, slow_after=1))
    assert row(pipeline)["slow_rate"] == 0
    assert row(pipeline)["calls"] == 2


@virtual
async def test_a_half_open_circuit_wants_as_many_probes_as_the_new_rules_say() -> None:
    """Of three one has succeeded; two are wanted now, so the next closes it."""
    pipeline = Pipeline(Breaker(consecutive=1, open_for=1, probes=3))
    await fails(pipeline.run(SICK))
    await asyncio.sleep(2)
    await pipeline.run(WELL)
    reload(pipeline, Breaker(consecutive=1, open_for=1, probes=2))
    assert row(pipeline)["state"] == "half-open"
    await pipeline.run(WELL)
    assert row(pipeline)["state"] == "closed"


@virtual
async def test_a_ramp_goes_on_where_the_count_begins_anew() -> None:
    """A circuit that has just closed does not get all calls at once because of a reload."""
    pipeline = Pipeline(Breaker(consecutive=1, open_for=1, ramp=100))
    await fails(pipeline.run(SICK))
    await asyncio.sleep(2)
    await pipeline.run(WELL)
    reload(pipeline, Breaker(consecutive=1, open_for=1, ramp=100, window=60))
    await pipeline.run(WELL)
    refused = await fails(pipeline.run(WELL))
    assert isinstance(refused, CircuitOpen)
    assert refused.state == "ramping"


# -- places -----------------------------------------------------------------------------------------------------------


@virtual
async def test_a_key_that_comes_after_the_reload_has_the_new_limit() -> None:
    """Like those that there are."""
    pipeline = Pipeline(Bulkhead(1, key="op"))
    await pipeline.run(WELL, op=Op("old"))
    reload(pipeline, Bulkhead(2, key="op"))
    await pipeline.run(WELL, op=Op("new"))
    assert {op: gate["limit"] for op, gate in pipeline.status()["bulkhead"].items()} == {"old": 2, "new": 2}


@virtual
async def test_refusals_speak_of_places_where_calls_are_weighted_now() -> None:
    """And of calls where each takes one."""
    pipeline = Pipeline(Bulkhead(1))
    holder = await started(pipeline.run(Script(never)))
    for weight, words in (("cost", "1 of 1 places are taken"), ("one", "1 calls are running")):
        reload(pipeline, Bulkhead(1, weight=weight))  # type: ignore[arg-type]
        refusal = await fails(pipeline.run(WELL))
        assert isinstance(refusal, BulkheadFull)
        assert words in str(refusal)
    holder.cancel()


@virtual
async def test_those_who_wait_are_served_in_the_new_order() -> None:
    """The newest first once it is lifo, and the eldest once it is fifo again."""
    pipeline = Pipeline(Bulkhead(1, queue=9))
    served: list[int] = []
    holder = await started(pipeline.run(Script(after(1))))
    waiting = [await started(pipeline.run(Script(after(1, served.append)), number)) for number in range(4)]
    reload(pipeline, Bulkhead(1, queue=9, order="lifo"))
    await holder
    await asyncio.sleep(0.5)
    reload(pipeline, Bulkhead(1, queue=9, order="fifo"))
    await asyncio.gather(*waiting)
    assert served == [3, 0, 1, 2]


@virtual
async def test_two_reloads_without_a_call_between_them_forget_no_place() -> None:
    """The second takes what the pipeline kept after the first, and not what it had kept before that."""
    pipeline = Pipeline(Bulkhead(9), Bulkhead(5))
    holder = await started(pipeline.run(Script(never)))
    reload(pipeline, Bulkhead(5))
    reload(pipeline, Bulkhead(9))
    assert pipeline.status()["bulkhead"]["busy"] == 1
    holder.cancel()


@virtual
async def test_an_adaptive_limit_of_the_same_algorithm_keeps_what_it_has_learned() -> None:
    """The round trip without a queue; another algorithm knows nothing of it."""
    pipeline = Pipeline(AdaptiveLimit("vegas"))
    for _ in range(40):
        await pipeline.run(Script(after(0.1)))
    learned = pipeline.status()["adaptive_limit"]["rtt_base"]
    assert learned > 0
    reload(pipeline, AdaptiveLimit("vegas", most=50))
    assert pipeline.status()["adaptive_limit"]["rtt_base"] == learned
    reload(pipeline, AdaptiveLimit("aimd", most=50))
    assert pipeline.status()["adaptive_limit"]["rtt_base"] == 0


# -- rates ------------------------------------------------------------------------------------------------------------


@virtual
async def test_a_pause_of_one_operation_outlives_a_change_of_the_key() -> None:
    """The server asked for it, and does not know of our keys; other operations go on."""
    told = Verdict(Kind.THROTTLED, "too many", 60.0, "op")
    pipeline = Pipeline(RateLimit("10/1s", key="ip", max_wait=0), classify=lambda error, op: told)
    await fails(pipeline.run(SICK, op=READ))
    reload(pipeline, RateLimit("10/1s", key="account", max_wait=0))
    assert isinstance(await fails(pipeline.run(WELL, op=READ)), RateLimited)
    assert await pipeline.run(WELL, op=Op("other")) == "well"


# -- pools ------------------------------------------------------------------------------------------------------------


class Resource:
    """Takes a second to close."""

    closed = False

    async def aclose(self) -> None:
        await asyncio.sleep(1)
        self.closed = True


@virtual
async def test_a_pool_waits_for_the_next_opening_as_long_as_the_new_policy_says() -> None:
    """The resource that is open stays; once it is broken, nobody waits for the next one any longer than that."""
    opened = 0

    async def open() -> Resource:
        nonlocal opened
        opened += 1
        await asyncio.sleep(10 if opened > 1 else 0)
        return Resource()

    pipeline = Pipeline(Pool(open, name="x"))
    await fails(pipeline.run(Script(ConnectionError())))
    reload(pipeline, Pool(open, name="x", max_wait=3))
    exhausted = await fails(pipeline.run(WELL))
    assert isinstance(exhausted, PoolExhausted)
    assert "within 3 s" in str(exhausted)
    await asyncio.sleep(10)
    await pipeline.aclose()


@virtual
async def test_a_pool_is_closed_when_it_was_retired_and_its_resource_has_closed() -> None:
    """Not before it was ever used, nor while the resource is lent, nor while it is being closed."""
    pipeline = Pipeline(Pool(Resource, name="x"))
    await pipeline.run(WELL)
    lender = pipeline.states["pool:x"]
    await pipeline.aclose()
    assert not lender.closed  # it may open again
    holder = await started(pipeline.run(Script(after(1))))
    lender.retire()
    assert not lender.closed
    await holder
    assert not lender.closed
    await asyncio.sleep(2)
    assert lender.closed


@virtual
async def test_a_retired_pool_that_opens_as_its_last_waiter_is_cancelled_is_closed() -> None:
    """In the very tick: the resource is there, and still somebody seems to wait for it."""
    resource = Resource()

    async def open() -> Resource:
        await asyncio.sleep(1)
        waiter.cancel()
        return resource

    pipeline = Pipeline(Pool(open, name="x"))
    waiter = await started(pipeline.run(WELL))
    (lender,) = reload(pipeline, Pool(open, name="y"))
    lender.retire()
    await asyncio.sleep(3)
    assert waiter.cancelled()
    assert resource.closed


# -- the others -------------------------------------------------------------------------------------------------------


@virtual
async def test_a_larger_cache_keeps_more_answers() -> None:
    """From the next one on."""
    pipeline = Pipeline(Cache(60, most=1))
    reading = Script(lambda symbol: symbol)
    await pipeline.run(reading, "a", op=READ)
    reload(pipeline, Cache(60, most=3))
    for symbol in "bcabc":
        await pipeline.run(reading, symbol, op=READ)
    assert reading.count == 3


@virtual
async def test_a_shedding_pipeline_refuses_by_the_new_bounds() -> None:
    """Enough requests by the new number, none of them accepted: as many are refused as the new floor leaves."""
    pipeline = Pipeline(Shed(k=1, min_calls=100, floor=0.1))
    for _ in range(9):
        await fails(pipeline.run(SICK))
    assert pipeline.status()["shed"]["refusal"]["default"] == 0
    reload(pipeline, Shed(k=1, min_calls=5, floor=0.5))
    assert pipeline.status()["shed"]["refusal"]["default"] == 0.5


@virtual
async def test_the_log_says_what_chaos_does_now(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever switches it on after a reload reads of the new fault, and not of the old latency."""
    pipeline = Pipeline(Chaos(0.5, latency=1), name="a")
    await pipeline.run(WELL)
    reload(pipeline, Chaos(0.5, fault=Fault("TimeoutError")))
    pipeline.states["chaos"].enabled = True
    assert caplog.messages == ["CHAOS IS ON in pipeline 'a': 50% of the calls get fault"]


class Listed(Policy):
    """Keeps a list only where somebody observes."""

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        if kit.emit is not None:
            kit.keep("listed", self, list)

        async def run(call: Call) -> Any:
            return await next(call)

        return run


@virtual
async def test_what_was_not_asked_for_since_the_last_link_is_not_kept() -> None:
    """A policy of one's own may need less than before; a reload takes nothing along for it then."""

    def observe(event: Event) -> None:
        pass

    pipeline = Pipeline(Listed(), observers=(observe,))
    await pipeline.run(WELL)
    assert [one.key for one in kept(pipeline)] == ["listed"]
    pipeline.unobserve(observe)
    await pipeline.run(WELL)
    assert kept(pipeline) == []
