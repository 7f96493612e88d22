"""Orders of policies that cannot work as they read, told when a pipeline is built: a warning, never an error."""

from __future__ import annotations

from .rules import RULES, Finding, check_order
from .told import new_findings, warn

__all__ = ["RULES", "Finding", "check_order", "new_findings", "warn"]
