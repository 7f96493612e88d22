"""A server that resets every reused connection: who sends again, who does not, and what everybody counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from exchanges import ExchangeManager, TransportError
from exchanges.bybit.simulator import Simulator
from exchanges.transport.rest import Rest
from resilience import Breaker, Kind, Op, Pipeline, Pool, Retry
from resilience.call import Call, takes_call
from resilience.telemetry.spans import Tracer
from resilience.testing import Recorder

RESET_ON_REUSE = {"version": 1, "rules": [{"fault": "reset_on_reuse"}]}
CLOSE_ON_REUSE = {"version": 1, "rules": [{"fault": "close_on_reuse"}]}


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main()

    asyncio.run(bounded())


def traced() -> tuple[Tracer, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracer(provider, traces="always"), exporter


def sent(spans: tuple[ReadableSpan, ...]) -> list[str]:
    """The request ids of the attempt spans that are marked as sent."""
    found = [dict(span.attributes or {}) for span in spans]
    return [str(a["resilience.request.id"]) for a in found if a.get("resilience.attempt.sent") is True]


@pytest.mark.parametrize("plan", [RESET_ON_REUSE, CLOSE_ON_REUSE])
@pytest.mark.parametrize("at_once", [1, 8])
def test_every_call_succeeds_by_a_transparent_retry(plan: dict[str, Any], at_once: int) -> None:
    """Requests that the server saw = attempt spans marked as sent, one by one; the breaker never counts."""

    async def main() -> None:
        tracer, exporter = traced()
        recorder = Recorder()
        async with Simulator(faults=plan) as simulator:
            async with ExchangeManager.load(base_url=simulator.url, observers=(tracer, recorder)) as manager:
                for _ in range(40 // at_once):
                    calls = (manager.fetch_ticker("bybit", "BTCUSDT") for _ in range(at_once))
                    tickers = await asyncio.gather(*calls)
                    assert {ticker.symbol for ticker in tickers} == {"BTCUSDT"}
                status = manager.status()
            seen = [record.request_id for record in simulator.requests]
        assert sorted(sent(exporter.get_finished_spans())) == sorted(str(one) for one in seen)
        assert len(seen) > 40
        assert len(recorder.calls) == 40
        assert all(call.error is None for call in recorder.calls)
        retries = [event.attempt for event in recorder.attempts if event.attempt.number > 1]
        assert retries
        assert {attempt.notes["retry"] for attempt in retries} == {"transparent"}
        assert {attempt.notes["connection"] for attempt in retries} == {"new"}
        assert [breaker["state"] for breaker in status["breakers"].values()] == ["closed"]
        assert [breaker["failure_rate"] for breaker in status["breakers"].values()] == [0]
        assert status["pools"]["rest"]["renewed"] == 0

    run(main)


def test_a_write_in_the_same_place_is_unknown_and_not_repeated() -> None:
    """A POST on a reused connection that is reset may have been executed: once, and UNKNOWN."""

    async def main() -> None:
        async with Simulator(faults=RESET_ON_REUSE) as simulator:
            recorder = Recorder()
            pipeline = Pipeline(
                Retry(attempts=4, wait=0),
                Breaker(),
                Pool(Rest.open, name="rest"),
                classify=lambda exc, op: exc.verdict if isinstance(exc, TransportError) else pytest.fail(repr(exc)),
                observers=(recorder,),
            )

            @takes_call
            async def post(call: Call, rest: Rest) -> int:
                url = f"{simulator.url}/v5/order/create"
                return (await rest.request(call.attempt, "POST", url, body=b"{}")).status

            async with pipeline:
                assert await pipeline.send(Call(Op("create_order"), post)) == 404
                with pytest.raises(TransportError) as caught:
                    await pipeline.send(Call(Op("create_order"), post))
            assert caught.value.verdict.kind is Kind.UNKNOWN
            assert caught.value.sent
            assert recorder.attempts[-1].attempt.stale
            assert len(simulator.requests) == 2
            assert len(recorder.attempts) == 2

    run(main)


def test_nine_tickers_ride_on_one_connection() -> None:
    """One after the other on one session: one connection, nine requests."""

    async def main() -> None:
        async with Simulator() as simulator:
            async with ExchangeManager.load(base_url=simulator.url) as manager:
                for _ in range(9):
                    await manager.fetch_ticker("bybit", "BTCUSDT")
                assert manager.status()["pools"]["rest"]["opened"] == 1
            assert simulator.connections == 1
            assert len(simulator.requests) == 9

    run(main)
