"""What `exchanges fetch` does where its output cannot go, and with options that are empty or about another exchange."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exchanges.cli import main

PREFIX = [sys.executable, "-W", "error", "-m", "exchanges.cli", "fetch"]


def shell(redirection: str, *arguments: str) -> tuple[int, str, str]:
    """Run the command under a shell's redirection, with Python's usual buffering: that is where the trap lies."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(  # noqa: S603 (our own interpreter and module)
        ["/bin/sh", "-c", f'exec "$@" {redirection}', "sh", *PREFIX, *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env=environment,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def url() -> str:
    """Nobody listens there: enough for what fails before or on the way."""
    return "http://127.0.0.1:1"


def test_a_closed_stdout_is_one_line_and_no_traceback(url: str) -> None:
    """There is nowhere to print to: that is said before anything is sent."""
    code, _, err = shell(">&-", "ticker", "BTCUSDT", "--base-url", url, "--json")
    assert code == 2
    assert err.startswith("exchanges: stdout is closed")
    assert err.count("\n") == 1


def test_a_closed_stderr_moves_no_error_to_stdout(url: str) -> None:
    """A failure prints nothing on stdout, wherever stderr has gone."""
    code, out, _ = shell("2>&-", "ticker", "BTCUSDT", "--base-url", url, "--json")
    assert (code, out) == (1, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line_and_exit_1() -> None:
    """A short answer stays in Python's buffer until the end; its failure must not come after the exit code."""
    source = (
        "import sys\nfrom exchanges import cli\n"
        "async def fetch(options):\n    print('{}')\n    return 0\n"
        "cli._fetch = fetch\nsys.exit(cli.main(['fetch', 'markets']))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(  # noqa: S603 (our own interpreter)
            [sys.executable, "-c", source], stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("exchanges: ")


def test_a_reader_that_went_away_is_exit_1_without_noise() -> None:
    """As in ``exchanges fetch ticker BTCUSDT | true``: quiet, and not exit code 120 of the interpreter."""
    source = (
        "import os, sys\nfrom exchanges import cli\n"
        "async def fetch(options):\n    print('{}')\n    return 0\n"
        "cli._fetch = fetch\nsys.exit(cli.main(['fetch', 'markets']))\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(  # noqa: S603 (our own interpreter)
            [sys.executable, "-c", source],
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=environment,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("option", ["--period", "--timeframe"])
def test_an_empty_option_of_another_operation_is_bad_usage(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--period ''`` was taken for not given, and then handed on."""
    assert main(["fetch", "ticker", "BTCUSDT", option, ""]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert f"{option} belongs to" in captured.err
