"""What became of one call since its first attempt failed, and what that allows next.

Made at a call's first failure, so that a success pays for none of it. Every decision of a retry stands here, each taken
synchronously; the waiting and the sending are the policy's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..call import Call, TakesCall
from ..events import Waiting
from ..kit import Kit
from ..matching import holds, matcher
from ..verdict import Kind, Verdict
from . import nesting
from .budget import Budgets
from .schedule import Next, schedule, steady

if TYPE_CHECKING:
    from ..policies.retry import Retry

__all__ = ["Story", "Terms"]

_log = logging.getLogger("resilience")
_UNKNOWN, _REJECTED, _THROTTLED = Kind.UNKNOWN, Kind.REJECTED, Kind.THROTTLED  # an enum is slow to look things up in
_MOST_NOTES = 32
_LONGEST_NOTE = 200
_NOT_TOLD = "Retry: a predicate failed on %s; it is not retried"
_LINE = "attempt %d: %s; retried after %.3g s"
_DETAILS = {"aborted": "abort_on names it", "nested_retry": "a retry beneath has given up on it"}


class Terms:
    """What all calls of one retry have in common, looked up when it is bound."""

    __slots__ = ("aborts", "budgets", "kit", "matches", "policy", "waits", "warned")

    def __init__(self, policy: Retry, kit: Kit, budgets: Budgets | None) -> None:
        self.policy = policy
        self.kit = kit
        self.budgets = budgets
        self.matches = matcher("Retry", policy.on)
        self.aborts = matcher("Retry", policy.abort_on)
        self.warned = kit.keep("retry", policy, Warned)
        self.waits: Next | None = None  # where one schedule serves all calls
        if steady(policy.wait, policy.jitter):
            self.waits = schedule(policy.wait, policy.jitter, policy.max_wait, kit.rng)


class Warned:
    """Whether a pipeline's log has been told of nested retries: once is enough."""

    yet = False


class Story:
    """One call. After each attempt that failed `pause`, then `next_attempt` or `outcome`."""

    charged: int
    """What the last further attempt cost the budget, if there is one."""
    _counted = 1  # attempts so far, but for the transparent one
    _wanted_more = False
    _unknown: Exception | None = None
    _throttled_waits: Next | None = None
    _why: str  # of the next attempt, as is
    _delay: float

    def __init__(self, terms: Terms, began: float) -> None:
        self._terms = terms
        self._began = began
        self._waits = terms.waits
        self._lines: list[str | tuple[Any, ...]] = []  # worded for those who see the call fail

    def pause(self, call: Call, error: Exception | None, value: Any, since: int) -> float | None:
        """Seconds until the next attempt, or None if there shall be none.

        `since` is what `nesting.given_up` was when the attempt began.
        """
        terms, verdict, nested = self._terms, None, False
        if error is None:
            self._unknown = None  # it answered
        else:
            verdict = terms.kit.judge(error, call)
            if verdict is None:
                return None  # refused by us: waiting and asking again is not the retry's business
            kind = verdict.kind
            if kind is _UNKNOWN:
                self._unknown = error
            elif kind is _REJECTED:
                self._unknown = None
            nested = nesting.meet(error, since) and not terms.policy.nested
            if terms.aborts is not None and holds(terms.aborts, error, unsure=True, told=_NOT_TOLD):
                return self._stop(call, "aborted")
            if call.may_go_again:
                return self._schedule(call, error, "transparent", 0.0, throttled=False)
            if not self._wanted(call, error, kind):
                return None
        if self._counted >= terms.policy.attempts:
            return self._stop(call, "attempts_spent")
        if nested:
            self._warn(call)
            return self._stop(call, "nested_retry")
        return self._after(call, error, value, verdict)

    def next_attempt(self, call: Call) -> Call:
        """The call once more, with a record that says why it is made."""
        if self._terms.kit.emit is not None or type(call.target) is TakesCall:
            call = call.copy()  # an observer or a transport may have kept that of the last attempt
        attempt, why = call.renew("retry"), self._why
        notes: dict[str, Any] = {"retry": why}
        attempt.noted = notes
        if why == "transparent":
            attempt.fresh = True
        elif self._delay:
            notes[f"wait.{why}"] = self._delay
        return call

    def outcome(self, last: Exception) -> Exception:
        """The error that tells the caller the truth, with the history in its notes.

        The last one, unless an earlier attempt was UNKNOWN and none since has answered: then *that* one, because the
        call may have been executed.
        """
        error = last if self._unknown is None else self._unknown
        if self._wanted_more and self._terms.policy.attempts > 1:
            nesting.give_up(error, repeated=self._counted > 1)
        if self._lines:
            kept = error.__dict__  # not add_note, which an error that cannot be changed (a frozen dataclass) refuses
            notes = kept.get("__notes__")
            room = max(0, _MOST_NOTES - len(notes)) if notes else _MOST_NOTES
            worded = [line if isinstance(line, str) else _LINE % line for line in self._lines[:room]]
            kept["__notes__"] = [*notes, *worded] if notes else worded
        return error

    def _wanted(self, call: Call, error: Exception, kind: Kind) -> bool:
        matches = self._terms.matches
        if matches is not None:
            return holds(matches, error, unsure=False, told=_NOT_TOLD)
        return call.op.idempotent if kind is _UNKNOWN else kind is not _REJECTED

    def _after(self, call: Call, error: Exception | None, value: Any, verdict: Verdict | None) -> float | None:
        policy = self._terms.policy
        throttled = verdict is not None and verdict.kind is _THROTTLED
        try:
            waits = self._waits if not throttled or policy.throttled_wait is None else self._throttled_waits
            if waits is None:
                waits = self._begin(throttled)
            delay = waits(value if error is None else error)
        except Exception:
            _log.exception(
                "Retry: the schedule failed on %s; it is not retried", type(value if error is None else error).__name__
            )
            delay = None
        if delay is None:
            return self._stop(call, "schedule_exhausted")
        ordered = None if verdict is None else verdict.retry_after
        if ordered is not None:
            if ordered > policy.max_retry_after:
                return self._stop(call, "deadline_would_exceed", f"the server orders a wait of {ordered:.3g} s")
            floor = ordered * (1 + 0.1 * self._terms.kit.rng.random())  # never less, and not all clients at once
            if floor >= delay:
                return self._schedule(call, error, "retry_after", floor, throttled)
        return self._schedule(call, error, "backoff", delay, throttled)

    def _begin(self, throttled: bool) -> Next:
        """The schedule to go on with, made when it is first needed."""
        policy, rng = self._terms.policy, self._terms.kit.rng
        if throttled and policy.throttled_wait is not None:
            self._throttled_waits = schedule(policy.throttled_wait, policy.jitter, policy.max_wait, rng)
            return self._throttled_waits
        self._waits = schedule(policy.wait, policy.jitter, policy.max_wait, rng)
        return self._waits

    def _schedule(self, call: Call, error: Exception | None, why: str, delay: float, throttled: bool) -> float | None:
        """Is there time, and is it within the budget? Then the next attempt is decided on, and paid for."""
        terms = self._terms
        kit, policy, budgets = terms.kit, terms.policy, terms.budgets
        if call.deadline is not None or policy.max_duration is not None:
            at = kit.now() + delay
            if call.deadline is not None and at >= call.deadline:
                return self._stop(call, "deadline_would_exceed", f"the next attempt was due in {delay:.3g} s")
            if policy.max_duration is not None and at > self._began + policy.max_duration:
                return self._stop(call, "duration_spent", f"the next attempt was due in {delay:.3g} s")
        if budgets is not None:
            self.charged = budgets.take(call, throttled)
            if kit.emit is not None:
                call.attempt.notes["budget.balance"] = budgets.balance(call)
            if not self.charged:
                return self._stop(call, "budget_spent")
        self._why, self._delay = why, delay
        what = "an unwanted result" if error is None else _worded(error)
        if why == "transparent":
            self._lines.append(f"attempt {call.attempt.number}: {what}; sent again at once on a new connection")
            return 0.0
        self._counted += 1
        self._lines.append((call.attempt.number, what, delay))
        if kit.emit is not None:
            kit.emit(Waiting(call, why, delay, kit.now()))
        return delay

    def _stop(self, call: Call, reason: str, detail: str = "") -> float | None:
        """No next attempt, for this reason."""
        call.attempt.notes["retry_stopped"] = reason
        self._wanted_more = reason != "aborted"
        if reason != "attempts_spent":
            detail = detail or _DETAILS.get(reason, "")
            self._lines.append(f"not retried: {reason}{detail and ': ' + detail}")
        return None

    def _warn(self, call: Call) -> None:
        if not self._terms.warned.yet:
            self._terms.warned.yet = True
            _log.warning(
                "pipeline %r: %s is retried at more than one level; what a retry beneath has given up on is not "
                "repeated. Retry where most is known, once, or say nested=True to multiply the attempts",
                self._terms.kit.name, call.op.name,
            )  # fmt: skip


def _worded(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:_LONGEST_NOTE]
    except Exception:
        return type(error).__name__
