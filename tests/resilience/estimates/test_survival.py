"""Kaplan and Meier's estimate: cut off is longer than seen."""

from __future__ import annotations

import math
import random

import pytest

from resilience.estimates import Curve, Sample


def test_the_example_of_every_textbook() -> None:
    """Answers at 1, 2, 4; cut at 3 and 5: the shares are 1/5, 2/5 and 2/5 + 3/5 x 1/2."""
    curve = Curve([Sample(1, True), Sample(2, True), Sample(3, False), Sample(4, True), Sample(5, False)])
    assert [curve.within(at) for at in (0.5, 1, 2, 3, 4, 9)] == pytest.approx([0, 0.2, 0.4, 0.4, 0.7, 0.7])
    assert (curve.quantile(0.4), curve.quantile(0.41), curve.answered, curve.longest) == (2, 4, pytest.approx(0.7), 4)


def test_there_is_no_quantile_beyond_what_was_answered() -> None:
    """Not made up from the time at which it was cut."""
    curve = Curve([Sample(0.1, True)] * 97 + [Sample(1.0, False)] * 3)
    assert curve.quantile(0.97) == 0.1
    assert curve.quantile(0.98) is None
    assert curve.interval(0.98) is None
    assert Curve([]).quantile(0.5) is None


@pytest.mark.parametrize("kind", ["whole", "cut", "weighted"])
def test_the_interval_holds_the_quantile(kind: str) -> None:
    """In about 95 of 100 samples, whether all is seen, some is cut off at random, or the fast ones are sampled."""
    dice, held, rounds = random.Random(3), 0, 60
    right = -math.log(0.05)
    for _ in range(rounds):
        drawn = [dice.expovariate(1) for _ in range(900)]
        if kind == "cut":
            ends = [dice.expovariate(0.2) for _ in drawn]
            curve = Curve(Sample(min(x, end), x <= end) for x, end in zip(drawn, ends, strict=True))
        elif kind == "weighted":
            curve = Curve(Sample(x, True, 1.0 if x > 2 else 5.0) for x in drawn if x > 2 or dice.random() < 0.2)
        else:
            curve = Curve(Sample(x, True) for x in drawn)
        bounds = curve.interval(0.95)
        assert bounds is not None
        held += bounds[0] <= right <= bounds[1]
    assert held >= 0.9 * rounds


def test_it_says_how_the_interval_was_found() -> None:
    """Order statistics where they are exact, Greenwood's errors where something was cut below the bound."""
    whole = Curve(Sample(float(i), True) for i in range(1, 101))
    assert whole.interval(0.5) == (40.0, 61.0, "order statistics")
    late = Curve([*(Sample(float(i), True) for i in range(1, 100)), Sample(100.0, False)])
    assert late.interval(0.5) == (40.0, 61.0, "order statistics")
    early = Curve([Sample(0.5, False), *(Sample(float(i), True) for i in range(1, 101))])
    bounds = early.interval(0.5)
    assert bounds is not None
    assert bounds[2] == "Kaplan-Meier, Greenwood's errors"
