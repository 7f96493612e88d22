"""Fallback: what to answer when there is no answer: a value, or what a function makes of the error.

It stands outermost. The surprising part is what it does *not* replace: a REJECTED call (the refusal is the answer), a
cancellation, and an UNKNOWN outcome of something that may not happen twice: an order that may stand in the book must
not look like a harmless default.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..call import Call, Handler
from ..errors import ConfigError
from ..kit import Kit
from ..matching import On, matcher
from ..policy import Policy
from ..verdict import Kind

__all__ = ["Fallback"]


class _NotGiven:
    def __repr__(self) -> str:
        return "<not given>"


_NOT_GIVEN: Final[Any] = _NotGiven()


@dataclass(frozen=True, slots=True)
class Fallback(Policy):
    """Answer with `value`, or with ``call(error)`` (a function or a coroutine function), instead of raising.

    With no `on`: for THROTTLED, FAILED and our own refusals, and for UNKNOWN where the operation is idempotent. `on`
    (exception types, names of types, or a predicate) decides alone. Exactly one of `value` and `call` must be given;
    an error of `call` itself is raised as it is.
    """

    value: Any = _NOT_GIVEN
    call: Callable[[Exception], Any] | None = None
    on: On = None

    def __post_init__(self) -> None:
        if (self.value is _NOT_GIVEN) == (self.call is None):
            raise ConfigError("Fallback: give either value or call, so that there is one answer")
        if self.call is not None and not callable(self.call):
            raise ConfigError(f"Fallback: call is {self.call!r}, must be a function of the error")
        matcher("Fallback", self.on)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        value, make = self.value, self.call
        matches = matcher("Fallback", self.on)

        def replaced(call: Call, error: Exception) -> bool:
            if matches is not None:
                return matches(error)
            verdict = kit.judge(error, call)
            if verdict is None or verdict.kind in (Kind.THROTTLED, Kind.FAILED):
                return True
            return verdict.kind is Kind.UNKNOWN and call.op.idempotent

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
