"""The ambient deadline: what `within` sets, and every pipeline reads when a call begins.

It stands alone because it belongs to whoever asked: a policy that runs work for several callers in a task of its own
has to take it out of the context that it copies.
"""

from __future__ import annotations

from contextvars import ContextVar

__all__ = ["deadline"]

deadline: ContextVar[float | None] = ContextVar("resilience_deadline", default=None)
"""Absolute, on the event loop's clock, in seconds; None for none."""
