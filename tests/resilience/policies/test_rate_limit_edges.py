"""RateLimit at its edges: who looks when, what happens in the very moment, and what an earlier loop leaves behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest
from told import Told, clock, told

from resilience import Kind, Limit, Op, Pipeline, RateLimit, RateLimited, Verdict, within
from resilience.call import Call
from resilience.limiting.limiter import Limiter
from resilience.limiting.limits import Limits
from resilience.limiting.turns import Queue
from resilience.testing import Recorder, Script, VirtualLoop, after, never, virtual


class Calls:
    """A pipeline, and what it let through: when, and which operation."""

    def __init__(self, *policies: Any, shared: dict[str, Any] | None = None) -> None:
        self.pipeline = Pipeline(*policies, classify=told, shared=shared)
        self.sent: list[tuple[float, str]] = []

    def start(self, op: str, account: str = "", cost: float = 1.0, seconds: float | None = None) -> asyncio.Task[Any]:
        async def target() -> str:
            self.sent.append((clock(), op))
            return op

        call = Call(Op(op, True, cost), target, keys={"account": account})
        if seconds is None:
            return asyncio.ensure_future(self.pipeline.send(call))
        with within(seconds):
            return asyncio.ensure_future(self.pipeline.send(call))

    async def throttled(self, seconds: float, scope: str = "op", op: str = "x", account: str = "") -> None:
        call = Call(Op(op), Script(Told(Kind.THROTTLED, seconds, scope)), keys={"account": account})
        with pytest.raises(Told):
            await self.pipeline.send(call)

    def throttled_later(self, at: float, seconds: float, scope: str = "op", op: str = "x") -> asyncio.Task[Any]:
        """A call that is sent now, and told so at `at`."""
        script = Script(after(at - clock(), Told(Kind.THROTTLED, seconds, scope)))
        return asyncio.ensure_future(self.pipeline.send(Call(Op(op), script)))

    def times(self, op: str) -> list[float]:
        return [round(at, 1) for at, name in self.sent if name == op]


class Looks:
    """How often a queue looked who may go, through all who wait, and through the ends of their waits."""

    def __init__(self) -> None:
        self.served = self.through = self.swept = 0


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    found, serve, look_through, sweep = Looks(), Queue._serve, Queue._look_through, Queue._sweep

    def counted(self: Queue, now: float) -> float:
        found.served += 1
        return serve(self, now)

    def counted_through(self: Queue, route: Any, now: float) -> None:
        found.through += 1
        look_through(self, route, now)

    def counted_sweep(self: Queue) -> None:
        found.swept += 1
        sweep(self)

    monkeypatch.setattr(Queue, "_sweep", counted_sweep)
    monkeypatch.setattr(Queue, "_serve", counted)
    monkeypatch.setattr(Queue, "_look_through", counted_through)
    return found


# -- nobody looks for nothing ---------------------------------------------------------------------------------


@virtual
async def test_a_turn_on_time_makes_nobody_look_again(looks: Looks) -> None:
    """One look when the first has to wait and one for each turn; nobody asks whether others are late."""
    calls = Calls(RateLimit("1/10s"))
    await asyncio.gather(*(calls.start("x") for _ in range(4)))
    assert calls.times("x") == [0, 10.4, 20.7, 31.1]
    assert (looks.served, looks.through) == (4, 0)


@virtual
async def test_a_refusal_makes_nobody_look_again(looks: Looks) -> None:
    """Whoever was refused on arrival was in nobody's way."""
    calls = Calls(RateLimit("1/10s", max_wait=15))
    first, waits = calls.start("x"), calls.start("x")
    await first
    before = looks.served
    outcomes = await asyncio.gather(*(calls.start("x") for _ in range(20)), return_exceptions=True)
    await asyncio.sleep(1)
    assert [type(outcome) for outcome in outcomes] == [RateLimited] * 20
    assert looks.served == before
    await waits
    assert calls.times("x") == [0, 10.4]


@virtual
async def test_those_who_leave_in_one_tick_set_one_timer(looks: Looks) -> None:
    """And nobody asks whether the others are late now: there is more room than before."""
    calls = Calls(RateLimit("1/10s"))
    await calls.start("x")
    tasks = [calls.start("x") for _ in range(50)]
    await asyncio.sleep(0)
    loop, rings = asyncio.get_running_loop(), []
    call_soon = loop.call_soon

    def counted(callback: Any, *arguments: Any, **options: Any) -> asyncio.Handle:
        rings.append(getattr(callback, "__name__", ""))
        return call_soon(callback, *arguments, **options)

    loop.call_soon = counted  # type: ignore[method-assign]
    for task in tasks[1:]:
        task.cancel()
    await asyncio.wait(tasks[1:])
    await asyncio.sleep(0)
    assert rings.count("_ring") == 1
    assert looks.through == 0
    await tasks[0]


@virtual
async def test_the_last_one_takes_the_timer_along() -> None:
    """In the very tick in which it leaves, or when it is let go."""
    calls = Calls(RateLimit("1/10s"))
    await calls.start("x")
    for leaves in (True, False):
        last = calls.start("x")
        await asyncio.sleep(0)
        queue = calls.pipeline.states["rate_limit"].line("default").queue
        assert queue._timer is not None
        if leaves:
            last.cancel()
        await asyncio.wait((last,))
        assert queue._timer is None


@virtual
async def test_a_pause_makes_everybody_look_once(looks: Looks) -> None:
    """When it comes; not again at every turn that follows."""
    calls = Calls(RateLimit("2/10s"))
    running = calls.throttled_later(1, 20, "ip")
    tasks = [calls.start("x") for _ in range(5)]
    assert isinstance((await asyncio.gather(running, return_exceptions=True))[0], Told)
    await asyncio.sleep(0)
    assert looks.through == 1
    await asyncio.gather(*tasks)
    assert looks.through == 1


@virtual
async def test_a_pause_that_concerns_nobody_who_waits_makes_nobody_look(looks: Looks) -> None:
    """The server throttles an operation of which no call waits."""
    calls = Calls(RateLimit("2/10s"))
    running = calls.throttled_later(1, 20, "op", "other")
    tasks = [calls.start("x") for _ in range(3)]
    await asyncio.sleep(0)
    before = looks.served
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.sleep(0)
    assert (looks.served, looks.through) == (before, 0)
    await asyncio.gather(*tasks)


# -- those who can no longer be served ------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["ip", "op"])
@virtual
async def test_a_pause_refuses_also_those_behind_a_patient_one(scope: str) -> None:
    """The first of them has the time to wait, the second has not and is told when the pause comes."""
    calls = Calls(RateLimit("2/10s"))
    running = calls.throttled_later(1, 30, scope)
    calls.start("x")
    await asyncio.sleep(0)
    patient, hasty = calls.start("x"), calls.start("x", seconds=20)
    with pytest.raises(RateLimited, match="paused by the server beyond the deadline"):
        await hasty
    assert clock() == 1
    await asyncio.gather(running, return_exceptions=True)
    assert await patient == "x"
    assert clock() == 31


@virtual
async def test_a_pause_counts_those_who_go_before() -> None:
    """The second has its turn a window after the first: the pause moves both, and only the second is too late."""
    calls = Calls(RateLimit("1/10s", max_wait=21))
    running = calls.throttled_later(1, 11, "ip")
    await asyncio.sleep(0)
    first, second = calls.start("x"), calls.start("x")
    with pytest.raises(RateLimited, match="beyond the longest wait allowed"):
        await second
    assert clock() == 1
    await asyncio.gather(running, return_exceptions=True)
    assert await first == "x"
    assert clock() == 12


@virtual
async def test_a_short_pause_refuses_nobody_who_is_in_time() -> None:
    """Nobody goes before the first of them."""
    calls = Calls(RateLimit("1/10s", max_wait=11))
    running = calls.throttled_later(1, 2, "ip")
    await asyncio.sleep(0)
    assert await calls.start("x") == "x"
    assert clock() == pytest.approx(10.37)
    await asyncio.gather(running, return_exceptions=True)


@virtual
async def test_a_stall_refuses_those_who_can_no_longer_be_served() -> None:
    """One was sent two seconds after its turn: so much later is the next one's, who is told then."""
    calls = Calls(RateLimit("1/10s", max_wait=22))
    await calls.start("x")
    first, second = calls.start("x"), calls.start("x")
    await asyncio.sleep(0)
    loop, due = asyncio.get_running_loop(), calls.pipeline.states["rate_limit"].line("default").queue.due
    loop.call_at(due - 0.5, loop.advance, 1)  # type: ignore[attr-defined]  # one turn of the loop for both that follow:
    loop.call_at(due + 0.1, loop.advance, 2)  # type: ignore[attr-defined]  # the timer of the line, and then the stall
    with pytest.raises(RateLimited, match="used up beyond the longest wait"):
        await second
    assert clock() == pytest.approx(due + 2.5)
    assert await first == "x"


@virtual
async def test_a_pause_is_remembered_where_two_queues_become_one() -> None:
    """The pause comes in the very tick in which a call needs what both wait for."""
    shared: dict[str, Any] = {}
    plain = Calls(RateLimit("2/10s", key="ip"), shared=shared)
    both = Calls(RateLimit("2/10s", key="op", also=[Limit("2/10s", key="ip")]), shared=shared)
    for _ in range(2):
        await plain.start("p")
    patient, hasty = plain.start("p"), plain.start("p", seconds=20)
    await asyncio.sleep(0)
    plain.pipeline.states[next(iter(plain.pipeline.states))].line("ip").pause(30)
    with within(1), pytest.raises(RateLimited):  # at once: no turn of the loop lies in between
        await both.pipeline.send(Call(Op("x", True), Script("ok")))
    with pytest.raises(RateLimited, match="paused by the server"):
        await hasty
    assert clock() == 0
    await patient


@virtual
async def test_a_wait_that_nothing_is_known_of_ends_by_itself() -> None:
    """It is alone with its end: no other call arms the timer for it."""
    patient = Calls(RateLimit("4/10s", key="ip", also=[Limit("99/s", key="op")]))
    await patient.start("u", cost=2)
    heavy, first = patient.start("x", cost=3), patient.start("y")
    await asyncio.sleep(1)
    hasty = patient.start("y", seconds=4)
    with pytest.raises(RateLimited):
        await hasty
    assert clock() == 5
    await asyncio.gather(heavy, first)


@virtual
async def test_who_is_refused_at_the_end_of_its_wait_learns_when_it_could_have_gone() -> None:
    """Behind one that needs the same: its operation has a token for that one, and its own a window later."""
    calls = Calls(RateLimit("4/20s", key="ip", also=[Limit("1/10s", key="op", per_op={"u": "9/s", "x": "9/s"})]))
    await calls.start("u", cost=2)
    heavy, first = calls.start("x", cost=3), calls.start("y")
    hasty = calls.start("y", seconds=11)
    with pytest.raises(RateLimited) as caught:
        await hasty
    assert clock() == 11
    assert caught.value.retry_after == pytest.approx(10.35, abs=0.05)
    await asyncio.gather(heavy, first)


# -- in the very moment ---------------------------------------------------------------------------------------


@virtual
async def test_a_turn_at_the_end_of_the_longest_wait_is_in_time() -> None:
    """A wait of exactly so long is allowed."""
    calls = Calls(RateLimit("10/s", max_wait=3))
    await calls.throttled(3, "ip")
    assert await calls.start("x") == "x"
    assert clock() == 3


@virtual
async def test_nothing_is_sent_at_a_deadline() -> None:
    """The one that held it up leaves in that very moment, and there is room."""
    calls = Calls(RateLimit("4/10s", key="ip", also=[Limit("99/s", key="op")]))
    await calls.start("u", cost=2)
    heavy, light = calls.start("x", cost=3), calls.start("y", seconds=5)
    asyncio.get_running_loop().call_at(5 - 1e-10, heavy.cancel)  # less than the clock's resolution: one tick
    with pytest.raises(RateLimited, match="beyond the deadline"):
        await light
    assert clock() == pytest.approx(5)
    assert calls.times("y") == []


@virtual
async def test_a_turn_at_the_deadline_is_beyond_the_deadline() -> None:
    """And not beyond the longest wait, of which there is none."""
    calls = Calls(RateLimit("10/s"))
    await calls.throttled(3, "ip")
    with pytest.raises(RateLimited, match="paused by the server beyond the deadline"):
        await calls.start("x", seconds=3)


@virtual
async def test_a_pause_that_is_over_is_no_reason() -> None:
    """From that very moment on it is our own count that refuses."""
    calls, hasty = Calls(RateLimit("1/10s")), {"seconds": 1.0}
    await calls.throttled(20, "ip")
    await asyncio.sleep(20)
    assert await calls.start("x", **hasty) == "x"
    with pytest.raises(RateLimited, match="1/10s is used up beyond the deadline"):
        await calls.start("x", **hasty)
    assert clock() == 20


@virtual
async def test_a_pause_is_forgotten_by_who_comes_when_it_is_over() -> None:
    """In that very moment."""
    calls = Calls(RateLimit("10/s"))
    await calls.throttled(3)
    await asyncio.sleep(3)
    await calls.start("x")
    assert calls.pipeline.states["rate_limit"].paused == {}


@virtual
async def test_a_call_that_costs_nothing_waits_for_a_pause_like_any() -> None:
    """It is no mistake in the configuration."""
    calls = Calls(RateLimit("10/s"))
    await calls.throttled(3, "ip")
    assert await calls.start("x", cost=0) == "x"
    assert clock() == 3


# -- several queues -------------------------------------------------------------------------------------------


@virtual
async def test_who_waited_elsewhere_keeps_its_turn_and_its_end() -> None:
    """A call needs limits for which others wait apart: they are refused, and let go, when they would have been."""
    shared: dict[str, Any] = {}
    heavy = Calls(RateLimit("4/20s", key="ip", also=[Limit("99/s", key="op")]), shared=shared)
    other = Calls(RateLimit("4/20s", key="account", also=[Limit("99/s", key="op")]), shared=shared)
    both = Calls(RateLimit("4/20s", key="account", also=[Limit("4/20s", key="ip")]), shared=shared)
    ends, tasks = [4.0, 7.0, 3.0, 6.0, 5.0], []
    for calls in (other, heavy):
        await calls.start("u", cost=3)
        tasks.append(calls.start("x", cost=2))
    await asyncio.sleep(0)
    refused: dict[float, float] = {}

    async def hasty(calls: Calls, seconds: float) -> None:
        with pytest.raises(RateLimited):
            await calls.start("y", cost=0.1, seconds=seconds)
        refused[seconds] = clock()

    for number, end in enumerate(ends):
        for calls, later in ((other, 0.0), (heavy, 0.05)):
            tasks.append(asyncio.ensure_future(hasty(calls, end + number / 10 + later)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks.append(both.start("z"))
    await asyncio.gather(*tasks)
    assert refused == {seconds: seconds for seconds in refused}
    assert len(refused) == 10
    assert heavy.times("x") == other.times("x") == [20.7]


@virtual
async def test_who_passes_at_once_does_not_take_the_timer_of_those_who_wait() -> None:
    """Its account and its operation have room; others of that operation's queue wait for another account."""
    calls = Calls(RateLimit("1/10s", key="account", also=[Limit("2/10s", key=lambda call: call.op.name)]))
    await calls.throttled(60, op="w", account="other")  # so that the next calls take the long way in
    for op in ("x", "y"):
        await calls.start(op, "b" if op == "x" else "c")
    waiting = [calls.start("y", "b"), calls.start("x", "b")]
    await asyncio.sleep(0)
    waiting[0].cancel()  # it has made one queue of both operations
    await asyncio.sleep(0)
    assert await calls.start("y", "d") == "y"
    assert clock() == 0
    assert await waiting[1] == "x"
    assert clock() == pytest.approx(10.37)


@virtual
async def test_a_pause_holds_only_those_who_need_the_limit_that_it_is_of() -> None:
    """Another pipeline shares the address; the pause of an operation is one of ours, and none of its."""
    shared: dict[str, Any] = {}
    ours = Calls(RateLimit("5/10s", also=[Limit("2/10s", key="ip")]), shared=shared)
    theirs = Calls(RateLimit("2/10s", key="ip"), shared=shared)
    running = ours.throttled_later(1, 30)
    await asyncio.sleep(0)
    await theirs.start("x")
    mine, their = ours.start("x"), theirs.start("x")
    await asyncio.gather(running, return_exceptions=True)
    assert await their == "x"
    assert clock() < 12
    assert await mine == "x"
    assert clock() == 31


@virtual
async def test_a_second_pause_of_an_operation_counts_nobody_twice() -> None:
    """Who waits for the first one waits for the same limit still."""
    calls = Calls(RateLimit("9/s"))
    running = calls.throttled_later(1, 5)
    await asyncio.sleep(0)
    await calls.throttled(3)
    waiting = calls.start("x")
    await asyncio.gather(running, return_exceptions=True)
    assert await waiting == "x"
    assert clock() == 6
    assert calls.pipeline.status()["rate_limit"]["op:x"]["used"] == 1


@virtual
async def test_the_status_of_a_pause_says_whom_it_holds_up() -> None:
    """Also those who waited before it came."""
    calls = Calls(RateLimit("1/10s"))
    running = calls.throttled_later(1, 30)
    waiting = [calls.start("x") for _ in range(3)]
    await asyncio.sleep(2)
    assert calls.pipeline.status()["rate_limit"]["op:x"]["waiting"] == 3
    await asyncio.gather(running, *waiting, return_exceptions=True)


# -- the ends of waits ----------------------------------------------------------------------------------------


@virtual
async def test_who_has_all_the_time_has_no_end() -> None:
    """Nothing is kept of it but its place."""
    calls = Calls(RateLimit("1/10s"))
    tasks = [calls.start("x") for _ in range(5)]
    await asyncio.sleep(0)
    assert calls.pipeline.states["rate_limit"].line("default").queue._ends == []
    await asyncio.gather(*tasks)


@virtual
async def test_waits_that_are_over_are_dropped_and_the_others_end_when_they_should(looks: Looks) -> None:
    """Two hundred leave and a hundred stay, in any order: each of those is refused at its own time."""
    calls = Calls(RateLimit("20/1000s", key="ip", also=[Limit("20/s", key="op")]))
    await calls.start("u", cost=10)
    heavy = calls.start("x", cost=15)
    await asyncio.sleep(0)
    dice = random.Random(5)
    ends: dict[asyncio.Task[Any], float] = {}
    for _ in range(300):
        seconds = 10 + dice.random()
        ends[calls.start("y", cost=0.01, seconds=seconds)] = clock() + seconds
        await asyncio.sleep(0)
        if len(ends) > 100:
            gone = dice.choice(list(ends))
            gone.cancel()
            del ends[gone]
    queue = calls.pipeline.states["rate_limit:/ip/20/1000s"].line("ip").queue.top
    assert len(queue._ends) <= 210
    assert 1 <= looks.swept <= 6  # whenever there are twice as many as were left the last time
    over: dict[asyncio.Task[Any], float] = {}
    for task in ends:
        task.add_done_callback(lambda task: over.update({task: clock()}))
    await asyncio.wait(ends)
    await asyncio.sleep(0)
    assert {type(task.exception()) for task in ends} == {RateLimited}
    assert over == pytest.approx(ends)
    heavy.cancel()


# -- from one loop to the next --------------------------------------------------------------------------------


@pytest.fixture
def left_waiting() -> Iterator[list[asyncio.Task[Any]]]:
    """Calls whose loop is gone: nobody can end them any more."""
    tasks: list[asyncio.Task[Any]] = []
    yield tasks
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()  # type: ignore[union-attr]


def test_the_next_loop_leaves_no_timer_in_the_earlier_one(left_waiting: list[asyncio.Task[Any]]) -> None:
    """Nor does it keep those who waited there, also where nobody has to wait in it."""
    calls = Calls(RateLimit("1/10s"))
    loop = VirtualLoop()

    async def leave() -> None:
        await calls.start("x")
        left_waiting.append(calls.start("x", seconds=1000))
        await asyncio.sleep(0)

    async def main() -> None:
        asyncio.get_running_loop().advance(20)  # type: ignore[attr-defined]
        assert await calls.start("x") == "x"

    loop.run_until_complete(leave())
    queue = calls.pipeline.states["rate_limit"].line("default").queue
    assert queue._timer is not None
    VirtualLoop().run(main())
    assert (queue._timer, queue._ends) == (None, [])
    loop.close()


def test_a_queue_of_an_earlier_loop_joins_without_those_who_waited(left_waiting: list[asyncio.Task[Any]]) -> None:
    """A call needs two limits, for one of which somebody waited in a loop that is gone."""
    shared: dict[str, Any] = {}
    plain = Calls(RateLimit("1/10s", key="ip"), shared=shared)
    both = Calls(RateLimit("1/10s", key="op", also=[Limit("1/10s", key="ip")]), shared=shared)
    loop = VirtualLoop()

    async def leave() -> None:
        await plain.start("p")
        left_waiting.append(plain.start("p"))
        await asyncio.sleep(0)

    async def main() -> None:
        asyncio.get_running_loop().advance(20)  # type: ignore[attr-defined]
        assert await both.start("x") == "x"
        assert clock() == 20

    loop.run_until_complete(leave())
    loop.close()
    VirtualLoop().run(main())


# -- the quick way --------------------------------------------------------------------------------------------

POLICIES = [
    RateLimit("10/s"),
    RateLimit("10/s", key="op"),
    RateLimit("10/s", also=[Limit("10/s", key="op")]),
]


@pytest.mark.parametrize("policy", POLICIES)
@virtual
async def test_an_allotment_ends_with_its_grain(policy: RateLimit) -> None:
    """What was allotted a second ago is not what is sent now: it counts from now on."""
    calls = Calls(policy)
    await calls.start("x")
    await asyncio.sleep(1)
    await asyncio.gather(*(calls.start("x") for _ in range(9)))
    await asyncio.sleep(0.04)
    await asyncio.gather(*(calls.start("x") for _ in range(3)))
    assert [round(at, 2) for at, _ in calls.sent] == [0] + [1] * 9 + [1.04] + [pytest.approx(2.04, abs=0.01)] * 2


@pytest.mark.parametrize("policy", POLICIES)
@virtual
async def test_who_finds_enough_allotted_need_not_ask(policy: RateLimit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it costs, nothing or all that is left; in the moment in which the grain ends it has to."""
    asked: list[float] = []
    commit = Limiter.commit

    def counted(self: Limiter, cost: float, now: float) -> Any:
        asked.append(cost)
        return commit(self, cost, now)

    calls = Calls(policy)
    await calls.start("x")
    limiters = [line.limiter for limits in calls.pipeline.states.values() for line in limits.lines.values()]
    monkeypatch.setattr(Limiter, "commit", counted)
    for cost in (0.0, 0.5, limiters[0].left - 0.5):
        await calls.start("x", cost=cost)
    assert ([limiter.left for limiter in limiters], asked) == ([0.0] * len(limiters), [])
    asyncio.get_running_loop().advance(1.04 - clock())  # type: ignore[attr-defined]
    await calls.start("x")
    asked.clear()
    asyncio.get_running_loop().advance(limiters[0].until - clock())  # type: ignore[attr-defined]
    assert clock() == limiters[0].until
    await calls.start("x")
    assert asked == [1.0] * len(limiters)


@pytest.mark.parametrize("policy", POLICIES)
@virtual
async def test_a_call_with_room_allots_the_rest(policy: RateLimit) -> None:
    """So that whoever follows in this grain need not ask."""
    calls = Calls(policy)
    await calls.start("x")
    for limits in calls.pipeline.states.values():
        for line in limits.lines.values():
            assert line.limiter.left == pytest.approx(9)


@pytest.mark.parametrize("policy", POLICIES)
@virtual
async def test_a_cancelled_call_is_not_judged(policy: RateLimit) -> None:
    """It says nothing about the server."""
    judged: list[BaseException] = []

    def judge(exc: Exception, op: Op) -> Verdict:
        judged.append(exc)
        return Verdict(Kind.THROTTLED, "throttled", 60.0, "ip")

    pipeline = Pipeline(policy, classify=judge)
    task = asyncio.ensure_future(pipeline.run(Script(never), op=Op("x", True)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    assert judged == []
    assert await pipeline.run(Script("ok"), op=Op("x", True)) == "ok"
    assert clock() == 0


@virtual
async def test_two_waits_of_one_attempt_are_one_note() -> None:
    """Their sum, where one limiter stands under another."""
    recorder = Recorder()
    pipeline = Pipeline(RateLimit("1/s"), RateLimit("1/2s", also=[Limit("9/s", key="op")]), observers=(recorder,))
    await asyncio.gather(*(pipeline.run(Script("ok"), op=Op("x", True)) for _ in range(3)))
    last = recorder.attempts[-1].attempt
    assert last.notes["wait.limiter"] == last.waited == pytest.approx(4.15, abs=0.02)


def test_more_limits_may_be_a_list() -> None:
    """They are kept as a tuple: a policy can be a key."""
    policy = RateLimit("1/s", also=[Limit("2/s")])
    assert policy == RateLimit("1/s", also=(Limit("2/s"),))
    assert policy.also == (Limit("2/s"),)


# -- limits and keys ------------------------------------------------------------------------------------------


@virtual
async def test_idle_keys_stay_as_long_as_they_are_few() -> None:
    """Whoever looks at the status finds those of a minute ago."""
    calls = Calls(RateLimit("9/s", key="op"))
    for op in "abc":
        await calls.start(op)
    await asyncio.sleep(60)
    await calls.start("d")
    assert set(calls.pipeline.status()["rate_limit"]) == set("abcd")


def test_the_status_of_several_keys_outside_a_loop() -> None:
    """How it stood when the last of all was sent; a key that was never used says nothing about the time."""
    calls = Calls(RateLimit("9/s", key="op"))

    async def main() -> None:
        await calls.start("early")
        await asyncio.sleep(60)
        await calls.start("late")
        calls.pipeline.states["rate_limit"].line("unused")

    VirtualLoop().run(main())
    rows = calls.pipeline.status()["rate_limit"]
    assert {name: row["used"] for name, row in rows.items()} == {"early": 0, "late": 1, "unused": 0}
    assert Limits("9/s", "op").status() == {}


def test_of_many_keys_those_that_calls_wait_for_are_told_first() -> None:
    """Then the newest; all of them where nobody says how many."""

    @virtual
    async def main() -> None:
        market = Pipeline(RateLimit("1/10s", key=lambda call: call.op.name), name="market")
        for name in "abcdef":
            await market.run(Script("ok"), op=Op(name))
        waits = asyncio.create_task(market.run(Script("ok"), op=Op("b")))
        await asyncio.sleep(1)
        state = market.states["rate_limit"]
        assert list(state.status()) == list("abcdef")
        assert list(state.status(6)) == list("abcdef")
        assert list(state.status(3)) == ["b", "f", "e"]
        await waits

    main()
