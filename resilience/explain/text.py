"""The explanation for a terminal: the pipeline drawn, the numbers, the course of a failing call, the load."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from ..analysis import Estimate, Step
from ..descriptor import describe
from .gather import Chapter, Row
from .words import course_words, duration, load_words, sentences, twice_words

__all__ = ["as_text", "drawn", "named", "settings"]

_WIDTH = 48


def as_text(chapters: Sequence[Chapter]) -> str:
    """All of it, each pipeline under its name."""
    return "\n\n\n".join("\n".join(_chapter(chapter)) for chapter in chapters)


def _chapter(chapter: Chapter) -> Iterator[str]:
    yield f"Pipeline {chapter.name}" if chapter.name else "Pipeline"
    yield from drawn(chapter)
    for row in chapter.rows:
        yield ""
        yield named(row, chapter)
        twice = twice_words(row.estimate, chapter.policies, others="*" in row.names)
        yield from (f"  {sentence}" for sentence in (*sentences(row.estimate), *twice))
        yield ""
        yield f"  {course_words(row.estimate, chapter.policies)}:"
        yield from (f"    {line}" for line in _timeline(row.estimate.timeline))
        yield ""
        yield from (f"  {line}" for line in _load(row.estimate))
        yield from (f"  {sentence}" for sentence in load_words(row.estimate.load, chapter.policies))


def drawn(chapter: Chapter) -> list[str]:
    """The policies one under another, and where one attempt begins."""
    lines = [f"  | {name:<15}{what}".rstrip() for name, what in map(settings, chapter.policies)]
    lines.insert(chapter.boundary, "  |- - - one attempt - - -")
    return [*lines, "  v the guarded function"]


def settings(policy: Any) -> tuple[str, str]:
    """A policy's name, and the settings that are not the default."""
    described = describe(policy)
    name = described.pop("policy")
    return name, ", ".join(
        f"{key}: {_value(value)}" for key, value in described.items() if key not in ("open", "close")
    )


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def named(row: Row, chapter: Chapter) -> str:
    """The operations of a row, in words; those of which nothing is known come last."""
    known = [name for name in row.names if name != "*"]
    if known == list(row.names):
        return ", ".join(known)
    alone = len(chapter.rows) == 1 and not known
    return "any operation" if alone else ", ".join([*known, "any other operation"])


def _timeline(steps: Sequence[Step]) -> Iterator[str]:
    *steps, last = steps
    finite = [step.end for step in steps if math.isfinite(step.end)]
    span = max([*finite, *(step.start for step in steps)], default=0.0) or 1.0
    number = 0
    for step in steps:
        number += step.kind == "attempt"
        what = {"attempt": f"attempt {number}", "pause": "pause"}.get(step.kind, step.kind)
        begin = round(step.start / span * _WIDTH)
        length = max(1, round(min(step.end, span) / span * _WIDTH) - begin)
        bar = " " * begin + {"pause": "."}.get(step.kind, "#") * length
        until = "..." if math.isinf(step.end) else duration(step.end)
        ended = f"  {step.note}" if step.note else ""
        yield f"{what:<10} {duration(step.start):>8} to {until:<8} {bar:<{_WIDTH}}{ended}".rstrip()
    yield f"{last.note}."


def _load(estimate: Estimate) -> Iterator[str]:
    yield "  Requests a call     if requests fail at once   by silence   within the budget"[2:]
    for load in estimate.load:
        opens = "   breaker opens" if load.opens else ""
        share = f"{100 * load.share:>3.0f} % of them fail"
        yield f"{share:<20}{load.errors:>24.2f}{load.silence:>13.2f}{load.budgeted:>20.2f}{opens}"
