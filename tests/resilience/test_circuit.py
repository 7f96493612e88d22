"""One circuit and its window: what aiobreaker promises, kept, and what it gets wrong, put right."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiobreaker import CircuitBreaker, CircuitBreakerListener, CircuitBreakerState
from aiobreaker.storage.base import CircuitBreakerStorage

from resilience import Breaker, CircuitOpen, Pipeline
from resilience.call import Call, Op
from resilience.circuit import Circuit, Circuits, Rules
from resilience.circuit.growth import OpenTimes
from resilience.circuit.last import Last
from resilience.circuit.permits import Flights, Permit
from resilience.circuit.ramp import Ramp
from resilience.circuit.window import Window
from resilience.testing import Script, virtual

RULES = Rules(failure_rate=0.5, consecutive=3, window=30, min_calls=10, open_for=5, probes=1)
CALL = Call(Op("read"), Script("ok"))


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


def circuit_of(clock: Clock, rules: Rules = RULES) -> Circuit:
    return Circuit("api", rules, random.Random(3), clock)


class Diary(CircuitBreakerListener):
    """An aiobreaker listener that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def success(self, breaker: CircuitBreaker) -> None:
        self.lines.append("success")

    def failure(self, breaker: CircuitBreaker, exception: Exception) -> None:
        self.lines.append(f"failure {exception}")

    def state_change(self, breaker: CircuitBreaker, old: Any, new: Any) -> None:
        self.lines.append(f"{old.state.name} -> {new.state.name}, now {breaker.current_state.name}")


# -- aiobreaker's face --------------------------------------------------------------------------------------------


def test_it_is_an_aiobreaker_circuit(clock: Clock) -> None:
    """Its names, numbers and vocabulary are there for those who know it."""
    circuit = circuit_of(clock)
    assert isinstance(circuit, CircuitBreaker)
    assert isinstance(circuit.store, CircuitBreakerStorage)
    assert circuit.store.name == "memory"
    assert (circuit.name, circuit.fail_max, circuit.timeout_duration) == ("api", 3, timedelta(seconds=5))
    assert circuit.current_state is CircuitBreakerState.CLOSED
    assert circuit.state is circuit._state
    for _ in range(2):
        circuit._state.enter(CALL).bad(OSError())
    assert circuit.fail_counter == 2
    circuit.open()
    assert circuit.current_state is CircuitBreakerState.OPEN
    assert circuit.state.state is CircuitBreakerState.OPEN
    assert isinstance(circuit.store.opened_at, datetime)


def test_it_is_driven_by_its_policy_alone(clock: Clock) -> None:
    """aiobreaker's own doors know neither permits nor generations, and an outer breaker is bypassed by them."""
    circuit = circuit_of(clock)
    for door in (circuit.call, circuit.call_async, circuit):
        with pytest.raises(TypeError, match="driven by its policy"):
            door(print)


def test_every_circuit_of_aiobreaker_is_opened_and_closed_by_hand(clock: Clock) -> None:
    """Manual control at any time; each change is a generation, and closing forgets what was counted."""
    circuit = circuit_of(clock)
    circuit._state.enter(CALL).bad(OSError())
    circuit.open()
    with pytest.raises(CircuitOpen):
        circuit._state.enter(CALL)
    circuit.half_open()
    probe = circuit._state.enter(CALL)
    circuit.close()
    assert circuit.status() == {"state": "closed", "since": 0, "failure_rate": 0.0, "calls": 0, "opens": 1}
    assert circuit.fail_counter == 0
    assert circuit._state.generation == 4
    probe.ok()  # of generation 3
    assert circuit._state.generation == 4
    circuit.open("maintenance")
    assert circuit.cause == "maintenance"


@pytest.fixture(params=["America/New_York", "Asia/Kolkata", "UTC"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_no_time_zone_changes_the_open_time(zone: str, clock: Clock) -> None:
    """Under New York time, too, a cool-down of 5 s is not one of 18,000."""
    assert os.environ["TZ"] == zone
    circuit = circuit_of(clock)
    assert circuit.opens_at is None
    circuit.open()
    left = circuit.store.until - clock.at
    assert circuit.time_until_open == timedelta(seconds=left)
    now = datetime.now()  # noqa: DTZ005 (aiobreaker has no zones)
    assert abs(circuit.opens_at - now - timedelta(seconds=left)) < timedelta(seconds=60)
    with pytest.raises(CircuitOpen) as caught:
        circuit._state.enter(CALL)
    assert abs(caught.value.reopen_time - now - timedelta(seconds=left)) < timedelta(seconds=60)
    assert timedelta(0) < caught.value.time_remaining <= timedelta(seconds=left)
    clock.at += left
    assert circuit.time_until_open == timedelta(0)
    assert circuit.opens_at is None


@virtual
async def test_sleep_until_open_sleeps_as_long_as_it_must() -> None:
    """In the loop's time, whatever the state; a stock circuit fails when the time is over."""
    pipeline = Pipeline(Breaker(consecutive=1))
    with pytest.raises(ConnectionRefusedError):
        await pipeline.run(Script(ConnectionRefusedError()))
    circuit = pipeline.states["breaker"]["default"]
    await circuit.sleep_until_open()
    assert asyncio.get_running_loop().time() == pytest.approx(circuit.store.until, abs=1e-5)
    await asyncio.sleep(0.001)
    assert await pipeline.run(Script("probe")) == "probe"
    await circuit.sleep_until_open()


def test_only_a_plain_closed_circuit_is_calm(clock: Clock) -> None:
    """Nobody has to ask it then; in every other case somebody wants to know, or decides."""
    circuit = circuit_of(clock)
    assert circuit.calm is circuit._state
    for change in (circuit.open, circuit.half_open):
        change()
        assert circuit.calm is None
    circuit.close()
    assert circuit.calm is circuit._state
    for mode, calm in (("forced_open", False), ("disabled", False), ("shadow", True), ("normal", True)):
        circuit.switch(mode)  # type: ignore[arg-type]
        assert (circuit.calm is circuit._state) is calm
    circuit.add_listener(Diary())
    assert circuit.calm is None
    assert circuit_of(clock, RULES._replace(count_window=9)).calm is None
    assert circuit_of(clock, RULES._replace(slow_after=9.0)).calm is None


def test_on_another_clock_a_ramp_is_over(clock: Clock) -> None:
    """Nobody knows when it would end; on the same clock it goes on."""
    circuit = circuit_of(clock, RULES._replace(ramp=10.0))
    circuit.half_open()
    circuit.enter(CALL).ok()
    circuit.follow(clock)
    assert circuit.calm is None
    circuit.follow(lambda: 5.0)
    assert circuit.calm is circuit._state
    assert circuit.now() == 5.0


# -- listeners ----------------------------------------------------------------------------------------------------


def test_listeners_hear_of_changes_successes_and_failures(clock: Clock) -> None:
    """What counts, and the change after it stands; what moves nothing is not told."""
    circuit, diary = circuit_of(clock), Diary()
    circuit.add_listeners(diary)
    late = circuit._state.enter(CALL)
    late_too = circuit._state.enter(CALL)
    circuit._state.enter(CALL).ok()
    circuit._state.enter(CALL).give_back()
    for number in range(3):
        circuit._state.enter(CALL).bad(OSError(number))
    late.ok()
    late_too.bad(OSError("late"))
    clock.at += 6
    circuit._state.enter(CALL).ok()
    assert diary.lines == [
        "success",
        "failure 0",
        "failure 1",
        "CLOSED -> OPEN, now OPEN",
        "failure 2",
        "OPEN -> HALF_OPEN, now HALF_OPEN",
        "HALF_OPEN -> CLOSED, now CLOSED",
        "success",
    ]


@virtual
async def test_a_listener_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The call's own outcome stands, the change stands, and the other listeners still hear of it."""

    class Broken(Diary):
        def state_change(self, breaker: CircuitBreaker, old: Any, new: Any) -> None:
            raise KeyError("a bug")

        success = failure = state_change  # type: ignore[assignment]  # and with a wrong signature

    pipeline, diary, error = Pipeline(Breaker(consecutive=1, key="host")), Diary(), ConnectionRefusedError("own")
    assert await pipeline.run(Script("ok")) == "ok"
    circuits: Circuits = pipeline.states["breaker"]
    circuits.add_listener(Broken())
    circuits.add_listener(diary)
    assert await pipeline.run(Script("ok")) == "ok"
    with pytest.raises(ConnectionRefusedError) as caught:
        await pipeline.run(Script(error))
    assert caught.value is error
    assert diary.lines == ["success", "CLOSED -> OPEN, now OPEN", "failure own"]
    assert "a listener failed on state_change of the circuit 'default'; the call goes on" in caplog.text
    with pytest.raises(ConnectionRefusedError):
        await pipeline.send(Call(Op("read"), Script(error), keys={"host": "new"}))
    assert diary.lines[3:] == ["CLOSED -> OPEN, now OPEN", "failure own"]  # circuits to come are heard, too


def test_a_listener_may_move_the_circuit(clock: Clock) -> None:
    """An operator's veto: whoever closes what has just opened has the last word."""

    class Veto(Diary):
        def state_change(self, breaker: CircuitBreaker, old: Any, new: Any) -> None:
            super().state_change(breaker, old, new)
            if new.state is CircuitBreakerState.OPEN:
                breaker.close()

    circuit, veto = circuit_of(clock), Veto()
    circuit.add_listener(veto)
    circuit.open()
    assert circuit.status()["state"] == "closed"
    assert circuit.state.state is circuit.current_state is CircuitBreakerState.CLOSED
    assert veto.lines == ["CLOSED -> OPEN, now OPEN", "OPEN -> CLOSED, now CLOSED"]


# -- the window ---------------------------------------------------------------------------------------------------


def test_a_result_counts_for_at_least_nine_tenths_of_the_window_and_never_longer() -> None:
    """Against a list of all results with their times, over a thousand seeded steps of any size."""
    dice, window, at = random.Random(5), Window(10), 0.0
    results: deque[tuple[float, bool]] = deque()
    for _ in range(1000):
        at += dice.choice((0, 0.01, 0.3, 1, 2.5, 9, 10, 25))
        sick = dice.random() < 0.3
        window.catch_up(at)
        window.calls += 1
        window.sick += sick
        results.append((at, sick))
        while results[0][0] < at - 10:
            results.popleft()
        surely = [bad for when, bad in results if when > at - 9]
        assert len(surely) <= window.calls <= len(results)
        assert sum(surely) <= window.sick <= sum(bad for _, bad in results)
        assert window.rate == window.sick / window.calls


def test_a_bucket_ends_wherever_rounding_puts_its_end() -> None:
    """Where a bucket's end less its beginning is less than its width: each is turned once, and nothing counts twice."""
    window, at = Window(1.3), 1e9
    short = 0
    for number in range(1, 11):
        window.catch_up(at)
        window.calls += 1
        assert window.calls == number
        assert window.begins <= at < window.ends
        short += window.ends - window.begins < 1.3 / 10
        at = window.ends
    assert short  # the case was met
    assert window.sick == 0


def test_a_window_that_has_emptied_begins_with_the_next_result() -> None:
    """Its buckets follow the traffic: the first result counts for the whole window."""
    window = Window(10)
    for at in (3.0, 13.0, 23.7, 33.6999):
        window.catch_up(at)
        window.calls += 1
    assert (window.calls, window.begins) == (2, pytest.approx(32.7))
    window.catch_up(100.5)
    assert (window.calls, window.begins) == (0, 100.5)


def test_a_clock_that_went_back_starts_the_window_anew() -> None:
    """Another loop's: nobody knows how old the results are."""
    window = Window(10)
    window.catch_up(50)
    window.calls = window.sick = 3
    window.catch_up(2)
    assert (window.calls, window.sick, window.rate, window.begins) == (0, 0, 0.0, 2)


# -- against a model ----------------------------------------------------------------------------------------------


class Model:
    """The reference: consecutive rule, permits and generations, in the words of the specification."""

    def __init__(self, probes: int) -> None:
        self.probes, self.generation, self.state = probes, 1, "closed"
        self.in_a_row = self.out = self.passed = 0
        self.until = 0.0

    def go(self, state: str) -> None:
        self.state, self.in_a_row, self.out, self.passed = state, 0, 0, 0
        self.generation += 1

    def enter(self, at: float) -> int | None:
        if self.state == "open" and at >= self.until:
            self.go("half-open")
        if self.state == "open" or (self.state == "half-open" and self.out >= self.probes):
            return None
        self.out += 1
        return self.generation

    def settle(self, generation: int, outcome: str) -> bool:
        """Whether it opened."""
        if generation != self.generation:
            return False
        self.out -= 1
        if outcome == "ok":
            self.in_a_row = 0
            self.passed += 1
            if self.state == "half-open" and self.passed >= self.probes:
                self.go("closed")
        elif outcome == "bad":
            self.in_a_row += 1
            if self.state == "half-open" or self.in_a_row >= 3:
                self.go("open")
                return True
        return False


@pytest.mark.parametrize("probes", [1, 2, 3])
def test_it_follows_the_reference_model(probes: int, clock: Clock) -> None:
    """Five thousand seeded steps of entering, settling in any order, and waiting: state and generation agree."""
    dice, model = random.Random(probes), Model(probes)
    circuit = circuit_of(clock, RULES._replace(failure_rate=None, probes=probes, max_open_for=5, probe_lease=1e9))
    permits: list[tuple[Any, int]] = []
    met = set()
    for _ in range(5000):
        clock.at += dice.choice((0, 0, 0.5, 3))
        if dice.random() < 0.5 or not permits:
            expected = model.enter(clock.at)
            try:
                permits.append((circuit.enter(CALL), expected or 0))
            except CircuitOpen:
                assert expected is None
            else:
                assert circuit._state.generation == expected
        else:
            permit, generation = permits.pop(dice.randrange(len(permits)))
            outcome = dice.choice(("ok", "bad", "bad", "give_back"))
            permit.bad(OSError()) if outcome == "bad" else getattr(permit, outcome)()
            if model.settle(generation, outcome):
                model.until = circuit.store.until
                assert 5 <= model.until - clock.at <= 6
        assert (circuit.status()["state"], circuit._state.generation) == (model.state, model.generation)
        met.add(model.state)
    assert met == {"closed", "open", "half-open"}


# -- the arithmetic beside the window of time -----------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 7])
def test_a_count_window_is_the_last_so_many_calls(most: int) -> None:
    """Against a list that is cut to its end, over five hundred seeded results."""
    dice, window = random.Random(most), Last(most)
    results: list[tuple[bool, bool]] = []
    for number in range(500):
        sick, slow = dice.random() < 0.4, dice.random() < 0.3
        window.add(float(number), sick, slow)
        results = [*results, (sick, slow)][-most:]
        window.catch_up(1e9)  # nothing grows old
        assert window.calls == len(results)
        assert window.sick == sum(bad for bad, _ in results)
        assert window.slow == sum(late for _, late in results)
        assert window.rate == window.sick / window.calls
        assert str(window) == f"the last {len(results)} calls"
        assert window.used == number
    window.clear()
    assert (window.calls, window.sick, window.slow, window.rate) == (0, 0, 0, 0.0)
    for _ in range(most + 1):
        window.add(0.0, True, False)
    assert (window.calls, window.sick, window.slow) == (most, most, 0)


def test_slow_calls_age_with_their_bucket() -> None:
    """As failures do: the eldest bucket goes as a whole."""
    window = Window(10)
    for at in range(10):
        window.add(float(at), sick=at % 2 == 0, slow=at < 3)
    assert (window.calls, window.sick, window.slow) == (10, 5, 3)
    window.catch_up(10.0)
    assert (window.calls, window.sick, window.slow) == (9, 4, 2)
    window.catch_up(12.5)
    assert (window.calls, window.sick, window.slow) == (7, 3, 0)
    window.clear()
    assert (window.calls, window.sick, window.slow) == (0, 0, 0)


@pytest.mark.parametrize(
    ("probes", "share", "successes"),
    [(1, 1.0, 1), (5, 0.6, 3), (5, 1.0, 5), (5, 0.61, 4), (3, 0.01, 1), (10, 0.7, 7), (100, 0.07, 7), (3, 2 / 3, 2)],
)
def test_as_many_probes_must_succeed_as_make_the_share(probes: int, share: float, successes: int) -> None:
    """The fewest at or above it, for shares that a product of floats would miss by the last bit."""
    assert RULES._replace(probes=probes, probe_success=share).successes() == successes


def test_rules_have_the_defaults_of_the_policy() -> None:
    """For whoever drives a circuit without one."""
    defaults = {field.name: field.default for field in dataclasses.fields(Breaker)}
    assert Rules._field_defaults.items() <= defaults.items()
    assert set(Rules._fields) <= set(defaults)


class Dice(random.Random):
    """Dice that always show the same."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


def test_open_times_double_up_to_the_most_and_are_never_shorter_than_the_base() -> None:
    """5, 10, 20, 40 while probes fail; the fifth on top is on top of the most as well, so that nobody is in step."""
    bases = [5, 10, 20, 40, 40, 40]
    for value, spread in ((0.0, 1.0), (0.5, 1.1), (0.999, 1.1998)):
        times = OpenTimes(5, 40, Dice(value))
        drawn = [times.draw(number > 0, 0.0, 0.0) for number in range(6)]
        assert drawn == pytest.approx([base * spread for base in bases])
        assert all(base <= seconds < 1.2 * base for base, seconds in zip(bases, drawn, strict=True))


def test_open_times_begin_anew_once_the_circuit_has_been_well_for_as_long_as_it_was_open() -> None:
    """Sooner, the base stays: neither doubled, for no probe has failed, nor forgotten."""
    times = OpenTimes(5, 300, Dice(0.5))
    assert [times.draw(again, 0.0, 0.0) for again in (False, True, True)] == pytest.approx([5.5, 11, 22])
    assert times.draw(False, 21.9, 0.0) == pytest.approx(22)
    assert times.draw(True, 0.0, 0.0) == pytest.approx(44)
    assert times.draw(False, 44.1, 0.0) == pytest.approx(5.5)
    assert times.draw(True, 1e9, 0.0) == pytest.approx(11)  # however long it was half-open: it was not well
    assert times.draw(False, times.draw(False, 0.0, 0.0), 0.0) == pytest.approx(5.5)  # just as long is long enough


def test_a_circuit_that_was_never_open_begins_with_the_first_open_time() -> None:
    """Half-opened by hand, say, when a probe failed."""
    assert OpenTimes(5, 300, Dice(0.0)).draw(True, 0.0, 0.0) == 5


def test_a_first_open_time_above_the_most_does_not_grow_and_is_kept() -> None:
    """The promise about the first open time holds whatever the most is."""
    times = OpenTimes(500, 300, Dice(0.0))
    assert [times.draw(number > 0, 0.0, 0.0) for number in range(3)] == [500, 500, 500]


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(0.0, 5), (4.0, 5), (60.0, 60), (299.0, 299), (9999.0, 300), (float("inf"), 300), (float("nan"), 5), (-1.0, 5)],
)
def test_the_server_is_heeded_where_it_asks_for_longer_up_to_the_most(asked: float, seconds: float) -> None:
    """Never sooner than it says, and spread, as it says the same to everybody; an absurd wish is cut."""
    assert OpenTimes(5, 300, Dice(0.0)).draw(False, 0.0, asked) == seconds
    assert OpenTimes(5, 300, Dice(0.5)).draw(False, 0.0, asked) == pytest.approx(seconds * 1.1)


def test_what_the_server_asked_for_does_not_make_the_base_grow() -> None:
    """The next open time is our own again."""
    times = OpenTimes(5, 300, Dice(0.0))
    assert [times.draw(False, 0.0, 100.0), times.draw(True, 0.0, 0.0)] == [100, 10]


def test_a_ramp_admits_what_its_shares_add_up_to() -> None:
    """To within one call, at any moment, over a seeded run of calls at any pace; then everybody."""
    for seed, pace in ((1, 0.01), (2, 0.3), (3, 3.0)):
        dice, ramp, at = random.Random(seed), Ramp(100.0, 30.0), 100.0
        owed, admitted = 0.0, 0
        while at < 130:
            share = 0.1 + 0.9 * (at - 100) / 30
            assert ramp.share(at) == pytest.approx(share)
            owed += share
            admitted += ramp.admits(at)
            assert owed - 1e-9 <= admitted <= owed + 1 + 1e-9
            at += pace * dice.random()
        assert ramp.ends == 130
        assert all(ramp.admits(130 + number) for number in range(50))


def test_a_ramp_admits_the_first_call_then_every_tenth() -> None:
    """In the first moment; and no dice are thrown."""
    ramp = Ramp(0.0, 1e6)
    assert [number for number in range(35) if ramp.admits(0.0)] == [0, 9, 19, 29]
    assert (ramp.share(-5.0), ramp.share(5e5), ramp.share(2e6)) == (0.1, 0.55, 1.0)


class Held:
    """Who holds the permits that a register hands out: nobody."""

    def take_back(self, permit: Permit) -> bool | None:
        return None

    def ok(self, slow: bool = False) -> None:
        raise AssertionError

    def bad(self, error: Exception, retry_after: float | None = None, slow: bool = False) -> None:
        raise AssertionError

    def give_back(self) -> None:
        raise AssertionError


def test_calls_under_way_become_slow_in_the_order_in_which_they_began() -> None:
    """At the limit exactly; ended ones are gone, in either state, and no end is noticed twice."""
    flights = Flights(2.0)
    first, second, third = (flights.begin(Held(), at) for at in (0.0, 0.0, 1.0))
    assert flights.slow(1.999) == 0
    assert flights.end(second, 1.999) is False
    assert flights.slow(2.0) == 1
    assert flights.slow(3.0) == 2
    assert flights.end(first, 3.0) is True
    assert flights.slow(3.0) == 1
    assert flights.end(third, 2.5) is True  # it was seen to be slow
    assert flights.slow(9.0) == 0
    late = flights.begin(Held(), 10.0)
    assert flights.end(late, 12.0) is True  # nobody looked in between
    flights.begin(Held(), 20.0)
    old = flights.begin(Held(), 20.0)
    assert flights.slow(22.0) == 2
    flights.begin(Held(), 22.0)
    flights.clear()
    assert flights.slow(1e9) == 0
    assert flights.end(old, 1.0) is False  # of a clock that is gone


def test_a_void_permit_moves_nothing() -> None:
    """Whatever becomes of the call that had it."""
    permit = Permit(Held(), 0.0)
    permit.ok()
    permit.bad(OSError())
    permit.give_back()
