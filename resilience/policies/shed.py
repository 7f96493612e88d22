"""Shed: send less to a target that accepts less, before it has to refuse, and the unimportant calls first.

Client-side throttling after Google's SRE book (`limiting.throttle`). A breaker is a switch and asks "is it sick?";
this is a tap, for a target that is overloaded and answers some.

The surprising part is that a call is counted when its outcome is known, not when it begins, so that calls in flight
are no sign of trouble: a burst of a hundred at start-up would otherwise look like a hundred that nobody accepted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

from ..call import Call, Handler, Priority
from ..errors import ConfigError, LoadShed
from ..kit import Kit
from ..limiting.throttle import Throttle
from ..policy import Policy
from ..units import Seconds, Share, check
from ..verdict import Kind

__all__ = ["Shed"]

_log = logging.getLogger("resilience")
_PRIORITIES: tuple[Priority, ...] = get_args(Priority)


@dataclass(frozen=True, slots=True)
class Shed(Policy):
    """Refuse calls with `LoadShed`, by chance, while the target accepts too few of those in the last `window` seconds.

    With up to `k` calls for each accepted one nothing is refused; beyond, as many as bring it back to `k`, but never
    more than a share of ``1 - floor``, nor any while there were fewer than `min_calls`. Critical calls are shed last:
    their `k_critical` is twice `k` unless you say otherwise. Sheddable ones are shed first: their `k_sheddable` lies
    halfway between 1 and `k`. `priority` (one for all, or a function of the `Call`) stands in for the operation's.

    Accepted: OK and REJECTED. Not accepted: THROTTLED, FAILED, UNKNOWN, and what is refused here. Refusals from
    beneath, cancellations, losers of a hedge, and the reset of a reused connection that may be sent again (once a call)
    count neither way.
    """

    keeps: ClassVar[str] = "requests and accepts of its window"
    anew: ClassVar[Mapping[str, str]] = {}
    partly: ClassVar[Mapping[str, str]] = {"window": "the count begins anew"}

    k: float = 2.0
    k_critical: float | None = None
    k_sheddable: float | None = None
    window: Seconds = 30.0
    floor: Share = 0.1
    min_calls: int = 10
    priority: Priority | Callable[[Call], Priority] | None = None

    def __post_init__(self) -> None:
        check("Shed", "k", self.k, least=1)
        if self.k_critical is not None:
            check("Shed", "k_critical", self.k_critical, least=self.k)
        if self.k_sheddable is not None:
            check("Shed", "k_sheddable", self.k_sheddable, least=1, most=self.k)
        check("Shed", "window", self.window, above=0)
        check("Shed", "floor", self.floor, least=0, most=1)
        check("Shed", "min_calls", self.min_calls, least=1, whole=True)
        if self.priority is not None and self.priority not in _PRIORITIES and not callable(self.priority):
            raise ConfigError(
                f"Shed: priority is {self.priority!r}, must be {', '.join(_PRIORITIES)}, or a function of the call"
            )

    def adjust(self, state: Load, before: Any) -> None:
        state.become(self, anew=before.window != self.window)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        load = kit.keep("shed", self, lambda: Load(self))
        load.now = now = kit.now
        throttle, least = load.throttle, min(load.ks.values())
        judge, admit = kit.judge, _admission(self, load, kit)

        async def run(call: Call) -> Any:
            if throttle.requests > least * throttle.accepts:
                admit(call)
            try:
                result = await next(call)
            except Exception as exc:
                verdict = judge(exc, call)
                if verdict is not None and not call.attempt.lost and not call.may_go_again:
                    throttle.catch_up(now())
                    throttle.requests += 1
                    throttle.accepts += verdict.kind is Kind.REJECTED
                raise
            made = call.made
            if made is None or not made.lost:
                at = now()
                if not throttle.begins <= at < throttle.ends:
                    throttle.catch_up(at)
                throttle.requests += 1
                throttle.accepts += 1
            return result

        return run


class Load:
    """What is kept: the counts, and how many were refused since the beginning."""

    __slots__ = ("ks", "now", "refused", "throttle")

    now: Callable[[], float]

    def __init__(self, policy: Shed) -> None:
        self.refused = 0
        self.become(policy, anew=True)

    def become(self, policy: Shed, anew: bool) -> None:
        """Follow the policy; `anew` if it counts over another time."""
        k = policy.k
        self.ks = {
            "critical": 2 * k if policy.k_critical is None else policy.k_critical,
            "default": k,
            "sheddable": (1 + k) / 2 if policy.k_sheddable is None else policy.k_sheddable,
        }
        if anew:
            self.throttle = Throttle(policy.window, policy.floor, policy.min_calls)
        else:
            self.throttle.become(policy.floor, policy.min_calls)

    def refusal(self, priority: str) -> float:
        """The probability with which a call of this priority is refused now."""
        self.throttle.catch_up(self.now())
        return self.throttle.refusal(self.ks[priority])

    def status(self) -> dict[str, Any]:
        """Requests and accepts in the window, those refused since the beginning, and the chance of a refusal now."""
        refusal = {priority: self.refusal(priority) for priority in _PRIORITIES}
        counts = self.throttle
        return {"requests": counts.requests, "accepts": counts.accepts, "refused": self.refused, "refusal": refusal}


def _admission(policy: Shed, load: Load, kit: Kit) -> Callable[[Call], None]:
    """For the calls of a troubled time: raises `LoadShed` for those that the dice refuse."""
    texts: dict[str, str] = {priority: f"the target accepts too few calls ({priority})" for priority in _PRIORITIES}
    priority_of = _ranking(policy.priority)
    roll, throttle, observed = kit.rng.random, load.throttle, kit.emit is not None

    def admit(call: Call) -> None:
        priority = priority_of(call)
        refusal = load.refusal(priority)
        if refusal <= 0.0:
            return
        if observed:
            call.attempt.notes["shed.probability"] = refusal
        if roll() < refusal:
            throttle.requests += 1
            load.refused += 1
            raise LoadShed(texts[priority])

    return admit


def _ranking(priority: Priority | Callable[[Call], Priority] | None) -> Callable[[Call], str]:
    """A call's priority: the default one where what it should be makes no sense, since no call may fail for that."""

    def of(call: Call) -> str:
        try:
            found = priority(call) if callable(priority) else priority or call.op.priority
        except Exception as exc:
            _log.exception("Shed: priority failed with %s; the operation's counts", type(exc).__name__)
            found = call.op.priority
        return found if found in _PRIORITIES else "default"

    return of
