"""Spans of two other processes, over real sockets: all arrive, memory stays bounded, and they are found soon."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
from served import ask, on_sockets, served

from resilience.dashboard import Store, query

SENDER = Path(__file__).parents[2] / "support" / "sender.py"
ROOT = Path(__file__).parents[3]
MiB = 2**20


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else 0


async def sends(address: str, spans: int, how: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SENDER), address, str(spans), how, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0
    return int(said)


async def lag(until: asyncio.Event) -> float:
    """The longest time for which the event loop did not come back, in seconds."""
    worst = 0.0
    while not until.is_set():
        begun = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - begun)
    return worst


async def taken_in(spans: int) -> None:
    whole = Store()
    ended = asyncio.Event()
    async with served(store=whole) as dashboard:
        watch = asyncio.ensure_future(lag(ended))
        before = resident()
        sent = await asyncio.gather(*(sends(dashboard.address, spans // 2, how) for how in ("protobuf", "json")))
        ended.set()
        grown, worst = resident() - before, await watch
        status = whole.status()
        assert sent == [spans // 2] * 2
        assert (status["received"], status["spans"]) == (spans, spans)
        assert (status["dropped"], status["evicted"], status["duplicates"]) == (0, 0, 0)
        found = (await ask(dashboard, "/api/snapshot")).json
        assert {row["service"]: row["spans"] for row in found["processes"]} == {
            "json": spans // 2,
            "protobuf": spans // 2,
        }
        assert sum(row["calls"] for row in found["ops"]) == spans // 10
        assert sum(sum(row["attempts"].values()) for row in found["ops"]) == spans * 9 // 10
        listed = (await ask(dashboard, "/api/traces?q=op:op-3%20error:reset")).json
        assert listed["matched"] == spans // 10 // 20
        took = min([(await ask(dashboard, "/api/traces?q=op:op-3%20error:reset")).json["took_ms"] for _ in range(5)])
    print(f"{spans} spans: {grown / MiB:.0f} MiB, by estimate {status['bytes'] / MiB:.0f}")
    print(f"a search {took:.1f} ms, the loop at most {worst * 1000:.0f} ms late")
    assert took < 100 or spans < 100_000
    assert grown < 64 * MiB + 2 * status["bytes"]


@on_sockets
async def test_no_span_of_two_processes_is_lost() -> None:
    """One sends protobuf by OpenTelemetry's own exporter, the other JSON."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the otlp extra is not installed")
    await taken_in(4_000)


@pytest.mark.soak
def test_no_span_of_a_hundred_thousand_is_lost() -> None:
    """The same, and a search of them takes less than 100 ms."""

    async def bounded() -> None:
        async with asyncio.timeout(600):
            await taken_in(100_000)

    asyncio.run(bounded())


@on_sockets
async def test_the_store_keeps_its_bounds_while_two_processes_send() -> None:
    """Whole traces go, the oldest first, and every span is accounted for."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the otlp extra is not installed")
    ring = Store(most_traces=50, most_spans=450)
    async with served(store=ring) as dashboard:
        await asyncio.gather(*(sends(dashboard.address, 1_000, how) for how in ("protobuf", "json")))
    status = ring.status()
    assert (status["received"], status["dropped"], status["duplicates"]) == (2_000, 0, 0)
    assert status["spans"] + status["evicted"] == 2_000
    assert status["traces"] <= 50
    assert status["spans"] <= 450
    assert sum(len(trace.spans) for trace in ring) == status["spans"]
    assert status["bytes"] == sum(span.weight for trace in ring for span in trace.spans.values())
    assert query.listing(ring.traces(), limit=1_000)["matched"] == len(ring)
