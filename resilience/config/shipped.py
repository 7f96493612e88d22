"""Presets: pipelines named for what they are for, which ship with the package as YAML and are read like any other file.

A preset ends with ``pool: rest``. Where a resource of that name is lent, whoever extends it gets the pool; where none
is, the preset works without.
"""

from __future__ import annotations

import functools

from .document import Node, Source
from .environment import Environment
from .parser import read
from .problems import Problems

__all__ = ["PRESETS", "preset_node"]

PRESETS = ("market-data", "orders", "bulk-download", "low-latency", "virtuoso")


@functools.cache
def preset_node(name: str) -> Node:
    """The list of policies of a preset."""
    from importlib.resources import files  # here: it costs more than the reading

    file = f"presets/{name}.yaml"
    text = (files(__package__) / file).read_text("utf-8")
    root = read(text, Source(file, Environment(()), preset=True), Problems())
    pipelines = root.get("pipelines")
    node = None if pipelines is None else pipelines.get(name)
    assert node is not None  # noqa: S101 (our own file)
    return node
