"""What an error means: five kinds, and the function that tells them apart.

Five and not two ("retryable or not"), because money moves: after a timeout an order may stand in the book. FAILED and
UNKNOWN differ by one fact, *was it sent?*, and only the transport knows it.
"""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .call import Op

__all__ = ["Classify", "Kind", "Verdict", "classify"]


class Kind(enum.Enum):
    """What became of one attempt, as far as anybody can know."""

    OK = "ok"
    """It worked."""
    REJECTED = "rejected"
    """Understood and declined; asking again changes nothing."""
    THROTTLED = "throttled"
    """Not executed; come back later."""
    FAILED = "failed"
    """Not executed; something broke on the way."""
    UNKNOWN = "unknown"
    """It broke after sending: it may have been executed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of one exception.

    `reason` has low cardinality (``"bybit.10006"``, ``"timeout"``): it names spans and metrics. `retry_after` is in
    seconds, None where the other side named no time. `scope` says whom a pause concerns: ``"op"``, ``"account"`` or
    ``"ip"``.
    """

    kind: Kind
    reason: str = ""
    retry_after: float | None = None
    scope: str = "op"


Classify = Callable[[Exception, "Op"], Verdict]
"""Pure, supplied by an adapter. The operation is told because a write reads a 429 otherwise than a read."""


def classify(exc: Exception, op: Op) -> Verdict:
    """The reading that serves where no adapter supplies its own.

    A refused connection and a failed name look-up never reached anybody: FAILED. Every other `OSError` and every
    `TimeoutError` may have come after sending: UNKNOWN. Anything else is an answer or a bug: REJECTED, never retried
    unless a policy's ``on=`` names it, and no mark against the target.
    """
    kind = type(exc)
    verdict = _known.get(kind)
    if verdict is None:
        if len(_known) >= _MOST_KNOWN:  # types made per call
            _known.clear()
        verdict = _known[kind] = _read(kind)
    return verdict


_UNSENT = (ConnectionRefusedError, socket.gaierror)
_MOST_KNOWN = 1024
_known: dict[type[Exception], Verdict] = {}  # making a verdict costs as much as all the rest


def _read(kind: type[Exception]) -> Verdict:
    if issubclass(kind, _UNSENT):
        return Verdict(Kind.FAILED, kind.__name__)
    if issubclass(kind, OSError):  # a TimeoutError is one
        return Verdict(Kind.UNKNOWN, "timeout" if issubclass(kind, TimeoutError) else kind.__name__)
    return Verdict(Kind.REJECTED, kind.__name__)
