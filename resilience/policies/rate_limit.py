"""RateLimit: never more than n calls in any window W, as the server sees it, of one limit or of several at once.

`limiting.limiter` does the arithmetic, `limiting.turns` the order, `limiting.waiting` the waiting. A call for
which there is room costs a comparison and a subtraction, and nothing is created for it.

The surprising part is that the limiter listens: a THROTTLED pauses it, for the calls that the verdict's scope concerns,
and a server's report (`attempt.limits`) takes away what others have spent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..call import Call, Handler
from ..errors import ConfigError
from ..events import Emit
from ..kit import Kit
from ..limiting.limits import KEYS, Key, Limits, Part, admit, learn, taken
from ..policy import Policy
from ..units import Rate, Seconds, check
from ..units import rate as parse_rate
from ..verdict import Verdict

__all__ = ["Limit", "RateLimit"]

_Judge = Callable[[Exception, Call], "Verdict | None"]


@dataclass(frozen=True, slots=True)
class Limit:
    """One more limit that the calls of a `RateLimit` have to keep to; its fields mean what they mean there."""

    rate: Rate
    key: Key = None
    per_op: Mapping[str, Rate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("Limit", self)

    @property
    def text(self) -> str:
        return self.rate.replace(" ", "")

    def limits(self, kit: Kit) -> Limits:
        """What is kept of it: by all pipelines of the scope together, or by this policy alone."""
        text, key, per_op = self.text, self.key, {name: rate.replace(" ", "") for name, rate in self.per_op.items()}
        shared = f"{kit.scope}/{key}/{text}" if key in ("ip", "account") else ""
        limits = kit.keep("rate_limit", self, lambda: Limits(text, key, per_op), shared=shared)
        limits.link(kit.now())
        return limits

    def inherit(self, before: Limit, state: Limits, now: float, alone: bool) -> Limits:
        """Keep the new promise for what was sent under the old one: see `Policy.inherit`."""
        per_op = {name: rate.replace(" ", "") for name, rate in self.per_op.items()}
        if self.key == before.key and (alone or self.text == before.text):
            state.become(self.text, per_op, now)
            return state
        limits = Limits(self.text, self.key, per_op)
        limits.follow(state)
        return limits


@dataclass(frozen=True, slots=True)
class RateLimit(Policy):
    """At most `rate` (``"600/5s"``), each call weighing `op.cost` tokens, in any window as the server sees it.

    True for requests that arrive up to 3 % of the window late. At least 90 % of the rate is used where demand allows.
    `key`: whom the rate counts for, all calls together (None or ``"ip"``), each ``"account"``, ``"host"`` or ``"op"``,
    or what a function of the `Call` returns. ``"ip"`` and ``"account"`` limits of one rate are shared by the pipelines
    of one scope. `per_op`: other rates for some operations, where the key is ``"op"``. `also`: more limits; a call
    takes of all at one moment or of none, and holds nothing while it waits.

    A call for which there is no room waits its turn. Whoever came later takes nothing of a limit that holds it up, and
    passes by if it does not need that limit. `RateLimited` is raised at once if the turn is certain to come after
    `max_wait` seconds or the call's deadline, and at the latest then. `ConfigError` for a call that costs more than n.

    A THROTTLED from beneath pauses until its `retry_after` (1 s if the server named none): the calls of its scope, or
    those of the same key where the key is a host or a function. A pause ends at the pace, with no burst saved up.
    """

    keeps: ClassVar[str] = "what was sent in the last window, pauses by the server, and calls that wait"
    anew: ClassVar[Mapping[str, str]] = {}
    partly: ClassVar[Mapping[str, str]] = {
        "key": "all that was sent in the last window counts for each of the new keys; calls that wait go on by the old",
        "also": "a limit that is gone is forgotten, and calls that wait for it go on by it",
    }

    rate: Rate
    key: Key = None
    max_wait: Seconds | None = None
    per_op: Mapping[str, Rate] = field(default_factory=dict)
    also: Sequence[Limit] = ()

    def __post_init__(self) -> None:
        _check("RateLimit", self)
        if self.max_wait is not None:
            check("RateLimit", "max_wait", self.max_wait, least=0)
        if not isinstance(self.also, (tuple, list)) or not all(isinstance(limit, Limit) for limit in self.also):
            raise ConfigError(
                f"RateLimit: also is {self.also!r}, must be limits, for example (Limit('10/s', key='op'),)"
            )
        object.__setattr__(self, "also", tuple(self.also))
        seen = [(limit.text, limit.key) for limit in self._all()]
        twice = next((pair for pair in seen if seen.count(pair) > 1), None)
        if twice is not None:
            raise ConfigError(f"RateLimit: {twice[0]} with the key {twice[1]!r} is there twice; a call would pay twice")

    def _all(self) -> tuple[Limit, ...]:
        return (Limit(self.rate, self.key, self.per_op), *self.also)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        max_wait, emit, judge, now = self.max_wait, kit.emit, kit.judge, kit.now
        several = tuple(limit.limits(kit) for limit in self._all())
        if len(several) > 1:
            return _linked(next, several, max_wait, emit, judge, now)
        if self.key in (None, "ip"):
            return _for_all(next, several[0], str(self.key or "default"), max_wait, emit, judge, now)
        return _by_key(next, several[0], max_wait, emit, judge, now)


def _check(owner: str, limit: Limit | RateLimit) -> None:
    if not isinstance(limit.per_op, Mapping):
        raise ConfigError(f"{owner}: per_op is {limit.per_op!r}, must map operation names to rates")
    if limit.per_op and limit.key != "op":
        raise ConfigError(f"{owner}: per_op gives operations rates of their own, so key must be op, not {limit.key!r}")
    named = {f"per_op[{name!r}]": rate for name, rate in limit.per_op.items()}
    for name, rate in {"rate": limit.rate, **named}.items():
        if not isinstance(rate, str):
            raise ConfigError(f"{owner}: {name} is {rate!r}, must be calls/window, for example 600/5s")
        count, _ = parse_rate(rate)
        if count < 1:
            raise ConfigError(f"{owner}: {name} {rate} has no room for one whole call; write 1/2s for 0.5/s")
    if not callable(limit.key) and limit.key not in tuple(KEYS):  # a tuple, because a list cannot be looked up
        raise ConfigError(f"{owner}: key is {limit.key!r}, must be ip, account, host, op, or a function of the call")


def _for_all(
    next: Handler, limits: Limits, name: str, max_wait: float | None, emit: Emit | None, judge: _Judge,
    now: Callable[[], float],
) -> Handler:  # fmt: skip
    """The handler where one line serves every call."""
    line = limits.line(name)
    paused, limiter, take = limits.paused, line.limiter, line.take
    parts: list[Part] = [(limits, name)]

    async def run(call: Call) -> Any:
        cost, at = call.op.cost, now()
        if at < limiter.until and 0.0 <= cost <= limiter.left:
            limiter.left -= cost
        elif paused or not take(cost, at):
            await admit(parts, call, max_wait, emit, at)
        try:
            result = await next(call)
        except Exception as exc:
            learn(parts, call, judge(exc, call), now())
            raise
        made = call.made
        if made is not None and made.limits is not None:
            learn(parts, call, None, now())
        return result

    return run


def _by_key(
    next: Handler, limits: Limits, max_wait: float | None, emit: Emit | None, judge: _Judge, now: Callable[[], float]
) -> Handler:
    """The handler where each key has a line of its own."""
    paused, lines, find = limits.paused, limits.lines, limits.find

    async def run(call: Call) -> Any:
        key = find(call)
        line = lines.get(key) or limits.line(key)
        limiter, cost, at = line.limiter, call.op.cost, now()
        if at < limiter.until and 0.0 <= cost <= limiter.left:
            limiter.left -= cost
        elif paused or not line.take(cost, at):
            await admit(((limits, key),), call, max_wait, emit, at)
        try:
            result = await next(call)
        except Exception as exc:
            learn(((limits, key),), call, judge(exc, call), now())
            raise
        made = call.made
        if made is not None and made.limits is not None:
            learn(((limits, key),), call, None, now())
        return result

    return run


def _linked(
    next: Handler, several: tuple[Limits, ...], max_wait: float | None, emit: Emit | None, judge: _Judge,
    now: Callable[[], float],
) -> Handler:  # fmt: skip
    """The handler where a call takes of several lines at once."""

    async def run(call: Call) -> Any:
        parts = [(limits, limits.find(call)) for limits in several]
        at = now()
        if not taken(parts, call.op.cost, at):
            await admit(parts, call, max_wait, emit, at)
        try:
            result = await next(call)
        except Exception as exc:
            learn(parts, call, judge(exc, call), now())
            raise
        made = call.made
        if made is not None and made.limits is not None:
            learn(parts, call, None, now())
        return result

    return run
