"""Hedge: when an answer is slow in coming, ask once more and take whichever answers first.

Only for operations that may happen twice; any other passes through untouched. Each branch runs in a task of its own,
with a copy of the context, because branches overlap: this is the one policy that makes tasks. (The idea: Dean and
Barroso, "The Tail at Scale", 2013.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..call import Call, Handler
from ..errors import ConfigError
from ..hedging.race import Hedges, Race, Terms
from ..kit import Kit
from ..policy import Policy
from ..retrying.budget import Budget, RetryBudget, check_budget, join
from ..units import Quantile, Seconds, check, quantile

__all__ = ["Hedge"]


@dataclass(frozen=True, slots=True)
class Hedge(Policy):
    """After each `delay` without an answer, send the call once more, up to `extra` times and as the `budget` allows.

    `delay`: seconds, or a quantile of the operation's measured latency (``"p95"``), rounded up by at most 10 %: then
    `initial` seconds until enough calls were measured, and never less than `least`.

    The first success wins, and so does a REJECTED: the refusal is the answer. A branch that FAILED lets the others run;
    THROTTLED, and a refusal of ours, stop further sends. The losers are cancelled and awaited. If every branch failed,
    an UNKNOWN error is raised before a THROTTLED one, that before any other, and among equals the last.
    """

    repeats: ClassVar[bool] = True
    branches: ClassVar[bool] = True

    keeps: ClassVar[str] = "the latency of each operation, where the delay is a quantile"
    anew: ClassVar[Mapping[str, str]] = {}
    partly: ClassVar[Mapping[str, str]] = dict.fromkeys(("delay", "initial", "least"), "what was measured is lost")

    delay: Seconds | Quantile
    extra: int = 1
    initial: Seconds = 1.0
    least: Seconds = 0.01
    budget: Budget = RetryBudget()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        if isinstance(self.delay, str):
            try:
                quantile(self.delay)
            except ConfigError as error:
                raise ConfigError(f"Hedge: delay: {error}, or give seconds") from None
        else:
            check("Hedge", "delay", self.delay, least=0)
        check("Hedge", "extra", self.extra, least=1, whole=True)
        check("Hedge", "initial", self.initial, least=0)
        check("Hedge", "least", self.least, least=0)
        check_budget("Hedge", self.budget)

    def adjust(self, state: Hedges, before: Any) -> None:
        state.become(self)

    def unsafe(self) -> str | None:
        return (
            "Hedge() may send a call twice: guard the function with an Op(..., idempotent=True) to say that it may be"
        )

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        budgets, tells = join(self.budget, kit)
        told = budgets if tells else None
        hedges = kit.keep("hedge", self, lambda: Hedges(self))
        terms = Terms(self, kit, next, hedges, budgets, tells)

        async def run(call: Call) -> Any:
            if told is not None and (call.made is None or call.made.number == 1):  # else a policy above repeats it
                told.begin(call)
            if not call.op.idempotent:
                return await next(call)
            return await Race(terms, call).run()

        return run
