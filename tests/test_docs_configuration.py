"""docs/configuration.md: its table is the presets', its errors are the command's, and what it tells editors works."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resilience import Bulkhead, Deadline, Hedge, Retry, Timeout, preset
from resilience.cli import main
from resilience.config.build import MOST_POLICIES
from resilience.config.document import MOST_BYTES
from resilience.config.include import MOST_DEPTH, MOST_FILES
from resilience.config.parser import MOST_DEPTH as MOST_LEVELS
from resilience.config.parser import MOST_NODES
from resilience.config.schema import schema
from resilience.config.shipped import PRESETS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "configuration.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def blocks(heading: str, kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall(section(heading)) if found == kind]


def seconds(value: float) -> str:
    return f"{value:g}s"


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_of_the_presets_has_their_numbers(name: str) -> None:
    """Deadline, attempts, timeout, the waits at most, and the sum that is the worst case."""
    (row,) = [line for line in section("Presets").splitlines() if line.startswith(f"| `{name}` |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    policies = {type(policy): policy for policy in preset(name).policies}
    retry, timeout = policies[Retry], policies[Timeout]
    assert cells[3] == str(retry.attempts)
    if name == "virtuoso":
        assert cells[2:] == ["none", "4", "15s, by operation", "7s and 3 random parts of a second", ""]
        return
    ((kind, fields),) = retry.wait.items()
    growth = [
        fields["interval"] if kind == "constant" else fields["factor"] * fields["base"] ** n
        for n in range(retry.attempts - 1)
    ]
    waits = sum(min(each, retry.max_wait) for each in growth)
    queue = policies[Bulkhead].max_wait if policies[Bulkhead].queue else 0
    worst = retry.attempts * (queue + timeout.seconds * (2 if Hedge in policies else 1)) + waits
    numbers = [policies[Deadline].seconds, timeout.seconds, waits, worst]
    assert [cells[2], cells[4], cells[5], cells[6]] == [seconds(number) for number in numbers]


def test_the_bounds_are_those_of_the_code() -> None:
    """Bytes, values, levels, policies, files."""
    text = " ".join(PAGE.split())
    assert f"at most {MOST_BYTES // 1024} kB, {MOST_NODES:,} values and {MOST_LEVELS} levels" in text
    assert f"a pipeline at most {MOST_POLICIES} policies" in text
    assert f"At most {MOST_FILES} files, {MOST_DEPTH} levels" in text


def test_the_errors_are_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Word for word."""
    (text,), (console,) = blocks("Errors", "yaml"), blocks("Errors", "console")
    monkeypatch.chdir(tmp_path)
    Path("wrong.yaml").write_text(text)
    assert main(["check", "wrong.yaml"]) == 2
    assert capsys.readouterr().out == console.split("\n", 1)[1]


def test_an_editor_finds_the_schema_where_the_page_says(tmp_path: Path) -> None:
    """The command makes the file that the comment and the settings name, and its rules are those of the loader."""
    (console,), (comment,), (settings,) = (blocks("Editors", kind) for kind in ("console", "text", "json"))
    command = console.removeprefix("$ ").strip()
    assert command.startswith("resilience ")
    done = subprocess.run(  # noqa: S602 (the page's own command)
        f"{sys.executable} -m resilience.cli {command.removeprefix('resilience ')}",
        shell=True, cwd=tmp_path, check=True, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stderr == ""
    named = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)\n", comment)
    assert named is not None
    found = json.loads((tmp_path / named[1]).read_text())
    assert found == json.loads(json.dumps(schema()))
    ((path, files),) = json.loads(settings)["yaml.schemas"].items()
    assert (tmp_path / path).exists()
    assert files == ["pipelines.yaml", "exchanges.yaml"]


def test_a_file_with_the_editors_comment_is_read(tmp_path: Path) -> None:
    """It is a comment like any other."""
    (comment,) = blocks("Editors", "text")
    path = tmp_path / "pipelines.yaml"
    path.write_text(f"{comment}version: 1\npipelines: {{a: [timeout: 5s]}}\n")
    assert main(["check", str(path)]) == 0


def test_the_schema_in_the_repository_is_the_present_one() -> None:
    """After a change: ``resilience schema > docs/configuration.schema.json``."""
    assert json.loads((ROOT / "docs" / "configuration.schema.json").read_text()) == json.loads(json.dumps(schema()))
