"""A whole file: `version`, `pipelines`, `telemetry` and `dashboard`, and the sections that other packages own.

Everything is read and checked before anything is made: a file with one problem makes no pipeline at all.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from ..events import Emit
from ..pipeline import Pipeline
from ..verdict import Classify
from .build import Resources, build_pipelines, read_pipelines
from .document import Document, Node
from .environment import PREFIXES
from .problems import InvalidConfig, Problem, Problems
from .registry import SECTIONS, section
from .scalars import number
from .shape import BROKEN, nearest, read, refuse

__all__ = [
    "Section",
    "check_file",
    "lent",
    "load",
    "read_settings",
    "read_version",
    "read_whole",
    "settings_of",
    "start_all",
]

Section = Callable[[Node], None]
"""Checks a section that it owns, given the file's root. Raises `ConfigError` with the problems that it found."""

_OURS = ("version", "pipelines", *SECTIONS)
_OTHERS = ("resources", "exchanges")
_GROUP = "resilience.sections"


def load(
    path: str | os.PathLike[str],
    *,
    resources: Resources | None = None,
    classify: Classify | None = None,
    observers: Iterable[Emit] = (),
    env_prefixes: tuple[str, ...] = PREFIXES,
) -> dict[str, Pipeline]:
    """The pipelines of a file, by name. They share their pools and those limits that name an IP or an account.

    `resources` says what each pool lends: ``{"rest": open}`` with a function without arguments, or the arguments of
    `Pool`. `classify` and `observers` are those of `Pipeline`. ``${env:NAME}`` may ask for names that begin with one of
    `env_prefixes`. A ``telemetry:`` section starts tracing. Raises `ConfigError`, whose text is one line and whose
    `problems` are all that is wrong with the file.
    """
    pipelines, starts = read_whole(
        path, resources=resources, classify=classify, observers=observers, env_prefixes=env_prefixes
    )
    start_all(starts, pipelines.values())
    return pipelines


def read_whole(
    path: str | os.PathLike[str],
    *,
    resources: Resources | None = None,
    classify: Classify | None = None,
    observers: Iterable[Emit] = (),
    env_prefixes: tuple[str, ...] = PREFIXES,
    shared: dict[str, Any] | None = None,
) -> tuple[dict[str, Pipeline], list[Callable[[], Emit | None]]]:
    """What `load` does before anything starts: the pipelines, and what starts the sections that observe."""
    problems = Problems()
    root = Document.load(path, prefixes=env_prefixes, problems=problems)
    _sections(root, problems, ())
    read_version(root, problems)
    starts = read_settings(root, problems)
    node = root.get("pipelines")
    pipelines: dict[str, Pipeline] = {}
    if node is None:
        problems.add(root.problem("the key pipelines is missing", "missing-key"))
    else:
        with problems.catch():
            pipelines = build_pipelines(
                node, resources=resources, classify=classify, observers=observers, shared=shared
            )
    problems.finish()
    return pipelines, starts


def start_all(starts: Iterable[Callable[[], Emit | None]], pipelines: Collection[Pipeline]) -> list[Emit]:
    """Start what a file's sections ask for; returns the observers, which these pipelines are observed by from now on.

    One with a ``watch`` (the dashboard) is told which pipelines it is about, after all others stand.
    """
    observers = [observer for start in starts if (observer := start()) is not None]
    for pipeline in pipelines:
        pipeline.observe(*observers)
    for observer in observers:
        watch = getattr(observer, "watch", None)
        if watch is not None:
            watch(*pipelines)
    return observers


def check_file(
    path: str | os.PathLike[str],
    *,
    env_prefixes: tuple[str, ...] = PREFIXES,
    sections: Mapping[str, Section] | None = None,
) -> list[Problem]:
    """All problems of a file, `exchanges.yaml` too, in its order; nothing is opened or started.

    `sections` are the checks of other packages' sections; by default those installed as entry points of the group
    ``resilience.sections``. Raises `ConfigError` if the file cannot be read at all.
    """
    problems = Problems()
    try:
        root = Document.load(path, prefixes=env_prefixes, problems=problems)
        _check(root, problems, sections)
        problems.finish()
    except InvalidConfig as error:
        return error.problems
    return []


def _check(root: Node, problems: Problems, sections: Mapping[str, Section] | None) -> None:
    _sections(root, problems, _OTHERS)
    read_version(root, problems)
    read_settings(root, problems)
    resources, pipelines = root.get("resources"), root.get("pipelines")
    names = [] if resources is None else resources.keys()
    if pipelines is not None:
        read_pipelines(pipelines, problems, lambda name: _LENT if resources is None or name in names else None, names)
    elif "exchanges" not in root:
        problems.add(root.problem("the key pipelines is missing", "missing-key"))
    for check in _checks([name for name in _OTHERS if name in root], sections):
        with problems.catch():
            check(root)


def _checks(present: Sequence[str], sections: Mapping[str, Section] | None) -> list[Section]:
    """The checks of those sections of others that stand in the file."""
    if not present:
        return []
    if sections is not None:
        return [sections[name] for name in present if name in sections]
    from importlib.metadata import entry_points  # here: it costs more than all the rest of this module

    try:
        return [point.load() for point in entry_points(group=_GROUP) if point.name in present]
    except (ImportError, AttributeError) as error:
        sections_of = " or ".join(present)
        raise ConfigError(f"an installed package that checks {sections_of} cannot be loaded: {error}") from error


def _unopened() -> Any:
    raise NotImplementedError("a checked pipeline lends nothing")


_LENT: Mapping[str, Any] = {"open": _unopened}


def lent(name: str) -> Mapping[str, Any]:
    """What the pool of any name lends in pipelines that are only looked at: nothing."""
    return _LENT


# -- the sections ---------------------------------------------------------------------------------------------


def _sections(root: Node, problems: Problems, others: tuple[str, ...]) -> None:
    """Report what stands at the top of the file and belongs to nobody."""
    allowed = (*_OURS, *others)
    if root.kind != "mapping" or root.broken:
        refuse(root, f"a mapping of {', '.join(allowed)}", problems)
        problems.finish()
    for key, node in root.items():
        if key in allowed:
            continue
        text = f"unknown key{nearest(key, allowed)} (allowed: {', '.join(allowed)})"
        if key in _OTHERS:
            text = "this section belongs to a file for exchanges.ExchangeManager; resilience.load reads none of it"
        problems.add(node.problem(text, "unknown-key", at_key=True))


def read_version(root: Node, problems: Problems) -> None:
    """Report a version that is missing, or that this release does not read."""
    node = root.get("version")
    if node is None:
        problems.add(root.problem("the key version is missing; write version: 1", "missing-key"))
    elif not node.broken and (node.text != "1" or number(node) is None):
        refuse(node, "1, the only version that this release reads", problems, rule="version")


def read_settings(root: Node, problems: Problems) -> list[Callable[[], Emit | None]]:
    """For each section that observes (``telemetry:``, ``dashboard:``) and is sound: the function that starts it."""
    starts: list[Callable[[], Emit | None]] = []
    for name in SECTIONS:
        node = root.get(name)
        if node is not None:
            fields, start = section(name)
            settings = read(fields, node, problems)
            if settings is not BROKEN:
                starts.append(functools.partial(_start, node, start, settings))
    return starts


def settings_of(starts: Iterable[Callable[[], Emit | None]]) -> dict[str, Any]:
    """The settings of what `read_settings` would start, by section: to tell whether they have changed."""
    return {start.args[0].path: start.args[2] for start in starts if isinstance(start, functools.partial)}


def _start(node: Node, start: Callable[[Any], Emit | None], settings: Any) -> Emit | None:
    try:
        return start(settings)
    except ConfigError as error:  # a package that is missing, say
        raise node.error(str(error)) from None
