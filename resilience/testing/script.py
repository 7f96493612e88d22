"""A target that does as it is told: a value, an error, after a while, or never."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Script", "after", "never"]


@dataclass(frozen=True, slots=True)
class after:
    """A step that takes `seconds` before `then` (a value, an error, a function) happens."""

    seconds: float
    then: Any = None


never = after(float("inf"))
"""A step that ends only by being cancelled."""


class Script:
    """A coroutine function that plays its steps in order, one a call, and the last one for ever.

    A step is a value to return, an exception (object or class) to raise, a function of the call's arguments whose
    result is treated likewise, `after` or `never`. `calls` holds the arguments of every call, `begun` the loop's
    time at which each began, `running` and `most` how many ran at once, `cancelled` how many were cancelled.
    """

    def __init__(self, *steps: Any) -> None:
        self._steps: list[Any] = list(steps) or [None]
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.begun: list[float] = []
        self.running = self.most = self.cancelled = 0

    @classmethod
    def of(cls, steps: Iterable[Any]) -> Script:
        """A script of the steps of an iterable."""
        return cls(*steps)

    @property
    def count(self) -> int:
        """How many calls reached the target."""
        return len(self.calls)

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        step = self._steps[min(len(self.calls), len(self._steps) - 1)]
        self.calls.append((args, kwargs))
        self.begun.append(asyncio.get_running_loop().time())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self._play(step, args, kwargs)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def _play(self, step: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(step, after):
            if step.seconds == float("inf"):
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(step.seconds)
            return await self._play(step.then, args, kwargs)
        if isinstance(step, BaseException) or (isinstance(step, type) and issubclass(step, BaseException)):
            raise step
        if callable(step):
            return await self._play(step(*args, **kwargs), args, kwargs)
        return step
