"""The floor: the same five stages written by hand into one coroutine, for one function, with no way to compose them.

Retry loop, breaker over a window of ten buckets, a rate in the form of a theoretical arrival time (GCRA), a bulkhead
that is an int, and a timeout on one armed timer over a table in insertion order. Observers, other operations, other
orders and reconfiguration do not exist here. What our pipeline costs beyond this is the price of composing.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from arms import Target, bare

ATTEMPTS, LIMIT, SECONDS, WINDOW, MIN_CALLS, RATE = 3, 100, 10.0, 30.0, 10, 0.5
INTERVAL, BURST = 1e-8, 1.0


class Refused(Exception):
    """Not this time."""


class Deadlines:
    """All running calls in the order in which they expire, and one timer for the first of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.live: dict[int, tuple[float, Any]] = {}
        self.armed: asyncio.TimerHandle | None = None
        self.expired: set[int] = set()

    def ring(self) -> None:
        self.armed = None
        for key, (at, task) in list(self.live.items()):
            if at > self.loop.time():
                self.armed = self.loop.call_at(at, self.ring)
                return
            self.expired.add(key)
            del self.live[key]
            task.cancel()


async def five_stages() -> Target:
    loop = asyncio.get_running_loop()
    clock, current_task, table = time.monotonic, asyncio.current_task, Deadlines(loop)
    live = table.live
    is_open, tokens_at, busy, serial = False, 0.0, 0, 0
    calls = sick = 0
    bucket_ends = 0.0
    fn = bare

    async def guarded(*args: Any) -> Any:
        nonlocal is_open, tokens_at, busy, serial, calls, sick, bucket_ends
        attempt = 1
        while True:
            if is_open:
                raise Refused("open")
            now = clock()
            if tokens_at < now:
                tokens_at = now
            elif tokens_at - now > BURST:
                await asyncio.sleep(tokens_at - now - BURST)
            tokens_at += INTERVAL
            if busy >= LIMIT:
                raise Refused("full")
            busy += 1
            serial = key = serial + 1
            live[key] = now + SECONDS, current_task(loop)
            if table.armed is None:
                table.armed = loop.call_at(now + SECONDS, table.ring)
            try:
                result = await fn(*args)
            except OSError:
                calls, sick = calls + 1, sick + 1
                is_open = calls >= MIN_CALLS and sick >= RATE * calls
                if attempt >= ATTEMPTS:
                    raise
            else:
                if now >= bucket_ends:
                    calls, sick, bucket_ends = 0, 0, now + WINDOW / 10
                calls += 1
                return result
            finally:
                busy -= 1
                live.pop(key, None)
            attempt += 1
            await asyncio.sleep(0.25 * 2**attempt)

    return guarded
