"""The present: one snapshot of everything that the overview shows, as plain data.

Counts come from the `Metrics` of each pipeline of this process, states from the pipelines themselves, and both from
spans where calls are made in other processes (`distant`). Nothing is computed until somebody asks, and what has not
changed since is not computed again: a snapshot is built on the event loop of the application.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import msgspec

from .distant import Distant
from .metering import Metering
from .shown import Counted, Line, Shown
from .standing import Standing
from .tally import Tally

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from .rows import Span
    from .store import Store

__all__ = ["Live"]


class Live:
    """Watches pipelines, and the spans of other processes. `controls` and `csrf` are told to the page.

    `exporter` says how the spans fare that also go elsewhere.
    """

    def __init__(self, pipelines: Iterable[Pipeline] = (), store: Store | None = None) -> None:
        self._store = store
        self._begun = time.monotonic()
        self._since = time.time() * 1000
        self._standing = Standing()
        self._distant = Distant()
        self._described: list[tuple[Any, dict[str, Any]]] = []  # with the policies that it says this of
        self._shown = Shown()
        self.metering = Metering()
        self.tallies: list[Tally] = []
        self.controls = False
        self.exporter: Callable[[], dict[str, int] | None] = lambda: None
        self.csrf: str | None = None
        self.watch(*pipelines)

    def watch(self, *pipelines: Pipeline) -> None:
        """Show the calls of these from their next call on."""
        known = {id(tally.pipeline) for tally in self.tallies}
        new = [pipeline for pipeline in dict.fromkeys(pipelines) if id(pipeline) not in known]
        for pipeline, metrics in zip(new, self.metering.follow(new), strict=True):
            tally = Tally(pipeline, metrics)
            self.tallies.append(tally)
            self._described.append((pipeline.policies, _described(pipeline)))
            pipeline.observe(tally)

    def forget(self, *pipelines: Pipeline) -> None:
        """Show these no more: they go on without us."""
        self.metering.leave(pipelines)
        for tally in [tally for tally in self.tallies if any(tally.pipeline is one for one in pipelines)]:
            tally.pipeline.unobserve(tally)
            del self._described[self.tallies.index(tally)]
            self.tallies.remove(tally)

    def _pipelines(self) -> list[dict[str, Any]]:
        """What the pipelines are, told anew where a reload has changed one."""
        for index, tally in enumerate(self.tallies):
            pipeline = tally.pipeline
            if self._described[index][0] is not pipeline.policies:
                self._described[index] = pipeline.policies, _described(pipeline)
        return [row for _, row in self._described]

    def _config(self) -> list[dict[str, Any]]:
        """The configuration files that were read again since the beginning, and what came of it last."""
        last: dict[str, dict[str, Any]] = {}
        for tally in self.tallies:
            for (kind, key), changes in list(tally.history.items()):
                if kind == "config" and changes:
                    last[key] = {"file": key, "state": changes[-1]["new"], **changes[-1]}
        return [{name: row[name] for name in ("file", "at", "state", "cause")} for row in last.values()]

    def heard(self, spans: Iterable[Span]) -> None:
        """Spans of other processes."""
        self._distant.heard(spans)

    @property
    def version(self) -> tuple[float, ...]:
        """Differs when a snapshot would show something new, but for the passing of time."""
        stamps = [op.stamp for tally in self.tallies for op in tally.operations]
        changes = sum(tally.version for tally in self.tallies)
        return (*map(sum, zip(*stamps, strict=True)), changes, self._distant.version)

    def snapshot(self, now: float | None = None) -> dict[str, Any]:
        """All of it; `now` in epoch seconds, of the system's clock if left out."""
        shown, lines = self._snapshot(now)
        return {**shown, "ops": [line.row for line in lines]}

    def encoded(self) -> bytes:
        """The present snapshot as JSON. Operations that have not changed since the last one are not written anew."""
        shown, lines = self._snapshot()
        return b'{"ops":[%s],%s' % (b",".join([line.encoded for line in lines]), msgspec.json.encode(shown)[1:])

    def _snapshot(self, now: float | None = None) -> tuple[dict[str, Any], list[Line]]:
        """All but the operations, and those."""
        at = (time.time() if now is None else now) * 1000
        here = time.monotonic()
        counted: list[tuple[Sequence[Counted], float]] = [(tally.operations, tally.now()) for tally in self.tallies]
        headline, lines = self._shown.read([*counted, (list(self._distant.rows.values()), here)])
        standing = self._standing.rows(self.tallies)
        standing["breakers"] += self._distant.breakers(at)
        standing["limits"] += self._distant.limits(at)
        store = self._store
        shown = {
            "at": at,
            "uptime_s": here - self._begun,
            "since": self._since,  # of all counts but those of the last minute: what a file brought back is not in them
            "version": _version(),
            "controls": self.controls,
            "csrf": self.csrf if self.controls else None,
            "processes": [] if store is None else store.processes(),
            "headline": headline,
            **standing,
            "store": None if store is None else store.status(),
            "exporter": self.exporter(),
            "pipelines": self._pipelines(),
            "config": self._config(),
        }
        return shown, lines


def _described(pipeline: Pipeline) -> dict[str, Any]:
    described = pipeline.describe()
    return {"name": pipeline.name, "describe": described["policies"], "attempt": described["attempt"]}


_found = ""


def _version() -> str:
    global _found  # noqa: PLW0603 (reading it costs a look at the disk)
    if not _found:
        try:
            _found = version("exchange-resilience")
        except PackageNotFoundError:
            _found = "unknown"
    return _found
