"""The operations that answer with a series of values over time: account ratio, open interest, funding.

A value belongs to a whole period, so the same moment always has the same value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import market, params
from .catalog import Catalog
from .paging import time_cursor, time_from
from .replies import Refusal

__all__ = ["funding_rate_history", "long_short_ratio", "open_interest"]

_PERIODS = {"5min": 5, "15min": 15, "30min": 30, "1h": 60, "4h": 240, "1d": 1440}
_DERIVATIVES = ("linear", "inverse")
_KEPT = 30 * 86_400_000
"""How far back the ratio and open interest go, ms."""


def long_short_ratio(catalog: Catalog, query: Mapping[str, str], now: int) -> dict[str, Any]:
    """The shares of accounts that are long and short, newest first."""
    one = params.instrument(query, catalog, params.category(query, _DERIVATIVES))
    times, more = _times(query, _periods(query, "period"), now, most=500)
    rows = []
    for at in times:
        share = round(market.long_share(one, at) * 10_000)
        rows.append(
            {
                "symbol": one.symbol,
                "buyRatio": f"{share / 10_000:.4f}",
                "sellRatio": f"{(10_000 - share) / 10_000:.4f}",
                "timestamp": str(at),
            }
        )
    return {"list": rows, "nextPageCursor": time_cursor(times[-1]) if more else ""}


def open_interest(catalog: Catalog, query: Mapping[str, str], now: int) -> dict[str, Any]:
    """Open contracts, newest first."""
    category = params.category(query, _DERIVATIVES)
    one = params.instrument(query, catalog, category)
    times, more = _times(query, _periods(query, "intervalTime"), now, most=200)
    rows = [{"openInterest": f"{market.open_interest(one, at):.8f}", "timestamp": str(at)} for at in times]
    # In the recording of a request without times the cursor is empty though older rows exist.
    paged = more and any(query.get(name) for name in ("startTime", "endTime", "cursor"))
    return {
        "symbol": one.symbol,
        "category": category,
        "list": rows,
        "nextPageCursor": time_cursor(times[-1]) if paged else "",
    }


def funding_rate_history(catalog: Catalog, query: Mapping[str, str], now: int) -> dict[str, Any]:
    """Rates that were paid, newest first. A start without an end is refused, as Bybit documents."""
    category = params.category(query, _DERIVATIVES)
    one = params.instrument(query, catalog, category)
    first, last = params.window(query, "startTime", "endTime")
    if first is not None and last is None:
        raise Refusal(10001, "params error: endTime is required with startTime")
    size = params.limit(query, 200, 200)
    period = one.funding_minutes * 60_000
    times = range(0)
    if period:
        newest = (now if last is None else min(last, now)) // period * period
        times = range(newest, max(first or 0, one.launch) - 1, -period)[:size]
    rows = [
        {
            "symbol": one.symbol,
            "fundingRate": f"{market.funding_rate(one, at):.8f}",
            "fundingRateTimestamp": str(at),
        }
        for at in times
    ]
    return {"category": category, "list": rows}


def _periods(query: Mapping[str, str], name: str) -> int:
    return _PERIODS[params.choice(query, name, tuple(_PERIODS))] * 60_000


def _times(query: Mapping[str, str], period: int, now: int, most: int) -> tuple[range, bool]:
    """The period starts (ms) that one page holds, newest first, and whether older ones remain."""
    first, last = params.window(query, "startTime", "endTime")
    size = params.limit(query, most, 50)
    newest = now if last is None else min(last, now)
    if query.get("cursor"):
        newest = min(newest, time_from(query["cursor"]) - 1)
    oldest = max(first or 0, now - _KEPT)
    everything = range(newest // period * period, oldest - 1, -period)
    return everything[:size], len(everything) > size
