"""The seeded random walk beneath every price.

It is a pure function of (seed, symbol, time): nothing is stored and nothing is advanced, so a candle of last month
stays the same however often it is asked for, and tickers, trades, books and candles agree with one another.
"""

from __future__ import annotations

from functools import lru_cache

__all__ = ["drift", "jitter"]

_MASK = (1 << 64) - 1
_SECOND_VOLATILITY = 7e-5  # of the logarithm of the price: about 2 % a day
# Sums of line segments between random points, each slower and wider than the last: self-similar, as a random walk is.
_OCTAVES = tuple((period, _SECOND_VOLATILITY * period**0.5) for period in (2.0, 16, 128, 1024, 8192, 65536, 524288))


def _mix(value: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def jitter(key: int, *parts: int) -> float:
    """A number in [0, 1) that depends on `key` and `parts` only."""
    value = key
    for part in parts:
        value = _mix(value ^ _mix(part & _MASK))
    return _mix(value) / 2**64


@lru_cache(maxsize=1 << 16)
def _lattice(key: int, octave: int, point: int) -> float:
    return 2 * jitter(key, octave, point) - 1


def drift(key: int, seconds: float) -> float:
    """How far the logarithm of a price has wandered from its base at `seconds` since the epoch."""
    total = 0.0
    for octave, (period, amplitude) in enumerate(_OCTAVES):
        point, rest = divmod(seconds, period)
        left = _lattice(key, octave, int(point))
        right = _lattice(key, octave, int(point) + 1)
        total += amplitude * (left + (right - left) * rest / period)
    return total
