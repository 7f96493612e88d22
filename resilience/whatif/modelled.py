"""The world of a stated model: arrivals, a server with a queue and a limit, faults and outages.

The server is a queue in the order of arrival whose capacity changes at known times, so when a request will be done is
known when it comes: no timer, no task. It does not learn that a caller has given up, and works for those too, which is
what makes a collapse outlast its cause.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence

from ..call import Op
from ..units import rate
from .dice import Dice
from .faults import FAULTS, HANG, error_of
from .latency import drawn
from .model import Model, Server
from .world import Answer, Arrival, Target, Trouble

__all__ = ["Modelled"]

_AT_ONCE = 0.001  # seconds: a refused connection
_ARRIVES, _ASKS = 1, 2  # questions to the dice about a call
_FAULT, _LATENCY, _OUTAGE = 3, 4, 5  # and about an attempt


class Modelled:
    """Candidates are tried on what a model says.

    `writes` names operations that may not happen twice, where the model leaves that open.
    """

    def __init__(
        self, model: Model, source: str = "a model", *, seconds: float | None = None, writes: Collection[str] = ()
    ) -> None:
        self.model = model
        self.seconds = model.length if seconds is None else seconds
        self.source = source
        within = [outage for outage in model.outages if outage.at < self.seconds]
        self.troubles = _joined(sorted(Trouble(outage.at, outage.ends) for outage in within))
        self._ops = [
            Op(name, idempotent=o.repeatable(name, writes), cost=o.cost, priority=o.priority)
            for name, o in model.operations.items()
        ]

    def arrivals(self, dice: Dice) -> Sequence[Arrival]:
        found: list[Arrival] = []
        for number, (op, operation) in enumerate(zip(self._ops, self.model.operations.values(), strict=True)):
            for count, at in enumerate(self._times(operation.per_second, number, dice)):
                who = count * len(self._ops) + number
                key = who if operation.keys is None else int(dice.throw(who, 0, _ASKS) * operation.keys)
                found.append(Arrival(at, op, key))
        found.sort(key=lambda arrival: arrival.at)
        return found

    def _times(self, per_second: float, number: int, dice: Dice) -> Iterator[float]:
        """Moments at this rate, more of them in a surge: each step is drawn at rate one, then bent by the rate."""
        steady = self.model.arrivals == "steady"
        kinks = sorted({0.0, *(s.at for s in self.model.surges), *(s.at + s.lasts for s in self.model.surges)})
        rates = [
            per_second * math.prod(s.times for s in self.model.surges if s.at <= at < s.at + s.lasts) for at in kinks
        ]
        passed = _Work(kinks, rates)
        work, count = 0.5 if steady else 0.0, 0
        while True:
            if not steady:
                work -= math.log(dice.throw(count * len(self._ops) + number, 0, _ARRIVES))
            at = passed.when(work)
            if at >= self.seconds:
                return
            yield at
            count += 1
            work += steady

    def target(self, dice: Dice) -> Target:
        return _Exchange(self.model, dice)


def _joined(troubles: Sequence[Trouble]) -> list[Trouble]:
    """Times that overlap as one."""
    found: list[Trouble] = []
    for trouble in troubles:
        if found and trouble.begins <= found[-1].ends:
            found[-1] = Trouble(found[-1].begins, max(found[-1].ends, trouble.ends))
        else:
            found.append(trouble)
    return found


class _Work:
    """How much is done by a time, where so much is done a second from each kink on."""

    def __init__(self, kinks: Sequence[float], rates: Sequence[float]) -> None:
        self._pieces: list[tuple[float, float, float]] = []  # from when, done by then, a second
        done = 0.0
        for position, (at, per_second) in enumerate(zip(kinks, rates, strict=True)):
            if position:
                done += (at - kinks[position - 1]) * rates[position - 1]
            self._pieces.append((at, done, per_second))

    def by(self, at: float) -> float:
        """What is done by then."""
        for begins, done, per_second in reversed(self._pieces):
            if at >= begins:
                return done + (at - begins) * per_second
        return 0.0

    def when(self, work: float) -> float:
        """When so much is done."""
        for begins, done, per_second in reversed(self._pieces):
            if work >= done:
                return begins + (work - done) / per_second
        return 0.0


class _Exchange:
    """The other side in one run."""

    def __init__(self, model: Model, dice: Dice) -> None:
        self._dice = dice
        self._draws = {name: drawn(operation.latency) for name, operation in model.operations.items()}
        self._faults = {name: (*model.faults, *operation.faults) for name, operation in model.operations.items()}
        self._outages = [outage for outage in model.outages if outage.kind is not None]
        self._server = _Queue(model) if model.server.capacity is not None else None
        self._limit = _Window(model.server) if model.server.limit is not None else None

    def answer(self, op: Op, now: float, call: int, attempt: int, fresh: bool) -> Answer:
        seconds = self._draws[op.name](self._dice.throw(call, attempt, _LATENCY))
        for position, outage in enumerate(self._outages):
            if outage.kind is None or not outage.at <= now < outage.ends:
                continue
            if self._dice.throw(call, attempt, _OUTAGE + position) < outage.share:
                return self._fails(outage.kind, outage.after, outage.retry_after, seconds, now, fresh)
        chance = self._dice.throw(call, attempt, _FAULT)
        for fault in self._faults[op.name]:
            chance -= fault.rate
            if chance < 0:
                return self._fails(fault.kind, fault.after, fault.retry_after, seconds, now, fresh)
        return self._reaches(now, seconds)

    def _fails(
        self, kind: str, after: float | None, pause: float | None, seconds: float, now: float, fresh: bool
    ) -> Answer:
        if kind == "stale":
            if fresh:
                return self._reaches(now, seconds)
            return Answer(_AT_ONCE if after is None else after, error_of(kind), stale=True)
        if not FAULTS[kind][2]:
            return Answer(_AT_ONCE if after is None else after, error_of(kind), sent=False)
        if kind == "hang":
            return Answer(HANG if after is None else after, error_of(kind))
        whole = self._reaches(now, seconds)
        if whole.error is not None:
            return whole
        # Connections are taken to be reused, as nearly all are; a transport calls their reset stale, unless it was new.
        stale = kind == "reset" and not fresh
        return Answer(whole.seconds if after is None else after, error_of(kind, pause), stale=stale)

    def _reaches(self, now: float, seconds: float) -> Answer:
        """The request arrives: the server may turn it away, or make it wait."""
        if self._limit is not None:
            pause = self._limit.admit(now)
            if pause is not None:
                return Answer(seconds, error_of("throttled", pause))
        if self._server is None:
            return Answer(seconds)
        wait = self._server.admit(now)
        if wait is None:
            kind = self._server.full
            return Answer(_AT_ONCE, error_of(kind), sent=FAULTS[kind][2])
        return Answer(wait + seconds)


class _Queue:
    """Requests are done one after the other, at a capacity that outages take a share of."""

    def __init__(self, model: Model) -> None:
        count, window = rate(model.server.capacity or "1/s")
        troubled = [outage for outage in model.outages if outage.capacity is not None]
        kinks = sorted({0.0, *(o.at for o in troubled), *(o.ends for o in troubled)})
        shares = [math.prod(o.capacity or 1.0 for o in troubled if o.at <= at < o.ends) for at in kinks]
        self._work = _Work(kinks, [count / window * share for share in shares])
        self._longest = model.server.queue
        self._taken = 0.0
        self.full = model.server.full

    def admit(self, now: float) -> float | None:
        """Seconds until a request that comes now is done; None if the queue is full."""
        done = self._work.by(now)
        taken = max(self._taken, done)
        if taken - done > self._longest - 1 + 1e-9:  # a request that is half done still takes its place
            return None
        self._taken = taken + 1.0
        return max(self._work.when(self._taken) - now, 0.0)


class _Window:
    """The server's own limit: so many requests in any window. What it turns away does not count."""

    def __init__(self, server: Server) -> None:
        count, self._window = rate(server.limit or "1/s")
        self._most = max(int(count), 1)
        self._pause = server.retry_after
        self._log: deque[float] = deque()

    def admit(self, now: float) -> float | None:
        """None if there is room, else the pause that it asks for, in seconds."""
        log = self._log
        while log and log[0] <= now - self._window:
            log.popleft()
        if len(log) < self._most:
            log.append(now)
            return None
        return log[0] + self._window - now if self._pause is None else self._pause
