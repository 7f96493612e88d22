"""What a rate limit promises: never more than n in any window, most of n used, nothing lost by those who leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience import ConfigError, Kind, Op, Pipeline, RateLimit, RateLimited, Retry, Verdict, within
from resilience.testing import Script, virtual

READ = Op("read", idempotent=True)


class Told(Exception):
    def __init__(self, kind: Kind, retry_after: float | None = None, scope: str = "op") -> None:
        super().__init__(kind.value)
        self.verdict = Verdict(kind, "told", retry_after, scope)


def told(exc: Exception, op: Op) -> Verdict:
    return exc.verdict if isinstance(exc, Told) else Verdict(Kind.REJECTED)


def clock() -> float:
    return asyncio.get_running_loop().time()


def busiest(times: list[float], window: float) -> int:
    """The most that any half-open window of this length holds."""
    most = first = 0
    for index, at in enumerate(times):
        while times[first] <= at - window:
            first += 1
        most = max(most, index - first + 1)
    return most


@pytest.mark.parametrize(("rate", "n", "window"), [("600/5s", 600, 5), ("30/s", 30, 1), ("3/s", 3, 1), ("1/s", 1, 1)])
@virtual
async def test_never_more_than_n_in_any_window_under_greedy_demand(rate: str, n: int, window: float) -> None:
    """Not the 2n - 1 of a token bucket; not even if each arrives up to 0.03 W late. At least 90 % used."""
    script = Script("ok")
    pipeline = Pipeline(RateLimit(rate))
    rounds = 6
    await asyncio.gather(*(pipeline.run(script, op=READ) for _ in range(n * rounds)))
    assert script.count == n * rounds
    assert busiest(script.begun, window) <= n
    late = sorted(at + (0.0299 * window if index % 2 else 0) for index, at in enumerate(script.begun))
    assert busiest(late, window) <= n
    assert script.begun[-1] <= window * rounds / 0.9 + window * 0.05


@virtual
async def test_a_pause_does_not_buy_a_double_burst() -> None:
    """Idle for long, then greedy: still never more than n in any window."""
    script = Script("ok")
    pipeline = Pipeline(RateLimit("60/s"))
    for pause in (0.0, 10.0, 0.5, 0.99, 3.3):
        await asyncio.sleep(pause)
        await asyncio.gather(*(pipeline.run(script, op=READ) for _ in range(130)))
    assert busiest(script.begun, 1) <= 60


@virtual
async def test_waiters_are_served_in_their_order_whatever_they_weigh() -> None:
    """A heavy one is not overtaken by the light ones behind it."""
    order: list[int] = []
    pipeline = Pipeline(RateLimit("10/s"))

    async def one(number: int) -> None:
        order.append(number)

    costs = [10, 8, 1, 1, 5, 1]
    await asyncio.gather(*(pipeline.run(one, i, op=Op("x", True, cost)) for i, cost in enumerate(costs)))
    assert order == [0, 1, 2, 3, 4, 5]


@virtual
async def test_whoever_leaves_gives_its_tokens_back() -> None:
    """Twenty waiters are cancelled; the one behind them moves up."""
    script = Script("ok")
    pipeline = Pipeline(RateLimit("10/s"))
    for _ in range(10):
        await pipeline.run(script, op=READ)
    tasks = [asyncio.ensure_future(pipeline.run(script, op=READ)) for _ in range(21)]
    await asyncio.sleep(0.01)
    for task in tasks[:20]:
        task.cancel()
    assert await tasks[20] == "ok"
    assert clock() < 1.3
    assert script.count == 11


@virtual
async def test_too_long_a_wait_is_refused_at_once() -> None:
    """By max_wait or by the deadline, with the time after which it makes sense; a refusal is never retried."""
    script = Script("ok")
    pipeline = Pipeline(Retry(attempts=5, on=Exception, wait=0), RateLimit("1/10s", max_wait=2))
    await pipeline.run(script, op=READ)
    with pytest.raises(RateLimited) as caught:
        await pipeline.run(script, op=READ)
    assert caught.value.retry_after == pytest.approx(10, rel=0.1)
    assert clock() == 0
    patient = Pipeline(RateLimit("1/10s"))
    await patient.run(script, op=READ)
    with within(3), pytest.raises((RateLimited, TimeoutError)):
        await patient.run(script, op=READ)
    assert clock() <= 3
    assert script.count == 2


@virtual
async def test_throttled_pauses_everybody_until_then() -> None:
    """The server said when to come back: no call of the limiter goes before."""
    pipeline = Pipeline(RateLimit("100/s"), classify=told)
    with pytest.raises(Told):
        await pipeline.run(Script(Told(Kind.THROTTLED, 7, "ip")), op=READ)
    script = Script("ok")
    await asyncio.gather(*(pipeline.run(script, op=READ) for _ in range(5)))
    assert min(script.begun) >= 7
    assert clock() < 7.5


@pytest.mark.parametrize("wrong", ["600", "x/s", "0/s", 600, None])
def test_wrong_rates_are_named(wrong: Any) -> None:
    """With an example of what is one."""
    with pytest.raises(ConfigError):
        RateLimit(wrong)
