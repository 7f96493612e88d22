"""Errors that carry their own verdict, for tests of what a policy makes of each kind."""

from __future__ import annotations

import asyncio

from resilience import Kind, Op, Verdict

__all__ = ["Told", "clock", "told"]


class Told(Exception):
    """An error that carries its own verdict."""

    def __init__(self, kind: Kind, retry_after: float | None = None, scope: str = "op") -> None:
        super().__init__(kind.value)
        self.verdict = Verdict(kind, f"told.{kind.value}", retry_after, scope)


def told(exc: Exception, op: Op) -> Verdict:
    return exc.verdict if isinstance(exc, Told) else Verdict(Kind.REJECTED)


def clock() -> float:
    """The running loop's time, in seconds."""
    return asyncio.get_running_loop().time()
