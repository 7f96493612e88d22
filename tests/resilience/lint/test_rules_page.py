"""docs/rules.md cannot drift: every rule has its section there, and the example beneath it triggers that rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resilience.lint import NAMES, lint_file

PAGE = (Path(__file__).parents[3] / "docs" / "rules.md").read_text()
SECTIONS = dict(re.findall(r"^## ([a-z-]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_every_rule_has_its_section_and_every_section_its_rule() -> None:
    """Each says what cures it."""
    assert set(SECTIONS) == set(NAMES)
    assert [name for name, text in SECTIONS.items() if "*Cure.*" not in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_example_triggers_the_rule(name: str, tmp_path: Path) -> None:
    """Found under its own name, at a line of the example."""
    (example,) = re.findall(r"^```yaml\n(.*?)^```", SECTIONS[name], re.MULTILINE | re.DOTALL)
    path = tmp_path / f"{name}.yaml"
    path.write_text(example)
    linted = lint_file(path)
    found = [finding for finding in (*linted.findings, *linted.notes) if finding.rule == name]
    assert found
    assert all(finding.page == f"docs/rules.md#{name}" for finding in found)


def test_the_silenced_example_is_silent(tmp_path: Path) -> None:
    """And says why."""
    (example,) = re.findall(r"^```yaml\n(# silenced.yaml\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "silenced.yaml"
    path.write_text(example)
    linted = lint_file(path)
    assert linted.findings == []
    ((finding, reason),) = linted.silenced
    assert (finding.rule, reason[:11]) == ("breaker-outside-retry", "the vendor'")
