"""The hand-over of finished spans to an exporter, in a thread of its own: bounded, never waited for, exactly counted.

The SDK's batch processor drops the oldest spans when its queue is full, and says so in one line of log. Here nothing is
lost in silence: every span is `exported`, `failed` (the exporter took it and said no, or raised), `dropped` (it came
when the queue was full, or after the end) or still `queued`; and the four always make up the number that came in.

The surprising part is that the loop never wakes the thread: an event that is set costs as much as a span. The thread
looks by itself, at most `every` seconds after a span came.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import Any
from weakref import WeakMethod

from opentelemetry.context import attach, set_value
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from .current import SUPPRESSED

__all__ = ["Handover"]

_log = logging.getLogger("resilience")
_TELL_EVERY = 60.0  # seconds between two lines of log about dropped spans


class Handover(SpanProcessor):
    """Give it to ``TracerProvider.add_span_processor``. `most` spans wait at most, `batch` are exported at once.

    `every`: seconds between two looks into the queue. The newest span is the one that is dropped when the queue is
    full, so that the traces that are in it stay whole.
    """

    def __init__(self, exporter: SpanExporter, most: int = 8192, batch: int = 512, every: float = 0.5) -> None:
        self._exporter = exporter
        self._most = most
        self._batch = batch
        self._every = every
        self._queue: deque[ReadableSpan] = deque()
        self._closed = False
        self._complained = False
        self._begin()
        if hasattr(os, "register_at_fork"):
            forked = WeakMethod(self._forked)
            os.register_at_fork(after_in_child=lambda: (again := forked()) and again())

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span, or count it as dropped; at once, and without a lock where there is room."""
        if len(self._queue) >= self._most or self._closed:
            with self._drops:
                self.dropped += 1
            return
        self._queue.append(span)

    def status(self) -> dict[str, int]:
        """Spans so far: `queued` (also those that the exporter has in hand), `exported`, `failed`, `dropped`."""
        with self._moves:
            return {
                "queued": len(self._queue) + self._in_hand,
                "exported": self.exported,
                "failed": self.failed,
                "dropped": self.dropped,
            }

    def shutdown(self) -> None:
        """Send what is pending and end the thread, once. Waits while the exporter takes it, or until it says no."""
        if self._closed:
            return
        self._closed = True
        self._wake.set()
        self._thread.join()
        self._exporter.shutdown()
        with self._drops, self._moves:
            self.dropped += len(self._queue)
            self._queue.clear()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Ask for an export now and wait for it; whether all that had come in by then is on its way in that time."""
        self._idle.clear()
        self._wake.set()
        return self._idle.wait(timeout_millis / 1000)

    def _begin(self) -> None:
        self._in_hand = self.exported = self.failed = self.dropped = 0
        self._drops = threading.Lock()  # several threads may find the queue full
        self._moves = threading.Lock()  # while spans go from one count to another
        self._told, self._tell_at = 0, 0.0
        self._wake, self._idle = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="resilience spans", daemon=True)
        self._thread.start()

    def _forked(self) -> None:
        """In a child there is no thread, and what the parent counted and queued is the parent's."""
        self._queue.clear()
        if not self._closed:
            self._begin()

    def _work(self) -> None:
        attach(set_value(SUPPRESSED, True))  # an exporter's own requests are not traced
        closed = False
        while not closed:
            self._wake.wait(self._every)
            self._wake.clear()
            closed = self._closed  # read before the last look, which finds all that came until then
            self._empty()
            self._tell()
            self._idle.set()

    def _empty(self) -> None:
        """Export all that was there when this began, so that one who keeps filling it cannot keep us.

        At the end no more is sent to an exporter that says no: it may take its ten seconds for each batch.
        """
        left = len(self._queue)
        while left > 0:
            with self._moves:
                spans = [self._queue.popleft() for _ in range(min(left, self._batch))]
                self._in_hand = len(spans)
            left -= len(spans)
            good = self._export(spans)
            with self._moves:
                self._in_hand = 0
                if good:
                    self.exported += len(spans)
                else:
                    self.failed += len(spans)
            if self._closed and not good:
                return

    def _tell(self) -> None:
        """A line of log where spans were dropped, from this thread and not too often."""
        new = self.dropped - self._told
        if new and time.monotonic() >= self._tell_at:
            self._told, self._tell_at = self.dropped, time.monotonic() + _TELL_EVERY
            _log.warning("%d spans were dropped: the exporter is slower than they come; calls go on", new)

    def _export(self, spans: list[ReadableSpan]) -> bool:
        try:
            result: Any = self._exporter.export(spans)
        except Exception:
            result = None
            if not self._complained:  # once: it would be the same for every batch
                self._complained = True
                _log.exception("an exporter of spans failed; its spans are counted as failed, calls go on")
        return result is SpanExportResult.SUCCESS
