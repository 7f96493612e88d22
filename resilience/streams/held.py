"""A policy's own handler, held open for as long as a stream lasts.

The surprising part: the policy is not written again for streams. Its coroutine is run up to where it awaits `next`, and
stays suspended there until the stream has ended; then it is told how, and goes on to give back what it took. So a place
that it waited for is held, whatever its rules for queues are, and a refusal is raised before anything was opened. It
runs in a context of its own: what it makes current is not so for the consumer, between two items.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any, Final

from ..call import Call, Handler
from .relay import Stage, StreamHandler, generator

__all__ = ["held"]

_OPEN: Final = object()
"""What `_hold` yields where others yield a future. `_drive` takes it; the event loop never sees it."""


def held(next: StreamHandler, bind: Callable[[Handler], Handler]) -> StreamHandler:
    """Around the whole stream, what `bind` (a policy's own, with the kit) puts around a call.

    The policy may wait or refuse before the stream is opened. It sees the error that ended the stream; a stream that
    the consumer closed has ended well. A policy that calls `next` again, or answers without it, cannot be held.
    """
    enter = bind(_hold)
    return generator(lambda call: _Held(next, call, enter))


class _Held(Stage):
    __slots__ = ("context", "enter", "error", "inside")

    def __init__(self, next: StreamHandler, call: Call, enter: Handler) -> None:
        super().__init__(next, call)
        self.enter = enter
        self.context = copy_context()
        self.inside: Coroutine[Any, Any, Any] | None = None
        self.error: BaseException | None = None

    async def step(self, sent: Any) -> Any:
        if self.inside is None:
            coroutine: Any = self.enter(self.call)
            if not await _drive(self.context, coroutine, None):
                raise RuntimeError("a policy that answers without its target cannot be held around a stream")
            self.inside = coroutine  # no turn of the loop lies between its being let in and this
        try:
            return await self.advance(sent)
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self.error = error
            raise

    async def close(self) -> None:
        try:
            await super().close()
        except BaseException as error:
            self.error = error
            raise
        finally:
            inside, self.inside = self.inside, None
            ended, self.error = self.error, None
            try:
                if inside is not None:
                    await self._leave(inside, ended)
            finally:
                del ended  # its traceback refers to this frame

    async def _leave(self, inside: Coroutine[Any, Any, Any], error: BaseException | None) -> None:
        """Tell the policy how the stream ended: with `error`, which is on its way to the consumer, or well."""
        try:
            await _drive(self.context, inside, error)
        except BaseException as raised:
            if raised is not error:
                raise
        finally:
            del error


@types.coroutine
def _hold(call: Call) -> Generator[Any, Any, None]:
    """The `next` of a held policy: it "runs" until `_leave` tells how the stream ended."""
    yield _OPEN


@types.coroutine
def _drive(
    context: Context, coroutine: Coroutine[Any, Any, Any], error: BaseException | None
) -> Generator[Any, Any, bool]:
    """Run it until it is open, True, or has returned, False. What it awaits on the way, the running task awaits."""
    resume: Callable[[Any], Any] = coroutine.send
    value: Any = None
    if error is not None:
        resume, value = coroutine.throw, error
    try:
        while (awaited := context.run(resume, value)) is not _OPEN:
            try:
                value = yield awaited
                resume = coroutine.send
            except BaseException as thrown:  # a cancellation, mostly: the policy deals with it
                resume, value = coroutine.throw, thrown
    except StopIteration:
        return False
    finally:
        del value, error  # a traceback refers to this frame
    return True
