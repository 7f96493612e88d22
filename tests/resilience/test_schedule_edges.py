"""Waits at the edges of what a generator may be told."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import backoff
import pytest

from resilience import ConfigError, Pipeline, Retry
from resilience.retrying.schedule import schedule, steady
from resilience.testing import Script, VirtualLoop


def test_a_generator_told_none_is_told_nothing() -> None:
    """backoff's own default for `max_value` is None: it may be written out, and means no bound but `max_wait`."""
    retry = Retry(attempts=4, on=OSError, jitter="none", max_wait=3, wait={"expo": {"factor": 1, "max_value": None}})
    script = Script(OSError(), OSError(), OSError(), "done")
    assert VirtualLoop().run(Pipeline(retry).run(script)) == "done"
    assert script.begun == [0, 1, 3, 6]
    with pytest.raises(ConfigError, match="max_value"):
        Retry(on=OSError, wait={"expo": {"max_value": -1}})


def waits(wait: Any, jitter: str, cap: float, times: int) -> list[float | None]:
    """The first waits of one call."""
    following = schedule(wait, jitter, cap, random.Random(5))
    return [following(OSError()) for _ in range(times)]


def test_growth_without_bounds_stays_at_the_cap() -> None:
    """Its 1024th value is more than a float can hold, whether the generator meets that or who reads it."""
    for wait in ({"expo": {"base": 2.0}}, {"expo": {"base": 2}}, lambda: backoff.expo(2)):
        assert waits(wait, "none", 60.0, 1100)[5:] == [32.0, *[60.0] * 1094]


def test_fibonacci_numbers_may_be_bounded() -> None:
    """By the name that backoff gives it."""
    Retry(on=OSError, wait={"fibo": {"max_value": 5}})
    assert waits({"fibo": {"max_value": 5}}, "none", 60.0, 6) == [1, 1, 2, 3, 5, 5]


def test_decorrelated_waits_grow_from_a_small_base() -> None:
    """Each is up to three times the last, not three times the base."""
    found = waits(0.1, "decorrelated", 60.0, 50)
    assert min(found) >= 0.1
    assert max(found) > 10


def test_decorrelated_waits_begin_when_there_is_something_to_wait() -> None:
    """A first wait of nothing is no base: the waits that follow would all be nothing."""

    def generator() -> Iterator[float]:
        yield 0.0
        yield 2.0
        yield 2.0

    first, second, third = waits(generator, "decorrelated", 60.0, 3)
    assert first == 0
    assert second >= 2
    assert third >= 2


def test_one_schedule_serves_all_calls_where_it_remembers_nothing() -> None:
    """A number and a jitter that looks at nothing else."""
    assert steady(0.5, "full")
    assert steady(1, None)
    assert not steady(0.5, "decorrelated")
    assert not steady({"expo": {}}, "none")


def test_a_generator_of_nothing_has_no_waits() -> None:
    """From the first on."""

    def generator() -> Iterator[float]:
        yield from ()

    assert waits(generator, "none", 60.0, 2) == [None, None]


@pytest.mark.parametrize(("jitter", "waits_at_all"), [("none", 0), ("full", 0), ("equal", 0), ("additive", 3)])
def test_dice_are_thrown_only_where_they_can_move_a_wait_of_nothing(jitter: str, waits_at_all: int) -> None:
    """A jitter that adds something is asked; the others leave the pipeline's dice alone."""
    dice, untouched = random.Random(5), random.Random(5)
    following = schedule(0, jitter, 60.0, dice)
    found = [following(OSError()) for _ in range(3)]
    assert sum(wait > 0 for wait in found) == waits_at_all
    assert (dice.getstate() == untouched.getstate()) == (waits_at_all == 0)


def test_an_interval_may_be_less_than_a_second() -> None:
    """In a list of several as well."""
    wait = {"constant": {"interval": [0.5, 0]}}
    assert Retry(on=OSError, wait=wait).wait == wait
    assert waits(wait, "none", 60.0, 3) == [0.5, 0, None]
