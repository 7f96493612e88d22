"""Turns: a burst at once, then one after another; nobody waits where there is no crowd."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from served import on_sockets, raw, served

from resilience.dashboard import pacing
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
    pace, loop, had = Pace(1, 0.01), asyncio.get_running_loop(), []
    for _ in range(4):
        pace.soon(lambda: had.append(loop.time()))
        await asyncio.sleep(0.01)
    assert had == pytest.approx([0, 0.01, 0.02, 0.03])


@virtual
async def test_what_a_busy_loop_is_late_with_does_not_come_all_at_once() -> None:
    """The gap begins when the last turn was had."""
    pace, loop, had = Pace(1, 0.01), asyncio.get_running_loop(), []
    for _ in range(4):
        pace.soon(lambda: had.append(loop.time()))
    loop.advance(0.05)  # type: ignore[attr-defined]
    await asyncio.sleep(0.05)
    assert had == pytest.approx([0, 0.05, 0.06, 0.07])


@virtual
async def test_what_is_large_takes_several_turns() -> None:
    """Such as bytes: of the first many at once, and then as many seconds pass as they should have taken."""
    pace, loop, had = Pace(100, 0.01), asyncio.get_running_loop(), []
    for size in (300, 50, 1, 1):
        pace.soon(lambda: had.append(loop.time()), size)
    await asyncio.sleep(4)
    assert had == pytest.approx([0, 2.01, 2.51, 2.52])


@virtual
async def test_a_turn_that_fails_is_not_the_end_of_the_others() -> None:
    """The loop is told of it."""
    pace, loop, had, told = Pace(1, 0.01), asyncio.get_running_loop(), [], []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    for _ in range(2):
        pace.soon(lambda: had.append(loop.time()))
    pace.soon(lambda: 1 / 0)
    pace.soon(lambda: pace.soon(lambda: had.append(loop.time())))
    await asyncio.sleep(0.1)
    assert had == pytest.approx([0, 0.01, 0.04])
    assert [type(error) for error in told] == [ZeroDivisionError]


@on_sockets
async def test_a_thread_lets_the_event_loop_have_a_turn_after_each_stint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it goes through comes whole; turns of the loop and stints of the thread alternate."""
    monkeypatch.setattr(pacing, "_STINT", 0)
    loop, turns = asyncio.get_running_loop(), []
    scheduled = loop.call_soon_threadsafe

    def counted(*args: Any) -> Any:
        turns.append(args)
        return scheduled(*args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
    courtesy = pacing.Courtesy(loop)
    assert await asyncio.to_thread(lambda: list(courtesy(range(100)))) == list(range(100))
    assert len(turns) == 101  # the last one is the thread's end


def test_a_thread_goes_on_without_a_loop_that_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or one that does not turn."""
    monkeypatch.setattr(pacing, "_STINT", 0)
    loop = asyncio.new_event_loop()
    monkeypatch.setattr(pacing, "_MOST", 0.001)
    assert list(pacing.Courtesy(loop)("still")) == list("still")
    loop.close()
    assert list(pacing.Courtesy(loop)("ended")) == list("ended")


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
