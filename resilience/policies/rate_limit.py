"""RateLimit: never more than n calls in any window W, as the server sees it.

Reserve, then wait: `resilience.limiter` does the arithmetic and gives a time, `resilience.line` does the waiting. A
call for which there is room costs a few comparisons, and nothing is created for it.

The surprising part is that the limiter listens: a THROTTLED pauses it, for the calls that the verdict's scope concerns,
and a server's report (`attempt.limits`) takes away what others have spent.
"""

from __future__ import annotations

import math
from asyncio import get_running_loop
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, cast

from ..call import Call, Handler
from ..errors import ConfigError
from ..events import Emit
from ..kit import Kit
from ..limiter import Limiter
from ..line import Line
from ..policy import Policy
from ..units import Seconds, check
from ..units import rate as parse_rate
from ..verdict import Kind, Verdict

__all__ = ["RateLimit"]

_PAUSE = 1.0  # seconds, where the server throttles and names no time
_MOST_LINES = 1000  # keys in memory before the idle ones are dropped
_SINGLE = {None: "default", "ip": "ip"}  # one process has one address
_KEYS: dict[str, Callable[[Call], Hashable]] = {
    "account": lambda call: call.keys.get("account", ""),
    "host": lambda call: call.keys.get("host", ""),
    "op": lambda call: call.op.name,
}
_Judge = Callable[[Exception, Call], "Verdict | None"]
_REACH = {"op": 0, "account": 1, "ip": 2}  # which scope concerns more calls than which


class Limits:
    """The lines of one limit, by key, and the pauses that concern only some of a line's calls."""

    def __init__(self, text: str, key: str | Callable[[Call], Hashable] | None) -> None:
        self._text = text
        self._key = key
        self._rate = parse_rate(text)
        self.lines: dict[Hashable, Line] = {}
        self._sweep_at = _MOST_LINES
        self._until = -math.inf  # a pause of all lines, those that are still to be made too
        self.paused: dict[tuple[str, str], Line] = {}  # by scope and name, narrower than a key of ours

    def line(self, key: Hashable) -> Line:
        """The line of a key; made on first use."""
        line = self.lines.get(key)
        if line is None:
            if len(self.lines) >= self._sweep_at:
                self._sweep()
            line = self.lines[key] = Line(self._text, Limiter(*self._rate))
            line.limiter.pause(self._until)
        return line

    def _sweep(self) -> None:
        """Drop the keys of which nothing is left to remember: no promise is lost with them."""
        now = _clock()
        for key in [key for key, line in self.lines.items() if not line.waiters and line.limiter.idle(now)]:
            del self.lines[key]
        self._sweep_at = max(_MOST_LINES, 2 * len(self.lines))

    async def admit(self, call: Call, key: Hashable, max_wait: float | None, emit: Emit | None) -> None:
        """The long way in, for a call that may have to wait, `max_wait` seconds in all."""
        now = _clock()
        most = math.inf if max_wait is None else now + max_wait
        for (scope, name), line in list(self.paused.items()):
            if not line.waiters and line.limiter.paused_until <= now:
                self.paused.pop((scope, name), None)  # another call may have been here while this one waited
            elif name == _name(call, scope):
                await line.enter(call, most, emit)
        await self.line(key).enter(call, most, emit)

    def failed(self, call: Call, key: Hashable, verdict: Verdict | None) -> None:
        """Learn from an attempt that raised; `verdict` is None for a refusal of ours."""
        if verdict is not None and verdict.kind is Kind.THROTTLED:
            self._throttled(call, key, verdict)
        self.reported(call, key)

    def _throttled(self, call: Call, key: Hashable, verdict: Verdict) -> None:
        """Pause the calls that the verdict's scope concerns, as far as they pass here."""
        until = _clock() + (_PAUSE if verdict.retry_after is None else verdict.retry_after)
        reach = _REACH.get(verdict.scope, 0)
        own = reach if callable(self._key) or self._key == "host" else _REACH[self._key or "ip"]
        if reach == own:
            self.line(key).pause(until)
        elif reach > own:
            self._until = max(self._until, until)
            for line in self.lines.values():
                line.pause(until)
        else:
            scope = "account" if reach else "op"
            name = _name(call, scope)
            line = self.paused.get((scope, name)) or Line(f"{scope} {name!r}", Limiter(math.inf, 1.0))
            self.paused[scope, name] = line
            line.pause(until)

    def reported(self, call: Call, key: Hashable) -> None:
        """Believe the server where it says that less is left than we think."""
        report = call.attempt.limits
        if report is None or (self._key in ("ip", "account", "host") and report.limit < self._rate[0]):
            return  # a quota below ours is that of something narrower, such as one endpoint
        line = self.line(key)
        if line.limiter.report(report.remaining, report.reset_in, _clock()):
            line.changed()

    def status(self) -> dict[str, Any]:
        """By key: rate, tokens used and their limit, how many calls wait, seconds for which the server paused us."""
        lines = {str(key) or "default": line for key, line in self.lines.items()}
        lines |= {f"{scope}:{name}": line for (scope, name), line in self.paused.items()}
        try:
            now = _clock()
        except RuntimeError:  # no loop runs: how it stood at the last send
            now = max((line.limiter.last for line in lines.values()), default=0.0)
        count = self._rate[0]
        return {name: {"rate": self._text, **line.status(now), "limit": count} for name, line in lines.items()}


def _clock() -> float:
    return get_running_loop().time()


def _name(call: Call, scope: str) -> str:
    return call.op.name if scope == "op" else call.keys.get("account", "")


@dataclass(frozen=True, slots=True)
class RateLimit(Policy):
    """At most `rate` (``"600/5s"``), each call weighing `op.cost` tokens, in any window as the server sees it.

    True for requests that arrive up to 3 % of the window late. At least 90 % of the rate is used where demand allows.
    `key`: whom the rate counts for, all calls together (None or ``"ip"``), each ``"account"``, ``"host"`` or ``"op"``,
    or what a function of the `Call` returns. ``"ip"`` and ``"account"`` limits of one rate are shared by the pipelines
    of one scope.

    A call for which there is no room waits its turn; `RateLimited` is raised at once if the turn would come after
    `max_wait` seconds or the call's deadline, and later if a pause by the server moves it there. `ConfigError` for a
    call that costs more than n.

    A THROTTLED from beneath pauses until its `retry_after` (1 s if the server named none): the calls of its scope, or
    those of the same key where the key is a host or a function. A pause ends at the pace, with no burst saved up.
    """

    rate: str
    key: str | Callable[[Call], Hashable] | None = None
    max_wait: Seconds | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.rate, str):
            raise ConfigError(f"RateLimit: rate is {self.rate!r}, must be calls/window, for example 600/5s")
        count, _ = parse_rate(self.rate)
        if count < 1:
            raise ConfigError(f"RateLimit: {self.rate} has no room for one whole call; write 1/2s for 0.5/s")
        if not callable(self.key) and self.key not in (*_SINGLE, *_KEYS):
            raise ConfigError(
                f"RateLimit: key is {self.key!r}, must be ip, account, host, op, or a function of the call"
            )
        if self.max_wait is not None:
            check("RateLimit", "max_wait", self.max_wait, least=0)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        key, max_wait, emit, judge = self.key, self.max_wait, kit.emit, kit.judge
        text = self.rate.replace(" ", "")
        shared = f"{kit.scope}/{key}/{text}" if key in ("ip", "account") else ""
        limits = kit.keep("rate_limit", self, lambda: Limits(text, key), shared=shared)
        find = key if callable(key) else _KEYS.get(cast("str", key))
        if find is not None:
            return _by_key(next, limits, find, max_wait, emit, judge)
        return _for_all(next, limits, _SINGLE[cast("str | None", key)], max_wait, emit, judge)


def _for_all(
    next: Handler, limits: Limits, name: str, max_wait: float | None, emit: Emit | None, judge: _Judge
) -> Handler:
    """The handler where one line serves every call."""
    line = limits.line(name)
    paused, waiters, take = limits.paused, line.waiters, line.limiter.take

    async def run(call: Call) -> Any:
        if paused or waiters or not take(call.op.cost, get_running_loop().time()):
            await limits.admit(call, name, max_wait, emit)
        try:
            result = await next(call)
        except Exception as exc:
            limits.failed(call, name, judge(exc, call))
            raise
        if call.made is not None and call.made.limits is not None:
            limits.reported(call, name)
        return result

    return run


def _by_key(
    next: Handler,
    limits: Limits,
    find: Callable[[Call], Hashable],
    max_wait: float | None,
    emit: Emit | None,
    judge: _Judge,
) -> Handler:
    """The handler where each key has a line of its own."""
    paused, lines = limits.paused, limits.lines

    async def run(call: Call) -> Any:
        name = find(call)
        line = lines.get(name) or limits.line(name)
        if paused or line.waiters or not line.limiter.take(call.op.cost, get_running_loop().time()):
            await limits.admit(call, name, max_wait, emit)
        try:
            result = await next(call)
        except Exception as exc:
            limits.failed(call, name, judge(exc, call))
            raise
        if call.made is not None and call.made.limits is not None:
            limits.reported(call, name)
        return result

    return run
