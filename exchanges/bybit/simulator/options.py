"""What an option is worth: Black and Scholes (1973) with one flat volatility, no interest and no dividends.

Enough that prices fall with the strike, rise with the time left and agree with their greeks; not a volatility surface.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["VOLATILITY", "Valuation", "value"]

VOLATILITY = 0.55  # a year
_YEAR = 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Valuation:
    """Price in the quote coin and the greeks of one option; vega per point of volatility, theta per day."""

    price: float
    delta: float
    gamma: float
    vega: float
    theta: float


def value(spot: float, strike: float, seconds_left: float, call: bool) -> Valuation:
    """The worth of a European option. `seconds_left` below one minute counts as one minute."""
    years = max(seconds_left, 60.0) / _YEAR
    width = VOLATILITY * math.sqrt(years)
    upper = math.log(spot / strike) / width + width / 2
    density = math.exp(-upper * upper / 2) / math.sqrt(2 * math.pi)
    call_price = spot * _normal(upper) - strike * _normal(upper - width)
    price = call_price if call else call_price - spot + strike
    delta = _normal(upper) if call else _normal(upper) - 1
    vega = spot * density * math.sqrt(years)
    return Valuation(price, delta, density / (spot * width), vega / 100, -vega * VOLATILITY / (2 * years) / 365)


def _normal(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2
