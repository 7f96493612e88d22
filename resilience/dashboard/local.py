"""Spans of the same process: a span processor that puts every finished span into a store.

Making a row of a span and adding it takes tens of microseconds, which no call should pay. So `on_end` only puts the
span in a queue, and a thread takes it from there, a few at a time, so that it never keeps the interpreter for long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from .rows import Span as Row
from .rows import from_readable

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

    from .store import Store

__all__ = ["LocalProcessor"]

_MOST_WAITING = 10_000  # spans
_AT_ONCE = 20  # spans: less than a millisecond
_BREATH = 0.001  # seconds between two of those
_GATHER = 0.1  # seconds from the first span to the store
_log = logging.getLogger("resilience")


class LocalProcessor(SpanProcessor):
    """Gives a provider's finished, sampled spans to a store of this process.

    `dropped` counts those that found no room in the queue, `failed` those that could not be kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[ReadableSpan] = deque()
        self._some, self._ended = threading.Event(), threading.Event()
        self._taking = threading.Lock()
        self._open = True
        self.dropped = self.failed = 0
        self._thread = threading.Thread(target=self._run, name="resilience-dashboard-local", daemon=True)
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: what has not ended is not shown."""

    def on_end(self, span: ReadableSpan) -> None:
        """Have it kept soon. Never raises: a call must not fail because somebody looks on."""
        waiting = self._waiting
        if not self._open or len(waiting) >= _MOST_WAITING:
            self.dropped += 1
            return
        waiting.append(span)
        if len(waiting) == 1:
            self._some.set()

    def shutdown(self) -> None:
        """Keep what waits, and take no more; the store stays as it is."""
        self._open = False
        self._ended.set()
        self._some.set()
        self._thread.join()
        self._take(_MOST_WAITING)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Keep what waits now, in the calling thread."""
        for _ in range(0, len(self._waiting), _AT_ONCE):
            self._take(_AT_ONCE)
            time.sleep(_BREATH / 4)
        return True

    def _run(self) -> None:
        ended = self._ended
        while not ended.is_set():
            self._some.wait(1.0)
            self._some.clear()
            ended.wait(_GATHER)
            while self._waiting and not ended.is_set():
                self._take(_AT_ONCE)
                ended.wait(_BREATH)

    def _take(self, most: int) -> None:
        with self._taking:
            rows: list[Row] = []
            for _ in range(min(most, len(self._waiting))):
                try:
                    span = self._waiting.popleft()
                    if span.context.trace_flags.sampled:
                        rows.append(from_readable(span))
                except Exception:
                    self.failed += 1
                    if self.failed == 1:  # it would be the same for every span
                        _log.exception("the dashboard could not keep a span; calls go on")
            self._store.add(rows)
