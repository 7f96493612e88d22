"""A generator object of backoff's `runtime` served one call; the second one's error was lost in another."""

from __future__ import annotations

import asyncio

import backoff
import pytest

from resilience import Pipeline, Retry
from resilience.testing import Script, VirtualLoop, virtual


class Busy(Exception):
    """The server names the seconds to wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def retry() -> Retry:
    return Retry(attempts=3, on=Busy, jitter="none", wait=backoff.runtime(value=lambda error: error.seconds))


def test_every_call_waits_as_its_own_errors_say() -> None:
    """One after the other."""
    pipeline = Pipeline(retry())
    for first, second in ((3.0, 5.0), (1.0, 2.0)):
        script = Script(Busy(first), Busy(second), "done")
        assert VirtualLoop().run(pipeline.run(script)) == "done"
        assert script.begun == [0, first, first + second]


@virtual
async def test_calls_at_the_same_time_do_not_mix() -> None:
    """And at once."""
    pipeline = Pipeline(retry())
    scripts = [Script(Busy(seconds)) for seconds in (1.0, 2.5, 4.0)]
    for outcome in await asyncio.gather(*(pipeline.run(script) for script in scripts), return_exceptions=True):
        assert isinstance(outcome, Busy)
    assert [script.begun for script in scripts] == [pytest.approx([0, wait, 2 * wait]) for wait in (1.0, 2.5, 4.0)]
