"""A usage block, a second line of an exception's text, and "cannot write the answer" without a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from resilience import cli
from resilience.lint.__main__ import main

CONFIG = "version: 1\npipelines: {market: [timeout: 1s]}\n"
MODEL = "version: 1\noperations: {ticker: {rate: 5/s, latency: 40ms}}\nseconds: 2s\n"


def test_the_linter_of_modules_says_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage, a module that fails with a long story, one that ends the program."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "story.py").write_text("raise RuntimeError('first\\nsecond')\n")
    (tmp_path / "ends.py").write_text("raise SystemExit('good bye')\n")
    for name, said in (
        ("story", "story: cannot be imported: RuntimeError: first\n"),
        ("ends", "ends: cannot be imported: SystemExit: good bye\n"),
    ):
        assert main([name]) == 2
        assert capsys.readouterr() == ("", said)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("python -m resilience.lint: the following arguments are required: MODULE[:ATTRIBUTE]; see ")


def test_whatif_says_which_page_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As explain does, and before it prints the answer."""
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "m.yaml").write_text(MODEL)
    page = tmp_path / "nowhere" / "page.html"
    arguments = ["whatif", str(tmp_path / "c.yaml"), "--model", str(tmp_path / "m.yaml"), "--runs", "2"]
    assert cli.main([*arguments, "--html", str(page)]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"{page}: cannot be written: No such file or directory\n")


def test_an_interval_that_says_nothing_is_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``196 ms (3.38e-07 ms to 1.13e+08 s)``, said whatif of two runs."""
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "m.yaml").write_text(MODEL.replace("latency: 40ms", "latency: {median: 40ms, sigma: 3}"))
    assert cli.main(["whatif", str(tmp_path / "c.yaml"), "--model", str(tmp_path / "m.yaml"), "--runs", "2"]) == 0
    out = capsys.readouterr().out
    assert "(too few runs)" in out
    assert "e-0" not in out
    assert "e+0" not in out
