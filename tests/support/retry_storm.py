"""A server that can be driven into a retry storm, and clients that call it through an outage, in virtual time.

The server works off its queue in the order of arrival, at a known rate, and does not learn that a caller has given up:
the work that it does for those is wasted. That alone makes a collapse outlast its cause (a metastable failure; Bronson
et al., HotOS 2021): once the queue is longer than the callers' patience, every answer comes too late, every caller asks
again, and the queue stays long.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from resilience.testing import VirtualLoop

__all__ = ["Client", "Curve", "Server", "Storm", "naive"]

Send = Callable[[], Awaitable[None]]
Client = Callable[[Send], Awaitable[None]]


class Server:
    """Answers `rate` requests a second, one after the other; beyond `longest` waiting ones it refuses at once."""

    def __init__(self, rate: float, longest: int) -> None:
        self.rate = rate
        self.longest = longest
        self.received = self.wasted = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._working = False

    async def send(self) -> None:
        """One request. Raises `ConnectionRefusedError` where the queue is full."""
        self.received += 1
        if len(self._queue) >= self.longest:
            raise ConnectionRefusedError("the server's queue is full")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        self._queue.append(answer)
        if not self._working:
            self._working = True
            loop.call_later(1 / self.rate, self._finish)
        await answer

    def _finish(self) -> None:
        answer = self._queue.popleft()
        if answer.done():  # cancelled: nobody waits for it any more
            self.wasted += 1
        else:
            answer.set_result(None)
        self._working = bool(self._queue)
        if self._queue:
            asyncio.get_running_loop().call_later(1 / self.rate, self._finish)


@dataclass
class Curve:
    """What happened in each second: calls that began, requests the server received, calls that succeeded."""

    begins: int
    ends: int
    offered: list[int] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    good: list[int] = field(default_factory=list)

    @property
    def load(self) -> float:
        """Requests received per call that began, over the outage."""
        outage = slice(self.begins, self.ends)
        return sum(self.received[outage]) / sum(self.offered[outage])

    def goodput(self, second: int) -> float:
        """The share of calls that succeeded, over the three seconds up to and with this one."""
        last = slice(second - 2, second + 1)
        return sum(self.good[last]) / sum(self.offered[last])

    @property
    def recovery(self) -> float:
        """Seconds from the end of the outage until goodput is 95 % and stays there; infinite if it never does."""
        sick = [second for second in range(self.ends, len(self.good)) if self.goodput(second) < 0.95]
        if not sick:
            return 0.0
        return float("inf") if sick[-1] == len(self.good) - 1 else sick[-1] + 1 - self.ends


@dataclass(frozen=True)
class Storm:
    """Calls at random moments, `load` a second, against a server of `capacity`; for ten seconds something is wrong.

    In the outage the server works at `left` of its capacity, and `surge` times as many calls come.
    """

    load: float = 100.0
    capacity: float = 125.0
    patience: float = 4.0  # the server's queue, in seconds of work
    calm: int = 20
    outage: int = 10
    after: int = 60
    left: float = 0.1
    surge: float = 1.0
    seed: int = 1

    def play(self, client: Client) -> Curve:
        """The curve of one client. The same every time."""
        return VirtualLoop().run(self._play(client))

    async def _play(self, client: Client) -> Curve:
        loop, dice = asyncio.get_running_loop(), random.Random(self.seed)
        server = Server(self.capacity, int(self.capacity * self.patience))
        curve = Curve(self.calm, self.calm + self.outage)
        offered = good = 0
        tasks: set[asyncio.Task[None]] = set()

        async def call() -> None:
            nonlocal good
            try:
                await client(server.send)
            except Exception:  # the caller sees an error, whichever
                return
            good += 1

        async def arrive() -> None:
            nonlocal offered
            at = loop.time()
            while True:
                sick = curve.begins <= at < curve.ends
                at += dice.expovariate(self.load * (self.surge if sick else 1.0))
                await asyncio.sleep(at - loop.time())
                offered += 1
                task = loop.create_task(call())
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        arrivals = loop.create_task(arrive())
        for second in range(self.calm + self.outage + self.after):
            sick = curve.begins <= second < curve.ends
            server.rate = self.capacity * (self.left if sick else 1.0)
            before = offered, server.received, good
            await asyncio.sleep(second + 1 - loop.time())
            curve.offered.append(offered - before[0])
            curve.received.append(server.received - before[1])
            curve.good.append(good - before[2])
        for task in (arrivals, *tasks):
            task.cancel()
        await asyncio.gather(arrivals, *tasks, return_exceptions=True)
        return curve


def naive(attempts: int = 4, patience: float = 1.0, seed: int = 1) -> Client:
    """What is written by hand everywhere: a timeout, and some attempts with exponential backoff and full jitter."""
    dice = random.Random(seed)

    async def client(send: Send) -> None:
        for attempt in range(1, attempts + 1):
            try:
                async with asyncio.timeout(patience):
                    return await send()
            except OSError:  # a TimeoutError is one
                if attempt == attempts:
                    raise
            await asyncio.sleep(dice.uniform(0, 0.25 * 2**attempt))

    return client
