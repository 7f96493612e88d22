"""Live updates: built once for all, only while somebody listens, and nobody waits for anybody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from served import ask, on_sockets, served
from traces import retried, span, trace_of

from resilience import Op, Pipeline, Retry
from resilience.dashboard import stream
from resilience.testing import Script

READ = Op("read", idempotent=True)


class Events:
    """What a page hears."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self.reply = reply

    async def next(self, *names: str) -> Any:
        """The next event of these names, decoded; comments are passed over."""
        async with asyncio.timeout(10):
            while True:
                text = (await self.reply.content.readuntil(b"\n\n")).decode()
                if text.startswith("event: "):
                    head, data = text.strip().split("\n", 1)
                    if head.removeprefix("event: ") in names:
                        return json.loads(data.removeprefix("data: "))


@asynccontextmanager
async def listening(dashboard: Any) -> Any:
    async with (
        aiohttp.ClientSession(read_bufsize=2**20) as session,
        session.get(dashboard.address + "/api/stream") as reply,
    ):
        assert (reply.status, reply.content_type) == (200, "text/event-stream")
        assert reply.headers["Cache-Control"] == "no-store"
        assert "Content-Security-Policy" in reply.headers
        yield Events(reply)


async def until(true: Any) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


@on_sockets
async def test_a_snapshot_at_once_and_another_when_something_changed() -> None:
    """The same JSON as of /api/snapshot."""
    market = Pipeline(name="market")
    async with served(market) as dashboard, listening(dashboard) as events:
        first = await events.next("snapshot")
        assert (first["ops"], set(first)) == ([], set((await ask(dashboard, "/api/snapshot")).json))
        await market.run(Script("ok"), op=READ)
        second = await events.next("snapshot")
        assert second["ops"][0]["calls"] == 1


@on_sockets
async def test_at_most_four_a_second_and_one_in_two_without_news() -> None:
    """However many calls there are, and however many listen."""
    market = Pipeline(name="market")
    async with served(market) as dashboard, listening(dashboard) as one, listening(dashboard) as other:
        for events in (one, other):
            await events.next("snapshot")
        hub, loop = dashboard._hub, asyncio.get_running_loop()
        built, begun = hub.built, loop.time()
        while loop.time() - begun < 1.2:
            await market.run(Script("ok"), op=READ)
            await asyncio.sleep(0.005)
        assert 1 <= hub.built - built <= 5
        await asyncio.sleep(0.5)
        built, begun = hub.built, loop.time()
        await until(lambda: hub.built > built)
        assert loop.time() - begun > 1.0


@on_sockets
async def test_many_who_come_at_once_are_sent_one_snapshot() -> None:
    """It is built for the first of them."""
    async with served() as dashboard, contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            events = await stack.enter_async_context(listening(dashboard))
            await events.next("snapshot")
        assert dashboard._hub.built < 10


@on_sockets
async def test_nothing_is_built_while_nobody_listens() -> None:
    """The hub's task ends with the last page."""
    market = Pipeline(name="market")
    async with served(market) as dashboard:
        hub = dashboard._hub
        assert hub._task is None
        async with listening(dashboard) as events:
            await events.next("snapshot")
        await until(lambda: not hub._listeners and hub._task.done())
        built = hub.built
        await market.run(Script("ok"), op=READ)
        await asyncio.sleep(0.6)
        assert (hub.built, dashboard.store._tails) == (built, ())
        async with listening(dashboard) as events:
            assert (await events.next("snapshot"))["ops"][0]["calls"] == 1


@on_sockets
async def test_kept_traces_arrive_live() -> None:
    """As the list shows them."""
    market = Pipeline(Retry(attempts=2, wait=0), name="market")
    async with served(market) as dashboard, listening(dashboard) as events:
        await events.next("snapshot")
        await market.run(Script(ConnectionRefusedError(), "ok"), op=READ)
        summary = await events.next("trace")
        assert (summary["op"], summary["attempts"], summary["reason"], summary["outcome"]) == (
            "read",
            2,
            "retried",
            "ok",
        )
        (listed,) = (await ask(dashboard, "/api/traces")).json["traces"]
        assert set(summary) == set(listed)
        assert summary["why"] == listed["why"] == "1 refused connection, second attempt won."


@on_sockets
async def test_a_call_that_brought_no_sentence_arrives_with_one() -> None:
    """As in the list; only one of very many spans is told without."""
    async with served() as dashboard, listening(dashboard) as events:
        await events.next("snapshot")
        *attempts, whole = retried(1)
        whole.attributes.pop("resilience.why")
        dashboard.store.add([*attempts, whole])
        assert (await events.next("trace"))["why"].startswith("1 reset, ")
        dashboard.store.add(span(1, number, 1) for number in range(10, 80))
        assert (await events.next("trace"))["why"] == ""


@on_sockets
async def test_a_burst_of_traces_is_thinned_and_counted() -> None:
    """At most fifty a second; the rest is a number."""
    market = Pipeline(name="market")
    async with served(market) as dashboard, listening(dashboard) as events:
        await events.next("snapshot")
        for _ in range(300):
            with pytest.raises(ValueError):  # noqa: PT011 (our own, and empty)
                await market.run(Script(ValueError()), op=READ)
        heard = 0
        while True:
            event = await events.next("trace", "skipped")
            if "count" in event:
                break
            heard += 1
        assert heard <= stream._TRACES + 13
        assert 0 < event["count"] <= 300 - heard + 13


@on_sockets
async def test_the_thirty_third_listener_is_sent_away() -> None:
    """With a 429; a place that is given back serves the next."""
    async with served() as dashboard, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        open_ones = [await session.get(dashboard.address + "/api/stream") for _ in range(stream.MOST)]
        assert [reply.status for reply in open_ones] == [200] * 32
        late = await ask(dashboard, "/api/stream")
        assert (late.status, late.headers["Retry-After"]) == (429, "5")
        assert (await ask(dashboard, "/api/snapshot")).status == 200
        open_ones.pop().close()
        await until(lambda: not dashboard._hub.full)
        async with session.get(dashboard.address + "/api/stream") as reply:
            assert reply.status == 200
        for reply in open_ones:
            reply.close()


@on_sockets
async def test_one_that_does_not_read_is_dropped_and_hinders_nobody(monkeypatch: Any) -> None:
    """Others hear everything meanwhile, and what waits for it is bounded."""
    monkeypatch.setattr(stream, "_PATIENCE", 0.5)
    pipelines = [Pipeline(name=f"pipeline {n}" + "x" * 2_000) for n in range(200)]
    async with served(*pipelines) as dashboard, listening(dashboard) as events:
        await events.next("snapshot")
        host, port = dashboard.address.removeprefix("http://").rsplit(":", 1)
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, (host, int(port)))
        await loop.sock_sendall(deaf, b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: len(dashboard._hub._listeners) == 2)
        heard = 0
        while len(dashboard._hub._listeners) == 2:
            await pipelines[0].run(Script("ok"), op=READ)
            await events.next("snapshot")
            heard += 1
            assert heard < 40
        deaf.close()
        assert heard >= 2
        await events.next("snapshot")


def test_what_a_listener_has_not_read_is_bounded() -> None:
    """The newest snapshot, 256 traces, and the number of the others."""

    async def main() -> bytes:
        hub, mine = stream.Hub(None, None), stream._Listener()  # type: ignore[arg-type]
        hub._listeners.add(mine)

        class Tail:
            def take(self) -> tuple[list[Any], int]:
                return [trace_of(*retried(1))] * 100, 7

        for _ in range(4):
            assert hub._tell_traces(Tail(), 90) == 90  # type: ignore[arg-type]
        mine.snapshot = b"new"
        return mine.take()

    said = asyncio.run(main())
    assert said.count(b"event: trace") + said.count(b"event: skipped") == 256 + 1
    assert said.endswith(b'event: skipped\ndata: {"count":%d}\n\nnew' % (4 * 91 - 256))


@on_sockets
async def test_the_end_of_the_server_ends_all_streams_at_once() -> None:
    """Closing waits for nobody who listens."""
    async with served() as dashboard, listening(dashboard) as events:
        await events.next("snapshot")
        begun = asyncio.get_running_loop().time()
        await dashboard.aclose()
        assert asyncio.get_running_loop().time() - begun < 1.5
        assert await events.reply.content.read() in (b"", b": here\n\n")
        assert dashboard._hub._task is None


@on_sockets
async def test_a_snapshot_that_fails_ends_the_streams_and_is_logged(caplog: Any, monkeypatch: Any) -> None:
    """The next page begins anew."""
    market = Pipeline(name="market")
    async with served(market) as dashboard:
        async with listening(dashboard) as events:
            await events.next("snapshot")
            with monkeypatch.context() as patch:
                patch.setattr(dashboard.live, "encoded", lambda: 1 / 0)
                await market.run(Script("ok"), op=READ)
                await until(lambda: not dashboard._hub._listeners)
            assert "live updates failed" in caplog.text
        async with listening(dashboard) as events:
            assert (await events.next("snapshot"))["ops"]
