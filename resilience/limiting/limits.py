"""The limits of one rate, by key, and what replies teach them: whom a pause concerns, and which limit a report is of.

The surprising part is the pause that is narrower than our key: the server throttles one operation, and the limit counts
all calls of an address. It becomes one more limit, of those calls alone, through which nothing passes until then.
"""

from __future__ import annotations

import math
from asyncio import get_running_loop
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, TypeAlias

from ..call import Call, LimitReport
from ..events import Emit
from ..keys import NAMED
from ..units import rate as parse_rate
from ..verdict import Kind, Verdict
from .limiter import Limiter
from .line import Line
from .waiting import divert, enter

__all__ = ["KEYS", "Key", "Limits", "Part", "admit", "learn", "taken"]

Key: TypeAlias = Literal["ip", "account", "host", "op"] | Callable[[Call], Hashable] | None

KEYS: dict[str | None, Callable[[Call], Hashable]] = {
    None: lambda call: "default",
    "ip": lambda call: "ip",  # one process has one address
    "account": NAMED["account"],
    "host": NAMED["host"],
    "op": NAMED["op"],
}
_PAUSE = 1.0  # seconds, where the server throttles and names no time
_MOST_LINES = 1000  # keys in memory before the idle ones are dropped
_REACH = {"op": 0, "account": 1, "ip": 2}  # which scope concerns more calls than which


class Limits:
    """The lines of one limit, by key, and the pauses that concern only some of a line's calls."""

    def __init__(self, text: str, key: Key, per_op: Mapping[str, str] | None = None) -> None:
        self._text = text
        self._key = key
        self._per_op = per_op or {}
        self._before: Sequence[tuple[float, float]] = ()  # sent under another key before: it may count for each of ours
        self.find = key if callable(key) else KEYS[key]
        self.reach = None if callable(key) or key == "host" else _REACH[key or "ip"]  # None: nobody can tell
        self.lines: dict[Hashable, Line] = {}
        self.paused: dict[tuple[str, str], Line] = {}  # by scope and name, narrower than a key of ours
        self._sweep_at = _MOST_LINES
        self._until = -math.inf  # a pause of all lines, those that are still to be made too
        self._seen = -math.inf  # a time that the clock has shown

    def line(self, key: Hashable) -> Line:
        """The line of a key; made on first use."""
        line = self.lines.get(key)
        if line is None:
            if len(self.lines) >= self._sweep_at:
                self._sweep()
            text = self._rate(key)
            line = self.lines[key] = Line(text, Limiter(*parse_rate(text)))
            line.limiter.pause(self._until)
            for sent, tokens in self._before:
                line.limiter.remember(sent, tokens)
        return line

    def _rate(self, key: Hashable) -> str:
        return self._per_op.get(key, self._text) if isinstance(key, str) else self._text

    def become(self, text: str, per_op: Mapping[str, str], now: float) -> None:
        """Keep another promise from now on, for what was sent before as well, and for those who wait."""
        self._text, self._per_op = text, per_op
        for key, line in self.lines.items():
            if line.name != self._rate(key):
                line.become(self._rate(key), now)

    def follow(self, other: Limits) -> None:
        """Begin where `other`, of the same calls but another key, stands: nothing is sent that it would be too much by.

        Whose account or host its calls were, nobody knows any more; so all that it has sent counts for every key here,
        and a pause of any of its lines pauses all of ours.
        """
        limiters = [line.limiter for line in other.lines.values()]
        self._before = [*other._before, *(send for limiter in limiters for send in limiter.sends())]
        self._until = max((other._until, *(limiter.paused_until for limiter in limiters)))
        self._seen = max((other._seen, *(limiter.last for limiter in limiters)))
        self.paused.update(other.paused)

    def _sweep(self) -> None:
        """Drop the keys of which nothing is left to remember: no promise is lost with them."""
        now = get_running_loop().time()
        for key in [key for key, line in self.lines.items() if not line.needed and line.limiter.idle(now)]:
            del self.lines[key]
        self._sweep_at = max(_MOST_LINES, 2 * len(self.lines))

    def link(self, now: float) -> None:
        """Serve the loop whose clock this is. What happened in an earlier one counts, unless the clock began anew."""
        if now >= max((self._seen, *(line.limiter.last for line in self.lines.values()))):
            return
        for line in self.lines.values():
            line.limiter.forget()
        self.paused.clear()
        self._before, self._until, self._seen = (), -math.inf, now

    def pauses(self, call: Call, now: float) -> list[Line]:
        """The narrower pauses that concern this call; those that are over are forgotten."""
        found = []
        for (scope, name), line in list(self.paused.items()):
            if not line.needed and line.limiter.paused_until <= now:
                del self.paused[scope, name]
            elif name == _name(call, scope):
                found.append(line)
        return found

    def throttled(self, call: Call, key: Hashable, verdict: Verdict, now: float) -> None:
        """Pause the calls that the verdict's scope concerns, as far as they pass here."""
        self._seen = now
        after = verdict.retry_after
        until = now + (after if after is not None and math.isfinite(after) else _PAUSE)
        reach = _REACH.get(verdict.scope, 0)
        if self.reach is None or reach == self.reach:
            self.line(key).pause(until)
        elif reach > self.reach:
            self._until = max(self._until, until)
            for line in self.lines.values():
                line.pause(until)
        else:
            scope = "account" if reach else "op"
            name = _name(call, scope)
            line = self.paused.get((scope, name)) or Line(f"{scope} {name!r}", Limiter(math.inf, 1.0))
            self.paused[scope, name] = line
            line.pause(until)
            for other in self.lines.values():
                other.limiter.close()
            divert(line, self.lines.values(), lambda other: _name(other, scope) == name)

    def distance(self, scope: str) -> int:
        """How badly a pause of this scope fits: well if exactly, then the next wider key, then the next narrower."""
        reach = _REACH.get(scope, 0)
        if self.reach is None:
            return 10
        return self.reach if self.reach >= reach else 20 - self.reach

    @property
    def narrow(self) -> bool:
        """Whether a quota below ours can be the quota of this very limit: that of an address covers all its calls."""
        return self._key not in ("ip", "account", "host")

    def status(self, most: int | None = None) -> dict[str, Any]:
        """By key: rate, tokens used and their limit, how many calls it holds up, seconds of pause by the server.

        Of `most` keys, if that is given: those that calls wait for, then the newest.
        """
        lines = {str(key) or "default": line for key, line in self._chosen(most)}
        lines |= {f"{scope}:{name}": line for (scope, name), line in self.paused.items()}
        try:
            now = get_running_loop().time()
        except RuntimeError:  # no loop runs: how it stood at the last send
            now = max((line.limiter.last for line in lines.values()), default=0.0)
        count, _ = parse_rate(self._text)
        rows = {name: {"rate": line.name, **line.status(now)} for name, line in lines.items()}
        for scope, name in self.paused:
            rows[f"{scope}:{name}"] |= {"rate": self._text, "limit": count}
        return rows

    def _chosen(self, most: int | None) -> Iterable[tuple[Hashable, Line]]:
        if most is None or len(self.lines) <= most:
            return self.lines.items()
        waited_for = {key: line for key, line in self.lines.items() if line.needed}
        return islice((waited_for | dict(islice(reversed(self.lines.items()), most))).items(), most)


Part: TypeAlias = tuple[Limits, Hashable]
"""One of the limits that a call needs, and the call's key there."""


def taken(parts: Sequence[Part], cost: float, now: float) -> bool:
    """Take of all these limits, if all have room and nobody waits for any of them; otherwise nothing happens."""
    limiters = []
    allotted = True
    for limits, key in parts:
        line = limits.lines.get(key) or limits.line(key)
        limiter = line.limiter
        limiters.append(limiter)
        if now >= limiter.until or not 0.0 <= cost <= limiter.left:
            allotted = False
            if limits.paused or line.needed or not limiter.fits(cost, now):
                return False
    for limiter in limiters:
        if allotted:
            limiter.left -= cost
        else:
            limiter.send(cost, now)
    return True


async def admit(parts: Sequence[Part], call: Call, max_wait: float | None, emit: Emit | None, now: float) -> None:
    """The long way in, for a call that may have to wait, `max_wait` seconds in all."""
    lines = [line for limits, _ in parts if limits.paused for line in limits.pauses(call, now)]
    lines += [limits.line(key) for limits, key in parts]
    await enter(tuple(lines), call, math.inf if max_wait is None else now + max_wait, emit)


def learn(parts: Sequence[Part], call: Call, verdict: Verdict | None, now: float) -> None:
    """What an attempt teaches: a pause, if it was throttled, and what the server reports in a reply of any outcome."""
    if verdict is not None and verdict.kind is Kind.THROTTLED:
        scope = verdict.scope
        limits, key = min(parts, key=lambda part: part[0].distance(scope))
        limits.throttled(call, key, verdict, now)
    report = None if call.made is None else call.made.limits
    if report is not None:
        line = _concerned(parts, report)
        if line is not None and line.limiter.report(report.remaining, report.reset_in, now):
            line.changed()


def _concerned(parts: Sequence[Part], report: LimitReport) -> Line | None:
    """The line that a report is of: the largest that is no larger than the server's, the narrowest of equals.

    A quota below all of ours is that of something narrower, such as one endpoint. It says nothing about an address, an
    account or a host.
    """
    lines = [(limits.line(key), limits) for limits, key in parts]
    fitting = [pair for pair in lines if pair[0].limiter.count <= report.limit]
    if fitting:
        return max(fitting, key=lambda pair: (pair[0].limiter.count, -(pair[1].reach or 0)))[0]
    narrow = [line for line, limits in lines if limits.narrow and report.limit > 0]
    return min(narrow, key=lambda line: line.limiter.count, default=None)


def _name(call: Call, scope: str) -> str:
    return call.op.name if scope == "op" else call.keys.get("account", "")
