"""The pipelines of one file over all of its versions: those that it configures now, and those that it did once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..events import Emit
from ..pipeline import Pipeline
from .differences import Change, differences
from .sources import Contents, Source
from .swap import swap

__all__ = ["Group", "Reload"]


@dataclass(frozen=True, slots=True)
class Reload:
    """What came of one reload: true if what stands in the file is in force. `error` says why not.

    `also`: what has changed beside the pipelines, in words.
    """

    error: str | None = None
    changes: tuple[Change, ...] = ()
    also: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.error is None

    def __str__(self) -> str:
        if self.error is not None:
            return self.error
        return "; ".join([*map(str, self.changes), *self.also]) or "nothing changes"


class Group:
    """Pipelines by name, which share `shared`. One that leaves the file goes on as it was, for those who hold it."""

    def __init__(self, source: Source, pipelines: Mapping[str, Pipeline], shared: dict[str, Any]) -> None:
        self.source = source
        self.pipelines = dict(pipelines)
        self.removed: dict[str, Pipeline] = {}
        self._shared = shared
        self._retired: list[Any] = []

    def become(
        self,
        candidates: Mapping[str, Pipeline],
        contents: Contents,
        also: Iterable[str] = (),
        then: Callable[[], None] = lambda: None,
    ) -> Reload:
        """Swap them all for the candidates, in one step, or refuse. `also`: what else has changed, in words.

        `then` is what else belongs to that step.
        """
        known = {**self.removed, **self.pipelines}
        live = {name: known[name] for name in known if name in candidates or name in self.pipelines}
        others = [pipeline for name, pipeline in self.removed.items() if name not in candidates]
        changes = tuple(_changes(self.pipelines, candidates))
        try:
            configured, gone = swap(live, candidates, self._shared, others)
        except ConfigError as error:
            return self.refuse(error)
        self.removed = {name: pipeline for name, pipeline in known.items() if name not in configured}
        self.pipelines = configured
        self._retire(gone)
        then()
        added = [pipeline for pipeline in configured.values() if not any(pipeline is one for one in known.values())]
        for observer in self.observers() if added else ():
            follow = getattr(observer, "watch", None)  # the dashboard, which is about all of them
            if follow is not None:
                follow(*added)
        outcome = Reload(None, changes, tuple(also))
        self.source.accept(contents, self.observers(), str(outcome))
        return outcome

    def refuse(self, error: ConfigError) -> Reload:
        """What stands in the file cannot be: everything goes on as it was."""
        self.source.refuse(error, self.observers())
        return Reload(str(error))

    def observers(self) -> list[Emit]:
        """All who observe one of the pipelines, each once."""
        found = [observer for pipeline in self._all() for observer in pipeline.observers]
        return list({id(observer): observer for observer in found}.values())

    def status(self) -> dict[str, Any]:
        """`file`, `loaded_at` and `error`; and `removed`, what left the file and still goes on, if there is any."""
        status = self.source.status()
        return {**status, "removed": sorted(self.removed)} if self.removed else status

    def _all(self) -> Iterator[Pipeline]:
        yield from self.pipelines.values()
        yield from self.removed.values()

    def _retire(self, states: Iterable[Any]) -> None:
        """Let go of what nobody needs any more, but for what must be closed when its last user is back."""
        self._retired = [state for state in self._retired if not getattr(state, "closed", False)]
        for state in states:
            retire = getattr(state, "retire", None)
            if retire is not None:
                retire()
                self._retired.append(state)

    async def aclose(self) -> None:
        """Release what all of them hold open, and what earlier versions held."""
        for pipeline in self._all():
            await pipeline.aclose()
        for state in self._retired:
            await state.aclose()


def _changes(old: Mapping[str, Pipeline], new: Mapping[str, Pipeline]) -> Iterator[Change]:
    for name, pipeline in new.items():
        if name not in old:
            yield Change(name, "pipeline", 0, "added")
        else:
            yield from differences(name, old[name].policies, pipeline.policies)
    for name in old:
        if name not in new:
            yield Change(name, "pipeline", 0, "removed", kept="whoever holds it goes on with it as it was")
