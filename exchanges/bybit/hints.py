"""What a reply's headers say about limits and about when to come back.

Two traps. Bybit's reset time is simply "now" unless the quota is exhausted, and it is on *Bybit's* clock: it is only
ever compared with the time inside the same reply, never with ours. And a ``Retry-After`` may be anything at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from resilience.call import LimitReport

__all__ = ["limits", "reset_in", "retry_after"]

_LONGEST = 3600.0
"""Seconds: a server that asks for more than an hour is asked again after an hour."""


def limits(headers: Mapping[str, str], server_ms: int) -> LimitReport | None:
    """Quota and what is left of it, from the three ``X-Bapi-Limit`` headers; None where they are missing or garbled."""
    limit = _whole(headers.get("X-Bapi-Limit"))
    remaining = _whole(headers.get("X-Bapi-Limit-Status"))
    if limit is None or remaining is None or limit == 0:
        return None
    return LimitReport(float(limit), float(min(remaining, limit)), reset_in(headers, server_ms))


def reset_in(headers: Mapping[str, str], server_ms: int) -> float | None:
    """Seconds from this reply (made at `server_ms`) until the quota is whole again; None where it does not say."""
    at = _whole(headers.get("X-Bapi-Limit-Reset-Timestamp"))
    if at is None:
        return None
    return min(max(0.0, (at - server_ms) / 1000), _LONGEST)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of ``Retry-After`` (a number, or a date against the reply's own ``Date``; RFC 9110, 10.2.3).

    None for garbage, for a time that has passed, and for a date where the server did not say what time it is.
    """
    text = headers.get("Retry-After", "").strip()
    seconds = _whole(text)
    if seconds is not None:
        return min(float(seconds), _LONGEST)
    then, now = _date(text), _date(headers.get("Date", ""))
    if then is None or now is None or then <= now:
        return None
    return min((then - now).total_seconds(), _LONGEST)


def _whole(text: str | None) -> int | None:
    text = "" if text is None else text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else None


def _date(text: str) -> datetime | None:
    if len(text) > 64:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else None
