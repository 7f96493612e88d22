"""What a branch of a hedge met without ever being awaited was taken for the whole call's outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from resilience import Call, Hedge, Op, Pipeline, TimedOut, Timeout
from resilience.call import takes_call
from resilience.testing import Script, after, virtual

READ = Op("read", idempotent=True)


@virtual
async def test_a_branch_that_raises_at_once_lets_the_other_run() -> None:
    """A function that returns an awaitable may raise before it does."""
    answers = Script(after(3, "answer"))
    sends = 0

    def read() -> Awaitable[str]:
        nonlocal sends
        sends += 1
        if sends == 2:
            raise ConnectionRefusedError("down")
        return answers()

    assert await Pipeline(Hedge(1)).run(read, op=READ) == "answer"
    assert sends == 2


@virtual
async def test_a_timeout_above_knows_what_the_first_branch_sent() -> None:
    """Though a hedge that reached nobody has ended since."""

    async def read(call: Call) -> None:
        if call.attempt.number == 2:
            raise ConnectionRefusedError("down")
        call.attempt.sent = True
        await asyncio.sleep(60)

    with pytest.raises(TimedOut) as caught:
        await Pipeline(Timeout(2), Hedge(1)).run(takes_call(read), op=READ)
    assert caught.value.sent
