"""``yield from`` for async generators, which the language lacks: what every stage of a stream is made of.

A stage says how to make one step (to the next item, or to the end) and how to close; `generator` makes async generators
of it that behave like the one beneath: what the consumer sends and throws arrives there, and closing closes it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeAlias

from ..call import Call

__all__ = ["Items", "Stage", "StreamHandler", "generator"]

Items: TypeAlias = AsyncGenerator[Any, Any]
StreamHandler: TypeAlias = Callable[[Call], Items]


class Stage:
    """One open stream as a policy sees it: `items` is what lies beneath, made when the first item is asked for.

    `thrown` is what the consumer has thrown, until it is passed on. (As an argument it would stay in every frame that
    it passes when it is raised again: a cycle through its traceback.)
    """

    __slots__ = ("call", "items", "next", "thrown")

    def __init__(self, next: StreamHandler, call: Call) -> None:
        self.next = next
        self.call = call
        self.items: Items | None = None
        self.thrown: BaseException | None = None

    def advance(self, sent: Any) -> Awaitable[Any]:
        """Go on beneath: to the next item, with what the consumer sent or threw."""
        items = self.items
        if items is None:
            items = self.items = self.next(self.call)
        if self.thrown is None:
            return items.asend(sent)
        thrown, self.thrown = self.thrown, None
        return items.athrow(thrown)

    async def step(self, sent: Any) -> Any:
        """The next item. Raises `StopAsyncIteration` at the end."""
        return await self.advance(sent)

    async def close(self) -> None:
        """Called once, however the stream ended, in whichever task it ended."""
        if self.items is not None:
            await self.items.aclose()


def generator(make: Callable[..., Stage]) -> Callable[..., Items]:
    """An async generator function. `make` makes a stage of its arguments, when the first item is asked for."""

    async def relayed(*args: Any, **kwargs: Any) -> Items:
        stage = make(*args, **kwargs)
        sent: Any = None
        try:
            while True:
                try:
                    item = await stage.step(sent)
                except StopAsyncIteration:
                    return
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as error:  # the consumer threw it: the generator beneath decides what it means
                    stage.thrown = error
        finally:
            await stage.close()

    return relayed
