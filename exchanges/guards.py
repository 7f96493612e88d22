"""Which pipelines guard one exchange: those of the file, with what the exchange and its operations say otherwise.

An exchange, and an operation of it, may name policies beside `pipeline`, which override single ones (the rule is
`resilience.config.overrides`). An exchange's own hold for the pipeline that it names. An operation that says only how
long something may take becomes an exception (`per_op`) in that same pipeline, so that breakers, places and budgets stay
one; anything else makes a pipeline of its own, which still shares pools and the limits of an IP or an account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resilience.config import Node, Problems
from resilience.config.build import Lends, read_pipelines
from resilience.config.overrides import EXCEPTIONS, is_off, kind_of, overridden, settings_of
from resilience.config.registry import POLICIES, single, spelled
from resilience.config.shape import nearest

__all__ = ["Guards", "read_guards", "without_policies"]

_TIMES = ("deadline", "timeout")
_OWN = ("pipeline",)


@dataclass(frozen=True, slots=True)
class Guards:
    """`pipelines` is a `pipelines:` node, with lists alone; `routes` names one of them for every operation."""

    pipelines: Node
    routes: Mapping[str, str]


def without_policies(node: Node, known: Sequence[str], problems: Problems) -> Node:
    """The settings of an exchange by themselves, as its dataclass has them. Reports keys that are neither."""
    made = node.remade("mapping")
    for key, child in node.items():
        if key == "operations" and child.kind == "mapping" and child.broken is None:
            routes = child.remade("mapping")
            for name, route in child.items():
                routes.put(name, without_policies(route, _OWN, problems) if route.kind == "mapping" else route)
            child = routes  # noqa: PLW2901
        if key in known:
            made.put(key, child)
        elif key not in POLICIES:
            text = f"unknown key{nearest(key, [*known, *POLICIES])} (allowed: {', '.join(known)}, and policies)"
            problems.add(child.problem(text, "unknown-key", at_key=True))
    return made


def read_guards(
    node: Node, stacks: Node, operations: Sequence[str], problems: Problems, lends: Lends, pools: Sequence[str]
) -> Guards:
    """The pipelines of the exchange at `node`. `stacks` is the file's `pipelines:` node, with lists alone.

    Reports operations that the adapter does not have, pipelines that the file does not have, overrides that cannot
    work, and pipelines that do not lend one session. `lends` and `pools` are those of `read_pipelines`.
    """
    reading = _Reading(stacks, operations, problems)
    reading.exchange(node)
    guards = reading.guards()
    changed = stacks.remade("mapping")
    for name, stack in guards.pipelines.items():
        if stack is not stacks.get(name):
            changed.put(name, stack)
    read_pipelines(changed, problems, lends, pools)
    for name in dict.fromkeys(guards.routes.values()):
        _check_pools(guards.pipelines.get(name), pools, problems)
    return guards


class _Reading:
    def __init__(self, stacks: Node, operations: Sequence[str], problems: Problems) -> None:
        self._operations = operations
        self._problems = problems
        self._stacks = dict(stacks.items())
        self._at = stacks
        self._routes: dict[str, str] = {}

    def guards(self) -> Guards:
        pipelines = self._at.remade("mapping")
        for name, stack in self._stacks.items():
            pipelines.put(name, stack)
        return Guards(pipelines, self._routes)

    def exchange(self, node: Node) -> None:
        base = self._named(node.get("pipeline"))
        if base:
            self._change(base, base, _policies(node))
            self._routes = dict.fromkeys(self._operations, base)
        routes = node.get("operations")
        for name, route in [] if routes is None else routes.items():
            if name in self._operations:
                self._operation(name, route, base)
            else:
                guess = nearest(name, list(self._operations))
                text = f"unknown operation{guess} (this adapter has: {', '.join(self._operations)})"
                self._problems.add(route.problem(text, "unknown-operation", at_key=True))

    def _named(self, node: Node | None) -> str:
        """The name of a pipeline of the file; empty, after a report, where it names none."""
        if node is None or node.kind != "scalar" or node.broken is not None:
            return ""  # the dataclass tells
        if node.text in self._stacks and not node.is_null:
            return node.text
        known = f"{nearest(node.text, list(self._stacks))} (in this file: {', '.join(self._stacks)})"
        self._problems.add(node.problem(f"no pipeline is named {node.found}{known}", "unknown-pipeline"))
        return ""

    def _operation(self, name: str, route: Node, base: str) -> None:
        changes = _policies(route)
        if route.kind != "mapping" or route.broken is not None:
            return  # the dataclass tells
        if not len(route):
            text = "found an empty mapping, must be pipeline: NAME, policies that differ, or both"
            self._problems.add(route.problem(text, "type"))
            return
        pipeline = self._named(route.get("pipeline")) if "pipeline" in route else base
        if not pipeline:
            return
        for key in [key for key in changes if self._is_time(pipeline, key, changes[key])]:
            seconds = (settings_of(key, changes.pop(key)) or {})["seconds"]
            self._change(pipeline, pipeline, {key: _exception(name, seconds)})
        own = f"{pipeline}/{name}" if changes else pipeline
        if changes and own in self._stacks:
            self._problems.add(route.problem(f"a pipeline of the file is named {own!r}; rename it", "unknown-pipeline"))
            return
        self._change(pipeline, own, changes, route)
        self._routes[name] = own

    def _is_time(self, pipeline: str, key: str, node: Node) -> bool:
        """Whether the override says only how long something takes that the pipeline has."""
        settings = settings_of(key, node) or {} if key in _TIMES and not is_off(node) else {}
        stack = self._stacks[pipeline]
        return list(settings) == [single(spelled(key))] and [kind_of(entry) for entry in stack].count(key) == 1

    def _change(self, pipeline: str, own: str, changes: Mapping[str, Node], at: Node | None = None) -> None:
        stack = self._stacks[pipeline]
        if changes and stack.kind == "sequence" and stack.broken is None:
            self._stacks[own] = overridden(stack, changes, at or stack, self._problems)


def _policies(node: Node) -> dict[str, Node]:
    return {key: child for key, child in node.items() if key in POLICIES}


def _exception(operation: str, seconds: Node) -> Node:
    settings, table = seconds.remade("mapping"), seconds.remade("mapping")
    table.put(operation, seconds)
    settings.put(EXCEPTIONS, table)
    return settings


def _check_pools(stack: Node | None, names: Sequence[str], problems: Problems) -> None:
    """A pipeline that guards an exchange lends the HTTP session, once; what else is in the file may do as it likes."""
    if stack is None or stack.broken or stack.kind != "sequence":
        return
    pools = sum(_lends(entry, names) for entry in stack)
    if pools != 1:
        text = f"has {pools} pools, must have one that lends the HTTP session, such as - pool: rest"
        problems.add(stack.problem(text, "pools"))


def _lends(entry: Node, names: Sequence[str]) -> bool:
    pool = entry.get("pool")
    return pool is not None and (not pool.source.preset or pool.text in names)
