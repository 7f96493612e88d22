"""What each policy keeps over a reload: what follows a change in place, what begins anew, and what is never lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from resilience import (
    Adaptive,
    AdaptiveLimit,
    Breaker,
    Bulkhead,
    BulkheadFull,
    Cache,
    Call,
    Chaos,
    CircuitOpen,
    Coalesce,
    ConfigError,
    Fallback,
    Hedge,
    Limit,
    Op,
    Pipeline,
    Policy,
    Pool,
    RateLimit,
    RateLimited,
    Retry,
    Shed,
    Timeout,
)
from resilience.limiting.limiter import Limiter
from resilience.policies.chaos import Fault
from resilience.reload import swap
from resilience.testing import Script, after, virtual

READ = Op("read", idempotent=True)


class Held:
    """Pipelines that share, and become others."""

    def __init__(self, **stacks: tuple[Any, ...]) -> None:
        self.shared: dict[str, Any] = {}
        self.all = {name: Pipeline(*stack, name=name, shared=self.shared) for name, stack in stacks.items()}
        self.removed: dict[str, Pipeline] = {}

    def become(self, **stacks: tuple[Any, ...]) -> list[Any]:
        candidates = {name: Pipeline(*stack, name=name, shared={}) for name, stack in stacks.items()}
        before = self.all
        self.all, gone = swap(self.all, candidates, self.shared, self.removed.values())
        self.removed |= {name: pipeline for name, pipeline in before.items() if name not in candidates}
        return gone

    def __getitem__(self, name: str) -> Pipeline:
        return self.all[name]


async def fails(call: Coroutine[Any, Any, Any]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (any)
        await call
    return caught.value


# -- breakers -------------------------------------------------------------------------------------------------------


@virtual
async def test_an_open_circuit_stays_open_for_the_rest_of_its_time() -> None:
    """Whatever else changes: rates, windows, open times. When the time is over it probes by the new rules."""
    held = Held(a=(Breaker(consecutive=1, open_for=10),))
    await fails(held["a"].run(Script(OSError())))
    first = held["a"].states["breaker"]
    await asyncio.sleep(5)
    left = (await fails(held["a"].run(Script(1)))).retry_after
    held.become(a=(Breaker(consecutive=3, open_for=99, window=7, count_window=9, slow_after=1, probes=2, ramp=0),))
    assert held["a"].states["breaker"] is first
    error = await fails(held["a"].run(Script(1)))
    assert isinstance(error, CircuitOpen)
    assert error.retry_after == left
    await asyncio.sleep(left)
    assert await held["a"].run(Script("probe")) == "probe"
    assert held["a"].status()["breaker"]["default"]["state"] == "half-open"  # two are wanted now
    held.become(a=(Breaker(consecutive=1, probes=1),))
    assert await held["a"].run(Script("probe")) == "probe"
    assert held["a"].status()["breaker"]["default"]["state"] == "closed"


@virtual
async def test_what_a_closed_circuit_has_counted_counts_by_the_new_numbers() -> None:
    """Two failures in a row, then three are wanted in place of five: the next one trips it."""
    held = Held(a=(Breaker(consecutive=5, min_calls=99),))
    for _ in range(2):
        await fails(held["a"].run(Script(OSError())))
    held.become(a=(Breaker(consecutive=3, min_calls=99, open_for=2, max_open_for=2),))
    assert held["a"].status()["breaker"]["default"]["calls"] == 2
    await fails(held["a"].run(Script(OSError())))
    circuit = held["a"].states["breaker"]["default"]
    assert circuit._state.label == "open"
    assert 2 <= circuit.store.until - circuit.now() <= 2.4


@virtual
async def test_a_permit_of_a_circuit_that_counts_otherwise_now_moves_nothing() -> None:
    """A call that began before slow calls counted fails after: it is no failure of the new count, and no permit."""
    held = Held(a=(Breaker(consecutive=1),))
    task = asyncio.create_task(fails(held["a"].run(Script(after(5, OSError())))))
    await asyncio.sleep(1)
    held.become(a=(Breaker(consecutive=1, slow_after=60),))
    await task
    circuit = held["a"].states["breaker"]["default"]
    assert (circuit._state.label, circuit._state.busy, circuit._state.generation) == ("closed", 0, 2)


@virtual
async def test_a_mode_set_by_hand_stays_unless_the_file_changes_it() -> None:
    """An operator who forced a circuit open is not overruled by a reload about something else."""
    held = Held(a=(Breaker(),))
    await held["a"].run(Script(1))
    held["a"].states["breaker"].mode = "forced_open"
    held.become(a=(Breaker(min_calls=11),))
    assert isinstance(await fails(held["a"].run(Script(1))), CircuitOpen)
    held.become(a=(Breaker(min_calls=11, mode="disabled"),))
    assert await held["a"].run(Script(1)) == 1


@virtual
async def test_a_breaker_of_another_key_begins_anew() -> None:
    """Its circuits are those of other things."""
    held = Held(a=(Breaker(consecutive=1),))
    await fails(held["a"].run(Script(OSError())))
    (gone,) = held.become(a=(Breaker(consecutive=1, key="host"),))
    assert next(iter(gone))._state.label == "open"
    assert await held["a"].run(Script(1)) == 1


@virtual
async def test_open_times_that_did_not_change_go_on_growing() -> None:
    """A circuit whose probes failed twice waits four times as long, over a reload as well."""
    held = Held(a=(Breaker(consecutive=1, open_for=1),))
    circuit = None
    for seconds in (1, 2, 4):
        await fails(held["a"].run(Script(OSError())))
        circuit = held["a"].states["breaker"]["default"]
        left = circuit.store.until - circuit.now()
        assert seconds <= left <= 1.2 * seconds
        await asyncio.sleep(left)
        held.become(a=(Breaker(consecutive=1, open_for=1, min_calls=10 + seconds),))


# -- places -----------------------------------------------------------------------------------------------------------


@virtual
async def test_places_taken_stay_taken_and_the_new_limit_counts_them() -> None:
    """Two of three are taken; with a limit of two nobody else comes in, until one has left."""
    held = Held(a=(Bulkhead(3),))
    tasks = [asyncio.create_task(held["a"].run(Script(after(5 + i, i)))) for i in range(2)]
    await asyncio.sleep(1)
    held.become(a=(Bulkhead(2),))
    assert isinstance(await fails(held["a"].run(Script(1))), BulkheadFull)
    await tasks[0]
    assert await held["a"].run(Script(1)) == 1
    await tasks[1]
    assert held["a"].status()["bulkhead"] == {"limit": 2, "busy": 0, "waiting": 0, "refused": 1}


@virtual
async def test_who_waits_is_let_in_by_a_higher_limit_at_once() -> None:
    """And a queue that becomes shorter puts nobody out; by key as well."""
    for key in (None, "op"):
        held = Held(a=(Bulkhead(1, queue=5, key=key),))
        tasks = [asyncio.create_task(held["a"].run(Script(after(5, i)))) for i in range(4)]
        await asyncio.sleep(1)
        held.become(a=(Bulkhead(3, queue=0, max_wait=1, order="lifo", key=key),))
        await asyncio.sleep(0)
        status = held["a"].status()["bulkhead"]
        status = status if key is None else status["call"]
        assert (status["busy"], status["waiting"]) == (3, 1)
        assert await asyncio.gather(*tasks) == [0, 1, 2, 3]


@virtual
async def test_a_call_heavier_than_a_limit_that_fell_goes_alone() -> None:
    """It began under the old limit: it waits until nobody else is in, and then it is served."""
    heavy = Op("heavy", cost=4)
    held = Held(a=(Bulkhead(4, queue=5, weight="cost"),))
    light = asyncio.create_task(held["a"].run(Script(after(5, "light"))))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(held["a"].run(Script("heavy"), op=heavy))
    await asyncio.sleep(1)
    held.become(a=(Bulkhead(2, queue=5, weight="cost"),))
    assert await asyncio.gather(light, waiting) == ["light", "heavy"]
    assert isinstance(await fails(held["a"].run(Script(1), op=heavy)), ConfigError)  # a new one is told at once
    assert held["a"].status()["bulkhead"]["busy"] == 0


@virtual
async def test_a_call_that_comes_back_to_a_limit_below_its_weight_goes_alone() -> None:
    """A retry in flight enters the gate again by the terms on which its call began."""
    held = Held(a=(Retry(on=OSError, wait=2, jitter="none"), Bulkhead(4, queue=5, weight="cost")))
    task = asyncio.create_task(held["a"].run(Script(OSError(), "late"), op=Op("heavy", cost=4)))
    await asyncio.sleep(1)
    held.become(a=(Retry(on=OSError, wait=2, jitter="none"), Bulkhead(2, queue=5, weight="cost")))
    assert await task == "late"


@virtual
async def test_a_second_bulkhead_takes_nothing_from_the_one_that_was_there() -> None:
    """Put inside, where it would get the other's key, it begins with nobody in it."""
    held = Held(a=(Bulkhead(3), Retry(on=OSError)))
    task = asyncio.create_task(held["a"].run(Script(after(5, 1))))
    await asyncio.sleep(1)
    held.become(a=(Bulkhead(3), Retry(on=OSError), Bulkhead(7)))
    status = held["a"].status()
    assert status["bulkhead#2"]["busy"] == 1
    assert "bulkhead" not in status  # made with the next call
    held.become(a=(Bulkhead(4), Retry(on=OSError), Bulkhead(7)))  # once more, and nobody has called in between
    assert held["a"].status()["bulkhead#2"]["busy"] == 1
    held.become(a=(Bulkhead(4), Retry(on=OSError)))
    assert held["a"].status()["bulkhead"]["busy"] == 1
    held.become(a=(Bulkhead(4), Retry(on=OSError), Bulkhead(7)))
    await task
    assert await held["a"].run(Script(1)) == 1
    assert [held["a"].status()[key]["busy"] for key in ("bulkhead", "bulkhead#2")] == [0, 0]


@virtual
async def test_an_adaptive_limit_keeps_what_it_has_found() -> None:
    """Within the new bounds, under another algorithm too."""
    held = Held(a=(AdaptiveLimit(initial=20),))
    await held["a"].run(Script(1))
    state = held["a"].states["adaptive_limit"]
    held.become(a=(AdaptiveLimit("aimd", initial=30, least=25, most=40, queue=3),))
    assert held["a"].states["adaptive_limit"] is state
    assert (state.gate.limit, state.controller.limit) == (25, 25)
    held.become(a=(AdaptiveLimit("aimd", initial=5, least=5, most=10),))
    assert state.gate.limit == 10


# -- rates ------------------------------------------------------------------------------------------------------------


async def sent(pipeline: Pipeline, count: int) -> int:
    """How many of so many calls are let go at once."""
    done = 0
    for _ in range(count):
        try:
            await pipeline.run(Script(1), op=READ)
        except RateLimited:
            continue
        done += 1
    return done


@virtual
async def test_a_new_rate_counts_what_was_sent_under_the_old_one() -> None:
    """Never more than n in any window, wherever the reload falls in it; a longer window too."""
    held = Held(a=(RateLimit("10/1s", key="ip", max_wait=0),))
    assert await sent(held["a"], 99) == 10
    held.become(a=(RateLimit("15/1s", key="ip", max_wait=0),))
    assert await sent(held["a"], 99) == 5
    await asyncio.sleep(1.1)
    assert await sent(held["a"], 99) == 15
    held.become(a=(RateLimit("6/1s", key="ip", max_wait=0),))
    assert await sent(held["a"], 99) == 0
    await asyncio.sleep(1.1)
    assert await sent(held["a"], 99) == 6


@virtual
async def test_a_longer_window_counts_what_the_log_of_the_old_one_has_forgotten() -> None:
    """To the second for a minute; what lies further back counts as all that may be sent."""
    held = Held(a=(RateLimit("10/1s", key="ip", max_wait=0),))
    assert await sent(held["a"], 99) == 10
    await asyncio.sleep(4)
    assert await sent(held["a"], 4) == 4
    held.become(a=(RateLimit("20/10s", key="ip", max_wait=0),))
    assert await sent(held["a"], 99) == 6
    old = Held(a=(RateLimit("10/1s", key="ip", max_wait=0),))
    for _ in range(80):
        assert await sent(old["a"], 1) == 1
        await asyncio.sleep(1.2)
    old.become(a=(RateLimit("1000/2h", key="ip", max_wait=0),))
    assert await sent(old["a"], 99) == 0
    old.become(a=(RateLimit("100/30s", key="ip", max_wait=0),))
    assert 1 <= await sent(old["a"], 99) <= 20  # at the pace of a large limit


@virtual
async def test_who_waits_for_a_rate_waits_by_the_new_one() -> None:
    """Sooner where it is higher."""
    held = Held(a=(RateLimit("1/10s", key="op"),))
    tasks = [asyncio.create_task(held["a"].run(Script(i), op=READ)) for i in range(3)]
    await asyncio.sleep(1)
    held.become(a=(RateLimit("3/10s", key="op"),))
    await asyncio.sleep(0.1)
    assert all(task.done() for task in tasks)


@virtual
async def test_another_key_begins_with_all_that_was_sent_and_with_every_pause() -> None:
    """Whose calls they were, nobody knows; so no promise is broken by assuming that they were everybody's."""
    held = Held(a=(RateLimit("10/1s", key="op", max_wait=0),))
    assert await sent(held["a"], 4) == 4
    held["a"].states["rate_limit"].line("other").pause(3)
    held.become(a=(RateLimit("10/1s", key="ip", max_wait=0),))
    assert await sent(held["a"], 99) == 0  # paused
    await asyncio.sleep(3.1)
    assert await sent(held["a"], 99) == 10
    quiet = Held(a=(RateLimit("10/1s", max_wait=0),))
    assert await sent(quiet["a"], 4) == 4
    quiet.become(a=(RateLimit("10/1s", key="ip", max_wait=0),))
    assert await sent(quiet["a"], 99) == 6


@virtual
async def test_who_leaves_a_shared_limit_takes_a_copy_and_the_others_go_on() -> None:
    """Two pipelines of one address; one of them gets a rate of its own."""
    held = Held(a=(RateLimit("10/1s", key="ip", max_wait=0),), b=(RateLimit("10/1s", key="ip", max_wait=0),))
    assert await sent(held["a"], 3) + await sent(held["b"], 3) == 6
    held.become(a=(RateLimit("8/1s", key="ip", max_wait=0),), b=(RateLimit("10/1s", key="ip", max_wait=0),))
    assert await sent(held["a"], 99) == 2
    assert await sent(held["b"], 99) == 4
    await asyncio.sleep(1.1)
    held.become(a=(RateLimit("9/1s", key="ip", max_wait=0),), b=(RateLimit("9/1s", key="ip", max_wait=0),))
    assert await sent(held["a"], 99) + await sent(held["b"], 99) == 9
    assert held["a"].states == held["b"].states


@virtual
async def test_of_several_limits_each_goes_on_by_itself() -> None:
    """They are told apart by what they are, and not by where they stand."""
    first, second = Limit("5/1s", key="op"), Limit("7/1s", key="host")
    held = Held(a=(RateLimit("20/1s", max_wait=0, also=(first, second)),))
    assert await sent(held["a"], 99) == 5
    held.become(a=(RateLimit("20/1s", max_wait=0, also=(second,)),))
    assert await sent(held["a"], 99) == 2


# -- pools ------------------------------------------------------------------------------------------------------------


class Resource:
    def __init__(self) -> None:
        self.closed = False

    async def aclose(self) -> None:
        self.closed = True


@virtual
async def test_a_pool_that_changed_is_closed_when_its_last_borrower_is_back() -> None:
    """New calls get the new resource at once; one in flight that comes back opens the old one once more."""
    opened: list[tuple[str, Resource]] = []

    def opener(name: str) -> Any:
        def open() -> Resource:
            opened.append((name, Resource()))
            return opened[-1][1]

        return open

    old, new = Pool(opener("old"), name="rest"), Pool(opener("new"), name="rest")
    retry = Retry(on=OSError, wait=2, jitter="none")
    held = Held(a=(retry, old), b=(retry, old))
    long = asyncio.create_task(held["a"].run(Script(after(5, "long"))))
    again = asyncio.create_task(held["a"].run(Script(after(1, OSError()), after(9, "again"))))
    await asyncio.sleep(0.5)
    (lender,) = held.become(a=(retry, new), b=(retry, new))
    lender.retire()
    assert await held["b"].run(Script("b")) == "b"
    assert [name for name, _ in opened] == ["old", "new"]
    await asyncio.sleep(3)
    assert not opened[0][1].closed
    assert await long == "long"
    await asyncio.sleep(0)
    assert not opened[0][1].closed  # the other one has come back to it
    assert await again == "again"
    await asyncio.sleep(0.1)
    assert opened[0][1].closed
    assert lender.closed
    assert not opened[1][1].closed
    assert await held["a"].run(Script("a")) == "a"
    assert held["a"].states["pool:rest"] is held["b"].states["pool:rest"] is not lender


@virtual
async def test_a_retired_pool_that_is_opened_for_nobody_is_closed() -> None:
    """The only one who waited was cancelled while it opened; and one that nobody holds is closed at once."""
    resource = Resource()

    async def open() -> Resource:
        await asyncio.sleep(1)
        return resource

    held = Held(a=(Pool(open, name="x"),))
    task = asyncio.create_task(held["a"].run(Script(1)))
    await asyncio.sleep(0.5)
    (lender,) = held.become(a=(Pool(open, name="y"),))
    lender.retire()
    task.cancel()
    await asyncio.sleep(2)
    assert resource.closed
    assert lender.closed


@virtual
async def test_a_pool_whose_longest_wait_changes_lends_the_same_resource() -> None:
    """Only what makes the resource makes another pool."""
    held = Held(a=(Pool(Resource, name="x"),))
    await held["a"].run(Script(1))
    assert held.become(a=(Pool(Resource, name="x", max_wait=3),)) == []
    await held["a"].run(Script(1))
    assert held["a"].status()["pool:x"]["opened"] == 1


# -- the others -------------------------------------------------------------------------------------------------------


@virtual
async def test_answers_stay_and_are_served_by_the_new_times() -> None:
    """A shorter time to live makes an old answer stale; a smaller shelf forgets those unused for longest."""
    held = Held(a=(Cache(100),), b=(Fallback(last_good=100),))
    for symbol in ("BTC", "ETH"):
        await held["a"].run(ask, symbol, op=READ)
        await held["b"].run(ask, symbol, op=READ)
    held.become(a=(Cache(100, most=1),), b=(Fallback(last_good=100, most=1),))
    assert held["a"].status()["cache"]["size"] == held["b"].status()["fallback"]["size"] == 1
    await held["a"].run(ask, "ETH", op=READ)
    assert held["a"].status()["cache"]["hits"] == 1
    await asyncio.sleep(5)
    held.become(a=(Cache(4),), b=(Fallback(last_good=100, key=lambda call: "x"),))
    await held["a"].run(ask, "ETH", op=READ)
    assert held["a"].status()["cache"]["misses"] == 3
    assert "fallback" not in held["b"].status()


async def ask(symbol: str) -> str:
    return symbol


@virtual
async def test_a_flight_is_joined_by_those_who_come_after_the_reload() -> None:
    """What lies beneath may have changed: the flight goes on as it began."""
    held = Held(a=(Coalesce(), Timeout(50)))
    script = Script(after(5, "one flight"))
    first = asyncio.create_task(held["a"].run(script, op=READ))
    await asyncio.sleep(1)
    held.become(a=(Coalesce(), Timeout(60)))
    assert await asyncio.gather(first, held["a"].run(script, op=READ)) == ["one flight"] * 2
    assert script.count == 1


@virtual
async def test_measured_latency_stays_unless_it_was_measured_over_another_time() -> None:
    """Adaptive timeouts, and hedges after a quantile."""
    held = Held(a=(Timeout(9, adaptive=Adaptive()),), b=(Hedge("p50", initial=5),))
    for _ in range(100):
        await held["a"].run(Script(after(0.2, 1)), op=READ)
        await held["b"].run(Script(after(0.2, 1)), op=READ)
    held.become(a=(Timeout(9, adaptive=Adaptive(factor=4, ceiling=30)),), b=(Hedge("p50", extra=2, initial=5),))
    assert held["a"].status()["timeout"]["read"] == {"seconds": pytest.approx(0.8, rel=0.2), "samples": 100}
    assert held["b"].status()["hedge"]["delay"]["read"] < 1
    held.become(a=(Timeout(8, adaptive=Adaptive(window=10)),), b=(Hedge("p90", initial=5),))
    assert held["a"].status()["timeout"] == {}
    assert held["b"].status()["hedge"]["delay"] == {}
    await held["a"].run(Script(1), op=READ)
    held.become(a=(Timeout(8),), b=(Hedge("p90", initial=5),))
    assert held["a"].status() == {}


@virtual
async def test_a_shedding_pipeline_keeps_its_count() -> None:
    """Unless it counts over another time."""
    held = Held(a=(Shed(),))
    for _ in range(4):
        await held["a"].run(Script(1))
    held.become(a=(Shed(k=3, min_calls=20),))
    assert held["a"].status()["shed"]["requests"] == 4
    assert held["a"].states["shed"].ks["critical"] == 6
    held.become(a=(Shed(k=3, min_calls=20, window=5),))
    assert held["a"].status()["shed"]["requests"] == 0


@virtual
async def test_chaos_set_by_hand_stays_where_the_file_says_nothing_new() -> None:
    """Switched on by hand, it stays on while the file changes something else; what the file changes is done."""
    held = Held(a=(Chaos(0.5, fault=Fault("TimeoutError")),))
    await held["a"].run(Script(1))
    switch = held["a"].states["chaos"]
    switch.enabled = True
    held.become(a=(Chaos(0.5, fault=Fault("TimeoutError"), latency=1),))
    assert (switch.enabled, switch.rate) == (True, 0.5)
    held.become(a=(Chaos(0.25, fault=Fault("TimeoutError")),))
    assert (switch.enabled, switch.rate) == (True, 0.25)
    held.become(a=(Chaos(0.25, enabled=True, fault=Fault("TimeoutError")),))
    held.become(a=(Chaos(0.25, fault=Fault("TimeoutError")),))
    assert not switch.enabled


# -- the swap itself --------------------------------------------------------------------------------------------------


@virtual
async def test_a_removed_pipeline_goes_on_and_keeps_what_it_shares() -> None:
    """Whoever holds it still counts against the limit of the address; when its name comes back, it follows again."""
    limit = (RateLimit("10/1s", key="ip", max_wait=0),)
    held = Held(a=limit, b=limit)
    b = held["b"]
    assert await sent(b, 4) == 4
    held.become(a=limit)
    assert "b" not in held.all
    assert await sent(held["a"], 3) + await sent(b, 99) == 6
    await asyncio.sleep(1.1)
    held.become(a=(RateLimit("5/1s", key="ip", max_wait=0),))
    assert await sent(b, 99) == 10  # as it was
    assert await sent(held["a"], 99) <= 5


@virtual
async def test_a_pipeline_that_cannot_take_the_place_changes_nothing() -> None:
    """One more pool would change what is called; a policy that cannot guard a stream; a retry that knows too little."""

    async def stream() -> Any:
        yield 1

    held = Held(a=(Bulkhead(1),), b=(Bulkhead(1),), c=(Bulkhead(1),))
    held["b"](stream)
    held["c"](ask)
    before = {name: pipeline.policies for name, pipeline in held.all.items()}
    plain = {name: (Bulkhead(2),) for name in "abc"}
    for name, stack, words in (
        ("a", (Pool(Resource, name="x"),), "lends 1 resources in place of 0"),
        ("b", (Breaker(),), "is a stream, and Breaker means nothing"),
        ("c", (Retry(),), "cannot know which errors of this function are safe"),
    ):
        with pytest.raises(ConfigError, match=words):
            held.become(**{**plain, name: stack})
        assert {name: pipeline.policies for name, pipeline in held.all.items()} == before
    held.become(**plain)


def test_before_the_first_call_and_without_a_loop_there_is_nothing_to_lose() -> None:
    """A reload needs no running event loop."""
    held = Held(a=(Bulkhead(1), RateLimit("10/1s", key="ip")))
    assert held.become(a=(Bulkhead(2),), b=(Timeout(1),)) == []
    assert held["a"].policies == (Bulkhead(2),)
    assert set(held.all) == {"a", "b"}


class Odd(Policy):
    """A policy of somebody else's, which keeps a list and says nothing of a reload."""

    def bind(self, next: Any, kit: Any) -> Any:
        seen: list[str] = kit.keep("odd", self, list)

        async def run(call: Call) -> Any:
            seen.append(call.op.name)
            return await next(call)

        return run


class Worse(Odd):
    def inherit(self, before: Any, state: Any, now: float, alone: bool) -> Any:
        raise ValueError("no")


@virtual
async def test_a_policy_of_ones_own_keeps_its_state_as_the_same_object(caplog: pytest.LogCaptureFixture) -> None:
    """Another one begins anew, and so does one that fails to say."""
    one, worse = Odd(), Worse()
    held = Held(a=(one, worse))
    await held["a"].run(Script(1))
    held.become(a=(one, worse))
    assert held["a"].states["odd#2"] == ["call"]
    assert "odd" not in held["a"].states
    assert "begins anew" in caplog.text
    held.become(a=(Odd(), Worse()))
    assert dict(held["a"].states) == {}


@pytest.mark.parametrize("seed", range(60))
def test_no_sequence_of_rates_lets_more_through_than_the_one_in_force(seed: int) -> None:
    """Whatever the rates were before: each send finds fewer than n in the window W that ends with it; and some go."""
    dice = random.Random(seed)
    count, window = 5.0, 1.0
    limiter = Limiter(count, window)
    sent: list[float] = []
    now, allowed = 0.0, 0
    for _ in range(600):
        now += dice.choice((0.0, 0.001, 0.05, 0.3))
        if dice.random() < 0.02:
            count, window = float(dice.randint(1, 60)), dice.choice((0.5, 1.0, 3.0, 10.0))
            limiter.become(count, window, now)
        if limiter.take(1.0, now) if limiter.until <= now or limiter.left < 1 else _allotted(limiter):
            assert sum(at > now - window for at in sent) + 1 <= count
            sent.append(now)
            allowed += 1
    assert allowed > 20
    now += 30
    assert limiter.take(1.0, now)


def _allotted(limiter: Limiter) -> bool:
    limiter.left -= 1
    return True


@virtual
async def test_tokens_come_back_after_the_new_window() -> None:
    """Neither sooner, where it has become longer, nor later, where it has become shorter."""
    held = Held(a=(RateLimit("10/1s", key="ip", max_wait=0),))
    assert await sent(held["a"], 99) == 10
    held.become(a=(RateLimit("10/3s", key="ip", max_wait=0),))
    await asyncio.sleep(2)
    assert await sent(held["a"], 99) == 0
    await asyncio.sleep(1.2)
    assert await sent(held["a"], 99) == 10
    held.become(a=(RateLimit("10/1s", key="ip", max_wait=0),))
    await asyncio.sleep(1.1)
    assert await sent(held["a"], 99) == 10
