"""Reading the simulator's input files: JSON or YAML, with the traps of both closed.

Duplicate keys are refused (both parsers would silently keep the last one), as are YAML aliases (a few hundred bytes
of them can unfold into gigabytes) and files that are absurdly large or deep.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

__all__ = ["DocumentError", "read_document"]

_MAX_BYTES = 4 << 20


class DocumentError(Exception):
    """The file cannot be read; the text is one line without the file's name."""


def read_document(path: Path) -> Any:
    """The plain data in `path`: JSON if its name ends in ``.json``, YAML otherwise. Raises `DocumentError`."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise DocumentError(exc.strerror or "cannot be read") from exc
    if len(data) > _MAX_BYTES:
        raise DocumentError(f"is {len(data)} bytes long, at most {_MAX_BYTES} are read")
    try:
        text = data.decode("utf-8")
        if path.suffix.lower() == ".json":
            return json.loads(text, object_pairs_hook=_without_duplicates)
        return yaml.load(text, Loader=_Loader)  # noqa: S506  _Loader is a SafeLoader
    except UnicodeDecodeError as exc:
        raise DocumentError(f"is not UTF-8 text (byte {exc.start})") from exc
    except RecursionError as exc:
        raise DocumentError("is nested too deeply") from exc
    except json.JSONDecodeError as exc:
        raise DocumentError(f"line {exc.lineno}: is not JSON: {exc.msg}") from exc
    except yaml.YAMLError as exc:
        raise DocumentError(_one_line(exc)) from exc


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DocumentError(f"has the key {key!r} twice in one object")
        found[key] = value
    return found


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise DocumentError("holds a YAML alias (*name), which is not allowed: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found = super().construct_mapping(node, deep)
        if len(found) != len(node.value):
            raise DocumentError(f"line {node.start_mark.line + 1}: has the same key twice")
        return found


def _one_line(exc: yaml.YAMLError) -> str:
    mark = getattr(exc, "problem_mark", None)
    place = f"line {mark.line + 1}: " if mark is not None else ""
    return f"{place}is not YAML: {getattr(exc, 'problem', None) or 'cannot be parsed'}"
