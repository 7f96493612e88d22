"""What does the dashboard cost: taking in 100,000 spans of two processes, keeping them, searching, a snapshot?

Prints one table, each figure beside the wanted one. First the parts, in this process; then the whole, by two senders in
processes of their own (protobuf by OpenTelemetry's exporter, and JSON) to a server on loopback. Memory of the parts is
what the interpreter allocated (tracemalloc), in a second run, as counting slows the first. Times of the event loop are
processor time, which nobody else on the machine can make longer. ``--quick`` takes a tenth of the spans.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import importlib.util
import os
import platform
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from arms.turns import Timed

from resilience import Breaker, Bulkhead, Op, Pipeline, RateLimit, Retry, Timeout
from resilience.dashboard import Dashboard, differences, failures, heat, query
from resilience.dashboard.analysis import analyse
from resilience.dashboard.ingest import export, read
from resilience.dashboard.live import Live
from resilience.dashboard.rows import Span
from resilience.dashboard.store import Store

A_TRACE = 10  # spans
A_REQUEST = 500  # spans, what a batch of the SDK holds
START = 1_700_000_000_000_000_000


def trace(number: int, dice: random.Random) -> list[Span]:
    """A call of nine attempts, as the tracer writes them; the call comes last."""
    trace_id, call_id = f"{dice.getrandbits(128) | 1:032x}", f"{dice.getrandbits(64) | 1:016x}"
    who = ("bot", str(1000 + number % 2))
    at = START + number * 1_000_000_000
    op = f"op-{number % 20}"
    spans = []
    for attempt in range(1, A_TRACE):
        begins = at + attempt * 50_000_000
        attributes: dict[str, Any] = {
            "resilience.op": op,
            "resilience.attempt.number": attempt,
            "resilience.attempt.kind": "original" if attempt == 1 else "retry",
            "resilience.attempt.sent": True,
            "resilience.attempt.outcome": "ok" if attempt == A_TRACE - 1 else "failed",
            "resilience.wait.backoff": dice.random() / 50,
            "resilience.wait.limiter": dice.random() / 500,
            "resilience.connection": dice.choice(("new", "reused")),
            "resilience.phase.first_byte": dice.random() / 100,
            "resilience.request.id": f"{dice.getrandbits(64):016x}",
            "http.request.method": "GET",
            "http.response.status_code": 200 if attempt == A_TRACE - 1 else 502,
            "url.full": "https://api.bybit.com/v5/market/tickers?category=linear",
            "url.template": "/v5/market/tickers",
            "server.address": "api.bybit.com",
            "server.port": 443,
        }
        if attempt < A_TRACE - 1:
            attributes["error.type"] = dice.choice(("reset", "timeout", "http_502"))
        span_id = f"{dice.getrandbits(64) | 1:016x}"
        status = "error" if attempt < A_TRACE - 1 else "unset"
        name = "GET /v5/market/tickers"
        ends = begins + dice.randrange(1, 30_000_000)
        spans.append(Span(trace_id, span_id, call_id, name, "client", begins, ends, status, attributes, (), *who))
    call = {
        "resilience.op": op,
        "resilience.pipeline": "market",
        "resilience.attempts": A_TRACE - 1,
        "resilience.outcome": "ok",
        "resilience.sampling.reason": "retried",
        "resilience.sampling.probability": 1.0,
        "resilience.wait.backoff": 0.2,
        "resilience.why": "8 resets, waited 10 ms, 12 ms, 9 ms and 5 more, ninth attempt won",
    }
    spans.append(Span(trace_id, call_id, "", op, "internal", at, at + 500_000_000, "unset", call, (), *who))
    return spans


def bodies(spans: int) -> list[tuple[bytes, str]]:
    """Requests of two processes that take turns, one sending protobuf and one JSON, both compressed."""
    dice = random.Random(4)
    found: list[tuple[bytes, str]] = []
    waiting: dict[str, list[Span]] = {"1000": [], "1001": []}
    for number in range(spans // A_TRACE):
        for span in trace(number, dice):
            waiting[span.instance].append(span)
        for instance, mine in waiting.items():
            if len(mine) >= A_REQUEST:
                found.append(encoded(mine, instance == "1000"))
                mine.clear()
    return found + [encoded(mine, instance == "1000") for instance, mine in waiting.items() if mine]


def encoded(spans: list[Span], as_protobuf: bool) -> tuple[bytes, str]:
    message = export(spans)
    if not as_protobuf:
        return gzip.compress(msgspec.json.encode(message), 1), "application/json"
    return gzip.compress(protobuf(message), 1), "application/x-protobuf"


def protobuf(message: dict[str, Any]) -> bytes:
    """The same request as protobuf; its JSON form has ids in base64 where OTLP's has hexadecimal."""
    import base64
    import copy

    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    message = copy.deepcopy(message)
    for resource_spans in message["resourceSpans"]:
        for scope_spans in resource_spans["scopeSpans"]:
            for span in scope_spans["spans"]:
                for key in ("traceId", "spanId", "parentSpanId"):
                    span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    return bytes(json_format.ParseDict(message, ExportTraceServiceRequest()).SerializeToString())


def ingest(store: Store, requests: list[tuple[bytes, str]]) -> None:
    for body, content_type in requests:
        store.add(read(body, content_type, "gzip").spans)


def milliseconds(action: Callable[[], object], rounds: int = 5) -> tuple[float, float]:
    """The first time, and the best of the rest: others use this machine too."""
    took = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        action()
        took.append((time.perf_counter() - began) * 1000)
    return took[0], min(took[1:])


async def by_processes(spans: int) -> list[tuple[str, str, str]]:
    """Two senders at once, to a real server; nothing may be lost."""
    sender = Path(__file__).parents[1] / "tests" / "support" / "sender.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    loop, store = asyncio.get_running_loop(), Store()
    assert isinstance(loop, Timed)
    before = resident()
    async with Dashboard(port=0, store=store) as dashboard:
        arguments = [(str(sender), dashboard.address, str(spans // 2), how) for how in ("protobuf", "json")]
        senders = [await begin(words, environment) for words in arguments]
        loop.turns.clear()
        begun = time.perf_counter()
        assert [await process.wait() for process in senders] == [0, 0]
        took, grown = time.perf_counter() - begun, resident() - before
        turns = sorted(loop.turns)
        status = store.status()
        assert (status["spans"], status["dropped"], status["evicted"]) == (spans, 0, 0), status
        first, later = milliseconds(lambda: query.listing(store.traces(), "op:op-3 error:reset"))
    p99, longest = turns[int(0.99 * len(turns))], turns[-1]
    return [
        ("from two processes, none lost", f"{took:.1f} s", ""),
        ("... memory of the process", f"{grown / 2**20:.0f} MiB more", "512 MiB"),
        ("... a turn of the event loop", f"p99 {p99:.2f} ms, longest {longest:.1f} ms", ""),
        ("... search 'op:op-3 error:reset'", f"{first:.1f} ms at first, then {later:.1f} ms", "100 ms"),
    ]


async def begin(words: tuple[str, ...], environment: dict[str, str]) -> asyncio.subprocess.Process:
    silent = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(sys.executable, *words, env=environment, stdout=silent)


def resident() -> int:
    memory = Path("/proc/self/statm")
    return int(memory.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if memory.exists() else 0


async def snapshots(operations: int) -> tuple[str, str, str]:
    """Each of them called between two snapshots, a second or more apart, so that all there is has to be worked out."""
    policies = (Retry(attempts=3), RateLimit("1000000/5s"), Breaker(min_calls=10), Bulkhead(50), Timeout(1))
    pipelines = [Pipeline(*policies, name=f"pipeline {number}") for number in range(4)]
    live, took = Live(pipelines, Store()), []

    async def answer() -> int:
        return 1

    for number in range(30):
        for call in range(operations):
            await pipelines[call % 4].run(answer, op=Op(f"op {call // 4}", idempotent=True))
        for tally in live.tallies:
            tally.now = lambda number=number: time.monotonic() + 1.2 * number  # type: ignore[misc]
        begun = time.thread_time()
        live.encoded()
        took.append((time.thread_time() - begun) * 1000)
    took = took[2:]  # the first makes what the others use
    return f"a snapshot of {operations} operations", f"{min(took):.2f} to {max(took):.2f} ms of the event loop", "2 ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 spans")
    spans = 10_000 if parser.parse_args().quick else 100_000
    requests = bodies(spans)
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {spans:,} spans in {len(requests)} requests"
    )
    store = Store()
    began = time.perf_counter()
    ingest(store, requests)
    took = time.perf_counter() - began
    status = store.status()
    assert status["spans"] == spans, status
    assert status["dropped"] == status["evicted"] == 0
    rows: list[tuple[str, str, str]] = [
        ("taken in, none lost", f"{took:.2f} s, {took / spans * 1e6:.1f} us a span", ""),
    ]
    traces = store.traces()
    for q in (
        "",
        "op:op-3 error:reset",
        "attempts>5 duration>100 -outcome:failed",
        "connection",
        "attr.http.response.status_code>499 attr.server.port:444",
    ):
        first, later = milliseconds(lambda q=q: query.listing(store.traces(), q))
        rows.append((f"search {q!r}", f"{first:.1f} ms at first, then {later:.1f} ms", "100 ms"))
    rows.append(("errors by cause", f"{milliseconds(lambda: failures.errors(traces))[1]:.1f} ms", ""))
    rows.append(("heatmap", f"{milliseconds(lambda: heat.heatmap(traces))[1]:.1f} ms", ""))
    rows.append(("what is different", f"{milliseconds(lambda: differences.bubble(traces, 'op:op-3'))[1]:.1f} ms", ""))
    rows.append(("one trace", f"{milliseconds(lambda: analyse(traces[7]))[1]:.2f} ms", ""))
    flood = Store(most_traces=1_000, most_spans=10_000)
    ingest(flood, requests)
    kept = flood.status()
    rows.append(("kept by a ring of 1,000 traces", f"{kept['traces']:,} traces, {kept['spans']:,} spans", "1,000"))
    gc.collect()
    whole = milliseconds(gc.collect)[1]
    rows.append(("a full garbage collection", f"{whole:.1f} ms with all that stored", ""))
    store = flood = Store()
    traces = []
    gc.collect()
    rows[-1] = (*rows[-1][:1], f"{rows[-1][1]}, {milliseconds(gc.collect)[1]:.1f} without", "")
    rows += [asyncio.run(snapshots(operations)) for operations in (8, 32, 200)]
    if importlib.util.find_spec("opentelemetry.exporter") is None:
        rows.append(("from two processes", "SKIPPED: the otlp extra is not installed", ""))
    else:
        with asyncio.Runner(loop_factory=Timed) as runner:
            rows += runner.run(by_processes(spans))
    gc.collect()
    tracemalloc.start()
    store = Store()
    ingest(store, requests)
    gc.collect()
    measured, guessed = tracemalloc.get_traced_memory()[0], store.status()["bytes"]
    rows.append(("memory", f"{measured / 2**20:.0f} MiB (estimate {guessed / 2**20:.0f} MiB)", "512 MiB"))
    width, middle = (max(len(row[column]) for row in rows) for column in (0, 1))
    print(f"{'':{width}}  {'measured':{middle}}  wanted")
    for name, figure, wanted in rows:
        print(f"{name:{width}}  {figure:{middle}}  {wanted and '< ' + wanted}")


if __name__ == "__main__":
    main()
