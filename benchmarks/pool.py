"""What does one persistent session save, against a new session per request?

Requests per second and connections opened, one request after the other and 32 at once, against the simulated exchange
on loopback in a process of its own; once as it is, once with every new connection delayed by 50 ms, as TCP and TLS
handshakes to an exchange are. ``--quick`` sends fewer requests.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

from exchanges import ExchangeManager
from exchanges.bybit.simulator import Simulator
from exchanges.transport.naive import NaiveClient

TICKER = "/v5/market/tickers?category=linear&symbol=BTCUSDT"
CONFIG = """
version: 1
resources:
  rest: {kind: aiohttp, limit: 100, limit_per_host: 32, dns_ttl: 300s, keepalive: 30s}
pipelines:
  market:
    - retry: {attempts: 4}
    - breaker
    - bulkhead: {limit: 32, queue: 1000}
    - timeout: 10s
    - pool: rest
exchanges:
  bybit: {adapter: bybit, environment: simulator, base_url: "http://127.0.0.1:1", category: linear, pipeline: market}
"""


def serve(pipe: Connection, accept_delay: float) -> None:
    """The simulated exchange, until told to stop."""

    async def run() -> None:
        async with Simulator(accept_delay=accept_delay) as simulator:
            pipe.send(simulator.url)
            await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
            pipe.send(simulator.connections)

    asyncio.run(run())


async def spread(call: Callable[[], Awaitable[object]], count: int, at_once: int) -> float:
    """Seconds that `count` calls take with `at_once` of them under way."""
    numbers = iter(range(count))

    async def worker() -> None:
        for _ in numbers:
            await call()

    begun = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return time.perf_counter() - begun


async def pooled(url: str, config: str, count: int, at_once: int) -> float:
    async with ExchangeManager.load(config, base_url=url) as manager:
        return await spread(lambda: manager.fetch_ticker("bybit", "BTCUSDT"), count, at_once)


async def naive(url: str, count: int, at_once: int) -> float:
    client = NaiveClient(10)

    async def call() -> None:
        outcome = await client.get(url + TICKER)
        if outcome != "ok":
            raise SystemExit(f"the simulated exchange answered {outcome!r}; the comparison is void")

    return await spread(call, count, at_once)


def arm(name: str, delay: float, count: int, at_once: int, config: str) -> tuple[float, int]:
    """(requests per second, connections opened) of one arm against a fresh server."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, delay), daemon=True)
    server.start()
    url = ours.recv()
    seconds = asyncio.run(pooled(url, config, count, at_once) if name == "pooled" else naive(url, count, at_once))
    ours.send("stop")
    connections: int = ours.recv()
    server.join()
    return count / seconds, connections


def main() -> None:
    import tempfile
    from pathlib import Path

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    print(f"{'new connection costs':22}{'at once':>8}{'requests':>10}{'arm':>26}{'requests/s':>12}{'connections':>13}")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "pool.yaml"
        config.write_text(CONFIG)
        for delay, at_once, count in ((0.0, 1, 400), (0.0, 32, 1600), (0.05, 1, 9), (0.05, 32, 640)):
            total = max(9, count // 4) if quick and count > 9 else count
            speeds = []
            for name in ("pooled", "new session per request"):
                speed, connections = arm(name, delay, total, at_once, str(config))
                speeds.append(speed)
                cost = f"{delay * 1000:.0f} ms" if delay else "nothing (loopback)"
                print(f"{cost:22}{at_once:8}{total:10}{name:>26}{speed:12.0f}{connections:13}")
            print(f"{'':22}pooled is {speeds[0] / speeds[1]:.1f} times as fast")


if __name__ == "__main__":
    main()
