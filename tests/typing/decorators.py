"""Checked by mypy --strict, never run: what the decorators do to the types of what they guard."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, assert_type

from resilience import Bulkhead, Deadline, Op, Pipeline, Pool, Retry, Timeout


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


class Client:
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

    await stacked(3)  # type: ignore[arg-type]
    await stacked("BTC", width=3)  # type: ignore[call-arg]
    await lent(Session(), "BTC")  # type: ignore[arg-type, call-arg]
    await told()  # type: ignore[call-arg]


def synchronous(symbol: str) -> int:
    return 1


Timeout(1)(synchronous)  # type: ignore[type-var]
