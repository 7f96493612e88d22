"""A market whose latencies are known, called through a real pipeline in virtual time, with every span recorded."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from resilience import Kind, Op, Pipeline, Verdict
from resilience.call import Call, takes_call
from resilience.dashboard.otlp_json import export
from resilience.dashboard.rows import Span, from_readable
from resilience.dashboard.store import Store
from resilience.telemetry import Tracer
from resilience.testing import VirtualLoop

EPOCH = 1_700_000_000.0


class _Rows(SpanProcessor):
    def __init__(self) -> None:
        self.rows: list[Span] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.rows.append(from_readable(span))


class Failure(Exception):
    """What the market raises; it knows its verdict."""

    def __init__(self, kind: Kind, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.verdict = Verdict(kind, reason, retry_after)


def classify(exc: Exception, op: Op) -> Verdict:
    return exc.verdict if isinstance(exc, Failure) else Verdict(Kind.REJECTED, type(exc).__name__)


Draw = Callable[[random.Random], float]


@dataclass
class Market:
    """`latencies` draws seconds for each operation, of which `rate` calls a second come. `resets` and `hangs` are
    shares of attempts; `busy` raises THROTTLED where more than so many attempts came in the last second.
    """

    latencies: Mapping[str, Draw]
    rate: float = 50.0
    resets: float = 0.0
    hangs: float = 0.0
    busy: int | None = None
    seed: int = 1
    sent: list[float] = field(default_factory=list)

    def record(
        self, policies: Sequence[Any], calls: int, *, traces: Any = "always", sample: float = 0.01
    ) -> list[Span]:
        """The spans of so many calls of each operation through these policies."""
        kept = _Rows()
        provider = TracerProvider()
        provider.add_span_processor(kept)
        tracer = Tracer(provider, traces=traces, sample=sample, parenting="off")
        tracer.draw = random.Random(self.seed).random
        pipeline = Pipeline(*policies, name="market", classify=classify, observers=(tracer,), seed=self.seed)
        loop = VirtualLoop()
        with pytest.MonkeyPatch.context() as patch:  # the wall clock, which starts of spans are told by
            patch.setattr("resilience.telemetry.records.time_ns", lambda: int((EPOCH + loop.time()) * 1e9))
            patch.setattr(
                "resilience.telemetry.around.time_ns", lambda: int((EPOCH + loop.time()) * 1e9), raising=False
            )
            loop.run(self._play(pipeline, calls))
        return kept.rows

    async def _play(self, pipeline: Pipeline, calls: int) -> None:
        loop, dice = asyncio.get_running_loop(), random.Random(self.seed)
        target = takes_call(self._attempt)

        async def one(op: Op) -> None:
            try:
                await pipeline.send(Call(op, target, (dice,)))
            except Exception:
                return

        async with asyncio.TaskGroup() as group:
            for _ in range(calls):
                for name in self.latencies:
                    group.create_task(one(Op(name, idempotent=True)))
                    await asyncio.sleep(dice.expovariate(self.rate * len(self.latencies)))
        del loop

    async def _attempt(self, call: Call, dice: random.Random) -> str:
        now = asyncio.get_running_loop().time()
        call.attempt.sent = True
        self.sent.append(now)
        if self.busy is not None and sum(at > now - 1.0 for at in self.sent[-4 * self.busy :]) > self.busy:
            raise Failure(Kind.THROTTLED, "http_429", 0.5)
        seconds, chance = self.latencies[call.op.name](dice), dice.random()
        if chance < self.hangs:
            await asyncio.sleep(3600)
        if chance < self.hangs + self.resets:
            await asyncio.sleep(seconds * dice.random())
            raise Failure(Kind.UNKNOWN, "reset")
        await asyncio.sleep(seconds)
        return "answer"


def lognormal(median: float, sigma: float) -> Draw:
    return lambda dice: median * dice.lognormvariate(0, sigma)


def as_json(spans: Sequence[Span], path: Path) -> str:
    """An OTLP JSON file of them."""
    path.write_text(json.dumps(export(spans)))
    return str(path)


def as_store(spans: Sequence[Span], path: Path) -> str:
    """The dashboard's SQLite file of them."""
    store = Store(path=path)
    for begin in range(0, len(spans), 5_000):
        store.add(spans[begin : begin + 5_000])
        ends = time.monotonic() + 30
        while store.file is not None and store.file.written < begin + len(spans[begin : begin + 5_000]):
            assert time.monotonic() < ends, "the writer did not come to it"
            time.sleep(0.005)
    store.close()
    return str(path)
