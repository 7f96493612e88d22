"""Hedge: when an answer is slow in coming, ask once more and take whichever answers first.

Only for operations that may happen twice; any other passes through untouched. Each branch runs in a task of its own,
with a copy of the context, because branches overlap: this is the one policy that makes tasks. (The idea: Dean and
Barroso, "The Tail at Scale", 2013.)
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar

from ..call import Call, Handler
from ..kit import Kit
from ..policy import Policy
from ..units import Seconds, check
from ..verdict import Kind

__all__ = ["Hedge"]

_GRACE = 1.0  # seconds that the losers get to end after they were cancelled
_RANKS = {Kind.FAILED: 1, Kind.THROTTLED: 2, Kind.UNKNOWN: 3}  # which error is the truth if every branch failed


@dataclass(frozen=True, slots=True)
class Hedge(Policy):
    """After each `delay` seconds without an answer, send the call once more, up to `extra` times.

    The first success wins, and so does a REJECTED: the refusal is the answer. A branch that FAILED lets the others run;
    THROTTLED, and a refusal of ours, stop further sends. The losers are cancelled and awaited. If every branch failed,
    an UNKNOWN error is raised before a THROTTLED one, that before any other, and among equals the last.
    """

    repeats: ClassVar[bool] = True
    branches: ClassVar[bool] = True

    delay: Seconds
    extra: int = 1

    def __post_init__(self) -> None:
        check("Hedge", "delay", self.delay, least=0)
        check("Hedge", "extra", self.extra, least=1, whole=True)

    def unsafe(self) -> str | None:
        return (
            "Hedge() may send a call twice: guard the function with an Op(..., idempotent=True) to say that it may be"
        )

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        async def run(call: Call) -> Any:
            if not call.op.idempotent:
                return await next(call)
            return await _Race(self, kit, next, call).run()

        return run


class _Race:
    """The branches of one call."""

    def __init__(self, policy: Hedge, kit: Kit, next: Handler, call: Call) -> None:
        self._delay = policy.delay
        self._left = policy.extra
        self._due = 0.0
        self._kit = kit
        self._next = next
        self._call = call
        self._branches: dict[asyncio.Task[Any], Call] = {}
        self._worst: tuple[int, Exception, Call] | None = None

    async def run(self) -> Any:
        try:
            self._start(self._call.copy())
            while True:
                wait = max(0.0, self._due - self._kit.now()) if self._left else None
                done, _ = await asyncio.wait(self._branches, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    self._left -= 1
                    self._start(self._call.again("hedge"))
                for task in sorted(done, key=lambda task: self._branches[task].attempt.number):
                    branch = self._branches.pop(task)
                    self._call.attempt = branch.attempt  # what the policies above look at
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if not isinstance(error, Exception):
                        raise error
                    self._weigh(branch, error)
        finally:
            self._worst = None
            await self._end()

    def _start(self, branch: Call) -> None:
        self._due = self._kit.now() + self._delay  # the next send, whatever the branches meet until then
        task = asyncio.ensure_future(self._next(branch))
        task.add_done_callback(_seen)
        self._branches[task] = branch

    def _weigh(self, branch: Call, error: Exception) -> None:
        """Note what a branch met. Raises if that decides the call: it is an answer, or no branch is left."""
        verdict = self._kit.judge(error, branch)
        if verdict is not None and verdict.kind is Kind.REJECTED:
            raise error
        if verdict is None or verdict.kind is Kind.THROTTLED:
            self._left = 0
        rank = 0 if verdict is None else _RANKS[verdict.kind]
        if self._worst is None or rank >= self._worst[0]:
            self._worst = (rank, error, branch)
        if not self._branches:
            _, error, branch = self._worst
            self._call.attempt = branch.attempt
            raise error

    async def _end(self) -> None:
        """Cancel the losers and wait for them, so that nothing of theirs runs on after the call."""
        for task, branch in self._branches.items():
            branch.attempt.notes["hedge"] = "lost"
            task.cancel()
        if self._branches:
            await asyncio.wait(self._branches, timeout=_GRACE)


def _seen(task: asyncio.Task[Any]) -> None:
    """A loser's error belongs to nobody: look at it, so that asyncio does not complain."""
    if not task.cancelled():
        task.exception()
