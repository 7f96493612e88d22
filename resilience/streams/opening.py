"""How a stream is opened: what may guard it, the function that does, and the target beneath all policies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import wraps
from inspect import isasyncgen
from typing import Any, TypeVar

from ..call import Call, Op, TakesCall
from ..errors import ConfigError
from .relay import Items, Stage, StreamHandler, generator
from .resume import misfit

__all__ = ["check", "guard", "leaf", "streamed"]

S = TypeVar("S", bound=AsyncIterator[Any])


def check(policies: Sequence[Any], fn: Any, name: str) -> None:
    """Raise `ConfigError` unless all policies mean something around the streams that `fn` opens."""
    for policy in policies:
        kind = type(policy).__name__
        if not callable(getattr(policy, "bind_stream", None)):
            raise ConfigError(
                f"{name} is a stream, and {kind} means nothing between its items: leave it out (Retry, Timeout and "
                "Bulkhead guard streams), or guard a coroutine function that opens the stream"
            )
        if getattr(policy, "result", None) is not None:
            raise ConfigError(f"{name} is a stream, which has items and no result: leave result out of {kind}")
        problem = misfit(getattr(policy, "resume", None), fn)
        if problem:
            raise ConfigError(f"{name}: {problem}")


def guard(fn: Callable[..., S], known: Op, opens: StreamHandler) -> Callable[..., S]:
    """An async generator function like `fn`, whose streams `opens` opens when their first item is asked for."""
    made = generator(lambda *args, **kwargs: Stage(opens, Call(known, fn, args, kwargs)))  # type: ignore[arg-type]
    return wraps(fn)(made)  # type: ignore[return-value]


def streamed(call: Call, opens: StreamHandler) -> Items:
    """The stream of one call, opened by `opens` when its first item is asked for."""
    return generator(Stage)(opens, call)


def leaf(call: Call) -> Items:
    """Beneath all policies: the stream itself. A target that does not speak for itself counts as sent when called."""
    if type(call.target) is TakesCall:
        items: Any = call.target(call, *call.lent, *call.args, **call.kwargs)
    else:
        call.attempt.sent = True
        items = call.target(*call.lent, *call.args, **call.kwargs)
    return items if isasyncgen(items) else _iterated(items)


async def _iterated(items: Any) -> Items:
    """Any async iterable as an async generator; its own ``aclose``, if it has one, is called at the end."""
    if not hasattr(items, "__aiter__"):
        if isinstance(items, Coroutine):
            items.close()
        raise TypeError(f"found a {type(items).__name__} where a stream was to be: stream() takes what yields items")
    try:
        async for item in items:
            yield item
    finally:
        close = getattr(items, "aclose", None)
        if callable(close):
            await close()
