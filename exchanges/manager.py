"""ExchangeManager: exchanges by name, each operation through the pipeline that a file gives it.

Nothing is opened when a manager is loaded: pipelines link, and sessions open, with the first call. All pipelines of one
manager share their pools, so one HTTP session serves every exchange and every pipeline that names it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from os import PathLike, fspath
from types import TracebackType
from typing import Any, Self, get_args

from resilience import ConfigError, Pipeline
from resilience.config import build_pipelines
from resilience.config.load import start_all
from resilience.events import Emit

from .bybit.codes import classify
from .bybit.ops import CATEGORIES
from .bybit.rest import Bybit
from .config import Config, Environment, read_config
from .records import (
    Candle,
    FundingRate,
    LongShortRatio,
    Market,
    OrderBook,
    PastFundingRate,
    RiskLimit,
    Ticker,
    Trade,
)
from .sessions import Sessions, broken
from .standing import standing
from .usage import one_of

__all__ = ["ExchangeManager"]

BUILT_IN = "bybit.yaml"


class ExchangeManager:
    """Use it as ``async with ExchangeManager.load() as manager``; leaving the block closes every connection.

    Every operation takes the exchange's name first and raises `UsageError` for an argument that cannot work, `ApiError`
    where the exchange says no, `TransportError` where no sound answer came back, and `resilience.Refused` or
    `resilience.TimedOut` where the pipeline gave up. `category` is the configured one by default.
    """

    def __init__(self, config: Config, observers: Sequence[Emit] = ()) -> None:
        self._config = config
        self._loaded_at = time.time()
        self._shared: dict[str, Any] = {}
        self._sessions = {name: Sessions(settings) for name, settings in config.resources.items()}
        self._pipelines: list[Pipeline] = []
        self._exchanges: dict[str, Bybit] = {}
        for name, settings in config.exchanges.items():
            self._exchanges[name] = self._make(name, settings, observers)
        self._own = start_all(config.starts, self._pipelines)  # ours to close

    @classmethod
    def load(
        cls,
        path: str | PathLike[str] | None = None,
        *,
        exchange: str | None = None,
        base_url: str | None = None,
        category: str | None = None,
        environment: str | None = None,
        observers: Sequence[Emit] = (),
    ) -> Self:
        """A manager for a file, or for the built-in Bybit configuration.

        `base_url`, `category` and `environment` override what the file says about one exchange: about `exchange`, which
        may be left out where there is only one. `observers` are told every event of every pipeline. Raises
        `ConfigError` (its `problems` are all that is wrong with the file) and `UsageError`.
        """
        if path is None:
            with as_file(files("exchanges.bybit") / BUILT_IN) as built_in:
                config = read_config(fspath(built_in))
        else:
            config = read_config(fspath(path))
        if base_url is not None or category is not None or environment is not None:
            config = _overridden(config, exchange, base_url, category, environment)
        return cls(config, observers)

    def _make(self, name: str, settings: Any, observers: Sequence[Emit]) -> Bybit:
        guards = self._config.guards[name]
        pipelines = build_pipelines(
            guards.pipelines,
            resources={key: {"open": sessions.open, "broken": broken} for key, sessions in self._sessions.items()},
            classify=classify,
            shared=self._shared,
            scope=name,
            prefix=f"{name}.",
            observers=observers,
        )
        self._pipelines += pipelines.values()
        try:  # only now: what `load` was given may stand in for what the file lacks
            address = settings.address()
        except ConfigError as exc:
            raise self._config.places[name].error(str(exc)) from None
        return Bybit(
            {operation: pipelines[pipeline] for operation, pipeline in guards.routes.items()},
            base_url=address,
            category=settings.category,
            rules=settings.rules,
            encode_cursor=settings.encode_cursor,
        )

    # -- the operations ---------------------------------------------------------------------------------------

    def exchange(self, name: str) -> Bybit:
        """The adapter of one exchange. Raises `UsageError` for a name that is not configured."""
        return self._exchanges[one_of("exchange", name, self._exchanges)]

    async def fetch_ticker(self, exchange: str, symbol: str, *, category: str | None = None) -> Ticker:
        """Last price, best prices and the day's range of one symbol."""
        return await self.exchange(exchange).fetch_ticker(symbol, category=category)

    async def fetch_order_book(
        self, exchange: str, symbol: str, limit: int | None = None, *, category: str | None = None
    ) -> OrderBook:
        """The best `limit` levels on each side."""
        return await self.exchange(exchange).fetch_order_book(symbol, limit, category=category)

    async def fetch_trades(
        self, exchange: str, symbol: str, limit: int | None = None, *, category: str | None = None
    ) -> list[Trade]:
        """The latest public trades, newest first."""
        return await self.exchange(exchange).fetch_trades(symbol, limit, category=category)

    async def fetch_ohlcv(
        self,
        exchange: str,
        symbol: str,
        timeframe: str = "1h",
        limit: int | None = None,
        *,
        since: int | None = None,
        category: str | None = None,
    ) -> list[Candle]:
        """Candles, oldest first: the latest, or those from `since` (ms) on."""
        return await self.exchange(exchange).fetch_ohlcv(symbol, timeframe, limit, since=since, category=category)

    async def fetch_markets(
        self, exchange: str, *, base: str | None = None, category: str | None = None
    ) -> list[Market]:
        """Everything that trades in the category, from all pages; `base` narrows it to one base coin."""
        return await self.exchange(exchange).fetch_markets(base=base, category=category)

    async def fetch_risk_limits(
        self, exchange: str, symbol: str | None = None, *, category: str | None = None
    ) -> list[RiskLimit]:
        """The tiers of one symbol, or of all symbols from all pages."""
        return await self.exchange(exchange).fetch_risk_limits(symbol, category=category)

    async def fetch_long_short_ratio(
        self, exchange: str, symbol: str, period: str = "1h", limit: int | None = None, *, category: str | None = None
    ) -> list[LongShortRatio]:
        """Shares of long and short accounts, newest first."""
        return await self.exchange(exchange).fetch_long_short_ratio(symbol, period, limit, category=category)

    async def fetch_funding_rate(self, exchange: str, symbol: str, *, category: str | None = None) -> FundingRate:
        """The rate that is paid next, and when."""
        return await self.exchange(exchange).fetch_funding_rate(symbol, category=category)

    async def fetch_funding_rate_history(
        self, exchange: str, symbol: str, limit: int | None = None, *, category: str | None = None
    ) -> list[PastFundingRate]:
        """The rates that were paid last, newest first."""
        return await self.exchange(exchange).fetch_funding_rate_history(symbol, limit, category=category)

    # -- how it stands, and the end ---------------------------------------------------------------------------

    @property
    def pipelines(self) -> tuple[Pipeline, ...]:
        """The pipelines of all exchanges, for those who observe them."""
        return tuple(self._pipelines)

    def status(self) -> dict[str, Any]:
        """How everything stands now, as plain data: pools, breakers, limits, pipelines, and the configuration."""
        config = {"file": self._config.file, "loaded_at": self._loaded_at, "error": None}
        return {**standing(self._pipelines, self._shared, self._sessions), "config": config}

    async def aclose(self) -> None:
        """Close all connections and hand over the last spans, for good: a later call raises `UsageError`."""
        for sessions in self._sessions.values():
            sessions.closed = True
        for pipeline in self._pipelines:
            await pipeline.aclose()
        for observer in self._own:
            close = getattr(observer, "aclose", None)
            if close is not None:
                await close()

    async def __aenter__(self) -> Self:
        for observer in self._own:
            start = getattr(observer, "start", None)  # the dashboard, which needs a running event loop
            if start is not None:
                await start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _overridden(
    config: Config, exchange: str | None, base_url: str | None, category: str | None, environment: str | None
) -> Config:
    """The configuration with the caller's word in place of the file's, for one exchange."""
    names = list(config.exchanges)
    if exchange is None and len(names) > 1:
        raise ConfigError(f"several exchanges are configured: say which is meant with exchange= ({', '.join(names)})")
    name = names[0] if exchange is None else one_of("exchange", exchange, names)
    changes: dict[str, Any] = {}
    if environment is not None:
        changes = {"environment": one_of("environment", environment, get_args(Environment)), "base_url": None}
    if base_url is not None:
        changes["base_url"] = base_url
    if category is not None:
        changes["category"] = one_of("category", category, CATEGORIES)
    settings: Mapping[str, Any] = {**config.exchanges, name: replace(config.exchanges[name], **changes)}
    return replace(config, exchanges=settings)
