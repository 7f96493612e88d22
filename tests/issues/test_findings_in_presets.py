"""The linter pointed into a preset that ships with the package, where nobody can change anything.

And a breaker that silence alone does not trip "can never trip", it said.
"""

from __future__ import annotations

from pathlib import Path

from resilience.lint import lint_file
from resilience.lint.report import as_line

FILE = """\
version: 1
pipelines:
  history: {extends: bulk-download, bulkhead: {limit: 2}}
  base:
    - deadline: 60s
    - retry: {attempts: 3}
    - timeout: 5s
  hasty: {extends: base, deadline: 6s}
"""


def test_a_finding_stands_where_the_user_can_change_it(tmp_path: Path) -> None:
    """At the pipeline that inherits the setting, with the name of the preset; and it says which pipeline is meant."""
    file = tmp_path / "p.yaml"
    file.write_text(FILE)
    lines = [as_line(finding) for finding in lint_file(file).findings]
    (silence,) = [line for line in lines if "breaker-minimum-unreachable" in line]
    assert silence.startswith(
        f"{file}:3:12: pipelines.history: warning: it never trips on calls that get no answer: it wants 20 calls"
    )
    assert silence.endswith("(inherited from the preset bulk-download) [breaker-minimum-unreachable]")
    for line in lines:
        assert "presets/" not in line
        if "pipelines.base" in line:
            assert "in the pipeline hasty" in line
