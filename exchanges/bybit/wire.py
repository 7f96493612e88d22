"""Bybit's JSON as it travels: the envelope, pages of rows, and the rows with the fields that the records need.

Fields that are not listed are skipped by the decoder, whatever they hold: Bybit adds some without notice. Numbers
travel as text, and an empty text stands for "none". Rows stay undecoded (`msgspec.Raw`) in a page, so that a record can
keep its own row untouched.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Raw

__all__ = [
    "BookResult",
    "Envelope",
    "FundingRow",
    "InstrumentRow",
    "Malformed",
    "Page",
    "RatioRow",
    "RiskRow",
    "TickerRow",
    "TimeResult",
    "TradeRow",
    "decode",
]

T = TypeVar("T")

Text = str | None
Millis = Annotated[int, Meta(ge=0, le=253_402_300_799_000)]  # to the year 9999
Whole = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Malformed(ValueError):
    """The payload is not what Bybit's V5 sends. The text says where, and holds nothing of the payload."""


class Envelope(msgspec.Struct, frozen=True):
    """The five fields around every reply; `retExtInfo` matters to batches only."""

    code: Annotated[int, Meta(gt=-(10**7), lt=10**7)] = msgspec.field(name="retCode")
    result: Raw
    time: Millis
    text: Text = msgspec.field(name="retMsg", default="")


class Page(msgspec.Struct, frozen=True):
    """A result that is a list; `cursor` is None or empty on the last page."""

    rows: list[Raw] = msgspec.field(name="list")
    category: Text = None
    symbol: Text = None  # in candles, whose rows have no names
    cursor: Text = msgspec.field(name="nextPageCursor", default=None)


class BookResult(msgspec.Struct, frozen=True):
    """The result of an order book; `seq` is missing in older recordings."""

    symbol: str = msgspec.field(name="s")
    bids: list[tuple[str, str]] = msgspec.field(name="b")
    asks: list[tuple[str, str]] = msgspec.field(name="a")
    ts: Millis
    u: Whole
    seq: Whole | None = None


class TickerRow(msgspec.Struct, frozen=True, rename="camel"):
    """One row of tickers; which fields there are depends on the category."""

    symbol: str
    last_price: Text = None
    bid1_price: Text = None
    bid1_size: Text = None
    ask1_price: Text = None
    ask1_size: Text = None
    high: Text = msgspec.field(name="highPrice24h", default=None)
    low: Text = msgspec.field(name="lowPrice24h", default=None)
    volume: Text = msgspec.field(name="volume24h", default=None)
    turnover: Text = msgspec.field(name="turnover24h", default=None)
    mark_price: Text = None
    index_price: Text = None
    funding_rate: Text = None
    next_funding_time: Text = None


class TradeRow(msgspec.Struct, frozen=True, rename="camel"):
    exec_id: str
    symbol: str
    price: str
    size: str
    side: str
    time: str


class LotSizeFilter(msgspec.Struct, frozen=True, rename="camel"):
    """Spot has `basePrecision`, everything else `qtyStep`."""

    qty_step: Text = None
    base_precision: Text = None
    min_order_qty: Text = None
    max_order_qty: Text = None


class PriceFilter(msgspec.Struct, frozen=True, rename="camel"):
    tick_size: Text = None


class InstrumentRow(msgspec.Struct, frozen=True, rename="camel"):
    symbol: str
    status: str
    base_coin: str
    quote_coin: str
    lot_size_filter: LotSizeFilter
    price_filter: PriceFilter
    settle_coin: Text = None


class RiskRow(msgspec.Struct, frozen=True, rename="camel"):
    id: Whole
    symbol: str
    risk_limit_value: str
    maintenance_margin: Text = None
    initial_margin: Text = None
    max_leverage: Text = None


class RatioRow(msgspec.Struct, frozen=True, rename="camel"):
    symbol: str
    buy_ratio: str
    sell_ratio: str
    timestamp: str


class FundingRow(msgspec.Struct, frozen=True, rename="camel"):
    symbol: str
    funding_rate: str
    funding_rate_timestamp: str


class TimeResult(msgspec.Struct, frozen=True):
    nanos: str = msgspec.field(name="timeNano")


def decode(decoder: msgspec.json.Decoder[T], data: bytes | Raw) -> T:
    """What the decoder makes of `data`. Raises `Malformed`, whatever is wrong with it."""
    try:
        return decoder.decode(data)
    except RecursionError:
        raise Malformed("nested too deeply") from None
    except msgspec.ValidationError as exc:
        raise Malformed(str(exc)) from None
    except ValueError:
        raise Malformed("not JSON") from None
