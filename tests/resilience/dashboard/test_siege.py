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
from resilience.dashboard.stream import MOST as MOST_LISTENERS
from resilience.telemetry import Handover, Tracer

SIEGE = Path(__file__).parents[2] / "support" / "siege.py"
READ = Op("read", idempotent=True)
SECONDS = 1.2


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
        sys.executable, str(SIEGE), host, port, str(SECONDS), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, int] = json.loads(said)
    return found


async def answer() -> str:
    await asyncio.sleep(0.002)
    return "ok"


async def one_round(pipeline: Pipeline, address: str) -> tuple[int, dict[str, int]]:
    """Calls go on as long as the siege does; all of them end well."""
    siege = asyncio.ensure_future(besiege(address))
    calls = 0
    while not siege.done():
        assert set(await asyncio.gather(*(pipeline.run(answer, op=READ) for _ in range(5)))) == {"ok"}
        calls += 5
    return calls, await siege


async def standing(dashboard: Any) -> tuple[int, int, int]:
    """Tasks, file descriptors and objects, after all has settled."""
    async with asyncio.timeout(20):
        while dashboard._active or dashboard._doors.open or dashboard._hub._listeners or dashboard._api._waiting:
            await asyncio.sleep(0.02)
        while dashboard._hub._task is not None and not dashboard._hub._task.done():
            await asyncio.sleep(0.02)
    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: ASYNC240, PTH
    gc.collect()
    return len(asyncio.all_tasks()), files, len(gc.get_objects())


async def siege(rounds: int) -> None:
    exporter = Useless()
    handover = Handover(exporter, most=500, batch=100, every=0.05)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(handover)
    pipeline = Pipeline(Retry(attempts=2), name="market", observers=(Tracer(provider, "always"),))
    store = Store(most_traces=200, most_spans=2_000)
    calls = 0
    async with served(pipeline, store=store, token="t" * 32) as open_to_few, served(pipeline, store=store) as dashboard:
        seen: list[tuple[int, int, int]] = []
        for _ in range(rounds):
            for besieged in (open_to_few, dashboard):
                made, statuses = await one_round(pipeline, besieged.address)
                calls += made
                assert statuses.keys() <= {"-", "200", "400", "401", "405", "408", "413", "415", "421", "429"}, statuses
                print(statuses)
                assert {"401", "421"} <= statuses.keys() if besieged is open_to_few else "413" in statuses, statuses
                assert len(besieged._hub._listeners) <= MOST_LISTENERS
            status = store.status()
            assert status["traces"] <= 200
            assert status["spans"] <= 2_000
            seen.append(await standing(dashboard))
        tasks, files, objects = zip(*seen[1:], strict=True)
        assert len(set(tasks)) == 1
        assert max(files) - min(files) <= 1
        assert objects[-1] - objects[0] < 0.02 * objects[0], objects  # the store is full from the first round on
        (op,) = (await ask(dashboard, "/api/snapshot")).json["ops"]
        assert (op["calls"], op["ok"], sum(op["attempts"].values())) == (calls, calls, calls)
    await asyncio.to_thread(handover.shutdown)
    counts = handover.status()
    assert counts["failed"] + counts["dropped"] == 2 * calls
    assert counts["exported"] == counts["queued"] == 0


def besieged(rounds: int, seconds: float) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await siege(rounds)

    asyncio.run(bounded())


def test_a_siege_leaves_nothing_behind() -> None:
    """Three rounds: after the first no task, socket or object is more; each span was exported, failed or dropped."""
    besieged(3, 100)


@pytest.mark.soak
def test_a_long_siege_leaves_nothing_behind() -> None:
    """Thirty rounds."""
    besieged(30, 1_200)
