"""Exact metrics: an observer that counts every call and every attempt in plain fields, read when somebody asks.

Nothing here is derived from spans, so sampling changes no number. Three readers exist: `prometheus.render`, the
OpenTelemetry instruments of `otel_metrics`, and whoever walks `Metrics.operations` (the dashboard).

How breakers, budgets, limits and pools stand is not counted but pulled from the kept states at the moment of reading.
"""

from __future__ import annotations

import threading
import time
from asyncio import AbstractEventLoop, get_running_loop
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, TypeAlias
from weakref import ref

from ..call import Attempt, Call, Handler
from ..events import Event, StateChanged
from ..kit import Kit
from ..units import check
from .measures import BOUNDS, OTHER, Example, Operation, bounded
from .records import judged

__all__ = ["Metrics"]

Find: TypeAlias = Callable[[str], Operation | None]
Add: TypeAlias = Callable[[str], Operation]

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
        now, judge, (find, add) = kit.now, kit.judge, self._table(kit.name)
        bounds, bucket = BOUNDS, bisect_left

        async def run(call: Call) -> Any:
            op = find(call.op.name)
            if op is None:
                op = add(call.op.name)
            op.begun += 1
            at = now()
            try:
                result = await next(call)
            except BaseException as error:
                took = now() - at
                verdict = judge(error, call) if isinstance(error, Exception) else None
                outcome, error_type = judged(error, verdict)
                op.call_failed(took, outcome, error_type)
                op.waited(call)
                if call.span is not None:
                    op.others[outcome].show(_example(call, took))
                raise
            took = now() - at
            ok = op.ok
            ok.counts[bucket(bounds, took)] += 1
            ok.sum += took
            made = call.made
            if call.history is not None or (made is not None and made.noted):
                op.waited(call)
            if call.span is not None:
                ok.show(_example(call, took))
            return result

        return run

    def around_attempt(self, next: Handler, kit: Kit) -> Handler:
        """The attempt boundary: when an attempt ends, it is counted."""
        now, judge, (find, add) = kit.now, kit.judge, self._table(kit.name)
        bounds, bucket = BOUNDS, bisect_left

        async def run(call: Call) -> Any:
            made = call.made
            waited = 0.0 if made is None else made.waited
            at = now()
            try:
                result = await next(call)
            except BaseException as error:
                took = now() - at
                op = find(call.op.name)
                if op is None:
                    op = add(call.op.name)
                made = call.attempt
                verdict = judge(error, call) if isinstance(error, Exception) else None
                outcome, error_type = judged(error, verdict)
                op.attempt_failed(made, took, outcome, error_type)
                op.learn(made, took - _since(made, waited), error_type)
                raise
            took = now() - at
            op = find(call.op.name)
            if op is None:
                op = add(call.op.name)
            ok = op.attempt_ok
            ok.counts[bucket(bounds, took)] += 1
            ok.sum += took
            made = call.made
            if made is None or (made.noted is None and made.limits is None and made.kind == "original"):
                op.originals += 1
            else:
                op.attempt_succeeded(made)
                op.learn(made, took - _since(made, waited), "")
            return result

        return run

    # -- what is read -----------------------------------------------------------------------------------------

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

    def _table(self, pipeline: str) -> tuple[Find, Add]:
        """How to come from an operation's name to its fields: one look in a dict, for every call but the first."""
        pipeline = bounded(self._tables, pipeline, OTHER, self.most_pipelines)
        table = self._tables.setdefault(pipeline, {})

        def add(name: str) -> Operation:
            place = bounded(table, name, OTHER, self.most_ops)
            return table.get(place) or table.setdefault(place, Operation(pipeline, place))

        return table.get, add


def _since(attempt: Attempt, waited: float) -> float:
    """Seconds in our own queues since the attempt had waited that long."""
    return attempt.waited - waited


def _example(call: Call, seconds: float) -> Example:
    span = call.span
    return Example(seconds, f"{span.trace_id:032x}", f"{span.span_id:016x}", time.time())


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
