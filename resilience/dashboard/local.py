"""Spans of the same process: a span processor that puts every finished span into a store."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from .rows import from_readable

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

    from .store import Store

__all__ = ["LocalProcessor"]

_log = logging.getLogger("resilience")


class LocalProcessor(SpanProcessor):
    """Gives a provider's finished, sampled spans to a store of this process; `failed` counts those it could not."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open = True
        self.failed = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing: what has not ended is not shown."""

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it. Never raises: a call must not fail because somebody looks on."""
        if not self._open:
            return
        try:
            if span.context.trace_flags.sampled:
                self._store.add((from_readable(span),))
        except Exception:
            self.failed += 1
            if self.failed == 1:  # it would be the same for every span
                _log.exception("the dashboard could not keep a span; calls go on")

    def shutdown(self) -> None:
        """Take no more; the store stays as it is."""
        self._open = False

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits."""
        return True
