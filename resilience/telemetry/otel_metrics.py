"""The same metrics through OpenTelemetry: observable instruments that read the plain fields when they are asked.

OpenTelemetry has no observable histogram, and feeding a synchronous one would cost each call more than all else here.
So histograms join at the exporter: `Exporting` adds ours, whole and with exemplars, to whatever is exported anyway.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from .catalogue import CATALOGUE, Spec
from .families import Family, Point, read
from .measures import BOUNDS
from .metrics import Metrics

__all__ = ["Exporting", "instruments"]

_SCOPE = "resilience"
_FRESH = 0.05  # seconds for which one reading serves all the callbacks of one collection


def instruments(metrics: Metrics, provider: Any) -> None:
    """Make an observable instrument of this `MeterProvider` for each counter and gauge there is; once a provider.

    Callbacks run wherever the provider's readers collect, mostly a thread of their own. For histograms, wrap the
    exporter in `Exporting`.
    """
    meter = provider.get_meter(_SCOPE)
    reading = _Reading(metrics)
    makers = {
        "counter": meter.create_observable_counter,
        "updown": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }
    for spec in CATALOGUE.values():
        if spec.kind != "histogram":
            makers[spec.kind](spec.name, [_callback(reading, spec)], unit=spec.unit, description=spec.help)


class _Reading:
    """Forty callbacks ask at once, and one reading answers them all."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._until = 0.0
        self._found: dict[str, Family] = {}

    def family(self, name: str) -> Family | None:
        now = time.monotonic()
        if now >= self._until:
            self._found = {family.spec.name: family for family in read(self._metrics)}
            self._until = time.monotonic() + _FRESH
        return self._found.get(name)


def _callback(reading: _Reading, spec: Spec) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(options: CallbackOptions) -> Iterable[Observation]:
        family = reading.family(spec.name)
        return [] if family is None else [Observation(point.value, _attributes(point)) for point in family.points]

    return observe


def _attributes(point: Point) -> dict[str, Any]:
    """Labels as attributes; numbers as numbers where the conventions say so, and without those that do not apply."""
    return {
        name: int(value) if name in ("server.port", "http.response.status_code") else value
        for name, value in point.labels
        if value
    }


class Exporting(MetricExporter):
    """An exporter that also exports the histograms: ``PeriodicExportingMetricReader(Exporting(metrics, exporter))``.

    They are cumulative, from the time when `metrics` was made. Use it together with `instruments`: a reader that has
    nothing to collect does not export.
    """

    def __init__(self, metrics: Metrics, exporter: MetricExporter) -> None:
        super().__init__(
            preferred_temporality=exporter._preferred_temporality,
            preferred_aggregation=exporter._preferred_aggregation,
        )
        self._metrics, self._exporter = metrics, exporter

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        now, since = time.time_ns(), int(self._metrics.since * 1e9)
        ours = [_metric(family, since, now) for family in read(self._metrics) if family.spec.kind == "histogram"]
        parts = list(metrics_data.resource_metrics)
        if ours and parts:
            scopes = _joined(parts[0].scope_metrics, ours)
            parts[0] = ResourceMetrics(parts[0].resource, scopes, parts[0].schema_url)
        return self._exporter.export(MetricsData(parts), timeout_millis=timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        self._exporter.shutdown(timeout_millis=timeout_millis, **kwargs)


def _joined(scopes: Sequence[ScopeMetrics], ours: Sequence[Metric]) -> list[ScopeMetrics]:
    """With our histograms beside our instruments: of two parts with equal scopes, OTLP's encoder keeps the second."""
    mine = next((part for part in scopes if part.scope.name == _SCOPE), None)
    others = [part for part in scopes if part is not mine]
    if mine is None:
        mine = ScopeMetrics(InstrumentationScope(_SCOPE), [], "")
    return [*others, ScopeMetrics(mine.scope, [*mine.metrics, *ours], mine.schema_url)]


def _metric(family: Family, since: int, now: int) -> Metric:
    spec = family.spec
    points = [_histogram_point(point, since, now) for point in family.points]
    return Metric(spec.name, spec.help, spec.unit, Histogram(points, AggregationTemporality.CUMULATIVE))


def _histogram_point(point: Point, since: int, now: int) -> HistogramDataPoint:
    """Smallest and greatest are not counted: None leaves them out of OTLP's message, whose fields they need not be."""
    exemplars = [
        Exemplar({}, found.seconds, int(found.at * 1e9), int(found.span_id, 16), int(found.trace_id, 16))
        for found in point.examples.values()
    ]
    return HistogramDataPoint(
        attributes=_attributes(point),
        start_time_unix_nano=since,
        time_unix_nano=now,
        count=sum(point.counts),
        sum=point.value,
        bucket_counts=point.counts,
        explicit_bounds=BOUNDS,
        min=None,  # type: ignore[arg-type]
        max=None,  # type: ignore[arg-type]
        exemplars=exemplars,
    )
