"""The regularised incomplete beta function, from which binomial and Student tails follow, and its inverse.

By the continued fraction of Abramowitz and Stegun, 26.5.8, evaluated as Lentz does; about 1e-12 accurate.
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["beta_quantile", "incomplete_beta", "student_quantile"]

_TINY = 1e-300
_STEPS = 100_000  # terms grow with the square root of the arguments: a million samples take some hundred


def incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b): the share of a beta distribution below `x`. `a` and `b` are above 0."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # there the fraction converges quickly for the other tail
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 / _apart(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _apart(1.0 + term * d)
            c = _apart(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return value


def _apart(value: float) -> float:
    """The same, but not zero."""
    return value if abs(value) > _TINY else _TINY


def beta_quantile(p: float, a: float, b: float) -> float:
    """The point below which a beta distribution has the share `p`."""
    return _inverse(lambda x: incomplete_beta(a, b, x), p, 0.0, 1.0)


def student_quantile(p: float, degrees: int) -> float:
    """The point below which Student's distribution with so many degrees of freedom has the share `p` (0.5 to 1)."""

    def below(t: float) -> float:
        return 1.0 - 0.5 * incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))

    most = 1.0
    while below(most) < p:
        most *= 2
    return _inverse(below, p, 0.0, most)


def _inverse(rising: Callable[[float], float], wanted: float, least: float, most: float) -> float:
    """Where a rising function passes a value, by bisection to the last bit that matters."""
    for _ in range(100):
        middle = (least + most) / 2
        if middle in (least, most):
            break
        if rising(middle) < wanted:
            least = middle
        else:
            most = middle
    return (least + most) / 2
