"""Retry around a stream: open it again when it breaks, and go on after the last item that came through.

The retry is the one for calls, with its own rules, waits and budget. What it sees as a call is the way to the next item
when there is no open stream: opening until the first item has come, or, when the stream has broken, an attempt that
failed with that error and the openings that follow. So attempts are counted from the last item: a feed which breaks
once a day is opened again for ever, and one that cannot be opened is given up.

The surprising part is what happens without a token: once an item has come through, opening again could lose items or
bring some twice, so the error is raised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..call import Attempt, Call, Handler, takes_call
from .relay import Stage, StreamHandler, generator
from .resume import Resume, resumed

__all__ = ["reopened"]

_NOTHING: Final = object()
_END: Final = object()
_REMEMBERED = 32  # attempts in the history of a call that may last for months


def reopened(next: StreamHandler, bind: Callable[[Handler], Handler], resume: Resume) -> StreamHandler:
    """The stream, opened again where the policy allows it; `bind` is the policy's own, with the kit."""
    through = bind(lambda call: call.target(call))
    return generator(lambda call: _Reopened(next, call, through, resume))


class _Reopened(Stage):
    """`present` is the retry's call of the present attempt, whose target is `attempt`; `broken` why it is not open."""

    __slots__ = ("broken", "last", "present", "resume", "through")

    def __init__(self, next: StreamHandler, call: Call, through: Handler, resume: Resume) -> None:
        super().__init__(next, call)
        self.through = through
        self.resume = resume
        self.present = call.copy()
        self.present.target = takes_call(self.attempt)  # which keeps it, so that each attempt has a call of its own
        self.last: Any = _NOTHING
        self.broken: Exception | None = None

    async def step(self, sent: Any) -> Any:
        if self.items is not None:
            thrown = self.thrown is not None
            try:
                self.last = item = await self.advance(sent)
            except StopAsyncIteration:
                raise
            except Exception as error:
                if thrown or not self._may_go_on(error):  # what comes of a thrown error is the consumer's
                    raise
                self.broken = error
            else:
                return item
        item = await self.through(self.present)
        if item is _END:
            raise StopAsyncIteration
        self.last = item
        return item

    async def close(self) -> None:
        self.present.target = self.call.target  # else it and this would be a cycle
        await super().close()

    def _may_go_on(self, error: Exception) -> bool:
        if self.resume is None:
            self.present.attempt.notes["retry_stopped"] = "no_resume"
            error.add_note("not opened again, since items had come through: Retry(resume=...) says where to go on")
        return self.resume is not None

    async def attempt(self, call: Call) -> Any:
        """One attempt as the retry sees it: the item that comes next, or `_END`."""
        if self.broken is not None:
            try:
                raise self.broken
            finally:
                self.broken = None  # its traceback refers to this frame
        if call is not self.present:
            call.attempt.number = self.present.attempt.number + 1
            _forget(call.attempts)
            self.present = call
        opening = call.copy()
        opening.target = self.call.target
        if self.last is not _NOTHING:
            resumed(opening, self.resume, self.last)
        self.items = items = self.next(opening)
        try:
            return await items.asend(None)
        except StopAsyncIteration:
            return _END


def _forget(attempts: list[Attempt]) -> None:
    """Remember the newest attempts; of the others what they add up to, on the oldest of these."""
    while len(attempts) > _REMEMBERED:
        gone = attempts.pop(0)
        sent, waits = gone.before or (0, {})
        for note, seconds in (gone.noted or {}).items():
            if note.startswith("wait."):
                waits[note] = waits.get(note, 0.0) + seconds
        attempts[0].before = (sent + gone.sent, waits)
