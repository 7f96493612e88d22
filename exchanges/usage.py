"""The error for what a caller asked for wrongly, found before anything is sent.

Apart from an exchange's refusal (`exchanges.errors.ApiError`): this one costs no request, and a command line answers it
with "bad usage" rather than "the exchange failed".
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from .errors import ExchangeError

__all__ = ["UsageError", "one_of"]


class UsageError(ExchangeError, ValueError):
    """An argument that cannot work. The text is one line: what was found and what is allowed. Nothing was sent."""


def one_of(what: str, found: object, allowed: Iterable[str]) -> str:
    """`found` if it is one of `allowed`; otherwise raises `UsageError` that lists them all and names the nearest."""
    names = list(allowed)
    if isinstance(found, str) and found in names:
        return found
    near = get_close_matches(found, names, n=1) if isinstance(found, str) else []
    hint = f"; did you mean {near[0]}?" if near else ""
    shown = repr(found)[:60]
    raise UsageError(f"unknown {what} {shown}: choose one of {', '.join(names)}{hint}")
