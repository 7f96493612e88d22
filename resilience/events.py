"""What happened, as a closed union of small records, told by one plain synchronous function.

A Started and its Ended are emitted in the same task, properly nested, whatever happens in between. Events tell what
happens; how things *stand* is pulled from the kept states (`Pipeline.status`), never pushed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Union, runtime_checkable

from .call import Call, Handler
from .verdict import Verdict

if TYPE_CHECKING:
    from .kit import Kit

__all__ = [
    "Around",
    "AttemptEnded",
    "AttemptStarted",
    "CallEnded",
    "CallStarted",
    "Emit",
    "Event",
    "StateChanged",
    "Waiting",
    "fan_out",
]

_log = logging.getLogger("resilience")


class CallStarted:
    """A run began. `at` is on the event loop's clock, in seconds; `pipeline` is the pipeline's name."""

    __slots__ = ("at", "call", "pipeline")

    def __init__(self, call: Call, pipeline: str, at: float) -> None:
        self.call, self.pipeline, self.at = call, pipeline, at


class CallEnded:
    """A run ended: with a value (`error` None), an exception, or a cancellation (`error` is the `CancelledError`)."""

    __slots__ = ("at", "call", "error", "pipeline", "verdict")

    def __init__(
        self, call: Call, pipeline: str, at: float, error: BaseException | None, verdict: Verdict | None
    ) -> None:
        self.call, self.pipeline, self.at, self.error, self.verdict = call, pipeline, at, error, verdict


class AttemptStarted:
    """An attempt entered the boundary, before its waits in limiters, queues and pools."""

    __slots__ = ("at", "attempt", "call")

    def __init__(self, call: Call, at: float) -> None:
        self.call, self.attempt, self.at = call, call.attempt, at


class AttemptEnded:
    """An attempt left the boundary. `verdict` is None on success, for a refusal of ours and for a cancellation."""

    __slots__ = ("at", "attempt", "call", "error", "verdict")

    def __init__(self, call: Call, at: float, error: BaseException | None, verdict: Verdict | None) -> None:
        self.call, self.attempt, self.at, self.error, self.verdict = call, call.attempt, at, error, verdict


class Waiting:
    """A policy is about to wait.

    `why` is ``"backoff"``, ``"retry_after"`` (the server ordered it), ``"queue"``, ``"limiter"`` or ``"pool"``;
    `seconds` is the planned wait, None where only its end is known.
    """

    __slots__ = ("at", "call", "seconds", "why")

    def __init__(self, call: Call, why: str, seconds: float | None, at: float) -> None:
        self.call, self.why, self.seconds, self.at = call, why, seconds, at


class StateChanged:
    """Something that outlives calls changed: a breaker opened, a pool was renewed. `cause` is text for people."""

    __slots__ = ("at", "cause", "key", "kind", "new", "old")

    def __init__(self, kind: str, key: str, old: str, new: str, cause: str, at: float) -> None:
        self.kind, self.key, self.old, self.new, self.cause, self.at = kind, key, old, new, cause, at

    def __repr__(self) -> str:
        return f"StateChanged({self.kind} {self.key}: {self.old} -> {self.new}, {self.cause})"


Event = Union[CallStarted, AttemptStarted, Waiting, AttemptEnded, CallEnded, StateChanged]  # noqa: UP007 (runtime use)
Emit = Callable[[Any], None]


@runtime_checkable
class Around(Protocol):
    """An observer that stands around calls and attempts instead of being told of them: less than half the price.

    It is an `Emit` all the same, and hears of `Waiting` and `StateChanged` as others do.
    """

    def __call__(self, event: Any, /) -> None: ...

    def around_call(self, next: Handler, kit: Kit, /) -> Handler: ...

    def around_attempt(self, next: Handler, kit: Kit, /) -> Handler: ...


def fan_out(observers: Sequence[Emit]) -> Emit | None:
    """One function that tells them all, or None where there is nobody to tell.

    An observer that raises is isolated: the error is logged, the call never feels it.
    """
    if not observers:
        return None

    def emit(event: Event) -> None:
        for observer in observers:
            try:
                observer(event)
            except Exception:
                _log.exception("an observer failed on %s; the call goes on", type(event).__name__)

    return emit
