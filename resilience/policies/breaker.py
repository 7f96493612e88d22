"""Breaker: stop calling what is sick, and find out gently when it is well again.

The circuits are aiobreaker's, made right (`resilience.circuit` says what it gives and what we replaced). Here stands
what an outcome means to them, by the verdict table: a rejected call is a *healthy* one, because the target answered;
a cancelled, throttled or refused one says nothing, and its permit goes back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..call import Call, Handler
from ..circuit import Circuit, CircuitOpen, Circuits, Rules, State
from ..errors import ConfigError
from ..kit import Kit
from ..matching import On, matcher
from ..policy import Policy
from ..units import Seconds, Share, check
from ..verdict import Kind

__all__ = ["Breaker", "CircuitOpen"]

_log = logging.getLogger("resilience")
_NO_KEY = "default"


@dataclass(frozen=True, slots=True)
class Breaker(Policy):
    """Refuse calls with `CircuitOpen` while the target is sick, after M. Nygard, "Release It!".

    Trips when at least `failure_rate` (0 to 1) of the calls that ended in the last `window` seconds failed and they
    were at least `min_calls`, or when `consecutive` calls in a row failed; either may be None. Only a failure trips,
    and the call that does raises its own error. An open circuit admits nobody for `open_for` seconds and up to a fifth
    more, then at most `probes` calls at once, closes when that many have succeeded, and opens again when one fails.

    With no `on`, the verdict decides: FAILED and UNKNOWN are failures, OK and REJECTED are not. `on` (exception types,
    names of types, or a predicate) decides alone. THROTTLED, refusals from beneath, cancellations, and the reset of a
    reused connection that is sent again (once a call) count neither way.

    `key`: None for one circuit; the name of a key that the adapter sets (``"host"``, ``"account"``; calls without it
    share one circuit); or a function of the `Call`.
    """

    failure_rate: Share | None = 0.5
    consecutive: int | None = None
    window: Seconds = 30.0
    min_calls: int = 10
    open_for: Seconds = 5.0
    probes: int = 1
    on: On = None
    key: str | Callable[[Call], str] | None = None

    def __post_init__(self) -> None:
        if self.failure_rate is None and self.consecutive is None:
            raise ConfigError("Breaker: failure_rate and consecutive are both None; one of them must trip it")
        if self.failure_rate is not None:
            check("Breaker", "failure_rate", self.failure_rate, above=0, most=1)
        if self.consecutive is not None:
            check("Breaker", "consecutive", self.consecutive, least=1, whole=True)
        check("Breaker", "window", self.window, above=0)
        check("Breaker", "min_calls", self.min_calls, least=1, whole=True)
        check("Breaker", "open_for", self.open_for, above=0)
        check("Breaker", "probes", self.probes, least=1, whole=True)
        matcher("Breaker", self.on)
        named = isinstance(self.key, str) and self.key != ""
        if not (self.key is None or named or callable(self.key)):
            raise ConfigError(f"Breaker: key is {self.key!r}, must be a name such as host, or a function of the call")

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        rules = Rules(self.failure_rate, self.consecutive, self.window, self.min_calls, self.open_for, self.probes)
        circuits = kit.keep("breaker", self, lambda: Circuits(rules, kit.rng, kit.now))
        circuits.link(kit.now, kit.emit)
        admit = _admission(circuits, self.key, observed=kit.emit is not None)
        settle = _settlement(kit, self.on)
        only = circuits[_NO_KEY] if self.key is None and kit.emit is None else None  # spares the common case two calls

        async def run(call: Call) -> Any:
            permit = only._state.enter(call) if only is not None else admit(call)
            try:
                result = await next(call)
            except Exception as exc:
                settle(permit, call, exc)
                raise
            except BaseException:
                permit.give_back()
                raise
            permit.ok()
            return result

        return run


def _admission(circuits: Circuits, key: str | Callable[[Call], str] | None, observed: bool) -> Callable[[Call], State]:
    """How a call gets its permit: from the state that admits it. Raises `CircuitOpen`."""
    find = _finder(circuits, key)

    def admit(call: Call) -> State:
        return find(call)._state.enter(call)

    def admit_and_note(call: Call) -> State:
        circuit = find(call)
        try:
            return circuit._state.enter(call)
        finally:
            notes, decided = call.attempt.notes, circuit._state
            notes["breaker.state"], notes["breaker.generation"] = decided.label, decided.generation

    return admit_and_note if observed else admit


def _finder(circuits: Circuits, key: str | Callable[[Call], str] | None) -> Callable[[Call], Circuit]:
    """Which circuit a call concerns."""
    if key is None:
        only = circuits[_NO_KEY]
        return lambda call: only
    if callable(key):
        return lambda call: circuits[str(key(call))]
    return lambda call: circuits[call.keys.get(key, _NO_KEY)]


def _settlement(kit: Kit, on: On) -> Callable[[State, Call, Exception], None]:
    """What an error says about the target, told to the state that admitted the call."""
    judge, matches = kit.judge, matcher("Breaker", on)

    def settle(permit: State, call: Call, error: Exception) -> None:
        verdict = judge(error, call)
        if verdict is None or verdict.kind is Kind.THROTTLED or _is_sent_again(call):
            permit.give_back()
            return
        sick = verdict.kind in (Kind.FAILED, Kind.UNKNOWN)
        if matches is not None:
            try:
                sick = matches(error)
            except Exception:
                _log.exception("Breaker: on failed for %s; the verdict decides", type(error).__name__)
        if sick:
            permit.bad(error)
        else:
            permit.ok()

    return settle


def _is_sent_again(call: Call) -> bool:
    """Was a reused connection reset, so that the call is sent again on a fresh one? Once a call, as the retry does."""
    return call.attempt.stale and call.op.idempotent and not any(attempt.fresh for attempt in call.attempts)
