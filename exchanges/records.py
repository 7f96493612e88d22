"""The unified records: the same typed, frozen shapes for every exchange.

Money is `Decimal` with the digits as received, times are integer milliseconds since the epoch, and what the exchange
did not send (Bybit's empty string included) is None. The surprising part is `raw`: a record keeps the exchange's own
row as JSON text and decodes it only when asked, every time it is asked.
"""

from __future__ import annotations

import json
from decimal import Decimal
from math import isfinite
from typing import Any, Literal

import msgspec

from .errors import ExchangeError

__all__ = [
    "Candle",
    "FundingRate",
    "LongShortRatio",
    "Market",
    "OrderBook",
    "PastFundingRate",
    "Record",
    "RiskLimit",
    "Side",
    "Ticker",
    "Trade",
    "as_json",
]

Side = Literal["buy", "sell"]
Level = tuple[Decimal, Decimal]

_LONG_INT = 1000
"""Digits from which Python's `int` becomes slow, and at 4,300 refuses."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What all records share. `row` is the exchange's own row, as JSON text."""

    row: bytes

    @property
    def raw(self) -> Any:
        """The exchange's own row, decoded anew at each access: a dict, a candle's list, an order book's whole result.

        A JSON number that no float can hold stays text.
        Raises `ExchangeError` for a row that no decoder takes (thousands of nested brackets in a field of no use).
        """
        try:
            return _decoded(self.row)
        except (ValueError, RecursionError):
            raise ExchangeError("the exchange's own row cannot be decoded; its unified fields are sound") from None

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in _names(self))
        return f"{type(self).__name__}({', '.join(shown)})"


class Ticker(Record, frozen=True, kw_only=True):
    """The state of one symbol. `high`, `low` and the volumes are those of the last 24 hours.

    `base_volume` counts the base coin and `quote_volume` the quote coin, whatever the exchange calls them. `timestamp`
    is when the exchange answered. `bid_volume` and `ask_volume` are in the unit in which orders are placed.
    """

    symbol: str
    last: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    bid_volume: Decimal | None
    ask_volume: Decimal | None
    high: Decimal | None
    low: Decimal | None
    base_volume: Decimal | None
    quote_volume: Decimal | None
    mark: Decimal | None
    index: Decimal | None
    timestamp: int


class OrderBook(Record, frozen=True, kw_only=True):
    """Rows of (price, amount), the best first on both sides. `sequence` grows from one state to the next."""

    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    timestamp: int
    sequence: int


class Trade(Record, frozen=True, kw_only=True):
    """One public trade; `side` is that of the taker."""

    id: str
    symbol: str
    price: Decimal
    amount: Decimal
    side: Side
    timestamp: int


class Candle(Record, frozen=True, kw_only=True):
    """One candle; `timestamp` is its start. `volume` and `turnover` are in the units that the exchange sends."""

    timestamp: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal


class Market(Record, frozen=True, kw_only=True):
    """What can be traded, and in which steps. `status` is the exchange's own word; `settle` is None in spot markets."""

    symbol: str
    base: str
    quote: str
    settle: str | None
    category: str
    status: str
    tick_size: Decimal | None
    amount_step: Decimal | None
    min_amount: Decimal | None
    max_amount: Decimal | None


class RiskLimit(Record, frozen=True, kw_only=True):
    """One tier of a symbol: up to `limit` of position value these margins apply. Numbers as sent, not rescaled."""

    id: int
    symbol: str
    limit: Decimal
    maintenance_margin: Decimal | None
    initial_margin: Decimal | None
    max_leverage: Decimal | None


class LongShortRatio(Record, frozen=True, kw_only=True):
    """The shares of accounts that are long and short."""

    symbol: str
    buy_ratio: Decimal
    sell_ratio: Decimal
    timestamp: int


class FundingRate(Record, frozen=True, kw_only=True):
    """The rate that will be paid next; None in contracts that pay none (dated futures)."""

    symbol: str
    funding_rate: Decimal | None
    next_funding_timestamp: int | None


class PastFundingRate(FundingRate, frozen=True, kw_only=True):
    """A rate that was paid at `timestamp`; `next_funding_timestamp` is None."""

    timestamp: int


def as_json(record: Record) -> dict[str, Any]:
    """The record as plain JSON data, in the order of its fields, with `raw` at the end.

    Money becomes text with the digits as received, absent fields become None. Raises what `Record.raw` raises.
    """
    plain = {name: _plain(getattr(record, name)) for name in _names(record)}
    plain["raw"] = record.raw
    return plain


def _names(record: Record) -> tuple[str, ...]:
    return tuple(name for name in record.__struct_fields__ if name != "row")


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")  # str() would print 0.00000001 as 1E-8
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _decoded(row: bytes) -> Any:
    try:
        return msgspec.json.decode(row)
    except msgspec.DecodeError:  # a number out of all range, in a field that nobody reads
        return json.loads(row, parse_float=_float, parse_int=_int)


def _float(text: str) -> float | str:
    value = float(text)
    return value if isfinite(value) else text


def _int(text: str) -> int | str:
    return int(text) if len(text) < _LONG_INT else text
