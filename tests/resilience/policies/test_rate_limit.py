"""RateLimit: who goes when, who is refused, whom a pause concerns, and that nobody's tokens get lost."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from told import Told, clock, told

from resilience import (
    Bulkhead,
    BulkheadFull,
    ConfigError,
    Deadline,
    Kind,
    Op,
    Pipeline,
    RateLimit,
    RateLimited,
    Retry,
    TimedOut,
    Timeout,
    within,
)
from resilience.call import Call, LimitReport, takes_call
from resilience.limiting.turns import Queue
from resilience.testing import Recorder, Script, VirtualLoop, after, never, virtual

READ = Op("read", idempotent=True)
SPAN = 1.04  # windows after which tokens are back at the latest


def start(pipeline: Pipeline, target: Any, *costs: float) -> list[asyncio.Task[Any]]:
    return [asyncio.ensure_future(pipeline.run(target, op=Op("read", True, cost))) for cost in costs]


def heaviest(sent: list[tuple[float, float]], span: float) -> float:
    """The most tokens in any closed window of this length."""
    most = total = 0.0
    first = 0
    for at, cost in sent:
        total += cost
        while sent[first][0] < at - span:
            total -= sent[first][1]
            first += 1
        most = max(most, total)
    return most


# -- the promise ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "n", "window"), [("600/5s", 600, 5.0), ("30/s", 30, 1.0), ("3/s", 3, 1.0), ("1/s", 1, 1.0)]
)
@virtual
async def test_random_greedy_demand(rate: str, n: int, window: float) -> None:
    """Clumps, gaps, weights and people who leave: no 1.03 W holds more than n, so neither does any W of arrivals."""
    dice = random.Random(n)
    pipeline = Pipeline(RateLimit(rate))
    sent: list[tuple[float, float]] = []

    async def one(cost: float) -> None:
        async def send() -> None:
            sent.append((clock(), cost))

        await pipeline.run(send, op=Op("read", True, cost))

    tasks: list[asyncio.Task[None]] = []
    for _ in range(40):
        await asyncio.sleep(dice.choice([0.0, 0.0, 0.01, 0.3, 1.2]) * window)
        tasks += [
            asyncio.ensure_future(one(dice.randint(1, min(n, 4)))) for _ in range(dice.randint(0, max(2, n // 6)))
        ]
        await asyncio.sleep(0)
        for task in dice.sample(tasks, k=len(tasks) // 10):
            task.cancel()
    await asyncio.wait(tasks)
    assert heaviest(sent, 1.03 * window) <= n
    arrived = sorted((at + dice.random() * 0.03 * window, cost) for at, cost in sent)
    assert heaviest(arrived, window) <= n
    assert len(sent) == sum(not task.cancelled() for task in tasks)


@pytest.mark.parametrize(("rate", "n"), [("10/s", 10), ("1/s", 1), ("40/s", 40)])
@virtual
async def test_a_stalled_loop_does_not_break_it(rate: str, n: int) -> None:
    """The process slept: what was due meanwhile goes out late, and what follows makes room for it."""
    pipeline = Pipeline(RateLimit(rate))
    used: list[float] = []
    script = Script(lambda: used.append(pipeline.status()["rate_limit"]["default"]["used"]))
    loop = asyncio.get_running_loop()
    for at in (0.97, 1.9, 3.3):
        loop.call_later(at, loop.advance, 1.7)  # type: ignore[attr-defined]
    await asyncio.gather(*start(pipeline, script, *[1] * 6 * n))
    assert heaviest([(at, 1) for at in script.begun], 1.03) <= n
    assert clock() < 12
    assert max(used) <= n  # nobody is counted twice


@virtual
async def test_a_loop_that_is_a_little_late_does_not_break_it() -> None:
    """Every other turn comes up to 0.4 % of the window late, the next one on time: still no more than n in 1.03 W."""
    pipeline = Pipeline(RateLimit("1/10s"))
    script = Script("ok")
    loop = asyncio.get_running_loop()
    tasks = start(pipeline, script, *[1] * 7)
    for late in (True, False) * 3:
        await asyncio.sleep(0)
        due = pipeline.states["rate_limit"].line("default").queue.due
        if late:
            loop.call_at(due - 0.01, loop.advance, 0.049)  # type: ignore[attr-defined]
        await asyncio.sleep(due - clock() + 0.05)
    await asyncio.gather(*tasks)
    assert heaviest([(at, 1) for at in script.begun], 10.3) <= 1


@virtual
async def test_a_stall_between_the_turn_and_the_send() -> None:
    """The turn came, the loop slept, then the call went out: it counts from when it went out, and once."""
    pipeline = Pipeline(RateLimit("1/10s"))
    await pipeline.run(Script("ok"), op=READ)
    line, loop = pipeline.states["rate_limit"].line("default"), asyncio.get_running_loop()
    used: list[float] = []
    script = Script(lambda: used.append(line.limiter.used(clock())))
    tasks = start(pipeline, script, 1, 1)
    await asyncio.sleep(0)
    due = line.queue.due
    loop.call_at(due - 0.5, loop.advance, 1)  # type: ignore[attr-defined]  # so that what follows is one turn of the loop:
    loop.call_at(due + 0.1, loop.advance, 2)  # type: ignore[attr-defined]  # the line's own timer, and then the stall
    await asyncio.gather(*tasks)
    assert script.begun[0] == pytest.approx(due + 2.5)
    assert script.begun[1] - script.begun[0] > 10.3
    assert used == [1, 1]


@virtual
async def test_with_room_nothing_is_created() -> None:
    """The call runs through in one step: no future, no task, no timer, no wait noted."""
    pipeline = Pipeline(RateLimit("10/s"))
    await pipeline.run(Script("ok"), op=READ)  # links
    loop, recorder = asyncio.get_running_loop(), Recorder()
    made: list[str] = []
    for name in ("create_future", "create_task", "call_at", "call_soon"):
        setattr(loop, name, lambda *a, name=name, **k: made.append(name))
    try:
        with pytest.raises(StopIteration):
            pipeline.run(Script("ok"), op=READ).send(None)
    finally:
        for name in ("create_future", "create_task", "call_at", "call_soon"):
            delattr(loop, name)
    assert made == []
    pipeline.observe(recorder)
    await pipeline.run(Script("ok"), op=READ)
    assert (recorder.waits, recorder.attempts[0].attempt.waited, recorder.attempts[0].attempt.notes) == ([], 0, {})


# -- the line -------------------------------------------------------------------------------------------------


@virtual
async def test_a_heavy_waiter_is_not_overtaken() -> None:
    """A light call that would fit waits behind it, and goes with it."""
    order: list[tuple[float, float]] = []
    pipeline = Pipeline(RateLimit("10/10s"))

    def target(cost: float) -> Callable[[], Any]:
        async def send() -> None:
            order.append((cost, round(clock(), 1)))

        return send

    await pipeline.run(target(6), op=Op("x", cost=6))
    await asyncio.sleep(1)
    await asyncio.gather(*(pipeline.run(target(cost), op=Op("x", cost=cost)) for cost in (5, 4, 1, 8)))
    assert [cost for cost, _ in order] == [6, 5, 4, 1, 8]
    assert [at for _, at in order[1:4]] == [pytest.approx(10.4, abs=0.1)] * 3


@virtual
async def test_whoever_leaves_lets_the_others_move_up() -> None:
    """A heavy waiter gives up at 3 s: those behind it go as soon as the arithmetic allows, which is at once."""
    pipeline = Pipeline(RateLimit("10/10s"))
    script = Script("ok")
    await pipeline.run(script, op=Op("x", cost=4))
    heavy, *light = start(pipeline, script, 8, 2, 3)
    await asyncio.sleep(3)
    heavy.cancel()
    await asyncio.gather(*light)
    assert clock() == 3
    assert heavy.cancelled()
    status = pipeline.status()["rate_limit"]["default"]
    assert (status["used"], status["waiting"]) == (9, 0)


@virtual
async def test_cancelled_in_the_tick_of_its_turn() -> None:
    """Its turn has come, it was cancelled before it could run: the tokens go to the next, who moves up."""
    pipeline = Pipeline(RateLimit("2/10s"))
    script = Script("ok")
    await asyncio.gather(*start(pipeline, script, 1, 1))
    tasks: list[asyncio.Task[Any]] = []

    async def first() -> None:
        tasks[1].cancel()

    tasks += start(pipeline, first, 1)
    tasks += start(pipeline, script, 1, 1, 1)
    done = [await task for task in (tasks[0], tasks[2])]
    assert done == [None, "ok"]
    assert tasks[1].cancelled()
    assert clock() == pytest.approx(10.4, abs=0.1)
    await tasks[3]
    assert clock() == pytest.approx(20.8, abs=0.2)


@virtual
async def test_cancelled_just_before_its_turn() -> None:
    """The future is cancelled, the task has not run yet, and the timer rings: the turn goes to the next."""
    pipeline = Pipeline(RateLimit("1/10s"))
    script = Script("ok")
    await pipeline.run(script, op=READ)
    gone, stays = start(pipeline, script, 1, 1)
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    due = pipeline.states["rate_limit"].line("default").queue.due
    loop.call_at(due - 2, loop.advance, 3)  # type: ignore[attr-defined]  # so both timers are due in one turn
    loop.call_at(due - 1, gone.cancel)
    await stays
    assert gone.cancelled()
    assert clock() == pytest.approx(due + 1)


@virtual
async def test_a_crowd_that_leaves_together_is_looked_at_once() -> None:
    """Five thousand are cancelled in one tick; nothing is left, and no timer stays armed."""
    pipeline = Pipeline(RateLimit("1/10s"))
    await pipeline.run(Script("ok"), op=READ)
    tasks = start(pipeline, Script("ok"), *[1] * 5000)
    await asyncio.sleep(0)
    line = pipeline.states["rate_limit"].line("default")
    looked: list[float] = []
    serve = Queue._serve
    Queue._serve = lambda self, now: (looked.append(now), serve(self, now))[1]  # type: ignore[method-assign]
    try:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(0)
    finally:
        Queue._serve = serve  # type: ignore[method-assign]
    assert len(looked) <= 2
    assert (line.needed, line.queue._timer) == (0, None)
    assert clock() == 0


@virtual
async def test_a_newcomer_finds_the_room_of_those_who_left() -> None:
    """In the very tick in which they left."""
    pipeline = Pipeline(RateLimit("10/10s", max_wait=0))
    patient = Pipeline(RateLimit("10/10s"))
    for each in (pipeline, patient):
        await each.run(Script("ok"), op=Op("x", cost=5))
    (heavy,) = start(patient, Script("ok"), 10)
    await asyncio.sleep(1)
    heavy.cancel()
    await asyncio.wait((heavy,))
    assert await patient.run(Script("at once"), op=Op("x", cost=5)) == "at once"
    assert clock() == 1


# -- refusals -------------------------------------------------------------------------------------------------


@virtual
async def test_max_wait_refuses_at_once() -> None:
    """The refusal carries the wait that it would have been, and takes nobody's place."""
    pipeline = Pipeline(RateLimit("1/10s", max_wait=15))
    script = Script("ok")
    await pipeline.run(script, op=READ)
    (second,) = start(pipeline, script, 1)
    await asyncio.sleep(0)
    for _ in range(3):
        with pytest.raises(RateLimited) as caught:
            await pipeline.run(script, op=READ)
        assert caught.value.retry_after == pytest.approx(20.8, abs=0.2)
        assert str(caught.value).startswith(
            "refused by the rate limit: 1/10s is used up beyond the longest wait allowed"
        )
    assert clock() == 0
    assert await second == "ok"
    assert script.count == 2


@virtual
async def test_no_wait_at_all() -> None:
    """max_wait=0: room or refusal, again and again, with no memory of who was refused."""
    pipeline = Pipeline(RateLimit("2/s", max_wait=0))
    script = Script("ok")
    for _ in range(50):
        try:
            await pipeline.run(script, op=READ)
        except RateLimited:
            await asyncio.sleep(0.1)
    assert heaviest([(at, 1) for at in script.begun], 1.03) <= 2
    assert script.count >= 0.9 * 2 * clock() - 2


@pytest.mark.filterwarnings("ignore:timeout-above-deadline")  # so that it is the deadline that comes
@virtual
async def test_the_deadline_refuses_at_once() -> None:
    """Whichever way it was set; a turn in the very moment of the deadline is too late as well."""
    pipeline = Pipeline(Deadline(5), RateLimit("1/10s"), Timeout(60))
    assert await pipeline.run(Script("ok"), op=READ) == "ok"
    with pytest.raises(RateLimited, match=r"beyond the deadline; try again in 10\.\d s"):
        await pipeline.run(Script("ok"), op=READ)
    with within(1), pytest.raises(RateLimited):
        await pipeline.run(Script("ok"), op=READ)
    assert clock() == 0
    paused = Pipeline(RateLimit("10/s"), classify=told)
    with pytest.raises(Told):
        await paused.run(Script(Told(Kind.THROTTLED, 3, "ip")), op=READ)
    with within(3), pytest.raises(RateLimited):
        await paused.run(Script("ok"), op=READ)
    assert clock() == 0


@virtual
async def test_a_pause_refuses_those_who_can_no_longer_be_served() -> None:
    """Not at the end of their wait but when it becomes known; the patient ones stay."""
    pipeline = Pipeline(RateLimit("2/10s", max_wait=12), classify=told)
    patient = Pipeline(Deadline(12), RateLimit("2/10s"), classify=told)
    for each in (pipeline, patient):
        running = start(each, Script(after(1, Told(Kind.THROTTLED, 20, "ip"))), 2)
        await asyncio.sleep(0)
        (waiting,) = start(each, Script("ok"), 1)
        begun = clock()
        with pytest.raises(RateLimited, match="paused by the server beyond") as caught:
            await waiting
        assert clock() - begun == 1
        assert caught.value.retry_after == 20
        with pytest.raises(Told):
            await running[0]


@virtual
async def test_a_call_that_can_never_go_is_a_mistake_in_the_configuration() -> None:
    """It costs more than n, or less than nothing; no retry, no wait."""
    pipeline = Pipeline(Retry(wait=0), RateLimit("10/s"))
    for cost in (11.0, -1.0):
        with pytest.raises(ConfigError, match=r"RateLimit: 'batch' costs -?\d+ tokens.*10/s.* from 0 to 10"):
            await pipeline.run(Script("ok"), op=Op("batch", True, cost))
    assert await pipeline.run(Script("ok"), op=Op("batch", True, 10)) == "ok"


# -- what the server says -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "scope", "held"),
    [
        (None, "ip", "same other_op other_account"),
        (None, "account", "same other_op"),
        (None, "op", "same other_account"),
        (None, "unheard_of", "same other_account"),
        ("ip", "ip", "same other_op other_account"),
        ("ip", "account", "same other_op"),
        ("ip", "op", "same other_account"),
        ("account", "ip", "same other_op other_account"),
        ("account", "account", "same other_op"),
        ("account", "op", "same other_account"),
        ("op", "ip", "same other_op other_account"),
        ("op", "op", "same other_account"),
        ("host", "ip", "same other_op other_account"),
        (lambda call: call.op.name, "ip", "same other_account"),
        (lambda call: call.keys["account"], "op", "same other_op"),
    ],
)
@virtual
async def test_whom_a_throttled_pauses(key: Any, scope: str, held: str) -> None:
    """The calls of its scope; where the key is a host or a function, those of the same key."""
    pipeline = Pipeline(RateLimit("100/s", key=key), classify=told)

    async def send(op: str, account: str, target: Any) -> float:
        await pipeline.send(Call(Op(op, True), target, keys={"account": account, "host": "h"}))
        return clock()

    with pytest.raises(Told):
        await send("ticker", "a", Script(Told(Kind.THROTTLED, 5, scope)))
    who = {"same": ("ticker", "a"), "other_op": ("trades", "a"), "other_account": ("ticker", "b")}
    times = await asyncio.gather(*(send(*each, Script("ok")) for each in who.values()))
    assert [name for name, at in zip(who, times, strict=True) if at > 0] == held.split()
    assert all(at == 0 or 5 <= at < 5.1 for at in times)
    assert await send("ticker", "a", Script("ok")) < 5.1  # and then it is over


@virtual
async def test_a_pause_where_the_server_named_no_time() -> None:
    """One second."""
    pipeline = Pipeline(RateLimit("100/s"), classify=told)
    with pytest.raises(Told):
        await pipeline.run(Script(Told(Kind.THROTTLED)), op=READ)
    await pipeline.run(Script("ok"), op=READ)
    assert clock() == 1


@pytest.mark.parametrize(
    "error", [Told(Kind.FAILED, 9), Told(Kind.UNKNOWN, 9), Told(Kind.REJECTED, 9), BulkheadFull("x")]
)
@virtual
async def test_no_other_error_pauses(error: Exception) -> None:
    """Nor do our own refusals from beneath."""
    pipeline = Pipeline(RateLimit("100/s"), classify=told)
    with pytest.raises(type(error)):
        await pipeline.run(Script(error), op=READ)
    await pipeline.run(Script("ok"), op=READ)
    assert clock() == 0


@virtual
async def test_a_shorter_pause_does_not_cut_a_longer_one() -> None:
    """Two calls in flight are throttled, for five seconds and for two."""
    pipeline = Pipeline(RateLimit("100/s"), classify=told)
    script = Script(after(0.1, Told(Kind.THROTTLED, 5, "ip")), after(0.2, Told(Kind.THROTTLED, 2, "ip")), "ok")
    await asyncio.gather(*start(pipeline, script, 1, 1), return_exceptions=True)
    assert pipeline.status()["rate_limit"]["default"]["paused_for"] == pytest.approx(4.9)
    await pipeline.run(script, op=READ)
    assert clock() == pytest.approx(5.1)


@virtual
async def test_a_pause_of_one_operation_keeps_its_order_and_ends() -> None:
    """Those who wait go in order of arrival, the others pass meanwhile, and afterwards nothing is remembered."""
    order: list[int] = []
    pipeline = Pipeline(RateLimit("100/s", max_wait=30), classify=told)

    async def one(number: int) -> None:
        order.append(number)

    async def throttled(op: str, seconds: float) -> None:
        with pytest.raises(Told):
            await pipeline.run(Script(Told(Kind.THROTTLED, seconds)), op=Op(op))

    await throttled("slow", 5)
    await throttled("slower", 8)
    waiting = [asyncio.ensure_future(pipeline.run(one, number, op=Op("slow"))) for number in range(30)]
    await asyncio.sleep(1)
    assert await pipeline.run(Script("passes"), op=Op("quick")) == "passes"
    status = pipeline.status()["rate_limit"]
    assert status["op:slow"] == {"rate": "100/s", "used": 0, "limit": 100, "waiting": 30, "paused_for": 4}
    assert (status["default"]["waiting"], status["default"]["paused_for"]) == (0, 0)
    await asyncio.gather(*waiting)
    assert order == list(range(30))
    assert 5 <= clock() < 5.5
    late = [asyncio.ensure_future(pipeline.run(one, 99, op=Op(op))) for op in ("slower", "slow")]
    await asyncio.gather(*late)
    await asyncio.sleep(10)
    await pipeline.run(one, 100, op=Op("slow"))
    assert list(pipeline.status()["rate_limit"]) == ["default"]


@virtual
async def test_while_another_operation_is_paused_room_is_still_room() -> None:
    """And what went straight through since the last refusal counts for the next one, which comes without a wait."""
    recorder = Recorder()
    pipeline = Pipeline(RateLimit("3/10s", max_wait=1), classify=told, observers=(recorder,))
    with pytest.raises(Told):
        await pipeline.run(Script(Told(Kind.THROTTLED, 60)), op=Op("other"))
    for sends, begin in ((2, 0), (3, 11)):
        await asyncio.sleep(begin - clock())
        for _ in range(sends):
            await pipeline.run(Script("ok"), op=READ)
        with pytest.raises(RateLimited):
            await pipeline.run(Script("ok"), op=READ)
        assert (recorder.waits, clock()) == ([], begin)


@virtual
async def test_two_who_find_the_end_of_the_same_pause() -> None:
    """One of them waited for another pause meanwhile; what the other has cleared away is not cleared twice."""
    pipeline = Pipeline(RateLimit("100/s"), classify=told)

    async def send(op: str, account: str, target: Any) -> Any:
        return await pipeline.send(Call(Op(op), target, keys={"account": account}))

    for op, seconds in (("x", 5), ("y", 1)):
        with pytest.raises(Told):
            await send(op, "a", Script(Told(Kind.THROTTLED, seconds)))
    await asyncio.sleep(2)
    held = asyncio.ensure_future(send("x", "b", Script("ok")))
    await asyncio.sleep(0)
    assert await send("z", "b", Script("ok")) == "ok"
    assert await held == "ok"
    assert clock() == 5


@virtual
async def test_a_wait_for_a_pause_is_no_other_wait() -> None:
    """For the pause and for the tokens it waits at once; it is refused at once if either takes too long."""
    pipeline = Pipeline(RateLimit("1/10s", max_wait=6), classify=told)
    with pytest.raises(Told):
        await pipeline.run(Script(Told(Kind.THROTTLED, 5)), op=READ)
    with pytest.raises(RateLimited) as caught:
        await pipeline.run(Script("ok"), op=READ)
    assert caught.value.retry_after == pytest.approx(10.4, abs=0.1)
    assert clock() == 0


@takes_call
async def reports(call: Call, limit: float, remaining: float, reset_in: float | None, error: Any = None) -> str:
    call.attempt.limits = LimitReport(limit, remaining, reset_in)
    if error is not None:
        raise error
    return "ok"


@pytest.mark.parametrize("error", [None, Told(Kind.REJECTED), Told(Kind.THROTTLED, 0.0)])
@virtual
async def test_a_report_takes_away_what_others_have_spent(error: Exception | None) -> None:
    """On success as on failure; back when the server says so, and those who wait already are told."""
    pipeline = Pipeline(RateLimit("10/s"), classify=told)
    await pipeline.run(Script("ok"), op=Op("x", cost=7))

    @takes_call
    async def slow(call: Call) -> Any:
        await asyncio.sleep(0.2)
        return await reports(call, 10, 1, 3.0, error)

    reporting = asyncio.ensure_future(pipeline.run(slow, op=READ))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(pipeline.run(Script("ok"), op=Op("x", cost=10)))
    assert await asyncio.gather(reporting, return_exceptions=True) == ["ok" if error is None else error]
    assert await waiting == "ok"
    assert clock() == 3.2


@virtual
async def test_a_report_refuses_those_who_can_no_longer_be_served() -> None:
    """When it comes, not when their turn would have been."""
    pipeline = Pipeline(RateLimit("10/s", max_wait=2))

    @takes_call
    async def slow(call: Call) -> Any:
        await asyncio.sleep(0.2)
        return await reports(call, 10, 1, 3.0)

    reporting = asyncio.ensure_future(pipeline.run(slow, op=Op("x", cost=8)))
    await asyncio.sleep(0)
    with pytest.raises(RateLimited):
        await pipeline.run(Script("ok"), op=Op("x", cost=10))
    assert clock() == 0.2
    assert await reporting == "ok"


@pytest.mark.parametrize(
    ("key", "obeyed"), [(None, True), ("op", True), ("ip", False), ("account", False), ("host", False)]
)
@virtual
async def test_a_smaller_quota_is_not_that_of_the_whole_address(key: str | None, obeyed: bool) -> None:
    """An endpoint with 5 a second says nothing about an address with 100."""
    pipeline = Pipeline(RateLimit("100/s", key=key))
    await pipeline.run(reports, 5, 0, 2.0, op=READ)
    await pipeline.run(Script("ok"), op=READ)
    assert clock() == (2 if obeyed else 0)


@virtual
async def test_a_report_that_changes_nothing_disturbs_nobody() -> None:
    """More left than we think, or a reset that is over."""
    pipeline = Pipeline(RateLimit("10/s"))
    for limit, remaining, reset_in in ((10, 10, 5.0), (20, 19, None), (10, 0, 0.0)):
        await pipeline.run(reports, limit, remaining, reset_in, op=READ)
    assert pipeline.status()["rate_limit"]["default"]["used"] == 3
    assert clock() == 0


# -- keys and sharing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["account", "host", "op", lambda call: call.args[0]])
@virtual
async def test_each_key_has_its_own_limit(key: Any) -> None:
    """Two keys, twice the calls; a missing key is a key as well."""
    pipeline = Pipeline(RateLimit("2/10s", key=key, max_wait=0))
    script = Script("ok")

    async def send(name: str) -> Any:
        keys = {"account": name, "host": name} if name else {}
        return await pipeline.send(Call(Op(name or "none"), script, (name,), keys=keys))

    for name in ("a", "a", "b", "b", "", ""):
        await send(name)
    for name in ("a", "b", ""):
        with pytest.raises(RateLimited):
            await send(name)
    (limits,) = pipeline.status().values()
    assert set(limits) == {"a", "b", "none" if key == "op" else "default"}
    assert script.count == 6


@virtual
async def test_idle_keys_are_dropped_and_busy_ones_are_not() -> None:
    """A thousand keys are kept; a limit with tokens out is never forgotten, however many there are."""
    pipeline = Pipeline(RateLimit("1/10s", key=lambda call: call.args[0], max_wait=0))
    for key in range(1500):
        await pipeline.run(Script("ok"), key, op=READ)
    assert len(pipeline.status()["rate_limit"]) == 1500
    with pytest.raises(RateLimited):
        await pipeline.run(Script("ok"), 0, op=READ)
    await asyncio.sleep(11)
    for key in range(5000, 5600):
        await pipeline.run(Script("ok"), key, op=READ)
    assert len(pipeline.status()["rate_limit"]) < 700
    with pytest.raises(RateLimited):
        await pipeline.run(Script("ok"), 5000, op=READ)


@virtual
async def test_keys_are_looked_through_now_and_then() -> None:
    """When there are a thousand; and where most of them are busy, not again before there are twice as many."""
    pipeline = Pipeline(RateLimit("1/10s", key=lambda call: call.args[0]))
    for key in range(1000):
        await pipeline.run(Script("ok"), key)
    await asyncio.sleep(11)
    await pipeline.run(Script("ok"), 1000)
    limits = pipeline.states["rate_limit"]
    assert list(limits.lines) == [1000]
    for key in range(1001, 2001):
        await pipeline.run(Script("ok"), key)
    assert (len(limits.lines), limits._sweep_at) == (1001, 2000)


@virtual
async def test_a_key_first_seen_during_a_pause_is_paused() -> None:
    """The address is banned, whatever the operation."""
    pipeline = Pipeline(RateLimit("10/s", key="op"), classify=told)
    with pytest.raises(Told):
        await pipeline.run(Script(Told(Kind.THROTTLED, 600, "ip")), op=READ)
    with within(10), pytest.raises(RateLimited, match="paused by the server"):
        await pipeline.run(Script("ok"), op=Op("new"))


@pytest.mark.parametrize(("key", "common"), [("ip", True), ("account", True), (None, False), ("op", False)])
@virtual
async def test_pipelines_of_one_scope_share_the_limit_of_an_address(key: str | None, common: bool) -> None:
    """However the rate is spaced; another scope, or another rate, is another limit."""
    shared: dict[str, Any] = {}

    def make(rate: str, scope: str) -> Pipeline:
        return Pipeline(RateLimit(rate, key=key, max_wait=0), shared=shared, scope=scope)

    first, second = make("1/10s", "bybit"), make("1 / 10s", "bybit")
    others = [make("1/10s", "elsewhere"), make("2/10s", "bybit")]
    await first.run(Script("ok"), op=READ)
    for pipeline in others:
        await pipeline.run(Script("ok"), op=READ)
    outcome = await asyncio.gather(second.run(Script("ok"), op=READ), return_exceptions=True)
    assert isinstance(outcome[0], RateLimited) is common


@virtual
async def test_the_status_is_plain_data() -> None:
    """By key: rate, used, limit, waiting, paused_for."""
    pipeline = Pipeline(RateLimit("10/s", key="ip"))
    tasks = start(pipeline, Script("ok"), 4, 3, 5)
    await asyncio.sleep(0)
    assert pipeline.status() == {
        "rate_limit:/ip/10/s": {"ip": {"rate": "10/s", "used": 7, "limit": 10, "waiting": 1, "paused_for": 0}}
    }
    await asyncio.gather(*tasks)


def test_the_status_outside_a_loop() -> None:
    """How it stood at the last send; nothing before the first."""
    pipeline = Pipeline(RateLimit("10/s", key="op"))
    VirtualLoop().run(pipeline.run(Script("ok"), op=READ))
    assert pipeline.status()["rate_limit"]["read"]["used"] == 1
    unused = Pipeline(RateLimit("10/s", key="op"))

    async def link() -> None:
        with pytest.raises(ConfigError):
            await unused.run(Script("ok"), op=Op("x", cost=99))

    VirtualLoop().run(link())
    assert unused.status()["rate_limit"]["x"] == {"rate": "10/s", "used": 0, "limit": 10, "waiting": 0, "paused_for": 0}


# -- event loops ----------------------------------------------------------------------------------------------


def test_one_loop_after_the_other() -> None:
    """What was sent in an earlier loop counts while the clock goes on, and is forgotten if it began anew."""
    pipeline = Pipeline(RateLimit("1/10s", max_wait=0))
    script = Script("ok")

    async def main(at: float) -> None:
        asyncio.get_running_loop().advance(at)  # type: ignore[attr-defined]
        await pipeline.run(script, op=READ)

    VirtualLoop().run(main(100))
    with pytest.raises(RateLimited):
        VirtualLoop().run(main(105))
    VirtualLoop().run(main(111))
    VirtualLoop().run(main(5))
    assert script.count == 3


def test_a_clock_that_began_anew_does_not_mix_two_counts() -> None:
    """No more than n go in the new loop's first window."""
    pipeline = Pipeline(RateLimit("4/10s", max_wait=0))

    async def main(at: float, times: int) -> int:
        asyncio.get_running_loop().advance(at)  # type: ignore[attr-defined]
        outcomes = await asyncio.gather(*(pipeline.run(Script("ok")) for _ in range(times)), return_exceptions=True)
        return outcomes.count("ok")

    assert VirtualLoop().run(main(100, 1)) == 1
    assert VirtualLoop().run(main(5, 9)) == 4


def test_waiters_of_a_dead_loop_are_in_nobodys_way() -> None:
    """A loop was stopped and closed with callers in the line; the next one begins with an empty line."""
    pipeline = Pipeline(RateLimit("1/10s", key="op"), classify=told)
    loop = VirtualLoop()

    async def leave_waiting() -> list[asyncio.Task[Any]]:
        await pipeline.run(Script("ok"), op=READ)
        tasks = start(pipeline, Script("never sent"), 1, 1)
        await asyncio.sleep(0)
        return tasks

    tasks = loop.run_until_complete(leave_waiting())
    loop.close()

    async def main() -> str:
        with pytest.raises(Told):  # a pause of everybody reaches the line of the dead loop, too
            await pipeline.run(Script(Told(Kind.THROTTLED, 3, "ip")), op=Op("other"))
        return str(await pipeline.run(Script("served"), op=READ))

    assert VirtualLoop().run(main()) == "served"
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # nobody can end them any more
        task.get_coro().close()  # type: ignore[union-attr]


def test_two_loops_at_once_are_told_that_it_cannot_be() -> None:
    """Rather than waking a caller from a foreign thread."""
    pipeline = Pipeline(RateLimit("1/10s"))
    waiting, asked = threading.Event(), threading.Event()

    async def first() -> None:
        await pipeline.run(Script("ok"), op=READ)
        (task,) = start(pipeline, Script("ok"), 1)
        await asyncio.sleep(0)
        waiting.set()
        asked.wait(30)
        task.cancel()
        await asyncio.wait((task,))

    thread = threading.Thread(target=lambda: VirtualLoop().run(first()))
    thread.start()
    waiting.wait(30)
    try:
        with pytest.raises(RuntimeError, match="1/10s: callers in another event loop still wait"):
            VirtualLoop().run(pipeline.run(Script("ok"), op=READ))
    finally:
        asked.set()
        thread.join(30)


# -- together with others -------------------------------------------------------------------------------------


@virtual
async def test_inside_retry_and_around_timeout() -> None:
    """Every attempt pays, waits outside its own timeout, and comes back when the server said, not sooner."""
    recorder = Recorder()
    script = Script(Told(Kind.THROTTLED, 4, "ip"), never, "ok")
    pipeline = Pipeline(
        Retry(attempts=4, wait=0), RateLimit("1/10s"), Bulkhead(1), Timeout(2), classify=told, observers=(recorder,)
    )
    assert await pipeline.run(script, op=READ) == "ok"
    assert [round(at) for at in script.begun] == [0, 10, 21]
    waits = [(wait.why, round(wait.seconds or 0)) for wait in recorder.waits if wait.seconds]
    assert waits == [("retry_after", 4), ("limiter", 6), ("limiter", 8)]
    assert isinstance(recorder.attempts[1].error, TimedOut)
    last = recorder.attempts[2].attempt
    assert last.waited == last.notes["wait.limiter"] == pytest.approx(8.4, abs=0.2)
    assert recorder.balanced()


@virtual
async def test_a_deadline_cuts_the_wait_of_a_retried_attempt() -> None:
    """The second attempt is refused at once; the caller learns what the first one met, if that was UNKNOWN."""
    unknown = Told(Kind.UNKNOWN)
    script = Script(unknown, "too late")
    pipeline = Pipeline(Deadline(5), Retry(wait=0), RateLimit("1/10s"), Timeout(2), classify=told)
    with pytest.raises(Told) as caught:
        await pipeline.run(script, op=READ)
    assert caught.value is unknown
    assert (script.count, clock()) == (1, 0)


@virtual
async def test_a_cancelled_call_that_is_under_way_keeps_its_tokens() -> None:
    """It was sent: the server counts it."""
    pipeline = Pipeline(RateLimit("1/10s", max_wait=0))
    (task,) = start(pipeline, Script(never), 1)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))
    with pytest.raises(RateLimited):
        await pipeline.run(Script("ok"), op=READ)


@virtual
async def test_as_a_decorator() -> None:
    """On a plain function every call weighs one token."""

    @RateLimit("2/s")
    async def fetch(number: int) -> float:
        return clock()

    times = await asyncio.gather(*(fetch(number) for number in range(6)))
    assert [round(at, 1) for at in times] == [0, 0, 1, 1, 2.1, 2.1]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RateLimit("600"), "write calls/window"),
        (lambda: RateLimit(600), "must be calls/window"),  # type: ignore[arg-type]
        (lambda: RateLimit("0.5/s"), "write 1/2s"),
        (lambda: RateLimit("1/s", key="user"), "must be ip, account, host, op"),
        (lambda: RateLimit("1/s", max_wait=-1), "max_wait is -1"),
    ],
)
def test_wrong_settings_are_named(make: Callable[[], RateLimit], said: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigError, match=said):
        make()
