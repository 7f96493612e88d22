"""What was sent before: by the second, for a minute, in bounded memory. For a limit whose window becomes longer."""

from __future__ import annotations

import math
from collections import deque

__all__ = ["Past"]

_GRAIN = 1.0  # seconds
_MEMORY = 60  # grains


class Past:
    """Sends in order of time. `known`: since when they are all remembered."""

    __slots__ = ("_sends", "known")

    def __init__(self) -> None:
        self._sends: deque[list[float]] = deque()  # [when the last of them were sent, how many]
        self.known = -math.inf

    def add(self, sent: float, tokens: float) -> None:
        """Remember `tokens` as sent then, no sooner than those that came before."""
        sends = self._sends
        if sends and sent // _GRAIN <= sends[-1][0] // _GRAIN:
            sends[-1][0] = max(sends[-1][0], sent)
            sends[-1][1] += tokens
            return
        sends.append([sent, tokens])
        if len(sends) > _MEMORY:
            self.known = sends.popleft()[0]

    def since(self, at: float) -> list[tuple[float, float]]:
        """What was sent after this time: when at the latest, and how much."""
        return [(sent, tokens) for sent, tokens in self._sends if sent > at]

    def take(self, at: float) -> list[tuple[float, float]]:
        """The same, to be remembered by whoever asks."""
        found = self.since(at)
        for _ in found:
            self._sends.pop()
        return found
