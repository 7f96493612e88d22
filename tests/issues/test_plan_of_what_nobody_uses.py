"""`plan` knew no pipeline that no operation uses, though a program has it, and let pass what a program refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

import resilience
from exchanges import ExchangeManager
from resilience import cli
from resilience.reload import plan

FILE = """\
version: 1
pipelines:
  market: {extends: market-data, rate_limit: {rate: 600/5s, key: ip}}
  slow: {extends: bulk-download, rate_limit: {rate: 600/5s, key: ip}}
exchanges:
  bybit:
    adapter: bybit
    pipeline: market
    retry: {attempts: 2}
    operations: {ohlcv: {pipeline: slow}, markets: {pipeline: slow, bulkhead: {limit: 2}}}
"""
UNUSED = FILE.replace("ohlcv: {pipeline: slow}, ", "")


def put(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(("old", "new"), [(FILE, UNUSED), (UNUSED, FILE), (UNUSED, UNUSED.replace("600", "500"))])
def test_plan_says_what_the_reload_says(tmp_path: Path, old: str, new: str) -> None:
    """Pipeline by pipeline, under the same names."""
    said = plan(put(tmp_path / "old.yaml", old), put(tmp_path / "new.yaml", new)).changes
    manager = ExchangeManager.load(put(tmp_path / "run.yaml", old))
    put(tmp_path / "run.yaml", new)
    assert sorted(map(str, said)) == sorted(map(str, manager.reload().changes))


def test_a_pool_that_comes_or_goes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the program refuses it: exit 2, and where."""
    old = put(tmp_path / "old.yaml", "version: 1\npipelines:\n  a: [timeout: 5s, pool: rest]\n")
    new = put(tmp_path / "new.yaml", "version: 1\npipelines:\n  a: [timeout: 5s]\n")

    async def rest() -> str:
        return "session"

    live = resilience.watch(put(tmp_path / "run.yaml", Path(old).read_text()), resources={"rest": rest})
    put(tmp_path / "run.yaml", Path(new).read_text())
    assert "lends 0 resources in place of 1" in str(live.reload().error)
    assert cli.main(["plan", old, new]) == 2
    out = capsys.readouterr().out
    assert out.startswith(f"{new}:3:6: pipelines.a: lends 0 resources in place of 1, which a running program refuses")


def test_whether_a_preset_lends_depends_on_the_program(tmp_path: Path) -> None:
    """So nothing is said of a pool that only a preset names."""
    old = put(tmp_path / "old.yaml", "version: 1\npipelines:\n  a: [timeout: 5s, pool: rest]\n")
    new = put(tmp_path / "new.yaml", "version: 1\npipelines:\n  a: {extends: market-data}\n")
    assert not plan(old, new).problems
