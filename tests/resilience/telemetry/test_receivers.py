"""OTLP end to end, into a receiver that nobody here wrote: `otelsink` of the package oteltest.

It runs where that is installed (``pip install oteltest``), and is skipped loudly elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from resilience import Breaker, Op, Pipeline, Retry
from resilience.telemetry import Metrics, TelemetrySettings, start
from resilience.testing import Script

oteltest = pytest.importorskip("oteltest.sink", reason="oteltest is not installed: OTLP WAS NOT PROVED END TO END")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the otlp extra is missing")

READ = Op("read", idempotent=True)
WITHIN = 20.0


@pytest.fixture
def sink() -> Iterator[tuple[str, Any]]:
    """Its address, and what it has got so far."""
    from oteltest.sink.handler import AccumulatingHandler

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    handler = AccumulatingHandler()
    server = oteltest.HttpSink(handler, logging.getLogger("otelsink"), port)
    server.start()
    until = time.monotonic() + WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.01)
    yield f"http://127.0.0.1:{port}", handler.telemetry
    server.stop()


def _attributes(of: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in of.attributes}


def test_a_retried_call_arrives_as_one_trace(sink: Any) -> None:
    """Its call and its two attempts, with parents, times, causes and the status of each."""
    address, got = sink

    async def main() -> None:
        tracer = start(TelemetrySettings(otlp=address, sample=0))
        pipeline = Pipeline(Retry(wait=0), name="market", observers=(tracer,))
        for _ in range(20):
            await pipeline.run(Script(), op=READ)
        await pipeline.run(Script(ConnectionRefusedError(), 1), op=READ)
        await tracer.aclose()

    asyncio.run(main())
    spans = [
        span
        for request in got.get_trace_requests()
        for resource in request.pbreq.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    first, second, call = sorted(spans, key=lambda span: span.end_time_unix_nano)
    assert {span.trace_id for span in spans} == {call.trace_id}
    assert first.parent_span_id == second.parent_span_id == call.span_id
    assert call.parent_span_id == b""
    assert _attributes(call)["resilience.sampling.reason"] == "retried"
    assert [_attributes(span)["resilience.attempt.number"] for span in (first, second)] == [1, 2]
    assert _attributes(first)["error.type"] == "ConnectionRefusedError"
    assert "error.type" not in _attributes(second)
    assert [span.status.code for span in (first, second, call)] == [2, 0, 0]
    assert call.start_time_unix_nano <= first.start_time_unix_nano <= first.end_time_unix_nano
    assert second.end_time_unix_nano <= call.end_time_unix_nano


def test_metrics_arrive_with_histograms_and_exemplars(sink: Any) -> None:
    """Counters, gauges, and the histogram whose exemplar is the trace that was kept."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    from resilience.telemetry.otel_metrics import Exporting, instruments

    address, got = sink
    metrics = Metrics()
    exporter = Exporting(metrics, OTLPMetricExporter(endpoint=f"{address}/v1/metrics"))
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
    provider = MeterProvider([reader], shutdown_on_exit=False)
    instruments(metrics, provider)

    async def main() -> None:
        tracer = start(TelemetrySettings(otlp=address))
        pipeline = Pipeline(Retry(wait=0), Breaker(), name="market", observers=(metrics, tracer))
        await pipeline.run(Script(ConnectionRefusedError(), 1), op=READ)
        await tracer.aclose()
        await asyncio.to_thread(provider.force_flush)

    asyncio.run(main())
    provider.shutdown()
    arrived = {
        metric.name: metric
        for request in got.get_metric_requests()
        for resource in request.pbreq.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    (calls,) = arrived["resilience.calls"].sum.data_points
    assert (calls.as_int, _attributes(calls)["resilience.outcome"]) == (1, "ok")
    states = {
        _attributes(point)["resilience.state"]: point.as_int
        for point in arrived["resilience.breaker.state"].gauge.data_points
    }
    assert states["closed"] == 1
    assert sum(states.values()) == 1
    (duration,) = arrived["resilience.call.duration"].histogram.data_points
    assert (duration.count, sum(duration.bucket_counts), len(duration.explicit_bounds)) == (1, 1, 14)
    assert not duration.HasField("min")
    (exemplar,) = duration.exemplars
    (request,) = got.get_trace_requests()
    assert exemplar.trace_id == request.pbreq.resource_spans[0].scope_spans[0].spans[0].trace_id
