"""Where spans lie: a ring of whole traces in memory, bounded in traces, spans and bytes; the oldest trace goes first.

What the list shows of a trace, its `Summary`, is kept up to date as spans arrive, in any order: attempts come before
their call. So a search reads ten thousand summaries and not a hundred thousand spans. Spans may come from any thread
while the event loop reads: one lock is held for a hundred spans at most, and what a reader is given never changes
under it, or is copied in one step.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..units import check
from .rows import Span
from .summary import Trace

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Store", "Tail"]

_AT_ONCE = 100  # spans added while the lock is held
_MOST_PROCESSES = 200
_MOST_PENDING = 1_000  # changed traces that a listener has not fetched


class Tail:
    """What one listener has not seen yet: the traces whose call is new or has changed, each once, the newest 1,000."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._pending: dict[str, Trace] = {}
        self._skipped = 0

    def note(self, changed: Iterable[Trace]) -> None:
        """The store's side, under its lock: remember, and wake the listener if it had seen everything."""
        silent = not self._pending
        for trace in changed:
            self._pending[trace.trace_id] = trace
        while len(self._pending) > _MOST_PENDING:
            del self._pending[next(iter(self._pending))]
            self._skipped += 1
        if silent and self._pending:
            self._wake()

    def take(self) -> tuple[list[Trace], int]:
        """The traces that are new or changed since the last time, oldest first, and how many were skipped."""
        pending, self._pending = self._pending, {}
        skipped, self._skipped = self._skipped, 0
        return list(pending.values()), skipped


class Store:
    """Traces of the recent past. With a `path` they also go to an SQLite file, and come back from it after a restart.

    `most_bytes` is an estimate; it bounds what a hostile sender can make us hold. `retention` is in seconds,
    `most_file_bytes` is the size of the file: see `sqlite.File`.
    """

    def __init__(
        self,
        most_traces: int = 10_000,
        most_spans: int = 200_000,
        path: str | Path | None = None,
        *,
        most_bytes: int = 512 * 2**20,
        most_spans_a_trace: int = 1_000,
        retention: float = 7 * 86_400.0,
        most_file_bytes: int = 512 * 2**20,
    ) -> None:
        for name, value in (("most_traces", most_traces), ("most_spans", most_spans), ("most_bytes", most_bytes)):
            check("Store", name, value, least=1, whole=True)
        check("Store", "most_spans_a_trace", most_spans_a_trace, least=1, whole=True)
        check("Store", "most_file_bytes", most_file_bytes, least=2**20, whole=True)
        check("Store", "retention", retention, above=0)
        self.most_traces, self.most_spans, self.most_bytes = most_traces, most_spans, most_bytes
        self.most_spans_a_trace = most_spans_a_trace
        self._lock = threading.Lock()
        self._traces: OrderedDict[str, Trace] = OrderedDict()
        self._processes: OrderedDict[tuple[str, str], list[float]] = OrderedDict()
        self._tails: tuple[Tail, ...] = ()
        self._spans = self._bytes = 0
        self.received = self.duplicates = self.cut = self.evicted = 0
        self.file = None
        if path is not None:
            from .sqlite import File

            self.file = File(path, retention=retention, most_bytes=most_file_bytes)
            self.file.start(self.restore, most_traces)

    # -- writing ----------------------------------------------------------------------------------------------

    def add(self, spans: Iterable[Span]) -> None:
        """Take spans in, from any thread and in any order. One that is here already is counted and forgotten."""
        waiting = iter(spans)
        while some := list(islice(waiting, _AT_ONCE)):
            with self._lock:
                fresh = self._add(some)
            if self.file is not None and fresh:
                self.file.offer(fresh)

    def _add(self, spans: Sequence[Span]) -> list[Span]:
        fresh: list[Span] = []
        changed: dict[str, Trace] = {}
        touched: set[Trace] = set()
        now = time.time()
        for span in spans:
            self.received += 1
            self._heard(span, now)
            trace = self._traces.get(span.trace_id)
            if trace is None:
                trace = self._traces[span.trace_id] = Trace(span.trace_id)
            if self._put(trace, span):
                fresh.append(span)
                touched.add(trace)
                if trace.calls:
                    changed[trace.trace_id] = trace
        for trace in touched:
            trace.prepare()
        self._evict()
        if changed and self._tails:
            for tail in self._tails:
                tail.note(changed.values())
        return fresh

    def _put(self, trace: Trace, span: Span) -> bool:
        """Is the span new here, and is there room for it in its trace?"""
        if span.span_id in trace.spans:
            self.duplicates += 1
            return False
        if trace.is_full(span, self.most_spans_a_trace):
            trace.cut += 1
            self.cut += 1
            return False
        before = trace.weight
        trace.add(span)
        self._spans += 1
        self._bytes += trace.weight - before
        return True

    def _evict(self) -> None:
        """Let the oldest go until all bounds hold. The newest trace stays, however large: it is bounded itself."""
        traces = self._traces
        while len(traces) > 1 and (
            len(traces) > self.most_traces or self._spans > self.most_spans or self._bytes > self.most_bytes
        ):
            self._forget(traces.popitem(last=False)[1])

    def _forget(self, trace: Trace) -> None:
        self._spans -= len(trace.spans)
        self._bytes -= trace.weight
        self.evicted += len(trace.spans)

    def _heard(self, span: Span, now: float) -> None:
        key = (span.service, span.instance)
        process = self._processes.get(key)
        if process is None:
            process = self._processes[key] = [now, 0]
            if len(self._processes) > _MOST_PROCESSES:
                self._processes.popitem(last=False)
        process[0] = now
        process[1] += 1

    def restore(self, spans: Sequence[Span]) -> bool:
        """One trace from the file, older than all that are here; False once there is no room for it, nor for others."""
        with self._lock:
            if not spans:
                return True
            if len(self._traces) >= self.most_traces or self._spans + len(spans) > self.most_spans:
                return False
            if self._bytes >= self.most_bytes:
                return False
            first = spans[0].trace_id
            is_new = first not in self._traces
            trace = self._traces.setdefault(first, Trace(first))
            for span in spans:
                if span.span_id not in trace.spans:
                    self._put(trace, span)
            if is_new:
                self._traces.move_to_end(first, last=False)
            return True

    # -- reading ----------------------------------------------------------------------------------------------

    def traces(self) -> list[Trace]:
        """All traces, in the order in which their first span came."""
        with self._lock:
            return list(self._traces.values())

    def get(self, trace_id: str) -> Trace | None:
        """The trace of this id."""
        return self._traces.get(trace_id)

    def listen(self, wake: Callable[[], None]) -> Tail:
        """Hear of new and changed calls: `wake` is called, in the thread that adds, when `Tail.take` has something."""
        tail = Tail(wake)
        with self._lock:
            self._tails = (*self._tails, tail)
        return tail

    def unlisten(self, tail: Tail) -> None:
        """Hear no more."""
        with self._lock:
            self._tails = tuple(other for other in self._tails if other is not tail)

    def processes(self) -> list[dict[str, Any]]:
        """Who sent spans: service, instance, when it was heard last (epoch milliseconds), and how many came."""
        with self._lock:
            return [
                {"service": service, "instance": instance, "last_seen": at * 1000, "spans": int(count)}
                for (service, instance), (at, count) in self._processes.items()
            ]

    def status(self) -> dict[str, Any]:
        """What is kept and what was let go. `dropped` spans had no room in their trace; `evicted` ones grew old."""
        with self._lock:
            oldest = next(iter(self._traces.values()), None)
            return {
                "traces": len(self._traces),
                "spans": self._spans,
                "received": self.received,
                "dropped": self.cut,
                "evicted": self.evicted,
                "duplicates": self.duplicates,
                "bytes": self._bytes,
                "oldest": None if oldest is None else oldest.summary.start_ms,
                "sqlite": None if self.file is None else str(self.file.path),
                "sqlite_dropped": 0 if self.file is None else self.file.dropped,
            }

    def close(self, seconds: float = 5.0) -> None:
        """Write out what waits for the file, for so long at most. Blocks: call it in a thread."""
        if self.file is not None:
            self.file.close(seconds)

    def __iter__(self) -> Iterator[Trace]:
        return iter(self.traces())

    def __len__(self) -> int:
        return len(self._traces)
