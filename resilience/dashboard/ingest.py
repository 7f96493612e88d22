"""OTLP/HTTP traces, protobuf or JSON, from anybody: bytes in, spans out.

A request that cannot be read is one `IngestError`, with the HTTP status to answer. A span that cannot be used (an id
that is none) costs only itself: it is counted as rejected, as OTLP's partial success wants it. The surprising danger is
that small input grows large when it is parsed; `otlp_protobuf` and `otlp_json` each say what they do about it.
"""

from __future__ import annotations

from . import otlp_json, otlp_protobuf
from .otlp_json import export
from .pacing import Stride
from .wire import LIMITS, Batch, IngestError, Limits, decompressed

__all__ = ["CONTENT_TYPES", "LIMITS", "Batch", "IngestError", "Limits", "export", "read", "reply"]

CONTENT_TYPES = {"protobuf": "application/x-protobuf", "json": "application/json"}
_READERS = {"application/x-protobuf": otlp_protobuf.read, "application/json": otlp_json.read}


def read(
    body: bytes, content_type: str, content_encoding: str = "", limits: Limits = LIMITS, stride: Stride = iter
) -> Batch:
    """The spans of a request, by its two headers. Raises `IngestError`.

    It takes tens of microseconds a span, so a server calls it in a thread, in the stride of a `Courtesy`.
    """
    if len(body) > limits.request:
        raise IngestError(413, f"the body has more than {limits.request} bytes")
    reader = _READERS.get(content_type.partition(";")[0].strip().lower())
    if reader is None:
        raise IngestError(415, f"send {' or '.join(_READERS)}")
    encoding = content_encoding.strip().lower()
    if encoding not in ("", "identity", "gzip"):
        raise IngestError(415, "send the body as it is, or compressed by gzip")
    return reader(decompressed(body, limits, stride) if encoding == "gzip" else body, limits, stride)


def reply(batch: Batch) -> bytes:
    """The answer to a request that was read, in its own encoding (`CONTENT_TYPES` names it)."""
    return otlp_json.reply(batch) if batch.encoding == "json" else otlp_protobuf.reply(batch)
