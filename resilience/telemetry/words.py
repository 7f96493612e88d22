"""The words of `why`: names for causes, ordinals, lengths of time, lists.

A cause that stands in no table is a code of an exchange (`bybit.10006`) or the name of a class, and stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["ENDS", "NOUNS", "SHARES", "STALE", "STOPPED", "article", "capital", "counted", "listed", "noun", "ordinal", "span_of"]  # fmt: skip # noqa: E501

NOUNS: Mapping[str, str] = {
    "timeout": "timeout",
    "deadline_exceeded": "passed deadline",
    "circuit_open": "refusal by an open circuit",
    "bulkhead_full": "refusal by a full bulkhead",
    "rate_limited": "refusal by our rate limit",
    "pool_timeout": "wait in vain for the pool",
    "budget_spent": "refusal by a spent budget",
    "load_shed": "refusal under overload",
    "reset": "reset",
    "disconnected": "disconnection",
    "closing_transport": "write to a closing connection",
    "connect": "failed connection",
    "connect_refused": "refused connection",
    "connect_timeout": "connection timeout",
    "dns": "failed name look-up",
    "tls": "failed TLS handshake",
    "tls_missing": "answer without TLS",
    "certificate": "bad certificate",
    "protocol": "broken HTTP answer",
    "body_cut": "answer cut short",
    "body_too_large": "answer too large",
    "encoding": "answer in a broken encoding",
    "bad_payload": "bad payload",
    "bad_request": "bad request",
    "session_closed": "closed session",
    "transport": "transport error",
    "ConnectionRefusedError": "refused connection",
    "ConnectionResetError": "reset",
}
"""By `error.type`. "s" makes the plural of the first word, or of the last where the first is an adjective."""
_PLURALS = {
    "failed name look-up": "failed name look-ups",
    "refusal by an open circuit": "refusals by an open circuit",
    "refusal by a full bulkhead": "refusals by a full bulkhead",
    "refusal by our rate limit": "refusals by our rate limit",
    "refusal by a spent budget": "refusals by a spent budget",
    "refusal under overload": "refusals under overload",
    "wait in vain for the pool": "waits in vain for the pool",
    "write to a closing connection": "writes to a closing connection",
    "answer cut short": "answers cut short",
    "answer without TLS": "answers without TLS",
    "answer too large": "answers too large",
    "answer in a broken encoding": "answers in a broken encoding",
}
ENDS: Mapping[str, str] = {
    "timeout": "timed out",
    "deadline_exceeded": "out of time",
    "circuit_open": "refused by an open circuit",
    "bulkhead_full": "refused by a full bulkhead",
    "rate_limited": "refused by our rate limit",
    "pool_timeout": "refused because the pool lent nothing in time",
    "budget_spent": "refused by a spent budget",
    "load_shed": "shed under overload",
}
"""How a call ended, for causes that are better said with a verb."""
STOPPED: Mapping[str, str] = {
    "attempts_spent": "no attempt was left",
    "deadline_would_exceed": "the next attempt would have come too late",
    "schedule_exhausted": "the schedule of waits had ended",
    "budget_spent": "the retry budget was spent",
    "nested_retry": "a retry beneath had given up already",
    "duration_spent": "the time for retries was over",
    "aborted": "this error must not be repeated",
    "no_resume": "the stream cannot be resumed",
}
SHARES: Mapping[str, str] = {
    "wait.backoff": "backoff",
    "wait.retry_after": "a wait that the server ordered",
    "wait.limiter": "waiting for our rate limit",
    "wait.queue": "waiting in the bulkhead's queue",
    "wait.pool": "waiting for the pool",
    "wait.connection": "waiting for a free connection",
}
STALE: Mapping[str, str] = {
    "stale-while-revalidate": " and stale, while it is renewed",
    "stale-if-error": " and stale, in place of the error",
}
_ORDINALS = ("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
_MOST_LISTED = 4


def noun(error_type: str) -> str:
    """A cause as a noun; a code and the name of a class as they are."""
    if error_type.startswith("http_") and error_type[5:].isdigit():
        return f"HTTP {error_type[5:]}"
    return NOUNS.get(error_type, error_type)


def counted(what: str, count: int) -> str:
    """``2 resets``, but ``bybit.10006 twice``: a code has no plural."""
    if what in _KNOWN:
        return f"1 {what}" if count == 1 else f"{count} {_PLURALS.get(what, what + 's')}"
    return f"{what} {('once', 'twice')[count - 1] if count < 3 else f'{count} times'}"


def article(what: str) -> str:
    """``a reset``, ``an answer cut short``; what counts as none stays bare."""
    return what if what in _BARE else f"{'an' if what[:1] in 'aeiou' else 'a'} {what}"


def capital(text: str) -> str:
    """A capital at the beginning of a sentence, unless it begins with a code or a name."""
    first = text.split(None, 1)[0].rstrip(",;") if text else ""
    return text[:1].upper() + text[1:] if first.isalpha() and first.islower() else text


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; of many the first three."""
    if len(items) > _MOST_LISTED:
        items = [*items[:3], f"{len(items) - 3} more"]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def ordinal(number: object) -> str:
    """``third``, ``22nd``."""
    n = int(number) if isinstance(number, (int, float)) else 1
    if 0 < n < len(_ORDINALS):
        return _ORDINALS[n]
    return f"{n}{'th' if n % 100 in (11, 12, 13) else _ENDINGS.get(n % 10, 'th')}"


def span_of(seconds: float) -> str:
    """A length of time in two digits: ``45 ms``, ``0.9 s``, ``75 s``."""
    if seconds >= 10:
        return f"{seconds:.0f} s"
    if seconds >= 0.0995:
        return f"{seconds:.2g} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.00995 else f"{seconds * 1000:.2g} ms"


_KNOWN = frozenset(NOUNS.values())
_BARE = frozenset({"latency", "behaviour"})
