"""The busiest ten seconds of a recording of two seconds were two seconds of work in ten: a fifth of the load."""

from __future__ import annotations

import pytest
from traces import attempt, call

from resilience.recorded.calls import recording_of
from resilience.tune.sizes import busiest


def test_the_load_of_a_short_recording_is_that_of_its_own_time() -> None:
    """A hundred calls a second of 50 ms are five at once, also for two seconds, whenever those begin."""
    spans = []
    for number in range(1, 201):
        at = 7_000.0 + number * 10.0
        spans += [attempt(number, 2, begins=at, ends=at + 50), call(number, begins=at, ends=at + 50)]
    assert busiest(recording_of(spans).calls) == pytest.approx(5.0, rel=0.05)
    assert busiest([]) == 0.0
