"""ExchangeManager: exchanges by name, each operation through the pipeline that a file gives it.

Nothing is opened when a manager is loaded: pipelines link, and sessions open, with the first call. All pipelines of one
manager share their pools, so one HTTP session serves every exchange and every pipeline that names it. What a file is
made into, and how that follows the file, is `exchanges.following`'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from os import PathLike, fspath
from types import TracebackType
from typing import Any, Self

from resilience import Pipeline
from resilience.events import Emit
from resilience.reload import Reload, Shadow, Source

from .bybit.rest import Bybit
from .config import Config, read_config
from .following import Following, overridden, parsed
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
from .usage import one_of

__all__ = ["ExchangeManager"]

BUILT_IN = "bybit.yaml"


class ExchangeManager:
    """Use it as ``async with ExchangeManager.load() as manager``; leaving the block closes every connection.

    Every operation takes the exchange's name first and raises `UsageError` for an argument that cannot work, `ApiError`
    where the exchange says no, `TransportError` where no sound answer came back, and `resilience.Refused` or
    `resilience.TimedOut` where the pipeline gave up. `category` is the configured one by default.
    """

    def __init__(self, config: Config, observers: Sequence[Emit] = (), following: Following | None = None) -> None:
        self._following = following or Following(config, observers)

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
        watch: bool = False,
        every: float = 0.5,
        sighup: bool = False,
    ) -> Self:
        """A manager for a file, or for the built-in Bybit configuration.

        `base_url`, `category` and `environment` override what the file says about one exchange: about `exchange`, which
        may be left out where there is only one. `observers` are told every event of every pipeline. With `watch`, the
        manager follows the file inside ``async with``: it looks every `every` seconds, and on SIGHUP if `sighup` asks
        for it. Raises `ConfigError` (its `problems` are all that is wrong with the file) and `UsageError`.
        """
        if path is None:
            with as_file(files("exchanges.bybit") / BUILT_IN) as built_in:
                path = fspath(built_in)
        source = Source(path)

        def read() -> Config:
            config = read_config(source.file)
            if base_url is not None or category is not None or environment is not None:
                config = overridden(config, exchange, base_url, category, environment)
            return config

        config, source.good = source.read(lambda: parsed(read()))
        watched = (every, sighup) if watch else None
        return cls(config, following=Following(config, observers, source, read, watched))

    # -- reloading --------------------------------------------------------------------------------------------

    def reload(self) -> Reload:
        """Read the file and the environment now, and follow them; call it in the event loop's thread.

        What has not changed keeps its state, and its session. A file that cannot be loaded changes nothing: the result
        is false then, and has the `error`, as ``status()["config"]`` does.
        """
        return self._following.reload()

    def shadow(self, path: str | PathLike[str]) -> Shadow:
        """Let the pipelines of another file judge the calls from here on, beside those in force; nothing is sent twice.

        Raises `ConfigError` for a file that cannot be loaded.
        """
        return self._following.shadow(fspath(path))

    # -- the operations ---------------------------------------------------------------------------------------

    def exchange(self, name: str) -> Bybit:
        """The adapter of one exchange. Raises `UsageError` for a name that is not configured."""
        exchanges = self._following.exchanges
        return exchanges[one_of("exchange", name, exchanges)]

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
        return self._following.pipelines

    def status(self) -> dict[str, Any]:
        """How everything stands now, as plain data: pools, breakers, limits, pipelines, and the configuration.

        The configuration: `file`, `loaded_at` (epoch seconds), and `error`, why what stands in the file now is not in
        force, or None.
        """
        return self._following.status()

    async def aclose(self) -> None:
        """Close all connections and hand over the last spans, for good: a later call raises `UsageError`."""
        await self._following.aclose()

    async def __aenter__(self) -> Self:
        await self._following.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
