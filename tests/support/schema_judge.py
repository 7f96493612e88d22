"""What the tests share that hold the JSON Schema against the loader: `jsonschema` as the judge, and settings to try.

Whatever is tried is written as JSON, which is YAML too, so that both read the same data. Two things no JSON Schema can
say, and only these may differ: relations between settings (`RELATIONS`), and how a number or a word is spelled.
"""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from config_samples import ODD

from resilience.config.registry import POLICIES, single, spelled
from resilience.config.schema import schema

jsonschema = pytest.importorskip("jsonschema")

__all__ = [
    "RELATIONS",
    "SAMPLES",
    "SCHEMA",
    "WHOLE",
    "agree",
    "overrides_drawn",
    "settings_drawn",
    "stack_drawn",
    "validator",
]

SCHEMA = schema()
WHOLE = jsonschema.Draft202012Validator(SCHEMA)
RELATIONS = re.compile(
    r"Fallback: give either|Breaker: failure_rate and consecutive|Breaker: window and count_window"
    r"|Chaos: nothing is injected|Chaos: give either fault or result"
    r"|AdaptiveLimit: (most|initial) is|Adaptive: ceiling is|Shed: k_(critical|sheddable) is"
    r"|Timeout: (seconds|per_op\['.*'\]) is .* adaptive"
    r"|Timeout: .*(floor|ceiling)"
    r"|(RateLimit|Limit): per_op gives operations|RateLimit: .* is there twice"
    r"|telemetry: otlp (is|holds)|dashboard: (host|the token)"
    r"|the key \w+ is missing"  # of a policy that is new to the base
    r"|at most 18 digits|write it in plain digits"  # how it is spelled
    r"|no resource is named|no pipeline or preset|cannot extend itself|policies of the base are"
)
"""What the loader says of settings that are good by themselves, and do not go together (or of an address)."""
SAMPLES: dict[str, dict[str, Any]] = {
    "deadline": {"seconds": "1s"}, "hedge": {"delay": "1s"}, "rate_limit": {"rate": "1/s"}, "bulkhead": {"limit": 1},
    "timeout": {"seconds": "1s"}, "pool": {"name": "rest"}, "cache": {"ttl": "1s"}, "fallback": {"value": 1},
    "chaos": {"rate": 0.5, "latency": "1s"},
}  # fmt: skip


def validator(part: dict[str, Any]) -> Any:
    """The judge of a part of the schema."""
    return jsonschema.Draft202012Validator({**part, "$defs": SCHEMA["$defs"]})


def agree(accepted: bool, told: list[str], what: Any, relations: re.Pattern[str] = RELATIONS) -> None:
    """Where they differ, it is the loader that knows more, and what it says is about a relation."""
    if accepted:
        assert all(relations.search(text) for text in told), (what, told)
    else:
        assert told, what


def settings_drawn(name: str, dice: random.Random) -> Any:
    """Settings of a policy: those that it needs, and some odd ones."""
    fields = spelled(name)
    made = dict(SAMPLES.get(name, {}))
    for field in dice.sample(list(fields.keys.shapes), dice.randint(0, min(3, len(fields.keys.shapes)))):
        made[field] = dice.choice(ODD)
    alone = single(fields)
    return dice.choice([made, made, made[alone] if alone else made])


def stack_drawn(dice: random.Random, most: int = 3) -> list[Any]:
    """A list of some policies."""
    return [{name: settings_drawn(name, dice)} for name in dice.sample(list(POLICIES), dice.randint(0, most))]


def overrides_drawn(dice: random.Random, most: int = 2) -> dict[str, Any]:
    """What an exchange, an operation or a pipeline that extends says otherwise about some policies."""
    names = dice.sample(list(POLICIES), dice.randint(0, most))
    good = {name: SAMPLES.get(name, {}) for name in names}
    return {name: dice.choice([good[name], settings_drawn(name, dice), "off", None]) for name in names}
