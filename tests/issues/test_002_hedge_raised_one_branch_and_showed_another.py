"""A hedge whose branches all failed raised one branch's error, and left another's attempt for the retry to read."""

from __future__ import annotations

import asyncio

import pytest

from resilience import Hedge, Kind, Op, Pipeline, Retry, Verdict
from resilience.call import Call
from resilience.testing import Script, after, virtual

READ = Op("read", idempotent=True)


class Told(Exception):
    def __init__(self, kind: Kind, retry_after: float | None = None) -> None:
        super().__init__(kind.value)
        self.verdict = Verdict(kind, kind.value, retry_after)


def told(exc: Exception, op: Op) -> Verdict:
    assert isinstance(exc, Told)
    return exc.verdict


@virtual
async def test_the_attempt_above_is_that_of_the_error() -> None:
    """UNKNOWN first, FAILED last: the UNKNOWN error is raised, with the attempt that met it."""
    call = Call(READ, Script(after(1.5, Told(Kind.UNKNOWN)), after(1, Told(Kind.FAILED))))
    with pytest.raises(Told) as caught:
        await Pipeline(Hedge(1), classify=told).send(call)
    assert caught.value.verdict.kind is Kind.UNKNOWN
    assert call.attempt.number == 1


@virtual
async def test_a_wait_that_the_server_ordered_is_not_forgotten() -> None:
    """THROTTLED for ten seconds, then FAILED: the retry waits the ten seconds."""
    script = Script(after(1.5, Told(Kind.THROTTLED, 10)), after(1, Told(Kind.FAILED)), "ok")
    pipeline = Pipeline(Retry(wait=0), Hedge(1), classify=told)
    assert await pipeline.run(script, op=READ) == "ok"
    assert script.begun[2] >= 2 + 10
    assert asyncio.get_running_loop().time() <= 2 + 11.1
