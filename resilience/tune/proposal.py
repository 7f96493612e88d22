"""One thing that was looked at: what is there now, what is proposed instead (or nothing), and why."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

__all__ = ["Proposal", "time_text", "up"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """About a setting: `path` leads to it from the policy (``("per_op", "ticker")``), or from the file's root.

    `policy` as in YAML, or ``"resources"`` for a path from the root. `op`: whom it concerns, "" for all. `now` and
    `value` are spelled as in YAML; `value` None proposes nothing. `evidence` is a sentence or two. `new`: the policy
    is not in the pipeline yet.
    """

    policy: str
    path: tuple[str, ...]
    op: str
    now: str
    value: str | None
    evidence: str
    new: bool = False

    def withdrawn(self, why: str) -> Proposal:
        """The same, but nothing is proposed any more."""
        return replace(self, value=None, evidence=f"{self.evidence} Not proposed: {why}")

    def noted(self, more: str) -> Proposal:
        """The same with a sentence more."""
        return replace(self, evidence=f"{self.evidence} {more}")

    def __str__(self) -> str:
        where = ".".join((self.policy, *self.path))
        change = (
            f"{self.now or 'none'} -> {self.value}" if self.value is not None else f"{self.now or 'none'}, unchanged"
        )
        return f"{where}: {change}. {self.evidence}"


def time_text(seconds: float) -> str:
    """Seconds as YAML spells them: ``812ms``, ``1250ms``, ``2s``, ``12.3s``."""
    return f"{seconds:.10g}s" if seconds >= 10 or seconds == int(seconds) else f"{seconds * 1000:.10g}ms"


def up(seconds: float) -> float:
    """Rounded up to three digits, so at most one percent."""
    if seconds <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(seconds)) - 2)
    return float(f"{math.ceil(seconds / step - 1e-9) * step:.6g}")
