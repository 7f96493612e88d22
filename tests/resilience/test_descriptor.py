"""The descriptor: what a configured pipeline is, as plain data that a test can compare."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

import resilience
from resilience import Breaker, Bulkhead, Deadline, Fallback, Hedge, Pipeline, Policy, Pool, Retry, Timeout
from resilience.config.registry import POLICIES
from resilience.descriptor import describe, kind_of, spelling


def is_empty(value: Any) -> bool:
    return not value


class Session: ...


@dataclasses.dataclass(frozen=True)
class Inner:
    depth: int = 1
    width: int = 2


@dataclasses.dataclass(frozen=True)
class OfMyOwn(Policy):
    """With settings of every sort."""

    inner: Inner = Inner()
    table: dict[Any, Any] = dataclasses.field(default_factory=dict)
    many: tuple[Any, ...] = ()
    flag: bool = True
    count: float = 1
    odd: Any = None


class NoDataclass(Policy): ...


@dataclasses.dataclass(frozen=True, slots=True)
class Patient(Retry): ...


def test_what_differs_from_the_default_is_told() -> None:
    """And what has no default; nothing else, so that a new setting breaks no test."""
    assert describe(Retry()) == {"policy": "retry"}
    assert describe(Retry(attempts=3, jitter="none")) == {"policy": "retry", "jitter": "none"}
    assert describe(Deadline(5)) == {"policy": "deadline", "seconds": 5}
    assert describe(Timeout(5, per_op={"ohlcv": 30})) == {"policy": "timeout", "seconds": 5, "per_op": {"ohlcv": 30}}
    assert describe(Retry(wait={"expo": {"base": 2, "factor": 0.25}})) == {"policy": "retry"}
    assert describe(Retry(wait={"fibo": {}})) == {"policy": "retry", "wait": {"fibo": {}}}


def test_functions_and_types_are_told_by_name() -> None:
    """As one would write them."""
    assert describe(Retry(on=(OSError, TimeoutError)))["on"] == ["OSError", "TimeoutError"]
    assert describe(Breaker(on=OSError))["on"] == "OSError"
    assert describe(Retry(result=is_empty))["result"] == "is_empty"
    assert describe(Pool(Session, name="rest")) == {"policy": "pool", "open": "Session", "name": "rest"}
    assert describe(Fallback(value=None)) == {"policy": "fallback", "value": None}


def test_policies_of_ones_own() -> None:
    """Nested settings by what differs; a value and a truth are two things; what has no name is told by its text."""
    assert describe(OfMyOwn()) == {"policy": "of_my_own"}
    told = describe(
        OfMyOwn(Inner(depth=9), {1: (2, Inner())}, (frozenset({3}), Inner, object), False, True, 1 + 2j)  # type: ignore[arg-type]
    )
    assert told == {
        "policy": "of_my_own",
        "inner": {"depth": 9},
        "table": {"1": [2, {}]},
        "many": [[3], "Inner", "object"],
        "flag": False,
        "count": True,
        "odd": "(1+2j)",
    }
    assert describe(NoDataclass()) == {"policy": "no_dataclass"}
    assert describe(Patient(attempts=9)) == {"policy": "retry", "attempts": 9}


def test_a_pipeline_is_told_with_its_boundary() -> None:
    """Plain data all through."""
    pipeline = Pipeline(Deadline(9), Retry(on=OSError), Hedge(1), Bulkhead(3), NoDataclass(), name="p")
    told = pipeline.describe()
    assert [policy["policy"] for policy in told["policies"]] == [
        "deadline",
        "retry",
        "hedge",
        "bulkhead",
        "no_dataclass",
    ]
    assert (told["name"], told["attempt"]) == ("p", 3)
    assert json.loads(json.dumps(told)) == told
    assert Pipeline().describe() == {"name": "", "policies": [], "attempt": 0}


@pytest.mark.parametrize("name", POLICIES)
def test_the_names_are_those_of_files(name: str) -> None:
    """So that what is described can be written down as YAML."""
    kind = getattr(resilience, POLICIES[name].rpartition(".")[2])
    assert spelling(kind.__name__) == name
    assert kind_of(object.__new__(kind)) == name


def test_what_is_not_ours_has_no_kind() -> None:
    """Even under a name like ours."""
    assert kind_of(type("Retry", (Policy,), {})()) is None
    assert kind_of(Patient()) == "retry"
