"""Where spans go when the application has no provider of its own: stderr, or an OTLP/HTTP back end.

Both are fed by a hand-over that works in a thread of its own (`handover`): nothing here ever waits on the event loop.
A provider that the application has set is used as it is, and never shut down by us.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import urlsplit

from ..errors import ConfigError
from .settings import TelemetrySettings
from .sinks import sink_for
from .spans import Tracer

if TYPE_CHECKING:
    from .handover import Handover

__all__ = ["OwnTracer", "console_exporter", "otlp_exporter", "start"]

_log = logging.getLogger("resilience")


def start(settings: TelemetrySettings) -> Tracer | None:
    """The tracer that these settings ask for, or None where nothing is to be traced.

    Spans go to the global `TracerProvider` if the application has set one, otherwise to a provider made here, which an
    `OwnTracer` closes. Raises `ConfigError` if a package is missing that the settings need.
    """
    from opentelemetry import trace

    provider: Any = trace.get_tracer_provider()
    options = (settings.traces, settings.sample, settings.slow, settings.parenting)
    if not isinstance(provider, trace.ProxyTracerProvider):
        if settings.otlp or settings.console:
            _log.warning(
                "telemetry: a global TracerProvider is set and takes the spans; otlp and console of the "
                "configuration are not used"
            )
        return None if sink_for(provider) is None else Tracer(provider, *options)
    if settings.traces == "off" or not (settings.otlp or settings.console):
        return None
    provider, handovers = _provider(settings)
    if sink_for(provider) is None:  # switched off by the environment: OTEL_SDK_DISABLED, OTEL_TRACES_SAMPLER=always_off
        provider.shutdown()
        return None
    tracer = OwnTracer(provider, *options)
    tracer.handovers = handovers
    return tracer


class OwnTracer(Tracer):
    """A tracer whose provider was made for it, and ends with it."""

    handovers: tuple[Handover, ...] = ()
    _closed = False

    def status(self) -> dict[str, int]:
        """Spans so far, summed over the exporters: `queued`, `exported`, `failed`, `dropped`; none is in no count."""
        rows = [handover.status() for handover in self.handovers]
        return {key: sum(row[key] for row in rows) for key in ("queued", "exported", "failed", "dropped")}

    def shutdown(self) -> None:
        """Send what is pending and stop the exporters; once. Blocks until the back end took it or gave up."""
        if not self._closed:
            self._closed = True
            self.provider.shutdown()

    async def aclose(self) -> None:
        """`shutdown` in a thread, because it waits for the network."""
        await asyncio.to_thread(self.shutdown)


def _provider(settings: TelemetrySettings) -> tuple[Any, tuple[Handover, ...]]:
    from opentelemetry.sdk.trace import TracerProvider

    from .handover import Handover

    exporters = []
    if settings.otlp:
        exporters.append(otlp_exporter(settings.otlp))
    if settings.console:
        exporters.append(console_exporter())
    provider = TracerProvider()
    handovers = tuple(Handover(exporter) for exporter in exporters)
    for handover in handovers:
        provider.add_span_processor(handover)
    return provider, handovers


def otlp_exporter(address: str) -> Any:
    """An exporter to an OTLP/HTTP back end. An address without a path means its ``/v1/traces``."""
    try:
        module = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError as error:
        raise ConfigError(
            "telemetry: otlp needs a package that is missing; pip install 'exchange-resilience[otlp]'"
        ) from error
    if urlsplit(address).path in ("", "/"):
        address = address.rstrip("/") + "/v1/traces"
    return module.OTLPSpanExporter(endpoint=address)


def console_exporter(out: TextIO | None = None) -> Any:
    """An exporter that writes one line of JSON a span. To stderr: stdout belongs to what a command answers."""
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    return ConsoleSpanExporter(out=out or sys.stderr, formatter=lambda span: span.to_json(indent=None) + "\n")
