"""A response body, collected and unpacked under limits, and complete or an error.

aiohttp's own unpacking accepts a gzip stream that was cut in the middle, and turns 204 kB into 200 MB without asking.
Here a stream must reach its end mark, nothing may follow it, and size and ratio are bounded while it grows.
"""

from __future__ import annotations

import zlib
from typing import Any

__all__ = ["ACCEPTED", "Body", "BodyError"]

ACCEPTED = "gzip, deflate"
"""What we ask for in ``Accept-Encoding``: only what `Body` can unpack and check."""

_FREE = 1024 * 1024  # decoded bytes below which no ratio is suspicious
_GZIP = 16 + zlib.MAX_WBITS


class BodyError(Exception):
    """A body that must not be used. `reason` is ``body_cut``, ``body_too_large`` or ``encoding``; never its bytes."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason
        self.what = what


class Body:
    """Feed it what arrives, then ask `finish` for the whole.

    `received` counts the bytes before unpacking, `end` holds the last 64 of them.
    """

    __slots__ = ("_coding", "_decoded", "_limit", "_parts", "_ratio", "_stream", "end", "received")

    def __init__(self, coding: str, limit: int, ratio: float) -> None:
        self._coding = _known(coding)
        self._limit = limit
        self._ratio = ratio
        self._parts: list[bytes] = []
        self._decoded = 0
        self._stream: Any = None
        self.received = 0
        self.end = b""

    def feed(self, data: bytes) -> None:
        """Take some bytes. Raises `BodyError` as soon as a limit is passed or the stream is malformed."""
        self.received += len(data)
        self.end = data[-64:] if len(data) >= 64 else (self.end + data)[-64:]
        if self.received > self._limit:
            raise BodyError("body_too_large", f"the body is longer than {self._limit} bytes")
        if not self._coding:
            self._parts.append(data)
            return
        if self._stream is None:
            # "deflate" means zlib's format (RFC 9110, 8.4.1.2), but some servers send the bare stream. The first byte
            # tells them apart: a zlib header names method 8 there, with which no encoder begins a bare stream.
            zlib_format = data[0] & 0x0F == 8 and data[0] >> 4 <= 7
            bits = _GZIP if self._coding == "gzip" else zlib.MAX_WBITS if zlib_format else -zlib.MAX_WBITS
            self._stream = zlib.decompressobj(bits)
        self._unpack(data)

    def _unpack(self, data: bytes) -> None:
        stream = self._stream
        if stream.eof:
            raise BodyError("encoding", "bytes follow the end of the compressed body")
        try:
            part = stream.decompress(data, self._limit - self._decoded + 1)
        except zlib.error:
            raise BodyError("encoding", f"the body is no valid {self._coding} stream") from None
        self._parts.append(part)
        self._decoded += len(part)
        if self._decoded > self._limit:
            raise BodyError("body_too_large", f"the unpacked body is longer than {self._limit} bytes")
        if self._decoded > _FREE and self._decoded > self._ratio * self.received:
            raise BodyError("body_too_large", f"the body unpacks to more than {self._ratio:g} times its size")
        if stream.unused_data:
            raise BodyError("encoding", "bytes follow the end of the compressed body")

    def finish(self) -> bytes:
        """The whole body, unpacked. Raises `BodyError` if a compressed stream has not reached its end mark."""
        if self._stream is not None and not self._stream.eof:
            raise BodyError("body_cut", f"the {self._coding} stream ends in the middle")
        return b"".join(self._parts)


def _known(coding: str) -> str:
    """``gzip``, ``deflate`` or nothing; a coding that we did not ask for cannot be checked, so it is an error."""
    name = coding.strip().lower()
    if name in ("", "identity"):
        return ""
    if name in ("gzip", "x-gzip"):
        return "gzip"
    if name == "deflate":
        return "deflate"
    raise BodyError("encoding", "the body came in a coding that was not asked for")
