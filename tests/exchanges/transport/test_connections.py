"""Connections: made once, reused while they are good, replaced before anything is written into a bad one."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from exchanges.errors import TransportError
from exchanges.transport.rest import Rest, RestSettings
from exchanges.transport.wire import Ledger
from resilience.call import Attempt
from resilience.verdict import Kind


def test_nine_requests_in_a_row_ride_on_one_connection(run: Any, serve: Any, answer: Any) -> None:
    """Nine requests, one after another, open one connection, and every attempt says whether it rode on a used one."""

    async def main() -> None:
        async with serve(answer) as server:
            rest = await Rest.open()
            attempts = [Attempt() for _ in range(9)]
            for attempt in attempts:
                assert (await rest.request(attempt, "GET", server.url + "/x")).body == b"{}"
            assert server.accepted == 1
            assert [attempt.notes["connection"] for attempt in attempts] == ["new"] + ["reused"] * 8
            status = rest.status()
            assert (status["connections_opened"], status["open"], status["idle"]) == (1, 1, 1)
            await rest.aclose()
            assert rest.status()["open"] == 0

    run(main())


def test_connections_and_requests_are_told_by_server(run: Any, serve: Any, answer: Any) -> None:
    """Active while a request rides on it, idle after; a request that waits or fails counts as long as it lasts."""
    release = asyncio.Event()

    async def held(peer: Any) -> None:
        while await peer.request():
            await release.wait()
            await peer.reply()

    async def main() -> None:
        async with serve(held) as one, serve(answer) as other:
            rest = await Rest.open(RestSettings(limit_per_host=1))
            names = [server.url.removeprefix("http://") for server in (one, other)]
            await rest.request(Attempt(), "GET", other.url)
            running = [asyncio.ensure_future(rest.request(Attempt(), "GET", one.url)) for _ in range(2)]
            async with asyncio.timeout(10):
                while rest.status()["servers"].get(names[0]) != {"requests": 2, "active": 1, "idle": 0}:
                    await asyncio.sleep(0.005)
            assert rest.status()["servers"][names[1]] == {"requests": 0, "active": 0, "idle": 1}
            running[1].cancel()
            release.set()
            await asyncio.wait(running)
            assert rest.status()["servers"][names[0]] == {"requests": 0, "active": 0, "idle": 1}
        with pytest.raises(TransportError):
            await rest.request(Attempt(), "GET", one.url)
        await rest.aclose()
        assert rest.status()["servers"] == {name: {"requests": 0, "active": 0, "idle": 0} for name in names}

    run(main())


def test_servers_without_requests_make_room(run: Any) -> None:
    """Two hundred are remembered; one that has a request under way stays."""

    async def main() -> None:
        ledger = Ledger()
        ledger.began(("busy", 1))
        for number in range(500):
            ledger.began((f"host{number}", 443))
            ledger.ended((f"host{number}", 443))
        assert len(ledger.servers()) <= 200
        assert ledger.servers()["busy:1"] == {"requests": 1, "active": 0, "idle": 0}
        ledger.ended(("busy", 1))
        ledger.began(("::1", 8080))
        assert "[::1]:8080" in ledger.servers()

    run(main())


def test_the_limit_per_host_holds_and_the_wait_is_noted(run: Any, serve: Any) -> None:
    """Fifty simultaneous requests with a limit of 3 never hold more than 3 connections; those who waited say so."""

    async def slow(peer: Any) -> None:
        while await peer.request():
            await asyncio.sleep(0.005)
            await peer.reply()

    async def main() -> None:
        async with serve(slow) as server:
            rest = await Rest.open(RestSettings(limit_per_host=3))
            attempts = [Attempt() for _ in range(50)]
            await asyncio.gather(*(rest.request(attempt, "GET", server.url) for attempt in attempts))
            assert server.most == 3
            assert server.accepted == 3
            waited = [attempt for attempt in attempts if "wait.connection" in attempt.notes]
            assert len(waited) == 47
            assert all(a.waited == a.notes["wait.connection"] > 0 for a in waited)
            await rest.aclose()

    run(main())


def test_a_fresh_attempt_gets_a_new_connection_within_the_same_limits(run: Any, serve: Any, answer: Any) -> None:
    """`attempt.fresh` passes over the idle connections, which stay; the next ordinary request uses one of them."""

    async def main() -> None:
        async with serve(answer) as server:
            rest = await Rest.open(RestSettings(limit_per_host=2))
            await rest.request(Attempt(), "GET", server.url)
            fresh = Attempt()
            fresh.fresh = True
            await rest.request(fresh, "GET", server.url)
            assert fresh.notes["connection"] == "new"
            assert server.accepted == 2
            plain = Attempt()
            await rest.request(plain, "GET", server.url)
            assert plain.notes["connection"] == "reused"
            assert server.accepted == 2
            assert rest.status()["connections_discarded"] == 0
            await rest.aclose()

    run(main())


def test_a_fresh_attempt_waits_for_its_turn_like_any_other(run: Any, serve: Any, answer: Any) -> None:
    """With all connections in use, a fresh request waits, and then still gets a new one."""

    async def main() -> None:
        go = asyncio.Event()

        async def held(peer: Any) -> None:
            while await peer.request():
                await go.wait()
                await peer.reply()

        async with serve(held) as server:
            rest = await Rest.open(RestSettings(limit_per_host=1))
            first = asyncio.create_task(rest.request(Attempt(), "GET", server.url))
            while not server.requests:
                await asyncio.sleep(0.001)
            fresh = Attempt()
            fresh.fresh = True
            second = asyncio.create_task(rest.request(fresh, "GET", server.url))
            await asyncio.sleep(0.02)
            assert server.accepted == 1
            go.set()
            await asyncio.gather(first, second)
            assert fresh.notes["connection"] == "new"
            assert fresh.notes["wait.connection"] > 0
            assert server.accepted == 2
            await rest.aclose()

    run(main())


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_a_connection_that_dies_on_reuse_is_stale_and_nothing_is_sent_again(
    run: Any, serve: Any, how: str, method: str
) -> None:
    """T9: the server reads the second request on a connection and hangs up. One request, one error: UNKNOWN, stale."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            await peer.request()
            await peer.reply()
            await peer.request()
            getattr(peer, how)()

        async with serve(handler) as server:
            rest = await Rest.open()
            body = b"{}" if method == "POST" else None
            await rest.request(Attempt(), method, server.url, body=body)
            attempt = Attempt()
            with pytest.raises(TransportError) as caught:
                await rest.request(attempt, method, server.url, body=body)
            assert caught.value.verdict.kind is Kind.UNKNOWN
            assert caught.value.reason == ("disconnected" if how == "close" else "reset")
            assert (attempt.sent, attempt.stale, caught.value.sent) == (True, True, True)
            assert len(server.requests) == 2  # and not 3: aiohttp's own second send is off
            fresh = Attempt()
            fresh.fresh = True
            await rest.request(fresh, method, server.url, body=body)
            assert len(server.requests) == 3
            await rest.aclose()

    run(main())


@pytest.mark.parametrize("cut", [b"HTTP/1.1 200 OK\r\nConte", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"H"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_reused_connection_that_broke_after_a_byte_of_the_answer_is_not_stale(
    run: Any, serve: Any, cut: bytes, how: str
) -> None:
    """T4: once the answer began, the server was at work on the request, so it may not be sent again in silence."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            await peer.request()
            await peer.reply()
            await peer.request()
            await peer.send(cut)
            await asyncio.sleep(0.02)  # let the bytes arrive: an RST would throw them away unread
            getattr(peer, how)()

        async with serve(handler) as server:
            rest = await Rest.open()
            await rest.request(Attempt(), "GET", server.url)
            attempt = Attempt()
            with pytest.raises(TransportError) as caught:
                await rest.request(attempt, "GET", server.url)
            assert caught.value.verdict.kind is Kind.UNKNOWN
            assert attempt.notes["connection"] == "reused"
            assert not attempt.stale
            await rest.aclose()

    run(main())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_that_the_server_closed_while_idle_is_replaced_before_anything_is_written(
    run: Any, serve: Any, how: str
) -> None:
    """The farewell may wait in the socket, unseen by the loop: the request looks first, and takes a new connection."""

    async def main() -> None:
        closed = asyncio.Event()

        async def handler(peer: Any) -> None:
            while await peer.request():
                await peer.reply()
                if peer.number == 1:
                    await asyncio.sleep(0.02)
                    getattr(peer, how)()
                    closed.set()
                    return

        async with serve(handler) as server:
            rest = await Rest.open()
            await rest.request(Attempt(), "POST", server.url, body=b"1")
            await closed.wait()
            attempt = Attempt()
            # No turn of the loop in between: aiohttp still believes in the connection.
            reply = await rest.request(attempt, "POST", server.url, body=b"2")
            assert reply.status == 200
            assert [got.body for got in server.requests] == [b"1", b"2"]
            assert attempt.notes["connection"] == "new"
            assert not attempt.stale
            await rest.aclose()

    run(main())


def test_a_keep_alive_time_that_the_server_announces_is_obeyed(run: Any, serve: Any) -> None:
    """``Keep-Alive: timeout=0`` means that the connection ends now, so the next request does not ride on it."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            while await peer.request():
                await peer.reply(headers="Keep-Alive: timeout=0, max=100\r\n")

        async with serve(handler) as server:
            rest = await Rest.open()
            for _ in range(3):
                await rest.request(Attempt(), "GET", server.url)
            assert server.accepted == 3
            assert rest.status()["connections_discarded"] == 2
            await rest.aclose()

    run(main())


def test_a_request_does_not_try_every_dead_connection_of_the_pool(run: Any, serve: Any) -> None:
    """After three unusable ones it asks for a new connection: a server that closed three has closed them all."""

    async def main() -> None:
        together = asyncio.Barrier(6)

        async def handler(peer: Any) -> None:
            while await peer.request():
                if peer.number <= 6:
                    await together.wait()
                await peer.reply(headers="Keep-Alive: timeout=0\r\n")

        async with serve(handler) as server:
            rest = await Rest.open()
            await asyncio.gather(*(rest.request(Attempt(), "GET", server.url) for _ in range(6)))
            assert rest.status()["idle"] == 6
            attempt = Attempt()
            await rest.request(attempt, "GET", server.url)
            assert attempt.notes["connection.discarded"] == 3
            assert attempt.notes["connection"] == "new"
            assert rest.status()["connections_discarded"] == 3
            assert server.accepted == 7
            await rest.aclose()

    run(main())


def test_idle_connections_are_dropped_after_the_keepalive(run: Any, serve: Any, answer: Any) -> None:
    """An idle connection is closed by us, without anybody asking for another one."""

    async def main() -> None:
        async with serve(answer) as server:
            rest = await Rest.open(RestSettings(keepalive=0.05))
            await rest.request(Attempt(), "GET", server.url)
            assert rest.status()["idle"] == 1
            while server.open:
                await asyncio.sleep(0.01)
            assert rest.status()["open"] == 0
            await rest.aclose()

    run(main())


EXTRA = {
    "a whole second answer": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
    "the beginning of one": b"HTTP/1.1 200 OK\r\nContent-Le",
    "rubbish": b"\x00\x01rubbish",
    "a line break": b"\r\n",
}


@pytest.mark.parametrize("later", [False, True], ids=["glued", "later"])
@pytest.mark.parametrize("extra", EXTRA)
@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nright\r\n0\r\n\r\n",
    ],
    ids=["length", "chunked"],
)
def test_bytes_behind_an_answer_close_the_connection(
    run: Any, serve: Any, first: bytes, extra: str, later: bool
) -> None:
    """T21: what follows an answer unasked would be taken for the next one's answer; the connection is thrown away."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            while await peer.request():
                if later:
                    await peer.send(first)
                    await asyncio.sleep(0.02)
                    await peer.send(EXTRA[extra])
                else:
                    await peer.send(first + EXTRA[extra])

        async with serve(handler) as server:
            rest = await Rest.open()
            for number in (1, 2):
                if extra == "rubbish" and not later:  # one segment that is not HTTP to its end: no answer at all
                    with pytest.raises(TransportError) as caught:
                        await rest.request(Attempt(), "GET", server.url)
                    assert (caught.value.reason, caught.value.verdict.kind) == ("protocol", Kind.UNKNOWN)
                else:
                    assert (await rest.request(Attempt(), "GET", server.url)).body == b"right"
                while later and rest.status()["open"]:
                    await asyncio.sleep(0.001)
                assert server.accepted == number
            await rest.aclose()

    run(main())


def test_a_body_in_small_pieces_does_not_cost_the_connection(run: Any, serve: Any) -> None:
    """However an answer is cut into segments, a clean end is recognised and the connection is reused."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            while await peer.request():
                answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                if len(peer.server.requests) % 2:
                    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"
                for index in range(len(answer)):
                    await peer.send(answer[index : index + 1])
                    await asyncio.sleep(0)

        async with serve(handler) as server:
            rest = await Rest.open()
            for _ in range(4):
                assert (await rest.request(Attempt(), "GET", server.url)).body == b"abcde"
            assert (await rest.request(Attempt(), "HEAD", server.url)).body == b""
            assert server.accepted == 1
            await rest.aclose()

    run(main())


def test_a_body_written_into_a_closing_connection_was_not_sent(run: Any, serve: Any, answer: Any) -> None:
    """T10: the connection begins to close between the look and the first byte; nothing left, so the write is FAILED."""

    async def main() -> None:
        async with serve(answer) as server:
            rest = await Rest.open()
            await rest.request(Attempt(), "POST", server.url, body=b"1")
            (wire,) = rest._ledger.live
            attempt = Attempt()
            # The request finds the connection idle and boards it within this turn of the loop. The next turn closes the
            # connection first, and only then lets the task run that writes headers and body.
            asyncio.get_running_loop().call_soon(wire.cut)
            with pytest.raises(TransportError) as caught:
                await rest.request(attempt, "POST", server.url, body=b"2")
            if sys.version_info < (3, 12):  # later ones write the body in the turn that boards
                assert caught.value.verdict.kind is Kind.FAILED
                assert caught.value.reason == "closing_transport"
                assert (attempt.sent, attempt.stale) == (False, True)
            else:
                assert attempt.sent
            await rest.aclose()

    run(main())
