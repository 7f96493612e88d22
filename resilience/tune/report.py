"""What was found, as a YAML diff with its evidence for people, and as plain data for programs."""

from __future__ import annotations

import difflib
import textwrap
from typing import Any

from .propose import Tuned

__all__ = ["as_data", "as_text"]

_WIDTH = 110
_UNENDED = "\\ No newline at end of file\n"  # as diff has it, or no patch can tell two lines apart


def as_data(found: Tuned) -> dict[str, Any]:
    """Plain data: every proposal, also those that change nothing, and the diff."""
    return {
        "file": found.file,
        "pipelines": {
            name: [
                {
                    "setting": ".".join((p.policy, *p.path)),
                    "op": p.op or None,
                    "now": p.now or None,
                    "proposed": p.value,
                    "evidence": p.evidence,
                }
                for p in proposals
            ]
            for name, proposals in found.proposals.items()
        },
        "diff": _diff(found),
    }


def as_text(found: Tuned) -> str:
    """The evidence as comments, then the diff, which ``patch`` takes as it is."""
    lines: list[str] = []
    for name, proposals in found.proposals.items():
        for change in (True, False):
            for proposal in proposals:
                if (proposal.value is not None) is change:
                    lines += textwrap.wrap(f"{name}: {proposal}", _WIDTH, initial_indent="# ", subsequent_indent="#   ")
    diff = _diff(found)
    return "\n".join(lines) + "\n" + (diff or "# Nothing to change.\n")


def _diff(found: Tuned) -> str:
    before, after = found.before.splitlines(keepends=True), found.after.splitlines(keepends=True)
    lines = difflib.unified_diff(before, after, found.file, found.file)
    return "".join(line if line.endswith("\n") else f"{line}\n{_UNENDED}" for line in lines)
