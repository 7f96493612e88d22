"""Do the traces tell the truth? Against the simulator's own account, with every fault that it knows.

Attempt spans that are marked as sent are the requests that the server saw, joined one by one by request id; each has
the parent, the outcome and the cause that it must have. Under retries, hedges, timeouts and cancellations, and noted
either way.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from exchanges import ApiError, TransportError
from exchanges.bybit.codes import classify
from exchanges.bybit.ops import OPERATIONS
from exchanges.bybit.rest import Bybit
from exchanges.bybit.simulator import FAULTS, Simulator
from exchanges.transport.rest import Rest
from resilience import Breaker, Bulkhead, Hedge, Pipeline, Pool, Refused, Retry, TimedOut, Timeout
from resilience.telemetry import Tracer

PLAN = {
    "version": 1,
    "seed": 11,
    "stall_seconds": 0.5,
    "rules": [
        {"fault": fault, "rate": 0.025}
        | ({"seconds": 0.05} if fault == "ret_10006" else {})
        | ({"seconds": 0.0001} if fault == "slow_drip" else {})
        | ({"retry_after": 0} if fault == "http_429" else {})
        for fault in FAULTS
    ],
}
CALLS = 240
CAUSES: Mapping[str, set[str]] = {
    "reset_before_read": {"reset", "disconnected", "closing_transport"},
    "reset_after_read": {"reset", "disconnected"},
    "close_on_reuse": {"disconnected", "reset"},
    "reset_on_reuse": {"reset", "disconnected", "closing_transport"},
    "reset_mid_body": {"reset", "body_cut", "disconnected"},
    "cut_body": {"body_cut"},
    "cut_gzip": {"body_cut", "encoding"},
    "stall": {"timeout", "disconnected"},
    "html_500": {"http_500"},
    "html_502": {"http_502"},
    "html_503": {"http_503"},
    "http_403": {"http_403"},  # a ban of the address: nobody repeats it, the call ends
    "http_429": {"http_429"},
    "ret_10006": {"bybit.10006"},
    "ret_10016": {"bybit.10016"},
    "ret_10000": {"bybit.10000"},
    "invalid_json": {"bad_payload"},
    "html_200": {"bad_payload"},
    "empty_200": {"bad_payload"},
}
"""What the client may call each fault; `slow_drip` is no error for who waits."""

STACKS: dict[str, tuple[Any, ...]] = {
    "retry": (Retry(attempts=4, wait=0.001), Breaker(min_calls=10_000), Bulkhead(20, queue=500), Timeout(0.4)),
    "hedge": (Retry(attempts=3, wait=0.001), Hedge(0.02, budget=None), Timeout(0.4)),
}


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.parametrize("parenting", ["on", "off"])
@pytest.mark.parametrize("stack", STACKS)
def test_traces_say_what_the_server_saw(stack: str, parenting: str) -> None:
    """One by one, over the whole plan of faults, with a tenth of the callers leaving early."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = Tracer(provider, "tail", 1.0, parenting=parenting)  # type: ignore[arg-type]
    pipeline = Pipeline(
        *STACKS[stack], Pool(Rest.open, name="rest"), name="market", classify=classify, observers=(tracer,), seed=3
    )

    async def main() -> list[Any]:
        async with Simulator(faults=PLAN, gzip=True) as simulator, pipeline:
            bybit = Bybit(dict.fromkeys(OPERATIONS, pipeline), base_url=simulator.url)
            numbers = iter(range(CALLS))

            async def work() -> None:
                for number in numbers:
                    call = asyncio.ensure_future(bybit.fetch_ticker("BTCUSDT"))
                    if number % 10 == 0:
                        asyncio.get_running_loop().call_later(0.002, call.cancel)
                    with suppress(ApiError, TransportError, TimedOut, Refused, asyncio.CancelledError):
                        await call

            await asyncio.gather(*(work() for _ in range(8)))
            await asyncio.sleep(0.05)  # for what the server still reads
            return list(simulator.requests)

    async def bounded() -> list[Any]:
        async with asyncio.timeout(60):
            return await main()

    requests = asyncio.run(bounded())
    met = check(exporter.get_finished_spans(), requests, stack)
    assert met.keys() >= {"http_403", "http_429", "ret_10006"}


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("slow_drip", "stall")])
def test_each_fault_is_told_by_its_cause(fault: str) -> None:
    """Alone, on connections that are reused: each request that the server saw is an attempt of that cause, or clean."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    observer = Tracer(provider, "always")
    policies = (Retry(attempts=3, wait=0.001), Timeout(20), Pool(Rest.open, name="rest"))
    pipeline = Pipeline(*policies, name="market", classify=classify, observers=(observer,), seed=3)
    rule = next(rule for rule in PLAN["rules"] if rule["fault"] == fault)  # type: ignore[attr-defined]

    async def main() -> list[Any]:
        plan = {**PLAN, "rules": [rule | {"rate": 0.5}]}
        async with asyncio.timeout(60), Simulator(faults=plan, gzip=True) as simulator, pipeline:
            bybit = Bybit(dict.fromkeys(OPERATIONS, pipeline), base_url=simulator.url)
            for _ in range(12):
                with suppress(ApiError, TransportError, Refused):
                    await bybit.fetch_ticker("BTCUSDT")
            return list(simulator.requests)

    requests = asyncio.run(main())
    attempts = {
        told(a)["resilience.request.id"]: told(a)
        for a in exporter.get_finished_spans()
        if "resilience.attempt.number" in told(a)
    }
    assert set(attempts) == {request.request_id for request in requests}
    struck = [attempts[request.request_id].get("error.type") for request in requests if request.fault == fault]
    assert len(struck) >= 3
    assert set(struck) <= CAUSES[fault]
    assert all("error.type" not in attempts[request.request_id] for request in requests if request.fault is None)


def check(spans: tuple[ReadableSpan, ...], requests: list[Any], stack: str) -> Counter[str]:
    """Everything; returns which causes were met, and how often."""
    calls = {span.context.span_id: span for span in spans if "resilience.sampling.reason" in told(span)}
    attempts = [span for span in spans if "resilience.attempt.number" in told(span)]
    assert len(calls) == CALLS
    assert len(calls) + len(attempts) == len(spans)

    # what was sent is what was seen
    sent = {told(a)["resilience.request.id"]: a for a in attempts if told(a)["resilience.attempt.sent"]}
    seen = {request.request_id: request for request in requests}
    assert len(sent) == sum(told(a)["resilience.attempt.sent"] for a in attempts)
    assert set(sent) == set(seen)
    assert all(span.kind is SpanKind.CLIENT for span in sent.values())

    # parents
    by_call = defaultdict(list)
    for attempt in attempts:
        call = calls[attempt.parent.span_id]  # type: ignore[union-attr]
        assert attempt.context.trace_id == call.context.trace_id
        assert call.start_time <= attempt.start_time <= attempt.end_time <= call.end_time  # type: ignore[operator]
        by_call[attempt.parent.span_id].append(attempt)  # type: ignore[union-attr]
    assert all(call.parent is None for call in calls.values())
    assert len({call.context.trace_id for call in calls.values()}) == CALLS
    for span_id, call in calls.items():
        mine = sorted(by_call[span_id], key=lambda a: told(a)["resilience.attempt.number"])
        assert [told(a)["resilience.attempt.number"] for a in mine] == list(range(1, len(mine) + 1))
        assert len(mine) == told(call)["resilience.attempts"]
        check_call(call, mine)

    # causes
    met: Counter[str] = Counter()
    timed_out = 0
    for request_id, request in seen.items():
        attempt = sent[request_id]
        facts = told(attempt)
        error = facts.get("error.type")
        if facts["resilience.attempt.outcome"] == "cancelled":
            assert error is None
            assert attempt.status.status_code is StatusCode.UNSET
        elif error == "timeout":
            timed_out += 1  # on a busy machine our own timer may come first, whatever was on its way
        elif request.fault in CAUSES:
            assert error in CAUSES[request.fault], (request.fault, error)
            met[request.fault] += 1
        else:
            assert error is None, (request.fault, error)
    assert timed_out >= sum(
        request.fault == "stall" and told(sent[key])["resilience.attempt.outcome"] != "cancelled"
        for key, request in seen.items()
    )
    assert met
    kinds = Counter(told(a)["resilience.attempt.kind"] for a in attempts)
    assert kinds["retry"] > 10
    assert (kinds["hedge"] > 10) is (stack == "hedge")
    return met


def check_call(call: ReadableSpan, attempts: list[ReadableSpan]) -> None:
    """What the call says of itself goes with what its attempts say."""
    facts = told(call)
    outcomes = [told(a)["resilience.attempt.outcome"] for a in attempts]
    assert facts["resilience.why"].endswith(".")
    if facts["resilience.outcome"] == "ok":
        assert outcomes.count("ok") >= 1
        assert "error.type" not in facts
        assert call.status.status_code is StatusCode.UNSET
    elif facts["resilience.outcome"] == "cancelled":
        assert call.status.status_code is StatusCode.UNSET
        assert "error.type" not in facts
    else:
        assert facts["error.type"] in {told(a).get("error.type") for a in attempts}
        assert call.status.status_code is StatusCode.ERROR
    resent = [told(a).get("http.request.resend_count", 0) for a in attempts if told(a)["resilience.attempt.sent"]]
    assert resent == list(range(len(resent)))
    hedges = [a for a in attempts if told(a)["resilience.attempt.kind"] == "hedge"]
    if hedges:
        assert facts["resilience.sampling.reason"] in ("hedged", "retried")
    elif len(attempts) > 1:
        assert facts["resilience.sampling.reason"] == "retried"
