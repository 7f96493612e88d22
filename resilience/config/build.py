"""Pipelines from the `pipelines:` section: lists of policies, outermost first, or changes of one (`extends`).

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
from .document import Node, short
from .extends import expand
from .fields import Fields
from .problems import Problem, Problems
from .registry import POLICIES, single, spelled, unknown
from .shape import BROKEN, nearest, read, refuse

__all__ = [
    "MOST_POLICIES",
    "Places",
    "Resource",
    "Resources",
    "build_pipelines",
    "make_pipelines",
    "read_pipelines",
    "read_stacks",
]

MOST_POLICIES = 32

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
    problems = Problems()
    stacks = read_stacks(node, problems, resources)
    problems.finish()
    return make_pipelines(
        stacks, classify=classify, shared=shared, scope=scope, prefix=prefix, observers=tuple(observers)
    )


def read_stacks(node: Node, problems: Problems, resources: Resources | None) -> dict[str, list[Policy]]:
    """The policies of every pipeline, with what their pools lend. Raises `ConfigError` for what can lend nothing."""
    supplied = {name: _supplied(name, resource) for name, resource in (resources or {}).items()}
    return read_pipelines(node, problems, supplied.get, list(supplied))


def make_pipelines(
    stacks: Mapping[str, Sequence[Policy]],
    *,
    classify: Classify | None = None,
    shared: dict[str, Any] | None = None,
    scope: str = "",
    prefix: str = "",
    observers: tuple[Emit, ...] = (),
) -> dict[str, Pipeline]:
    """Pipelines of policies that were read; the arguments are those of `build_pipelines`."""
    shared = {} if shared is None else shared
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
    return _Reader(problems, lends, pools, {} if places is None else places).pipelines(expand(node, problems))


class _Reader:
    def __init__(self, problems: Problems, lends: Lends, pools: Sequence[str], places: Places) -> None:
        self._problems = problems
        self._places = places
        self._lends = lends
        self._pools = pools
        self._read: dict[int, Any] = {}  # by entry: what is inherited is one object in all pipelines

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
        if not self._is(node, "sequence", "a list of policies, outermost first, or a mapping with extends"):
            return []
        if len(node) > MOST_POLICIES:  # what judges their order compares each with each
            self._report(node.problem(f"has {len(node)} policies, may have at most {MOST_POLICIES}", "size"))
            return []
        policies = [(self._once(entry), entry) for entry in node]
        self._places.update((id(policy), entry) for policy, entry in policies)
        return [policy for policy, _ in policies if policy is not BROKEN]

    def _once(self, entry: Node) -> Any:
        key = id(entry)
        if key not in self._read:
            self._read[key] = self._policy(entry)
        return self._read[key]

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
            return self._report(node.problem(unknown(name), "unknown-policy", at_key=True))
        return self._made(name, spelled(name), node)

    def _bare(self, entry: Node) -> Any:
        name = entry.text
        if entry.style == "env":
            return refuse(entry, "the name of a policy", self._problems)
        if name not in POLICIES:
            return self._report(entry.problem(unknown(name), "unknown-policy"))
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
        if supplied is None and not node.source.preset:  # a preset's own pool is there for whom it suits
            known = f"known: {', '.join(self._pools)}" if self._pools else f"supply it: resources={{{name!r}: open}}"
            text = f"no resource is named {name!r}{nearest(name, self._pools)} ({known})"
            self._report((node.get("name") or node).problem(text, "unknown-resource"))
        return supplied

    def _report(self, problem: Problem) -> Any:
        self._problems.add(problem)
        return BROKEN


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
