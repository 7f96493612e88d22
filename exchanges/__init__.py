"""Crypto exchanges behind resilience pipelines: `ExchangeManager`, the unified records and the errors.

What costs an import (aiohttp, YAML) is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import ApiError, ExchangeError, TransportError
from .usage import UsageError

if TYPE_CHECKING:
    from .manager import ExchangeManager
    from .records import (
        Candle,
        FundingRate,
        LongShortRatio,
        Market,
        OrderBook,
        PastFundingRate,
        Record,
        RiskLimit,
        Ticker,
        Trade,
        as_json,
    )

__all__ = [
    "ApiError",
    "Candle",
    "ExchangeError",
    "ExchangeManager",
    "FundingRate",
    "LongShortRatio",
    "Market",
    "OrderBook",
    "PastFundingRate",
    "Record",
    "RiskLimit",
    "Ticker",
    "Trade",
    "TransportError",
    "UsageError",
    "as_json",
]

_EAGER = {"ApiError", "ExchangeError", "TransportError", "UsageError"}


def __getattr__(name: str) -> Any:
    if name not in __all__ or name in _EAGER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = ".manager" if name == "ExchangeManager" else ".records"
    value = getattr(import_module(module, __name__), name)
    globals()[name] = value
    return value
