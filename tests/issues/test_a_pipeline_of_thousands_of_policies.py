"""A file of 130 kB kept `load` busy for minutes: what judges the order of policies compares each with each."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import resilience
from resilience import ConfigError
from resilience.config.build import MOST_POLICIES


def test_a_pipeline_of_thousands_of_policies_is_refused(tmp_path: Path) -> None:
    """At a size that no pipeline has: there are fourteen kinds of policies."""
    path = tmp_path / "file.yaml"
    path.write_text("version: 1\npipelines: {a: [" + "retry, " * 19_000 + "]}\n")
    start = time.process_time()
    with pytest.raises(ConfigError, match=f"pipelines.a: has 19000 policies, may have at most {MOST_POLICIES}"):
        resilience.load(path)
    assert time.process_time() - start < 5  # it takes a tenth of a second
