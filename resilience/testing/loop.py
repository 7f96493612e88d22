"""An event loop whose clock jumps: an hour of retries takes a millisecond, and the same one every time.

Virtual time and real sockets do not mix: the clock would jump while bytes are in flight. Use it with in-memory targets.
"""

from __future__ import annotations

import asyncio
import functools
import math
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

__all__ = ["VirtualLoop", "virtual"]

P = ParamSpec("P")
T = TypeVar("T")


class _Jump(selectors.DefaultSelector):
    """A selector that, instead of sleeping until the next timer, moves the clock there."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("deadlock in virtual time: every task waits and no timer is armed")
            # At least one step: what is added may be smaller than the clock can show, and a timer that rings a step
            # early (as any loop's may, within its resolution) would be armed again for ever.
            self.at = max(self.at + timeout, math.nextafter(self.at, math.inf)) if timeout > 0 else self.at
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, beginning at 0.

    ``VirtualLoop().run(main())`` runs one coroutine and closes the loop; ``asyncio.Runner(loop_factory=VirtualLoop)``
    works as well. A program in which everything waits and no timer is armed raises `RuntimeError` at once.
    """

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jump.at

    def advance(self, seconds: float) -> None:
        """Move the clock without running anything: what a blocked or suspended process sees afterwards."""
        self._jump.at += seconds

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end in this loop, cancel what it left behind, and close the loop."""
        with asyncio.Runner(loop_factory=lambda: self) as runner:
            return runner.run(main)


def virtual(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make an async test an ordinary one that runs in virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return VirtualLoop().run(test(*args, **kwargs))

    return run
