"""The pauses of a retry, before anything is called: the shortest, the mean and the longest of each.

Growth is asked of the very schedule that a retry follows, so that the two cannot drift apart; what each jitter makes of
it stands in a table. A wait that is code (a function, an own generator) is not run: it lies somewhere from 0 to
`max_wait`, which caps every pause.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..retrying.schedule import Jitter, Wait, schedule

if TYPE_CHECKING:
    from ..policies.retry import Retry

__all__ = ["Pause", "Pauses", "pauses_of"]

_MOST = 1000  # pauses that are looked at one by one; growth has long met its cap by then


class Pause(NamedTuple):
    """One pause in seconds, before the next attempt."""

    least: float
    mean: float
    most: float


class Pauses:
    """The pauses of one call, in order. `count` is how many there can be; fewer than attempts - 1 if they run out."""

    def __init__(self, normal: Sequence[Pause], throttled: Sequence[Pause] | None, count: int) -> None:
        self.count = count
        self.first = normal[0] if normal else Pause(0.0, 0.0, 0.0)
        self._normal, self._throttled = normal, throttled
        self._least = self._sums(min, "least")
        self._most = self._sums(max, "most")

    def __getitem__(self, index: int) -> Pause:
        """Pause number `index`, from 0, if nothing was throttled."""
        return self._normal[min(index, len(self._normal) - 1)]

    def earliest(self, number: int) -> float:
        """The shortest sum of the first `number` pauses."""
        return self._sum(self._least, number)

    def latest(self, number: int) -> float:
        """The longest sum of the first `number` pauses."""
        return self._sum(self._most, number)

    def _sums(self, pick: Callable[[Sequence[float]], float], what: str) -> list[float]:
        """Sums of the first n pauses; each of the two schedules goes on from where it was left."""
        normal = [0.0, *itertools.accumulate(getattr(pause, what) for pause in self._normal)]
        if self._throttled is None:
            return normal
        other = [0.0, *itertools.accumulate(getattr(pause, what) for pause in self._throttled)]
        whole = min(len(normal), len(other))
        return [pick([normal[i] + other[n - i] for i in range(n + 1)]) for n in range(whole)]

    def _sum(self, sums: Sequence[float], number: int) -> float:
        if number < len(sums):
            return sums[number]
        return sums[-1] + (number - len(sums) + 1) * (sums[-1] - sums[-2] if len(sums) > 1 else 0.0)


def pauses_of(policy: Retry) -> Pauses:
    """What a retry waits between its attempts, by its own schedule; what a server orders is not in it."""
    wanted = policy.attempts - 1
    normal = _sampled(policy.wait, policy.jitter, policy.max_wait, min(wanted, _MOST))
    throttled = None
    if policy.throttled_wait is not None:
        throttled = _sampled(policy.throttled_wait, policy.jitter, policy.max_wait, min(wanted, _MOST))
    found = max(len(normal), len(throttled or ()))
    return Pauses(normal, throttled, wanted if found == _MOST else min(wanted, found))


def _sampled(wait: Wait, jitter: Jitter, cap: float, count: int) -> list[Pause]:
    if callable(jitter) or not _is_plain(wait):
        return [Pause(0.0, cap / 2, cap)] * count
    if isinstance(wait, Mapping):
        ((name, fields),) = wait.items()
        items = tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in fields.items())
        return _plain(name, items, jitter, cap, count)
    return _plain("", (("", wait),), jitter, cap, count)


@functools.lru_cache(256)
def _plain(name: str, fields: tuple[tuple[str, Any], ...], jitter: str | None, cap: float, count: int) -> list[Pause]:
    """Of a wait that is data, taken to pieces so that equal ones are worked out once. Nobody changes the list."""
    wait = {name: dict(fields)} if name else fields[0][1]
    grown: list[float] = []

    def keep(value: float) -> float:
        grown.append(value)
        return value

    following = schedule(wait, keep, cap, random.Random(0))  # noqa: S311 (nothing is drawn from it)
    for _ in range(count):
        if following(None) is None:
            break
    return _JITTERS[jitter or "none"](grown, cap)


def _is_plain(wait: Any) -> bool:
    """Whether the wait is data, so that asking for its values runs nobody's code."""
    return isinstance(wait, (int, float)) or (hasattr(wait, "items") and "runtime" not in wait)


def _each(spread: Callable[[float], Pause]) -> Callable[[Sequence[float], float], list[Pause]]:
    def of(grown: Sequence[float], cap: float) -> list[Pause]:
        return [Pause(*(min(max(0.0, value), cap) for value in spread(one))) for one in grown]

    return of


def _decorrelated(grown: Sequence[float], cap: float) -> list[Pause]:
    """From the first wait to three times the last one; as in `resilience.retrying.schedule`."""
    pauses: list[Pause] = []
    base = most = min(grown[0], cap) if grown else 0.0
    for _ in grown:
        most = min(cap, most * 3)
        pauses.append(Pause(base, (base + most) / 2, most))
    return pauses


_JITTERS: dict[str, Callable[[Sequence[float], float], list[Pause]]] = {
    "none": _each(lambda value: Pause(value, value, value)),
    "full": _each(lambda value: Pause(0.0, value / 2, value)),
    "equal": _each(lambda value: Pause(value / 2, value * 0.75, value)),
    "additive": _each(lambda value: Pause(value, value + 0.5, value + 1.0)),
    "decorrelated": _decorrelated,
}
