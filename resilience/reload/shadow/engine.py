"""The engine: told what happens to calls, in the order of time, it asks a judge for each new policy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...call import Call, LimitReport
from ...descriptor import describe
from ...errors import Refused
from ...verdict import Kind, Verdict
from .attempts import AttemptJudges
from .calls import CallJudges
from .report import Tally

__all__ = ["Engine", "Engines", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt or a call ended: `verdict` None for success, for a refusal of ours and for a cancellation.

    `waited`: seconds in our own queues, by what they were for (``"limiter"``, ``"queue"``).
    """

    error: BaseException | None = None
    verdict: Verdict | None = None
    waited: dict[str, float] | None = None
    limits: LimitReport | None = None
    stale: bool = False
    lost: bool = False

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def answered(self) -> bool:
        """Whether the target has answered, be it with a no."""
        return self.ok or (self.verdict is not None and self.verdict.kind is Kind.REJECTED)

    @property
    def silent(self) -> bool:
        """Whether nobody learns anything from it: refused by us, cancelled, or lost to another branch."""
        return self.lost or (self.error is not None and self.verdict is None)

    @property
    def refusal(self) -> Refused | None:
        return self.error if isinstance(self.error, Refused) else None

    def wait(self, why: str) -> float:
        return (self.waited or {}).get(why, 0.0)


class Engine:
    """The shadow of one pipeline: `policies`, outermost first. `whole` if it hears of every call."""

    def __init__(self, name: str, policies: Sequence[Any], tally: Tally, seed: int = 0, whole: bool = True) -> None:
        self.tally = tally
        self._calls: dict[Hashable, _Flight] = {}
        self.now = 0.0
        boundary = max((i + 1 for i, policy in enumerate(policies) if getattr(policy, "repeats", False)), default=0)
        rng = random.Random(seed)  # noqa: S311 (jitter of open times)
        self._on_calls = CallJudges(tally)
        self._on_attempts = AttemptJudges(tally, self._clock, rng)
        for position, policy in enumerate(policies):
            kind = str(describe(policy)["policy"])
            judges: Any = self._on_calls if self._on_calls.takes(policy) else self._on_attempts
            if position < boundary and judges is self._on_attempts:
                tally.unjudged[f"{name}.{kind}[{position}] (it stands above what repeats)"] = None
            elif not whole and getattr(judges, "counts", lambda policy: False)(policy):
                tally.unjudged[f"{name}.{kind}[{position}] (the traces are a sample, and it counts all calls)"] = None
            elif not judges.add((name, kind, position), policy, whole):
                tally.unjudged[f"{name}.{kind}[{position}]"] = None

    def _clock(self) -> float:
        return self.now

    def call_begins(self, key: Hashable, call: Call, at: float) -> None:
        self._at(at)
        self.tally.calls += 1
        self._calls[key] = flight = _Flight(call, at)
        self._on_calls.begin(flight, at)

    def attempt_begins(self, key: Hashable, number: int, kind: str, at: float) -> None:
        flight = self._calls.get(key)
        if flight is None:
            return  # it began before we looked
        self._at(at)
        self.tally.attempts += 1
        call = Call(flight.call.op, asyncio.sleep, deadline=flight.call.deadline, keys=flight.call.keys)
        flight.attempts[number] = call, at
        self._on_calls.again(flight, kind, at)
        self._on_attempts.begin(call, at)

    def attempt_ends(self, key: Hashable, number: int, at: float, outcome: Outcome) -> None:
        flight = self._calls.get(key)
        begun = None if flight is None else flight.attempts.pop(number, None)
        if flight is None or begun is None:
            return
        self._at(at)
        call, since = begun
        self._on_attempts.end(call, since, at, outcome)
        self._on_calls.attempted(flight, since, at, outcome)

    def call_ends(self, key: Hashable, at: float, outcome: Outcome) -> None:
        flight = self._calls.pop(key, None)
        if flight is not None:
            self._at(at)
            self._on_calls.end(flight, at, outcome)

    def _at(self, at: float) -> None:
        self.now = max(self.now, at)
        self.tally.at(at)


class _Flight:
    """A call that is under way; `notes` belongs to the judges of calls."""

    __slots__ = ("attempts", "begun", "call", "counted", "hedged", "notes")

    def __init__(self, call: Call, begun: float) -> None:
        self.call, self.begun = call, begun
        self.attempts: dict[int, tuple[Call, float]] = {}
        self.counted = 0
        self.hedged = False
        self.notes: dict[Any, Callable[[], None] | Any] = {}


class Engines:
    """The engines of a file, made when they are needed. `policies` are by pipeline, `routes` as `Shadow` has them."""

    def __init__(
        self,
        policies: Mapping[str, Sequence[Any]],
        tally: Tally,
        routes: Mapping[tuple[str, str], str],
        whole: bool = True,
    ) -> None:
        self._policies = policies
        self._tally = tally
        self._routes = routes
        self._whole = whole
        self._made: dict[str, Engine] = {}

    def of(self, pipeline: str, op: str = "") -> Engine | None:
        """The one that an operation of this pipeline would go through. None, and noted, if there is no such pipeline.

        A pipeline is found under its name with or without its exchange before it.
        """
        name = self._routes.get((pipeline, op), pipeline)
        if name not in self._policies and name.partition(".")[2] not in self._policies:
            self._tally.unjudged[f"{name or 'calls of no name'} (it is not in the new file)"] = None
            return None
        if name not in self._made:
            policies = self._policies[name] if name in self._policies else self._policies[name.partition(".")[2]]
            self._made[name] = Engine(name, policies, self._tally, whole=self._whole)
        return self._made[name]
