"""Do calls feel it if the exporter is down, slow or refuses, or if two hundred hostile clients besiege the dashboard?

One process makes calls at a steady rate, each traced and counted, with a dashboard beside them. The arms take turns in
short windows, in another order each round: the 99th percentile of how long calls took, and its ratio to that of calm
windows, with the interval in which it lies in 95 of 100 drawings of rounds (`arms.paired`); and the processor time of
the event loop's turns, for one of which a call waits at most. The besiegers, and whoever receives spans, run in
processes of their own. Then: was every span accounted for, and did anything grow? ``--quick`` for CI. ``--freeze``: as
an application that calls ``gc.freeze()`` when it has started, so that a full collection does not last 40 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib.util
import logging
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from arms.paired import percentile, ratio
from arms.turns import Timed
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from resilience import Op, Pipeline, Retry, Timeout
from resilience.dashboard import Dashboard, Store
from resilience.telemetry import Handover, Tracer

SIEGE = Path(__file__).parents[1] / "tests" / "support" / "siege.py"
OP = Op("bench", idempotent=True)
RATE = 300  # calls a second
SECONDS = 0.02  # that a call takes
WANTED = 1.05
MOST = 2_000  # spans that wait for an exporter
RECEIVER = """
import http.server, sys, time
class Take(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(float(sys.argv[1]))
        self.send_response(int(sys.argv[2])); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Take)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Counter(SpanProcessor):
    """How many spans there were."""

    def __init__(self) -> None:
        self.spans = 0

    def on_end(self, span: ReadableSpan) -> None:
        self.spans += 1


class Arm:
    """A pipeline whose spans go to one kind of receiver."""

    def __init__(self, port: int) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        self.counter = Counter()
        exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}/v1/traces", timeout=2)
        self.handover = Handover(exporter, most=MOST)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(self.counter)
        provider.add_span_processor(self.handover)
        self.pipeline = Pipeline(Retry(attempts=2), Timeout(10), name="bench", observers=(Tracer(provider, "always"),))

    def accounted(self) -> tuple[int, int]:
        """Spans that ended, and those that the hand-over can tell the fate of."""
        self.handover.shutdown()
        return self.counter.spans, sum(self.handover.status().values())


@contextlib.contextmanager
def receivers() -> Iterator[dict[str, int]]:
    """Ports: of one that takes spans, one that is slow, one that refuses, and one where nobody is."""
    made = {}
    for name, seconds, status in (("well", 0, 200), ("slow", 30, 200), ("refusing", 0, 400), ("down", 0, 200)):
        command = [sys.executable, "-c", RECEIVER, str(seconds), str(status)]
        made[name] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 (our own text)
    try:
        yield {name: int(process.stdout.readline()) for name, process in made.items() if process.stdout}
    finally:
        for process in made.values():
            process.kill()
            process.communicate()


async def work() -> None:
    await asyncio.sleep(SECONDS)


async def window(pipeline: Pipeline, seconds: float) -> list[float]:
    """Milliseconds from when each call was due to when it had its answer."""
    loop = asyncio.get_running_loop()
    took: list[float] = []

    async def call(due: float) -> None:
        await pipeline.run(work, op=OP)
        took.append((loop.time() - due) * 1000)

    begun = loop.time()
    calls = []
    for number in range(int(RATE * seconds)):
        due = begun + number / RATE
        if (early := due - loop.time()) > 0:  # what is late is begun at once, not one in each turn of the loop
            await asyncio.sleep(early)
        calls.append(asyncio.ensure_future(call(due)))
    await asyncio.gather(*calls)
    return took


async def besieged(pipeline: Pipeline, dashboard: Dashboard, seconds: float) -> list[float]:
    host, port = dashboard.address.removeprefix("http://").rsplit(":", 1)
    command = (sys.executable, str(SIEGE), host, port, str(seconds))
    siege = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert siege.stdout is not None
    await siege.stdout.readline()  # it has come
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Timed)
    loop.turns.clear()  # to start a process is our own work
    attack = asyncio.ensure_future(siege.communicate(b"go\n"))
    found = await window(pipeline, seconds)
    await attack
    return found


def standing() -> dict[str, float]:
    gc.collect()
    files, memory = Path("/proc/self/fd"), Path("/proc/self/statm")
    return {
        "tasks": len(asyncio.all_tasks()),
        "objects": len(gc.get_objects()),
        "files": len(os.listdir(files)) if files.exists() else 0,
        "MiB": int(memory.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if memory.exists() else 0,
    }


async def measure(ports: dict[str, int], rounds: int, seconds: float, freeze: bool) -> None:
    arms = {name: Arm(port) for name, port in ports.items()}
    well = arms["well"].pipeline
    found: dict[str, list[list[float]]] = {"calm": [], "calm, once more": []}
    found |= {f"exporter {name}": [] for name in ("down", "slow", "refusing")} | {"200 hostile clients": []}
    turns: dict[str, list[list[float]]] = {name: [] for name in found}
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Timed)
    grown: list[dict[str, float]] = []
    dice, store = random.Random(4), Store(most_traces=500)
    async with Dashboard(*(arm.pipeline for arm in arms.values()), port=0, store=store) as dashboard:
        if freeze:
            gc.collect()
            gc.freeze()
        for number in range(rounds + 1):
            for name in dice.sample(list(found), len(found)):
                await asyncio.sleep(0.3)  # what the last arm left behind is not this one's
                loop.turns = []
                if name.startswith("exporter"):
                    took = await window(arms[name.removeprefix("exporter ")].pipeline, seconds)
                elif name.startswith("calm"):
                    took = await window(well, seconds)
                else:
                    took = await besieged(well, dashboard, seconds)
                if number:  # the first round fills the store
                    found[name].append(took)
                    turns[name].append(loop.turns)
            while dashboard._doors.open or dashboard._api.workers.waiting:  # noqa: ASYNC110 (a benchmark may look)
                await asyncio.sleep(0.05)
            grown.append(standing())
    report(found, turns, seconds)
    print(f"\n{'after the first round':34}" + "".join(f"{value:12,.0f} {name}" for name, value in grown[0].items()))
    print(f"{f'after {rounds} more':34}" + "".join(f"{value:12,.0f} {name}" for name, value in grown[-1].items()))
    for name, arm in arms.items():
        spans, known = await asyncio.to_thread(arm.accounted)
        status = ", ".join(f"{count:,} {what}" for what, count in arm.handover.status().items())
        assert spans == known, (name, spans, status)
        print(f"{f'exporter {name}':24}{spans:10,} spans: {status}")


def report(found: dict[str, list[list[float]]], turns: dict[str, list[list[float]]], seconds: float) -> None:
    base = found["calm"]
    print(f"p99 in ms of calls of {SECONDS * 1000:g} ms at {RATE}/s; {len(base)} windows of {seconds:g} s an arm")
    for name, windows in found.items():
        wanted = "" if name.startswith("calm") else f"   (wanted: at most {WANTED:g})"
        p99, most = percentile(turns[name]), max(max(one) for one in turns[name])
        told = f"turns: p99 {p99:5.2f}, longest {most:5.2f}"
        print(f"{name:24}{percentile(windows):9.2f}   {ratio(base, windows)}   {told}{wanted}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--freeze", action="store_true")
    options = parser.parse_args()
    quick = options.quick
    if importlib.util.find_spec("opentelemetry.exporter") is None:
        print("SKIPPED: the otlp extra is not installed")
        return
    with receivers() as ports:
        down = ports["down"]
        free = ports | {"down": 9 if down != 9 else 10}  # the discard port: nobody listens there
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it tells of each batch that fails
        with asyncio.Runner(loop_factory=Timed) as runner:
            runner.run(measure(free, 1 if quick else 25, 0.5 if quick else 1.5, options.freeze))


if __name__ == "__main__":
    main()
