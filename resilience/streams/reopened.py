"""Retry around a stream: open it again when it breaks, and go on after the last item that came through.

Attempts are counted from the last item: a stream that yields has recovered, so that a feed which breaks once a day is
opened again for ever, and one that cannot be opened is given up. The surprising part is what happens without a token:
once an item has come through, opening again could lose items or bring some twice, so the error is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from ..call import Call
from .relay import Stage, StreamHandler, generator
from .resume import Resume, resumed

__all__ = ["Story", "reopened"]

_NOTHING: Final = object()
_REMEMBERED = 32  # attempts in the history of a call that may last for months


class Story(Protocol):
    """What a retry knows of a call since its first failure, and what that allows next."""

    def pause(self, call: Call, error: Exception | None, value: Any) -> float | None:
        """Seconds until the next attempt, or None if there shall be none."""

    def next_attempt(self, call: Call) -> Call:
        """The call once more, with a record of its own."""

    def outcome(self, last: Exception) -> Exception:
        """What to raise where there is no next attempt."""


def reopened(next: StreamHandler, story: Callable[[], Story], resume: Resume) -> StreamHandler:
    """The stream, opened again where the story allows it. A new story begins with the first failure after an item."""
    return generator(lambda call: _Reopened(next, call, story, resume))


class _Reopened(Stage):
    __slots__ = ("begin", "last", "resume", "story")

    def __init__(self, next: StreamHandler, call: Call, begin: Callable[[], Story], resume: Resume) -> None:
        super().__init__(next, call)
        self.begin = begin
        self.resume = resume
        self.story: Story | None = None
        self.last: Any = _NOTHING

    async def step(self, sent: Any) -> Any:
        thrown = self.thrown is not None
        while True:
            try:
                item = await self.advance(sent)
            except StopAsyncIteration:
                raise
            except Exception as error:
                if thrown:  # what comes of an error that the consumer threw is the consumer's
                    raise
                pause = self._pause(error)
            else:
                self.last = item
                self.story = None
                return item
            if pause > 0:
                await asyncio.sleep(pause)
            self._open_again()
            sent = None

    def _pause(self, error: Exception) -> float:
        """Seconds until the stream is opened again. Raises if it shall not be."""
        try:
            if self.resume is None and self.last is not _NOTHING:
                self.call.attempt.notes["retry_stopped"] = "no_resume"
                error.add_note("not opened again, since items had come through: Retry(resume=...) says where to go on")
                raise error
            if self.story is None:
                self.story = self.begin()
            pause = self.story.pause(self.call, error, None)
            if pause is None:
                raise self.story.outcome(error)
            return pause
        finally:
            del error  # its traceback refers to this frame

    def _open_again(self) -> None:
        assert self.story is not None  # noqa: S101 (for the type checker)
        number = self.call.attempt.number
        self.call = call = self.story.next_attempt(self.call)
        call.attempt.number = number + 1
        del call.attempts[:-_REMEMBERED]
        if self.last is not _NOTHING:
            resumed(call, self.resume, self.last)
        self.items = None
