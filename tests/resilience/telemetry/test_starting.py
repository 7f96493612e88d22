"""``telemetry: {metrics: true, logs: true}``: what is started, where the numbers go, and that it ends."""

from __future__ import annotations

import asyncio
import http.server
import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import resilience
from resilience import ConfigError, Op, Pipeline
from resilience.telemetry import CallLog, Metrics, TelemetrySettings
from resilience.telemetry.starting import OwnMetrics, observers
from resilience.testing import Script

READ = Op("read", idempotent=True)
FILE = "version: 1\npipelines: {{market: [retry: {{attempts: 2, wait: 0}}]}}\ntelemetry: {{{}}}\n"


def test_nothing_is_started_that_was_not_asked_for() -> None:
    """By default neither."""
    assert observers(TelemetrySettings()) == ()
    kinds = [type(one) for one in observers(TelemetrySettings(metrics=True, logs=True))]
    assert kinds == [OwnMetrics, CallLog]


@pytest.mark.parametrize("name", ["metrics", "logs"])
def test_a_switch_is_true_or_false(name: str) -> None:
    """One clear line otherwise."""
    fields: dict[str, Any] = {name: "yes"}
    with pytest.raises(ConfigError, match=f"telemetry: {name} is 'yes', must be true or false"):
        TelemetrySettings(**fields)


def test_a_file_switches_them_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A retried call is counted and logged; a dashboard beside them exposes these very metrics."""
    path = tmp_path / "pipelines.yaml"
    path.write_text(FILE.format("metrics: true, logs: true"))
    market = resilience.load(path)["market"]
    with caplog.at_level(logging.INFO, "resilience.calls"):
        asyncio.run(market.run(Script(ConnectionRefusedError(), "ok"), op=READ))
    (metrics,) = [one for one in market.observers if isinstance(one, Metrics)]
    (op,) = metrics.operations
    assert (op.outcomes, op.kinds["retry"]) == ({"ok": 1}, 1)
    assert [record.getMessage().split(" after")[0] for record in caplog.records] == ["market: read succeeded"]


def test_its_lines_and_exemplars_carry_the_trace() -> None:
    """The tracer stands inside of both, whatever the order in the file."""
    program = """
        import asyncio, logging, sys, resilience
        from resilience.telemetry import Metrics
        from resilience.telemetry.prometheus import render
        from resilience.testing import Script
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
        market = resilience.load(sys.argv[1])["market"]
        asyncio.run(market.run(Script(ConnectionRefusedError(), "ok"), op=resilience.Op("read", idempotent=True)))
        (metrics,) = [one for one in market.observers if isinstance(one, Metrics)]
        print([line for line in render(metrics, openmetrics=True).split("\\n") if "# {" in line][0])
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipelines.yaml"
        path.write_text(FILE.format("console: true, metrics: true, logs: true"))
        command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    line, exemplar = done.stdout.splitlines()
    trace = line.rpartition("trace ")[2]
    assert len(trace) == 32
    assert f'trace_id="{trace}"' in exemplar


class _Collector(http.server.BaseHTTPRequestHandler):
    """An OTLP/HTTP back end that keeps the paths it is asked for."""

    paths: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.paths.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def collector() -> Iterator[http.server.ThreadingHTTPServer]:
    handler = type("Handler", (_Collector,), {"paths": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["", "/v1/traces"])
def test_metrics_go_where_the_spans_go(collector: Any, path: str) -> None:
    """To its /v1/metrics, at the latest when it is closed."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the otlp extra is missing")

    async def main() -> None:
        made = observers(TelemetrySettings(metrics=True, otlp=f"http://127.0.0.1:{collector.server_port}{path}"))
        metrics, tracer = made
        await Pipeline(observers=made).run(Script("ok"), op=READ)
        for _ in range(2):
            await metrics.aclose()  # type: ignore[attr-defined]
            await tracer.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())
    assert collector.RequestHandlerClass.paths == ["/v1/metrics"]  # the clean call is not in the sample of one in 100


def test_a_path_that_does_not_tell_is_refused() -> None:
    """One line that says how it must end."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the otlp extra is missing")
    with pytest.raises(ConfigError, match=r"end it in /v1/traces"):
        observers(TelemetrySettings(metrics=True, otlp="http://127.0.0.1:4318/spans"))


def test_a_global_meter_provider_takes_the_metrics() -> None:
    """Also one that is set afterwards; what was to go to otlp is pointed out."""
    program = """
        import asyncio, logging, sys
        logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(message)s")
        from opentelemetry import metrics as api
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from resilience import Op, Pipeline
        from resilience.telemetry import TelemetrySettings
        from resilience.telemetry.starting import observers
        from resilience.testing import Script
        made = observers(TelemetrySettings(metrics=True))
        reader = InMemoryMetricReader()
        api.set_meter_provider(MeterProvider([reader]))
        asyncio.run(Pipeline(name="p", observers=made).run(Script("ok"), op=Op("read")))
        found = [m.name for r in reader.get_metrics_data().resource_metrics for s in r.scope_metrics for m in s.metrics]
        print("resilience.calls" in found)
        observers(TelemetrySettings(metrics=True, traces="off", otlp="http://127.0.0.1:9"))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    first, *rest = done.stdout.splitlines()
    assert first == "True"
    assert any("a global MeterProvider is set and takes the metrics" in line for line in rest)
