"""Does anybody else make spans in this process, who would need ours as parents? Asked when a pipeline links.

It can only tell what is there by then: a tracer that is made inside the first call comes too late. So ``parenting: on``
is the default and ``auto`` is for those who know that what makes spans is set up before the first call.
"""

from __future__ import annotations

import sys
from typing import Any

from opentelemetry import trace

from .records import AttemptRecord

__all__ = ["SCOPE", "instrumented"]

SCOPE = "resilience"
"""The name of the instrumentation scope that our spans belong to."""
_INSTRUMENTATION = "opentelemetry.instrumentation."


def instrumented(provider: Any) -> bool:
    """Whether an instrumentation is imported, `provider` has given tracers to others, or a span of theirs is current.

    True as well where the provider does not let us see its tracers: a parent that is missing is worse than a
    microsecond.
    """
    if any(name.startswith(_INSTRUMENTATION) for name in tuple(sys.modules)):
        return True
    tracers = getattr(provider, "_tracers", None)
    if not isinstance(tracers, dict) or any(scope.name != SCOPE for scope in tuple(tracers)):
        return True
    span = trace.get_current_span()
    return span.is_recording() and type(span) is not AttemptRecord
