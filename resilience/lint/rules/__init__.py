"""Every rule of the linter, by its name. Each is explained on `docs/rules.md`."""

from __future__ import annotations

from ..subject import Rule
from . import capacity, load, orders, safety, times

__all__ = ["OF_FILES", "RULES"]

RULES: dict[str, Rule] = {**times.RULES, **load.RULES, **capacity.RULES, **safety.RULES, **orders.RULES}
"""Those that look at one pipeline."""

OF_FILES = ("plain-text-secret", "rate-limit-not-shared", "unused-pipeline", "useless-allow")
"""Those that look at a whole file, or at what silences the others."""
