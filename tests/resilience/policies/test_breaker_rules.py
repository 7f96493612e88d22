"""Breaker: the rules beside failures in a window of time, how long it stays open, and how it comes back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import Breaker, CircuitOpen, Hedge, Kind, Op, Pipeline, Retry, TimedOut, Timeout, Verdict
from resilience.call import Call, takes_call
from resilience.testing import Recorder, Script, after, never, virtual

READ = Op("read", idempotent=True)


class Told(Exception):
    def __init__(self, kind: Kind, retry_after: float | None = None) -> None:
        super().__init__(kind.value)
        self.verdict = Verdict(kind, retry_after=retry_after)


def told(exc: Exception, op: Op) -> Verdict:
    return exc.verdict if isinstance(exc, Told) else Verdict(Kind.FAILED)


def down(retry_after: float | None = None) -> Told:
    return Told(Kind.FAILED, retry_after)


def guarded(*policies: Any, observers: tuple[Any, ...] = ()) -> Pipeline:
    return Pipeline(*policies, classify=told, observers=observers, seed=1)


def clock() -> float:
    return asyncio.get_running_loop().time()


async def play(pipeline: Pipeline, *steps: Any) -> list[Any]:
    """Call once for each step, one after the other; what came of it."""
    return [(await asyncio.gather(pipeline.run(Script(step), op=READ), return_exceptions=True))[0] for step in steps]


def begin(pipeline: Pipeline, *steps: Any) -> list[asyncio.Task[Any]]:
    return [asyncio.ensure_future(pipeline.run(Script(step), op=READ)) for step in steps]


async def end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def row(pipeline: Pipeline) -> dict[str, Any]:
    found: dict[str, Any] = pipeline.status()["breaker"]["default"]
    return found


def state(pipeline: Pipeline) -> str:
    return str(row(pipeline)["state"])


def circuit(pipeline: Pipeline) -> Any:
    return pipeline.states["breaker"]["default"]


def open_time(pipeline: Pipeline) -> float:
    """For how long it has just been opened."""
    assert state(pipeline) == "open"
    return float(circuit(pipeline).store.until - clock())


async def reopen(pipeline: Pipeline, failure: Exception | None = None) -> float:
    """Let the open time pass and a probe fail; the next open time."""
    await asyncio.sleep(open_time(pipeline))
    await play(pipeline, failure or down())
    return open_time(pipeline)


# -- the count window ---------------------------------------------------------------------------------------------


@virtual
async def test_the_rate_of_the_last_calls_trips_it_however_long_they_took_to_come() -> None:
    """One call an hour: half of the last four."""
    pipeline = guarded(Breaker(window=None, count_window=4))
    for step in ("ok", "ok", "ok", "ok", down(), "ok", "ok"):
        await play(pipeline, step)
        await asyncio.sleep(3600)
    assert row(pipeline) | {"since": 0} == {
        "state": "closed", "since": 0, "failure_rate": 0.25, "calls": 4, "opens": 0
    }  # fmt: skip
    last = down()
    assert await play(pipeline, last) == [last]
    assert state(pipeline) == "open"
    assert circuit(pipeline).cause == "2 of the last 4 calls failed, the last with Told"


@virtual
async def test_a_call_that_is_no_more_among_the_last_does_not_count() -> None:
    """Failures four calls apart never meet in a window of four."""
    pipeline = guarded(Breaker(window=None, count_window=4))
    await play(pipeline, *["ok"] * 4, *[down(), "ok", "ok", "ok"] * 20)
    assert state(pipeline) == "closed"


@pytest.mark.parametrize(("count_window", "min_calls", "trips_at"), [(4, 10, 4), (10, 4, 4), (10, 10, 10), (4, 4, 4)])
@virtual
async def test_a_count_window_speaks_when_it_is_full_if_not_before(
    count_window: int, min_calls: int, trips_at: int
) -> None:
    """A minimum that it could never hold does not silence it."""
    pipeline = guarded(Breaker(window=None, count_window=count_window, min_calls=min_calls))
    await play(pipeline, *[down()] * (trips_at - 1))
    assert state(pipeline) == "closed"
    await play(pipeline, down())
    assert state(pipeline) == "open"


@virtual
async def test_both_windows_stand_together_and_either_trips() -> None:
    """A hundred good calls drown five bad ones in time, not among the last ten; and the other way round."""
    pipeline = guarded(Breaker(window=30, count_window=10))
    await play(pipeline, *["ok"] * 100, *[down()] * 4)
    assert row(pipeline)["last"] == {"failure_rate": 0.4, "calls": 10}
    assert (row(pipeline)["calls"], row(pipeline)["failure_rate"]) == (104, 4 / 104)
    await play(pipeline, down())
    assert circuit(pipeline).cause == "5 of the last 10 calls failed, the last with Told"
    pipeline = guarded(Breaker(window=30, count_window=100, min_calls=10))
    await play(pipeline, *["ok"] * 90)
    await asyncio.sleep(60)
    await play(pipeline, *[down()] * 9, down())
    assert circuit(pipeline).cause == "10 of 10 calls failed, the last with Told"


@virtual
async def test_a_closed_circuit_starts_from_nothing_in_both_windows() -> None:
    """What was counted before the trip is forgotten."""
    pipeline = guarded(Breaker(count_window=4, consecutive=2))
    await play(pipeline, "ok", down(), down())
    await asyncio.sleep(open_time(pipeline))
    await play(pipeline, "probe", "ok", "ok", down())
    assert (row(pipeline)["calls"], row(pipeline)["last"]["calls"], state(pipeline)) == (3, 3, "closed")


@virtual
async def test_a_success_mends_a_row_of_failures_whatever_counts_beside() -> None:
    """The rule of consecutive failures is the same with a count window, and with slow calls."""
    for more in ({"count_window": 50}, {"slow_after": 9.0}):
        pipeline = guarded(Breaker(failure_rate=None, consecutive=2, **more))  # type: ignore[arg-type]
        await play(pipeline, down(), "ok", down(), Told(Kind.THROTTLED))
        assert state(pipeline) == "closed"
        await play(pipeline, down())
        assert state(pipeline) == "open"


# -- slow calls ---------------------------------------------------------------------------------------------------

SLOW = Breaker(failure_rate=None, slow_after=2, min_calls=4)


@virtual
async def test_a_target_that_answers_nobody_trips_it_though_nothing_ever_ends() -> None:
    """Four calls hang; from the second second on they are slow, and the next call finds the circuit open."""
    recorder = Recorder()
    pipeline = guarded(SLOW, observers=(recorder,))
    tasks = begin(pipeline, *[never] * 4)
    await asyncio.sleep(1.9)
    tasks += begin(pipeline, never)
    await asyncio.sleep(0)
    assert (row(pipeline)["slow_under_way"], row(pipeline)["slow_rate"], state(pipeline)) == (0, 0.0, "closed")
    await asyncio.sleep(0.1)
    assert (row(pipeline)["slow_under_way"], row(pipeline)["slow_rate"], state(pipeline)) == (4, 1.0, "closed")
    target = Script("never reached")
    with pytest.raises(CircuitOpen) as caught:
        await pipeline.run(target, op=READ)
    assert target.count == 0
    assert 5 <= caught.value.retry_after <= 6  # type: ignore[operator]
    assert [change.cause for change in recorder.changes] == ["0 of 0 calls and 4 still under way were slow"]
    await end(*tasks)
    assert (state(pipeline), row(pipeline)["slow_under_way"]) == ("open", 0)


@virtual
async def test_slow_answers_trip_it_when_they_come() -> None:
    """The caller has its answer; the minimum gates this rate too; fast ones never trip it."""
    pipeline = guarded(SLOW)
    assert await play(pipeline, after(2, "a"), after(2, "b"), after(1.9, "c"), "d") == ["a", "b", "c", "d"]
    assert (row(pipeline)["slow_rate"], row(pipeline)["calls"], state(pipeline)) == (0.5, 4, "closed")
    assert await play(pipeline, after(2, "e")) == ["e"]
    assert state(pipeline) == "open"
    assert circuit(pipeline).cause == "3 of 5 calls were slow"


@virtual
async def test_just_below_the_slow_rate_it_holds() -> None:
    """Two of five."""
    pipeline = guarded(SLOW)
    await play(pipeline, "a", "b", "c", after(2, "d"), after(3, "e"))
    assert (row(pipeline)["slow_rate"], state(pipeline)) == (0.4, "closed")


@virtual
async def test_a_slow_failure_is_both() -> None:
    """It counts as a failure and as slow, and each rule may trip; a pause or a cancellation is neither."""
    pipeline = guarded(Breaker(failure_rate=0.9, slow_after=2, min_calls=2), Timeout(3))
    first, second, third = await play(pipeline, "ok", never, "refused")
    assert (first, type(second), type(third)) == ("ok", TimedOut, CircuitOpen)
    assert circuit(pipeline).cause == "1 of 2 calls were slow"
    pipeline = guarded(Breaker(failure_rate=0.5, slow_after=2, min_calls=2), Timeout(3))
    await play(pipeline, "ok", never)
    assert circuit(pipeline).cause == "1 of 2 calls failed, the last with TimedOut"
    pipeline = guarded(Breaker(slow_after=2, min_calls=1))
    await play(pipeline, after(9, Told(Kind.THROTTLED)))
    tasks = begin(pipeline, never)
    await asyncio.sleep(9)
    await end(*tasks)
    assert (row(pipeline)["slow_rate"], row(pipeline)["calls"], state(pipeline)) == (0.0, 0, "closed")
    assert await play(pipeline, "ok") == ["ok"]


@virtual
async def test_slow_calls_are_counted_among_the_last_ones_too() -> None:
    """Over a count window alone, and those under way beside it."""
    pipeline = guarded(Breaker(failure_rate=None, window=None, count_window=4, slow_after=1, slow_rate=0.75))
    await play(pipeline, *["ok"] * 9, after(1, "slow"), after(1, "slow"))
    assert (row(pipeline)["slow_rate"], row(pipeline)["calls"], state(pipeline)) == (0.5, 4, "closed")
    tasks = begin(pipeline, *[never] * 4)
    await asyncio.sleep(1)
    assert row(pipeline)["slow_rate"] == 0.75
    assert isinstance((await play(pipeline, "x"))[0], CircuitOpen)
    assert circuit(pipeline).cause == "2 of the last 4 calls and 4 still under way were slow"
    await end(*tasks)


@virtual
async def test_a_window_that_has_emptied_makes_those_that_hang_the_majority() -> None:
    """Ten hang while twenty answered; half a minute later only the ten are left, and the next call is refused."""
    pipeline = guarded(Breaker(failure_rate=None, slow_after=2))
    tasks = begin(pipeline, *[never] * 10)
    await play(pipeline, *["ok"] * 20)
    await asyncio.sleep(2)
    assert await play(pipeline, "ok") == ["ok"]
    await asyncio.sleep(30)
    assert isinstance((await play(pipeline, "ok"))[0], CircuitOpen)
    await end(*tasks)


@virtual
async def test_those_that_hang_do_not_trip_the_circuit_that_follows() -> None:
    """They belong to an older generation: the probe closes it, and it stays closed."""
    pipeline = guarded(SLOW)
    tasks = begin(pipeline, *[never] * 9)
    await asyncio.sleep(2)
    await play(pipeline, "refused")
    await asyncio.sleep(open_time(pipeline))
    assert await play(pipeline, "probe", *["ok"] * 20) == ["probe", *["ok"] * 20]
    assert state(pipeline) == "closed"
    await end(*tasks)
    assert (row(pipeline)["calls"], circuit(pipeline)._state.busy) == (20, 0)


@virtual
async def test_a_slow_probe_has_failed() -> None:
    """As soon as somebody asks; when it comes back with a value, at the latest; and what then comes moves nothing."""
    pipeline = await half_opened(SLOW)
    (probe,) = begin(pipeline, after(5, "late"))
    await asyncio.sleep(1.9)
    with pytest.raises(CircuitOpen) as caught:
        await pipeline.run(Script("x"), op=READ)
    assert (caught.value.state, state(pipeline)) == ("half-open", "half-open")
    await asyncio.sleep(0.1)
    with pytest.raises(CircuitOpen) as caught:
        await pipeline.run(Script("x"), op=READ)
    assert (caught.value.state, circuit(pipeline).cause) == ("open", "a probe is slow")
    assert await probe == "late"
    assert state(pipeline) == "open"
    circuit(pipeline).half_open()
    assert await play(pipeline, after(2, "slow")) == ["slow"]
    assert (state(pipeline), circuit(pipeline).cause) == ("open", "a probe was slow")


# -- probes -------------------------------------------------------------------------------------------------------


async def half_opened(breaker: Breaker, observers: tuple[Any, ...] = ()) -> Pipeline:
    pipeline = guarded(breaker, observers=observers)
    await play(pipeline, "ok")
    circuit(pipeline).half_open()
    return pipeline


@pytest.mark.parametrize(
    ("steps", "becomes"),
    [
        ("...", "closed"),
        ("x..", "half-open"),
        ("xx..", "half-open"),
        ("xx...", "closed"),
        ("..x.", "closed"),
        ("..xx", "half-open"),
        ("xxx", "open"),
        ("..xxx", "open"),
        ("x.x.x", "open"),
        ("..", "half-open"),
    ],
)
@virtual
async def test_it_closes_when_the_ratio_is_certain_and_opens_when_it_is_impossible(steps: str, becomes: str) -> None:
    """Three of five: three successes close it, three failures open it, whatever is still to come."""
    pipeline = await half_opened(Breaker(probes=5, probe_success=0.6))
    for number, step in enumerate(steps):
        assert state(pipeline) == "half-open", f"after {number} of {steps}"
        await play(pipeline, "ok" if step == "." else down())
    assert state(pipeline) == becomes


@virtual
async def test_a_hundred_calls_at_once_are_exactly_as_many_probes_as_there_may_be() -> None:
    """Whatever ratio of them has to succeed."""
    pipeline = await half_opened(Breaker(probes=5, probe_success=0.6))
    target = Script(after(1, "probe"))
    results = await asyncio.gather(*(pipeline.run(target, op=READ) for _ in range(100)), return_exceptions=True)
    assert (target.count, results.count("probe")) == (5, 5)
    assert sum(isinstance(result, CircuitOpen) for result in results) == 95
    assert (state(pipeline), row(pipeline)["calls"]) == ("closed", 0)  # the fourth and fifth came late


@virtual
async def test_a_probe_that_never_comes_back_loses_its_lease() -> None:
    """After a minute the place is free, for a call that closes the circuit; what the lost one says then is nothing."""
    pipeline = await half_opened(Breaker())
    tasks = begin(pipeline, after(100, down()), after(30, "x"))
    await asyncio.sleep(59.9)
    assert isinstance((await play(pipeline, "x"))[0], CircuitOpen)
    await asyncio.sleep(0.1)
    (second,) = begin(pipeline, after(20, "probe"))
    await asyncio.sleep(1)
    assert isinstance((await play(pipeline, "x"))[0], CircuitOpen)  # one place, not two
    await second
    assert state(pipeline) == "closed"
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (state(pipeline), row(pipeline)["calls"], circuit(pipeline)._state.busy) == ("closed", 0, 0)


@pytest.mark.parametrize("step", [after(10, down()), after(10, "ok")])
@virtual
async def test_what_comes_back_after_its_lease_moves_nothing_even_if_nobody_asked(step: Any) -> None:
    """It is half-open as before, and has its place back once, not twice."""
    pipeline = await half_opened(Breaker(probe_lease=10))
    await play(pipeline, step)
    assert (state(pipeline), circuit(pipeline)._state.busy) == ("half-open", 0)
    tasks = begin(pipeline, never, never)
    await asyncio.sleep(0)
    assert circuit(pipeline)._state.busy == 1
    await end(*tasks)
    assert circuit(pipeline)._state.busy == 0


@virtual
async def test_within_its_lease_a_probe_decides() -> None:
    """A moment before the end."""
    pipeline = await half_opened(Breaker(probe_lease=10))
    await play(pipeline, after(9.9, "ok"))
    assert state(pipeline) == "closed"


@virtual
async def test_a_reclaimed_probe_that_is_cancelled_gives_nothing_back_twice() -> None:
    """Its place was already taken again."""
    pipeline = await half_opened(Breaker(probe_lease=10))
    lost = begin(pipeline, never)
    await asyncio.sleep(10)
    held = begin(pipeline, never)
    await asyncio.sleep(0)
    await end(*lost)
    assert circuit(pipeline)._state.busy == 1
    assert isinstance((await play(pipeline, "x"))[0], CircuitOpen)
    await end(*held)
    assert await play(pipeline, "probe") == ["probe"]


@virtual
async def test_a_lease_shorter_than_the_slow_limit_comes_first() -> None:
    """Then a probe is given up before it could be called slow; otherwise it has failed by being slow."""
    for slow_after, becomes in ((20.0, "half-open"), (10.0, "open")):
        pipeline = await half_opened(Breaker(probe_lease=10, slow_after=slow_after))
        tasks = begin(pipeline, never)
        await asyncio.sleep(50)
        tasks += begin(pipeline, never)
        await asyncio.sleep(0)
        assert state(pipeline) == becomes
        await end(*tasks)


@virtual
async def test_several_slow_probes_are_judged_together() -> None:
    """Two of three have to succeed: one that hangs may, two open it once, and the third moves nothing."""
    pipeline = await half_opened(Breaker(probes=3, probe_success=0.6, slow_after=2))
    tasks = begin(pipeline, never)
    await asyncio.sleep(2)
    tasks += begin(pipeline, never, never)
    await asyncio.sleep(0)
    assert (state(pipeline), circuit(pipeline)._state.busy) == ("half-open", 2)
    await asyncio.sleep(2)
    assert isinstance((await play(pipeline, "x"))[0], CircuitOpen)
    assert (state(pipeline), row(pipeline)["opens"]) == ("open", 1)
    await end(*tasks)
    assert (state(pipeline), row(pipeline)["opens"]) == ("open", 1)


# -- how long it stays open ---------------------------------------------------------------------------------------


@virtual
async def test_the_open_time_doubles_while_probes_fail_and_is_bounded() -> None:
    """5, 10, 20, 40, 80, 160, 300 s and up to a fifth more; never sooner; and the refusal says how long."""
    pipeline = guarded(Breaker(consecutive=1))
    await play(pipeline, down())
    drawn = [open_time(pipeline)]
    for _ in range(7):
        await asyncio.sleep(open_time(pipeline) - 0.001)
        (refusal,) = await play(pipeline, "x")
        assert isinstance(refusal, CircuitOpen)
        assert refusal.retry_after == pytest.approx(0.001)
        await asyncio.sleep(0.001)
        drawn.append(await reopen(pipeline))
    bases = [5, 10, 20, 40, 80, 160, 300, 300]
    assert all(base <= seconds <= 1.2 * base for base, seconds in zip(bases, drawn, strict=True))
    assert len({seconds / base for base, seconds in zip(bases, drawn, strict=True)}) == 8


@virtual
async def test_after_it_has_stayed_well_the_open_time_begins_anew() -> None:
    """Closed for as long as it was open; when it trips sooner, the base stays what it was."""
    pipeline = guarded(Breaker(consecutive=1))
    await play(pipeline, down())
    for _ in range(3):
        await reopen(pipeline)
    last = open_time(pipeline)
    assert 40 <= last <= 48
    await asyncio.sleep(last)
    await play(pipeline, "probe")
    await asyncio.sleep(last - 0.1)
    await play(pipeline, down())
    last = open_time(pipeline)
    assert 40 <= last <= 48
    await asyncio.sleep(last)
    await play(pipeline, "probe")
    await asyncio.sleep(last + 0.1)
    await play(pipeline, down())
    assert 5 <= open_time(pipeline) <= 6
    assert 10 <= await reopen(pipeline) <= 12


@virtual
async def test_opening_by_hand_is_no_failure_of_probes() -> None:
    """It does not grow."""
    pipeline = guarded(Breaker(consecutive=1))
    await play(pipeline, down())
    for _ in range(5):
        circuit(pipeline).half_open()
        circuit(pipeline).open()
    assert 5 <= open_time(pipeline) <= 6


@pytest.mark.parametrize(("asked", "least"), [(None, 5), (3.0, 5), (60.0, 60), (10_000.0, 300)])
@virtual
async def test_the_servers_retry_after_is_the_open_time_where_it_is_longer(asked: float | None, least: float) -> None:
    """Of the failure that opens it, from the closed state and from a probe; up to max_open_for."""
    pipeline = guarded(Breaker(consecutive=2))
    await play(pipeline, down(77.0), down(asked))
    assert least <= open_time(pipeline) <= 1.2 * least
    pipeline = guarded(Breaker(consecutive=1))
    await play(pipeline, down())
    assert max(10, least) <= await reopen(pipeline, down(asked)) <= 1.2 * max(10, least)


@virtual
async def test_a_slow_failure_that_opens_it_may_name_the_time() -> None:
    """By the slow rate as well."""
    pipeline = guarded(Breaker(failure_rate=None, slow_after=1, min_calls=1))
    await play(pipeline, after(1, down(60.0)))
    assert 60 <= open_time(pipeline) <= 72


# -- how it comes back --------------------------------------------------------------------------------------------


@virtual
async def test_a_ramp_admits_a_growing_share_and_then_everybody() -> None:
    """Of ten calls a second: about a tenth in the first second, half in the middle, all from the tenth second on."""
    pipeline = await half_opened(Breaker(ramp=10))
    await play(pipeline, "probe")
    admitted = []
    for _ in range(12):
        count = 0
        for _ in range(100):
            (outcome,) = await play(pipeline, "ok")
            count += outcome == "ok"
            await asyncio.sleep(0.01)
        admitted.append(count)
    expected = [100 * (0.1 + 0.9 * (second + 0.495) / 10) for second in range(10)] + [100, 100]
    assert all(abs(count - share) <= 2 for count, share in zip(admitted, expected, strict=True))
    assert state(pipeline) == "closed"
    assert row(pipeline)["calls"] == sum(admitted)


@virtual
async def test_who_is_refused_by_a_ramp_is_told_when_it_ends() -> None:
    """The state of the refusal says why, and its notes too; the circuit itself is closed."""
    recorder = Recorder()
    pipeline = await half_opened(Breaker(ramp=10), observers=(recorder,))
    await play(pipeline, "probe")
    await asyncio.sleep(1)
    first, second = await play(pipeline, "ok", "x")
    assert first == "ok"
    assert isinstance(second, CircuitOpen)
    assert (second.state, second.retry_after, second.reason) == ("ramping", 9.0, "circuit_open")
    assert "has just closed, and admits only a share of the calls for now; try again in 9 s" in str(second)
    assert state(pipeline) == "closed"
    assert [event.attempt.notes["breaker.state"] for event in recorder.attempts[-2:]] == ["closed", "ramping"]
    assert circuit(pipeline).calm is None
    await asyncio.sleep(9)
    assert await play(pipeline, *["ok"] * 20) == ["ok"] * 20
    assert circuit(pipeline).calm is circuit(pipeline)._state  # and costs no more than any other


@virtual
async def test_a_ramp_is_for_circuits_that_closed_by_themselves() -> None:
    """None at the start, and none when somebody closes it by hand, who wants it closed."""
    pipeline = guarded(Breaker(ramp=10))
    assert await play(pipeline, *["ok"] * 20) == ["ok"] * 20
    circuit(pipeline).open()
    circuit(pipeline).close()
    assert await play(pipeline, *["ok"] * 20) == ["ok"] * 20


@virtual
async def test_a_ramping_circuit_trips_like_any_closed_one() -> None:
    """With all rules, and over the count window and slow calls as well."""
    for more in ({}, {"count_window": 9}, {"slow_after": 9.0}):
        pipeline = await half_opened(Breaker(failure_rate=None, consecutive=2, ramp=10, **more))  # type: ignore[arg-type]
        await play(pipeline, "probe")
        outcomes = await play(pipeline, *[down()] * 11)
        refusals = [outcome.state for outcome in outcomes if isinstance(outcome, CircuitOpen)]
        assert refusals == ["ramping"] * 8 + ["open"]
        assert (state(pipeline), row(pipeline)["opens"]) == ("open", 1)


# -- the losers of a hedge ----------------------------------------------------------------------------------------


def losing(*steps: Any) -> Any:
    """A target whose attempts have lost, whatever comes of them: as a hedge marks those that it cancels."""
    script = Script(*steps)

    @takes_call
    async def target(call: Call) -> Any:
        call.attempt.lost = call.attempt.kind == "hedge"
        return await script()

    return target


@pytest.mark.parametrize("step", ["ok", down()])
@pytest.mark.parametrize("observed", [True, False])
@virtual
async def test_a_loser_of_a_hedge_teaches_nothing(step: Any, observed: bool) -> None:
    """Neither by a value nor by an error; its permit goes back. The winner counts."""
    pipeline = guarded(Hedge(1), Breaker(consecutive=1, min_calls=1), observers=(Recorder(),) if observed else ())
    await asyncio.gather(pipeline.run(losing(after(5, "first"), after(1, step)), op=READ), return_exceptions=True)
    await asyncio.sleep(9)
    assert (state(pipeline), circuit(pipeline)._state.busy) == ("closed", 0)
    assert row(pipeline)["calls"] == (0 if step == "ok" else 1)


@virtual
async def test_a_probe_that_lost_decides_nothing() -> None:
    """The circuit stays half-open, and the place is free."""
    pipeline = guarded(Hedge(1), Breaker(consecutive=1, probes=2))
    await play(pipeline, "ok")
    circuit(pipeline).half_open()
    await pipeline.run(losing(never, "lost"), op=READ)
    assert (state(pipeline), circuit(pipeline)._state._passed, circuit(pipeline)._state.busy) == ("half-open", 0, 0)


@pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")  # the odd order is the point
@virtual
async def test_only_a_hedge_above_makes_the_breaker_look() -> None:
    """Beneath a breaker nothing is lost to it: the race as a whole has an outcome."""
    pipeline = guarded(Retry(wait=0), Breaker(min_calls=1), Hedge(1))
    assert await pipeline.run(Script(never, "second"), op=READ) == "second"
    assert row(pipeline)["calls"] == 1
