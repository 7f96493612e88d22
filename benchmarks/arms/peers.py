"""The all-in-one peers, each with the nearest equivalent of the five stages that it has, as its documents show them.

hyx and pyresilience have all five; redress has no rate limit and no bulkhead, interlock-cb no rate limit.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

from arms import Target, bare, failing


async def hyx() -> Target:
    from hyx.bulkhead import bulkhead
    from hyx.circuitbreaker import consecutive_breaker
    from hyx.ratelimit import tokenbucket
    from hyx.retry import retry
    from hyx.timeout import timeout

    limiter = tokenbucket(max_executions=100_000_000, per_time_secs=1)
    breaker, gate = consecutive_breaker(OSError, 5, 5), bulkhead(max_concurrency=100, max_capacity=100)
    guarded: Target = retry(on=OSError, attempts=3)(breaker(limiter(gate(timeout(10)(bare)))))
    return guarded


async def hyx_blocks() -> Target:
    """The form that makes no task: not how hyx is shown, but the fastest that it can do."""
    from hyx.bulkhead import bulkhead
    from hyx.circuitbreaker import consecutive_breaker
    from hyx.ratelimit import tokenbucket
    from hyx.retry import retry
    from hyx.timeout import timeout

    limiter = tokenbucket(max_executions=100_000_000, per_time_secs=1)
    breaker, gate = consecutive_breaker(OSError, 5, 5), bulkhead(max_concurrency=100, max_capacity=100)

    async def attempt() -> Any:
        async with breaker, limiter, gate, timeout(10):
            return await bare()

    guarded: Target = retry(on=OSError, attempts=3)(attempt)
    return guarded


async def pyresilience() -> Target:
    import pyresilience as p

    guarded: Target = p.resilient(
        retry=p.RetryConfig(max_attempts=3, retry_on=(OSError,)),
        circuit_breaker=p.CircuitBreakerConfig(sliding_window_size=100, minimum_calls=10),
        rate_limiter=p.RateLimiterConfig(max_calls=100_000_000, period=1.0),
        bulkhead=p.BulkheadConfig(max_concurrent=100),
        timeout=p.TimeoutConfig(seconds=10),
    )(bare)
    return guarded


async def redress() -> Target:
    import redress as r

    retry = r.AsyncRetry(
        classifier=r.default_classifier, strategy=r.decorrelated_jitter(), attempt_timeout_s=10, max_attempts=3
    )
    policy = r.AsyncPolicy(retry=retry, circuit_breaker=r.CircuitBreaker())
    return lambda: policy.call(bare)


async def interlock() -> Target:
    from interlock import CircuitBreaker, Pipeline

    pipeline = (
        Pipeline.builder().retry(attempts=3).circuit_breaker(CircuitBreaker(name="x")).bulkhead(100).timeout(10).build()
    )
    return lambda: pipeline.call(bare)


async def open_aiobreaker() -> Target:
    """A refusal of aiobreaker, beside ours."""
    from aiobreaker import CircuitBreaker

    breaker = CircuitBreaker(fail_max=5, timeout_duration=timedelta(hours=1))

    async def guarded() -> Any:
        return await breaker.call_async(failing)

    for _ in range(8):
        with suppress(Exception):
            await guarded()
    return guarded
