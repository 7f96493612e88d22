"""Schedules at their edges: nothing to wait for, too much to wait for, and what a generator object remembers."""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import Any

import backoff
import pytest

from resilience import ConfigError
from resilience.schedule import check_wait, schedule


class Lowest(random.Random):
    """Dice that always show the least."""

    def random(self) -> float:
        return 0.0


def waits(wait: Any, jitter: Any, cap: float, count: int, rng: random.Random | None = None) -> list[float | None]:
    following = schedule(wait, jitter, cap, rng or random.Random(1))
    return [following(None) for _ in range(count)]


def test_a_generator_that_yields_nothing_has_no_wait() -> None:
    """Asked once or often."""

    def empty() -> Generator[float, Any, None]:
        return
        yield

    assert waits(empty, None, 10, 2) == [None, None]


def test_a_generator_that_overflows_waits_as_long_as_it_may() -> None:
    """Growth without a bound is the commonest mistake in such a generator."""

    def explodes() -> Generator[float, Any, None]:
        yield 1.0
        raise OverflowError

    assert waits(explodes, None, 10, 3) == [1.0, 10, None]


def test_the_cap_bounds_growth_before_the_jitter() -> None:
    """So that full jitter goes on spreading clients, instead of sending all of them at the cap."""
    found = waits({"expo": {"base": 10, "factor": 1}}, "full", 1.0, 300)
    late = [wait for wait in found[5:] if wait is not None]
    assert 0.4 < sum(late) / len(late) < 0.6
    assert waits({"fibo": {}}, None, 4.0, 8) == [1, 1, 2, 3, 4, 4, 4, 4]


def test_what_the_server_says_is_not_remembered() -> None:
    """A generator object of waits is played from its beginning by every call; one of `backoff.runtime` cannot be."""
    plain = (float(number) for number in (1, 2))
    for _ in range(2):
        assert waits(plain, None, 10, 3) == [1, 2, None]
    told = backoff.runtime(value=lambda sent: sent)
    for seconds in (3.0, 5.0):
        assert schedule(told, None, 10, random.Random(1))(seconds) == seconds


def test_decorrelated_jitter_begins_at_the_first_wait() -> None:
    """Every later one lies between that and three times the one before, however short the first is."""
    assert waits({"expo": {"base": 2, "factor": 0.25}}, "decorrelated", 20, 4, Lowest()) == [0.25] * 4
    found = waits({"expo": {"base": 2, "factor": 0.25}}, "decorrelated", 20, 50)
    for before, after in zip([0.25, *found], found, strict=False):
        assert before is not None
        assert after is not None
        assert 0.25 <= after <= max(0.25, 3 * before)


@pytest.mark.parametrize("wait", [{"constant": {"interval": [0, 0.5]}}, {"expo": {"factor": 0}}, 0, {"fibo": {}}])
def test_waits_of_zero_are_waits(wait: Any) -> None:
    """At once is a moment."""
    check_wait("Retry", wait, "none")


@pytest.mark.parametrize("wait", [{"constant": {"interval": [1, -0.5]}}, {"expo": {"factor": -1}}, -1])
def test_waits_below_zero_are_none(wait: Any) -> None:
    """Wherever they stand."""
    with pytest.raises(ConfigError):
        check_wait("Retry", wait, "none")
