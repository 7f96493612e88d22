"""The linter on files: every seeded mistake is found, under its name and at its place, and nothing sound is blamed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resilience.lint import NAMES, Linted, lint_file
from resilience.orders import RULES as ORDERS

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MISTAKES = sorted((HERE / "mistakes").glob("*.yaml"))
SOUND = [
    *sorted((HERE / "sound").glob("*.yaml")),
    *sorted((ROOT / "resilience" / "config" / "presets").glob("*.yaml")),
    ROOT / "exchanges" / "bybit" / "bybit.yaml",
    ROOT / "exchanges" / "demo" / "demo.yaml",
]


def expected(path: Path) -> set[str]:
    first = path.read_text().splitlines()[0]
    found = re.fullmatch(r"# expects: ([\w -]+)", first)
    assert found, f"{path.name} does not say what it expects"
    return set(found[1].split())


def rules(linted: Linted) -> set[str]:
    return {finding.rule for finding in (*linted.findings, *linted.notes)}


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
def test_a_seeded_mistake_is_found(path: Path) -> None:
    """By the rule that the file's first line names, and at a line of that file."""
    linted = lint_file(path)
    assert expected(path) <= rules(linted)
    for finding in (*linted.findings, *linted.notes):
        assert finding.node is not None
        assert 1 < finding.node.line <= len(path.read_text().splitlines())


@pytest.mark.parametrize(
    "path", [path for path in MISTAKES if not path.stem.startswith("published")], ids=lambda p: p.stem
)
def test_one_mistake_is_not_told_as_several(path: Path) -> None:
    """Beside what is expected there are notes at most."""
    assert {finding.rule for finding in lint_file(path).findings} <= expected(path)


@pytest.mark.parametrize("path", SOUND, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_nothing_sound_is_blamed(path: Path) -> None:
    """No errors and no warnings; one without a deadline may be told so, as a note."""
    linted = lint_file(path)
    assert [str(finding) for finding in linted.findings] == []
    assert {finding.rule for finding in linted.notes} <= {"no-deadline", "retry-without-budget"}


def test_the_corpus_is_large_and_knows_every_rule_but_those_of_order_and_notes() -> None:
    """At least thirty mistakes, four published settings among them; each rule that is ours has one."""
    assert len(MISTAKES) >= 30
    assert sum(path.stem.startswith("published") for path in MISTAKES) >= 4
    told = set().union(*(expected(path) for path in MISTAKES))
    notes = {"no-deadline", "retry-without-budget", "no-rate-limit", "unused-pipeline"}
    assert set(NAMES) - set(ORDERS) - notes <= told
