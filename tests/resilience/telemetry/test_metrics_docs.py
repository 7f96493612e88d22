"""docs/metrics.md and the catalogue say the same."""

from __future__ import annotations

import re
from pathlib import Path

from resilience.telemetry.catalogue import CATALOGUE
from resilience.telemetry.measures import BOUNDS

TEXT = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `([a-z_.]+)` \| (\w+) \| (none|`.+?`) \| (none|`.+?`) \| (.+) \|$", re.MULTILINE)


def test_every_metric_is_documented_as_it_is() -> None:
    """Name, kind, unit, labels and meaning; each once, and none that does not exist."""
    rows = ROW.findall(TEXT)
    found = {
        name: (kind, "" if unit == "none" else unit.strip("`"), tuple(re.findall(r"`(.+?)`", labels)), meaning)
        for name, kind, unit, labels, meaning in rows
    }
    assert len(found) == len(rows)
    assert found == {spec.name: (spec.kind, spec.unit, spec.labels, spec.help) for spec in CATALOGUE.values()}


def test_no_metric_is_mentioned_that_does_not_exist() -> None:
    """In "what to look at" too."""
    advice = TEXT.split("## What to look at")[1].split("## Bounds")[0]
    named = set(re.findall(r"`((?:resilience|http)\.[a-z_.]+)`", advice))
    labels = {label for spec in CATALOGUE.values() for label in spec.labels}
    assert len(named) > 10
    assert named - labels <= set(CATALOGUE)


def test_the_bounds_are_those_of_the_conventions() -> None:
    """As the text has them."""
    (milliseconds,) = re.findall(r"end at (.+) ms", TEXT)
    (seconds,) = re.findall(r"and at ([\d., and]+) s:", TEXT)
    found = [float(n) / 1000 for n in re.findall(r"[\d.]+", milliseconds)] + [
        float(n) for n in re.findall(r"[\d.]+", seconds)
    ]
    assert tuple(found) == BOUNDS
