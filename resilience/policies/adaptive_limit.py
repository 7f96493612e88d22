"""AdaptiveLimit: a bulkhead whose limit finds itself, from how long calls take and which of them come to nothing.

The arithmetic is `resilience.concurrency`'s and the waiting `concurrency.gate`'s. Here stands what an outcome means:
an answer, a drop, or nothing at all. The surprising one is FAILED, which means nothing: a refused connection comes at
once and from nobody, so it is no latency, and with fewer calls at once it would have been refused as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..call import Call, Handler
from ..concurrency import ALGORITHMS, Controller, Name
from ..concurrency.gate import Gate, Order
from ..errors import ConfigError, TimedOut
from ..kit import Kit
from ..policy import Policy
from ..units import Seconds, check
from ..verdict import Kind

__all__ = ["AdaptiveLimit"]


class _Adaptive:
    """A gate, and what sets its limit."""

    __slots__ = ("controller", "gate")

    def __init__(self, policy: AdaptiveLimit) -> None:
        self.controller = Controller(ALGORITHMS[policy.algorithm](), policy.initial, policy.least, policy.most)
        self.gate = Gate(policy.initial, policy.queue, policy.max_wait, policy.order, policy="adaptive limit")

    def status(self) -> dict[str, Any]:
        """As the gate's, with the mean round trip of the last window, that without a queue (s; 0: unknown), drops."""
        controller = self.controller
        rtt = {"rtt": controller.rtt, "rtt_base": controller.base, "drops": controller.drops}
        return {**self.gate.status(), **rtt}


@dataclass(frozen=True, slots=True)
class AdaptiveLimit(Policy):
    """At most so many calls beneath at once as the target bears, from `least` to `most`, beginning with `initial`.

    `algorithm`: ``"gradient"`` lowers the limit when latency rises above its own long average, ``"vegas"`` when calls
    queue in front of the target, ``"aimd"`` only when calls are dropped. With each, the limit grows only while it is
    used, and falls back when more calls at once only take longer. `queue`, `max_wait` (seconds) and `order` are a
    bulkhead's; when the limit falls below the calls under way, nobody is put out.

    Raises `BulkheadFull`, whose `policy` is ``"adaptive limit"``.
    """

    keeps: ClassVar[str] = "the limit that it has found, places taken, and calls that wait for one"
    anew: ClassVar[Mapping[str, str]] = {}
    partly: ClassVar[Mapping[str, str]] = {"algorithm": "the new one learns anew, from the limit of the moment"}

    algorithm: Name = "gradient"
    initial: int = 20
    least: int = 1
    most: int = 1000
    queue: int = 0
    max_wait: Seconds | None = None
    order: Order = "fifo"

    def __post_init__(self) -> None:
        if self.algorithm not in tuple(ALGORITHMS):
            raise ConfigError(f"AdaptiveLimit: algorithm is {self.algorithm!r}, must be aimd, gradient or vegas")
        check("AdaptiveLimit", "least", self.least, least=1, whole=True)
        check("AdaptiveLimit", "most", self.most, least=self.least, whole=True)
        check("AdaptiveLimit", "initial", self.initial, least=self.least, most=self.most, whole=True)
        check("AdaptiveLimit", "queue", self.queue, least=0, whole=True)
        if self.max_wait is not None:
            check("AdaptiveLimit", "max_wait", self.max_wait, least=0)
        if self.order not in ("fifo", "lifo"):
            raise ConfigError(f"AdaptiveLimit: order is {self.order!r}, must be fifo or lifo")

    def adjust(self, state: _Adaptive, before: Any) -> None:
        other = None if before.algorithm == self.algorithm else ALGORITHMS[self.algorithm]()
        state.controller.become(other, self.least, self.most)
        state.gate.become(state.controller.limit, self.queue, self.max_wait, self.order, weighted=False)

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        state = kit.keep("adaptive_limit", self, lambda: _Adaptive(self))
        gate, controller, now = state.gate, state.controller, kit.now
        waiting, answered, learn = gate.waiting, controller.ended, _lessons(kit, controller)
        controller.restart()  # the clock may be another loop's

        async def run(call: Call) -> Any:
            if gate.busy < gate.limit:
                gate.busy += 1
            else:
                await gate.wait(call, kit)
            in_flight, begun = gate.busy, now()
            try:
                result = await next(call)
            except Exception as error:
                at = now()
                if learn(call, error, at - begun, in_flight, at):
                    gate.resize(controller.limit)
                raise
            else:
                made = call.made
                if made is None or not made.lost:
                    at = now()
                    if answered(at - begun, in_flight, at):
                        gate.resize(controller.limit)
                return result
            finally:
                if waiting:
                    gate.leave()
                else:
                    gate.busy -= 1

        return run


def _lessons(kit: Kit, controller: Controller) -> Callable[[Call, Exception, float, int, float], bool]:
    """What an error teaches: that the target answered, that it dropped the call, or nothing."""
    judge = kit.judge

    def learn(call: Call, error: Exception, rtt: float, in_flight: int, at: float) -> bool:
        attempt, verdict = call.attempt, judge(error, call)
        if verdict is None or attempt.lost or attempt.stale:
            return False
        if isinstance(error, TimedOut):  # sent or not; but a call cut shorter than calls take was simply cut short
            return rtt >= controller.rtt and controller.dropped(rtt, at)
        if verdict.kind is Kind.FAILED:
            return False
        if verdict.kind in (Kind.THROTTLED, Kind.UNKNOWN):
            return controller.dropped(rtt, at)
        return controller.ended(rtt, in_flight, at)

    return learn
