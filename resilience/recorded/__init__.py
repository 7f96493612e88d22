"""What was recorded of real traffic, read from files: traces (`read_traces`) or a Prometheus range (`read_range`).

Traces come from the dashboard's SQLite store or from OTLP JSON; both become the same calls and attempts.
"""

from __future__ import annotations

from .calls import Attempt, Call, Recording
from .prometheus import Histogram, is_range, read_range
from .traces import read_traces

__all__ = ["Attempt", "Call", "Histogram", "Recording", "is_range", "read_range", "read_traces"]
