"""Shed: what counts, who is refused with which probability, and that a floor brings it back from an outage."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from resilience import (
    Breaker,
    BulkheadFull,
    CircuitOpen,
    ConfigError,
    Fallback,
    Hedge,
    Kind,
    LoadShed,
    Op,
    Pipeline,
    Refused,
    Retry,
    Shed,
    TimedOut,
    Verdict,
)
from resilience.call import Call, Priority, takes_call
from resilience.limiting.throttle import Throttle
from resilience.testing import Recorder, Script, VirtualLoop, after, never, virtual

READ = Op("read", idempotent=True)


class Told(Exception):
    """An error whose verdict is its text."""


def classify(exc: Exception, op: Op) -> Verdict:
    return Verdict(Kind(str(exc)))


def guarded(*above: Any, seed: int = 1, **fields: Any) -> Pipeline:
    return Pipeline(*above, Shed(**fields), classify=classify, seed=seed)


async def feed(pipeline: Pipeline, step: Any, count: int, op: Op = READ) -> list[Any]:
    """So many calls, one after the other, and what became of them."""
    outcomes = []
    for _ in range(count):
        outcomes += await asyncio.gather(pipeline.run(Script(step), op=op), return_exceptions=True)
    return outcomes


def counts(pipeline: Pipeline) -> tuple[int, int]:
    status = pipeline.status()["shed"]
    return status["requests"], status["accepts"]


def shed(outcomes: list[Any]) -> int:
    return sum(isinstance(outcome, LoadShed) for outcome in outcomes)


@pytest.mark.parametrize(
    ("step", "counted"),
    [
        ("value", (1, 1)),
        (Told("rejected"), (1, 1)),
        (Told("throttled"), (1, 0)),
        (Told("failed"), (1, 0)),
        (Told("unknown"), (1, 0)),
        (TimedOut(1, sent=True), (1, 0)),
        (TimedOut(1, queued=True), (0, 0)),
        (BulkheadFull("full"), (0, 0)),
        (CircuitOpen("open"), (0, 0)),
        (asyncio.CancelledError(), (0, 0)),
    ],
)
def test_what_counts_as_accepted(step: Any, counted: tuple[int, int]) -> None:
    """An answer is, also one that declines; our own refusals and cancellations count neither way."""

    async def main() -> None:
        pipeline = guarded()
        outcome = (await feed(pipeline, step, 1))[0]
        assert outcome == "value" or outcome is step or isinstance(outcome, asyncio.CancelledError)
        assert counts(pipeline) == counted

    VirtualLoop().run(main())


@pytest.mark.parametrize("ending", ["value", Told("failed"), Told("rejected")])
def test_a_lost_branch_of_a_hedged_call_counts_neither_way(ending: Any) -> None:
    """However it ended."""

    @takes_call
    async def lost(call: Call) -> Any:
        call.attempt.lost = True
        return await Script(ending)()

    async def main() -> None:
        pipeline = guarded()
        await asyncio.gather(pipeline.run(lost), return_exceptions=True)
        assert counts(pipeline) == (0, 0)

    VirtualLoop().run(main())


@pytest.mark.parametrize(("idempotent", "again", "counted"), [(True, 1, (1, 1)), (False, 0, (1, 0))])
def test_a_stale_connection_is_no_sign_of_load(idempotent: bool, again: int, counted: tuple[int, int]) -> None:
    """Its reset is not counted where the call is sent again on a fresh one; a second reset in one call is."""

    @takes_call
    async def stale(call: Call) -> str:
        call.attempt.sent = True
        if not call.attempt.fresh:
            call.attempt.stale = True
            raise Told("unknown")
        return "fresh"

    async def main() -> None:
        pipeline = guarded(Retry())
        outcome = await asyncio.gather(pipeline.run(stale, op=Op("op", idempotent=idempotent)), return_exceptions=True)
        assert outcome == ["fresh"] if again else isinstance(outcome[0], Told)
        assert counts(pipeline) == counted

    VirtualLoop().run(main())


@virtual
async def test_a_burst_in_flight_is_no_sign_of_trouble() -> None:
    """Calls count when their outcome is known: a hundred that have just begun are not a hundred unaccepted ones."""
    pipeline = guarded(min_calls=1)
    script = Script(after(3, "done"))
    assert shed(await asyncio.gather(*(pipeline.run(script) for _ in range(100)), return_exceptions=True)) == 0
    assert counts(pipeline) == (100, 100)


@virtual
async def test_the_probability_is_the_books() -> None:
    """max(0, (requests - K * accepts) / (requests + 1)), per priority, never above 1 - floor."""
    pipeline = guarded(k=2, k_critical=5, k_sheddable=1.5, floor=0.25, min_calls=10)
    await feed(pipeline, "value", 4)
    await feed(pipeline, Told("throttled"), 5)
    status = pipeline.status()["shed"]
    assert status["refusal"] == {"critical": 0, "default": 0, "sheddable": 0}  # nine are too few to judge by
    await feed(pipeline, Told("throttled"), 1)
    status = pipeline.status()["shed"]
    assert (status["requests"], status["accepts"], status["refused"]) == (10, 4, 0)
    assert status["refusal"] == {"critical": 0, "default": 2 / 11, "sheddable": 4 / 11}
    for _ in range(200):
        await feed(pipeline, Told("failed"), 1)
    status = pipeline.status()["shed"]
    assert status["requests"] == 210
    assert status["accepts"] == 4
    assert status["refusal"] == {"critical": 0.75, "default": 0.75, "sheddable": 0.75}


@virtual
async def test_a_sick_target_is_let_off_by_as_much_as_the_formula_says() -> None:
    """The dice are the kit's; what is refused counts as a request, and never reaches the target."""
    pipeline = guarded(floor=0.1)
    script = Script(Told("throttled"))
    outcomes: list[Any] = []
    for _ in range(2000):
        outcomes += await asyncio.gather(pipeline.run(script), return_exceptions=True)
    assert counts(pipeline) == (2000, 0)
    assert script.count == 2000 - shed(outcomes)
    assert 170 <= script.count <= 240  # a tenth, and what passed before the tenth call
    assert pipeline.status()["shed"]["refused"] == shed(outcomes)


@virtual
async def test_small_odds_are_odds() -> None:
    """One call in twenty is refused, where that is what the formula says."""
    pipeline = guarded(k=1, min_calls=10)
    await feed(pipeline, "value", 950)
    await feed(pipeline, Told("failed"), 50)
    assert 0.04 < pipeline.status()["shed"]["refusal"]["default"] < 0.06
    assert 10 < shed(await feed(pipeline, "value", 400)) < 40


@pytest.mark.parametrize("k", [1.5, 2.0, 3.0])
def test_a_target_at_its_limit_gets_k_calls_for_each_that_it_accepts(k: float) -> None:
    """Which is the point of K: some more than it accepts, so that we notice when it accepts more."""
    sent: list[float] = []
    accepted: list[float] = [-1]

    async def target() -> str:
        now = asyncio.get_running_loop().time()
        sent.append(now)
        if now < accepted[-1] + 0.05:
            raise Told("throttled")  # it accepts twenty a second
        accepted.append(now)
        return "done"

    async def main() -> None:
        pipeline = guarded(k=k, window=10)
        for _ in range(6000):  # and a hundred a second are asked for
            await asyncio.gather(pipeline.run(target), return_exceptions=True)
            await asyncio.sleep(0.01)
        ratio = sum(at >= 30 for at in sent) / sum(at >= 30 for at in accepted)
        assert ratio == pytest.approx(k, rel=0.1)

    VirtualLoop().run(main())


@virtual
async def test_the_unimportant_go_first_and_the_critical_last() -> None:
    """At one share of accepted calls, each priority meets its own odds."""
    recorder = Recorder()
    pipeline = guarded(min_calls=10)
    pipeline.observe(recorder)
    await feed(pipeline, "value", 40)
    await feed(pipeline, Told("throttled"), 40, Op("critical", priority="critical"))
    refusal = pipeline.status()["shed"]["refusal"]
    assert refusal["critical"] == refusal["default"] == 0
    assert refusal["sheddable"] == 20 / 81
    assert shed(await feed(pipeline, "value", 5, Op("critical", priority="critical"))) == 0
    assert shed(await feed(pipeline, "value", 5)) == 0
    assert shed(await feed(pipeline, Told("throttled"), 60, Op("background", priority="sheddable"))) > 10
    refusal = pipeline.status()["shed"]["refusal"]
    assert 0 == refusal["critical"] < refusal["default"] < refusal["sheddable"]


def test_the_odds_of_the_priorities_follow_k() -> None:
    """Unless they are said: critical twice k, sheddable halfway between 1 and k."""

    async def main(policy: Shed) -> dict[str, float]:
        pipeline = Pipeline(policy, classify=classify)
        await feed(pipeline, "value", 1)
        return dict(pipeline.states["shed"].ks)

    assert VirtualLoop().run(main(Shed(3))) == {"critical": 6, "default": 3, "sheddable": 2}
    assert VirtualLoop().run(main(Shed(3, 4, 1.5))) == {"critical": 4, "default": 3, "sheddable": 1.5}


@pytest.mark.parametrize(
    ("priority", "op", "text"),
    [
        (None, READ, "default"),
        (None, Op("op", priority="sheddable"), "sheddable"),
        ("critical", READ, "critical"),
        ("sheddable", Op("op", priority="critical"), "sheddable"),
        (lambda call: "critical" if call.args else "sheddable", READ, "sheddable"),
        (lambda call: "unheard of", Op("op", priority="sheddable"), "default"),
        (None, Op("op", priority="urgent"), "default"),  # type: ignore[arg-type]
    ],
)
def test_whose_priority_counts(priority: Any, op: Op, text: Priority) -> None:
    """The policy's before the operation's; one that does not exist is the default one."""

    async def main() -> None:
        pipeline = guarded(priority=priority)
        refused = [
            outcome for outcome in await feed(pipeline, Told("failed"), 100, op) if isinstance(outcome, LoadShed)
        ]
        assert str(refused[0]) == f"refused by the shed: the target accepts too few calls ({text})"
        assert (refused[0].reason, refused[0].retry_after) == ("load_shed", None)
        assert isinstance(refused[0], Refused)

    VirtualLoop().run(main())


@virtual
async def test_a_priority_that_raises_fails_no_call(caplog: pytest.LogCaptureFixture) -> None:
    """The operation's own counts, and the log says so."""

    def broken(call: Call) -> Priority:
        raise KeyError("account")

    pipeline = guarded(priority=broken)
    with caplog.at_level(logging.ERROR, "resilience"):
        outcomes = await feed(pipeline, Told("failed"), 100, Op("op", priority="sheddable"))
    assert {type(outcome) for outcome in outcomes} == {Told, LoadShed}
    assert "(sheddable)" in str(next(outcome for outcome in outcomes if isinstance(outcome, LoadShed)))
    assert "Shed: priority failed with KeyError" in caplog.text


@pytest.mark.parametrize(("step", "accepts"), [("value", 1), (Told("failed"), 0), (Told("rejected"), 1)])
def test_the_window_forgets(step: Any, accepts: int) -> None:
    """What was counted counts for 90 to 100 % of the window, whoever counts first after it."""

    async def main() -> None:
        pipeline = guarded(window=10, min_calls=20)
        await feed(pipeline, Told("throttled"), 9)
        await asyncio.sleep(8.5)
        await feed(pipeline, step, 1)
        assert counts(pipeline) == (10, accepts)
        await asyncio.sleep(1.6)
        assert counts(pipeline) == (1, accepts)
        await asyncio.sleep(1000)
        await feed(pipeline, step, 1)
        assert counts(pipeline) == (1, accepts)

    VirtualLoop().run(main())


def test_the_counts_survive_another_loop() -> None:
    """Whose clock begins at zero: they are then as old as its first call."""
    pipeline = guarded(window=10)

    async def first() -> None:
        await asyncio.sleep(500)
        await feed(pipeline, "value", 5)
        await asyncio.sleep(5)
        await feed(pipeline, "value", 5)

    async def second() -> None:
        await feed(pipeline, "value", 1)
        assert counts(pipeline) == (11, 11)
        await asyncio.sleep(9.99)
        assert counts(pipeline) == (11, 11)
        await asyncio.sleep(0.02)
        assert counts(pipeline) == (0, 0)

    VirtualLoop().run(first())
    VirtualLoop().run(second())


def test_an_odd_pause_keeps_the_grid() -> None:
    """Buckets begin at multiples of their width from the first outcome, however long nobody looked."""
    throttle = Throttle(10, 0.1, 1)
    for at, requests in (
        (100.0, 1),
        (100.99, 2),
        (103.5, 3),
        (103.6, 4),
        (109.99, 5),
        (110.0, 4),
        (112.99, 5),
        (113.0, 4),
    ):
        throttle.catch_up(at)
        throttle.requests += 1
        assert throttle.requests == requests, at
    for at, requests in ((119.5, 3), (9999.7, 0)):
        throttle.catch_up(at)
        assert throttle.requests == requests
    assert throttle.begins == pytest.approx(9999)


@virtual
async def test_above_a_breaker_it_hears_what_the_target_says_and_nothing_of_the_breakers_refusals() -> None:
    """An open circuit beneath is no answer of the target's."""
    pipeline = Pipeline(Shed(), Breaker(consecutive=3, failure_rate=None), classify=classify, seed=1)
    outcomes = await feed(pipeline, Told("failed"), 50)
    assert sum(isinstance(outcome, CircuitOpen) for outcome in outcomes) == 47
    assert counts(pipeline) == (3, 0)


@virtual
async def test_its_refusal_is_never_retried_marks_no_breaker_and_is_replaced_by_a_fallback() -> None:
    """As the verdict table says of "refused by us"."""
    recorder = Recorder()
    pipeline = Pipeline(
        Fallback("instead"), Retry(wait=0), Breaker(failure_rate=None, consecutive=1000), Shed(floor=0),
        classify=classify, observers=(recorder,), seed=1,
    )  # fmt: skip
    script = Script(Told("unknown"))
    for _ in range(200):
        await asyncio.gather(pipeline.run(script, op=Op("write")), return_exceptions=True)
    before = script.count
    recorder.events.clear()
    for _ in range(20):
        await pipeline.run(script, op=Op("write"))
    assert script.count == before
    assert len(recorder.attempts) == 20
    assert {type(ended.error) for ended in recorder.attempts} == {LoadShed}
    assert {ended.verdict for ended in recorder.attempts} == {None}
    assert pipeline.status()["breaker"]["default"]["calls"] == before
    assert recorder.attempts[0].attempt.notes["shed.probability"] == pytest.approx(1, abs=0.01)
    assert not recorder.attempts[0].attempt.sent


@virtual
async def test_beneath_a_hedge_the_loser_counts_neither_way() -> None:
    """It was cancelled for another's sake."""
    pipeline = guarded(Hedge(0.1))
    for _ in range(5):
        assert await pipeline.run(Script(never, after(0.2, "second")), op=READ) == "second"
    assert counts(pipeline) == (5, 5)


@virtual
async def test_notes_are_made_for_those_who_look_and_only_in_trouble() -> None:
    """With no observer nothing is noted; with one, the odds that the call met."""
    for observers in ((), (Recorder(),)):
        pipeline = Pipeline(Shed(), classify=classify, seed=1, observers=observers)
        noted: list[bool] = []

        @takes_call
        async def target(call: Call, noted: list[bool] = noted) -> None:
            noted.append("shed.probability" in (call.attempt.noted or {}))
            raise Told("failed")

        await asyncio.gather(*(pipeline.run(target) for _ in range(10)), return_exceptions=True)
        assert noted == [False] * 10
        for _ in range(50):
            await asyncio.gather(pipeline.run(target), return_exceptions=True)
        assert len(noted) > 11
        assert noted[10:] == [bool(observers)] * (len(noted) - 10)


# -- what the floor is for ------------------------------------------------------------------------------------


async def goodput_after_an_outage(floor: float) -> tuple[float, float]:
    """50 calls a second for ever; for two minutes the target refuses all. The share that reached it in the second of
    these, and the share of all calls that succeeded in the second minute after it was well again."""
    loop = asyncio.get_running_loop()
    reached = succeeded = 0

    async def target() -> str:
        nonlocal reached, succeeded
        reached += 60 <= loop.time() < 120
        if loop.time() < 120:
            raise Told("throttled")
        succeeded += loop.time() >= 180
        return "done"

    pipeline = guarded(floor=floor, seed=3)
    for _ in range(240 * 50):
        await asyncio.gather(pipeline.run(target), return_exceptions=True)
        await asyncio.sleep(1 / 50)
    return reached / (60 * 50), succeeded / (60 * 50)


def test_without_a_floor_it_stays_starved_and_with_one_it_recovers() -> None:
    """One call in a window of 1,500 cannot show that the target is well again; one in ten can."""
    load, goodput = VirtualLoop().run(goodput_after_an_outage(0.1))
    assert 0.08 < load < 0.12
    assert goodput > 0.97
    load, starved = VirtualLoop().run(goodput_after_an_outage(0.0))
    assert load < 0.01
    assert starved < 0.35


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"k": 0.9}, "Shed: k is 0.9, must be a number of at least 1"),
        ({"k": 3, "k_critical": 2}, "Shed: k_critical is 2, must be a number of at least 3"),
        ({"k_sheddable": 3}, "Shed: k_sheddable is 3, must be a number of at least 1 and at most 2"),
        ({"k_sheddable": 0.5}, "Shed: k_sheddable is 0.5"),
        ({"window": 0}, "Shed: window is 0, must be a number above 0"),
        ({"floor": -0.1}, "Shed: floor is -0.1, must be a number of at least 0 and at most 1"),
        ({"floor": 1.1}, "Shed: floor is 1.1"),
        ({"min_calls": 0}, "Shed: min_calls is 0, must be a whole number of at least 1"),
        ({"priority": "urgent"}, "Shed: priority is 'urgent', must be critical, default, sheddable, or a function"),
    ],
)
def test_wrong_settings_are_named(fields: dict[str, Any], message: str) -> None:
    """The error says which field, what was found and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        Shed(**fields)


def test_the_bounds_may_meet() -> None:
    """All priorities alike, always or never let through."""
    assert Shed(1, k_critical=1, k_sheddable=1, floor=0, min_calls=1).k == 1
    assert Shed(floor=1).floor == 1
