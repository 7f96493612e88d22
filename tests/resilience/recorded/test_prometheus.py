"""A Prometheus range as a file: buckets give intervals, never points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resilience import ConfigError
from resilience.recorded import is_range, read_range

NAME = "resilience_attempt_duration_seconds_bucket"


def answer(path: Path, *rows: tuple[dict[str, str], list[float]]) -> str:
    result = [
        {"metric": {"__name__": NAME, "resilience_op": "ticker", "resilience_pipeline": "market", **labels},
         "values": [[1_700_000_000 + 15 * i, f"{value:g}"] for i, value in enumerate(values)]}
        for labels, values in rows
    ]  # fmt: skip
    path.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}))
    return str(path)


def ok(le: str, *values: float) -> tuple[dict[str, str], list[float]]:
    return {"le": le, "resilience_outcome": "ok"}, list(values)


def test_counters_are_read_as_what_they_grew(tmp_path: Path) -> None:
    """A restart begins at zero again, and processes add up."""
    path = answer(
        tmp_path / "a.json",
        ok("0.1", 100, 600, 50),
        ok("+Inf", 100, 700, 60),
        ({"le": "0.1", "resilience_outcome": "ok", "instance": "2"}, [0, 10]),
        ({"le": "+Inf", "resilience_outcome": "failed"}, [0, 5]),
        ({"le": "+Inf", "resilience_outcome": "refused"}, [0, 900]),
    )
    assert is_range(path)
    (found,) = read_range(path)
    assert (found.pipeline, found.op, list(found.bounds)) == ("market", "ticker", [0.1, float("inf")])
    assert (list(found.answered), found.cut, found.count) == ([560, 660], 5, 665)


def test_a_quantile_is_a_bucket(tmp_path: Path) -> None:
    """And the end of its interval may lie a bucket further."""
    path = answer(
        tmp_path / "a.json", ok("0.1", 0, 9_000), ok("0.25", 0, 9_910), ok("0.5", 0, 9_990), ok("+Inf", 0, 10_000)
    )
    (found,) = read_range(path)
    assert found.bucket(0.95) == (0.1, 0.25, 0.25)
    assert found.bucket(0.99) == (0.1, 0.25, 0.5)
    assert found.bucket(0.9995) is None


@pytest.mark.parametrize(
    "content",
    [
        {"status": "error", "data": {"result": [], "resultType": "matrix"}},
        {"status": "success", "data": {"resultType": "vector", "result": []}},
        {"status": "success", "data": {"resultType": "matrix", "result": []}},
        {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "x"]]}]}},
        {"status": "success"},
        [],
    ],
)
def test_another_answer_is_one_clear_line(tmp_path: Path, content: Any) -> None:
    """It names the file."""
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError) as caught:
        read_range(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
