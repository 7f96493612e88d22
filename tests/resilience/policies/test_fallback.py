"""Fallback: what it replaces, what it lets through, and what it answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import (
    Breaker,
    BulkheadFull,
    ConfigError,
    Fallback,
    Kind,
    Op,
    Pipeline,
    RateLimited,
    Retry,
    TimedOut,
    Timeout,
    Verdict,
)
from resilience.testing import Recorder, Script, never, virtual

READ = Op("read", idempotent=True)
WRITE = Op("write")


class Told(Exception):
    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.value)
        self.verdict = Verdict(kind)


def told(exc: Exception, op: Op) -> Verdict:
    return exc.verdict if isinstance(exc, Told) else Verdict(Kind.REJECTED)


@pytest.mark.parametrize(
    ("kind", "op", "replaced"),
    [
        (Kind.REJECTED, READ, False),
        (Kind.THROTTLED, READ, True),
        (Kind.THROTTLED, WRITE, True),
        (Kind.FAILED, WRITE, True),
        (Kind.UNKNOWN, READ, True),
        (Kind.UNKNOWN, WRITE, False),
    ],
)
@virtual
async def test_the_fallback_column_of_the_verdict_table(kind: Kind, op: Op, replaced: bool) -> None:
    """Yes, yes, no; and UNKNOWN only where it may happen twice."""
    pipeline = Pipeline(Fallback(value="instead"), classify=told)
    if replaced:
        assert await pipeline.run(Script(Told(kind)), op=op) == "instead"
    else:
        with pytest.raises(Told):
            await pipeline.run(Script(Told(kind)), op=op)


@pytest.mark.parametrize("refusal", [BulkheadFull("x"), RateLimited("x")])
@virtual
async def test_a_refusal_is_replaced(refusal: Exception) -> None:
    """Nothing was sent, so nothing can be hidden, not even for a write."""
    assert await Pipeline(Fallback(value=0)).run(Script(refusal), op=WRITE) == 0


@virtual
async def test_a_cancellation_passes() -> None:
    """The caller went away; nobody wants an answer."""
    task = asyncio.ensure_future(Pipeline(Fallback(value=0, on=Exception)).run(Script(never)))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@virtual
async def test_a_result_is_never_replaced() -> None:
    """Not even None."""
    assert await Pipeline(Fallback(value="instead")).run(Script(None)) is None


@virtual
async def test_none_is_a_value() -> None:
    """Fallback(value=None) answers None."""
    assert await Pipeline(Fallback(value=None)).run(Script(ConnectionRefusedError())) is None


@virtual
async def test_a_function_of_the_error_answers() -> None:
    """Synchronous or not; its own error is raised as it is."""

    async def slowly(error: Exception) -> str:
        await asyncio.sleep(1)
        return f"slowly, {error}"

    failing = Script(ConnectionRefusedError("gone"))
    assert await Pipeline(Fallback(call=lambda error: f"at once, {error}")).run(failing) == "at once, gone"
    assert await Pipeline(Fallback(call=slowly)).run(failing) == "slowly, gone"

    def worse(error: Exception) -> str:
        raise KeyError("worse")

    with pytest.raises(KeyError, match="worse"):
        await Pipeline(Fallback(call=worse)).run(failing)


@virtual
async def test_on_decides_alone() -> None:
    """It names a rejected error, and leaves out a failed one."""
    pipeline = Pipeline(Fallback(value="instead", on=KeyError))
    assert await pipeline.run(Script(KeyError())) == "instead"
    with pytest.raises(ConnectionRefusedError):
        await pipeline.run(Script(ConnectionRefusedError()))


@virtual
async def test_outside_a_retry_it_comes_last() -> None:
    """All attempts are made first; the note says what it replaced."""
    recorder = Recorder()
    script = Script(OSError())
    pipeline = Pipeline(
        Fallback(value="instead"), Retry(attempts=3, on=OSError, wait=0), Breaker(), observers=(recorder,)
    )
    assert await pipeline.run(script, op=READ) == "instead"
    assert script.count == 3
    assert recorder.calls[0].error is None
    assert recorder.attempts[-1].attempt.notes["fallback"] == "OSError"


@virtual
async def test_a_timeout_of_a_write_is_not_replaced() -> None:
    """It may have been executed."""
    pipeline = Pipeline(Fallback(value="harmless"), Timeout(1))
    with pytest.raises(TimedOut):
        await pipeline.run(Script(never), op=WRITE)
    assert await pipeline.run(Script(never), op=READ) == "harmless"


@pytest.mark.parametrize(
    "make",
    [
        Fallback,
        lambda: Fallback(value=1, call=lambda error: 2),
        lambda: Fallback(call=3),  # type: ignore[arg-type]
        lambda: Fallback(value=1, on=3),  # type: ignore[arg-type]
    ],
)
def test_wrong_settings_are_named(make: Any) -> None:
    """One answer, and a usable on."""
    with pytest.raises(ConfigError, match="Fallback: "):
        make()
