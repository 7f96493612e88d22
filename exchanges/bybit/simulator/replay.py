"""Recorded replies instead of a simulated market: the folder's ``replay.json`` says which reply answers what.

The rules: an entry of the same method and path answers if it contradicts the request in none of `category symbol
cursor interval period`; of several the one that agrees on the most, of equals the first listed. All other parameters
are ignored. A cursor that was not recorded gets an empty last page; a path or symbol that was not recorded gets
Bybit's 10001. The body is the recorded file, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from .documents import DocumentError, read_document
from .errors import ReplayError
from .paging import decoded
from .replies import Refusal, Reply, Request, bad_parameter, envelope, refused

__all__ = ["ReplayExchange"]

_KEYS = ("category", "symbol", "cursor", "interval", "period")
_NAME = "replay.json"
# The server frames the body itself. A recorded encoding holds only if the file still is in that encoding.
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive"})
_GZIP_MAGIC = b"\x1f\x8b"


class _Entry(msgspec.Struct, frozen=True):
    method: str
    path: str
    file: str
    query: dict[str, str | int | float] = {}
    status: int = 200
    headers: dict[str, str] = {}


class _Index(msgspec.Struct, frozen=True):
    version: int
    exchange: str
    entries: list[_Entry]


@dataclass(frozen=True, slots=True)
class _Recorded:
    named: Mapping[str, str]
    reply: Reply = field(repr=False)

    def agreement(self, asked: Mapping[str, str]) -> int:
        """On how many parameters, leaving the cursor aside, entry and request agree; -1 if they contradict each other.

        A parameter that the request leaves out contradicts nothing. Where the entry names no symbol but its reply is
        about symbols, the one that is asked for must be among them: else it was not recorded.
        """
        count = 0
        for name, value in asked.items():
            if name == "cursor":
                continue
            if name in self.named:
                if self.named[name] != value:
                    return -1
                count += 1
            elif name == "symbol" and b'"symbol"' in self.reply.body and _quoted(value) not in self.reply.body:
                return -1
        return count


class ReplayExchange:
    """Answers from `folder`. Raises `ReplayError`, one line, if it cannot be read or makes no sense."""

    def __init__(self, folder: str | Path) -> None:
        self._recorded: dict[tuple[str, str], list[_Recorded]] = {}
        root = Path(folder)
        for number, entry in enumerate(_entries(root)):
            try:
                reply = _reply(root, entry)
            except ReplayError as exc:
                raise ReplayError(f"{root / _NAME}: entries[{number}]: {exc}") from exc
            self._recorded.setdefault((entry.method.upper(), entry.path), []).append(
                _Recorded(_asked({name: str(value) for name, value in entry.query.items()}), reply)
            )

    def answer(self, request: Request, now_ms: int) -> Reply:
        """The recorded reply to `request`, or what Bybit says where there is none."""
        recorded = self._recorded.get((request.method, request.path))
        if recorded is None:
            return refused(Refusal(10001, f"params error: {request.method} {request.path} was not recorded"), now_ms)
        asked = _asked(request.query)
        scores = [(entry.agreement(asked), entry) for entry in recorded]
        if all(score < 0 for score, _ in scores):
            return refused(bad_parameter("symbol"), now_ms)
        # The cursor alone must be the same on both sides: a request without one means the first page, and a page
        # that answered a request with one must not answer for the first.
        same_page = [pair for pair in scores if pair[0] >= 0 and pair[1].named.get("cursor") == asked.get("cursor")]
        if same_page:
            return max(same_page, key=lambda pair: pair[0])[1].reply  # of equals max takes the first
        return _last_page(asked, now_ms) if "cursor" in asked else refused(bad_parameter("symbol"), now_ms)


def _asked(query: Mapping[str, str]) -> dict[str, str]:
    """The parameters that choose a reply; an empty one counts as absent, a cursor is compared decoded."""
    found = {name: query[name] for name in _KEYS if query.get(name)}
    if "cursor" in found:
        found["cursor"] = decoded(found["cursor"])
    return found


def _quoted(text: str) -> bytes:
    return msgspec.json.encode(text)


def _last_page(asked: Mapping[str, str], now_ms: int) -> Reply:
    result: dict[str, Any] = {"category": asked["category"]} if "category" in asked else {}
    return Reply(200, envelope({**result, "list": [], "nextPageCursor": ""}, now_ms))


def _entries(root: Path) -> list[_Entry]:
    path = root / _NAME
    if not path.is_file():
        raise ReplayError(f"{path}: no such file: give the folder that holds the recorded replies and their {_NAME}")
    try:
        index = msgspec.convert(read_document(path), _Index)
    except (DocumentError, msgspec.ValidationError) as exc:
        raise ReplayError(f"{path}: {exc}") from exc
    if index.version != 1:
        raise ReplayError(f"{path}: version is {index.version}, must be 1")
    if index.exchange != "bybit":
        raise ReplayError(f"{path}: exchange is {index.exchange!r}, must be 'bybit'")
    return index.entries


def _reply(root: Path, entry: _Entry) -> Reply:
    path = (root / entry.file).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ReplayError(f"file is {entry.file!r}, must lie within the folder")
    try:
        body = path.read_bytes()
    except OSError as exc:
        raise ReplayError(f"file {entry.file!r} cannot be read: {exc.strerror}") from exc
    if not 200 <= entry.status <= 599:
        raise ReplayError(f"status is {entry.status}, must be an HTTP status from 200 to 599")
    drop = _FRAMING if body.startswith(_GZIP_MAGIC) else _FRAMING | {"content-encoding"}
    for name, value in entry.headers.items():
        if not name.isascii() or not name.isprintable() or not value.isprintable():
            raise ReplayError(f"header {name!r} is not one line of text")
    return Reply(entry.status, body, {name: value for name, value in entry.headers.items() if name.lower() not in drop})
