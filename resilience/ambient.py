"""The ambient deadline: what `within` sets, and every pipeline reads when a call begins.

It stands alone because it belongs to whoever asked: a policy that runs work for several callers in a task of its own
has to take it out of the context that it copies.
"""

from __future__ import annotations

from asyncio import get_running_loop
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["deadline", "within"]

deadline: ContextVar[float | None] = ContextVar("resilience_deadline", default=None)
"""Absolute, on the event loop's clock, in seconds; None for none."""


@contextmanager
def within(seconds: float | None = None, *, at: float | None = None) -> Iterator[float]:
    """An ambient deadline for every guarded call made inside; yields it (absolute, on the event loop's clock).

    `seconds` from now, or `at` that time of the loop's clock: what another `within` yielded, say, for a task that
    belongs to the same piece of work. Nested uses can only shorten it. Calls that are late raise `TimedOut`. Needs a
    running event loop. Raises `TypeError` unless it is given one of the two.
    """
    if seconds is not None and at is None:
        until = get_running_loop().time() + seconds
    elif at is not None and seconds is None:
        until = at
    else:
        raise TypeError("within() takes a number of seconds, or at=, a time of the event loop's clock")
    outer = deadline.get()
    if outer is not None and outer < until:
        until = outer
    token = deadline.set(until)
    try:
        yield until
    finally:
        deadline.reset(token)
