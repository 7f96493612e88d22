"""A policy's own handler around each step of a stream: from asking for an item until it is there.

What the consumer does between two items is not timed. The end of the stream is a step like others, and no error: the
policy sees a value.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from ..call import Call, Handler
from .relay import Stage, StreamHandler, generator

__all__ = ["stepped"]

_END: Final = object()


def stepped(next: StreamHandler, bind: Callable[[Handler], Handler]) -> StreamHandler:
    """Around every step, the first one (which opens the stream) included, what `bind` puts around a call."""
    steps: dict[Call, Callable[[], Awaitable[Any]]] = {}  # what to do for a call that has come through the policy
    through = bind(lambda call: steps.pop(call)())
    return generator(lambda call: _Stepped(next, call, through, steps))


class _Stepped(Stage):
    __slots__ = ("steps", "through")

    def __init__(
        self, next: StreamHandler, call: Call, through: Handler, steps: dict[Call, Callable[[], Awaitable[Any]]]
    ) -> None:
        super().__init__(next, call)
        self.through = through
        self.steps = steps

    async def step(self, sent: Any) -> Any:
        call, steps = self.call, self.steps
        steps[call] = lambda: self._beneath(sent)
        try:
            item = await self.through(call)
        finally:
            steps.pop(call, None)  # it may have been refused
        if item is _END:
            raise StopAsyncIteration
        return item

    async def _beneath(self, sent: Any) -> Any:
        try:
            return await self.advance(sent)
        except StopAsyncIteration:
            return _END
