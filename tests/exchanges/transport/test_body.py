"""Bodies: complete, bounded and unpacked by ourselves, or an error; and what an attempt tells about its request."""

from __future__ import annotations

import gzip
import random
import zlib
from typing import Any

import pytest

from exchanges.errors import TransportError
from exchanges.transport.body import Body, BodyError
from exchanges.transport.rest import Rest, RestSettings
from resilience.call import Attempt
from resilience.verdict import Kind

TEXT = b'{"retCode":0,"result":{"list":[' + b",".join(b'"%d"' % n for n in range(5_000)) + b"]}}"


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    " Deflate ": raw_deflate(TEXT),
    "identity": TEXT,
    "": TEXT,
}


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
@pytest.mark.parametrize("coding", PACKED)
def test_a_whole_body_is_unpacked_however_it_is_cut_into_pieces(coding: str, size: int) -> None:
    """gzip and both kinds of deflate, in single bytes or at once."""
    body = Body(coding, 1_000_000, 200)
    packed = PACKED[coding]
    for at in range(0, len(packed), size):
        body.feed(packed[at : at + size])
    assert body.finish() == TEXT
    assert body.received == len(packed)
    assert body.end == packed[-64:]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_body_cut_anywhere_is_an_error(coding: str) -> None:
    """H15: aiohttp would return a short body in silence. Not one byte may be missing, the checksum's included."""
    packed = PACKED[coding]
    for length in {1, 2, 9, len(packed) // 2, len(packed) - 8, len(packed) - 4, len(packed) - 1}:
        body = Body(coding, 1_000_000, 200)
        body.feed(packed[:length])
        with pytest.raises(BodyError) as caught:
            body.finish()
        assert caught.value.reason == "body_cut"


def test_a_body_that_lies_about_its_coding_or_its_checksum_is_an_error() -> None:
    """H16: plain text called gzip, a flipped bit, bytes behind the end, a second member, a coding nobody asked for."""
    flipped = bytearray(PACKED["gzip"])
    flipped[-6] ^= 1
    for data in (TEXT, bytes(flipped), PACKED["gzip"] + b"x", PACKED["gzip"] * 2):
        body = Body("gzip", 1_000_000, 200)
        with pytest.raises(BodyError) as caught:
            body.feed(data)
        assert caught.value.reason == "encoding"
    body = Body("gzip", 1_000_000, 200)
    body.feed(PACKED["gzip"])
    with pytest.raises(BodyError):
        body.feed(b"x")
    for coding in ("br", "zstd", "gzip, gzip", "compress"):
        with pytest.raises(BodyError) as caught:
            Body(coding, 1_000_000, 200)
        assert caught.value.reason == "encoding"


def test_a_bomb_is_stopped_by_size_and_by_ratio_before_it_unfolds() -> None:
    """H14: at most one byte above the limit is ever unpacked, and a suspicious ratio ends it sooner."""
    bomb = gzip.compress(bytes(50_000_000), 1)
    body = Body("gzip", 4_000_000, 1e9)
    with pytest.raises(BodyError) as caught:
        body.feed(bomb)
    assert caught.value.reason == "body_too_large"
    assert body._decoded == 4_000_001
    body = Body("gzip", 100_000_000, 200)
    at = 0
    with pytest.raises(BodyError) as caught:  # noqa: PT012 (which piece is refused is not the point)
        while at < len(bomb):
            body.feed(bomb[at : at + 1_000])
            at += 1_000
    assert "200 times" in caught.value.what
    assert body._decoded < 5_000_000


def test_random_damage_never_gives_a_wrong_body() -> None:
    """A damaged bit of a gzip stream is an error, or hits a field that does not matter; it never gives other text."""
    dice = random.Random(7)
    for _ in range(300):
        packed = bytearray(PACKED["gzip"])
        packed[dice.randrange(len(packed))] ^= 1 << dice.randrange(8)
        body = Body("gzip", 1_000_000, 200)
        try:
            body.feed(bytes(packed))
            assert body.finish() == TEXT
        except BodyError:
            pass


def answering(head: str, body: bytes) -> Any:
    async def handler(peer: Any) -> None:
        while await peer.request():
            await peer.send(head.encode() + b"\r\n\r\n" + body)

    return handler


CASES: dict[str, tuple[str, bytes, str]] = {
    "H13 announced": ("HTTP/1.1 200 OK\r\nContent-Length: 999999999", b"x" * 99, "body_too_large"),
    "H13 chunked": (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
        b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"0\r\n\r\n",
        "body_too_large",
    ),
    "H14": ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10010", b"", "body_too_large"),
    "H15": ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20", gzip.compress(TEXT)[:20], "body_cut"),
    "H16": ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2", b"{}", "encoding"),
    "H16 br": ("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2", b"{}", "encoding"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_body_over_the_wire_is_unknown_and_costs_the_connection(run: Any, serve: Any, case: str) -> None:
    """H13 to H16: UNKNOWN with the reason and the status that came before; the next request gets another connection."""
    head, body, reason = CASES[case]
    if case == "H14":
        body = gzip.compress(bytes(10_000_000), 9)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}"

    async def main() -> None:
        async with serve(answering(head, body)) as server:
            rest = await Rest.open(RestSettings(max_body=50_000))
            for number in (1, 2):
                attempt = Attempt()
                with pytest.raises(TransportError) as caught:
                    await rest.request(attempt, "POST", server.url, body=b"{}")
                assert (caught.value.verdict.kind, caught.value.reason) == (Kind.UNKNOWN, reason)
                assert caught.value.status == 200
                assert attempt.sent
                assert server.accepted == number
                assert rest.status()["idle"] == 0
            await rest.aclose()

    run(main())


def test_a_packed_answer_arrives_unpacked_and_only_known_codings_are_asked_for(run: Any, serve: Any) -> None:
    """The server is told gzip and deflate, and nothing that could not be checked."""

    async def main() -> None:
        packed = PACKED["gzip"]
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}"
        async with serve(answering(head, packed)) as server:
            rest = await Rest.open()
            for _ in range(2):
                assert (await rest.request(Attempt(), "GET", server.url)).body == TEXT
            assert server.accepted == 1
            assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"
            await rest.aclose()

    run(main())


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
)
def test_an_answer_without_a_body_is_an_empty_body_and_the_connection_stays(
    run: Any, serve: Any, method: str, answer: bytes
) -> None:
    """H9, H20: whether nothing is an answer is the adapter's question; here it is only said that there was nothing."""

    async def main() -> None:
        async def handler(peer: Any) -> None:
            while await peer.request():
                await peer.send(answer)

        async with serve(handler) as server:
            rest = await Rest.open()
            for _ in range(2):
                assert (await rest.request(Attempt(), method, server.url)).body == b""
            assert server.accepted == 1
            await rest.aclose()

    run(main())


@pytest.mark.parametrize("query", ["cursor=a%3D%2Cb%253A&symbol=BTCUSDT", "a=b+c&d=%20e&f=~!*'()", "x=%7b%7D&é=1"])
def test_the_signed_bytes_are_the_sent_bytes(run: Any, serve: Any, answer: Any, query: str) -> None:
    """Path, query and body leave exactly as they were given: nothing is quoted, unquoted or serialised again."""

    async def main() -> None:
        async with serve(answer) as server:
            rest = await Rest.open()
            body = b'{"a": 1,\t"b":"\xc3\xa9"}'
            await rest.request(Attempt(), "POST", f"{server.url}/v5/%7Ex?{query}", headers={"X-Sign": "s"}, body=body)
            got = server.requests[0]
            assert got.target == f"/v5/%7Ex?{query}"
            assert got.body == body
            assert got.headers["x-sign"] == "s"
            await rest.aclose()

    run(main())


def test_an_attempt_tells_where_it_went_and_what_came_back(run: Any, serve: Any, answer: Any) -> None:
    """The OpenTelemetry attributes, the phases of a new connection, the request's id; query values only if allowed."""

    async def main() -> None:
        async with serve(answer) as server:
            rest = await Rest.open()
            attempt = Attempt()
            await rest.request(
                attempt,
                "GET",
                f"{server.url}/v5/market/tickers?symbol=BTCUSDT&api_key=hush&sign=&flag#part",
                headers={"cdn-request-id": "r-1"},
                safe_query=frozenset({"symbol"}),
            )
            where = f"{server.url}/v5/market/tickers"
            phases = {name for name in attempt.notes if name.startswith("phase.")}
            assert phases == {"phase.connect", "phase.first_byte", "phase.body"}
            assert {name: value for name, value in attempt.notes.items() if name not in phases} == {
                "http.request.method": "GET",
                "server.address": "127.0.0.1",
                "server.port": server.port,
                "network.protocol.name": "http",
                "url.full": f"{where}?symbol=BTCUSDT&api_key=REDACTED&sign=REDACTED&flag=REDACTED",
                "request.id": "r-1",
                "connection": "new",
                "http.response.status_code": 200,
            }
            assert attempt.waited == 0.0
            await rest.aclose()

    run(main())


def test_a_reply_shows_neither_headers_nor_body() -> None:
    """Its repr is short and holds no content, which may be an account's."""
    from exchanges.transport.rest import Reply

    assert repr(Reply(200, {"x": "secret"}, b"secret")) == "Reply(200, 6 bytes)"
