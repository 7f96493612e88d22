"""Checked by mypy --strict, never run: what the decorators do to the types of what they guard."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any, assert_type

from resilience import Bulkhead, Deadline, Op, Pipeline, PipelineRegistry, Pool, Retry, Timeout


class Session: ...


market = Pipeline(Deadline(60), Retry(on=OSError), Timeout(10))


@Retry(attempts=3, on=(OSError, TimeoutError))
@Bulkhead(5)
@Timeout(2.0)
async def stacked(symbol: str, *, depth: int = 5) -> dict[str, int]:
    return {symbol: depth}


@market
async def guarded(symbol: str) -> list[float]:
    return [float(symbol)]


@market.guard(Op("ticker", idempotent=True))
async def told(symbol: str) -> int:
    return len(symbol)


@Pool(Session, name="rest")
async def lent(session: Session, symbol: str) -> bytes:
    return symbol.encode()


@Retry(on=OSError, resume="since")
@Timeout(2.0)
async def trades(symbol: str, *, since: int = 0) -> AsyncIterator[float]:
    yield float(symbol)


@market.guard(Op("echo", idempotent=True))
async def echo(first: int) -> AsyncGenerator[int, str]:
    said = yield first
    yield len(said)


@market
async def ticks() -> AsyncIterator[bytes]:
    yield b"tick"


class Client:
    @Timeout(1)
    async def stream(self, symbol: str) -> AsyncIterator[float]:
        yield float(symbol)

    @staticmethod
    @Timeout(1)
    async def fixed(symbol: str) -> int:
        return len(symbol)

    @Timeout(1)
    async def fetch(self, symbol: str) -> float:
        return float(symbol)


async def use() -> None:
    assert_type(await stacked("BTC", depth=3), dict[str, int])
    assert_type(await guarded("BTC"), list[float])
    assert_type(await told("BTC"), int)
    assert_type(await lent("BTC"), bytes)
    assert_type(await Client().fetch("1"), float)
    assert_type(await market.run(told, "BTC"), int)
    as_function: Callable[[str], Coroutine[Any, Any, int]] = told
    assert_type(await as_function("x"), int)

    assert_type(await Client.fixed("1"), int)
    assert_type(await Timeout(1)(partial(told, "BTC"))(), int)
    assert_type(trades("1", since=3), AsyncIterator[float])
    assert_type(echo(1), AsyncGenerator[int, str])
    assert_type(ticks(), AsyncIterator[bytes])
    assert_type(Client().stream("1"), AsyncIterator[float])
    assert_type(market.stream(trades, "1"), AsyncGenerator[float, Any])
    async for price in trades("1"):
        assert_type(price, float)
    hosts = PipelineRegistry[str](market)
    assert_type(hosts["bybit"], Pipeline)
    assert_type(await hosts["bybit"].run(told, "BTC"), int)
    assert_type(Deadline(1) + market, Pipeline)

    trades(3)  # type: ignore[arg-type]
    trades("1", 3)  # type: ignore[call-arg]
    hosts[3]  # type: ignore[index]
    await stacked(3)  # type: ignore[arg-type]
    await stacked("BTC", width=3)  # type: ignore[call-arg]
    await lent(Session(), "BTC")  # type: ignore[arg-type, call-arg]
    await told()  # type: ignore[call-arg]


def synchronous(symbol: str) -> int:
    return 1


Timeout(1)(synchronous)  # type: ignore[type-var]
