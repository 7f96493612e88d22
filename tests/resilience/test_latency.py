"""Latency: its quantiles against sorted samples, and what it forgets."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.timing.latency import Latency, step_above

QS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
SECONDS = st.floats(1e-5, 900.0)


def means_something(q: float, count: int) -> bool:
    """Ten samples, and one expected on either side, in thousandths so that nothing is rounded."""
    thousandths = round(q * 1000)
    return count >= 10 and count * thousandths >= 1000 and count * (1000 - thousandths) >= 1000


def nearest_rank(samples: list[float], q: float) -> float:
    return sorted(samples)[math.ceil(round(q * 1000) * len(samples) / 1000) - 1]


@given(st.lists(st.one_of(SECONDS, st.sampled_from([0.1, 0.11, 0.5])), max_size=300))
def test_a_quantile_is_within_five_percent_of_its_sample(samples: list[float]) -> None:
    """Of the nearest rank, for any distribution; None where the samples are too few for it."""
    latency = Latency()
    for sample in samples:
        latency.add(sample, 0.0)
    assert latency.count == len(samples)
    for q in QS:
        found = latency.quantile(q)
        if not means_something(q, len(samples)):
            assert found is None
        else:
            assert found == pytest.approx(nearest_rank(samples, q), rel=0.05)


@pytest.mark.parametrize(("q", "fewest"), [(0.5, 10), (0.9, 10), (0.95, 20), (0.05, 20), (0.99, 100), (0.999, 1000)])
def test_a_quantile_means_something_from_here_on(q: float, fewest: int) -> None:
    """One sample fewer, and it is None."""
    latency = Latency()
    for number in range(1, fewest + 1):
        latency.add(0.25, 0.0)
        assert (latency.quantile(q) is not None) == (number == fewest)
    assert latency.quantile(q) == pytest.approx(0.25, rel=0.05)
    assert latency.quantile(0.0) is latency.quantile(1.0) is None


@given(
    st.sampled_from([1.0, 7.0, 60.0]),
    st.lists(st.tuples(st.floats(0.0, 1.3) | st.just(-0.4), SECONDS), min_size=10, max_size=60),
    st.floats(0.0, 2.0),
)
def test_the_window_forgets_and_remembers(window: float, steps: list[tuple[float, float]], later: float) -> None:
    """Older than the window: gone; younger than three quarters: there; a clock begun anew: all are of this moment."""
    latency, now = Latency(window), 1000.0
    model: list[float] = []
    for step, seconds in steps:
        if step < 0:  # another loop, whose clock may stand anywhere before
            now += step * 100
            model = [now] * latency.count
        else:
            now += step * window / 4
        latency.add(seconds, now)
        model.append(now)
        check(latency, model, now, window)
    now += later * window
    latency.quantile(0.5, now)
    check(latency, model, now, window)


def check(latency: Latency, model: list[float], now: float, window: float) -> None:
    model[:] = [at for at in model if now - at < window * (1 + 1e-9)]
    surely = sum(now - at < window * 0.75 * (1 - 1e-9) for at in model)
    assert surely <= latency.count <= len(model)


def test_what_is_forgotten_counts_no_more() -> None:
    """The quantile is that of what is left, also where nobody adds but only asks."""
    latency = Latency(60)
    for at, seconds in ((0.0, 1.0), (50.0, 2.0)):
        for _ in range(20):
            latency.add(seconds, at)
    assert (latency.count, latency.quantile(0.5)) == (40, pytest.approx(1.0, rel=0.05))
    assert latency.quantile(0.5, 61.0) == pytest.approx(2.0, rel=0.05)
    assert latency.count == 20
    assert latency.quantile(0.5) == pytest.approx(2.0, rel=0.05)
    assert latency.quantile(0.5, 1e9) is None
    assert latency.count == 0
    latency.add(3.0, 1e9)
    assert latency.count == 1


def test_a_generation_ends_at_a_quarter_of_the_window() -> None:
    """Samples of one generation go together, at the very end of the window that began with it."""
    latency = Latency(40)
    latency.add(1.0, 100.0)
    latency.add(1.0, 109.999)
    latency.add(1.0, 110.0)
    for now, left in ((139.999, 3), (140.0, 1), (149.999, 1), (150.0, 0)):
        latency.quantile(0.5, now)
        assert latency.count == left


def test_a_clock_that_begins_anew_forgets_nothing_at_once() -> None:
    """Another loop's clock may begin at zero; what was measured stays for one window of it, and no longer."""
    latency = Latency(60)
    for at in (1000.0, 1020.0, 1040.0):
        for _ in range(10):
            latency.add(0.1, at)
    latency.add(0.1, 0.0)
    latency.quantile(0.5, 44.0)
    assert latency.count == 31
    latency.quantile(0.5, 60.0)
    assert latency.count == 0
    for _ in range(10):
        latency.add(0.1, 1000.0)
    assert latency.quantile(0.5, 500.0) == pytest.approx(0.1, rel=0.05)  # nobody adds, somebody asks
    assert latency.quantile(0.5, 559.0) is not None
    assert latency.quantile(0.5, 560.0) is None


def test_the_window_is_a_minute_unless_it_is_said() -> None:
    """Sixty seconds."""
    latency = Latency()
    latency.add(0.1, 0.0)
    for now, left in ((59.9, 1), (60.0, 0)):
        latency.quantile(0.5, now)
        assert latency.count == left


def test_the_step_above() -> None:
    """At most 10 % more, itself where it is the end of a step, and never beyond the last."""
    assert step_above(1e-9) == step_above(1e-5) == 1e-5
    for seconds in (0.001, 0.37, 5.0, 800.0):
        above = step_above(seconds)
        assert seconds < above <= seconds * 1.1 * (1 + 1e-9)
        assert step_above(above) == above
    assert step_above(1e9) == step_above(2000.0) == pytest.approx(1000, rel=0.05)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e-9, 1e4, math.inf])
def test_a_sample_out_of_range_counts_as_the_nearest_that_is(seconds: float) -> None:
    """Nothing that a clock can say breaks it."""
    latency = Latency()
    for _ in range(10):
        latency.add(seconds, 0.0)
    found = latency.quantile(0.5)
    assert found == (1e-5 if seconds < 1 else pytest.approx(1000, rel=0.05))


def test_a_generation_is_not_begun_twice() -> None:
    """Whoever comes in its first moment finds it begun: nothing is summed up anew."""
    latency = Latency(60)
    latency.add(0.1, 100.0)
    earlier = latency._earlier
    latency.add(0.1, 100.0)
    latency.quantile(0.5, 100.0)
    assert latency._earlier is earlier


def test_memory_is_bounded() -> None:
    """A million samples over many windows take what a few take."""
    latency = Latency(1.0)
    for number in range(20_000):
        latency.add(number * 1e-3, number * 0.01)
    earlier = latency._earlier
    for _ in range(9):
        latency.add(0.1, 199.99)
    assert latency._earlier is earlier  # made anew when a generation ends, and not for every sample
    lists = [latency._current, latency._earlier, *latency._past]
    assert len(lists) == 5
    assert sum(map(sys.getsizeof, lists)) < 10_000


def test_its_status() -> None:
    """Plain numbers, None where they would mean nothing."""
    latency = Latency()
    assert latency.status() == {"samples": 0, "p50": None, "p95": None, "p99": None}
    for number in range(1, 21):
        latency.add(number / 10, 0.0)
    one, ninetyfive = pytest.approx(1.0, rel=0.05), pytest.approx(1.9, rel=0.05)
    assert latency.status() == {"samples": 20, "p50": one, "p95": ninetyfive, "p99": None}
