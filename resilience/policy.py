"""The one protocol, and how to write a policy.

A policy is a frozen dataclass (its configuration) with one method, ``bind(next, kit) -> handler``. The handler does one
of four things with a call: passes it to `next`, waits, refuses, or calls `next` again. State lives in what `kit.keep`
hands out, never on the policy: two uses of one policy object share nothing.

    @dataclass(frozen=True, slots=True)
    class Logged(Policy):
        def bind(self, next: Handler, kit: Kit) -> Handler:
            async def run(call: Call) -> Any:
                print(call.op.name)
                return await next(call)

            return run

One that means something between the items of a stream has ``bind_stream(next, kit)`` as well (`resilience.streams`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Protocol, TypeVar, overload, runtime_checkable

if TYPE_CHECKING:
    from .call import Handler
    from .kit import Kit
    from .pipeline import Pipeline

__all__ = ["Bindable", "Guard", "Policy", "changed_fields"]

P = ParamSpec("P")
S = TypeVar("S", bound=AsyncIterator[Any])
T = TypeVar("T")


@runtime_checkable
class Bindable(Protocol):
    """Anything that a pipeline can link: one method is enough."""

    def bind(self, next: Handler, kit: Kit, /) -> Handler: ...


class Guard(Protocol):
    """A decorator of coroutine functions and of async generator functions, which keeps their types."""

    @overload
    def __call__(self, fn: Callable[P, S], /) -> Callable[P, S]: ...
    @overload
    def __call__(self, fn: Callable[P, Awaitable[T]], /) -> Callable[P, Coroutine[Any, Any, T]]: ...


class Policy:
    """Base of the policies: lets each of them decorate a coroutine function, and join others with ``+``.

    Stacked policy decorators fuse into one pipeline, the first being the outermost.
    """

    __slots__ = ()

    repeats: ClassVar[bool] = False
    """May it call `next` more than once? The attempt boundary lies beneath the innermost policy that does."""
    branches: ClassVar[bool] = False
    """May it call `next` while an earlier call of it is under way? Then attempts beneath can be `Attempt.lost`."""
    sets_deadline: ClassVar[bool] = False
    """Does it write `call.deadline`? Then the deadline has to be enforced beneath it."""
    lends: ClassVar[bool] = False
    """Does it supply the first positional argument of what it guards?"""
    enforces_deadline: ClassVar[bool] = False
    """Does it cancel what lies beneath at the call's deadline? Then nobody else needs to."""

    keeps: ClassVar[str] = ""
    """What it keeps across calls, in words; empty for nothing."""
    anew: ClassVar[Mapping[str, str] | None] = None
    """Fields whose change begins all of that anew, and why. None: any change does."""
    partly: ClassVar[Mapping[str, str]] = {}
    """Fields whose change loses a part of it, and which."""

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        """Link this policy in front of `next`. Called once per pipeline, and again when observers change."""
        raise NotImplementedError(f"{type(self).__name__} has no bind()")

    def inherit(self, before: Any, state: Any, now: float, alone: bool) -> Any:
        """The state to go on with after a reload, in which `before` became this policy; None to begin anew.

        `state` is what `before` kept, and calls in flight still use. It may be changed in place, unless it is not
        `alone`: then others go on with it as it is. `now` is on the clock of the loop that it served.
        """
        changed = changed_fields(before, self)
        if changed and (self.anew is None or not alone or any(name in self.anew for name in changed)):
            return None
        if changed:
            self.adjust(state, before)
        return state

    def adjust(self, state: Any, before: Any) -> None:
        """Let a kept state follow those fields that may change while it is in use."""

    def unsafe(self) -> str | None:
        """Why this policy cannot guard a function of which nothing is known; None if it can."""
        return None

    @overload
    def __call__(self, fn: Callable[P, S]) -> Callable[P, S]: ...

    @overload
    def __call__(self, fn: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Guard a coroutine function, or an async generator function; its signature and return type stay."""
        from .pipeline import fuse

        guarded: Callable[..., Any] = fuse(self, fn)
        return guarded

    def __add__(self, other: Bindable | Pipeline) -> Pipeline:
        """This policy outside, the other (a policy or a pipeline) inside."""
        from .pipeline import Pipeline

        return Pipeline(self) + other


def changed_fields(before: object, after: object) -> list[str]:
    """The fields in which two of a kind differ; all of them if they are of different types, or no dataclasses."""
    if type(before) is not type(after) or not is_dataclass(before):
        return [] if before is after else ["*"]
    return [item.name for item in fields(before) if not _same(getattr(before, item.name), getattr(after, item.name))]


def _same(one: object, other: object) -> bool:
    return one is other or (type(one) is type(other) and bool(one == other))
