"""One call as text: its sentence, where its time went, and each attempt on a common axis.

1 original  reset             █████░                                  100 ms
  waits 200 ms of backoff          ··········
2 retry     ok                               ░█████                   100 ms  first byte 50 ms
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.cells import cell_len, set_cell_size

from .words import clean, count, ms, percent, seconds

__all__ = ["waterfall"]

Data = Mapping[str, Any]

_OWN = ("limiter", "queue", "pool", "connection")  # what an attempt waits for before anything is sent
_NAMES = {
    "backoff": "backoff", "retry_after": "ordered wait", "limiter": "rate limit", "queue": "bulkhead queue",
    "connection": "free connection", "first_byte": "first byte", "dns": "DNS", "tls": "TLS",
}  # fmt: skip
_LABEL = 34
_WORTH = 0.01  # of the call's time: what is shorter is not told


def waterfall(trace: Data, width: int = 80) -> list[tuple[str, str]]:
    """Lines with a tone each (``title``, ``why``, ``bad``, ``wait`` or none), none wider than `width` cells."""
    width = max(width, 40)
    return [(tone, _cut(text, width)) for tone, text in _lines(trace, width)]


def _lines(trace: Data, width: int) -> Iterator[tuple[str, str]]:
    said = trace.get("summary")
    summary: Data = said if isinstance(said, Mapping) else {}
    outcome = " ".join(filter(None, (clean(summary.get("outcome")), clean(summary.get("error_type")))))
    attempts = "1 attempt" if summary.get("attempts") == 1 else f"{count(summary.get('attempts'))} attempts"
    yield "title", f"{clean(summary.get('pipeline'))} {clean(summary.get('op'))}: {outcome}".strip()
    yield "", f"{ms(summary.get('duration_ms'))}, {attempts}, trace {clean(trace.get('trace_id'))}"
    yield "", ""
    for line in _folded(clean(trace.get("why")), width):
        yield "why", line
    shares = _shares(trace)
    if shares:
        yield "", f"Time: {shares}"
    yield "", ""
    whole = _number(trace, "duration_ms") or 1.0
    spans = trace.get("spans")
    for span in spans if isinstance(spans, list) else ():
        if isinstance(span, Mapping) and span.get("role") == "attempt":
            yield from _attempt(span, whole, width)
    yield "", ""
    yield "wait", "█ sent, ░ own waits before sending, · pause between attempts"


def _attempt(span: Data, whole: float, width: int) -> Iterator[tuple[str, str]]:
    bar = max(8, width - _LABEL - 12)
    start, took = _number(span, "start_ms"), _number(span, "duration_ms")
    wait = span.get("wait_before")
    if isinstance(wait, Mapping):
        pause = _number(wait, "seconds")
        words = "sent again at once" if wait.get("why") == "transparent" else _pause(pause, wait.get("why"))
        line = " " * _at(start - pause * 1000, whole, bar) + "·" * max(1, _at(pause * 1000, whole, bar))
        yield "wait", f"{set_cell_size('    ' + words, _LABEL)}{line}"
    own = sum(length for name, length in _segments(span) if name in _OWN)
    wide = max(1, _at(took, whole, bar))
    waits = min(wide - 1, _at(own, whole, bar)) if own < took else wide
    drawn = " " * min(_at(start, whole, bar), bar - 1) + "░" * waits + "█" * (wide - waits)
    label = f"{count(span.get('number')):>3} {clean(span.get('attempt_kind')):9} {_ended(span)}"
    tone = "bad" if span.get("error_type") and not span.get("lost") else ""
    yield tone, f"{set_cell_size(_cut(label, _LABEL - 1), _LABEL)}{set_cell_size(drawn, bar)} {ms(took):>9}"
    parts = [
        f"{_NAMES.get(name, clean(name))} {ms(length)}"
        for name, length in _segments(span)
        if length >= whole * _WORTH and name != "other"
    ]
    notes = filter(None, (", ".join(parts), f"stopped: {clean(span.get('stopped'))}" if span.get("stopped") else ""))
    text = "; ".join(notes)
    if text:
        yield "", f"    {text}"


def _ended(span: Data) -> str:
    if span.get("lost"):
        return "lost to another attempt"
    return clean(span.get("error_type") or span.get("outcome")) + (" (won)" if span.get("winner") else "")


def _pause(pause: float, why: Any) -> str:
    return f"waits {seconds(pause)} of {_NAMES.get(str(why), clean(why))}"


def _segments(span: Data) -> list[tuple[str, float]]:
    found = span.get("segments")
    rows = found if isinstance(found, list) else []
    return [(str(row.get("name")), _number(row, "duration_ms")) for row in rows if isinstance(row, Mapping)]


def _shares(trace: Data) -> str:
    found = trace.get("shares")
    shares = found if isinstance(found, Mapping) else {}
    ordered = sorted(((k, v) for k, v in shares.items() if isinstance(v, (int, float))), key=lambda pair: -pair[1])
    return ", ".join(f"{_NAMES.get(name, clean(name))} {percent(share)}" for name, share in ordered if share >= _WORTH)


def _number(row: Data, name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _at(at: float, whole: float, bar: int) -> int:
    """The column of a time on an axis of `bar` columns."""
    return min(max(round(at / whole * bar), 0), bar)


def _folded(text: str, width: int) -> Iterator[str]:
    """At spaces, as far as there are some."""
    line = ""
    for word in text.split(" "):
        if line and cell_len(line) + 1 + cell_len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        yield line


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
