"""Answers that are remembered by key: which is kept, which makes room, and which came too late to be kept.

No clock is read here and nothing waits: whoever uses it says what time it is. The surprising part is the turn: an
answer that was asked for earlier may arrive later, and must not replace the newer one.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from ..call import Mark

__all__ = ["Answer", "Shelf"]


class Answer:
    """A value, when it arrived (on the event loop's clock), and the turn of the call that asked for it.

    `mark` stands for that call, where somebody observes.
    """

    __slots__ = ("at", "mark", "turn", "value")

    def __init__(self, value: Any, at: float, turn: int, mark: Mark | None = None) -> None:
        self.value, self.at, self.turn, self.mark = value, at, turn, mark


class Shelf:
    """At most `most` answers; in `answers` the one that was unused for longest comes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._turns = 0
        self._cleared = 0  # answers that were asked for up to this turn are forgotten
        self._loop: AbstractEventLoop | None = None
        self.answers: OrderedDict[Hashable, Answer] = OrderedDict()

    def link(self, loop: AbstractEventLoop) -> None:
        """Begin empty in another event loop, since two loops have two clocks."""
        if loop is not self._loop:
            self._loop = loop
            self.clear()

    def resize(self, most: int) -> None:
        """Hold at most so many from now on."""
        self._most = most
        while len(self.answers) > most:
            self.answers.popitem(last=False)

    def turn(self) -> int:
        """The number of a call that goes down now: who asks later gets the later answer."""
        self._turns += 1
        return self._turns

    def put(self, key: Hashable, value: Any, at: float, turn: int, mark: Mark | None = None) -> None:
        """Keep an answer, unless one was asked for later. It is the one used last then."""
        known = self.answers.get(key)
        if turn <= self._cleared or (known is not None and known.turn > turn):
            return
        self.answers[key] = Answer(value, at, turn, mark)
        self.answers.move_to_end(key)
        if len(self.answers) > self._most:
            self.answers.popitem(last=False)

    def drop(self, key: Hashable, turn: int) -> None:
        """A call of this turn was told no: what was answered before holds no longer."""
        known = self.answers.get(key)
        if known is not None and known.turn < turn:
            del self.answers[key]

    def clear(self) -> None:
        """Forget all answers, also those that are on their way: after a write, say."""
        self.answers.clear()
        self._cleared = self._turns
