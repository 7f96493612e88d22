"""What can go wrong with one attempt, and what a transport would make of it: an error with a verdict.

The kinds and their verdicts are those of a real exchange's transport: what was sent and broke is UNKNOWN, what never
left is FAILED, a 429 is THROTTLED with the pause that it names. So every policy decides as it would in production.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..call import Op
from ..errors import ConfigError
from ..units import Seconds, Share, check
from ..verdict import Kind, Verdict
from ..verdict import classify as default_classify

__all__ = ["FAULTS", "HANG", "Fault", "FaultKind", "SimulatedError", "classify", "error_of"]

FaultKind = Literal["refused", "reset", "stale", "hang", "server_error", "bad_payload", "throttled", "rejected"]

HANG = 300.0
"""Seconds until a connection that hangs is dropped by somebody on the way, unless the model says otherwise."""

FAULTS: dict[str, tuple[Kind, str, bool]] = {
    "refused": (Kind.FAILED, "connect_refused", False),
    "reset": (Kind.UNKNOWN, "reset", True),
    "stale": (Kind.UNKNOWN, "reset", True),
    "hang": (Kind.UNKNOWN, "disconnected", True),
    "server_error": (Kind.UNKNOWN, "http_503", True),
    "bad_payload": (Kind.UNKNOWN, "bad_payload", True),
    "throttled": (Kind.THROTTLED, "http_429", True),
    "rejected": (Kind.REJECTED, "rejected", True),
}
"""Kind of fault: its verdict, its reason (`error.type`), and whether a byte left."""


class SimulatedError(Exception):
    """What a simulated attempt raises; it carries its verdict."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


def classify(exc: Exception, op: Op) -> Verdict:
    """What a simulated error means; any other is read as everywhere."""
    return exc.verdict if isinstance(exc, SimulatedError) else default_classify(exc, op)


@dataclass(frozen=True, slots=True)
class Fault:
    """A share `rate` of attempts goes wrong in this way, `after` so many seconds.

    Without `after`: at once where nothing is sent, after 5 minutes for a hang, else after as long as an answer would
    have taken. `retry_after`: what a throttled answer asks for.

    ``reset`` and ``stale`` break a connection before any byte of an answer: on a reused one, which nearly all are, a
    transport sends an idempotent call again at once on a fresh one. A reset strikes that one as well, ``stale`` (a
    server that closed while the connection was idle) never.
    """

    kind: FaultKind
    rate: Share
    after: Seconds | None = None
    retry_after: Seconds | None = None

    def __post_init__(self) -> None:
        check("Fault", "rate", self.rate, least=0, most=1)
        if self.after is not None:
            check("Fault", "after", self.after, least=0)
        if self.retry_after is not None:
            if self.kind != "throttled":
                raise ConfigError(f"Fault: retry_after means nothing to {self.kind}, only to throttled")
            check("Fault", "retry_after", self.retry_after, least=0)


def error_of(kind: str, retry_after: float | None = None) -> SimulatedError:
    """The error of a kind of fault."""
    meaning, reason, _ = FAULTS[kind]
    return SimulatedError(Verdict(meaning, reason, retry_after))
