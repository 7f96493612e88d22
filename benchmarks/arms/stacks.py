"""What people build today: single-purpose libraries nested by hand; and the retry libraries alone, on failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from arms import Target, bare, failing


def _inner() -> Target:
    """aiobreaker, a semaphore, asyncio.timeout and an OpenTelemetry span that is recorded and current."""
    from aiobreaker import CircuitBreaker
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SpanProcessor())
    tracer = provider.get_tracer("bench")
    breaker = CircuitBreaker(fail_max=5, timeout_duration=timedelta(seconds=5))
    semaphore = asyncio.Semaphore(100)

    async def limited() -> Any:
        async with semaphore, asyncio.timeout(10):
            return await bare()

    async def attempt() -> Any:
        with tracer.start_as_current_span("bench"):
            return await breaker.call_async(limited)

    return attempt


def _tenacity() -> Callable[[Target], Target]:
    import tenacity as t

    return t.retry(  # type: ignore[return-value]
        retry=t.retry_if_exception_type(OSError), stop=t.stop_after_attempt(3), wait=t.wait_exponential(), reraise=True
    )


async def with_tenacity() -> Target:
    return _tenacity()(_inner())


async def with_stamina() -> Target:
    import stamina

    return stamina.retry(on=OSError, attempts=3)(_inner())


async def tenacity_fails() -> Target:
    import tenacity as t

    return t.retry(  # type: ignore[return-value]
        retry=t.retry_if_exception_type(OSError), stop=t.stop_after_attempt(3), wait=t.wait_none(), reraise=True
    )(failing)


async def stamina_fails() -> Target:
    import logging

    import stamina

    logging.getLogger("stamina").setLevel(logging.ERROR)  # its warnings would time the terminal
    return stamina.retry(on=OSError, attempts=3, wait_initial=0, wait_max=0, wait_jitter=0)(failing)


async def backoff_fails() -> Target:
    import backoff

    guarded: Target = backoff.on_exception(
        backoff.constant, OSError, max_tries=3, interval=0, jitter=None, logger=None
    )(failing)
    return guarded
