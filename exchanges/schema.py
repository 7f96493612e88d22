"""The sections ``resources:`` and ``exchanges:`` as JSON Schema, for `resilience schema`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from resilience.config.schema import changes
from resilience.config.shapes import fields_of

__all__ = ["exchanges_schema", "resources_schema"]


def resources_schema(kinds: Mapping[str, type], defs: dict[str, Any]) -> dict[str, Any]:
    """By name: one of the kinds of resources. `defs` are the definitions that all of a schema share."""
    kind = [fields_of(settings).schema(defs) for settings in kinds.values()]
    return {"type": "object", "additionalProperties": {"anyOf": kind}, "minProperties": 1}


def exchanges_schema(adapters: Mapping[str, tuple[str, str, str]], defs: dict[str, Any]) -> dict[str, Any]:
    """By name: an exchange of one of the adapters, its operations, and what they override."""
    exchange = [_exchange(adapter, *where, defs) for adapter, where in adapters.items()]
    return {"type": "object", "additionalProperties": {"anyOf": exchange}, "minProperties": 1}


def _exchange(adapter: str, module: str, kind: str, operations: str, defs: dict[str, Any]) -> dict[str, Any]:
    fields = fields_of(getattr(import_module(module), kind))
    fields.schema(defs)
    settings: dict[str, Any] = {key: {"$ref": f"#/$defs/{kind}/properties/{key}"} for key in fields.keys.shapes}
    settings["adapter"] = {"const": adapter}
    overrides = changes(defs)
    route = {
        "type": "object",
        "properties": {"pipeline": {"type": "string"}, **overrides},
        "additionalProperties": False,
        "minProperties": 1,
        "description": "The pipeline of this operation, policies that differ, or both.",
    }
    names = import_module(operations).OPERATIONS
    routes = {"type": "object", "properties": dict.fromkeys(names, route), "additionalProperties": False}
    return {
        "type": "object",
        "properties": {**settings, "operations": routes, **overrides},
        "required": fields.required,
        "additionalProperties": False,
    }
