"""The limits of what is taken in over OTLP, the error for what is not, gzip under those limits, and no hurry."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from .rows import Span

__all__ = ["LIMITS", "Batch", "IngestError", "Limits", "Pace", "decompressed", "unhurried"]

Pace: TypeAlias = Callable[[Iterable[Any]], Iterable[Any]]
"""Goes through what is given, in its own time."""
_BREATH = 0.000_2  # seconds


class IngestError(Exception):
    """A request that is refused whole. `status` is the HTTP status to answer with; the text, one line, may be sent."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request. Bytes as received, bytes after decompression, spans, the bytes of one span."""

    request: int = 4 * 2**20
    decompressed: int = 8 * 2**20
    json: int = 4 * 2**20  # decompressed; to find the spans in so much JSON keeps the interpreter for 4 ms
    spans: int = 20_000
    span: int = 2**20
    depth: int = 8  # of an attribute's value
    values: int = 1_500_000  # objects, lists and commas of a JSON request


LIMITS = Limits()


class Batch:
    """What a request brought: its spans, and how many were rejected, with the reason of the first."""

    __slots__ = ("encoding", "error", "rejected", "spans")

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding  # "json" or "protobuf"
        self.spans: list[Span] = []
        self.rejected = 0
        self.error = ""

    def reject(self, reason: str, count: int = 1) -> None:
        """Count spans that cannot be used."""
        self.rejected += count
        self.error = self.error or reason


def unhurried(items: Iterable[Any], at_once: int = 5) -> Iterator[Any]:
    """The same items, with a pause after so many, a fraction of a millisecond, for a thread beside an event loop.

    A thread that does not pause keeps the interpreter for 5 ms each time (`sys.getswitchinterval`), while calls wait.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % at_once == 0:
            time.sleep(_BREATH)


def decompressed(body: bytes, limits: Limits = LIMITS) -> bytes:
    """The content of one gzip stream. Raises `IngestError` if it is none, is cut off, or grows too large."""
    machine = zlib.decompressobj(wbits=31)
    try:
        content = machine.decompress(body, limits.decompressed + 1)
    except zlib.error:
        raise IngestError(400, "the body is no gzip stream") from None
    if len(content) > limits.decompressed:
        raise IngestError(413, f"the body has more than {limits.decompressed} bytes when decompressed")
    if not machine.eof:
        raise IngestError(400, "the gzip stream is cut off")
    if machine.unused_data:
        raise IngestError(400, "something follows the gzip stream")
    return content
