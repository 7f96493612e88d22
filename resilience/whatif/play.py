"""One candidate, one run: calls arrive, go through the pipeline, and are answered, all in virtual time."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from typing import Any

from ..call import Call, takes_call
from ..errors import Refused, ResilienceError
from ..testing import VirtualLoop
from .candidates import Candidate
from .dice import Dice
from .faults import SimulatedError
from .world import Answer, Target, World

__all__ = ["Run", "play"]

_VALUE = object()
_KEYS = {"host": "simulated", "account": "simulated"}
_PIPELINE = 201  # the question to the dice that seeds the pipeline's own


class Run:
    """What happened. `begun`, `seconds` and `good` are those of the calls, in the order in which they ended.

    `sent` has the time of every request. `refused` counts the calls that a policy of ours refused by reason, `failed`
    the other failures, `stood_in` those that a fallback answered.
    """

    def __init__(self) -> None:
        self.begun = array("d")
        self.seconds = array("d")
        self.good = array("b")
        self.sent = array("d")
        self.refused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.stood_in = 0


class _Asked:
    """What a call asks about, for caches and coalescing, and its number, for the dice."""

    __slots__ = ("key", "number")

    def __init__(self, key: int, number: int) -> None:
        self.key = key
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)


def play(candidate: Candidate, world: World, dice: Dice) -> Run:
    """Let one candidate go through one run of the world. The same for the same dice; nothing sleeps."""
    return VirtualLoop().run(_Play(candidate, world, dice).play())


class _Play:
    def __init__(self, candidate: Candidate, world: World, dice: Dice) -> None:
        self._arrivals = world.arrivals(dice)
        self._target: Target = world.target(dice)
        self._pipeline = candidate.pipeline(dice.seed(_PIPELINE))
        self._places = None if candidate.connections is None else asyncio.Semaphore(candidate.connections)
        self._fn = takes_call(self._attempt)
        self._running: set[asyncio.Task[None]] = set()
        self._run = Run()

    async def play(self) -> Run:
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        if self._arrivals:
            self._loop.call_at(self._arrivals[0].at, self._arrive, 0)
            await self._over
        await self._pipeline.aclose()
        return self._run

    def _arrive(self, number: int) -> None:
        task = self._loop.create_task(self._call(number))
        self._running.add(task)
        task.add_done_callback(self._ended)
        if number + 1 < len(self._arrivals):
            self._loop.call_at(self._arrivals[number + 1].at, self._arrive, number + 1)
        else:
            self._last = task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if self._over.done():
            return
        if error is not None:  # not the call's: ours, or a policy's
            self._over.set_exception(error)
        elif not self._running and hasattr(self, "_last"):
            self._over.set_result(None)

    async def _call(self, number: int) -> None:
        arrival, run, loop = self._arrivals[number], self._run, self._loop
        call = Call(arrival.op, self._fn, (_Asked(arrival.key, number),), keys=_KEYS)
        begun = loop.time()
        good = True
        try:
            value = await self._pipeline.send(call)
            run.stood_in += value is not _VALUE
        except Refused as error:
            good = False
            run.refused[error.reason] += 1
        except (SimulatedError, ResilienceError) as error:
            good = False
            run.failed[_reason(error)] += 1
        except Exception as error:  # a chaos policy's own, say
            good = False
            run.failed[type(error).__name__] += 1
        run.begun.append(begun)
        run.seconds.append(loop.time() - begun)
        run.good.append(good)

    async def _attempt(self, call: Call, *args: Any) -> object:
        """The transport: it waits for a connection, sends, and waits for what comes."""
        if self._places is None:
            return await self._exchange(call, args[-1])
        async with self._places:
            return await self._exchange(call, args[-1])

    async def _exchange(self, call: Call, asked: _Asked) -> object:
        loop, attempt = self._loop, call.attempt
        now = loop.time()
        answer: Answer = self._target.answer(call.op, now, asked.number, attempt.number, attempt.fresh)
        attempt.sent = answer.sent
        self._run.sent.append(now)
        if answer.seconds > 0:
            done = loop.create_future()
            timer = loop.call_later(answer.seconds, done.set_result, None)
            try:
                await done
            finally:
                timer.cancel()
        if answer.error is not None:
            attempt.stale = answer.stale
            raise answer.error
        return _VALUE


def _reason(error: Exception) -> str:
    if isinstance(error, SimulatedError):
        return error.verdict.reason
    return str(getattr(error, "reason", "") or type(error).__name__)
