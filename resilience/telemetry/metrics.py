"""Exact metrics: an observer that counts every call and every attempt in plain fields, read when somebody asks.

Nothing here is derived from spans, so sampling changes no number. Three readers exist: `prometheus.render`, the
OpenTelemetry instruments of `otel_metrics`, and whoever walks `Metrics.operations` (the dashboard).

How breakers, budgets, limits and pools stand is not counted but pulled from the kept states at the moment of reading.
"""

from __future__ import annotations

import threading
import time
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable
from typing import Any
from weakref import ref

from ..call import Handler
from ..events import Event, StateChanged
from ..kit import Kit
from ..units import check
from .counting import Add, Find, count_attempts, count_calls
from .measures import OTHER, Operation, bounded

__all__ = ["Metrics"]

_MOST_CHANGES = 1000
_PATIENCE = 1.0  # seconds that a reader in another thread waits for the event loop


class Metrics:
    """Give it to ``Pipeline(..., observers=(metrics,))`` or ``pipeline.observe(metrics)``; one serves many pipelines.

    At most `most_ops` operations are told apart in each of at most `most_pipelines` pipelines; all others count
    together under ``_other``. Pipelines of one name count together. Records are made in the event loop's thread, and
    all pipelines of one `Metrics` must run in the same one; any thread may read. Raises `ConfigError`.
    """

    def __init__(self, most_ops: int = 200, most_pipelines: int = 100) -> None:
        check("Metrics", "most_ops", most_ops, least=1, whole=True)
        check("Metrics", "most_pipelines", most_pipelines, least=1, whole=True)
        self.most_ops, self.most_pipelines = most_ops, most_pipelines
        self.since = time.time()
        """When counting began, unix time in seconds."""
        self.changes: dict[tuple[str, str, str], int] = {}
        """Changes of state by (kind, key, new state): ``("breaker", "default", "open")``."""
        self.unread = 0
        """How often a state could not be read: the event loop did not answer in time, or the state raised."""
        self._tables: dict[str, dict[str, Operation]] = {}
        self._kits: dict[str, ref[Kit]] = {}
        self._remembers = False

    # -- an observer ------------------------------------------------------------------------------------------

    def __call__(self, event: Event) -> None:
        """Hear of changes of state; everything else it sees for itself."""
        if type(event) is StateChanged:
            key = (event.kind, event.key, event.new)
            key = bounded(self.changes, key, (event.kind, OTHER, event.new), _MOST_CHANGES)
            self.changes[key] = self.changes.get(key, 0) + 1

    def around_call(self, next: Handler, kit: Kit) -> Handler:
        """The top of an observed pipeline: when a call ends, it is counted."""
        self._watch(kit)
        return count_calls(next, kit, *self._table(kit.name, kit.now))

    def around_attempt(self, next: Handler, kit: Kit) -> Handler:
        """The attempt boundary: when an attempt ends, it is counted."""
        return count_attempts(next, kit, *self._table(kit.name, kit.now))

    # -- what is read -----------------------------------------------------------------------------------------

    def remember(self) -> None:
        """Keep the last minute of each operation from now on (`Operation.recent`): a comparison for a record."""
        self._remembers = True
        for op in self.operations:
            op.remember()

    def of(self, pipeline: str) -> list[Operation]:
        """The operations that count the calls of pipelines of this name."""
        table = self._tables.get(pipeline)
        if table is None and len(self._tables) >= self.most_pipelines:
            table = self._tables.get(OTHER)
        return [] if table is None else list(table.values())

    @property
    def operations(self) -> list[Operation]:
        """Every operation of every pipeline seen so far."""
        return [op for table in list(self._tables.values()) for op in list(table.values())]

    def states(self) -> list[tuple[str, str, dict[str, Any]]]:
        """How the pipelines' kept states stand now: (pipeline, name of the state, its `status()`).

        A state that pipelines share is told once, as of the pipeline ``"shared"``. Read in the loop's own thread; from
        another one, this asks the loop and waits a second at most, then does without (and counts it in `unread`).
        """
        found: list[tuple[str, str, dict[str, Any]]] = []
        seen: set[int] = set()
        for name, reference in list(self._kits.items()):
            kit = reference()
            if kit is None:
                self._kits.pop(name, None)
                continue
            rows = _in_loop(kit.loop, lambda kit=kit: _rows(kit, seen))  # type: ignore[misc]
            if rows is None:
                self.unread += 1
                continue
            for key, shared, status in rows:
                if status is None:
                    self.unread += 1
                else:
                    found.append(("shared" if shared else name, key, status))
        return found

    # -- finding the fields -----------------------------------------------------------------------------------

    def _watch(self, kit: Kit) -> None:
        """Remember whose states to read; of two pipelines with one name, those of the newer."""
        if kit.name in self._kits or len(self._kits) < self.most_pipelines:
            self._kits[kit.name] = ref(kit)

    def _table(self, pipeline: str, now: Callable[[], float]) -> tuple[Find, Add]:
        """How to come from an operation's name to its fields: one look in a dict, for every call but the first."""
        pipeline = bounded(self._tables, pipeline, OTHER, self.most_pipelines)
        table = self._tables.setdefault(pipeline, {})

        def add(name: str) -> Operation:
            place = bounded(table, name, OTHER, self.most_ops)
            found = table.get(place)
            if found is None:
                found = table[place] = Operation(pipeline, place)
                if self._remembers:
                    found.remember()
                    found.turn(now())
            return found

        return table.get, add


def _rows(kit: Kit, seen: set[int]) -> list[tuple[str, bool, dict[str, Any] | None]]:
    rows: list[tuple[str, bool, dict[str, Any] | None]] = []
    shares = kit._shared is not kit.states  # with other pipelines, that is
    for key, state in list(kit.states.items()):
        if id(state) in seen or not hasattr(state, "status"):
            continue
        seen.add(id(state))
        try:
            rows.append((key, shares and ":" in key, state.status()))
        except Exception:  # a resource of the user's tells about itself; it must not cost us all other numbers
            rows.append((key, False, None))
    return rows


def _in_loop(loop: AbstractEventLoop, read: Callable[[], Any]) -> Any:
    """What `read` returns in the thread of this loop; None if the loop does not get to it in time."""
    try:
        mine = get_running_loop() is loop
    except RuntimeError:
        mine = False
    if mine or not loop.is_running():
        return read()
    done = threading.Event()
    result: list[Any] = []

    def here() -> None:
        result.append(read())
        done.set()

    try:
        loop.call_soon_threadsafe(here)
    except RuntimeError:  # it was closed just now
        return read()
    return result[0] if done.wait(_PATIENCE) else None
