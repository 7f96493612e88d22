"""Bybit's results become unified records: one function per operation, from the `result` of a sound envelope.

Strict where it matters: a number that is none, a row about another symbol than the one asked for, or a missing key is
`Malformed`, never a value. Inverse contracts are the trap: their `volume24h` counts the quote coin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
from msgspec import Raw
from msgspec.json import Decoder

from .. import records
from ..records import Side
from . import wire
from .scalars import maybe, millis, number
from .wire import Malformed, decode

__all__ = ["Asked", "Rows", "book", "candles", "funding", "markets", "past_funding", "ratios", "risk_limits"]
__all__ += ["server_time", "ticker", "trades"]

T = TypeVar("T")
R = TypeVar("R", bound=msgspec.Struct)

_SIDES: dict[str, Side] = {"Buy": "buy", "Sell": "sell"}
_CANDLE_FIELDS = 7

_page = Decoder(wire.Page)
_book = Decoder(wire.BookResult)
_ticker = Decoder(wire.TickerRow)
_trade = Decoder(wire.TradeRow)
_candle = Decoder(list[str])
_instrument = Decoder(wire.InstrumentRow)
_risk = Decoder(wire.RiskRow)
_ratio = Decoder(wire.RatioRow)
_past = Decoder(wire.FundingRow)
_time = Decoder(wire.TimeResult)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the request was about: an answer about anything else is no answer. `symbol` is None where all are meant."""

    category: str
    symbol: str | None = None


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """The records of one page, and the cursor of the next, "" on the last one."""

    records: list[T]
    cursor: str = ""


def ticker(asked: Asked, result: Raw, time: int) -> records.Ticker:
    """The ticker of the symbol that was asked for; `time` (ms) is the envelope's."""
    raw, row = _row_of(asked, result)
    base, quote = row.volume, row.turnover
    if asked.category == "inverse":  # contracts are counted in the quote coin
        base, quote = quote, base
    return records.Ticker(
        row=bytes(raw),
        symbol=row.symbol,
        last=maybe(row.last_price),
        bid=maybe(row.bid1_price),
        ask=maybe(row.ask1_price),
        bid_volume=maybe(row.bid1_size),
        ask_volume=maybe(row.ask1_size),
        high=maybe(row.high),
        low=maybe(row.low),
        base_volume=maybe(base),
        quote_volume=maybe(quote),
        mark=maybe(row.mark_price),
        index=maybe(row.index_price),
        timestamp=time,
    )


def funding(asked: Asked, result: Raw, time: int) -> records.FundingRate:
    """The current funding rate, which is part of the ticker. A next time of 0 means that none is due."""
    raw, row = _row_of(asked, result)
    due = millis(row.next_funding_time) if row.next_funding_time else 0
    return records.FundingRate(
        row=bytes(raw),
        symbol=row.symbol,
        funding_rate=maybe(row.funding_rate),
        next_funding_timestamp=due or None,
    )


def book(asked: Asked, result: Raw, time: int) -> records.OrderBook:
    found = decode(_book, result)
    if found.symbol != asked.symbol:
        raise Malformed("the answer is about another symbol")
    return records.OrderBook(
        row=bytes(result),
        symbol=found.symbol,
        bids=tuple((number(price), number(amount)) for price, amount in found.bids),
        asks=tuple((number(price), number(amount)) for price, amount in found.asks),
        timestamp=found.ts,
        sequence=found.u if found.seq is None else found.seq,
    )


def trades(asked: Asked, result: Raw, time: int) -> list[records.Trade]:
    """Newest first, as sent."""

    def build(raw: Raw, row: wire.TradeRow) -> records.Trade:
        if row.side not in _SIDES or not row.exec_id:
            raise Malformed("a trade has no side or no id")
        return records.Trade(
            row=bytes(raw),
            id=row.exec_id,
            symbol=row.symbol,
            price=number(row.price),
            amount=number(row.size),
            side=_SIDES[row.side],
            timestamp=millis(row.time),
        )

    return _rows(asked, result, _trade, build).records


def candles(asked: Asked, result: Raw, time: int) -> list[records.Candle]:
    """Oldest first; Bybit sends the newest first."""
    page = _open(asked, result)
    if page.symbol and page.symbol != asked.symbol:
        raise Malformed("the answer is about another symbol")
    found = []
    for raw in page.rows:
        row = decode(_candle, raw)
        if len(row) < _CANDLE_FIELDS:
            raise Malformed(f"a candle has {len(row)} fields, not {_CANDLE_FIELDS}")
        start, (first, high, low, last, volume, turnover) = row[0], map(number, row[1:_CANDLE_FIELDS])
        found.append(
            records.Candle(
                row=bytes(raw), timestamp=millis(start), open=first, high=high, low=low, close=last, volume=volume,
                turnover=turnover,
            )
        )  # fmt: skip
    return sorted(found, key=lambda candle: candle.timestamp)


def markets(asked: Asked, result: Raw, time: int) -> Rows[records.Market]:
    def build(raw: Raw, row: wire.InstrumentRow) -> records.Market:
        lot = row.lot_size_filter
        return records.Market(
            row=bytes(raw),
            symbol=row.symbol,
            base=row.base_coin,
            quote=row.quote_coin,
            settle=row.settle_coin or None,
            category=asked.category,
            status=row.status,
            tick_size=maybe(row.price_filter.tick_size),
            amount_step=maybe(lot.base_precision if asked.category == "spot" else lot.qty_step),
            min_amount=maybe(lot.min_order_qty),
            max_amount=maybe(lot.max_order_qty),
        )

    return _rows(asked, result, _instrument, build)


def risk_limits(asked: Asked, result: Raw, time: int) -> Rows[records.RiskLimit]:
    def build(raw: Raw, row: wire.RiskRow) -> records.RiskLimit:
        return records.RiskLimit(
            row=bytes(raw),
            id=row.id,
            symbol=row.symbol,
            limit=number(row.risk_limit_value),
            maintenance_margin=maybe(row.maintenance_margin),
            initial_margin=maybe(row.initial_margin),
            max_leverage=maybe(row.max_leverage),
        )

    return _rows(asked, result, _risk, build)


def ratios(asked: Asked, result: Raw, time: int) -> list[records.LongShortRatio]:
    """Newest first, as sent."""

    def build(raw: Raw, row: wire.RatioRow) -> records.LongShortRatio:
        return records.LongShortRatio(
            row=bytes(raw),
            symbol=row.symbol,
            buy_ratio=number(row.buy_ratio),
            sell_ratio=number(row.sell_ratio),
            timestamp=millis(row.timestamp),
        )

    return _rows(asked, result, _ratio, build).records


def past_funding(asked: Asked, result: Raw, time: int) -> list[records.PastFundingRate]:
    """Newest first, as sent."""

    def build(raw: Raw, row: wire.FundingRow) -> records.PastFundingRate:
        return records.PastFundingRate(
            row=bytes(raw),
            symbol=row.symbol,
            funding_rate=number(row.funding_rate),
            next_funding_timestamp=None,
            timestamp=millis(row.funding_rate_timestamp),
        )

    return _rows(asked, result, _past, build).records


def server_time(asked: Asked, result: Raw, time: int) -> int:
    """Milliseconds since the epoch on Bybit's clock, with the digits of its nanoseconds dropped."""
    nanos = decode(_time, result).nanos
    if not nanos.isascii() or not nanos.isdecimal() or len(nanos) > 20:
        raise Malformed("timeNano is no number")
    return int(nanos) // 1_000_000


def _row_of(asked: Asked, result: Raw) -> tuple[Raw, wire.TickerRow]:
    """The one row about the symbol that was asked for."""
    for raw in _open(asked, result).rows:
        row = decode(_ticker, raw)
        if row.symbol == asked.symbol:
            return raw, row
    raise Malformed("the answer is about another symbol")


def _open(asked: Asked, result: Raw) -> wire.Page:
    page = decode(_page, result)
    if page.category and asked.category != page.category:  # Bybit may leave it empty
        raise Malformed("the answer is about another category")
    return page


def _rows(asked: Asked, result: Raw, decoder: Decoder[R], build: Callable[[Raw, R], T]) -> Rows[T]:
    page = _open(asked, result)
    found = []
    for raw in page.rows:
        row = decode(decoder, raw)
        if asked.symbol is not None and row.symbol != asked.symbol:  # type: ignore[attr-defined]  # all rows have one
            raise Malformed("the answer is about another symbol")
        found.append(build(raw, row))
    return Rows(found, page.cursor or "")
