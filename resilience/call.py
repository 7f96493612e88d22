"""The records that travel through a pipeline: the operation, the call, and one attempt of it.

What an attempt learns on its way is written on its `Attempt`, and nowhere else: no hooks into a neighbour, no "last
error", no ambient registry. `Call.attempts` is therefore the whole history of a run, and telemetry reads it at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

__all__ = ["Attempt", "Call", "Handler", "LimitReport", "Mark", "Op", "Priority", "TakesCall", "takes_call"]

Handler = Callable[["Call"], Awaitable[Any]]
Priority = Literal["critical", "default", "sheddable"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Op:
    """What is true of every call to one endpoint; written once, by the adapter.

    `name` is the span's name, the limiter's key and the row in a timeout table. `idempotent`: may it safely happen
    twice? `cost` is in rate-limit tokens. `priority` says who goes first when there is too much to do: ``"critical"``,
    ``"default"`` or ``"sheddable"``.
    """

    name: str
    idempotent: bool = False
    cost: float = 1.0
    priority: Priority = "default"


@dataclass(frozen=True, slots=True)
class LimitReport:
    """What the server said about its limit in one reply: tokens left of `limit`, and when they are all back.

    `reset_in` is in seconds from the reply, never negative, None where the server did not say.
    """

    limit: float
    remaining: float
    reset_in: float | None = None


class Mark:
    """Stands for a call in what outlives it (an open circuit, a kept answer), so that later calls can refer to it.

    `span` is the tracer's: the context of the call's span, None while there is none.
    """

    __slots__ = ("span",)

    def __init__(self) -> None:
        self.span: Any = None


class Attempt:
    """One attempt, made when it begins.

    `number` counts from 1 over the whole run. `kind` is ``"original"``, ``"retry"``, ``"hedge"`` or ``"probe"``.
    `sent`: may a byte have left? `stale`: it rode on a reused connection that was reset before any byte of an answer.
    `fresh`: it must not ride on a reused connection (set for a transparent retry). `lost`: another branch of a hedged
    call won, so that what becomes of this one teaches nobody anything. `waited`: seconds in our own queues
    and limiters. `limits`: what the server reported, on success too. `notes`: decisions and timings for the span.
    """

    # Most attempts change two of these, so the rest are defaults of the class and not eight stores at birth: half the
    # price of a slotted record.
    number: int = 1
    kind: str = "original"
    sent: bool = False
    stale: bool = False
    fresh: bool = False
    lost: bool = False
    waited: float = 0.0
    limits: LimitReport | None = None
    noted: dict[str, Any] | None = None
    """The notes, if anybody has written or read one yet."""
    circuit: Any = None
    """The breaker's state that let this attempt in, while that is the only note: it has a label and a generation."""
    marked: Mark | None = None
    link: tuple[str, Mark] | None = None
    """Another call that had to do with this attempt, and how: ``"coalesced"``, ``"opened_by"`` or ``"filled_by"``."""
    before: tuple[int, dict[str, float]] | None = None
    """Of the attempts before this one that a long stream has forgotten: how many were sent, and their waits."""
    # The tracer's, who keeps what it would rather not make a record for until it knows that somebody wants to see it.
    at: float | None = None
    ended: float | None = None
    remaining: float | None = None
    outcome: str = "ok"
    error_type: str = ""
    pause: tuple[str, float, float | None] | None = None

    @property
    def notes(self) -> dict[str, Any]:
        """Made for the first who writes or reads one."""
        notes = self.noted
        if notes is None:
            circuit = self.circuit
            notes = self.noted = (
                {} if circuit is None else {"breaker.state": circuit.label, "breaker.generation": circuit.generation}
            )
        return notes

    def mark(self) -> Mark:
        """What stands for its call later; made for the first who asks."""
        if self.marked is None:
            self.marked = Mark()
        return self.marked

    def __repr__(self) -> str:
        return f"Attempt({self.number}, {self.kind!r}, sent={self.sent})"


class Call:
    """One run of a pipeline, copied per attempt because hedged branches overlap.

    `deadline` is absolute, on the event loop's clock, None for none. `keys` names what the call concerns
    (``{"host": ..., "account": ...}``), filled by the adapter. `lent` holds what pools lent to this attempt; it goes in
    front of `args`. `record` belongs to the tracer; it and the history in `attempts` are shared by all copies.
    """

    # Defaults of the class, like the attempt's: a call that goes well changes none of them.
    keys: Mapping[str, str] = _NOTHING
    lent: tuple[Any, ...] = ()
    record: Any = None
    span: Any = None
    """The ids of the span that this call became, once it has ended and a tracer kept it; for observers around that."""
    made: Attempt | None = None
    """The attempt's record if anybody has asked for it yet, for those who would only look at what is there."""
    reached = False
    """Whether the target was called before there was a record to say so."""
    history: list[Attempt] | None = None
    """The attempts so far, if there was more to note than one; `attempts` makes it."""

    def __init__(
        self,
        op: Op,
        target: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = _NOTHING,
        deadline: float | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self.op = op
        self.target = target
        self.args = args
        self.kwargs = kwargs
        self.deadline = deadline
        if keys is not None:
            self.keys = keys

    @property
    def attempt(self) -> Attempt:
        """The record of the present attempt; made when first asked for, since most calls end well and nobody asks."""
        attempt = self.made
        if attempt is None:
            attempt = self.made = Attempt()
            if self.reached:
                attempt.sent = True
        return attempt

    @attempt.setter
    def attempt(self, attempt: Attempt) -> None:
        self.made = attempt

    @property
    def attempts(self) -> list[Attempt]:
        """Every attempt of this run so far, in the order in which they began."""
        history = self.history
        if history is None:
            history = self.history = [self.attempt]
        return history

    @property
    def may_go_again(self) -> bool:
        """Was a reused connection reset before any byte of an answer, so that the call may go again at once?

        Once a call, on a fresh connection (a *transparent retry*), and only what may happen twice. It says that the
        other side had closed an idle connection, and nothing of how that side is.
        """
        return self.attempt.stale and self.op.idempotent and not any(attempt.fresh for attempt in self.attempts)

    def again(self, kind: str) -> Call:
        """A copy for one more attempt, whose record joins the shared history."""
        other = self.copy()
        other.renew(kind)
        return other

    def renew(self, kind: str) -> Attempt:
        """Go on as one more attempt; for who knows that nobody else holds this call, and puts `attempt` back."""
        history = self.history
        if history is None:
            history = self.attempts
        attempt = self.made = Attempt()
        attempt.number, attempt.kind = len(history) + 1, kind
        history.append(attempt)
        return attempt

    def copy(self) -> Call:
        """The same attempt in a call of its own, for a branch that runs beside others."""
        return self._copy(self.attempt, self.attempts)

    def _copy(self, attempt: Attempt, history: list[Attempt]) -> Call:
        other = Call(self.op, self.target, self.args, self.kwargs, self.deadline, self.keys)
        other.made, other.history = attempt, history
        other.lent, other.record = self.lent, self.record
        return other

    def __repr__(self) -> str:
        return f"Call({self.op.name!r}, attempts={len(self.attempts)})"


def _make_room(record: Attempt | Call) -> None:
    """Give all later instances of this class room for every field.

    CPython (3.11 on) learns from the first instances how much room to make; what finds none costs a dictionary.
    """
    fields = [name for name, value in vars(type(record)).items() if not name.startswith("__") and not callable(value)]
    for name in fields:
        if not isinstance(getattr(type(record), name), property):
            setattr(record, name, getattr(record, name))


_make_room(Attempt())
_make_room(Call(Op(""), asyncio.sleep))


class TakesCall:
    """A target that is handed the `Call` before its other arguments; made by `takes_call`."""

    __slots__ = ("__wrapped__",)

    def __init__(self, fn: Callable[..., Awaitable[Any]]) -> None:
        self.__wrapped__ = fn

    def __call__(self, call: Call, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        return self.__wrapped__(call, *args, **kwargs)


def takes_call(fn: Callable[..., Awaitable[Any]]) -> TakesCall:
    """Mark a target that is handed the `Call` before its other arguments, and sets `attempt.sent` itself.

    For transports. Any other target counts as sent from the moment it is called, since nobody can know better.
    """
    return TakesCall(fn)
