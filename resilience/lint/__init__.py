"""The linter: what a configuration will do wrong, before it does. `docs/rules.md` explains every rule.

``lint(pipeline)`` in Python, ``resilience check FILE`` for files, ``python -m resilience.lint module`` for code.
"""

from __future__ import annotations

from .facts import Connections, Facts, Guarding, Quota
from .files import Linted, lint_file
from .finding import Finding, Severity
from .linter import NAMES, lint
from .settings import LintSettings

__all__ = [
    "NAMES",
    "Connections",
    "Facts",
    "Finding",
    "Guarding",
    "LintSettings",
    "Linted",
    "Quota",
    "Severity",
    "lint",
    "lint_file",
]
