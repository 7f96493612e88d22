"""Traces through OpenTelemetry: what was kept of a call becomes spans when it ends.

Importing this costs nothing: OpenTelemetry is imported when a name below is first used, and `TelemetrySettings` never
needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .export import start
    from .handover import Handover
    from .log import CallLog
    from .metrics import Metrics
    from .settings import TelemetrySettings
    from .spans import Tracer, global_tracer

__all__ = ["CallLog", "Handover", "Metrics", "TelemetrySettings", "Tracer", "global_tracer", "start"]

_LAZY = {
    "CallLog": ".log",
    "Handover": ".handover",
    "Metrics": ".metrics",
    "TelemetrySettings": ".settings",
    "Tracer": ".spans",
    "global_tracer": ".spans",
    "start": ".export",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name], __name__), name)
    globals()[name] = value
    return value
