"""OpenTelemetry's own SDK reads our plain fields, and its exporters carry them."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    InMemoryMetricReader,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)  # fmt: skip

from resilience import Breaker, Bulkhead, Op, Pipeline, Retry
from resilience.telemetry import Metrics
from resilience.telemetry.catalogue import CATALOGUE
from resilience.telemetry.families import read
from resilience.telemetry.measures import BOUNDS
from resilience.telemetry.otel_metrics import Exporting, instruments
from resilience.testing import Script, after, virtual

READ = Op("read", idempotent=True)


def by_name(data: MetricsData | None) -> dict[str, Any]:
    """Metrics by name; no name comes twice."""
    assert data is not None
    found = [m for resource in data.resource_metrics for scope in resource.scope_metrics for m in scope.metrics]
    names = {metric.name: metric for metric in found}
    assert len(names) == len(found)
    return names


class Keeping(MetricExporter):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[MetricsData] = []
        self.flushed = self.closed = False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **kwargs: Any) -> MetricExportResult:
        self.kept.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        self.flushed = True
        return True

    def shutdown(self, timeout_millis: float = 0, **kwargs: Any) -> None:
        self.closed = True


@virtual
async def test_instruments_read_the_same_numbers() -> None:
    """Counters, up-down counters and gauges, with units and attributes by the conventions."""
    metrics, reader = Metrics(), InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instruments(metrics, provider)
    pipeline = Pipeline(Retry(wait=0), Breaker(), Bulkhead(4), name="p", observers=(metrics,))
    await pipeline.run(Script(ConnectionRefusedError(), 1), op=READ)
    found = by_name(reader.get_metrics_data())
    ours = {family.spec.name: family for family in read(metrics) if family.spec.kind != "histogram"}
    assert set(found) == set(ours)
    for name, family in ours.items():
        assert found[name].unit == CATALOGUE[name].unit
        points = {tuple(sorted(point.attributes.items())): point.value for point in found[name].data.data_points}
        expected = {tuple(sorted((k, v) for k, v in point.labels if v)): point.value for point in family.points}
        assert points == pytest.approx(expected, abs=1), name
    attempts = {
        point.attributes["resilience.attempt.kind"]: point for point in found["resilience.attempts"].data.data_points
    }
    assert attempts["retry"].value == 1
    assert "error.type" not in attempts["retry"].attributes
    assert found["resilience.calls"].data.is_monotonic
    assert not found["resilience.bulkhead.usage"].data.is_monotonic
    provider.shutdown()


@virtual
async def test_later_collections_see_later_numbers() -> None:
    """One reading serves one collection, and not the next."""
    metrics, reader = Metrics(), InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instruments(metrics, provider)
    assert "resilience.calls" not in by_name(reader.get_metrics_data())
    pipeline = Pipeline(name="p", observers=(metrics,))
    await pipeline.run(Script(), op=READ)
    time.sleep(0.06)  # noqa: ASYNC251 (the reading is fresh by the wall clock, for a twentieth of a second)
    assert by_name(reader.get_metrics_data())["resilience.calls"].data.data_points[0].value == 1
    provider.shutdown()


@virtual
async def test_histograms_join_at_the_exporter(traced: Any) -> None:
    """Whole: bounds, counts, sum, and exemplars with the ids of the kept trace."""
    metrics, keeping = Metrics(), Keeping()
    exporter = Exporting(metrics, keeping)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instruments(metrics, provider)
    pipeline = Pipeline(Retry(wait=0), name="p", observers=(metrics, traced.tracer()))
    await pipeline.run(Script(ConnectionRefusedError(), after(0.3)), op=READ)
    provider.force_flush()
    found = by_name(keeping.kept[-1])
    assert found["resilience.calls"].data.data_points[0].value == 1
    assert len(keeping.kept[-1].resource_metrics[0].scope_metrics) == 1  # of two equal ones OTLP's encoder loses one
    durations = found["resilience.call.duration"]
    assert durations.unit == "s"
    (point,) = durations.data.data_points
    assert dict(point.attributes) == {"resilience.pipeline": "p", "resilience.op": "read", "resilience.outcome": "ok"}
    assert (point.count, point.sum, tuple(point.explicit_bounds)) == (1, pytest.approx(0.3), BOUNDS)
    assert list(point.bucket_counts) == [0] * 7 + [1] + [0] * 7
    assert point.start_time_unix_nano == int(metrics.since * 1e9) <= point.time_unix_nano
    (exemplar,) = point.exemplars
    assert exemplar.trace_id == traced.call.context.trace_id
    assert exemplar.span_id == traced.call.context.span_id
    assert exemplar.value == pytest.approx(0.3)
    provider.shutdown()
    assert keeping.flushed
    assert keeping.closed


@virtual
async def test_the_consoles_json_is_json() -> None:
    """What is not measured is null there, and no NaN."""
    metrics, out = Metrics(), io.StringIO()
    exporter = Exporting(metrics, ConsoleMetricExporter(out))
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instruments(metrics, provider)
    pipeline = Pipeline(name="p", observers=(metrics,))
    await pipeline.run(Script(), op=READ)
    provider.force_flush()
    assert "NaN" not in out.getvalue()
    assert json.loads(out.getvalue())
    assert '"resilience.call.duration"' in out.getvalue()
    provider.shutdown()


@virtual
async def test_somebody_elses_metrics_stay_as_they_are() -> None:
    """Beside ours, in their own scope; and where ours have no instruments, the histograms come alone."""
    metrics, keeping = Metrics(), Keeping()
    reader = PeriodicExportingMetricReader(Exporting(metrics, keeping), export_interval_millis=float("inf"))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("theirs").create_counter("orders").add(3)
    provider.force_flush()
    assert set(by_name(keeping.kept[-1])) == {"orders"}
    pipeline = Pipeline(name="p", observers=(metrics,))
    await pipeline.run(Script(), op=READ)
    provider.force_flush()
    scopes = {part.scope.name: part for part in keeping.kept[-1].resource_metrics[0].scope_metrics}
    assert [metric.name for metric in scopes["theirs"].metrics] == ["orders"]
    assert {metric.name for metric in scopes["resilience"].metrics} >= {"resilience.call.duration"}
    provider.shutdown()
