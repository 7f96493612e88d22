"""Pipelines from the `pipelines:` section: lists of policies, outermost first.

A policy is a key with its settings (``retry: {attempts: 4}``), a key with its one required value (``timeout: 10s``), or
a bare name where every setting has a default (``- breaker``). A pool is only named in the file; who loads the file says
what it lends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ..errors import ConfigError
from ..events import Emit
from ..pipeline import Pipeline
from ..policies.pool import Pool
from ..policy import Policy
from ..verdict import Classify
from ..verdict import classify as default_classify
from .containers import Fields
from .document import Node, short
from .problems import Problem, Problems
from .registry import POLICIES, single, spelled
from .shape import BROKEN, nearest, read, refuse

__all__ = ["Places", "Resource", "Resources", "build_pipelines", "read_pipelines"]

Resource: TypeAlias = "Callable[[], Any] | Mapping[str, Any] | Pool[Any]"
Resources: TypeAlias = "Mapping[str, Resource]"
Lends: TypeAlias = "Callable[[str], Mapping[str, Any] | None]"
Places: TypeAlias = "dict[int, Node]"


def build_pipelines(
    node: Node,
    *,
    resources: Resources | None = None,
    classify: Classify | None = None,
    shared: dict[str, Any] | None = None,
    scope: str = "",
    prefix: str = "",
    observers: Iterable[Emit] = (),
) -> dict[str, Pipeline]:
    """The pipelines of a `pipelines:` node, by their names in the file; ``prefix + name`` is the `Pipeline.name`.

    `resources` says what each pool lends: a function without arguments, the arguments of `Pool` as a mapping, or a
    `Pool`. `shared` and `scope` are those of `Pipeline`; without `shared`, the pipelines of this call share one.
    Raises `ConfigError` with all problems of the section.
    """
    supplied = {name: _supplied(name, resource) for name, resource in (resources or {}).items()}
    problems = Problems()
    stacks = read_pipelines(node, problems, supplied.get, list(supplied))
    problems.finish()
    shared = {} if shared is None else shared
    observers = tuple(observers)
    return {
        name: Pipeline(
            *policies,
            name=prefix + name,
            classify=classify or default_classify,
            observers=observers,
            shared=shared,
            scope=scope,
        )
        for name, policies in stacks.items()
    }


def read_pipelines(
    node: Node, problems: Problems, lends: Lends, pools: Sequence[str], places: Places | None = None
) -> dict[str, list[Policy]]:
    """The policies of every pipeline. `lends` gives a pool's arguments by its name, `pools` the names that it knows.

    `places` is told where each policy stands in the file, by the policy's `id`.
    """
    return _Reader(problems, lends, pools, {} if places is None else places).pipelines(node)


class _Reader:
    def __init__(self, problems: Problems, lends: Lends, pools: Sequence[str], places: Places) -> None:
        self._problems = problems
        self._places = places
        self._lends = lends
        self._pools = pools

    def pipelines(self, node: Node) -> dict[str, list[Policy]]:
        if not self._is(node, "mapping", "a mapping of names to lists of policies"):
            return {}
        return {name: self._stack(child) for name, child in node.items()}

    def _is(self, node: Node, kind: str, words: str) -> bool:
        if node.broken is not None:
            self._problems.add(node.broken)
        elif node.kind != kind:
            refuse(node, words, self._problems)
        else:
            return True
        return False

    def _stack(self, node: Node) -> list[Policy]:
        if not self._is(node, "sequence", "a list of policies, outermost first"):
            return []
        policies = [(self._policy(entry), entry) for entry in node]
        self._places.update((id(policy), entry) for policy, entry in policies)
        return [policy for policy, _ in policies if policy is not BROKEN]

    def _policy(self, entry: Node) -> Any:
        if entry.broken is not None:
            return self._report(entry.broken)
        if entry.kind == "scalar":
            return self._bare(entry)
        if entry.kind != "mapping" or len(entry) != 1:
            keys = short(", ".join(entry.keys()))
            what = f"{entry.found} with the keys {keys}" if keys else entry.found
            text = f"found {what}, must be one policy, such as - retry: {{attempts: 3}}; begin each with its own dash"
            return self._report(entry.problem(text, "policy"))
        ((name, node),) = entry.items()
        if name not in POLICIES:
            return self._report(node.problem(_unknown(name), "unknown-policy", at_key=True))
        return self._made(name, spelled(name), node)

    def _bare(self, entry: Node) -> Any:
        name = entry.text
        if entry.style == "env":
            return refuse(entry, "the name of a policy", self._problems)
        if name not in POLICIES:
            return self._report(entry.problem(_unknown(name), "unknown-policy"))
        fields = spelled(name)
        if fields.required:
            text = f"{name} needs {' and '.join(fields.required)}: write - {name}: and its value"
            return self._report(entry.problem(text, "missing-key"))
        return fields.make(entry, {}, self._problems)

    def _made(self, name: str, fields: Fields, node: Node) -> Any:
        values = self._settings(name, fields, node)
        if values is BROKEN:
            return BROKEN
        if name == "pool":
            lent = self._lent(node, values["name"])
            if lent is None:
                return BROKEN
            values = {**lent, **values}
        return fields.make(node, values, self._problems)

    def _settings(self, name: str, fields: Fields, node: Node) -> Any:
        """The settings as a mapping: written out, or the one required value alone."""
        alone = single(fields)
        if alone is not None and node.kind != "mapping":
            value = read(fields.keys.shapes[alone], node, self._problems)
            return BROKEN if value is BROKEN else {alone: value}
        if node.is_null and not fields.required:
            words = f"- {name} alone for its defaults, or {name}: and {fields.words}"
            return self._report(node.problem(f"found nothing, must be {words}", "type", at_key=True))
        return read(fields.keys, node, self._problems)

    def _lent(self, node: Node, name: str) -> Mapping[str, Any] | None:
        supplied = self._lends(name)
        if supplied is None:
            known = f"known: {', '.join(self._pools)}" if self._pools else f"supply it: resources={{{name!r}: open}}"
            text = f"no resource is named {name!r}{nearest(name, self._pools)} ({known})"
            self._report((node.get("name") or node).problem(text, "unknown-resource"))
        return supplied

    def _report(self, problem: Problem) -> Any:
        self._problems.add(problem)
        return BROKEN


def _unknown(name: str) -> str:
    return f"unknown policy {short(name)!r}{nearest(name, list(POLICIES))} (allowed: {', '.join(POLICIES)})"


def _supplied(name: str, resource: Any) -> Mapping[str, Any]:
    """What a pool lends, as arguments of `Pool`. Raises `ConfigError` for what cannot be one."""
    if isinstance(resource, Pool):
        return {item.name: getattr(resource, item.name) for item in dataclasses.fields(resource)}
    if callable(resource):
        return {"open": resource}
    if isinstance(resource, Mapping) and callable(resource.get("open")):
        return resource
    raise ConfigError(
        f"resources[{name!r}] is of type {type(resource).__name__}, must be a function that makes the resource, "
        "or the arguments of Pool as a mapping with open"
    )
