"""The sections of a file: which there are, who owns them, and what our own small ones say.

Two belong to other packages, which announce by an entry point of the group ``resilience.sections`` how each is checked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..events import Emit
from .document import Node
from .problems import Problems
from .registry import SECTIONS, section
from .scalars import number
from .shape import BROKEN, nearest, read, refuse

__all__ = ["OTHERS", "Owned", "Section", "Start", "owners", "read_settings", "read_top", "read_version", "settings_of"]

Section = Callable[[Node], None]
"""Checks a section that it owns, given the file's root. Raises `ConfigError` with the problems that it found.

One with a method ``schema(defs)`` also says what the section looks like, as JSON Schema.
"""
Start = Callable[[], tuple[Emit, ...]]
"""Starts what a section asks for, and returns what observes. Raises `ConfigError`."""


@dataclass(frozen=True, slots=True)
class Owned:
    """A `Section` with a schema: `check` takes the file's root, `describe` the definitions that a schema shares."""

    check: Section
    describe: Callable[[dict[str, Any]], dict[str, Any]]

    def __call__(self, root: Node) -> None:
        self.check(root)

    def schema(self, defs: dict[str, Any]) -> dict[str, Any]:
        return self.describe(defs)


OTHERS = ("resources", "exchanges")
_OURS = ("version", "pipelines", *SECTIONS)
_GROUP = "resilience.sections"


def owners(present: Sequence[str], sections: Mapping[str, Section] | None = None) -> list[tuple[str, Section]]:
    """The checks of those sections of others that stand in a file; by default those that are installed."""
    if not present:
        return []
    if sections is not None:
        return [(name, sections[name]) for name in present if name in sections]
    from importlib.metadata import entry_points  # here: it costs more than all the rest of this module

    try:
        return [(point.name, point.load()) for point in entry_points(group=_GROUP) if point.name in present]
    except (ImportError, AttributeError) as error:
        sections_of = " or ".join(present)
        raise ConfigError(f"an installed package that checks {sections_of} cannot be loaded: {error}") from error


def read_top(root: Node, problems: Problems, others: tuple[str, ...]) -> None:
    """Report what stands at the top of the file and belongs to nobody."""
    allowed = (*_OURS, *others)
    if root.kind != "mapping" or root.broken:
        refuse(root, f"a mapping of {', '.join(allowed)}", problems)
        problems.finish()
    for key, node in root.items():
        if key in allowed:
            continue
        text = f"unknown key{nearest(key, allowed)} (allowed: {', '.join(allowed)})"
        if key in OTHERS:
            text = "this section belongs to a file for exchanges.ExchangeManager; resilience.load reads none of it"
        problems.add(node.problem(text, "unknown-key", at_key=True))


def read_version(root: Node, problems: Problems) -> None:
    """Report a version that is missing, or that this release does not read."""
    node = root.get("version")
    if node is None:
        problems.add(root.problem("the key version is missing; write version: 1", "missing-key"))
    elif not node.broken and (node.text != "1" or number(node) is None):
        refuse(node, "1, the only version that this release reads", problems, rule="version")


def read_settings(root: Node, problems: Problems) -> list[Start]:
    """For each section that observes (``telemetry:``, ``dashboard:``) and is sound: the function that starts it."""
    starts: list[Start] = []
    for name in SECTIONS:
        node = root.get(name)
        if node is not None:
            fields, start = section(name)
            settings = read(fields, node, problems)
            if settings is not BROKEN:
                starts.append(functools.partial(_start, node, start, settings))
    return starts


def settings_of(starts: Iterable[Start]) -> dict[str, Any]:
    """The settings of what `read_settings` would start, by section: to tell whether they have changed.

    Not those of ``lint:``, which starts nothing.
    """
    found = {start.args[0].path: start.args[2] for start in starts if isinstance(start, functools.partial)}
    return {section: settings for section, settings in found.items() if section != "lint"}


def _start(node: Node, start: Callable[[Any], Any], settings: Any) -> tuple[Emit, ...]:
    try:
        found = start(settings)
        return found if isinstance(found, tuple) else () if found is None else (found,)
    except ConfigError as error:  # a package that is missing, say
        raise node.error(str(error)) from None
