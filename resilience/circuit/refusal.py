"""The refusal of a circuit, made to be cheap: fields now, words when somebody reads them."""

from __future__ import annotations

from datetime import datetime
from time import time as wall_clock
from typing import Any

from aiobreaker.state import CircuitBreakerError

from ..errors import Refused

__all__ = ["CircuitOpen"]

_WORDS = {
    "open": "is open",
    "half-open": "is half-open, its probes are out",
    "ramping": "has just closed, and admits only a share of the calls for now",
    "forced_open": "is forced open by its mode",
}


class CircuitOpen(Refused, CircuitBreakerError):
    """The circuit of `key` admits no call, or not this one: nothing was sent.

    `state` says why: ``"open"``; ``"half-open"`` with all its probes under way; ``"ramping"``, when it has closed and
    admits a growing share of the calls; ``"forced_open"`` by the breaker's mode. `retry_after`: seconds until a probe,
    or every call, is admitted; None while probes are under way or it is forced, whose end nobody knows. Being an
    aiobreaker error, it has `message`, `reopen_time` (local wall time with no zone, as there) and `time_remaining`.
    """

    __slots__ = ("_made", "key", "retry_after", "state")  # a third of the price of fields in an exception's dict

    policy = "breaker"
    reason = "circuit_open"

    def __init__(self, key: str = "default", retry_after: float | None = None, state: str = "open") -> None:
        # No super().__init__(): all fields are here, and the words are made when somebody reads them.
        self.key = key
        self.retry_after = retry_after
        self.state = state
        self._made = wall_clock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.retry_after, self.state), self.__dict__

    @property
    def what(self) -> str:  # type: ignore[override]  # a field of other refusals; here a sentence made on demand
        return f"the circuit {self.key!r} {_WORDS.get(self.state, self.state)}"

    @property
    def message(self) -> str:  # type: ignore[override]  # aiobreaker sets a field
        return self.what

    @property
    def reopen_time(self) -> datetime:  # type: ignore[override]
        return datetime.fromtimestamp(self._made + (self.retry_after or 0.0))  # noqa: DTZ006 (aiobreaker has no zones)
