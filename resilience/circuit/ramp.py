"""A closed circuit that comes back slowly: a share of the calls, growing to all. No dice: every k-th, k shrinking."""

from __future__ import annotations

__all__ = ["Ramp"]

_LEAST = 0.1
_WHOLE = 1 - 1e-9  # ten times a tenth, as floats add up


class Ramp:
    """Admits a tenth of the calls at `begins`, all of them after `seconds`, and in between a share that grows evenly.

    Each call adds the share of the moment to what is owed; who finds a whole call owed is admitted. So of any run of
    calls as many are admitted as their shares add up to, to within one; the first is.
    """

    __slots__ = ("_begins", "_owed", "_seconds", "ends")

    def __init__(self, begins: float, seconds: float) -> None:
        self._begins = begins
        self._seconds = seconds
        self._owed = 1.0
        self.ends = begins + seconds

    def share(self, at: float) -> float:
        """The share of the calls that is admitted at `at`, from 0.1 to 1."""
        return min(1.0, _LEAST + (1 - _LEAST) * max(0.0, at - self._begins) / self._seconds)

    def admits(self, at: float) -> bool:
        """Whether this call, at `at`, is one of those that are admitted. Asked once a call."""
        self._owed += self.share(at)
        if self._owed < _WHOLE:
            return False
        self._owed -= 1.0
        return True
