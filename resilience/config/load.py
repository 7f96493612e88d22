"""A whole file: `version`, `pipelines`, `telemetry` and `dashboard`, and the sections that other packages own.

Everything is read and checked before anything is made: a file with one problem makes no pipeline at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..events import Emit
from ..pipeline import Pipeline
from ..policy import Policy
from ..verdict import Classify
from .build import Resources, make_pipelines, read_pipelines, read_stacks
from .document import Document, Node, short
from .environment import PREFIXES
from .problems import InvalidConfig, Problem, Problems
from .sections import OTHERS, Section, Start, owners, read_settings, read_top, read_version, settings_of
from .shape import nearest
from .shipped import PRESETS, preset_node

__all__ = [
    "Contents",
    "Description",
    "Section",
    "Start",
    "check_file",
    "examine",
    "lent",
    "load",
    "preset",
    "read_file",
    "read_settings",
    "read_version",
    "read_whole",
    "settings_of",
    "start_all",
]


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
    pipelines, described = read_whole(
        path, resources=resources, classify=classify, observers=observers, env_prefixes=env_prefixes
    )
    start_all(described.starts, pipelines.values())
    return pipelines


def read_whole(
    path: str | os.PathLike[str],
    *,
    resources: Resources | None = None,
    classify: Classify | None = None,
    observers: Iterable[Emit] = (),
    env_prefixes: tuple[str, ...] = PREFIXES,
    shared: dict[str, Any] | None = None,
) -> tuple[dict[str, Pipeline], Description]:
    """What `load` does before anything starts: the pipelines, and the file as it was understood."""
    described = read_file(path, resources=resources, env_prefixes=env_prefixes)
    pipelines = make_pipelines(described.stacks, classify=classify, observers=tuple(observers), shared=shared)
    return pipelines, described


@dataclass(frozen=True, slots=True)
class Description:
    """A whole and sound file, of which nothing is made yet: `stacks` are the policies of each pipeline.

    `starts` are the functions that start what observes. `root` knows the positions, and its ``source.files`` every file
    that was read.
    """

    root: Node
    stacks: Mapping[str, Sequence[Policy]]
    starts: Sequence[Start]


def read_file(
    path: str | os.PathLike[str], *, resources: Resources | None = None, env_prefixes: tuple[str, ...] = PREFIXES
) -> Description:
    """Read and check a file as `load` does. Raises `ConfigError` with all of its problems."""
    problems = Problems()
    root = Document.load(path, prefixes=env_prefixes, problems=problems)
    read_top(root, problems, ())
    read_version(root, problems)
    starts = read_settings(root, problems)
    node = root.get("pipelines")
    stacks: dict[str, list[Policy]] = {}
    if node is None:
        problems.add(root.problem("the key pipelines is missing", "missing-key"))
    else:
        stacks = read_stacks(node, problems, resources)
    problems.finish()
    return Description(root, stacks, starts)


def preset(
    name: str,
    *,
    resources: Resources | None = None,
    classify: Classify | None = None,
    observers: Iterable[Emit] = (),
) -> Pipeline:
    """A new pipeline of a preset: ``market-data``, ``orders``, ``bulk-download``, ``low-latency`` or ``virtuoso``.

    It lends a resource only if `resources` has one named ``rest`` (see `load`). Raises `ConfigError` for another name.
    """
    if name not in PRESETS:
        allowed = ", ".join(PRESETS)
        raise ConfigError(f"no preset is named {short(name)!r}{nearest(name, PRESETS)} (there are: {allowed})")
    node = preset_node(name).remade("mapping")
    node.put(name, preset_node(name))
    problems = Problems()
    stacks = read_stacks(node, problems, resources)
    problems.finish()
    return make_pipelines(stacks, classify=classify, observers=tuple(observers))[name]


def start_all(starts: Iterable[Start], pipelines: Collection[Pipeline]) -> list[Emit]:
    """Start what a file's sections ask for; returns the observers, which these pipelines are observed by from now on.

    One with a ``watch`` (the dashboard) is told which pipelines it is about, after all others stand; and before that,
    by its ``heed``, what ``telemetry:`` says, for it may be the only one who keeps spans.
    """
    starts = list(starts)
    observers = [observer for start in starts for observer in start()]
    telemetry = settings_of(starts).get("telemetry")
    for pipeline in pipelines:
        pipeline.observe(*observers)
    for observer in observers:
        heed = getattr(observer, "heed", None)
        if heed is not None and telemetry is not None:
            heed(telemetry)
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
    try:
        examine(path, env_prefixes=env_prefixes, sections=sections)
    except InvalidConfig as error:
        return error.problems
    return []


@dataclass(frozen=True, slots=True)
class Contents:
    """A sound file, for those who look closer: policies by pipeline, and where each stands, by the policy's `id`.

    `read` gives the policies of one more list that a section made of the file's own, and puts down where they stand.
    """

    root: Node
    policies: Mapping[str, Sequence[Policy]]
    places: Mapping[int, Node]
    checks: Sequence[Section]
    read: Callable[[Node], Sequence[Policy]]


def examine(
    path: str | os.PathLike[str],
    *,
    env_prefixes: tuple[str, ...] = PREFIXES,
    sections: Mapping[str, Section] | None = None,
    text: str | None = None,
) -> Contents:
    """What is in a file, or would be if it held `text`.

    Raises `InvalidConfig` with all of its problems, `ConfigError` if it cannot be read at all.
    """
    problems = Problems()
    root = Document.load(path, prefixes=env_prefixes, problems=problems, text=text)
    contents = _check(root, problems, sections)
    problems.finish()
    return contents


def _check(root: Node, problems: Problems, sections: Mapping[str, Section] | None) -> Contents:
    read_top(root, problems, OTHERS)
    read_version(root, problems)
    read_settings(root, problems)
    policies: Mapping[str, Sequence[Policy]] = {}
    places: dict[int, Node] = {}
    resources, pipelines = root.get("resources"), root.get("pipelines")
    names = [] if resources is None else resources.keys()

    def lends(name: str) -> Mapping[str, Any] | None:
        return _LENT if resources is None or name in names else None

    def read_one(stack: Node) -> Sequence[Policy]:
        made = root.remade("mapping")
        made.put("", stack)
        return read_pipelines(made, Problems(), lends, names, places)[""]

    if pipelines is not None:
        policies = read_pipelines(pipelines, problems, lends, names, places)
    elif "exchanges" not in root:
        problems.add(root.problem("the key pipelines is missing", "missing-key"))
    checks = [check for _, check in owners([name for name in OTHERS if name in root], sections)]
    for check in checks:
        with problems.catch():
            check(root)
    return Contents(root, policies, places, checks, read_one)


def _unopened() -> Any:
    raise NotImplementedError("a checked pipeline lends nothing")


_LENT: Mapping[str, Any] = {"open": _unopened}


def lent(name: str) -> Mapping[str, Any]:
    """What the pool of any name lends in pipelines that are only looked at: nothing."""
    return _LENT
