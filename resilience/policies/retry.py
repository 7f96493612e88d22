"""Retry: try again when the verdict allows it, after a wait that backoff's generators compute.

The loop is ours because backoff's decorator never sees the call: it cannot ask for the deadline, the idempotency, the
budget or what the server ordered. The first attempt is made by as little code as will do; what comes after a failure is
decided in `resilience.retrying.story`, and a success pays for none of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias

from ..call import Call, Handler
from ..errors import ConfigError
from ..kit import Kit
from ..matching import On, matcher
from ..policy import Policy
from ..retrying import nesting
from ..retrying.budget import Budget, Budgets, RetryBudget, check_budget, join
from ..retrying.extras import Extras
from ..retrying.schedule import Jitter, Wait, check_wait
from ..retrying.story import Story, Terms
from ..streams import Resume, StreamHandler, check_resume, reopened
from ..units import Seconds, check

__all__ = ["Retry"]

Unwanted: TypeAlias = Callable[[Any], bool] | None


class Again(Protocol):
    """What follows a first attempt that failed, or returned what is not wanted."""

    def __call__(
        self, call: Call, error: Exception | None, value: Any, since: int, began: float = 0.0, /
    ) -> Awaitable[Any]: ...


@dataclass(frozen=True, slots=True)
class Retry(Policy):
    """Up to `attempts` attempts, the first one included.

    With no `on`, the verdict decides: FAILED and THROTTLED are repeated, UNKNOWN only where the operation is
    idempotent, REJECTED and our own refusals never. `on` (exception types, names of types, or a predicate) decides
    alone, except over refusals. `abort_on` (the same) names what is never repeated, whatever else says so. `result` is
    a predicate: a value for which it holds is asked for again, and returned as it is when the attempts are spent.

    `wait`: seconds, a wait generator of backoff's protocol, or ``{"expo": {"base": 2, "factor": 0.25}}``;
    `throttled_wait` the same after a THROTTLED, None for no difference. `jitter`: ``none full equal additive
    decorrelated`` or a function of the wait. `max_wait` caps the sum of both. A server's `retry_after` is a floor above
    that cap; beyond `max_retry_after`, or past the deadline, the call fails at once. No attempt begins later than
    `max_duration` after the call.

    `budget` bounds what all calls may send beyond their first attempts, None for no bound. What a retry beneath has
    given up on is not repeated, unless `nested`.
    """

    repeats: ClassVar[bool] = True
    keeps: ClassVar[str] = "the budget, which pipelines of one scope share"
    anew: ClassVar[Mapping[str, str]] = {}
    partly: ClassVar[Mapping[str, str]] = {"budget": "a budget of other settings is another budget, and begins anew"}

    attempts: int = 3
    on: On = None
    result: Callable[[Any], bool] | None = None
    wait: Wait = field(default_factory=lambda: {"expo": {"base": 2, "factor": 0.25}})
    jitter: Jitter = "full"
    max_wait: Seconds = 20.0
    max_retry_after: Seconds = 30.0
    max_duration: Seconds | None = None
    throttled_wait: Wait | None = None
    abort_on: On = None
    budget: Budget = RetryBudget()  # noqa: RUF009 (frozen)
    nested: bool = False
    resume: Resume = None

    def __post_init__(self) -> None:
        check("Retry", "attempts", self.attempts, least=1, whole=True)
        check("Retry", "max_wait", self.max_wait, least=0)
        check("Retry", "max_retry_after", self.max_retry_after, least=0)
        if self.max_duration is not None:
            check("Retry", "max_duration", self.max_duration, least=0)
        matcher("Retry", self.on)
        matcher("Retry", self.abort_on, "abort_on")
        if self.result is not None and not callable(self.result):
            raise ConfigError(f"Retry: result is {self.result!r}, must be a function of the result")
        check_wait("Retry", self.wait, self.jitter)
        if self.throttled_wait is not None:
            check_wait("Retry", self.throttled_wait, self.jitter, "throttled_wait")
        check_budget("Retry", self.budget)
        check_resume("Retry", self.resume)

    def unsafe(self) -> str | None:
        if self.on is not None or self.result is not None:
            return None
        return (
            "Retry() cannot know which errors of this function are safe to repeat: say it with "
            "Retry(on=(OSError, TimeoutError)), or guard it with an Op"
        )

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        budgets, tells = join(self.budget, kit)
        again = _repeating(next, Terms(self, kit, budgets), self.result)
        if self.max_duration is None:
            if budgets is None or not (tells or budgets.earns):
                return _lean(next, again, self.result)
            if budgets.counter is not None:
                return _counting(next, again, self.result, budgets.counter)
        return _accounting(next, again, self.result, budgets, tells, kit.now)

    def bind_stream(self, next: StreamHandler, kit: Kit, /) -> StreamHandler:
        return reopened(next, lambda attempt: self.bind(attempt, kit), self.resume)


def _lean(next: Handler, again: Again, unwanted: Unwanted) -> Handler:
    """The first attempt, and nothing else."""

    async def run(call: Call) -> Any:
        since = nesting.given_up
        try:
            value = await next(call)
        except Exception as exc:
            rest = again(call, exc, None, since)
        else:
            if unwanted is None or not unwanted(value):
                return value
            rest = again(call, None, value, since)
        return await rest

    return run


def _counting(next: Handler, again: Again, unwanted: Unwanted, counter: Extras) -> Handler:
    """The same, for the usual budget: a call that begins is a number that grows."""

    async def run(call: Call) -> Any:
        made = call.made
        if made is None or made.number == 1:  # else a policy above repeats it
            counter.begun += 1
        since = nesting.given_up
        try:
            value = await next(call)
        except Exception as exc:
            rest = again(call, exc, None, since)
        else:
            if unwanted is None or not unwanted(value):
                return value
            rest = again(call, None, value, since)
        return await rest

    return run


def _accounting(
    next: Handler, again: Again, unwanted: Unwanted, budgets: Budgets | None, tells: bool, now: Callable[[], float]
) -> Handler:
    """The same, where the clock is needed, or a budget wants to know more."""
    told = budgets if tells else None
    earning = budgets if tells and budgets is not None and budgets.earns else None

    async def run(call: Call) -> Any:
        began = now()
        if told is not None and (call.made is None or call.made.number == 1):
            told.begin(call)
        since = nesting.given_up
        try:
            value = await next(call)
        except Exception as exc:
            rest = again(call, exc, None, since, began)
        else:
            if unwanted is None or not unwanted(value):
                if earning is not None:
                    earning.succeeded(call, 0)
                return value
            rest = again(call, None, value, since, began)
        return await rest

    return run


def _repeating(next: Handler, terms: Terms, unwanted: Unwanted) -> Again:
    """What follows a first attempt that failed."""
    budgets = terms.budgets

    async def again(call: Call, error: Exception | None, value: Any, since: int, began: float = 0.0, /) -> Any:
        story = Story(terms, began)
        origin, first = call, call.attempt
        try:
            while True:
                pause = story.pause(call, error, value, since)
                if pause is None:
                    if error is None:
                        return value
                    raise story.outcome(error)
                error = value = None  # not to be held while it waits
                if pause > 0:
                    await asyncio.sleep(pause)
                call = story.next_attempt(call)
                since = nesting.given_up
                try:
                    value = await next(call)
                except Exception as exc:
                    error = exc
                else:
                    if unwanted is None or not unwanted(value):
                        if budgets is not None:
                            budgets.succeeded(call, story.charged)
                        return value
        finally:
            origin.made = first  # who stands above asks what was sent from this attempt on
            error = story = None  # type: ignore[assignment]  # their tracebacks refer to this frame

    return again
