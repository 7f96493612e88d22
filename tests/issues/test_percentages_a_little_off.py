"""``99.9%`` was 0.9990000000000001: refused where at most 0.999 may stand; and ``p99.`` and 18 nines was everything."""

from __future__ import annotations

import pytest

from resilience import ConfigError
from resilience.config import Document, convert
from resilience.timing.allowance import Adaptive
from resilience.units import percent, quantile


def test_a_share_may_be_its_bound() -> None:
    """Written either way."""
    for text in ("99.9%", "99.90%", "0.999"):
        assert convert(Document.parse(f"quantile: {text}"), Adaptive) == Adaptive(quantile=0.999)


def test_a_percentage_is_the_number_that_it_says() -> None:
    """Rounded once, not twice; and with no more digits than a float tells apart."""
    assert [percent(text) for text in ("99.9%", "0.7%", "1.1%")] == [0.999, 0.007, 0.011]
    assert quantile("p99.9") == 0.999
    assert quantile("p99." + "9" * 12) < 1
    with pytest.raises(ConfigError, match="no quantile"):
        quantile("p99." + "9" * 18)
    with pytest.raises(ConfigError, match="no share"):
        percent("100." + "0" * 17 + "1%")
