"""The cancellation sweep: every policy alone and ten compositions, disturbed at every turn of the event loop.

`resilience.testing.sweep` is checked first: it must find what a policy with a planted fault leaves behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from resilience import (
    Adaptive,
    AdaptiveLimit,
    Breaker,
    Bulkhead,
    Cache,
    Chaos,
    CircuitOpen,
    Coalesce,
    Deadline,
    Fallback,
    Hedge,
    Kind,
    Limit,
    Op,
    Pipeline,
    Policy,
    Pool,
    RateLimit,
    Retry,
    RetryBudget,
    RetryQuota,
    Shed,
    Timeout,
    Verdict,
)
from resilience.call import Call, Handler
from resilience.kit import Kit
from resilience.testing import DISTURBANCES, Injected, Scene, Target, after, sweep

WRITE = Op("write")
SLOW = after(0.25, "done")


class Sick(Exception):
    """Not executed; something broke on the way."""


class Busy(Exception):
    """Not executed; come back in two seconds."""


class Lost(Exception):
    """It broke after sending."""


def classify(exc: Exception, op: Op) -> Verdict:
    kind = {Sick: Kind.FAILED, Busy: Kind.THROTTLED, Lost: Kind.UNKNOWN, Injected: Kind.FAILED}.get(type(exc))
    return Verdict(kind or Kind.REJECTED, type(exc).__name__, retry_after=2.0 if kind is Kind.THROTTLED else None)


def scene(
    *policies: Any, steps: tuple[Any, ...] = (SLOW,), rivals: int = 0, tripped: bool = False, **more: Any
) -> Scene:
    """A scene of these policies; where `tripped`, a failure has opened a circuit, whose open time is over."""
    pipeline = Pipeline(*policies, classify=classify, seed=1, shared={})

    async def open_circuit() -> None:
        with pytest.raises((Sick, CircuitOpen)):  # what it raises is the retry's business
            await pipeline.run(Target(Sick()), op=WRITE)
        await asyncio.sleep(10)

    made = Scene(pipeline, Target(*steps), rivals=rivals, raises=(Sick, Busy, Lost), **more)
    if tripped:
        made.prepare = open_circuit
    return made


def adapted(timeout: Timeout) -> Scene:
    """A scene whose timeout has adapted to fast calls, so that the slow one is late."""
    made = scene(timeout, rivals=2)

    async def learn() -> None:
        for _ in range(10):
            await made.pipeline.run(Target("at once"), op=made.op)
        await asyncio.sleep(2)

    made.prepare = learn
    return made


def retry(**fields: Any) -> Retry:
    return Retry(**{"wait": 0.1, "jitter": "none", **fields})


class Resource:
    """What a pool lends; it takes a moment to close."""

    async def aclose(self) -> None:
        await asyncio.sleep(0.1)


async def opened() -> Resource:
    await asyncio.sleep(0.05)
    return Resource()


def pool(**fields: Any) -> Pool[Resource]:
    return Pool(opened, name="rest", broken=Sick, **fields)


@dataclass(frozen=True, slots=True)
class Through(Policy):
    """What lies beneath goes through another pipeline too, as a nested call does."""

    inner: Pipeline

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        async def run(call: Call) -> Any:
            return await self.inner.run(next, call, op=call.op)

        return run


def once(*policies: Any, **more: Any) -> Scene:
    """A scene in which callers share what happens: an injected error reaches each of them as one of his own."""
    made = scene(*policies, **more)
    made.raises += (Injected,)
    return made


def aged(*policies: Any, steps: tuple[Any, ...] = (SLOW,), **more: Any) -> Scene:
    """The same, ten seconds after an answer of the target was remembered."""
    made = once(*policies, steps=("old", *steps), **more)

    async def remember() -> None:
        await made.pipeline.run(made.target, op=made.op)
        await asyncio.sleep(10)

    made.prepare = remember
    return made


FAILS = (after(0.1, Sick()), after(0.1, Lost()), SLOW)
THROTTLES = (after(0.1, Busy()), SLOW)

ALONE: dict[str, Callable[[], Scene]] = {
    "nothing": scene,
    "deadline": lambda: scene(Deadline(1)),
    "deadline, late": lambda: scene(Deadline(0.1)),
    "timeout": lambda: scene(Timeout(1), rivals=2),
    "timeout, late": lambda: scene(Timeout(0.1), rivals=2),
    "timeout, in the tick of the result": lambda: scene(Timeout(0.25), rivals=1),
    "retry": lambda: scene(retry(), steps=FAILS),
    "retry, all fail": lambda: scene(retry(), steps=(after(0.1, Sick()),)),
    "retry, retry_after": lambda: scene(retry(), steps=THROTTLES),
    "retry, an unwanted result": lambda: scene(retry(result=lambda value: value == 1), steps=(1, SLOW)),
    "retry, of a write": lambda: scene(retry(), steps=FAILS, op=WRITE),
    "breaker, closed": lambda: scene(Breaker(), rivals=1),
    "breaker, tripping": lambda: scene(Breaker(consecutive=1), steps=(after(0.1, Sick()),), rivals=2),
    "breaker, a probe": lambda: scene(Breaker(consecutive=1), tripped=True),
    "breaker, a probe that fails": lambda: scene(Breaker(consecutive=1), tripped=True, steps=FAILS),
    "breaker, a probe among rivals": lambda: scene(Breaker(consecutive=1), tripped=True, rivals=1),
    "breaker, two probes": lambda: scene(Breaker(consecutive=1, probes=2), tripped=True, rivals=1),
    "breaker, a probe throttled": lambda: scene(Breaker(consecutive=1), tripped=True, steps=THROTTLES),
    "bulkhead": lambda: scene(Bulkhead(2), rivals=1),
    "bulkhead, full": lambda: scene(Bulkhead(1), rivals=1),
    "bulkhead, queue": lambda: scene(Bulkhead(1, queue=4), rivals=3),
    "bulkhead, queue, in time": lambda: scene(Bulkhead(1, queue=4, max_wait=5), rivals=2),
    "bulkhead, queue, late": lambda: scene(Bulkhead(1, queue=4, max_wait=0.1), rivals=2),
    "bulkhead, queue, late in the tick of the turn": lambda: scene(Bulkhead(1, queue=4, max_wait=0.25), rivals=1),
    "pool": lambda: scene(pool()),
    "pool, with rivals": lambda: scene(pool(), rivals=3),
    "pool, late": lambda: scene(pool(max_wait=0.01), rivals=1),
    "pool, broken": lambda: scene(pool(), steps=(after(0.1, Sick()), SLOW), rivals=3),
    "rate limit": lambda: scene(RateLimit("10/s"), rivals=2),
    "rate limit, waiting": lambda: scene(RateLimit("1/s"), rivals=3),
    "rate limit, refused": lambda: scene(RateLimit("1/s", max_wait=0.5), rivals=1),
    "rate limit, throttled": lambda: scene(RateLimit("2/s"), steps=(after(0.1, Busy()), SLOW), rivals=3),
    "rate limit, of one account": lambda: scene(RateLimit("1/s", key="account"), rivals=2),
    "hedge, not needed": lambda: scene(Hedge(1)),
    "hedge": lambda: scene(Hedge(0.1, extra=2)),
    "hedge, one fails": lambda: scene(Hedge(0.05, extra=2), steps=FAILS),
    "hedge, all fail": lambda: scene(Hedge(0.05), steps=(after(0.1, Lost()), after(0.1, Sick()))),
    "fallback": lambda: scene(Fallback(0)),
    "fallback, used": lambda: scene(Fallback(0), steps=FAILS),
    "fallback, a coroutine": lambda: scene(Fallback(call=lambda error: asyncio.sleep(0.1, 0)), steps=FAILS),
    "timeout, adaptive": lambda: scene(Timeout(1, adaptive=Adaptive(floor=0.1)), rivals=2),
    "timeout, adaptive, late": lambda: scene(Timeout(0.1, adaptive=Adaptive(floor=0.1)), rivals=2),
    "timeout, adaptive, in the tick of the result": lambda: scene(
        Timeout(0.25, adaptive=Adaptive(floor=0.2)), rivals=1
    ),
    "timeout, adaptive, shortened meanwhile": lambda: adapted(Timeout(9, adaptive=Adaptive(quantile=0.5, floor=0.2))),
    "timeout, adaptive, of failures": lambda: scene(Timeout(1, adaptive=Adaptive(floor=0.1)), steps=FAILS, rivals=2),
    "deadline, by operation": lambda: scene(Deadline(9, per_op={"swept": 0.1}), Timeout(1), rivals=1),
    "shed": lambda: scene(Shed(), rivals=2),
    "shed, counting failures": lambda: scene(Shed(min_calls=1), steps=FAILS, rivals=2),
    "shed, holding back": lambda: scene(Shed(min_calls=1, floor=0.5), tripped=True, rivals=3),
    "shed, beneath a hedge": lambda: scene(Hedge(0.1, extra=2), Shed(min_calls=1), rivals=1),
    "shed, above a breaker": lambda: scene(Shed(min_calls=1), Breaker(consecutive=1), tripped=True, rivals=1),
    "breaker, the last calls": lambda: scene(Breaker(window=None, count_window=2), steps=FAILS, rivals=2),
    "breaker, slow ones under way": lambda: scene(Breaker(slow_after=0.1, min_calls=2), rivals=2),
    "breaker, slow ones that trip": lambda: scene(Breaker(slow_after=0.1, min_calls=1), steps=FAILS, rivals=2),
    "breaker, a slow probe": lambda: scene(Breaker(consecutive=1, slow_after=0.2), tripped=True, rivals=1),
    "breaker, a ratio of probes": lambda: scene(
        Breaker(consecutive=1, probes=3, probe_success=0.6), tripped=True, steps=FAILS, rivals=2
    ),
    "breaker, a probe whose lease ends": lambda: scene(Breaker(consecutive=1, probe_lease=0.2), tripped=True, rivals=2),
    "breaker, ramping": lambda: scene(Breaker(consecutive=1, ramp=60), tripped=True, steps=(0, SLOW), rivals=2),
    "breaker, ramping and slow": lambda: scene(
        Breaker(consecutive=1, ramp=60, slow_after=9), tripped=True, steps=(0, SLOW), rivals=2
    ),
    "breaker, disabled": lambda: scene(Breaker(mode="disabled"), steps=FAILS, rivals=1),
    "breaker, a shadow": lambda: scene(Breaker(consecutive=1, mode="shadow"), tripped=True, steps=FAILS, rivals=1),
    "breaker, under a hedge": lambda: scene(Hedge(0.1), Breaker(consecutive=1, slow_after=0.2), steps=FAILS),
    "bulkhead, stack": lambda: scene(Bulkhead(1, queue=4, order="lifo"), rivals=3),
    "bulkhead, stack, late": lambda: scene(Bulkhead(1, queue=4, max_wait=0.25, order="lifo"), rivals=3),
    "bulkhead, by key": lambda: scene(Bulkhead(1, queue=2, key="op"), rivals=2),
    "bulkhead, heavy": lambda: scene(Bulkhead(3, queue=4, weight="cost"), op=Op("heavy", cost=2), rivals=2),
    "bulkhead, heavy, late": lambda: scene(
        Bulkhead(3, queue=4, max_wait=0.25, key="op", weight="cost"), op=Op("heavy", cost=2), rivals=2
    ),
    "bulkhead, past the deadline": lambda: scene(Deadline(0.3), Bulkhead(1, queue=4), rivals=2),
    "adaptive limit": lambda: scene(AdaptiveLimit(), rivals=2),
    "adaptive limit, full": lambda: scene(AdaptiveLimit(initial=1), rivals=1),
    "adaptive limit, queue": lambda: scene(AdaptiveLimit(initial=1, queue=4), rivals=3),
    "adaptive limit, queue, late": lambda: scene(AdaptiveLimit("vegas", initial=1, queue=4, max_wait=0.25), rivals=2),
    "adaptive limit, dropping": lambda: scene(
        AdaptiveLimit("aimd", initial=2, queue=4), steps=(after(0.1, Lost()), SLOW), rivals=4
    ),
    "adaptive limit, throttled": lambda: scene(retry(), AdaptiveLimit(initial=2, queue=4), steps=THROTTLES, rivals=3),
    "linked limits": lambda: scene(RateLimit("10/s", also=[Limit("10/s", key="op")]), rivals=2),
    "linked limits, the narrow one used up": lambda: scene(RateLimit("9/s", "ip", also=[Limit("1/s", "op")]), rivals=3),
    "linked limits, the wide one used up": lambda: scene(RateLimit("1/s", "ip", also=[Limit("9/s", "op")]), rivals=3),
    "linked limits, late": lambda: scene(RateLimit("1/s", also=[Limit("1/2s", "op")], max_wait=1.5), rivals=2),
    "linked limits, throttled": lambda: scene(
        RateLimit("9/s", "ip", also=[Limit("1/s", "account")]), steps=THROTTLES, rivals=3
    ),
    "fallback, the last good answer": lambda: aged(Fallback(last_good=20), steps=(after(0.1, Sick()),)),
    "fallback, too old": lambda: aged(Fallback(0, last_good=5), steps=(after(0.1, Sick()),)),
    "cache, a miss": lambda: once(Cache(60)),
    "cache, misses": lambda: once(Cache(60), rivals=2),
    "cache, a hit": lambda: aged(Cache(20)),
    "cache, stale": lambda: aged(Cache(5)),
    "cache, stale while it is renewed": lambda: aged(Cache(5, stale_while_revalidate=10), rivals=2),
    "cache, a renewal that fails": lambda: aged(Cache(5, stale_while_revalidate=10), steps=FAILS, rivals=1),
    "cache, a renewal that hangs": lambda: aged(Cache(5, stale_while_revalidate=10), steps=(after(99), SLOW)),
    "cache, stale in place of an error": lambda: aged(Cache(5, stale_if_error=99), steps=FAILS, rivals=1),
    "coalesce": lambda: once(Coalesce()),
    "coalesce, the follower": lambda: once(Coalesce(), rivals=2),
    "coalesce, all fail": lambda: once(Coalesce(), steps=(after(0.1, Sick()),), rivals=2),
    "coalesce, a write": lambda: once(Coalesce(), op=WRITE, rivals=1),
    "coalesce, late": lambda: once(Deadline(0.1), Coalesce(), rivals=1),
    "coalesce, late in the tick of the landing": lambda: once(Deadline(0.25), Coalesce(), rivals=1),
    "coalesce, a flight that is late": lambda: once(Coalesce(), Deadline(0.1), rivals=1),
    "chaos, off": lambda: scene(Chaos(1, fault=Sick)),
    "chaos, faults": lambda: scene(retry(attempts=30), Chaos(0.5, enabled=True, fault=Sick, latency=0.1)),
    "chaos, faults after the call": lambda: scene(
        retry(attempts=30), Chaos(0.5, enabled=True, fault=Lost, after=True), rivals=1
    ),
    "chaos, latency": lambda: scene(Chaos(1, enabled=True, latency=0.1), rivals=1),
    "chaos, a behaviour": lambda: scene(Chaos(1, enabled=True, behaviour=lambda call: asyncio.sleep(0.1))),
    "remembered, with all beneath": lambda: aged(
        Fallback(0, last_good=60), Cache(5, stale_while_revalidate=10, stale_if_error=60), Coalesce(), Deadline(2),
        retry(), Breaker(), Bulkhead(2, queue=9), Timeout(0.3), pool(), steps=FAILS, rivals=2,
    ),
    "shared, with all beneath": lambda: once(
        Cache(5), Coalesce(), Deadline(9), retry(attempts=30), Timeout(0.3), Chaos(0.5, enabled=True, fault=Sick),
        rivals=3,
    ),
    "retry, a duration": lambda: scene(retry(max_duration=0.3), steps=FAILS),
    "retry, a spent budget": lambda: scene(retry(budget=RetryBudget(0, 0.1, 10)), steps=FAILS, rivals=1),
    "retry, a small budget by key": lambda: scene(retry(budget=RetryBudget(1, 0, key="op")), steps=FAILS, rivals=2),
    "retry, a quota": lambda: scene(retry(budget=RetryQuota(tokens=30)), steps=FAILS, rivals=2),
    "retry, aborted": lambda: scene(retry(abort_on=Lost), steps=FAILS),
    "retry, a schedule for throttled": lambda: scene(retry(throttled_wait=0.5), steps=THROTTLES),
    "hedge, measured": lambda: scene(Hedge("p95", initial=0.1), rivals=2),
    "hedge, a spent budget": lambda: scene(Hedge(0.1, extra=2, budget=RetryBudget(0, 0.1, 10)), rivals=1),
    "hedge, a quota": lambda: scene(Hedge(0.1, budget=RetryQuota(tokens=30)), steps=FAILS, rivals=1),
}  # fmt: skip

TEN: dict[str, Callable[[], Scene]] = {
    "market": lambda: scene(
        Deadline(9), retry(attempts=4), Breaker(), RateLimit("5/s"), Bulkhead(2, queue=4), Timeout(0.2),
        steps=FAILS, rivals=3,
    ),
    "trade": lambda: scene(
        Deadline(2), retry(), Breaker(consecutive=1), Bulkhead(1, queue=1), Timeout(1), op=WRITE, rivals=1, tripped=True
    ),
    "rest": lambda: scene(
        Deadline(9), retry(), Breaker(), Bulkhead(2, queue=4), Timeout(1), pool(), steps=FAILS, rivals=3
    ),
    "hedged": lambda: scene(Deadline(9), retry(), Hedge(0.05), Breaker(), Timeout(0.3), steps=FAILS),
    "hedged probe": lambda: scene(Hedge(0.1), Breaker(consecutive=1), Bulkhead(1), tripped=True, rivals=1),
    "all nine": lambda: scene(
        Fallback(0), Deadline(2), retry(), Hedge(0.1), Breaker(), RateLimit("4/s"), Bulkhead(2, queue=9), Timeout(0.3),
        pool(), steps=FAILS, rivals=2,
    ),
    "three times the same second": lambda: scene(
        Deadline(0.25), Timeout(0.25), Bulkhead(1, queue=2, max_wait=0.25), Timeout(0.25), rivals=2
    ),
    "retries over retries": lambda: scene(
        Timeout(3), retry(), Timeout(1), retry(attempts=2), Bulkhead(1, queue=2), Timeout(0.2), steps=FAILS, rivals=1
    ),
    "queue over queue over pool": lambda: scene(
        Bulkhead(3, queue=9), RateLimit("2/s"), Bulkhead(1, queue=9), pool(), steps=THROTTLES, rivals=3
    ),
    "one pipeline in another": lambda: scene(
        Deadline(2), retry(), Through(Pipeline(Bulkhead(1, queue=3), Timeout(0.3), classify=classify)), Breaker(),
        pool(), steps=FAILS, rivals=2,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")  # odd orders leave nothing behind either
@pytest.mark.parametrize("name", [*ALONE, *TEN])
def test_nothing_is_left_behind(name: str) -> None:
    """Disturbed at any turn and in any way, a call leaves the pipeline as it found it, and tells the truth."""
    done = sweep({**ALONE, **TEN}[name])
    assert done.runs == 1 + done.turns * len(DISTURBANCES)
    assert done.turns >= 1
    assert done.outcomes["CancelledError"] == 3 * done.turns  # once, twice, and in the tick of the result


# ------------------------------------------------------------------ what the sweep itself is worth


class Faulty(Policy):
    """A policy with one planted fault, and a count of its own."""

    repeats = False

    def __init__(self) -> None:
        self.busy = 0

    def status(self) -> dict[str, int]:
        return {"busy": self.busy}

    async def run(self, next: Handler, call: Call) -> Any:
        raise NotImplementedError

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        kit.keep("faulty", self, lambda: self)
        return lambda call: self.run(next, call)


class AwaitsBeforeTry(Faulty):
    async def run(self, next: Handler, call: Call) -> Any:
        self.busy += 1
        await asyncio.sleep(0)
        try:
            return await next(call)
        finally:
            self.busy -= 1


class CountsFailuresOnly(Faulty):
    async def run(self, next: Handler, call: Call) -> Any:
        self.busy += 1
        try:
            result = await next(call)
        except Exception:
            self.busy -= 1
            raise
        self.busy -= 1
        return result


class Swallows(Faulty):
    async def run(self, next: Handler, call: Call) -> Any:
        try:
            return await next(call)
        except asyncio.CancelledError:
            return "done"


class Orphans(Faulty):
    async def run(self, next: Handler, call: Call) -> Any:
        return await asyncio.shield(asyncio.ensure_future(next(call)))


class LeavesATimer(Faulty):
    async def run(self, next: Handler, call: Call) -> Any:
        timer = asyncio.get_running_loop().call_later(9, print)
        result = await next(call)
        timer.cancel()
        return result


class Wraps(Faulty):
    async def run(self, next: Handler, call: Call) -> Any:
        try:
            return await next(call)
        except Exception as error:
            raise ValueError("wrapped") from error


class CancelsItself(Faulty):
    async def run(self, next: Handler, call: Call) -> Any:
        task = asyncio.current_task()
        assert task is not None
        timer = asyncio.get_running_loop().call_later(0.1, task.cancel)
        try:
            return await next(call)
        except asyncio.CancelledError:
            return "done"
        finally:
            timer.cancel()


class RefusesAfterwards(Faulty):
    async def run(self, next: Handler, call: Call) -> Any:
        if self.status_of_probe == "out":
            raise Sick("the probe is out")
        self.status_of_probe = "out"
        try:
            result = await next(call)
        except Exception:
            self.status_of_probe = "back"
            raise
        self.status_of_probe = "back"
        return result

    status_of_probe = "back"


class HandsOver(Faulty):
    """One place, handed to the first who waits: lost when that one is cancelled in the tick of the handover."""

    def __init__(self) -> None:
        super().__init__()
        self.waiters: list[asyncio.Future[None]] = []

    async def run(self, next: Handler, call: Call) -> Any:
        if self.busy:
            waiter = asyncio.get_running_loop().create_future()
            self.waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self.waiters:
                    self.waiters.remove(waiter)
        else:
            self.busy = 1
        try:
            return await next(call)
        finally:
            for waiter in self.waiters:
                if not waiter.done():
                    self.waiters.remove(waiter)
                    waiter.set_result(None)
                    break
            else:
                self.busy = 0


@pytest.mark.parametrize(
    ("fault", "rivals", "found"),
    [
        (AwaitsBeforeTry, 0, "cancel at turn 1: status() counts faulty.busy = 1"),
        (CountsFailuresOnly, 0, "status() counts faulty.busy = 1"),
        (Swallows, 0, "the cancellation was swallowed: 'done'"),
        (Orphans, 0, "1 calls of the target run on"),
        (LeavesATimer, 0, "a timer is still armed"),
        (Wraps, 0, "error at turn 1: the call raised ValueError('wrapped'), which is nobody's"),
        (CancelsItself, 0, "undisturbed: a request for cancellation was left on the task"),
        (RefusesAfterwards, 0, "the next call was not served: Sick('the probe is out')"),
        (HandsOver, 1, "status() counts faulty.busy = 1"),
    ],
)
def test_a_planted_fault_is_found(fault: type[Faulty], rivals: int, found: str) -> None:
    """The classic ways to lose a permit, a task, a timer or a cancellation are found, and named with the turn."""
    with pytest.raises(AssertionError) as faults:
        sweep(lambda: scene(fault(), rivals=rivals))
    assert found in str(faults.value)


def test_a_deadlock_is_a_fault() -> None:
    """A call that would wait for ever is told at once, in place of a test that hangs."""

    class Hangs(Faulty):
        async def run(self, next: Handler, call: Call) -> Any:
            return await asyncio.get_running_loop().create_future()

    with pytest.raises(AssertionError, match="undisturbed: deadlock in virtual time"):
        sweep(lambda: scene(Hangs()), disturbances=["error"])


def test_an_unknown_disturbance_is_named() -> None:
    """Rather than swept without effect."""
    with pytest.raises(ValueError, match="'earthquake' is no disturbance; there are cancel, cancel twice, "):
        sweep(scene, disturbances=["earthquake"])
