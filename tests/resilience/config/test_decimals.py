"""What is written as a percentage keeps a share's bounds in the schema, to the last digit, as it does in the loader."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from resilience import ConfigError
from resilience.config import Document, convert
from resilience.config.decimals import at_most, below
from resilience.config.shapes import fields_of
from resilience.units import Share, check

BOUNDS = [
    "0",
    "0.1",
    "0.5",
    "1",
    "5.05",
    "7",
    "10",
    "12.5",
    "20.08",
    "90",
    "99.9",
    "99",
    "100",
    "101",
    "909.909",
    "1000",
]
NEAR = ["", "0.1", "0.01", "0.001", "0.0001", "1", "10"]


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_pattern_matches_what_is_within_the_bound(bound: str) -> None:
    """Tried on what is near the bound, or shorter, or has zeros in front or behind; and on whatever."""
    limit, dice = Decimal(bound), random.Random(bound)
    texts = {f"{abs(limit + sign * Decimal(step or 0)):f}" for step in NEAR for sign in (-1, 1)}
    texts |= {bound[:length].rstrip(".") for length in range(1, len(bound))}
    texts |= {f"{dice.choice([dice.uniform(0, 2), dice.uniform(0, 1200)]):.{dice.randint(0, 4)}f}" for _ in range(300)}
    for text in texts | {f"00{text}" for text in texts} | {f"{text}000" for text in texts if "." in text}:
        assert bool(re.fullmatch(at_most(limit), text)) == (Decimal(text) <= limit), text
        if limit:
            assert bool(re.fullmatch(below(limit), text)) == (Decimal(text) < limit), text


@dataclass
class Within:
    """Shares with bounds of every kind."""

    most: Share = 0.5
    least: Share = 0.5
    above: Share = 0.5

    def __post_init__(self) -> None:
        check("Within", "most", self.most, most=0.999)
        check("Within", "least", self.least, least=0.125, most=1)
        check("Within", "above", self.above, above=0.07, most=0.7)


@pytest.mark.parametrize("name", ["most", "least", "above"])
def test_the_loader_and_the_schema_agree_about_every_percentage(name: str) -> None:
    """All with one decimal, and those with many that are near a bound."""
    defs: dict[str, Any] = {}
    fields_of(Within).schema(defs)
    pattern = defs["Within"]["properties"][name]["anyOf"][0]["pattern"]
    texts = [f"{number / 10:.1f}%" for number in range(1010)]
    for bound in ("99.9", "12.5", "7", "70", "100", "0"):
        texts += [
            f"{Decimal(bound) + sign * Decimal(1).scaleb(-digits)}%" for digits in (1, 5, 12, 13) for sign in (-1, 1)
        ]
    for text in [*texts, " 50% ", "0" * 16 + "50%", "0" * 17 + "50%", "50 %", "50", "%"]:
        try:
            convert(Document.parse(f"{name}: '{text}'"), Within)
            good = True
        except ConfigError:
            good = False
        assert bool(re.search(pattern, text)) is good, text
