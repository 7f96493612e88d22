"""Who lets how many through in half-open, who trips on cancellations, and who is moved by a late result?

One script for our breaker and the peers', each in a fresh process with real waits of some tenths of a second. Every
breaker is set to open at three failures in a row and to stay open for `OPEN_FOR` seconds. A fact a column; the lines
beneath the table say what was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

OPEN_FOR = 0.5
OVER = OPEN_FOR * 1.3  # ours stays open up to a fifth longer, so that clients do not come back as one
PEERS = ("ours", "aiobreaker", "purgatory", "circuitbreaker", "hyx", "pyresilience", "interlock-cb", "redress")
COLUMNS = {
    "half-open": "of 100 calls at once after the open time, how many reach the target?",
    "20 cancelled": "20 calls are cancelled by their callers: does the circuit open?",
    "probe cancelled": "a probe is cancelled by its caller: is the next call let through as a probe?",
    "late success": "a call that began before the trip succeeds while the circuit is open: does that close it?",
    "late failure": "a call that began before the trip fails in half-open: does that open the circuit again?",
    "failure while open": "a call that began before the trip fails while open: does the open time begin anew?",
}

Guarded = Callable[..., Awaitable[Any]]
Target = Callable[..., Awaitable[Any]]


class Sick(ConnectionError):
    """What the target raises."""


# -- the breakers, each a function from a target to the guarded target --------------------------------------------


def ours(target: Target) -> Guarded:
    from resilience import Breaker, Op, Pipeline

    policy = Breaker(failure_rate=None, consecutive=3, open_for=OPEN_FOR, on=ConnectionError)
    return Pipeline(policy).guard(Op("probe", idempotent=True))(target)


def aiobreaker(target: Target) -> Guarded:
    from datetime import timedelta

    from aiobreaker import CircuitBreaker

    breaker = CircuitBreaker(fail_max=3, timeout_duration=timedelta(seconds=OPEN_FOR))

    async def guarded(*args: Any) -> Any:
        return await breaker.call_async(target, *args)

    return guarded


def purgatory(target: Target) -> Guarded:
    from purgatory import AsyncCircuitBreakerFactory

    guarded: Guarded = AsyncCircuitBreakerFactory(default_threshold=3, default_ttl=OPEN_FOR)("probe")(target)
    return guarded


def circuitbreaker(target: Target) -> Guarded:
    from circuitbreaker import CircuitBreaker

    guarded: Guarded = CircuitBreaker(failure_threshold=3, recovery_timeout=OPEN_FOR)(target)
    return guarded


def hyx(target: Target) -> Guarded:
    from hyx.circuitbreaker import consecutive_breaker

    guarded: Guarded = consecutive_breaker(Exception, 3, OPEN_FOR, 1)(target)
    return guarded


def pyresilience(target: Target) -> Guarded:
    from pyresilience import CircuitBreakerConfig, resilient

    config = CircuitBreakerConfig(failure_threshold=3, recovery_timeout=OPEN_FOR, success_threshold=1)
    guarded: Guarded = resilient(circuit_breaker=config)(target)
    return guarded


def interlock_cb(target: Target) -> Guarded:
    from interlock import CircuitBreaker, Config

    config = Config(
        failure_rate_threshold=1.0, minimum_number_of_calls=3, window_size=3, wait_duration_in_open=OPEN_FOR,
        permitted_calls_in_half_open=1,
    )  # fmt: skip
    guarded: Guarded = CircuitBreaker(name="probe", config=config)(target)
    return guarded


def redress(target: Target) -> Guarded:
    from redress import AsyncPolicy, CircuitBreaker, ErrorClass

    breaker = CircuitBreaker(failure_threshold=3, recovery_timeout_s=OPEN_FOR, trip_on=set(ErrorClass))
    policy = AsyncPolicy(circuit_breaker=breaker)

    async def guarded(*args: Any) -> Any:
        return await policy.call(lambda: target(*args))

    return guarded


# -- the questions ---------------------------------------------------------------------------------------------


class Bench:
    """A target that does as its argument says, and counts whom it sees."""

    def __init__(self, peer: str) -> None:
        self.seen = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self._go: dict[str, asyncio.Event] = {}
        self.call = globals()[peer.replace("-", "_")](self._target)

    async def _target(self, what: str = "ok") -> str:
        self.seen += 1
        if what.startswith("wait"):
            await self._go.setdefault(what, asyncio.Event()).wait()
        if what.endswith("sick"):
            raise Sick(what)
        return what

    async def begin(self, what: str) -> asyncio.Task[Any]:
        """A call in a task of its own, by now in the target or refused."""
        task = asyncio.ensure_future(self.call(what))
        self.tasks.append(task)
        for _ in range(3):
            await asyncio.sleep(0)
        return task

    async def end(self, what: str, task: asyncio.Task[Any]) -> None:
        self._go[what].set()
        await asyncio.wait([task])
        with suppress(Exception):
            task.result()

    async def cancel(self, task: asyncio.Task[Any]) -> None:
        task.cancel()
        await asyncio.wait([task])

    async def trip(self) -> None:
        for _ in range(3):
            with suppress(Exception):
                await self.call("sick")

    async def admits(self) -> bool:
        """Whether a call gets to the target now."""
        before = self.seen
        with suppress(Exception):
            await self.call("ok")
        return self.seen > before

    async def admits_one_more(self, what: str) -> bool:
        """The same with a call that stays there, and so decides nothing."""
        before = self.seen
        await self.begin(what)
        return self.seen > before


async def half_open(bench: Bench) -> str:
    await bench.trip()
    await asyncio.sleep(OVER)
    before = bench.seen
    for _ in range(100):
        await bench.begin("wait")
    return f"{bench.seen - before} of 100"


async def cancelled(bench: Bench) -> str:
    for _ in range(20):
        await bench.cancel(await bench.begin("wait"))
    return "no" if await bench.admits() else "opens"


async def probe_cancelled(bench: Bench) -> str:
    await bench.trip()
    await asyncio.sleep(OVER)
    await bench.cancel(await bench.begin("wait"))
    return "let through" if await bench.admits() else "refused"


async def late_success(bench: Bench) -> str:
    slow = await bench.begin("wait")
    await bench.trip()
    await bench.end("wait", slow)
    return "closes" if await bench.admits() else "no"


async def late_failure(bench: Bench) -> str:
    slow = await bench.begin("wait sick")
    await bench.trip()
    await asyncio.sleep(OVER)
    probe = await bench.begin("wait")
    more = await bench.admits_one_more("wait 2")  # where half-open admits everybody, it must go on doing so
    await bench.end("wait sick", slow)
    if more and not await bench.admits_one_more("wait 3"):
        return "opens again"
    await bench.end("wait", probe)
    return "no" if await bench.admits() else "opens again"


async def failure_while_open(bench: Bench) -> str:
    slow = await bench.begin("wait sick")
    await bench.trip()
    await asyncio.sleep(OVER * 0.6)
    await bench.end("wait sick", slow)
    await asyncio.sleep(OVER * 0.5)
    return "no" if await bench.admits() else "begins anew"


QUESTIONS = (half_open, cancelled, probe_cancelled, late_success, late_failure, failure_while_open)


async def ask(peer: str) -> dict[str, str]:
    answers = {}
    for column, question in zip(COLUMNS, QUESTIONS, strict=True):
        bench = Bench(peer)
        answers[column] = await question(bench)
        for task in bench.tasks:
            task.cancel()
        await asyncio.gather(*bench.tasks, return_exceptions=True)
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="accepted for the sake of `make bench-quick`")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    peer = parser.parse_args().peer
    if peer:
        try:
            print(json.dumps(asyncio.run(ask(peer))))
        except ImportError as missing:
            print(json.dumps({"missing": str(missing)}))
        return
    started = {}
    for name in PEERS:  # ourselves; the warnings are purgatory's and hyx's, of utcnow and the like
        command = [sys.executable, "-W", "ignore", __file__, "--peer", name]
        started[name] = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603
    print(f"{'':16}" + "".join(f"{column:>20}" for column in COLUMNS))
    for name, process in started.items():
        answers = json.loads(process.communicate()[0])
        if "missing" in answers:
            print(f"{name:16}NOT PROBED: {answers['missing']}; install the extra `peers`")
            continue
        print(f"{name:16}" + "".join(f"{answers[column]:>20}" for column in COLUMNS))
    for column, meaning in COLUMNS.items():
        print(f"{column}: {meaning}")


if __name__ == "__main__":
    main()
