"""`resilience plan OLD NEW`: what a new file would change in a running program, before anybody lets it.

Two files are compared as the loader understands them, not as text: a comment, another spelling of ten seconds, or a
default that is written out changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..config import Contents
from ..config.document import Node
from ..config.extends import expand
from ..config.problems import InvalidConfig, Problem, Problems
from ..config.registry import POLICIES
from ..errors import ConfigError
from ..lint import Linted, lint_file
from ..lint.facts import Facts
from ..lint.files import Used, used
from ..lint.report import as_line
from .differences import Change, differences
from .told import told

__all__ = ["Plan", "Setting", "plan", "policies_of", "routes_of"]

_SECRET = ("key", "secret", "token", "password")
_EFFECTS = {
    "resources": "a new session is opened; the old one is closed when its last borrower is back",
    "telemetry": "takes effect at the next start",
    "dashboard": "takes effect at the next start",
    "lint": "for the linter alone; a running program does not read it",
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
    """What would change. With `problems` the new file is invalid, or no running program would take it: nothing changes.

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
        return "\n".join(told(self))


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
    refused = tuple(_unfit(before, after))
    if refused:
        return Plan(*names, problems=refused)
    settings = (*_settings(before.contents.root, after.contents.root), *_rerouted(before.facts, after.facts))
    return Plan(*names, tuple(_changes(before, after)), settings, warnings=tuple(_warnings(before, after)))


def _warnings(before: Linted, after: Linted) -> Iterator[str]:
    known = {(one.rule, one.pipeline, one.message) for one in before.findings}
    for finding in after.findings:
        if (finding.rule, finding.pipeline, finding.message) not in known:
            yield as_line(finding)


def _changes(old: Linted, new: Linted) -> Iterator[Change]:
    """As in `group.Group`, for pipelines that nobody has built."""
    before, after = (policies_of(linted.contents, linted.facts) for linted in (old, new))
    for name, policies in after.items():
        if name in before:
            yield from differences(name, before[name], policies)
        else:
            yield Change(name, "pipeline", 0, "added")
    for name in before:
        if name not in after:
            yield Change(name, "pipeline", 0, "removed", kept="whoever holds it goes on with it as it was")


def policies_of(contents: Contents, facts: Mapping[str, Facts]) -> dict[str, Sequence[Any]]:
    """By the name that a pipeline has in a running program: where exchanges use it, with their overrides in it."""
    return {name: use.policies for name, use in _running(contents, facts).items()}


def _running(contents: Contents, facts: Mapping[str, Facts]) -> dict[str, Used]:
    """The pipelines of a running program: each exchange has all of the file, those too that no operation uses."""
    found = {use.full: use for use in used(contents, facts) if use.facts is not None}
    exchanges, pipelines = contents.root.get("exchanges"), contents.root.get("pipelines")
    for prefix in [""] if exchanges is None else [f"{name}." for name in exchanges.keys()]:  # noqa: SIM118
        for name, policies in contents.policies.items():
            node = (pipelines and pipelines.get(name)) or contents.root
            found.setdefault(f"{prefix}{name}", Used(name, policies, None, node))
    return found


def _unfit(old: Linted, new: Linted) -> Iterator[Problem]:
    """Pipelines that get or lose a pool, which a running program refuses (`fitting.unfit`)."""
    before, after = (_running(linted.contents, linted.facts) for linted in (old, new))
    unsure = _unsure(old.contents.root) | _unsure(new.contents.root)
    for name, use in after.items():
        if name in before and use.name not in unsure:
            had, has = (
                sum(bool(getattr(one, "lends", False)) for one in each.policies) for each in (before[name], use)
            )
            if had != has:
                text = f"lends {has} resources in place of {had}, which a running program refuses: restart it, with "
                yield use.node.problem(f"{text}code that fits", "pools")


def _unsure(root: Node) -> set[str]:
    """Pipelines with the pool of a preset, which is there only if the program that loads the file lends one."""
    pipelines, resources = root.get("pipelines"), root.get("resources")
    stacks = None if pipelines is None else expand(pipelines, Problems())
    known = [] if resources is None else resources.keys()
    pools = [(name, entry.get("pool")) for name, stack in (stacks.items() if stacks else ()) for entry in stack]
    return {name for name, pool in pools if pool is not None and pool.source.preset and pool.text not in known}


def _settings(old: Node, new: Node) -> Iterator[Setting]:
    before, after = (dict(_leaves(root)) for root in (old, new))
    for path in dict.fromkeys([*before, *after]):
        was, will = before.get(path), after.get(path)
        if (was and was.text) != (will and will.text):
            effect = _EFFECTS.get(path.partition(".")[0], "from the next call on")
            yield Setting(path, _shown(was, path), _shown(will, path), effect)


def routes_of(facts: Mapping[str, Facts]) -> dict[tuple[str, str], str]:
    """The pipeline, by its full name, of each exchange and operation."""
    return {
        (fact.full.removesuffix(f".{fact.pipeline}"), op.name): fact.full for fact in facts.values() for op in fact.ops
    }


def _rerouted(old: Mapping[str, Facts], new: Mapping[str, Facts]) -> Iterator[Setting]:
    before, after = routes_of(old), routes_of(new)
    for exchange, op in before:
        was, will = before[exchange, op], after.get((exchange, op))
        if will is not None and will != was:
            effect = "from the next call on, with the states of that pipeline"
            yield Setting(f"exchanges.{exchange}.operations.{op}.pipeline", was, will, effect)


def _leaves(root: Node) -> Iterator[tuple[str, Node]]:
    for name, node in root.items():
        if name == "exchanges":
            yield from (pair for _, exchange in node.items() for pair in _routes(exchange))
        elif name not in ("version", "pipelines"):
            yield from _values(node)


def _routes(exchange: Node) -> Iterator[tuple[str, Node]]:
    """What an exchange says, but for its policies and routes, which are told of the pipelines that come of them."""
    for key, child in exchange.items():
        if key not in ("pipeline", "operations", *POLICIES):
            yield from _values(child)


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
