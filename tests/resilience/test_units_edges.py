"""Units: the words by which a field's annotation says what a text in a file may be."""

from __future__ import annotations

from typing import get_args

import pytest

from resilience import units
from resilience.units import Unit, check


@pytest.mark.parametrize(
    ("annotation", "word"),
    [("Seconds", "seconds"), ("Share", "share"), ("Rate", "rate"), ("Name", "name"), ("Identifier", "identifier")],
)
def test_an_annotation_names_its_unit(annotation: str, word: str) -> None:
    """`resilience.config` reads by these words."""
    assert Unit(word) in get_args(getattr(units, annotation))
    check("X", "x", 1)  # and the module is used
