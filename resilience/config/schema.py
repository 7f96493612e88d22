"""The JSON Schema of a file, for editors: the same shapes that read it, asked for their words in JSON.

Draft 2020-12. The bounds of numbers are in it. What no schema can say is left to `check`: relations between settings or
with other parts of the file (a name that is extended, a pipeline that an exchange names), and how something is spelled
that JSON has no spelling for (a number as ``1e3``, a key that stands twice).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .fields import Fields
from .include import INCLUDE, MOST_FILES, PATTERN
from .registry import POLICIES, SECTIONS, section, single, spelled
from .sections import OTHERS, Section, owners
from .shipped import PRESETS

__all__ = ["changes", "schema"]

_OFF = {"enum": ["off", None], "description": "Take this policy away."}


def schema(sections: Mapping[str, Section] | None = None) -> dict[str, Any]:
    """The schema of the whole file, as plain data. `sections` are those of other packages, by default the installed."""
    defs: dict[str, Any] = {}
    fields = {name: spelled(name) for name in POLICIES}
    bare = [name for name, shape in fields.items() if not shape.required]
    entries: list[dict[str, Any]] = [{"enum": bare, "description": "A policy with all its defaults."}]
    entries += [_entry(name, shape, defs) for name, shape in fields.items()]
    defs["policy"] = {"anyOf": entries}
    stack = {"type": "array", "items": {"$ref": "#/$defs/policy"}, "description": "Policies, outermost first."}
    others = _others(defs, sections)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Resilience pipelines, and who uses them",
        "type": "object",
        "properties": {
            "version": {"const": 1},
            INCLUDE: _INCLUDED,
            "pipelines": {"type": "object", "additionalProperties": {"anyOf": [stack, _derived(defs)]}},
            **{name: section(name)[0].schema(defs) for name in SECTIONS},
            **others,
        },
        "required": ["version"],
        "anyOf": [{"required": [name]} for name in ("pipelines", INCLUDE)],
        "additionalProperties": False,
        "$defs": defs,
    }


def changes(defs: dict[str, Any]) -> dict[str, Any]:
    """By the names of the policies: what an override may say about each."""
    return {name: _change(spelled(name), defs) for name in POLICIES}


_INCLUDED = {
    "type": "array",
    "items": {"type": "string", "pattern": PATTERN},
    "maxItems": MOST_FILES - 1,
    "uniqueItems": True,
    "description": "Files beneath the folder of this one, whose sections are joined with those here.",
}


def _others(defs: dict[str, Any], sections: Mapping[str, Section] | None) -> dict[str, Any]:
    """The sections of other packages, as far as they say what they look like."""
    found = {}
    for name, owner in owners(OTHERS, sections):
        of = getattr(owner, "schema", None)
        found[name] = {"type": "object"} if of is None else of(defs)
    return found


def _entry(name: str, fields: Fields, defs: dict[str, Any]) -> dict[str, Any]:
    """One policy under its key: its settings, or its one required value alone."""
    settings = fields.schema(defs)
    alone = single(fields)
    if alone is not None:
        settings = {"anyOf": [settings, _setting(fields, alone)]}
    return {"type": "object", "properties": {name: settings}, "required": [name], "additionalProperties": False}


def _setting(fields: Fields, key: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{fields.kind.__name__}/properties/{key}"}


def _derived(defs: dict[str, Any]) -> dict[str, Any]:
    words = f"A pipeline of this file, or a preset: {', '.join(PRESETS)}."
    return {
        "type": "object",
        "properties": {"extends": {"type": "string", "description": words}, **changes(defs)},
        "required": ["extends"],
        "additionalProperties": False,
        "description": "Another pipeline with some policies otherwise.",
    }


def _change(fields: Fields, defs: dict[str, Any]) -> dict[str, Any]:
    """The settings of a policy, none of which is required, its one required value alone, or nothing at all."""
    fields.schema(defs)
    key = f"{fields.kind.__name__}.changes"
    if key not in defs:
        settings = {
            "type": "object",
            "properties": {each: _setting(fields, each) for each in fields.keys.shapes},
            "additionalProperties": False,
        }
        alone = single(fields)
        defs[key] = {"anyOf": [settings, *([] if alone is None else [_setting(fields, alone)]), _OFF]}
    return {"$ref": f"#/$defs/{key}"}
