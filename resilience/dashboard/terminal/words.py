"""Numbers and names as people read them in a terminal. Whatever is not printable becomes a question mark."""

from __future__ import annotations

from typing import Any

__all__ = ["ago", "clean", "count", "ms", "percent", "seconds"]

_NONE = "–"
_MOST = 400  # characters of one name or sentence


def clean(value: object) -> str:
    """Text that can move no cursor, ring no bell and turn no line around: of printable characters only."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    if len(text) > _MOST:
        text = text[: _MOST - 1] + "…"
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def ms(value: Any) -> str:
    """A duration in milliseconds."""
    number = _number(value)
    if number is None:
        return _NONE
    if number >= 60_000:
        return f"{number / 60_000:.1f} min"
    if number >= 1_000:
        return f"{number / 1_000:.1f} s" if number >= 10_000 else f"{number / 1_000:.2f} s"
    if number >= 10:
        return f"{number:.0f} ms"
    return f"{number:.1f} ms" if number >= 1 else f"{number * 1000:.0f} µs" if number else "0"


def seconds(value: Any) -> str:
    """A duration in seconds."""
    number = _number(value)
    return _NONE if number is None else ms(number * 1000)


def percent(value: Any) -> str:
    """A share of one. What is not quite all is never shown as all."""
    number = _number(value)
    if number is None:
        return _NONE
    shown = number * 100
    return (
        f"{min(shown, 99.99):.2f} %"
        if 99.9 < shown < 100
        else f"{shown:.0f} %"
        if shown in (0, 100)
        else f"{shown:.1f} %"
    )


def count(value: Any) -> str:
    """How many."""
    number = _number(value)
    if number is None:
        return _NONE
    if number >= 1e6:
        return f"{number / 1e6:.1f} M"
    if number >= 1e4:
        return f"{number / 1e3:.1f} k"
    return f"{number:.0f}" if number == int(number) else f"{number:.1f}"


def ago(at: Any, now: Any) -> str:
    """How long before `now` something was; both in epoch milliseconds."""
    begun, here = _number(at), _number(now)
    if begun is None or here is None:
        return _NONE
    passed = max(0.0, here - begun) / 1000
    if passed < 120:
        return f"{passed:.0f} s"
    return f"{passed / 60:.0f} min" if passed < 7_200 else f"{passed / 3600:.1f} h"
