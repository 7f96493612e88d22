"""A process that sends spans over OTLP/HTTP: ``python sender.py ADDRESS SPANS protobuf|json [FIRST]``; prints how many.

Protobuf goes as an application would send it: OpenTelemetry's SDK, our `Handover`, its own exporter. JSON is written
here, and sent again where the server asks for patience. Traces are of ten spans: nine attempts and their call.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

A_TRACE = 10
A_REQUEST = 500


def facts(number: int, spans: int) -> list[dict[str, Any]]:
    """The attributes of the spans of one trace, the call last. The last trace may be shorter."""
    op = f"op-{number % 20}"
    attempts = [
        {
            "resilience.op": op,
            "resilience.attempt.number": at,
            "resilience.attempt.kind": "original" if at == 1 else "retry",
            "resilience.attempt.outcome": "ok" if at == spans - 1 else "failed",
            "resilience.request.id": f"{number}-{at}",
            "url.full": "https://api.bybit.com/v5/market/tickers?category=linear",
        }
        | ({"error.type": "reset"} if at < spans - 1 else {})
        for at in range(1, spans)
    ]
    call = {
        "resilience.op": op,
        "resilience.pipeline": "market",
        "resilience.outcome": "ok",
        "resilience.attempts": spans - 1,
        "resilience.sampling.reason": "retried",
        "resilience.sampling.probability": 1.0,
        "resilience.why": "8 resets, ninth attempt won.",
    }
    return [*attempts, call]


def by_protobuf(address: str, traces: range, spans: int) -> int:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import set_span_in_context

    from resilience.telemetry import Handover

    provider = TracerProvider(resource=Resource({"service.name": "protobuf"}), shutdown_on_exit=False)
    handover = Handover(OTLPSpanExporter(endpoint=address + "/v1/traces"), most=10 * A_REQUEST, batch=A_REQUEST)
    provider.add_span_processor(handover)
    tracer = provider.get_tracer("sender")
    for number in traces:
        *attempts, call = facts(number, spans)
        root = tracer.start_span(call["resilience.op"], attributes=call)
        around = set_span_in_context(root)
        for attributes in attempts:
            tracer.start_span("GET /v5/market/tickers", around, attributes=attributes).end()
        root.end()
        while handover.status()["queued"] > 5 * A_REQUEST:
            handover.force_flush()
    provider.shutdown()
    status = handover.status()
    assert (status["failed"], status["dropped"]) == (0, 0), status
    return status["exported"]


def by_json(address: str, traces: range, spans: int) -> int:
    waiting: list[dict[str, Any]] = []
    sent = 0
    for number in traces:
        *attempts, call = facts(number, spans)
        trace, now = f"{number + 1:032x}", time.time_ns()
        for position, attributes in enumerate([*attempts, call]):
            waiting.append({
                "traceId": trace,
                "spanId": f"{position + 1:016x}",
                "parentSpanId": "" if attributes is call else f"{spans:016x}",
                "name": "GET /v5/market/tickers",
                "startTimeUnixNano": str(now),
                "endTimeUnixNano": str(now + 1_000_000),
                "attributes": [{"key": key, "value": told(value)} for key, value in attributes.items()],
            })  # fmt: skip
        if len(waiting) >= A_REQUEST or number == traces[-1]:
            post(address, waiting)
            sent += len(waiting)
            waiting = []
    return sent


def told(value: Any) -> dict[str, Any]:
    kinds = {str: "stringValue", int: "intValue", float: "doubleValue"}
    return {kinds[type(value)]: str(value) if type(value) is int else value}


def post(address: str, spans: list[dict[str, Any]]) -> None:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "json"}}]}
    message = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps(message).encode(), 1)
    request = urllib.request.Request(address + "/v1/traces", body, headers)  # noqa: S310 (our own server)
    while True:
        try:
            with urllib.request.urlopen(request) as reply:  # noqa: S310
                assert reply.read() == b"{}"
                return
        except urllib.error.HTTPError as error:
            if error.code != 429:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    where, many, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    send = by_protobuf if how == "protobuf" else by_json
    print(send(where, range(many // A_TRACE), A_TRACE), flush=True)
