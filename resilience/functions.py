"""What a function is, asked when it is decorated: what to call it, and whether it can be awaited or iterated."""

from __future__ import annotations

import functools
import inspect
from typing import Any

__all__ = ["name_of", "opens_stream", "signature_after"]


def name_of(fn: Any) -> str:
    """As it was defined: a partial has the name of its function, an object that of its class."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return getattr(fn, "__qualname__", None) or type(fn).__qualname__


def opens_stream(fn: Any) -> bool:
    """True for an async generator function, False for a coroutine function. Raises `TypeError` for what is neither."""
    call = None if isinstance(fn, type) else getattr(fn, "__call__", None)  # noqa: B004
    if inspect.isasyncgenfunction(fn) or inspect.isasyncgenfunction(call):
        return True
    if not (inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(call)):
        raise TypeError(
            f"{name_of(fn)} is not a coroutine function: declare it with async def. (Pipeline.run() takes any function "
            "that returns an awaitable.)"
        )
    return False


def signature_after(fn: Any, lent: int) -> inspect.Signature:
    """The signature without the first arguments, which pools supply."""
    signature = inspect.signature(fn)
    return signature.replace(parameters=list(signature.parameters.values())[lent:])
