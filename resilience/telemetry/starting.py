"""What ``telemetry:`` in a configuration file starts: the tracer, and on request exact metrics and the log of calls.

Metrics can be read on the dashboard's ``/metrics``, go to the global `MeterProvider` if the application has set one
(then or later), and otherwise by OTLP to where the spans go.
"""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import ConfigError
from .export import start
from .metrics import Metrics
from .settings import TelemetrySettings

if TYPE_CHECKING:
    from ..events import Emit

__all__ = ["OwnMetrics", "observers"]

_log = logging.getLogger("resilience")
_TRACES, _METRICS = "/v1/traces", "/v1/metrics"


def observers(settings: TelemetrySettings) -> tuple[Emit, ...]:
    """All that these settings ask for. Raises `ConfigError` if a package is missing that they need."""
    found: list[Emit] = []
    if settings.metrics:
        found.append(_metrics(settings.otlp))
    if settings.logs:
        from .log import CallLog

        found.append(CallLog())
    tracer = start(settings)
    return tuple(found) if tracer is None else (*found, tracer)


class OwnMetrics(Metrics):
    """Metrics whose provider was made for them, and ends with them."""

    provider: Any = None

    async def aclose(self) -> None:
        """Send the last numbers, in a thread, because that waits for the network; once."""
        provider, self.provider = self.provider, None
        if provider is not None:
            await asyncio.to_thread(provider.shutdown)


def _metrics(otlp: str | None) -> Metrics:
    from opentelemetry.metrics import get_meter_provider

    from .otel_metrics import instruments

    metrics = OwnMetrics()
    provider: Any = get_meter_provider()
    unset = type(provider).__module__.startswith("opentelemetry.metrics.")  # the placeholder of the API itself
    if otlp and unset:
        provider = metrics.provider = _provider(metrics, otlp)
    elif otlp:
        _log.warning("telemetry: a global MeterProvider is set and takes the metrics; they do not go to otlp")
    instruments(metrics, provider)
    return metrics


def _provider(metrics: Metrics, otlp: str) -> Any:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    from .otel_metrics import Exporting

    try:
        module = import_module("opentelemetry.exporter.otlp.proto.http.metric_exporter")
    except ImportError as error:
        raise ConfigError(
            "telemetry: otlp needs a package that is missing; pip install 'exchange-resilience[otlp]'"
        ) from error
    exporter = module.OTLPMetricExporter(endpoint=_address(otlp))
    return MeterProvider([PeriodicExportingMetricReader(Exporting(metrics, exporter))])


def _address(otlp: str) -> str:
    """Where metrics go, from where spans go. Raises `ConfigError` for a path that does not tell."""
    path = urlsplit(otlp).path.rstrip("/")
    base = otlp.rstrip("/")
    if path.endswith(_TRACES):
        return base.removesuffix(_TRACES) + _METRICS
    if path:
        raise ConfigError(f"telemetry: metrics cannot tell from the path of {otlp} where they go; end it in {_TRACES}")
    return base + _METRICS
