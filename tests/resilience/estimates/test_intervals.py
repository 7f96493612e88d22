"""Intervals against published tables, and against their own promise."""

from __future__ import annotations

import random

import pytest

from resilience.estimates import few, prediction, quantile_ranks, share
from resilience.estimates.beta import beta_quantile, incomplete_beta, student_quantile


@pytest.mark.parametrize(
    ("p", "degrees", "expected"),
    [(0.975, 1, 12.706), (0.975, 9, 2.262), (0.95, 4, 2.132), (0.995, 29, 2.756), (0.9995, 19, 3.883)],
)
def test_student_agrees_with_the_tables(p: float, degrees: int, expected: float) -> None:
    """To three decimals, as printed."""
    assert student_quantile(p, degrees) == pytest.approx(expected, abs=6e-4)


def test_the_incomplete_beta_is_a_binomial_tail() -> None:
    """P(Bin(10, 0.3) >= 4), summed by hand; its ends; and the quantile is its inverse."""
    assert incomplete_beta(4, 7, 0.3) == pytest.approx(0.3503892816, abs=1e-9)
    assert (incomplete_beta(2, 3, 0.0), incomplete_beta(2, 3, 1.0)) == (0.0, 1.0)
    assert incomplete_beta(4, 7, beta_quantile(0.2, 4, 7)) == pytest.approx(0.2, abs=1e-12)
    assert incomplete_beta(500_000, 500_001, 0.5) == pytest.approx(0.5, abs=1e-3)


def test_a_share_is_never_certain() -> None:
    """Clopper and Pearson: 0 of 10 may be 31 %, 5 of 10 anything from 19 to 81 %, and of nothing nothing is known."""
    none, half = share(0, 10), share(5, 10)
    assert (none.value, none.low, none.high) == pytest.approx((0.0, 0.0, 0.3085), abs=1e-4)
    assert (half.low, half.high) == pytest.approx((0.1871, 0.8129), abs=1e-4)
    assert share(10, 10).low == pytest.approx(1 - 0.3085, abs=1e-4)
    assert (share(0, 0).low, share(0, 0).high) == (0.0, 1.0)


def test_a_quantile_lies_between_two_ranks() -> None:
    """The median of a hundred: between the 40th and the 61st (a textbook's example)."""
    assert quantile_ranks(100, 0.5) == (40, 61)


@pytest.mark.parametrize(("q", "needed"), [(0.5, 6), (0.95, 72), (0.99, 368), (0.999, 3688)])
def test_too_few_samples_bound_nothing(q: float, needed: int) -> None:
    """`few` says from how many on, and one fewer is too few."""
    assert few(q) == needed
    assert quantile_ranks(needed, q) is not None
    assert quantile_ranks(needed - 1, q) is None


def test_the_interval_of_one_run_holds_one_run() -> None:
    """Of a hundred more runs about ninety-five lie in it, and far fewer in the interval of the mean."""
    dice = random.Random(7)
    inside = near = 0
    for _ in range(200):
        runs = [dice.gauss(10, 2) for _ in range(10)]
        mean, one = prediction(runs)
        assert one.low <= mean.low <= mean.value <= mean.high <= one.high
        another = dice.gauss(10, 2)
        inside += one.low <= another <= one.high
        near += mean.low <= another <= mean.high
    assert 180 <= inside <= 200
    assert near < 130
