"""A plan in words: what changes, what survives of it, what is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .differences import Change, differing, worded

if TYPE_CHECKING:
    from .plan import Plan

__all__ = ["told"]

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": "<>"}


def told(plan: Plan) -> Iterator[str]:
    """The lines that people read."""
    if plan.problems:
        yield from map(str, plan.problems)
        yield f"{plan.new} is invalid: loading it changes nothing"
        return
    pipeline = None
    for change in plan.changes:
        if change.pipeline != pipeline:
            pipeline = change.pipeline
            yield f"pipeline {pipeline}"
        yield from _change(change)
    for setting in plan.settings:
        yield f"{setting.path}: {_or_none(setting.before)} -> {_or_none(setting.after)}   ({setting.effect})"
    yield from plan.warnings
    counts = [f"{sum(c.what == what for c in plan.changes)} {what}" for what in _SIGNS]
    yield f"{', '.join(counts)}; {len(plan.settings)} other settings" if plan else "nothing changes"


def _change(change: Change) -> Iterator[str]:
    yield (
        f"  {_SIGNS[change.what]} {change.policy} [{change.position}]"
        if change.policy != "pipeline"
        else (f"  {_SIGNS[change.what]} the whole pipeline")
    )
    for item in change.fields:
        before, after = differing(item.before, item.after)
        yield f"      {item.name}: {worded(before)} -> {worded(after)}   ({item.effect})"
    if change.kept:
        yield f"      kept: {change.kept}{f'; except: {change.lost}' if change.lost else ''}"
    elif change.lost:
        yield f"      lost: {change.lost}"


def _or_none(value: str | None) -> str:
    return "nothing" if value is None else value
