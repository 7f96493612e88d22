"""What a manager is made of, and how that follows its file: adapters, pipelines, sessions, and those who observe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from resilience import ConfigError, Pipeline
from resilience.config.load import settings_of, start_all
from resilience.events import Emit
from resilience.reload import RESTART, Group, Reload, Shadow, Source, Warned, Watcher

from .assembly import Assembly, assemble
from .bybit.ops import CATEGORIES
from .bybit.rest import Bybit
from .config import Config, Environment, read_config
from .sessions import Sessions
from .standing import standing
from .usage import UsageError, one_of

__all__ = ["Following", "overridden", "parsed"]


class Following:
    """All that one configuration became, and becomes. `exchanges` are the adapters by name.

    `read` reads the file of `source` anew (None: there is none); `watch` says how often to look, and whether on SIGHUP.
    """

    def __init__(
        self,
        config: Config,
        observers: Sequence[Emit],
        source: Source | None = None,
        read: Callable[[], Config] | None = None,
        watch: tuple[float, bool] | None = None,
    ) -> None:
        self._observers = tuple(observers)
        self._read = read
        self._shared: dict[str, Any] = {}
        self.made = assemble(config, {}, self._shared, self._observers)
        self._started = settings_of(config.starts)
        self._own = start_all(config.starts, self.made.pipelines.values())  # ours to close
        self._group = Group(source or Source(config.file), self.made.pipelines, self._shared)
        self._old_sessions: list[Sessions] = []
        self.exchanges: dict[str, Bybit] = {}
        self._set_up()
        self._warned = Warned(self._group.source.file)
        self._watcher = (
            None if watch is None else Watcher(self._group.source, self._prepare, self._take, *watch, self._warned.tell)
        )

    @property
    def pipelines(self) -> tuple[Pipeline, ...]:
        return tuple(self._group.pipelines.values())

    def reload(self) -> Reload:
        """Read, check, build and swap, or leave everything as it is."""
        try:
            outcome = self._take(self._prepare())
        except ConfigError as error:
            outcome = self._take(error)
        if outcome:
            self._warned.tell()
        return outcome

    def shadow(self, path: str) -> Shadow:
        """The pipelines of another file as judges. Raises `ConfigError`."""
        made = assemble(read_config(path), {}, {}, ())
        policies = {name: pipeline.policies for name, pipeline in made.pipelines.items()}
        return Shadow(self._group.pipelines, policies, self._rerouted(made))

    def _rerouted(self, made: Assembly) -> dict[tuple[str, str], str]:
        """The pipeline that each operation would go through, by the one that it goes through now."""
        return {
            (pipeline, operation): made.setups[name][0][operation]
            for name, (routes, _) in self.made.setups.items()
            if name in made.setups
            for operation, pipeline in routes.items()
        }

    def status(self) -> dict[str, Any]:
        rows = standing(self.pipelines, self._shared, self.made.sessions)
        return {**rows, "config": self._group.status()}

    async def start(self) -> None:
        """What needs a running event loop: the dashboard, the watching."""
        for observer in self._own:
            start = getattr(observer, "start", None)
            if start is not None:
                await start()
        if self._watcher is not None:
            self._watcher.start()

    async def aclose(self) -> None:
        """End the watching, close every session of every version, and let those who observe hand over."""
        if self._watcher is not None:
            await self._watcher.stop()
        for sessions in (*self.made.sessions.values(), *self._old_sessions):
            sessions.closed = True
        await self._group.aclose()
        for observer in self._own:
            close = getattr(observer, "aclose", None)
            if close is not None:
                await close()

    def _prepare(self) -> Any:
        """Read, check and build; touches nothing that is in use."""
        read = self._read
        if read is None:
            raise ConfigError("this manager was not made of a file: make it with ExchangeManager.load")
        try:
            config, contents = self._group.source.read(lambda: parsed(read()))
        except UsageError as error:  # an override that no longer fits, say of an exchange that has left the file
            raise ConfigError(str(error)) from error
        return assemble(config, self.made.sessions, {}, (*self._observers, *self._own)), contents

    def _take(self, prepared: Any) -> Reload:
        if isinstance(prepared, ConfigError):
            return self._group.refuse(prepared)
        made, contents = prepared
        before = self.made
        news = [*made.news(before)]
        settings = settings_of(made.config.starts)
        news += [RESTART.format(name) for name in {**self._started, **settings} if self._differs(name, settings)]

        def then() -> None:
            self.made = made
            kept = set(map(id, made.sessions.values()))
            self._old_sessions += [sessions for sessions in before.sessions.values() if id(sessions) not in kept]
            self._set_up()

        return self._group.become(made.pipelines, contents, news, then)

    def _differs(self, name: str, settings: Mapping[str, Any]) -> bool:
        return bool(self._started.get(name) != settings.get(name))

    def _set_up(self) -> None:
        """Let each adapter send through the pipelines of the moment; one that somebody holds follows."""
        adapters = {}
        for name, (routes, arguments) in self.made.setups.items():
            pipelines = {operation: self._group.pipelines[pipeline] for operation, pipeline in routes.items()}
            adapter = self.exchanges.get(name)
            if adapter is None:
                adapter = Bybit(pipelines, **arguments)
            else:
                adapter.become(pipelines, **arguments)
            adapters[name] = adapter
        self.exchanges = adapters


def parsed(config: Config) -> tuple[Config, Sequence[str]]:
    """With the files that it was read from, as `Source.read` takes it."""
    return config, config.files


def overridden(
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
