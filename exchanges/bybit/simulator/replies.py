"""Requests as the simulated exchange sees them, and the replies that it makes: Bybit's envelope, Bybit's refusals.

An application error travels with HTTP 200; only an unknown path has a status of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

__all__ = ["Exchange", "Refusal", "Reply", "Request", "bad_parameter", "envelope", "not_found", "refused"]

JSON = {"Content-Type": "application/json; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `target` is the path with its query exactly as sent, which is what a signature covers."""

    method: str
    path: str
    query: Mapping[str, str]
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


class Exchange(Protocol):
    """What stands behind the HTTP server: the simulated market, or recorded replies."""

    def answer(self, request: Request, now_ms: int, /) -> Reply:
        """The reply to `request` at `now_ms` (ms since the epoch)."""


class Refusal(Exception):
    """Bybit declines a request: its retCode and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


def bad_parameter(name: str) -> Refusal:
    """retCode 10001 in the words of the recorded refusals: ``params error: symbol invalid``."""
    return Refusal(10001, f"params error: {name} invalid")


def envelope(result: Any, now_ms: int, code: int = 0, text: str = "OK") -> bytes:
    """The five fields that wrap every reply of Bybit's V5."""
    return msgspec.json.encode({"retCode": code, "retMsg": text, "result": result, "retExtInfo": {}, "time": now_ms})


def refused(refusal: Refusal, now_ms: int) -> Reply:
    """HTTP 200 with a retCode that is not 0."""
    return Reply(200, envelope({}, now_ms, refusal.code, refusal.text))


def not_found(now_ms: int) -> Reply:
    """HTTP 404 with retCode 10017, for a path or method that does not exist."""
    return Reply(404, envelope({}, now_ms, 10017, "Request path not found or request method is invalid"))
