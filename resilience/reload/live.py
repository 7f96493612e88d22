"""Live pipelines: those of a file, as objects that stay the same while the file changes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from ..config.build import Resources
from ..config.environment import PREFIXES
from ..config.load import Description, read_whole, settings_of, start_all
from ..errors import ConfigError
from ..events import Emit
from ..pipeline import Pipeline
from ..verdict import Classify
from .group import Group, Reload
from .shadow import Shadow
from .sources import Contents, Source
from .warned import Warned
from .watcher import Watcher

__all__ = ["RESTART", "Live", "watch"]

RESTART = "{} takes effect at the next start"
"""What is said of a section that a reload does not touch, if it is not what was started with."""


def watch(
    path: str | os.PathLike[str],
    *,
    resources: Resources | None = None,
    classify: Classify | None = None,
    observers: Iterable[Emit] = (),
    env_prefixes: tuple[str, ...] = PREFIXES,
    every: float = 0.5,
    sighup: bool = False,
) -> Live:
    """The pipelines of a file, as `resilience.load` gives them, which follow the file inside ``async with``.

    The file is looked at every `every` seconds and read when it has come to rest, and on SIGHUP if `sighup` asks for
    it. Raises `ConfigError` if it cannot be loaded to begin with; later, a bad file changes nothing (`Live.status`).
    """
    options = {"resources": resources, "classify": classify, "env_prefixes": env_prefixes}
    return Live(Source(path), options, tuple(observers), every, sighup)


class Live(Mapping[str, Pipeline]):
    """Pipelines by name; made by `watch`. Use it as ``async with``: leaving the block ends the watching, and closes.

    A pipeline that leaves the file is no longer found here, but whoever holds it goes on with it as it was; when its
    name comes back, it follows again.
    """

    def __init__(
        self, source: Source, options: Mapping[str, Any], observers: tuple[Emit, ...], every: float, sighup: bool
    ) -> None:
        self._options = options
        self._observers = observers
        shared: dict[str, Any] = {}
        (pipelines, described), source.good = source.read(
            lambda: _parsed(read_whole(source.file, observers=observers, shared=shared, **options))
        )
        self._settings = settings_of(described.starts)
        self._own = start_all(described.starts, pipelines.values())
        self._group = Group(source, pipelines, shared)
        self._warned = Warned(source.file, options["env_prefixes"])
        self._watcher = Watcher(source, self._prepare, self._take, every, sighup, self._warned.tell)

    # -- the pipelines --------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Pipeline:
        return self._group.pipelines[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._group.pipelines)

    def __len__(self) -> int:
        return len(self._group.pipelines)

    def __repr__(self) -> str:
        return f"<Live {self._group.source.file!r}: {', '.join(self) or 'nothing'}>"

    # -- reloading ------------------------------------------------------------------------------------------------

    def reload(self) -> Reload:
        """Read the file now, and let the pipelines follow it; call it in the event loop's thread.

        A file that cannot be loaded changes nothing: the result is false then, and has the `error`, as `status` does.
        """
        try:
            outcome = self._take(self._prepare())
        except ConfigError as error:
            outcome = self._take(error)
        if outcome:
            self._warned.tell()
        return outcome

    def _prepare(self) -> Any:
        """Read, check and build; touches nothing that is in use."""
        own = (*self._observers, *self._own)
        file = self._group.source.file
        return self._group.source.read(lambda: _parsed(read_whole(file, observers=own, **self._options)))

    def _take(self, prepared: Any) -> Reload:
        if isinstance(prepared, ConfigError):
            return self._group.refuse(prepared)
        (candidates, described), contents = prepared
        return self._become(candidates, settings_of(described.starts), contents)

    def _become(self, candidates: dict[str, Pipeline], settings: Mapping[str, Any], contents: Contents) -> Reload:
        also = [RESTART.format(name) for name in {**self._settings, **settings} if self._differs(name, settings)]
        return self._group.become(candidates, contents, also)

    def _differs(self, name: str, settings: Mapping[str, Any]) -> bool:
        return bool(self._settings.get(name) != settings.get(name))

    def shadow(self, path: str | os.PathLike[str]) -> Shadow:
        """Let the policies of another file judge the calls from here on, beside those in force; nothing is sent twice.

        Raises `ConfigError` for a file that cannot be loaded.
        """
        pipelines, _ = read_whole(path, **self._options)
        return Shadow(self._group.pipelines, {name: pipeline.policies for name, pipeline in pipelines.items()})

    # -- how it stands, and the end -------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The states of each pipeline, and the configuration: ``file``, ``loaded_at`` (epoch seconds), ``error``."""
        pipelines = {name: pipeline.status() for name, pipeline in self.items()}
        return {"pipelines": pipelines, "config": self._group.status()}

    async def aclose(self) -> None:
        """End the watching, and release what the pipelines hold open. They can be used again; pools open anew."""
        await self._watcher.stop()
        await self._group.aclose()
        for observer in self._own:
            close = getattr(observer, "aclose", None)
            if close is not None:
                await close()

    async def __aenter__(self) -> Self:
        self._watcher.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _parsed(whole: tuple[dict[str, Pipeline], Description]) -> tuple[Any, tuple[str, ...]]:
    """With the files that it was read from."""
    return whole, whole[1].root.source.files
