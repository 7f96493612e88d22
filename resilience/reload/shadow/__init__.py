"""Shadow: what other policies would have decided about calls that are made, or were made, through the present ones.

Nothing is sent and nothing waits: a shadow only hears of attempts and their outcomes, and does the arithmetic. What it
cannot know it says (`Report.unjudged`, `Report.caveats`): above all, a call that it would have refused was sent, and
one that it would have sent again was not, so what would have come of that nobody can tell.
"""

from __future__ import annotations

from .engine import Engine, Outcome
from .listening import Shadow
from .report import Finding, Report

__all__ = ["Engine", "Finding", "Outcome", "Report", "Shadow"]
