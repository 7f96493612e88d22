"""Ctrl-C, a full disk, a closed stdout or stderr, a terminal without letters: a traceback, or the wrong place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = "version: 1\npipelines: {market: [deadline: 20s, retry: {attempts: 4}, timeout: 9s]}\n"
MODEL = "version: 1\noperations: {ticker: {rate: 500/s, latency: 40ms}}\nseconds: 1000s\n"
CODE = "from resilience import Deadline, Pipeline, Retry, Timeout\n"
HASTY = f"{CODE}hasty = Pipeline(Deadline(20), Retry(attempts=4, on=OSError), Timeout(9))\n"

CLI = (sys.executable, "-m", "resilience.cli")
LINT = (sys.executable, "-m", "resilience.lint")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "m.yaml").write_text(MODEL)
    (tmp_path / "hasty.py").write_text(HASTY)
    (tmp_path / "waits.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])]))
    return tmp_path


def shell(line: str, here: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], cwd=here, capture_output=True, text=True, timeout=60)  # noqa: S603, S607, PLW1510


def test_ctrl_c_is_no_traceback(here: Path) -> None:
    """Exit 130, as of `exchanges`, and nothing said: whoever pressed it knows."""
    heard = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # not so under `make test &`
    )
    run = f"{heard}; runpy.run_module('resilience.lint', run_name='__main__')"
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", run, "waits"], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == ""
    assert process.returncode == 130


def test_ctrl_c_ends_a_long_comparison(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of `resilience`."""
    from resilience import cli
    from resilience.commands import whatif

    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(whatif, "run", interrupted)
    assert cli.main(["whatif", str(here / "c.yaml"), "--model", str(here / "m.yaml")]) == 130


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(here: Path) -> None:
    """Of the linter of modules, as of `resilience`."""
    for command in (f"{' '.join(LINT)} hasty --sarif", f"{' '.join(CLI)} check c.yaml"):
        done = shell(f"{command} > /dev/full", here)
        assert (done.returncode, done.stderr) == (1, "cannot write the answer: No space left on device\n")


def test_closed_streams(here: Path) -> None:
    """No stdout: the exit code is the answer. No stderr: a failure does not go to stdout in its place."""
    done = shell(f"{' '.join(LINT)} hasty >&-", here)
    assert (done.returncode, done.stderr) == (1, "")
    for command in (f"{' '.join(LINT)} nothing", f"{' '.join(CLI)} check nothing.yaml"):
        done = shell(f"{command} 2>&-", here)
        assert (done.returncode, done.stdout) == (2, "")


def test_a_terminal_without_letters(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it cannot show is spelled out."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    (here / "c.yaml").write_text("version: 1\npipelines: {bünde: [timeout: 10]}\n", encoding="utf-8")
    done = shell(f"{' '.join(CLI)} check c.yaml", here)
    assert (done.returncode, done.stderr) == (2, "")
    assert "b\\xfcnde" in done.stdout


def test_a_folder_that_is_gone(here: Path) -> None:
    """Beneath the shell's feet: then the file cannot be read; the answer could be written."""
    done = shell(f"mkdir gone && cd gone && rmdir ../gone && {' '.join(CLI)} check ../c.yaml", here)
    assert (done.returncode, done.stderr) == (2, "../c.yaml: cannot be read: No such file or directory\n")
