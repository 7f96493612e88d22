"""The simulated exchange: Bybit's public market endpoints over the moving market.

`routes.py` maps a method and path to a name, the table at the end maps a name to a function. An operation takes
(catalog, query, now in ms) and returns the `result` of the envelope, or raises `Refusal`. Reading changes nothing:
the same request at the same time has the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from . import candles, history, listings, market, params, tickers
from .catalog import Catalog, Instrument
from .paging import page_of_symbols
from .replies import Refusal, Reply, Request, bad_parameter, envelope, not_found, refused
from .routes import OPERATIONS

__all__ = ["MarketExchange"]

Query = Mapping[str, str]
_DERIVATIVES = ("linear", "inverse")
_RISK_SYMBOLS = 15
_UUID_PART = 0xFFFFFFFFFFFF


class MarketExchange:
    """Answers market-data requests from a simulated market; `seed` decides its prices, `now` (s) what is listed."""

    def __init__(self, seed: int, now: float) -> None:
        self.catalog = Catalog(seed, now)

    def answer(self, request: Request, now_ms: int) -> Reply:
        """Bybit's reply to `request` at `now_ms`."""
        operation = _OPERATIONS.get(OPERATIONS.get((request.method, request.path), ""))
        if operation is None:
            return not_found(now_ms)
        try:
            return Reply(200, envelope(operation(self.catalog, request.query, now_ms), now_ms))
        except Refusal as refusal:
            return refused(refusal, now_ms)


def _time(catalog: Catalog, query: Query, now: int) -> dict[str, Any]:
    return {"timeSecond": str(now // 1000), "timeNano": str(now * 1_000_000)}


def _ticker(catalog: Catalog, query: Query, now: int) -> dict[str, Any]:
    category = params.category(query)
    if query.get("symbol"):
        listed = [params.instrument(query, catalog, category)]
    else:
        if category == "option" and not query.get("baseCoin"):
            raise bad_parameter("symbol")
        listed = _trading(catalog, category, query.get("baseCoin", "") if category == "option" else "")
    return {"category": category, "list": [tickers.row(one, now / 1000) for one in listed]}


def _orderbook(catalog: Catalog, query: Query, now: int) -> dict[str, Any]:
    category = params.category(query)
    one = params.instrument(query, catalog, category)
    most, default = (25, 1) if category == "option" else (1000, 1 if category == "spot" else 25)
    bids, asks = market.book(one, now / 1000, params.limit(query, most, default))
    update = int(now / 1000 / market.BOOK_STEP) % 10**9
    return {
        "s": one.symbol,
        "b": [[_plain(price), _plain(size)] for price, size in bids],
        "a": [[_plain(price), _plain(size)] for price, size in asks],
        "ts": now,
        "u": update,
        "seq": update * 100 + one.number,
        "cts": now - 3,
    }


def _trades(catalog: Catalog, query: Query, now: int) -> dict[str, Any]:
    category = params.category(query)
    # A recorded spot request with limit=1000 was answered although 60 is the documented most: cut, not refused.
    wanted = params.limit(query, 1000, 60 if category == "spot" else 500)
    if category == "option" and not query.get("symbol"):
        listed = _trading(catalog, category, query.get("baseCoin") or "BTC")
        if query.get("optionType"):
            side = params.choice(query, "optionType", ("Call", "Put"))
            listed = [one for one in listed if one.contract == side]
        if not listed:
            raise bad_parameter("baseCoin")
    else:
        listed = [params.instrument(query, catalog, category)]
    newest = market.trade_number(now / 1000)
    rows = [
        _trade_row(listed[number % len(listed)], number)
        for number in range(newest, newest - min(wanted, 60 if category == "spot" else 1000), -1)
    ]
    # Recorded on mainnet in June 2026: the category of this one reply may be the empty string.
    return {"category": "" if category == "linear" else category, "list": rows}


def _trade_row(one: Instrument, number: int) -> dict[str, Any]:
    trade = market.trade(one, number)
    if one.category == "spot":
        identity = str(2_100_000_000_000_000_000 + number)
    else:
        identity = f"{one.number:08x}-0000-5000-8000-{number & _UUID_PART:012x}"
    return {
        "execId": identity,
        "symbol": one.symbol,
        "price": f"{trade.price:f}",
        "size": f"{trade.size:f}",
        "side": "Buy" if trade.buy else "Sell",
        "time": str(int(trade.time * 1000)),
        "isBlockTrade": False,
        "isRPITrade": False,
        "seq": str(number),
    }


def _ohlcv(catalog: Catalog, query: Query, now: int) -> dict[str, Any]:
    category = params.category(query, ("spot", "linear", "inverse"), "linear")
    one = params.instrument(query, catalog, category)
    interval = params.choice(query, "interval", candles.INTERVALS)
    first, last = params.window(query, "start", "end")
    limit = params.limit(query, 1000, 200)
    rows = []
    for start, end in candles.starts(interval, first, last, limit, launch=one.launch, now=now):
        found = market.candle(one, start / 1000, end / 1000, now / 1000)
        prices = [_plain(price) for price in (found.open, found.high, found.low, found.close)]
        digits = ".8f" if category == "inverse" else ".4f"
        rows.append([str(start), *prices, _plain(found.volume), _plain(Decimal(format(found.turnover, digits)))])
    return {"symbol": one.symbol, "category": category, "list": rows}


def _markets(catalog: Catalog, query: Query, now: int) -> dict[str, Any]:
    category = params.category(query)
    status, base = query.get("status") or "Trading", query.get("baseCoin", "")
    size = params.limit(query, 1000, 500)
    if query.get("symbol"):
        listed = [params.instrument(query, catalog, category)]
    else:
        base = base or ("BTC" if category == "option" else "")
        listed = [one for one in catalog.all(category) if one.status == status and base in ("", one.base)]
    if category == "spot":  # never pages, and has no cursor in its reply
        return {"category": category, "list": [listings.instrument_row(one) for one in listed]}
    page, cursor = page_of_symbols(listed, size, query.get("cursor", ""))
    rows = [listings.instrument_row(one) for one in page]
    return {"category": category, "list": rows, "nextPageCursor": cursor}


def _risk_limits(catalog: Catalog, query: Query, now: int) -> dict[str, Any]:
    category = params.category(query, _DERIVATIVES)
    listed = [params.instrument(query, catalog, category)] if query.get("symbol") else _trading(catalog, category)
    size = _RISK_SYMBOLS if category == "linear" else len(listed)
    page, cursor = page_of_symbols(listed, size, query.get("cursor", ""))
    rows = [row for one in page for row in listings.risk_rows(one)]
    return {"category": category, "list": rows, "nextPageCursor": cursor}


def _trading(catalog: Catalog, category: str, base: str = "") -> list[Instrument]:
    return [one for one in catalog.all(category) if one.status == "Trading" and base in ("", one.base)]


def _plain(number: Decimal) -> str:
    """Without the zeros at the end, as in books and candles (tickers keep them)."""
    return format(number.normalize(), "f")


_OPERATIONS: dict[str, Callable[[Catalog, Query, int], dict[str, Any]]] = {
    "time": _time,
    "ticker": _ticker,
    "orderbook": _orderbook,
    "trades": _trades,
    "ohlcv": _ohlcv,
    "markets": _markets,
    "risk_limits": _risk_limits,
    "long_short_ratio": history.long_short_ratio,
    "funding_rate_history": history.funding_rate_history,
    "open_interest": history.open_interest,
}
