"""The JSON Schema is made of the same shapes that read the file, so both agree about what is legal."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import yaml

from resilience.config import Document, InvalidConfig, build_pipelines
from resilience.config.load import read_settings, read_version
from resilience.config.problems import Problems
from resilience.config.registry import POLICIES
from resilience.config.schema import schema
from resilience.config.shapes import shape_of

SCHEMA = schema()
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def accepts(rule: dict[str, Any], value: Any) -> bool:
    """Whether the value obeys the rule: as much of draft 2020-12 as the schema uses; anything else is a KeyError."""
    return all(_JUDGES[key](wanted, value, rule) for key, wanted in rule.items())


def _part(reference: str) -> dict[str, Any]:
    part: dict[str, Any] = SCHEMA
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return part


def _same(wanted: Any, value: Any) -> bool:
    return wanted == value and isinstance(wanted, bool) == isinstance(value, bool)


def _typed(wanted: str, value: Any) -> bool:
    return isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))


def _extra(wanted: Any, value: Any, rule: dict[str, Any]) -> bool:
    known = rule.get("properties", {})
    extra = [item for key, item in value.items() if key not in known] if isinstance(value, dict) else []
    return not extra if wanted is False else all(accepts(wanted, item) for item in extra)


_JUDGES: dict[str, Any] = {
    **dict.fromkeys(("$schema", "$defs", "title", "description", "default"), lambda wanted, value, rule: True),
    "$ref": lambda wanted, value, rule: accepts(_part(wanted), value),
    "type": lambda wanted, value, rule: _typed(wanted, value),
    "const": lambda wanted, value, rule: _same(wanted, value),
    "enum": lambda wanted, value, rule: any(_same(item, value) for item in wanted),
    "anyOf": lambda wanted, value, rule: any(accepts(item, value) for item in wanted),
    "pattern": lambda wanted, value, rule: not isinstance(value, str) or re.search(wanted, value) is not None,
    "exclusiveMinimum": lambda wanted, value, rule: not _typed("number", value) or value > wanted,
    "minLength": lambda wanted, value, rule: not isinstance(value, str) or len(value) >= wanted,
    "minItems": lambda wanted, value, rule: not isinstance(value, list) or len(value) >= wanted,
    "minimum": lambda wanted, value, rule: not _typed("number", value) or value >= wanted,
    "maximum": lambda wanted, value, rule: not _typed("number", value) or value <= wanted,
    "minProperties": lambda wanted, value, rule: not isinstance(value, dict) or len(value) >= wanted,
    "maxProperties": lambda wanted, value, rule: not isinstance(value, dict) or len(value) <= wanted,
    "required": lambda wanted, value, rule: not isinstance(value, dict) or all(key in value for key in wanted),
    "items": lambda wanted, value, rule: not isinstance(value, list) or all(accepts(wanted, item) for item in value),
    "properties": lambda wanted, value, rule: (
        not isinstance(value, dict) or all(accepts(item, value[key]) for key, item in wanted.items() if key in value)
    ),
    "additionalProperties": _extra,
}


def loads(text: str) -> bool:
    """Whether the loader accepts a file."""
    problems = Problems()
    root = Document.parse(text)
    read_version(root, problems)
    read_settings(root, problems)
    node = root.get("pipelines")
    assert node is not None
    with problems.catch():
        build_pipelines(node, resources={"rest": list})
    try:
        problems.finish()
    except InvalidConfig:
        return False
    return True


def policy(text: str) -> str:
    return f"version: 1\npipelines:\n  p:\n    - {text}\n"


@pytest.mark.parametrize(
    "text",
    [
        "retry", "breaker", "retry: {}", "deadline: 60s", "deadline: {seconds: 1.5m}", "timeout: 10s",
        "timeout: {seconds: 250ms, per_op: {a: 1s}}", "bulkhead: 3", "bulkhead: {limit: 3, max_wait: null}",
        "bulkhead: {limit: 3, max_wait: 0}", "pool: rest", "pool: {name: rest, broken: [A, B]}", "rate_limit: 10/s",
        "rate_limit: {rate: 10/s, key: null}", "breaker: {failure_rate: 50%, key: host}",
        "breaker: {failure_rate: 0.5}",
        "breaker: {failure_rate: 100%}", "hedge: 1s", "fallback: {value: {a: [1, null]}}", "fallback: {value: text}",
        "retry: {'on': A, wait: 1s, jitter: none}",
        "retry: {'on': [A, B], wait: {expo: {factor: 250ms}}, result: null}",
        "retry: {wait: {expo: {base: 2, factor: 1, max_value: 8s}}}",
        "retry: {wait: {constant: {interval: [1s, 0]}}}",
        "retry: {budget: {ratio: 10%}, throttled_wait: {expo: {}}}", "retry: {budget: {tokens: 9}, max_duration: 9s}",
        "retry: {budget: null, throttled_wait: null}", "hedge: p95", "hedge: {delay: p9.5, initial: 1s}",
        "adaptive_limit: {most: 5000, initial: 2000}", "adaptive_limit: {least: 30, initial: 40}",
        "shed: {k: 1, k_critical: 1.2}", "shed: {k: 9, k_sheddable: 5}",
        "timeout: {seconds: 90ms, adaptive: {floor: 50ms, ceiling: 100ms}}",
    ],
)  # fmt: skip
def test_the_schema_accepts_what_the_loader_accepts(text: str) -> None:
    """Sound entries of every policy. `on` is in quotes for the judge's sake: to PyYAML a plain one is the key True."""
    assert loads(policy(text))
    assert accepts(SCHEMA, yaml.safe_load(policy(text)))


@pytest.mark.parametrize(
    "text",
    [
        "timeout", "pool", "fallbacks", "retry: 3", "retry:", "retry: {atempts: 3}", "retry: {attempts: '3'}",
        "retry: {attempts: true}", "retry: {max_wait: 10}", "retry: {max_wait: 10sec}", "retry: {wait: 1}",
        "retry: {wait: {}}", "retry: {wait: {expo: {}, fibo: {}}}", "retry: {wait: {runtime: {}}}",
        "retry: {result: f}", "retry: {budget: {ratio: 1, tokens: 9}}", "retry: {budget: 5}", "hedge: p0", "hedge: 95",
        "hedge: p100", "retry: {nested: 1}", "retry: {throttled_wait: {expo: {bas: 1}}}",
        "{retry: {}, pool: rest}", "{}", "[]", "timeout: {}", "timeout: {seconds: 1s, per_op: [a]}", "timeout: 0.5",
        "bulkhead: {limit: 3, queue: null}", "breaker: {failure_rate: 101%}", "breaker: {failure_rate: 1.5}",
        "pool: {name: rest, open: f}", "rate_limit: 600", "deadline: -1s", "hedge: 1", "fallback: {call: f}",
    ],
)  # fmt: skip
def test_the_schema_refuses_what_the_loader_refuses(text: str) -> None:
    """Unknown keys, missing keys, wrong types, wrong units, what only code can say."""
    assert not loads(policy(text))
    assert not accepts(SCHEMA, yaml.safe_load(policy(text)))


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("version: 1\npipelines: {}\ntelemetry: {}", True),
        ("version: 1\npipelines: {}\ntelemetry: {traces: tail, sample: 1%, slow: null, parenting: auto}", True),
        ("version: 1\npipelines: {}\ntelemetry: {traces: tial}", False),
        ("version: 1\npipelines: {}\ntelemetry: {sample: 1.5}", False),
        ("version: 1\npipelines: {}\ntelemetry: {console: 'true'}", False),
        ("version: 1\npipelines: []", False),
        ("version: 1\npipelines: {a: retry}", False),
        ("version: '1'\npipelines: {}", False),
        ("version: 2\npipelines: {}", False),
        ("pipelines: {}", False),
    ],
)
def test_both_agree_about_a_whole_file(text: str, good: bool) -> None:
    """Version, pipelines and telemetry."""
    assert loads(text) is good
    assert accepts(SCHEMA, yaml.safe_load(text)) is good


def test_types_that_make_themselves_of_a_text_are_in_it_too() -> None:
    """An enumeration by its values, a decimal number by msgspec's own rule, a hidden text as text."""

    class Side(enum.Enum):
        BUY = "buy"
        SELL = "sell"

    class Hidden:
        @classmethod
        def from_config(cls, text: str) -> Hidden:
            return cls()

    defs: dict[str, Any] = {}
    assert shape_of(Side).schema(defs) == {"$ref": "#/$defs/Side"}
    assert defs["Side"]["enum"] == ["buy", "sell"]
    assert shape_of(Decimal).schema(defs) == {"type": "string", "format": "decimal"}
    assert shape_of(Hidden).schema(defs) == {"type": "string"}
    assert shape_of(Callable[[], int]).schema(defs) == {"not": {}}


def test_it_says_what_an_editor_shows() -> None:
    """Draft 2020-12, a description and the defaults of every policy, as the file would spell them."""
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    defs = SCHEMA["$defs"]
    retry = defs["Retry"]["properties"]
    assert retry["attempts"] == {"type": "integer", "minimum": 1, "default": 3}
    assert retry["max_wait"]["default"] == "20s"
    assert retry["jitter"]["default"] == "full"
    assert defs["Bulkhead"]["properties"]["max_wait"]["default"] is None
    assert defs["Bulkhead"]["required"] == ["limit"]
    assert defs["Breaker"]["properties"]["failure_rate"]["default"] == 0.5
    assert "default" not in defs["Fallback"]["properties"]["value"]
    assert set(defs["Pool"]["properties"]) == {"name", "broken", "max_wait"}
    kinds = {spec.rpartition(".")[2] for spec in POLICIES.values()}
    nested = {"Adaptive", "Fault", "Limit", "RetryBudget", "RetryQuota"}
    settings = {
        "DashboardSettings",
        "LintSettings",
        "TelemetrySettings",
        "BybitSettings",
        "AiohttpSettings",
        "Credentials",
        "Route",
    }
    assert kinds | nested | settings | {f"{kind}.changes" for kind in kinds} | {"policy"} == set(defs)
    assert all(defs[kind]["description"] and "\n" not in defs[kind]["description"] for kind in kinds)
