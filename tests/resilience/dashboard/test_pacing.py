"""Turns: a burst at once, then one after another; nobody waits where there is no crowd."""

from __future__ import annotations

import asyncio

import pytest
from served import on_sockets, raw, served

from resilience.dashboard.pacing import Pace
from resilience.testing import virtual


@virtual
async def test_a_burst_goes_at_once_and_the_rest_one_after_another() -> None:
    """Three at once, then one every 10 ms; after a pause as long as the burst it may be a burst again."""
    pace, loop = Pace(3, 0.01), asyncio.get_running_loop()

    async def come() -> float:
        await pace.turn()
        return loop.time()

    assert await asyncio.gather(*(come() for _ in range(6))) == pytest.approx([0, 0, 0, 0.01, 0.02, 0.03])
    await asyncio.sleep(0.03)
    begun = loop.time()
    found = [at - begun for at in await asyncio.gather(*(come() for _ in range(4)))]
    assert found == pytest.approx([0, 0, 0, 0.01])


@virtual
async def test_whoever_comes_rarely_never_waits() -> None:
    """At no more than the pace."""
    pace = Pace(1, 0.01)
    assert [pace.wait(now) for now in (0.0, 0.01, 0.5, 0.51)] == pytest.approx([0, 0, 0, 0])
    assert pace.wait(0.515) == pytest.approx(0.005)


@on_sockets
async def test_connections_that_come_at_once_are_heard_in_turn_and_all_answered() -> None:
    """One that has left before its turn costs nothing."""
    async with served() as dashboard:
        loop, doors = asyncio.get_running_loop(), dashboard._doors
        doors.pace = Pace(2, 0.05)
        head = b"GET /api/snapshot HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        begun = loop.time()
        replies = await asyncio.gather(*(raw(dashboard, head) for _ in range(6)))
        assert all(reply.startswith(b"HTTP/1.1 200") for reply in replies)
        assert loop.time() - begun > 0.19
        host, port = dashboard.address.removeprefix("http://").rsplit(":", 1)
        writers = [(await asyncio.open_connection(host, int(port)))[1] for _ in range(6)]
        for writer in writers:
            writer.transport.abort()
        while doors.open:
            await asyncio.sleep(0.01)
        assert (await raw(dashboard, head)).startswith(b"HTTP/1.1 200")
