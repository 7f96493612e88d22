"""What the thread that takes spans in does: read them, keep them, and lay them ready for the loop in small lots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import ingest

if TYPE_CHECKING:
    from .pacing import Stride
    from .rows import Span
    from .store import Store

__all__ = ["take"]

_PORTION = 2  # spans put into the store before the next look whether somebody else wants the interpreter
_LOT = 50  # spans that are counted before other tasks of the event loop have their turn
_MOST_OF_A_TRACE = 500


def take(
    store: Store, body: bytes, content_type: str, encoding: str, stride: Stride = iter
) -> tuple[ingest.Batch, list[list[Span]]]:
    """A request's spans, kept, and again in lots. Raises `IngestError`."""
    batch = ingest.read(body, content_type, encoding, stride=stride)
    spans = batch.spans
    for start in stride(range(0, len(spans), _PORTION)):
        store.add(spans[start : start + _PORTION])
    return batch, by_trace(spans)


def by_trace(spans: list[Span]) -> list[list[Span]]:
    """In lots of not too many, the spans of a trace together: attempts are counted with their call."""
    traces: dict[str, list[Span]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    lots: list[list[Span]] = []
    for trace in traces.values():
        for start in range(0, len(trace), _MOST_OF_A_TRACE):
            piece = trace[start : start + _MOST_OF_A_TRACE]
            if lots and len(lots[-1]) + len(piece) <= _LOT:
                lots[-1] += piece
            else:
                lots.append(piece)
    return lots
