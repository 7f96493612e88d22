"""Fallback: what to answer when there is no answer: the last good one, a value, or what a function makes of the error.

It stands outermost. The surprising part is what it does *not* replace: a REJECTED call (the refusal is the answer), a
cancellation, and an UNKNOWN outcome of something that may not happen twice: an order that may stand in the book must
not look like a harmless default. For the same reason no write is answered with what an earlier write was answered.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..caching.shelf import Shelf
from ..call import Call, Handler
from ..errors import ConfigError
from ..given import NOT_GIVEN
from ..keys import hashable, key_function
from ..kit import Kit
from ..matching import On, holds, matcher
from ..policy import Policy
from ..units import Seconds, check
from ..verdict import Kind

__all__ = ["Fallback"]

_Decide = Callable[[Call, Exception], bool]


class LastGood(Shelf):
    """The last good answers, and how often one of them served."""

    used = 0

    def status(self) -> dict[str, Any]:
        return {"size": len(self.answers), "used": self.used}


@dataclass(frozen=True, slots=True)
class Fallback(Policy):
    """Answer with the last good answer, `value`, or ``call(error)`` (a function or a coroutine function).

    With no `on`: for THROTTLED, FAILED and our own refusals, and for UNKNOWN where the operation is idempotent. `on`
    (exception types, names of types, or a predicate) decides alone. Exactly one of `value` and `call` must be given, or
    neither beside `last_good`; an error of `call` itself is raised as it is.

    `last_good`: the last answer of the same `key` serves first, if it arrived no more than so many seconds ago. With
    no `on`, only idempotent operations are remembered. `key` is a function of the `Call`; by default the same
    operation, function and arguments. Arguments that cannot be hashed are not remembered; at most `most` keys are.
    """

    keeps: ClassVar[str] = "the last good answers, where it has last_good"
    anew: ClassVar[Mapping[str, str]] = {"key": "its answers are kept by another key"}

    value: Any = NOT_GIVEN
    call: Callable[[Exception], Any] | None = None
    on: On = None
    last_good: Seconds | None = None
    key: Callable[[Call], Hashable] | None = None
    most: int = 1000

    def __post_init__(self) -> None:
        answers = (self.value is not NOT_GIVEN) + (self.call is not None)
        if answers > 1 or (answers == 0 and self.last_good is None):
            raise ConfigError("Fallback: give either value or call, so that there is one answer, or last_good")
        if self.call is not None and not callable(self.call):
            raise ConfigError(f"Fallback: call is {self.call!r}, must be a function of the error")
        matcher("Fallback", self.on)
        if self.last_good is not None:
            check("Fallback", "last_good", self.last_good, above=0)
        key_function("Fallback", self.key)
        check("Fallback", "most", self.most, least=1, whole=True)

    def unsafe(self) -> str | None:
        if self.last_good is None or self.on is not None:
            return None
        return (
            "Fallback(last_good=...) must not answer a write with what an earlier one was answered: guard the function "
            "with an Op(..., idempotent=True), or say which errors the last answer may stand for: on=OSError"
        )

    def adjust(self, state: LastGood, before: Any) -> None:
        state.resize(self.most)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        if self.last_good is not None:
            return self._remembering(next, kit, self.last_good)
        value, make = self.value, self.call
        replaced = self._replaced(kit)

        async def run(call: Call) -> Any:
            try:
                return await next(call)
            except Exception as error:
                if not replaced(call, error):
                    raise
                call.attempts[-1].notes["fallback"] = type(error).__name__
                if make is None:
                    return value
                answer = make(error)
            return await answer if inspect.isawaitable(answer) else answer

        return run

    def _replaced(self, kit: Kit) -> _Decide:
        """Whether there is to be another answer than this error."""
        matches = matcher("Fallback", self.on)

        def replaced(call: Call, error: Exception) -> bool:
            if matches is not None:
                return holds(matches, error, unsure=False, told="Fallback: on failed for %s; it is not replaced")
            verdict = kit.judge(error, call)
            if verdict is None or verdict.kind in (Kind.THROTTLED, Kind.FAILED):
                return True
            return verdict.kind is Kind.UNKNOWN and call.op.idempotent

        return replaced

    def _remembering(self, next: Handler, kit: Kit, most_age: float) -> Handler:
        """The handler that remembers; the other one does not pay for it."""
        value, make, now, observed = self.value, self.call, kit.now, kit.emit is not None
        replaced = self._replaced(kit)
        key_of, always = key_function("Fallback", self.key), self.on is not None
        shelf = kit.keep("fallback", self, lambda: LastGood(self.most))
        shelf.link(kit.loop)

        async def run(call: Call) -> Any:
            key = hashable(key_of(call)) if always or call.op.idempotent else None
            turn = shelf.turn()
            try:
                result = await next(call)
            except Exception as error:
                if not replaced(call, error):
                    raise
                last = shelf.answers.get(key)
                if last is not None and (age := now() - last.at) <= most_age:
                    shelf.used += 1
                    attempt = call.attempts[-1]
                    attempt.notes.update({"fallback": type(error).__name__, "fallback.age": age})
                    if last.mark is not None:
                        attempt.link = ("filled_by", last.mark)
                    return last.value
                if make is None and value is NOT_GIVEN:
                    raise
                call.attempts[-1].notes["fallback"] = type(error).__name__
                if make is None:
                    return value
                answer = make(error)
            else:
                if key is not None:
                    shelf.put(key, result, now(), turn, call.attempt.mark() if observed else None)
                return result
            return await answer if inspect.isawaitable(answer) else answer

        return run
