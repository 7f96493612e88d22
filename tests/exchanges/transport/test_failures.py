"""Every way in which the road breaks, and the verdict that it gets: the fault catalogue over real sockets."""

from __future__ import annotations

import asyncio
import errno
import pickle
import socket
from typing import Any

import pytest

from exchanges.errors import TransportError
from exchanges.transport.rest import Rest, RestSettings, broken
from resilience.call import Attempt
from resilience.verdict import Kind

METHODS = [("GET", None), ("POST", b'{"qty":"1"}')]
methods = pytest.mark.parametrize(("method", "body"), METHODS, ids=["read", "write"])


async def fails(
    url: str, method: str = "GET", body: bytes | None = None, **settings: Any
) -> tuple[TransportError, Attempt]:
    """The error of one request on a session of its own."""
    rest = await Rest.open(RestSettings(**settings))
    attempt = Attempt()
    try:
        with pytest.raises(TransportError) as caught:
            await rest.request(attempt, method, url, body=body)
    finally:
        await rest.aclose()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert caught.value.sent is attempt.sent
    assert not attempt.stale  # none of these connections was used before
    return caught.value, attempt


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@methods
def test_a_refused_connection_was_not_sent(run: Any, method: str, body: bytes | None) -> None:
    """T1: FAILED, and the text names host and port and what to do."""
    port = closed_port()
    error, attempt = run(fails(f"http://127.0.0.1:{port}/v5/x", method, body))
    assert (error.verdict.kind, error.reason, attempt.sent) == (Kind.FAILED, "connect_refused", False)
    assert str(error) == f"127.0.0.1:{port}: connection refused; check base_url and that the server runs"
    assert "phase.connect" in attempt.notes
    assert "connection" not in attempt.notes


HANGS_UP = {
    "T3 at once": (b"", "close", "disconnected"),
    "T2 reset at once": (b"", "reset", "reset"),
    "T4 in the status line": (b"HTTP/1.1 20", "close", None),
    "T4 in the headers": (b"HTTP/1.1 200 OK\r\nConte", "close", "disconnected"),
    "T4 reset in the headers": (b"HTTP/1.1 200 OK\r\nConte", "reset", "reset"),
    "T5 reset in the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabcde", "reset", "body_cut"),
    "T6 end in the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabcde", "close", "body_cut"),
    "T7 end in a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc", "close", "body_cut"),
    "T7 no last chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "close", "body_cut"),
    "T8 no length": (b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"retCode":0}', "close", "unframed"),
    "T8 HTTP/1.0": (b'HTTP/1.0 200 OK\r\n\r\n{"retC', "close", "unframed"),
}


@methods
@pytest.mark.parametrize("fault", HANGS_UP)
def test_an_answer_that_breaks_off_leaves_the_outcome_unknown(
    run: Any, serve: Any, method: str, body: bytes | None, fault: str
) -> None:
    """T2 to T8: once the request was read, whatever breaks is UNKNOWN, for a read as for a write, and sent once."""
    data, how, reason = HANGS_UP[fault]

    async def main() -> None:
        async def handler(peer: Any) -> None:
            await peer.request()
            if data:
                await peer.send(data)
                await asyncio.sleep(0.02)  # let the bytes arrive: an RST would throw them away unread
            getattr(peer, how)()

        async with serve(handler) as server:
            error, attempt = await fails(server.url, method, body)
            assert (error.verdict.kind, attempt.sent) == (Kind.UNKNOWN, True)
            assert error.reason == reason if reason else error.reason in ("disconnected", "protocol")
            assert "may have been carried out" in str(error)
            assert len(server.requests) == 1
            assert not broken(error)

    run(main())


GARBAGE = {
    "status line": b"ICY 200 OK\r\n\r\n",
    "no HTTP": b"220 smtp.example.org ESMTP\r\n",
    "a 20 kB header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "5,000 headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5_000 + b"Content-Length: 2\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "length and chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    ),
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
    "a bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "an unexpected 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
}


@methods
@pytest.mark.parametrize("garbage", GARBAGE)
def test_what_is_not_http_is_a_protocol_error_and_no_status_400(
    run: Any, serve: Any, method: str, body: bytes | None, garbage: str
) -> None:
    """H17, H18, H20: aiohttp calls it a 400 of the server; here it is UNKNOWN, and the connection is closed."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            await peer.request()
            await peer.send(GARBAGE[garbage])
            await peer.gone()

        async with serve(handler) as server:
            error, attempt = await fails(server.url, method, body)
            assert (error.verdict.kind, error.reason) == (Kind.UNKNOWN, "protocol")
            assert attempt.notes.get("http.response.status_code") != 400
            assert len(server.requests) == 1

    run(main())


def test_a_bad_chunk_in_the_middle_of_a_body_is_a_protocol_error_not_a_cut(run: Any, serve: Any) -> None:
    """H18: aiohttp's parser tells the reader nothing, who would wait until the caller's time is up."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
            await asyncio.sleep(0.02)
            await peer.send(b"zz\r\n")
            await peer.gone()

        async with serve(handler) as server:
            error, _ = await fails(server.url)
            assert (error.verdict.kind, error.reason, error.status) == (Kind.UNKNOWN, "protocol", 200)

    run(main())


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"],
    ids=["T13 silence", "T14 headers", "T15 body"],
)
def test_a_drip_is_ended_by_the_callers_time_and_its_connection_closed(run: Any, serve: Any, answer: bytes) -> None:
    """T13 to T15: no read timeout hides here, so the caller's is the only one; then the connection is gone."""

    async def main() -> None:
        gone = asyncio.Event()

        async def handler(peer: Any) -> None:
            await peer.request()
            await peer.send(answer)

            async def drip() -> None:
                while answer:
                    await peer.send(b"1")
                    await asyncio.sleep(0.01)

            task = asyncio.create_task(drip())
            await peer.gone()
            task.cancel()
            gone.set()

        async with serve(handler) as server:
            rest = await Rest.open()
            attempt = Attempt()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.08):
                    await rest.request(attempt, "GET", server.url)
            await gone.wait()
            assert attempt.sent
            assert rest.status()["idle"] == 0
            spent = "phase.body" if answer.endswith(b"\r\n\r\n") else "phase.first_byte"
            assert attempt.notes[spent] > 0
            await rest.aclose()

    run(main())


def test_a_cancelled_request_closes_its_connection_and_the_next_one_gets_its_own_answer(run: Any, serve: Any) -> None:
    """H21: a late answer to a request that was given up must never be taken for the answer to the next one."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            while got := await peer.request():
                if got.target == "/late":
                    await asyncio.sleep(0.03)
                await peer.reply(got.target.encode())

        async with serve(handler) as server:
            rest = await Rest.open()
            await rest.request(Attempt(), "GET", server.url + "/first")
            task = asyncio.create_task(rest.request(attempt := Attempt(), "GET", server.url + "/late"))
            while len(server.requests) < 2:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            assert attempt.sent
            reply = await rest.request(Attempt(), "GET", server.url + "/next")
            assert reply.body == b"/next"
            assert server.accepted == 2
            await rest.aclose()

    run(main())


def test_a_full_backlog_ends_with_the_connect_timeout(run: Any) -> None:
    """T11: packets that vanish are bounded by the connect timeout, and nothing was sent."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                assert filler.connect_ex(("127.0.0.1", port)) in (0, errno.EINPROGRESS)
            error, attempt = run(fails(f"http://127.0.0.1:{port}", connect_timeout=0.1))
        finally:
            for filler in fillers:
                filler.close()
    assert (error.verdict.kind, error.reason, attempt.sent) == (Kind.FAILED, "connect_timeout", False)


def test_an_unknown_name_was_not_sent(run: Any) -> None:
    """D1: a name that does not exist is FAILED, and the text says whose name."""
    error, attempt = run(fails("https://exchange.invalid/v5/x", connect_timeout=5))
    assert (error.verdict.kind, error.reason, attempt.sent) == (Kind.FAILED, "dns", False)
    assert str(error).startswith("exchange.invalid:443: the host name was not found")


def test_after_a_failed_connection_the_name_is_looked_up_again(
    run: Any, serve: Any, answer: Any, monkeypatch: Any
) -> None:
    """D3: an address that does not answer any more is not believed for the rest of the cache's time."""
    addresses = ["127.0.0.2", "127.0.0.1"]

    def getaddrinfo(_host: str, port: int, *_args: Any, **_options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (addresses.pop(0), port))]

    async def main() -> None:
        async with serve(answer, None, "localhost") as server:
            monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
            rest = await Rest.open()
            with pytest.raises(TransportError) as caught:
                await rest.request(Attempt(), "GET", server.url)
            assert caught.value.reason == "connect_refused"
            for _ in range(2):
                assert (await rest.request(Attempt(), "GET", server.url)).body == b"{}"
            assert not addresses
            await rest.aclose()

    run(main())


def test_tls_works_and_its_phases_are_timed(run: Any, serve: Any, answer: Any, certificates: Any) -> None:
    """Over TLS the handshake has a phase of its own, beside connecting, first byte and body; a reused one has none."""

    async def main() -> None:
        async with serve(answer, certificates.context("localhost"), "localhost") as server:
            rest = await Rest.open(RestSettings(ca_file=certificates.ca_file))
            first, second = Attempt(), Attempt()
            assert (await rest.request(first, "GET", server.url)).body == b"{}"
            assert (await rest.request(second, "GET", server.url)).body == b"{}"
            phases = {"phase.dns", "phase.connect", "phase.tls", "phase.first_byte", "phase.body"}
            assert phases <= first.notes.keys()
            assert all(first.notes[phase] >= 0 for phase in phases)
            assert phases & second.notes.keys() == {"phase.first_byte", "phase.body"}
            assert server.accepted == 1
            await rest.aclose()

    run(main())


@pytest.mark.parametrize(
    ("name", "trusted", "expired"),
    [("localhost", True, True), ("other.test", True, False), ("localhost", False, False)],
    ids=["expired", "other host", "unknown authority"],
)
def test_a_certificate_that_does_not_verify_is_rejected_and_alarmed(
    run: Any, serve: Any, answer: Any, certificates: Any, caplog: Any, name: str, trusted: bool, expired: bool
) -> None:
    """S1, S2: expired, for another host, from an unknown authority. Never retried, and logged as an error."""

    async def main() -> None:
        async with serve(answer, certificates.context(name, expired=expired), "localhost") as server:
            error, attempt = await fails(server.url, ca_file=certificates.ca_file if trusted else None)
            assert (error.verdict.kind, error.reason, attempt.sent) == (Kind.REJECTED, "certificate", False)
            assert "phase.tls" in attempt.notes
            assert [record.levelname for record in caplog.records if record.name == "exchanges"] == ["ERROR"]
            assert not server.requests

    run(main())


def test_a_server_without_tls_is_rejected(run: Any, serve: Any) -> None:
    """S3: plain text where TLS was expected is a wrong address; asking again cures nothing."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            await peer.gone()

        async with serve(handler, None, "localhost") as server:
            error, attempt = await fails(f"https://localhost:{server.port}")
            assert (error.verdict.kind, error.reason, attempt.sent) == (Kind.REJECTED, "tls_missing", False)

    run(main())


@pytest.mark.parametrize(("how", "reason"), [("gone", "connect_timeout"), ("reset", "connect"), ("close", "connect")])
def test_a_handshake_that_stalls_or_breaks_was_not_sent(run: Any, serve: Any, how: str, reason: str) -> None:
    """S4, S5: silence is bounded by the connect timeout, a hang-up is noticed at once; both are FAILED."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            await peer.reader.read(1)
            done = getattr(peer, how)()
            if done is not None:
                await done

        async with serve(handler, None, "localhost") as server:
            error, attempt = await fails(f"https://localhost:{server.port}", connect_timeout=0.1)
            assert (error.verdict.kind, error.reason, attempt.sent) == (Kind.FAILED, reason, False)
            assert "phase.tls" in attempt.notes

    run(main())


def test_an_interim_answer_is_waited_through(run: Any, serve: Any) -> None:
    """H20: 103 is not the answer; the one behind it is."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            await peer.request()
            await peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            await peer.reply(b"[1]")
            await peer.gone()

        async with serve(handler) as server:
            rest = await Rest.open()
            assert (await rest.request(Attempt(), "GET", server.url)).body == b"[1]"
            await rest.aclose()

    run(main())


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_an_answer_and_never_followed(run: Any, serve: Any, status: str) -> None:
    """H19: aiohttp would carry the signature and the order to the other host."""

    async def main() -> None:
        async def elsewhere(peer: Any) -> None:
            await peer.request()

        async with serve(elsewhere) as other:

            async def handler(peer: Any) -> None:
                while await peer.request():
                    await peer.reply(b"", status=status, headers=f"Location: {other.url}/\r\nSet-Cookie: a=b\r\n")

            async with serve(handler, None, "localhost") as server:  # a cookie jar takes nothing from an IP address
                rest = await Rest.open()
                for _ in range(2):
                    reply = await rest.request(Attempt(), "POST", server.url, body=b"order")
                    assert reply.status == int(status[:3])
                assert other.accepted == 0
                assert "cookie" not in server.requests[1].headers
                await rest.aclose()

    run(main())


@pytest.mark.parametrize("status", [429, 403, 502])
def test_an_error_page_without_a_length_still_tells_its_status(run: Any, serve: Any, status: int) -> None:
    """H1, H6: what a 429 or a 502 says does not depend on its body, so an unframed one passes, headers included."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            await peer.request()
            await peer.send(f"HTTP/1.1 {status} No\r\nRetry-After: 2\r\nConnection: close\r\n\r\n<html>".encode())
            peer.close()

        async with serve(handler) as server:
            rest = await Rest.open()
            attempt = Attempt()
            reply = await rest.request(attempt, "GET", server.url)
            assert (reply.status, reply.headers["retry-after"], reply.body) == (status, "2", b"<html>")
            assert attempt.notes["http.response.status_code"] == status
            await rest.aclose()

    run(main())


def test_an_error_can_be_pickled_whole(run: Any) -> None:
    """An error that crosses a process boundary keeps verdict, reason and what is known about sending."""
    error, _ = run(fails(f"http://127.0.0.1:{closed_port()}"))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
    assert (str(again), again.verdict, again.sent, again.status) == (str(error), error.verdict, False, None)
