"""docs/dashboard.md says what there is: settings, pages, keys."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from resilience.dashboard.settings import LEAST_TOKEN, DashboardSettings
from resilience.dashboard.store import Store

PAGE = (Path(__file__).parents[3] / "docs" / "dashboard.md").read_text("utf-8")


def rows(head: str) -> dict[str, str]:
    """A table's rows by what stands in code in the first column."""
    table = PAGE.partition(head)[2].partition("\n\n")[0]
    found = {}
    for line in table.splitlines()[2:]:
        first, rest = line.strip("| ").split(" | ", 1)
        found |= dict.fromkeys(re.findall(r"`(.+?)`", first) or [first], rest)
    return found


def test_every_setting_is_in_the_table_with_its_default() -> None:
    """Under the name that a file uses."""
    told = rows("| key | default | meaning |")
    assert set(told) == {field.name for field in fields(DashboardSettings)}
    for name in ("port", "host"):
        assert f"`{getattr(DashboardSettings(), name)}`" in told[name]
    assert f"{LEAST_TOKEN} characters" in told["token"]
    store = Store()
    assert f"`{store.most_traces}` `{store.most_spans}`" in told["most_traces"]


def test_every_key_of_the_terminal_view_is_told() -> None:
    """Those in its footer, and those that every table has."""
    pytest.importorskip("textual", reason="NO TEXTUAL: the keys are not compared (pip install textual)")
    from resilience.dashboard.terminal.app import Top

    told = {re.sub("slash", "/", binding.key) for binding in Top.BINDINGS if binding.show}  # type: ignore[union-attr]
    assert told | {"enter", "tab"} == set(rows("| key | does |"))
