"""Ticker rows in Bybit's field names.

The field sets of linear, inverse and spot rows are those of recorded replies; option rows follow Bybit's
documentation, for want of a recording. `simulatedField` stands for the fields that Bybit adds without notice.
"""

from __future__ import annotations

from . import market
from .catalog import Instrument
from .options import VOLATILITY, value

__all__ = ["next_funding", "row"]

_DAY = 86400.0
UNKNOWN_FIELD = {"simulatedField": "1"}


def row(one: Instrument, now: float) -> dict[str, str]:
    """The ticker of one instrument at `now` (seconds)."""
    if one.category == "spot":
        return _common(one, now) | {"usdIndexPrice": f"{market.index_price(one, now):.8f}"} | UNKNOWN_FIELD
    if one.category == "option":
        return _option(one, now)
    return _common(one, now) | _derivative(one, now) | UNKNOWN_FIELD


def next_funding(one: Instrument, now: float) -> int:
    """When funding is paid next (ms), 0 for what pays none."""
    if not one.funding_minutes:
        return 0
    period = one.funding_minutes * 60_000
    return (int(now * 1000) // period + 1) * period


def _common(one: Instrument, now: float) -> dict[str, str]:
    at = market.moment(now)
    bids, asks = market.book(one, now, 1)
    day = market.candle(one, at - _DAY, at, at)
    return {
        "symbol": one.symbol,
        "lastPrice": f"{day.close:f}",
        "bid1Price": f"{bids[0][0]:f}",
        "bid1Size": f"{bids[0][1]:f}",
        "ask1Price": f"{asks[0][0]:f}",
        "ask1Size": f"{asks[0][1]:f}",
        "prevPrice24h": f"{day.open:f}",
        "price24hPcnt": f"{float(day.close / day.open) - 1:.6f}",
        "highPrice24h": f"{day.high:f}",
        "lowPrice24h": f"{day.low:f}",
        "turnover24h": f"{day.turnover:.4f}",
        "volume24h": f"{day.volume:f}",
    }


def _derivative(one: Instrument, now: float) -> dict[str, str]:
    at = market.moment(now)
    mark = market.price(one, at)
    held = market.open_interest(one, int(now) // 300 * 300_000)
    worth = held / float(mark) if one.category == "inverse" else held * float(mark)
    funding = next_funding(one, now)
    digits = ".0f" if one.category == "inverse" else ".3f"
    return {
        "indexPrice": f"{market.index_price(one, at):.2f}" if mark > 100 else f"{market.index_price(one, at):.6f}",
        "markPrice": f"{mark:f}",
        "prevPrice1h": f"{market.price(one, at - 3600):f}",
        "openInterest": format(held, digits),
        "openInterestValue": f"{worth:.2f}",
        "singleOpenInterest": format(held / 2, digits),
        "singleOpenInterestValue": f"{worth / 2:.2f}",
        "fundingRate": f"{market.funding_rate(one, funding):.8f}" if funding else "",
        "nextFundingTime": str(funding),
        "fundingIntervalHour": str(one.funding_minutes // 60) if funding else "",
        "fundingCap": "0.005" if funding else "",
        "predictedDeliveryPrice": "",
        "basisRate": "",
        "basisRateYear": "",
        "basis": "",
        "deliveryFeeRate": "0" if one.delivery else "",
        "deliveryTime": str(one.delivery),
        "preOpenPrice": "",
        "preQty": "",
        "curPreListingPhase": "",
    }


def _option(one: Instrument, now: float) -> dict[str, str]:
    at = market.moment(now)
    common = _common(one, now)
    spot = market.index_price(one, at)
    worth = value(spot, one.strike, one.delivery / 1000 - at, one.contract == "Call")
    return {
        **{name: common[name] for name in ("symbol", "bid1Price", "bid1Size", "ask1Price", "ask1Size", "lastPrice")},
        **{name: common[name] for name in ("highPrice24h", "lowPrice24h", "volume24h", "turnover24h")},
        "bid1Iv": f"{VOLATILITY - 0.01:.4f}",
        "ask1Iv": f"{VOLATILITY + 0.01:.4f}",
        "markIv": f"{VOLATILITY:.4f}",
        "markPrice": f"{worth.price:.8f}",
        "indexPrice": f"{spot:.2f}",
        "underlyingPrice": f"{spot:.2f}",
        "openInterest": f"{market.open_interest(one, int(now) // 300 * 300_000) / 1000:.2f}",
        "totalVolume": common["volume24h"],
        "totalTurnover": common["turnover24h"],
        "delta": f"{worth.delta:.8f}",
        "gamma": f"{worth.gamma:.8f}",
        "vega": f"{worth.vega:.8f}",
        "theta": f"{worth.theta:.8f}",
        "predictedDeliveryPrice": "0",
        "change24h": common["price24hPcnt"],
        **UNKNOWN_FIELD,
    }
