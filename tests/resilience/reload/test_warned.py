"""What the linter says of a file that came into force."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

import resilience
from resilience.reload import Warned

SOUND = "version: 1\npipelines:\n  market: [deadline: 60s, retry: {attempts: 3}, timeout: 9s]\n"
HASTY = SOUND.replace("60s", "20s")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    caplog.clear()
    return found


def test_a_reload_tells_what_the_linter_finds_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A line with its place and its rule; not again while it stands, wherever it moves; again if it comes back."""
    path = tmp_path / "pipelines.yaml"
    path.write_text(SOUND)
    live = resilience.watch(path)
    path.write_text(HASTY)
    assert live.reload()
    (line,) = told(caplog)
    assert line.startswith(f"{path}:3:")
    assert line.endswith("[worst-case-above-deadline]")
    path.write_text(f"# a comment\n{HASTY}")
    assert live.reload()
    assert told(caplog) == []
    path.write_text(SOUND)
    assert live.reload()
    path.write_text(HASTY)
    assert live.reload()
    assert len(told(caplog)) == 1
    path.write_text("version: 1\npipelines: {market: [timeout: 10]}\n")
    assert not live.reload()
    assert told(caplog) == []  # what is not in force concerns nobody


def test_of_many_findings_the_rest_is_a_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who wants them all asks the linter itself."""
    path = tmp_path / "pipelines.yaml"
    stacks = "".join(f"  p{n}: [deadline: 20s, retry: {{attempts: 3}}, timeout: 9s]\n" for n in range(8))
    path.write_text(f"version: 1\npipelines:\n{stacks}")
    Warned(str(path)).tell()
    lines = told(caplog)
    assert len(lines) == 6
    assert lines[-1] == f"{path}: 3 findings more; see resilience check {path}"


def test_a_linter_that_fails_fails_no_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is in force already."""
    path = tmp_path / "pipelines.yaml"
    path.write_text(SOUND)
    live = resilience.watch(path)

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("resilience.lint.lint_file", fails)
    path.write_text(HASTY)
    assert live.reload()
    assert told(caplog) == []


def test_watching_tells_it_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a file has changed by itself."""
    path = tmp_path / "pipelines.yaml"
    path.write_text(SOUND)

    async def main() -> None:
        async with resilience.watch(path, every=0.005):
            path.write_text(HASTY)
            async with asyncio.timeout(20):
                while "worst-case-above-deadline" not in caplog.text:
                    await asyncio.sleep(0.005)

    asyncio.run(main())
