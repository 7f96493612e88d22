"""The present: one snapshot of everything that the overview shows, as plain data.

Counts come from the `Metrics` of each pipeline of this process, states from the pipelines themselves, and both from
spans where calls are made in other processes (`distant`). Nothing is computed until somebody asks, and what has not
changed since is not computed again: a snapshot is built on the event loop of the application.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ..telemetry.histograms import quantiles
from ..telemetry.measures import Operation
from ..telemetry.recent import QUANTILES, Mark, Minute, Recent
from .distant import Distant
from .metering import Metering
from .standing import Standing
from .tally import OUTCOMES, Row, Tally

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from .rows import Span
    from .store import Store

__all__ = ["Live"]

_NAMES = ("p50_ms", "p90_ms", "p99_ms", "p999_ms")
_AT_ONCE = 40  # operations whose percentiles are worked out anew for one snapshot, those that are oldest


class Live:
    """Watches pipelines, and the spans of other processes. `controls` and `csrf` are told to the page."""

    def __init__(self, pipelines: Iterable[Pipeline] = (), store: Store | None = None) -> None:
        self._store = store
        self._begun = time.monotonic()
        self._standing = Standing()
        self._distant = Distant()
        self._described: list[dict[str, Any]] = []
        self._shown: dict[tuple[int, str, str], tuple[Minute, tuple[Any, ...], Mapping[str, Any]]] = {}
        self.metering = Metering()
        self.tallies: list[Tally] = []
        self.controls = False
        self.csrf: str | None = None
        self.watch(*pipelines)

    def watch(self, *pipelines: Pipeline) -> None:
        """Show the calls of these from their next call on."""
        known = {id(tally.pipeline) for tally in self.tallies}
        new = [pipeline for pipeline in dict.fromkeys(pipelines) if id(pipeline) not in known]
        for pipeline, metrics in zip(new, self.metering.follow(new), strict=True):
            tally = Tally(pipeline, metrics)
            self.tallies.append(tally)
            described = pipeline.describe()
            row = {"name": pipeline.name, "describe": described["policies"], "attempt": described["attempt"]}
            self._described.append(row)
            pipeline.observe(tally)

    def forget(self, *pipelines: Pipeline) -> None:
        """Show these no more: they go on without us."""
        self.metering.leave(pipelines)
        for tally in [tally for tally in self.tallies if any(tally.pipeline is one for one in pipelines)]:
            tally.pipeline.unobserve(tally)
            del self._described[self.tallies.index(tally)]
            self.tallies.remove(tally)

    def heard(self, spans: Iterable[Span]) -> None:
        """Spans of other processes."""
        self._distant.heard(spans)

    @property
    def version(self) -> tuple[float, ...]:
        """Differs when a snapshot would show something new, but for the passing of time."""
        operations = [op for op, _ in self._operations()]
        begun = sum(op.begun for op in operations)
        well = sum(op.ok.sum + op.attempt_ok.sum for op in operations)
        ill = sum(sum(op.failures.values()) + sum(op.attempts.values()) for op in operations)
        return (begun, well, ill, sum(tally.version for tally in self.tallies), self._distant.version)

    def _operations(self) -> list[tuple[Operation, Callable[[], float]]]:
        """All that is counted here, each once though several pipelines may have one name, with its clock."""
        found = {id(op): (op, tally.now) for tally in self.tallies for op in tally.operations}
        return list(found.values())

    def snapshot(self, now: float | None = None) -> dict[str, Any]:
        """All of it; `now` in epoch seconds, of the system's clock if left out."""
        at = (time.time() if now is None else now) * 1000
        here = time.monotonic()
        counted: list[tuple[Operation | Row, Recent, float]] = []
        for op, clock in self._operations():
            counted.append((op, op.remember(), clock()))
        counted += [(row, row.recent, here) for row in list(self._distant.rows.values())]
        standing = self._standing.rows(self.tallies)
        standing["breakers"] += self._distant.breakers(at)
        standing["limits"] += self._distant.limits(at)
        store = self._store
        return {
            "at": at,
            "uptime_s": here - self._begun,
            "version": _version(),
            "controls": self.controls,
            "csrf": self.csrf if self.controls else None,
            "processes": [] if store is None else store.processes(),
            **self._counts(counted),
            **standing,
            "store": None if store is None else store.status(),
            "exporter": None,
            "pipelines": self._described,
        }

    def _counts(self, counted: Sequence[tuple[Operation | Row, Recent, float]]) -> dict[str, Any]:
        """``headline`` and ``ops``."""
        minutes = [recent.minute(now) for _, recent, now in counted]
        old = [(recent.refreshed, i) for i, (_, recent, now) in enumerate(counted) if recent.stale(now)]
        for _, i in sorted(old)[:_AT_ONCE]:
            counted[i][1].refresh(counted[i][2])
        total = Mark._make(map(sum, zip(*(minute.added for minute in minutes), strict=True))) if minutes else Mark()
        rows = [self._op(op, recent, minute) for (op, recent, _), minute in zip(counted, minutes, strict=True)]
        if len(self._shown) > len(rows):
            self._shown = {_key(op): self._shown[_key(op)] for op, _, _ in counted}
        cells = [recent.cells for _, recent, _ in counted if recent.cells]
        return {"headline": _headline(total, [sum(cell) for cell in zip(*cells, strict=True)]), "ops": rows}

    def _op(self, op: Operation | Row, recent: Recent, minute: Minute) -> Mapping[str, Any]:
        """Counts since the beginning; shares, percentiles and both lines of the last minute."""
        key = _key(op)
        known = self._shown.get(key)
        if known is not None and known[0] is minute and known[1] is recent.percentiles:
            return known[2]
        outcomes = dict.fromkeys(OUTCOMES, 0) | op.outcomes
        row = {
            "pipeline": op.pipeline,
            "op": op.op,
            "calls": sum(outcomes.values()),
            "ok": outcomes["ok"],
            "effective": minute.added.effective,
            "actual": minute.added.actual,
            "attempts": dict(op.kinds),
            "outcomes": outcomes,
            **dict(zip(_NAMES, recent.percentiles, strict=True)),
            "rate": minute.rate,
            "errors": minute.errors,
        }
        self._shown[key] = minute, recent.percentiles, row
        return row


def _key(op: Operation | Row) -> tuple[int, str, str]:
    return id(op), op.pipeline, op.op


def _headline(total: Mark, cells: list[float]) -> dict[str, Any]:
    return {
        "calls": total.calls,
        "effective": total.effective,
        "actual": total.actual,
        "attempts_per_call": total.attempts / total.calls if total.calls else None,
        "rate": total.calls / 60,
        **dict(zip(_NAMES, quantiles(cells, *QUANTILES), strict=True)),
        "backoff_share": min(1.0, total.backoff / total.seconds) if total.seconds else None,
    }


_found = ""


def _version() -> str:
    global _found  # noqa: PLW0603 (reading it costs a look at the disk)
    if not _found:
        try:
            _found = version("exchange-resilience")
        except PackageNotFoundError:
            _found = "unknown"
    return _found
