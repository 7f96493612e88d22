"""``--confidence 0.95`` was no share "from 0 to 1"; ``--writes`` with a slip was not heard at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience import cli
from resilience.recorded.confidence import confidence_of

CONFIG = "version: 1\npipelines: {market: [timeout: 1s]}\n"
MODEL = "version: 1\noperations: {ticker: {rate: 5/s, latency: 40ms}}\nseconds: 2s\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "m.yaml").write_text(MODEL)
    return str(tmp_path / "c.yaml"), str(tmp_path / "m.yaml")


def test_a_confidence_is_a_percentage_or_a_number() -> None:
    """As a share is in a file."""
    assert confidence_of("x", "95%") == confidence_of("x", "0.95") == 0.95


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--confidence", "95"), "resilience whatif: --confidence is 95, must be from 50% to below 100%"),
        (("--confidence", "nan"), "resilience whatif: --confidence is nan, must be from 50% to below 100%"),
        (("--writes", "rebalance"), "resilience whatif: --writes names 'rebalance', which is not in the model"),
        (("--recorded", "market"), "resilience whatif: --recorded is of --traffic"),
        (("--html", "", "--runs", "2"), ": cannot be written: "),
    ],
)
def test_what_cannot_be_meant_is_said(
    files: tuple[str, str], options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, exit 2, and nothing is computed."""
    config, model = files
    assert cli.main(["whatif", config, "--model", model, *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(said)


def test_a_quantile_names_its_option(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Of two shares on one command line."""
    assert cli.main(["tune", files[0], "--traces", files[0], "--quantile", "99"]) == 2
    assert capsys.readouterr().err.startswith("resilience tune: --quantile: '99' is no quantile")
