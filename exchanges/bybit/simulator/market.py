"""The market's numbers: prices, books, trades, candles, rates, all as functions of an instrument and a time.

Nothing here knows HTTP or Bybit's field names. Times are seconds since the epoch (floats); prices and sizes are
`Decimal` on the instrument's tick and step, so that their digits are those that Bybit prints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from .catalog import Instrument
from .options import value
from .walk import drift, jitter

__all__ = ["Candle", "Level", "Trade", "book", "candle", "daily_volume", "funding_rate", "index_price", "long_share"]
__all__ += ["moment", "open_interest", "price", "raw_price", "trade", "trade_number"]

BOOK_STEP = 0.1
"""Seconds for which a book and the best prices stand still."""
TRADE_STEP = 0.5
"""Seconds: one trade falls in every slot of this length."""

# Streams of random numbers of one symbol, apart from the octaves of its walk (0 to 6).
_SIZES, _TRADES, _VOLUMES, _FUNDING, _RATIO, _INTEREST = range(100, 106)

Level = tuple[Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class Trade:
    """One public trade. `number` grows by one from trade to trade of a symbol."""

    number: int
    price: Decimal
    size: Decimal
    buy: bool
    time: float


@dataclass(frozen=True, slots=True)
class Candle:
    """One candle; `turnover` is in the quote coin, except in inverse contracts, where it is in the base coin."""

    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: float


def raw_price(one: Instrument, at: float) -> float:
    """The price before it is rounded to a tick."""
    spot = one.price * math.exp(drift(one.key, at))
    if one.strike:
        return value(spot, one.strike, one.delivery / 1000 - at, one.contract == "Call").price
    if one.delivery:  # a future is dearer than the perpetual by what the money costs until delivery
        spot *= 1 + 0.05 * max(one.delivery / 1000 - at, 0) / (365 * 86400)
    return spot


def index_price(one: Instrument, at: float) -> float:
    """The price of the underlying coin."""
    return one.price * math.exp(drift(one.key, at)) * 1.0003


def price(one: Instrument, at: float) -> Decimal:
    """The last price, on a tick, at least one tick."""
    return max(round(raw_price(one, at) / float(one.tick)), 1) * one.tick


def moment(at: float) -> float:
    """The start of the book step that `at` falls in: best prices are those of this moment."""
    return math.floor(at / BOOK_STEP) * BOOK_STEP


def book(one: Instrument, at: float, depth: int) -> tuple[list[Level], list[Level]]:
    """Bids (falling) and asks (rising), up to `depth` levels a side; the last price is the best bid."""
    step = math.floor(at / BOOK_STEP)
    best = int(price(one, moment(at)) / one.tick)
    bids = [(tick * one.tick, _size(one, step, tick)) for tick in range(best, max(best - depth, 0), -1)]
    asks = [(tick * one.tick, _size(one, step, tick)) for tick in range(best + 1, best + depth + 1)]
    return bids, asks


def _size(one: Instrument, step: int, tick: int) -> Decimal:
    return (1 + int(jitter(one.key, _SIZES, step, tick) ** 3 * 5000)) * one.step


def trade_number(at: float) -> int:
    """The number of the newest trade at `at`."""
    return math.floor(at / TRADE_STEP) - 1


def trade(one: Instrument, number: int) -> Trade:
    """The trade that fell in slot `number`."""
    draw = jitter(one.key, _TRADES, number)
    at = (number + draw) * TRADE_STEP
    size = (1 + int(jitter(one.key, _TRADES, number, 1) ** 4 * 2000)) * one.step
    return Trade(number, price(one, at), size, jitter(one.key, _TRADES, number, 2) < 0.5, at)


def daily_volume(one: Instrument, at: float) -> float:
    """What is traded in a day at the pace of `at`: in the base coin, in inverse contracts in the quote coin."""
    money = 5e7 * (0.5 + jitter(one.key, _VOLUMES, math.floor(at / 3600)))
    return money if one.category == "inverse" else money / one.price


def candle(one: Instrument, start: float, end: float, now: float) -> Candle:
    """The candle of [start, end); it is still open, and its close is the last price, when `now` lies within."""
    last = min(end, now)
    seen = [price(one, start + (last - start) * part / 3) for part in range(4)]
    volume = daily_volume(one, start) * (last - start) / 86400 * (0.5 + jitter(one.key, _VOLUMES, 1, int(start)))
    mean = float(seen[0] + seen[-1]) / 2
    turnover = volume / mean if one.category == "inverse" else volume * mean
    return Candle(seen[0], max(seen), min(seen), seen[-1], round(volume / float(one.step)) * one.step, turnover)


def funding_rate(one: Instrument, at: int) -> float:
    """The rate that is paid at `at` (ms, a funding time)."""
    return 0.0002 * (jitter(one.key, _FUNDING, at) - 0.3)


def long_share(one: Instrument, at: int) -> float:
    """The share of accounts that are long at `at` (ms)."""
    return 0.35 + 0.3 * jitter(one.key, _RATIO, at)


def open_interest(one: Instrument, at: int) -> float:
    """Contracts open at `at` (ms): in the base coin, in inverse contracts in the quote coin."""
    money = 2e8 * (0.9 + 0.2 * jitter(one.key, _INTEREST, at))
    return money if one.category == "inverse" else money / one.price
