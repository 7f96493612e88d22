"""Where the traces of this process come from: the provider that the application uses, or one of our own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from ..telemetry.settings import TelemetrySettings
    from .store import Store

__all__ = ["Tracing"]

_log = logging.getLogger("resilience")


class Tracing:
    """Feeds a store with the spans of pipelines. A call belongs to the first tracer, so an existing one is used."""

    def __init__(self, store: Store) -> None:
        self.settings: TelemetrySettings | None = None
        """Which calls our own provider keeps: what the file's ``telemetry:`` says, else the defaults."""
        self._store = store
        self._fed: list[Any] = []  # providers
        self._processors: list[Any] = []
        self._own: Any = None
        self._observed: list[Pipeline] = []

    def follow(self, pipelines: Iterable[Pipeline]) -> None:
        """Have the spans of these from now on."""
        from ..telemetry.spans import Tracer

        for pipeline in pipelines:
            tracer: Any = next((one for one in pipeline.observers if isinstance(one, Tracer)), None)
            if tracer is None:
                tracer = pipeline.discover()
            if tracer is None:
                tracer = self._tracer()
                pipeline.observe(tracer)
                self._observed.append(pipeline)
            self._feed(getattr(tracer, "provider", None))

    def _tracer(self) -> Any:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        from ..telemetry.spans import Tracer

        if self._own is None:
            resource = Resource.create()
            if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
                resource = resource.merge(Resource({"service.name": Path(sys.argv[0]).stem or "python"}))
            said = self.settings
            options = () if said is None else (said.traces, said.sample, said.slow, said.parenting)
            self._own = Tracer(TracerProvider(resource=resource, shutdown_on_exit=False), *options)
        return self._own

    def _feed(self, provider: Any) -> None:
        """Hear of the spans of this provider, which is asked once."""
        from opentelemetry.sdk.trace import TracerProvider

        from .local import LocalProcessor

        if any(provider is known for known in self._fed):
            return
        self._fed.append(provider)
        if not isinstance(provider, TracerProvider):
            _log.warning("dashboard: %s gives nobody its spans; no traces are shown", type(provider).__name__)
            return
        processor = LocalProcessor(self._store)
        provider.add_span_processor(processor)
        self._processors.append(processor)

    def exporter(self) -> dict[str, int] | None:
        """Spans that the hand-overs of the traced providers were given, summed; None where there is none.

        `queued`, `exported`, `failed` and `dropped`, as `Handover.status` has them.
        """
        found = [handover.status() for provider in self._fed for handover in _handovers(provider)]
        if not found:
            return None
        return {name: sum(each[name] for each in found) for name in found[0]}

    def settle(self) -> None:
        """Have the store know what has ended until now. Takes time: for a thread of its own."""
        for processor in self._processors:
            processor.force_flush()

    def leave(self, pipelines: Sequence[Pipeline]) -> None:
        """Trace these no longer, where it is our tracer that does."""
        for pipeline in [one for one in self._observed if any(one is other for other in pipelines)]:
            pipeline.unobserve(self._own)
            self._observed.remove(pipeline)

    def close(self) -> None:
        """Take no more spans. A provider keeps its processors for life; ours does nothing from now on."""
        for processor in self._processors:
            processor.shutdown()
        self.leave([*self._observed])
        if self._own is not None:
            self._own.provider.shutdown()
            self._own = None


def _handovers(provider: Any) -> list[Any]:
    """Those among a provider's processors, which it tells nobody in public."""
    from ..telemetry.handover import Handover

    every = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", ())
    return [processor for processor in every if isinstance(processor, Handover)]
