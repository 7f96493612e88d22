"""Our own arms: five stages, what they are made of, failures and refusals."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from arms import Target, bare, failing
from resilience import Breaker, Bulkhead, Op, Pipeline, RateLimit, Retry, Timeout
from resilience.call import Call, Handler
from resilience.kit import Kit
from resilience.policy import Policy
from resilience.verdict import classify

OP = Op("bench", idempotent=True)
UNLIMITED = "100000000/s"


def five() -> tuple[Policy, ...]:
    """The five stages that are compared, in the canonical order."""
    return Retry(), Breaker(), RateLimit(UNLIMITED), Bulkhead(100), Timeout(10)


@dataclass(frozen=True, slots=True)
class Passes(Policy):
    """The least that a policy can be: one coroutine that awaits the next."""

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        async def run(call: Call) -> Any:
            return await next(call)

        return run


async def call_itself() -> Target:
    return bare


async def empty() -> Target:
    return Pipeline().guard(OP)(bare)


async def five_that_pass() -> Target:
    return Pipeline(*[Passes() for _ in range(5)]).guard(OP)(bare)


async def five_stages() -> Target:
    return Pipeline(*five()).guard(OP)(bare)


async def five_recorded() -> Target:
    """Every attempt is recorded, and a call in a hundred becomes spans; no span is made current."""
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    from resilience.telemetry import Tracer

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SpanProcessor())  # the SDK's base: takes spans, does nothing
    return Pipeline(*five(), observers=(Tracer(provider, "tail", 0.01, parenting="off"),)).guard(OP)(bare)


def thrice() -> Retry:
    """Three attempts with nothing between them, and no budget that would stop the second thousand of calls."""
    free = {"budget": None} if any(field.name == "budget" for field in fields(Retry)) else {}
    return Retry(attempts=3, wait=0, jitter="none", **free)


async def three_failures() -> Target:
    return Pipeline(thrice()).guard(OP)(failing)


async def trip(guarded: Target) -> None:
    for _ in range(40):
        with suppress(Exception):
            await guarded()


async def refusal() -> Target:
    """The handler that Breaker binds, told to admit a call while the circuit is open."""
    import asyncio

    async def fails(call: Call) -> Any:
        raise ConnectionResetError("reset")

    kit = Kit("bench", classify, random.Random(1))
    kit.link(asyncio.get_running_loop(), None)
    handler = Breaker(open_for=3600).bind(fails, kit)
    call = Call(OP, failing)

    async def guarded() -> Any:
        return await handler(call)

    await trip(guarded)
    return lambda: handler(call)


async def refusal_of_a_pipeline() -> Target:
    guarded = Pipeline(Breaker(open_for=3600)).guard(OP)(failing)
    await trip(guarded)
    return guarded
