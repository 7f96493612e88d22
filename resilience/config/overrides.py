"""Overrides: a list of policies, and what is said otherwise about single ones of them. Nodes in, nodes out.

One rule serves three places of a file: a pipeline that `extends` another, an exchange, and an operation of an exchange.
A policy's settings are replaced one by one. A value alone means the one required setting, as in a list. What surprises:
`per_op` holds exceptions from that setting, so a new value begins without the inherited ones (``timeout: 40s`` means 40
s, whatever operation); given alone, `per_op` is merged by the names of the operations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .document import Node
from .problems import Problems
from .registry import POLICIES, single, spelled

__all__ = ["EXCEPTIONS", "is_off", "kind_of", "overridden", "settings_of"]

EXCEPTIONS = "per_op"
"""The setting of some policies that holds exceptions, by operation, from their one required setting."""

_RANK = {name: rank for rank, name in enumerate(POLICIES)}
_RANK["adaptive_limit"] = _RANK["bulkhead"]


def overridden(stack: Node, changes: Mapping[str, Node], at: Node, problems: Problems) -> Node:
    """The list `stack` with the changes, as a list in the place of `at`. `changes` has names of policies as keys.

    Null or ``off`` takes a policy away; one that is new stands beneath the last that is canonically outside it.
    """
    made = at.remade("sequence")
    entries = list(stack)
    for name in sorted(changes, key=_RANK.__getitem__):
        node = changes[name]
        places = [place for place, entry in enumerate(entries) if kind_of(entry) == name]
        if len(places) > 1:
            text = f"{len(places)} policies of the base are a {name}, so which is meant? write this pipeline as a list"
            problems.add(node.problem(text, "ambiguous-override", at_key=True))
        elif is_off(node):
            entries = [entry for place, entry in enumerate(entries) if place not in places]
        elif places:
            entries[places[0]] = _entry(node, name, _merged(name, entries[places[0]], node))
        else:
            entries.insert(_place(name, entries), _entry(node, name, node))
    for entry in entries:
        made.append(entry)
    return made


def kind_of(entry: Node) -> str:
    """The policy's name in an entry of a list; empty where there is none, which whoever reads the entry will tell."""
    if entry.broken is not None:
        return ""
    if entry.kind == "scalar":
        return entry.text
    return next(iter(entry.keys()), "") if len(entry) == 1 else ""


def is_off(node: Node) -> bool:
    """Whether an override takes the policy away."""
    return node.broken is None and (node.is_null or (node.style in ("plain", "quoted") and node.text == "off"))


def settings_of(name: str, node: Node | None) -> dict[str, Node] | None:
    """A policy's settings by their keys, also of a value alone; None for what cannot be its settings."""
    if node is None:
        return {}
    if node.broken is not None:
        return None
    if node.kind == "mapping":
        return dict(node.items())
    alone = single(spelled(name))
    return None if alone is None else {alone: node}


def _merged(name: str, entry: Node, node: Node) -> Node:
    """The settings of the base's entry with those of the override; as they stand where nothing can be merged."""
    base, own = settings_of(name, entry.get(name)), settings_of(name, node)
    if base is None or own is None:
        return node
    if single(spelled(name)) in own:
        base.pop(EXCEPTIONS, None)
    made = node.remade("mapping")
    for key, value in (base | own).items():
        made.put(key, _table(base[key], value) if key == EXCEPTIONS and key in base and key in own else value)
    return made


def _table(base: Node, own: Node) -> Node:
    if base.kind != "mapping" or own.kind != "mapping":
        return own
    made = own.remade("mapping")
    for key, value in _both(base, own):
        made.put(key, value)
    return made


def _both(base: Node, own: Node) -> Iterator[tuple[str, Node]]:
    yield from base.items()
    yield from own.items()


def _entry(at: Node, name: str, settings: Node) -> Node:
    entry = at.remade("mapping")
    entry.put(name, settings)
    return entry


def _place(name: str, entries: list[Node]) -> int:
    outside = [place for place, entry in enumerate(entries) if _RANK.get(kind_of(entry), len(_RANK)) <= _RANK[name]]
    return outside[-1] + 1 if outside else 0
