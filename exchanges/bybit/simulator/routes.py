"""The names of the simulated operations: what fault plans and request records call a method and path."""

from __future__ import annotations

__all__ = ["NAMES", "OPERATIONS"]

OPERATIONS = {
    ("GET", "/v5/market/time"): "time",
    ("GET", "/v5/market/tickers"): "ticker",
    ("GET", "/v5/market/orderbook"): "orderbook",
    ("GET", "/v5/market/recent-trade"): "trades",
    ("GET", "/v5/market/kline"): "ohlcv",
    ("GET", "/v5/market/instruments-info"): "markets",
    ("GET", "/v5/market/risk-limit"): "risk_limits",
    ("GET", "/v5/market/account-ratio"): "long_short_ratio",
    ("GET", "/v5/market/funding/history"): "funding_rate_history",
    ("GET", "/v5/market/open-interest"): "open_interest",
}
"""(method, path): operation. The current funding rate is part of the ticker and has no path of its own."""

NAMES = frozenset(OPERATIONS.values())
