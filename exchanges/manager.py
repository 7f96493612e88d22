"""ExchangeManager: exchanges by name, each operation through the pipeline that a file gives it.

Nothing is opened when a manager is loaded: pipelines link, and sessions open, with the first call. All pipelines of one
manager share their pools, so one HTTP session serves every exchange and every pipeline that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from os import PathLike, fspath
from types import TracebackType
from typing import Any, Self, get_args

from resilience import ConfigError, Pipeline
from resilience.config.load import settings_of, start_all
from resilience.events import Emit
from resilience.reload import Group, Reload, Shadow, Source, Watcher

from .assembly import assemble
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
from .sessions import Sessions
from .standing import standing
from .usage import UsageError, one_of

__all__ = ["ExchangeManager"]

BUILT_IN = "bybit.yaml"


class ExchangeManager:
    """Use it as ``async with ExchangeManager.load() as manager``; leaving the block closes every connection.

    Every operation takes the exchange's name first and raises `UsageError` for an argument that cannot work, `ApiError`
    where the exchange says no, `TransportError` where no sound answer came back, and `resilience.Refused` or
    `resilience.TimedOut` where the pipeline gave up. `category` is the configured one by default.
    """

    def __init__(
        self,
        config: Config,
        observers: Sequence[Emit] = (),
        *,
        source: Source | None = None,
        read: Callable[[], Config] | None = None,
        watch: tuple[float, bool] | None = None,
    ) -> None:
        """Use `load`, which says what all of this is; `read` reads the file anew, and `watch` how it is watched."""
        self._observers = tuple(observers)
        self._read = read
        self._shared: dict[str, Any] = {}
        self._made = assemble(config, {}, self._shared, self._observers)
        self._own = start_all(config.starts, self._made.pipelines.values())  # ours to close
        self._group = Group(source or Source(config.file), self._made.pipelines, self._shared)
        self._old_sessions: list[Sessions] = []
        self._exchanges: dict[str, Bybit] = {}
        self._set_up()
        self._watcher = None if watch is None else Watcher(self._group.source, self._prepare, self._take, *watch)

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
                config = _overridden(config, exchange, base_url, category, environment)
            return config

        config, source.good = source.read(read)
        return cls(config, observers, source=source, read=read, watch=(every, sighup) if watch else None)

    # -- reloading --------------------------------------------------------------------------------------------

    def reload(self) -> Reload:
        """Read the file and the environment now, and follow them; call it in the event loop's thread.

        What has not changed keeps its state, and its session. A file that cannot be loaded changes nothing: the result
        is false then, and has the `error`, as ``status()["config"]`` does.
        """
        try:
            return self._take(self._prepare())
        except ConfigError as error:
            return self._take(error)

    def shadow(self, path: str | PathLike[str]) -> Shadow:
        """Let the pipelines of another file judge the calls from here on, beside those in force; nothing is sent twice.

        Raises `ConfigError` for a file that cannot be loaded.
        """
        made = assemble(read_config(fspath(path)), {}, {}, ())
        return Shadow(self._group.pipelines, {name: pipeline.policies for name, pipeline in made.pipelines.items()})

    def _prepare(self) -> Any:
        """Read, check and build; touches nothing that is in use."""
        if self._read is None:
            raise ConfigError("this manager was not made of a file: make it with ExchangeManager.load")
        try:
            config, contents = self._group.source.read(self._read)
        except UsageError as error:  # an override that no longer fits, say of an exchange that has left the file
            raise ConfigError(str(error)) from error
        return assemble(config, self._made.sessions, {}, (*self._observers, *self._own)), contents

    def _take(self, prepared: Any) -> Reload:
        if isinstance(prepared, ConfigError):
            return self._group.refuse(prepared)
        made, contents = prepared
        before = self._made
        news = [*made.news(before)]
        if settings_of(made.config.starts) != settings_of(before.config.starts):
            news.append("telemetry and dashboard take effect at the next start")

        def then() -> None:
            self._made = made
            kept = set(map(id, made.sessions.values()))
            self._old_sessions += [sessions for sessions in before.sessions.values() if id(sessions) not in kept]
            self._set_up()

        return self._group.become(made.pipelines, contents, news, then)

    def _set_up(self) -> None:
        """Let each adapter send through the pipelines of the moment; one that somebody holds follows."""
        adapters = {}
        for name, (routes, arguments) in self._made.setups.items():
            pipelines = {operation: self._group.pipelines[pipeline] for operation, pipeline in routes.items()}
            adapter = self._exchanges.get(name)
            if adapter is None:
                adapter = Bybit(pipelines, **arguments)
            else:
                adapter.become(pipelines, **arguments)
            adapters[name] = adapter
        self._exchanges = adapters

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
        return tuple(self._group.pipelines.values())

    def status(self) -> dict[str, Any]:
        """How everything stands now, as plain data: pools, breakers, limits, pipelines, and the configuration.

        The configuration: `file`, `loaded_at` (epoch seconds), and `error`, why what stands in the file now is not in
        force, or None.
        """
        rows = standing(self.pipelines, self._shared, self._made.sessions)
        return {**rows, "config": self._group.status()}

    async def aclose(self) -> None:
        """Close all connections and hand over the last spans, for good: a later call raises `UsageError`."""
        if self._watcher is not None:
            await self._watcher.stop()
        for sessions in (*self._made.sessions.values(), *self._old_sessions):
            sessions.closed = True
        await self._group.aclose()
        for observer in self._own:
            close = getattr(observer, "aclose", None)
            if close is not None:
                await close()

    async def __aenter__(self) -> Self:
        for observer in self._own:
            start = getattr(observer, "start", None)  # the dashboard, which needs a running event loop
            if start is not None:
                await start()
        if self._watcher is not None:
            self._watcher.start()
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
