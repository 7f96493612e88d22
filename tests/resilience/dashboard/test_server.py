"""The server: what it answers, what it refuses, and that nothing that is done to it is felt by a call."""

from __future__ import annotations

import asyncio
import gc
import gzip
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from served import ask, on_sockets, raw, served

from exchanges import ExchangeManager
from resilience import ConfigError, Op, Pipeline, PipelineRegistry, Retry, cli, load
from resilience.config import check_file
from resilience.dashboard import Dashboard, Store, api, door, server
from resilience.dashboard.ingest import IngestError
from resilience.dashboard.pages import Pages
from resilience.telemetry import Handover, Tracer
from resilience.testing import Script

READ = Op("read", idempotent=True)
OTLP = {"Content-Type": "application/json"}


async def retried(pipeline: Pipeline) -> None:
    await pipeline.run(Script(ConnectionRefusedError(), "ok"), op=READ)


def market(name: str = "market", **options: Any) -> Pipeline:
    return Pipeline(Retry(attempts=2, wait=0), name=name, **options)


@on_sockets
async def test_a_retried_call_can_be_found_opened_exported_and_imported() -> None:
    """All of the interface's questions are answered, in JSON."""
    pipeline = market()
    async with served(pipeline) as dashboard, served() as other:
        await retried(pipeline)
        listed = (await ask(dashboard, "/api/traces?q=reason:retried&limit=5")).json
        (summary,) = listed["traces"]
        assert (summary["op"], summary["attempts"], listed["matched"]) == ("read", 2, 1)
        found = await ask(dashboard, f"/api/traces/{summary['trace_id']}")
        assert (found.status, len(found.json["spans"]), found.headers["Content-Type"]) == (200, 3, "application/json")
        (group,) = (await ask(dashboard, "/api/errors?since=0")).json["groups"]  # the call itself went well
        assert (group["what"], group["error_type"], group["count"]) == ("attempt", "ConnectionRefusedError", 1)
        assert (await ask(dashboard, "/api/heatmap?op=read&bins=5")).json["ms"]
        assert (await ask(dashboard, "/api/bubble?q=op:read")).json["selected"] == 1
        same = f"a={summary['trace_id']}&b={summary['trace_id']}"
        assert (await ask(dashboard, f"/api/compare?{same}")).json["differences"] == []
        exported = await ask(dashboard, f"/api/traces/{summary['trace_id']}/otlp")
        assert exported.headers["Content-Disposition"] == f'attachment; filename="trace-{summary["trace_id"]}.json"'
        assert (await ask(other, "/api/import", "POST", data=exported.body, headers=OTLP)).json == {
            "accepted": 3,
            "rejected": 0,
        }
        again = (await ask(other, f"/api/traces/{summary['trace_id']}")).json
        assert (again["spans"], again["why"]) == (found.json["spans"], found.json["why"])
        (op,) = (await ask(other, "/api/snapshot")).json["ops"]
        assert (op["pipeline"], op["op"], op["calls"], op["actual"]) == ("market", "read", 1, 0.5)


@on_sockets
async def test_spans_are_taken_over_otlp_and_answered_in_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain and gzipped. What cannot be read is refused in one line."""
    body = json.dumps({"resourceSpans": []}).encode()
    async with served() as dashboard:
        for data, headers, status in (
            (body, OTLP, 200),
            (gzip.compress(body), {**OTLP, "Content-Encoding": "gzip"}, 200),
            (b"", {"Content-Type": "application/x-protobuf"}, 200),
            (b"\xff", {"Content-Type": "application/x-protobuf"}, 400),
            (b"{", OTLP, 400),
            (b"[" * 100_000, OTLP, 400),
            (body, {"Content-Type": "text/plain"}, 415),
            (body, {**OTLP, "Content-Encoding": "br"}, 415),
            (gzip.compress(b" " * 100_000_000), {**OTLP, "Content-Encoding": "gzip"}, 413),
            (io.BytesIO(b" " * 5_000_000), OTLP, 413),
        ):
            reply = await ask(dashboard, "/v1/traces", "POST", data=data, headers=headers)
            assert reply.status == status, (headers, reply)
            if status == 200:
                assert reply.headers["Content-Type"] == headers["Content-Type"]
            else:
                assert (list(reply.json), "\n" in reply.json["error"]) == (["error"], False)
        assert (
            await ask(dashboard, "/api/import", "POST", data=body, headers={"Content-Type": "text/plain"})
        ).status == 415

        monkeypatch.setattr(api, "MOST_BODY", 100)
        head = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        unknown = (
            head + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n65\r\n" + b" " * 101 + b"\r\n0\r\n\r\n"
        )
        assert (await raw(dashboard, unknown)).startswith(b"HTTP/1.1 413")


@on_sockets
async def test_a_body_that_is_refused_is_not_kept_until_the_garbage_is_collected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An exception of another thread holds on to that thread's frames, in a circle: it must not come here as one."""
    bodies: list[weakref.ref[Any]] = []

    class Body(bytearray):
        """Bytes that can be referred to weakly."""

    def take(store: Any, body: bytes, *_: Any) -> Any:
        kept = Body(body)
        bodies.append(weakref.ref(kept))
        raise IngestError(400, "no")

    monkeypatch.setattr(api, "take", take)
    async with served() as dashboard:
        gc.disable()
        try:
            assert (await ask(dashboard, "/v1/traces", "POST", data=b"{", headers=OTLP)).json == {"error": "no"}
            assert [body() for body in bodies] == [None]
        finally:
            gc.enable()


@on_sockets
async def test_a_question_that_cannot_be_answered_says_why_in_one_line() -> None:
    """400 for what is not understood, 404 for what is not there."""
    async with served() as dashboard:
        for path, status in (
            ("/api/traces?q=zz:1", 400),
            ("/api/traces?since=x", 400),
            ("/api/traces?until=nan", 400),
            ("/api/traces?limit=1e99", 400),
            ("/api/traces?before=x", 400),
            ("/api/traces/" + "0" * 32, 404),
            ("/api/traces/x/otlp", 404),
            ("/api/compare", 404),
            ("/api/bubble?q=attempts%3Ex", 400),
            ("/metrics", 404),
            ("/nowhere", 404),
            ("/static/..%2F..%2Fserver.py", 404),
            ("/static/%2e%2e/server.py", 404),
            ("/static/server.py", 404),
        ):
            reply = await ask(dashboard, path)
            assert (reply.status, list(reply.json), "\n" in reply.json["error"]) == (status, ["error"], False), path
        assert (await ask(dashboard, "/api/traces?limit=-5&since=0&q=")).status == 200


@on_sockets
async def test_the_pages_files_are_a_fixed_list_with_types_and_etags(tmp_path: Path) -> None:
    """Every address of the page is index.html; a file that the browser has is not sent again."""
    for name, text in (
        ("index.html", "<p>"),
        ("app.js", "1"),
        ("parts.css", "p{}"),
        ("icon.svg", "<svg/>"),
        ("x.py", ""),
    ):
        (tmp_path / name).write_text(text)
    async with served() as dashboard:
        dashboard._api._pages = pages = Pages(tmp_path)
        assert pages.names == ["app.js", "icon.svg", "index.html", "parts.css"]
        for path in ("/", "/traces", "/traces/abc", "/latency", "/errors", "/compare", "/pipelines"):
            reply = await ask(dashboard, path)
            assert (reply.status, reply.body, reply.headers["Content-Type"]) == (
                200,
                b"<p>",
                "text/html; charset=utf-8",
            ), path
        for name, kind in (("app.js", "text/javascript"), ("parts.css", "text/css"), ("icon.svg", "image/svg+xml")):
            reply = await ask(dashboard, f"/static/{name}")
            assert reply.headers["Content-Type"].startswith(kind)
            assert (reply.headers["Cache-Control"], reply.headers["X-Content-Type-Options"]) == ("no-cache", "nosniff")
            tag = {"If-None-Match": f'"other", {reply.headers["ETag"]}'}
            again = await ask(dashboard, f"/static/{name}", headers=tag)
            assert (again.status, again.body) == (304, b"")
        assert (await ask(dashboard, "/static/x.py")).status == 404


@on_sockets
async def test_a_pages_files_lie_where_a_browser_may_keep_them_for_good() -> None:
    """Their address has the contents' digest in it: those of another version are not here."""
    async with served() as dashboard:
        page = await ask(dashboard, "/errors")
        assert page.headers["Cache-Control"] == "no-cache"
        names = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.body.decode())
        links = re.findall(r"<(/static/[^>]+)>; rel=modulepreload", page.headers["Link"])
        assert len(names) >= 5
        assert {Path(link).name for link in links} == {
            "app.js",
            "api.js",
            "dom.js",
            "errors.js",
            "format.js",
            "charts.js",
        }
        for address in {*names, *links}:
            reply = await ask(dashboard, address)
            assert (reply.status, reply.headers["Cache-Control"]) == (200, "max-age=31536000, immutable"), address
        assert (await ask(dashboard, re.sub(r"/static/\w+", "/static/0123", names[0]))).status == 404
        again = await ask(dashboard, "/errors", headers={"If-None-Match": page.headers["ETag"]})
        assert (again.status, again.headers["Link"]) == (304, page.headers["Link"])


@on_sockets
async def test_a_pages_first_question_is_named_with_it() -> None:
    """But for one that is too long for a header; what stands in the address can end no header."""
    async with served() as dashboard:
        for path, asked in (
            ("/", "/api/snapshot"),
            ("/errors", "/api/errors?last=3600000"),
            ("/latency?span=0x1&op=a%3Eb%0D%0Ac", "/api/heatmap?op=a%3Eb%0D%0Ac&last=300000&bins=80"),
            ("/traces/%3E%0D%0Ax%22", "/api/traces/%3E%0D%0Ax%22"),
            ("/traces?q=%ff", "/api/traces?q=%FF&limit=100"),
        ):
            link = (await ask(dashboard, path)).headers["Link"]
            assert f"<{asked}>; rel=preload; as=fetch; crossorigin" in link or path.endswith("%ff"), (path, link)
        assert "rel=preload" not in (await ask(dashboard, f"/traces?q={'x' * 2_000}")).headers["Link"]


@on_sockets
async def test_the_last_so_many_milliseconds_are_asked_for_by_the_servers_clock() -> None:
    """`last` stands for `since`, in every question about many traces."""
    pipeline = market()
    async with served(pipeline) as dashboard:
        await retried(pipeline)
        for where, empty in (("errors", "groups"), ("heatmap", "counts"), ("traces", "traces")):
            assert (await ask(dashboard, f"/api/{where}?last=60000")).json[empty]
            assert not (await ask(dashboard, f"/api/{where}?last=-60000")).json[empty]
            assert (await ask(dashboard, f"/api/{where}?last=x")).status == 400


def test_the_package_may_lack_its_page(tmp_path: Path) -> None:
    """Then there are no names, and no error."""
    assert Pages(tmp_path / "missing").names == []


@on_sockets
async def test_metrics_are_exposed_and_the_applications_own_are_used() -> None:
    """As text, or as OpenMetrics where the scraper accepts it; they count from when the dashboard began to watch."""
    metrics = pytest.importorskip("resilience.telemetry.metrics")
    pytest.importorskip("resilience.telemetry.prometheus")
    own = metrics.Metrics()
    pipelines = market("first"), market("second", observers=(own,))
    async with served(*pipelines) as dashboard:
        assert [sum(one is own for one in pipeline.observers) for pipeline in pipelines] == [1, 1]
        for pipeline in pipelines:
            await retried(pipeline)
        plain = await ask(dashboard, "/metrics")
        assert (plain.status, plain.headers["Content-Type"].partition(";")[0]) == (200, "text/plain")
        assert all(name in plain.body for name in (b"first", b"second"))
        accept = {"Accept": "application/openmetrics-text"}
        assert (await ask(dashboard, "/metrics", headers=accept)).body.endswith(b"# EOF\n")
    assert [pipeline.observers for pipeline in pipelines] == [(), (own,)]


# -- the flood ------------------------------------------------------------------------------------------------------


@on_sockets
async def test_a_hostile_flood_leaves_calls_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred at once: what is too much gets a 429 or no connection; every call ends well, and is counted."""
    monkeypatch.setattr(server, "MOST_REQUESTS", 4)
    pipeline = market()
    async with served(pipeline) as dashboard:
        hostile = (
            b"GET /api/bubble?q=op:read HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            b"GET /api/snapshot HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
            b'Connection: close\r\n\r\n{"a":[[[[',
            b"GET / HTTP/9.9\r\n\x00\xff\r\n\r\n",
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        )

        async def attack(number: int) -> bytes:
            try:
                async with asyncio.timeout(30):
                    return await raw(dashboard, hostile[number % len(hostile)])
            except OSError:
                return b""

        flood = asyncio.gather(*(attack(number) for number in range(200)))
        answers = []
        while not flood.done():
            answers.append(await pipeline.run(Script("ok"), op=READ))
            await asyncio.sleep(0)
        statuses = {reply.split(b" ")[1] for reply in await flood if reply}
        assert statuses <= {b"200", b"400", b"413", b"415", b"421", b"429", b"505"}
        assert b"421" in statuses
        assert set(answers) == {"ok"}
        (op,) = (await ask(dashboard, "/api/snapshot")).json["ops"]
        assert (op["calls"], op["ok"]) == (len(answers), len(answers))
        assert (dashboard._active, dashboard._api.workers.waiting) == (0, 0)
        await asyncio.sleep(0.1)
        assert len(dashboard._doors.open) <= 1


@on_sockets
async def test_only_so_many_requests_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next gets a 429 at once; places are given back when clients leave in the middle."""
    monkeypatch.setattr(server, "MOST_REQUESTS", 3)
    half = (
        b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    async with served() as dashboard:
        host, port = dashboard.address.removeprefix("http://").rsplit(":", 1)
        writers = []
        for _ in range(3):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(half)
            writers.append(writer)
        while dashboard._active < 3:
            await asyncio.sleep(0.01)
        late = await ask(dashboard, "/api/snapshot")
        assert (late.status, late.headers["Retry-After"], dashboard.refused) == (429, "1", 1)
        for writer in writers:
            writer.transport.abort()
        while dashboard._active:
            await asyncio.sleep(0.01)
        assert (await ask(dashboard, "/api/snapshot")).status == 200


@on_sockets
async def test_a_request_takes_so_long_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that trickles in is answered with 408."""
    monkeypatch.setattr(server, "SECONDS", 0.2)
    half = (
        b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    async with served() as dashboard:
        reply = await raw(dashboard, half)
        assert reply.startswith(b"HTTP/1.1 408")
        assert b"not done within 0.2 s" in reply


@on_sockets
async def test_a_slow_head_is_cut_off_and_connections_are_bounded() -> None:
    """Slow loris: a head that never ends holds its connection for the idle time; the one too many is closed at once."""
    async with served() as dashboard:
        doors = dashboard._doors
        doors.idle, doors.most = 0.3, 3
        assert await raw(dashboard, b"GET / HTTP/1.1\r\nHost: loc") == b""
        assert not doors.open
        host, port = dashboard.address.removeprefix("http://").rsplit(":", 1)
        doors.idle = 30
        writers = [(await asyncio.open_connection(host, int(port)))[1] for _ in range(3)]
        while len(doors.open) < 3:
            await asyncio.sleep(0.01)
        with pytest.raises((ConnectionError, AssertionError)):
            assert await raw(dashboard, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert doors.refused == 1
        for writer in writers:
            writer.close()
        while doors.open:
            await asyncio.sleep(0.01)
        assert (await ask(dashboard, "/api/snapshot")).status == 200
    assert door.IDLE == 20


@on_sockets
async def test_too_many_questions_wait_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen may wait for the thread; it is given back when the thread is done, not when who asked has left."""
    import threading

    gate = threading.Event()
    async with served() as dashboard:
        monkeypatch.setattr(dashboard.store, "traces", lambda: gate.wait(20) and [])
        asked = [asyncio.ensure_future(ask(dashboard, "/api/errors")) for _ in range(16)]
        while dashboard._api.workers.waiting < 16:
            await asyncio.sleep(0.01)
        assert (await ask(dashboard, "/api/errors")).status == 429
        assert (await ask(dashboard, "/v1/traces", "POST", data=b"{}", headers=OTLP)).status == 429
        assert (await ask(dashboard, "/api/snapshot")).status == 200
        gate.set()
        assert {reply.status for reply in await asyncio.gather(*asked)} == {200}
        await asyncio.sleep(0.05)
        assert dashboard._api.workers.waiting == 0


@on_sockets
async def test_a_failure_of_ours_is_logged_and_says_nothing(caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    """500 in one line; what failed stands in the log."""
    async with served() as dashboard:
        monkeypatch.setattr(dashboard.live, "encoded", lambda: {}["secret"])
        reply = await ask(dashboard, "/api/snapshot")
        assert (reply.status, b"secret" in reply.body, "calls go on" in caplog.text) == (500, False, True)


# -- life -----------------------------------------------------------------------------------------------------------


@on_sockets
async def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    """And a dashboard without an address says so."""
    async with served() as dashboard:
        port = int(dashboard.address.rsplit(":", 1)[1])
        other = Dashboard(port=port)
        with pytest.raises(ConfigError, match=rf"^dashboard: port {port} of 127.0.0.1 is taken; [^\n]*$"):
            await other.start()
        with pytest.raises(ConfigError, match="before start"):
            _ = other.address
        await other.aclose()
        with pytest.raises(ConfigError, match="cannot listen"):
            await Dashboard(host="127.0.0.1.", token="x" * 20, port=0).start()


@on_sockets
async def test_it_leaves_pipelines_as_they_were() -> None:
    """After the end nobody observes, and a second end is harmless."""
    pipeline = market()
    async with served(pipeline) as dashboard:
        await dashboard.start()
        assert pipeline.observers
        await retried(pipeline)
        dashboard.forget(pipeline)
        assert pipeline.observers == ()
        dashboard.watch({"market": pipeline})
        await retried(pipeline)
        assert (await ask(dashboard, "/api/snapshot")).json["ops"][0]["calls"] == 2
        assert (await ask(dashboard, "/api/traces")).json["matched"] == 2
    assert pipeline.observers == ()
    await dashboard.aclose()
    await retried(pipeline)


@on_sockets
async def test_a_registrys_pipelines_come_and_go_with_their_keys() -> None:
    """Those from before, those that are made later, and none that was dropped: it is held by nobody."""
    registry = PipelineRegistry(Pipeline(name="host"), most=2)
    await registry["a"].run(Script("ok"), op=READ)
    async with served(registry) as dashboard:
        for key in "ab":
            await registry[key].run(Script("ok"), op=READ)
        shown = dashboard.live.snapshot()
        assert [(row["pipeline"], row["calls"]) for row in shown["ops"]] == [("host/a", 1), ("host/b", 1)]
        first = weakref.ref(registry["a"])
        for key in "bc":
            await registry[key].run(Script("ok"), op=READ)
        assert [row["name"] for row in dashboard.live.snapshot()["pipelines"]] == ["host/b", "host/c"]
        await asyncio.sleep(0)
        gc.collect()
        assert first() is None
        dashboard.forget(registry)
        registry["d"]
        assert dashboard.live.snapshot()["pipelines"] == []
        dashboard.watch(registry)
        assert [row["name"] for row in dashboard.live.snapshot()["pipelines"]] == ["host/c", "host/d"]
    assert [one.observers for one in registry.pipelines] == [(), ()]
    registry["e"]
    assert dashboard.live.tallies == []


@on_sockets
async def test_spans_that_also_go_elsewhere_are_told() -> None:
    """The hand-over's counts, summed over the exporters; null where there is none."""
    provider = TracerProvider(shutdown_on_exit=False)
    sent = InMemorySpanExporter()
    provider.add_span_processor(Handover(sent, every=0.01))
    here = market(observers=(Tracer(provider, "always"),))
    async with served(here) as dashboard:
        await here.run(Script("ok"), op=READ)
        await asyncio.to_thread(provider.force_flush)
        exporter = dashboard.live.snapshot()["exporter"]
        assert exporter == {"queued": 0, "exported": 2, "failed": 0, "dropped": 0}
    async with served(Pipeline(name="quiet")) as dashboard:
        assert dashboard.live.snapshot()["exporter"] is None
    provider.shutdown()


@on_sockets
async def test_the_tracer_that_is_there_is_used() -> None:
    """So a call has one trace; its provider loses nothing when we leave."""
    provider = TracerProvider(shutdown_on_exit=False)
    tracer = Tracer(provider)
    pipeline = market(observers=(tracer,))
    async with served(pipeline) as dashboard:
        assert [one for one in pipeline.observers if isinstance(one, Tracer)] == [tracer]
        await retried(pipeline)
        assert (await ask(dashboard, "/api/traces")).json["matched"] == 1
        store = dashboard.store
    await retried(pipeline)
    assert (len(store), pipeline.observers) == (1, (tracer,))


@on_sockets
async def test_a_provider_that_gives_nobody_its_spans_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Calls are counted all the same."""

    class Foreign:
        def get_tracer(self, *_: Any) -> Any:
            return TracerProvider(shutdown_on_exit=False).get_tracer("x")

    pipeline = market(observers=(Tracer(Foreign()),))
    async with served(pipeline) as dashboard:
        assert "Foreign gives nobody its spans" in caplog.text
        await retried(pipeline)
        assert (await ask(dashboard, "/api/snapshot")).json["ops"][0]["calls"] == 1


def test_what_holds_no_pipelines_is_refused() -> None:
    """With its name."""
    with pytest.raises(ConfigError, match="int is no pipeline"):
        Dashboard(3)


@on_sockets
async def test_a_store_can_be_given_or_named(tmp_path: Path) -> None:
    """A file keeps traces over a restart; a store that was given is not closed with the server."""
    pipeline, path = market(), tmp_path / "traces.db"
    async with served(pipeline, store=path) as dashboard:
        await retried(pipeline)
    async with served(store=str(path)) as dashboard:
        for _ in range(100):
            if (await ask(dashboard, "/api/traces")).json["matched"] == 1:
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("nothing came back from the file")
    store = Store()
    async with served(store=store) as dashboard:
        assert dashboard.store is store


# -- files and commands ---------------------------------------------------------------------------------------------

PIPELINES = "version: 1\npipelines: {market: [retry: {attempts: 2, wait: 0}]}\n"
EXCHANGES = """version: 1
pipelines: {market: [retry, pool: rest]}
exchanges: {bybit: {adapter: bybit, base_url: "http://127.0.0.1:1", pipeline: market}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text)
    return path


@on_sockets
async def test_a_pipelines_file_starts_one_with_the_first_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its address stands in the log."""
    caplog.set_level("INFO", "resilience")
    pipelines = load(write(tmp_path, PIPELINES + "dashboard: {port: 0, controls: true}\n"))
    await retried(pipelines["market"])
    section = next(one for one in pipelines["market"].observers if hasattr(one, "dashboard"))
    await section._task
    try:
        assert section.dashboard.address in caplog.text
        shown = (await ask(section.dashboard, "/api/snapshot")).json
        assert ([row["name"] for row in shown["pipelines"]], shown["controls"]) == (["market"], True)
        await retried(pipelines["market"])
        assert (await ask(section.dashboard, "/api/snapshot")).json["ops"][0]["calls"] == 1
    finally:
        await section.aclose()


@on_sockets
async def test_a_taken_port_costs_a_line_in_the_log_and_no_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The application goes on without its dashboard."""
    async with served() as dashboard:
        port = dashboard.address.rsplit(":", 1)[1]
        pipelines = load(write(tmp_path, PIPELINES + f"dashboard: {{port: {port}}}\n"))
        await retried(pipelines["market"])
        section = next(one for one in pipelines["market"].observers if hasattr(one, "dashboard"))
        await section._task
        assert "is taken" in caplog.text
        await retried(pipelines["market"])
        await section.aclose()


@on_sockets
async def test_an_exchanges_file_starts_one_with_its_manager(tmp_path: Path) -> None:
    """And ends it with the manager."""
    async with ExchangeManager.load(write(tmp_path, EXCHANGES + "dashboard: {port: 0}\n")) as manager:
        section: Any = next(one for one in manager.pipelines[0].observers if hasattr(one, "dashboard"))
        shown = (await ask(section.dashboard, "/api/snapshot")).json
        assert [row["name"] for row in shown["pipelines"]] == ["bybit.market"]
        assert manager.pipelines[0].name == "bybit.market"
    with pytest.raises(ConfigError):
        _ = section.dashboard.address


@pytest.mark.parametrize("text", [PIPELINES, EXCHANGES])
def test_the_section_is_checked_like_any_other(tmp_path: Path, text: str) -> None:
    """What is wrong with it stands in the list, with its place; a token never does."""
    assert (
        check_file(write(tmp_path, text + 'dashboard: {port: 8787, host: "::1", allowed_hosts: [x], store: a.db}\n'))
        == []
    )
    for wrong, said in (
        ("{prt: 1}", "unknown"),
        ("{port: 70000}", "port is 70000"),
        ("{host: 0.0.0.0}", "no token"),
        ("{most_traces: 0}", "most_traces is 0"),
        ("{allowed_hosts: x}", "list of text"),
    ):
        problems = check_file(write(tmp_path, text + f"dashboard: {wrong}\n"))
        assert [said in problem.text for problem in problems] == [True], (wrong, problems)


@pytest.mark.parametrize("arguments", [("--host", "192.0.2.7"), ("--port", "70000"), ("--port", "x"), ("--token", "")])
def test_the_command_refuses_in_one_line(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2."""
    assert cli.main(("dashboard", *arguments)) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_the_command_says_where_it_is_and_ends_cleanly(tmp_path: Path) -> None:
    """Ctrl-C: exit 0, nothing on stderr, warnings being errors; the port is free again, the taken one is told of."""
    command = [sys.executable, "-W", "error", "-m", "resilience.cli", "dashboard", "--store", str(tmp_path / "x.db")]
    process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 (ours)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.fullmatch(r"dashboard on http://127\.0\.0\.1:(\d+)\n", line)
        assert found, line
        with socket.create_connection(("127.0.0.1", int(found[1]))):
            pass
        again = [*command[:-2], "--port", found[1]]
        second = subprocess.run(again, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 (ours)
        assert (second.returncode, second.stdout, second.stderr.count("\n")) == (2, "", 1)
        assert "is taken" in second.stderr
        os.kill(process.pid, signal.SIGINT)
        out, error = process.communicate(timeout=30)
        assert (process.returncode, out, error) == (0, "", "")
    finally:
        process.kill()
        process.communicate()
