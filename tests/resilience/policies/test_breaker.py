"""Breaker: what each outcome means to it, when it trips, whom it admits, and what it tells."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import aiobreaker
import pytest

from resilience import (
    Breaker,
    Bulkhead,
    BulkheadFull,
    CircuitOpen,
    ConfigError,
    Kind,
    Op,
    Pipeline,
    Refused,
    Retry,
    TimedOut,
    Timeout,
    Verdict,
)
from resilience.call import Call, takes_call
from resilience.circuit import Circuits
from resilience.policies.breaker import Breaker as SameBreaker
from resilience.testing import Recorder, Script, VirtualLoop, after, never, virtual

READ = Op("read", idempotent=True)
WRITE = Op("write")


class Down(Exception):
    """FAILED."""


class Lost(Exception):
    """UNKNOWN."""


class Slow(Exception):
    """THROTTLED."""


class No(Exception):
    """REJECTED."""


def meaning(exc: Exception, op: Op) -> Verdict:
    kinds = {Down: Kind.FAILED, Lost: Kind.UNKNOWN, Slow: Kind.THROTTLED}
    return Verdict(kinds.get(type(exc), Kind.REJECTED))


def guarded(*policies: Any, observers: tuple[Any, ...] = (), seed: int = 1) -> Pipeline:
    return Pipeline(*policies, classify=meaning, observers=observers, seed=seed)


def clock() -> float:
    return asyncio.get_running_loop().time()


async def play(pipeline: Pipeline, *steps: Any, op: Op = READ) -> list[Any]:
    """Call once for each step, one after the other; what came of it."""
    return [(await asyncio.gather(pipeline.run(Script(step), op=op), return_exceptions=True))[0] for step in steps]


def circuits(pipeline: Pipeline) -> Circuits:
    found: Circuits = pipeline.states["breaker"]
    return found


def standing(pipeline: Pipeline, key: str = "default") -> dict[str, Any]:
    row: dict[str, Any] = pipeline.status()["breaker"][key]
    return row


async def open_after(pipeline: Pipeline, failures: int) -> float:
    """Trip it, and say when it admits a probe."""
    await play(pipeline, *[Down()] * failures)
    assert standing(pipeline)["state"] == "open"
    return circuits(pipeline)["default"].store.until


# -- the verdict table --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "counted", "sick"),
    [
        ("a value", 1, 0),
        (No(), 1, 0),
        (Slow(), 0, 0),
        (Down(), 1, 1),
        (Lost(), 1, 1),
        (TimedOut(1.0, sent=True), 1, 1),
        (TimedOut(1.0, sent=False), 1, 1),
        (BulkheadFull("full"), 0, 0),
        (CircuitOpen("inner"), 0, 0),
        (asyncio.CancelledError(), 0, 0),
        (GeneratorExit(), 0, 0),
    ],
)
@virtual
async def test_every_row_of_the_verdict_table(step: Any, counted: int, sick: int) -> None:
    """An answer is healthy, a rejection too; a failure is sick; a cancellation, a pause and a refusal say nothing."""
    pipeline = guarded(Breaker())
    await play(pipeline, "a value")
    outcome = (
        (await play(pipeline, step))[0] if isinstance(step, (str, Exception)) else await outcome_of(pipeline, step)
    )
    assert outcome is step
    row = standing(pipeline)
    assert row["calls"] == 1 + counted
    assert row["failure_rate"] == sick / (1 + counted)
    assert circuits(pipeline)["default"]._state.busy == 0


async def outcome_of(pipeline: Pipeline, error: BaseException) -> BaseException:
    """What the call raises, were it no Exception."""

    async def target() -> None:
        raise error

    try:
        await pipeline.run(target)
    except BaseException as exc:
        return exc
    raise AssertionError("it raised nothing")


@virtual
async def test_throttled_and_refused_calls_neither_count_nor_mend_a_row_of_failures() -> None:
    """Down, throttled, down: two in a row."""
    pipeline = guarded(Breaker(failure_rate=None, consecutive=2))
    await play(pipeline, Down(), Slow(), BulkheadFull("full"))
    assert standing(pipeline)["state"] == "closed"
    await play(pipeline, Down())
    assert standing(pipeline)["state"] == "open"


@virtual
async def test_a_success_and_a_rejection_mend_a_row_of_failures() -> None:
    """Two, then an answer, then two: never three in a row."""
    pipeline = guarded(Breaker(failure_rate=None, consecutive=3))
    for answer in ("ok", No()):
        await play(pipeline, Down(), Down(), answer, Down(), Down())
        assert standing(pipeline)["state"] == "closed"
        await play(pipeline, "ok")
    await play(pipeline, Down(), Down(), Down())
    assert standing(pipeline)["state"] == "open"


@virtual
async def test_on_decides_alone_what_is_sick() -> None:
    """With on=No a rejection trips it and a failure does not; a pause and a refusal still say nothing."""
    for on in (No, "No", [No, "Unheard"], lambda exc: isinstance(exc, No)):
        pipeline = guarded(Breaker(on=on))
        await play(pipeline, Down(), Lost(), "ok", No(), Slow(), BulkheadFull("full"))
        assert standing(pipeline)["calls"] == 4
        assert standing(pipeline)["failure_rate"] == 0.25


@virtual
async def test_an_on_that_fails_leaves_it_to_the_verdict(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gets the call's own error, and no permit is lost."""

    def on(exc: Exception) -> bool:
        raise KeyError("a bug")

    pipeline = guarded(Breaker(on=on))
    down = Down()
    assert (await play(pipeline, down, No()))[0] is down
    assert standing(pipeline)["failure_rate"] == 0.5
    assert circuits(pipeline)["default"]._state.busy == 0
    assert "Breaker: on failed for Down; the verdict decides" in caplog.text


# -- a reused connection that was reset ---------------------------------------------------------------------------


def resets(*stale: bool) -> Any:
    """A transport whose n-th attempt is reset, stale or not; then it works."""
    left = list(stale)

    @takes_call
    async def target(call: Call) -> str:
        call.attempt.sent = True
        if left:
            call.attempt.stale = left.pop(0)
            raise Lost
        return "ok"

    return target


@pytest.mark.parametrize(
    ("op", "stale", "sick"),
    [
        (READ, (True,), 0),  # sent again at once: neither
        (READ, (True, True), 1),  # the second, on its fresh connection, counts
        (READ, (True, False, True), 2),  # once a call: the third counts although it is stale
        (READ, (False,), 1),
        (WRITE, (True,), 1),  # not idempotent: not sent again
    ],
)
@virtual
async def test_a_stale_connection_counts_as_nothing_once_a_call(op: Op, stale: tuple[bool, ...], sick: int) -> None:
    """A transparent retry leaves no mark on the target; the same mishap again does."""
    pipeline = guarded(Retry(attempts=4, wait=0), Breaker())
    await asyncio.gather(pipeline.run(resets(*stale), op=op), return_exceptions=True)
    row = standing(pipeline)
    assert round(row["failure_rate"] * row["calls"]) == sick


@virtual
async def test_fifty_stale_connections_leave_the_circuit_closed() -> None:
    """A server that drops every idle connection is not a sick one."""
    pipeline = guarded(Retry(attempts=2, wait=0), Breaker(failure_rate=0.1, min_calls=1, consecutive=1))
    assert [await pipeline.run(resets(True), op=READ) for _ in range(50)] == ["ok"] * 50
    assert standing(pipeline)["opens"] == 0


# -- when it trips ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "sick", "calls"), [(0.5, 5, 10), (0.3, 3, 10), (0.55, 11, 20), (0.07, 7, 100), (1.0, 4, 4)]
)
@virtual
async def test_it_trips_at_the_rate_exactly(rate: float, sick: int, calls: int) -> None:
    """At >=, for rates that a product of floats would miss by the last bit."""
    pipeline = guarded(Breaker(failure_rate=rate, min_calls=calls))
    await play(pipeline, *["ok"] * (calls - sick), *[Down()] * (sick - 1))
    assert standing(pipeline)["state"] == "closed"
    last = Down()
    assert await play(pipeline, last) == [last]  # the tripping call raises its own error
    assert last.__cause__ is None
    assert standing(pipeline)["state"] == "open"


@virtual
async def test_just_below_the_rate_it_holds() -> None:
    """Four of nine, with nine enough."""
    pipeline = guarded(Breaker(failure_rate=0.5, min_calls=9))
    await play(pipeline, *["ok"] * 5, *[Down()] * 4)
    assert standing(pipeline) == {"state": "closed", "since": 0.0, "failure_rate": 4 / 9, "calls": 9, "opens": 0}


@virtual
async def test_the_minimum_gates_the_rate_and_never_the_consecutive_rule() -> None:
    """Three in a row trip it long before ten calls; the rate alone waits for the tenth."""
    both = guarded(Breaker(failure_rate=0.5, consecutive=3, min_calls=10))
    await play(both, Down(), Down(), Down())
    assert standing(both)["state"] == "open"
    rate = guarded(Breaker(failure_rate=0.5, min_calls=10))
    await play(rate, *[Down()] * 9)
    assert standing(rate)["state"] == "closed"
    await play(rate, Down())
    assert standing(rate)["state"] == "open"


@virtual
async def test_with_both_rules_either_trips_it() -> None:
    """Never two in a row, but every other call: the rate does it."""
    pipeline = guarded(Breaker(failure_rate=0.5, consecutive=2, min_calls=4))
    await play(pipeline, "ok", Down(), "ok")
    assert standing(pipeline)["state"] == "closed"
    await play(pipeline, Down())
    assert standing(pipeline)["state"] == "open"


@virtual
async def test_a_success_never_trips_it() -> None:
    """Nine failures are too few; a good tenth call opens nothing, the next failure does."""
    pipeline = guarded(Breaker(failure_rate=0.5, min_calls=10))
    await play(pipeline, *[Down()] * 9, "ok")
    assert standing(pipeline)["state"] == "closed"
    await play(pipeline, Down())
    assert standing(pipeline)["state"] == "open"


@virtual
async def test_failures_older_than_the_window_are_forgotten() -> None:
    """Nine failures, half a minute of silence, one more: one of one, and one is too few."""
    pipeline = guarded(Breaker(window=30, min_calls=10))
    await play(pipeline, *[Down()] * 9)
    await asyncio.sleep(29.9)
    assert standing(pipeline)["calls"] == 9
    await asyncio.sleep(0.1)
    assert standing(pipeline)["calls"] == 0
    await play(pipeline, Down())
    assert standing(pipeline)["state"] == "closed"


# -- open, half-open, closed --------------------------------------------------------------------------------------


@virtual
async def test_an_open_circuit_refuses_and_says_until_when() -> None:
    """Nothing reaches the target, and the refusal speaks both languages, ours and aiobreaker's."""
    pipeline = guarded(Breaker(consecutive=1))
    until = await open_after(pipeline, 1)
    script = Script("never reached")
    await asyncio.sleep(2)
    before = datetime.now()  # noqa: DTZ005 (aiobreaker has no zones)
    with pytest.raises(CircuitOpen) as caught:
        await pipeline.run(script)
    error = caught.value
    assert script.count == 0
    assert isinstance(error, Refused)
    assert isinstance(error, aiobreaker.CircuitBreakerError)
    assert error.retry_after == until - 2
    assert (error.key, error.policy, error.reason, error.state) == ("default", "breaker", "circuit_open", "open")
    assert str(error).startswith("refused by the breaker: the circuit 'default' is open; try again in ")
    assert error.message == error.what == "the circuit 'default' is open"
    assert timedelta(0) <= error.reopen_time - before - timedelta(seconds=until - 2) < timedelta(seconds=60)
    assert timedelta(0) < error.time_remaining <= timedelta(seconds=until - 2)


def test_a_refusal_survives_pickling_and_copying() -> None:
    """Fields, words and notes."""
    error = CircuitOpen("api.example", 1.5, "half-open")
    error.add_note("attempt 1: Down")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 (our own bytes)
        assert (twin.key, twin.retry_after, twin.state) == ("api.example", 1.5, "half-open")
        assert str(twin) == str(error)
        assert twin.__notes__ == ["attempt 1: Down"]


def test_a_refusal_needs_no_fields() -> None:
    """For scripted targets in tests."""
    assert str(CircuitOpen()) == "refused by the breaker: the circuit 'default' is open"
    assert CircuitOpen().reopen_time <= datetime.now()  # noqa: DTZ005 (aiobreaker has no zones)


@virtual
async def test_probes_are_marked_admitted_and_counted() -> None:
    """Three of fifty at once; a refused one says that probes are out and names no time; a fourth place comes free."""
    recorder = Recorder()
    pipeline = guarded(Breaker(consecutive=1, probes=3), observers=(recorder,))
    until = await open_after(pipeline, 1)
    await asyncio.sleep(until - clock())
    script = Script(after(1, "ok"), after(9, "ok"), after(9, "ok"), after(1, "ok"))
    tasks = [asyncio.ensure_future(pipeline.run(script)) for _ in range(50)]
    await asyncio.sleep(0.5)
    refusals = [task.exception() for task in tasks if task.done()]
    assert len(refusals) == 47
    assert isinstance(refusals[0], CircuitOpen)
    assert (refusals[0].state, refusals[0].retry_after) == ("half-open", None)
    assert "the circuit 'default' is half-open, its probes are out" in str(refusals[0])
    await asyncio.sleep(1)
    assert standing(pipeline)["state"] == "half-open"
    assert await pipeline.run(script) == "ok"  # the first has succeeded, so its place is free
    assert standing(pipeline)["state"] == "half-open"
    await asyncio.gather(*tasks, return_exceptions=True)
    assert standing(pipeline)["state"] == "closed"
    kinds = [event.attempt.kind for event in recorder.attempts]
    assert (kinds.count("probe"), kinds.count("original")) == (4, 48)


@virtual
async def test_a_retry_that_probes_stays_a_retry() -> None:
    """The kind says first why the attempt was made."""
    recorder = Recorder()
    pipeline = guarded(Retry(attempts=2, wait=10, jitter="none"), Breaker(consecutive=1), observers=(recorder,))
    assert await pipeline.run(Script(Down(), "ok"), op=READ) == "ok"
    assert [event.attempt.kind for event in recorder.attempts] == ["original", "retry"]
    assert [(change.old, change.new) for change in recorder.changes] == [
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "closed"),
    ]


@virtual
async def test_one_sick_probe_reopens_and_the_others_move_nothing() -> None:
    """Two of three succeed after the first has failed: they belong to a state that is gone."""
    pipeline = guarded(Breaker(consecutive=1, probes=3))
    until = await open_after(pipeline, 1)
    await asyncio.sleep(until - clock())
    script = Script(after(0.1, Down()), after(0.2, "ok"), after(0.3, Lost()))
    await asyncio.gather(*(pipeline.run(script) for _ in range(3)), return_exceptions=True)
    assert standing(pipeline)["state"] == "open"
    assert standing(pipeline)["opens"] == 2
    assert standing(pipeline)["since"] == pytest.approx(0.2)


@virtual
async def test_a_closed_circuit_starts_from_nothing() -> None:
    """What was counted before the trip does not trip it again."""
    pipeline = guarded(Breaker(min_calls=4, consecutive=3))
    until = await open_after(pipeline, 3)
    await asyncio.sleep(until - clock())
    await play(pipeline, "probe", Down(), Down())
    assert standing(pipeline)["state"] == "closed"
    assert standing(pipeline)["calls"] == 2


@virtual
async def test_results_from_before_the_trip_count_nowhere() -> None:
    """A slow success does not close it, and does not enter the window of the state that follows."""
    pipeline = guarded(Breaker(consecutive=2))
    slow = [asyncio.ensure_future(pipeline.run(Script(after(9, step)))) for step in ("late", Down(), Slow())]
    await asyncio.sleep(0)
    until = await open_after(pipeline, 2)
    await asyncio.sleep(until - clock())
    await play(pipeline, "probe")
    await asyncio.gather(*slow, return_exceptions=True)
    assert (standing(pipeline)["state"], standing(pipeline)["calls"]) == ("closed", 0)


@virtual
async def test_open_times_follow_the_pipelines_dice() -> None:
    """The same seed draws the same, another another; all between open_for and a fifth more."""

    async def times(seed: int) -> list[float]:
        pipeline = guarded(Breaker(consecutive=1, open_for=10), seed=seed)
        drawn = []
        for _ in range(5):
            begun = clock()
            until = await open_after(pipeline, 1)
            drawn.append(round(until - begun, 6))
            await asyncio.sleep(until - clock())
            await play(pipeline, "probe")
        return drawn

    first = await times(7)
    assert all(10 <= seconds <= 12 for seconds in first)
    assert len(set(first)) == 5
    assert await times(7) == first
    assert await times(8) != first


# -- keys ---------------------------------------------------------------------------------------------------------


async def send(pipeline: Pipeline, step: Any, **keys: str) -> Any:
    call = Call(READ, Script(step), keys=keys)
    return (await asyncio.gather(pipeline.send(call), return_exceptions=True))[0]


@pytest.mark.parametrize("key", ["host", lambda call: call.keys.get("host", "default")])
@virtual
async def test_each_key_has_its_own_circuit(key: Any) -> None:
    """One host down, the other works; calls that have no such key share one."""
    pipeline = guarded(Breaker(consecutive=1, key=key))
    await send(pipeline, Down(), host="a")
    assert isinstance(await send(pipeline, "x", host="a"), CircuitOpen)
    assert await send(pipeline, "fine", host="b") == "fine"
    assert await send(pipeline, "fine", account="a") == "fine"
    assert {key: row["state"] for key, row in pipeline.status()["breaker"].items()} == {
        "a": "open",
        "b": "closed",
        "default": "closed",
    }


@virtual
async def test_keys_are_bounded_and_what_is_open_outlives_idle_ones() -> None:
    """Two thousand keys: a thousand circuits, and the open, the half-open and the busy one are still known."""
    pipeline = guarded(Breaker(consecutive=1, key="host"))
    await send(pipeline, Down(), host="down")
    await send(pipeline, Down(), host="probing")
    circuits(pipeline)["probing"].half_open()
    busy = asyncio.ensure_future(send(pipeline, never, host="busy"))
    await send(pipeline, "ok", host="first")
    for number in range(2000):
        await send(pipeline, "ok", host=f"h{number}")
    known = circuits(pipeline)
    assert len(known) == len(pipeline.status()["breaker"]) == 1000
    assert all(host in known for host in ("down", "probing", "busy", "h1999", "h1003"))
    assert "first" not in known
    assert "h1002" not in known
    assert isinstance(await send(pipeline, "x", host="down"), CircuitOpen)
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)


@virtual
async def test_when_none_is_idle_a_closed_one_goes_before_an_open_one() -> None:
    """And with nothing but open circuits, the one that was used longest ago goes: memory stays bounded."""
    pipeline = guarded(Breaker(consecutive=1, key="host"))
    for number in range(999):
        await send(pipeline, Down(), host=f"h{number}")
    busy = asyncio.ensure_future(send(pipeline, never, host="busy"))
    await asyncio.sleep(0)
    await send(pipeline, Down(), host="new")
    known = circuits(pipeline)
    assert "busy" not in known
    assert "h0" in known
    known["h0"]  # used, so h1 is now the one that was not for longest
    await send(pipeline, Down(), host="newer")
    assert "h1" not in known
    assert "h0" in known
    assert len(known) == 1000
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)


@virtual
async def test_a_forgotten_circuit_does_not_come_back() -> None:
    """Its last call ends after it was forgotten and its key was made anew: the new circuit stays as it is."""
    pipeline = guarded(Breaker(consecutive=1, key="host"))
    late = asyncio.ensure_future(send(pipeline, after(9, Down()), host="a"))
    await asyncio.sleep(1)
    forgotten = circuits(pipeline)["a"]
    for number in range(1000):
        await send(pipeline, Down(), host=f"h{number}")
    assert "a" not in circuits(pipeline)
    assert await send(pipeline, "ok", host="a") == "ok"
    assert isinstance(await late, Down)
    assert forgotten.status()["state"] == "open"
    assert standing(pipeline, "a")["state"] == "closed"
    assert len(circuits(pipeline)) == 1000
    await send(pipeline, "ok", host="b")
    assert "a" not in circuits(pipeline)  # it was filed as closed and idle, among open ones


# -- what it tells ------------------------------------------------------------------------------------------------


@virtual
async def test_changes_are_told_with_key_cause_and_time() -> None:
    """For people who read a log: what happened, to whom, why and when."""
    recorder = Recorder()
    pipeline = guarded(Breaker(min_calls=4, consecutive=3, key="host"), observers=(recorder,))
    for step in ("ok", "ok", Down(), Lost()):
        await send(pipeline, step, host="a")
    until = circuits(pipeline)["a"].store.until
    await asyncio.sleep(until)
    await send(pipeline, Down(), host="a")
    await asyncio.sleep(12)  # twice as long, after a probe has failed
    await send(pipeline, "ok", host="a")
    for _ in range(3):
        await send(pipeline, Down(), host="a")
    assert [repr(change) for change in recorder.changes] == [
        "StateChanged(breaker a: closed -> open, 2 of 4 calls failed, the last with Lost)",
        "StateChanged(breaker a: open -> half-open, the open time is over)",
        "StateChanged(breaker a: half-open -> open, a probe failed with Down)",
        "StateChanged(breaker a: open -> half-open, the open time is over)",
        "StateChanged(breaker a: half-open -> closed, its probes succeeded)",
        "StateChanged(breaker a: closed -> open, 3 failures in a row, the last with Down)",
    ]
    assert [change.at for change in recorder.changes] == [0, until, until, until + 12, until + 12, until + 12]


@virtual
async def test_an_observer_sees_the_state_that_it_is_told_of() -> None:
    """The change stands before anybody hears of it."""
    seen: list[tuple[str, str]] = []
    pipeline = guarded(Breaker(consecutive=1))

    def observer(event: Any) -> None:
        if type(event).__name__ == "StateChanged":
            seen.append((event.new, standing(pipeline)["state"]))

    pipeline.observe(observer)
    until = await open_after(pipeline, 1)
    await asyncio.sleep(until - clock())
    await play(pipeline, "ok")
    assert seen == [("open", "open"), ("half-open", "half-open"), ("closed", "closed")]


@virtual
async def test_attempts_note_the_state_that_decided() -> None:
    """Admitted or refused; and without an observer nothing is written."""
    recorder = Recorder()
    for key in (None, "host"):
        recorder.events.clear()
        pipeline = guarded(Breaker(consecutive=1, key=key), observers=(recorder,))
        await play(pipeline, "ok", Down(), "refused")
        await asyncio.sleep(6)
        await play(pipeline, "probe", "ok")
        assert [tuple(event.attempt.notes.values()) for event in recorder.attempts] == [
            ("closed", 1),
            ("closed", 1),
            ("open", 2),
            ("half-open", 3),
            ("closed", 4),
        ]
        assert set(recorder.attempts[0].attempt.notes) == {"breaker.state", "breaker.generation"}
    call = Call(READ, Script("ok"))
    await guarded(Breaker()).send(call)
    assert call.attempt.notes == {}


@virtual
async def test_observers_that_come_later_hear_of_the_same_circuits() -> None:
    """Binding anew keeps what was learned."""
    pipeline = guarded(Breaker(consecutive=2))
    await play(pipeline, Down())
    recorder = Recorder()
    pipeline.observe(recorder)
    await play(pipeline, Down())
    assert [change.new for change in recorder.changes] == ["open"]


def test_a_pipeline_survives_its_loop() -> None:
    """Module-level functions live longer than a loop: the counts stay, and the clock is the running loop's."""
    pipeline = guarded(Breaker(consecutive=2))
    VirtualLoop().run(play(pipeline, Down()))
    assert standing(pipeline)["calls"] == 1  # asked when no loop runs
    VirtualLoop().run(play(pipeline, Down()))
    assert standing(pipeline)["state"] == "open"
    loop = VirtualLoop()
    loop.advance(100)
    assert loop.run(play(pipeline, "ok")) == ["ok"]
    assert standing(pipeline)["state"] == "closed"
    VirtualLoop().run(open_after(pipeline, 2))
    assert 0 <= standing(pipeline)["since"] < 1


def test_circuits_made_in_a_later_loop_follow_its_clock() -> None:
    """A new key in the second loop."""
    pipeline = guarded(Breaker(consecutive=1, key="host"))
    VirtualLoop().run(send(pipeline, "ok", host="a"))

    async def second() -> None:
        await send(pipeline, Down(), host="b")
        await asyncio.sleep(6)
        assert await send(pipeline, "ok", host="b") == "ok"

    VirtualLoop().run(second())


def test_a_circuit_opened_on_a_clock_that_was_ahead_lets_a_probe_find_out() -> None:
    """A loop whose clock is behind the opening cannot say how long it has been: nobody waits for years."""
    pipeline = guarded(Breaker(consecutive=1))
    ahead = VirtualLoop()
    ahead.advance(1e6)
    ahead.run(play(pipeline, Down()))
    assert VirtualLoop().run(play(pipeline, "ok")) == ["ok"]
    assert standing(pipeline)["state"] == "closed"


# -- with other policies ------------------------------------------------------------------------------------------


@virtual
async def test_a_circuit_that_opens_during_a_retry_ends_it_with_the_last_own_error() -> None:
    """UNKNOWN, UNKNOWN, refused: the call may have been executed, and says so, with its history."""
    pipeline = guarded(Retry(attempts=5, wait=0), Breaker(consecutive=2))
    first, second = Lost("one"), Lost("two")
    script = Script(first, second)
    with pytest.raises(Lost) as caught:
        await pipeline.run(script, op=READ)
    assert caught.value is second
    assert script.count == 2
    assert ["one" in note or "two" in note for note in second.__notes__[:2]] == [True, True]


@virtual
async def test_around_a_timeout_late_answers_are_sick() -> None:
    """Whoever does not answer in time trips it, sent or not."""
    pipeline = guarded(Breaker(consecutive=3), Timeout(2))
    outcomes = await play(pipeline, never, never, after(3, "late"), "x")
    assert [type(outcome) for outcome in outcomes] == [TimedOut, TimedOut, TimedOut, CircuitOpen]
    assert clock() == 6


@virtual
async def test_around_a_bulkhead_refusals_from_beneath_say_nothing() -> None:
    """A full house is ours, not the target's."""
    pipeline = guarded(Breaker(consecutive=1), Bulkhead(1))
    outcomes = await asyncio.gather(*(pipeline.run(Script(after(1, "ok"))) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [str, *[BulkheadFull] * 4]
    assert standing(pipeline)["calls"] == 1


@virtual
async def test_a_breaker_within_a_breaker_is_not_bypassed() -> None:
    """Both count; the inner one's refusals say nothing to the outer."""

    @Breaker(consecutive=3)
    @Breaker(consecutive=2)
    async def fetch() -> None:
        raise ConnectionRefusedError

    for expected in (ConnectionRefusedError, ConnectionRefusedError, CircuitOpen, CircuitOpen):
        with pytest.raises(expected):
            await fetch()
    rows = [state["default"] for state in fetch.pipeline.status().values()]  # type: ignore[attr-defined]
    assert sorted(row["state"] for row in rows) == ["closed", "open"]
    assert [row["calls"] for row in rows] == [2, 2]


# -- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Breaker(failure_rate=None), "both None; one of them must trip it"),
        (lambda: Breaker(failure_rate=0), "failure_rate is 0"),
        (lambda: Breaker(failure_rate=50), "failure_rate is 50"),
        (lambda: Breaker(consecutive=0), "consecutive is 0"),
        (lambda: Breaker(consecutive=2.5), "consecutive is 2.5"),  # type: ignore[arg-type]
        (lambda: Breaker(window=0), "window is 0"),
        (lambda: Breaker(min_calls=0), "min_calls is 0"),
        (lambda: Breaker(open_for=0), "open_for is 0"),
        (lambda: Breaker(probes=0), "probes is 0"),
        (lambda: Breaker(key=""), "key is ''"),
        (lambda: Breaker(key=7), "key is 7"),  # type: ignore[arg-type]
        (lambda: Breaker(on=7), "on is 7"),  # type: ignore[arg-type]
        (lambda: Breaker(window=None), "window and count_window are both None"),
        (lambda: Breaker(count_window=0), "count_window is 0"),
        (lambda: Breaker(count_window=2.5), "count_window is 2.5"),  # type: ignore[arg-type]
        (lambda: Breaker(slow_after=0), "slow_after is 0"),
        (lambda: Breaker(slow_rate=0), "slow_rate is 0"),
        (lambda: Breaker(slow_rate=1.01), "slow_rate is 1.01"),
        (lambda: Breaker(slow_rate=None), "slow_rate is None"),  # type: ignore[arg-type]
        (lambda: Breaker(min_calls=None), "min_calls is None"),  # type: ignore[arg-type]
        (lambda: Breaker(open_for=None), "open_for is None"),  # type: ignore[arg-type]
        (lambda: Breaker(max_open_for=0), "max_open_for is 0"),
        (lambda: Breaker(probe_success=0), "probe_success is 0"),
        (lambda: Breaker(probe_success=1.5), "probe_success is 1.5"),
        (lambda: Breaker(probe_lease=0), "probe_lease is 0"),
        (lambda: Breaker(ramp=-1), "ramp is -1"),
        (lambda: Breaker(forget_after=0), "forget_after is 0"),
        (lambda: Breaker(mode="off"), "mode is 'off', must be one of normal, forced_open, disabled, shadow"),  # type: ignore[arg-type]
    ],
)
def test_wrong_settings_are_named(make: Callable[[], Breaker], told: str) -> None:
    """The error says which field, what was found and what is allowed."""
    with pytest.raises(ConfigError, match="Breaker: ") as caught:
        make()
    assert told in str(caught.value)


def test_the_fields_are_the_contracts() -> None:
    """Names, order and defaults, which scripts elsewhere rely on."""
    assert repr(Breaker()) == (
        "Breaker(failure_rate=0.5, consecutive=None, window=30.0, min_calls=10, open_for=5.0, probes=1, "
        "on=None, key=None, count_window=None, slow_after=None, slow_rate=0.5, max_open_for=300.0, probe_success=1.0, "
        "probe_lease=60.0, ramp=0.0, mode='normal', forget_after=3600.0)"
    )
    assert Breaker is SameBreaker


def test_importing_the_package_imports_no_aiobreaker() -> None:
    """Who uses no breaker does not pay for one."""
    code = "import sys, resilience; before = 'aiobreaker' in sys.modules; resilience.Breaker; print(before)"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)  # noqa: S603 (our own text)
    assert done.stdout == "False\n"
