"""Bulkhead at its edges: which settings make no sense."""

from __future__ import annotations

import pytest

from resilience import Bulkhead, ConfigError


def test_half_a_caller_cannot_wait() -> None:
    """A queue has room for a whole number of them."""
    with pytest.raises(ConfigError, match=r"Bulkhead: queue is 1.5"):
        Bulkhead(1, queue=1.5)  # type: ignore[arg-type]
