"""Streams: what policies mean around an async generator, whose items may come one by one for months.

A policy that means something between items has, beside ``bind``, a ``bind_stream(next, kit)`` of the same shape: both
`next` and what it returns are functions of a `Call` that return an async generator. Three have one: Retry (opens again,
and goes on where it was), Timeout (for each item) and Bulkhead (a place for as long as the stream is open).
"""

from __future__ import annotations

from .held import held
from .opening import check, guard, leaf, streamed
from .relay import Items, StreamHandler
from .reopened import reopened
from .resume import Resume, check_resume
from .stepped import stepped

__all__ = [
    "Items",
    "Resume",
    "StreamHandler",
    "check",
    "check_resume",
    "guard",
    "held",
    "leaf",
    "reopened",
    "stepped",
    "streamed",
]
