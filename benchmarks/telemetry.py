"""What does tracing cost a call, and does it disturb the event loop?

One run, three tables. The first: microseconds per successful call, each arm beside the same pipeline without an
observer, and beside the stock ways to a span. All arms take turns within one run, so that a busy machine disturbs them
alike. The second: what one record of a metric costs. The third: the 99th percentile of the event loop's lag at 2,000
calls a second, while spans go by OTLP to a receiver in another process; the naive arm starts and ends a span of the SDK
for each call and each attempt. The arms take turns in short windows, in another order each round; behind the ratio
stands the interval in which it lies in 95 of 100 drawings of rounds (`arms.paired`). ``--quick`` for CI.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import importlib.util
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from arms.paired import percentile, ratio
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from resilience import Op, Pipeline, Timeout
from resilience.dashboard.live import Live
from resilience.telemetry import Handover, Metrics, Tracer
from resilience.telemetry.histograms import Durations, Histogram

OP = Op("bench", idempotent=True)
CALLS = 200
RATE = 2000  # calls a second, in the second table
EVERY = 0.001  # seconds between two looks at the clock
WANTED = {"tail, parenting off": 1.5, "tail, parenting on": 4.0, "always": 12.0}  # us over no observer
LAG = 1.2  # times that of no tracing
RECORD = 0.3  # us
RECORDS = 5  # of a clean call: it begins, a call and an attempt end, and how long each of the two took

Target = Callable[[], Awaitable[object]]


class Nowhere(SpanProcessor):
    """Takes spans and lets them go: the price of making them, without that of sending them."""


def provider() -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(Nowhere())
    return made


class Idle:
    """Stands around calls and attempts and does nothing: the price of two frames, which any observer pays."""

    def __call__(self, event: Any) -> None:
        pass

    def around_call(self, next: Any, kit: Any) -> Any:
        async def run(call: Any) -> Any:
            return await next(call)

        return run

    around_attempt = around_call


def watched() -> Target:
    """Counted by metrics that a dashboard reads."""
    pipeline = Pipeline(Timeout(10), observers=(Metrics(),))
    Live([pipeline])
    return pipeline.guard(OP)(bare)


async def bare() -> int:
    return 1


def guarded(*observers: Any) -> Target:
    return Pipeline(Timeout(10), observers=observers).guard(OP)(bare)


def with_stock(made: TracerProvider, inner: Target) -> Target:
    """One span around the call, one around the attempt, as one would write it."""
    tracer = made.get_tracer("naive")

    async def call() -> object:
        with (
            tracer.start_as_current_span("bench"),
            tracer.start_as_current_span("bench", kind=SpanKind.CLIENT) as span,
        ):
            span.set_attribute("resilience.op", "bench")
            return await inner()

    return call


def with_one_span(made: TracerProvider, inner: Target) -> Target:
    tracer = made.get_tracer("naive")

    async def call() -> object:
        with tracer.start_as_current_span("bench"):
            return await inner()

    return call


def arms() -> dict[str, Target]:
    plain = guarded()
    return {
        "no observer": plain,
        "tail, parenting off": guarded(Tracer(provider(), "tail", 0.01, parenting="off")),
        "tail, parenting auto": guarded(Tracer(provider(), "tail", 0.01, parenting="auto")),
        "tail, parenting on": guarded(Tracer(provider(), "tail", 0.01)),
        "always": guarded(Tracer(provider(), "always")),
        "an observer that does nothing": guarded(Idle()),
        "metrics": guarded(Metrics()),
        "metrics that a dashboard reads": watched(),
        "start_as_current_span, one": with_one_span(provider(), plain),
        "start_as_current_span, call and attempt": with_stock(provider(), plain),
    }


async def measure(rounds: int) -> dict[str, list[float]]:
    targets = arms()
    times: dict[str, list[float]] = {name: [] for name in targets}
    for target in targets.values():
        for _ in range(CALLS):
            await target()
    for _ in range(rounds):
        for name, target in targets.items():
            begun = time.perf_counter_ns()
            for _ in range(CALLS):
                await target()
            times[name].append((time.perf_counter_ns() - begun) / CALLS / 1000)
    return times


def print_costs(times: dict[str, list[float]], rounds: int) -> None:
    none = times["no observer"]
    print(f"us per successful call, {platform.python_implementation()} {platform.python_version()}, ", end="")
    print(f"{rounds} rounds of {CALLS} calls; over: what the best round of an arm took more")
    print(f"{'':44}{'min':>8}{'median':>9}{'over':>8}{'wanted':>9}")
    for name, values in times.items():
        over = min(values) - min(none)  # what else the machine does makes rounds longer, and none shorter
        wanted = f"<= {WANTED[name]:g}" if name in WANTED else ""
        print(f"{name:44}{min(values):8.2f}{statistics.median(values):9.2f}{over:8.2f}{wanted:>9}")


def print_records(times: dict[str, list[float]], rounds: int) -> None:
    """The best round of many: of a record alone, and of what a clean call's records cost together, frames included."""
    print("\nus per record of a metric; a clean call makes five")
    for kind in (Histogram, Durations):
        histogram, found = kind(), []
        for _ in range(rounds):
            begun = time.perf_counter_ns()
            for _ in range(1_000):
                histogram.record(0.0123)
            found.append((time.perf_counter_ns() - begun) / 1_000_000)
        print(
            f"{kind.__name__ + '.record':44}{min(found):8.2f}{statistics.median(found):9.2f}{'':8}{f'<= {RECORD:g}':>9}"
        )
    for name in ("metrics", "metrics that a dashboard reads"):
        for base in ("no observer", "an observer that does nothing"):
            over = (min(times[name]) - min(times[base])) / RECORDS
            print(f"{f'{name}, over {base}':62}{over:7.2f}{f'<= {RECORD:g}':>9}")


# -- the client instrumentation of the stock ----------------------------------------------------------------------


async def measure_aiohttp(requests: int) -> None:
    """A request over loopback by aiohttp, plain and with OpenTelemetry's own instrumentation of it."""
    name = "opentelemetry.instrumentation.aiohttp_client"
    if importlib.util.find_spec("opentelemetry.instrumentation") is None or importlib.util.find_spec(name) is None:
        print("SKIPPED: opentelemetry-instrumentation-aiohttp-client is not installed; its arm is missing here")
        return
    import aiohttp
    from aiohttp import web

    made = provider()
    create = importlib.import_module(name).create_trace_config

    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with (
        aiohttp.ClientSession() as plain,
        aiohttp.ClientSession(trace_configs=[create(tracer_provider=made)]) as traced,
    ):
        times: dict[str, list[float]] = {"plain": [], "traced": []}
        for _ in range(requests):
            for arm, session in (("plain", plain), ("traced", traced)):
                begun = time.perf_counter_ns()
                async with session.get(url) as response:
                    await response.read()
                times[arm].append((time.perf_counter_ns() - begun) / 1000)
    await runner.cleanup()
    over = statistics.median(times["traced"]) - statistics.median(times["plain"])
    print(f"{'opentelemetry-instrumentation-aiohttp-client':44}{'':17}{over:8.2f}   (over a plain request, medians)")


# -- the lag of the loop ------------------------------------------------------------------------------------------

RECEIVER = """
import http.server, sys
class Take(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Take)
print(server.server_port, flush=True)
server.serve_forever()
"""


def exporting(address: str, *, naive: bool = False) -> TracerProvider:
    """Our hand-over to the exporter, or the SDK's batch processor."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    made = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=address)
    made.add_span_processor(BatchSpanProcessor(exporter) if naive else Handover(exporter))
    return made


@asynccontextmanager
async def load(target: Target) -> AsyncIterator[None]:
    """2,000 calls a second, in small bursts; a call takes a few milliseconds of waiting."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[object]] = set()

    async def call() -> object:
        return await target()

    async def drive() -> None:
        due = loop.time()
        while True:
            for _ in range(10):
                task = asyncio.ensure_future(call())
                running.add(task)
                task.add_done_callback(running.discard)
            due += 10 / RATE
            await asyncio.sleep(max(0.0, due - loop.time()))

    driver = asyncio.ensure_future(drive())
    try:
        yield
    finally:
        driver.cancel()
        await asyncio.gather(driver, *running, return_exceptions=True)


async def lags(target: Target, seconds: float) -> list[float]:
    """How much later than asked for the loop came back, in milliseconds, again and again."""
    found = []
    async with load(target):
        await asyncio.sleep(0.1)
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            await asyncio.sleep(EVERY)
            found.append((time.perf_counter() - begun - EVERY) * 1000)
    return found


async def waiting() -> int:
    await asyncio.sleep(0.003)
    return 1


async def measure_lag(address: str, rounds: int, seconds: float) -> dict[str, list[list[float]]]:
    """By arm, one window of lags a round."""
    tail, on, naive = exporting(address), exporting(address), exporting(address, naive=True)
    plain = Pipeline(Timeout(10)).guard(OP)(waiting)
    targets: dict[str, Target] = {
        "no tracing": plain,
        "no tracing, once more": Pipeline(Timeout(10)).guard(OP)(waiting),
        "tail, parenting off": Pipeline(Timeout(10), observers=(Tracer(tail, "tail", 0.01, parenting="off"),)).guard(
            OP
        )(waiting),
        "tail, parenting on": Pipeline(Timeout(10), observers=(Tracer(on, "tail", 0.01),)).guard(OP)(waiting),
        "naive SDK, every call and attempt": with_stock(naive, plain),
    }
    found: dict[str, list[list[float]]] = {name: [] for name in targets}
    dice = random.Random(4)
    for _ in range(rounds):
        gc.collect()
        for name in dice.sample(list(targets), len(targets)):
            found[name].append(await lags(targets[name], seconds))
    for made in (tail, on, naive):
        await asyncio.to_thread(made.shutdown)
    return found


def print_lags(found: dict[str, list[list[float]]], seconds: float) -> None:
    base = found["no tracing"]
    print(f"\nlag of the event loop at {RATE} calls/s with an OTLP exporter running: p99 in ms; ", end="")
    print(f"{len(base)} windows of {seconds:g} s an arm")
    for name, windows in found.items():
        wanted = f"   (wanted: at most {LAG:g})" if name.startswith("tail") else ""
        print(f"{name:44}{percentile(windows):8.3f}   {ratio(base, windows)}{wanted}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    rounds = 60 if options.quick else 400
    times = asyncio.run(measure(rounds))
    print_costs(times, rounds)
    print_records(times, rounds)
    asyncio.run(measure_aiohttp(100 if options.quick else 2000))
    if importlib.util.find_spec("opentelemetry.exporter") is None:
        print("SKIPPED: the otlp extra is not installed; the lag of the loop is not measured")
        return
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)  # noqa: S603 (our own text)
    try:
        assert receiver.stdout is not None
        address = f"http://127.0.0.1:{receiver.stdout.readline().strip()}/v1/traces"
        windows, seconds = (3, 0.3) if options.quick else (60, 0.5)
        print_lags(asyncio.run(measure_lag(address, windows, seconds)), seconds)
    finally:
        receiver.kill()
        receiver.wait()


if __name__ == "__main__":
    main()
