"""Not too much at once: after a burst, things have their turn one after another, with time for the application between.

A bound on how many requests run at once does not help calls: two hundred short ones that come together still take the
event loop for a tenth of a second. Spread over half a second, each costs a call less than a millisecond.
"""

from __future__ import annotations

import asyncio

__all__ = ["Pace"]


class Pace:
    """`burst` turns at once, then one every `gap` seconds (the generic cell rate algorithm, ITU-T I.371)."""

    def __init__(self, burst: int, gap: float) -> None:
        self.burst, self.gap = burst, gap
        self._due = 0.0  # when all turns so far would have been had, one every `gap`

    def wait(self, now: float) -> float:
        """Take the next turn; how many seconds it is away."""
        due = max(self._due, now)
        self._due = due + self.gap
        return max(0.0, due - (self.burst - 1) * self.gap - now)

    async def turn(self) -> None:
        """Wait for the next turn."""
        seconds = self.wait(asyncio.get_running_loop().time())
        if seconds:
            await asyncio.sleep(seconds)
