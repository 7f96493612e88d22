"""Bybit's numbers travel as text: these read them, and refuse what is none.

Stricter than `Decimal` itself, which takes "NaN", " 1 ", "1_000" and digits of other scripts.
"""

from __future__ import annotations

import re
from decimal import Decimal

from .wire import Malformed

__all__ = ["maybe", "millis", "number"]

_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_MILLIS = re.compile(r"[0-9]{1,15}", re.ASCII)


def number(text: str) -> Decimal:
    """The number with all its digits. Raises `Malformed`."""
    if _NUMBER.fullmatch(text) is None:
        raise Malformed("a number is none")
    return Decimal(text)  # exact, whatever the decimal context of the application is


def maybe(text: str | None) -> Decimal | None:
    """The number, None where Bybit sent nothing or an empty text. Raises `Malformed`."""
    return number(text) if text else None


def millis(text: str) -> int:
    """A time in milliseconds since the epoch. Raises `Malformed`."""
    if _MILLIS.fullmatch(text) is None:
        raise Malformed("a time is none")
    return int(text)
