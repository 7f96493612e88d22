"""What a sweep plays: a scene (a pipeline and what lies beneath it), and a target whose steps can be cut short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from ..call import Op
from ..pipeline import Pipeline
from .script import after

__all__ = ["Feed", "Injected", "Scene", "Target"]


class Injected(Exception):
    """What the target raises where the sweep makes it fail. `classify` reads it as it pleases."""


class Target:
    """A scripted coroutine function like `Script` (values, errors and `after`) whose steps can be cut short."""

    def __init__(self, *steps: Any) -> None:
        self._steps = steps or ("done",)
        self._turn: set[asyncio.Future[None]] = set()
        self.count = self.running = 0

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Play the next step, the last one for ever. Takes whatever it is given."""
        step = self._steps[min(self.count, len(self._steps) - 1)]
        self.count += 1
        self.running += 1
        try:
            if isinstance(step, after):
                await self._wait(step.seconds)
                step = step.then
        finally:
            self.running -= 1
        if isinstance(step, BaseException):
            raise step
        return step

    def well(self) -> Target:
        """What answers at once, with "served"."""
        return Target("served")

    async def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._turn.add(turn)
        timer = loop.call_later(seconds, _resolve, turn)
        try:
            await turn
        finally:
            timer.cancel()
            self._turn.discard(turn)

    def cut_short(self, error: Exception | None = None) -> None:
        """End what runs now: with this error, or with the step's own outcome."""
        for turn in list(self._turn):
            _resolve(turn, error)


class Feed(Target):
    """A scripted async generator function, whose steps can be cut short. Each argument is what one opening plays.

    A step is an item, an error to raise, or `after`. The last argument is played for ever.
    """

    def __init__(self, *openings: Sequence[Any]) -> None:
        super().__init__(*openings)

    async def __call__(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        """Play the next opening. Takes whatever it is given."""
        steps = self._steps[min(self.count, len(self._steps) - 1)]
        self.count += 1
        self.running += 1
        try:
            for step in steps:
                if isinstance(step, after):
                    await self._wait(step.seconds)
                    step = step.then  # noqa: PLW2901
                if isinstance(step, BaseException):
                    raise step
                yield step
        finally:
            self.running -= 1

    def well(self) -> Feed:
        return Feed(("served",))


@dataclass
class Scene:
    """What is played: one call of `target` through `pipeline`, and `rivals` that began just before it.

    Where the target is a `Feed`, the call is the reading of its stream: to the end, or of `take` items.

    `prepare` is awaited first (to trip a breaker, say); what it leaves must be what an idle pipeline looks like.
    `raises` are the errors that the target's steps may bring to the caller, beside the framework's own.
    `rest` is how long the pipeline is left alone, in virtual seconds, before it must serve a call again.
    """

    pipeline: Pipeline
    target: Target
    op: Op = Op("swept", idempotent=True)  # noqa: RUF009 (frozen)
    rivals: int = 0
    prepare: Callable[[], Coroutine[Any, Any, Any]] | None = None
    raises: tuple[type[Exception], ...] = ()
    rest: float = 120.0
    take: int | None = None

    async def call(self) -> Any:
        """One call: what the target returns, or a list of the items of its stream."""
        if not isinstance(self.target, Feed):
            return await self.pipeline.run(self.target, op=self.op)
        read: list[Any] = []
        async with aclosing(self.pipeline.stream(self.target, op=self.op)) as items:
            async for item in items:
                read.append(item)
                if len(read) == self.take:
                    break
        return read


def _resolve(turn: asyncio.Future[None], error: Exception | None = None) -> None:
    if turn.done():
        return
    if error is None:
        turn.set_result(None)
    else:
        turn.set_exception(error)
