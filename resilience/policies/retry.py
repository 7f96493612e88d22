"""Retry: try again when the verdict allows it, after a wait that backoff's generators compute.

The loop is ours because backoff's decorator never sees the call: it cannot ask for the deadline, the idempotency or
what the server ordered. The generators are made on a call's first failure, so a success never pays for them.

What a call raises is an attempt's own error: the last one's, unless an earlier attempt was UNKNOWN and nothing since
has answered. Then *that* error is raised, because the call may have been executed. The history is in `__notes__`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..call import Call, Handler
from ..errors import ConfigError
from ..events import Waiting
from ..kit import Kit
from ..matching import On, matcher
from ..policy import Policy
from ..schedule import Jitter, Wait, check_wait, schedule
from ..streams import Resume, StreamHandler, check_resume, reopened
from ..units import Seconds, check
from ..verdict import Kind, Verdict

__all__ = ["Retry"]

_MOST_NOTES = 32
_LONGEST_NOTE = 200


@dataclass(frozen=True, slots=True)
class Retry(Policy):
    """Up to `attempts` attempts, the first one included.

    With no `on`, the verdict decides: FAILED and THROTTLED are repeated, UNKNOWN only where the operation is
    idempotent, REJECTED and our own refusals never. `on` (exception types, names of types, or a predicate) decides
    alone, except over refusals. `result` is a predicate: a value for which it holds is asked for again, and returned
    as it is when the attempts are spent.

    `wait`: seconds, a wait generator of backoff's protocol, or ``{"expo": {"base": 2, "factor": 0.25}}``. `jitter`:
    ``none full equal additive decorrelated`` or a function of the wait. `max_wait` caps the sum of both. A server's
    `retry_after` is a floor above that cap; beyond `max_retry_after`, or past the deadline, the call fails at once.
    """

    repeats: ClassVar[bool] = True

    attempts: int = 3
    on: On = None
    result: Callable[[Any], bool] | None = None
    wait: Wait = field(default_factory=lambda: {"expo": {"base": 2, "factor": 0.25}})
    jitter: Jitter = "full"
    max_wait: Seconds = 20.0
    max_retry_after: Seconds = 30.0
    resume: Resume = None

    def __post_init__(self) -> None:
        check("Retry", "attempts", self.attempts, least=1, whole=True)
        check("Retry", "max_wait", self.max_wait, least=0)
        check("Retry", "max_retry_after", self.max_retry_after, least=0)
        matcher("Retry", self.on)
        if self.result is not None and not callable(self.result):
            raise ConfigError(f"Retry: result is {self.result!r}, must be a function of the result")
        check_wait("Retry", self.wait, self.jitter)
        check_resume("Retry", self.resume)

    def unsafe(self) -> str | None:
        if self.on is not None or self.result is not None:
            return None
        return (
            "Retry() cannot know which errors of this function are safe to repeat: say it with "
            "Retry(on=(OSError, TimeoutError)), or guard it with an Op"
        )

    def bind(self, next: Handler, kit: Kit, /) -> Handler:
        unwanted = self.result
        matches = matcher("Retry", self.on)

        async def run(call: Call) -> Any:
            story: _Story | None = None
            error: Exception | None = None
            value = None
            try:
                while True:
                    try:
                        value = await next(call)
                    except Exception as exc:
                        error = exc
                    else:
                        if unwanted is None or not unwanted(value):
                            return value
                        error = None
                    if story is None:
                        story = _Story(self, kit, matches)
                    pause = story.pause(call, error, value)
                    if pause is None:
                        if error is None:
                            return value
                        raise story.outcome(error)
                    if pause > 0:
                        await asyncio.sleep(pause)
                    call = story.next_attempt(call)
            finally:
                error = story = None  # their tracebacks refer to this frame

        return run

    def bind_stream(self, next: StreamHandler, kit: Kit, /) -> StreamHandler:
        return reopened(next, lambda attempt: self.bind(attempt, kit), self.resume)


class _Story:
    """What happened to one call since its first attempt failed, and what that allows next."""

    def __init__(self, policy: Retry, kit: Kit, matches: Callable[[Exception], bool] | None) -> None:
        self._policy = policy
        self._kit = kit
        self._matches = matches
        self._waits = schedule(policy.wait, policy.jitter, policy.max_wait, kit.rng)
        self._counted = 1
        self._refreshed = False
        self._unknown: Exception | None = None
        self._lines: list[str] = []
        self._fresh = False
        self._wait = ("", 0.0)

    def pause(self, call: Call, error: Exception | None, value: Any) -> float | None:
        """Seconds until the next attempt, or None if there shall be none."""
        verdict = None if error is None else self._kit.judge(error, call)
        if verdict is not None and verdict.kind is Kind.UNKNOWN:
            self._unknown = error
        elif error is None or (verdict is not None and verdict.kind is Kind.REJECTED):
            self._unknown = None  # it answered
        self._fresh = call.attempt.stale and call.op.idempotent and not self._refreshed and error is not None
        if self._fresh:
            self._refreshed = True
            self._wait = ("transparent", 0.0)
            self._tell(call, error, "sent again at once on a new connection")
            return 0.0
        if error is not None and not self._wanted(call, error, verdict):
            return None
        if self._counted >= self._policy.attempts:
            self._stop(call, "attempts_spent")
            return None
        return self._delay(call, error, value, verdict)

    def _wanted(self, call: Call, error: Exception, verdict: Verdict | None) -> bool:
        if verdict is None:  # refused by us: waiting and asking again is not the retry's business
            return False
        if self._matches is not None:
            return self._matches(error)
        if verdict.kind is Kind.UNKNOWN:
            return call.op.idempotent
        return verdict.kind in (Kind.FAILED, Kind.THROTTLED)

    def _delay(self, call: Call, error: Exception | None, value: Any, verdict: Verdict | None) -> float | None:
        delay = self._waits(value if error is None else error)
        if delay is None:
            self._stop(call, "schedule_exhausted")
            return None
        why = "backoff"
        ordered = None if verdict is None else verdict.retry_after
        if ordered is not None:
            if ordered > self._policy.max_retry_after:
                self._stop(call, "deadline_would_exceed", f"the server orders a wait of {ordered:.3g} s")
                return None
            floor = ordered * (1 + 0.1 * self._kit.rng.random())  # never less, and not all clients at once
            if floor >= delay:
                delay, why = floor, "retry_after"
        at = self._kit.now()
        if call.deadline is not None and at + delay >= call.deadline:
            self._stop(call, "deadline_would_exceed", f"the next attempt was due in {delay:.3g} s")
            return None
        self._counted += 1
        self._wait = (why, delay)
        self._tell(call, error, f"retried after {delay:.3g} s")
        if self._kit.emit is not None:
            self._kit.emit(Waiting(call, why, delay, at))
        return delay

    def next_attempt(self, call: Call) -> Call:
        """The call once more, with a record that says why it is made."""
        call = call.again("retry")
        why, seconds = self._wait
        call.attempt.fresh = self._fresh
        call.attempt.notes["retry"] = why
        if seconds:
            call.attempt.notes[f"wait.{why}"] = seconds
        return call

    def _tell(self, call: Call, error: Exception | None, then: str) -> None:
        what = "an unwanted result" if error is None else f"{type(error).__name__}: {error}"
        self._lines.append(f"attempt {call.attempt.number}: {what[:_LONGEST_NOTE]}; {then}")

    def _stop(self, call: Call, reason: str, detail: str = "") -> None:
        call.attempt.notes["retry_stopped"] = reason
        if reason != "attempts_spent":
            self._lines.append(f"not retried: {reason}{detail and ': ' + detail}")

    def outcome(self, last: Exception) -> Exception:
        """The error that tells the caller the truth, with the history in its notes."""
        error = self._unknown or last
        self._unknown = None
        for line in self._lines[: max(0, _MOST_NOTES - len(getattr(error, "__notes__", ())))]:
            error.add_note(line)
        return error
