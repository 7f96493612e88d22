"""`resilience plan OLD NEW`: what a new file would change in a running program, before anybody lets it.

Two files are compared as the loader understands them, not as text: a comment, another spelling of ten seconds, or a
default that is written out changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ..config.build import read_pipelines
from ..config.document import Node
from ..config.load import lent
from ..config.problems import InvalidConfig, Problem, Problems
from ..errors import ConfigError
from ..lint import Linted, lint_file
from ..lint.report import as_line
from .differences import Change, differences

__all__ = ["Plan", "Setting", "plan", "policies_of"]

_SECRET = ("key", "secret", "token", "password")
_EFFECTS = {
    "resources": "a new session is opened; the old one is closed when its last borrower is back",
    "exchanges": "from the next call on; environment variables are read again",
    "telemetry": "takes effect at the next start",
    "dashboard": "takes effect at the next start",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One value outside the pipelines that changes; None where there was or will be none. Secrets are not shown."""

    path: str
    before: str | None
    after: str | None
    effect: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would change. With `problems` the new file is invalid, and changes nothing.

    `warnings` are what the linter says of the new file and did not say of the old one, a line each.
    """

    old: str
    new: str
    changes: tuple[Change, ...] = ()
    settings: tuple[Setting, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything would change."""
        return bool(self.changes or self.settings)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as ``--json`` prints it."""
        return {"valid": not self.problems, **asdict(self)}

    def __str__(self) -> str:
        return "\n".join(_told(self))


def plan(old: str | os.PathLike[str], new: str | os.PathLike[str]) -> Plan:
    """What changes from one file to the other. Raises `ConfigError` if the old is invalid, or one cannot be read."""
    names = os.fspath(old), os.fspath(new)
    try:
        before = lint_file(old)
    except InvalidConfig as error:
        raise ConfigError(f"{error.problems[0]} (in the old file; nothing can be compared with it)") from None
    try:
        after = lint_file(new)
    except InvalidConfig as error:
        return Plan(*names, problems=tuple(error.problems))
    roots = before.contents.root, after.contents.root
    return Plan(*names, tuple(_changes(*roots)), tuple(_settings(*roots)), warnings=tuple(_warnings(before, after)))


def _warnings(before: Linted, after: Linted) -> Iterator[str]:
    known = {(one.rule, one.pipeline, one.message) for one in before.findings}
    for finding in after.findings:
        if (finding.rule, finding.pipeline, finding.message) not in known:
            yield as_line(finding)


def _changes(old: Node, new: Node) -> Iterator[Change]:
    """As in `group.Group`, for pipelines that nobody has built."""
    before, after = (policies_of(root) for root in (old, new))
    for name, policies in after.items():
        if name in before:
            yield from differences(name, before[name], policies)
        else:
            yield Change(name, "pipeline", 0, "added")
    for name in before:
        if name not in after:
            yield Change(name, "pipeline", 0, "removed", kept="whoever holds it goes on with it as it was")


def policies_of(root: Node) -> dict[str, list[Any]]:
    node = root.get("pipelines")
    return {} if node is None else dict(read_pipelines(node, Problems(), lent, ()))


def _settings(old: Node, new: Node) -> Iterator[Setting]:
    before, after = (dict(_leaves(root)) for root in (old, new))
    for path in dict.fromkeys([*before, *after]):
        was, will = before.get(path), after.get(path)
        if (was and was.text) != (will and will.text):
            effect = _EFFECTS.get(path.partition(".")[0], "from the next call on")
            yield Setting(path, _shown(was, path), _shown(will, path), effect)


def _leaves(root: Node) -> Iterator[tuple[str, Node]]:
    for name, node in root.items():
        if name not in ("version", "pipelines"):
            yield from _values(node)


def _values(node: Node) -> Iterator[tuple[str, Node]]:
    if node.kind == "scalar":
        yield node.path, node
    for child in (*(child for _, child in node.items()), *node):
        yield from _values(child)


def _shown(node: Node | None, path: str) -> str | None:
    """A value as written; from the environment, as the name of its variable. Other secrets are not shown."""
    if node is None:
        return None
    if node.style == "env":
        return node.written
    return "(hidden)" if path.rpartition(".")[2] in _SECRET else node.text


# -- in words -----------------------------------------------------------------------------------------------------

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": "<>"}


def _told(plan: Plan) -> Iterator[str]:
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
        yield f"      {item.name}: {_worded(item.before)} -> {_worded(item.after)}   ({item.effect})"
    if change.kept:
        yield f"      kept: {change.kept}"
    if change.lost:
        yield f"      lost: {change.lost}"


def _worded(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _or_none(value: str | None) -> str:
    return "nothing" if value is None else value
