"""The current span: reading it, and being it.

By hand this costs half of what OpenTelemetry's public functions do. It rests on a private name of its API; where that
is missing, or OpenTelemetry was told to keep its context elsewhere, the public functions serve.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from opentelemetry import context as context_api
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, set_span_in_context

__all__ = ["SPAN_KEY", "SUPPRESSED", "current", "enter", "leave"]

SPAN_KEY = next(iter(set_span_in_context(INVALID_SPAN, Context())))  # its name is private, its use is not
SUPPRESSED = getattr(context_api, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")

current: Any = context_api.get_current
_attach: Any = context_api.attach
_detach: Any = context_api.detach
_variable = getattr(getattr(context_api, "_RUNTIME_CONTEXT", None), "_current_context", None)
if isinstance(_variable, ContextVar):
    current, _attach, _detach = _variable.get, _variable.set, _variable.reset


def enter(span: Span) -> Any:
    """Make this the current span of the running task; returns what `leave` needs."""
    context = current()
    return _attach(Context({**context, SPAN_KEY: span} if context else {SPAN_KEY: span}))


def leave(token: Any) -> None:
    """Make that span the current one again which was so before `enter`."""
    try:  # noqa: SIM105 (suppress() costs more than all the rest)
        _detach(token)
    except ValueError:
        pass  # a coroutine that was closed from outside ends in another context, which never had our span
