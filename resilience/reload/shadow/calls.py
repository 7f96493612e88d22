"""Judges of whole calls: deadline, retry and hedge."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...hedging.patience import Patience
from ...matching import matcher
from ...policies.deadline import Deadline
from ...policies.hedge import Hedge
from ...policies.retry import Retry
from ...units import quantile
from ...verdict import Kind
from .report import Tally

if TYPE_CHECKING:
    from .engine import Outcome

__all__ = ["CallJudges"]

_LEAST = 1e-3


class CallJudges:
    """All that judge the calls of one pipeline."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._judges: list[Any] = []

    def takes(self, policy: Any) -> bool:
        return isinstance(policy, (Deadline, Retry, Hedge))

    def add(self, where: tuple[str, str, int], policy: Any, whole: bool) -> bool:
        def found(op: str, what: str, seconds: float = 0.0) -> None:
            self._tally.add(where, op, what, seconds)

        if isinstance(policy, Hedge) and isinstance(policy.delay, str) and not whole:
            return False
        if isinstance(policy, Deadline):
            self._judges.append(_Deadlines(policy, found))
        elif isinstance(policy, Hedge):
            self._judges.append(_Hedges(policy, found))
        else:
            self._judges.append(_Retries(policy, found, whole))
            if policy.result is not None:
                self._tally.unjudged[f"{'.'.join(where[:2])}[{where[2]}].result (a shadow sees no results)"] = None
        return True

    def begin(self, flight: Any, at: float) -> None:
        for judge in self._judges:
            judge.begin(flight, at)

    def again(self, flight: Any, kind: str, at: float) -> None:
        """An attempt of this kind begins."""
        flight.counted += kind != "hedge"
        flight.hedged |= kind == "hedge"
        for judge in self._judges:
            judge.again(flight, kind, at)

    def attempted(self, flight: Any, since: float, at: float, outcome: Outcome) -> None:
        """An attempt has ended."""
        for judge in self._judges:
            judge.attempted(flight, since, at, outcome)

    def end(self, flight: Any, at: float, outcome: Outcome) -> None:
        for judge in self._judges:
            judge.end(flight, at, outcome)


class _CallJudge:
    def __init__(self, policy: Any, found: Callable[..., None]) -> None:
        self._policy, self._found = policy, found

    def begin(self, flight: Any, at: float) -> None:
        pass

    def again(self, flight: Any, kind: str, at: float) -> None:
        pass

    def attempted(self, flight: Any, since: float, at: float, outcome: Outcome) -> None:
        pass

    def end(self, flight: Any, at: float, outcome: Outcome) -> None:
        pass


class _Deadlines(_CallJudge):
    def end(self, flight: Any, at: float, outcome: Outcome) -> None:
        late = at - flight.begun - self._policy.seconds
        if late > _LEAST and not outcome.silent:
            self._found(flight.call.op.name, "cuts" if outcome.ok else "gives_up_sooner", late)
        elif getattr(outcome.error, "limit", None) == "deadline" and late < -_LEAST:
            self._found(flight.call.op.name, "gives_up_later", -late)


class _Retries(_CallJudge):
    """After each failure: would it go on? That is compared with what follows, another attempt or the end."""

    def __init__(self, policy: Retry, found: Callable[..., None], whole: bool) -> None:
        super().__init__(policy, found)
        self._matches = matcher("Retry", policy.on)
        self._aborts = matcher("Retry", policy.abort_on, "abort_on")
        counts = whole and policy.budget is not None and policy.budget.key is None
        self._budget: Any = policy.budget.make() if counts and policy.budget is not None else None

    def begin(self, flight: Any, at: float) -> None:
        if self._budget is not None:
            self._budget.begin(at)

    def attempted(self, flight: Any, since: float, at: float, outcome: Outcome) -> None:
        if outcome.silent or outcome.ok or outcome.stale:
            flight.notes.pop(self, None)
            return
        wants = self._wants(flight, outcome, at)
        flight.notes[self] = wants

    def _wants(self, flight: Any, outcome: Outcome, at: float) -> bool:
        policy, verdict = self._policy, outcome.verdict
        error: Any = outcome.error
        if verdict is None or flight.counted >= policy.attempts:
            return False
        if self._aborts is not None and self._aborts(error):
            return False
        if self._matches is not None:
            wanted = self._matches(error)
        else:
            kind = verdict.kind
            wanted = flight.call.op.idempotent if kind is Kind.UNKNOWN else kind is not Kind.REJECTED
        if not wanted or (verdict.retry_after or 0.0) > policy.max_retry_after:
            return False
        if policy.max_duration is not None and at - flight.begun > policy.max_duration:
            return False
        return self._budget is None or bool(self._budget.take(at, verdict.kind is Kind.THROTTLED))

    def again(self, flight: Any, kind: str, at: float) -> None:
        if kind == "retry" and flight.notes.pop(self, True) is False:
            self._found(flight.call.op.name, "retries_not")

    def end(self, flight: Any, at: float, outcome: Outcome) -> None:
        if flight.notes.pop(self, False) and not outcome.ok and not outcome.silent:
            self._found(flight.call.op.name, "retries")


class _Hedges(_CallJudge):
    """An attempt that took longer than the delay would have been asked once more, in calls that are not hedged now."""

    def __init__(self, policy: Hedge, found: Callable[..., None]) -> None:
        super().__init__(policy, found)
        self._patience: dict[str, Patience] = {}

    def attempted(self, flight: Any, since: float, at: float, outcome: Outcome) -> None:
        policy, op = self._policy, flight.call.op
        if not op.idempotent or outcome.silent or flight.hedged:
            return
        took, delay = at - since, policy.delay
        if isinstance(delay, str):
            patience = self._patience.setdefault(op.name, Patience(quantile(delay), policy.initial, policy.least))
            delay = patience.seconds
            patience.add(took, at)
        if took > delay:
            self._found(op.name, "hedges")
