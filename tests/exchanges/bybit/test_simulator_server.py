"""The simulator as a server: what it records, how it limits and delays, how it starts and stops."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import zlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from exchanges.bybit.simulator import Simulator, SimulatorError
from exchanges.bybit.simulator.limits import IpLimit

ROOT = Path(__file__).parents[3]
TIME = "/v5/market/time"


async def get(session: aiohttp.ClientSession, url: str, **options: Any) -> tuple[int, bytes]:
    async with session.get(url, **options) as response:
        return response.status, await response.read()


def test_requests_are_recorded_in_order() -> None:
    """Every request leaves a record with its number, id, operation, query, connection and status."""

    async def main() -> Simulator:
        async with Simulator() as sim, aiohttp.ClientSession() as session:
            await get(session, sim.url + TIME, headers={"cdn-request-id": "first"})
            await get(session, sim.url + "/v5/market/orderbook?category=linear&symbol=BTCUSDT&limit=2")
            await get(session, sim.url + "/nothing?a=1&a=2&b=%26")
            return sim

    sim = asyncio.run(main())
    first, second, third = sim.requests
    assert (first.index, first.request_id, first.op, first.connection, first.nth) == (1, "first", "time", 1, 1)
    assert (second.index, second.request_id, second.op, second.nth) == (2, None, "orderbook", 2)
    assert second.query == {"category": "linear", "symbol": "BTCUSDT", "limit": "2"}
    assert (third.op, third.path, third.query, third.status) == (None, "/nothing", {"a": "1", "b": "&"}, 404)
    assert [seen.status for seen in sim.requests] == [200, 200, 404]
    assert sim.stats() == {
        "connections": 1,
        "open_connections": 0,
        "requests": 3,
        "operations": {"time": 1, "orderbook": 1, "unknown": 1},
        "faults": {},
        "statuses": {200: 2, 404: 1},
    }


def test_records_are_bounded_and_counts_are_exact() -> None:
    """Of 30 requests the first 10 are kept, and all are counted."""

    async def main() -> Simulator:
        async with Simulator(keep=10) as sim, aiohttp.ClientSession() as session:
            for _ in range(30):
                await get(session, sim.url + TIME)
            return sim

    sim = asyncio.run(main())
    assert [seen.index for seen in sim.requests] == list(range(1, 11))
    assert sim.stats()["requests"] == sim.stats()["statuses"][200] == 30


def test_connections_are_counted_as_accepted() -> None:
    """Nine requests on one session open one connection, with a session each they open nine."""

    async def main() -> tuple[int, int]:
        async with Simulator() as sim:
            async with aiohttp.ClientSession() as session:
                for _ in range(9):
                    await get(session, sim.url + TIME)
            pooled = sim.connections
            for _ in range(9):
                async with aiohttp.ClientSession() as session:
                    await get(session, sim.url + TIME)
            assert {seen.connection for seen in sim.requests[9:]} == set(range(2, 11))
            return pooled, sim.connections

    assert asyncio.run(main()) == (1, 10)


def test_only_the_first_request_of_a_connection_waits_for_the_accept_delay() -> None:
    """With 0.4 s to accept, the first request takes at least that, and five more on the connection do not add up."""

    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        async with Simulator(accept_delay=0.4) as sim, aiohttp.ClientSession() as session:
            start = loop.time()
            await get(session, sim.url + TIME)
            first = loop.time()
            for _ in range(5):
                await get(session, sim.url + TIME)
            return first - start, loop.time() - first

    first, others = asyncio.run(main())
    assert first > 0.39
    assert others < 5 * 0.4  # each of them would have waited as long


def test_the_ip_limit_bans_with_403_and_lifts_by_itself() -> None:
    """The request over the limit and all within the ban get HTTP 403; after it they are answered again."""

    async def main() -> list[int]:
        async with Simulator(ip_limit="5/10s", ip_ban=0.8) as sim, aiohttp.ClientSession() as session:
            statuses = []
            for number in range(8):
                status, body = await get(session, sim.url + TIME)
                statuses.append(status)
                assert (b"access too frequent" in body) == (number > 4)
            for _ in range(100):
                if (await get(session, sim.url + TIME))[0] == 200:
                    return statuses
                await asyncio.sleep(0.05)
            raise AssertionError("the ban did not lift")

    assert asyncio.run(main()) == [200] * 5 + [403] * 3


def test_limit_headers_count_down_to_the_reset() -> None:
    """With a limit the headers tell what is left, and once nothing is, when the window moves on."""

    async def main() -> list[tuple[int, int, int]]:
        found = []
        async with Simulator(ip_limit="3/5s") as sim, aiohttp.ClientSession() as session:
            for _ in range(3):
                async with session.get(sim.url + TIME) as response:
                    now = json.loads(await response.read())["time"]
                    quota, left = (int(response.headers[f"X-Bapi-Limit{name}"]) for name in ("", "-Status"))
                    found.append((quota, left, int(response.headers["X-Bapi-Limit-Reset-Timestamp"]) - now))
        return found

    rows = asyncio.run(main())
    assert [row[:2] for row in rows] == [(3, 2), (3, 1), (3, 0)]
    assert rows[0][2] == rows[1][2] == 0
    assert 0 < rows[2][2] <= 5000


def test_the_ip_limit_counts_in_a_rolling_window() -> None:
    """Requests leave the window one by one; a refused one starts the ban, and within it nothing is counted."""
    limit = IpLimit("3/5s", ban=10)
    assert [limit.admit(now) for now in (0, 1, 2)] == [True] * 3
    assert (limit.left(2), limit.reset_in(2)) == (0, 3)
    assert limit.admit(5)  # the first has left
    assert limit.left(5.9) == 0
    assert [limit.admit(now) for now in (5.9, 6, 15.8, 15.9)] == [False, False, False, True]


def test_large_replies_can_be_compressed() -> None:
    """With `gzip` a client that accepts it gets a complete gzip stream of the same reply, others get plain bytes."""

    async def main() -> None:
        target = "/v5/market/risk-limit?category=linear"
        async with Simulator(gzip=True) as sim, aiohttp.ClientSession(auto_decompress=False) as session:
            async with session.get(sim.url + target, headers={"Accept-Encoding": "gzip"}) as response:
                assert response.headers["Content-Encoding"] == "gzip"
                stream = zlib.decompressobj(wbits=31)
                unpacked = json.loads(stream.decompress(await response.read()))
                assert stream.eof
            async with session.get(sim.url + target, headers={"Accept-Encoding": "identity"}) as response:
                assert "Content-Encoding" not in response.headers
                assert json.loads(await response.read())["result"] == unpacked["result"]
            async with session.get(sim.url + TIME, headers={"Accept-Encoding": "gzip"}) as response:
                assert "Content-Encoding" not in response.headers

    asyncio.run(main())


def test_garbage_is_answered_quietly(capfd: pytest.CaptureFixture[str]) -> None:
    """Bytes that are no HTTP get a 400 and leave nothing on stderr; the next client is served."""

    async def main() -> bytes:
        async with Simulator() as sim, aiohttp.ClientSession() as session:
            host, _, port = sim.url.removeprefix("http://").partition(":")
            answer = b""
            for garbage in (b"\x16\x03\x01\x00\xa5\x01\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(garbage)
                answer = await reader.read()
                writer.close()
                await writer.wait_closed()
            assert (await get(session, sim.url + TIME))[0] == 200
            return answer

    assert asyncio.run(main()).startswith(b"HTTP/1.0 400")
    assert capfd.readouterr().err == ""


def test_a_simulator_can_be_used_again() -> None:
    """After it was closed a simulator starts anew, keeps its counts, and has no address in between."""

    async def main() -> None:
        sim = Simulator()
        for total in (1, 2):
            with pytest.raises(SimulatorError, match="not running"):
                _ = sim.url
            async with sim, aiohttp.ClientSession() as session:
                await get(session, sim.url + TIME)
            assert (sim.stats()["requests"], sim.connections, len(sim.requests)) == (total, total, total)

    asyncio.run(main())


def test_a_port_in_use_is_one_clear_line() -> None:
    """The error names the address and says what to do; a number that is no port is refused at once."""

    async def main() -> str:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(SimulatorError) as caught:
                async with Simulator(port):
                    pass
            return str(caught.value).replace(str(port), "PORT")

    message = asyncio.run(main())
    assert message.startswith("cannot listen on 127.0.0.1:PORT (")
    assert message.endswith("): choose another port, or 0")
    assert "\n" not in message
    with pytest.raises(SimulatorError, match="port is 65536, must be from 0"):
        Simulator(65536)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_when_it_is_ready_and_stops_on_a_signal(tmp_path: Path, stop: signal.Signals) -> None:
    """One line on stdout names the address; a signal ends it at once, with exit code 0 and nothing on stderr."""
    plan = tmp_path / "plan.yaml"
    plan.write_text("version: 1\nrules:\n  - {fault: stall, nth: [2], seconds: 3600}\n")
    program = "import asyncio, sys; from exchanges.bybit.simulator import serve; asyncio.run(serve(0, sys.argv[1]))"

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error",
            "-X",
            "dev",
            "-c",
            program,
            str(plan),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            cwd=ROOT,
        )
        assert process.stdout is not None
        async with asyncio.timeout(15):
            line = (await process.stdout.readline()).decode()
            assert line.startswith("listening on http://127.0.0.1:")
            url = line.removeprefix("listening on ").strip()
            async with aiohttp.ClientSession() as session:
                assert (await get(session, url + TIME))[0] == 200
                stalled = asyncio.create_task(get(session, url + TIME))
                await asyncio.sleep(0.05)
                process.send_signal(stop)
                with pytest.raises(aiohttp.ClientConnectionError):
                    await stalled
            rest, errors = await process.communicate()
        assert (process.returncode, rest, errors) == (0, b"", b"")

    asyncio.run(main())
