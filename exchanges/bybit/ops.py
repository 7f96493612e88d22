"""The table of Bybit's public market endpoints: names, paths, categories, and Bybit's own words for timeframes.

Nothing here sends, waits or judges. Two operations share one name: a funding rate's history is routed, timed and
limited as ``funding_rate``, because for a user it is one operation with two answers.
Source: Bybit V5 documentation, section Market.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from resilience import Op

from ..usage import UsageError, one_of

__all__ = [
    "CATEGORIES",
    "ENDPOINTS",
    "HOSTS",
    "IP_LIMIT",
    "OPERATIONS",
    "PERIODS",
    "PUBLIC_PARAMS",
    "TIMEFRAMES",
    "Endpoint",
    "check_category",
    "check_count",
    "check_symbol",
    "query_string",
]

HOSTS = {
    "mainnet": "https://api.bybit.com",
    "testnet": "https://api-testnet.bybit.com",
    "demo": "https://api-demo.bybit.com",
}
"""Environment: REST address. National hosts exist; they are configured as `base_url`."""

IP_LIMIT = "600/5s"
"""HTTP requests from one IP address to all hosts together; above it, 403 for ten minutes. Bybit, "Rate Limit Rules"."""

CATEGORIES = ("spot", "linear", "inverse", "option")
_DERIVATIVES = ("linear", "inverse")
_WITH_CANDLES = ("spot", *_DERIVATIVES)

TIMEFRAMES = {
    "1m": "1", "3m": "3", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "2h": "120", "4h": "240", "6h": "360",
    "12h": "720", "1d": "D", "1w": "W", "1M": "M",
}  # fmt: skip
"""The names that ccxt's users know: Bybit's intervals."""

PERIODS = ("5min", "15min", "30min", "1h", "4h", "1d")
"""What the long/short ratio is collected over; Bybit's own names."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One public GET. `op` is what policies see, `categories` those that have the data."""

    op: Op
    path: str
    categories: tuple[str, ...] = CATEGORIES


def _read(name: str) -> Op:
    return Op(name, idempotent=True)


ENDPOINTS: Mapping[str, Endpoint] = {
    "ticker": Endpoint(_read("ticker"), "/v5/market/tickers"),
    "orderbook": Endpoint(_read("orderbook"), "/v5/market/orderbook"),
    "trades": Endpoint(_read("trades"), "/v5/market/recent-trade"),
    "ohlcv": Endpoint(_read("ohlcv"), "/v5/market/kline", _WITH_CANDLES),
    "markets": Endpoint(_read("markets"), "/v5/market/instruments-info"),
    "risk_limits": Endpoint(_read("risk_limits"), "/v5/market/risk-limit", _DERIVATIVES),
    "long_short_ratio": Endpoint(_read("long_short_ratio"), "/v5/market/account-ratio", _DERIVATIVES),
    "funding_rate": Endpoint(_read("funding_rate"), "/v5/market/tickers", _DERIVATIVES),
    "funding_rate_history": Endpoint(_read("funding_rate"), "/v5/market/funding/history", _DERIVATIVES),
    "time": Endpoint(_read("time"), "/v5/market/time"),
}

OPERATIONS = tuple(dict.fromkeys(endpoint.op.name for endpoint in ENDPOINTS.values()))
"""The names under which operations can be routed to pipelines and given timeouts."""

PUBLIC_PARAMS = frozenset(("category", "symbol", "interval", "period", "limit", "cursor", "start", "baseCoin"))
"""Query parameters that hold nothing secret: spans may show them."""

_SYMBOL = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)


def check_symbol(symbol: object) -> str:
    """The symbol, if it could be one; whether it exists is for the exchange to say. Raises `UsageError`."""
    if not isinstance(symbol, str) or _SYMBOL.fullmatch(symbol) is None:
        shown = str(symbol)[:40]
        raise UsageError(f"symbol {shown!r} cannot be one: write letters, digits and hyphens, such as BTCUSDT")
    return symbol


def check_category(endpoint: Endpoint, category: str) -> str:
    """The category, if the endpoint has data for it. Raises `UsageError`."""
    one_of("category", category, CATEGORIES)
    if category not in endpoint.categories:
        raise UsageError(f"{endpoint.op.name} has no data for {category}: choose {' or '.join(endpoint.categories)}")
    return category


def check_count(name: str, value: object, least: int) -> None:
    """Raise `UsageError` unless `value` is None or a whole number of at least `least`."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= least):
        return
    raise UsageError(f"{name} is {str(value)[:40]!r}, must be a whole number of at least {least}")


def query_string(params: Mapping[str, str | int | None]) -> str:
    """The bytes after the ``?``, which a signature would cover; parameters that are None are left out."""
    return "&".join(f"{name}={quote(str(value), safe='')}" for name, value in params.items() if value is not None)
