"""Tables lost what they were for: digits and names cut off where nothing forces it."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from rich.console import Console

from exchanges import Market
from exchanges.demo.tally import Tally
from exchanges.demo.views import live_table
from exchanges.render import print_table


def test_a_table_that_is_piped_is_not_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe has no right edge: every name and every digit of a wide table is there."""
    number = Decimal("1234567890.123456789")
    market = Market(
        row=b"{}", symbol="BTC-25DEC26-57600-C-USDT", base="BTC", quote="USDT", settle="USDT", category="option",
        status="Trading", tick_size=number, amount_step=number, min_amount=number, max_amount=number,
    )  # fmt: skip
    print_table("markets", [market, market])
    out = capsys.readouterr().out
    assert "…" not in out
    assert out.count("BTC-25DEC26-57600-C-USDT") == 2
    assert out.count("1234567890.123456789") == 8


def test_the_demonstration_fits_into_80_columns() -> None:
    """The longest operation, four digits of calls and times of eight characters are shown whole."""
    tally = Tally()
    for op in ("long_short_ratio", "ticker"):
        tally.calls[op] = tally.succeeded[op] = tally.retried[op] = tally.attempts[op] = 1234
        tally.latencies[op] = [0.9999, 0.9999]
    output = io.StringIO()
    server = {"requests": 1, "connections": 1}
    Console(file=output, width=80).print(live_table(tally, server, 0.5))
    text = output.getvalue()
    assert "…" not in text
    for word in ("long_short_ratio", "attempts", "999.9 ms"):
        assert word in text
