"""Calls that waited for one opening of a pool do not get each other's history in the notes of its error."""

from __future__ import annotations

import asyncio

from resilience import Pipeline, Pool, Retry
from resilience.testing import Script, virtual


@virtual
async def test_each_call_has_a_history_of_its_own() -> None:
    """One failed attempt, retried once: one line."""

    async def cannot() -> None:
        await asyncio.sleep(0.1)
        raise ConnectionRefusedError("refused")

    pipeline = Pipeline(Retry(attempts=2, wait=0), Pool(cannot, name="rest"))
    errors = await asyncio.gather(*(pipeline.run(Script()) for _ in range(3)), return_exceptions=True)
    assert len(set(map(id, errors))) == 3
    assert [getattr(error, "__notes__", []) for error in errors] == [
        ["attempt 1: ConnectionRefusedError: refused; retried after 0 s"]
    ] * 3


@virtual
async def test_who_waits_alone_gets_the_error_itself() -> None:
    """There is nobody to share it with."""
    error = ConnectionRefusedError("refused")

    async def cannot() -> None:
        raise error

    (raised,) = await asyncio.gather(Pipeline(Pool(cannot, name="rest")).run(Script()), return_exceptions=True)
    assert raised is error
