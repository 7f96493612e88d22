"""The limits of what is taken in over OTLP, the error for what is not, and gzip under those limits."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .pacing import Stride
from .rows import Span

__all__ = ["LIMITS", "Batch", "IngestError", "Limits", "decompressed"]

_PIECE = 2**14  # bytes that are decompressed at one go


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


def decompressed(body: bytes, limits: Limits = LIMITS, stride: Stride = iter) -> bytes:
    """The content of one gzip stream. Raises `IngestError` if it is none, is cut off, or grows too large."""
    machine = zlib.decompressobj(wbits=31)
    found: list[bytes] = []
    size = 0
    for part in stride(_inflated(machine, body)):
        found.append(part)
        size += len(part)
        if size > limits.decompressed:
            raise IngestError(413, f"the body has more than {limits.decompressed} bytes when decompressed")
    if not machine.eof:
        raise IngestError(400, "the gzip stream is cut off")
    return b"".join(found)


def _inflated(machine: Any, body: bytes) -> Iterator[bytes]:
    """In small pieces: for as long as it takes to make and join large ones, no other thread has the interpreter."""
    view = memoryview(body)
    try:
        for start in range(0, len(body), _PIECE):
            piece = view[start : start + _PIECE]
            while piece and not machine.eof:
                yield machine.decompress(piece, 4 * _PIECE)
                piece = machine.unconsumed_tail
            if machine.eof and (machine.unused_data or start + _PIECE < len(body)):
                raise IngestError(400, "something follows the gzip stream")
    except zlib.error:
        raise IngestError(400, "the body is no gzip stream") from None
