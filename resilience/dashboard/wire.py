"""The limits of what is taken in over OTLP, the error for what is not, and gzip under those limits."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from .rows import Span

__all__ = ["LIMITS", "Batch", "IngestError", "Limits", "decompressed"]


class IngestError(Exception):
    """A request that is refused whole. `status` is the HTTP status to answer with; the text, one line, may be sent."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request. Bytes as received, bytes after decompression, spans, the bytes of one span."""

    request: int = 4 * 2**20
    decompressed: int = 16 * 2**20
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
