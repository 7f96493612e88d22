"""The work of a data collector: the eight operations over a few symbols, round after round."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..manager import ExchangeManager
from ..transport.naive import NaiveClient
from .tally import outcome_of

__all__ = ["SYMBOLS", "naive_paths", "operate", "operate_naively"]

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
_PAUSE = 0.05
_WORKERS = 6


def _operations(manager: ExchangeManager, symbol: str) -> list[tuple[str, Callable[[], Any]]]:
    return [
        ("ticker", lambda: manager.fetch_ticker("bybit", symbol)),
        ("orderbook", lambda: manager.fetch_order_book("bybit", symbol, limit=25)),
        ("trades", lambda: manager.fetch_trades("bybit", symbol, limit=60)),
        ("ohlcv", lambda: manager.fetch_ohlcv("bybit", symbol, "1h", limit=100)),
        ("markets", lambda: manager.fetch_markets("bybit", category="inverse")),
        ("risk_limits", lambda: manager.fetch_risk_limits("bybit", symbol)),
        ("long_short_ratio", lambda: manager.fetch_long_short_ratio("bybit", symbol, "1h", limit=50)),
        ("funding_rate", lambda: manager.fetch_funding_rate("bybit", symbol)),
    ]


def naive_paths(symbol: str) -> list[str]:
    """The same eight operations as plain URLs, for the client that has nothing but URLs."""
    one = f"category=linear&symbol={symbol}"
    return [
        f"/v5/market/tickers?{one}",
        f"/v5/market/orderbook?{one}&limit=25",
        f"/v5/market/recent-trade?{one}&limit=60",
        f"/v5/market/kline?{one}&interval=60&limit=100",
        "/v5/market/instruments-info?category=inverse",
        f"/v5/market/risk-limit?{one}",
        f"/v5/market/account-ratio?{one}&period=1h&limit=50",
        f"/v5/market/tickers?{one}",
    ]


async def operate(manager: ExchangeManager, seconds: float, pause: float = _PAUSE) -> Counter[str]:
    """Call for `seconds`; returns how often each outcome reached the caller."""
    outcomes: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds

    async def worker(number: int) -> None:
        calls = [pair for symbol in SYMBOLS for pair in _operations(manager, symbol)]
        for _, call in itertools.islice(itertools.cycle(calls), number, None):
            if loop.time() >= end:
                return
            try:
                await call()
                outcomes["ok"] += 1
            except Exception as exc:
                outcomes[outcome_of(exc)] += 1
            await asyncio.sleep(pause)

    async with asyncio.TaskGroup() as group:
        for number in range(_WORKERS):
            group.create_task(worker(number * 5))
    return outcomes


async def operate_naively(base_url: str, calls: int, timeout: float) -> Counter[str]:
    """The same mixture of requests by the client that is replaced: `calls` of them, as many at once."""
    client = NaiveClient(timeout)
    outcomes: Counter[str] = Counter()
    paths = [path for symbol in SYMBOLS for path in naive_paths(symbol)]
    numbers = iter(range(calls))

    async def worker() -> None:
        for number in numbers:
            outcomes[await client.get(base_url + paths[number % len(paths)])] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(_WORKERS):
            group.create_task(worker())
    return outcomes
