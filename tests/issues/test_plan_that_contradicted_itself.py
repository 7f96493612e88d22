"""`plan` said of one budget that it is kept and that it is lost, and wrote settings as Python does."""

from __future__ import annotations

from pathlib import Path

from resilience.reload import plan


def test_what_is_lost_is_an_exception_from_what_is_kept(tmp_path: Path) -> None:
    """In one line; values as in the file, of tables only what differs."""
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text("version: 1\npipelines:\n  market: [retry, timeout: {seconds: 5s, per_op: {a: 1s, b: 2s}}]\n")
    new.write_text(
        "version: 1\npipelines:\n  market: [retry: {wait: {expo: {base: 2, factor: 1}}, budget: null}, "
        "timeout: {seconds: 5s, per_op: {a: 1s, b: 3s}}]\n"
    )
    lines = [line.strip() for line in str(plan(old, new)).splitlines()]
    assert lines[:8] == [
        "pipeline market",
        "~ retry [0]",
        "wait: {expo: {base: 2, factor: 0.25}} -> {expo: {base: 2, factor: 1}}   (from the next call on)",
        "budget: {} -> none   (a budget of other settings is another budget, and begins anew)",
        "kept: the budget, which pipelines of one scope share; except: a budget of other settings is another budget, "
        "and begins anew",
        "~ timeout [1]",
        "per_op: {b: 2} -> {b: 3}   (from the next call on)",
        "kept: the latency of each operation, where it is adaptive",
    ]
