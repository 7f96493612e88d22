"""How long a circuit stays open: longer each time its probes fail, and never in step with other clients."""

from __future__ import annotations

import random

from ..retrying.schedule import Next, schedule

__all__ = ["OpenTimes"]

_SPREAD = 0.2


class OpenTimes:
    """Draws open times, in seconds: a base and up to a fifth more, so that clients do not come back together.

    The base is `first`, doubles (backoff's `expo`) each time a half-open circuit fails, up to `most`, and is `first`
    again once the circuit has stayed closed for as long as it had been open. A circuit that trips sooner than that has
    not recovered: its base stays.
    """

    __slots__ = ("_base", "_grow", "_last", "_rng", "first", "most")

    def __init__(self, first: float, most: float, rng: random.Random) -> None:
        self.first = first
        self.most = max(first, most)
        self._rng = rng
        self._grow: Next | None = None  # made when it first opens: most circuits never do
        self._base: float
        self._last: float

    def become(self, first: float, most: float) -> None:
        """Draw from other times on, beginning with the first of them."""
        most = max(first, most)
        if (first, most) != (self.first, self.most):
            self.first, self.most, self._grow = first, most, None

    def draw(self, again: bool, well_for: float, floor: float) -> float:
        """The next open time. `again`: a half-open circuit has failed; else a closed one, `well_for` so many seconds.

        `floor` is what the server asked for, heeded up to `most`.
        """
        if self._grow is None or (not again and well_for >= self._last):
            self._grow = schedule({"expo": {"factor": self.first, "max_value": self.most}}, None, self.most, self._rng)
            again = True  # backoff's first value is `first`
        if again:
            self._base = self._grow(None) or self.most
        self._last = max(self._base, min(floor, self.most)) * (1 + _SPREAD * self._rng.random())
        return self._last
