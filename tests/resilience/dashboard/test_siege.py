"""Besieged from another process, again and again, with an exporter that is no help: spans counted, nothing grows."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from served import ask, served

from resilience import Op, Pipeline, Retry
from resilience.dashboard import Store
from resilience.telemetry import Handover, Tracer

SIEGE = Path(__file__).parents[2] / "support" / "siege.py"
READ = Op("read", idempotent=True)
SECONDS = 0.8


class Useless(SpanExporter):
    """Slow with the first batch, and then refusing."""

    def __init__(self) -> None:
        self.batches = 0

    def export(self, spans: Any) -> SpanExportResult:
        self.batches += 1
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        pass


async def besiege(address: str) -> dict[str, int]:
    host, port = address.removeprefix("http://").rsplit(":", 1)
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SIEGE), host, port, str(SECONDS), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await process.communicate(b"go\n")
    assert process.returncode == 0
    found: dict[str, int] = json.loads(said.splitlines()[-1])
    return found


async def answer() -> str:
    await asyncio.sleep(0.02)
    return "ok"


async def one_round(pipeline: Pipeline, address: str) -> tuple[int, dict[str, int]]:
    """Calls go on as long as the siege does; all of them end well."""
    siege = asyncio.ensure_future(besiege(address))
    calls = 0
    while not siege.done():
        assert set(await asyncio.gather(*(pipeline.run(answer, op=READ) for _ in range(5)))) == {"ok"}
        calls += 5
    return calls, await siege


async def standing(dashboard: Any) -> tuple[int, int]:
    """File descriptors and objects, after all has settled: no task is left but this one."""
    async with asyncio.timeout(20):
        while dashboard._doors.open or dashboard._api.workers.waiting or len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.02)
    assert (dashboard._active, dashboard._hub._listeners) == (0, set())
    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: ASYNC240, PTH
    gc.collect()
    return files, len(gc.get_objects())


async def siege(rounds: int) -> None:
    exporter = Useless()
    handover = Handover(exporter, most=500, batch=100, every=0.05)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(handover)
    pipeline = Pipeline(Retry(attempts=2), name="market", observers=(Tracer(provider, "always"),))
    store = Store(most_traces=200, most_spans=2_000)
    async with served(pipeline, store=store) as dashboard:
        async with served(pipeline, token="t" * 32) as shut:
            calls, statuses = await one_round(pipeline, shut.address)
            assert statuses.keys() <= {"-", "401", "405", "421", "429"}
            assert statuses["401"] > 5
        seen: list[tuple[int, int]] = []
        for _ in range(rounds):
            made, statuses = await one_round(pipeline, dashboard.address)
            calls += made
            assert statuses.keys() <= {"-", "200", "400", "405", "408", "413", "421", "429"}
            assert {"413", "421"} <= statuses.keys()
            status = store.status()
            assert status["traces"] <= 200
            assert status["spans"] <= 2_000
            seen.append(await standing(dashboard))
        files, objects = zip(*seen[1:], strict=True)  # the store is full from the first round on
        assert max(files) - min(files) <= 1
        assert objects[-1] - objects[0] < 0.02 * objects[0], objects
        (op,) = (await ask(dashboard, "/api/snapshot")).json["ops"]
        assert (op["calls"], op["ok"], sum(op["attempts"].values())) == (calls, calls, calls)
    await asyncio.to_thread(handover.shutdown)
    counts = handover.status()
    assert counts["failed"] + counts["dropped"] == 2 * calls
    assert counts["exported"] == counts["queued"] == 0


def besieged(rounds: int, seconds: float, caplog: pytest.LogCaptureFixture) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await siege(rounds)

    asyncio.run(bounded())
    assert len(caplog.records) < 10  # a flood does not fill the log


def test_a_siege_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    """No task, socket or object is more than after the first round; each span was exported, failed or dropped."""
    besieged(3, 100, caplog)


@pytest.mark.soak
def test_a_long_siege_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    """Thirty rounds."""
    besieged(30, 1_200, caplog)
