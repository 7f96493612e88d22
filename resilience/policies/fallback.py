"""Fallback: what the caller gets when everything beneath has failed.

The surprising part is what it does *not* replace: an answer (REJECTED), a cancellation, and an UNKNOWN of an operation
that may not happen twice. A placid value in place of "the order may stand in the book" would hide the one thing that
the caller has to look into.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..call import Call, Handler
from ..errors import ConfigError
from ..kit import Kit
from ..matching import Matches, On, matcher
from ..policy import Policy
from ..verdict import Kind

__all__ = ["Fallback"]


class _NotGiven:
    """Stands for a value that was left out, since None is a value."""

    def __repr__(self) -> str:
        return "<not given>"


_NOT_GIVEN: Any = _NotGiven()


@dataclass(frozen=True, slots=True)
class Fallback(Policy):
    """Return `value`, or what `call` returns for the error, instead of raising it.

    Exactly one of the two. `value` is the same object every time: give `call` where the caller may change it. `call` is
    a function of the exception, plain or async; what it raises itself reaches the caller, with the first error as its
    context.

    With no `on`, the verdict decides: THROTTLED, FAILED and refusals of ours are replaced, UNKNOWN only where the
    operation is idempotent, REJECTED never. Around a plain function that means: with no Op, a timeout or a broken
    connection is raised, because the function may have done its work; name it in `on` (exception types, names of types,
    or a predicate) to replace it all the same. `on` decides alone.
    """

    value: Any = _NOT_GIVEN
    call: Callable[[Exception], Any] | None = None
    on: On = None

    def __post_init__(self) -> None:
        if (self.value is _NOT_GIVEN) == (self.call is None):
            found = "neither" if self.call is None else "both"
            raise ConfigError(f"Fallback: {found} of value and call are given, must be exactly one")
        if self.call is not None and not callable(self.call):
            raise ConfigError(f"Fallback: call is {self.call!r}, must be a function of the exception")
        matcher("Fallback", self.on)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        value, substitute = self.value, self.call
        wanted = _by_verdict(kit) if self.on is None else _by_match(matcher("Fallback", self.on))

        async def run(call: Call) -> Any:
            try:
                return await next(call)
            except Exception as exc:
                if not wanted(exc, call):
                    raise
                call.attempts[-1].notes["fallback"] = "value" if substitute is None else "call"
                if substitute is None:
                    return value
                result = substitute(exc)  # inside the handler, so that an error of its own shows what came before
                return await result if inspect.isawaitable(result) else result

        return run


def _by_verdict(kit: Kit) -> Callable[[Exception, Call], bool]:
    """The fallback column of the verdict table."""

    def wanted(exc: Exception, call: Call) -> bool:
        verdict = kit.judge(exc, call)
        if verdict is None:  # refused by us: nothing has happened
            return True
        return verdict.kind in (Kind.THROTTLED, Kind.FAILED) or (verdict.kind is Kind.UNKNOWN and call.op.idempotent)

    return wanted


def _by_match(matches: Matches | None) -> Callable[[Exception, Call], bool]:
    assert matches is not None  # noqa: S101 (for the type checker: there is an `on`)
    return lambda exc, call: matches(exc)
