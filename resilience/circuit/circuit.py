"""One circuit: what trips it, what its three changes do, who is told, and how it stands."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple, NoReturn

from aiobreaker.circuitbreaker import CircuitBreaker
from aiobreaker.listener import CircuitBreakerListener
from aiobreaker.state import CircuitBreakerState

from .states import STATES, Open, State, Store

__all__ = ["Circuit", "CircuitBreakerListener", "Rules"]

_log = logging.getLogger("resilience")


class Rules(NamedTuple):
    """What trips a circuit, for how long, and what closes it again: the fields of `Breaker` that say so."""

    failure_rate: float | None
    consecutive: int | None
    window: float
    min_calls: int
    open_for: float
    probes: int


class Circuit(CircuitBreaker):
    """The circuit behind one key. `open`, `half_open` and `close` serve as manual control, at any time.

    Listeners are aiobreaker's. They are told of every change, and of the successes and failures that count, but never
    `before_call`, which cannot tell a refused call from a sent one: a pipeline's own events do.
    `now` is the event loop's clock, and replaced when the pipeline links to another loop.
    """

    _state: State

    def __init__(
        self,
        key: str,
        rules: Rules,
        rng: random.Random,
        now: Callable[[], float],
        listeners: Iterable[CircuitBreakerListener] = (),
    ) -> None:
        self.key = key
        self.rules = rules
        self.now = now
        self.store = Store(rules.window, now())
        self.opens = 0
        self.cause = ""  # of the last change, for people
        self.heard = False  # does anybody listen to successes and failures?
        self._rng = rng
        fail_max: Any = math.inf if rules.consecutive is None else rules.consecutive
        super().__init__(fail_max, listeners=listeners, state_storage=self.store, name=key)

    def _create_new_state(self, new_state: CircuitBreakerState, prev_state: Any = None, notify: bool = False) -> State:
        return STATES[new_state](self, prev_state, notify)

    def open(self, cause: str = "by hand") -> None:
        """Refuse all calls for `open_for` seconds and up to a fifth more, so that clients do not come back in step."""
        store, at = self.store, self.now()
        self.opens += 1
        store.opened_at = datetime.now()  # noqa: DTZ005 (aiobreaker has no zones)
        store.until = at + self.rules.open_for * (1 + 0.2 * self._rng.random())
        self._change(CircuitBreakerState.OPEN, cause, at)

    def half_open(self, cause: str = "by hand") -> None:
        """Admit probes now."""
        self._change(CircuitBreakerState.HALF_OPEN, cause, self.now())

    def close(self, cause: str = "by hand") -> None:
        """Admit all calls, and forget what was counted."""
        self.store.reset_counter()
        self.store.window.clear()
        self._change(CircuitBreakerState.CLOSED, cause, self.now())

    def _change(self, to: CircuitBreakerState, cause: str, at: float) -> None:
        old = self._state
        self.cause = cause
        self.store.state, self.store.since = to, at
        self._state = new = self._create_new_state(to, old)  # aiobreaker's setter would tell before this stands
        self.tell("state_change", old, new)

    def add_listener(self, listener: CircuitBreakerListener) -> None:
        self._listeners.append(listener)
        self.heard = True

    def tell(self, what: str, *about: Any) -> None:
        """Tell every listener. One that raises is isolated: the error is logged, the call never feels it."""
        for listener in self.listeners:
            try:
                getattr(listener, what)(self, *about)
            except Exception:
                _log.exception("a listener failed on %s of the circuit %r; the call goes on", what, self.key)

    def status(self) -> dict[str, Any]:
        """`state`, `since` (seconds ago), `failure_rate` (0 to 1) and `calls` of the window, `opens` of its life."""
        window, at = self.store.window, self.now()
        window.catch_up(at)
        return {
            "state": self._state.label,
            "since": at - self.store.since,
            "failure_rate": window.rate,
            "calls": window.calls,
            "opens": self.opens,
        }

    @property
    def idle(self) -> bool:
        """Whether no call that it admitted in its present state is under way."""
        return self._state.busy == 0

    # Three properties of aiobreaker's, for those who know it; there they compare two time zones, or fail.

    @property  # type: ignore[misc]  # not to be set, because the policy is frozen
    def timeout_duration(self) -> timedelta:
        return timedelta(seconds=self.rules.open_for)

    @property
    def time_until_open(self) -> timedelta:
        """Until an open circuit admits a probe; zero for one that would now."""
        return timedelta(seconds=max(0.0, self.store.until - self.now()) if isinstance(self._state, Open) else 0.0)

    @property
    def opens_at(self) -> datetime | None:
        """When an open circuit admits a probe, in local wall time; None for one that would now."""
        left = self.time_until_open
        return datetime.now() + left if left else None  # noqa: DTZ005 (aiobreaker has no zones)

    def _not_here(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("a circuit is driven by its policy: guard the function with Breaker(...)")

    call = call_async = __call__ = _not_here
