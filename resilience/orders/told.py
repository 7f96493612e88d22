"""Telling the findings: each once, to the line that put the two policies together."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from types import FrameType
from typing import Any

from ..errors import PipelineWarning
from .rules import Finding, check_order

__all__ = ["new_findings", "warn"]

_PACKAGE = f"{__name__.partition('.')[0]}."


def new_findings(policies: Sequence[Any], told: Iterable[Sequence[Any]]) -> list[Finding]:
    """The findings that are not already those of a part, which was told its own when it was put together.

    So a stack of decorators, which grows by one policy at a time, warns of each finding at the decorator that makes it.
    """
    known = Counter((finding.rule, finding.message) for part in told for finding in check_order(part))
    fresh = []
    for finding in check_order(policies):
        if known[finding.rule, finding.message] > 0:
            known[finding.rule, finding.message] -= 1
        else:
            fresh.append(finding)
    return fresh


def warn(findings: Iterable[Finding], name: str) -> None:
    """One `PipelineWarning` each, which points to the first line outside of this package."""
    for finding in findings:
        where = f"pipeline {name!r}: " if name else ""
        warnings.warn(f"{finding.rule}: {where}{finding.message}", PipelineWarning, stacklevel=_outside())


def _outside() -> int:
    """The stacklevel, for the caller of this function, of the innermost frame outside of this package."""
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and f"{frame.f_globals.get('__name__', '')}.".startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    return level
