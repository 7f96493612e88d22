"""Timeout that follows the latency: what feeds it, how it moves, and what it holds on to."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from resilience import (
    Adaptive,
    BulkheadFull,
    ConfigError,
    Deadline,
    Hedge,
    Kind,
    Op,
    Pipeline,
    Retry,
    TimedOut,
    Timeout,
    Verdict,
    within,
)
from resilience.call import Call, takes_call
from resilience.policies.timeout import Grants
from resilience.testing import Script, VirtualLoop, after, never, virtual
from resilience.timing.allowance import Allowance
from resilience.timing.timers import Lane

READ = Op("read", idempotent=True)
MEDIAN = Adaptive(quantile=0.5, factor=2.0, floor=0.05, window=60)
"""Means something from the tenth sample on."""


class Told(Exception):
    """An error whose verdict is its text."""


def classify(exc: Exception, op: Op) -> Verdict:
    return Verdict(Kind(str(exc)))


def guarded(adaptive: Adaptive = MEDIAN, seconds: float = 10, **more: Any) -> Pipeline:
    return Pipeline(Timeout(seconds, adaptive=adaptive, **more), classify=classify)


async def feed(pipeline: Pipeline, step: Any, count: int = 10, op: Op = READ) -> None:
    """So many calls at once that do this, whatever becomes of them; then long enough for the next revision."""
    await asyncio.gather(*(pipeline.run(Script(step), op=op) for _ in range(count)), return_exceptions=True)
    await asyncio.sleep(1)


def stands(pipeline: Pipeline, op: str = "read") -> tuple[float, int]:
    """What is granted now, and on how many samples."""
    status = pipeline.status()["timeout"][op]
    return status["seconds"], status["samples"]


def about(seconds: float) -> Any:
    """A quantile is 5 % off at most, and the step above it is 10 % more at most."""
    return pytest.approx(seconds * 1.05, rel=0.105)


async def expires_after(pipeline: Pipeline, op: Op = READ) -> float:
    """When a call that never answers is cut."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with pytest.raises(TimedOut) as caught:
        await pipeline.run(Script(never), op=op)
    assert caught.value.limit == "timeout"
    assert caught.value.seconds == pytest.approx(loop.time() - begun)
    return loop.time() - begun


@virtual
async def test_it_begins_cold_and_follows_the_quantile() -> None:
    """`seconds` until the tenth sample of a median, then twice what was measured."""
    pipeline = guarded()
    await feed(pipeline, after(0.2), 9)
    assert stands(pipeline) == (10, 9)
    assert await expires_after(pipeline) == 10
    await feed(pipeline, after(0.2), 20)
    assert await expires_after(pipeline) == about(0.4)
    assert await expires_after(pipeline) < 0.5


@virtual
async def test_it_is_revised_at_most_sixty_times_a_window() -> None:
    """A quantile costs; nothing that happens within a second can move a window of a minute by much."""
    pipeline = guarded()
    assert stands_or_cold(pipeline) == 10
    await asyncio.gather(*(pipeline.run(Script(after(0.2)), op=READ) for _ in range(10)))  # revised at 0
    await asyncio.sleep(0.79)
    assert await cut_at(pipeline, 5) == 5  # at 0.99 it is still the cold start that holds
    await asyncio.sleep(0.01)
    assert await expires_after(pipeline) == about(0.4)


def stands_or_cold(pipeline: Pipeline) -> float:
    found = pipeline.status().get("timeout", {}).get("read")
    return 10 if found is None else float(found["seconds"])


async def cut_at(pipeline: Pipeline, seconds: float) -> float:
    """How long a call that never answers runs, if its caller gives up after so many seconds."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    task = asyncio.ensure_future(pipeline.run(Script(never), op=READ))
    await asyncio.wait((task,), timeout=seconds)
    task.cancel()
    await asyncio.wait((task,))
    return loop.time() - begun


@virtual
async def test_each_operation_has_its_own() -> None:
    """The ticker's speed says nothing about the markets; per_op is the cold start of its operation."""
    pipeline = guarded(per_op={"markets": 20})
    await feed(pipeline, after(0.2), op=Op("ticker"))
    await feed(pipeline, after(6), op=Op("markets"))
    await feed(pipeline, after(0.2), 1, op=Op("other"))
    assert stands(pipeline, "ticker") == (about(0.4), 10)
    assert stands(pipeline, "markets") == (about(12), 10)
    assert stands(pipeline, "other") == (10, 1)


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0])
def test_a_slower_target_is_given_more_up_to_the_ceiling(factor: float) -> None:
    """Calls that time out count as what they were granted, so that the estimate grows in place of collapsing."""

    async def main() -> None:
        pipeline = guarded(Adaptive(quantile=0.9, factor=factor, floor=0.1, ceiling=8.0), seconds=4)
        await feed(pipeline, after(0.2), 30)
        assert (await expires_after(pipeline)) == about(0.2 * factor)
        granted: list[float] = []
        for _ in range(200):  # the target now takes three seconds
            await feed(pipeline, after(3), 10)
            granted.append(stands(pipeline)[0])
        assert granted == sorted(granted)
        assert await pipeline.run(Script(after(3, "answered")), op=READ) == "answered"
        assert granted[-1] <= min(8.0, 3 * factor * 1.2 * 1.1)  # it grows no further than it needs
        for _ in range(200):
            await feed(pipeline, never, 10)
        assert stands(pipeline)[0] == 8.0

    VirtualLoop().run(main())


@virtual
async def test_it_falls_again_when_the_target_is_fast_again() -> None:
    """What was slow is forgotten with the window."""
    pipeline = guarded(seconds=30)
    await feed(pipeline, after(9), 20)
    assert stands(pipeline)[0] == about(18)
    for _ in range(8):
        await feed(pipeline, after(0.2), 10)
    assert stands(pipeline)[0] == about(0.4)


@virtual
async def test_the_floor_and_the_ceiling_hold() -> None:
    """Exactly, whatever the steps; with no ceiling the cold start value is it."""
    pipeline = guarded(Adaptive(quantile=0.5, factor=2, floor=0.77), seconds=3.3)
    await feed(pipeline, "at once")
    assert await expires_after(pipeline) == 0.77
    for _ in range(20):
        await feed(pipeline, never, 30)
    assert stands(pipeline)[0] == 3.3
    higher = guarded(Adaptive(quantile=0.5, factor=2, floor=0.77, ceiling=4.4), seconds=3.3)
    await feed(higher, after(3), 30)
    assert stands(higher)[0] == 4.4


@virtual
async def test_a_pause_brings_the_cold_start_back() -> None:
    """After a window without calls nothing is known any more, already for the first that begins then."""
    pipeline = guarded()
    await feed(pipeline, after(0.2))
    await asyncio.sleep(44)
    assert await expires_after(pipeline) == about(0.4)
    await asyncio.sleep(200)
    assert await pipeline.run(Script(after(9, "slow"))) == "slow"
    assert await expires_after(pipeline) == 10


@pytest.mark.parametrize(
    ("step", "samples"),
    [
        ("value", 10),
        (Told("rejected"), 10),
        (Told("throttled"), 0),
        (Told("failed"), 0),
        (Told("unknown"), 0),
        (BulkheadFull("full"), 0),
        (never, 10),
        (asyncio.CancelledError(), 0),
    ],
)
def test_what_feeds_the_estimate(step: Any, samples: int) -> None:
    """Answers, and timeouts as what they were granted; a failure at once says nothing of how long it takes."""

    async def main() -> None:
        pipeline = guarded(seconds=5)
        await feed(pipeline, step)
        assert stands(pipeline)[1] == samples

    VirtualLoop().run(main())


@virtual
async def test_a_rejection_counts_as_what_it_took() -> None:
    """It answered."""
    await asyncio.sleep(7)
    pipeline = guarded()
    await feed(pipeline, after(0.2, Told("rejected")))
    assert stands(pipeline) == (about(0.4), 10)


@virtual
async def test_a_timeout_counts_as_what_it_was_granted() -> None:
    """Not as nothing, and not as more."""
    pipeline = guarded(Adaptive(quantile=0.5, factor=1, floor=0.1, ceiling=9), seconds=2)
    await feed(pipeline, never)
    assert stands(pipeline) == (about(2), 10)
    assert stands(pipeline)[0] > 2


@virtual
async def test_a_deadline_or_a_caller_that_cuts_it_short_teaches_nothing() -> None:
    """It took longer than that, but how long nobody knows; it may have been well within this timeout."""
    pipeline = guarded()
    for _ in range(20):
        with within(0.01), pytest.raises(TimedOut) as caught:
            await pipeline.run(Script(never), op=READ)
        assert caught.value.limit == "deadline"
        await cut_at(pipeline, 0.01)
    assert stands(pipeline) == (10, 0)


@virtual
async def test_what_ends_before_a_deadline_that_is_nearer_counts_as_ever() -> None:
    """Beneath a deadline the cold start may never be the nearer of the two."""
    for step in (after(0.2), after(0.2, Told("rejected"))):
        pipeline = guarded()
        with within(9):
            await feed(pipeline, step)
        assert stands(pipeline) == (about(0.4), 10)


@pytest.mark.parametrize("ending", ["value", Told("rejected"), never])
def test_a_lost_branch_of_a_hedged_call_teaches_nothing(ending: Any) -> None:
    """Also where it ends by itself before it is cancelled."""

    @takes_call
    async def lost(call: Call) -> Any:
        call.attempt.lost = True
        return await Script(ending)()

    async def main() -> None:
        pipeline = guarded(seconds=2)
        await asyncio.gather(*(pipeline.run(lost, op=READ) for _ in range(10)), return_exceptions=True)
        assert stands(pipeline) == (2, 0)

    VirtualLoop().run(main())


@virtual
async def test_beneath_a_hedge_only_the_winner_counts() -> None:
    """The loser is cancelled."""
    pipeline = Pipeline(Hedge(0.1), Timeout(10, adaptive=MEDIAN), classify=classify)
    for _ in range(10):
        assert await pipeline.run(Script(never, after(0.2, "second")), op=READ) == "second"
    await asyncio.sleep(1)
    assert stands(pipeline) == (about(0.4), 10)


@virtual
async def test_beneath_a_retry_and_a_deadline_each_attempt_is_granted_anew() -> None:
    """The first attempt is cut early, because the operation is known to be fast; the second answers."""
    pipeline = Pipeline(Deadline(60), Retry(wait=0), Timeout(30, adaptive=MEDIAN), classify=classify)
    await feed(pipeline, after(0.2))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    assert await pipeline.run(Script(never, after(0.2, "second")), op=READ) == "second"
    assert loop.time() - begun == about(0.6)


def test_the_estimate_survives_another_loop() -> None:
    """Whose clock begins at zero; the lanes are that loop's own."""
    pipeline = guarded()

    async def first() -> None:
        await asyncio.sleep(500)
        await feed(pipeline, after(0.2))

    VirtualLoop().run(first())
    for _ in range(2):
        assert VirtualLoop().run(expires_after(pipeline)) == about(0.4)


@virtual
async def test_an_observer_that_comes_later_costs_no_memory_of_what_was_measured() -> None:
    """The policies are bound anew, and find the estimate again."""
    pipeline = guarded()
    await feed(pipeline, after(0.2))
    pipeline.observe(lambda event: None)
    assert await expires_after(pipeline) == about(0.4)


@virtual
async def test_operations_are_bounded() -> None:
    """Names that are made per call cost no more than 256; the eldest begins anew when it comes back."""
    pipeline = guarded()
    await feed(pipeline, after(0.2), op=Op("first"))
    for number in range(255):
        await pipeline.run(Script("at once"), op=Op(f"op{number}"))
    assert len(pipeline.status()["timeout"]) == 256
    assert stands(pipeline, "first") == (about(0.4), 10)
    await pipeline.run(Script("at once"), op=Op("one more"))
    assert len(pipeline.status()["timeout"]) == 256
    assert "first" not in pipeline.status()["timeout"]
    assert "op0" in pipeline.status()["timeout"]
    await pipeline.run(Script("at once"), op=Op("first"))
    assert stands(pipeline, "first") == (10, 1)


@virtual
async def test_operations_of_one_speed_share_a_lane_and_what_nobody_is_granted_goes() -> None:
    """Timers stay as few as the lengths that are in force."""
    pipeline = guarded()
    for seconds in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2):
        for name in ("one", "two", "three"):
            await feed(pipeline, after(seconds), 40, op=Op(name))
        await asyncio.sleep(40)
    grants = pipeline.states["timeout"]
    assert isinstance(grants, Grants)
    assert len({stands(pipeline, name)[0] for name in ("one", "two", "three")}) == 1
    await pipeline.run(Script("at once"), op=Op("one"))
    assert len({id(grant.lane) for grant in grants.by_op.values()}) == 1
    assert len(grants._lanes) <= 1 + 3  # at most those that were in force when the last one was made


@virtual
async def test_a_lane_stays_as_long_as_an_operation_is_granted_its_length() -> None:
    """And goes when the next one is made after that."""
    pipeline = guarded()
    slow, quick = Op("slow"), Op("quick")
    await pipeline.run(Script("ok"), op=slow)
    await pipeline.run(Script("ok"), op=quick)
    grants = pipeline.states["timeout"]
    first = grants.by_op["slow"].lane
    assert grants.by_op["quick"].lane is first
    await feed(pipeline, after(0.2), 30, quick)
    short = stands(pipeline, "quick")[0]
    assert set(grants._lanes) == {10, short}
    assert grants.by_op["slow"].lane is grants._lanes[10] is first
    await feed(pipeline, after(0.2), 30, slow)
    assert stands(pipeline, "slow")[0] == short
    await feed(pipeline, after(0.4), 80, quick)
    longer = stands(pipeline, "quick")[0]
    assert set(grants._lanes) == {longer, short}


@virtual
async def test_a_call_keeps_the_time_that_it_was_granted_when_its_lane_has_gone() -> None:
    """A new length concerns those who begin after it."""
    pipeline = guarded()
    slow = asyncio.ensure_future(expires_after(pipeline))
    await asyncio.sleep(0.1)
    for seconds in (0.2, 0.4, 0.8):
        await feed(pipeline, after(seconds), 30)
    lanes = [found.seconds for found in gc.get_objects() if isinstance(found, Lane) and found.live]
    assert lanes == [10]
    assert await slow == 10


@virtual
async def test_a_deadline_that_is_not_nearer_costs_no_timer() -> None:
    """It is the timeout's own time then, also where both come at once, and all calls share its one timer."""
    loop = asyncio.get_running_loop()
    armed: list[float] = []
    call_at = loop.call_at
    loop.call_at = lambda when, *a, **k: (armed.append(when), call_at(when, *a, **k))[1]  # type: ignore[assignment, misc, method-assign]
    pipeline = guarded()
    for deadline in (10, 10, 11):
        with within(deadline):
            task = asyncio.ensure_future(expires_after(pipeline))
            await asyncio.sleep(0)
    assert armed == [10]
    assert await task == 10


@virtual
async def test_nothing_is_left_in_a_lane() -> None:
    """However a call ended, and where an error replaced the cancellation."""

    async def stubborn() -> None:
        try:
            await asyncio.sleep(99)
        except asyncio.CancelledError:
            raise Told("rejected") from None

    pipeline = guarded()
    for step in ("ok", Told("rejected"), after(10, "in the tick"), never):
        await asyncio.gather(pipeline.run(Script(step)), return_exceptions=True)
    with pytest.raises(Told):
        await pipeline.run(stubborn)
    await cut_at(pipeline, 1)
    for grant in pipeline.states["timeout"].by_op.values():
        assert not grant.lane.live
        assert not grant.lane._rung
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@virtual
async def test_nothing_is_kept_where_it_is_not_adaptive() -> None:
    """What is off costs nothing."""
    pipeline = Pipeline(Timeout(5))
    await pipeline.run(Script("ok"))
    assert pipeline.states == {}


def test_an_allowance_rounds_up_to_a_step() -> None:
    """So that lengths are few: within 10 % there is one."""
    rules = Adaptive(quantile=0.5, factor=1, floor=0.01, ceiling=100)
    assert Allowance(rules, 50).seconds == 50
    lengths = set()
    for thousandths in range(1000, 2000, 10):
        allowance = Allowance(rules, 50)
        for _ in range(10):
            allowance.latency.add(thousandths / 1000, 0.0)
        assert allowance.revise(0.0) == allowance.seconds
        assert thousandths / 1000 <= allowance.seconds < thousandths / 1000 * 1.16
        lengths.add(allowance.seconds)
    assert len(lengths) <= 9  # of the steps from 1 to 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adaptive(quantile=0), "Adaptive: quantile is 0, must be a number above 0 and at most 0.999"),
        (lambda: Adaptive(quantile=1), "Adaptive: quantile is 1"),
        (lambda: Adaptive(factor=0.9), "Adaptive: factor is 0.9, must be a number of at least 1"),
        (lambda: Adaptive(floor=0), "Adaptive: floor is 0, must be a number above 0"),
        (lambda: Adaptive(floor=2, ceiling=1), "Adaptive: ceiling is 1, must be a number of at least 2"),
        (lambda: Adaptive(window=0), "Adaptive: window is 0, must be a number above 0"),
        (lambda: Timeout(5, adaptive=True), r"Timeout: adaptive is True, must be Adaptive\(...\) or None"),  # type: ignore[arg-type]
        (lambda: Timeout(0.4, adaptive=Adaptive()), "Timeout: seconds is 0.4, below adaptive.floor, which is 0.5"),
        (lambda: Timeout(5, {"a": 0.4}, Adaptive()), r"Timeout: per_op\['a'\] is 0.4, below adaptive.floor"),
        (lambda: Timeout(5, adaptive=Adaptive(ceiling=4)), "Timeout: seconds is 5, above adaptive.ceiling, which is 4"),
        (lambda: Timeout(5, {"a": 7}, Adaptive(ceiling=6)), r"Timeout: per_op\['a'\] is 7, above adaptive.ceiling"),
    ],
)
def test_wrong_settings_are_named(make: Any, message: str) -> None:
    """The error says which field of what, and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_defaults() -> None:
    """Twice the 99th percentile of the last minute, no less than half a second, no more than the cold start."""
    assert Adaptive() == Adaptive(quantile=0.99, factor=2.0, floor=0.5, ceiling=None, window=60.0)


def test_the_bounds_may_meet() -> None:
    """A floor that is the ceiling, and a cold start value that is either."""
    assert Timeout(1, adaptive=Adaptive(floor=1, ceiling=1, factor=1, quantile=0.999)).seconds == 1
