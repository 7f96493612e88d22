"""What a simulated target must be able to do: say which calls arrive, and answer an attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..call import Op
from .dice import Dice

__all__ = ["Answer", "Arrival", "Target", "Trouble", "World"]


class Arrival(NamedTuple):
    """A call to come: when (seconds), of which operation, and what it asks about (for caches)."""

    at: float
    op: Op
    key: int


class Answer(NamedTuple):
    """What becomes of an attempt: after `seconds` the value, or `error` if there is one.

    `sent`: does the request leave? `stale`: a reused connection turned out to be dead.
    """

    seconds: float
    error: Exception | None = None
    sent: bool = True
    stale: bool = False


class Trouble(NamedTuple):
    """A time in which something is wrong with the target, in seconds from the beginning."""

    begins: float
    ends: float


class Target(Protocol):
    """The other side in one run: it remembers its queue and who asked how often."""

    def answer(self, op: Op, now: float, call: int, attempt: int, fresh: bool) -> Answer:
        """What becomes of attempt number `attempt` of call number `call`, which goes out now."""


class World(Protocol):
    """Where candidates are tried."""

    @property
    def troubles(self) -> Sequence[Trouble]:
        """The outages after which recovery is measured."""

    @property
    def seconds(self) -> float:
        """For how long calls arrive."""

    @property
    def source(self) -> str:
        """In words, where it comes from."""

    def arrivals(self, dice: Dice) -> Sequence[Arrival]:
        """The calls of one run, in the order of their times."""

    def target(self, dice: Dice) -> Target:
        """The other side of one run."""
