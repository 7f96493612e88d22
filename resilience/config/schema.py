"""The JSON Schema of a file, for editors: the same shapes that read it, asked for their words in JSON.

Draft 2020-12. What a policy's own checks say beyond the types (`limit` of at least 1, say) is not in it.
"""

from __future__ import annotations

from typing import Any

from .containers import Fields
from .registry import POLICIES, SECTIONS, section, single, spelled

__all__ = ["schema"]


def schema() -> dict[str, Any]:
    """The schema of the whole file, as plain data."""
    defs: dict[str, Any] = {}
    fields = {name: spelled(name) for name in POLICIES}
    bare = [name for name, shape in fields.items() if not shape.required]
    entries: list[dict[str, Any]] = [{"enum": bare, "description": "A policy with all its defaults."}]
    entries += [_entry(name, shape, defs) for name, shape in fields.items()]
    defs["policy"] = {"anyOf": entries}
    stack = {"type": "array", "items": {"$ref": "#/$defs/policy"}, "description": "Policies, outermost first."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Resilience pipelines",
        "type": "object",
        "properties": {
            "version": {"const": 1},
            "pipelines": {"type": "object", "additionalProperties": stack},
            **{name: section(name)[0].schema(defs) for name in SECTIONS},
        },
        "required": ["version", "pipelines"],
        "additionalProperties": False,
        "$defs": defs,
    }


def _entry(name: str, fields: Fields, defs: dict[str, Any]) -> dict[str, Any]:
    """One policy under its key: its settings, or its one required value alone."""
    settings = fields.schema(defs)
    alone = single(fields)
    if alone is not None:
        settings = {"anyOf": [settings, fields.keys.shapes[alone].schema(defs)]}
    return {"type": "object", "properties": {name: settings}, "required": [name], "additionalProperties": False}
