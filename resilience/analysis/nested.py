"""How often a retry really repeats: what a retry beneath has given up on is not repeated around it.

See `retrying.nesting`. Where an error can reach the outer one without that mark, it may repeat after all, and then
the attempts multiply; in doubt they are counted as if they did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..descriptor import kind_of

__all__ = ["attempts_over"]

_OWN_ERRORS = ("timeout", "hedge", "coalesce", "pool")  # raise what no retry beneath them has seen and marked


def attempts_over(policy: Any, rest: Sequence[Any]) -> int:
    """The attempts that this retry makes of what lies beneath it, `rest`, at most."""
    inner = [index for index, other in enumerate(rest) if kind_of(other) == "retry" and other.attempts > 1]
    attempts: int = policy.attempts
    if not inner or policy.nested or policy.on is not None or policy.result is not None:
        return attempts
    between, retry = rest[: inner[0]], rest[inner[0]]
    if retry.on is not None or retry.result is not None or retry.abort_on is not None:
        return attempts
    if any(kind_of(other) is None or kind_of(other) in _OWN_ERRORS or _strikes(other) for other in between):
        return attempts
    return 1


def _strikes(policy: Any) -> bool:
    return kind_of(policy) == "chaos" and policy.enabled
