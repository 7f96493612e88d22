"""The command `resilience`: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resilience import cli

GOOD = "version: 1\npipelines: {a: [retry: {attempts: 4}, timeout: 10s, pool: rest]}\n"
BAD = "version: 1\npipelines:\n  a:\n    - retry: {atempts: 3}\n    - timeout: 10\n"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(arguments)
    return code, *capsys.readouterr()


def test_check_of_a_sound_file_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, and with --json an empty list."""
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    assert run(capsys, "check", str(path)) == (0, "", "")
    code, out, err = run(capsys, "check", str(path), "--json")
    assert (code, json.loads(out), err) == (0, {"findings": []}, "")


def test_check_lists_every_problem_on_a_line_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout, with file, line, column and path; exit 2."""
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    code, out, err = run(capsys, "check", str(path))
    assert (code, err) == (2, "")
    lines = out.splitlines()
    assert all(re.fullmatch(rf"{re.escape(str(path))}:\d+:\d+: \S+: .+", line) for line in lines)
    assert [line.removeprefix(f"{path}:").split(": ")[:2] for line in lines] == [
        ["4:15", "pipelines.a[0].retry.atempts"],
        ["5:16", "pipelines.a[1].timeout"],
    ]


def test_check_as_json_has_the_same_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One document: rule, message, line and path of each."""
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    code, out, err = run(capsys, "check", str(path), "--json")
    assert (code, err) == (2, "")
    first, second = json.loads(out)["findings"]
    assert set(first) == {"rule", "message", "line", "path"}
    assert (first["rule"], first["line"], first["path"]) == ("unknown-key", 4, "pipelines.a[0].retry.atempts")
    assert second["message"].startswith("found '10', must be a time with its unit")


def test_schema_is_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    """The schema of a pipelines file."""
    code, out, err = run(capsys, "schema")
    assert (code, err) == (0, "")
    assert json.loads(out)["properties"]["version"] == {"const": 1}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "resilience: the following arguments are required: COMMAND; see resilience --help"),
        (("chekc", "x"), "resilience: argument COMMAND: invalid choice: 'chekc'"),
        (("check",), "resilience check: the following arguments are required: FILE; see resilience check --help"),
        (("check", "a", "b"), "resilience: unrecognized arguments: b; see resilience --help"),
        (("check", "--jsn", "a"), "resilience: unrecognized arguments: --jsn"),
        (("schema", "--js"), "resilience: unrecognized arguments: --js"),
        (("check", "/no/such/file.yaml"), "/no/such/file.yaml: cannot be read: No such file or directory"),
        (("check", "/no/such/file.yaml", "--json"), "/no/such/file.yaml: cannot be read: No such file or directory"),
        (("check", "."), ".: cannot be read: Is a directory"),
    ],
)
def test_a_failure_is_one_line_on_stderr(
    arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bad usage, or a file that cannot be read: exit 2, nothing on stdout, no usage block."""
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(expected)
    assert err.count("\n") == 1
    assert err.endswith("\n")


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, on stdout."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n    {name}" in text for name in cli.COMMANDS)


def test_starting_up_imports_neither_yaml_nor_msgspec() -> None:
    """What costs is imported when a command needs it; reading a pipelines file needs no OpenTelemetry."""
    done = _python("-c", "import sys, resilience.cli, resilience.config; print(*sys.modules)")
    assert (done.returncode, done.stderr) == (0, "")
    heavy = {"yaml", "msgspec", "opentelemetry", "aiobreaker", "aiohttp", "backoff"}
    assert not heavy & {name.partition(".")[0] for name in done.stdout.split()}


def test_as_a_process(tmp_path: Path) -> None:
    """`python -m resilience.cli` hands the exit code on, and a reader that goes away early is no traceback."""
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    done = _python("-m", "resilience.cli", "check", str(path))
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (2, 2, "")
    command = [sys.executable, "-m", "resilience.cli", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)  # noqa: S603, PLW1510
