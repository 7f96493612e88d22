"""What there is to explain in a file: each operation of each pipeline, and its numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..analysis import ANY, Estimate
from ..config import Contents, examine
from ..config.load import Section
from ..config.shape import nearest
from ..errors import ConfigError
from ..lint.files import facts_of, settings_in, used
from ..lint.subject import Subject

__all__ = ["Chapter", "Row", "explain_file", "explain_policies"]


@dataclass(frozen=True, slots=True)
class Row:
    """Operations of one pipeline that have the same numbers; `names` are theirs, ``"*"`` for any other."""

    names: tuple[str, ...]
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Chapter:
    """One pipeline: its policies, outermost first, how many of them lie above the attempt boundary, and its rows."""

    name: str
    policies: tuple[Any, ...]
    boundary: int
    rows: tuple[Row, ...]


def explain_file(
    path: str | os.PathLike[str], pipeline: str | None = None, *, sections: Mapping[str, Section] | None = None
) -> list[Chapter]:
    """The pipelines of a file, or the one of that name; where exchanges use them, by the operations routed to each.

    Raises `InvalidConfig` for a file that is not sound, and `ConfigError` for a name that is not in it.
    """
    contents = examine(path, sections=sections)
    chapters = list(_chapters(contents, pipeline))
    if pipeline is not None and not chapters:
        names = dict.fromkeys([use.name for use in used(contents, facts_of(contents))] + [*contents.policies])
        known = f"{nearest(pipeline, list(names))} (in this file: {', '.join(names) or 'none'})"
        raise ConfigError(f"{os.fspath(path)}: no pipeline is named {pipeline!r}{known}")
    return chapters


def explain_policies(policies: Sequence[Any], name: str = "", subject: Subject | None = None) -> Chapter:
    """One pipeline."""
    subject = subject or Subject(policies)
    by_numbers: dict[Estimate, list[str]] = {}
    for op in subject.ops:
        estimate = subject.estimate(op)
        by_numbers.setdefault(replace(estimate, op=replace(ANY, idempotent=op.idempotent)), []).append(op.name)
    rows = tuple(Row(tuple(names), estimate) for estimate, names in by_numbers.items())
    boundary = max((at + 1 for at, policy in enumerate(policies) if getattr(policy, "repeats", False)), default=0)
    return Chapter(name, tuple(policies), boundary, rows)


def _chapters(contents: Contents, pipeline: str | None) -> Iterator[Chapter]:
    settings = settings_in(contents.root)
    uses = used(contents, facts_of(contents))
    routed = any(use.facts is not None for use in uses)
    for use in uses:
        if (use.facts is not None or not routed) if pipeline is None else use.called(pipeline):
            yield explain_policies(use.policies, use.name, Subject(use.policies, use.facts, settings))
