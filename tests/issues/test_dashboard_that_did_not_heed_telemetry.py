"""``telemetry: {traces: always}`` was for nothing where only the dashboard takes spans: it kept one clean call of 100.

So a store that was recorded for `tune` held next to nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from served import on_sockets

import resilience
from resilience import Op
from resilience.dashboard.section import Section

FILE = "version: 1\npipelines: {market: [timeout: 5s]}\ndashboard: {port: 0}\n"


@pytest.mark.parametrize(
    ("telemetry", "kept"), [("{traces: always}", 50), ("{traces: off}", 0), ("{sample: 100%}", 50)]
)
@on_sockets
async def test_the_sections_are_about_the_same_calls(tmp_path: Path, telemetry: str, kept: int) -> None:
    """Which calls are kept stands in `telemetry`, whoever keeps them."""
    path = tmp_path / "pipelines.yaml"
    path.write_text(f"{FILE}telemetry: {telemetry}\n")
    market = resilience.load(path)["market"]
    (section,) = [one for one in market.observers if isinstance(one, Section)]
    await section.start()

    async def answer() -> str:
        return "answer"

    for _ in range(50):
        await market.run(answer, op=Op("ticker", idempotent=True))
    await asyncio.to_thread(section.dashboard._tracing.settle)
    assert len(section.dashboard.store) == kept
    await section.aclose()
