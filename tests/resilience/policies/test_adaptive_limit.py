"""AdaptiveLimit: what an outcome means, who is let in when the limit moves, and where it settles."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resilience import (
    AdaptiveLimit,
    Breaker,
    BulkheadFull,
    ConfigError,
    Deadline,
    Fallback,
    Hedge,
    Kind,
    Op,
    Pipeline,
    PoolExhausted,
    Retry,
    TimedOut,
    Timeout,
    Verdict,
    load,
    within,
)
from resilience.call import Call, takes_call
from resilience.concurrency import Name
from resilience.reload import swap
from resilience.reload.differences import differences
from resilience.testing import Script, VirtualLoop, after, never, virtual

NAMES: list[Name] = ["aimd", "gradient", "vegas"]


class Told(Exception):
    """An error whose verdict is known."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.value)
        self.kind = kind


def classify(error: Exception, op: Op) -> Verdict:
    return Verdict(error.kind if isinstance(error, Told) else Kind.REJECTED)


def clock() -> float:
    return asyncio.get_running_loop().time()


def pipeline(*above: Any, beneath: tuple[Any, ...] = (), **fields: Any) -> Pipeline:
    return Pipeline(*above, AdaptiveLimit(**fields), *beneath, classify=classify)


async def play(pipe: Pipeline, step: Any, times: int = 1) -> list[Any]:
    """So many calls at once, each doing this."""
    op = Op("op", idempotent=True)
    return await asyncio.gather(*(pipe.run(Script(step), op=op) for _ in range(times)), return_exceptions=True)


# -- the gate -------------------------------------------------------------------------------------------------


@virtual
async def test_it_refuses_beyond_the_limit_and_says_who_refuses() -> None:
    """An error like a bulkhead's, of another policy."""
    pipe = pipeline(initial=2)
    outcomes = await play(pipe, after(1, "ok"), 3)
    assert outcomes[:2] == ["ok", "ok"]
    assert isinstance(outcomes[2], BulkheadFull)
    assert outcomes[2].policy == "adaptive limit"
    assert str(outcomes[2]) == "refused by the adaptive limit: 2 calls are running"
    assert pipe.status()["adaptive_limit"] == {
        "limit": 2, "busy": 0, "waiting": 0, "refused": 1, "rtt": 0.0, "rtt_base": 0.0, "drops": 0,
    }  # fmt: skip


@virtual
async def test_the_queue_is_a_bulkheads() -> None:
    """Length, longest wait and order are its own."""
    pipe = pipeline(initial=1, queue=2, max_wait=1.5, order="lifo")
    script = Script(after(1, "ok"))
    outcomes = await asyncio.gather(*(pipe.run(script, number) for number in range(4)), return_exceptions=True)
    assert [args[0] for args, _ in script.calls] == [0, 2]
    assert "and 2 wait" in str(outcomes[3])
    assert "none ended within 1.5 s" in str(outcomes[1])


@virtual
async def test_a_limit_that_falls_puts_nobody_out_and_hands_no_place_over() -> None:
    """Four run, the limit becomes two: the next is let in when only one runs."""
    pipe = pipeline(initial=4, queue=9)
    tasks = [asyncio.ensure_future(pipe.run(Script(after(end, end)))) for end in (1, 2, 3, 4)]
    waiting = asyncio.ensure_future(pipe.run(Script(clock)))
    await asyncio.sleep(0.5)
    pipe.states["adaptive_limit"].gate.resize(2)
    assert await asyncio.gather(*tasks) == [1, 2, 3, 4]
    assert await waiting == 3


@virtual
async def test_a_limit_that_grows_wakes_as_many_as_fit_in_order() -> None:
    """And no more: no thundering herd."""
    pipe = pipeline(initial=1, queue=9)
    script = Script(never)
    tasks = [asyncio.ensure_future(pipe.run(script, number)) for number in range(6)]
    await asyncio.sleep(1)
    pipe.states["adaptive_limit"].gate.resize(4)
    turns = [task for task in tasks if task.done()]
    await asyncio.sleep(0)
    assert not turns
    assert [args[0] for args, _ in script.calls] == [0, 1, 2, 3]
    assert script.begun == [0, 1, 1, 1]
    assert pipe.status()["adaptive_limit"]["waiting"] == 2
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# -- outcomes -------------------------------------------------------------------------------------------------


async def at_full_use(pipe: Pipeline, step: Any) -> tuple[int, int, float]:
    """Limit, drops and measured round trip after 20 calls of a second each at the limit that end like this."""
    await play(pipe, after(1, step), 20)
    status = pipe.status()["adaptive_limit"]
    return status["limit"], status["drops"], status["rtt"]


@pytest.mark.parametrize(
    ("step", "limit", "drops", "rtt"),
    [
        pytest.param("ok", 21, 0, 1.0, id="OK"),
        pytest.param(Told(Kind.OK), 21, 0, 1.0, id="an error that is read as OK"),
        pytest.param(Told(Kind.REJECTED), 21, 0, 1.0, id="REJECTED"),
        pytest.param(Told(Kind.THROTTLED), 18, 1, 0.0, id="THROTTLED"),
        pytest.param(Told(Kind.UNKNOWN), 18, 1, 0.0, id="UNKNOWN"),
        pytest.param(TimedOut(1.0, sent=True), 18, 1, 0.0, id="timed out, sent"),
        pytest.param(TimedOut(1.0, sent=False), 18, 1, 0.0, id="timed out, unsent"),
        pytest.param(Told(Kind.FAILED), 20, 0, 0.0, id="FAILED"),
        pytest.param(TimedOut(1.0, queued=True), 20, 0, 0.0, id="timed out in a queue of ours"),
        pytest.param(PoolExhausted(), 20, 0, 0.0, id="refused beneath"),
    ],
)
def test_what_an_outcome_teaches(step: Any, limit: int, drops: int, rtt: float) -> None:
    """An answer is a round trip, whatever it says; a drop lowers the limit, once for all 20; the rest is nothing."""
    assert VirtualLoop().run(at_full_use(pipeline(algorithm="aimd"), step)) == (limit, drops, rtt)


@virtual
async def test_a_cancellation_teaches_nothing() -> None:
    """The caller went away; the place comes back."""
    pipe = pipeline(algorithm="aimd")
    tasks = [asyncio.ensure_future(pipe.run(Script(never))) for _ in range(20)]
    await asyncio.sleep(5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    status = pipe.status()["adaptive_limit"]
    assert (status["limit"], status["busy"], status["drops"], status["rtt"]) == (20, 0, 0, 0)


@pytest.mark.parametrize("mark", ["lost", "stale"])
@pytest.mark.parametrize("step", ["answer", Told(Kind.THROTTLED), Told(Kind.REJECTED)])
@virtual
async def test_what_is_of_no_account_teaches_nothing(mark: str, step: Any) -> None:
    """The loser of a hedge, whatever became of it; a reused connection that was reset before any byte of an answer."""
    pipe = pipeline(algorithm="aimd")

    async def target(call: Call) -> Any:
        await asyncio.sleep(1)
        setattr(call.attempt, mark, True)
        if isinstance(step, Exception):
            raise step
        return step

    await asyncio.gather(*(pipe.run(takes_call(target)) for _ in range(20)), return_exceptions=True)
    status = pipe.status()["adaptive_limit"]
    answered = mark == "stale" and step == "answer"  # which cannot be: it was an answer after all
    assert (status["limit"], status["drops"], status["rtt"]) == ((21, 0, 1) if answered else (20, 0, 0))


@virtual
async def test_a_call_that_was_cut_short_teaches_nothing() -> None:
    """Calls take a second. A caller that gives half a second has not measured anything; one that gives two has."""
    pipe = pipeline(algorithm="aimd", beneath=(Timeout(60),))
    await play(pipe, after(1, "ok"), 20)
    for seconds, drops in ((0.5, 0), (1.0, 1), (2.0, 2)):
        with within(seconds):
            (outcome,) = await play(pipe, never)
        assert isinstance(outcome, TimedOut)
        assert pipe.status()["adaptive_limit"]["drops"] == drops
        await asyncio.sleep(0.1)


@virtual
async def test_an_attempt_that_was_made_is_looked_at() -> None:
    """An answer counts also where somebody has asked for the attempt's record before."""
    pipe = pipeline(algorithm="aimd")

    async def target(call: Call) -> None:
        call.attempt.notes["seen"] = True
        await asyncio.sleep(1)

    await asyncio.gather(*(pipe.run(takes_call(target)) for _ in range(20)))
    assert pipe.status()["adaptive_limit"]["limit"] == 21


# -- beside others --------------------------------------------------------------------------------------------


@virtual
async def test_under_a_retry_each_attempt_counts_and_a_refusal_is_not_tried_again() -> None:
    """Two attempts of one call, two drops; the place is given back between them."""
    pipe = pipeline(Retry(attempts=3, wait=1, jitter="none"), algorithm="aimd", initial=10)
    script = Script(Told(Kind.UNKNOWN), Told(Kind.UNKNOWN), "ok")
    assert await pipe.run(script, op=Op("read", idempotent=True)) == "ok"
    status = pipe.status()["adaptive_limit"]
    assert (status["limit"], status["drops"], status["busy"]) == (8, 2, 0)
    pipe = pipeline(Retry(attempts=3, wait=1), initial=1)
    outcomes = await play(pipe, after(0.5, "ok"), 2)
    assert isinstance(outcomes[1], BulkheadFull)


@virtual
async def test_a_refusal_trips_no_breaker_and_a_fallback_replaces_it() -> None:
    """It is one of "refused by us"."""
    pipe = pipeline(Fallback("instead"), Breaker(consecutive=1), initial=1)
    assert await play(pipe, after(1, "ok"), 2) == ["ok", "instead"]
    assert pipe.status()["breaker"]["default"]["state"] == "closed"


@pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")  # the deadline must come first
@virtual
async def test_a_deadline_that_passes_in_the_queue_is_no_drop() -> None:
    """It says nothing about the target."""
    pipe = pipeline(Deadline(1), initial=1, queue=1, beneath=(Timeout(60),))
    holder = asyncio.ensure_future(play(pipe, never))
    await asyncio.sleep(0.5)
    begun = clock()
    with within(0.25), pytest.raises(TimedOut) as caught:
        await pipe.run(Script("late"))
    assert (caught.value.queued, caught.value.limit, clock() - begun) == (True, "deadline", 0.25)
    await holder
    assert pipe.status()["adaptive_limit"]["drops"] == 1  # the holder's own, when its second was over


@virtual
async def test_the_branches_of_a_hedge_take_a_place_each() -> None:
    """They overlap."""
    pipe = pipeline(Hedge(1), initial=2)
    running = asyncio.ensure_future(pipe.run(Script(never, never), op=Op("read", idempotent=True)))
    await asyncio.sleep(2)
    assert pipe.status()["adaptive_limit"]["busy"] == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert pipe.status()["adaptive_limit"]["busy"] == 0


def test_it_decorates_and_works_in_one_loop_after_another() -> None:
    """The clock of the second begins anew; what was learnt stays."""

    @AdaptiveLimit("aimd")
    async def fetch() -> str:
        await asyncio.sleep(1)
        return "ok"

    async def many() -> None:
        await asyncio.sleep(100)
        await asyncio.gather(*(fetch() for _ in range(20)))

    VirtualLoop().run(many())
    VirtualLoop().run(many())
    assert fetch.pipeline.status()["adaptive_limit"]["limit"] == 22  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"algorithm": "cubic"}, "algorithm is 'cubic', must be aimd, gradient or vegas"),
        ({"initial": 0}, "initial is 0, must be a whole number of at least 1 and at most 1000"),
        ({"most": 10}, "initial is 20, must be a whole number of at least 1 and at most 10"),
        ({"least": 0}, "least is 0, must be a whole number of at least 1"),
        ({"least": 30}, "initial is 20, must be a whole number of at least 30 and at most 1000"),
        ({"least": 30, "most": 25}, "most is 25, must be a whole number of at least 30"),
        ({"queue": -1}, "queue is -1, must be a whole number of at least 0"),
        ({"max_wait": -1}, "max_wait is -1, must be a number of at least 0"),
        ({"order": "best"}, "order is 'best', must be fifo or lifo"),
    ],
)
def test_wrong_settings_are_named(fields: dict[str, Any], text: str) -> None:
    """One line that says what is wrong and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        AdaptiveLimit(**fields)
    assert str(caught.value) == f"AdaptiveLimit: {text}"


def test_the_bounds_may_meet() -> None:
    """A limit that cannot move is legal, and so are the smallest of all."""
    assert AdaptiveLimit(least=20, most=20).initial == 20
    assert AdaptiveLimit(initial=1, most=1, queue=0, max_wait=0).least == 1


def test_a_file_says_it_with_the_same_names(tmp_path: Path) -> None:
    """With the units of its annotations."""
    file = tmp_path / "pipelines.yaml"
    file.write_text(
        "version: 1\npipelines:\n  market:\n    - adaptive_limit:"
        " {algorithm: vegas, initial: 30, least: 5, most: 200, queue: 64, max_wait: 500ms, order: lifo}\n"
    )
    assert load(file)["market"].policies == (AdaptiveLimit("vegas", 30, 5, 200, 64, 0.5, "lifo"),)


# -- where it settles -----------------------------------------------------------------------------------------


class Server:
    """Serves `capacity` calls at once, in 0.1 s each on average (exponentially); the others queue in front of it."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.serving = self.served = 0
        self.dice = random.Random(1)
        self.queue: deque[asyncio.Future[None]] = deque()

    def set(self, capacity: int) -> None:
        self.capacity = capacity
        while self.queue and self.serving < self.capacity:
            self.serving += 1
            self.queue.popleft().set_result(None)

    async def __call__(self) -> None:
        if self.serving < self.capacity:
            self.serving += 1
        else:
            turn = asyncio.get_running_loop().create_future()
            self.queue.append(turn)
            await turn
        await asyncio.sleep(self.dice.expovariate(10))
        self.serving -= 1
        self.served += 1
        self.set(self.capacity)


@dataclass
class Course:
    """The limits, twice a second, and how many calls were served in all at each of those moments."""

    limits: list[int]
    served: list[int]

    def settled(self, begin: float, end: float) -> tuple[float, float, float, float]:
        """The median, lowest and highest limit, and calls served in a second, from `begin` to `end`."""
        limits = self.limits[int(2 * begin) : int(2 * end)]
        served = self.served[int(2 * end) - 1] - self.served[int(2 * begin)]
        return statistics.median(limits), min(limits), max(limits), served / (end - begin)


async def under_load(name: Name, server: Server, clients: int, seconds: float, changes: dict[float, int]) -> Course:
    """So many clients that ask again as soon as they are answered."""
    pipe = Pipeline(AdaptiveLimit(name, queue=clients))
    course = Course([], [])

    async def client() -> None:
        while True:
            await pipe.run(server)

    tasks = [asyncio.ensure_future(client()) for _ in range(clients)]
    while clock() < seconds:
        server.set(changes.get(clock(), server.capacity))
        await asyncio.sleep(0.5)
        course.limits.append(pipe.status()["adaptive_limit"]["limit"])
        course.served.append(server.served)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert pipe.status()["adaptive_limit"]["busy"] == 0
    return course


def simulate(
    name: Name, capacity: int, clients: int, seconds: float, changes: dict[float, int] | None = None
) -> Course:
    return VirtualLoop().run(under_load(name, Server(capacity), clients, seconds, changes or {}))


@pytest.mark.parametrize("name", NAMES)
def test_it_settles_near_the_capacity_of_the_target(name: Name) -> None:
    """20 at once, and five times as many clients: 0.75 to 1.75 times that, and 85 % of what it can serve."""
    limit, lowest, highest, rate = simulate(name, 20, 100, 60).settled(30, 60)
    assert 0.75 * 20 <= limit <= 1.75 * 20
    assert 0.4 * 20 <= lowest < highest <= 3 * 20
    assert rate >= 0.85 * 200


@pytest.mark.parametrize("name", NAMES)
def test_it_follows_a_capacity_that_changes(name: Name) -> None:
    """A third, and then twice as much: within a minute it is there."""
    course = simulate(name, 24, 120, 180, {40.0: 8, 120.0: 40})
    limit, _, _, rate = course.settled(90, 120)
    assert limit <= 2 * 8
    assert rate >= 0.85 * 80
    limit, _, _, rate = course.settled(150, 180)
    assert 0.75 * 40 <= limit <= 1.75 * 40
    assert rate >= 0.85 * 400


@pytest.mark.parametrize("name", NAMES)
def test_it_does_not_drift_where_latency_never_changes(name: Name) -> None:
    """A target without a queue, and 30 clients: no more than twice what is used, and none of them waits."""
    course = simulate(name, 10**6, 30, 60)
    assert max(course.limits) <= 2 * 30 + 15
    *_, rate = course.settled(40, 60)
    assert rate >= 0.9 * 300


@virtual
async def test_another_algorithm_is_said_to_learn_anew_and_refuses_in_the_same_words() -> None:
    """What a plan says of a change, and what becomes of the gate."""
    before, changed = AdaptiveLimit("vegas", initial=1, queue=0), AdaptiveLimit("aimd", initial=1, queue=0)
    assert "learns anew" in str(differences("a", [before], [changed]))
    pipeline = Pipeline(before)
    assert await pipeline.run(Script("well")) == "well"
    swap({"a": pipeline}, {"a": Pipeline(changed)}, {}, ())
    holder = asyncio.create_task(pipeline.run(Script(never)))
    await asyncio.sleep(0)
    with pytest.raises(BulkheadFull, match="1 calls are running"):
        await pipeline.run(Script("well"))
    holder.cancel()
