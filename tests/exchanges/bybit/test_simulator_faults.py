"""Every fault looks on the wire as its name says, seen by a client that reads the bytes itself."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import zlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import pytest

from exchanges.bybit.simulator import FAULTS, Simulator

TICKER = "/v5/market/tickers?category=linear&symbol=BTCUSDT"
MARKETS = "/v5/market/instruments-info?category=linear"


class Wire:
    """One TCP connection and what arrives on it."""

    def __init__(self, simulator: Simulator) -> None:
        host, _, port = simulator.url.removeprefix("http://").partition(":")
        self._address = host, int(port)
        self._socket = socket.socket()
        self._socket.setblocking(False)

    async def __aenter__(self) -> Self:
        await asyncio.get_running_loop().sock_connect(self._socket, self._address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    async def send(self, target: str = TICKER, *headers: str) -> None:
        lines = [f"GET {target} HTTP/1.1", "Host: test", *headers, "", ""]
        await asyncio.get_running_loop().sock_sendall(self._socket, "\r\n".join(lines).encode())

    async def receive(self) -> tuple[bytes, bytes, str]:
        """Head, body and how the answer ended: complete by its Content-Length, FIN or RST."""
        data = b""
        async with asyncio.timeout(10):
            while True:
                head, mark, body = data.partition(b"\r\n\r\n")
                if mark and len(body) >= length(head):
                    return head, body, "complete"
                try:
                    chunk = await asyncio.get_running_loop().sock_recv(self._socket, 1 << 16)
                except ConnectionResetError:
                    return head, body, "RST"
                if not chunk:
                    return head, body, "FIN"
                data += chunk


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task brings about; five seconds at most."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about within five seconds")


def header(head: bytes, name: str) -> str | None:
    for line in head.decode().split("\r\n")[1:]:
        key, _, value = line.partition(": ")
        if key.lower() == name.lower():
            return value
    return None


def length(head: bytes) -> int:
    return int(header(head, "Content-Length") or 0)


def status(head: bytes) -> int:
    return int(head.split(b" ")[1])


def under(rules: list[dict[str, Any]], scenario: Callable[[Simulator], Awaitable[None]], **options: Any) -> Simulator:
    """Run a scenario against a simulator with these rules; it is closed when this returns."""

    async def main() -> Simulator:
        async with Simulator(faults={"version": 1, "rules": rules}, **options) as simulator:
            await scenario(simulator)
        return simulator

    return asyncio.run(main())


def first_answer(rule: dict[str, Any], target: str = TICKER, *headers: str) -> tuple[bytes, bytes, str, Simulator]:
    """What the first request of a connection gets under one rule that strikes it."""
    found: list[tuple[bytes, bytes, str]] = []

    async def scenario(simulator: Simulator) -> None:
        async with Wire(simulator) as wire:
            await wire.send(target, *headers)
            found.append(await wire.receive())

    simulator = under([{"nth": [1], **rule}], scenario)
    assert simulator.requests[0].fault == rule["fault"]
    assert simulator.stats()["faults"] == {rule["fault"]: 1}
    return *found[0], simulator


@pytest.mark.parametrize("fault", ["reset_before_read", "reset_after_read"])
def test_resets_come_before_any_answer(fault: str) -> None:
    """The connection is reset without a byte of an answer, and the request is on record with its id."""
    head, _, end, simulator = first_answer({"fault": fault}, TICKER, "Cdn-Request-Id: abc-1")
    assert (head, end) == (b"", "RST")
    seen = simulator.requests[0]
    assert (seen.request_id, seen.method, seen.op, seen.status) == ("abc-1", "GET", "ticker", None)
    assert seen.query == {"category": "linear", "symbol": "BTCUSDT"}


@pytest.mark.parametrize("fault", ["reset_before_read", "reset_after_read"])
def test_a_request_in_pieces_is_reset_too(fault: str) -> None:
    """A head that arrives in two segments is noticed once, with its id, and the fault strikes it."""

    async def scenario(simulator: Simulator) -> None:
        host, _, port = simulator.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {TICKER} HTTP/1.1\r\nHost: te".encode())
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"st\r\ncdn-request-id: xyz\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()

    seen = under([{"fault": fault, "rate": 1}], scenario).requests
    assert [(one.request_id, one.fault, one.op) for one in seen] == [("xyz", fault, "ticker")]


@pytest.mark.parametrize(("fault", "ending"), [("close_on_reuse", "FIN"), ("reset_on_reuse", "RST")])
def test_reused_connections_break_and_fresh_ones_do_not(fault: str, ending: str) -> None:
    """The first request of every connection is answered, the second one breaks it without an answer."""

    async def scenario(simulator: Simulator) -> None:
        for _ in range(3):
            async with Wire(simulator) as wire:
                await wire.send()
                assert (await wire.receive())[2] == "complete"
                await wire.send()
                assert await wire.receive() == (b"", b"", ending)

    simulator = under([{"fault": fault, "rate": 1}], scenario)
    assert [(one.connection, one.nth, one.fault) for one in simulator.requests] == [
        (1, 1, None),
        (1, 2, fault),
        (2, 1, None),
        (2, 2, fault),
        (3, 1, None),
        (3, 2, fault),
    ]
    assert simulator.connections == 3


def test_any_fault_can_spare_fresh_connections() -> None:
    """With `reused_only` a fault strikes from the second request of a connection on."""

    async def scenario(simulator: Simulator) -> None:
        async with Wire(simulator) as wire:
            for expected in (200, 503, 503):
                await wire.send()
                assert status((await wire.receive())[0]) == expected

    under([{"fault": "html_503", "reused_only": True}], scenario)


@pytest.mark.parametrize(("fault", "ending"), [("reset_mid_body", "RST"), ("cut_body", "FIN")])
@pytest.mark.parametrize("target", [TICKER, MARKETS])
def test_bodies_break_off_after_the_status(fault: str, ending: str, target: str) -> None:
    """A 200 with its headers and a part of its body arrives, then the connection breaks."""
    head, body, end, simulator = first_answer({"fault": fault}, target)
    assert (status(head), end) == (200, ending)
    assert 0 < len(body) <= length(head) // 2
    assert simulator.requests[0].status == 200


def test_a_gzip_body_can_be_cut_under_a_true_length() -> None:
    """The reply is complete by its Content-Length, but its gzip stream has no end."""
    head, body, end, _ = first_answer({"fault": "cut_gzip"}, MARKETS, "Accept-Encoding: deflate, gzip;q=0.5")
    assert (header(head, "Content-Encoding"), end) == ("gzip", "complete")
    stream = zlib.decompressobj(wbits=31)
    assert stream.decompress(body).startswith(b'{"retCode":0')
    assert not stream.eof


def test_a_gzip_cut_without_gzip_cuts_the_body() -> None:
    """A client that does not take gzip gets a body shorter than its Content-Length."""
    head, body, end, _ = first_answer({"fault": "cut_gzip"}, MARKETS)
    assert (header(head, "Content-Encoding"), end) == (None, "FIN")
    assert len(body) < length(head)


def test_a_stall_is_silent_and_then_closes() -> None:
    """Nothing arrives for the time of the stall, then FIN."""
    before = time.monotonic()
    head, _, end, simulator = first_answer({"fault": "stall", "seconds": 0.2})
    assert (head, end) == (b"", "FIN")
    assert time.monotonic() - before > 0.19
    assert simulator.requests[0].status is None


def test_a_slow_drip_sends_the_whole_body_byte_by_byte() -> None:
    """The headers come at once and the body in pieces of one byte; nothing is lost."""
    pieces: list[bytes] = []

    async def scenario(simulator: Simulator) -> None:
        host, _, port = simulator.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /v5/market/time HTTP/1.1\r\nHost: test\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        while sum(map(len, pieces)) < length(head.rstrip()):
            pieces.append(await reader.read(1 << 16))
            assert pieces[-1], "the connection ended before the body did"
        writer.close()
        await writer.wait_closed()

    simulator = under([{"fault": "slow_drip", "rate": 1, "seconds": 0.002}], scenario)
    assert json.loads(b"".join(pieces))["retCode"] == 0
    assert len(pieces) > 20
    assert simulator.requests[0].status == 200


@pytest.mark.parametrize(
    ("fault", "expected"),
    [("html_500", 500), ("html_502", 502), ("html_503", 503), ("http_429", 429), ("http_403", 403), ("html_200", 200)],
)
def test_pages_of_html(fault: str, expected: int) -> None:
    """The status is the one in the name, the body is HTML, and the connection lives on."""
    head, body, end, simulator = first_answer({"fault": fault})
    assert (status(head), end) == (expected, "complete")
    assert header(head, "Content-Type") == "text/html; charset=utf-8"
    assert body.startswith(b"<html>")
    assert (b"access too frequent" in body) == (fault == "http_403")
    assert header(head, "Retry-After") is None
    assert simulator.requests[0].status == expected


def test_429_may_say_when_to_come_back() -> None:
    """`retry_after` becomes the header Retry-After."""
    assert header(first_answer({"fault": "http_429", "retry_after": 2})[0], "Retry-After") == "2"
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    assert header(first_answer({"fault": "http_429", "retry_after": date})[0], "Retry-After") == date


@pytest.mark.parametrize(("fault", "code"), [("ret_10006", 10006), ("ret_10016", 10016), ("ret_10000", 10000)])
def test_application_errors_come_with_http_200(fault: str, code: int) -> None:
    """The envelope is Bybit's, the result is empty, the status is 200."""
    head, body, _, _ = first_answer({"fault": fault})
    reply = json.loads(body)
    assert (status(head), reply["retCode"], reply["result"]) == (200, code, {})


def test_10006_says_when_the_limit_is_reset() -> None:
    """Nothing is left, and the reset lies `seconds` after the time of the reply."""
    head, body, _, _ = first_answer({"fault": "ret_10006", "seconds": 2.5})
    assert header(head, "X-Bapi-Limit") == "10"
    assert header(head, "X-Bapi-Limit-Status") == "0"
    assert int(header(head, "X-Bapi-Limit-Reset-Timestamp") or 0) == json.loads(body)["time"] + 2500


def test_good_replies_carry_the_limits_with_a_reset_of_now() -> None:
    """As long as something is left, the reset timestamp is simply the time of the reply."""

    async def scenario(simulator: Simulator) -> None:
        async with Wire(simulator) as wire:
            await wire.send()
            head, body, _ = await wire.receive()
            assert int(header(head, "X-Bapi-Limit") or 0) > 0
            assert int(header(head, "X-Bapi-Limit-Status") or 0) > 0
            assert header(head, "X-Bapi-Limit-Reset-Timestamp") == str(json.loads(body)["time"])

    under([], scenario)


def test_bodies_that_are_no_json() -> None:
    """`invalid_json` claims to be JSON and is not; `empty_200` is a complete reply of nothing."""
    head, body, _, _ = first_answer({"fault": "invalid_json"})
    assert (header(head, "Content-Type"), status(head)) == ("application/json; charset=utf-8", 200)
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    head, body, end, _ = first_answer({"fault": "empty_200"})
    assert (status(head), body, end, header(head, "Content-Length")) == (200, b"", "complete", "0")


def test_every_fault_can_strike_many_requests_at_once() -> None:
    """Twenty connections under each fault in turn: every request is on record with the fault, and nothing hangs."""

    async def one(simulator: Simulator) -> None:
        async with Wire(simulator) as wire:
            await wire.send()
            await wire.receive()
            if rule["fault"].endswith("_on_reuse"):
                await wire.send()
                await wire.receive()

    async def scenario(simulator: Simulator) -> None:
        await asyncio.gather(*(one(simulator) for _ in range(20)))

    for fault in FAULTS:
        rule: dict[str, Any] = {"fault": fault, "rate": 1}
        if fault in ("stall", "slow_drip"):
            rule["seconds"] = 0.0001
        assert under([rule], scenario).stats()["faults"] == {fault: 20}


@pytest.mark.parametrize("fault", ["stall", "slow_drip"])
def test_closing_does_not_wait_for_slow_answers(fault: str) -> None:
    """The simulator closes at once though requests hang, and no task or socket is left."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        mishaps: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: mishaps.append(context))
        rules = [{"fault": fault, "rate": 1, "seconds": 3600}]
        async with Simulator(faults={"version": 1, "rules": rules}) as simulator:
            wires = [Wire(simulator) for _ in range(20)]
            for wire in wires:
                await wire.__aenter__()
                await wire.send()
            await until(lambda: simulator.stats()["faults"].get(fault, 0) == 20)
            async with asyncio.timeout(5):
                await simulator.__aexit__(None, None, None)
            assert simulator.stats()["open_connections"] == 0
            assert asyncio.all_tasks() == {asyncio.current_task()}
            for wire in wires:
                assert (await wire.receive())[2] in ("FIN", "RST")
                await wire.__aexit__(None, None, None)
        assert mishaps == []

    asyncio.run(main())


def test_a_client_that_gives_up_leaves_nothing_behind() -> None:
    """When a stalled client goes, its handler ends at once and the connection is forgotten."""

    async def scenario(simulator: Simulator) -> None:
        async with Wire(simulator) as wire:
            await wire.send()
            await until(lambda: bool(simulator.requests))
        await until(lambda: simulator.stats()["open_connections"] == 0)

    under([{"fault": "stall", "rate": 1, "seconds": 3600}], scenario)
