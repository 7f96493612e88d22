"""``${env:NAME}``: a value that the environment supplies, so that no secret stands in a file.

What comes back is one scalar, whatever it holds: it is never read as YAML again. Only names with an allowed prefix are
looked up, so a file from elsewhere cannot ask for the rest of the environment. Values never appear in an error text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["PREFIXES", "Environment"]

PREFIXES = ("BYBIT_", "RESILIENCE_")
_REFERENCE = re.compile(r"\$\{env:([^${}]*)\}", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SHORTEST_SECRET = 4


@dataclass(slots=True)
class Environment:
    """The names that may be asked for, where their values come from, and which were handed out."""

    prefixes: Sequence[str] = PREFIXES
    values: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    given: dict[str, str] = field(default_factory=dict, repr=False)

    def resolve(self, text: str) -> str:
        """The value of a scalar that is one reference. Raises `ValueError`, in words for the user."""
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise ValueError("${ begins a reference, which must be the whole value: ${env:NAME} and nothing around it")
        name = match[1]
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no name of an environment variable")
        if not name.startswith(tuple(self.prefixes)):
            allowed = " or ".join(self.prefixes) or "nothing at all"
            raise ValueError(f"${{env:{name}}} is not allowed: the name must begin with {allowed}")
        value = self.values.get(name)
        if value is None:
            raise ValueError(f"the environment variable {name} is not set")
        self.given[value] = text
        return value

    def scrub(self, text: str) -> str:
        """The text without any value that was handed out; the reference stands in its place."""
        for value in sorted(self.given, key=len, reverse=True):
            if len(value) >= _SHORTEST_SECRET:
                for spelling in (value, repr(value)[1:-1], value.strip()):
                    text = text.replace(spelling, self.given[value]) if spelling else text
        return text
