"""One circuit: what trips it, what its three changes do, who is told, and how it stands."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NoReturn

from aiobreaker.circuitbreaker import CircuitBreaker
from aiobreaker.listener import CircuitBreakerListener
from aiobreaker.state import CircuitBreakerState

from ..call import Call, Mark
from .counting import Counting, Timing
from .growth import OpenTimes
from .modes import GATES, Mode
from .permits import Ticket
from .probing import HalfOpen
from .ramp import Ramp
from .rules import Rules
from .states import Closed, Open, State, Store

__all__ = ["Circuit", "CircuitBreakerListener", "Rules"]

_log = logging.getLogger("resilience")


class Circuit(CircuitBreaker):
    """The circuit behind one key. `open`, `half_open` and `close` serve as manual control, at any time.

    Listeners are aiobreaker's. They are told of every change, and of the successes and failures that count, but never
    `before_call`, which cannot tell a refused call from a sent one: a pipeline's own events do.
    `now` is the event loop's clock, and replaced when the pipeline links to another loop.

    `enter(call)` gives a permit or raises `CircuitOpen`. Where `calm` is a state, ``calm.busy += 1`` is all that this
    would do, and whoever drives the circuit may do it in its own frame, with `calm` as the permit.
    """

    _state: State
    enter: Callable[[Call], Ticket]
    calm: Any

    def __init__(
        self,
        key: str,
        rules: Rules,
        rng: random.Random,
        now: Callable[[], float],
        listeners: Iterable[CircuitBreakerListener] = (),
        mode: Mode = "normal",
    ) -> None:
        self.key = key
        self.rules = rules
        self.now = now
        self.mode = mode
        self.store = Store(rules.windows(), now())
        self.opens = 0
        self.would_refuse = 0  # calls that were let pass, in the mode "shadow"
        self.cause = ""  # of the last change, for people
        self.opened_by: Mark | None = None  # the call whose failure opened it last, where somebody observes
        self.heard = False  # does anybody listen to successes and failures?
        self._times = OpenTimes(rules.open_for, rules.max_open_for, rng)
        fail_max: Any = math.inf if rules.consecutive is None else rules.consecutive
        super().__init__(fail_max, listeners=listeners, state_storage=self.store, name=key)
        self.rewire()

    def _create_new_state(self, new_state: CircuitBreakerState, prev_state: Any = None, notify: bool = False) -> State:
        kind: type[State]
        if new_state is CircuitBreakerState.CLOSED:
            rules = self.rules
            kind = Timing if rules.slow_after is not None else Closed if rules.count_window is None else Counting
        else:
            kind = Open if new_state is CircuitBreakerState.OPEN else HalfOpen
        return kind(self, prev_state, notify)

    def rewire(self) -> None:
        """Say anew who decides on the next call, and whether a success needs telling."""
        state, mode = self._state, self.mode
        self.enter = state.enter if mode == "normal" else partial(GATES[mode], self)
        self.calm = state if state.calm() and not self.heard and mode in ("normal", "shadow") else None

    def switch(self, mode: Mode) -> None:
        """Go over to this mode; what was counted stays."""
        self.mode = mode
        self.rewire()

    def become(self, rules: Rules) -> None:
        """Go on under other rules: the state stays, and an open one for the rest of its time.

        What was counted stays where the same is counted. Where it is not, calls under way are no longer waited for.
        """
        old, self.rules = self.rules, rules
        fail_max: Any = math.inf if rules.consecutive is None else rules.consecutive
        self._fail_max = fail_max
        self._times.become(rules.open_for, rules.max_open_for)
        if (rules.window, rules.count_window) != (old.window, old.count_window):
            self.store.count_in(rules.windows())
        if isinstance(self._state, Closed):
            if _counted(rules) != _counted(old):
                ramp, self._state = self._state.ramp, self._create_new_state(CircuitBreakerState.CLOSED, self._state)
                self._state.ramp = ramp
        else:
            self._state.become(rules)
        self.rewire()

    def follow(self, now: Callable[[], float]) -> None:
        """Take the time from another loop's clock. On a different one, nobody knows how old anything is."""
        if now != self.now:
            self.now = now
            for window in self.store.windows:
                window.new_clock()
            self._state.new_clock()
            self.rewire()

    def open(self, cause: str = "by hand", *, floor: float = 0.0, again: bool = False) -> None:
        """Refuse all calls for a time that `OpenTimes` draws, at least for `floor` seconds where the server asked."""
        store, at = self.store, self.now()
        self.opens += 1
        self.opened_by = None
        store.opened_at = datetime.now()  # noqa: DTZ005 (aiobreaker has no zones)
        well_for = at - store.since if isinstance(self._state, Closed) else 0.0
        store.until = at + self._times.draw(again, well_for, floor)
        self._change(CircuitBreakerState.OPEN, cause, at)

    def half_open(self, cause: str = "by hand") -> None:
        """Admit probes now."""
        self._change(CircuitBreakerState.HALF_OPEN, cause, self.now())

    def close(self, cause: str = "by hand", *, ramped: bool = False) -> None:
        """Admit all calls (a growing share of them where `ramped`), and forget what was counted."""
        self.store.reset_counter()
        for window in self.store.windows:
            window.clear()
        at, seconds = self.now(), self.rules.ramp
        self._change(CircuitBreakerState.CLOSED, cause, at, Ramp(at, seconds) if ramped and seconds else None)

    def _change(self, to: CircuitBreakerState, cause: str, at: float, ramp: Ramp | None = None) -> None:
        old = self._state
        self.cause = cause
        self.store.state, self.store.since = to, at
        self._state = new = self._create_new_state(to, old)  # aiobreaker's setter would tell before this stands
        if ramp is not None:
            new.ramp = ramp
        self.rewire()
        self.tell("state_change", old, new)

    def add_listener(self, listener: CircuitBreakerListener) -> None:
        self._listeners.append(listener)
        self.heard = True
        self.rewire()

    def tell(self, what: str, *about: Any) -> None:
        """Tell every listener. One that raises is isolated: the error is logged, the call never feels it."""
        for listener in self.listeners:
            try:
                getattr(listener, what)(self, *about)
            except Exception:
                _log.exception("a listener failed on %s of the circuit %r; the call goes on", what, self.key)

    def status(self) -> dict[str, Any]:
        """`state`, `since` (seconds ago), `failure_rate` (0 to 1) and `calls` of the window, `opens` of its life.

        Where the rule is in use: `slow_rate` and `slow_under_way`; `last`, the same of the count window beside a window
        of time. And the `mode`, if it is not the normal one, with `would_refuse`, the calls that a shadow let pass.
        """
        store, rules, at = self.store, self.rules, self.now()
        for window in store.windows:
            window.catch_up(at)
        window = store.window
        row: dict[str, Any] = {
            "state": self._state.label,
            "since": at - store.since,
            "failure_rate": window.rate,
            "calls": window.calls,
            "opens": self.opens,
        }
        if rules.slow_after is not None:
            under_way = self._state.slow(at)
            calls = window.calls + under_way
            row |= {"slow_rate": (window.slow + under_way) / calls if calls else 0.0, "slow_under_way": under_way}
        if len(store.windows) > 1:
            row["last"] = {"failure_rate": store.windows[1].rate, "calls": store.windows[1].calls}
        if self.mode != "normal":
            row["mode"] = self.mode
        if self.would_refuse or self.mode == "shadow":
            row["would_refuse"] = self.would_refuse
        return row

    @property
    def idle(self) -> bool:
        """Whether no call that it admitted in its present state is under way."""
        return self._state.busy == 0

    def unused_since(self, at: float) -> bool:
        """Whether no call has counted or wanted to probe since then (to within a bucket), and none is under way."""
        store = self.store
        if store.since > at or store.until > at or store.asked > at or self._state.busy:
            return False
        if self.mode == "forced_open":  # by hand: forgotten, it would come back closed
            return False
        return all(window.used <= at for window in store.windows)

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


def _counted(rules: Rules) -> tuple[Any, ...]:
    """What the state of a closed circuit is made for; see `Circuit._create_new_state`."""
    return rules.window, rules.count_window, rules.slow_after
