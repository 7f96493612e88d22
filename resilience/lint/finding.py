"""What the linter finds: a rule's name, how bad it is, what is wrong and what cures it, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..config import Node

__all__ = ["PAGE", "Finding", "Severity"]

Severity: TypeAlias = Literal["error", "warning", "note"]
PAGE = "docs/rules.md"
"""The page of all rules, each under a heading of its own name."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`rule` is a stable name. An ``"error"`` cannot work as it reads, a ``"warning"`` will hurt, a ``"note"`` not.

    `position` is the policy's in its pipeline, from 0, outermost first; `field` one of its settings, if it is about
    that. `node` is the place in a file, where it came from one. Notes are for people who ask; they fail no check.
    """

    rule: str
    severity: Severity
    message: str
    pipeline: str = ""
    position: int | None = None
    field: str = ""
    node: Node | None = None

    @property
    def page(self) -> str:
        """Where the rule is explained."""
        return f"{PAGE}#{self.rule}"

    def __str__(self) -> str:
        where = f"{self.pipeline}: " if self.pipeline else ""
        return f"{where}{self.severity}: {self.message} [{self.rule}]"
