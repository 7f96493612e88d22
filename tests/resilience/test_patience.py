"""A measured delay: looked at now and then, with a cold start, a floor, and a memory of a minute."""

from __future__ import annotations

from resilience.hedging.patience import Patience


def fed(patience: Patience, seconds: float, number: int, at: float = 0.0) -> Patience:
    for _ in range(number):
        patience.add(seconds, at)
    return patience


def test_the_cold_start_lasts_until_the_quantile_means_something() -> None:
    """It is looked at every sixteen samples, and this one needs twenty: the second look is the first that tells."""
    patience = Patience(0.95, 3.0, 0.01)
    assert fed(patience, 0.5, 31).seconds == 3.0
    assert 0.5 <= fed(patience, 0.5, 1).seconds <= 0.55


def test_it_is_looked_at_every_sixteen_samples() -> None:
    """Not before, and again."""
    patience = Patience(0.5, 3.0, 0.01)
    assert fed(patience, 0.5, 15).seconds == 3.0
    assert 0.5 <= fed(patience, 0.5, 1).seconds <= 0.55
    assert 0.5 <= fed(patience, 9.0, 15).seconds <= 0.55
    assert 9.0 <= fed(patience, 9.0, 17).seconds <= 9.9


def test_after_a_long_pause_it_begins_anew() -> None:
    """What is older than a minute says nothing about now."""
    patience = fed(Patience(0.95, 3.0, 0.01), 0.5, 32)
    assert fed(patience, 0.5, 16, 1000.0).seconds == 3.0


def test_the_floor() -> None:
    """It bounds what is measured, not the cold start."""
    patience = Patience(0.5, 0.001, 0.2)
    assert patience.seconds == 0.001
    assert fed(patience, 0.01, 16).seconds == 0.2
