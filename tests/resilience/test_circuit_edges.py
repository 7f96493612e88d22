"""A circuit at its edges: since when it is unused, how long it stays open, and what it shows of itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime

import pytest
from aiobreaker import CircuitBreakerListener

from resilience import CircuitOpen
from resilience.call import Call, Op
from resilience.circuit import Circuit, Rules
from resilience.circuit.last import Last
from resilience.circuit.window import Window
from resilience.testing import Script

RULES = Rules(failure_rate=0.5, consecutive=1, window=30, min_calls=10, open_for=0.1, probes=1)
CALL = Call(Op("read"), Script("ok"))


class Clock:
    """A clock that is set by hand."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


def circuit_of(clock: Clock, rules: Rules = RULES) -> Circuit:
    return Circuit("api", rules, random.Random(3), clock)


@pytest.mark.parametrize(
    "rules", [RULES, RULES._replace(window=None, count_window=5), RULES._replace(count_window=5)], ids=str
)
def test_a_circuit_that_was_never_used_is_so_since_it_was_made(rules: Rules) -> None:
    """Since that very moment, and not before: of none that is so old can anybody say that it was in use."""
    clock = Clock()
    circuit = circuit_of(clock, rules)
    assert circuit.unused_since(0.0)
    assert not circuit.unused_since(-0.1)


def test_of_two_windows_the_one_that_was_used_last_counts() -> None:
    """A window of time knows its last use to within a bucket, one of count exactly."""
    clock = Clock()
    circuit = circuit_of(clock, RULES._replace(count_window=5))
    clock.at = 0.5
    circuit.enter(CALL).ok()
    assert [circuit.unused_since(at) for at in (0.5, 3.4, 3.5)] == [False, False, True]


def test_a_circuit_that_is_forced_open_is_in_use() -> None:
    """Forgotten, it would come back with nothing counted once the force is off."""
    clock = Clock()
    circuit = circuit_of(clock)
    clock.at = 10_000.0
    assert circuit.unused_since(clock.at)
    circuit.switch("forced_open")
    assert not circuit.unused_since(clock.at)


def test_looking_at_a_window_does_not_count_as_its_use() -> None:
    """It was last used in the bucket of its last result, however often it has turned since."""
    window = Window(10)
    window.add(0.5, False, False)
    for at in (5.0, 8.0):
        window.catch_up(at)
        assert window.used == 1.5


def test_who_asks_for_no_wait_gets_the_open_time_of_the_rules() -> None:
    """Be it shorter than a second."""
    clock = Clock()
    circuit = circuit_of(clock)
    circuit.enter(CALL).bad(OSError())
    assert 0.1 <= circuit.store.until <= 0.12


def test_a_circuit_opened_by_hand_before_it_was_well_does_not_begin_anew() -> None:
    """Its open time has grown because probes failed, and only a time of being closed takes that back."""
    clock = Clock()
    circuit = circuit_of(clock)
    circuit.open()
    circuit.half_open()
    circuit.enter(CALL).bad(OSError())  # so the base is doubled
    circuit.open()
    assert 0.2 <= circuit.store.until <= 0.24


def test_a_shadow_shows_that_it_has_refused_nobody_yet() -> None:
    """A zero that can be read, where other modes say nothing."""
    circuit = circuit_of(Clock())
    assert "would_refuse" not in circuit.status()
    circuit.switch("shadow")
    assert circuit.status()["would_refuse"] == 0


def test_an_open_circuit_opens_to_probes_later_than_now() -> None:
    """In wall time, for those who know aiobreaker."""
    circuit = circuit_of(Clock(), RULES._replace(open_for=60))
    assert circuit.opens_at is None
    circuit.open()
    assert circuit.opens_at is not None
    now = datetime.now()  # noqa: DTZ005 (aiobreaker has no zones)
    assert 50 < (circuit.opens_at - now).total_seconds() < 80


def test_an_exit_in_a_listener_is_an_exit() -> None:
    """What ends the program is no failure of the listener's."""

    class Exits(CircuitBreakerListener):
        def state_change(self, *about: object) -> None:
            raise SystemExit

    circuit = circuit_of(Clock())
    circuit.add_listener(Exits())
    with pytest.raises(SystemExit):
        circuit.open()


def test_a_count_that_was_cleared_forgets_nothing_that_is_not_in_it() -> None:
    """What was counted before is gone, also from the row of those that grow old."""
    last = Last(2)
    last.add(0.0, True, True)
    last.clear()
    for at in (1.0, 2.0, 3.0):
        last.add(at, False, False)
    assert (last.calls, last.sick, last.slow) == (2, 0, 0)


def _slow_ends(circuit: Circuit, clock: Clock) -> None:
    permit = circuit.enter(CALL)
    clock.at += 0.02
    permit.ok()


def _slow_meanwhile(circuit: Circuit, clock: Clock) -> None:
    circuit.enter(CALL)
    clock.at += 0.02
    with pytest.raises(CircuitOpen):
        circuit.enter(CALL)


@pytest.mark.parametrize("probing", [False, True], ids=["closed", "half-open"])
@pytest.mark.parametrize("is_slow", [_slow_ends, _slow_meanwhile])
def test_slow_calls_open_it_for_no_longer_than_the_rules_say(
    is_slow: Callable[[Circuit, Clock], None], probing: bool
) -> None:
    """A slow answer asks for no wait: no more than the open time and its fifth, however short that is."""
    clock = Clock()
    circuit = circuit_of(clock, RULES._replace(min_calls=1, slow_after=0.01, probes=2))
    if probing:
        circuit.half_open()
    is_slow(circuit, clock)
    assert circuit.status()["state"] == "open"
    assert 0.1 <= circuit.store.until - clock.at <= 0.12
