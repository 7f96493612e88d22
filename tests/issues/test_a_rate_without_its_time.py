"""``rate_limit: 10`` was told to be put in quotes, as the text that it is not."""

from __future__ import annotations

from pathlib import Path

from resilience.config import check_file


def test_a_bare_number_is_told_what_a_rate_is(tmp_path: Path) -> None:
    """As a bare number of seconds is told what a time is."""
    path = tmp_path / "pipelines.yaml"
    path.write_text("version: 1\npipelines: {a: [rate_limit: 10, timeout: 1s]}\n")
    (problem,) = check_file(path)
    assert problem.text == "found '10', must be calls in a time, such as 600/5s or 10/s"
