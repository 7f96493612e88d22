"""Every setting of every policy can be said in a file, and means there what it means in Python."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from config_samples import fields_drawn, speakable
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from resilience import ConfigError
from resilience.config import Document, build_pipelines
from resilience.config.containers import OneOf
from resilience.config.registry import POLICIES, spelled
from resilience.config.scalars import Null, Unspeakable
from resilience.policy import Policy

pytestmark = pytest.mark.filterwarnings("ignore::resilience.PipelineWarning")
FIELDS = [(policy, field) for policy in POLICIES for field in ["", *speakable(spelled(policy))]]
FEW = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


def loaded(text: str) -> Policy:
    (policy,) = build_pipelines(Document.parse(f"p:\n  - {text}\n"), resources={"rest": list, "host": list})[
        "p"
    ].policies
    return policy  # type: ignore[return-value]


def round_trip(name: str, field: str, data: st.DataObject) -> None:
    fields = spelled(name)
    lent = {"open": list} if name == "pool" else {}
    try:
        text, values = fields_drawn(fields, lambda options: data.draw(st.sampled_from(options)), field)
        expected = fields.kind(**values, **lent)
    except ConfigError:  # settings that do not go together
        assume(False)
    found: Any = loaded(f"{name}: {text}")
    assert found == expected
    assert all(type(getattr(found, key)) is type(value) for key, value in values.items())


@pytest.mark.parametrize(("name", "field"), FIELDS)
@given(data=st.data())
@settings(max_examples=8, **FEW)  # type: ignore[arg-type]
def test_settings_from_a_file_are_those_of_the_dataclass(name: str, field: str, data: st.DataObject) -> None:
    """With this field given, and any of the others."""
    round_trip(name, field, data)


@pytest.mark.sweep
@pytest.mark.parametrize(("name", "field"), FIELDS)
@given(data=st.data())
@settings(max_examples=500, **FEW)  # type: ignore[arg-type]
def test_settings_from_a_file_are_those_of_the_dataclass_at_length(name: str, field: str, data: st.DataObject) -> None:
    """The same, for an hour's worth of files."""
    round_trip(name, field, data)


def test_what_a_file_cannot_say_are_functions_alone() -> None:
    """By name: a field that is added to a policy is either reachable, or stands here with a reason."""
    unreachable = {
        (name, field) for name in POLICIES for field in _all(name) if field not in speakable(spelled(name))
    }  # fmt: skip
    functions = {
        ("fallback", "call"), ("fallback", "key"), ("cache", "key"), ("coalesce", "key"), ("retry", "result"),
        ("chaos", "behaviour"), ("pool", "open"), ("pool", "close"),
    }  # fmt: skip
    assert unreachable == functions
    for name, field in functions - {("pool", "open"), ("pool", "close")}:  # which whoever loads the file supplies
        shape = spelled(name).keys.shapes[field]
        parts = shape.shapes if isinstance(shape, OneOf) else [shape]
        assert all(isinstance(part, (Null, Unspeakable)) for part in parts)


def _all(name: str) -> list[str]:
    return [field.name for field in dataclasses.fields(spelled(name).kind)]
