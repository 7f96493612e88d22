"""How long to wait for an answer before one more is asked for: a quantile of how long the answers took lately.

The surprising part is what a branch that lost counts as: the time that it had taken when another one answered. It would
have taken longer still, so the observation is censored, and to leave it out would make the delay collapse: only the
fast ones would be seen, and each hedge would justify the next.

And the quantile is rounded up, by at most 10 %. Latencies that differ by less are not told apart, and where most lie so
close together a delay in their midst would hedge as many.
"""

from __future__ import annotations

from ..timing.latency import Latency, step_above

__all__ = ["Patience"]

_EVERY = 16  # samples between two looks at the quantile, which costs a hundred times a sample


class Patience:
    """For one operation. `seconds` is the present delay: `initial` until the quantile means something."""

    __slots__ = ("_initial", "_latency", "_least", "_quantile", "_until_look", "seconds")

    def __init__(self, quantile: float, initial: float, least: float) -> None:
        self._quantile = quantile
        self._initial = initial
        self._least = least
        self._latency = Latency()
        self._until_look = _EVERY
        self.seconds = initial

    def add(self, seconds: float, now: float) -> None:
        """The first branch of a call answered after `seconds`, or had not when another did."""
        self._latency.add(seconds, now)
        self._until_look -= 1
        if not self._until_look:
            self._until_look = _EVERY
            measured = self._latency.quantile(self._quantile, now)
            self.seconds = self._initial if measured is None else max(self._least, step_above(measured))
