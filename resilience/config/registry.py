"""What files name, and where it lives: policies and sections. A module is imported when a file first names it.

Only names stand here, so that reading a file and what is configured by it stay strangers to one another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

from .document import short
from .fields import Fields
from .shape import nearest
from .shapes import fields_of

__all__ = ["POLICIES", "SECTIONS", "section", "single", "spelled", "unknown"]

POLICIES = {
    "fallback": "fallback.Fallback",
    "cache": "cache.Cache",
    "coalesce": "coalesce.Coalesce",
    "deadline": "deadline.Deadline",
    "retry": "retry.Retry",
    "hedge": "hedge.Hedge",
    "shed": "shed.Shed",
    "breaker": "breaker.Breaker",
    "rate_limit": "rate_limit.RateLimit",
    "bulkhead": "bulkhead.Bulkhead",
    "adaptive_limit": "adaptive_limit.AdaptiveLimit",
    "timeout": "timeout.Timeout",
    "pool": "pool.Pool",
    "chaos": "chaos.Chaos",
}
"""In the canonical order, outermost first: where `extends` puts a policy that is new."""
SECTIONS = {
    "telemetry": ("telemetry.settings.TelemetrySettings", "telemetry.starting.observers"),
    "dashboard": ("dashboard.settings.DashboardSettings", "dashboard.section.start"),
    "lint": ("lint.settings.LintSettings", "lint.settings.start"),
}
"""A section's settings (a dataclass), and the function that makes an observer of them, or a tuple of several."""
_SUPPLIED = {"pool": ("open", "close")}
"""Fields that whoever loads the file supplies, as `resources`."""


@functools.cache
def spelled(name: str) -> Fields:
    """The shape of a policy's settings."""
    return fields_of(_found(f"policies.{POLICIES[name]}"), _SUPPLIED.get(name, ()))


@functools.cache
def section(name: str) -> tuple[Fields, Callable[[Any], Any]]:
    """The shape of a section's settings, and the function that starts what they say and returns its observers."""
    settings, start = SECTIONS[name]

    def begin(value: Any) -> Any:  # what it needs is imported when it starts, not when a file is checked
        return _found(start)(value)

    return fields_of(_found(settings)), begin


def _found(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(f"resilience.{module}"), name)


def single(fields: Fields) -> str | None:
    """The field that a bare value means (``timeout: 10s``): the one that has no default, if it is the only one."""
    return fields.required[0] if len(fields.required) == 1 else None


def unknown(name: str) -> str:
    """What to say about a name that is no policy's."""
    return f"unknown policy {short(name)!r}{nearest(name, list(POLICIES))} (allowed: {', '.join(POLICIES)})"
