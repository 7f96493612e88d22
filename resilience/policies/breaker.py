"""Breaker: stop calling what is sick, and find out gently when it is well again.

The circuits are aiobreaker's, made right (`resilience.circuit` says what it gives and what we replaced). Here stands
what an outcome means to them, by the verdict table: a rejected call is a *healthy* one, because the target answered;
a cancelled, throttled or refused one says nothing, and its permit goes back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from ..call import Call, Handler
from ..circuit import CircuitOpen, Circuits, Mode, Rules, Ticket
from ..circuit.drive import NO_KEY, Settle, drive_keyed, drive_one, drive_watched, finder
from ..errors import ConfigError
from ..kit import Kit
from ..matching import On, holds, matcher
from ..policy import Policy
from ..units import Name, Seconds, Share, check
from ..verdict import Kind

__all__ = ["Breaker", "CircuitOpen"]

_MAY_BE_NONE = {"failure_rate", "consecutive", "window", "count_window", "slow_after"}


@dataclass(frozen=True, slots=True)
class Breaker(Policy):
    """Refuse calls with `CircuitOpen` while the target is sick, after M. Nygard, "Release It!".

    Trips when at least `failure_rate` (0 to 1) of the calls that ended in the last `window` seconds, or of the last
    `count_window` calls, failed; when `consecutive` calls in a row failed; when at least `slow_rate` of the calls took
    `slow_after` seconds or longer, those included that are still under way. Each may be None; any one trips it. The
    rates say nothing before there are `min_calls`. Only failures and slow calls trip; the call raises its own error.

    An open circuit admits nobody for `open_for` seconds and up to a fifth more; twice as long whenever its probes fail,
    up to `max_open_for`; or for as long as the server asked. Then it admits at most `probes` calls at once, closes when
    `probe_success` of that many have succeeded, and opens again when that has become impossible (a slow probe fails). A
    probe that has not come back after `probe_lease` seconds counts as nothing, and its place is free. Once closed, the
    circuit admits a share of the calls that grows from a tenth to all over `ramp` seconds.

    With no `on`, the verdict decides: FAILED and UNKNOWN are failures, OK and REJECTED are not. `on` (exception types,
    names of types, or a predicate) decides alone. THROTTLED, refusals from beneath, cancellations, the losers of a
    hedge, and the reset of a reused connection that may be sent again (once a call) count neither way.

    `key`: None for one circuit; the name of a key that the adapter sets (``"host"``, ``"account"``; calls without it
    share one circuit); or a function of the `Call`. At most 1,000 circuits are kept, and one that is not used for
    `forget_after` seconds is forgotten. `mode`: ``"normal"``; ``"forced_open"`` refuses all; ``"disabled"`` admits all
    and counts nothing; ``"shadow"`` admits all and counts what it would have refused. ``states["breaker"].mode`` may be
    set while the pipeline runs.
    """

    keeps: ClassVar[str] = "circuits: open or closed, since when, until when, and what they have counted"
    anew: ClassVar[Mapping[str, str]] = {"key": "its circuits are those of another key"}
    partly: ClassVar[Mapping[str, str]] = {
        "window": "the count begins anew; an open circuit stays open for the rest of its time",
        "count_window": "the count begins anew; an open circuit stays open for the rest of its time",
        "slow_after": "calls under way are not counted; an open circuit stays open for the rest of its time",
    }

    failure_rate: Share | None = 0.5
    consecutive: int | None = None
    window: Seconds | None = 30.0
    min_calls: int = 10
    open_for: Seconds = 5.0
    probes: int = 1
    on: On = None
    key: Name | Callable[[Call], str] | None = None
    count_window: int | None = None
    slow_after: Seconds | None = None
    slow_rate: Share = 0.5
    max_open_for: Seconds = 300.0
    probe_success: Share = 1.0
    probe_lease: Seconds = 60.0
    ramp: Seconds = 0.0
    mode: Mode = "normal"
    forget_after: Seconds = 3600.0

    def __post_init__(self) -> None:
        if self.failure_rate is None and self.consecutive is None and self.slow_after is None:
            told = "failure_rate and consecutive are both None; one of them must trip it, or slow_after"
            raise ConfigError(f"Breaker: {told}")
        if self.window is None and self.count_window is None:
            raise ConfigError("Breaker: window and count_window are both None; over which calls is a rate taken?")
        for name in ("failure_rate", "slow_rate", "probe_success"):
            _check(self, name, above=0, most=1)
        for name in ("consecutive", "min_calls", "probes", "count_window"):
            _check(self, name, least=1, whole=True)
        for name in ("window", "open_for", "slow_after", "max_open_for", "probe_lease", "forget_after"):
            _check(self, name, above=0)
        check("Breaker", "ramp", self.ramp, least=0)
        matcher("Breaker", self.on)
        named = isinstance(self.key, str) and self.key != ""
        if not (self.key is None or named or callable(self.key)):
            raise ConfigError(f"Breaker: key is {self.key!r}, must be a name such as host, or a function of the call")
        if self.mode not in get_args(Mode):
            raise ConfigError(f"Breaker: mode is {self.mode!r}, must be one of {', '.join(get_args(Mode))}")

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        circuits = kit.keep("breaker", self, lambda: Circuits(self._rules(), kit.rng, self.mode, self._memory()))
        circuits.link(kit.now, kit.emit)
        settle = _settlement(kit, self.on)
        if kit.emit is not None or kit.branches:
            return drive_watched(next, finder(circuits, self.key), settle, kit.now, noted=kit.emit is not None)
        if self.key is None:
            return drive_one(next, circuits[NO_KEY], settle, kit.now)
        return drive_keyed(next, finder(circuits, self.key), settle)

    def _rules(self) -> Rules:
        return Rules(*(getattr(self, name) for name in Rules._fields))

    def _memory(self) -> float:
        """Seconds after which an unused circuit is forgotten. The one circuit is linked for good."""
        return math.inf if self.key is None else self.forget_after

    def adjust(self, state: Circuits, before: Any) -> None:
        state.become(self._rules(), self._memory())
        if before.mode != self.mode:  # else the mode that was set by hand stays
            state.mode = self.mode


def _check(policy: Breaker, name: str, **bounds: Any) -> None:
    value = getattr(policy, name)
    if value is not None or name not in _MAY_BE_NONE:
        check("Breaker", name, value, **bounds)


def _settlement(kit: Kit, on: On) -> Settle:
    """What an error says about the target, told to whatever admitted the call."""
    judge, matches = kit.judge, matcher("Breaker", on)

    def settle(permit: Ticket, call: Call, error: Exception) -> None:
        # A ConfigError comes from a policy beneath that can never let this call through: the target has not answered.
        verdict = None if call.attempt.lost or isinstance(error, ConfigError) else judge(error, call)
        if verdict is None or verdict.kind is Kind.THROTTLED or call.may_go_again:
            permit.give_back()
            return
        sick = verdict.kind in (Kind.FAILED, Kind.UNKNOWN)
        if matches is not None:
            sick = holds(matches, error, unsure=sick, told="Breaker: on failed for %s; the verdict decides")
        if sick:
            permit.bad(error, verdict.retry_after)
        else:
            permit.ok()

    return settle
