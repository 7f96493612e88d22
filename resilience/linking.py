"""To which event loop a pipeline is linked, and how to know at each call that this one still runs.

`get_running_loop` asks the kernel for the process id on CPython 3.11; a loop of asyncio's own is known by its thread at
a quarter of the price. A fork needs care: in the child the parent's loop still looks as if it ran.
"""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop, BaseEventLoop, get_running_loop
from threading import get_ident
from typing import Any
from weakref import WeakSet

__all__ = ["TO_NONE", "Linked", "linked", "linked_to"]


class Linked:
    """Tells, as asyncio's own loops do by this very name, in which thread the loop runs that a pipeline is linked to.

    Comparing that with the present thread costs a quarter of `get_running_loop`, which asks the kernel for the process.
    """

    __slots__ = ("_loop",)

    def __init__(self, loop: AbstractEventLoop | None) -> None:
        self._loop = loop

    @property
    def _thread_id(self) -> int | None:
        return get_ident() if self._loop is not None and get_running_loop() is self._loop else None


TO_NONE = Linked(None)
linked: WeakSet[Any] = WeakSet()
"""The pipelines that are linked to a loop."""


def linked_to(loop: AbstractEventLoop) -> Any:
    return loop if isinstance(loop, BaseEventLoop) and hasattr(loop, "_thread_id") else Linked(loop)


def _forked() -> None:
    """In the child of a fork the parent's loop still looks as if it ran."""
    for pipeline in linked:
        pipeline._linked = TO_NONE


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
