"""RateLimit with several limits at once: all or nothing, whom a used-up limit delays, and everybody's turn."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from told import Told, clock, told

from resilience import (
    Bulkhead,
    ConfigError,
    Deadline,
    Kind,
    Limit,
    Op,
    Pipeline,
    RateLimit,
    RateLimited,
    Retry,
    Timeout,
    within,
)
from resilience.call import Call, LimitReport, takes_call
from resilience.config import Document, build_pipelines
from resilience.testing import Recorder, Script, VirtualLoop, after, virtual


class Log:
    """A pipeline, and what it let through: when, which operation, which account, at what cost."""

    def __init__(self, *policies: Any, **options: Any) -> None:
        self.pipeline = Pipeline(*policies, classify=told, **options)
        self.sent: list[tuple[float, str, str, float]] = []

    def start(self, op: str, account: str = "", cost: float = 1.0, times: int = 1) -> list[asyncio.Task[Any]]:
        async def target() -> str:
            self.sent.append((clock(), op, account, cost))
            return op

        def call() -> Call:
            return Call(Op(op, True, cost), target, keys={"account": account})

        return [asyncio.ensure_future(self.pipeline.send(call())) for _ in range(times)]

    async def raises(self, error: Exception, op: str, account: str = "") -> None:
        with pytest.raises(type(error)):
            await self.pipeline.send(Call(Op(op), Script(error), keys={"account": account}))

    def times(self, op: str) -> list[float]:
        return [round(at, 2) for at, name, _, _ in self.sent if name == op]

    def status(self, name: str) -> dict[str, Any]:
        return next(rows[name] for rows in self.pipeline.status().values() if name in rows)


def heaviest(sent: list[tuple[float, float]], span: float) -> float:
    """The most tokens in any closed window of this length."""
    return max(sum(cost for at, cost in sent if begun <= at <= begun + span) for begun, _ in sent)


BOTH = RateLimit("20/s", key="ip", also=[Limit("2/s", key="op")])


# -- all or nothing, and who passes whom ----------------------------------------------------------------------


@virtual
async def test_whoever_waits_for_one_limit_holds_nothing_of_another() -> None:
    """Eight wait for their operation; of the address only what was sent is spent."""
    log = Log(BOTH)
    tasks = log.start("x", times=10)
    await asyncio.sleep(0)
    assert (log.status("ip")["used"], log.status("ip")["waiting"]) == (2, 0)
    assert (log.status("x")["used"], log.status("x")["waiting"]) == (2, 8)
    await asyncio.gather(*tasks)
    assert log.times("x") == [0, 0, 1.04, 1.04, 2.07, 2.07, 3.11, 3.11, 4.14, 4.14]
    assert (log.status("ip")["used"], log.status("x")["waiting"]) == (2, 0)


@virtual
async def test_a_used_up_operation_delays_only_its_own() -> None:
    """Calls of other operations go by, at once, as long as the address has room."""
    log = Log(BOTH)
    waiting = log.start("x", times=6)
    others = [log.start(op, times=2) for op in ("y", "z", "w")]
    await asyncio.sleep(0)
    assert [log.times(op) for op in ("x", "y", "z", "w")] == [[0, 0]] * 4
    await asyncio.gather(*waiting, *(task for some in others for task in some))
    assert log.times("x") == [0, 0, 1.04, 1.04, 2.07, 2.07]


@virtual
async def test_a_used_up_address_is_first_come_first_served() -> None:
    """Whatever the operation."""
    log = Log(RateLimit("2/s", key="ip", also=[Limit("20/s", key="op")]))
    tasks = [task for op in "abcabcddd" for task in log.start(op)]
    await asyncio.gather(*tasks)
    assert "".join(op for _, op, _, _ in log.sent) == "abcabcddd"
    assert log.sent[-1][0] == pytest.approx(4.15, abs=0.02)


@virtual
async def test_a_heavy_call_that_waits_for_its_operation_does_not_hold_up_the_address() -> None:
    """Nor does it while the address has too little room for it, but enough for others."""
    log = Log(RateLimit("4/s", key="ip", also=[Limit("4/10s", key="op")]))
    await asyncio.gather(*log.start("x", cost=2))
    first = log.start("x", cost=3)
    heavy = log.start("x", cost=3)
    others = log.start("y", times=2)
    await asyncio.gather(*others)
    assert clock() == 0
    await asyncio.gather(*log.start("z", times=4))
    assert clock() < 1.1
    await asyncio.gather(*first, *heavy)
    assert log.times("x") == [0, pytest.approx(10.4, abs=0.1), pytest.approx(20.8, abs=0.2)]


@virtual
async def test_whoever_waits_for_its_operation_gets_its_turn_in_a_crowd() -> None:
    """Hundreds of others keep the address busy: it goes at the very moment that its operation allows."""
    log = Log(RateLimit("5/s", key="ip", also=[Limit("1/3s", key="op", per_op={"y": "1000/s"})]))
    await asyncio.gather(*log.start("x"))
    waiting, crowd = log.start("x", times=2), log.start("y", times=60)
    await asyncio.gather(*waiting)
    assert log.times("x") == [0, pytest.approx(3.1, abs=0.02), pytest.approx(6.2, abs=0.04)]
    await asyncio.gather(*crowd)
    assert log.times("y")[-1] <= 62 / 5 / 0.9 + 1  # what was kept free for the others was not much


@virtual
async def test_limits_that_have_room_by_turns_starve_nobody() -> None:
    """The account is free when the operation is not, and the other way round, for as long as others keep coming."""
    log = Log(RateLimit("1/s", key="account", also=[Limit("1/s", key="op")]))
    log.start("other", "a")
    await asyncio.sleep(0.5)
    log.start("x", "other")
    await asyncio.sleep(0)
    (victim,) = log.start("x", "a")
    crowd = [*log.start("y", "a", times=20), *log.start("x", "b", times=20)]
    await victim
    assert clock() < 2.7
    await asyncio.gather(*crowd)


@virtual
async def test_several_keys_under_one_address_all_get_their_share() -> None:
    """Five operations want more than there is: each is served in the order of arrival, and none is left behind."""
    log = Log(RateLimit("30/s", key="ip", also=[Limit("10/s", key="op")]))
    tasks = [task for _ in range(40) for op in "abcde" for task in log.start(op)]
    await asyncio.sleep(3)
    counts = [len(log.times(op)) for op in "abcde"]
    assert min(counts) >= max(counts) - 1
    await asyncio.gather(*tasks)
    assert clock() <= 200 / 30 / 0.9 + 0.1


# -- the promise ----------------------------------------------------------------------------------------------


@virtual
async def test_every_window_of_every_limit() -> None:
    """Clumps, weights, two accounts, three operations, people who leave: no limit is ever exceeded, nobody is lost."""
    dice = random.Random(7)
    log = Log(RateLimit("40/2s", key="ip", also=[Limit("12/s", key="account"), Limit("7/s", key="op")]))
    tasks: list[asyncio.Task[Any]] = []
    for _ in range(60):
        await asyncio.sleep(dice.choice([0.0, 0.01, 0.2, 0.9]))
        for _ in range(dice.randint(0, 8)):
            tasks += log.start(dice.choice("xyz"), dice.choice("ab"), float(dice.randint(1, 3)))
        await asyncio.sleep(0)
        for task in dice.sample(tasks, k=len(tasks) // 10):
            task.cancel()
    await asyncio.wait(tasks)
    assert len(log.sent) == sum(not task.cancelled() for task in tasks) > 100
    for index, keys, n, window in ((1, "xyz", 7, 1), (2, "ab", 12, 1)):
        for key in keys:
            assert heaviest([(row[0], row[3]) for row in log.sent if row[index] == key], 1.03 * window) <= n
    assert heaviest([(row[0], row[3]) for row in log.sent], 1.03 * 2) <= 40


@pytest.mark.parametrize(
    ("ip", "op", "tighter"),
    [("100/s", "10/s", 10), ("10/s", "100/s", 10), ("600/5s", "60/s", 60), ("30/s", "30/s", 30)],
)
@virtual
async def test_greedy_demand_uses_the_tighter_limit(ip: str, op: str, tighter: float) -> None:
    """At least 90 % of it."""
    log = Log(RateLimit(ip, key="ip", also=[Limit(op, key="op")]))
    await asyncio.gather(*log.start("x", times=int(tighter * 8)))
    assert clock() <= 8 / 0.9


@virtual
async def test_two_windows_for_the_same_calls() -> None:
    """Ten in a second and fifteen in ten: both hold."""
    log = Log(RateLimit("10/s", key="account", also=[Limit("15/10s", key="account")]))
    await asyncio.gather(*log.start("x", "a", times=20))
    assert log.times("x") == [0] * 10 + [1.04] * 5 + [pytest.approx(10.4, abs=0.1)] * 5


@virtual
async def test_operations_with_rates_of_their_own() -> None:
    """`per_op`, alone and among linked limits; every other operation has the common rate."""
    for policy in (
        RateLimit("5/s", key="op", per_op={"create_order": "1 / s"}),
        RateLimit("100/s", also=[Limit("5/s", key="op", per_op={"create_order": "1/s"})]),
    ):
        log = Log(policy)
        begun = clock()
        tasks = [*log.start("create_order", times=2), *log.start("ticker", times=6)]
        await asyncio.gather(*tasks)
        for op, count in (("create_order", 1), ("ticker", 5)):
            assert [at - begun < 0.1 for at in log.times(op)] == [True] * count + [False]
        assert log.status("create_order")["rate"] == "1/s"
        assert log.status("create_order")["limit"] == 1


# -- waits, refusals, cancellations ---------------------------------------------------------------------------


@virtual
async def test_a_wait_that_is_certain_to_be_too_long_is_refused_at_once() -> None:
    """Whichever limit it is, also where others of its kind have to go first; the refusal names the limit."""
    for rate, op in (("1/10s", "20/s"), ("20/s", "1/10s")):
        log = Log(RateLimit(rate, also=[Limit(op, key="op")], max_wait=15))
        tasks = log.start("x", times=4)
        outcomes = await asyncio.gather(*tasks[2:], return_exceptions=True)
        assert clock() == tasks_begun(log)
        for error in outcomes:
            assert isinstance(error, RateLimited)
            assert error.retry_after == pytest.approx(20.8, abs=0.2)
            assert str(error).startswith("refused by the rate limit: 1/10s is used up beyond the longest wait allowed")
        assert await tasks[1] == "x"


def tasks_begun(log: Log) -> float:
    return log.sent[0][0]


@virtual
async def test_a_wait_that_becomes_too_long_is_refused_when_that_is_known() -> None:
    """Another operation came first and took of the address what it waited for."""
    log = Log(RateLimit("1/10s", also=[Limit("1/s", key="op")], max_wait=15))
    first, second, third = (log.start(op)[0] for op in "xyz")
    await asyncio.gather(first, second)
    with pytest.raises(RateLimited, match="1/10s is used up beyond the longest wait allowed"):
        await third
    assert clock() == pytest.approx(10.4, abs=0.1)


@virtual
async def test_a_wait_of_which_nothing_is_known_is_refused_when_its_time_is_up() -> None:
    """It has room, and waits behind a heavy one of another operation; so do those who have more time."""
    shared: dict[str, Any] = {}

    def make(max_wait: float | None) -> Log:
        policy = RateLimit("4/10s", key="ip", also=[Limit("99/s", key="op")], max_wait=max_wait)
        return Log(policy, Timeout(60), shared=shared)

    patient, hasty = make(None), make(5)
    await asyncio.gather(*patient.start("u", cost=2))
    heavy = patient.start("x", cost=3)
    light = [*hasty.start("y", times=2), *patient.start("y")]
    with within(7):
        late = patient.start("z")
    for task, seconds in ((light[0], 5), (light[1], 5), (late[0], 7)):
        limit = "deadline" if seconds == 7 else "longest wait"
        with pytest.raises(RateLimited, match=f"4/10s is used up beyond the {limit}") as caught:
            await task
        assert clock() == seconds
        assert caught.value.retry_after is None
    assert patient.status("ip")["waiting"] == 2
    await asyncio.gather(*heavy, light[2])
    assert patient.times("y") == patient.times("x") == [pytest.approx(10.4, abs=0.1)]


@virtual
async def test_what_is_left_of_waits_that_are_over_does_not_pile_up() -> None:
    """Thousands with a minute each come and go while the server wants a pause of ten seconds."""
    log = Log(RateLimit("9/s", max_wait=60))
    await log.raises(Told(Kind.THROTTLED, 10, "ip"), "x")
    stays = log.start("x")
    await asyncio.sleep(0)
    for _ in range(20):
        for task in (crowd := log.start("x", times=100)):
            asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.wait(crowd)
    queue = log.pipeline.states["rate_limit"].line("default").queue
    assert len(queue._ends) < 300
    await asyncio.gather(*stays)
    assert clock() == 10


@virtual
async def test_a_deadline_in_the_moment_of_the_turn_is_too_late() -> None:
    """Nothing is sent at a deadline."""
    log = Log(RateLimit("100/s", also=[Limit("100/s", key="op")]))
    await log.raises(Told(Kind.THROTTLED, 3), "x")
    (early,) = log.start("x")
    with within(3):
        (late,) = log.start("x")
    with pytest.raises(RateLimited, match="paused by the server beyond the deadline"):
        await late
    assert clock() == 0
    assert await early == "x"
    assert clock() == 3


@virtual
async def test_cancelled_in_the_tick_of_its_turn_gives_back_to_every_limit() -> None:
    """The next one goes in its place."""
    log = Log(RateLimit("2/10s", also=[Limit("1/5s", key="op")]))
    await asyncio.gather(*log.start("x"))
    gone, stays = log.start("x", times=2)
    await asyncio.sleep(0)
    due = log.pipeline.states["rate_limit"].line("default").queue.due
    asyncio.get_running_loop().call_at(due + 1e-10, gone.cancel)
    await stays
    assert gone.cancelled()
    assert clock() == pytest.approx(5.2, abs=0.05)
    assert (log.status("default")["used"], log.status("x")["used"]) == (2, 1)


@virtual
async def test_a_stall_between_the_turn_and_the_send_counts_in_every_limit() -> None:
    """It was let go, the loop slept for two seconds, and then it was sent: both limits count from then."""
    log = Log(RateLimit("1/s", also=[Limit("1/2s", key="op")]))
    await asyncio.gather(*log.start("x"))
    tasks = log.start("x", times=2)
    await asyncio.sleep(0)
    loop, due = asyncio.get_running_loop(), log.pipeline.states["rate_limit"].line("default").queue.due
    loop.call_at(due - 0.5, loop.advance, 1)  # type: ignore[attr-defined]  # one turn of the loop for both that follow:
    loop.call_at(due + 0.1, loop.advance, 2)  # type: ignore[attr-defined]  # the timer of the line, and then the stall
    await asyncio.gather(*tasks)
    assert log.sent[1][0] == pytest.approx(due + 2.5)
    assert log.sent[2][0] - log.sent[1][0] > 2.06


@virtual
async def test_a_mistake_in_the_configuration_names_the_limit() -> None:
    """A call that costs more than one of the limits can never go."""
    log = Log(RateLimit("100/s", also=[Limit("5/s", key="op")]))
    with pytest.raises(ConfigError, match="'x' costs 6 tokens, so 5/s can never admit it"):
        await log.start("x", cost=6)[0]
    assert log.status("default")["used"] == 0


# -- shared with others ---------------------------------------------------------------------------------------


@virtual
async def test_the_limit_of_an_address_is_one_whoever_needs_it() -> None:
    """A pipeline with linked limits, another with other ones, and a plain one: together no more than n, in order."""
    shared: dict[str, Any] = {}
    logs = [
        Log(RateLimit("3/s", key="ip"), shared=shared),
        Log(RateLimit("3/s", key="ip", also=[Limit("50/s", key="op")]), shared=shared),
        Log(RateLimit("50/s", key="op", also=[Limit("3/s", key="ip")]), shared=shared),
    ]
    for log in logs:
        log.sent = logs[0].sent
    tasks = [task for number in range(12) for task in logs[number % 3].start(f"{number:02}")]
    await asyncio.gather(*tasks)
    assert [op for _, op, _, _ in logs[0].sent] == [f"{number:02}" for number in range(12)]
    assert heaviest([(row[0], row[3]) for row in logs[0].sent], 1.03) <= 3


@virtual
async def test_plain_calls_do_not_overtake_those_who_wait_for_the_address() -> None:
    """Not even while there was room in the allotment of the moment."""
    shared: dict[str, Any] = {}
    plain = Log(RateLimit("10/s", key="ip"), shared=shared)
    linked = Log(RateLimit("10/s", key="ip", also=[Limit("100/s", key="op")]), shared=shared)
    await asyncio.gather(*plain.start("p", times=4))
    (heavy,) = linked.start("x", cost=8)
    await asyncio.sleep(0)
    light = plain.start("p", times=3)
    await asyncio.gather(heavy, *light)
    assert linked.times("x") == [1.04]
    assert plain.times("p") == [0] * 4 + [1.04] * 2 + [pytest.approx(2.07, abs=0.02)]


# -- what the server says -------------------------------------------------------------------------------------

THREE = {"ip": "ip", "account": "a", "op": "x"}


@pytest.mark.parametrize(
    ("keys", "scope", "held"),
    [
        (("ip", "op"), "op", "x"),
        (("ip", "op"), "account", "account 'a'"),
        (("ip", "op"), "ip", "ip"),
        (("ip", "account", "op"), "account", "a"),
        (("op", "account"), "ip", "a"),
        (("ip", "account"), "op", "op 'x'"),
        (("ip", "host"), "op", "op 'x'"),
        (("op", "host"), "account", "h"),
        ((None, "op"), "ip", "default"),
        (("account", "op"), "unheard_of", "x"),
    ],
)
@virtual
async def test_which_limit_a_throttled_pauses(keys: tuple[str | None, ...], scope: str, held: str) -> None:
    """That of its scope; else the calls of its scope within the next wider one; else the widest that there is."""
    first, *rest = keys
    log = Log(RateLimit("100/s", key=first, also=[Limit("100/s", key=key) for key in rest]))
    keyed = {"account": "a", "host": "h"}
    with pytest.raises(Told):
        await log.pipeline.send(Call(Op("x"), Script(Told(Kind.THROTTLED, 5, scope)), keys=keyed))
    paused = [
        line.name if line.name != "100/s" else key
        for limits in log.pipeline.states.values()
        for key, line in [*limits.lines.items(), *limits.paused.items()]
        if line.limiter.paused_until == 5
    ]
    assert paused == [held]
    await log.pipeline.send(Call(Op("x"), Script("ok"), keys=keyed))
    assert clock() == 5


@pytest.mark.parametrize("policy", [RateLimit("1/s"), RateLimit("1/s", key="ip", also=[Limit("90/s", key="host")])])
@virtual
async def test_a_narrower_pause_also_holds_those_who_wait_already(policy: RateLimit) -> None:
    """They are of the scope: the server does not want them now. The others keep their order and their pace."""
    log = Log(policy)
    running = asyncio.ensure_future(
        log.pipeline.send(Call(Op("x"), Script(after(0.5, Told(Kind.THROTTLED, 5.0)))))  # the rate's only token
    )
    await asyncio.sleep(0)
    waiting = [task for op in "xyxy" for task in log.start(op)]
    with pytest.raises(Told):
        await running
    await asyncio.gather(*waiting)
    assert log.times("y") == [1.04, 2.07]
    assert log.times("x") == [5.5, pytest.approx(6.53, abs=0.02)]


@virtual
async def test_a_second_throttled_holds_those_who_came_between() -> None:
    """The first pause is over, but not yet forgotten: somebody of its line still waits for the tokens."""
    log = Log(RateLimit("1/10s"))
    await log.raises(Told(Kind.THROTTLED, 1.0), "x")
    slow = asyncio.ensure_future(log.pipeline.send(Call(Op("x"), Script(after(3, Told(Kind.THROTTLED, 30.0))))))
    await asyncio.sleep(5)
    waiting = log.start("x", times=2)
    await asyncio.gather(slow, return_exceptions=True)
    assert clock() == pytest.approx(13.4, abs=0.1)
    await asyncio.gather(*waiting)
    assert log.times("x") == [pytest.approx(43.4, abs=0.1), pytest.approx(53.8, abs=0.2)]


@takes_call
async def reports(call: Call, limit: float, remaining: float, reset_in: float | None = 9.0) -> str:
    call.attempt.limits = LimitReport(limit, remaining, reset_in)
    return "ok"


LIMITS = RateLimit("100/s", key="ip", also=[Limit("50/s", key="account"), Limit("10/s", key="op")])


@pytest.mark.parametrize(
    ("policy", "limit", "moved"),
    [
        (LIMITS, 10, "x"),
        (LIMITS, 50, "a"),
        (LIMITS, 60, "a"),
        (LIMITS, 100, "ip"),
        (LIMITS, 1e9, "ip"),
        (LIMITS, 49, "x"),
        (LIMITS, 5, "x"),
        (LIMITS, math.nan, None),
        (LIMITS, 0, None),
        (LIMITS, -1, None),
        (RateLimit("100/s", key="ip", also=[Limit("50/s", key="account")]), 10, None),
        (RateLimit("100/s", key="host", also=[Limit("50/s")]), 10, "default"),
        (RateLimit("10/s", key="ip", also=[Limit("10/s", key="op")]), 10, "x"),
        (RateLimit("10/s", key="op", also=[Limit("10/s", key="ip")]), 10, "x"),
        (LIMITS, 1, "x"),
        (RateLimit("100/s", also=[Limit("20/s", key="op")]), 10, "x"),
        (RateLimit("10/s", key="account", also=[Limit("10/s", key="host")]), 10, "h"),
    ],
)
@virtual
async def test_which_limit_a_report_is_of(policy: RateLimit, limit: float, moved: str | None) -> None:
    """The largest that is no larger than the server's own count, the narrowest of equals; or that of the operation."""
    log = Log(policy)
    await log.pipeline.send(Call(Op("x"), reports, (limit, 3), keys={"account": "a", "host": "h"}))
    rows = [row for state in log.pipeline.status().values() for row in state.items()]
    assert [name for name, row in rows if row["used"] > 1] == ([moved] if moved else [])


@pytest.mark.parametrize("remaining", [math.nan, math.inf, -math.inf, -5.0, 0.0, 3.0, 1e300])
@pytest.mark.parametrize("reset_in", [math.nan, math.inf, -math.inf, -1.0, 0.0, 1e300, None])
@pytest.mark.parametrize("limit", [math.nan, math.inf, 0.0, -3.0, 10.0])
def test_garbage_neither_widens_nor_stops(limit: float, remaining: float, reset_in: float | None) -> None:
    """Whatever a reply says, no more than n go in a window, and a minute later everything is as it was."""

    async def main() -> None:
        for policy in (RateLimit("10/s"), RateLimit("10/s", key="ip", also=[Limit("10/s", key="op")])):
            log = Log(policy)
            begun = clock()
            await log.pipeline.send(Call(Op("x"), reports, (limit, remaining, reset_in)))
            await asyncio.gather(*log.start("x", times=25))
            assert clock() - begun <= 64
            assert heaviest([(row[0], row[3]) for row in log.sent] + [(begun, 1)], 1.03) <= 10
            assert log.status("x" if policy.also else "default")["used"] <= 10
            await asyncio.sleep(100)

    VirtualLoop().run(main())


@virtual
async def test_a_server_that_names_no_sensible_time_pauses_for_a_second() -> None:
    """Neither for ever nor not at all."""
    for retry_after in (math.inf, math.nan):
        log = Log(RateLimit("100/s"))
        begun = clock()
        await log.raises(Told(Kind.THROTTLED, retry_after, "ip"), "x")
        await asyncio.gather(*log.start("x"))
        assert clock() - begun == 1


# -- together with others, in code and in files ---------------------------------------------------------------


@virtual
async def test_inside_a_retry_and_around_a_bulkhead() -> None:
    """Every attempt takes of all limits again; one wait is noted once, whatever it was for."""
    recorder = Recorder()
    log = Log(
        Deadline(60), Retry(wait=0), RateLimit("2/10s", also=[Limit("1/5s", key="op")]), Bulkhead(1), Timeout(2),
        observers=(recorder,),
    )  # fmt: skip
    script = Script(Told(Kind.FAILED), Told(Kind.FAILED), "ok")
    assert await log.pipeline.send(Call(Op("x", True), script)) == "ok"
    assert [round(at, 1) for at in script.begun] == [0, 5.2, 10.4]
    assert [(wait.why, round(wait.seconds or 0, 1)) for wait in recorder.waits if wait.why == "limiter"] == [
        ("limiter", 5.2),
        ("limiter", 5.2),
    ]
    assert recorder.attempts[2].attempt.notes["wait.limiter"] == pytest.approx(5.2, abs=0.1)
    assert recorder.balanced()


@virtual
async def test_under_another_limiter() -> None:
    """Two policies in one pipeline are two waits, one after the other."""
    log = Log(RateLimit("1/s"), RateLimit("1/2s", also=[Limit("9/s", key="op")]))
    await asyncio.gather(*log.start("x", times=3))
    assert log.times("x") == [0, 2.07, 4.15]


@virtual
async def test_with_room_it_goes_in_one_step() -> None:
    """No future, no timer, no wait noted."""
    log = Log(BOTH)
    await log.start("x")[0]
    with pytest.raises(StopIteration):
        log.pipeline.run(Script("ok"), op=Op("x")).send(None)
    assert log.pipeline.states["rate_limit"].line("x").queue is None


def test_one_loop_after_the_other() -> None:
    """What was sent in an earlier loop counts while the clock goes on, and is forgotten if it began anew."""
    pipeline = Pipeline(RateLimit("5/10s", max_wait=0, also=[Limit("3/10s", key="op")]))
    script = Script("ok")

    async def main(at: float, times: int) -> None:
        asyncio.get_running_loop().advance(at)  # type: ignore[attr-defined]
        for _ in range(times):
            await pipeline.run(script, op=Op("x"))

    VirtualLoop().run(main(100, 2))
    with pytest.raises(RateLimited):
        VirtualLoop().run(main(105, 2))
    VirtualLoop().run(main(5, 3))
    with pytest.raises(RateLimited):
        VirtualLoop().run(main(6, 1))
    assert script.count == 6


@virtual
async def test_from_a_file() -> None:
    """The names are those of the fields."""
    text = """
p:
  - rate_limit:
      rate: 600/5s
      key: ip
      also:
        - {rate: 50/s, key: account}
        - {rate: 10/s, key: op, per_op: {create_order: 5/s}}
"""
    (policy,) = build_pipelines(Document.parse(text, "f.yaml"))["p"].policies
    assert policy == RateLimit(
        "600/5s", "ip", also=(Limit("50/s", "account"), Limit("10/s", "op", {"create_order": "5/s"}))
    )


@virtual
async def test_as_a_decorator() -> None:
    """On a plain function."""

    @RateLimit("4/s", also=[Limit("6/2s")])
    async def fetch() -> float:
        return round(clock(), 1)

    assert await asyncio.gather(*(fetch() for _ in range(8))) == [0] * 4 + [1.0] * 2 + [2.1] * 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Limit("600"), "write calls/window"),
        (lambda: Limit(5), "Limit: rate is 5, must be calls/window"),  # type: ignore[arg-type]
        (lambda: Limit("0.5/s"), "Limit: rate 0.5/s has no room for one whole call; write 1/2s"),
        (lambda: Limit("1/s", key="user"), "Limit: key is 'user', must be ip, account, host, op"),
        (lambda: Limit("1/s", per_op={"x": "2/s"}), "Limit: per_op .* key must be op, not None"),
        (lambda: RateLimit("1/s", key="ip", per_op={"x": "2/s"}), "RateLimit: per_op .* key must be op, not 'ip'"),
        (lambda: RateLimit("1/s", key="op", per_op=["x"]), "per_op is .* must map operation names to rates"),  # type: ignore[arg-type]
        (lambda: RateLimit("1/s", key="op", per_op={"x": "0.1/s"}), r"per_op\['x'\] 0.1/s has no room"),
        (lambda: RateLimit("1/s", key="op", per_op={"x": 2}), r"per_op\['x'\] is 2"),  # type: ignore[dict-item]
        (lambda: RateLimit("1/s", also="10/s"), "also is '10/s', must be limits"),  # type: ignore[arg-type]
        (lambda: RateLimit("1/s", also=["10/s"]), r"also is \['10/s'\], must be limits"),  # type: ignore[list-item]
        (lambda: RateLimit("1/s", also=[Limit("1 / s")]), "1/s with the key None is there twice"),
    ],
)
def test_wrong_settings_are_named(make: Callable[[], Any], said: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigError, match=said):
        make()
