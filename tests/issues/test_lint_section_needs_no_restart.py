"""A reload said that ``lint:`` takes effect at the next start, and `plan` that it does from the next call on."""

from __future__ import annotations

from pathlib import Path

import resilience
from exchanges import ExchangeManager
from resilience.reload import plan

FILE = "version: 1\npipelines: {market: [deadline: 9s, timeout: 5s, pool: rest]}\n"
EXCHANGES = "exchanges: {bybit: {adapter: bybit, pipeline: market}}\n"
LINT = "lint: {allow: {no-deadline: nobody waits}}\n"


def test_a_running_program_does_not_read_it(tmp_path: Path) -> None:
    """Nothing is said of it, while telemetry waits for the next start."""
    path = tmp_path / "p.yaml"
    path.write_text(FILE.replace(", pool: rest", ""))
    live = resilience.watch(path)
    path.write_text(path.read_text() + LINT)
    assert str(live.reload()) == "nothing changes"
    path.write_text(path.read_text() + "telemetry: {sample: 2%}\n")
    assert "telemetry takes effect at the next start" in str(live.reload())


def test_a_manager_says_the_same_as_long_as_it_is_true(tmp_path: Path) -> None:
    """Compared with what was started, not with the last reload; each section by its name."""
    path = tmp_path / "e.yaml"
    path.write_text(FILE + EXCHANGES)
    manager = ExchangeManager.load(path)
    path.write_text(FILE + EXCHANGES + LINT)
    assert "next start" not in str(manager.reload())
    path.write_text(FILE + EXCHANGES + "telemetry: {sample: 2%}\n")
    assert "telemetry takes effect at the next start" in str(manager.reload())
    path.write_text(FILE.replace("5s", "4s") + EXCHANGES + "telemetry: {sample: 2%}\n")
    said = str(manager.reload())
    assert "telemetry takes effect at the next start" in said
    assert "dashboard" not in said


def test_a_plan_says_whom_it_is_for(tmp_path: Path) -> None:
    """The linter."""
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(FILE)
    new.write_text(FILE + LINT)
    (setting,) = plan(old, new).settings
    assert setting.effect == "for the linter alone; a running program does not read it"
