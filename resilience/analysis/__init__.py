"""What a pipeline will do, worked out from its settings: how long a call can take, and how many requests it can become.

Pure arithmetic on the policies' dataclasses. Nothing is called, nothing is bound, and no clock is read; what is said
here, the virtual loop measures (`tests/resilience/analysis`).
"""

from __future__ import annotations

from .latency import Terms, timeout_of, worst_latency
from .load import SHARES, Load, load
from .pauses import Pause, Pauses, pauses_of
from .sends import MOST, send_times
from .summary import ANY, Case, Estimate, estimate, operations
from .timeline import Step, timeline

__all__ = [
    "ANY",
    "MOST",
    "SHARES",
    "Case",
    "Estimate",
    "Load",
    "Pause",
    "Pauses",
    "Step",
    "Terms",
    "estimate",
    "load",
    "operations",
    "pauses_of",
    "send_times",
    "timeline",
    "timeout_of",
    "worst_latency",
]
