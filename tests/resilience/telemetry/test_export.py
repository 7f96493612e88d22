"""The settings, and what `start` makes of them: exporters, a provider of our own, and its end."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import io
import json
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from resilience import ConfigError, Op, Pipeline
from resilience.telemetry import TelemetrySettings, start
from resilience.telemetry.export import OwnTracer, console_exporter
from resilience.testing import Script, virtual


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"traces": "some"}, "traces is 'some', must be one of tail, always, inherit, off"),
        ({"parenting": True}, "parenting is True, must be one of on, auto, off"),
        ({"sample": 1.5}, "sample is 1.5"),
        ({"slow": 0}, "slow is 0"),
        ({"console": "yes"}, "console is 'yes', must be true or false"),
        ({"otlp": "localhost:4318"}, "otlp is 'localhost:4318', must be an address such as"),
        ({"otlp": "http://"}, "must be an address such as"),
        ({"otlp": "http://h:port"}, "must be an address such as"),
        ({"otlp": 4318}, "otlp is 4318"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(fields: dict[str, Any], problem: str) -> None:
    """It names the field, what was found and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        TelemetrySettings(**fields)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("otlp", ["http://me:hush@host:4318", "http://host/v1/traces?key=hush", "http://me:hush@h:x"])
def test_an_address_with_a_secret_is_refused_without_repeating_it(otlp: str) -> None:
    """The settings' repr would show it, and so would the error."""
    with pytest.raises(ConfigError, match="OTEL_EXPORTER_OTLP_HEADERS") as caught:
        TelemetrySettings(otlp=otlp)
    assert "hush" not in str(caught.value)


def test_nowhere_to_send_spans_is_no_tracer() -> None:
    """With no global provider and no exporter nobody observes; nor where traces are off."""
    assert start(TelemetrySettings()) is None
    assert start(TelemetrySettings(traces="off", console=True)) is None


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_SAMPLER", "always_off")])
def test_opentelemetrys_own_switches_are_heard(monkeypatch: Any, name: str, value: str) -> None:
    """Whoever switches the SDK off by environment gets no tracer, and no error."""
    monkeypatch.setenv(name, value)
    assert start(TelemetrySettings(console=True)) is None


@virtual
async def test_the_console_gets_one_line_of_json_per_span(capsys: Any) -> None:
    """On stderr, as stdout belongs to what a command answers. The shutdown sends what is pending, a second nothing."""
    tracer = start(TelemetrySettings(traces="always", console=True))
    assert isinstance(tracer, OwnTracer)
    await Pipeline(observers=(tracer,)).run(Script(), op=Op("read"))
    tracer.shutdown()
    tracer.shutdown()
    shown = capsys.readouterr()
    assert shown.out == ""
    spans = [json.loads(line) for line in shown.err.splitlines()]
    assert [(span["name"], span["kind"]) for span in spans] == [
        ("read", "SpanKind.CLIENT"),
        ("read", "SpanKind.INTERNAL"),
    ]


@virtual
async def test_the_console_line_carries_no_control_characters(traced: Any) -> None:
    """A name cannot clear the terminal: control characters are escaped."""
    await Pipeline(observers=(traced.tracer("always"),)).run(Script(), op=Op("\x1b[2Jread\n"))
    out = io.StringIO()
    console_exporter(out).export(traced.spans)
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("\n") == 2


class _Collector(http.server.BaseHTTPRequestHandler):
    """An OTLP/HTTP back end that keeps what it gets."""

    got: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.got.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def collector() -> Iterator[http.server.ThreadingHTTPServer]:
    handler = type("Handler", (_Collector,), {"got": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
def test_otlp_reaches_a_back_end(collector: Any, path: str) -> None:
    """Call and attempt arrive as protobuf at /v1/traces, once the tracer is closed."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter", reason="the otlp extra is missing")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    async def main() -> None:
        tracer = start(TelemetrySettings(traces="always", otlp=f"http://127.0.0.1:{collector.server_port}{path}"))
        assert isinstance(tracer, OwnTracer)
        await Pipeline(observers=(tracer,)).run(Script(), op=Op("read"))
        await tracer.aclose()
        await tracer.aclose()

    asyncio.run(main())
    ((where, body),) = collector.RequestHandlerClass.got
    assert where == "/v1/traces"
    request = ExportTraceServiceRequest.FromString(body)
    (scope,) = request.resource_spans[0].scope_spans
    assert scope.scope.name == "resilience"
    attempt, call = scope.spans
    assert (attempt.name, call.name) == ("read", "read")
    assert attempt.parent_span_id == call.span_id
    assert attempt.end_time_unix_nano >= attempt.start_time_unix_nano > 0


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: Any) -> None:
    """One clear line, when the tracer is started and not at the first span."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"pip install 'exchange-resilience\[otlp\]'"):
        start(TelemetrySettings(otlp="http://127.0.0.1:4318"))


def test_a_global_provider_goes_before_the_configured_exporters() -> None:
    """Spans go there with the settings of the configuration; unused exporters are pointed out; it is not shut down."""
    program = """
        import asyncio, logging
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from resilience import Pipeline
        from resilience.telemetry import TelemetrySettings, start

        async def fetch():
            pass

        logging.basicConfig(format="%(message)s")
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        trace.set_tracer_provider(provider)
        for traces in "always", "off":
            tracer = start(TelemetrySettings(traces=traces, console=traces == "always"))
            asyncio.run(Pipeline(observers=(tracer,)).run(fetch))
            print(len(exporter.get_finished_spans()), hasattr(tracer, "shutdown"), end=" ")
    """
    done = subprocess.run(  # noqa: S603 (our own text)
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "2 False 2 False "
    assert done.stderr.strip().splitlines() == [
        "telemetry: a global TracerProvider is set and takes the spans; "
        "otlp and console of the configuration are not used"
    ]


def test_checking_a_configuration_needs_no_opentelemetry() -> None:
    """The settings can be read where nothing is traced."""
    program = "import sys, resilience.telemetry.settings; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    assert done.stdout == "False\n"
