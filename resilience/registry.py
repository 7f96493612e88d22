"""One pipeline per host, endpoint or account, made on first use, and never more of them than memory should hold.

After the registries of resilience4j and Polly. What is surprising: a pipeline that was dropped is found again for as
long as anything still uses it (a call in flight does), so that one key never has two pipelines at work, each with half
of the limit.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextvars import Context
from itertools import islice
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary, finalize

from .errors import ConfigError
from .pipeline import Pipeline
from .units import check

__all__ = ["PipelineRegistry"]

K = TypeVar("K", bound=Hashable)

_Tell = Callable[[Pipeline], object]
_log = logging.getLogger("resilience")
_SEARCHED = 64  # of the longest unused, in the search for those to drop: a new key never costs more than this


class _Standing(enum.Enum):
    IDLE = enum.auto()
    TROUBLED = enum.auto()  # a circuit is not closed
    IN_FLIGHT = enum.auto()


class PipelineRegistry(Generic[K]):
    """``registry[key]`` is the pipeline of that key: what ``make(key)`` returned, or a copy of the pipeline `make`.

    A copy has the name ``name/key`` and states of its own; what the template shares (`Pipeline(shared=...)`) it shares.

    When a new key is made, those unused for `idle` seconds are dropped, and beyond `most` the one that was used longest
    ago: never one that shows calls in flight (then there are more than `most` for as long as they fly), and one with an
    open circuit only if nothing else can go. A dropped pipeline's own pools are closed in the background.

    For one event loop at a time, as pipelines are. Raises `ConfigError` where `make` makes no pipeline.
    """

    def __init__(self, make: Callable[[K], Pipeline] | Pipeline, most: int = 1000, idle: float = 3600.0) -> None:
        if not (isinstance(make, Pipeline) or callable(make)):
            raise ConfigError(f"PipelineRegistry: make is {make!r}, must be a pipeline, or a function of the key")
        check("PipelineRegistry", "most", most, least=1, whole=True)
        check("PipelineRegistry", "idle", idle, above=0)
        self.most = most
        self.idle = idle
        self._make = make
        self._live: dict[K, tuple[Pipeline, float]] = {}  # with the time of the last use; the longest unused first
        self._dropped: WeakValueDictionary[K, Pipeline] = WeakValueDictionary()
        self._closing: set[asyncio.Task[None]] = set()
        self._followers: list[tuple[_Tell, _Tell]] = []
        self._at = 0.0

    def __getitem__(self, key: K) -> Pipeline:
        now = self._now()
        known = self._live.pop(key, None)
        if known is not None:
            pipeline = known[0]
        else:
            again = self._dropped.get(key)  # it is alive: somebody uses it
            pipeline = self._made(key) if again is None else again
            self._make_room(now)
        self._live[key] = (pipeline, now)
        if known is None and self._followers:
            self._tell(0, pipeline)
        return pipeline

    def __contains__(self, key: object) -> bool:
        return key in self._live

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._live))

    def __len__(self) -> int:
        return len(self._live)

    @property
    def pipelines(self) -> tuple[Pipeline, ...]:
        """Those that there are now."""
        return tuple(pipeline for pipeline, _ in self._live.values())

    def follow(self, come: _Tell, go: _Tell) -> Callable[[], None]:
        """Tell of each pipeline that comes (those there now first) and that goes; returns what ends the telling.

        Who follows must let go of a pipeline that goes, or none is ever dropped. One that is found again comes again.
        """
        follower = (come, go)
        self._followers.append(follower)
        for pipeline in self.pipelines:
            come(pipeline)

        def leave() -> None:
            if follower in self._followers:
                self._followers.remove(follower)

        return leave

    def status(self) -> dict[str, Any]:
        """How the states of each key's pipeline stand now, as plain data."""
        return {str(key): pipeline.status() for key, (pipeline, _) in self._live.items()}

    async def aclose(self) -> None:
        """Release what all pipelines hold open (pools). They can be used again; pools open anew.

        If some cannot be closed, the others are, and then the first error is raised.
        """
        errors = []
        alive = {id(pipeline): pipeline for pipeline in self._dropped.values()}  # some of them live again
        alive |= {id(pipeline): pipeline for pipeline, _ in self._live.values()}
        for pipeline in alive.values():
            try:
                await pipeline.aclose()
            except Exception as error:
                errors.append(error)
        if self._closing:
            await asyncio.wait(set(self._closing))
        if errors:
            raise errors[0]

    async def __aenter__(self) -> PipelineRegistry[K]:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _tell(self, which: int, pipeline: Pipeline) -> None:
        for follower in list(self._followers):
            try:
                follower[which](pipeline)
            except Exception:  # whoever looks on must not cost a call
                _log.exception("one who follows a PipelineRegistry failed on the pipeline %r", pipeline.name)

    def _now(self) -> float:
        """The running loop's clock; where none runs, no time has passed."""
        loop = _running()
        if loop is not None:
            self._at = loop.time()
        return self._at

    def _made(self, key: K) -> Pipeline:
        if isinstance(self._make, Pipeline):
            return self._make._copy(f"{self._make.name}/{key}" if self._make.name else str(key))
        pipeline = self._make(key)
        if not isinstance(pipeline, Pipeline):
            raise ConfigError(f"PipelineRegistry: make({key!r}) returned {pipeline!r}, must be a pipeline")
        return pipeline

    def _make_room(self, now: float) -> None:
        """Drop what is stale, and if that leaves no place for one more, the first that can be spared."""
        spare: list[K] = []
        for key, (pipeline, used) in list(islice(self._live.items(), _SEARCHED)):
            stale = now - used >= self.idle
            if not stale and len(self._live) < self.most:
                return
            standing = _standing(pipeline)
            if standing is _Standing.IN_FLIGHT:
                self._live[key] = self._live.pop(key)[0], now  # in use now
            elif stale or standing is _Standing.IDLE:
                self._drop(key)
            else:
                spare.append(key)
        for key in spare[: max(0, len(self._live) + 1 - self.most)]:
            self._drop(key)

    def _drop(self, key: K) -> None:
        pipeline, _ = self._live.pop(key)
        self._dropped[key] = pipeline  # weakly
        self._tell(1, pipeline)
        shared = pipeline._shared or {}
        own = [state for name, state in pipeline.states.items() if name not in shared and hasattr(state, "aclose")]
        loop = _running()
        if own and loop is not None:
            task = loop.create_task(_close(own, str(key)), context=Context())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            finalize(pipeline, _let_go, own, loop)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _close(states: list[Any], key: str) -> None:
    for state in states:
        try:
            if not getattr(state, "active", 0):  # else it was found again meanwhile, and is in use
                await state.aclose()
        except Exception:
            _log.exception("closing what the dropped pipeline of %r held failed", key)


def _let_go(states: list[Any], loop: asyncio.AbstractEventLoop) -> None:
    """Nobody uses a dropped pipeline any more: close what a call has opened since, which was waiting to try again."""
    if not loop.is_closed():
        for state in states:
            if hasattr(state, "retire"):
                loop.call_soon_threadsafe(state.retire)


def _standing(pipeline: Pipeline) -> _Standing:
    """What its states say of it."""
    found = set(_signs(pipeline.status()))
    return next((each for each in (_Standing.IN_FLIGHT, _Standing.TROUBLED) if each in found), _Standing.IDLE)


def _signs(status: Mapping[str, Any]) -> Iterator[_Standing]:
    for name, value in status.items():
        if isinstance(value, Mapping):
            yield from _signs(value)
        elif name in ("busy", "active", "waiting") and value:
            yield _Standing.IN_FLIGHT
        elif name == "state" and value != "closed":
            yield _Standing.TROUBLED
