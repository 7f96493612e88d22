"""One pipeline as the rules see it: its policies, what is known besides, and the numbers, worked out once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from ..analysis import Estimate, Terms, estimate, operations, send_times, worst_latency
from ..call import Op
from ..descriptor import kind_of
from .facts import Facts, looks_unsafe
from .finding import Severity
from .settings import LintSettings

__all__ = ["Found", "Rule", "Subject", "counted", "seconds"]


class Found(NamedTuple):
    """The policy's position, the text, and the setting that it is about."""

    position: int | None
    message: str
    field: str = ""
    severity: Severity | None = None
    place: Any = None


class Rule(NamedTuple):
    """`find` yields what it finds; `severity` is how bad that is, where it does not say otherwise."""

    severity: Severity
    find: Callable[[Subject], Iterator[Found]]


class Subject:
    """What is linted."""

    def __init__(
        self, policies: Sequence[Any], facts: Facts | None = None, settings: LintSettings | None = None
    ) -> None:
        self.policies = tuple(policies)
        self.facts = facts or Facts()
        self.settings = settings or LintSettings()
        self._estimates: dict[str, Estimate] = {}
        self._sends: dict[str, int] = {}

    @cached_property
    def ops(self) -> list[Op]:
        """The operations that can be told apart, and `ANY` for all others where not all are known."""
        stated = {name: Op(name) for name in self.settings.not_idempotent}
        known = {op.name: op for op in self.facts.ops}
        found = operations(self.policies, {**known, **stated}.values())
        if known:  # all are known: what a table names beside them goes through another pipeline, or nowhere
            found = [op for op in found if op.name in known or op.name in stated]
        return [self._guessed(op, {*known, *stated}) for op in found]

    def _guessed(self, op: Op, stated: set[str]) -> Op:
        return Op(op.name) if op.name not in stated and looks_unsafe(op.name) else op

    def stated(self, op: Op) -> bool:
        """Whether somebody said what this operation is, so that nothing is guessed."""
        return op.name in self.settings.not_idempotent or any(op.name == known.name for known in self.facts.ops)

    def estimate(self, op: Op) -> Estimate:
        if op.name not in self._estimates:
            self._estimates[op.name] = estimate(self.policies, op, self.ops)
        return self._estimates[op.name]

    def sends(self, op: Op) -> int:
        """The most requests that one call becomes."""
        if op.name not in self._sends:
            self._sends[op.name] = len(send_times(self.policies, self.terms(op, queues="all")))
        return self._sends[op.name]

    def terms(self, op: Op, **what: Any) -> Terms:
        """What counts for an operation; with no waits in queues unless said otherwise."""
        return Terms(op, **{"queues": "none", "peers": tuple(self.ops), **what})

    def beneath(self, position: int, op: Op, **what: Any) -> float:
        """The longest that what lies beneath a policy takes, in seconds."""
        return worst_latency(self.policies[position + 1 :], self.terms(op, **what))

    def each(self, *kinds: str) -> Iterator[tuple[int, Any]]:
        """Position and policy of those kinds."""
        return ((at, policy) for at, policy in enumerate(self.policies) if kind_of(policy) in kinds)

    def above(self, position: int, *kinds: str) -> list[Any]:
        """The policies of these kinds above a position."""
        return [policy for policy in self.policies[:position] if kind_of(policy) in kinds]


def seconds(value: float) -> str:
    """For a message: ``1.5 s``."""
    return f"{value:.4g} s"


def counted(number: int, what: str) -> str:
    """``1 attempt``, ``3 attempts``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
