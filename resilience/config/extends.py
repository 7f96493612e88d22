"""`extends`: a pipeline that is another one of the file, or a preset, with some policies otherwise.

What comes out is a node in which every pipeline is a list, so that all who read pipelines know lists alone. Each entry
keeps the position at which it was written. A name means the file's own pipeline, and else a preset; a pipeline that
extends its own name can only mean the preset. What is inherited counts against a bound of its own, since a line of text
could otherwise stand for a thousand policies.
"""

from __future__ import annotations

from .document import Node, short
from .overrides import EXCEPTIONS, kind_of, overridden, settings_of
from .problems import Problem, Problems
from .registry import POLICIES, unknown
from .scalars import Text
from .shape import nearest, refuse
from .shipped import PRESETS, preset_node

__all__ = ["MOST_INHERITED", "MOST_STEPS", "expand"]

MOST_STEPS = 16
MOST_INHERITED = 20_000
_WORDS = "the name of a pipeline of this file or of a preset"


def expand(node: Node, problems: Problems) -> Node:
    """The same `pipelines:` node with a list in the place of every mapping that `extends`.

    What cannot be resolved is reported, and stands there as a broken node.
    """
    if node.kind != "mapping" or node.broken is not None or all("extends" not in child for _, child in node.items()):
        return node
    expansion = _Expansion(node, problems)
    made = node.remade("mapping")
    names = node.keys()
    for name in names:
        made.put(name, expansion.stack(name))
    return made


class _Expansion:
    def __init__(self, pipelines: Node, problems: Problems) -> None:
        self._pipelines = pipelines
        self._problems = problems
        self._stacks: dict[str, Node] = {}
        self._steps: dict[str, int] = {}
        self._inherited = 0
        self._too_much: Node | None = None

    def stack(self, name: str) -> Node:
        """The list of a pipeline of the file. Goes down to the base first, then builds upwards: no recursion."""
        chain: list[str] = []
        base = self._known(name)
        while base is None:
            chain.append(name)
            below = self._base(name, chain)
            if isinstance(below, str):
                name = below
                base = self._known(name)
            else:
                base = below
        steps = self._steps.get(name, 0)
        for name in reversed(chain):
            steps = self._steps[name] = steps + 1
            base = self._stacks[name] = self._derived(self._pipelines_get(name), base, steps)
        return base

    def _known(self, name: str) -> Node | None:
        """The list of a pipeline, unless it has to be made first."""
        node = self._pipelines_get(name)
        return node if "extends" not in node or node.broken is not None else self._stacks.get(name)

    def _pipelines_get(self, name: str) -> Node:
        node = self._pipelines.get(name)
        assert node is not None  # noqa: S101 (only names of the file come here)
        return node

    def _base(self, name: str, chain: list[str]) -> str | Node:
        """The name of the pipeline that this one extends, the list of a preset, or a broken node."""
        node = self._pipelines_get(name).get("extends")
        assert node is not None  # noqa: S101
        if node.broken is not None:
            return self._broken(node, node.broken)
        if node.style == "env" or not Text().takes(node):
            refuse(node, _WORDS, self._problems)
            return self._broken(node, self._problems.found[-1])
        base = node.text
        if base in self._pipelines and base != name:
            if base in chain:
                circle = " -> ".join(short(each) for each in (*chain[chain.index(base) :], base))
                return self._broken(node, node.problem(f"extends itself: {short(circle, 200)}", "extends-cycle"))
            return base
        if base in PRESETS:
            return preset_node(base)
        return self._broken(node, node.problem(self._unknown(base, name), "unknown-base"))

    def _unknown(self, base: str, name: str) -> str:
        own = [each for each, _ in self._pipelines.items() if each != name]
        what = "a pipeline cannot extend itself, and" if base == name else f"{short(base)!r}:"
        guess = nearest(base, [*own, *PRESETS])
        known = short(", ".join(own), 200) or "none"
        return (
            f"{what} no pipeline or preset has this name{guess} (in this file: {known}; presets: {', '.join(PRESETS)})"
        )

    def _broken(self, at: Node, problem: Problem) -> Node:
        self._problems.add(problem)
        node = at.remade("sequence")
        node.broken = problem
        return node

    def _derived(self, node: Node, base: Node, steps: int) -> Node:
        """The list of a pipeline whose base has one. Problems of its own keys are told even if the base is broken."""
        changes = {}
        for key, child in node.items():
            if key in POLICIES:
                changes[key] = child
            elif key != "extends":
                self._problems.add(child.problem(unknown(key), "unknown-policy", at_key=True))
        if base.broken is not None or base.kind != "sequence":
            return base
        if self._too_much is not None:
            return self._too_much
        self._inherited += _weight(base)
        if steps > MOST_STEPS:
            return self._broken(node, node.problem(f"more than {MOST_STEPS} pipelines extend one another", "depth"))
        if self._inherited > MOST_INHERITED:
            text = f"the pipelines of this file inherit more than {MOST_INHERITED} policies and settings"
            self._too_much = self._broken(node, node.problem(text, "size"))
            return self._too_much
        return overridden(base, changes, node, self._problems)


def _weight(stack: Node) -> int:
    """How much a list would hand down."""
    weight = 1
    for entry in stack:
        name = kind_of(entry)
        settings = (settings_of(name, entry.get(name)) or {}) if name in POLICIES else {}
        exceptions = settings.get(EXCEPTIONS)
        weight += 1 + len(settings) + (0 if exceptions is None else len(exceptions))
    return weight
