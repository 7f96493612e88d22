"""`explain` said of a retry with `on` that an order is not repeated; and showed orders that time out sent again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resilience import cli

FILE = """\
version: 1
pipelines:
  risky: [deadline: 20s, retry: {attempts: 3, on: TimeoutError}, timeout: {seconds: 3s, per_op: {create_order: 2s}}]
  careful: [deadline: 20s, retry: {attempts: 3}, timeout: {seconds: 3s, per_op: {create_order: 2s}}]
  single: [deadline: 20s, timeout: 3s]
"""


def explained(tmp_path: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    file = tmp_path / "file.yaml"
    file.write_text(FILE)
    assert cli.main(["explain", str(file), *arguments]) == 0
    return capsys.readouterr().out


def test_on_repeats_an_order_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For the operation that looks like one, and for those that nobody has named."""
    out = explained(tmp_path, capsys, "risky")
    assert "is not repeated" not in out
    assert (
        "This operation must not happen twice, and `on` or `result` sends it again although nobody knows whether it "
        "was executed." in out
    )
    assert "An operation that must not happen twice: `on` or `result` sends it again" in out
    operations = json.loads(explained(tmp_path, capsys, "risky", "--json"))["operations"]
    assert {name: one["repeats_unknown"] for name, one in operations.items()} == {"*": True, "create_order": True}


def test_without_it_only_what_was_not_executed_is_sent_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the course of the failing call says which attempts those are."""
    out = explained(tmp_path, capsys, "careful")
    assert "This operation must not happen twice: it is not sent again unless it was certainly not executed." in out
    assert "An operation that must not happen twice: it is not sent again unless it was certainly not executed." in out
    assert (
        "If everything fails, each attempt at the last moment and before it was sent (what may have been executed is "
        "not sent again):" in out
    )
    operations = json.loads(explained(tmp_path, capsys, "careful", "--json"))["operations"]
    assert {name: one["repeats_unknown"] for name, one in operations.items()} == {"*": True, "create_order": False}


def test_where_nothing_repeats_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One attempt is one attempt."""
    assert "twice" not in explained(tmp_path, capsys, "single")


def test_the_end_of_the_call_is_as_exact_as_its_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It said 24.8 s beneath an attempt that ends at 24.75 s."""
    (tmp_path / "f.yaml").write_text("version: 1\npipelines:\n  market: {extends: market-data}\n")
    assert cli.main(["explain", str(tmp_path / "f.yaml")]) == 0
    assert "the call fails after 24.75 s and 3 requests." in capsys.readouterr().out
